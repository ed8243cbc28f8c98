/** Composites that know a better gradient than the chain of their parts. */
import { isGradEnabled, noGrad } from '../autograd/mode.js';
import { recordGrad } from '../autograd/record.js';
import { CompilerError } from '../errors.js';
import type { Primitive } from '../graph/primitive.js';
import { noAttrs } from '../graph/primitive.js';
import { withAutocast } from '../tensor/autocast.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';

/** What the rule may read. */
export interface RuleContext {
  needs(k: number): boolean;
  /** Input k, if it is listed in `savesInputs`. */
  input(k: number): Tensor;
  /** The result, if `savesOutput`. */
  output(): Tensor;
  /** What forward returned beside its result, by position. */
  extra(k: number): Tensor;
}

export interface GradientComposite {
  readonly name: string;
  readonly inputs: readonly Tensor[];
  readonly savesInputs?: readonly number[];
  readonly savesOutput?: boolean;
  /** The result, then whatever else the rule reads. Runs without recording. The result is new, never an input. */
  forward(): readonly [Tensor, ...Tensor[]];
  /** One entry an input; written with tensor operations, so that it can be differentiated again. */
  vjp(g: Tensor, ctx: RuleContext): readonly (Tensor | null)[];
}

/**
 * Runs `forward` and puts one node on the tape in place of its parts. The gradients of what `extra` holds are not followed:
 * the rule uses it for first derivatives, and recomputes from inputs what second ones depend on.
 */
export function withGradient(rule: GradientComposite): Tensor {
  return composite(rule.name, () => {
    // The rule fits the dtypes of its inputs: inside autocast they are cast before, not on the way.
    const [output, ...extras] = noGrad(() => withAutocast(null, () => rule.forward()));
    if (isGradEnabled() && rule.inputs.some((x) => x.requiresGrad)) {
      recordGrad(tapeEntry(rule, extras.length), noAttrs, [...rule.inputs, ...extras], [output]);
    }
    return output;
  });
}

/** The tape reads only the name, the saves and the rule of a primitive. */
function tapeEntry(rule: GradientComposite, extras: number): Primitive {
  const count = rule.inputs.length;
  const none = new Array<null>(extras).fill(null);
  return {
    name: rule.name,
    infer() {
      throw new CompilerError(`${rule.name} is a composite and never enters a program`, { op: rule.name });
    },
    lowering: { kind: 'map', pointwise: false, element: () => [] },
    saves: {
      inputs: [...(rule.savesInputs ?? []), ...none.map((_, i) => count + i)],
      outputs: rule.savesOutput === true ? [0] : [],
    },
    vjp(ctx, [g]) {
      if (g === null) return [...rule.inputs.map(() => null), ...none];
      const gradients = rule.vjp(g, {
        needs: (k) => ctx.needs(k),
        input: (k) => ctx.input(k),
        output: () => ctx.output(0),
        extra: (k) => ctx.input(count + k),
      });
      return [...gradients, ...none];
    },
  };
}
