/**
 * The statement emitter for code outside this folder's loop generator: a contraction's epilogue.
 */
import { CompilerError } from '../../errors.js';
import type { LoopVar } from '../../ir/expr.js';
import type { ContractPart, Kernel } from '../../ir/kernel.js';
import type { FunctionBuilder, ModuleBuilder, WasmLocal } from './asm.js';
import { Lanes } from './lanes.js';
import { normalize } from './normalize.js';
import { StatementEmitter } from './statements.js';
import { isWide, valTypeOf } from './types.js';

export interface EpilogueOptions {
  readonly module: ModuleBuilder;
  /** The function the statements go into. */
  readonly fn: FunctionBuilder;
  readonly kernel: Kernel;
  readonly part: ContractPart;
  /** i32 local: address of the kernel's pointer table (the entry's `args`). */
  readonly args: WasmLocal;
  /** The engine has relaxed SIMD. Results are the same without it. Default false. */
  readonly relaxedSimd?: boolean;
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
export function createEpilogue(options: EpilogueOptions): EpilogueEmitter {
  const { module, fn, part, args } = options;
  const outputDims = part.dims.filter((d) => d.role !== 'k');
  const lastN = outputDims.map((d) => d.role).lastIndexOf('n');
  const laneVar = part.outputVars[lastN] ?? null;
  const normal = normalize({
    body: part.epilogue,
    outer: part.outputVars.map((variable, i) => ({ variable, extent: outputDims[i]?.extent ?? 1 })),
    given: [part.result],
  });
  const statements = new StatementEmitter(fn, module, normal, options.relaxedSimd ?? false);
  const { em } = statements;
  const result = normal.locals.get(part.result);
  const laneVariable = laneVar && normal.variables.get(laneVar);
  if (!result || laneVariable === undefined) throw new CompilerError('an epilogue lost its variables');
  const lanesOf = new Map<number, Lanes>();
  const lanesFor = (units: number): Lanes => {
    if (!laneVariable) throw new CompilerError('a vector epilogue of a contraction without n dimension');
    let lanes = lanesOf.get(units);
    if (!lanes) {
      lanes = new Lanes(normal, laneVariable, units, false);
      lanes.markVarying(result);
      lanes.declareLocals(normal.body);
      lanesOf.set(units, lanes);
    }
    return lanes;
  };
  const bind = (vars: ReadonlyMap<LoopVar, WasmLocal>): void => {
    for (const [variable, local] of vars) {
      const own = normal.variables.get(variable);
      if (own) em.bindVariable(own, local);
    }
  };
  /** The epilogue may overwrite the result, but the caller's locals stay as they are. */
  const own = (given: WasmLocal): WasmLocal => {
    if (!normal.mutableLocals.has(result)) return given;
    const copy = em.temporary(given.type);
    fn.get(given).set(copy);
    return copy;
  };
  return {
    laneVar,
    prologue() {
      em.enter();
      statements.loadPointers(args);
      let outside = normal.dependencies.bit(result);
      for (const variable of normal.variables.values()) outside |= normal.dependencies.bit(variable);
      em.lanes = laneVariable ? lanesFor(1) : null;
      statements.hoist(normal.body, outside, null, false);
      em.lanes = null;
    },
    scalar(value, vars) {
      em.enter();
      bind(vars);
      const expected = valTypeOf(part.result.type);
      if (value.type !== expected) throw new CompilerError(`an epilogue was given a ${value.type} result`, { expected });
      em.bindScalar(result, own(value));
      statements.block(normal.body);
      em.leave();
    },
    vector(values, vars) {
      const units = isWide(part.result.type) ? values.length / 2 : values.length;
      em.lanes = lanesFor(units);
      em.enter();
      bind(vars);
      em.bindVector(result, values.map(own));
      statements.block(normal.body);
      em.leave();
      em.lanes = null;
    },
  };
}
