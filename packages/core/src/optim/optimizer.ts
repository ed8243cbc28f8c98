/** What all optimizers share: parameter groups, state tensors, one compiled update for all parameters. */
import { noGrad } from '../autograd/mode.js';
import type { DType } from '../dtype.js';
import { ArgumentError } from '../errors.js';
import { currentTrace, withTrace } from '../graph/trace.js';
import { type JitFunction, jit } from '../jit.js';
import { clearGrad } from '../nn/module.js';
import { cast } from '../ops/cast.js';
import { full, zeros } from '../ops/create.js';
import { writeInto } from '../ops/write-view.js';
import { TensorBase } from '../tensor/base.js';
import { readSync } from '../tensor/data.js';
import { keep, outsideScopes } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';

/** Parameters with options of their own. */
export type ParamGroup<O> = { readonly params: Iterable<Tensor> } & Partial<O>;
export type Params<O> = Iterable<Tensor> | readonly ParamGroup<O>[];

export interface Group<O> {
  readonly params: readonly Tensor[];
  readonly options: O;
  /** Learning rate, a 0-d float64 tensor: compiled steps read its present value. */
  readonly lr: Tensor;
  /** What is counted for the group as a whole. */
  readonly state: Map<string, Tensor>;
}

/** A state that survives in memory and in checkpoints: one tensor for each parameter and name. */
type ParamState = Map<string, Tensor>;

export interface OptimizerState {
  /** By parameter number and name (`0.expAvg`), or group number (`group0.step`). The live tensors, not copies. */
  readonly tensors: Map<string, Tensor>;
  readonly lrs: readonly number[];
}

function isGroupList<O>(params: Params<O>): params is readonly ParamGroup<O>[] {
  if (!Array.isArray(params) || params.length === 0) return false;
  return !(params[0] instanceof TensorBase);
}

/** Makes long-lived state, also while tracing: state is real memory. */
function makeState(make: () => Tensor): Tensor {
  return withTrace(null, () => outsideScopes(() => noGrad(() => keep(make()))));
}

/**
 * Base of the optimizers. `step()` changes the parameters in place from their gradients; inside jit() it becomes part of the
 * traced Program, outside it runs as one Program of its own.
 */
export abstract class Optimizer<O extends { readonly lr: number }> {
  readonly groups: readonly Group<O>[];
  private readonly state = new Map<Tensor, ParamState>();
  private readonly compiled: JitFunction<[Tensor[], number[]], void>;

  constructor(name: string, params: Params<O>, options: O) {
    const groups = isGroupList(params) ? params : [{ params } as ParamGroup<O>];
    const seen = new Set<Tensor>();
    this.groups = groups.map(({ params: list, ...own }) => {
      const tensors = [...list];
      for (const p of tensors) {
        if (seen.has(p))
          throw new ArgumentError('a parameter occurs twice', {
            op: name,
            received: p.shape,
            expected: 'each parameter in one group, once',
          });
        if (!p.requiresGrad || p.gradFn !== null) {
          throw new ArgumentError('a tensor without gradients of its own cannot be optimized', {
            op: name,
            received: p.shape,
            expected: 'leaves that require gradients',
            fix: 'Pass model.parameters().',
          });
        }
        seen.add(p);
      }
      const merged = { ...options, ...(own as unknown as Partial<O>) };
      return { params: tensors, options: merged, lr: makeState(() => full([], merged.lr, { dtype: 'float64' })), state: new Map() };
    });
    if (seen.size === 0)
      throw new ArgumentError('there are no parameters', { op: name, expected: 'at least one', fix: 'Pass model.parameters().' });
    // Gradients are arguments; which parameters have one is static.
    this.compiled = jit(
      (grads, which) => {
        const all = this.parameters();
        const byParam = new Map(which.map((index, k) => [all[index], grads[k]]));
        this.updateAll((p) => byParam.get(p) ?? null);
      },
      { name: `${name}.step` },
    );
  }

  parameters(): Tensor[] {
    return this.groups.flatMap((g) => [...g.params]);
  }

  /** Learning rate of the first group. */
  get lr(): number {
    return Number(readSync(this.groups[0].lr)[0]);
  }
  /** Sets the learning rate of all groups. */
  set lr(value: number) {
    for (const group of this.groups) this.setLr(group, value);
  }
  setLr(group: Group<O>, value: number): void {
    if (!(value >= 0))
      throw new ArgumentError(`the learning rate is ${value}`, { op: 'Optimizer', received: value, expected: 'a number, 0 or more' });
    noGrad(() => writeInto(group.lr, full([], value, { dtype: 'float64' })));
  }

