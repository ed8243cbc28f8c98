/** Moving elements between channels and space. */
import { ShapeError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { perDimension } from './common.js';
import { pad } from './pad.js';
import { permute, reshape, transpose } from './view.js';
import { asStrided } from './view-slice.js';

function requireImages(x: Tensor, op: string): void {
  if (x.shape.length !== 4)
    throw new ShapeError(`an input of shape ${formatShape(x.shape)}`, {
      op,
      received: x.shape,
      expected: '[batch, channels, height, width]',
    });
}

/** [N, C r r, H, W] to [N, C, H r, W r] (Shi et al., arXiv:1609.05158). */
export function pixelShuffle(x: Tensor, upscaleFactor: number): Tensor {
  requireImages(x, 'pixelShuffle');
  const [n, c, h, w] = x.shape;
  const r = upscaleFactor;
  if (c % (r * r) !== 0)
    throw new ShapeError(`${c} channels`, { op: 'pixelShuffle', received: x.shape, expected: `a multiple of ${r * r}` });
  return composite('pixelShuffle', () =>
    reshape(permute(reshape(x, [n, c / (r * r), r, r, h, w]), [0, 1, 4, 2, 5, 3]), [n, c / (r * r), h * r, w * r]),
  );
}
/** The inverse of {@link pixelShuffle}. */
export function pixelUnshuffle(x: Tensor, downscaleFactor: number): Tensor {
  requireImages(x, 'pixelUnshuffle');
  const [n, c, h, w] = x.shape;
  const r = downscaleFactor;
  if (h % r !== 0 || w % r !== 0)
    throw new ShapeError(`images of ${h} x ${w}`, { op: 'pixelUnshuffle', received: x.shape, expected: `multiples of ${r}` });
  return composite('pixelUnshuffle', () =>
    reshape(permute(reshape(x, [n, c, h / r, r, w / r, r]), [0, 1, 3, 5, 2, 4]), [n, c * r * r, h / r, w / r]),
  );
}

/** The channels of [N, C, ...] dealt out anew: channel i of group g becomes channel g of group i (Zhang et al., arXiv:1707.01083). */
export function channelShuffle(x: Tensor, groups: number): Tensor {
  const [n, c, ...space] = x.shape;
  if (x.shape.length < 3 || c % groups !== 0)
    throw new ShapeError(`an input of shape ${formatShape(x.shape)} in ${groups} groups`, {
      op: 'channelShuffle',
      received: x.shape,
      expected: `[batch, channels, ...] with a multiple of ${groups} channels`,
    });
  return composite('channelShuffle', () => reshape(transpose(reshape(x, [n, groups, c / groups, ...space]), 1, 2), x.shape));
}

export interface UnfoldOptions {
  readonly stride?: number | readonly number[];
  readonly padding?: number | readonly number[];
  readonly dilation?: number | readonly number[];
}
/** The windows of images as columns (im2col): x [N, C, H, W] gives [N, C * KH * KW, windows]. */
export function unfold2d(x: Tensor, kernelSize: number | readonly number[], options: UnfoldOptions = {}): Tensor {
  const op = 'unfold2d';
  requireImages(x, op);
  const kernel = perDimension(kernelSize, 2, 1, op, 'kernelSize');
  const stride = perDimension(options.stride, 2, 1, op, 'stride');
  const padding = perDimension(options.padding, 2, 0, op, 'padding');
  const dilation = perDimension(options.dilation, 2, 1, op, 'dilation');
  return composite(op, () => {
    const source = pad(x, [padding[1], padding[1], padding[0], padding[0]]);
    const [n, c, h, w] = source.shape;
    const count = [h, w].map((size, d) => Math.floor((size - dilation[d] * (kernel[d] - 1) - 1) / stride[d]) + 1);
    if (count.some((windows) => windows < 1))
      throw new ShapeError(`a kernel of ${formatShape(kernel)} on images of ${h} x ${w}`, {
        op,
        received: x.shape,
        expected: 'images at least as large as the kernel',
      });
    const windows = asStrided(
      source,
      [n, c, kernel[0], kernel[1], count[0], count[1]],
      [c * h * w, h * w, dilation[0] * w, dilation[1], stride[0] * w, stride[1]],
    );
    return reshape(windows, [n, c * kernel[0] * kernel[1], count[0] * count[1]]);
  });
}
