/** Elementwise methods of tensors: each is the function of the same name in ops/, where it is described. */
import * as binary from '../ops/binary.js';
import type { TensorOrScalar } from '../ops/common.js';
import * as ternary from '../ops/ternary.js';
import * as unary from '../ops/unary.js';
import { assign, updateInPlace } from '../ops/write-view.js';
import { TensorBase } from './base.js';
import type { Tensor } from './tensor.js';

/** Only `tensor.ts` and the next link of the chain import this; see there. */
export abstract class TensorMathMethods extends TensorBase {
  abs(this: Tensor): Tensor {
    return unary.abs(this);
  }
  neg(this: Tensor): Tensor {
    return unary.neg(this);
  }
  sign(this: Tensor): Tensor {
    return unary.sign(this);
  }
  floor(this: Tensor): Tensor {
    return unary.floor(this);
  }
  ceil(this: Tensor): Tensor {
    return unary.ceil(this);
  }
  round(this: Tensor): Tensor {
    return unary.round(this);
  }
  trunc(this: Tensor): Tensor {
    return unary.trunc(this);
  }
  frac(this: Tensor): Tensor {
    return unary.frac(this);
  }
  sqrt(this: Tensor): Tensor {
    return unary.sqrt(this);
  }
  rsqrt(this: Tensor): Tensor {
    return unary.rsqrt(this);
  }
  square(this: Tensor): Tensor {
    return unary.square(this);
  }
  reciprocal(this: Tensor): Tensor {
    return unary.reciprocal(this);
  }
  exp(this: Tensor): Tensor {
    return unary.exp(this);
  }
  exp2(this: Tensor): Tensor {
    return unary.exp2(this);
  }
  expm1(this: Tensor): Tensor {
    return unary.expm1(this);
  }
  log(this: Tensor): Tensor {
    return unary.log(this);
  }
  log2(this: Tensor): Tensor {
    return unary.log2(this);
  }
  log10(this: Tensor): Tensor {
    return unary.log10(this);
  }
  log1p(this: Tensor): Tensor {
    return unary.log1p(this);
  }
  sin(this: Tensor): Tensor {
    return unary.sin(this);
  }
  cos(this: Tensor): Tensor {
    return unary.cos(this);
  }
  tan(this: Tensor): Tensor {
    return unary.tan(this);
  }
  asin(this: Tensor): Tensor {
    return unary.asin(this);
  }
  acos(this: Tensor): Tensor {
    return unary.acos(this);
  }
  atan(this: Tensor): Tensor {
    return unary.atan(this);
  }
  sinh(this: Tensor): Tensor {
    return unary.sinh(this);
  }
  cosh(this: Tensor): Tensor {
    return unary.cosh(this);
  }
  tanh(this: Tensor): Tensor {
    return unary.tanh(this);
  }
  asinh(this: Tensor): Tensor {
    return unary.asinh(this);
  }
  acosh(this: Tensor): Tensor {
    return unary.acosh(this);
  }
  atanh(this: Tensor): Tensor {
    return unary.atanh(this);
  }
  erf(this: Tensor): Tensor {
    return unary.erf(this);
  }
  erfc(this: Tensor): Tensor {
    return unary.erfc(this);
  }
  erfinv(this: Tensor): Tensor {
    return unary.erfinv(this);
  }
  lgamma(this: Tensor): Tensor {
    return unary.lgamma(this);
  }
  digamma(this: Tensor): Tensor {
    return unary.digamma(this);
  }
  sigmoid(this: Tensor): Tensor {
    return unary.sigmoid(this);
  }
  relu(this: Tensor): Tensor {
    return unary.relu(this);
  }
  isNaN(this: Tensor): Tensor {
    return unary.isNaN(this);
  }
  isInf(this: Tensor): Tensor {
    return unary.isInf(this);
  }
  isFinite(this: Tensor): Tensor {
    return unary.isFinite(this);
  }
  logicalNot(this: Tensor): Tensor {
    return unary.logicalNot(this);
  }
  bitwiseNot(this: Tensor): Tensor {
    return unary.bitwiseNot(this);
  }
  isnan(this: Tensor): Tensor {
    return unary.isNaN(this);
  }
  isinf(this: Tensor): Tensor {
    return unary.isInf(this);
  }
  isfinite(this: Tensor): Tensor {
    return unary.isFinite(this);
  }

