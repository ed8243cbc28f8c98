import { describe, expect, test } from 'vitest';
import {
  ArgumentError,
  add,
  autocast,
  batchNorm,
  bceWithLogits,
  bmm,
  checkpoint,
  concat,
  conv1d,
  conv2d,
  convTranspose2d,
  crossEntropy,
  cumsum,
  type DType,
  einsum,
  exp,
  gelu,
  groupNorm,
  huberLoss,
  jit,
  klDiv,
  l1Loss,
  layerNorm,
  linear,
  log,
  logSoftmax,
  manualSeed,
  matmul,
  maxPool2d,
  mean,
  mseLoss,
  mul,
  nn,
  noGrad,
  norm,
  ones,
  optim,
  pow,
  prod,
  rand,
  randn,
  relu,
  rsqrt,
  scaledDotProductAttention,
  scan,
  scope,
  sigmoid,
  smoothL1Loss,
  softmax,
  softplus,
  sum,
  type Tensor,
  tanh,
  tensor,
} from '../../src/index.js';
import { release } from '../optim/harness.js';

const low = (shape: number[], dtype: DType = 'bfloat16'): Tensor => randn(shape).to(dtype);
const dtypeOf = (fn: () => Tensor, dtype: 'bfloat16' | 'float16' = 'bfloat16'): DType => {
  const eager = (scope(() => ({ dtype: autocast(fn, { dtype }).dtype })) as { dtype: DType }).dtype;
  // The same inside a Program.
  const jitted = jit(() => autocast(fn, { dtype }));
  expect((scope(() => ({ dtype: jitted().dtype })) as { dtype: DType }).dtype).toBe(eager);
  jitted.dispose();
  return eager;
};

describe('the dtype of each family of operations', () => {
  test('products of float32 tensors run in the low dtype, bias included', () => {
    const [a, b, bias] = [randn([3, 4]), randn([4, 3]), randn([3])];
    const image = randn([1, 2, 5, 5]);
    for (const dtype of ['bfloat16', 'float16'] as const) {
      for (const fn of [
        () => matmul(a, b),
        () => linear(a, b.t(), bias),
        () => bmm(randn([2, 3, 4]), randn([2, 4, 3])),
        () => einsum('ij,jk->ik', a, b),
        () => conv1d(randn([1, 2, 5]), randn([3, 2, 3]), bias),
        () => conv2d(image, randn([3, 2, 3, 3]), bias),
        () => convTranspose2d(image, randn([2, 3, 3, 3]), bias),
        () => scaledDotProductAttention(randn([1, 4, 8]), randn([1, 4, 8]), randn([1, 4, 8])),
      ]) {
        expect(dtypeOf(fn, dtype), String(fn)).toBe(dtype);
      }
    }
  });

  test('what sums or spans a wide range gives float32', () => {
    const x = low([2, 4]);
    const y = randn([2, 4]);
    const classes = tensor([1, 0], { dtype: 'int64' });
    for (const fn of [
      () => softmax(x),
      () => logSoftmax(x),
      () => sum(x),
      () => prod(x),
      () => cumsum(x, 0),
      () => exp(x),
      () => log(sigmoid(x)),
      () => pow(x, 2),
      () => rsqrt(sigmoid(x)),
      () => norm(x),
      () => softplus(x),
      () => layerNorm(x, [4], ones([4]), ones([4])),
      () => groupNorm(x, 2),
      () => crossEntropy(x, classes),
      () => mseLoss(x, y.to('bfloat16')),
      () => l1Loss(x, y.to('bfloat16')),
      () => huberLoss(x, y.to('bfloat16')),
      () => smoothL1Loss(x, y.to('bfloat16')),
      () => bceWithLogits(x, y.to('bfloat16')),
      () => klDiv(x, y.to('bfloat16')),
    ]) {
      expect(dtypeOf(fn), String(fn)).toBe('float32');
    }
  });

  test('the rest keeps the dtype of its operands, and mixed ones promote', () => {
    const x = low([2, 4]);
    for (const fn of [
      () => relu(x),
      () => gelu(x),
      () => tanh(x),
      () => mul(x, 2),
      () => add(x, x),
      () => mean(x),
      () => maxPool2d(low([1, 1, 4, 4]), 2),
      () => batchNorm(x, ones([4]), ones([4]), ones([4]), ones([4])),
      () => batchNorm(x, null, null, null, null, { training: true }),
    ]) {
      expect(dtypeOf(fn), String(fn)).toBe('bfloat16');
    }
    expect(dtypeOf(() => add(x, randn([2, 4])))).toBe('float32');
    expect(dtypeOf(() => concat([x, randn([2, 4])], 0))).toBe('float32');
    expect(dtypeOf(() => matmul(randn([2, 2], { dtype: 'float64' }), randn([2, 2], { dtype: 'float64' })))).toBe('float64');
  });
});

