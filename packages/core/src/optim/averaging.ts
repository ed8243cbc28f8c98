/** Averages of the weights along the training: exponential (EMA) and equal (SWA). */
import { noGrad } from '../autograd/mode.js';
import { isFloat } from '../dtype.js';
import { ArgumentError } from '../errors.js';
import { currentTrace } from '../graph/trace.js';
import { Module } from '../nn/module.js';
import { add, div, minimum, mul, sub } from '../ops/binary.js';
import { cast, copy } from '../ops/cast.js';
import { isHalf } from '../ops/common.js';
import { full, zeros } from '../ops/create.js';
import { writeInto } from '../ops/write-view.js';
import { scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { makeState } from './optimizer.js';

/** A model, or the tensors to average. */
export type Averaged = Module<never, unknown> | Iterable<Tensor>;

export interface AveragingOptions {
  /** Averages the floating buffers of the model (running statistics) too. Default false. */
  readonly buffers?: boolean;
}

/**
 * Keeps an average of tensors. update() is tensor operations, for eager use and inside jit(). Averages of half-precision
 * tensors are float32.
 */
abstract class WeightAverage {
  /** The averages, in the order of the tensors. They belong to this object. */
  readonly averages: readonly Tensor[];
  protected readonly count: Tensor;
  private readonly tensors: readonly Tensor[];
  private swapped = false;

  constructor(averaged: Averaged, { buffers = false }: AveragingOptions) {
    const isModel = averaged instanceof Module;
    const list: Tensor[] = isModel ? averaged.parameters() : [...averaged];
    if (isModel && buffers) list.push(...averaged.buffers().filter((b) => isFloat(b.dtype)));
    this.tensors = list;
    this.averages = this.tensors.map((t) => makeState(() => (isHalf(t.dtype) ? cast(t.detach(), 'float32') : copy(t.detach()))));
    this.count = makeState(() => zeros([], { dtype: 'float64' }));
  }

  /** The share of the present weights in the next average, from the number of updates before it. float64. */
  protected abstract share(updates: Tensor): Tensor;

  /** Takes the present weights into the average: after each optimizer step. */
  update(): void {
    this.requireTraining('update');
    noGrad(() =>
      scope(() => {
        const share = this.share(this.count);
        this.tensors.forEach((t, i) => {
          const average = this.averages[i];
          const { dtype } = average;
          writeInto(average, add(average, mul(sub(cast(t.detach(), dtype), average), cast(share, dtype))));
        });
        writeInto(this.count, add(this.count, 1));
      }),
    );
  }

  /** Exchanges weights and averages, in place: compiled functions see it. Call it again to go back. */
  swap(): void {
    if (currentTrace() !== null) throw new ArgumentError('weights are swapped outside jit()', { op: 'swap' });
    noGrad(() =>
      scope(() => {
        this.tensors.forEach((t, i) => {
          const before = copy(t.detach());
          writeInto(t, cast(this.averages[i], t.dtype));
          writeInto(this.averages[i], cast(before, this.averages[i].dtype));
        });
      }),
    );
    this.swapped = !this.swapped;
  }
  /** Runs `fn` (also asynchronous) with the averages as weights. */
  withAverages<T>(fn: () => T): T {
    this.requireTraining('withAverages');
    // The averages themselves stay: half-precision weights would round them on their way through.
    const kept = this.tensors.map((t) => makeState(() => copy(t.detach())));
    const put = (values: readonly Tensor[]): void =>
      noGrad(() => scope(() => this.tensors.forEach((t, i) => writeInto(t, cast(values[i], t.dtype)))));
    const back = (): void => {
      put(kept);
      for (const t of kept) t.dispose();
      this.swapped = false;
    };
    put(this.averages);
    this.swapped = true;
    let result: T;
    try {
      result = fn();
    } catch (error) {
      back();
      throw error;
    }
    if (result instanceof Promise) return result.finally(back) as T;
    back();
    return result;
  }
  private requireTraining(op: string): void {
    if (!this.swapped) return;
    throw new ArgumentError('the averages are the present weights', {
      op,
      expected: 'the weights of the training',
      fix: 'Call swap() first.',
    });
  }

  /** The live tensors by number (`0`, `1`, …) and `count`. */
  stateDict(): Map<string, Tensor> {
    return new Map([...this.averages.map((t, i): [string, Tensor] => [String(i), t]), ['count', this.count]]);
  }
  /** @throws ArgumentError when it belongs to other tensors */
  loadStateDict(state: ReadonlyMap<string, Tensor>): void {
    const own = this.stateDict();
    const missing = [...own.keys()].filter((key) => !state.has(key));
    if (missing.length > 0 || state.size !== own.size) {
      throw new ArgumentError(`a state of ${state.size} tensors`, { op: 'loadStateDict', expected: `the ${own.size} of stateDict()` });
    }
    noGrad(() => {
      for (const [key, target] of own) {
        const source = state.get(key);
        if (source) writeInto(target, cast(source, target.dtype));
      }
    });
  }
  dispose(): void {
    for (const t of [...this.averages, this.count]) t.dispose();
  }
}

export interface EMAOptions extends AveragingOptions {
  /** Weight of the past; default 0.999. */
  readonly decay?: number;
  /** Lets early averages follow faster: the decay is at most `(1 + n) / (10 + n)` after n updates. Default false. */
  readonly warmup?: boolean;
}

/** The exponential moving average of the weights: `average = decay * average + (1 - decay) * weights`. */
export class EMA extends WeightAverage {
  private readonly decay: number;
  private readonly warmup: boolean;
  constructor(averaged: Averaged, { decay = 0.999, warmup = false, ...options }: EMAOptions = {}) {
    if (!(decay >= 0 && decay < 1)) throw new ArgumentError(`a decay of ${decay}`, { op: 'EMA', expected: 'a number from 0 up to 1' });
    super(averaged, options);
    this.decay = decay;
    this.warmup = warmup;
  }
  protected override share(updates: Tensor): Tensor {
    if (!this.warmup) return full([], 1 - this.decay, { dtype: 'float64' });
    return sub(1, minimum(div(add(updates, 1), add(updates, 10)), this.decay));
  }
}

/**
 * Stochastic weight averaging (Izmailov et al., arXiv:1803.05407): the equal average of the weights at each update(). The
 * running statistics of batch normalization belong to other weights: see {@link updateBatchNorm}.
 */
export class SWA extends WeightAverage {
  constructor(averaged: Averaged, options: AveragingOptions = {}) {
    super(averaged, options);
  }
  protected override share(updates: Tensor): Tensor {
    return div(1, add(updates, 1));
  }
}

/** A layer with running statistics. */
interface RunningStatistics {
  runningMean: Tensor | null;
  runningVar: Tensor | null;
  momentum: number;
}

/**
 * Computes the running statistics of all batch normalizations anew for the present weights: their equal average over the
 * batches. `forward` runs the model on a batch (default `model.call(batch)`).
 */
export function updateBatchNorm<Batch extends Tensor>(
  model: Module<[Batch], unknown>,
  batches: Iterable<Batch>,
  forward: (batch: Batch) => unknown = (batch) => model.call(batch),
): void {
  const layers = model
    .modules()
    .filter((m) => 'runningMean' in m && 'momentum' in m)
    .map((m) => m as unknown as RunningStatistics);
  const modes = model.modules().map((m) => [m, m.training] as const);
  const momenta = layers.map((l) => l.momentum);
  model.train();
  try {
    let n = 0;
    for (const batch of batches) {
      // With momentum 1 the first batch overwrites; the k-th counts 1 / k.
      n++;
      for (const layer of layers) layer.momentum = 1 / n;
      noGrad(() => scope(() => void forward(batch)));
    }
  } finally {
    for (const [i, layer] of layers.entries()) layer.momentum = momenta[i];
    for (const [module, training] of modes) module.training = training;
  }
}
