/** Reading the inputs of an operator. */
import { TensorValue, type Value } from '../engine/value.js';
import type { OpContext } from './definition.js';

/** Input `k`, which the node must have. @throws FormatError when it is missing or no tensor */
export function tensorAt(inputs: readonly (Value | null)[], k: number, ctx: OpContext): TensorValue {
  return optionalTensorAt(inputs, k, ctx) ?? ctx.fail(`input ${k} is missing`);
}

/** Input `k`, null where the node has none. @throws FormatError when it is no tensor */
export function optionalTensorAt(inputs: readonly (Value | null)[], k: number, ctx: OpContext): TensorValue | null {
  const value = inputs[k] ?? null;
  if (value === null || value.kind === 'tensor') return value;
  return ctx.fail(`input ${k} is a ${value.kind}`, 'a tensor');
}

/** All inputs, each of which must be a tensor. */
export function tensorsOf(inputs: readonly (Value | null)[], ctx: OpContext): TensorValue[] {
  return inputs.map((_, k) => tensorAt(inputs, k, ctx));
}

/** The content as numbers; reads the value, which ends a recording where it is not known. */
export function numbersOf(value: TensorValue): number[] {
  return Array.from(value.host as ArrayLike<number | bigint | string>, Number);
}

/** The axis counted from the front. */
export function axisOf(axis: number, rank: number, ctx: OpContext): number {
  // A scalar counts as one element along one axis.
  const limit = Math.max(rank, 1);
  if (!Number.isInteger(axis) || axis < -limit || axis >= limit) {
    return ctx.fail(`axis ${axis} of ${rank} dimensions`, `an axis from ${-limit} to ${limit - 1}`);
  }
  return axis < 0 ? axis + limit : axis;
}

export function axesOf(axes: readonly number[], rank: number, ctx: OpContext): number[] {
  return axes.map((axis) => axisOf(axis, rank, ctx));
}

/** Numbers that later versions give as input `k` and earlier ones as an attribute; undefined where neither is there. */
export function numbersAt(inputs: readonly (Value | null)[], k: number, attribute: string, ctx: OpContext): readonly number[] | undefined {
  const value = optionalTensorAt(inputs, k, ctx);
  return value === null ? ctx.attrs.optionalInts(attribute) : numbersOf(value);
}

/** int64 values for a result that stays on the host. */
export function int64Value(values: readonly number[], shape: readonly number[] = [values.length]): TensorValue {
  return TensorValue.ofHost(BigInt64Array.from(values, BigInt), 'int64', shape);
}
