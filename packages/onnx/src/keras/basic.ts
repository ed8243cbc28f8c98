/** Dense, Embedding, activations, shapes and noise of Keras. */
import {
  alphaDropout,
  clamp,
  dropout,
  elu,
  embedding,
  featureDropout,
  linear,
  maximum,
  minimum,
  mul,
  randnLike,
  relu,
  softmax,
  type Tensor,
  where,
} from 'trireme';
import { type Activation, activationOf } from './activations.js';
import { channelsFirst, channelsLast, type Laid, placeOf, plain } from './laid.js';
import { type BuildContext, elementwise, FunctionLayer, type KerasLayer, type LayerTable, OneToOne } from './layer.js';
import { statistic, weight } from './variables.js';

class Dense extends OneToOne {
  weight: Tensor;
  bias: Tensor | null;
  readonly #activation: Activation;
  constructor(kernel: Tensor, bias: Tensor | null, activation: Activation) {
    super();
    this.weight = kernel;
    this.bias = bias;
    this.#activation = activation;
  }
  override run(input: Laid): Laid {
    return { x: this.#activation(linear(channelsLast(input), this.weight, this.bias), -1), moved: false };
  }
}

class KerasEmbedding extends OneToOne {
  weight: Tensor;
  readonly #masks: boolean;
  constructor(table: Tensor, masks: boolean) {
    super();
    this.weight = table;
    this.#masks = masks;
  }
  override run(input: Laid): Laid {
    const index = channelsLast(input).to('int32');
    return { x: embedding(index, this.weight), moved: false, mask: this.#masks ? index.ne(0) : null };
  }
}

/** max(x, 0) bounded above, with a slope below the threshold. */
function boundedRelu(maxValue: number | null, slope: number, threshold: number): (x: Tensor) => Tensor {
  return (x) => {
    if (slope === 0 && threshold === 0) return maxValue === null ? relu(x) : clamp(x, { min: 0, max: maxValue });
    const above = maxValue === null ? x : minimum(x, maxValue);
    return where(x.ge(threshold), above, mul(x.sub(threshold), slope));
  };
}

class PRelu extends OneToOne {
  weight: Tensor;
  constructor(alpha: Tensor) {
    super();
    this.weight = alpha;
  }
  override run(input: Laid): Laid {
    const x = channelsLast(input);
    return { x: relu(x).add(minimum(x, 0).mul(this.weight)), moved: false };
  }
}

/** Keeps the steps whose features are not all the given value. */
const masking = ({ config }: BuildContext): KerasLayer => {
  const value = config.number('mask_value', 0);
  return new FunctionLayer((input) => {
    const x = channelsLast(input);
    const mask = x.ne(value).any([-1]);
    return { x: mul(x, mask.to(x.dtype).unsqueeze(-1)), moved: false, mask };
  });
};

function reshapeTo(x: Tensor, target: readonly number[]): Tensor {
  return x.reshape([x.shape[0], ...target]);
}

const reshape = ({ config }: BuildContext): KerasLayer => {
  const target = config.list('target_shape', 32);
  if (!target.every((n): n is number => typeof n === 'number' && Number.isSafeInteger(n) && n >= -1))
    config.fail('.target_shape is malformed');
  return new FunctionLayer((input) => plain(reshapeTo(channelsLast(input), target as number[])));
};
const permute = ({ config }: BuildContext): KerasLayer => {
  const dims = config.list('dims', 32);
  if (!dims.every((n): n is number => typeof n === 'number' && Number.isInteger(n) && n >= 1)) config.fail('.dims is malformed');
  return new FunctionLayer((input) => plain(channelsLast(input).permute([0, ...(dims as number[])])));
};
const flatten = ({ config }: BuildContext): KerasLayer => {
  const first = config.string('data_format', 'channels_last') === 'channels_first';
  return new FunctionLayer((input) => {
    // Of channels-first values Keras flattens as if they were channels-last.
    const x = channelsLast(input);
    const ordered = first && x.ndim > 2 ? x.permute([0, ...Array.from({ length: x.ndim - 2 }, (_, i) => i + 2), 1]) : x;
    return plain(reshapeTo(ordered.contiguous(), [x.shape.slice(1).reduce((a, b) => a * b, 1)]));
  });
};
const repeatVector = ({ config }: BuildContext): KerasLayer => {
  const n = config.integer('n', 1, 1_000_000);
  return new FunctionLayer(({ x }) => plain(x.unsqueeze(1).expand([x.shape[0], n, x.shape[1]])));
};

function noise(apply: (x: Tensor, rate: number) => Tensor, name = 'rate') {
  return ({ config }: BuildContext): KerasLayer => {
    const rate = config.number(name, 0);
    if (!(rate >= 0)) config.fail(`.${name} is ${rate}`, 'a number from 0 on');
    return new FunctionLayer(({ x, moved }, training) => ({ x: training && rate > 0 ? apply(x, rate) : x, moved }));
  };
}
const spatialDropout = ({ config }: BuildContext): KerasLayer => {
  const rate = config.number('rate', 0);
  return new FunctionLayer((input, training) => (training ? { x: featureDropout(channelsFirst(input), rate, true), moved: true } : input));
};

const rescaling = ({ config }: BuildContext): KerasLayer => {
  const [scale, offset] = [config.number('scale'), config.number('offset', 0)];
  return elementwise((x) => x.to('float32').mul(scale).add(offset));
};

class Normalization extends OneToOne {
  mean: Tensor;
  variance: Tensor;
  constructor(mean: Tensor, variance: Tensor) {
    super();
    this.mean = mean;
    this.variance = variance;
  }
  override run(input: Laid): Laid {
    // Keras divides by at least its epsilon.
    return { x: channelsLast(input).sub(this.mean).div(maximum(this.variance.sqrt(), 1e-7)), moved: false };
  }
}
const normalization = (context: BuildContext): KerasLayer => {
  const { config, variables } = context;
  const axis = Array.isArray(config.get('axis')) ? (config.get('axis') as unknown[])[0] : config.get('axis');
  if (axis !== -1 && axis !== undefined) config.fail(`normalizes axis ${JSON.stringify(config.get('axis'))}`, 'the last one');
  const [mean, variance] = variables.take(['mean', 'variance']);
  return new Normalization(statistic(mean), statistic(variance));
};

const softmaxLayer = ({ config }: BuildContext): KerasLayer => {
  const axis = config.has('axis') ? config.integer('axis', -32, 32) : -1;
  return new FunctionLayer((input) => ({ x: softmax(input.x, placeOf(input, axis)), moved: input.moved }));
};

const identity = (): KerasLayer => elementwise((x) => x);

export const basicLayers = {
  Dense: ({ config, variables, modern }) => {
    const [kernel, bias] = variables.take(['kernel', ...(config.boolean('use_bias', true) ? ['bias'] : [])]);
    const activation = activationOf(config.get('activation'), `${config.path}.activation`, modern);
    return new Dense(weight(kernel, 2, [1, 0]), bias ? weight(bias, 1) : null, activation);
  },
  Embedding: ({ config, variables }) =>
    new KerasEmbedding(weight(variables.take(['embeddings'])[0], 2), config.boolean('mask_zero', false)),
  Activation: ({ config, modern }) => {
    const activation = activationOf(config.get('activation'), `${config.path}.activation`, modern);
    return new FunctionLayer((input) => ({ x: activation(input.x, placeOf(input, -1)), moved: input.moved }));
  },
  ReLU: ({ config }) =>
    elementwise(
      boundedRelu(
        config.has('max_value') ? config.number('max_value') : null,
        config.number('negative_slope', 0),
        config.number('threshold', 0),
      ),
    ),
  LeakyReLU: ({ config }) => elementwise(boundedRelu(null, config.number('alpha', config.number('negative_slope', 0.3)), 0)),
  ThresholdedReLU: ({ config }) => {
    const theta = config.number('theta', 1);
    return elementwise((x) => mul(x, x.gt(theta).to(x.dtype)));
  },
  ELU: ({ config }) => {
    const alpha = config.number('alpha', 1);
    return elementwise((x) => elu(x, { alpha }));
  },
  PReLU: ({ variables }) => {
    const [alpha] = variables.take(['alpha']);
    return new PRelu(weight(alpha, alpha.shape.length));
  },
  Softmax: softmaxLayer,
  Flatten: flatten,
  Reshape: reshape,
  Permute: permute,
  RepeatVector: repeatVector,
  Masking: masking,
  Dropout: noise((x, p) => dropout(x, p, true)),
  AlphaDropout: noise((x, p) => alphaDropout(x, p, true)),
  GaussianNoise: noise((x, deviation) => x.add(randnLike(x).mul(deviation)), 'stddev'),
  GaussianDropout: noise((x, p) =>
    x.mul(
      randnLike(x)
        .mul(Math.sqrt(p / (1 - p)))
        .add(1),
    ),
  ),
  SpatialDropout1D: spatialDropout,
  SpatialDropout2D: spatialDropout,
  SpatialDropout3D: spatialDropout,
  ActivityRegularization: identity,
  Identity: identity,
  // Augmentation is for training pictures; a model that is loaded takes them as they come.
  RandomFlip: identity,
  RandomRotation: identity,
  RandomZoom: identity,
  RandomTranslation: identity,
  RandomContrast: identity,
  RandomBrightness: identity,
  Rescaling: rescaling,
  Normalization: normalization,
} satisfies LayerTable;
