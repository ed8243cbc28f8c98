import { describe, expect, test } from 'vitest';
import { concat, jit, manualSeed, mul, nn, noGrad, randn, sum, type Tensor } from '../../src/index.js';
import { runLayerTest } from './layer-test.js';

const values = (t: Tensor): number[] => Array.from(t.dataSync(), Number);
const close = (a: Tensor, b: Tensor): void => {
  const wanted = values(b);
  values(a).forEach((v, i) => expect(v).toBeCloseTo(wanted[i], 4));
};
/** As if `size` processes held the same batch. */
const twins = (size: number): nn.ProcessGroup => ({ size, allReduceSum: (t) => mul(t, size) });

describe('SyncBatchNorm', () => {
  test.each([
    ['without a group', null],
    ['in a group of one', twins(1)],
    ['in a group of three', twins(3)],
  ])('%s passes what every layer must', (_name, processGroup) => {
    runLayerTest({
      layer: () => new nn.SyncBatchNorm(3, { processGroup }),
      inputs: [[4, 3, 2]],
      outputShape: [4, 3, 2],
      stateKeys: ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked'],
      // The gradient of the other processes' outputs towards this input is no difference of this output.
      gradients: processGroup === null || processGroup.size === 1 ? 'train' : 'eval',
      atol: 5e-6,
    });
  });
  test('normalizes as BatchNorm does over all batches together: outputs, statistics and gradients', () => {
    manualSeed(1);
    const x = randn([4, 3, 2]);
    const weights = randn([4, 3, 2]);
    const plain = new nn.BatchNorm1d(3);
    const sync = new nn.SyncBatchNorm(3, { processGroup: twins(2) });
    const both = concat([x, x], 0);
    both.requiresGrad_(true);
    x.requiresGrad_(true);
    const wanted = plain.call(both);
    const got = sync.call(x);
    close(got, wanted.narrow(0, 0, 4));
    close(sync.runningMean as Tensor, plain.runningMean as Tensor);
    close(sync.runningVar as Tensor, plain.runningVar as Tensor);
    sum(mul(wanted, concat([weights, weights], 0))).backward();
    sum(mul(got, weights)).backward();
    close(x.grad as Tensor, (both.grad as Tensor).narrow(0, 0, 4));
    // Each process has its own share of the gradients of scale and shift.
    close(mul(sync.weight?.grad as Tensor, 2), plain.weight?.grad as Tensor);
  });
  test('takes over the batch normalizations of a model with their tensors', () => {
    manualSeed(2);
    class Net extends nn.Module {
      norm = new nn.BatchNorm1d(3, { momentum: 0.2 });
      blocks = [new nn.Linear(3, 3), new nn.BatchNorm1d(3)];
      override forward(x: Tensor): Tensor {
        return this.blocks.reduce((y: Tensor, block) => block.call(y), this.norm.call(x));
      }
    }
    const net = new Net();
    const x = randn([5, 3]);
    const keys = [...net.stateDict().keys()];
    const tensors = [...net.stateDict().values()];
    noGrad(() => net.call(x));
    net.eval();
    const before = values(noGrad(() => net.call(x)));
    expect(nn.SyncBatchNorm.convertSyncBatchNorm(net, twins(2))).toBe(net);
    expect(net.norm).toBeInstanceOf(nn.SyncBatchNorm);
    expect(net.blocks[1]).toBeInstanceOf(nn.SyncBatchNorm);
    expect(net.norm.momentum).toBe(0.2);
    expect([...net.stateDict().keys()]).toEqual(keys);
    expect([...net.stateDict().values()]).toEqual(tensors);
    expect(values(noGrad(() => net.call(x)))).toEqual(before);
    expect(nn.SyncBatchNorm.convertSyncBatchNorm(new nn.BatchNorm2d(2))).toBeInstanceOf(nn.SyncBatchNorm);
  });
});

describe('running statistics', () => {
  test('without momentum are the mean over all batches, compiled too', () => {
    manualSeed(3);
    const layer = new nn.BatchNorm1d(2, { momentum: null });
    const run = jit((x: Tensor) => layer.call(x).detach());
    const means = [0, 1, 2].map(() => {
      const x = randn([8, 2]);
      run(x);
      return values(x.mean(0));
    });
    const wanted = [0, 1].map((c) => means.reduce((s, m) => s + m[c] / 3, 0));
    values(layer.runningMean as Tensor).forEach((v, c) => expect(v).toBeCloseTo(wanted[c], 5));
    layer.resetRunningStats();
    expect(values(layer.runningMean as Tensor)).toEqual([0, 0]);
    expect(values(layer.runningVar as Tensor)).toEqual([1, 1]);
    expect(layer.numBatchesTracked?.item()).toBe(0);
    run.dispose();
  });
});
