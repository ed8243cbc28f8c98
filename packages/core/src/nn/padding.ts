/** Padding layers. `padding` is one number for all sides, or (in front, behind) for each axis, the last axis first. */
import { ShapeError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import { perDimension } from '../ops/common.js';
import { type PadMode, pad } from '../ops/pad.js';
import type { Tensor } from '../tensor/tensor.js';
import { describe } from './check.js';
import { Module } from './module.js';

/** One number for all sides, or a pair for each axis, the last axis first; negative ones cut off. */
export type PaddingSize = number | readonly number[];

abstract class PadNd extends Module {
  private readonly amounts: readonly number[];
  private readonly mode: PadMode;
  private readonly value: number;
  private readonly spatial: number;
  constructor(spatial: number, padding: PaddingSize, mode: PadMode, value = 0) {
    super();
    this.amounts = perDimension(padding, 2 * spatial, 0, this.constructor.name, 'padding');
    this.mode = mode;
    this.value = value;
    this.spatial = spatial;
  }
  override forward(x: Tensor): Tensor {
    if (x.ndim !== this.spatial + 1 && x.ndim !== this.spatial + 2)
      throw new ShapeError(`an input of shape ${formatShape(x.shape)}`, {
        op: this.constructor.name,
        received: x.shape,
        expected: `[batch, channels, ${this.spatial} spatial extents], or the same without batch`,
      });
    return pad(x, this.amounts, this.mode === 'constant' ? { value: this.value } : { mode: this.mode });
  }
  override extraRepr(): string {
    return describe([[...this.amounts]], { value: this.mode === 'constant' && this.value !== 0 ? this.value : undefined });
  }
}

/** Zeros around [N, C, L]. */
export class ZeroPad1d extends PadNd {
  constructor(padding: PaddingSize) {
    super(1, padding, 'constant');
  }
}
/** Zeros around [N, C, H, W]. */
export class ZeroPad2d extends PadNd {
  constructor(padding: PaddingSize) {
    super(2, padding, 'constant');
  }
}
/** Zeros around [N, C, D, H, W]. */
export class ZeroPad3d extends PadNd {
  constructor(padding: PaddingSize) {
    super(3, padding, 'constant');
  }
}
/** A constant around [N, C, L]. */
export class ConstantPad1d extends PadNd {
  constructor(padding: PaddingSize, value: number) {
    super(1, padding, 'constant', value);
  }
}
/** A constant around [N, C, H, W]. */
export class ConstantPad2d extends PadNd {
  constructor(padding: PaddingSize, value: number) {
    super(2, padding, 'constant', value);
  }
}
/** A constant around [N, C, D, H, W]. */
export class ConstantPad3d extends PadNd {
  constructor(padding: PaddingSize, value: number) {
    super(3, padding, 'constant', value);
  }
}
/** The input mirrored at its border, which is not repeated, around [N, C, L]. */
export class ReflectionPad1d extends PadNd {
  constructor(padding: PaddingSize) {
    super(1, padding, 'reflect');
  }
}
/** The input mirrored at its border, which is not repeated, around [N, C, H, W]. */
export class ReflectionPad2d extends PadNd {
  constructor(padding: PaddingSize) {
    super(2, padding, 'reflect');
  }
}
/** The input mirrored at its border, which is not repeated, around [N, C, D, H, W]. */
export class ReflectionPad3d extends PadNd {
  constructor(padding: PaddingSize) {
    super(3, padding, 'reflect');
  }
}
/** The border repeated around [N, C, L]. */
export class ReplicationPad1d extends PadNd {
  constructor(padding: PaddingSize) {
    super(1, padding, 'replicate');
  }
}
/** The border repeated around [N, C, H, W]. */
export class ReplicationPad2d extends PadNd {
  constructor(padding: PaddingSize) {
    super(2, padding, 'replicate');
  }
}
/** The border repeated around [N, C, D, H, W]. */
export class ReplicationPad3d extends PadNd {
  constructor(padding: PaddingSize) {
    super(3, padding, 'replicate');
  }
}
/** The other side of the input around [N, C, L]. */
export class CircularPad1d extends PadNd {
  constructor(padding: PaddingSize) {
    super(1, padding, 'circular');
  }
}
/** The other side of the input around [N, C, H, W]. */
export class CircularPad2d extends PadNd {
  constructor(padding: PaddingSize) {
    super(2, padding, 'circular');
  }
}
/** The other side of the input around [N, C, D, H, W]. */
export class CircularPad3d extends PadNd {
  constructor(padding: PaddingSize) {
    super(3, padding, 'circular');
  }
}
