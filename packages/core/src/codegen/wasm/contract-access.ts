/** How a contraction's operand is addressed: coordinates reduced to strides, and the range checks that remain. */
import { dtypeInfo } from '../../dtype.js';
import type { BufferRef } from '../../ir/expr.js';
import type { ContractDim, ContractOperand } from '../../ir/kernel.js';

/**
 * A range check that some indices can fail: c = offset + sum(coefficients[dim] * index[dim]) must satisfy 0 <= c,
 * c % dilation == 0 and c / dilation < extent.
 */
export interface Check {
  readonly coefficients: readonly number[];
  readonly offset: number;
  readonly extent: number;
  readonly dilation: number;
  /** Elements that c / dilation adds to the address; 0 when `dilation` is 1, where the strides of {@link Access} contain it. */
  readonly stride: number;
}

/** Element address = base + sum(strides[dim] * index[dim]) + what dilated checks add. */
export interface Access {
  readonly buffer: BufferRef;
  readonly elementBytes: number;
  readonly base: number;
  readonly strides: readonly number[];
  readonly checks: readonly Check[];
}

/** One loop over elements of an operand: several dimensions of the contraction when the operand steps through them evenly. */
export interface Axis {
  readonly extent: number;
  /** In elements. */
  readonly stride: number;
  /** What one step adds to the coordinate of each check. */
  readonly checkSteps: readonly number[];
}

/** Reduces the coordinates of an operand. Checks that no index can fail disappear. */
export function analyseOperand(dims: readonly ContractDim[], operand: ContractOperand): Access {
  const strides = dims.map(() => 0);
  const checks: Check[] = [];
  let base = 0;
  for (const coordinate of operand.coordinates) {
    const coefficients = dims.map(() => 0);
    let { dilation, offset } = coordinate;
    for (const term of coordinate.terms) coefficients[term.dim] = (coefficients[term.dim] ?? 0) + term.coefficient;
    dims.forEach((dim, d) => {
      if (dim.extent <= 1) coefficients[d] = 0;
    });
    if (dilation > 1 && offset % dilation === 0 && coefficients.every((c) => c % dilation === 0)) {
      offset /= dilation;
      for (let d = 0; d < dims.length; d++) coefficients[d] = (coefficients[d] ?? 0) / dilation;
      dilation = 1;
    }
    if (dilation === 1) {
      base += offset * coordinate.stride;
      for (let d = 0; d < dims.length; d++) strides[d] = (strides[d] ?? 0) + (coefficients[d] ?? 0) * coordinate.stride;
      let low = offset;
      let high = offset;
      dims.forEach((dim, d) => {
        const reach = (coefficients[d] ?? 0) * Math.max(0, dim.extent - 1);
        if (reach < 0) low += reach;
        else high += reach;
      });
      if (!coordinate.checked || (low >= 0 && high < coordinate.extent)) continue;
      checks.push({ coefficients, offset, extent: coordinate.extent, dilation, stride: 0 });
    } else {
      checks.push({ coefficients, offset, extent: coordinate.extent, dilation, stride: coordinate.stride });
    }
  }
  dims.forEach((dim, d) => {
    if (dim.extent <= 1) strides[d] = 0;
  });
  return { buffer: operand.buffer, elementBytes: dtypeInfo[operand.buffer.dtype].bytes, base, strides, checks };
}

/** Loops (outer to inner) of an operand over the dimensions `which`; neighbours that step evenly become one. At least one. */
export function axesOf(access: Access, dims: readonly ContractDim[], which: readonly number[]): Axis[] {
  const axes: Axis[] = [];
  for (const d of which) {
    const extent = dims[d]?.extent ?? 1;
    if (extent === 1) continue;
    const axis: Axis = {
      extent,
      stride: access.strides[d] ?? 0,
      checkSteps: access.checks.map((check) => check.coefficients[d] ?? 0),
    };
    const outer = axes[axes.length - 1];
    const even =
      outer !== undefined &&
      outer.stride === axis.stride * extent &&
      outer.checkSteps.every((step, j) => step === (axis.checkSteps[j] ?? 0) * extent);
    if (even) axes[axes.length - 1] = { ...axis, extent: outer.extent * extent };
    else axes.push(axis);
  }
  if (axes.length === 0) axes.push({ extent: 1, stride: 0, checkSteps: access.checks.map(() => 0) });
  return axes;
}

/** The innermost of some axes. */
export function innermost(axes: readonly Axis[]): Axis {
  const last = axes[axes.length - 1];
  if (last === undefined) throw new RangeError('no axes');
  return last;
}

/** Does the operand's value depend on any of these dimensions? */
export function dependsOn(access: Access, which: readonly number[]): boolean {
  return which.some((d) => access.strides[d] !== 0 || access.checks.some((check) => check.coefficients[d] !== 0));
}