describe('regions', () => {
  const [a, b] = [tensor([[1, 2]]), tensor([[3], [4]])];
  test('nest, end where they end, and can be off inside', () => {
    const seen: DType[] = [];
    const look = (): void => void seen.push(matmul(a, b).dtype);
    autocast(() => {
      look();
      autocast(look, { dtype: 'float16' });
      autocast(look, { enabled: false });
      look();
    });
    look();
    expect(seen).toEqual(['bfloat16', 'float16', 'float32', 'bfloat16', 'float32']);
    expect(() => autocast(() => matmul(a, a))).toThrow();
    expect(matmul(a, b).dtype).toBe('float32');
    expect(() => autocast(() => Promise.resolve())).toThrow(ArgumentError);
  });

  test('a compiled function has a program for each region it is called in', () => {
    const f = jit((x: Tensor) => matmul(x, b));
    expect(f(a).dtype).toBe('float32');
    expect(autocast(() => f(a)).dtype).toBe('bfloat16');
    expect(f(a).dtype).toBe('float32');
    expect(f.programs).toHaveLength(2);
    f.dispose();
  });
});

describe('gradients', () => {
  test('arrive in the dtype of the parameters, computed in the dtypes of the forward pass', () => {
    for (const compiled of [false, true]) {
      const w = nn.parameter(tensor([[1.001], [2.002]]));
      const x = tensor([[1, 1]]);
      const body = (): Tensor =>
        autocast(() => {
          const y = matmul(x, w);
          y.registerHook((g) => {
            expect(g.dtype).toBe('bfloat16');
          });
          const loss = sum(mul(y, y));
          // Inside the region too: rules cast nothing anew.
          loss.backward();
          return loss.detach();
        });
      const loss = scope(() => (compiled ? jit(body) : body)().item());
      expect(loss).toBeCloseTo(9, 1);
      expect(w.grad?.dtype).toBe('float32');
      w.grad?.dataSync().forEach((g) => expect(Number(g)).toBeCloseTo(6, 1));
    }
  });

  test('flow through checkpoints and scans, which run again in the backward pass', () => {
    manualSeed(2);
    const w = nn.parameter(randn([4, 4]).mul(0.5));
    const x = randn([3, 4]);
    const run = (fn: () => Tensor): number[] => {
      w.grad = null;
      scope(() => autocast(fn).backward());
      return Array.from((w.grad as Tensor | null)?.dataSync() ?? [], Number);
    };
    const layer = (t: Tensor): Tensor => tanh(matmul(t, w));
    const plain = run(() => sum(layer(layer(x))));
    expect(run(() => sum(checkpoint((t: Tensor) => layer(layer(t)), x)))).toEqual(plain);
    const scanned = jit(() => {
      autocast(() => sum(scan(([h]) => [[layer(h).float()], []], [x], [], { length: 2 }).carry[0])).backward();
    });
    w.grad = null;
    scanned();
    Array.from((w.grad as Tensor | null)?.dataSync() ?? [], Number).forEach((g, i) => expect(Math.abs(g - plain[i])).toBeLessThan(0.05));
    w.grad = null;
    scanned.dispose();
  });

  test('second derivatives work in a region', () => {
    const x = tensor([[0.5]], { requiresGrad: true });
    const second = autocast(() => {
      const y = sum(exp(matmul(x, x)));
      y.backward(null, { createGraph: true });
      return x.grad as Tensor;
    });
    expect(second.dtype).toBe('float32');
    second.dispose();
    x.grad = null;
  });
});

