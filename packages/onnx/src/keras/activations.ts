/** Keras's activation functions by name. */
import {
  clamp,
  elu,
  exp,
  FormatError,
  gelu,
  hardsigmoid,
  leakyRelu,
  logSigmoid,
  logSoftmax,
  mish,
  relu,
  relu6,
  selu,
  sigmoid,
  silu,
  softmax,
  softplus,
  softsign,
  type Tensor,
  tanh,
} from 'trireme';
import { Config } from '../formats/json.js';

/** `axis` is where the last axis of the value is in memory. */
export type Activation = (x: Tensor, axis: number) => Tensor;

/** Keras 2's line: 0.2 x + 0.5 between 0 and 1. */
const hardSigmoid2: Activation = (x) => clamp(x.mul(0.2).add(0.5), { min: 0, max: 1 });

const table: ReadonlyMap<string, Activation> = new Map<string, Activation>([
  ['linear', (x) => x],
  ['relu', (x) => relu(x)],
  ['relu6', (x) => relu6(x)],
  ['sigmoid', (x) => sigmoid(x)],
  ['tanh', (x) => tanh(x)],
  ['softmax', (x, axis) => softmax(x, axis)],
  ['log_softmax', (x, axis) => logSoftmax(x, axis)],
  ['elu', (x) => elu(x)],
  ['selu', (x) => selu(x)],
  ['softplus', (x) => softplus(x)],
  ['softsign', (x) => softsign(x)],
  ['swish', (x) => silu(x)],
  ['silu', (x) => silu(x)],
  ['gelu', (x) => gelu(x)],
  ['gelu_new', (x) => gelu(x, { approximate: 'tanh' })],
  ['mish', (x) => mish(x)],
  ['exponential', (x) => exp(x)],
  ['leaky_relu', (x) => leakyRelu(x, { negativeSlope: 0.2 })],
  ['log_sigmoid', (x) => logSigmoid(x)],
]);

/**
 * The activation of a configuration: a name, or an object with a class name.
 * @param modern Keras 3's definitions where they differ from Keras 2's.
 * @throws FormatError for one that is not known
 */
export function activationOf(value: unknown, path: string, modern: boolean): Activation {
  if (value === undefined || value === null) return (x) => x;
  let name: unknown = value;
  if (typeof value === 'object') {
    const config = new Config(value, path);
    name = config.get('class_name') === 'function' ? config.get('config') : config.get('class_name');
  }
  const snake = typeof name === 'string' ? name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toLowerCase() : '';
  if (snake === 'hard_sigmoid') return modern ? (x) => hardsigmoid(x) : hardSigmoid2;
  const found = table.get(snake);
  if (found) return found;
  throw new FormatError(`${path} is ${JSON.stringify(value)?.slice(0, 80)}`, {
    op: 'keras',
    received: value,
    expected: `one of ${[...table.keys()].join(', ')}`,
  });
}
