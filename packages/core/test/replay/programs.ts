/** Programs whose generated code is watched: every family of primitives, the shapes of convolutions, dtypes, attention, and whole training steps. */
import type { DType } from '../../src/dtype.js';
import type { CompiledProgram } from '../../src/graph/compile.js';
import {
  argmax,
  argsort,
  avgPool2d,
  batchNorm,
  broadcastTo,
  cast,
  clamp,
  concat,
  conv1d,
  conv2d,
  conv3d,
  convTranspose2d,
  crossEntropy,
  cumsum,
  dropout,
  einsum,
  embedding,
  erf,
  exp,
  flatten,
  gather,
  gelu,
  groupNorm,
  indexSelect,
  jit,
  layerNorm,
  log,
  logSoftmax,
  manualSeed,
  matmul,
  maximum,
  maxPool2d,
  mean,
  nn,
  optim,
  pad,
  pow,
  prod,
  rand,
  randn,
  relu,
  reshape,
  scaledDotProductAttention,
  scatterAdd,
  select,
  sigmoid,
  sin,
  softmax,
  sort,
  std,
  sub,
  sum,
  type Tensor,
  tanh,
  tensor,
  topk,
  transpose,
  where,
  zeros,
} from '../../src/index.js';

export interface Watched {
  readonly name: string;
  /** Whether the whole text of its kernels is kept, for people to read. */
  readonly shown: boolean;
  /** Compiles it and calls back with what came out. */
  compile(take: (program: CompiledProgram) => void): void;
}

type Fn = (...args: Tensor[]) => unknown;
interface Arg {
  readonly shape: readonly number[];
  readonly dtype?: DType;
}
const f32 = (...shape: number[]): Arg => ({ shape });
const of = (dtype: DType, ...shape: number[]): Arg => ({ shape, dtype });

function operation(name: string, fn: Fn, args: readonly Arg[], shown = false): Watched {
  return {
    name,
    shown,
    compile(take) {
      const tensors = args.map(({ shape, dtype = 'float32' }) => zeros([...shape], { dtype }));
      const program = jit(fn, { name });
      take(program.compile(...tensors));
      program.dispose();
      for (const t of tensors) t.dispose();
    },
  };
}
/** The function and its gradients for all floating-point arguments. */
function withGradient(name: string, fn: (...args: Tensor[]) => Tensor, args: readonly Arg[], shown = false): Watched {
  const both: Fn = (...given) => {
    const leaves = given.map((t) => (t.dtype.startsWith('float') ? t.clone().detach().requiresGrad_() : t));
    const y = fn(...leaves);
    y.mul(y).sum().backward();
    return [y.detach(), ...leaves.flatMap((t) => (t.grad ? [t.grad] : []))];
  };
  return operation(`${name} with gradient`, both, args, shown);
}

const families: readonly Watched[] = [
  operation('elementwise', (a, b) => exp(a).mul(b).add(1).sub(sigmoid(b)).div(maximum(a, b)), [f32(64, 48), f32(48)], true),
  operation('unary functions', (a) => [log(a), sin(a), erf(a), tanh(a), gelu(a), pow(a, 1.7), clamp(a, { min: -1, max: 1 })], [f32(1000)]),
  operation('where and comparison', (a, b) => where(a.gt(b), a, b.neg()), [f32(33, 7), f32(33, 7)]),
  operation(
    'strided views',
    (a) =>
      transpose(a, 0, 1)
        .add(select(a, 1, 3))
        .flip(0),
    [f32(24, 24)],
  ),
  operation('sum of all', (a) => sum(a), [f32(300, 1000)], true),
  operation('reductions', (a) => [sum(a, 1), mean(a, 0), prod(a, 1), a.amax(1), a.amin(0), std(a, 1), argmax(a, 1)], [f32(40, 65)]),
  operation('logic', (a, b) => [a.gt(0).all(), a.lt(b).any(1)], [f32(20, 30), f32(20, 30)]),
  withGradient('softmax', (a) => softmax(a, -1), [f32(16, 200)], true),
  withGradient('logSoftmax of columns', (a) => logSoftmax(a, 0), [f32(50, 12)]),
  withGradient('layerNorm', (a, w, b) => layerNorm(a, [96], w, b), [f32(8, 96), f32(96), f32(96)], true),
  withGradient('groupNorm', (a) => groupNorm(a, 4), [f32(2, 16, 6, 6)]),
  operation('scan', (a) => [cumsum(a, 1), cumsum(a, 0)], [f32(12, 40)]),
  operation('sort', (a) => [sort(a, 1), argsort(a, 1), topk(a, 3)], [f32(6, 50)]),
  withGradient('gather', (a, i) => gather(a, 1, i), [f32(8, 10), of('int64', 8, 4)]),
  withGradient('embedding', (i, w) => embedding(i, w), [of('int64', 5, 7), f32(100, 24)]),
  operation('scatter', (a, i, s) => [scatterAdd(a, 0, i, s), indexSelect(a, 0, select(i, 1, 0))], [
    f32(9, 5),
    of('int64', 6, 5),
    f32(6, 5),
  ]),
  operation('pad, concat, broadcast', (a, b) => [pad(a, [1, 2, 3, 0]), concat([a, b], 1), broadcastTo(reshape(a, [4, 1, 6]), [4, 3, 6])], [
    f32(4, 6),
    f32(4, 3),
  ]),
  operation(
    'random',
    (a) => {
      manualSeed(1);
      return [rand([50]), randn([5, 30]), dropout(a, 0.5, true)];
    },
    [f32(7, 9)],
  ),
  operation(
    'casts',
    (a, b, c) => [cast(a, 'float16'), cast(a, 'bfloat16'), cast(a, 'int8'), cast(b, 'float32'), cast(c, 'int64'), cast(a, 'bool')],
    [f32(77), of('float16', 77), of('uint8', 77)],
  ),
];

