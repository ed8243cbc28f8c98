/** Short names for building float code of one type: the vocabulary in which the functions of this folder are written. */
import type { ScalarType } from '../../dtype.js';
import type { BinaryOp, Expr, ExprBuilder, UnaryOp } from '../expr.js';

export type FloatType = 'f32' | 'f64';

/**
 * Builds expressions of one float type. Everything is branch-free, uses no variable shifts (SIMD has none per lane)
 * and no float-to-integer conversions (slow on x86): integers come out of floats by adding {@link Lane.magic}.
 */
export class Lane {
  readonly b: ExprBuilder;
  readonly type: FloatType;
  /** True for f32: choose the short polynomials. */
  readonly single: boolean;
  readonly int: 'i32' | 'i64';
  /** Stored bits of the fraction. */
  readonly fraction: number;
  /** Exponent of 1.0 as stored. */
  readonly bias: number;
  /** 1.5 * 2^fraction: `x + magic` holds the nearest integer to x (ties to even) in its low bits. */
  readonly magic: number;
  private readonly f64Allowed: boolean;
  private readonly reassociates: boolean;

  constructor(b: ExprBuilder, type: FloatType, f64Allowed: boolean, reassociates = false) {
    this.b = b;
    this.type = type;
    this.single = type === 'f32';
    this.int = this.single ? 'i32' : 'i64';
    this.fraction = this.single ? 23 : 52;
    this.bias = this.single ? 127 : 1023;
    this.magic = 1.5 * 2 ** this.fraction;
    this.f64Allowed = f64Allowed;
    this.reassociates = reassociates;
  }

  /** Double precision where the backend has it, else this type. */
  wide(): Lane {
    return this.single && this.f64Allowed ? new Lane(this.b, 'f64', true, this.reassociates) : this;
  }
  /** A float of any type in this type. */
  from(x: Expr): Expr {
    return this.b.cast(x, this.type);
  }

  c(value: number): Expr {
    return this.b.const(this.type, value);
  }
  i(value: number | bigint): Expr {
    return this.b.const(this.int, value);
  }
  unary(op: UnaryOp, x: Expr): Expr {
    return this.b.unary(op, x);
  }
  binary(op: BinaryOp, x: Expr, y: Expr | number): Expr {
    return this.b.binary(op, x, typeof y === 'number' ? this.constantLike(x.type, y) : y);
  }
  private constantLike(type: ScalarType, value: number): Expr {
    return this.b.const(type, value);
  }
  add(x: Expr, y: Expr | number): Expr {
    return this.binary('add', x, y);
  }
  sub(x: Expr, y: Expr | number): Expr {
    return this.binary('sub', x, y);
  }
  mul(x: Expr, y: Expr | number): Expr {
    return this.binary('mul', x, y);
  }
  div(x: Expr, y: Expr | number): Expr {
    return this.binary('div', x, y);
  }
  neg(x: Expr): Expr {
    return this.unary('neg', x);
  }
  abs(x: Expr): Expr {
    return this.unary('abs', x);
  }
  sqrt(x: Expr): Expr {
    return this.unary('sqrt', x);
  }
  /** x < y */
  lt(x: Expr, y: Expr | number): Expr {
    return this.binary('lt', x, y);
  }
  /** x > y */
  gt(x: Expr, y: number): Expr {
    return this.binary('lt', this.c(y), x);
  }
  eq(x: Expr, y: Expr | number): Expr {
    return this.binary('eq', x, y);
  }
  and(x: Expr, y: Expr): Expr {
    return this.b.binary('and', x, y);
  }
  or(x: Expr, y: Expr): Expr {
    return this.b.binary('or', x, y);
  }
  select(condition: Expr, x: Expr | number, y: Expr | number): Expr {
    return this.b.select(condition, typeof x === 'number' ? this.c(x) : x, typeof y === 'number' ? this.c(y) : y);
  }
  /** min(x, high) with NaN kept; backends may render this form of select as one instruction (pmin, minps). */
  atMost(x: Expr, high: number): Expr {
    return this.b.select(this.gt(x, high), this.c(high), x);
  }
  /** max(x, low) with NaN kept. */
  atLeast(x: Expr, low: number): Expr {
    return this.b.select(this.lt(x, low), this.c(low), x);
  }

  bits(x: Expr): Expr {
    return this.b.bitcast(x, this.int);
  }
  float(bits: Expr): Expr {
    return this.b.bitcast(bits, this.type);
  }
  intOp(op: BinaryOp, x: Expr, y: Expr | number | bigint): Expr {
    return this.b.binary(op, x, typeof y === 'object' ? y : this.i(y));
  }
  shl(x: Expr, count: number): Expr {
    return this.intOp('shl', x, count);
  }
  /** The sign bit of x alone. */
  sign(x: Expr): Expr {
    return this.intOp('and', this.bits(x), this.single ? -(2 ** 31) : -(2n ** 63n));
  }
  /** A nonnegative value with a sign bit from {@link sign}; on negative values the sign flips. */
  withSign(magnitude: Expr, sign: Expr): Expr {
    return this.float(this.intOp('xor', this.bits(magnitude), sign));
  }
  /** Nearest integer, as the float and as `x + magic`, whose bits hold it. Right for |x| < 2^(fraction - 2). */
  nearest(x: Expr): { readonly integer: Expr; readonly bits: Expr } {
    if (this.reassociates) {
      const integer = this.unary('roundEven', x);
      return { integer, bits: this.b.cast(integer, this.int) };
    }
    const shifted = this.add(x, this.magic);
    return { integer: this.sub(shifted, this.magic), bits: this.bits(shifted) };
  }

  /** c0 + c1 x + c2 x^2 + ... by Horner's rule. */
  poly(x: Expr, coefficients: readonly number[]): Expr {
    return coefficients.reduceRight<Expr | null>((sum, c) => (sum ? this.add(this.mul(sum, x), c) : this.c(c)), null) ?? this.c(0);
  }
  /** High half of x by Veltkamp's splitting; x minus it is exact. |x| must stay below the largest value / 2^27. */
  private high(x: Expr): Expr {
    const t = this.mul(x, this.single ? 4097 : 134217729);
    return this.sub(t, this.sub(t, x));
  }
  /** x * y as an unevaluated sum of two floats (Dekker, 1971): the IR has no fused multiply-add. */
  product(x: Expr, y: Expr): { readonly high: Expr; readonly low: Expr } {
    const p = this.mul(x, y);
    const xh = this.high(x);
    const xl = this.sub(x, xh);
    const yh = this.high(y);
    const yl = this.sub(y, yh);
    const error = this.add(this.sub(this.mul(xh, yh), p), this.add(this.mul(xh, yl), this.mul(xl, yh)));
    return { high: p, low: this.add(error, this.mul(xl, yl)) };
  }
}
