/** Random tensors. A seed attribute gives the node a generator of its own, which goes on from run to run. */
import { amax, bernoulli, cast, exp, Generator, multinomial, normal, sub, uniform } from 'trireme';
import { type ElementType, elementInfo } from '../engine/element-type.js';
import type { TensorValue } from '../engine/value.js';
import type { NodeModel } from '../model/model.js';
import { tensorAt } from './arguments.js';
import { typeAttribute } from './cast.js';
import type { OpContext, OpTable } from './definition.js';
import { computed } from './tensors.js';

const generators = new WeakMap<NodeModel, Generator>();

/** The node's generator; undefined (the default one) without a seed. */
function generatorOf(ctx: OpContext): Generator | undefined {
  const seed = ctx.attrs.optionalFloat('seed');
  if (seed === undefined) return undefined;
  let generator = generators.get(ctx.node);
  if (generator === undefined) {
    // Seeds are floats: those with a fraction count by their bits.
    generator = new Generator(Number.isSafeInteger(seed) ? seed : new Uint32Array(Float32Array.of(seed).buffer)[0]);
    generators.set(ctx.node, generator);
  }
  return generator;
}

type Draw = (shape: readonly number[], type: ElementType, ctx: OpContext) => TensorValue;

const drawUniform: Draw = (shape, type, ctx) => {
  const options = { dtype: floatCarrier(type, ctx), generator: generatorOf(ctx) };
  return computed(type, () => uniform(shape, ctx.attrs.float('low', 0), ctx.attrs.float('high', 1), options));
};
const drawNormal: Draw = (shape, type, ctx) => {
  const options = { dtype: floatCarrier(type, ctx), generator: generatorOf(ctx) };
  return computed(type, () => normal(shape, ctx.attrs.float('mean', 0), ctx.attrs.float('scale', 1), options));
};

function floatCarrier(type: ElementType, ctx: OpContext) {
  const { carrier } = elementInfo[type];
  return carrier !== null && /float/.test(carrier) ? carrier : ctx.fail(`random numbers of type ${type}`, 'a float type');
}

export const randomOps = {
  RandomUniform: (_, ctx) => drawUniform(ctx.attrs.ints('shape'), typeAttribute('dtype', ctx, 'float32'), ctx),
  RandomNormal: (_, ctx) => drawNormal(ctx.attrs.ints('shape'), typeAttribute('dtype', ctx, 'float32'), ctx),
  RandomUniformLike: (inputs, ctx) => {
    const like = tensorAt(inputs, 0, ctx);
    return drawUniform(like.shape, typeAttribute('dtype', ctx, like.type), ctx);
  },
  RandomNormalLike: (inputs, ctx) => {
    const like = tensorAt(inputs, 0, ctx);
    return drawNormal(like.shape, typeAttribute('dtype', ctx, like.type), ctx);
  },
  Bernoulli: (inputs, ctx) => {
    const p = tensorAt(inputs, 0, ctx);
    const type = typeAttribute('dtype', ctx, p.type);
    const { carrier } = elementInfo[type];
    if (carrier === null) return ctx.fail(`dtype ${type}`, 'numbers');
    return computed(type, () => bernoulli(p.tensor, { dtype: carrier, generator: generatorOf(ctx) }));
  },
  Multinomial: (inputs, ctx) => {
    const logits = tensorAt(inputs, 0, ctx).tensor;
    const type = typeAttribute('dtype', ctx, 'int32');
    const { carrier } = elementInfo[type];
    // Not normalised logarithms of probabilities; the largest is taken off so that none overflows.
    return computed(type, () => {
      const weights = exp(sub(logits, amax(logits, -1, true)));
      const options = { replacement: true, generator: generatorOf(ctx) };
      return cast(multinomial(weights, ctx.attrs.int('sample_size', 1), options), carrier ?? 'int32');
    });
  },
} satisfies OpTable;
