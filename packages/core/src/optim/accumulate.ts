/** Gradients of several small batches for one step. */
import { noGrad } from '../autograd/mode.js';
import { ArgumentError } from '../errors.js';
import { currentTrace } from '../graph/trace.js';
import { add, eq, mul } from '../ops/binary.js';
import { cast, copy } from '../ops/cast.js';
import { isHalf } from '../ops/common.js';
import { zeros } from '../ops/create.js';
import { where } from '../ops/ternary.js';
import { logicalNot } from '../ops/unary.js';
import { writeInto } from '../ops/write-view.js';
import { readSync } from '../tensor/data.js';
import { scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { type AnyOptimizer, makeState, type StepOptions } from './optimizer.js';

export interface AccumulationOptions {
  /** Batches for one step. */
  readonly steps: number;
  /** Sees the gathered gradients in `.grad` before each step: for clipping. */
  readonly beforeStep?: (parameters: readonly Tensor[]) => void;
  /** Makes the step; default `optimizer.step(options)`. */
  readonly apply?: (options: StepOptions) => void;
}

/**
 * Makes an optimizer step after every `steps` backward passes, with the mean of their gradients. `step()` takes the place of
 * `optimizer.step()` and `optimizer.zeroGrad()`:
 *
 * ```ts
 * const accumulation = new GradientAccumulation(optimizer, { steps: 4 });
 * loss.backward();
 * accumulation.step();
 * ```
 * Works inside jit() too; there each call goes through the update and keeps its result only when it is due. Gradients are
 * dense.
 */
export class GradientAccumulation {
  private readonly optimizer: AnyOptimizer;
  private readonly options: AccumulationOptions;
  private readonly sums = new Map<Tensor, Tensor>();
  private readonly count: Tensor;

  constructor(optimizer: AnyOptimizer, options: AccumulationOptions) {
    if (!(Number.isInteger(options.steps) && options.steps >= 1)) {
      throw new ArgumentError(`${options.steps} steps`, { op: 'GradientAccumulation', expected: 'a whole number from 1 on' });
    }
    this.optimizer = optimizer;
    this.options = options;
    this.count = makeState(() => zeros([], { dtype: 'int32' }));
  }

  /** Backward passes since the last step. */
  get pending(): number {
    return Number(readSync(this.count)[0]);
  }

  /** Takes in the present gradients, forgets them, and makes the step when it is due. */
  step(): void {
    const { steps, beforeStep } = this.options;
    const traced = currentTrace() !== null;
    const dueNow = !traced && this.pending + 1 === steps;
    noGrad(() =>
      scope(() => {
        const next = add(this.count, 1);
        const due = eq(next, steps);
        const live = this.optimizer.parameters().filter((p) => p.grad !== null);
        for (const p of live) {
          const sum = this.sumOf(p);
          if (p.grad !== null) writeInto(sum, add(sum, mul(cast(p.grad, sum.dtype), 1 / steps)));
        }
        this.optimizer.zeroGrad();
        writeInto(this.count, where(due, 0, next));
        if (!traced && !dueNow) return;
        for (const [p, sum] of this.sums) if (p.requiresGrad) p.grad = isHalf(p.dtype) ? cast(sum, p.dtype) : copy(sum);
        beforeStep?.([...this.sums.keys()]);
        this.apply(traced ? { skip: logicalNot(due) } : {});
        this.optimizer.zeroGrad();
        for (const sum of this.sums.values()) writeInto(sum, where(due, 0, sum));
      }),
    );
  }
  private apply(options: StepOptions): void {
    if (this.options.apply) this.options.apply(options);
    else this.optimizer.step(options);
  }
  private sumOf(p: Tensor): Tensor {
    let sum = this.sums.get(p);
    if (!sum) {
      sum = makeState(() => zeros(p.shape, { dtype: isHalf(p.dtype) ? 'float32' : p.dtype }));
      this.sums.set(p, sum);
    }
    return sum;
  }

  /** Sums by parameter number and `count`: the live tensors. */
  stateDict(): Map<string, Tensor> {
    const all = this.optimizer.parameters();
    const sums = [...this.sums].map(([p, sum]): [string, Tensor] => [String(all.indexOf(p)), sum]);
    return new Map([...sums, ['count', this.count]]);
  }
  loadStateDict(state: ReadonlyMap<string, Tensor>): void {
    const all = this.optimizer.parameters();
    noGrad(() => {
      for (const [key, source] of state) writeInto(key === 'count' ? this.count : this.sumOf(all[Number(key)]), source);
    });
  }
  dispose(): void {
    for (const t of [...this.sums.values(), this.count]) t.dispose();
    this.sums.clear();
  }
}
