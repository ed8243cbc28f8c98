/** Modules: parameters, buffers and sub-modules, found by walking the properties of an object. */

import type { HookHandle } from '../autograd/hooks.js';
import { noGrad } from '../autograd/mode.js';
import { type DType, isFloat } from '../dtype.js';
import { ArgumentError, ShapeError, TriremeError } from '../errors.js';
import { formatShape, shapesEqual, sizeOf } from '../graph/layout.js';
import { currentTrace } from '../graph/trace.js';
import { cast } from '../ops/cast.js';
import { setRequiresGrad } from '../ops/create.js';
import { writeInto } from '../ops/write-view.js';
import { TensorBase } from '../tensor/base.js';
import { withModulePath } from '../tensor/dispatch.js';
import { keep } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import type { ForwardHook, ForwardPreHook, FullBackwardHook, ModuleHook, ModuleHooks } from './hooks.js';
import { hookHandle, runHooked, sameHooks } from './hooks.js';

const parameterTensors = new WeakSet<TensorBase>();
const bufferTensors = new WeakMap<TensorBase, { readonly persistent: boolean }>();

/** Marks a tensor as a parameter: it requires gradients, lives outside scopes, and modules that hold it list it. */
export function parameter(t: Tensor): Tensor {
  setRequiresGrad(t, true);
  parameterTensors.add(t);
  return keep(t);
}

/** Marks a tensor as module state without gradient (running statistics); `persistent: false` leaves it out of stateDict(). */
export function buffer(t: Tensor, { persistent = true }: { readonly persistent?: boolean } = {}): Tensor {
  bufferTensors.set(t, { persistent });
  return keep(t);
}

/** Whether `t` was given to {@link parameter}. */
export function isParameter(t: TensorBase): boolean {
  return parameterTensors.has(t);
}

export interface LoadOptions {
  /** Missing and unexpected keys are errors. Default true. */
  readonly strict?: boolean;
}
export interface LoadResult {
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
}

/** What modules of any signature have in common. */
export type AnyModule = Module<never, unknown>;

/** Modules in the middle of train(): one that is inside of itself is not entered again. */
const switching = new Set<unknown>();

const noHooks: ModuleHooks<AnyModule> = [];

/**
 * Base of all layers and models. Assign parameters ({@link parameter}), buffers ({@link buffer}), modules and arrays of
 * modules to properties; they are found by name, in the order of assignment. What lies in `#private` properties, or deeper in
 * objects and maps, is not found: use TypeScript's `private`, ModuleDict, ParameterList.
 */
export abstract class Module<Args extends readonly unknown[] = [Tensor], Out = Tensor> {
  /** True while training; dropout and batch statistics depend on it. Set it with train() and eval(). */
  training = true;
  /** The name under which the module was found last, for errors and profiles. */
  private pathName = '';
  private childrenNamed = false;
  private hooks: ModuleHooks<AnyModule> = noHooks;

  abstract forward(...args: Args): Out;

  /** Runs forward and the hooks around it; errors name the path of the layer. */
  call(...args: Args): Out {
    const { hooks } = this;
    const trace = currentTrace();
    if (trace !== null) {
      const { training } = this;
      trace.addGuard(() => this.training === training && sameHooks(this.hooks, hooks));
    }
    if (!this.childrenNamed) {
      this.childrenNamed = true;
      this.children();
    }
    return withModulePath(this.pathName || this.constructor.name, () => {
      try {
        if (hooks.length === 0) return this.forward(...args);
        const self = this as unknown as AnyModule;
        return runHooked(self, hooks, args, (current) => this.forward(...(current as unknown as Args))) as Out;
      } catch (error) {
        if (error instanceof TriremeError) error.atLayer(this.pathName || this.constructor.name);
        throw error;
      }
    });
  }

