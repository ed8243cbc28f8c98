/** Giving pooled values back to the places they came from. */
import { ShapeError } from '../errors.js';
import { formatShape, shapesEqual, sizeOf } from '../graph/layout.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { perDimension } from './common.js';
import { zerosOf } from './fill.js';
import { scatter } from './scatter.js';
import { reshape } from './view.js';

export interface MaxUnpoolOptions {
  /** Default: the window's size. */
  readonly stride?: number | readonly number[];
  readonly padding?: number | readonly number[];
  /** Spatial extents of the result, where several lead to the pooled ones; also the whole shape of the input of the pooling. */
  readonly outputSize?: readonly number[];
}

function maxUnpool(n: number, x: Tensor, indices: Tensor, kernelSize: number | readonly number[], options: MaxUnpoolOptions): Tensor {
  const op = `maxUnpool${n}d`;
  const rank = x.shape.length;
  if ((rank !== n + 1 && rank !== n + 2) || !shapesEqual(x.shape, indices.shape)) {
    throw new ShapeError(`values of shape ${formatShape(x.shape)} with indices of shape ${formatShape(indices.shape)}`, {
      op,
      received: [x.shape, indices.shape],
      expected: `both [batch, channels, ${n} spatial extents], or the same without batch`,
    });
  }
  const kernel = perDimension(kernelSize, n, 1, op, 'kernelSize');
  const stride = options.stride === undefined ? kernel : perDimension(options.stride, n, 1, op, 'stride');
  const padding = perDimension(options.padding, n, 0, op, 'padding');
  const usual = x.shape.slice(-n).map((size, d) => (size - 1) * stride[d] - 2 * padding[d] + kernel[d]);
  const size = options.outputSize?.slice(-n) ?? usual;
  if (size.length !== n || size.some((extent, d) => extent <= usual[d] - stride[d] || extent >= usual[d] + stride[d])) {
    throw new ShapeError(`an output of ${formatShape(size)}`, {
      op,
      received: options.outputSize,
      expected: `less than a stride away from ${formatShape(usual)}`,
    });
  }
  return composite(op, () => {
    const lead = x.shape.slice(0, -n);
    const rows = sizeOf(lead);
    const values = reshape(x, [rows, sizeOf(x.shape.slice(-n))]);
    const target = zerosOf(x.dtype, [rows, sizeOf(size)]);
    return reshape(scatter(target, 1, reshape(indices, values.shape), values), [...lead, ...size]);
  });
}

/** The transpose of maxPool1d: values go where `indices` say, and zeros elsewhere. x [N, C, L']. */
export function maxUnpool1d(x: Tensor, indices: Tensor, kernelSize: number | readonly number[], options: MaxUnpoolOptions = {}): Tensor {
  return maxUnpool(1, x, indices, kernelSize, options);
}
/** The transpose of maxPool2d: values go where `indices` say, and zeros elsewhere. x [N, C, H', W']. */
export function maxUnpool2d(x: Tensor, indices: Tensor, kernelSize: number | readonly number[], options: MaxUnpoolOptions = {}): Tensor {
  return maxUnpool(2, x, indices, kernelSize, options);
}
/** The transpose of maxPool3d: values go where `indices` say, and zeros elsewhere. x [N, C, D', H', W']. */
export function maxUnpool3d(x: Tensor, indices: Tensor, kernelSize: number | readonly number[], options: MaxUnpoolOptions = {}): Tensor {
  return maxUnpool(3, x, indices, kernelSize, options);
}
