/**
 * The CPU heap: one WebAssembly.Memory and its allocator.
 *
 * Up to 4 KiB, blocks come from 64 KiB spans of equal blocks. Up to 1 MiB, blocks are runs of 4 KiB pages rounded
 * to eight sizes a doubling. Both are kept on a stack of their class when freed, so that the same request pops them
 * again; the stacks are emptied into the coalescing {@link PageAllocator} before the memory grows. Larger blocks are
 * runs of pages of exactly the length asked for, and coalesce as soon as they are freed.
 */
import { ArgumentError, CompilerError, OutOfMemoryError } from '../../errors.js';
import type { DeviceStats } from '../device.js';
import { reservedBytes } from './layout.js';
import { PageAllocator, pageBytes, pageShift } from './pages.js';

const wasmPage = 65536;
const spanBytes = 65536;
const spanPages = spanBytes / pageBytes;
const smallLimit = 4096;
const mediumLimit = 1 << 20;
/** The last 64 KiB stay unused: the end of a block never wraps to 0 in 32-bit arithmetic. */
const wasm32Pages = 65535;
const initialPages = 256;
/** Pages at the end that nobody gets: native code may read whole vectors a little beyond a buffer. */
const slackPages = 1;
const growthFactor = 1.5;
const growthCap = 512 << 20;
/** Below this size the heap grows without asking for garbage first. */
const quietBytes = 256 << 20;

const smallSizes = [...Array.from({ length: 16 }, (_, i) => (i + 1) * 64), 1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096];
const mediumPages = [
  1,
  2,
  3,
  4,
  5,
  6,
  7,
  ...[8, 16, 32, 64, 128].flatMap((p) => [8, 9, 10, 11, 12, 13, 14, 15].map((k) => (k * p) / 8)),
  256,
];

/** Class of a request by its number of units, for class sizes in the same units. */
function classTable(sizes: readonly number[], units: number): Uint8Array {
  const table = new Uint8Array(units + 1);
  let at = 0;
  for (let n = 0; n <= units; n++) {
    while ((sizes[at] as number) < n) at++;
    table[n] = at;
  }
  return table;
}

/** A stack of addresses that never boxes them. */
class AddressStack {
  items = new Uint32Array(16);
  top = 0;
  push(address: number): void {
    if (this.top === this.items.length) {
      const grown = new Uint32Array(this.top * 2);
      grown.set(this.items);
      this.items = grown;
    }
    this.items[this.top++] = address;
  }
}

export interface HeapOptions {
  readonly shared: boolean;
  /** Limit of the memory's size in bytes; at most 4 GiB. */
  readonly maxBytes: number;
}

export class Heap {
  readonly memory: WebAssembly.Memory;
  /** What the memory's declaration says, for modules that import it. */
  readonly maxPages: number;
  readonly shared: boolean;
  /** Views of the whole memory, replaced when it grows. */
  u8: Uint8Array;
  u32: Uint32Array;
  i32: Int32Array;

  /**
   * Called when the heap is about to grow beyond 256 MiB and before it gives up. Frees garbage and returns whether
   * it freed any; the request is then tried again.
   */
  onPressure: ((neededBytes: number) => boolean) | null = null;
  /** Text appended to the message of an OutOfMemoryError: who holds what. */
  describeHolders: (() => string) | null = null;

  private readonly limitPages: number;
  private readonly pages: PageAllocator;
  private readonly smallStacks = smallSizes.map(() => new AddressStack());
  private readonly mediumStacks = mediumPages.map(() => new AddressStack());
  private readonly smallClass = classTable(
    smallSizes.map((s) => s / 64),
    smallLimit / 64,
  );
  private readonly mediumClass = classTable(mediumPages, mediumLimit / pageBytes);
  /** Live blocks of each 64 KiB span. */
  private readonly spanLive = new Uint16Array(wasm32Pages + 1);
  private inPressure = false;
  private inUse = 0;
  private peak = 0;
  private live = 0;

  constructor(options: HeapOptions) {
    if (!(options.maxBytes >= 1 << 20)) {
      throw new ArgumentError(`maxBytes ${options.maxBytes}`, {
        op: 'createCpuDevice',
        expected: 'at least 1 MiB',
        received: options.maxBytes,
      });
    }
    this.shared = options.shared;
    this.limitPages = Math.min(wasm32Pages, Math.floor(options.maxBytes / wasmPage));
    const initial = Math.min(initialPages, this.limitPages);
    const made = makeMemory(options.shared, initial, this.limitPages);
    this.memory = made.memory;
    this.maxPages = made.maxPages;
    this.limitPages = Math.min(this.limitPages, made.maxPages);
    this.u8 = new Uint8Array(this.memory.buffer);
    this.u32 = new Uint32Array(this.memory.buffer);
    this.i32 = new Int32Array(this.memory.buffer);
    const total = (initial * wasmPage) / pageBytes;
    const reserved = reservedBytes / pageBytes;
    this.pages = new PageAllocator(total);
    this.pages.extend(reserved, total - reserved - slackPages);
  }