  /**
   * Calls `hook` before each forward. Inside jit() hooks run while the function is traced, as all of its code does; adding
   * or removing one traces it anew.
   */
  registerForwardPreHook(hook: ForwardPreHook<AnyModule>): HookHandle {
    return this.addHook({ kind: 'forwardPre', run: hook });
  }
  /** Calls `hook` after each forward. */
  registerForwardHook(hook: ForwardHook<AnyModule>): HookHandle {
    return this.addHook({ kind: 'forward', run: hook });
  }
  /** Calls `hook` in each backward pass with the gradients towards this module's inputs and outputs. */
  registerFullBackwardHook(hook: FullBackwardHook<AnyModule>): HookHandle {
    return this.addHook({ kind: 'backward', run: hook });
  }
  private addHook(hook: ModuleHook<AnyModule>): HookHandle {
    this.hooks = [...this.hooks, hook];
    return hookHandle(
      hook,
      () => this.hooks,
      (hooks) => {
        this.hooks = hooks.length === 0 ? noHooks : hooks;
      },
    );
  }

  /** The modules directly below, with their names in state dicts. */
  *namedChildren(): Generator<[string, AnyModule]> {
    for (const [property, value] of Object.entries(this)) {
      if (value instanceof Module) yield [this.stateName(property), label(value, property)];
      else if (Array.isArray(value)) {
        for (const [i, item] of value.entries())
          if (item instanceof Module) yield [this.listKey(this.stateName(property), i), label(item, this.listKey(property, i))];
      }
    }
  }
  /** The name of a property in state dicts, PyTorch's: `runningMean` is `running_mean`. Dictionaries leave keys as they are. */
  protected stateName(property: string): string {
    return property.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
  }
  /** The name of module i of an array property; Sequential and ModuleList leave the property's name out. */
  protected listKey(property: string, index: number): string {
    return `${property}.${index}`;
  }
  /** To be called when modules came or went after the first call, so that errors name them. */
  protected childrenChanged(): void {
    this.childrenNamed = false;
  }
  children(): AnyModule[] {
    return Array.from(this.namedChildren(), ([, module]) => module);
  }
  /** This module ('') and all below, depth first, each once. */
  *namedModules(prefix = '', seen: Set<unknown> = new Set()): Generator<[string, AnyModule]> {
    if (seen.has(this)) return;
    seen.add(this);
    yield [prefix, this as unknown as AnyModule];
    for (const [name, child] of this.namedChildren()) yield* child.namedModules(prefix ? `${prefix}.${name}` : name, seen);
  }
  modules(): AnyModule[] {
    return Array.from(this.namedModules(), ([, module]) => module);
  }

  /** Every name of every tensor: those that several modules share have several. */
  private *namedTensors(wanted: (t: TensorBase) => boolean): Generator<[string, Tensor]> {
    for (const [path, module] of everyName(this as unknown as AnyModule)) {
      for (const [name, value] of Object.entries(module)) {
        if (!(value instanceof TensorBase) || !wanted(value)) continue;
        const key = module.stateName(name);
        yield [path ? `${path}.${key}` : key, value as Tensor];
      }
    }
  }
  /** Each parameter once, under its PyTorch name. */
  namedParameters(): Generator<[string, Tensor]> {
    return onceEach(this.namedTensors((t) => parameterTensors.has(t)));
  }
  parameters(): Tensor[] {
    return Array.from(this.namedParameters(), ([, t]) => t);
  }
  namedBuffers(): Generator<[string, Tensor]> {
    return onceEach(this.namedTensors((t) => bufferTensors.has(t)));
  }
  buffers(): Tensor[] {
    return Array.from(this.namedBuffers(), ([, t]) => t);
  }

  /** How many numbers the parameters hold; with `trainable` only those that require gradients. */
  parameterCount({ trainable = false }: { readonly trainable?: boolean } = {}): number {
    return this.parameters().reduce((n, p) => n + (trainable && !p.requiresGrad ? 0 : sizeOf(p.shape)), 0);
  }

