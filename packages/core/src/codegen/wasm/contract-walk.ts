/** Index arithmetic of contraction kernels: flat positions to addresses, and walking k in runs. */
import { CompilerError } from '../../errors.js';
import type { FunctionBuilder, WasmLocal } from './asm.js';
import { type Access, type Axis, innermost } from './contract-access.js';

export interface PackSpec {
  readonly access: Access;
  readonly rows: readonly Axis[];
  readonly k: readonly Axis[];
  /** Elements from one k to the next in a panel; a multiple of the vector's lanes. */
  readonly width: number;
  /** Rows in a panel, at most `width`. */
  readonly panelRows: number;
}

/** Pushes `local * factor`, or nothing but the sum so far when factor is 0: use between two operands of an addition. */
export function addProduct(fn: FunctionBuilder, local: WasmLocal, factor: number): void {
  if (factor === 0) return;
  fn.get(local);
  if (factor !== 1) fn.i32(factor).op('i32.mul');
  fn.op('i32.add');
}

/** local += amount. */
export function bump(fn: FunctionBuilder, local: WasmLocal, amount: number): void {
  if (amount !== 0) fn.get(local).i32(amount).op('i32.add').set(local);
}

/** An element that must exist. */
export function at<T>(list: readonly T[], i: number): T {
  const item = list[i];
  if (item === undefined) throw new CompilerError(`index ${i} outside a list of ${list.length}`);
  return item;
}

/** Splits a flat index into the offset in bytes and the check coordinates it contributes, added to `offset` and `coordinates`. */
export function addPosition(
  fn: FunctionBuilder,
  axes: readonly Axis[],
  elementBytes: number,
  flat: WasmLocal,
  offset: WasmLocal,
  coordinates: readonly WasmLocal[],
  indices: readonly (WasmLocal | null)[] = [],
): void {
  const rest = fn.local('i32');
  const digit = fn.local('i32');
  fn.get(flat).set(rest);
  for (let d = axes.length - 1; d >= 0; d--) {
    const axis = at(axes, d);
    if (d === 0) fn.get(rest).set(digit);
    else {
      fn.get(rest).i32(axis.extent).op('i32.rem_u').set(digit);
      fn.get(rest).i32(axis.extent).op('i32.div_u').set(rest);
    }
    const index = indices[d];
    if (index) fn.get(digit).set(index);
    if (axis.stride !== 0) {
      fn.get(offset);
      addProduct(fn, digit, axis.stride * elementBytes);
      fn.set(offset);
    }
    coordinates.forEach((coordinate, j) => {
      const step = axis.checkSteps[j] ?? 0;
      if (step === 0) return;
      fn.get(coordinate);
      addProduct(fn, digit, step);
      fn.set(coordinate);
    });
  }
  fn.free(rest, digit);
}

/** Walks k in runs along its innermost axis, keeping the byte offset and the check coordinates. */
export class KWalk {
  readonly offset: WasmLocal;
  readonly coordinates: readonly WasmLocal[];
  readonly run: WasmLocal;
  readonly inner: Axis;
  private readonly indices: readonly WasmLocal[];
  private readonly left: WasmLocal;
  private readonly fn: FunctionBuilder;
  private readonly spec: PackSpec;

  constructor(fn: FunctionBuilder, spec: PackSpec) {
    this.fn = fn;
    this.spec = spec;
    this.offset = fn.local('i32');
    this.coordinates = spec.access.checks.map(() => fn.local('i32'));
    this.indices = spec.k.map(() => fn.local('i32'));
    this.run = fn.local('i32');
    this.left = fn.local('i32');
    this.inner = innermost(spec.k);
  }
  /** `eachRun` emits code that does `run` steps from the current position, leaving offset and coordinates `run` steps further. */
  emit(k0: WasmLocal, count: WasmLocal, eachRun: () => void): void {
    const { fn, spec } = this;
    const bytes = spec.access.elementBytes;
    const last = spec.k.length - 1;
    fn.i32(0).set(this.offset);
    for (const c of this.coordinates) fn.i32(0).set(c);
    addPosition(fn, spec.k, bytes, k0, this.offset, this.coordinates, this.indices);
    fn.get(count).set(this.left);
    const innerIndex = at(this.indices, last);
    const done = fn.block();
    const loop = fn.loop();
    fn.get(this.left).op('i32.eqz').brIf(done);
    if (last === 0) fn.get(this.left).set(this.run);
    else {
      fn.i32(this.inner.extent).get(innerIndex).op('i32.sub').set(this.run);
      fn.get(this.run).get(this.left);
      fn.get(this.run).get(this.left).op('i32.lt_u').op('select').set(this.run);
    }
    fn.get(this.left).get(this.run).op('i32.sub').set(this.left);
    eachRun();
    if (last > 0) {
      fn.i32(0).set(innerIndex);
      this.advance(this.inner, -this.inner.extent);
      const carried = fn.block();
      for (let d = last - 1; d >= 0; d--) {
        const axis = at(spec.k, d);
        const index = at(this.indices, d);
        this.advance(axis, 1);
        bump(fn, index, 1);
        if (d === 0) break;
        fn.get(index).i32(axis.extent).op('i32.lt_u').brIf(carried);
        fn.i32(0).set(index);
        this.advance(axis, -axis.extent);
      }
      fn.end();
    }
    fn.br(loop);
    fn.end();
    fn.end();
  }
  /** Moves by a constant number of steps along an axis. */
  advance(axis: Axis, steps: number): void {
    bump(this.fn, this.offset, axis.stride * this.spec.access.elementBytes * steps);
    this.coordinates.forEach((c, j) => {
      bump(this.fn, c, (axis.checkSteps[j] ?? 0) * steps);
    });
  }
  /** Moves by `steps` (a local) along the innermost axis. */
  advanceBy(steps: WasmLocal): void {
    const { fn, inner } = this;
    const move = (target: WasmLocal, amount: number): void => {
      if (amount === 0) return;
      fn.get(target);
      addProduct(fn, steps, amount);
      fn.set(target);
    };
    move(this.offset, inner.stride * this.spec.access.elementBytes);
    this.coordinates.forEach((c, j) => {
      move(c, inner.checkSteps[j] ?? 0);
    });
  }
  free(): void {
    this.fn.free(this.offset, ...this.coordinates, ...this.indices, this.run, this.left);
  }
}
