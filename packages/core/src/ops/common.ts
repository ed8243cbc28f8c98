/** What the operation families share: promotion, broadcasting and argument checks. */

import type { DType } from '../dtype.js';
import { dtypeInfo, isFloat, promoteTypes, promoteWithNumber } from '../dtype.js';
import { ArgumentError, DTypeError } from '../errors.js';
import type { Shape } from '../graph/layout.js';
import { broadcastShapes, shapesEqual } from '../graph/layout.js';
import { autocastDType } from '../tensor/autocast.js';
import { scalarTensor } from '../tensor/dispatch.js';
import { composite } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { cast } from './cast.js';
import { expand } from './view.js';

export type Scalar = number | bigint | boolean;
/** An operand of an elementwise operation. */
export type TensorOrScalar = Tensor | Scalar;

/** dtype in which two operands meet (PyTorch's `result_type`): numbers and 0-d tensors only raise the category. */
export function resultType(a: TensorOrScalar, b: TensorOrScalar): DType {
  if (!(a instanceof Tensor)) return b instanceof Tensor ? promoteWithNumber(b.dtype, a) : promoteWithNumber(scalarDType(b), a);
  if (!(b instanceof Tensor)) return promoteWithNumber(a.dtype, b);
  if (a.dtype === b.dtype) return a.dtype;
  const aWeak = a.shape.length === 0;
  const bWeak = b.shape.length === 0;
  if (aWeak === bWeak) return promoteTypes(a.dtype, b.dtype);
  return aWeak ? promoteZeroDim(b.dtype, a.dtype) : promoteZeroDim(a.dtype, b.dtype);
}

const category = { bool: 0, int: 1, float: 2 } as const;

/** dtype of a tensor with dimensions that meets a 0-d one: the 0-d one counts only where its category is higher. */
export function promoteZeroDim(dims: DType, zeroDim: DType): DType {
  return category[dtypeInfo[zeroDim].kind] > category[dtypeInfo[dims].kind] ? promoteTypes(dims, zeroDim) : dims;
}

/** dtype of a tensor made of one number: bool, int64 for whole numbers, float32 otherwise. */
export function scalarDType(value: Scalar): DType {
  if (typeof value === 'boolean') return 'bool';
  return typeof value === 'bigint' || Number.isInteger(value) ? 'int64' : 'float32';
}

/** float32 for whole numbers and bool: the dtype in which real-valued functions compute. */
export function floatTypeOf(dtype: DType): DType {
  return isFloat(dtype) ? dtype : 'float32';
}

/** The tensor with a floating dtype. */
export function toFloat(x: Tensor): Tensor {
  return isFloat(x.dtype) ? x : cast(x, 'float32');
}

/** float16 and bfloat16: too coarse for intermediate results. */
export function isHalf(dtype: DType): boolean {
  return dtype === 'float16' || dtype === 'bfloat16';
}

/** float32 for half precision; other dtypes as they are. */
export function widen(x: Tensor): Tensor {
  return isHalf(x.dtype) ? cast(x, 'float32') : x;
}

/** Computes in {@link widen}ed precision and gives the result in the tensor's dtype; inside autocast the result stays wide. */
export function widened(x: Tensor, compute: (wide: Tensor) => Tensor): Tensor {
  if (!isHalf(x.dtype)) return compute(x);
  return composite('widened', () => (autocastDType() === null ? cast(compute(widen(x)), x.dtype) : compute(widen(x))));
}

/** The operand as a tensor of `dtype`. */
export function operand(x: TensorOrScalar, dtype: DType): Tensor {
  if (!(x instanceof Tensor)) return scalarTensor(dtype === 'bool' ? x !== 0 && x !== false && x !== 0n : x, dtype);
  return x.dtype === dtype ? x : cast(x, dtype);
}

/** The tensor read as `shape`: itself where it has that shape, else a view without a copy. */
export function broadcastTo(x: Tensor, shape: Shape): Tensor {
  return shapesEqual(x.shape, shape) ? x : expand(x, shape);
}

export function shapeOf(x: TensorOrScalar): Shape {
  return x instanceof Tensor ? x.shape : [];
}

/** Both operands as tensors of `dtype` and one shape. */
export function alignPair(a: TensorOrScalar, b: TensorOrScalar, dtype: DType, op: string): [Tensor, Tensor] {
  const shape = broadcastShapes(shapeOf(a), shapeOf(b), op);
  return [broadcastTo(operand(a, dtype), shape), broadcastTo(operand(b, dtype), shape)];
}

/** A handle on the same elements through which no gradient flows. */
export function stopGradient(x: Tensor): Tensor {
  return x.requiresGrad ? new Tensor(x.storage, x.shape, x.strides, x.offset) : x;
}

/** @throws DTypeError when `x` is not of one of the kinds. */
export function requireKind(x: { readonly dtype: DType }, kinds: readonly ('float' | 'int' | 'bool')[], op: string): void {
  if (!kinds.includes(dtypeInfo[x.dtype].kind)) {
    throw new DTypeError(`dtype ${x.dtype} is not supported`, {
      op,
      received: x.dtype,
      expected: `a ${kinds.join(' or ')} tensor`,
      fix: `Convert it with .to('${kinds.includes('float') ? 'float32' : kinds[0] === 'int' ? 'int64' : 'bool'}').`,
    });
  }
}

/** A value or a value for each of `n` dimensions, as a list. */
export function perDimension(
  value: number | readonly number[] | undefined,
  n: number,
  fallback: number,
  op: string,
  name: string,
): number[] {
  const list = value === undefined ? [fallback] : typeof value === 'number' ? [value] : value;
  if (list.length !== 1 && list.length !== n) {
    throw new ArgumentError(`${name} has ${list.length} values`, { op, received: value, expected: `one number or ${n}` });
  }
  for (const v of list) {
    if (!Number.isInteger(v))
      throw new ArgumentError(`${name} ${v} is not a whole number`, { op, received: value, expected: 'whole numbers' });
  }
  return list.length === n ? [...list] : new Array<number>(n).fill(list[0]);
}
