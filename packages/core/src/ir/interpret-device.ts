/** A device that interprets kernels: the independent witness in tests. */
import { OutOfMemoryError } from '../errors.js';
import type { Device, DeviceStats, Executable, ExecutableSpec } from '../runtime/device.js';
import { interpretKernel, walkSteps } from './interpret.js';

const ALIGN = 64;
/** Milliseconds an asynchronous run may hold the event loop at a stretch. */
const SLICE = 8;

export class InterpreterDevice implements Device {
  readonly name = 'interpreter';
  readonly threads = 1;
  private heap = new ArrayBuffer(1 << 16);
  private top = ALIGN;
  private readonly limit: number;
  private readonly freeBlocks = new Map<number, number[]>();
  private bytesInUse = 0;
  private peakBytes = 0;
  private allocations = 0;

  constructor(limitBytes = 2 ** 30) {
    this.limit = limitBytes;
  }

  /** Fresh memory is filled with 0xff (NaN, -1, true), so that reading what nobody wrote shows. */
  allocate(bytes: number): number {
    const size = blockSize(bytes);
    const address = this.freeBlocks.get(size)?.pop() ?? this.extend(size);
    this.bytesInUse += bytes;
    this.peakBytes = Math.max(this.peakBytes, this.bytesInUse);
    this.allocations++;
    this.bytes(address, size).fill(0xff);
    return address;
  }

  private extend(size: number): number {
    const address = this.top;
    const needed = address + size;
    if (needed > this.limit) {
      throw new OutOfMemoryError(`the interpreter's heap is full: ${size} bytes wanted, ${this.bytesInUse} in use`, {
        received: size,
        expected: `at most ${this.limit} bytes in all`,
        fix: 'Free tensors, or pass a larger limit to InterpreterDevice.',
      });
    }
    if (needed > this.heap.byteLength) {
      const larger = new ArrayBuffer(Math.max(needed, this.heap.byteLength * 2));
      new Uint8Array(larger).set(new Uint8Array(this.heap));
      this.heap = larger;
    }
    this.top = needed;
    return address;
  }

  free(address: number, bytes: number): void {
    const size = blockSize(bytes);
    const list = this.freeBlocks.get(size);
    if (list) list.push(address);
    else this.freeBlocks.set(size, [address]);
    this.bytesInUse -= bytes;
    this.allocations--;
  }

  bytes(address: number, length: number): Uint8Array {
    return new Uint8Array(this.heap, address, length);
  }

  stats(): DeviceStats {
    return { bytesInUse: this.bytesInUse, peakBytes: this.peakBytes, allocations: this.allocations };
  }

  load(spec: ExecutableSpec): Executable {
    const begin = (pointers: ArrayLike<number>): { calls: ReturnType<typeof walkSteps>; end: () => void } => {
      const arena = this.allocate(spec.arenaBytes);
      for (const c of spec.constants) this.bytes(arena + c.offset, c.bytes.length).set(c.bytes);
      const slots = Array.from({ length: spec.slots }, (_, i) => (i === 0 ? arena : (pointers[i] ?? 0)));
      return { calls: walkSteps(spec.steps, slots, () => this.heap), end: () => this.free(arena, spec.arenaBytes) };
    };
    return {
      runSync: (pointers) => {
        const { calls, end } = begin(pointers);
        try {
          for (const call of calls) interpretKernel(call.kernel, this.heap, call.args);
        } finally {
          end();
        }
      },
      run: async (pointers, signal) => {
        signal?.throwIfAborted();
        const { calls, end } = begin(pointers);
        try {
          let since = performance.now();
          for (const call of calls) {
            interpretKernel(call.kernel, this.heap, call.args);
            if (performance.now() - since > SLICE) {
              await new Promise((resolve) => setTimeout(resolve, 0));
              since = performance.now();
            }
            signal?.throwIfAborted();
          }
        } finally {
          end();
        }
      },
      dispose: () => undefined,
    };
  }
}

function blockSize(bytes: number): number {
  return Math.max(ALIGN, Math.ceil(bytes / ALIGN) * ALIGN);
}
