/** Complex numbers as real tensors with a last dimension of 2: real part, imaginary part. */
import { ShapeError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import { add, atan2, hypot, mul, sub } from '../ops/binary.js';
import { hostConstant } from '../ops/fill.js';
import { stack } from '../ops/join.js';
import { cos, sin } from '../ops/unary.js';
import { select } from '../ops/view-slice.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';

/** @throws ShapeError unless the last dimension is 2 and there are `dims` before it. */
export function requireComplex(z: Tensor, op: string, dims = 0): void {
  if (z.shape[z.shape.length - 1] === 2 && z.shape.length > dims) return;
  throw new ShapeError(`shape ${formatShape(z.shape)}`, {
    op,
    received: z.shape,
    expected: `${dims > 0 ? `at least ${dims} dimension${dims > 1 ? 's' : ''} and ` : ''}a last dimension of 2 (real and imaginary part)`,
    fix: 'Use complex(re, im) to make complex numbers.',
  });
}

/** Complex numbers of two tensors of one shape, [..., 2]; without `im` real ones. */
export function complex(re: Tensor, im?: Tensor): Tensor {
  return composite('complex', () => stack([re, im ?? mul(re, 0)], re.shape.length));
}
/** The real parts, a view. */
export function real(z: Tensor): Tensor {
  requireComplex(z, 'real');
  return select(z, -1, 0);
}
/** The imaginary parts, a view. */
export function imag(z: Tensor): Tensor {
  requireComplex(z, 'imag');
  return select(z, -1, 1);
}
/** The conjugates. */
export function conj(z: Tensor): Tensor {
  requireComplex(z, 'conj');
  return composite('conj', () => mul(z, hostConstant([1, -1], z.dtype, [2])));
}
/** Products; shapes broadcast. */
export function complexMul(a: Tensor, b: Tensor): Tensor {
  requireComplex(a, 'complexMul');
  requireComplex(b, 'complexMul');
  return composite('complexMul', () => {
    const [ar, ai, br, bi] = [real(a), imag(a), real(b), imag(b)];
    const re = sub(mul(ar, br), mul(ai, bi));
    return stack([re, add(mul(ar, bi), mul(ai, br))], re.shape.length);
  });
}
/** Magnitudes. The gradient at 0 is NaN; use {@link complexAbs2} where zeros occur. */
export function complexAbs(z: Tensor): Tensor {
  return composite('complexAbs', () => hypot(real(z), imag(z)));
}
/** Squares of the magnitudes. */
export function complexAbs2(z: Tensor): Tensor {
  return composite('complexAbs2', () => {
    const [re, im] = [real(z), imag(z)];
    return add(mul(re, re), mul(im, im));
  });
}
/** Arguments, in (-pi, pi]. */
export function angle(z: Tensor): Tensor {
  return composite('angle', () => atan2(imag(z), real(z)));
}
/** Numbers of these magnitudes and arguments. */
export function polar(magnitude: Tensor, argument: Tensor): Tensor {
  return composite('polar', () => {
    const re = mul(magnitude, cos(argument));
    return stack([re, mul(magnitude, sin(argument))], re.shape.length);
  });
}