  /** One update from the present gradients. Parameters without a gradient stay. */
  step(): void {
    if (currentTrace() !== null) {
      this.updateAll((p) => p.grad);
      return;
    }
    const grads: Tensor[] = [];
    const which: number[] = [];
    this.parameters().forEach((p, i) => {
      if (p.grad === null) return;
      grads.push(p.grad);
      which.push(i);
    });
    if (grads.length > 0) noGrad(() => this.compiled(grads, which));
  }
  zeroGrad(): void {
    for (const p of this.parameters()) clearGrad(p);
  }

  private updateAll(gradOf: (p: Tensor) => Tensor | null): void {
    noGrad(() => {
      for (const group of this.groups) {
        const live = group.params.filter((p) => gradOf(p) !== null);
        if (live.length > 0) this.update(group, live, (p) => gradOf(p) ?? zeros(p.shape, { dtype: p.dtype }));
      }
    });
  }

  /** Updates the parameters of one group with tensor operations and writeInto. */
  protected abstract update(group: Group<O>, params: readonly Tensor[], gradOf: (p: Tensor) => Tensor): void;

  /** State of a parameter, zero at first. `shape` and `dtype` default to the parameter's. */
  protected stateOf(p: Tensor, name: string, shape = p.shape, dtype: DType = p.dtype): Tensor {
    let mine = this.state.get(p);
    if (!mine) {
      mine = new Map();
      this.state.set(p, mine);
    }
    let t = mine.get(name);
    if (!t) {
      t = makeState(() => zeros(shape, { dtype }));
      mine.set(name, t);
    }
    return t;
  }
  /** State of a whole group: a 0-d tensor, zero at first. */
  protected groupState(group: Group<O>, name: string, dtype: DType): Tensor {
    let t = group.state.get(name);
    if (!t) {
      t = makeState(() => zeros([], { dtype }));
      group.state.set(name, t);
    }
    return t;
  }
  /** The group's learning rate in the dtype of a parameter. */
  protected lrFor(group: Group<O>, p: Tensor): Tensor {
    return cast(group.lr, p.dtype);
  }

  stateDict(): OptimizerState {
    const tensors = new Map<string, Tensor>();
    this.parameters().forEach((p, i) => {
      for (const [name, t] of this.state.get(p) ?? []) tensors.set(`${i}.${name}`, t);
    });
    this.groups.forEach((g, i) => {
      for (const [name, t] of g.state) tensors.set(`group${i}.${name}`, t);
    });
    return { tensors, lrs: this.groups.map((g) => Number(readSync(g.lr)[0])) };
  }
  /** Continues from a state. @throws ArgumentError when it belongs to other parameters. */
  loadStateDict(state: OptimizerState): void {
    const params = this.parameters();
    if (state.lrs.length !== this.groups.length) {
      throw new ArgumentError(`a state of ${state.lrs.length} groups`, {
        op: 'loadStateDict',
        received: state.lrs.length,
        expected: `${this.groups.length} groups`,
      });
    }
    const targets = [...state.tensors].map(([key, source]) => {
      const [, group, index, name] = /^(group)?(\d+)\.(.+)$/.exec(key) ?? [];
      const count = group ? this.groups.length : params.length;
      if (name === undefined || Number(index) >= count) {
        throw new ArgumentError(`state ${key} belongs to nothing here`, {
          op: 'loadStateDict',
          received: key,
          expected: `numbers below ${count}`,
        });
      }
      return { source, group: group !== undefined, index: Number(index), name };
    });
    for (const { source, group, index, name } of targets) {
      const target = group
        ? this.groupState(this.groups[index], name, source.dtype)
        : this.stateOf(params[index], name, source.shape, source.dtype);
      noGrad(() => writeInto(target, source));
    }
    this.groups.forEach((g, i) => {
      this.setLr(g, state.lrs[i]);
    });
  }
  /** Frees the state. */
  dispose(): void {
    this.compiled.dispose();
    for (const mine of this.state.values()) for (const t of mine.values()) t.dispose();
    for (const g of this.groups) for (const t of [g.lr, ...g.state.values()]) t.dispose();
    this.state.clear();
  }
}