  /** The module at a path of names, `encoder.0`; '' is this module. @throws ArgumentError when there is none */
  getSubmodule(path: string): AnyModule {
    return found('getSubmodule', path, this.namedModules());
  }
  /** The parameter of this name in {@link namedParameters}. @throws ArgumentError when there is none */
  getParameter(name: string): Tensor {
    return found('getParameter', name, this.namedParameters());
  }
  /** The buffer of this name in {@link namedBuffers}. @throws ArgumentError when there is none */
  getBuffer(name: string): Tensor {
    return found('getBuffer', name, this.namedBuffers());
  }
  /** Sets property `name` to a tensor marked by {@link buffer}. Assigning `this.name = buffer(t)` is the same. */
  registerBuffer(name: string, t: Tensor, options: { readonly persistent?: boolean } = {}): void {
    Object.assign(this, { [name]: buffer(t, options) });
  }
  /** Sets property `name` to a tensor marked by {@link parameter}. Assigning `this.name = parameter(t)` is the same. */
  registerParameter(name: string, t: Tensor | null): void {
    Object.assign(this, { [name]: t === null ? null : parameter(t) });
  }
  /** Sets property `name` to a module, as an assignment does. */
  registerModule(name: string, module: AnyModule): void {
    Object.assign(this, { [name]: module });
    this.childrenChanged();
  }

