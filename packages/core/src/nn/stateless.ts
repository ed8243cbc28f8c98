/** Layers without parameters, and containers. */
import { ArgumentError } from '../errors.js';
import * as activation from '../ops/activation.js';
import { dropout, featureDropout } from '../ops/dropout.js';
import * as loss from '../ops/loss.js';
import * as pool from '../ops/pool.js';
import { flatten, reshape } from '../ops/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { Module } from './module.js';

/** A module that applies one function. */
abstract class Pointwise extends Module {
  private readonly fn: (x: Tensor) => Tensor;
  constructor(fn: (x: Tensor) => Tensor) {
    super();
    this.fn = fn;
  }
  override forward(x: Tensor): Tensor {
    return this.fn(x);
  }
}

export class ReLU extends Pointwise {
  constructor() {
    super(activation.relu);
  }
}
export class ReLU6 extends Pointwise {
  constructor() {
    super(activation.relu6);
  }
}
export class LeakyReLU extends Pointwise {
  constructor(negativeSlope = 0.01) {
    super((x) => activation.leakyRelu(x, { negativeSlope }));
  }
}
export class GELU extends Pointwise {
  constructor(options: activation.GeluOptions = {}) {
    super((x) => activation.gelu(x, options));
  }
}
export class SiLU extends Pointwise {
  constructor() {
    super(activation.silu);
  }
}
export class Mish extends Pointwise {
  constructor() {
    super(activation.mish);
  }
}
export class ELU extends Pointwise {
  constructor(alpha = 1) {
    super((x) => activation.elu(x, { alpha }));
  }
}
export class Softplus extends Pointwise {
  constructor(options: activation.SoftplusOptions = {}) {
    super((x) => activation.softplus(x, options));
  }
}
export class Sigmoid extends Pointwise {
  constructor() {
    super(activation.sigmoid);
  }
}
export class Tanh extends Pointwise {
  constructor() {
    super(activation.tanh);
  }
}
export class Hardswish extends Pointwise {
  constructor() {
    super(activation.hardswish);
  }
}
export class Hardsigmoid extends Pointwise {
  constructor() {
    super(activation.hardsigmoid);
  }
}
export class Softmax extends Pointwise {
  constructor(dim = -1) {
    super((x) => activation.softmax(x, dim));
  }
}
export class LogSoftmax extends Pointwise {
  constructor(dim = -1) {
    super((x) => activation.logSoftmax(x, dim));
  }
}
/** Passes its input on. */
export class Identity extends Pointwise {
  constructor() {
    super((x) => x);
  }
}
/** Joins the axes from startDim to endDim; by default all but the batch. */
export class Flatten extends Pointwise {
  constructor(startDim = 1, endDim = -1) {
    super((x) => flatten(x, startDim, endDim));
  }
}
/** Splits axis `dim` into the given shape. */
export class Unflatten extends Pointwise {
  constructor(dim: number, shape: readonly number[]) {
    super((x) => {
      const axis = dim < 0 ? dim + x.ndim : dim;
      return reshape(x, x.shape.toSpliced(axis, 1, ...shape));
    });
  }
}

export class MaxPool1d extends Pointwise {
  constructor(kernelSize: number, options: pool.MaxPoolOptions = {}) {
    super((x) => pool.maxPool1d(x, kernelSize, { ...options, returnIndices: false }));
  }
}
export class MaxPool2d extends Pointwise {
  constructor(kernelSize: number | readonly number[], options: pool.MaxPoolOptions = {}) {
    super((x) => pool.maxPool2d(x, kernelSize, { ...options, returnIndices: false }));
  }
}
export class AvgPool1d extends Pointwise {
  constructor(kernelSize: number, options: pool.AvgPoolOptions = {}) {
    super((x) => pool.avgPool1d(x, kernelSize, options));
  }
}
export class AvgPool2d extends Pointwise {
  constructor(kernelSize: number | readonly number[], options: pool.AvgPoolOptions = {}) {
    super((x) => pool.avgPool2d(x, kernelSize, options));
  }
}
export class AdaptiveAvgPool2d extends Pointwise {
  constructor(outputSize: pool.AdaptiveSize) {
    super((x) => pool.adaptiveAvgPool2d(x, outputSize));
  }
}
export class AdaptiveMaxPool2d extends Pointwise {
  constructor(outputSize: pool.AdaptiveSize) {
    super((x) => pool.adaptiveMaxPool2d(x, outputSize));
  }
}

function checkProbability(op: string, p: number): number {
  if (!(p >= 0 && p <= 1)) throw new ArgumentError(`p is ${p}`, { op, received: p, expected: 'a number from 0 to 1' });
  return p;
}
/** In training sets elements to 0 with probability p and scales the rest by 1 / (1 - p). */
export class Dropout extends Module {
  private readonly p: number;
  constructor(p = 0.5) {
    super();
    this.p = checkProbability('Dropout', p);
  }
  override forward(x: Tensor): Tensor {
    return dropout(x, this.p, this.training);
  }
}
/** As {@link Dropout}, for whole channels. */
export class Dropout2d extends Module {
  private readonly p: number;
  constructor(p = 0.5) {
    super();
    this.p = checkProbability('Dropout2d', p);
  }
  override forward(x: Tensor): Tensor {
    return featureDropout(x, this.p, this.training);
  }
}

/** Modules one after the other; parameters go by `0.weight`, `1.weight` … */
export class Sequential extends Module {
  readonly layers: readonly Module[];
  constructor(...layers: readonly Module[]) {
    super();
    this.layers = layers;
  }
  override forward(x: Tensor): Tensor {
    // Nothing is freed in between: a layer may keep or own what it returns.
    return this.layers.reduce((y, layer) => layer.call(y), x);
  }
  protected override listKey(_property: string, index: number): string {
    return String(index);
  }
}

export class CrossEntropyLoss extends Module<[Tensor, Tensor]> {
  private readonly options: loss.CrossEntropyOptions;
  constructor(options: loss.CrossEntropyOptions = {}) {
    super();
    this.options = options;
  }
  override forward(logits: Tensor, target: Tensor): Tensor {
    return loss.crossEntropy(logits, target, this.options);
  }
}
export class MSELoss extends Module<[Tensor, Tensor]> {
  private readonly options: loss.LossOptions;
  constructor(options: loss.LossOptions = {}) {
    super();
    this.options = options;
  }
  override forward(x: Tensor, target: Tensor): Tensor {
    return loss.mseLoss(x, target, this.options);
  }
}
export class BCEWithLogitsLoss extends Module<[Tensor, Tensor]> {
  private readonly options: loss.BceWithLogitsOptions;
  constructor(options: loss.BceWithLogitsOptions = {}) {
    super();
    this.options = options;
  }
  override forward(logits: Tensor, target: Tensor): Tensor {
    return loss.bceWithLogits(logits, target, this.options);
  }
}
