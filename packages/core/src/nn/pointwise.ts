/** Modules that apply one function. */
import type { Tensor } from '../tensor/tensor.js';
import { Module } from './module.js';

/** A module without parameters that applies one function. */
export abstract class Pointwise extends Module {
  private readonly fn: (x: Tensor) => Tensor;
  private readonly settings: string;
  /** `settings` is what toString() shows. */
  constructor(fn: (x: Tensor) => Tensor, settings = '') {
    super();
    this.fn = fn;
    this.settings = settings;
  }
  override forward(x: Tensor): Tensor {
    return this.fn(x);
  }
  override extraRepr(): string {
    return this.settings;
  }
}
