/** Batch normalization over the batches of several processes. */
import { customFunction } from '../autograd/custom.js';
import { noGrad } from '../autograd/mode.js';
import { ShapeError } from '../errors.js';
import { sizeOf } from '../graph/layout.js';
import { add, div, maximum, mul, sub } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { full } from '../ops/create.js';
import { concat } from '../ops/join.js';
import { sum } from '../ops/reduce.js';
import { lerp } from '../ops/ternary.js';
import { rsqrt, square } from '../ops/unary.js';
import { reshape } from '../ops/view.js';
import { narrow } from '../ops/view-slice.js';
import { writeInto } from '../ops/write-view.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import type { AnyModule } from './module.js';
import { type BatchNormLayerOptions, BatchNormNd, isBatchNorm } from './norm.js';

/** What is needed of a group of processes that train together. */
export interface ProcessGroup {
  /** Number of processes. */
  readonly size: number;
  /**
   * The sum over all processes of a tensor, the same in each: a new tensor. Every process calls it the same number of times, in
   * the same order. It runs in the middle of forward and backward, so it must be synchronous, and inside jit() it must consist of
   * tensor operations.
   */
  allReduceSum(t: Tensor): Tensor;
}

/** The sum over the processes, with its gradient: every process's gradients summed. */
function allReduce(t: Tensor, group: ProcessGroup): Tensor {
  return customFunction({
    name: 'allReduce',
    forward: (_ctx, x: Tensor) => group.allReduceSum(x),
    backward: (_ctx, g) => (g === null ? null : group.allReduceSum(g)),
  })(t);
}

export interface SyncBatchNormOptions extends BatchNormLayerOptions {
  /** The processes whose batches are normalized together; without one this is batch normalization. */
  readonly processGroup?: ProcessGroup | null;
}

/** Batch normalization over [N, C, ...] whose statistics in training are those of the batches of all processes in a group. */
export class SyncBatchNorm extends BatchNormNd {
  readonly processGroup: ProcessGroup | null;
  constructor(numFeatures: number, { processGroup = null, ...options }: SyncBatchNormOptions = {}) {
    super([2, 3, 4, 5], numFeatures, options);
    this.processGroup = processGroup;
  }
  override forward(x: Tensor): Tensor {
    const group = this.processGroup;
    if (group === null || group.size === 1 || !(this.training || this.runningMean === null)) return super.forward(x);
    this.checkRank(x);
    if (x.shape[1] !== this.numFeatures)
      throw new ShapeError(`${x.shape[1]} channels`, { op: 'SyncBatchNorm', received: x.shape, expected: `${this.numFeatures}` });
    return composite('syncBatchNorm', () => this.synchronized(x, group));
  }

  private synchronized(x: Tensor, group: ProcessGroup): Tensor {
    const channels = this.numFeatures;
    const axes = x.shape.flatMap((_, axis) => (axis === 1 ? [] : [axis]));
    const perChannel = (t: Tensor): Tensor => reshape(t, [channels, ...x.shape.slice(2).map(() => 1)]);
    // Batches may differ in size, so the number of elements is summed along.
    const count = full([1], sizeOf(x.shape) / Math.max(1, channels), { dtype: x.dtype });
    const sums = allReduce(concat([sum(x, axes), count]), group);
    const n = narrow(sums, 0, channels, 1);
    const mean = div(narrow(sums, 0, 0, channels), n);
    const centred = sub(x, perChannel(mean));
    const variance = div(allReduce(sum(square(centred), axes), group), n);
    const { runningMean, runningVar } = this;
    if (this.training) {
      const momentum = this.countBatch();
      noGrad(() => {
        const unbiased = mul(variance.detach(), div(n.detach(), maximum(sub(n.detach(), 1), 1)));
        if (runningMean !== null) writeInto(runningMean, cast(lerp(runningMean, mean.detach(), momentum), runningMean.dtype));
        if (runningVar !== null) writeInto(runningVar, cast(lerp(runningVar, unbiased, momentum), runningVar.dtype));
      });
    }
    const z = mul(centred, rsqrt(add(perChannel(variance), this.eps)));
    const scaled = this.weight === null ? z : mul(z, perChannel(this.weight));
    return this.bias === null ? scaled : add(scaled, perChannel(this.bias));
  }

  /** The module with every BatchNorm1d, 2d and 3d replaced by a SyncBatchNorm of the same tensors; in place but for the root. */
  static convertSyncBatchNorm<M extends AnyModule>(module: M, processGroup: ProcessGroup | null = null): M | SyncBatchNorm {
    const converted = new Map<AnyModule, SyncBatchNorm>();
    const convert = (value: unknown): unknown => {
      if (!isBatchNorm(value) || value instanceof SyncBatchNorm) return value;
      const known = converted.get(value as unknown as AnyModule);
      if (known !== undefined) return known;
      const { numFeatures, eps, momentum, weight, bias, runningMean, runningVar, numBatchesTracked, training } = value;
      const made = new SyncBatchNorm(numFeatures, { eps, momentum, affine: false, trackRunningStats: false, processGroup });
      Object.assign(made, { weight, bias, runningMean, runningVar, numBatchesTracked, training });
      converted.set(value as unknown as AnyModule, made);
      return made;
    };
    for (const parent of module.modules()) {
      for (const [property, value] of Object.entries(parent)) {
        if (Array.isArray(value)) for (const [i, item] of value.entries()) value[i] = convert(item);
        else if (isBatchNorm(value)) Object.assign(parent, { [property]: convert(value) });
      }
    }
    return convert(module) as M | SyncBatchNorm;
  }
}
