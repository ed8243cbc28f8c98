/** Hooks on modules: functions that see, and may replace, what goes into a module, what comes out, and the gradients. */
import { customFunction } from '../autograd/custom.js';
import type { HookHandle } from '../autograd/hooks.js';
import { isGradEnabled } from '../autograd/mode.js';
import { aliasOf } from '../autograd/saved.js';
import { ArgumentError } from '../errors.js';
import type { Tensor } from '../tensor/tensor.js';
import { flattenTree, mapTree } from '../tensor/tree.js';

/** Before forward. An array it returns takes the place of the arguments, anything else but undefined that of the only one. */
export type ForwardPreHook<M> = (module: M, args: readonly unknown[]) => unknown;
/** After forward. What it returns, unless undefined, takes the place of the output. */
export type ForwardHook<M> = (module: M, args: readonly unknown[], output: unknown) => unknown;
/** One gradient for each tensor among the arguments or outputs; null where none flows. */
export type GradList = readonly (Tensor | null)[];
/**
 * When the gradients towards the inputs are known. A list it returns takes the place of `gradInput`. The tensors are freed
 * after the pass; keep clones.
 */
export type FullBackwardHook<M> =
  | ((module: M, gradInput: GradList, gradOutput: GradList) => GradList | null | undefined)
  | ((module: M, gradInput: GradList, gradOutput: GradList) => void);

/** A hook in a list; an object of its own, so that a function may be registered twice. */
export type ModuleHook<M> =
  | { readonly kind: 'forwardPre'; readonly run: ForwardPreHook<M> }
  | { readonly kind: 'forward'; readonly run: ForwardHook<M> }
  | { readonly kind: 'backward'; readonly run: FullBackwardHook<M> };

/** A module's hooks in the order of registration. Lists are replaced, not changed: a trace compares them. */
export type ModuleHooks<M> = readonly ModuleHook<M>[];

/** Whether two lists hold the same hooks. */
export function sameHooks<M>(a: ModuleHooks<M>, b: ModuleHooks<M>): boolean {
  return a === b || (a.length === b.length && a.every((hook, i) => hook === b[i]));
}

/** The handle that takes `hook` off the list that `get` and `set` reach. */
export function hookHandle<M>(hook: ModuleHook<M>, get: () => ModuleHooks<M>, set: (hooks: ModuleHooks<M>) => void): HookHandle {
  return { remove: () => set(get().filter((other) => other !== hook)) };
}

function tensorsIn(value: unknown): Tensor[] {
  const tensors: Tensor[] = [];
  flattenTree(value, tensors, []);
  return tensors;
}

/** Watches the gradients of one call: identities on the tape in front of and behind the module. */
class BackwardWatch<M> {
  private readonly module: M;
  private readonly hooks: readonly FullBackwardHook<M>[];
  private gradOutput: readonly (Tensor | null)[] = [];
  /** Tensors among the arguments, and which of them have gradients. */
  private inputs: readonly boolean[] = [];

  constructor(module: M, hooks: readonly FullBackwardHook<M>[]) {
    this.module = module;
    this.hooks = hooks;
  }

  /** The arguments, those with gradients replaced by tensors whose gradients are seen here. */
  watchInputs(args: readonly unknown[]): readonly unknown[] {
    const tensors = tensorsIn(args);
    this.inputs = tensors.map((t) => t.requiresGrad);
    const wanted = tensors.filter((t) => t.requiresGrad);
    if (wanted.length === 0) return args;
    const pass = customFunction({
      name: 'moduleInputs',
      forward: (_ctx, ...xs: Tensor[]) => xs,
      backward: (_ctx, ...grads) => this.run(grads),
    });
    const passed = [...pass(...wanted)];
    const replaced = tensors.map((t) => (t.requiresGrad ? (passed.shift() ?? t) : t));
    return mapTree(args, (k) => replaced[k]) as readonly unknown[];
  }

  watchOutputs(output: unknown): unknown {
    const tensors = tensorsIn(output);
    const wanted = tensors.filter((t) => t.requiresGrad);
    if (wanted.length === 0) return output;
    const pass = customFunction({
      name: 'moduleOutputs',
      forward: (_ctx, ...ys: Tensor[]) => ys,
      backward: (_ctx, ...grads) => {
        const queue = [...grads];
        this.gradOutput = tensors.map((t) => {
          const grad = t.requiresGrad ? queue.shift() : null;
          return grad ? aliasOf(grad) : null;
        });
        if (!this.inputs.includes(true)) this.run([]);
        return grads;
      },
    });
    const passed = [...pass(...wanted)];
    const replaced = tensors.map((t) => (t.requiresGrad ? (passed.shift() ?? t) : t));
    return mapTree(output, (k) => replaced[k]);
  }

  /** Calls the hooks with the gradients of the inputs that have some. */
  private run(grads: GradList): GradList {
    const queue = [...grads];
    let gradInput: GradList = this.inputs.map((has) => (has ? (queue.shift() ?? null) : null));
    const { gradOutput } = this;
    for (const hook of this.hooks) {
      const replaced = hook(this.module, gradInput, gradOutput);
      if (!replaced) continue;
      if (replaced.length !== gradInput.length) {
        throw new ArgumentError(`a backward hook returned ${replaced.length} gradients`, {
          op: 'registerFullBackwardHook',
          received: replaced.length,
          expected: `${gradInput.length}, one for each tensor among the arguments`,
        });
      }
      gradInput = replaced;
    }
    for (const grad of gradOutput) grad?.dispose();
    this.gradOutput = [];
    return gradInput.filter((_, k) => this.inputs[k]);
  }
}

/** Runs `forward` with the hooks around it. */
export function runHooked<M>(
  module: M,
  hooks: ModuleHooks<M>,
  args: readonly unknown[],
  forward: (args: readonly unknown[]) => unknown,
): unknown {
  let current = args;
  for (const hook of hooks) {
    if (hook.kind !== 'forwardPre') continue;
    const replaced = hook.run(module, current);
    if (replaced !== undefined && replaced !== null) current = Array.isArray(replaced) ? replaced : [replaced];
  }
  const watching = hooks.flatMap((hook) => (hook.kind === 'backward' ? [hook.run] : []));
  const watch = watching.length > 0 && isGradEnabled() ? new BackwardWatch(module, watching) : null;
  if (watch !== null) current = watch.watchInputs(current);
  let output = forward(current);
  for (const hook of hooks) {
    if (hook.kind !== 'forward') continue;
    const replaced = hook.run(module, current, output);
    if (replaced !== undefined && replaced !== null) output = replaced;
  }
  return watch === null ? output : watch.watchOutputs(output);
}
