/** A network's forward pass as a Program, and what each module did in it. Nothing runs. */
import { noGrad } from '../autograd/mode.js';
import type { DType } from '../dtype.js';
import { denseStrides, type Shape, sizeOf } from '../graph/layout.js';
import type { Program } from '../graph/program.js';
import { Trace, withTrace } from '../graph/trace.js';
import type { AnyModule, Module } from '../nn/module.js';
import { TensorBase } from '../tensor/base.js';
import { modulePath } from '../tensor/module-path.js';
import { outsideScopes } from '../tensor/scope.js';
import { Storage } from '../tensor/storage.js';
import { Tensor } from '../tensor/tensor.js';
import { flattenTree } from '../tensor/tree.js';

/** An input that is not there yet. */
export interface InputSpec {
  readonly shape: Shape;
  readonly dtype?: DType;
}
/** One argument of forward(): a tensor, a shape (float32), or a shape and dtype. */
export type ExampleInput = Tensor | Shape | InputSpec;

export interface ModuleCall {
  readonly module: AnyModule;
  /** Of the graph nodes that it made itself. */
  readonly path: string;
  /** Shapes and dtypes of its outputs. */
  readonly outputs: readonly { readonly shape: Shape; readonly dtype: DType }[];
}
export interface TracedNet {
  readonly program: Program;
  readonly calls: readonly ModuleCall[];
  /** Names of the Program's inputs by place: `input0`, and parameters and buffers by path. */
  readonly names: ReadonlyMap<number, string>;
}

function isShape(input: ExampleInput): input is Shape {
  return Array.isArray(input);
}
function specOf(input: ExampleInput): { readonly shape: Shape; readonly dtype: DType } {
  if (isShape(input)) return { shape: input, dtype: 'float32' };
  return { shape: input.shape, dtype: input.dtype ?? 'float32' };
}

/** Records forward() of a network in evaluation mode on inputs of the given shapes. */
export function traceNet<Args extends readonly unknown[]>(net: Module<Args, unknown>, inputs: readonly ExampleInput[]): TracedNet {
  const trace = new Trace('forward', null);
  const stands = inputs.map((input) => {
    const { shape, dtype } = specOf(input);
    const storage = new Storage(dtype, sizeOf(shape), null, trace);
    trace.addInput(storage, shape);
    return new Tensor(storage, shape, denseStrides(shape), 0);
  });
  const calls: ModuleCall[] = [];
  const modules = net.modules();
  const modes = new Map(modules.map((module) => [module, module.training]));
  const watched = modules.map((module) => watch(module, calls));
  try {
    net.eval();
    const result = withTrace(trace, () => outsideScopes(() => noGrad(() => net.call(...(stands as unknown as Args)))));
    const outputs: Tensor[] = [];
    flattenTree(result, outputs, []);
    const program = withTrace(trace, () => trace.finish(outputs.map((t) => trace.operand(t))));
    const known = new Map<Storage, string>([...net.namedParameters(), ...net.namedBuffers()].map(([name, t]) => [t.storage, name]));
    const names = new Map<number, string>();
    trace.inputSources.forEach((storage, i) => {
      const name = i < stands.length ? `input${i}` : known.get(storage);
      if (name !== undefined) names.set(i, name);
    });
    return { program, calls, names };
  } finally {
    for (const restore of watched) restore();
    for (const [module, mode] of modes) module.training = mode;
    trace.abandon();
  }
}

/** Notes each call of a module, until the returned function is called. */
function watch(module: AnyModule, calls: ModuleCall[]): () => void {
  const target = module as unknown as { forward: (...args: readonly unknown[]) => unknown };
  const own = Object.getOwnPropertyDescriptor(target, 'forward');
  const { forward } = target;
  target.forward = function (this: unknown, ...args: readonly unknown[]): unknown {
    const path = modulePath();
    const output = forward.apply(target, [...args]);
    const tensors: Tensor[] = [];
    flattenTree(output, tensors, []);
    calls.push({ module, path, outputs: tensors.map(({ shape, dtype }) => ({ shape, dtype })) });
    return output;
  };
  return () => {
    if (own === undefined) Reflect.deleteProperty(target, 'forward');
    else Object.defineProperty(target, 'forward', own);
  };
}

/** True for one argument rather than a list of them. */
export function isOneInput(inputs: ExampleInput | readonly ExampleInput[]): inputs is ExampleInput {
  if (inputs instanceof TensorBase || !Array.isArray(inputs)) return true;
  return inputs.every((item) => typeof item === 'number');
}
