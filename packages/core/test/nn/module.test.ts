import { describe, expect, test } from 'vitest';
import {
  ArgumentError,
  add,
  gelu,
  manualSeed,
  mul,
  nn,
  noGrad,
  ones,
  randn,
  relu,
  ShapeError,
  sum,
  type Tensor,
  TriremeError,
  tensor,
  zeros,
} from '../../src/index.js';

class Block extends nn.Module {
  conv = new nn.Conv2d(2, 4, 3, { padding: 1 });
  norm = new nn.BatchNorm2d(4);
  override forward(x: Tensor): Tensor {
    return relu(this.norm.call(this.conv.call(x)));
  }
}
class Net extends nn.Module {
  block = new Block();
  heads = [new nn.Linear(4, 3), new nn.Linear(3, 2, { bias: false })];
  scale = nn.parameter(ones([1]));
  override forward(x: Tensor): Tensor {
    const h = this.block.call(x).mean([2, 3]);
    return mul(this.heads[1].call(this.heads[0].call(h)), this.scale);
  }
}

describe('a module', () => {
  test('lists parameters and buffers under the names PyTorch gives them', () => {
    const net = new Net();
    expect([...net.stateDict().keys()]).toEqual([
      'scale',
      'block.conv.weight',
      'block.conv.bias',
      'block.norm.weight',
      'block.norm.bias',
      'block.norm.running_mean',
      'block.norm.running_var',
      'block.norm.num_batches_tracked',
      'heads.0.weight',
      'heads.0.bias',
      'heads.1.weight',
    ]);
    expect(net.parameters()).toHaveLength(8);
    expect(net.buffers()).toHaveLength(3);
    const sequential = new nn.Sequential(new nn.Linear(2, 3), new nn.ReLU(), new nn.Linear(3, 1));
    expect([...sequential.stateDict().keys()]).toEqual(['0.weight', '0.bias', '2.weight', '2.bias']);
  });
  test('lists a shared parameter once', () => {
    const a = new nn.Linear(2, 2);
    const b = new nn.Linear(2, 2);
    b.weight = a.weight;
    expect(new nn.Sequential(a, b).parameters()).toHaveLength(3);
  });
  test('names a shared tensor in its state under each of its names, takes it under one, and keeps it shared', () => {
    class Tied extends nn.Module {
      table = new nn.Embedding(3, 2);
      head = new nn.Linear(2, 3, { bias: false });
      again = this.table;
      constructor() {
        super();
        this.head.weight = this.table.weight;
      }
      override forward(index: Tensor): Tensor {
        return this.head.call(this.table.call(index));
      }
    }
    const net = new Tied();
    const names = ['table.weight', 'head.weight', 'again.weight'];
    expect([...net.stateDict().keys()]).toEqual(names);
    expect([...net.namedParameters()].map(([name]) => name)).toEqual(['table.weight']);
    for (const name of names) {
      const values = randn([3, 2]);
      expect(net.loadStateDict(new Map([[name, values]]))).toEqual({ missing: [], unexpected: [] });
      expect(net.table.weight.toArray()).toEqual(values.toArray());
    }
    expect(() => net.loadStateDict(new Map())).toThrow('missing table.weight, head.weight, again.weight');
    net.to('float64');
    expect(net.head.weight).toBe(net.table.weight);
    expect(net.parameters()).toHaveLength(1);
    expect(net.call(tensor([0, 2], { dtype: 'int64' })).dtype).toBe('float64');
  });
  test('that is held by what it holds has names all the same', () => {
    class Part extends nn.Module {
      weight = nn.parameter(ones([1]));
      owner: nn.AnyModule | null = null;
      override forward(x: Tensor): Tensor {
        return mul(x, this.weight);
      }
    }
    const part = new Part();
    const net = new nn.Sequential(part);
    part.owner = net as unknown as nn.AnyModule;
    expect([...net.stateDict().keys()]).toEqual(['0.weight']);
    expect(net.eval().at(0).training).toBe(false);
  });
  test('takes the state of another, and refuses what does not fit without changing anything', () => {
    manualSeed(1);
    const [a, b] = [new Net(), new Net()];
    const x = randn([2, 2, 5, 5]);
    a.eval();
    b.eval();
    b.loadStateDict(a.stateDict());
    expect(Array.from(noGrad(() => b.call(x)).dataSync())).toEqual(Array.from(noGrad(() => a.call(x)).dataSync()));
    const before = Array.from(b.scale.dataSync());
    const wrong = new Map(a.stateDict()).set('scale', zeros([2]));
    expect(() => b.loadStateDict(wrong)).toThrow(ShapeError);
    const missing = new Map(a.stateDict());
    missing.delete('heads.0.bias');
    missing.set('other', zeros([1]));
    expect(() => b.loadStateDict(missing)).toThrow(/heads\.0\.bias.*other/);
    expect(Array.from(b.scale.dataSync())).toEqual(before);
    expect(b.loadStateDict(missing, { strict: false })).toEqual({ missing: ['heads.0.bias'], unexpected: ['other'] });
  });
  test('switches all layers between training and evaluation', () => {
    const net = new Net();
    expect(net.eval().block.norm.training).toBe(false);
    expect(net.train().block.norm.training).toBe(true);
  });
  test('leaves a layer that overrides train() to itself', () => {
    class Pretrained extends nn.Module {
      norm = new nn.BatchNorm1d(2);
      drop = new nn.Dropout(0.5);
      override forward(x: Tensor): Tensor {
        return this.drop.call(this.norm.call(x));
      }
      override train(mode = true): this {
        super.train(mode);
        this.norm.eval();
        return this;
      }
    }
    const part = new Pretrained();
    new nn.Sequential(part).train();
    expect([part.training, part.drop.training, part.norm.training]).toEqual([true, true, false]);
  });
  test('applies a function to every module, children first', () => {
    const seen: string[] = [];
    new Net().apply((m) => seen.push(m.constructor.name));
    expect(seen[seen.length - 1]).toBe('Net');
    expect(seen).toContain('BatchNorm2d');
  });
  test('converts its floating tensors', () => {
    const net = new Net().to('float64');
    expect(net.block.conv.weight.dtype).toBe('float64');
    expect(net.block.norm.numBatchesTracked?.dtype).toBe('int64');
    expect(net.parameters()).toHaveLength(8);
    expect(net.eval().call(randn([1, 2, 4, 4]).to('float64')).dtype).toBe('float64');
  });
  test('forgets gradients, and freezes', () => {
    const net = new nn.Linear(2, 1);
    sum(net.call(ones([1, 2]))).backward();
    expect(net.weight.grad).not.toBeNull();
    net.zeroGrad();
    expect(net.weight.grad).toBeNull();
    net.requiresGrad_(false);
    expect(net.call(ones([1, 2])).requiresGrad).toBe(false);
  });
  test('in a Sequential may return a tensor of its own, which lives on', () => {
    class Table extends nn.Module {
      weight = nn.parameter(ones([2]));
      override forward(): Tensor {
        return this.weight;
      }
    }
    const table = new Table();
    new nn.Sequential(table, new nn.ReLU()).call(zeros([1]));
    expect(sum(table.weight).item()).toBe(2);
  });
  test('leaves a gradient that somebody holds alone when it forgets it', () => {
    const net = new nn.Linear(2, 1);
    sum(net.call(ones([1, 2]))).backward();
    const held = net.weight.grad as Tensor;
    net.zeroGrad();
    expect(Array.from(held.dataSync())).toEqual([1, 1]);
  });
  test('names the layer in its errors', () => {
    const net = new Net();
    let error: unknown;
    try {
      net.call(randn([1, 3, 5, 5]));
    } catch (e) {
      error = e;
    }
    expect(error).toBeInstanceOf(TriremeError);
    expect((error as TriremeError).layer).toBe('Net.block.conv');
    expect((error as Error).message).toContain('[in Net.block.conv]');
  });
});

