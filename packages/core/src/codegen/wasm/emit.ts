/**
 * The statement emitter for code outside this folder's loop generator: a contraction's epilogue.
 */
import type { Kernel, ContractPart } from '../../ir/kernel.js';
import type { LoopVar } from '../../ir/expr.js';
import type { FunctionBuilder, ModuleBuilder, WasmLocal } from './asm.js';

export interface EpilogueOptions {
  readonly module: ModuleBuilder;
  /** The function the statements go into. */
  readonly fn: FunctionBuilder;
  readonly kernel: Kernel;
  readonly part: ContractPart;
  /** i32 local: address of the kernel's pointer table (the entry's `args`). */
  readonly args: WasmLocal;
}

/**
 * Emits the epilogue of a contraction, as often as the caller needs it, scalar or for consecutive lanes.
 *
 * Call {@link prologue} once at the top of the function, outside every loop; then {@link scalar} and {@link vector}
 * wherever output elements are complete. Both leave the stack as they found it, never change the locals they are given
 * and write no memory but the epilogue's stores.
 */
export interface EpilogueEmitter {
  /**
   * The variable that advances by one from lane to lane in {@link vector}: that of the last dimension with role n.
   * `null` when the contraction has no n dimension: then only {@link scalar} may be used.
   */
  readonly laneVar: LoopVar | null;
  /** Loads pointers and constants the epilogue needs into locals of their own. */
  prologue(): void;
  /**
   * One output element. `result` holds the accumulated value: a local of the part's type (i32 for bool).
   * `vars` binds every variable of `part.outputVars` to an i32 local.
   */
  scalar(result: WasmLocal, vars: ReadonlyMap<LoopVar, WasmLocal>): void;
  /**
   * Consecutive output elements along {@link laneVar}. `result` holds them in v128 locals in order: 4 lanes each for
   * f32 and i32 (any number of locals), 2 lanes each for f64 and i64 (an even number of locals). `vars` binds
   * every variable of `part.outputVars` to an i32 local; `laneVar` is bound to its value for the first lane.
   * All the lanes must exist (the caller does edges with {@link scalar}).
   */
  vector(result: readonly WasmLocal[], vars: ReadonlyMap<LoopVar, WasmLocal>): void;
}

/** Prepares the emission of `part.epilogue` into `options.fn`. Appends nothing. */
export declare function createEpilogue(options: EpilogueOptions): EpilogueEmitter;
