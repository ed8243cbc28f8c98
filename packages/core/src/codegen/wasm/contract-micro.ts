/**
 * The innermost loops of a contraction: a few rows times all columns of a block, accumulators in registers.
 * `(a, b, c, kCount, panels, tail, accumulate)`: c[row][column] = (accumulate ? c : 0) + sum over k of a[row][k] * b[k][column].
 */
import { CompilerError } from '../../errors.js';
import type { FunctionBuilder, ModuleBuilder, WasmLocal } from './asm.js';
import { multiplyAdd, type VectorType, zeroBytes } from './contract-vector.js';
import { addProduct, bump } from './contract-walk.js';

export interface RowKernelSpec {
  readonly v: VectorType;
  readonly relaxed: boolean;
  readonly rows: number;
  /** Vectors in a panel of columns. */
  readonly vectors: number;
  /** Vectors of the narrower last panel (done when `tail` is not 0); 0 when every panel is full. */
  readonly tailVectors: number;
  /** Strides in bytes. */
  readonly a: { readonly row: number; readonly k: number };
  /** `panel` null: panels are packed one after another, kCount * k bytes each. */
  readonly b: { readonly k: number; readonly panel: number | null };
  readonly cRow: number;
  /** False when the accumulators always start from 0. */
  readonly accumulates: boolean;
}

/** Columns lie side by side in vectors; rows are broadcast. */
export function emitRowKernel(module: ModuleBuilder, spec: RowKernelSpec): FunctionBuilder {
  const fn = module.function(['i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32']);
  const [a, b, c, kCount, panels, tail, accumulate] = fn.params as WasmLocal[] as [
    WasmLocal,
    WasmLocal,
    WasmLocal,
    WasmLocal,
    WasmLocal,
    WasmLocal,
    WasmLocal,
  ];
  const block = (vectors: number): void => {
    emitBlock(fn, spec, vectors, { a, b, c, kCount, accumulate });
  };
  const done = fn.block();
  const loop = fn.loop();
  fn.get(panels).op('i32.eqz').brIf(done);
  block(spec.vectors);
  if (spec.b.panel === null) {
    fn.get(b);
    addProduct(fn, kCount, spec.b.k);
    fn.set(b);
  } else bump(fn, b, spec.b.panel);
  bump(fn, c, spec.vectors * 16);
  bump(fn, panels, -1);
  fn.br(loop);
  fn.end();
  fn.end();
  if (spec.tailVectors > 0) {
    fn.get(tail);
    fn.if();
    block(spec.tailVectors);
    fn.end();
  }
  return fn;
}

interface BlockLocals {
  readonly a: WasmLocal;
  readonly b: WasmLocal;
  readonly c: WasmLocal;
  readonly kCount: WasmLocal;
  readonly accumulate: WasmLocal;
}

function emitBlock(fn: FunctionBuilder, spec: RowKernelSpec, vectors: number, p: BlockLocals): void {
  const { v, rows } = spec;
  const grid = Array.from({ length: rows }, () => Array.from({ length: vectors }, () => fn.local('v128')));
  const bs = Array.from({ length: vectors }, () => fn.local('v128'));
  const x = fn.local('v128');
  const pa = fn.local('i32');
  const pb = fn.local('i32');
  const left = fn.local('i32');
  const start = (): void => {
    for (const row of grid) for (const cell of row) fn.v128(zeroBytes).set(cell);
  };
  if (spec.accumulates) {
    fn.get(p.accumulate);
    fn.if();
    grid.forEach((row, i) => {
      row.forEach((cell, j) => {
        fn.get(p.c)
          .mem('v128.load', i * spec.cRow + j * 16, 2)
          .set(cell);
      });
    });
    fn.else();
    start();
    fn.end();
  } else start();
  fn.get(p.a).set(pa);
  fn.get(p.b).set(pb);
  // One step per round: engines emit the loads of a block first, so unrolled steps would spill the accumulators.
  const done = fn.block();
  fn.get(p.kCount).tee(left).op('i32.eqz').brIf(done);
  const loop = fn.loop();
  bs.forEach((local, j) => {
    fn.get(pb)
      .mem('v128.load', j * 16, 2)
      .set(local);
  });
  grid.forEach((row, i) => {
    fn.get(pa)
      .mem(v.loadSplat, i * spec.a.row)
      .set(x);
    row.forEach((cell, j) => {
      multiplyAdd(fn, v, spec.relaxed, cell, x, bs[j] as WasmLocal);
    });
  });
  bump(fn, pa, spec.a.k);
  bump(fn, pb, spec.b.k);
  bump(fn, left, -1);
  fn.get(left).brIf(loop);
  fn.end();
  fn.end();
  grid.forEach((row, i) => {
    row.forEach((cell, j) => {
      fn.get(p.c)
        .get(cell)
        .mem('v128.store', i * spec.cRow + j * 16, 2);
    });
  });
  fn.free(...grid.flat(), ...bs, x, pa, pb, left);
}

