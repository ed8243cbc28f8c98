/** What all optimizers share: parameter groups, state tensors, one compiled update for all parameters. */
import { enableGrad, noGrad } from '../autograd/mode.js';
import { SparseGrad } from '../autograd/sparse.js';
import type { DType } from '../dtype.js';
import { ArgumentError, TraceError } from '../errors.js';
import { shapesEqual } from '../graph/layout.js';
import { currentTrace, withTrace } from '../graph/trace.js';
import { type JitFunction, jit } from '../jit.js';
import { clearGrad, isParameter } from '../nn/module.js';
import { mul } from '../ops/binary.js';
import { cast, copy } from '../ops/cast.js';
import { isHalf } from '../ops/common.js';
import { full, zeros } from '../ops/create.js';
import { where } from '../ops/ternary.js';
import { neg } from '../ops/unary.js';
import { writeInto } from '../ops/write-view.js';
import { withAutocast } from '../tensor/autocast.js';
import { TensorBase } from '../tensor/base.js';
import { readSync } from '../tensor/data.js';
import { observer } from '../tensor/observe.js';
import { keep, outsideScopes, scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';

/** Options that every optimizer has. */
export interface OptimizerOptions {
  readonly lr: number;
  /** Follows the gradient upwards. */
  readonly maximize?: boolean;
  /**
   * For float16 and bfloat16 parameters: the update happens on float32 copies, which are part of the state, and the
   * parameters are those copies rounded. Without it steps below the parameters' precision are lost.
   */
  readonly masterWeights?: boolean;
}

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

/** Computes the loss and its gradients anew. */
export type Closure = () => Tensor;

export interface StepOptions {
  /** One bool: where it holds nothing changes, neither parameters nor state. GradScaler passes it after an overflow. */
  readonly skip?: Tensor | null;
  /** One number that gradients are multiplied by, after they were converted to the dtype of the update. */
  readonly gradScale?: Tensor | null;
}

/** A parameter (or its float32 copy) whose gradient names rows. */
export interface SparseUpdate {
  readonly param: Tensor;
  readonly grad: SparseGrad;
}

/** A sparse gradient as an argument of the compiled update. */
type Rows = { readonly index: number; readonly indices: Tensor; readonly values: Tensor; readonly isCoalesced: boolean };

/** A state that survives in memory and in checkpoints: one tensor for each parameter and name. */
type ParamState = Map<string, Tensor>;

export interface OptimizerState {
  /** By parameter number and name (`0.expAvg`), or group number (`group0.step`). The live tensors, not copies. */
  readonly tensors: Map<string, Tensor>;
  readonly lrs: readonly number[];
}

interface StateOptions {
  readonly shape?: readonly number[];
  readonly dtype?: DType;
  /** What it is at first; default zeros. */
  readonly init?: () => Tensor;
}

const master = 'masterWeight';

function isGroupList<O>(params: Params<O>): params is readonly ParamGroup<O>[] {
  if (!Array.isArray(params) || params.length === 0) return false;
  return !(params[0] instanceof TensorBase);
}

/** Makes long-lived state, also while tracing: state is real memory. */
export function makeState(make: () => Tensor): Tensor {
  return withTrace(null, () => outsideScopes(() => noGrad(() => withAutocast(null, () => keep(scope(make))))));
}

function requireRate(lr: number): void {
  if (!(lr >= 0)) throw new ArgumentError(`the learning rate is ${lr}`, { op: 'Optimizer', received: lr, expected: 'a number, 0 or more' });
}

function makeGroups<O extends OptimizerOptions>(name: string, params: Params<O>, options: O): Group<O>[] {
  const groups = isGroupList(params) ? params : [{ params } as ParamGroup<O>];
  const seen = new Set<Tensor>();
  const made = groups.map(({ params: list, ...own }) => {
    const tensors = [...list];
    for (const p of tensors) {
      if (seen.has(p))
        throw new ArgumentError('a parameter occurs twice', {
          op: name,
          received: p.shape,
          expected: 'each parameter in one group, once',
        });
      // Frozen parameters have no gradient and stay as they are, until they are thawed.
      if (p.gradFn !== null || !(p.requiresGrad || isParameter(p))) {
        throw new ArgumentError('a tensor without gradients of its own cannot be optimized', {
          op: name,
          received: p.shape,
          expected: 'parameters, or other leaves that require gradients',
          fix: 'Pass model.parameters().',
        });
      }
      seen.add(p);
    }
    const merged = { ...options, ...(own as unknown as Partial<O>) };
    requireRate(merged.lr);
    return { params: tensors, options: merged, lr: makeState(() => full([], merged.lr, { dtype: 'float64' })), state: new Map() };
  });
  if (seen.size === 0)
    throw new ArgumentError('there are no parameters', { op: name, expected: 'at least one', fix: 'Pass model.parameters().' });
  return made;
}

/** Any optimizer, for schedules and wrappers. */
export type AnyOptimizer = Optimizer<OptimizerOptions>;

/**
 * Base of the optimizers. `step()` changes the parameters in place from their gradients; inside jit() it becomes part of the
 * traced Program, outside it runs as one Program of its own.
 */
export abstract class Optimizer<O extends OptimizerOptions = OptimizerOptions> {
  readonly groups: readonly Group<O>[];
  readonly name: string;
  /** The option that a changing momentum stands for; null where there is none. */
  protected readonly momentumOption: 'momentum' | 'betas' | null = null;
  /** Whether gradients that name rows are understood. */
  protected readonly takesSparse: boolean = false;
  private readonly state = new Map<Tensor, ParamState>();
  /** The parameter behind each float32 copy. */
  private readonly originals = new Map<Tensor, Tensor>();
  private readonly compiled: JitFunction<[Tensor[], number[], Rows[], StepOptions], void>;
  /** Those of the step under way. */
  private options: StepOptions = {};

  /** `groups`: those of another optimizer, to share its learning rates. */
  constructor(name: string, params: Params<O>, options: O, groups?: readonly Group<O>[]) {
    this.name = name;
    this.groups = groups ?? makeGroups(name, params, options);
    // Gradients are arguments; which parameters have one is static.
    this.compiled = jit(
      (grads, which, rows, options) => {
        const all = this.parameters();
        const dense = new Map(which.map((index, k) => [all[index], grads[k]]));
        const sparse = new Map(
          rows.map(({ index, indices, values, isCoalesced }) => [
            all[index],
            new SparseGrad(indices, values, all[index].shape, isCoalesced),
          ]),
        );
        this.updateAll(
          (p) => dense.get(p) ?? null,
          (p) => sparse.get(p) ?? null,
          options,
        );
      },
      { name: `${name}.step` },
    );
  }

  parameters(): Tensor[] {
    return this.groups.flatMap((g) => [...g.params]);
  }

  /** Learning rate of the first group. */
  get lr(): number {
    return this.lrOf(this.groups[0]);
  }
  /** Sets the learning rate of all groups. */
  set lr(value: number) {
    for (const group of this.groups) this.setLr(group, value);
  }
  /** The present learning rate of a group. */
  lrOf(group: Group<O>): number {
    return Number(readSync(group.lr)[0]);
  }
  /** @throws ArgumentError, or TraceError inside jit(), where the change would happen once and for all. */
  setLr(group: Group<O>, value: number): void {
    requireRate(value);
    this.setScalar(group.lr, value, 'setLr');
  }

  /** The momentum (SGD) or first beta (Adam) of a group as it is now. @throws ArgumentError when the optimizer has none */
  momentumOf(group: Group<O>): number {
    const set = group.state.get('momentum');
    if (set) return Number(readSync(set)[0]);
    const { momentum, betas } = group.options as { readonly momentum?: number; readonly betas?: readonly number[] };
    return (this.requireMomentum() === 'betas' ? betas?.[0] : momentum) ?? (this.momentumOption === 'betas' ? 0.9 : 0);
  }
  /** Changes it; steps that were compiled with a fixed one are compiled again once. */
  setMomentum(group: Group<O>, value: number): void {
    this.requireMomentum();
    if (!(value >= 0 && value < 1))
      throw new ArgumentError(`the momentum is ${value}`, { op: this.name, received: value, expected: 'a number from 0 up to 1' });
    this.setScalar(this.groupState(group, 'momentum', 'float64'), value, 'setMomentum');
  }
  private requireMomentum(): 'momentum' | 'betas' {
    if (this.momentumOption !== null) return this.momentumOption;
    throw new ArgumentError(`${this.name} has no momentum`, {
      op: this.name,
      expected: 'an optimizer with `momentum` or `betas`',
      fix: 'Give cycleMomentum: false to the schedule.',
    });
  }
  private setScalar(target: Tensor, value: number, op: string): void {
    if (currentTrace() !== null) {
      throw new TraceError('an option of an optimizer was set while a function was being traced', {
        op,
        fix: 'Step schedules outside the jit() function: its Program reads the present value at every call.',
      });
    }
    noGrad(() => writeInto(target, full([], value, { dtype: 'float64' })));
  }

  /**
   * One update from the present gradients. Parameters without a gradient stay. With a closure, that runs first and its loss
   * is returned.
   */
  step(how: StepOptions | Closure = {}): Tensor | undefined {
    if (typeof how === 'function') {
      const loss = enableGrad(how);
      this.step();
      return loss;
    }
    if (currentTrace() !== null) {
      this.updateAll(
        (p) => p.grad,
        (p) => p.sparseGrad,
        how,
      );
      observer?.stepTraced();
      return undefined;
    }
    const grads: Tensor[] = [];
    const which: number[] = [];
    const rows: Rows[] = [];
    this.parameters().forEach((p, i) => {
      const { grad, sparseGrad } = p;
      if (grad !== null) {
        grads.push(grad);
        which.push(i);
      } else if (sparseGrad !== null) {
        const { indices, values, isCoalesced } = sparseGrad;
        rows.push({ index: i, indices, values, isCoalesced });
      }
    });
    if (grads.length + rows.length > 0) noGrad(() => this.compiled(grads, which, rows, how));
    observer?.stepDone();
    return undefined;
  }
  zeroGrad(): void {
    for (const p of this.parameters()) clearGrad(p);
  }

  /** The update of all groups, as tensor operations. Wrappers call it with gradients of their own. */
  updateAll(gradOf: (p: Tensor) => Tensor | null, rowsOf: (p: Tensor) => SparseGrad | null = () => null, options: StepOptions = {}): void {
    const before = this.options;
    this.options = options;
    try {
      const run = (): void =>
        noGrad(() => withAutocast(null, () => this.groups.forEach((group) => this.updateGroup(group, gradOf, rowsOf))));
      if (observer === null) run();
      else observer.composite(`${this.name}.step`, run);
    } finally {
      this.options = before;
    }
  }
  private updateGroup(group: Group<O>, gradOf: (p: Tensor) => Tensor | null, rowsOf: (p: Tensor) => SparseGrad | null): void {
    const { gradScale = null } = this.options;
    const prepared = (grad: Tensor, dtype: DType): Tensor => {
      const wide = cast(grad, dtype);
      const scaled = gradScale === null ? wide : mul(wide, cast(gradScale, dtype));
      return group.options.maximize === true ? neg(scaled) : scaled;
    };
    const grads = new Map<Tensor, Tensor>();
    const sparse: SparseUpdate[] = [];
    for (const p of group.params) {
      const grad = gradOf(p);
      const rows = grad === null ? rowsOf(p) : null;
      if (grad === null && rows === null) continue;
      const param = this.weightOf(group, p);
      if (grad !== null) grads.set(param, prepared(grad, param.dtype));
      else if (rows !== null) {
        if (!this.takesSparse) {
          throw new ArgumentError(`a sparse gradient of a parameter of shape [${p.shape.join(', ')}]`, {
            op: this.name,
            expected: 'dense gradients',
            fix: 'Use SGD, Adagrad, SparseAdam or LazyAdam for it, or make the embedding with { sparse: false }.',
          });
        }
        sparse.push({ param, grad: rows.mapValues((v) => prepared(v, param.dtype)) });
      }
    }
    if (grads.size + sparse.length === 0) return;
    const params = [...grads.keys()];
    this.update(group, params, (p) => grads.get(p) ?? zeros(p.shape, { dtype: p.dtype }), sparse);
    for (const w of [...params, ...sparse.map((s) => s.param)]) this.publish(w);
  }

  /**
   * Updates the parameters of one group with tensor operations and {@link write}. A parameter has a gradient or is in `sparse`.
   */
  protected abstract update(
    group: Group<O>,
    params: readonly Tensor[],
    gradOf: (p: Tensor) => Tensor,
    sparse: readonly SparseUpdate[],
  ): void;

  /** Overwrites a parameter or state, unless the step is skipped. */
  protected write(target: Tensor, value: Tensor): void {
    writeInto(target, this.unlessSkipped(value, target));
  }
  /** Overwrites a counter and returns what it is now: the old value when the step is skipped. */
  protected advance(counter: Tensor, value: Tensor): Tensor {
    const next = this.unlessSkipped(value, counter);
    writeInto(counter, next);
    return next;
  }
  /** The new value, or the old one when the step is skipped: for rows of a tensor. */
  protected unlessSkipped(value: Tensor, old: Tensor | 0): Tensor {
    const { skip = null } = this.options;
    return skip === null ? value : where(skip, old, value);
  }

  /** Takes a changed float32 copy over into its parameter. */
  publish(w: Tensor): void {
    const p = this.originals.get(w);
    if (p) writeInto(p, cast(w, p.dtype));
  }
  /** What is updated for a parameter: its float32 copy with `masterWeights`, else itself. */
  weightOf(group: Group<O>, p: Tensor): Tensor {
    return group.options.masterWeights === true && isHalf(p.dtype) ? this.masterOf(p) : p;
  }
  private masterOf(p: Tensor): Tensor {
    const w = this.stateOf(p, master, { init: () => cast(p.detach(), 'float32') });
    this.originals.set(w, p);
    return w;
  }
  /** Takes the parameters' present values over into the float32 copies: after loading weights in the middle of a training. */
  refreshMasterWeights(): void {
    for (const [w, p] of this.originals) noGrad(() => writeInto(w, cast(p.detach(), 'float32')));
  }

  /** State of a parameter, zero at first. `shape` and `dtype` default to the parameter's. */
  protected stateOf(p: Tensor, name: string, { shape = p.shape, dtype = p.dtype, init }: StateOptions = {}): Tensor {
    const owner = this.originals.get(p) ?? p;
    let mine = this.state.get(owner);
    if (!mine) {
      mine = new Map();
      this.state.set(owner, mine);
    }
    let t = mine.get(name);
    if (!t) {
      t = makeState(init ?? (() => zeros(shape, { dtype })));
      mine.set(name, t);
    } else if (!shapesEqual(t.shape, shape)) {
      throw new ArgumentError(`the state ${name} of a parameter of shape [${p.shape.join(', ')}] has shape [${t.shape.join(', ')}]`, {
        op: this.name,
        received: t.shape,
        expected: `[${shape.join(', ')}]`,
        fix: 'It was loaded from an optimizer of other parameters: give both the same parameters in the same order.',
      });
    }
    return t;
  }
  /** State of a whole group: a 0-d tensor, zero at first. */
  protected groupState(group: Group<O>, name: string, dtype: DType, init?: () => Tensor): Tensor {
    let t = group.state.get(name);
    if (!t) {
      t = makeState(init ?? (() => zeros([], { dtype })));
      group.state.set(name, t);
    }
    return t;
  }
  /** The group's learning rate in the dtype of a parameter. */
  protected lrFor(group: Group<O>, p: Tensor): Tensor {
    return cast(group.lr, p.dtype);
  }
  /** The momentum: the option, or a tensor once it was set. */
  protected momentumNow(group: Group<O>, option: number): number | Tensor {
    const fixed = !group.state.has('momentum');
    currentTrace()?.addGuard(() => !group.state.has('momentum') === fixed);
    return group.state.get('momentum') ?? option;
  }

  stateDict(): OptimizerState {
    const tensors = new Map<string, Tensor>();
    this.parameters().forEach((p, i) => {
      for (const [name, t] of this.state.get(p) ?? []) tensors.set(`${i}.${name}`, t);
    });
    this.groups.forEach((g, i) => {
      for (const [name, t] of g.state) tensors.set(`group${i}.${name}`, t);
    });
    return { tensors, lrs: this.groups.map((g) => this.lrOf(g)) };
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
      return { key, source, group: group !== undefined, index: Number(index), name };
    });
    for (const { key, source, group, index, name } of targets) {
      const init = (): Tensor => copy(source);
      if (group) {
        noGrad(() => writeInto(this.groupState(this.groups[index], name, source.dtype, init), source));
        continue;
      }
      const p = params[index];
      const target = name === master ? this.masterOf(p) : this.stateOf(p, name, { shape: this.state.get(p)?.get(name)?.shape, init });
      if (!shapesEqual(target.shape, source.shape)) {
        throw new ArgumentError(`state ${key} has shape [${source.shape.join(', ')}]`, {
          op: 'loadStateDict',
          received: source.shape,
          expected: `[${target.shape.join(', ')}]`,
        });
      }
      noGrad(() => writeInto(target, cast(source, target.dtype)));
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
