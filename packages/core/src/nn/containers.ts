/** Modules that hold modules or parameters. Their contents go by key alone in state dicts, without a property's name. */
import { ArgumentError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import type { Tensor } from '../tensor/tensor.js';
import { type AnyModule, isParameter, Module, parameter } from './module.js';

/** Index `i` of a list of `length`, counted from the end when negative. */
function position(op: string, i: number, length: number): number {
  const at = i < 0 ? i + length : i;
  if (!Number.isInteger(at) || at < 0 || at >= length)
    throw new ArgumentError(`position ${i} of ${length}`, { op, received: i, expected: `a whole number from ${-length} to ${length - 1}` });
  return at;
}

/** Modules with names, in order. */
export type NamedModules = Readonly<Record<string, Module>>;

/**
 * Modules one after the other, each with the output of the one before. Parameters go by `0.weight`, `1.weight` …, or by the
 * names of an object: `new Sequential({ conv: new Conv2d(…), relu: new ReLU() })`.
 */
export class Sequential extends Module {
  readonly layers: readonly Module[];
  /** Names of the layers; those of number and beyond are numbered. */
  private names: readonly string[];
  constructor(...layers: readonly Module[] | readonly [NamedModules]) {
    super();
    const [first] = layers;
    if (layers.length === 1 && !(first instanceof Module)) {
      this.layers = Object.values(first);
      this.names = Object.keys(first);
    } else {
      this.layers = [...(layers as readonly Module[])];
      this.names = [];
    }
    const odd = typeof first === 'function' ? first : this.layers.find((layer) => !(layer instanceof Module));
    if (odd !== undefined)
      throw new ArgumentError(`a layer is a ${typeof odd}`, {
        op: 'Sequential',
        received: odd,
        expected: 'modules, or an object of modules',
      });
  }
  override forward(x: Tensor): Tensor {
    // Nothing is freed in between: a layer may keep or own what it returns.
    return this.layers.reduce((y, layer) => layer.call(y), x);
  }
  get length(): number {
    return this.layers.length;
  }
  /** Layer i; negative numbers count from the end. */
  at(i: number): Module {
    return this.layers[position('Sequential', i, this.layers.length)];
  }
  [Symbol.iterator](): Iterator<Module> {
    return this.layers[Symbol.iterator]();
  }
  /** Adds layers at the end. */
  append(...layers: readonly Module[]): this {
    (this.layers as Module[]).push(...layers);
    this.childrenChanged();
    return this;
  }
  protected override listKey(_property: string, index: number): string {
    return this.names[index] ?? String(index);
  }
}

/** A list of modules: iterate over it or take `at(i)`; it has no forward of its own. */
export class ModuleList<M extends AnyModule = Module> extends Module<never, never> implements Iterable<M> {
  private readonly items: M[];
  constructor(modules: Iterable<M> = []) {
    super();
    this.items = [...modules];
  }
  override forward(): never {
    throw new ArgumentError('a ModuleList has no forward', {
      op: 'ModuleList',
      fix: 'Call its modules: for (const layer of list) x = layer.call(x).',
    });
  }
  get length(): number {
    return this.items.length;
  }
  /** Module i; negative numbers count from the end. */
  at(i: number): M {
    return this.items[position('ModuleList', i, this.items.length)];
  }
  [Symbol.iterator](): Iterator<M> {
    return this.items[Symbol.iterator]();
  }
  map<T>(fn: (module: M, index: number) => T): T[] {
    return this.items.map(fn);
  }
  /** Adds modules at the end. */
  append(...modules: readonly M[]): this {
    return this.insert(this.items.length, ...modules);
  }
  /** Adds modules in front of module i. */
  insert(i: number, ...modules: readonly M[]): this {
    this.items.splice(i, 0, ...modules);
    this.childrenChanged();
    return this;
  }
  /** Puts another module in the place of module i. */
  set(i: number, module: M): this {
    this.items[position('ModuleList', i, this.items.length)] = module;
    this.childrenChanged();
    return this;
  }
  /** Takes module i out and returns it. */
  pop(i = -1): M {
    const at = position('ModuleList', i, this.items.length);
    this.childrenChanged();
    return this.items.splice(at, 1)[0];
  }
  protected override listKey(_property: string, index: number): string {
    return String(index);
  }
  protected override collapsesEqual(): boolean {
    return true;
  }
}

/** @throws ArgumentError for a key that names a part of the container itself. */
function checkKey(op: string, owner: object, keys: ReadonlySet<string>, key: string): void {
  if (key === '' || key.includes('.') || (!keys.has(key) && key in owner))
    throw new ArgumentError(`the key '${key}'`, {
      op,
      received: key,
      expected: 'a name without dots that is not one of a module’s own, such as forward or training',
    });
}

/** Modules by name; it has no forward of its own. */
export class ModuleDict<M extends AnyModule = Module> extends Module<never, never> implements Iterable<[string, M]> {
  private readonly names = new Set<string>();
  constructor(modules: Readonly<Record<string, M>> | Iterable<readonly [string, M]> = {}) {
    super();
    const entries = Symbol.iterator in modules ? (modules as Iterable<readonly [string, M]>) : Object.entries(modules);
    for (const [key, module] of entries) this.set(key, module);
  }
  override forward(): never {
    throw new ArgumentError('a ModuleDict has no forward', { op: 'ModuleDict', fix: "Call one of its modules: dict.get('name').call(x)." });
  }
  get size(): number {
    return this.names.size;
  }
  has(key: string): boolean {
    return this.names.has(key);
  }
  /** @throws ArgumentError when there is none of that name. */
  get(key: string): M {
    if (!this.names.has(key))
      throw new ArgumentError(`no module '${key}'`, { op: 'ModuleDict', received: key, expected: `one of ${[...this.names].join(', ')}` });
    return (this as unknown as Record<string, M>)[key];
  }
  set(key: string, module: M): this {
    checkKey('ModuleDict', this, this.names, key);
    this.names.add(key);
    this.registerModule(key, module as AnyModule);
    return this;
  }
  /** Takes a module out; false when there is none of that name. */
  delete(key: string): boolean {
    if (!this.names.delete(key)) return false;
    Reflect.deleteProperty(this, key);
    this.childrenChanged();
    return true;
  }
  keys(): string[] {
    return [...this.names];
  }
  values(): M[] {
    return this.keys().map((key) => this.get(key));
  }
  entries(): [string, M][] {
    return this.keys().map((key) => [key, this.get(key)]);
  }
  [Symbol.iterator](): Iterator<[string, M]> {
    return this.entries()[Symbol.iterator]();
  }
  protected override stateName(property: string): string {
    return property;
  }
}

const asParameter = (t: Tensor): Tensor => (isParameter(t) ? t : parameter(t));
const settingsOf = (name: string, t: Tensor): string => `(${name}): Parameter containing: [${t.dtype} of size ${formatShape(t.shape)}]`;

/** A list of parameters; tensors given to it become parameters. */
export class ParameterList extends Module<never, never> implements Iterable<Tensor> {
  private count = 0;
  constructor(tensors: Iterable<Tensor> = []) {
    super();
    this.append(...tensors);
  }
  override forward(): never {
    throw new ArgumentError('a ParameterList has no forward', { op: 'ParameterList', fix: 'Use its parameters: list.at(i).' });
  }
  get length(): number {
    return this.count;
  }
  /** Parameter i; negative numbers count from the end. */
  at(i: number): Tensor {
    return (this as unknown as Record<string, Tensor>)[position('ParameterList', i, this.count)];
  }
  set(i: number, t: Tensor): this {
    Object.assign(this, { [position('ParameterList', i, this.count)]: asParameter(t) });
    return this;
  }
  append(...tensors: readonly Tensor[]): this {
    for (const t of tensors) Object.assign(this, { [this.count++]: asParameter(t) });
    return this;
  }
  [Symbol.iterator](): Iterator<Tensor> {
    return Array.from({ length: this.count }, (_, i) => this.at(i))[Symbol.iterator]();
  }
  override extraRepr(): string {
    return Array.from(this, (t, i) => settingsOf(String(i), t)).join('\n  ');
  }
}

/** Parameters by name; tensors given to it become parameters. */
export class ParameterDict extends Module<never, never> implements Iterable<[string, Tensor]> {
  private readonly names = new Set<string>();
  constructor(tensors: Readonly<Record<string, Tensor>> = {}) {
    super();
    for (const [key, t] of Object.entries(tensors)) this.set(key, t);
  }
  override forward(): never {
    throw new ArgumentError('a ParameterDict has no forward', { op: 'ParameterDict', fix: "Use its parameters: dict.get('name')." });
  }
  get size(): number {
    return this.names.size;
  }
  has(key: string): boolean {
    return this.names.has(key);
  }
  /** @throws ArgumentError when there is none of that name. */
  get(key: string): Tensor {
    if (!this.names.has(key))
      throw new ArgumentError(`no parameter '${key}'`, {
        op: 'ParameterDict',
        received: key,
        expected: `one of ${[...this.names].join(', ')}`,
      });
    return (this as unknown as Record<string, Tensor>)[key];
  }
  set(key: string, t: Tensor): this {
    checkKey('ParameterDict', this, this.names, key);
    this.names.add(key);
    Object.assign(this, { [key]: asParameter(t) });
    return this;
  }
  /** Takes a parameter out; false when there is none of that name. */
  delete(key: string): boolean {
    return this.names.delete(key) && Reflect.deleteProperty(this, key);
  }
  keys(): string[] {
    return [...this.names];
  }
  values(): Tensor[] {
    return this.keys().map((key) => this.get(key));
  }
  entries(): [string, Tensor][] {
    return this.keys().map((key) => [key, this.get(key)]);
  }
  [Symbol.iterator](): Iterator<[string, Tensor]> {
    return this.entries()[Symbol.iterator]();
  }
  protected override stateName(property: string): string {
    return property;
  }
  override extraRepr(): string {
    return this.entries()
      .map(([key, t]) => settingsOf(key, t))
      .join('\n  ');
  }
}
