/** Functions with a gradient rule of their own. */
import { ArgumentError, AutogradError } from '../errors.js';
import { collectMade, registerInScope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { isGradEnabled, noGrad } from './mode.js';
import type { Edge } from './node.js';
import { edgeOf, GradNode } from './node.js';
import { attachOutputs } from './record.js';
import type { Saved } from './saved.js';
import { aliasOf, saveTensor } from './saved.js';

/** What forward and backward of one call share. */
export interface FunctionContext {
  /** In forward: keeps tensors (inputs, outputs or others) for backward. */
  saveForBackward(...tensors: readonly Tensor[]): void;
  /** In backward: what was kept. @throws AutogradError when one was modified in place since, or the graph was freed */
  readonly savedTensors: readonly Tensor[];
  /** For each argument, whether its gradient is wanted. */
  readonly needsInputGrad: readonly boolean[];
}

export interface CustomFunction<A extends readonly unknown[], R extends Tensor | readonly Tensor[]> {
  /** Shows in errors and printed tensors. */
  readonly name?: string;
  /** Runs without recording. */
  forward(ctx: FunctionContext, ...args: A): R;
  /**
   * The gradient of each argument (null for those without one) from the gradients of the results (null where none arrived).
   * Written with tensor operations it can be differentiated again.
   */
  backward(ctx: FunctionContext, ...grads: readonly (Tensor | null)[]): Tensor | null | readonly (Tensor | null)[];
}

class CustomNode extends GradNode {
  private readonly rule: (ctx: FunctionContext, ...grads: readonly (Tensor | null)[]) => Tensor | null | readonly (Tensor | null)[];
  private saved: readonly Saved[] = [];

  constructor(
    name: string,
    edges: readonly (Edge | null)[],
    args: readonly unknown[],
    rule: (ctx: FunctionContext, ...grads: readonly (Tensor | null)[]) => Tensor | null | readonly (Tensor | null)[],
  ) {
    super(
      name,
      edges,
      args.map((arg) => (arg instanceof Tensor ? { dtype: arg.dtype, shape: arg.shape } : { dtype: 'float32', shape: [] })),
    );
    this.rule = rule;
  }
  save(tensors: readonly Tensor[]): void {
    this.saved = tensors.map(saveTensor);
  }
  override backward(grads: readonly (Tensor | null)[], needs: readonly boolean[]): readonly (Tensor | null)[] {
    const { name, saved } = this;
    const ctx: FunctionContext = {
      saveForBackward() {
        throw new AutogradError('saveForBackward() was called in backward', { op: name, fix: 'Call it in forward.' });
      },
      get savedTensors() {
        return saved.map((entry, k) => entry.get(name, `saved tensor ${k}`));
      },
      needsInputGrad: needs,
    };
    const result = this.rule(ctx, ...grads);
    const list = Array.isArray(result) ? (result as readonly (Tensor | null)[]) : [result as Tensor | null];
    if (list.length !== this.edges.length) {
      throw new AutogradError(`backward gave ${list.length} gradients for ${this.edges.length} arguments`, {
        op: name,
        received: list.length,
        expected: 'one per argument of forward, null where there is none',
      });
    }
    return list;
  }
  override release(): void {
    for (const entry of this.saved) entry.release();
  }
}

/**
 * A function whose gradient is given by `backward` instead of following the operations inside `forward`.
 * Arguments that are no tensors pass through to forward and get null as their gradient.
 */
export function customFunction<A extends readonly unknown[], R extends Tensor | readonly Tensor[]>(
  definition: CustomFunction<A, R>,
): (...args: A) => R {
  const name = definition.name ?? 'customFunction';
  return (...args: A): R => {
    let saved: readonly Tensor[] = [];
    const recording = isGradEnabled();
    const edges = args.map((arg) => (recording && arg instanceof Tensor ? edgeOf(arg) : null));
    const ctx: FunctionContext = {
      saveForBackward: (...tensors) => {
        saved = tensors;
      },
      get savedTensors(): readonly Tensor[] {
        throw new AutogradError('savedTensors was read in forward', { op: name, fix: 'Read it in backward.' });
      },
      needsInputGrad: edges.map((edge) => edge !== null),
    };
    const made: Tensor[] = [];
    let node: CustomNode | null = null;
    const result = collectMade(made, () => {
      const raw = noGrad(() => definition.forward(ctx, ...args));
      const list: readonly Tensor[] = raw instanceof Tensor ? [raw] : (raw as readonly Tensor[]);
      const outputs = list.map((output) => {
        if (!(output instanceof Tensor))
          throw new ArgumentError('forward returned something that is no tensor', { op: name, expected: 'a tensor or a list of tensors' });
        // An argument handed through must not lose its own history.
        return args.includes(output) || output.requiresGrad ? registered(withoutHistory(output), made) : output;
      });
      if (edges.some((edge) => edge !== null)) {
        node = new CustomNode(name, edges, args, (...rest) => definition.backward(...rest));
        attachOutputs(node, outputs);
        node.save(saved.map((tensor) => (raw instanceof Tensor && tensor === raw ? outputs[0] : tensor)));
      }
      return { outputs, single: raw instanceof Tensor };
    });
    for (const tensor of made) {
      if (result.outputs.includes(tensor)) registerInScope(tensor);
      else if (!tensor.kept) tensor.dispose();
    }
    return (result.single ? result.outputs[0] : result.outputs) as R;
  };
}

function withoutHistory(tensor: Tensor): Tensor {
  const alias = aliasOf(tensor);
  alias.requiresGrad = false;
  alias.gradFn = null;
  alias.accumulator = null;
  alias.outputIndex = 0;
  return alias;
}

function registered(tensor: Tensor, made: Tensor[]): Tensor {
  made.push(tensor);
  return tensor;
}
