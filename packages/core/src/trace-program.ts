/** A function of tensors as a Program, for tools that translate programs. Nothing runs. */
import { TraceError } from './errors.js';
import { denseStrides, sizeOf } from './graph/layout.js';
import type { TensorType } from './graph/primitive.js';
import type { Program } from './graph/program.js';
import { currentTrace, Trace, withTrace } from './graph/trace.js';
import { outsideScopes } from './tensor/scope.js';
import { Storage } from './tensor/storage.js';
import { Tensor } from './tensor/tensor.js';
import { flattenTree, mapTree } from './tensor/tree.js';

export interface TracedProgram {
  /** Its first inputs stand for the arguments; the others for memory that the function used from outside. */
  readonly program: Program;
  /** The content of the inputs behind the arguments: handles on the whole of the memory, as vectors. The caller disposes them. */
  readonly captured: readonly Tensor[];
  /** What the function returned, with numbers in the place of tensors: the positions of the Program's outputs. */
  readonly result: unknown;
}

/**
 * Records `fn` on inputs of the given types. Parameters and other tensors from outside become inputs of the Program; what else
 * `fn` does happens once, now.
 * @throws TraceError when `fn` reads the value of a tensor, or inside of jit()
 */
export function traceProgram(fn: (...inputs: Tensor[]) => unknown, inputs: readonly TensorType[], name = 'program'): TracedProgram {
  if (currentTrace() !== null)
    throw new TraceError('a program was to be recorded inside of another', { op: name, fix: 'Call it outside of jit().' });
  const trace = new Trace(name, null);
  try {
    return outsideScopes(() => {
      const stands = inputs.map(({ dtype, shape }) => {
        const storage = new Storage(dtype, sizeOf(shape), null, trace);
        trace.addInput(storage, shape);
        return new Tensor(storage, shape, denseStrides(shape), 0);
      });
      const returned = withTrace(trace, () => fn(...stands));
      const outputs: Tensor[] = [];
      flattenTree(returned, outputs, []);
      const program = withTrace(trace, () => trace.finish(outputs.map((t) => trace.operand(t))));
      const captured = trace.inputSources.slice(stands.length).map((storage) => new Tensor(storage, [storage.length], [1], 0));
      return { program, captured, result: mapTree(returned, (k) => k) };
    });
  } finally {
    trace.abandon();
  }
}
