/** The part of a contraction that runs once sums are complete: index arithmetic around the epilogue's statements. */
import { CompilerError } from '../../errors.js';
import type { Expr, LoopVar } from '../../ir/expr.js';
import type { ContractPart, Kernel, Stmt } from '../../ir/kernel.js';
import type { FunctionBuilder, ModuleBuilder, WasmLocal } from './asm.js';
import type { VectorType } from './contract-vector.js';
import { bump } from './contract-walk.js';
import { createEpilogue } from './emit.js';

/** What `expr` grows by when `variable` grows by one; null when that is not a constant. */
export function slope(expr: Expr, variable: LoopVar): number | null {
  switch (expr.kind) {
    case 'const':
      return 0;
    case 'index':
      return expr.variable === variable ? 1 : 0;
    case 'binary': {
      const a = slope(expr.a, variable);
      const b = slope(expr.b, variable);
      if (a === null || b === null) return null;
      if (a === 0 && b === 0) return 0;
      if (expr.op === 'add') return a + b;
      if (expr.op === 'sub') return a - b;
      if (expr.op === 'mul' && expr.b.kind === 'const' && typeof expr.b.value === 'number') return a * expr.b.value;
      if (expr.op === 'mul' && expr.a.kind === 'const' && typeof expr.a.value === 'number') return b * expr.a.value;
      return null;
    }
    default:
      return mentions(expr, variable) ? null : 0;
  }
}

function mentions(expr: Expr, variable: LoopVar): boolean {
  switch (expr.kind) {
    case 'const':
      return false;
    case 'index':
      return expr.variable === variable;
    case 'local':
      return true;
    case 'load':
      return mentions(expr.index, variable) || (expr.guard !== null && mentions(expr.guard, variable));
    case 'unary':
    case 'cast':
    case 'bitcast':
      return mentions(expr.a, variable);
    case 'binary':
      return mentions(expr.a, variable) || mentions(expr.b, variable);
    case 'select':
      return mentions(expr.condition, variable) || mentions(expr.a, variable) || mentions(expr.b, variable);
    default:
      return expr satisfies never;
  }
}

/** How many of the epilogue's stores write consecutive elements as `variable` advances. */
export function unitStores(statements: readonly Stmt[], variable: LoopVar): number {
  let count = 0;
  for (const s of statements) {
    if (s.kind === 'store' && slope(s.index, variable) === 1) count++;
    else if (s.kind === 'if') count += unitStores(s.then, variable) + unitStores(s.otherwise, variable);
  }
  return count;
}

/** Dimensions of the output in the order they are flattened (outer to inner), by position in `part.dims`. */
export interface EpilogueSpec {
  readonly module: ModuleBuilder;
  readonly kernel: Kernel;
  readonly part: ContractPart;
  readonly v: VectorType;
  readonly batch: readonly number[];
  /** Outer loop over the block. */
  readonly outer: readonly number[];
  /** Inner loop: its last dimension runs along the vector's lanes. */
  readonly inner: readonly number[];
  /** Bytes in the tile from one flat outer (inner) index to the next. */
  readonly outerStep: number;
  readonly innerStep: number;
}

interface BoundDim {
  readonly extent: number;
  readonly local: WasmLocal;
}