const dtypes: readonly Watched[] = (['float64', 'float16', 'bfloat16', 'int8', 'uint8', 'int16', 'int32', 'int64'] as const).map((dtype) =>
  operation(`arithmetic of ${dtype}`, (a, b) => [a.mul(b).add(a), sub(a, b).sum(1)], [of(dtype, 6, 50), of(dtype, 6, 50)]),
);

const products: readonly Watched[] = [
  withGradient('matmul 64x96x128', (a, b) => matmul(a, b), [f32(64, 96), f32(96, 128)], true),
  operation('matmul, odd sizes', (a, b) => matmul(a, b), [f32(37, 41), f32(41, 29)]),
  operation('matmul, large', (a, b) => matmul(a, b), [f32(512, 512), f32(512, 512)]),
  operation('matmul, transposed', (a, b) => matmul(transpose(a, 0, 1), transpose(b, 0, 1)), [f32(64, 48), f32(32, 64)]),
  operation('matrix and vector', (a, b) => [matmul(a, b), matmul(b, transpose(a, 0, 1))], [f32(200, 100), f32(100)]),
  operation('batched product', (a, b) => matmul(a, b), [f32(6, 20, 32), f32(6, 32, 24)]),
  operation('long inner product', (a, b) => matmul(a, b), [f32(8, 20000), f32(20000, 8)]),
  operation('product with an epilogue', (a, b, c) => relu(matmul(a, b).add(c)).mul(2), [f32(48, 64), f32(64, 80), f32(80)]),
  operation('product in float64', (a, b) => matmul(a, b), [of('float64', 20, 30), of('float64', 30, 40)]),
  operation('product in int32', (a, b) => matmul(a, b), [of('int32', 20, 30), of('int32', 30, 40)]),
  operation('einsum', (a, b) => einsum('bhid,bhjd->bhij', a, b), [f32(2, 3, 10, 16), f32(2, 3, 12, 16)]),
  withGradient(
    'attention',
    (q, k, v) => scaledDotProductAttention(q, k, v, { isCausal: true }),
    [f32(2, 4, 32, 16), f32(2, 4, 32, 16), f32(2, 4, 32, 16)],
    true,
  ),
];

const convolution = (
  name: string,
  x: readonly number[],
  w: readonly number[],
  options: Parameters<typeof conv2d>[3] = {},
  shown = false,
): Watched => withGradient(`conv2d ${name}`, (a, b) => conv2d(a, b, null, options), [f32(...x), f32(...w)], shown);
const convolutions: readonly Watched[] = [
  convolution('3x3', [2, 16, 14, 14], [32, 16, 3, 3], { padding: 1 }, true),
  convolution('7x7, stride 2', [1, 3, 32, 32], [24, 3, 7, 7], { stride: 2, padding: 3 }),
  convolution('1x1', [2, 32, 10, 10], [48, 32, 1, 1]),
  convolution('1x1, stride 2', [2, 16, 12, 12], [32, 16, 1, 1], { stride: 2 }),
  convolution('5x5, no padding', [2, 1, 28, 28], [6, 1, 5, 5]),
  convolution('depthwise', [2, 24, 14, 14], [24, 1, 3, 3], { padding: 1, groups: 24 }),
  convolution('in groups', [2, 16, 9, 9], [24, 4, 3, 3], { padding: 1, groups: 4 }),
  convolution('dilated', [1, 8, 16, 16], [8, 8, 3, 3], { padding: 2, dilation: 2 }),
  withGradient('conv1d', (a, b) => conv1d(a, b, null, { padding: 2 }), [f32(2, 8, 50), f32(12, 8, 5)]),
  withGradient('conv3d', (a, b) => conv3d(a, b, null, { padding: 1 }), [f32(1, 2, 6, 7, 8), f32(4, 2, 3, 3, 3)]),
  withGradient('convTranspose2d', (a, b) => convTranspose2d(a, b, null, { stride: 2, padding: 1 }), [f32(1, 8, 7, 7), f32(8, 4, 4, 4)]),
  withGradient('maxPool2d', (a) => maxPool2d(a, 3, { stride: 2, padding: 1 }), [f32(2, 4, 15, 15)]),
  withGradient('avgPool2d', (a) => avgPool2d(a, 2), [f32(2, 4, 14, 14)]),
  operation('batchNorm', (x, m, v, w, b) => batchNorm(x, m, v, w, b), [f32(4, 8, 6, 6), f32(8), f32(8), f32(8), f32(8)]),
];

