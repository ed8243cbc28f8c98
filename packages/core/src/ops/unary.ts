/** Elementwise functions of one tensor. */
import { dtypeInfo, isFloat } from '../dtype.js';
import { DTypeError } from '../errors.js';
import type { Attrs, Primitive, VjpContext } from '../graph/primitive.js';
import type { Expr, ExprBuilder, UnaryOp } from '../ir/expr.js';
import { raised } from '../tensor/autocast.js';
import { apply1 } from '../tensor/dispatch.js';
import type { Tensor } from '../tensor/tensor.js';
import { add, div, gt, logicalAnd, lt, mul, sub } from './binary.js';
import { cast } from './cast.js';
import { requireKind, toFloat } from './common.js';
import { pointwise } from './define.js';
import { polygammaElement } from './special.js';
import { where } from './ternary.js';

type Rule = (g: Tensor, x: Tensor) => Tensor;

/** All unary primitives, in the order of their definition. */
export const unaryPrimitives: Primitive[] = [];

function register(p: Primitive): Primitive {
  unaryPrimitives.push(p);
  return p;
}

/** A function whose gradient rule reads its input. */
function fromInput(name: string, element: UnaryOp | ((b: ExprBuilder, x: Expr) => Expr), rule: Rule, cost = 1): Primitive {
  return register(
    pointwise({
      name,
      arity: 1,
      element: (b, [x]) => (typeof element === 'string' ? b.unary(element, x) : element(b, x)),
      saves: { inputs: [0] },
      vjp: (ctx, g) => [rule(g, ctx.input(0))],
      cost,
    }),
  );
}

/** A function whose gradient rule reads its output. */
function fromOutput(name: string, element: UnaryOp | ((b: ExprBuilder, x: Expr) => Expr), rule: Rule, cost = 1): Primitive {
  return register(
    pointwise({
      name,
      arity: 1,
      element: (b, [x]) => (typeof element === 'string' ? b.unary(element, x) : element(b, x)),
      saves: { outputs: [0] },
      vjp: (ctx, g) => [rule(g, ctx.output(0))],
      cost,
    }),
  );
}

/** A piecewise constant or linear function: its gradient rule reads nothing. */
function fromNothing(
  name: string,
  element: (b: ExprBuilder, x: Expr) => Expr,
  vjp: (ctx: VjpContext<Attrs>, g: Tensor) => readonly (Tensor | null)[],
): Primitive {
  return register(pointwise({ name, arity: 1, element: (b, [x]) => element(b, x), vjp }));
}

/** A test of each element. */
function predicate(name: string, element: (b: ExprBuilder, x: Expr) => Expr): Primitive {
  return register(pointwise({ name, arity: 1, dtype: () => 'bool', element: (b, [x]) => element(b, x), vjp: null }));
}

const num = (b: ExprBuilder, like: Expr, value: number): Expr => b.const(like.type, value);
const isFloatExpr = (x: Expr): boolean => x.type === 'f32' || x.type === 'f64';

const negPrimitive = fromNothing(
  'neg',
  (b, x) => b.unary('neg', x),
  (_, g) => [neg(g)],
);
const absPrimitive = fromInput('abs', 'abs', (g, x) => mul(g, sign(x)));
const signPrimitive = fromNothing(
  'sign',
  (b, x) => {
    const zero = num(b, x, 0);
    return b.select(b.binary('lt', zero, x), num(b, x, 1), b.select(b.binary('lt', x, zero), num(b, x, -1), zero));
  },
  () => [null],
);
const floorPrimitive = fromNothing(
  'floor',
  (b, x) => b.unary('floor', x),
  () => [null],
);
const ceilPrimitive = fromNothing(
  'ceil',
  (b, x) => b.unary('ceil', x),
  () => [null],
);
const roundPrimitive = fromNothing(
  'round',
  (b, x) => b.unary('roundEven', x),
  () => [null],
);
const truncPrimitive = fromNothing(
  'trunc',
  (b, x) => b.unary('trunc', x),
  () => [null],
);

