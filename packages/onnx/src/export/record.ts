/** From a module or a function and example inputs to a Program with names. */
import { ArgumentError, nn, noGrad, Tensor } from 'trireme';
import { isDense, type Program, type Shape, sizeOf, type TensorType, traceProgram, type Value } from 'trireme/graph';
import type { Captured } from './emitter.js';

/** What can be exported. Functions take and return tensors, or arrays and plain objects of them. */
export type Exportable = nn.Module<never, unknown> | ((...args: never[]) => unknown);

/** A place in nested data: argument 0, key 'mask'. */
type Path = readonly (string | number)[];

export interface RecordedInput {
  readonly name: string;
  readonly type: TensorType;
}

/** A recording of one choice of input shapes. */
export interface Recording {
  readonly program: Program;
  readonly captured: ReadonlyMap<Value, Captured>;
  readonly outputNames: readonly string[];
  /** Lets go of handles on memory that belongs to no module. */
  dispose(): void;
}

/** What is recorded: the function, its nested arguments with tensors in them, and the tensors in order. */
export interface Source {
  readonly name: string;
  /** Path of the module in the recording, '' for a function. */
  readonly root: string;
  readonly inputs: readonly RecordedInput[];
  record(types: readonly TensorType[]): Recording;
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && [Object.prototype, null].includes(Object.getPrototypeOf(value));
}

/** Calls `visit` for each tensor (or other leaf that `isLeaf` names) in nested data. */
function walk(value: unknown, isLeaf: (v: unknown) => boolean, visit: (leaf: unknown, path: Path) => void, path: Path = []): void {
  if (isLeaf(value)) visit(value, path);
  else if (Array.isArray(value)) value.forEach((item, i) => walk(item, isLeaf, visit, [...path, i]));
  else if (isPlain(value)) for (const [key, item] of Object.entries(value)) walk(item, isLeaf, visit, [...path, key]);
}

/** The same data with the tensors replaced, in order. */
function rebuilt(value: unknown, next: () => Tensor): unknown {
  if (value instanceof Tensor) return next();
  if (Array.isArray(value)) return value.map((item) => rebuilt(item, next));
  if (isPlain(value)) return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, rebuilt(item, next)]));
  return value;
}

/** `output` for one thing, `output0` … for several, keys where there are some; the path below behind dots. */
function namesOf(paths: readonly Path[], base: string): string[] {
  const isOne = new Set(paths.map(([first]) => first)).size === 1;
  return paths.map(([first, ...rest]) => {
    const head = first === undefined || (isOne && typeof first === 'number') ? base : typeof first === 'number' ? `${base}${first}` : first;
    return [head, ...rest].join('.');
  });
}

function chosenNames(defaults: readonly string[], chosen: readonly string[] | undefined, what: string): readonly string[] {
  if (chosen === undefined) return defaults;
  if (chosen.length === defaults.length && new Set(chosen).size === chosen.length) return chosen;
  throw new ArgumentError(`${chosen.length} names for ${defaults.length} ${what}`, {
    op: 'exportOnnx',
    received: chosen,
    expected: `a name of its own for each of ${defaults.join(', ')}`,
  });
}

/** Runs `fn` with all modules in evaluation mode. */
function inEvaluation<T>(module: nn.Module<never, unknown> | null, fn: () => T): T {
  if (module === null) return fn();
  const modes = module.modules().map((m) => [m, m.training] as const);
  module.eval();
  try {
    return fn();
  } finally {
    for (const [m, training] of modes) m.training = training;
  }
}

function isModule(target: Exportable): target is nn.Module<never, unknown> {
  return target instanceof nn.Module;
}

/** The path under which a module is recorded: its name in the module above it, if it has one, else that of its class. */
function rootOf(module: nn.Module<never, unknown>): string {
  const { pathName } = module as unknown as { readonly pathName: string };
  return pathName || module.constructor.name;
}

/** Tensors by their memory, under the names of the state dict. */
function knownTensors(module: nn.Module<never, unknown> | null): Map<Tensor['storage'], Captured> {
  const known = new Map<Tensor['storage'], Captured>();
  if (module === null) return known;
  for (const [name, tensor] of [...module.stateDict(), ...module.namedBuffers()]) {
    if (!known.has(tensor.storage)) known.set(tensor.storage, { name, tensor });
  }
  return known;
}

