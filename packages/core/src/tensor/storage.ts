/** Memory under tensors: ref-counted, shared by views, given back by garbage collection where nobody disposes. */
import type { DType } from '../dtype.js';
import { dtypeInfo } from '../dtype.js';
import { LifetimeError } from '../errors.js';
import type { Trace } from '../graph/trace.js';
import type { Device } from '../runtime/device.js';
import { blockFreed, creationStack, trackStorage } from './memory.js';

/** What outlives a Storage object so that its memory can still be freed: plain data, no reference back. */
export interface Block {
  readonly device: Device;
  readonly address: number;
  readonly bytes: number;
  readonly dtype: DType;
  live: boolean;
  /** Where the tensor was made; only with TRIREME_DEBUG. */
  readonly origin: string | null;
}

/**
 * One buffer, or (while a function is traced) a placeholder whose current value the trace knows.
 * Each tensor handle, and each tensor saved for a gradient, holds one reference.
 */
export class Storage {
  readonly dtype: DType;
  /** Elements. */
  readonly length: number;
  /** Null for a traced storage. */
  readonly block: Block | null;
  /** The trace this storage was born in; null for real memory. */
  readonly trace: Trace | null;
  /** Counts writes, to notice that a tensor saved for a gradient was changed. */
  version = 0;
  private references = 0;

  constructor(dtype: DType, length: number, block: Block | null, trace: Trace | null) {
    this.dtype = dtype;
    this.length = length;
    this.block = block;
    this.trace = trace;
  }

  /** New memory for `length` elements, content undefined. @throws OutOfMemoryError */
  static allocate(device: Device, dtype: DType, length: number): Storage {
    const bytes = length * dtypeInfo[dtype].bytes;
    const block: Block = { device, address: device.allocate(bytes), bytes, dtype, live: true, origin: creationStack() };
    const storage = new Storage(dtype, length, block, null);
    trackStorage(storage, block);
    return storage;
  }

  get disposed(): boolean {
    return this.block !== null && !this.block.live;
  }
  /** Byte address of element 0. @throws LifetimeError when freed or traced. */
  get address(): number {
    const { block } = this;
    if (block === null)
      throw new LifetimeError('this tensor belongs to a trace and has no memory', { fix: 'Return it from the traced function.' });
    if (!block.live) throw freedError();
    return block.address;
  }
  /** True when more than one handle or saved tensor refers to it. */
  get shared(): boolean {
    return this.references > 1;
  }
  retain(): void {
    if (this.block !== null && !this.block.live) throw freedError();
    this.references++;
  }
  /** Frees the memory with the last reference. */
  release(): void {
    if (--this.references > 0 || this.block === null || !this.block.live) return;
    freeBlock(this.block);
  }
}

/** Frees a block once; later calls do nothing. */
export function freeBlock(block: Block): void {
  if (!block.live) return;
  block.live = false;
  block.device.free(block.address, block.bytes);
  blockFreed(block);
}

function freedError(): LifetimeError {
  return new LifetimeError('the memory of this tensor was already freed', {
    expected: 'a live tensor',
    fix: 'It was disposed by hand, or made inside scope() and not returned from it: return it, or call keep().',
  });
}
