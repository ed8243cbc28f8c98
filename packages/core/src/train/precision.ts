/** Mixed precision for training steps. */
import { type AutocastOptions, autocast } from '../amp/autocast.js';
import { GradScaler, type GradScalerOptions } from '../amp/grad-scaler.js';
import type { AnyOptimizer } from '../optim/optimizer.js';
import type { Tensor } from '../tensor/tensor.js';

export interface PrecisionOptions extends AutocastOptions {
  /** Of the loss scaling, which float16 needs. */
  readonly scaler?: GradScalerOptions;
}
/** The dtype of matrix products and convolutions. */
export type AutocastOption = 'bfloat16' | 'float16' | PrecisionOptions;

/** How numbers are computed: mixed precision and loss scaling. All of it works while tracing. */
export interface Precision {
  /** Wraps forward and loss. */
  run<T>(fn: () => T): T;
  readonly scaler: Scaler | null;
}

/** What a training step needs of GradScaler. */
interface Scaler {
  scale(loss: Tensor): Tensor;
  unscale_(optimizer: AnyOptimizer): void;
  step(optimizer: AnyOptimizer): void;
  update(): void;
  stateDict(): { readonly scale: number; readonly growthTracker: number };
  loadStateDict(state: { readonly scale: number; readonly growthTracker: number }): void;
  dispose(): void;
}

export function precisionOf(option: AutocastOption): Precision {
  const { scaler, ...options }: PrecisionOptions = typeof option === 'string' ? { dtype: option } : option;
  return {
    run: (fn) => autocast(fn, options),
    scaler: options.dtype === 'float16' && options.enabled !== false ? new GradScaler(scaler) : null,
  };
}
