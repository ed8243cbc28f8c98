/** Lookahead around another optimizer. */

import { noGrad } from '../autograd/mode.js';
import type { SparseGrad } from '../autograd/sparse.js';
import { ArgumentError } from '../errors.js';
import { add, eq, mul, remainder, sub } from '../ops/binary.js';
import { copy } from '../ops/cast.js';
import { where } from '../ops/ternary.js';
import { writeInto } from '../ops/write-view.js';
import type { Tensor } from '../tensor/tensor.js';
import { type AnyOptimizer, type Group, Optimizer, type OptimizerOptions, type OptimizerState, type StepOptions } from './optimizer.js';

export interface LookaheadOptions {
  /** Steps of the inner optimizer between two synchronizations; default 5. */
  readonly k?: number;
  /** How far the slow weights go towards the fast ones; default 0.5. */
  readonly alpha?: number;
}

const slowName = 'lookaheadSlow';
const countName = 'lookaheadStep';

/**
 * Zhang et al., arXiv:1907.08610: every k steps the slow weights go part of the way to the inner optimizer's, which continue
 * from there. The slow weights start as the parameters are when the wrapper is made. Learning rates and state are the inner
 * optimizer's; schedules take the wrapper.
 */
export class Lookahead extends Optimizer<OptimizerOptions> {
  private readonly inner: AnyOptimizer;
  private readonly every: number;
  private readonly alpha: number;

  constructor(inner: AnyOptimizer, { k = 5, alpha = 0.5 }: LookaheadOptions = {}) {
    if (!(Number.isInteger(k) && k >= 1 && alpha > 0 && alpha <= 1)) {
      throw new ArgumentError(`k ${k} and alpha ${alpha}`, {
        op: 'Lookahead',
        expected: 'a whole k from 1 on and an alpha above 0 and up to 1',
      });
    }
    super(`Lookahead(${inner.name})`, [], { lr: inner.lr }, inner.groups);
    this.inner = inner;
    this.every = k;
    this.alpha = alpha;
    for (const group of this.groups) for (const p of group.params) this.slowOf(p, inner.weightOf(group, p));
  }
  override momentumOf(group: Group<OptimizerOptions>): number {
    return this.inner.momentumOf(group);
  }
  override setMomentum(group: Group<OptimizerOptions>, value: number): void {
    this.inner.setMomentum(group, value);
  }
  private slowOf(p: Tensor, w: Tensor): Tensor {
    return this.stateOf(p, slowName, { init: () => copy(w.detach()) });
  }

  override updateAll(gradOf: (p: Tensor) => Tensor | null, rowsOf?: (p: Tensor) => SparseGrad | null, options: StepOptions = {}): void {
    this.inner.updateAll(gradOf, rowsOf, options);
    const { skip = null } = options;
    noGrad(() => {
      const count = this.groupState(this.groups[0], countName, 'int32');
      const next = add(count, 1);
      const now = eq(remainder(next, this.every), 0);
      const keep = (old: Tensor, value: Tensor): Tensor => (skip === null ? value : where(skip, old, value));
      for (const group of this.groups) {
        for (const p of group.params) {
          const w = this.inner.weightOf(group, p);
          const slow = this.slowOf(p, w);
          const met = add(slow, mul(sub(w, slow), this.alpha));
          const [slowNext, fastNext] = [where(now, met, slow), where(now, met, w)];
          writeInto(slow, keep(slow, slowNext));
          writeInto(w, keep(w, fastNext));
          this.inner.publish(w);
        }
      }
      writeInto(count, keep(count, next));
    });
  }
  protected override update(): void {}

  override stateDict(): OptimizerState {
    const own = super.stateDict();
    const inner = this.inner.stateDict();
    return { tensors: new Map([...inner.tensors, ...own.tensors]), lrs: inner.lrs };
  }
  override loadStateDict(state: OptimizerState): void {
    const isOwn = (key: string): boolean => key.endsWith(`.${slowName}`) || key.endsWith(`.${countName}`);
    const part = (own: boolean): Map<string, Tensor> => new Map([...state.tensors].filter(([key]) => isOwn(key) === own));
    this.inner.loadStateDict({ tensors: part(false), lrs: state.lrs });
    super.loadStateDict({ tensors: part(true), lrs: state.lrs });
  }
  override dispose(): void {
    super.dispose();
    this.inner.dispose();
  }
}
