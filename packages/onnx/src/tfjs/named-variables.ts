/** Weights of layers by their names in TensorFlow: `conv2d_1/kernel`, with scopes around where models are nested. */
import { FormatError } from 'trireme';
import type { LayerVariables, Variable } from '../keras/variables.js';
import type { TfjsWeight } from './manifest.js';

interface Named {
  readonly parts: readonly string[];
  readonly weight: TfjsWeight;
}

/** A weight's name without the `:0` of TensorFlow's tensors. */
const partsOf = (name: string): string[] => name.replace(/:\d+$/, '').split('/');

/** Elements that may still be taken: a file cannot have one weight built into many layers. */
interface Budget {
  left: number;
}

/** All weights of the model. */
export class NamedVariables implements LayerVariables {
  readonly #named: readonly Named[];
  readonly #layer: string;
  /** Scopes the weights must be in, in any order: layers around this one, and its part. */
  readonly #scopes: readonly string[];
  readonly #budget: Budget;

  private constructor(named: readonly Named[], layer: string, scopes: readonly string[], budget: Budget) {
    this.#budget = budget;
    this.#named = named;
    this.#layer = layer;
    this.#scopes = scopes;
  }
  static of(weights: ReadonlyMap<string, TfjsWeight>): NamedVariables {
    const named = Array.from(weights.values(), (weight) => ({ parts: partsOf(weight.name), weight }));
    const elements = named.reduce((sum, { weight }) => sum + weight.data.length, 0);
    return new NamedVariables(named, 'the model', [], { left: 2 * elements + 2 ** 16 });
  }

  #find(name: string): Named[] {
    return this.#named.filter(({ parts }) => parts.at(-1) === name);
  }
  has(_names: readonly string[], name: string): boolean {
    return this.#find(name).length > 0;
  }
  take(names: readonly string[]): Variable[] {
    return names.map((name) => {
      const found = this.#find(name);
      // A layer's own weights have the shortest names; those of layers of the same name further in are longer.
      const shortest = Math.min(...found.map(({ parts }) => parts.length));
      const best = found.filter(({ parts }) => parts.length === shortest);
      if (best.length !== 1) {
        throw new FormatError(
          `layer ${JSON.stringify(this.#layer)} has ${best.length === 0 ? 'no' : 'several'} weights ${JSON.stringify(name)}`,
          {
            op: 'tfjs',
            received: this.#named.slice(0, 8).map(({ weight }) => weight.name),
            expected: `one named ${[...this.#scopes, this.#layer, name].join('/')}`,
          },
        );
      }
      const { data, shape, dtype } = best[0].weight;
      if (dtype === 'string' || dtype === 'complex64' || isText(data)) {
        throw new FormatError(`weight ${JSON.stringify(best[0].weight.name)} is of ${dtype}`, { op: 'tfjs', expected: 'numbers' });
      }
      this.#budget.left -= data.length;
      if (this.#budget.left < 0) throw new FormatError('layers share more weights than the file has', { op: 'tfjs' });
      return { data, shape };
    });
  }
  part(name: string, layerName?: string): LayerVariables {
    // Cells have scopes of their own in some files and none in others.
    if (name === 'cell') return this;
    const inside = layerName === undefined ? this : this.#within(layerName);
    // The layer that is run at each step may go by the name of the one around it.
    return inside.#named.length === 0 ? this : inside;
  }
  layer(name: string, className: string): LayerVariables {
    const inside = this.#within(name);
    // TensorFlow.js itself writes no scope for a model within a model.
    return inside.#named.length === 0 && /^(Sequential|Functional|Model)$/.test(className) ? this : inside;
  }
  #within(name: string): NamedVariables {
    const segments = name.split('/');
    const inside = this.#named.filter(({ parts }) => parts.some((_, at) => segments.every((segment, k) => parts[at + k] === segment)));
    return new NamedVariables(inside, name, [...this.#scopes, this.#layer], this.#budget);
  }
}

const isText = (data: TfjsWeight['data']): data is readonly string[] => Array.isArray(data);