  /** Limit of the memory's size in bytes. */
  get limitBytes(): number {
    return this.limitPages * wasmPage;
  }
  /** Present size of the memory in bytes. */
  get sizeBytes(): number {
    return this.u8.length;
  }

  /**
   * 64-byte aligned memory of undefined content. 0 bytes give a valid address.
   * @throws OutOfMemoryError when the limit is reached.
   */
  allocate(bytes: number): number {
    let address: number;
    if (bytes <= smallLimit && bytes >= 0) {
      const index = this.smallClass[(bytes + 63) >>> 6] as number;
      const stack = this.smallStacks[index] as AddressStack;
      if (stack.top === 0) this.refill(index, bytes);
      address = stack.items[--stack.top] as number;
      const span = address >>> 16;
      this.spanLive[span] = (this.spanLive[span] as number) + 1;
    } else if (bytes <= mediumLimit && bytes > 0) {
      const index = this.mediumClass[(bytes + (pageBytes - 1)) >>> pageShift] as number;
      const stack = this.mediumStacks[index] as AddressStack;
      if (stack.top > 0) address = stack.items[--stack.top] as number;
      else address = this.allocatePages(mediumPages[index] as number, bytes) * pageBytes;
    } else {
      if (!Number.isSafeInteger(bytes) || bytes < 0) {
        throw new ArgumentError(`cannot allocate ${bytes} bytes`, { op: 'allocate', expected: 'a whole number of bytes', received: bytes });
      }
      address = this.allocatePages(Math.ceil(bytes / pageBytes), bytes) * pageBytes;
    }
    this.live++;
    this.inUse += bytes;
    if (this.inUse > this.peak) this.peak = this.inUse;
    return address;
  }

  /** Gives memory back; `bytes` is what {@link allocate} was asked for. */
  free(address: number, bytes: number): void {
    if (bytes <= smallLimit) {
      const span = address >>> 16;
      const live = this.spanLive[span] as number;
      if (live === 0) throw doubleFree(address, bytes);
      this.spanLive[span] = live - 1;
      (this.smallStacks[this.smallClass[(bytes + 63) >>> 6] as number] as AddressStack).push(address);
    } else if (bytes <= mediumLimit) {
      (this.mediumStacks[this.mediumClass[(bytes + (pageBytes - 1)) >>> pageShift] as number] as AddressStack).push(address);
    } else if (!this.pages.free(Math.floor(address / pageBytes), Math.ceil(bytes / pageBytes))) {
      throw doubleFree(address, bytes);
    }
    this.live--;
    this.inUse -= bytes;
  }

  stats(): DeviceStats {
    return { bytesInUse: this.inUse, peakBytes: this.peak, allocations: this.live };
  }
  /** Starts a new measurement of the peak. */
  resetPeak(): void {
    this.peak = this.inUse;
  }

  /** Returns cached blocks to the page allocator, where neighbours coalesce. True if any page came back. */
  trim(): boolean {
    const before = this.pages.freePages;
    for (let index = 0; index < mediumPages.length; index++) {
      const stack = this.mediumStacks[index] as AddressStack;
      for (let i = 0; i < stack.top; i++) this.pages.free((stack.items[i] as number) >>> pageShift, mediumPages[index] as number);
      stack.top = 0;
    }
    for (const stack of this.smallStacks) this.trimSmall(stack);
    return this.pages.freePages > before;
  }
  /** Bytes the allocator could hand out without growing, as one block. For tests and diagnostics; call {@link trim} first. */
  largestFreeBlock(): number {
    return this.pages.longestRun() * pageBytes;
  }

  private trimSmall(stack: AddressStack): void {
    let kept = 0;
    const empty = new Set<number>();
    for (let i = 0; i < stack.top; i++) {
      const address = stack.items[i] as number;
      const span = address >>> 16;
      if (this.spanLive[span] === 0) empty.add(span);
      else stack.items[kept++] = address;
    }
    stack.top = kept;
    for (const span of empty) this.pages.free(span * spanPages, spanPages);
  }

