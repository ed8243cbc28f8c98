/** Normalization layers of Keras. */
import { batchNorm, groupNorm, layerNorm, rsqrt, type Tensor } from 'trireme';
import type { Config } from '../formats/json.js';
import { channelsFirst, channelsLast, type Laid } from './laid.js';
import { FunctionLayer, type KerasLayer, type LayerTable, OneToOne } from './layer.js';
import { statistic, type Variable, weight } from './variables.js';

/** The axis a layer works along: a number, or a list of one. */
function axisOf(config: Config, fallback = -1): number {
  const value = config.get('axis') ?? fallback;
  const axis = Array.isArray(value) && value.length === 1 ? value[0] : value;
  return typeof axis === 'number' && Number.isInteger(axis) && Math.abs(axis) < 32
    ? axis
    : config.fail(`.axis is ${JSON.stringify(value)}`, 'one axis');
}

class BatchNormalization extends OneToOne {
  weight: Tensor | null;
  bias: Tensor | null;
  runningMean: Tensor;
  runningVar: Tensor;
  readonly #axis: number;
  readonly #eps: number;
  readonly #momentum: number;
  constructor(
    axis: number,
    eps: number,
    momentum: number,
    gamma: Variable | null,
    beta: Variable | null,
    mean: Variable,
    variance: Variable,
  ) {
    super();
    this.#axis = axis;
    this.#eps = eps;
    this.#momentum = momentum;
    this.weight = gamma === null ? null : weight(gamma, 1);
    this.bias = beta === null ? null : weight(beta, 1);
    this.runningMean = statistic(mean);
    this.runningVar = statistic(variance);
  }
  override run(input: Laid): Laid {
    const n = input.x.ndim;
    const axis = this.#axis < 0 ? this.#axis + n : this.#axis;
    const options = { training: this.training, momentum: 1 - this.#momentum, eps: this.#eps };
    const normalize = (x: Tensor): Tensor => batchNorm(x, this.runningMean, this.runningVar, this.weight, this.bias, options);
    if (axis === n - 1 && n > 2) return { x: normalize(channelsFirst(input)), moved: true };
    const x = channelsLast(input);
    if (axis === 1) return { x: normalize(x), moved: false };
    return { x: normalize(x.transpose(1, axis)).transpose(1, axis), moved: false };
  }
}

class LayerNormalization extends OneToOne {
  weight: Tensor | null;
  bias: Tensor | null;
  readonly #axes: number;
  readonly #eps: number;
  constructor(axes: number, eps: number, gamma: Variable | null, beta: Variable | null) {
    super();
    this.#axes = axes;
    this.#eps = eps;
    this.weight = gamma === null ? null : weight(gamma, axes);
    this.bias = beta === null ? null : weight(beta, axes);
  }
  override run(input: Laid): Laid {
    const x = channelsLast(input);
    return { x: layerNorm(x, x.shape.slice(x.ndim - this.#axes), this.weight, this.bias, { eps: this.#eps }), moved: false };
  }
}

class GroupNormalization extends OneToOne {
  weight: Tensor | null;
  bias: Tensor | null;
  readonly #groups: number;
  readonly #eps: number;
  constructor(groups: number, eps: number, gamma: Variable | null, beta: Variable | null) {
    super();
    this.#groups = groups;
    this.#eps = eps;
    this.weight = gamma === null ? null : weight(gamma, 1);
    this.bias = beta === null ? null : weight(beta, 1);
  }
  override run(input: Laid): Laid {
    const x = channelsFirst(input);
    return { x: groupNorm(x, this.#groups === -1 ? x.shape[1] : this.#groups, this.weight, this.bias, { eps: this.#eps }), moved: true };
  }
}

/** Names of scale and shift that the configuration has. */
function affineNames(config: Config): {
  readonly names: string[];
  pick(variables: readonly Variable[]): [Variable | null, Variable | null, Variable[]];
} {
  const [scale, center] = [config.boolean('scale', true), config.boolean('center', true)];
  return {
    names: [...(scale ? ['gamma'] : []), ...(center ? ['beta'] : [])],
    pick: (variables) => {
      const rest = [...variables];
      const gamma = scale ? (rest.shift() ?? null) : null;
      const beta = center ? (rest.shift() ?? null) : null;
      return [gamma, beta, rest];
    },
  };
}

export const normalizationLayers = {
  BatchNormalization: ({ config, variables }) => {
    const affine = affineNames(config);
    const [gamma, beta, [mean, variance]] = affine.pick(variables.take([...affine.names, 'moving_mean', 'moving_variance']));
    return new BatchNormalization(
      axisOf(config),
      config.number('epsilon', 1e-3),
      config.number('momentum', 0.99),
      gamma,
      beta,
      mean,
      variance,
    );
  },
  LayerNormalization: ({ config, variables }) => {
    const axis = config.get('axis') ?? -1;
    const axes = Array.isArray(axis) ? axis.length : 1;
    // Keras writes the axes as numbers from the front once the layer is built: that they are the last ones, the shape of the weights tells.
    const affine = affineNames(config);
    const [gamma, beta] = affine.pick(variables.take(affine.names));
    return new LayerNormalization(axes, config.number('epsilon', 1e-3), gamma, beta);
  },
  GroupNormalization: ({ config, variables }) => {
    if (axisOf(config) !== -1) config.fail('normalizes another axis than the last', 'axis -1');
    const affine = affineNames(config);
    const [gamma, beta] = affine.pick(variables.take(affine.names));
    return new GroupNormalization(config.integer('groups', -1, 1_000_000, 32), config.number('epsilon', 1e-3), gamma, beta);
  },
  UnitNormalization: ({ config }): KerasLayer => {
    if (axisOf(config) !== -1) config.fail('normalizes another axis than the last', 'axis -1');
    return new FunctionLayer((input) => {
      const x = channelsLast(input);
      return { x: x.mul(rsqrt(x.mul(x).sum([-1], true).add(1e-12))), moved: false };
    });
  },
} satisfies LayerTable;
