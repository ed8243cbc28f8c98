/** What elementwise operators share: one rule for the device, one for the host, and the broadcasting of the first opsets. */
import { reshape, type Tensor } from 'trireme';
import { narrow } from '../engine/carrier.js';
import { type ElementType, elementInfo } from '../engine/element-type.js';
import { TensorValue, type Value } from '../engine/value.js';
import { axisOf, tensorAt } from './arguments.js';
import { sizeOf } from './arrange.js';
import type { OpContext, OpFunction } from './definition.js';
import { foldsOnHost, type HostRule, hostMap } from './host.js';
import { computed } from './tensors.js';

/** An operand: known single elements go into the kernel as constants. */
export type Operand = Tensor | number | bigint;

/** An operator of one input. `device` gets the carrier and the element type. */
export function unary(device: (x: Tensor, type: ElementType, ctx: OpContext) => Tensor, host?: HostRule): OpFunction {
  return (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    if (host !== undefined && foldsOnHost([x])) return hostMap([x], x.type, host) ?? x;
    return computed(x.type, () => device(x.tensor, x.type, ctx));
  };
}

/** A test of each element. */
export function predicate(device: (x: Tensor, ctx: OpContext) => Tensor): OpFunction {
  return (inputs, ctx) => computed('bool', () => device(tensorAt(inputs, 0, ctx).tensor, ctx));
}

export interface BinaryRule {
  /** Operands in the carrier of `type`; at least one is a tensor. */
  device(a: Operand, b: Operand, type: ElementType, ctx: OpContext): Tensor;
  readonly host: HostRule;
  /** Type of the result; that of the operands when left out. */
  readonly result?: ElementType;
  /** Whether results may leave the range of a type that is carried in a wider one. */
  readonly overflows?: boolean;
}

/** Up to opset 6 the second operand is laid along the axes of the first from `axis` on, when `broadcast` says so. */
export function aligned(a: TensorValue, b: TensorValue, ctx: OpContext): TensorValue {
  const axis = ctx.opset < 7 ? ctx.attrs.optionalInt('axis') : undefined;
  if (axis === undefined || ctx.attrs.int('broadcast', 0) === 0) return b;
  const rank = a.shape.length;
  const trailing = rank - axisOf(axis, rank, ctx) - b.shape.length;
  if (trailing <= 0) return b;
  const shape = [...b.shape, ...new Array<number>(trailing).fill(1)];
  return b.isKnown ? TensorValue.ofHost(b.host, b.type, shape) : TensorValue.ofTensor(reshape(b.tensor, shape), b.type);
}

/** The operand as a number where it is one known element that does not add dimensions, else the tensor. */
export function operandOf(value: TensorValue, beside: TensorValue): Operand {
  if (!value.isKnown || sizeOf(value.shape) !== 1 || value.shape.length > beside.shape.length) return value.tensor;
  if (value.type === 'bool' || value.type === 'uint64') return value.tensor;
  const element = value.host[0];
  if (typeof element === 'bigint') return BigInt.asIntN(64, element);
  return typeof element === 'number' ? element : value.tensor;
}

export function combine(a: TensorValue, b: TensorValue, rule: BinaryRule, ctx: OpContext): TensorValue {
  const type = rule.result ?? a.type;
  if (foldsOnHost([a, b])) {
    return hostMap([a, b], type, rule.host) ?? ctx.fail(`[${a.shape.join(', ')}] and [${b.shape.join(', ')}] do not broadcast`);
  }
  const second = operandOf(b, a);
  return computed(type, () => {
    const result = rule.device(typeof second === 'object' ? operandOf(a, b) : a.tensor, second, a.type, ctx);
    return rule.overflows === true ? narrow(result, type) : result;
  });
}

export function binary(rule: BinaryRule): OpFunction {
  return (inputs, ctx) => {
    const a = tensorAt(inputs, 0, ctx);
    const b = aligned(a, tensorAt(inputs, 1, ctx), ctx);
    return combine(a, b, rule, ctx);
  };
}

/** Any number of inputs that broadcast, combined from left to right. */
export function fold(inputs: readonly (Value | null)[], rule: BinaryRule, ctx: OpContext): TensorValue {
  let total = tensorAt(inputs, 0, ctx);
  for (let k = 1; k < inputs.length; k++) total = combine(total, tensorAt(inputs, k, ctx), rule, ctx);
  return total;
}

/** Whether the elements are computed as floats on the device. */
export function isFloatCarrier(type: ElementType): boolean {
  const { carrier } = elementInfo[type];
  return carrier !== null && /float/.test(carrier);
}
