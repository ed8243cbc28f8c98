/** Constant tensors, as the gradient rules need them. */
import type { DType } from '../dtype.js';
import type { Shape } from '../graph/layout.js';
import { defaultDevice } from '../tensor/device.js';
import { createFromArray, scalarTensor } from '../tensor/dispatch.js';
import { keep, outsideScopes } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Scalar } from './common.js';
import { broadcastTo } from './common.js';

/** A tensor that reads `value` everywhere; one element in memory, so it must not be written. */
export function constantOf(value: Scalar, dtype: DType, shape: Shape): Tensor {
  return broadcastTo(scalarTensor(value, dtype), shape);
}
/** {@link constantOf} 0. */
export function zerosOf(dtype: DType, shape: Shape): Tensor {
  return constantOf(0, dtype, shape);
}

/** Weakly held: a constant lives as long as a program or the tape needs it, and is found again until it is collected. */
const constants = new Map<string, WeakRef<Tensor>>();
const cachedElements = 4096;
const cachedConstants = 256;

/** Host data as a tensor that a trace can capture: no scope frees it. Small ones are shared, so it must not be written. */
export function hostConstant(data: readonly number[], dtype: DType, shape: Shape): Tensor {
  const make = (): Tensor => keep(outsideScopes(() => createFromArray(data, dtype, shape)));
  if (data.length > cachedElements) return make();
  const key = `${dtype}|${shape.join()}|${data.join()}`;
  const found = constants.get(key)?.deref();
  if (found !== undefined && !found.isDisposed && found.storage.block?.device === defaultDevice()) return found;
  if (constants.size >= cachedConstants) constants.clear();
  const made = make();
  constants.set(key, new WeakRef(made));
  return made;
}