  /** Settings shown by toString(), `inFeatures=2, outFeatures=3`. */
  extraRepr(): string {
    return '';
  }
  /** The tree of modules, one a line. */
  toString(): string {
    return printTree(this as unknown as AnyModule, this.collapsesEqual());
  }
  /** Whether toString() shows equal neighbours once, `(0-3): 4 x …`. */
  protected collapsesEqual(): boolean {
    return false;
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  /**
   * Parameters and persistent buffers by name, a shared one under each of its names, as in PyTorch. The tensors are the live ones,
   * not copies.
   */
  stateDict(): Map<string, Tensor> {
    return new Map(this.namedTensors((t) => parameterTensors.has(t) || bufferTensors.get(t)?.persistent === true));
  }
  /**
   * Copies values into this module's tensors; dtypes are converted. One name of a shared tensor is enough. Nothing changes when
   * anything is wrong.
   * @throws ArgumentError for missing or unexpected names (strict), ShapeError for shapes that differ.
   */
  loadStateDict(state: ReadonlyMap<string, Tensor>, { strict = true }: LoadOptions = {}): LoadResult {
    const own = this.stateDict();
    const given = new Set([...own].filter(([key]) => state.has(key)).map(([, t]) => t));
    const missing = [...own].filter(([, t]) => !given.has(t)).map(([key]) => key);
    const unexpected = [...state.keys()].filter((key) => !own.has(key));
    if (strict && missing.length + unexpected.length > 0) {
      const list = (names: readonly string[]): string =>
        names.length > 8 ? `${names.slice(0, 8).join(', ')} and ${names.length - 8} more` : names.join(', ') || 'none';
      throw new ArgumentError(`the state does not fit: missing ${list(missing)}; unexpected ${list(unexpected)}`, {
        op: 'loadStateDict',
        received: [...state.keys()],
        expected: 'the names of stateDict()',
        fix: 'Check that model and file belong together, or pass { strict: false } to load what fits.',
      });
    }
    for (const [key, target] of own) {
      const source = state.get(key);
      if (source && !shapesEqual(source.shape, target.shape)) {
        throw new ShapeError(`${key} has shape ${formatShape(source.shape)}`, {
          op: 'loadStateDict',
          received: source.shape,
          expected: formatShape(target.shape),
        });
      }
    }
    noGrad(() => {
      for (const [key, target] of own) {
        const source = state.get(key);
        if (source) writeInto(target, cast(source, target.dtype));
      }
    });
    return { missing, unexpected };
  }

  /**
   * Training mode for this module and all below. A class may override it, for example to leave a frozen normalization in
   * evaluation: the modules above call it.
   */
  train(mode = true): this {
    this.training = mode;
    if (switching.has(this)) return this;
    switching.add(this);
    try {
      for (const child of this.children()) child.train(mode);
    } finally {
      switching.delete(this);
    }
    return this;
  }
  eval(): this {
    return this.train(false);
  }
  /** Calls `fn` with every module, children first. */
  apply(fn: (module: AnyModule) => void): this {
    for (const module of this.modules().reverse()) fn(module);
    return this;
  }
  /** Converts floating parameters and buffers to another floating dtype; shared ones stay shared. Make optimizers afterwards. */
  to(dtype: DType): this {
    const done = new Map<Tensor, Tensor>();
    for (const module of this.modules()) {
      for (const [name, value] of Object.entries(module)) {
        if (!(value instanceof TensorBase) || !isFloat(value.dtype) || value.dtype === dtype) continue;
        const old = value as Tensor;
        const shared = done.get(old);
        if (shared !== undefined) {
          Object.assign(module, { [name]: shared });
          continue;
        }
        const settings = bufferTensors.get(old);
        const trained = isParameter(old);
        if (!trained && settings === undefined) continue;
        const converted = noGrad(() => cast(old.detach(), dtype));
        const { requiresGrad } = old;
        if (trained) setRequiresGrad(parameter(converted), requiresGrad);
        else buffer(converted, settings);
        Object.assign(module, { [name]: converted });
        done.set(old, converted);
      }
    }
    for (const old of done.keys()) old.dispose();
    return this;
  }
  requiresGrad_(value = true): this {
    for (const p of this.parameters()) setRequiresGrad(p, value);
    return this;
  }
  /** Forgets the gradients of all parameters. */
  zeroGrad(): void {
    for (const p of this.parameters()) clearGrad(p);
  }
  /** Frees the memory of all parameters and buffers now. */
  dispose(): void {
    for (const t of [...this.parameters(), ...this.buffers()]) {
      t.leafGradient?.dispose();
      t.dispose();
    }
  }
}

function printTree(module: AnyModule, collapse: boolean): string {
  const own = module.extraRepr();
  const lines: { from: string; to: string; count: number; text: string }[] = [];
  for (const [name, child] of module.namedChildren()) {
    const text = child.toString().replaceAll('\n', '\n  ');
    const last = lines[lines.length - 1];
    if (collapse && last?.text === text) {
      last.to = name;
      last.count++;
    } else lines.push({ from: name, to: name, count: 1, text });
  }
  const children = lines.map(({ from, to, count, text }) =>
    count === 1 ? `  (${from}): ${text}` : `  (${from}-${to}): ${count} x ${text}`,
  );
  if (children.length === 0 && !own.startsWith('(')) return `${module.constructor.name}(${own})`;
  return [`${module.constructor.name}(`, ...(own === '' ? [] : [`  ${own}`]), ...children, ')'].join('\n');
}

/** A module and all below, depth first, as often as they occur. A module inside of itself is not entered again. */
function* everyName(module: AnyModule, prefix = '', above: readonly AnyModule[] = []): Generator<[string, AnyModule]> {
  if (above.includes(module)) return;
  yield [prefix, module];
  for (const [name, child] of module.namedChildren()) yield* everyName(child, prefix ? `${prefix}.${name}` : name, [...above, module]);
}

/** Each tensor under its first name. */
function* onceEach(named: Iterable<[string, Tensor]>): Generator<[string, Tensor]> {
  const seen = new Set<Tensor>();
  for (const entry of named) {
    if (seen.has(entry[1])) continue;
    seen.add(entry[1]);
    yield entry;
  }
}

function found<T>(op: string, name: string, all: Iterable<[string, T]>): T {
  const names: string[] = [];
  for (const [key, value] of all) {
    if (key === name) return value;
    names.push(key);
  }
  throw new ArgumentError(`nothing is named '${name}'`, {
    op,
    received: name,
    expected: `one of ${names.slice(0, 12).join(', ')}${names.length > 12 ? ' …' : ''}`,
  });
}

function label(module: AnyModule, name: string): AnyModule {
  (module as unknown as { pathName: string }).pathName = name;
  return module;
}

/** Forgets the gradient of a leaf. Whoever holds the tensor still has it. */
export function clearGrad(leaf: Tensor): void {
  leaf.grad = null;
}
