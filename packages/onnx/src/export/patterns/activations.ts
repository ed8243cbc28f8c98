/** Activation functions that ONNX has as operators. */
import {
  celu,
  elu,
  gelu,
  hardshrink,
  hardsigmoid,
  hardswish,
  leakyRelu,
  logSigmoid,
  mish,
  prelu,
  selu,
  softplus,
  softshrink,
  softsign,
} from 'trireme';
import { templateOf } from '../match.js';
import { elementFunction, type Pattern, standsFor } from './pattern.js';

const float = (value: number | undefined): { readonly float: number } => ({ float: value ?? 1 });

/** A slope for each channel. */
const preluPattern: Pattern = {
  roots: ['where'],
  find(node, matcher) {
    const [{ dtype, shape }] = node.outputs;
    const channels = shape.length > 1 ? shape[1] : 1;
    for (const count of new Set([channels, 1])) {
      const types = [
        { dtype, shape },
        { dtype, shape: [count] },
      ];
      const match = matcher.match(
        templateOf('prelu', types, ([x, w]) => prelu(x, w)),
        node,
      );
      if (match === null) continue;
      const [x, slope] = match.inputs;
      if (x === undefined || slope === undefined) continue;
      return standsFor(node, [x, slope], (em) => {
        const input = em.read(x);
        const weight = em.reshape(em.read(slope), count === 1 ? [1] : [count, ...new Array<number>(Math.max(0, shape.length - 2)).fill(1)]);
        return em.op('PRelu', [input.name, weight.name], dtype, shape);
      });
    }
    return null;
  },
};

/** log(sigmoid(x)) = -softplus(-x). */
const logSigmoidPattern: Pattern = {
  roots: ['sub'],
  find(node, matcher) {
    const [{ dtype, shape }] = node.outputs;
    if (!dtype.startsWith('float')) return null;
    const match = matcher.match(
      templateOf('logSigmoid', [{ dtype, shape }], ([x]) => logSigmoid(x)),
      node,
    );
    const [x] = match?.inputs ?? [];
    if (x === undefined) return null;
    return standsFor(node, [x], (em) =>
      ['Neg', 'Softplus', 'Neg'].reduce((current, op) => em.op(op, [current.name], dtype, current.shape), em.readFlexible(x)),
    );
  },
};

export const activationPatterns: readonly Pattern[] = [
  elementFunction('gelu', 'mul', 20, (x) => gelu(x), 'Gelu'),
  elementFunction(
    'gelu tanh',
    'mul',
    20,
    (x) => gelu(x, { approximate: 'tanh' }),
    'Gelu',
    () => ({ approximate: 'tanh' }),
  ),
  elementFunction('mish', 'mul', 18, (x) => mish(x), 'Mish'),
  elementFunction('hardswish', 'div', 14, (x) => hardswish(x), 'HardSwish'),
  elementFunction(
    'hardsigmoid',
    'div',
    6,
    (x) => hardsigmoid(x),
    'HardSigmoid',
    () => ({ alpha: float(1 / 6), beta: float(0.5) }),
  ),
  elementFunction('softsign', 'div', 1, (x) => softsign(x), 'Softsign'),
  elementFunction('softplus', 'where', 1, (x) => softplus(x), 'Softplus'),
  elementFunction(
    'leakyRelu',
    'where',
    6,
    (x, [a]) => leakyRelu(x, { negativeSlope: a }),
    'LeakyRelu',
    ([a]) => ({ alpha: float(a) }),
  ),
  elementFunction(
    'selu',
    'where',
    6,
    (x) => selu(x),
    'Selu',
    () => ({ alpha: float(1.6732632423543772), gamma: float(1.0507009873554805) }),
  ),
  elementFunction(
    'elu',
    'where',
    6,
    (x, [a]) => elu(x, { alpha: a }),
    'Elu',
    ([a]) => ({ alpha: float(a) }),
  ),
  elementFunction(
    'celu',
    'where',
    12,
    (x, [a]) => celu(x, { alpha: a }),
    'Celu',
    ([a]) => ({ alpha: float(a) }),
  ),
  preluPattern,
  logSigmoidPattern,
];

/** Shrink is one operator for both kinds; the limits stand in the recording with both signs, so they are tried as they are found. */
function shrink(name: string, fn: typeof softshrink, bias: (limit: number) => number): Pattern {
  return {
    roots: ['where'],
    find(node, matcher, em) {
      const [{ dtype, shape }] = node.outputs;
      const limitNode = matcher.behind(node, 'gt', 2);
      const limit = limitNode === undefined ? undefined : em.numberOf(limitNode.inputs[1]);
      if (limit === undefined || !dtype.startsWith('float')) return null;
      const match = matcher.match(
        templateOf(`${name} ${limit}`, [{ dtype, shape }], ([x]) => fn(x, { lambda: limit })),
        node,
      );
      const [x] = match?.inputs ?? [];
      if (x === undefined) return null;
      return standsFor(node, [x], (to) => {
        const input = to.readFlexible(x);
        return to.op('Shrink', [input.name], dtype, input.shape, { lambd: float(limit), bias: float(bias(limit)) });
      });
    },
  };
}

export const shrinkPatterns: readonly Pattern[] = [shrink('softshrink', softshrink, (l) => l), shrink('hardshrink', hardshrink, () => 0)];