const sqrtPrimitive = fromOutput('sqrt', 'sqrt', (g, y) => div(g, mul(y, 2)), 4);
const rsqrtPrimitive = fromOutput('rsqrt', 'rsqrt', (g, y) => mul(mul(g, -0.5), mul(y, mul(y, y))), 6);
const reciprocalPrimitive = fromOutput(
  'reciprocal',
  (b, x) => b.binary('div', num(b, x, 1), x),
  (g, y) => neg(mul(g, mul(y, y))),
  3,
);
const expPrimitive = fromOutput('exp', 'exp', (g, y) => mul(g, y), 12);
const exp2Primitive = fromOutput('exp2', 'exp2', (g, y) => mul(g, mul(y, Math.LN2)), 12);
const expm1Primitive = fromOutput('expm1', 'expm1', (g, y) => mul(g, add(y, 1)), 20);
const logPrimitive = fromInput('log', 'log', (g, x) => div(g, x), 14);
const log2Primitive = fromInput('log2', 'log2', (g, x) => div(g, mul(x, Math.LN2)), 14);
const log10Primitive = fromInput(
  'log10',
  (b, x) => b.binary('div', b.unary('log', x), num(b, x, Math.LN10)),
  (g, x) => div(g, mul(x, Math.LN10)),
  15,
);
const log1pPrimitive = fromInput('log1p', 'log1p', (g, x) => div(g, add(x, 1)), 18);
const sinPrimitive = fromInput('sin', 'sin', (g, x) => mul(g, cos(x)), 16);
const cosPrimitive = fromInput('cos', 'cos', (g, x) => neg(mul(g, sin(x))), 16);
const tanPrimitive = fromOutput('tan', 'tan', (g, y) => mul(g, add(mul(y, y), 1)), 24);
const asinPrimitive = fromInput('asin', 'asin', (g, x) => mul(g, rsqrt(sub(1, mul(x, x)))), 20);
const acosPrimitive = fromInput('acos', 'acos', (g, x) => neg(mul(g, rsqrt(sub(1, mul(x, x))))), 20);
const atanPrimitive = fromInput('atan', 'atan', (g, x) => div(g, add(mul(x, x), 1)), 20);
const sinhPrimitive = fromInput('sinh', 'sinh', (g, x) => mul(g, cosh(x)), 24);
const coshPrimitive = fromInput('cosh', 'cosh', (g, x) => mul(g, sinh(x)), 24);
const tanhPrimitive = fromOutput('tanh', 'tanh', (g, y) => mul(g, sub(1, mul(y, y))), 18);
const asinhPrimitive = fromInput('asinh', 'asinh', (g, x) => mul(g, rsqrt(add(mul(x, x), 1))), 24);
const acoshPrimitive = fromInput('acosh', 'acosh', (g, x) => mul(g, rsqrt(sub(mul(x, x), 1))), 24);
const atanhPrimitive = fromInput('atanh', 'atanh', (g, x) => div(g, sub(1, mul(x, x))), 24);
const erfPrimitive = fromInput('erf', 'erf', (g, x) => mul(g, mul(exp(neg(mul(x, x))), 2 / Math.sqrt(Math.PI))), 24);
const erfcPrimitive = fromInput('erfc', 'erfc', (g, x) => mul(g, mul(exp(neg(mul(x, x))), -2 / Math.sqrt(Math.PI))), 30);
const erfinvPrimitive = fromOutput('erfinv', 'erfinv', (g, y) => mul(g, mul(exp(mul(y, y)), Math.sqrt(Math.PI) / 2)), 40);
const lgammaPrimitive = fromInput('lgamma', 'lgamma', (g, x) => mul(g, digamma(x)), 60);
const digammaPrimitive = fromInput('digamma', 'digamma', (g, x) => mul(g, polygamma(1, x)), 60);
const sigmoidPrimitive = fromOutput('sigmoid', 'sigmoid', (g, y) => mul(g, mul(y, sub(1, y))), 14);
const reluPrimitive = fromOutput(
  'relu',
  (b, x) => b.select(b.binary('lt', x, num(b, x, 0)), num(b, x, 0), x),
  (g, y) => where(gt(y, 0), g, 0),
);