test('attention in blocks, recurrent layers and transformers train in a region', () => {
  manualSeed(12);
  const x = randn([2, 6, 8]);
  const layers: [string, nn.AnyModule & { call(x: Tensor): unknown }][] = [
    ['LSTM', new nn.LSTM(8, 5, { batchFirst: true, bidirectional: true })],
    ['GRU', new nn.GRU(8, 5, { batchFirst: true, numLayers: 2 })],
    ['RNN', new nn.RNN(8, 5, { batchFirst: true })],
    ['TransformerEncoderLayer', new nn.TransformerEncoderLayer(8, 2, { dimFeedforward: 16, dropout: 0, batchFirst: true })],
  ] as never;
  for (const [name, layer] of layers) {
    const run = (how: 'plain' | 'eager' | 'compiled'): number[] => {
      layer.zeroGrad();
      const lossOf = (): Tensor => {
        const out = layer.call(x);
        return sum(pow((Array.isArray(out) ? out[0] : out) as Tensor, 2));
      };
      const body = (): void => (how === 'plain' ? lossOf() : autocast(lossOf)).backward();
      const step = how === 'compiled' ? jit(body) : body;
      scope(step);
      release(step);
      return layer.parameters().flatMap((p) => Array.from(p.grad?.dataSync() ?? [], Number));
    };
    const exact = run('plain');
    const size = Math.max(...exact.map(Math.abs));
    for (const how of ['eager', 'compiled'] as const) {
      run(how).forEach((g, i) => expect(Math.abs(g - exact[i]), `${name} ${how}`).toBeLessThan(0.03 * size));
    }
    layer.dispose();
  }
  const [q, k, v] = [randn([1, 2, 32, 8]), randn([1, 2, 32, 8]), randn([1, 2, 32, 8])];
  const full = scaledDotProductAttention(q, k, v, { algorithm: 'full' }).dataSync();
  const blocks = autocast(() => scaledDotProductAttention(q, k, v, { algorithm: 'blockwise', blockSize: 8 }));
  expect(blocks.dtype).toBe('bfloat16');
  blocks.dataSync().forEach((value, i) => expect(Math.abs(Number(value) - Number(full[i]))).toBeLessThan(0.03));
});

test('the cast of a parameter happens once in a region, and anew after it changed', () => {
  const w = nn.parameter(tensor([[1, 2], [3, 4]])); // biome-ignore format: a matrix
  const x = ones([1, 2]);
  const sums = autocast(() => {
    const first = matmul(x, w);
    const again = matmul(x, w);
    noGrad(() => w.add_(1));
    return [first, again, matmul(x, w)].map((t) => t.toArray());
  });
  expect(sums).toEqual([[[4, 6]], [[4, 6]], [[6, 8]]]);
});

test('in a program the cast of a parameter is one node, however often it is used', () => {
  const w = nn.parameter(randn([4, 4]));
  const f = jit((x: Tensor) => autocast(() => matmul(matmul(x, w), w)));
  const { program } = f.compile(randn([2, 4]));
  const casts = program.nodes.filter((n) => n.primitive.name === 'cast' && n.inputs[0].layout.shape.join() === '4,4');
  expect(casts).toHaveLength(1);
  f.dispose();
});

test.each(['bfloat16', 'float16'] as const)('training under %s follows float32', (dtype) => {
  const train = (mode: 'plain' | 'eager' | 'compiled'): number[] => {
    manualSeed(7);
    const model = new nn.Sequential(new nn.Linear(8, 32), new nn.LayerNorm(32), new nn.GELU(), new nn.Linear(32, 3));
    const adam = new optim.Adam(model.parameters(), { lr: 0.01 });
    const [x, noise] = [randn([64, 8]), rand([64])];
    const y = x.slice([[], [0, 3]]).argmax(1);
    noise.dispose();
    const lossOf = (): Tensor => crossEntropy(model.call(x), y);
    const body = (): Tensor => {
      const loss = mode === 'plain' ? lossOf() : autocast(lossOf, { dtype });
      loss.backward();
      adam.step();
      adam.zeroGrad();
      return loss.detach();
    };
    const step = mode === 'compiled' ? jit(body) : body;
    const losses = Array.from({ length: 40 }, () => scope(() => step().item()) as number);
    for (const p of model.parameters()) expect(p.dtype).toBe('float32');
    adam.dispose();
    model.dispose();
    return losses;
  };
  const exact = train('plain');
  expect(exact[39]).toBeLessThan(0.4 * exact[0]);
  // Stated tolerance: 3% of the first loss at each of 40 steps.
  for (const mode of ['eager', 'compiled'] as const) {
    train(mode).forEach((loss, i) => expect(Math.abs(loss - exact[i])).toBeLessThan(0.03 * exact[0]));
  }
});
