/** Attention layers of Keras 3. */
import { FormatError, scaledDotProductAttention, type Tensor } from 'trireme';
import { channelsLast, type Laid } from './laid.js';
import { KerasLayer, type LayerTable } from './layer.js';
import { type LayerVariables, weight } from './variables.js';

interface Projection {
  readonly kernel: Tensor;
  readonly bias: Tensor | null;
}

class MultiHeadAttention extends KerasLayer {
  /** [features, heads, features of a head] each, and back. */
  queryKernel: Tensor;
  queryBias: Tensor | null;
  keyKernel: Tensor;
  keyBias: Tensor | null;
  valueKernel: Tensor;
  valueBias: Tensor | null;
  outputKernel: Tensor;
  outputBias: Tensor | null;

  constructor(query: Projection, key: Projection, value: Projection, output: Projection) {
    super();
    [this.queryKernel, this.queryBias] = [query.kernel, query.bias];
    [this.keyKernel, this.keyBias] = [key.kernel, key.bias];
    [this.valueKernel, this.valueBias] = [value.kernel, value.bias];
    [this.outputKernel, this.outputBias] = [output.kernel, output.bias];
  }
  override forward(inputs: readonly Laid[]): readonly Laid[] {
    const [query, value, key = value] = inputs.map(channelsLast);
    if (value === undefined) throw new FormatError('an attention layer has one input', { op: 'keras', expected: 'query, value and key' });
    const heads = (x: Tensor, kernel: Tensor, bias: Tensor | null): Tensor => {
      const [features, n, size] = kernel.shape;
      const flat = x.matmul(kernel.reshape([features, n * size])).reshape([x.shape[0], x.shape[1], n, size]);
      return (bias === null ? flat : flat.add(bias)).permute([0, 2, 1, 3]);
    };
    const out = scaledDotProductAttention(
      heads(query, this.queryKernel, this.queryBias),
      heads(key, this.keyKernel, this.keyBias),
      heads(value, this.valueKernel, this.valueBias),
    );
    const [n, size, features] = this.outputKernel.shape;
    const joined = out
      .permute([0, 2, 1, 3])
      .reshape([query.shape[0], query.shape[1], n * size])
      .matmul(this.outputKernel.reshape([n * size, features]));
    return [{ x: this.outputBias === null ? joined : joined.add(this.outputBias), moved: false, mask: inputs[0].mask ?? null }];
  }
}

export const attentionLayers = {
  MultiHeadAttention: ({ config, variables }) => {
    if (config.has('attention_axes') && JSON.stringify(config.get('attention_axes')) !== '[1]')
      config.fail('attends to other axes than the steps', 'sequences');
    const biased = config.boolean('use_bias', true);
    const project = (part: string, source: LayerVariables): Projection => {
      const [kernel, bias] = source.part(part).take(['kernel', ...(biased ? ['bias'] : [])]);
      return { kernel: weight(kernel, 3), bias: bias ? weight(bias, bias.shape.length) : null };
    };
    return new MultiHeadAttention(
      project('query_dense', variables),
      project('key_dense', variables),
      project('value_dense', variables),
      project('output_dense', variables),
    );
  },
} satisfies LayerTable;