describe('layers', () => {
  test("start from PyTorch's distributions", () => {
    manualSeed(2);
    const { weight, bias } = new nn.Linear(100, 50);
    const bound = 1 / Math.sqrt(100);
    for (const t of [weight, bias as Tensor]) {
      const data = Array.from(t.dataSync() as Float32Array);
      expect(Math.max(...data.map(Math.abs))).toBeLessThanOrEqual(bound);
      expect(Math.max(...data)).toBeGreaterThan(0.8 * bound);
    }
  });
  test('batch normalization standardizes in training and uses its statistics in evaluation', () => {
    manualSeed(3);
    const bn = new nn.BatchNorm1d(3);
    const x = add(mul(randn([64, 3]), 2), 5);
    const y = bn.call(x);
    expect(Math.abs(y.mean().item() as number)).toBeLessThan(1e-4);
    expect(bn.numBatchesTracked?.item()).toBe(1);
    for (let i = 0; i < 60; i++) bn.call(x);
    bn.eval();
    expect(Math.abs(bn.call(x).mean().item() as number)).toBeLessThan(0.05);
    expect(() => bn.call(randn([2, 3, 4, 4]))).toThrow(ArgumentError);
  });
  test('dropout keeps the mean in training and does nothing in evaluation', () => {
    manualSeed(4);
    const drop = new nn.Dropout(0.3);
    const x = ones([10_000]);
    const y = drop.call(x);
    const zeroShare = Array.from(y.dataSync() as Float32Array).filter((v) => v === 0).length / 10_000;
    expect(zeroShare).toBeGreaterThan(0.27);
    expect(zeroShare).toBeLessThan(0.33);
    expect(y.mean().item()).toBeCloseTo(1, 1);
    expect(Array.from(drop.eval().call(x).dataSync())).toEqual(Array.from(x.dataSync()));
  });
  test('an embedding leaves the padding row alone', () => {
    const table = new nn.Embedding(5, 3, { paddingIdx: 0 });
    const index = tensor(
      [
        [0, 2],
        [2, 4],
      ],
      { dtype: 'int64' },
    );
    sum(table.call(index)).backward();
    expect(Array.from(table.weight.select(0, 0).dataSync())).toEqual([0, 0, 0]);
    const grad = Array.from((table.weight.grad as Tensor).dataSync());
    expect(grad).toEqual([0, 0, 0, 0, 0, 0, 2, 2, 2, 0, 0, 0, 1, 1, 1]);
  });
  test('pooling, flattening and activations are modules too', () => {
    const net = new nn.Sequential(
      new nn.Conv2d(1, 2, 3, { padding: 'same', paddingMode: 'zeros' }),
      new nn.GELU(),
      new nn.MaxPool2d(2),
      new nn.AvgPool2d(2),
      new nn.AdaptiveAvgPool2d(1),
      new nn.Flatten(),
      new nn.Softmax(),
    );
    const y = net.call(randn([3, 1, 8, 8]));
    expect(y.shape).toEqual([3, 2]);
    expect(sum(y).item()).toBeCloseTo(3, 5);
    expect(gelu(zeros([1])).item()).toBe(0);
  });
  test('padding by reflection happens before the convolution', () => {
    const conv = new nn.Conv1d(1, 1, 3, { padding: 1, paddingMode: 'circular', bias: false });
    conv.weight.detach().fill_(1);
    expect(Array.from(conv.call(tensor([[[1, 2, 3]]])).dataSync())).toEqual([6, 6, 6]);
  });
  test('losses agree with their functions', () => {
    const logits = tensor([[1, 2, 0.5]]);
    expect(new nn.CrossEntropyLoss().call(logits, tensor([1], { dtype: 'int64' })).item()).toBeCloseTo(0.4644, 3);
    expect(new nn.MSELoss().call(tensor([1, 3]), tensor([0, 1])).item()).toBeCloseTo(2.5, 6);
    expect(new nn.BCEWithLogitsLoss({ reduction: 'sum' }).call(tensor([0]), tensor([1])).item()).toBeCloseTo(Math.log(2), 6);
  });
});
