/** Sequences of tensors, and values that may be missing. */
import { reshape, unsqueeze } from 'trireme';
import type { ElementType } from '../engine/element-type.js';
import { type OptionalValue, type SequenceValue, TensorValue, type Value } from '../engine/value.js';
import { axisOf, int64Value, numbersOf, optionalTensorAt, tensorAt, tensorsOf } from './arguments.js';
import { reshaped } from './arrange.js';
import { typeAttribute } from './cast.js';
import type { OpContext, OpTable } from './definition.js';
import { concatenated, sliced } from './parts.js';

function sequence(items: readonly TensorValue[], type?: ElementType): SequenceValue {
  return { kind: 'sequence', type: items[0]?.type ?? type, items };
}

function sequenceAt(inputs: readonly (Value | null)[], k: number, ctx: OpContext): SequenceValue {
  const value = inputs[k] ?? null;
  if (value?.kind === 'sequence') return value;
  return ctx.fail(value === null ? `input ${k} is missing` : `input ${k} is a ${value.kind}`, 'a sequence');
}

/** A position in a sequence, from its end where negative. `limit` is one behind the last allowed. */
function positionOf(value: TensorValue | null, fallback: number, limit: number, length: number, ctx: OpContext): number {
  if (value === null) return fallback;
  const given = numbersOf(value)[0];
  const position = given < 0 ? given + length : given;
  return position >= 0 && position < limit ? position : ctx.fail(`position ${given} in a sequence of ${length}`);
}

/** Without the axis, or with it as a new one. */
function withoutAxis(x: TensorValue, axis: number): TensorValue {
  const shape = x.shape.toSpliced(axis, 1);
  return reshaped(x, shape, (t) => reshape(t, shape));
}
function withAxis(x: TensorValue, axis: number): TensorValue {
  return reshaped(x, x.shape.toSpliced(axis, 0, 1), (t) => unsqueeze(t, axis));
}

/** Pieces along an axis: of given lengths, of one length (the last may be shorter), or single slices. */
function splitUp(x: TensorValue, lengths: TensorValue | null, axis: number, keepdims: boolean): TensorValue[] {
  const extent = x.shape[axis];
  if (lengths === null) {
    const slices = Array.from({ length: extent }, (_, i) => sliced(x, axis, i, 1));
    return keepdims ? slices : slices.map((slice) => withoutAxis(slice, axis));
  }
  const given = numbersOf(lengths);
  const sizes = lengths.shape.length > 0 ? given : [];
  if (lengths.shape.length === 0) for (let rest = extent; rest > 0; rest -= given[0]) sizes.push(Math.min(given[0], rest));
  let start = 0;
  return sizes.map((size) => {
    start += size;
    return sliced(x, axis, start - size, size);
  });
}

/** Runs the body once for each position: sequences give their items, tensors take part whole. */
function mapped(inputs: readonly (Value | null)[], ctx: OpContext): SequenceValue[] {
  const { length } = sequenceAt(inputs, 0, ctx).items;
  const body = ctx.attrs.graph('body');
  const results: TensorValue[][] = body.outputs.map(() => []);
  for (let i = 0; i < length; i++) {
    const values = inputs.map((value, k) => {
      const item = value?.kind === 'sequence' ? value.items[i] : value;
      return item ?? ctx.fail(`input ${k} has no item ${i}`);
    });
    for (const [k, value] of ctx.run(body, values).entries()) {
      if (value.kind !== 'tensor') ctx.fail(`output ${k} of the body is a ${value.kind}`, 'a tensor');
      else results[k].push(value);
    }
  }
  return results.map((items, k) => {
    const type = body.outputs[k].type;
    return sequence(items, type?.kind === 'tensor' ? type.element : undefined);
  });
}

export const sequenceOps = {
  SequenceConstruct: (inputs, ctx) => sequence(tensorsOf(inputs, ctx)),
  SequenceEmpty: (_, ctx) => sequence([], typeAttribute('dtype', ctx, 'float32')),
  SequenceLength: (inputs, ctx) => int64Value([sequenceAt(inputs, 0, ctx).items.length], []),
  SequenceAt: (inputs, ctx) => {
    const { items } = sequenceAt(inputs, 0, ctx);
    return items[positionOf(tensorAt(inputs, 1, ctx), 0, items.length, items.length, ctx)];
  },
  SequenceInsert: (inputs, ctx) => {
    const { items } = sequenceAt(inputs, 0, ctx);
    const at = positionOf(optionalTensorAt(inputs, 2, ctx), items.length, items.length + 1, items.length, ctx);
    return sequence(items.toSpliced(at, 0, tensorAt(inputs, 1, ctx)));
  },
  SequenceErase: (inputs, ctx) => {
    const { items, type } = sequenceAt(inputs, 0, ctx);
    const at = positionOf(optionalTensorAt(inputs, 1, ctx), items.length - 1, items.length, items.length, ctx);
    return sequence(items.toSpliced(at, 1), type);
  },
  SequenceMap: mapped,
  SplitToSequence: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const axis = axisOf(ctx.attrs.int('axis', 0), x.shape.length, ctx);
    return sequence(splitUp(x, optionalTensorAt(inputs, 1, ctx), axis, ctx.attrs.int('keepdims', 1) !== 0), x.type);
  },
  ConcatFromSequence: (inputs, ctx) => {
    const { items } = sequenceAt(inputs, 0, ctx);
    const isNew = ctx.attrs.int('new_axis', 0) !== 0;
    const rank = (items[0] ?? ctx.fail('the sequence is empty')).shape.length;
    const axis = axisOf(ctx.attrs.int('axis'), isNew ? rank + 1 : rank, ctx);
    return concatenated(isNew ? items.map((item) => withAxis(item, axis)) : items, axis, ctx);
  },
  Optional: ([value]): OptionalValue => {
    if (value === undefined || value === null) return { kind: 'optional', value: null };
    return value.kind === 'optional' ? value : { kind: 'optional', value: value.kind === 'map' ? null : value };
  },
  OptionalHasElement: ([value]) => {
    const has = value !== undefined && value !== null && (value.kind !== 'optional' || value.value !== null);
    return TensorValue.ofHost(Uint8Array.of(Number(has)), 'bool', []);
  },
  OptionalGetElement: ([value], ctx) => {
    if (value === undefined || value === null) return ctx.fail('input 0 is missing');
    if (value.kind !== 'optional') return value;
    return value.value ?? ctx.fail('the optional is empty', 'a value in it');
  },
} satisfies OpTable;