export interface SourceOptions {
  readonly inputNames?: readonly string[];
  readonly outputNames?: readonly string[];
}

/** @throws ArgumentError for no tensors among the inputs, names that do not fit, a function that changes tensors in place */
export function sourceOf(target: Exportable, exampleInputs: readonly unknown[], options: SourceOptions): Source {
  const tensors: Tensor[] = [];
  const paths: Path[] = [];
  const isTensor = (v: unknown): boolean => v instanceof Tensor;
  walk(exampleInputs, isTensor, (leaf, path) => {
    tensors.push(leaf as Tensor);
    paths.push(path);
  });
  const module = isModule(target) ? target : null;
  const defaults = namesOf(paths, 'input');
  const names = chosenNames(defaults, options.inputNames, 'inputs');
  const plain = target as (...args: readonly unknown[]) => unknown;
  const called = module as unknown as nn.Module<readonly unknown[], unknown>;
  const name = module === null ? plain.name || 'function' : module.constructor.name;
  const fn = module === null ? plain : (...args: readonly unknown[]): unknown => called.call(...args);

  const record = (types: readonly TensorType[]): Recording => {
    const run = (...stands: Tensor[]): unknown => {
      let k = 0;
      return fn(...(rebuilt(exampleInputs, () => stands[k++]) as readonly unknown[]));
    };
    const { program, captured, result } = inEvaluation(module, () => noGrad(() => traceProgram(run, types, name)));
    const known = knownTensors(module);
    refuseUpdates(program, captured, types.length, known);
    let unnamed = 0;
    const all = captured.map((handle, i): readonly [Value, Captured] => {
      const found = known.get(handle.storage);
      const usable = found !== undefined && isDense(found.tensor) && found.tensor.offset === 0 && found.tensor.numel === handle.numel;
      const value = program.inputs[types.length + i];
      if (usable) return [value, found];
      return [value, { name: found?.name ?? `constant${unnamed++}`, tensor: handle.reshape([...naturalShape(program, value)]) }];
    });
    const outputPaths: Path[] = [];
    walk(
      result,
      (v) => typeof v === 'number',
      (_, path) => outputPaths.push(path),
    );
    return {
      program,
      captured: new Map(all),
      outputNames: chosenNames(namesOf(outputPaths.slice(0, program.outputs.length), 'output'), options.outputNames, 'outputs'),
      dispose: () => {
        for (const t of captured) t.dispose();
      },
    };
  };
  const root = module === null ? '' : rootOf(module);
  return { name, root, inputs: tensors.map((t, k) => ({ name: names[k], type: { dtype: t.dtype, shape: t.shape } })), record };
}

/** The shape in which memory that belongs to no module is first read, with its axes in the order they lie. */
function naturalShape(program: Program, value: Value): Shape {
  for (const node of program.nodes) {
    const layout = node.inputs.find((o) => o.value === value)?.layout;
    if (layout === undefined) continue;
    const axes = layout.shape.map((_, axis) => axis).sort((a, b) => layout.strides[b] - layout.strides[a]);
    const [shape, strides] = [axes.map((axis) => layout.shape[axis]), axes.map((axis) => layout.strides[axis])];
    if (layout.offset === 0 && isDense({ shape, strides }) && sizeOf(shape) === sizeOf(value.shape)) return shape;
  }
  return value.shape;
}

/** A graph has no state. */
function refuseUpdates(program: Program, captured: readonly Tensor[], args: number, known: ReadonlyMap<Tensor['storage'], Captured>): void {
  if (program.updates.length === 0) return;
  const names = program.updates.map(({ input }) => {
    const handle = captured[input - args];
    return input < args ? `input ${input}` : (known.get(handle.storage)?.name ?? `a ${handle.dtype} tensor of ${handle.numel} elements`);
  });
  throw new ArgumentError(`the function changes tensors in place: ${names.join(', ')}`, {
    op: 'exportOnnx',
    received: names,
    expected: 'results that depend on the inputs and on constants alone',
    fix: 'Export a function that takes the state and returns the new one. Random numbers change the state of their generator: leave dropout in evaluation mode.',
  });
}