/** `(args, tile, batch, outer0, outerCount, inner0, innerCount)`: runs the epilogue for a block of the output held in `tile`. */
export function emitEpilogue(spec: EpilogueSpec): FunctionBuilder {
  const { module, part, v } = spec;
  const fn = module.function(['i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32']);
  const [args, tile, batch, outer0, outerCount, inner0, innerCount] = fn.params as WasmLocal[] as [
    WasmLocal,
    WasmLocal,
    WasmLocal,
    WasmLocal,
    WasmLocal,
    WasmLocal,
    WasmLocal,
  ];
  const wide = (which: readonly number[]): readonly number[] => which.filter((d) => (part.dims[d]?.extent ?? 1) > 1);
  const innerDims = wide(spec.inner);
  const laneDim = innerDims[innerDims.length - 1];
  const epilogue = createEpilogue({
    module,
    fn,
    kernel: spec.kernel,
    args,
    part: { ...part, dims: part.dims.map((dim, d) => (dim.role === 'k' ? dim : { ...dim, role: d === laneDim ? 'n' : 'm' })) },
  });
  const vars = new Map<LoopVar, WasmLocal>();
  const bound = new Map<number, BoundDim>();
  let next = 0;
  part.dims.forEach((dim, d) => {
    if (dim.role === 'k') return;
    const variable = part.outputVars[next++];
    if (variable === undefined) throw new CompilerError('contraction with fewer outputVars than output dimensions');
    const local = fn.local('i32');
    vars.set(variable, local);
    bound.set(d, { extent: dim.extent, local });
    fn.i32(0).set(local);
  });
  const bind = (which: readonly number[]): BoundDim[] =>
    wide(which).map((d) => {
      const dim = bound.get(d);
      if (dim === undefined) throw new CompilerError(`contraction dimension ${d} is not an output dimension`);
      return dim;
    });
  const batchDims = bind(spec.batch);
  const outerDims = bind(spec.outer);
  const inner = bind(spec.inner);

  epilogue.prologue();
  unflatten(fn, batchDims, batch);
  const outerEnd = fn.local('i32');
  const outer = fn.local('i32');
  const left = fn.local('i32');
  const run = fn.local('i32');
  const address = fn.local('i32');
  const rowAddress = fn.local('i32');
  const value = fn.local(v.type);
  fn.get(outer0).tee(outer).get(outerCount).op('i32.add').set(outerEnd);
  fn.get(tile).set(rowAddress);
  const done = fn.block();
  const rows = fn.loop();
  fn.get(outer).get(outerEnd).op('i32.ge_u').brIf(done);
  unflatten(fn, outerDims, outer);
  unflatten(fn, inner, inner0);
  fn.get(rowAddress).set(address);
  const lane = inner[inner.length - 1];
  if (lane === undefined) {
    fn.get(address).mem(v.load).set(value);
    epilogue.scalar(value, vars);
  } else {
    fn.get(innerCount).set(left);
    const rowDone = fn.block();
    const runs = fn.loop();
    fn.get(left).op('i32.eqz').brIf(rowDone);
    if (inner.length === 1) fn.get(left).set(run);
    else {
      fn.i32(lane.extent).get(lane.local).op('i32.sub').set(run);
      fn.get(run).get(left);
      fn.get(run).get(left).op('i32.lt_u').op('select').set(run);
    }
    fn.get(left).get(run).op('i32.sub').set(left);
    if (epilogue.laneVar !== null) {
      const vectors = Array.from({ length: 4 / v.lanes }, () => fn.local('v128'));
      const tail = fn.block();
      const steps = fn.loop();
      fn.get(run).i32(4).op('i32.lt_u').brIf(tail);
      vectors.forEach((vector, i) => {
        loadTile(fn, v, address, i * v.lanes, spec.innerStep, vector);
      });
      epilogue.vector(vectors, vars);
      bump(fn, lane.local, 4);
      bump(fn, address, 4 * spec.innerStep);
      bump(fn, run, -4);
      fn.br(steps);
      fn.end();
      fn.end();
      fn.free(...vectors);
    }
    const runDone = fn.block();
    const singles = fn.loop();
    fn.get(run).op('i32.eqz').brIf(runDone);
    fn.get(address).mem(v.load).set(value);
    epilogue.scalar(value, vars);
    bump(fn, lane.local, 1);
    bump(fn, address, spec.innerStep);
    bump(fn, run, -1);
    fn.br(singles);
    fn.end();
    fn.end();
    if (inner.length > 1) {
      fn.i32(0).set(lane.local);
      const carried = fn.block();
      for (let d = inner.length - 2; d >= 0; d--) {
        const dim = inner[d];
        if (dim === undefined) break;
        bump(fn, dim.local, 1);
        if (d === 0) break;
        fn.get(dim.local).i32(dim.extent).op('i32.lt_u').brIf(carried);
        fn.i32(0).set(dim.local);
      }
      fn.end();
    }
    fn.br(runs);
    fn.end();
    fn.end();
  }
  bump(fn, outer, 1);
  bump(fn, rowAddress, spec.outerStep);
  fn.br(rows);
  fn.end();
  fn.end();
  return fn;
}

function loadTile(fn: FunctionBuilder, v: VectorType, address: WasmLocal, first: number, step: number, out: WasmLocal): void {
  const align = Math.log2(v.bytes);
  if (step === v.bytes) {
    fn.get(address)
      .mem('v128.load', first * step, align)
      .set(out);
    return;
  }
  fn.get(address)
    .mem(v.loadFirst, first * step)
    .set(out);
  for (let lane = 1; lane < v.lanes; lane++) {
    fn.get(address)
      .get(out)
      .laneMem(v.loadLane, lane, (first + lane) * step)
      .set(out);
  }
}

function unflatten(fn: FunctionBuilder, dims: readonly BoundDim[], flat: WasmLocal): void {
  const rest = fn.local('i32');
  fn.get(flat).set(rest);
  for (let d = dims.length - 1; d >= 0; d--) {
    const dim = dims[d];
    if (dim === undefined) continue;
    if (d === 0) fn.get(rest).set(dim.local);
    else {
      fn.get(rest).i32(dim.extent).op('i32.rem_u').set(dim.local);
      fn.get(rest).i32(dim.extent).op('i32.div_u').set(rest);
    }
  }
  fn.free(rest);
}
