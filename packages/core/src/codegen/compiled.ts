/** What a code generator hands to a CPU runtime. */

/**
 * One function of a module, `(begin: i32, end: i32, args: i32, scratch: i32) -> ()`. It does cells [begin, end) of its
 * grid. `args` is the address of an array of 32-bit pointers: the kernel's parameters in order, then its workspace.
 * `scratch` is the address of the calling thread's own scratch memory.
 */
export interface KernelEntry {
  readonly exportName: string;
  readonly grid: number;
  /** Cells a thread should claim at a time: small enough to balance, large enough to be worth claiming. */
  readonly chunk: number;
}

/** Entries that do not depend on one another; phases of a kernel run in order with a barrier between them. */
export type Phase = readonly KernelEntry[];

/**
 * What a kernel does with an operand whose content is kept before all else: it copies it to memory of its own, whose address
 * stands behind the workspace's in the arguments. Done once for many calls where the operand stays the same.
 */
export interface Preparation {
  readonly phases: readonly Phase[];
  /** The parameters it reads; it reads and writes nothing else. */
  readonly params: readonly number[];
  readonly bytes: number;
}

export interface CompiledKernel {
  readonly phases: readonly Phase[];
  readonly preparation?: Preparation | null;
  /** Bytes (16-aligned) of memory shared by all threads that the kernel needs between its phases; 0 for most. */
  readonly workspaceBytes: number;
  /** Bytes of private memory each thread needs. */
  readonly scratchBytes: number;
}

/** A WebAssembly module that imports `env.memory` and exports the entries of several kernels. */
export interface CompiledModule {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** In the order the kernels were given. */
  readonly kernels: readonly CompiledKernel[];
}

/** What the engine offers; found by probes, part of every cache key. */
export interface WasmFeatures {
  /** The memory is shared: its import must say so. */
  readonly sharedMemory: boolean;
  /** `f32x4.relaxed_madd` and its relatives. */
  readonly relaxedSimd: boolean;
}
