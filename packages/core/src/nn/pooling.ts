/** Pooling layers over [N, C, ...space]; the batch axis may be missing. Positions of maxima are given by the functions of ops. */
import * as pool from '../ops/pool.js';
import { type MaxUnpoolOptions, maxUnpool1d, maxUnpool2d, maxUnpool3d } from '../ops/unpool.js';
import type { Tensor } from '../tensor/tensor.js';
import { describe } from './check.js';
import { Module } from './module.js';
import { Pointwise } from './pointwise.js';

type Size = number | readonly number[];
export type MaxPoolLayerOptions = Omit<pool.MaxPoolOptions, 'returnIndices'>;
export type LPPoolLayerOptions = pool.LPPoolOptions;

const settings = (kernelSize: Size, options: Readonly<Record<string, unknown>>): string => describe([], { kernelSize, ...options });

/** The largest element of each window of [N, C, L]. */
export class MaxPool1d extends Pointwise {
  constructor(kernelSize: Size, options: MaxPoolLayerOptions = {}) {
    super((x) => pool.maxPool1d(x, kernelSize, { ...options, returnIndices: false }), settings(kernelSize, { ...options }));
  }
}
/** The largest element of each window of [N, C, H, W]. */
export class MaxPool2d extends Pointwise {
  constructor(kernelSize: Size, options: MaxPoolLayerOptions = {}) {
    super((x) => pool.maxPool2d(x, kernelSize, { ...options, returnIndices: false }), settings(kernelSize, { ...options }));
  }
}
/** The largest element of each window of [N, C, D, H, W]. */
export class MaxPool3d extends Pointwise {
  constructor(kernelSize: Size, options: MaxPoolLayerOptions = {}) {
    super((x) => pool.maxPool3d(x, kernelSize, { ...options, returnIndices: false }), settings(kernelSize, { ...options }));
  }
}
/** The mean of each window of [N, C, L]. */
export class AvgPool1d extends Pointwise {
  constructor(kernelSize: Size, options: pool.AvgPoolOptions = {}) {
    super((x) => pool.avgPool1d(x, kernelSize, options), settings(kernelSize, { ...options }));
  }
}
/** The mean of each window of [N, C, H, W]. */
export class AvgPool2d extends Pointwise {
  constructor(kernelSize: Size, options: pool.AvgPoolOptions = {}) {
    super((x) => pool.avgPool2d(x, kernelSize, options), settings(kernelSize, { ...options }));
  }
}
/** The mean of each window of [N, C, D, H, W]. */
export class AvgPool3d extends Pointwise {
  constructor(kernelSize: Size, options: pool.AvgPoolOptions = {}) {
    super((x) => pool.avgPool3d(x, kernelSize, options), settings(kernelSize, { ...options }));
  }
}
/** The p-norm of each window of [N, C, L]. */
export class LPPool1d extends Pointwise {
  constructor(p: number, kernelSize: Size, options: LPPoolLayerOptions = {}) {
    super((x) => pool.lpPool1d(x, p, kernelSize, options), describe([], { p, kernelSize, ...options }));
  }
}
/** The p-norm of each window of [N, C, H, W]. */
export class LPPool2d extends Pointwise {
  constructor(p: number, kernelSize: Size, options: LPPoolLayerOptions = {}) {
    super((x) => pool.lpPool2d(x, p, kernelSize, options), describe([], { p, kernelSize, ...options }));
  }
}
/** The p-norm of each window of [N, C, D, H, W]. */
export class LPPool3d extends Pointwise {
  constructor(p: number, kernelSize: Size, options: LPPoolLayerOptions = {}) {
    super((x) => pool.lpPool3d(x, p, kernelSize, options), describe([], { p, kernelSize, ...options }));
  }
}
/** Means over `outputSize` even parts of [N, C, L]. */
export class AdaptiveAvgPool1d extends Pointwise {
  constructor(outputSize: pool.AdaptiveSize) {
    super((x) => pool.adaptiveAvgPool1d(x, outputSize), describe([], { outputSize }));
  }
}
/** Means over `outputSize` even parts of [N, C, H, W]; null keeps an extent. */
export class AdaptiveAvgPool2d extends Pointwise {
  constructor(outputSize: pool.AdaptiveSize) {
    super((x) => pool.adaptiveAvgPool2d(x, outputSize), describe([], { outputSize }));
  }
}
/** Means over `outputSize` even parts of [N, C, D, H, W]; null keeps an extent. */
export class AdaptiveAvgPool3d extends Pointwise {
  constructor(outputSize: pool.AdaptiveSize) {
    super((x) => pool.adaptiveAvgPool3d(x, outputSize), describe([], { outputSize }));
  }
}
/** The largest elements of `outputSize` even parts of [N, C, L]. */
export class AdaptiveMaxPool1d extends Pointwise {
  constructor(outputSize: pool.AdaptiveSize) {
    super((x) => pool.adaptiveMaxPool1d(x, outputSize), describe([], { outputSize }));
  }
}
/** The largest elements of `outputSize` even parts of [N, C, H, W]; null keeps an extent. */
export class AdaptiveMaxPool2d extends Pointwise {
  constructor(outputSize: pool.AdaptiveSize) {
    super((x) => pool.adaptiveMaxPool2d(x, outputSize), describe([], { outputSize }));
  }
}
/** The largest elements of `outputSize` even parts of [N, C, D, H, W]; null keeps an extent. */
export class AdaptiveMaxPool3d extends Pointwise {
  constructor(outputSize: pool.AdaptiveSize) {
    super((x) => pool.adaptiveMaxPool3d(x, outputSize), describe([], { outputSize }));
  }
}

type UnpoolArgs = [x: Tensor, indices: Tensor, outputSize?: readonly number[]];
abstract class MaxUnpoolNd extends Module<UnpoolArgs> {
  private readonly fn: typeof maxUnpool2d;
  private readonly kernelSize: Size;
  private readonly options: Omit<MaxUnpoolOptions, 'outputSize'>;
  constructor(fn: typeof maxUnpool2d, kernelSize: Size, options: Omit<MaxUnpoolOptions, 'outputSize'>) {
    super();
    this.fn = fn;
    this.kernelSize = kernelSize;
    this.options = options;
  }
  override forward(...[x, indices, outputSize]: UnpoolArgs): Tensor {
    return this.fn(x, indices, this.kernelSize, { ...this.options, outputSize });
  }
  override extraRepr(): string {
    return settings(this.kernelSize, { ...this.options });
  }
}
/** Gives the values of a MaxPool1d back to where they came from: `call(values, indices)` of maxPool1d with returnIndices. */
export class MaxUnpool1d extends MaxUnpoolNd {
  constructor(kernelSize: Size, options: Omit<MaxUnpoolOptions, 'outputSize'> = {}) {
    super(maxUnpool1d, kernelSize, options);
  }
}
/** As {@link MaxUnpool1d}, over [N, C, H, W]. */
export class MaxUnpool2d extends MaxUnpoolNd {
  constructor(kernelSize: Size, options: Omit<MaxUnpoolOptions, 'outputSize'> = {}) {
    super(maxUnpool2d, kernelSize, options);
  }
}
/** As {@link MaxUnpool1d}, over [N, C, D, H, W]. */
export class MaxUnpool3d extends MaxUnpoolNd {
  constructor(kernelSize: Size, options: Omit<MaxUnpoolOptions, 'outputSize'> = {}) {
    super(maxUnpool3d, kernelSize, options);
  }
}