  add(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.add(this, other);
  }
  sub(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.sub(this, other);
  }
  mul(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.mul(this, other);
  }
  div(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.div(this, other);
  }
  rsub(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.rsub(this, other);
  }
  floorDivide(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.floorDivide(this, other);
  }
  remainder(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.remainder(this, other);
  }
  fmod(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.fmod(this, other);
  }
  pow(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.pow(this, other);
  }
  maximum(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.maximum(this, other);
  }
  minimum(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.minimum(this, other);
  }
  atan2(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.atan2(this, other);
  }
  copysign(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.copysign(this, other);
  }
  hypot(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.hypot(this, other);
  }
  logaddexp(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.logaddexp(this, other);
  }
  eq(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.eq(this, other);
  }
  ne(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.ne(this, other);
  }
  lt(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.lt(this, other);
  }
  le(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.le(this, other);
  }
  gt(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.gt(this, other);
  }
  ge(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.ge(this, other);
  }
  logicalAnd(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.logicalAnd(this, other);
  }
  logicalOr(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.logicalOr(this, other);
  }
  logicalXor(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.logicalXor(this, other);
  }
  bitwiseAnd(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.bitwiseAnd(this, other);
  }
  bitwiseOr(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.bitwiseOr(this, other);
  }
  bitwiseXor(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.bitwiseXor(this, other);
  }
  leftShift(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.leftShift(this, other);
  }
  rightShift(this: Tensor, other: TensorOrScalar): Tensor {
    return binary.rightShift(this, other);
  }

  clamp(this: Tensor, options: ternary.ClampOptions): Tensor {
    return ternary.clamp(this, options);
  }
  lerp(this: Tensor, end: Tensor, weight: number | Tensor): Tensor {
    return ternary.lerp(this, end, weight);
  }
  addcmul(this: Tensor, a: Tensor, b: Tensor, options?: { readonly value?: number }): Tensor {
    return ternary.addcmul(this, a, b, options);
  }
  addcdiv(this: Tensor, a: Tensor, b: Tensor, options?: { readonly value?: number }): Tensor {
    return ternary.addcdiv(this, a, b, options);
  }
  /** This tensor where `condition` is true, `other` elsewhere. */
  where(this: Tensor, condition: Tensor, other: TensorOrScalar): Tensor {
    return ternary.where(condition, this, other);
  }
  maskedFill(this: Tensor, mask: Tensor, value: TensorOrScalar): Tensor {
    return ternary.maskedFill(this, mask, value);
  }

  /*
   * In place. All return the tensor itself.
   * @throws AutogradError while recording, when the tensor or an operand requires gradients
   */

