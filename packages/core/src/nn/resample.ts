/** Layers that move elements between channels and space, or change the resolution. */

import { fold2d } from '../ops/fold.js';
import { type InterpolateMode, interpolate } from '../ops/interpolate.js';
import { channelShuffle, pixelShuffle, pixelUnshuffle, type UnfoldOptions, unfold2d } from '../ops/vision.js';
import { describe } from './check.js';
import { Pointwise } from './pointwise.js';

type Size = number | readonly number[];

/** [N, C r r, H, W] to [N, C, H r, W r]. */
export class PixelShuffle extends Pointwise {
  constructor(upscaleFactor: number) {
    super((x) => pixelShuffle(x, upscaleFactor), describe([], { upscaleFactor }));
  }
}
/** The inverse of {@link PixelShuffle}. */
export class PixelUnshuffle extends Pointwise {
  constructor(downscaleFactor: number) {
    super((x) => pixelUnshuffle(x, downscaleFactor), describe([], { downscaleFactor }));
  }
}
/** Channel i of group g becomes channel g of group i. */
export class ChannelShuffle extends Pointwise {
  constructor(groups: number) {
    super((x) => channelShuffle(x, groups), describe([], { groups }));
  }
}

export interface UpsampleOptions {
  /** Extents of the result; or give scaleFactor. */
  readonly size?: Size | null;
  readonly scaleFactor?: Size | null;
  /** Default 'nearest'. */
  readonly mode?: InterpolateMode;
  readonly alignCorners?: boolean | null;
  readonly recomputeScaleFactor?: boolean;
}
/** Resizes [N, C, ...space] to `size`, or by `scaleFactor`. */
export class Upsample extends Pointwise {
  constructor(options: UpsampleOptions) {
    super((x) => interpolate(x, options), describe([], { ...options }));
  }
}
/** {@link Upsample} of images to the nearest element. */
export class UpsamplingNearest2d extends Upsample {
  constructor(options: Pick<UpsampleOptions, 'size' | 'scaleFactor'>) {
    super({ ...options, mode: 'nearest' });
  }
}
/** {@link Upsample} of images, bilinear, with aligned corners. */
export class UpsamplingBilinear2d extends Upsample {
  constructor(options: Pick<UpsampleOptions, 'size' | 'scaleFactor'>) {
    super({ ...options, mode: 'bilinear', alignCorners: true });
  }
}

/** The windows of images as columns: [N, C, H, W] to [N, C * KH * KW, windows]. */
export class Unfold extends Pointwise {
  constructor(kernelSize: Size, options: UnfoldOptions = {}) {
    super((x) => unfold2d(x, kernelSize, options), describe([], { kernelSize, ...options }));
  }
}
/** Adds columns up into images: [N, C * KH * KW, windows] to [N, C, ...outputSize]. */
export class Fold extends Pointwise {
  constructor(outputSize: Size, kernelSize: Size, options: UnfoldOptions = {}) {
    super((x) => fold2d(x, outputSize, kernelSize, options), describe([], { outputSize, kernelSize, ...options }));
  }
}
