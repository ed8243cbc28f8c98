/**
 * Expands transcendental functions into core operations, for backends that have no instruction for them.
 *
 * f32 results are within 4 ulp everywhere (most within 2), denormals, infinities, NaN and signed zeros included; f64
 * results within a few ulp, special functions to 1e-13. There is no fused multiply-add in the IR: every operation rounds.
 */
import type { BinaryOp, Expr, ExprBuilder, MathBinaryOp, MathUnaryOp, UnaryOp } from './expr.js';
import { erf, erfc, erfinv } from './math/error-function.js';
import { exp, exp2, expm1, sigmoid } from './math/exponential.js';
import { digamma, lgamma } from './math/gamma.js';
import { acosh, asinh, atanh, cosh, sinh, tanh } from './math/hyperbolic.js';
import { acos, asin, atan, atan2 } from './math/inverse.js';
import { Lane } from './math/lane.js';
import { log, log1p, log2 } from './math/logarithm.js';
import { pow } from './math/power.js';
import { cos, sin, tan } from './math/trigonometric.js';

export { moderateAngle } from './math/trigonometric.js';

export interface LowerMathOptions {
  /** Operations the backend has itself; they stay. */
  readonly native?: ReadonlySet<UnaryOp | BinaryOp>;
  /** False when the backend lacks f64: f32 pow, erfc, lgamma, digamma, erfinv and huge angles then lose accuracy. Default true. */
  readonly f64?: boolean;
  /**
   * False when |x| <= `moderateAngle[type]` is known for every sin, cos and tan: leaves out the reduction of huge
   * angles, which is 47 of the 81 operations of a sine (and those in f64). Default true.
   */
  readonly anyAngle?: boolean;
  /** True when the backend may simplify `(x + c) - c`: rounding then uses an instruction instead. Default false. */
  readonly reassociates?: boolean;
}

const unaryFunctions: Record<MathUnaryOp, (m: Lane, x: Expr, anyAngle: boolean) => Expr> = {
  exp,
  exp2,
  expm1,
  log,
  log2,
  log1p,
  sin,
  cos,
  tan,
  asin,
  acos,
  atan,
  sinh,
  cosh,
  tanh,
  asinh,
  acosh,
  atanh,
  erf,
  erfc,
  erfinv,
  lgamma,
  digamma,
  rsqrt: (m, x) => m.div(m.c(1), m.sqrt(x)),
  sigmoid,
};
const binaryFunctions: Record<MathBinaryOp, (m: Lane, x: Expr, y: Expr) => Expr> = { pow, atan2 };

export function isMathUnary(op: UnaryOp): op is MathUnaryOp {
  return Object.hasOwn(unaryFunctions, op);
}
export function isMathBinary(op: BinaryOp): op is MathBinaryOp {
  return Object.hasOwn(binaryFunctions, op);
}

const memories = new WeakMap<ExprBuilder, Map<string, Map<Expr, Expr>>>();

/** The memo of one builder and one set of options. */
function memory(b: ExprBuilder, options: LowerMathOptions): Map<Expr, Expr> {
  const key = `${options.f64 ?? true}:${options.anyAngle ?? true}:${options.reassociates ?? false}:${[...(options.native ?? [])].sort().join()}`;
  const byOptions = memories.get(b) ?? new Map<string, Map<Expr, Expr>>();
  memories.set(b, byOptions);
  const found = byOptions.get(key) ?? new Map<Expr, Expr>();
  byOptions.set(key, found);
  return found;
}

/** `e` with every transcendental replaced by core operations. `b` is the builder that made `e`. */
export function lowerMath(b: ExprBuilder, e: Expr, options: LowerMathOptions = {}): Expr {
  const done = memory(b, options);
  const { native, f64 = true, anyAngle = true, reassociates = false } = options;
  const lower = (node: Expr): Expr => {
    const known = done.get(node);
    if (known) return known;
    const made = rebuild(node);
    done.set(node, made);
    return made;
  };
  const lane = (node: Expr): Lane => {
    if (node.type !== 'f32' && node.type !== 'f64') throw new TypeError(`kernel IR: transcendental of ${node.type}`);
    return new Lane(b, node.type, f64, reassociates);
  };
  const rebuild = (node: Expr): Expr => {
    switch (node.kind) {
      case 'const':
      case 'index':
      case 'local':
        return node;
      case 'load':
        return b.load(node.buffer, node.type, lower(node.index), node.guard && lower(node.guard));
      case 'unary':
        if (!isMathUnary(node.op) || native?.has(node.op)) return b.unary(node.op, lower(node.a));
        return unaryFunctions[node.op](lane(node), lower(node.a), anyAngle);
      case 'binary':
        if (!isMathBinary(node.op) || native?.has(node.op)) return b.binary(node.op, lower(node.a), lower(node.b));
        return binaryFunctions[node.op](lane(node), lower(node.a), lower(node.b));
      case 'select':
        return b.select(lower(node.condition), lower(node.a), lower(node.b));
      case 'cast':
        return b.cast(lower(node.a), node.type);
      case 'bitcast':
        return b.bitcast(lower(node.a), node.type);
      default:
        return node satisfies never;
    }
  };
  return lower(e);
}
