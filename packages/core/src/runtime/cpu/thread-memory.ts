/** The private memory of each thread: room for computed kernel arguments, then the kernels' scratch. */
import type { Heap } from './heap.js';
import { maxThreads, record, recordAddress } from './layout.js';

export class ThreadMemory {
  private readonly heap: Heap;
  private argsBytes = 0;
  private scratchBytes = 0;
  /** Address and size of each thread's block; size 0: none. */
  private readonly addresses = new Float64Array(maxThreads);
  private readonly sizes = new Float64Array(maxThreads);

  constructor(heap: Heap) {
    this.heap = heap;
  }

  /** Every thread is to have at least this much from its next run on. */
  require(args: number, scratchBytes: number): void {
    this.argsBytes = Math.max(this.argsBytes, Math.ceil(args / 16) * 64);
    this.scratchBytes = Math.max(this.scratchBytes, Math.ceil(scratchBytes / 64) * 64);
  }

  /** Gives the threads, which are not running, what programs require. @throws OutOfMemoryError */
  ensure(threads: readonly number[]): void {
    const bytes = this.argsBytes + this.scratchBytes;
    for (const thread of threads) if ((this.sizes[thread] as number) < bytes) this.enlarge(thread, bytes);
  }

  /** Address of a thread's scratch memory. */
  scratchOf(thread: number): number {
    return (this.heap.u32[(recordAddress(thread) + record.scratch) / 4] as number) >>> 0;
  }
  /** Address of the command a thread was last at. */
  commandOf(thread: number): number {
    return this.heap.u32[(recordAddress(thread) + record.command) / 4] as number;
  }

  /** Frees all blocks; no thread is running and no program is loaded. */
  release(): void {
    for (let thread = 0; thread < maxThreads; thread++) this.drop(thread);
    this.argsBytes = 0;
    this.scratchBytes = 0;
  }

  private enlarge(thread: number, bytes: number): void {
    const { heap } = this;
    const address = heap.allocate(bytes);
    const own = recordAddress(thread);
    // A run that is interrupted between slices may have its arguments there.
    const old = this.addresses[thread] as number;
    const kept = Math.min(this.sizes[thread] as number, this.argsBytes);
    if (kept > 0) heap.u8.copyWithin(address, old, old + kept);
    this.drop(thread);
    this.addresses[thread] = address;
    this.sizes[thread] = bytes;
    heap.u32[(own + record.args) / 4] = address;
    heap.u32[(own + record.scratch) / 4] = address + this.argsBytes;
  }
  private drop(thread: number): void {
    if (this.sizes[thread] === 0) return;
    this.heap.free(this.addresses[thread] as number, this.sizes[thread] as number);
    this.sizes[thread] = 0;
  }
}