const polygammaPrimitive = register(
  pointwise<{ readonly n: number }>({
    name: 'polygamma',
    arity: 1,
    element: (b, [x], { n }) => polygammaElement(b, n, x),
    saves: { inputs: [0] },
    vjp: (ctx, g) => [mul(g, polygamma(ctx.attrs.n + 1, ctx.input(0)))],
    cost: 80,
  }),
);

const clampPrimitive = register(
  pointwise<{ readonly min: number | null; readonly max: number | null }>({
    name: 'clamp',
    arity: 1,
    element: (b, [x], { min, max }) => {
      const raised = min === null ? x : b.binary('max', x, num(b, x, min));
      return max === null ? raised : b.binary('min', raised, num(b, x, max));
    },
    saves: { inputs: [0] },
    vjp: (ctx, g) => {
      const { min, max } = ctx.attrs;
      const x = ctx.input(0);
      // As in PyTorch, an element on a limit has no gradient.
      const above = min === null ? null : gt(x, min);
      const below = max === null ? null : lt(x, max);
      const inside = above !== null && below !== null ? logicalAnd(above, below) : (above ?? below);
      return [inside === null ? g : where(inside, g, 0)];
    },
  }),
);

const isNaNPrimitive = predicate('isNaN', (b, x) => (isFloatExpr(x) ? b.binary('ne', x, x) : b.const('bool', false)));
const isInfPrimitive = predicate('isInf', (b, x) =>
  isFloatExpr(x) ? b.binary('eq', b.unary('abs', x), num(b, x, Infinity)) : b.const('bool', false),
);
const isFinitePrimitive = predicate('isFinite', (b, x) =>
  isFloatExpr(x) ? b.binary('lt', b.unary('abs', x), num(b, x, Infinity)) : b.const('bool', true),
);
const logicalNotPrimitive = predicate('logicalNot', (b, x) => b.unary('not', b.cast(x, 'bool')));
const bitwiseNotPrimitive = register(pointwise({ name: 'bitwiseNot', arity: 1, element: (b, [x]) => b.unary('not', x), vjp: null }));

/** A function of real numbers: integers and bool convert to float32 first. */
function real(p: Primitive): (x: Tensor) => Tensor {
  return (x) => apply1(p, [isFloat(x.dtype) ? x : toFloat(x)]);
}
/** One whose results span a wide range: half precision is too coarse for it inside autocast. */
function wideReal(p: Primitive): (x: Tensor) => Tensor {
  return (x) => apply1(p, [isFloat(x.dtype) ? raised(x) : toFloat(x)]);
}
/** A function that leaves whole numbers as they are. */
function rounding(p: Primitive): (x: Tensor) => Tensor {
  return (x) => {
    if (isFloat(x.dtype)) return apply1(p, [x]);
    requireKind(x, ['float', 'int'], p.name);
    return x;
  };
}

