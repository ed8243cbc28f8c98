/**
 * Parametrizations: a tensor of a module is computed from others each time it is read. State dicts have PyTorch's keys,
 * `parametrizations.weight.original0`.
 */
import { noGrad } from '../autograd/mode.js';
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape, shapesEqual, sizeOf } from '../graph/layout.js';
import { div, mul } from '../ops/binary.js';
import { mv } from '../ops/matmul.js';
import { randn } from '../ops/random.js';
import { sum } from '../ops/reduce.js';
import { norm, normalize } from '../ops/statistics.js';
import { movedim, reshape, t as transposed } from '../ops/view.js';
import { writeInto } from '../ops/write-view.js';
import { composite, scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { describe } from './check.js';
import { ModuleDict } from './containers.js';
import { type AnyModule, buffer, Module, parameter } from './module.js';

/** Computes a tensor from one original tensor or several. */
export abstract class Parametrization extends Module<Tensor[]> {
  /** The originals that give `value`, about; without it the value itself is the original. */
  rightInverse(value: Tensor): Tensor | readonly Tensor[] {
    return value;
  }
}

/** The originals of one tensor and the parametrizations they pass through, `0`, `1` … */
class ParametrizationList extends Module<[]> {
  private readonly steps: Parametrization[] = [];
  constructor(originals: Tensor | readonly Tensor[], first: Parametrization) {
    super();
    if (originals instanceof Tensor) Object.assign(this, { original: parameter(originals) });
    else for (const [i, t] of originals.entries()) Object.assign(this, { [`original${i}`]: parameter(t) });
    this.steps.push(first);
  }
  /** `original`, or `original0`, `original1` … */
  originals(): Tensor[] {
    return Object.entries(this).flatMap(([name, value]) => (/^original\d*$/.test(name) && value instanceof Tensor ? [value] : []));
  }
  add(step: Parametrization): void {
    this.steps.push(step);
    this.childrenChanged();
  }
  override forward(): Tensor {
    const [first, ...rest] = this.steps;
    return rest.reduce((value, step) => step.call(value), first.call(...this.originals()));
  }
  /** Writes the originals that give `value`. */
  assign(value: Tensor): void {
    noGrad(() =>
      scope(() => {
        const inverse = [...this.steps].reverse().reduce<Tensor | readonly Tensor[]>((v, step) => {
          if (!(v instanceof Tensor)) throw new ArgumentError('several originals behind a later parametrization', { op: 'parametrize' });
          return step.rightInverse(v);
        }, value.detach());
        const list = inverse instanceof Tensor ? [inverse] : inverse;
        this.originals().forEach((original, i) => {
          writeInto(original, list[i]);
        });
      }),
    );
  }
  protected override listKey(_property: string, index: number): string {
    return String(index);
  }
}

type Parametrized = AnyModule & { parametrizations?: ModuleDict<ParametrizationList> } & Record<string, unknown>;

/** Whether property `name` of a module, or any at all, is parametrized. */
export function isParametrized(module: AnyModule, name?: string): boolean {
  const { parametrizations } = module as Parametrized;
  return parametrizations !== undefined && (name === undefined || parametrizations.has(name));
}

/** Has `forward` free what reading parametrized tensors makes. */
function scopeForward(module: AnyModule): void {
  if (Object.hasOwn(module, 'forward')) return;
  const forward = (...args: never): unknown =>
    composite('parametrized', () => (Object.getPrototypeOf(module) as AnyModule).forward.apply(module, args));
  Object.defineProperty(module, 'forward', { value: forward, configurable: true, enumerable: false });
}

/**
 * Has property `name` of a module, a parameter, computed by `parametrization` from then on. The originals become the
 * parameters: make optimizers afterwards. Several parametrizations of one tensor run one after the other.
 */
export function registerParametrization<M extends AnyModule>(module: M, name: string, parametrization: Parametrization): M {
  const op = 'registerParametrization';
  const owner = module as unknown as Parametrized;
  parametrization.train(module.training);
  if (isParametrized(module, name)) {
    const list = (owner.parametrizations as ModuleDict<ParametrizationList>).get(name);
    const value = noGrad(() => list.call());
    list.add(parametrization);
    list.assign(value);
    value.dispose();
    return module;
  }
  const current = owner[name];
  if (!(current instanceof Tensor))
    throw new ArgumentError(`the module has no tensor '${name}'`, { op, received: name, expected: 'the name of a parameter' });
  const { requiresGrad } = current;
  // A tensor of its own even where the inverse is the value itself: that one is freed below.
  const originals = noGrad(() => {
    const inverse = parametrization.rightInverse(current.detach());
    return inverse instanceof Tensor ? inverse.clone() : inverse.map((t) => t.clone());
  });
  const list = new ParametrizationList(originals, parametrization);
  list.train(module.training);
  list.requiresGrad_(requiresGrad);
  const first = noGrad(() => list.call());
  const { shape } = first;
  first.dispose();
  if (!shapesEqual(shape, current.shape))
    throw new ShapeError(`the parametrization gives shape ${formatShape(shape)}`, {
      op,
      received: shape,
      expected: formatShape(current.shape),
    });
  Reflect.deleteProperty(module, name);
  current.grad?.dispose();
  current.dispose();
  Object.defineProperty(module, name, {
    configurable: true,
    enumerable: false,
    get: () => list.call(),
    set: (value: Tensor) => list.assign(value),
  });
  if (owner.parametrizations === undefined) module.registerModule('parametrizations', new ModuleDict<ParametrizationList>() as AnyModule);
  (owner.parametrizations as unknown as ModuleDict<ParametrizationList>).set(name, list);
  owner.parametrizations?.train(module.training);
  scopeForward(module);
  return module;
}

/**
 * Makes property `name` a plain parameter again, with the value it has now, or (leaveParametrized: false) with the original.
 * @throws ArgumentError when it is not parametrized, or there is no single original to return to
 */
export function removeParametrizations<M extends AnyModule>(
  module: M,
  name: string,
  { leaveParametrized = true }: { readonly leaveParametrized?: boolean } = {},
): M {
  const op = 'removeParametrizations';
  const owner = module as unknown as Parametrized;
  if (!isParametrized(module, name))
    throw new ArgumentError(`'${name}' is not parametrized`, { op, received: name, expected: 'a name given to registerParametrization' });
  const parametrizations = owner.parametrizations as ModuleDict<ParametrizationList>;
  const list = parametrizations.get(name);
  const originals = list.originals();
  if (!leaveParametrized && originals.length !== 1)
    throw new ArgumentError(`'${name}' has ${originals.length} originals`, { op, expected: 'one original', fix: 'Leave it parametrized.' });
  const wasTraining = list.training;
  // Reading must not move the state of a parametrization (a power iteration) any further.
  list.eval();
  const value = noGrad(() => (leaveParametrized ? list.call() : originals[0]).clone());
  list.train(wasTraining);
  const { requiresGrad } = originals[0];
  list.dispose();
  parametrizations.delete(name);
  Reflect.deleteProperty(module, name);
  Object.assign(module, { [name]: parameter(value) });
  if (!requiresGrad) value.requiresGrad = false;
  if (parametrizations.size === 0) {
    Reflect.deleteProperty(module, 'parametrizations');
    Reflect.deleteProperty(module, 'forward');
  }
  return module;
}

/** The norm over all axes but `dim`, which keeps its extent; over all where `dim` is null. */
function normExcept(v: Tensor, dim: number | null): Tensor {
  if (dim === null) return norm(v);
  const axes = v.shape.flatMap((_, axis) => (axis === dim ? [] : [axis]));
  return axes.length === 0 ? v.abs() : norm(v, 2, axes, true);
}

/** `g * v / |v|`, by the first axis. */
class WeightNorm extends Parametrization {
  private readonly dim: number | null;
  constructor(dim: number | null) {
    super();
    this.dim = dim;
  }
  override forward(g: Tensor, v: Tensor): Tensor {
    return composite('weightNorm', () => mul(v, div(g, normExcept(v, this.dim))));
  }
  override rightInverse(value: Tensor): readonly Tensor[] {
    return [composite('norm', () => normExcept(value, this.dim)), value];
  }
  override extraRepr(): string {
    return describe([], { dim: this.dim });
  }
}

/**
 * Splits a weight into length and direction, `weight = g * v / |v|` (Salimans and Kingma, arXiv:1602.07868), with a length for
 * each index along `dim` (null: one for all). Parameters: `parametrizations.weight.original0` (g) and `original1` (v).
 */
export function weightNorm<M extends AnyModule>(
  module: M,
  { name = 'weight', dim = 0 }: { readonly name?: string; readonly dim?: number | null } = {},
): M {
  const value = (module as unknown as Record<string, unknown>)[name];
  const axis = dim !== null && dim < 0 && value instanceof Tensor ? dim + value.ndim : dim;
  return registerParametrization(module, name, new WeightNorm(axis === -1 ? null : axis));
}

export interface SpectralNormOptions {
  readonly name?: string;
  /** Steps of the power iteration at each read in training; default 1. */
  readonly nPowerIterations?: number;
  readonly eps?: number;
  /** The axis of the outputs; default 0, and 1 for transposed convolutions. */
  readonly dim?: number;
}

/** A weight divided by its largest singular value, estimated by vectors that are improved at each read in training. */
class SpectralNorm extends Parametrization {
  /** Left and right singular vectors, absent for vectors, whose largest singular value is their norm. */
  _u: Tensor | null = null;
  _v: Tensor | null = null;
  private readonly dim: number;
  private readonly steps: number;
  private readonly eps: number;
  constructor(weight: Tensor, steps: number, dim: number, eps: number) {
    super();
    this.dim = dim;
    this.steps = steps;
    this.eps = eps;
    if (weight.ndim < 2) return;
    noGrad(() =>
      scope(() => {
        const matrix = this.asMatrix(weight);
        const [rows, columns] = matrix.shape;
        this._u = buffer(this.unit(randn([rows], { dtype: weight.dtype })));
        this._v = buffer(this.unit(randn([columns], { dtype: weight.dtype })));
        this.iterate(matrix, this._u, this._v, 15);
      }),
    );
  }
  private asMatrix(weight: Tensor): Tensor {
    const front = this.dim === 0 ? weight : movedim(weight, this.dim, 0);
    return reshape(front, [front.shape[0], sizeOf(front.shape.slice(1))]);
  }
  private unit(x: Tensor): Tensor {
    return normalize(x, { dim: 0, eps: this.eps });
  }
  /** Power iteration: u and v come closer to the singular vectors of the largest singular value. */
  private iterate(matrix: Tensor, u: Tensor, v: Tensor, steps: number): void {
    for (let i = 0; i < steps; i++) {
      writeInto(u, this.unit(mv(matrix, v)));
      writeInto(v, this.unit(mv(transposed(matrix), u)));
    }
  }
  override forward(weight: Tensor): Tensor {
    const { _u: u, _v: v } = this;
    return composite('spectralNorm', () => {
      if (u === null || v === null) return this.unit(weight);
      const matrix = this.asMatrix(weight);
      if (this.training) noGrad(() => this.iterate(matrix.detach(), u, v, this.steps));
      // Copies: the next read changes u and v, and this one's gradient needs them as they are.
      const [left, right] = noGrad(() => [u.clone(), v.clone()]);
      return div(weight, sum(mul(left, mv(matrix, right))));
    });
  }
  override extraRepr(): string {
    return describe([], { dim: this.dim, nPowerIterations: this.steps, eps: this.eps });
  }
}

/**
 * Divides a weight by its largest singular value (Miyato et al., arXiv:1802.05957). Parameter: `parametrizations.weight.original`;
 * buffers: `parametrizations.weight.0._u` and `_v`, which training improves, inside jit() as well.
 */
export function spectralNorm<M extends AnyModule>(
  module: M,
  { name = 'weight', nPowerIterations = 1, eps = 1e-12, dim }: SpectralNormOptions = {},
): M {
  const value = (module as unknown as Record<string, unknown>)[name];
  if (!(value instanceof Tensor))
    throw new ArgumentError(`the module has no tensor '${name}'`, {
      op: 'spectralNorm',
      received: name,
      expected: 'the name of a parameter',
    });
  if (!Number.isInteger(nPowerIterations) || nPowerIterations < 1)
    throw new ArgumentError(`nPowerIterations is ${nPowerIterations}`, { op: 'spectralNorm', expected: 'a whole number from 1 on' });
  const axis = dim ?? (module.constructor.name.startsWith('ConvTranspose') ? 1 : 0);
  const from = axis < 0 ? axis + value.ndim : axis;
  return registerParametrization(module, name, new SpectralNorm(value.detach(), nPowerIterations, from, eps));
}
