/** Tables of vectors that are looked up by number. */
import { noGrad } from '../autograd/mode.js';
import { ArgumentError } from '../errors.js';
import { full } from '../ops/create.js';
import { type EmbeddingBagMode, type EmbeddingBagOptions, type EmbeddingOptions, embedding, embeddingBag } from '../ops/embedding.js';
import { randn } from '../ops/random.js';
import { writeInto } from '../ops/write-view.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkCount } from './check.js';
import { Module, parameter } from './module.js';

/** A normal table whose padding row is 0. */
function tableOf(op: string, count: number, features: number, paddingIdx: number | null): Tensor {
  checkCount(op, 'numEmbeddings', count);
  checkCount(op, 'embeddingDim', features);
  const row = paddingIdx !== null && paddingIdx < 0 ? paddingIdx + count : paddingIdx;
  if (row !== null && !(Number.isInteger(row) && row >= 0 && row < count)) {
    throw new ArgumentError(`paddingIdx is ${paddingIdx}`, { op, received: paddingIdx, expected: `a row from ${-count} to ${count - 1}` });
  }
  const weight = parameter(randn([count, features]));
  if (row !== null) noGrad(() => writeInto(weight.detach().select(0, row), full([features], 0)));
  return weight;
}

/** A copy of given vectors [count, features] as a parameter. */
function tableFrom(op: string, vectors: Tensor, freeze: boolean): Tensor {
  if (vectors.ndim !== 2)
    throw new ArgumentError(`vectors of shape [${vectors.shape.join(', ')}]`, {
      op,
      received: vectors.shape,
      expected: '[count, features]',
    });
  const weight = parameter(noGrad(() => vectors.detach().clone()));
  if (freeze) weight.requiresGrad_(false);
  return weight;
}

export interface PretrainedOptions {
  /** Whether training leaves the vectors as they are. Default true. */
  readonly freeze?: boolean;
}

/**
 * Rows of a table by index: [...] of ints to [..., embeddingDim]; weight [numEmbeddings, embeddingDim], normal. With
 * `sparse` a step touches only the rows it used: backward() leaves them in `weight.sparseGrad` instead of `weight.grad`.
 */
export class Embedding extends Module {
  weight: Tensor;
  private readonly options: EmbeddingOptions;
  constructor(numEmbeddings: number, embeddingDim: number, options: EmbeddingOptions = {}) {
    super();
    this.options = { ...options };
    this.weight = tableOf('Embedding', numEmbeddings, embeddingDim, options.paddingIdx ?? null);
  }
  /** A table that starts from given vectors [count, features], frozen unless `freeze` is false. */
  static fromPretrained(vectors: Tensor, { freeze = true, ...options }: EmbeddingOptions & PretrainedOptions = {}): Embedding {
    const layer = new Embedding(1, 1);
    layer.weight.dispose();
    layer.weight = tableFrom('Embedding', vectors, freeze);
    Object.assign(layer, { options });
    return layer;
  }
  override forward(index: Tensor): Tensor {
    return embedding(index, this.weight, this.options);
  }
}

export interface EmbeddingBagLayerOptions extends EmbeddingOptions {
  /** Default 'mean'. */
  readonly mode?: EmbeddingBagMode;
  readonly includeLastOffset?: boolean;
}

/**
 * Sums, means or maxima over bags of rows, without the rows in between: call it with an index [bags, length], or with an
 * index [n] and the offsets [bags] at which the bags start; then with a weight for each entry, where the mode is 'sum'.
 */
export class EmbeddingBag extends Module<[index: Tensor, offsets?: Tensor | null, perSampleWeights?: Tensor | null]> {
  weight: Tensor;
  private readonly options: EmbeddingBagOptions;
  constructor(numEmbeddings: number, embeddingDim: number, options: EmbeddingBagLayerOptions = {}) {
    super();
    this.options = { ...options };
    this.weight = tableOf('EmbeddingBag', numEmbeddings, embeddingDim, options.paddingIdx ?? null);
  }
  override forward(index: Tensor, offsets: Tensor | null = null, perSampleWeights: Tensor | null = null): Tensor {
    return embeddingBag(index, this.weight, { ...this.options, offsets, perSampleWeights });
  }
}
