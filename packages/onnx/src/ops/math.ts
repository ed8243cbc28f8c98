/** Functions of single numbers. */
import {
  abs,
  acos,
  acosh,
  asin,
  asinh,
  atan,
  atanh,
  cast,
  ceil,
  clamp,
  cos,
  cosh,
  eq,
  erf,
  exp,
  floor,
  isInf,
  isNaN,
  log,
  maximum,
  minimum,
  neg,
  reciprocal,
  round,
  sigmoid,
  sign,
  sin,
  sinh,
  sqrt,
  type Tensor,
  tan,
  tanh,
} from 'trireme';
import { halfToEven, inOrder, isUnsignedType } from '../engine/carrier.js';
import type { ElementType } from '../engine/element-type.js';
import { TensorValue } from '../engine/value.js';
import { optionalTensorAt, tensorAt } from './arguments.js';
import type { OpContext, OpTable } from './definition.js';
import { type Operand, operandOf, predicate, unary } from './elementwise.js';
import { foldsOnHost, hostMap } from './host.js';
import { computed } from './tensors.js';

const same = (x: bigint): bigint => x;

/** Limits as inputs (each optional) or, up to opset 10, as attributes. */
function limitOf(x: TensorValue, input: TensorValue | null, name: string, ctx: OpContext): TensorValue | null {
  if (input !== null) return input;
  const limit = ctx.opset < 11 ? ctx.attrs.optionalFloat(name) : undefined;
  return limit === undefined ? null : TensorValue.ofHost(Float32Array.of(limit), x.type, []);
}

function clipped(x: TensorValue, min: TensorValue | null, max: TensorValue | null): TensorValue {
  const limits = [min, max].filter((limit) => limit !== null);
  if (limits.length === 0) return x;
  if (foldsOnHost([x, ...limits])) {
    const low = min === null ? x : hostMap([x, min], x.type, { number: Math.max, bigint: (a, b) => (a > b ? a : b) });
    const high =
      low === undefined || max === null ? low : hostMap([low, max], x.type, { number: Math.min, bigint: (a, b) => (a < b ? a : b) });
    if (high !== undefined) return high;
  }
  const [low, high] = [min, max].map((limit) => (limit === null ? null : numberOf(operandOf(limit, x))));
  if (typeof low !== 'object' || low === null) {
    if (typeof high !== 'object' || high === null) return computed(x.type, () => clamp(x.tensor, { min: low, max: high }));
  }
  return computed(x.type, () => {
    let result = inOrder(x.tensor, x.type);
    if (min !== null) result = maximum(result, inOrder(min.tensor, x.type));
    if (max !== null) result = minimum(result, inOrder(max.tensor, x.type));
    return inOrder(result, x.type);
  });
}

/** An operand that fits a number as one. */
function numberOf(operand: Operand): Tensor | number {
  return typeof operand === 'bigint' ? Number(operand) : operand;
}

const signOf = (x: Tensor, type: ElementType): Tensor => (type === 'uint64' ? cast(cast(x, 'bool'), x.dtype) : sign(x));

export const mathOps = {
  Abs: unary((x, type) => (isUnsignedType(type) ? x : abs(x)), { number: Math.abs, bigint: (x) => (x < 0n ? -x : x) }),
  Neg: unary((x) => neg(x), { number: (x) => -x, bigint: (x) => -x }),
  Sign: unary(signOf, { number: Math.sign, bigint: (x) => (x > 0n ? 1n : x < 0n ? -1n : 0n) }),
  Floor: unary(floor, { number: Math.floor, bigint: same }),
  Ceil: unary(ceil, { number: Math.ceil, bigint: same }),
  Round: unary(round, { number: halfToEven, bigint: same }),
  Sqrt: unary(sqrt, { number: Math.sqrt }),
  Reciprocal: unary(reciprocal, { number: (x) => 1 / x }),
  Exp: unary(exp),
  Log: unary(log, { number: Math.log }),
  Sin: unary(sin),
  Cos: unary(cos),
  Tan: unary(tan),
  Asin: unary(asin),
  Acos: unary(acos),
  Atan: unary(atan),
  Sinh: unary(sinh),
  Cosh: unary(cosh),
  Tanh: unary(tanh),
  Asinh: unary(asinh),
  Acosh: unary(acosh),
  Atanh: unary(atanh),
  Erf: unary((x) => cast(erf(x), x.dtype)),
  Sigmoid: unary(sigmoid),
  IsNaN: predicate(isNaN),
  IsInf: predicate((x, ctx) => {
    const [positive, negative] = [ctx.attrs.int('detect_positive', 1) !== 0, ctx.attrs.int('detect_negative', 1) !== 0];
    if (positive && negative) return isInf(x);
    if (positive || negative) return eq(x, positive ? Infinity : -Infinity);
    return eq(x, NaN);
  }),
  Clip: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const min = limitOf(x, optionalTensorAt(inputs, 1, ctx), 'min', ctx);
    return clipped(x, min, limitOf(x, optionalTensorAt(inputs, 2, ctx), 'max', ctx));
  },
} satisfies OpTable;