export interface DotKernelSpec {
  readonly v: VectorType;
  readonly relaxed: boolean;
  readonly rows: number;
  /** Groups of `lanes` columns done at once. */
  readonly groups: number;
  /** Columns left over after the groups (0 .. groups * lanes - 1), done when `tail` is not 0. */
  readonly tailColumns: number;
  /** Bytes from row to row of a, and from column to column of b; k is contiguous in both. */
  readonly aRow: number;
  readonly bColumn: number;
  readonly cRow: number;
  readonly accumulates: boolean;
}

/** k lies side by side in vectors, for both operands: no packing. For few rows. Same signature as {@link emitRowKernel}. */
export function emitDotKernel(module: ModuleBuilder, spec: DotKernelSpec): FunctionBuilder {
  const fn = module.function(['i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32']);
  const [a, b, c, kCount, panels, tail, accumulate] = fn.params as WasmLocal[] as [
    WasmLocal,
    WasmLocal,
    WasmLocal,
    WasmLocal,
    WasmLocal,
    WasmLocal,
    WasmLocal,
  ];
  const { v } = spec;
  const columns = spec.groups * v.lanes;
  const locals = { a, b, c, kCount, accumulate };
  const done = fn.block();
  const loop = fn.loop();
  fn.get(panels).op('i32.eqz').brIf(done);
  emitDots(fn, spec, columns, locals);
  bump(fn, b, spec.bColumn * columns);
  bump(fn, c, columns * v.bytes);
  bump(fn, panels, -1);
  fn.br(loop);
  fn.end();
  fn.end();
  if (spec.tailColumns > 0) {
    fn.get(tail);
    fn.if();
    emitDots(fn, spec, spec.tailColumns, locals);
    fn.end();
  }
  return fn;
}

function emitDots(fn: FunctionBuilder, spec: DotKernelSpec, columns: number, p: BlockLocals): void {
  const { v, rows } = spec;
  const grid = Array.from({ length: rows }, () => Array.from({ length: columns }, () => fn.local('v128')));
  const as = Array.from({ length: rows }, () => fn.local('v128'));
  const x = fn.local('v128');
  const pa = fn.local('i32');
  const pb = fn.local('i32');
  const left = fn.local('i32');
  for (const row of grid) for (const cell of row) fn.v128(zeroBytes).set(cell);
  fn.get(p.a).set(pa);
  fn.get(p.b).set(pb);
  fn.get(p.kCount).set(left);
  const walk = (steps: number, load: 'v128.load' | VectorType['loadFirst']): void => {
    const align = Math.log2(v.bytes);
    const end = fn.block();
    const loop = fn.loop();
    fn.get(left).i32(steps).op('i32.lt_s').brIf(end);
    as.forEach((local, i) => {
      fn.get(pa)
        .mem(load, i * spec.aRow, align)
        .set(local);
    });
    for (let j = 0; j < columns; j++) {
      fn.get(pb)
        .mem(load, j * spec.bColumn, align)
        .set(x);
      as.forEach((local, i) => {
        const cell = grid[i]?.[j];
        if (cell) multiplyAdd(fn, v, spec.relaxed, cell, local, x);
      });
    }
    bump(fn, pa, steps * v.bytes);
    bump(fn, pb, steps * v.bytes);
    bump(fn, left, -steps);
    fn.br(loop);
    fn.end();
    fn.end();
  };
  walk(v.lanes, 'v128.load');
  walk(1, v.loadFirst);
  grid.forEach((row, i) => {
    for (let j = 0; j < columns; j += v.lanes) {
      const group = row.slice(j, j + v.lanes);
      const offset = i * spec.cRow + j * v.bytes;
      horizontalSum(fn, v, group, x);
      const store = (value: () => void): void => {
        fn.get(p.c);
        value();
        fn.mem('v128.store', offset, 2);
      };
      if (spec.accumulates) {
        fn.get(p.accumulate);
        fn.if();
        fn.get(x).get(p.c).mem('v128.load', offset, 2).op(v.add).set(x);
        fn.end();
      }
      store(() => fn.get(x));
    }
  });
  fn.free(...grid.flat(), ...as, x, pa, pb, left);
}

/** out lane i = sum of the lanes of vector i (missing vectors count as 0). */
function horizontalSum(fn: FunctionBuilder, v: VectorType, group: readonly WasmLocal[], out: WasmLocal): void {
  const get = (i: number): void => {
    const local = group[i];
    if (local) fn.get(local);
    else fn.v128(zeroBytes);
  };
  if (v.lanes === 2) {
    get(0);
    get(1);
    fn.shuffle64(0, 2);
    get(0);
    get(1);
    fn.shuffle64(1, 3).op(v.add).set(out);
    return;
  }
  if (group.length === 0) throw new CompilerError('horizontal sum of nothing');
  const low = fn.local('v128');
  const pair = (i: number): void => {
    get(i);
    get(i + 1);
    fn.shuffle32(0, 4, 1, 5);
    get(i);
    get(i + 1);
    fn.shuffle32(2, 6, 3, 7).op(v.add);
  };
  // pair(i) = [x0+x2, y0+y2, x1+x3, y1+y3]
  pair(0);
  fn.set(low);
  pair(2);
  fn.set(out);
  const high = fn.local('v128');
  fn.get(low).get(out).shuffle64(0, 2).set(high);
  fn.get(low).get(out).shuffle64(1, 3).get(high).op(v.add).set(out);
  fn.free(low, high);
}