  /** Overwrites the elements with a tensor or number that broadcasts to this shape; dtypes convert. */
  copy_(this: Tensor, source: TensorOrScalar): Tensor {
    return assign(this, source);
  }
  /** Another name of copy_. */
  assign_(this: Tensor, source: TensorOrScalar): Tensor {
    return assign(this, source);
  }
  fill_(this: Tensor, value: TensorOrScalar): Tensor {
    return assign(this, value);
  }
  zero_(this: Tensor): Tensor {
    return assign(this, 0);
  }
  add_(this: Tensor, other: TensorOrScalar): Tensor {
    return updateInPlace('add_', this, [other], () => binary.add(this, other));
  }
  sub_(this: Tensor, other: TensorOrScalar): Tensor {
    return updateInPlace('sub_', this, [other], () => binary.sub(this, other));
  }
  mul_(this: Tensor, other: TensorOrScalar): Tensor {
    return updateInPlace('mul_', this, [other], () => binary.mul(this, other));
  }
  div_(this: Tensor, other: TensorOrScalar): Tensor {
    return updateInPlace('div_', this, [other], () => binary.div(this, other));
  }
  floorDivide_(this: Tensor, other: TensorOrScalar): Tensor {
    return updateInPlace('floorDivide_', this, [other], () => binary.floorDivide(this, other));
  }
  remainder_(this: Tensor, other: TensorOrScalar): Tensor {
    return updateInPlace('remainder_', this, [other], () => binary.remainder(this, other));
  }
  pow_(this: Tensor, other: TensorOrScalar): Tensor {
    return updateInPlace('pow_', this, [other], () => binary.pow(this, other));
  }
  maximum_(this: Tensor, other: TensorOrScalar): Tensor {
    return updateInPlace('maximum_', this, [other], () => binary.maximum(this, other));
  }
  minimum_(this: Tensor, other: TensorOrScalar): Tensor {
    return updateInPlace('minimum_', this, [other], () => binary.minimum(this, other));
  }
  abs_(this: Tensor): Tensor {
    return updateInPlace('abs_', this, [], () => unary.abs(this));
  }
  neg_(this: Tensor): Tensor {
    return updateInPlace('neg_', this, [], () => unary.neg(this));
  }
  sign_(this: Tensor): Tensor {
    return updateInPlace('sign_', this, [], () => unary.sign(this));
  }
  floor_(this: Tensor): Tensor {
    return updateInPlace('floor_', this, [], () => unary.floor(this));
  }
  ceil_(this: Tensor): Tensor {
    return updateInPlace('ceil_', this, [], () => unary.ceil(this));
  }
  round_(this: Tensor): Tensor {
    return updateInPlace('round_', this, [], () => unary.round(this));
  }
  trunc_(this: Tensor): Tensor {
    return updateInPlace('trunc_', this, [], () => unary.trunc(this));
  }
  sqrt_(this: Tensor): Tensor {
    return updateInPlace('sqrt_', this, [], () => unary.sqrt(this));
  }
  rsqrt_(this: Tensor): Tensor {
    return updateInPlace('rsqrt_', this, [], () => unary.rsqrt(this));
  }
  square_(this: Tensor): Tensor {
    return updateInPlace('square_', this, [], () => unary.square(this));
  }
  reciprocal_(this: Tensor): Tensor {
    return updateInPlace('reciprocal_', this, [], () => unary.reciprocal(this));
  }
  exp_(this: Tensor): Tensor {
    return updateInPlace('exp_', this, [], () => unary.exp(this));
  }
  log_(this: Tensor): Tensor {
    return updateInPlace('log_', this, [], () => unary.log(this));
  }
  sin_(this: Tensor): Tensor {
    return updateInPlace('sin_', this, [], () => unary.sin(this));
  }
  cos_(this: Tensor): Tensor {
    return updateInPlace('cos_', this, [], () => unary.cos(this));
  }
  tanh_(this: Tensor): Tensor {
    return updateInPlace('tanh_', this, [], () => unary.tanh(this));
  }
  sigmoid_(this: Tensor): Tensor {
    return updateInPlace('sigmoid_', this, [], () => unary.sigmoid(this));
  }
  relu_(this: Tensor): Tensor {
    return updateInPlace('relu_', this, [], () => unary.relu(this));
  }
  clamp_(this: Tensor, options: ternary.ClampOptions): Tensor {
    return updateInPlace('clamp_', this, [], () => ternary.clamp(this, options));
  }
  lerp_(this: Tensor, end: Tensor, weight: number | Tensor): Tensor {
    return updateInPlace('lerp_', this, typeof weight === 'number' ? [end] : [end, weight], () => ternary.lerp(this, end, weight));
  }
  addcmul_(this: Tensor, a: Tensor, b: Tensor, options?: { readonly value?: number }): Tensor {
    return updateInPlace('addcmul_', this, [a, b], () => ternary.addcmul(this, a, b, options));
  }
  addcdiv_(this: Tensor, a: Tensor, b: Tensor, options?: { readonly value?: number }): Tensor {
    return updateInPlace('addcdiv_', this, [a, b], () => ternary.addcdiv(this, a, b, options));
  }
  maskedFill_(this: Tensor, mask: Tensor, value: TensorOrScalar): Tensor {
    return updateInPlace('maskedFill_', this, [value], () => ternary.maskedFill(this, mask, value));
  }
}
