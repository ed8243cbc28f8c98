/** The small interface between Programs and the machine. */
import type { Step } from '../ir/kernel.js';

/** What a device runs: steps over `slots` base addresses. Slot 0 is the executable's own arena of `arenaBytes`. */
export interface ExecutableSpec {
  readonly name: string;
  readonly steps: readonly Step[];
  readonly arenaBytes: number;
  /** Number of slots, the arena included. */
  readonly slots: number;
  /** Bytes to place in the arena once, when it is made (constants). */
  readonly constants: readonly { readonly offset: number; readonly bytes: Uint8Array }[];
  /**
   * Slots whose content stays from one run to the next unless {@link Executable.keptChanged} says otherwise, and the byte of the arena from
   * which lies what `prepare` steps write.
   */
  readonly kept?: { readonly slots: readonly number[]; readonly arenaFrom: number };
}

/** A loaded program. Its arena exists while it runs; runs of one executable never overlap. */
export interface Executable {
  /** Runs to completion on this thread and the pool. `pointers[i]` is the address of slot i; entry 0 is ignored. */
  runSync(pointers: ArrayLike<number>): void;
  /** The same on the pool alone: the event loop stays free. Rejects with the signal's reason when it aborts between kernels. */
  run(pointers: ArrayLike<number>, signal?: AbortSignal): Promise<void>;
  /** To be called before a run when the content of a kept slot has changed since the last one (another address is noticed). */
  keptChanged?(): void;
  /** Frees its code and memory. */
  dispose(): void;
}

export interface DeviceStats {
  /** Bytes held by live allocations. */
  readonly bytesInUse: number;
  readonly peakBytes: number;
  readonly allocations: number;
}

/** A place with memory and executables. Addresses are byte addresses in the device's heap. */
export interface Device {
  readonly name: string;
  readonly threads: number;
  /** 64-byte aligned, content undefined. Throws OutOfMemoryError. `bytes` 0 gives a valid address. */
  allocate(bytes: number): number;
  /** `bytes` as given to allocate. */
  free(address: number, bytes: number): void;
  /** A view of the heap, valid until the address is freed; never keep it across calls that allocate. */
  bytes(address: number, length: number): Uint8Array;
  load(spec: ExecutableSpec): Executable;
  stats(): DeviceStats;
}