/** Forward, backward and the optimizer's update as one program. */
function training(
  name: string,
  make: () => { net: nn.AnyModule; loss: Fn; args: readonly Arg[]; optimizer?: 'adam' | 'sgd' },
  shown = false,
): Watched {
  return {
    name: `${name}, a training step`,
    shown,
    compile(take) {
      manualSeed(3);
      const { net, loss, args, optimizer = 'adam' } = make();
      const rule =
        optimizer === 'adam'
          ? new optim.AdamW(net.parameters(), { lr: 0.001 })
          : new optim.SGD(net.parameters(), { lr: 0.1, momentum: 0.9, weightDecay: 1e-4 });
      const step: Fn = (...batch) => {
        const value = loss(...batch) as Tensor;
        rule.zeroGrad();
        value.backward();
        rule.step();
        return value.detach();
      };
      const tensors = args.map(({ shape, dtype = 'float32' }) => zeros([...shape], { dtype }));
      const program = jit(step, { name });
      take(program.compile(...tensors));
      program.dispose();
      for (const t of tensors) t.dispose();
    },
  };
}

class Gpt extends nn.Module<[tokens: Tensor]> {
  tokens = new nn.Embedding(65, 32);
  places = new nn.Embedding(24, 32);
  norm1 = new nn.LayerNorm(32);
  qkv = new nn.Linear(32, 96);
  out = new nn.Linear(32, 32);
  norm2 = new nn.LayerNorm(32);
  up = new nn.Linear(32, 128);
  down = new nn.Linear(128, 32);
  norm = new nn.LayerNorm(32);
  head = new nn.Linear(32, 65, { bias: false });
  override forward(tokens: Tensor): Tensor {
    const [batch, length] = tokens.shape;
    let x = this.tokens.call(tokens).add(this.places.call(tensor(Int32Array.from({ length }, (_, i) => i))));
    const heads = transpose(reshape(this.qkv.call(this.norm1.call(x)), [batch, length, 12, 8]), 1, 2);
    const [q, k, v] = [0, 4, 8].map((from) => heads.slice([null, [from, from + 4]]));
    const mixed = reshape(transpose(scaledDotProductAttention(q, k, v, { isCausal: true }), 1, 2), [batch, length, 32]);
    x = x.add(this.out.call(mixed));
    x = x.add(this.down.call(gelu(this.up.call(this.norm2.call(x)))));
    return this.head.call(this.norm.call(x));
  }
}
class Lstm extends nn.Module<[x: Tensor]> {
  lstm = new nn.LSTM(12, 20, { batchFirst: true });
  fc = new nn.Linear(20, 4);
  override forward(x: Tensor): Tensor {
    const [y] = this.lstm.call(x);
    return this.fc.call(y.select(1, -1));
  }
}

const steps: readonly Watched[] = [
  training(
    'mlp',
    () => {
      const net = new nn.Sequential(new nn.Linear(64, 128), new nn.ReLU(), new nn.Linear(128, 10));
      return { net, loss: (x, y) => crossEntropy(net.call(x), y), args: [f32(32, 64), of('int32', 32)] };
    },
    true,
  ),
  training('cnn', () => {
    const net = new nn.Sequential(
      new nn.Conv2d(3, 16, 3, { padding: 1, bias: false }),
      new nn.BatchNorm2d(16),
      new nn.ReLU(),
      new nn.MaxPool2d(2),
      new nn.Conv2d(16, 32, 3, { padding: 1 }),
      new nn.ReLU(),
      new nn.AdaptiveAvgPool2d(1),
      new nn.Flatten(),
      new nn.Linear(32, 10),
    );
    return { net, loss: (x, y) => crossEntropy(net.call(x), y), args: [f32(8, 3, 16, 16), of('int32', 8)], optimizer: 'sgd' };
  }),
  training('gpt', () => {
    const net = new Gpt();
    return { net, loss: (x, y) => crossEntropy(flatten(net.call(x), 0, 1), flatten(y)), args: [of('int32', 4, 24), of('int32', 4, 24)] };
  }),
  training('lstm', () => {
    const net = new Lstm();
    return { net, loss: (x, y) => crossEntropy(net.call(x), y), args: [f32(6, 15, 12), of('int32', 6)], optimizer: 'sgd' };
  }),
];

export const watched: readonly Watched[] = [...families, ...dtypes, ...products, ...convolutions, ...steps];
