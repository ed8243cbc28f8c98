/** What the layers of Keras models have in common. */
import { nn, type Tensor } from 'trireme';
import type { Config } from '../formats/json.js';
import type { Laid } from './laid.js';
import type { LayerVariables } from './variables.js';

/** A layer of a model: values in, values out, in whatever layout suits it. */
export abstract class KerasLayer extends nn.Module<[inputs: readonly Laid[]], readonly Laid[]> {}

/** A layer with one input and one output. */
export abstract class OneToOne extends KerasLayer {
  abstract run(input: Laid): Laid;
  override forward(inputs: readonly Laid[]): readonly Laid[] {
    const [input] = inputs;
    const out = this.run(input);
    // What does not say otherwise leaves the steps as they are.
    return [out.mask === undefined ? { ...out, mask: input.mask ?? null } : out];
  }
}

/** A function of one value, without weights. */
export class FunctionLayer extends OneToOne {
  readonly #fn: (input: Laid, training: boolean) => Laid;
  constructor(fn: (input: Laid, training: boolean) => Laid) {
    super();
    this.#fn = fn;
  }
  override run(input: Laid): Laid {
    return this.#fn(input, this.training);
  }
}

/** An element-wise function: the layout does not matter to it. */
export const elementwise = (fn: (x: Tensor) => Tensor): KerasLayer => new FunctionLayer(({ x, moved }) => ({ x: fn(x), moved }));

export interface BuildContext {
  readonly config: Config;
  readonly variables: LayerVariables;
  /** Whether Keras 3 wrote it: some definitions differ. */
  readonly modern: boolean;
  /** Builds another layer: { class_name, config }. */
  build(spec: Config, variables: LayerVariables): KerasLayer;
}

export type LayerBuilder = (context: BuildContext) => KerasLayer;
export type LayerTable = { readonly [className: string]: LayerBuilder };
