/** Elementwise functions of two operands: promotion and broadcasting as in PyTorch. */

import type { DType } from '../dtype.js';
import { dtypeInfo, isFloat } from '../dtype.js';
import { DTypeError } from '../errors.js';
import { shapesEqual } from '../graph/layout.js';
import type { Primitive, VjpContext } from '../graph/primitive.js';
import type { BinaryOp, Expr, ExprBuilder } from '../ir/expr.js';
import { raised } from '../tensor/autocast.js';
import { apply1 } from '../tensor/dispatch.js';
import { Tensor } from '../tensor/tensor.js';
import { copysignElement, floorDivideElement, hypotElement, intPowElement, logaddexpElement, remainderElement } from './binary-elements.js';
import type { TensorOrScalar } from './common.js';
import { alignPair, floatTypeOf, resultType } from './common.js';
import { pointwise } from './define.js';
import { where } from './ternary.js';
import { exp, floor, log, neg, reciprocal, rsqrt, sigmoid, sqrt, trunc } from './unary.js';

/** All binary primitives, in the order of their definition. */
export const binaryPrimitives: Primitive[] = [];

type Element = (b: ExprBuilder, x: Expr, y: Expr, dtype: DType) => Expr;
type Context = VjpContext<Record<string, never>>;
type Rule = (ctx: Context, g: Tensor) => readonly (Tensor | null)[];

function define(name: string, element: Element, saves: { inputs?: number[]; outputs?: number[] }, vjp: Rule | null, cost = 1): Primitive {
  const p = pointwise<Record<string, never>>({
    name,
    arity: 2,
    element: (b, [x, y], _, dtype) => element(b, x, y, dtype),
    saves,
    vjp,
    cost,
  });
  binaryPrimitives.push(p);
  return p;
}
function compare(name: string, element: Element): Primitive {
  const p = pointwise({ name, arity: 2, dtype: () => 'bool', element: (b, [x, y], _, dtype) => element(b, x, y, dtype), vjp: null });
  binaryPrimitives.push(p);
  return p;
}
/** One kernel instruction; truth values take `ofBool`. */
function op(instruction: BinaryOp, ofBool?: BinaryOp): Element {
  return (b, x, y) => b.binary(x.type === 'bool' && ofBool !== undefined ? ofBool : instruction, x, y);
}
/** Comparisons of truth values compare 0 and 1. */
function ordered(element: (b: ExprBuilder, x: Expr, y: Expr) => Expr): Element {
  return (b, x, y) => (x.type === 'bool' ? element(b, b.cast(x, 'i32'), b.cast(y, 'i32')) : element(b, x, y));
}

/** A rule with one function an input, called for the inputs that want a gradient. */
function rules(first: (ctx: Context, g: Tensor) => Tensor, second: (ctx: Context, g: Tensor) => Tensor): Rule {
  return (ctx, g) => [ctx.needs(0) ? first(ctx, g) : null, ctx.needs(1) ? second(ctx, g) : null];
}
/** Ties between the operands of maximum and minimum share the gradient. */
function extremeRule(wins: (x: Tensor, y: Tensor) => Tensor): Rule {
  const share = (g: Tensor, x: Tensor, y: Tensor): Tensor => where(eq(x, y), mul(g, 0.5), where(wins(y, x), 0, g));
  return rules(
    (ctx, g) => share(g, ctx.input(0), ctx.input(1)),
    (ctx, g) => share(g, ctx.input(1), ctx.input(0)),
  );
}

const both = { inputs: [0, 1] };

