/** Activation functions. */
import {
  add,
  argmax,
  cast,
  celu,
  clamp,
  elu,
  gelu,
  gt,
  hardswish,
  leakyRelu,
  logSoftmax,
  lt,
  mish,
  movedim,
  mul,
  oneHot,
  relu,
  reshape,
  sigmoid,
  softmax,
  softplus,
  softsign,
  sub,
  type Tensor,
  tanh,
  where,
} from 'trireme';
import { narrow } from '../engine/carrier.js';
import type { TensorValue } from '../engine/value.js';
import { axisOf, tensorAt } from './arguments.js';
import { sizeOf } from './arrange.js';
import type { OpContext, OpFunction, OpTable } from './definition.js';
import { unary } from './elementwise.js';
import { computed } from './tensors.js';

/** A function with one factor in its attributes. */
const factored = (device: (x: Tensor, alpha: number) => Tensor, fallback: number): OpFunction =>
  unary((x, _, ctx) => device(x, ctx.attrs.float('alpha', fallback)));

/** Up to opset 12 all axes from `axis` on count as one; later the function works along one axis. */
function along(device: (x: Tensor, axis: number) => Tensor): OpFunction {
  return (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const rank = x.shape.length;
    const axis = ctx.attrs.int('axis', ctx.opset < 13 ? 1 : -1);
    if (ctx.opset >= 13) return computed(x.type, () => device(x.tensor, axisOf(axis, rank, ctx)));
    const first = axis === rank ? rank : axisOf(axis, rank, ctx);
    const rows = [sizeOf(x.shape.slice(0, first)), sizeOf(x.shape.slice(first))];
    return computed(x.type, () => reshape(device(reshape(x.tensor, rows), 1), x.shape));
  };
}

/** 1 at the first largest element, 0 elsewhere. */
function hardmax(x: Tensor, axis: number): Tensor {
  if (x.shape.length === 0) return add(mul(x, 0), 1);
  const places = oneHot(argmax(x, axis), x.shape[axis]);
  return cast(movedim(places, -1, axis), x.dtype);
}

function hardSigmoid(x: Tensor, alpha: number, beta: number): Tensor {
  return clamp(add(mul(x, alpha), beta), { min: 0, max: 1 });
}

/** Towards 0 by `bias`, 0 within `lambd` of it; whole numbers keep their type. */
function shrink(x: Tensor, lambd: number, bias: number): Tensor {
  const moved = where(lt(x, -lambd), add(x, bias), where(gt(x, lambd), sub(x, bias), 0));
  return cast(moved, x.dtype);
}

/** Slopes lie along the channels (axis 1) up to opset 6, later they broadcast. */
function slopeFor(x: TensorValue, slope: TensorValue, ctx: OpContext): Tensor {
  const trailing = x.shape.length - 2;
  if (ctx.opset >= 7 || slope.shape.length !== 1 || slope.shape[0] === 1 || trailing <= 0) return slope.tensor;
  return reshape(slope.tensor, [slope.shape[0], ...new Array<number>(trailing).fill(1)]);
}

/** `x * sigmoid(alpha * x)`. */
export function swish(x: Tensor, alpha: number): Tensor {
  return mul(x, sigmoid(alpha === 1 ? x : mul(x, alpha)));
}

export const activationOps = {
  Relu: unary(relu),
  LeakyRelu: factored((x, negativeSlope) => leakyRelu(x, { negativeSlope }), 0.01),
  PRelu: (inputs, ctx) => {
    const [x, slope] = [tensorAt(inputs, 0, ctx), tensorAt(inputs, 1, ctx)];
    return computed(x.type, () => where(lt(x.tensor, 0), narrow(mul(x.tensor, slopeFor(x, slope, ctx)), x.type), x.tensor));
  },
  Elu: factored((x, alpha) => elu(x, { alpha }), 1),
  Selu: unary((x, _, ctx) => {
    const gamma = ctx.attrs.float('gamma', 1.0507010221481323);
    return mul(elu(x, { alpha: ctx.attrs.float('alpha', 1.6732631921768188) }), gamma);
  }),
  Celu: factored((x, alpha) => celu(x, { alpha }), 1),
  HardSigmoid: unary((x, _, ctx) => hardSigmoid(x, ctx.attrs.float('alpha', 0.2), ctx.attrs.float('beta', 0.5))),
  HardSwish: unary(hardswish),
  // Beyond this threshold float64 does not tell the function from x either.
  Softplus: unary((x) => softplus(x, { threshold: 40 })),
  Softsign: unary(softsign),
  ThresholdedRelu: factored((x, alpha) => where(gt(x, alpha), x, 0), 1),
  Gelu: unary((x, _, ctx) => gelu(x, { approximate: ctx.attrs.string('approximate', 'none') === 'tanh' ? 'tanh' : 'none' })),
  Mish: unary(mish),
  Swish: factored(swish, 1),
  SwiGLU: (inputs, ctx) => {
    const [gate, value] = [tensorAt(inputs, 0, ctx), tensorAt(inputs, 1, ctx)];
    return computed(gate.type, () => mul(swish(gate.tensor, ctx.attrs.float('alpha', 1)), value.tensor));
  },
  Shrink: unary((x, _, ctx) => shrink(x, ctx.attrs.float('lambd', 0.5), ctx.attrs.float('bias', 0))),
  Softmax: along(softmax),
  LogSoftmax: along(logSoftmax),
  Hardmax: along(hardmax),
  // Of the first opsets and of exporters that kept the names.
  ScaledTanh: unary((x, _, ctx) => mul(tanh(mul(x, ctx.attrs.float('beta', 1))), ctx.attrs.float('alpha', 1))),
  ParametricSoftplus: unary((x, _, ctx) =>
    mul(softplus(mul(x, ctx.attrs.float('beta', 1)), { threshold: 40 }), ctx.attrs.float('alpha', 1)),
  ),
  Affine: unary((x, _, ctx) => add(mul(x, ctx.attrs.float('alpha', 1)), ctx.attrs.float('beta', 0))),
} satisfies OpTable;
