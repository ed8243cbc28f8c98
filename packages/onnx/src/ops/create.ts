/** Tensors from nothing or little: constants, ranges, and values handed on. */
import { add, arange, eq, full, reshape } from 'trireme';
import { castTensor, isFloatType } from '../engine/carrier.js';
import { elementInfo } from '../engine/element-type.js';
import { densify } from '../engine/transfer.js';
import { TensorValue } from '../engine/value.js';
import { numbersOf, tensorAt } from './arguments.js';
import { sizeOf } from './arrange.js';
import { typeAttribute } from './cast.js';
import type { OpContext, OpTable } from './definition.js';
import { type HostNumbers, hostCast, hostLimit, hostWriter } from './host.js';
import { computed } from './tensors.js';

/** The one attribute that holds the content of a Constant. */
function constant(ctx: OpContext): TensorValue {
  const { attrs, node } = ctx;
  if (attrs.has('value')) return attrs.tensor('value');
  if (attrs.has('value_float')) return TensorValue.ofHost(Float32Array.of(attrs.float('value_float')), 'float32', []);
  if (attrs.has('value_int')) return TensorValue.ofHost(BigInt64Array.from(bigintsOf('value_int', ctx)), 'int64', []);
  if (attrs.has('value_string')) return TensorValue.ofHost([attrs.string('value_string')], 'string', []);
  if (attrs.has('value_floats')) {
    const floats = Float32Array.from(attrs.floats('value_floats'));
    return TensorValue.ofHost(floats, 'float32', [floats.length]);
  }
  if (attrs.has('value_ints')) {
    const ints = BigInt64Array.from(bigintsOf('value_ints', ctx));
    return TensorValue.ofHost(ints, 'int64', [ints.length]);
  }
  if (attrs.has('value_strings')) {
    const strings = attrs.strings('value_strings');
    return TensorValue.ofHost(strings, 'string', [strings.length]);
  }
  const sparse = node.attributes.get('sparse_value');
  if (sparse?.kind === 'sparse') {
    const { host, type } = densify(sparse.value);
    return TensorValue.ofHost(host, type, sparse.value.dims);
  }
  return ctx.fail('there is no value', 'one of value, sparse_value, value_int(s), value_float(s), value_string(s)');
}

/** Integers of an attribute with all their bits. */
function bigintsOf(name: string, ctx: OpContext): readonly bigint[] {
  const attribute = ctx.node.attributes.get(name);
  if (attribute?.kind === 'int') return [attribute.value];
  return attribute?.kind === 'ints' ? attribute.value : ctx.fail(`${name} holds no integers`);
}

/** `start + i * delta`. Half floats are computed in float32 and rounded once. */
function numberRange(start: TensorValue, limit: TensorValue, delta: TensorValue, ctx: OpContext): TensorValue {
  const { type } = start;
  if (type === 'int64' || type === 'uint64') {
    const [from, to, step] = [start, limit, delta].map((value) => (value.host as BigInt64Array | BigUint64Array)[0]);
    if (step === 0n) ctx.fail('delta is 0');
    const span = to - from;
    const whole = span / step + (span % step === 0n ? 0n : 1n);
    const writer = hostWriter(type, span > 0n === step > 0n && span !== 0n ? Number(whole) : 0);
    for (let i = 0; i < writer.data.length; i++) writer.set(i, from + BigInt(i) * step);
    return TensorValue.ofHost(writer.data, type, [writer.data.length]);
  }
  const [from, to, step] = [start, limit, delta].map((value) => numbersOf(value)[0]);
  if (step === 0) ctx.fail('delta is 0');
  const round = type === 'float64' ? (x: number) => x : Math.fround;
  const length = Math.max(Math.ceil(round(round(to - from) / step)), 0);
  const writer = hostWriter(type, length);
  for (let i = 0; i < length; i++) writer.set(i, isFloatType(type) ? round(from + round(i * step)) : from + i * step);
  return TensorValue.ofHost(writer.data, type, [length]);
}

export const createOps = {
  Identity: ([x], ctx) => x ?? ctx.fail('input 0 is missing'),
  Constant: (_, ctx) => constant(ctx),
  ConstantOfShape: (inputs, ctx) => {
    const shape = numbersOf(tensorAt(inputs, 0, ctx));
    const value = ctx.attrs.has('value') ? ctx.attrs.tensor('value') : TensorValue.ofHost(Float32Array.of(0), 'float32', [1]);
    const size = sizeOf(shape);
    const { carrier } = elementInfo[value.type];
    const element = value.host[0];
    if (size > hostLimit && carrier !== null && typeof element !== 'string') {
      const stored = typeof element === 'bigint' ? BigInt.asIntN(64, element) : element;
      return computed(value.type, () => full(shape, stored, { dtype: carrier }));
    }
    if (typeof element === 'string') return TensorValue.ofHost(new Array<string>(size).fill(element), 'string', shape);
    const writer = hostWriter(value.type, size);
    for (let i = 0; i < size; i++) writer.set(i, element);
    return TensorValue.ofHost(writer.data, value.type, shape);
  },
  Range: (inputs, ctx) => numberRange(tensorAt(inputs, 0, ctx), tensorAt(inputs, 1, ctx), tensorAt(inputs, 2, ctx), ctx),
  EyeLike: (inputs, ctx) => {
    const like = tensorAt(inputs, 0, ctx);
    const type = typeAttribute('dtype', ctx, like.type);
    const [rows, columns] = like.shape;
    if (like.shape.length !== 2) ctx.fail(`an input of ${like.shape.length} dimensions`, 'a matrix');
    const k = ctx.attrs.int('k', 0);
    return computed(type, () => {
      const down = add(reshape(arange(rows, { dtype: 'int32' }), [rows, 1]), k);
      return castTensor(eq(down, arange(columns, { dtype: 'int32' })), 'bool', type);
    });
  },
  // Names of the first opsets.
  ConstantFill: (inputs, ctx) => {
    const shape = ctx.attrs.int('input_as_shape', 0) === 0 ? ctx.attrs.ints('shape') : numbersOf(tensorAt(inputs, 0, ctx));
    const value = TensorValue.ofHost(Float32Array.of(ctx.attrs.float('value', 0)), 'float32', [1]);
    const type = typeAttribute('dtype', ctx, 'float32');
    const element = (hostCast(value, type).host as HostNumbers)[0];
    const writer = hostWriter(type, sizeOf(shape));
    for (let i = 0; i < writer.data.length; i++) writer.set(i, element);
    return TensorValue.ofHost(writer.data, type, shape);
  },
} satisfies OpTable;