const addPrimitive = define('add', op('add', 'or'), {}, (_, g) => [g, g]);
const subPrimitive = define('sub', op('sub'), {}, (ctx, g) => [g, ctx.needs(1) ? neg(g) : null]);
const mulPrimitive = define(
  'mul',
  op('mul', 'and'),
  both,
  rules(
    (ctx, g) => mul(g, ctx.input(1)),
    (ctx, g) => mul(g, ctx.input(0)),
  ),
);
const divPrimitive = define(
  'div',
  op('div'),
  both,
  rules(
    (ctx, g) => div(g, ctx.input(1)),
    (ctx, g) => neg(mul(div(g, ctx.input(1)), div(ctx.input(0), ctx.input(1)))),
  ),
  3,
);
const floorDividePrimitive = define('floorDivide', floorDivideElement, {}, () => [null, null], 10);
const remainderPrimitive = define(
  'remainder',
  remainderElement,
  both,
  rules(
    (_, g) => g,
    (ctx, g) => neg(mul(g, floor(div(ctx.input(0), ctx.input(1))))),
  ),
  10,
);
const fmodPrimitive = define(
  'fmod',
  op('rem'),
  both,
  rules(
    (_, g) => g,
    (ctx, g) => neg(mul(g, trunc(div(ctx.input(0), ctx.input(1))))),
  ),
  10,
);
const powPrimitive = define(
  'pow',
  (b, x, y) => (x.type === 'f32' || x.type === 'f64' ? b.binary('pow', x, y) : intPowElement(b, x, y)),
  { inputs: [0, 1], outputs: [0] },
  rules(
    (ctx, g) => {
      const [x, y] = [ctx.input(0), ctx.input(1)];
      return where(eq(y, 0), 0, mul(g, mul(y, pow(x, sub(y, 1)))));
    },
    (ctx, g) => {
      const [x, y] = [ctx.input(0), ctx.input(1)];
      // 0 ** y stays 0 for y >= 0, although log(0) is infinite.
      const flat = logicalAnd(eq(x, 0), ge(y, 0));
      return where(flat, 0, mul(g, mul(ctx.output(0), log(where(flat, 1, x)))));
    },
  ),
  40,
);
const maximumPrimitive = define('maximum', op('max', 'or'), both, extremeRule(gt));
const minimumPrimitive = define('minimum', op('min', 'and'), both, extremeRule(lt));
const atan2Primitive = define(
  'atan2',
  op('atan2'),
  both,
  (ctx, g) => {
    const [y, x] = [ctx.input(0), ctx.input(1)];
    const scaled = div(g, add(mul(x, x), mul(y, y)));
    return [ctx.needs(0) ? mul(scaled, x) : null, ctx.needs(1) ? neg(mul(scaled, y)) : null];
  },
  30,
);
const copysignPrimitive = define(
  'copysign',
  copysignElement,
  { inputs: [0], outputs: [0] },
  (ctx, g) => {
    const x = ctx.input(0);
    return [where(eq(x, 0), 0, mul(g, div(ctx.output(0), x))), null];
  },
  3,
);
const hypotPrimitive = define(
  'hypot',
  hypotElement,
  { inputs: [0, 1], outputs: [0] },
  rules(
    (ctx, g) => mul(g, div(ctx.input(0), ctx.output(0))),
    (ctx, g) => mul(g, div(ctx.input(1), ctx.output(0))),
  ),
  12,
);
const logaddexpPrimitive = define(
  'logaddexp',
  logaddexpElement,
  both,
  rules(
    (ctx, g) => mul(g, sigmoid(sub(ctx.input(0), ctx.input(1)))),
    (ctx, g) => mul(g, sigmoid(sub(ctx.input(1), ctx.input(0)))),
  ),
  30,
);

const eqPrimitive = compare(
  'eq',
  ordered((b, x, y) => b.binary('eq', x, y)),
);
const nePrimitive = compare(
  'ne',
  ordered((b, x, y) => b.binary('ne', x, y)),
);
const ltPrimitive = compare(
  'lt',
  ordered((b, x, y) => b.binary('lt', x, y)),
);
const lePrimitive = compare(
  'le',
  ordered((b, x, y) => b.binary('le', x, y)),
);
const gtPrimitive = compare(
  'gt',
  ordered((b, x, y) => b.binary('lt', y, x)),
);
const gePrimitive = compare(
  'ge',
  ordered((b, x, y) => b.binary('le', y, x)),
);
const logical =
  (instruction: BinaryOp): Element =>
  (b, x, y) =>
    b.binary(instruction, b.cast(x, 'bool'), b.cast(y, 'bool'));
const logicalAndPrimitive = compare('logicalAnd', logical('and'));
const logicalOrPrimitive = compare('logicalOr', logical('or'));
const logicalXorPrimitive = compare('logicalXor', logical('xor'));

const bitwiseAndPrimitive = define('bitwiseAnd', op('and'), {}, null);
const bitwiseOrPrimitive = define('bitwiseOr', op('or'), {}, null);
const bitwiseXorPrimitive = define('bitwiseXor', op('xor'), {}, null);
const leftShiftPrimitive = define('leftShift', op('shl'), {}, null);
const rightShiftPrimitive = define('rightShift', op('shr'), {}, null);

/** Applies a primitive to two operands brought to the dtype `typeOf` makes of their common one. */
function binary(p: Primitive, a: TensorOrScalar, b: TensorOrScalar, typeOf?: (common: DType) => DType): Tensor {
  if (a instanceof Tensor && b instanceof Tensor && a.dtype === b.dtype && (a.shape === b.shape || shapesEqual(a.shape, b.shape))) {
    if (typeOf === undefined || typeOf(a.dtype) === a.dtype) return apply1(p, [a, b]);
  }
  const common = resultType(a, b);
  return apply1(p, alignPair(a, b, typeOf === undefined ? common : typeOf(common), p.name));
}
function rejectBool(name: string, fix: string): (dtype: DType) => DType {
  return (dtype) => {
    if (dtype === 'bool')
      throw new DTypeError('truth values are not numbers', { op: name, received: 'bool', expected: 'a float or int tensor', fix });
    return dtype;
  };
}
function requireBits(name: string, boolToo: boolean): (dtype: DType) => DType {
  return (dtype) => {
    const { kind } = dtypeInfo[dtype];
    if (kind === 'int' || (kind === 'bool' && boolToo)) return dtype;
    throw new DTypeError(`${dtype} operands have no bits to work on`, {
      op: name,
      received: dtype,
      expected: boolToo ? 'int or bool tensors' : 'int tensors',
    });
  };
}