/** `-x`. @throws DTypeError for bool. */
export function neg(x: Tensor): Tensor {
  if (x.dtype === 'bool') throw new DTypeError('a truth value has no sign', { op: 'neg', received: 'bool', fix: 'Use logicalNot.' });
  return apply1(negPrimitive, [x]);
}
/** `|x|`. */
export function abs(x: Tensor): Tensor {
  if (x.dtype === 'bool') throw new DTypeError('a truth value has no magnitude', { op: 'abs', received: 'bool', fix: 'Use it as it is.' });
  return apply1(absPrimitive, [x]);
}
/** -1, 0 or 1; 0 for NaN. */
export function sign(x: Tensor): Tensor {
  return x.dtype === 'bool' ? x : apply1(signPrimitive, [x]);
}
/** Largest whole number at most x. */
export const floor = rounding(floorPrimitive);
/** Smallest whole number at least x. */
export const ceil = rounding(ceilPrimitive);
/** Nearest whole number, halves to even. */
export const round = rounding(roundPrimitive);
/** x without its fraction. */
export const trunc = rounding(truncPrimitive);
/** The fraction `x - trunc(x)`, with the sign of x. */
export function frac(x: Tensor): Tensor {
  requireKind(x, ['float'], 'frac');
  return sub(x, trunc(x));
}
export const sqrt = real(sqrtPrimitive);
/** `1 / sqrt(x)`. */
export const rsqrt = wideReal(rsqrtPrimitive);
/** `x * x`. */
export function square(x: Tensor): Tensor {
  return mul(x, x);
}
/** `1 / x`. */
export const reciprocal = wideReal(reciprocalPrimitive);
export const exp = wideReal(expPrimitive);
/** `2 ** x`. */
export const exp2 = real(exp2Primitive);
/** `exp(x) - 1`, exact near 0. */
export const expm1 = wideReal(expm1Primitive);
/** Natural logarithm. */
export const log = wideReal(logPrimitive);
export const log2 = wideReal(log2Primitive);
export const log10 = wideReal(log10Primitive);
/** `log(1 + x)`, exact near 0. */
export const log1p = wideReal(log1pPrimitive);
export const sin = real(sinPrimitive);
export const cos = real(cosPrimitive);
export const tan = wideReal(tanPrimitive);
export const asin = wideReal(asinPrimitive);
export const acos = wideReal(acosPrimitive);
export const atan = real(atanPrimitive);
export const sinh = wideReal(sinhPrimitive);
export const cosh = wideReal(coshPrimitive);
export const tanh = real(tanhPrimitive);
export const asinh = real(asinhPrimitive);
export const acosh = real(acoshPrimitive);
export const atanh = real(atanhPrimitive);
/** The error function `2 / sqrt(pi) * integral of exp(-t^2) from 0 to x`. */
export const erf = real(erfPrimitive);
/** `1 - erf(x)`, without cancellation for large x. */
export const erfc = real(erfcPrimitive);
/** Inverse of erf. */
export const erfinv = wideReal(erfinvPrimitive);
/** `log |gamma(x)|`. */
export const lgamma = real(lgammaPrimitive);
/** Derivative of lgamma. */
export const digamma = real(digammaPrimitive);
/** `1 / (1 + exp(-x))`. */
export const sigmoid = real(sigmoidPrimitive);
/** `max(x, 0)`. The gradient at 0 is 0. */
export function relu(x: Tensor): Tensor {
  requireKind(x, ['float', 'int'], 'relu');
  return apply1(reluPrimitive, [x]);
}
/** The n-th derivative of digamma, n at least 1; for n above 1 the arguments are positive (elsewhere NaN). */
export function polygamma(n: number, x: Tensor): Tensor {
  return apply1(polygammaPrimitive, [toFloat(x)], { n });
}

/** Limits to numbers; used by `clamp`, which also takes tensors. */
export function clampToNumbers(x: Tensor, min: number | null, max: number | null): Tensor {
  if (x.dtype === 'bool') throw new DTypeError('truth values have no order', { op: 'clamp', received: 'bool' });
  const fractional = (v: number | null): boolean => v !== null && !Number.isInteger(v);
  const promoted = !isFloat(x.dtype) && (fractional(min) || fractional(max)) ? cast(x, 'float32') : x;
  return apply1(clampPrimitive, [promoted], { min, max });
}

/** True where x is not a number. */
export function isNaN(x: Tensor): Tensor {
  return apply1(isNaNPrimitive, [x]);
}
/** True where x is an infinity. */
export function isInf(x: Tensor): Tensor {
  return apply1(isInfPrimitive, [x]);
}
/** True where x is neither an infinity nor NaN. */
export function isFinite(x: Tensor): Tensor {
  return apply1(isFinitePrimitive, [x]);
}
/** True where x is 0 or false. */
export function logicalNot(x: Tensor): Tensor {
  return apply1(logicalNotPrimitive, [x]);
}
/** All bits inverted; of bool, the negation. @throws DTypeError for floats. */
export function bitwiseNot(x: Tensor): Tensor {
  if (dtypeInfo[x.dtype].kind === 'float')
    throw new DTypeError(`${x.dtype} has no bits to invert`, { op: 'bitwiseNot', expected: 'an int or bool tensor' });
  return apply1(bitwiseNotPrimitive, [x]);
}
export { isFinite as isfinite, isInf as isinf, isNaN as isnan };
