/** Dropout layers: they act in training only. */
import { ShapeError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import { alphaDropout, dropout, featureDropout } from '../ops/dropout.js';
import { reshape } from '../ops/view.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkProbability, describe } from './check.js';
import { Module } from './module.js';

abstract class DropoutNd extends Module {
  readonly p: number;
  constructor(p: number) {
    super();
    this.p = checkProbability(this.constructor.name, p);
  }
  override extraRepr(): string {
    return describe([], { p: this.p });
  }
}
/** Sets elements to 0 with probability p and scales the rest by 1 / (1 - p). */
export class Dropout extends DropoutNd {
  constructor(p = 0.5) {
    super(p);
  }
  override forward(x: Tensor): Tensor {
    return dropout(x, this.p, this.training);
  }
}

abstract class FeatureDropout extends DropoutNd {
  private readonly spatial: number;
  constructor(spatial: number, p: number) {
    super(p);
    this.spatial = spatial;
  }
  override forward(x: Tensor): Tensor {
    if (x.ndim === this.spatial + 2) return featureDropout(x, this.p, this.training);
    if (x.ndim !== this.spatial + 1)
      throw new ShapeError(`an input of shape ${formatShape(x.shape)}`, {
        op: this.constructor.name,
        received: x.shape,
        expected: `[batch, channels, ${this.spatial} spatial extents], or the same without batch`,
      });
    if (!this.training || this.p === 0) return x;
    return composite('featureDropout', () => reshape(featureDropout(reshape(x, [1, ...x.shape]), this.p), x.shape));
  }
}
/** As {@link Dropout}, for whole channels of [N, C, L] or [C, L]. */
export class Dropout1d extends FeatureDropout {
  constructor(p = 0.5) {
    super(1, p);
  }
}
/** As {@link Dropout}, for whole channels of [N, C, H, W] or [C, H, W]. */
export class Dropout2d extends FeatureDropout {
  constructor(p = 0.5) {
    super(2, p);
  }
}
/** As {@link Dropout}, for whole channels of [N, C, D, H, W] or [C, D, H, W]. */
export class Dropout3d extends FeatureDropout {
  constructor(p = 0.5) {
    super(3, p);
  }
}
/** Dropout for networks of SELU units: it keeps mean and variance. */
export class AlphaDropout extends DropoutNd {
  constructor(p = 0.5) {
    super(p);
  }
  override forward(x: Tensor): Tensor {
    return alphaDropout(x, this.p, this.training);
  }
}
/** {@link AlphaDropout} of whole channels of [N, C, ...]. */
export class FeatureAlphaDropout extends DropoutNd {
  constructor(p = 0.5) {
    super(p);
  }
  override forward(x: Tensor): Tensor {
    return alphaDropout(x, this.p, this.training, { channels: true });
  }
}
