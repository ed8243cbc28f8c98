/** What the models have in common. */
import { ArgumentError, FormatError, gelu, nn, relu, sigmoid, silu, type Tensor, tanh, zeros } from 'trireme';
import { Config } from '../formats/json.js';

const activations: ReadonlyMap<string, (x: Tensor) => Tensor> = new Map<string, (x: Tensor) => Tensor>([
  ['gelu', (x) => gelu(x)],
  ['gelu_new', (x) => gelu(x, { approximate: 'tanh' })],
  ['gelu_fast', (x) => gelu(x, { approximate: 'tanh' })],
  ['gelu_pytorch_tanh', (x) => gelu(x, { approximate: 'tanh' })],
  ['quick_gelu', (x) => x.mul(sigmoid(x.mul(1.702)))],
  ['relu', (x) => relu(x)],
  ['silu', (x) => silu(x)],
  ['swish', (x) => silu(x)],
  ['tanh', (x) => tanh(x)],
]);

/** @throws FormatError for one that is not known */
export function activationNamed(config: Config, key: string, fallback: string): (x: Tensor) => Tensor {
  const name = config.string(key, fallback);
  return activations.get(name) ?? config.fail(`.${key} is ${JSON.stringify(name)}`, [...activations.keys()].join(', '));
}

/** Bounds on the sizes in configurations: far above what there is, so that their products stay numbers. */
export const size = (config: Config, key: string, fallback?: number): number => config.integer(key, 1, 2 ** 24, fallback);

/** [batch, steps, heads * features] to [batch, heads, steps, features]. */
export function splitHeads(x: Tensor, heads: number): Tensor {
  const [batch, steps, features] = x.shape;
  return x.reshape([batch, steps, heads, features / heads]).permute([0, 2, 1, 3]);
}
export function joinHeads(x: Tensor): Tensor {
  const [batch, heads, steps, features] = x.shape;
  return x.permute([0, 2, 1, 3]).reshape([batch, steps, heads * features]);
}

/** A mask of tokens [batch, steps], other than 0 for those that take part, for scores [batch, heads, queries, keys]. */
export function paddingMask(mask: Tensor | null | undefined): Tensor | null {
  return mask ? mask.ne(0).unsqueeze(1).unsqueeze(1) : null;
}

/** @throws ArgumentError unless the heads divide the features */
export function checkHeads(op: string, features: number, heads: number): void {
  if (features % heads !== 0)
    throw new ArgumentError(`${features} features for ${heads} heads`, { op, expected: 'heads that divide the features' });
}

/**
 * config.json, and what a model may take up: a file of a few bytes cannot ask for a model of many numbers, since every weight must be in the file of weights.
 */
export class ModelConfig extends Config {
  #numbers: number;
  #modules: number;

  /** `numbers` and `tensors` are those in the file of weights. */
  constructor(value: unknown, path: string, numbers: number, tensors: number) {
    super(value, path);
    // What is computed (tables, statistics) or has defaults may be missing there.
    this.#numbers = numbers * 1.5 + 2 ** 20;
    this.#modules = 2 * tensors + 256;
  }
  #take(...sizes: readonly number[]): void {
    this.#numbers -= sizes.reduce((product, n) => product * n, 1);
    this.#modules -= 1;
    if (!(this.#numbers >= 0 && this.#modules >= 0))
      this.fail('describes a larger model than the file of weights has numbers for', 'files of one model');
  }
  linear(from: number, to: number, options: { readonly bias?: boolean } = {}): nn.Linear {
    this.#take(from, to);
    return new nn.Linear(from, to, options);
  }
  embedding(rows: number, features: number): nn.Embedding {
    this.#take(rows, features);
    return new nn.Embedding(rows, features);
  }
  conv2d(from: number, to: number, kernel: number, options: ConstructorParameters<typeof nn.Conv2d>[3]): nn.Conv2d {
    this.#take(from, to, kernel, kernel);
    return new nn.Conv2d(from, to, kernel, options);
  }
  layerNorm(features: number, eps: number): nn.LayerNorm {
    this.#take(features);
    return new nn.LayerNorm(features, { eps });
  }
  rmsNorm(features: number, eps: number): nn.RMSNorm {
    this.#take(features);
    return new nn.RMSNorm(features, { eps });
  }
  batchNorm2d(features: number): nn.BatchNorm2d {
    this.#take(features, 4);
    return new nn.BatchNorm2d(features);
  }
  parameter(shape: readonly number[]): Tensor {
    this.#take(...shape);
    return nn.parameter(zeros([...shape]));
  }
}

/** How a model takes the names in a file. */
export interface NameMap {
  /** The name in the model's state dict; null for what the model computes by itself. */
  readonly rename: (name: string) => string | null;
  /** Whether a weight is [in, out] in the file. */
  readonly isTransposed?: (name: string) => boolean;
}

/** A model that fromPretrained can build. */
export interface Architecture {
  readonly build: (config: ModelConfig, heads: readonly string[]) => nn.AnyModule;
  readonly names: NameMap;
}

/** Replaces one after the other. */
export function renamed(name: string, rules: readonly (readonly [RegExp, string])[]): string {
  return rules.reduce((text, [from, to]) => text.replace(from, to), name);
}

/** Number of classes: `num_labels`, or as many as there are labels. */
export function labelCount(config: Config): number {
  if (config.has('num_labels')) return size(config, 'num_labels');
  const labels = config.optionalObject('id2label');
  const count = labels === null ? 2 : labels.keys().length;
  if (count < 1) throw new FormatError('id2label is empty', { op: 'config.json', expected: 'at least one class' });
  return count;
}