const subType = rejectBool('sub', 'Use logicalXor for truth values.');
const remainderType = rejectBool('remainder', 'Convert to an int dtype.');
const fmodType = rejectBool('fmod', 'Convert to an int dtype.');
const floorDivideType = rejectBool('floorDivide', 'Convert to an int dtype.');

/** `a + b`; of truth values, or. */
export function add(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(addPrimitive, a, b);
}
/** `a - b`. @throws DTypeError for two bool operands. */
export function sub(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(subPrimitive, a, b, subType);
}
/** `a * b`; of truth values, and. */
export function mul(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(mulPrimitive, a, b);
}
/** The real quotient: whole numbers give float32. */
export function div(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(divPrimitive, a, b, floatTypeOf);
}
/** `floor(a / b)` in the operands' dtype. A whole number divided by 0 gives 0. */
export function floorDivide(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(floorDividePrimitive, a, b, floorDivideType);
}
/** The remainder with the sign of the divisor (Python's %). */
export function remainder(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(remainderPrimitive, a, b, remainderType);
}
/** The remainder with the sign of the dividend (C's fmod). */
export function fmod(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(fmodPrimitive, a, b, fmodType);
}
/** The larger of both; NaN if either is. The gradient of ties is shared. */
export function maximum(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(maximumPrimitive, a, b);
}
/** The smaller of both; NaN if either is. The gradient of ties is shared. */
export function minimum(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(minimumPrimitive, a, b);
}
/** The angle of the point (x = b, y = a), in radians from -pi to pi. */
export function atan2(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(atan2Primitive, a, b, floatTypeOf);
}
/** The magnitude of a with the sign of b. */
export function copysign(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(copysignPrimitive, a, b, floatTypeOf);
}
/** `sqrt(a * a + b * b)` without overflow on the way. */
export function hypot(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(hypotPrimitive, a, b, floatTypeOf);
}
/** `log(exp(a) + exp(b))` without overflow on the way. */
export function logaddexp(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(logaddexpPrimitive, a, b, floatTypeOf);
}

/** Exponents that have an exact and cheaper form. */
const specialPowers = new Map<number, (x: Tensor) => Tensor>([
  [0.5, sqrtOf],
  [-0.5, (x) => rsqrt(x)],
  [-1, (x) => reciprocal(x)],
  [1, (x) => mul(x, 1)],
  [2, (x) => mul(x, x)],
  [3, (x) => mul(mul(x, x), x)],
]);
function sqrtOf(x: Tensor): Tensor {
  return sqrt(x);
}

function raisedOperand(x: TensorOrScalar): TensorOrScalar {
  return x instanceof Tensor ? raised(x) : x;
}

/**
 * `base ** exponent`. Whole-number operands give whole numbers (a negative exponent then truncates to 0, except of 1 and -1).
 */
export function pow(base: TensorOrScalar, exponent: TensorOrScalar): Tensor {
  const [a, b] = [raisedOperand(base), raisedOperand(exponent)];
  if (a instanceof Tensor && typeof b === 'number' && isFloat(a.dtype)) {
    const special = specialPowers.get(b);
    if (special !== undefined) return special(a);
  }
  if (a === Math.E && b instanceof Tensor) return exp(b);
  return binary(powPrimitive, a, b, rejectBool('pow', 'Convert to an int dtype.'));
}

export function eq(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(eqPrimitive, a, b);
}
export function ne(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(nePrimitive, a, b);
}
export function lt(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(ltPrimitive, a, b);
}
export function le(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(lePrimitive, a, b);
}
export function gt(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(gtPrimitive, a, b);
}
export function ge(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(gePrimitive, a, b);
}
/** Operands count as true where they are not 0. */
export function logicalAnd(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(logicalAndPrimitive, a, b);
}
export function logicalOr(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(logicalOrPrimitive, a, b);
}
export function logicalXor(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(logicalXorPrimitive, a, b);
}

const andType = requireBits('bitwiseAnd', true);
const orType = requireBits('bitwiseOr', true);
const xorType = requireBits('bitwiseXor', true);
const leftType = requireBits('bitwiseLeftShift', false);
const rightType = requireBits('bitwiseRightShift', false);

export function bitwiseAnd(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(bitwiseAndPrimitive, a, b, andType);
}
export function bitwiseOr(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(bitwiseOrPrimitive, a, b, orType);
}
export function bitwiseXor(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(bitwiseXorPrimitive, a, b, xorType);
}
/** `a * 2 ** b`, the bits moved left. */
export function bitwiseLeftShift(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(leftShiftPrimitive, a, b, leftType);
}
/** `floor(a / 2 ** b)`, the bits moved right with the sign kept. */
export function bitwiseRightShift(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return binary(rightShiftPrimitive, a, b, rightType);
}
export { bitwiseLeftShift as leftShift, bitwiseRightShift as rightShift };
/** `b - a`. */
export function rsub(a: TensorOrScalar, b: TensorOrScalar): Tensor {
  return sub(b, a);
}