  /** Puts a new span's blocks on a class's stack, lowest address on top. */
  private refill(index: number, bytes: number): void {
    const size = smallSizes[index] as number;
    // A span is found by its address, so it is aligned to its size: where luck does not help, it is cut out of a longer run.
    let aligned = this.pages.allocate(spanPages);
    if (aligned < 0 || aligned % spanPages !== 0) {
      if (aligned >= 0) this.pages.free(aligned, spanPages);
      const length = 2 * spanPages - 1;
      const first = this.allocatePages(length, bytes);
      aligned = Math.ceil(first / spanPages) * spanPages;
      if (aligned > first) this.pages.free(first, aligned - first);
      const rest = first + length - (aligned + spanPages);
      if (rest > 0) this.pages.free(aligned + spanPages, rest);
    }
    const stack = this.smallStacks[index] as AddressStack;
    const start = aligned * pageBytes;
    this.spanLive[start >>> 16] = 0;
    for (let at = Math.floor(spanBytes / size) - 1; at >= 0; at--) stack.push(start + at * size);
  }

  private allocatePages(count: number, bytes: number): number {
    let first = this.pages.allocate(count);
    if (first >= 0) return first;
    if (this.trim()) first = this.pages.allocate(count);
    if (first >= 0) return first;
    const asksFirst = this.u8.length + count * pageBytes > quietBytes;
    if (asksFirst) first = this.relieve(count);
    if (first >= 0) return first;
    if (this.grow(count)) first = this.pages.allocate(count);
    if (first >= 0) return first;
    if (!asksFirst) first = this.relieve(count);
    if (first >= 0) return first;
    throw this.outOfMemory(bytes);
  }
  /** Asks the layer above to free garbage and tries again. */
  private relieve(count: number): number {
    if (this.onPressure === null || this.inPressure) return -1;
    this.inPressure = true;
    try {
      if (!this.onPressure(count * pageBytes)) return -1;
    } finally {
      this.inPressure = false;
    }
    const first = this.pages.allocate(count);
    if (first >= 0) return first;
    return this.trim() ? this.pages.allocate(count) : -1;
  }
  /** Grows the memory so that a run of `count` pages fits. */
  private grow(count: number): boolean {
    const size = this.u8.length / wasmPage;
    const missing = Math.ceil(((count - this.pages.tailPages()) * pageBytes) / wasmPage);
    if (size + missing > this.limitPages) return false;
    const wanted = Math.min(
      this.limitPages,
      Math.max(size + missing, Math.ceil(Math.min(size * growthFactor, size + growthCap / wasmPage))),
    );
    if (!this.growTo(size, wanted) && !(wanted > size + missing && this.growTo(size, size + missing))) return false;
    return true;
  }
  private growTo(size: number, pages: number): boolean {
    try {
      this.memory.grow(pages - size);
    } catch {
      return false;
    }
    this.u8 = new Uint8Array(this.memory.buffer);
    this.u32 = new Uint32Array(this.memory.buffer);
    this.i32 = new Int32Array(this.memory.buffer);
    this.pages.extend((size * wasmPage) / pageBytes - slackPages, ((pages - size) * wasmPage) / pageBytes);
    return true;
  }

  private outOfMemory(bytes: number): OutOfMemoryError {
    const holders = this.describeHolders?.() ?? '';
    const largest = this.largestFreeBlock();
    return new OutOfMemoryError(
      `the CPU heap cannot give ${formatBytes(bytes)}: ${formatBytes(this.inUse)} of at most ${formatBytes(this.limitBytes)} are in use ` +
        `(${this.live} allocations; largest free block ${formatBytes(largest)}).${holders ? `\n${holders}\n` : ''}`,
      {
        received: { requestedBytes: bytes, bytesInUse: this.inUse, limitBytes: this.limitBytes },
        fix:
          'Use a smaller batch, free tensors earlier (scope(), using, dispose()), run evaluation under noGrad(), ' +
          'store in a narrower dtype, or create the device with a larger maxBytes (at most 4 GiB).',
      },
    );
  }
}

/** Browsers may refuse to reserve 4 GiB: halve the reservation until one is granted. */
function makeMemory(shared: boolean, initial: number, limit: number): { memory: WebAssembly.Memory; maxPages: number } {
  let maximum = limit;
  for (;;) {
    try {
      return { memory: new WebAssembly.Memory({ initial, maximum, shared }), maxPages: maximum };
    } catch (cause) {
      if (maximum <= 4096) {
        throw new OutOfMemoryError(`the engine refused a memory of ${formatBytes(initial * wasmPage)}`, {
          op: 'createCpuDevice',
          fix: 'Raise the address space limit of the process (ulimit -v), or close other pages.',
          cause,
        });
      }
      maximum = Math.max(4096, Math.floor(maximum / 2), initial);
    }
  }
}

function doubleFree(address: number, bytes: number): CompilerError {
  return new CompilerError(`block of ${bytes} bytes at ${address} was freed twice or with a wrong size`, { op: 'free' });
}

export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = -1;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : value.toFixed(0)} ${units[unit]}`;
}
