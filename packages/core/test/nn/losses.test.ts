/** Losses as modules give what their functions give, eager and compiled, and hold their weights as state. */
import { describe, expect, test } from 'vitest';
import { grad } from '../../src/autograd/engine.js';
import { jit } from '../../src/jit.js';
import * as nn from '../../src/nn/losses.js';
import type { Module } from '../../src/nn/module.js';
import { full, tensor } from '../../src/ops/create.js';
import * as loss from '../../src/ops/loss.js';
import { rand, randint, randn } from '../../src/ops/random.js';
import { logSoftmax } from '../../src/ops/statistics.js';
import { Adam } from '../../src/optim/index.js';
import { manualSeed } from '../../src/tensor/generator.js';
import { scope } from '../../src/tensor/scope.js';
import type { Tensor } from '../../src/tensor/tensor.js';

interface Case {
  readonly module: Module<never, Tensor>;
  readonly inputs: readonly Tensor[];
  readonly expected: Tensor;
}
const int = (values: readonly number[]): Tensor => tensor(values, { dtype: 'int64' });

function casesOf(): Record<string, () => Case> {
  const x = randn([4, 3]);
  const y = randn([4, 3]);
  const z = randn([4, 3]);
  const p = rand([4, 3]);
  const q = rand([4, 3]);
  const labels = randint(0, 3, [4]);
  const signs = randint(0, 2, [4, 3]).mul(2).sub(1);
  const weight = rand([3]).add(0.5);
  const sign = int([1, -1, 1, -1]);
  const boxes = (): Tensor => rand([4, 4]).add(tensor([0, 0, 1, 1]));
  const [a, b] = [boxes(), boxes()];
  const pair = (module: Module<[Tensor, Tensor]>, u: Tensor, v: Tensor, expected: Tensor): Case => ({ module, inputs: [u, v], expected });
  const triple = (module: Module<[Tensor, Tensor, Tensor]>, u: Tensor, v: Tensor, w: Tensor, expected: Tensor): Case => ({
    module,
    inputs: [u, v, w],
    expected,
  });
  const smooth = { weight, labelSmoothing: 0.1 };
  return {
    CrossEntropyLoss: () => pair(new nn.CrossEntropyLoss(smooth), x, labels, loss.crossEntropy(x, labels, smooth)),
    NLLLoss: () => pair(new nn.NLLLoss({ weight, reduction: 'sum' }), x, labels, loss.nllLoss(x, labels, { weight, reduction: 'sum' })),
    FocalLoss: () => pair(new nn.FocalLoss({ alpha: weight }), x, labels, loss.focalLoss(x, labels, { alpha: weight })),
    SigmoidFocalLoss: () => pair(new nn.SigmoidFocalLoss({ gamma: 1 }), x, q, loss.sigmoidFocalLoss(x, q, { gamma: 1 })),
    BCELoss: () => pair(new nn.BCELoss({ weight }), p, q, loss.bce(p, q, { weight })),
    BCEWithLogitsLoss: () => pair(new nn.BCEWithLogitsLoss({ posWeight: weight }), x, q, loss.bceWithLogits(x, q, { posWeight: weight })),
    MultiLabelSoftMarginLoss: () =>
      pair(new nn.MultiLabelSoftMarginLoss({ weight }), x, q, loss.multilabelSoftMarginLoss(x, q, { weight })),
    KLDivLoss: () => pair(new nn.KLDivLoss({ reduction: 'batchmean' }), x, q, loss.klDiv(x, q, { reduction: 'batchmean' })),
    L1Loss: () => pair(new nn.L1Loss(), x, y, loss.l1Loss(x, y)),
    MSELoss: () => pair(new nn.MSELoss({ reduction: 'none' }), x, y, loss.mseLoss(x, y, { reduction: 'none' })),
    SmoothL1Loss: () => pair(new nn.SmoothL1Loss({ beta: 0.5 }), x, y, loss.smoothL1Loss(x, y, { beta: 0.5 })),
    HuberLoss: () => pair(new nn.HuberLoss({ delta: 0.5 }), x, y, loss.huberLoss(x, y, { delta: 0.5 })),
    LogCoshLoss: () => pair(new nn.LogCoshLoss(), x, y, loss.logCoshLoss(x, y)),
    QuantileLoss: () => pair(new nn.QuantileLoss({ quantile: 0.9 }), x, y, loss.quantileLoss(x, y, { quantile: 0.9 })),
    PoissonNLLLoss: () => pair(new nn.PoissonNLLLoss({ full: true }), x, q, loss.poissonNllLoss(x, q, { full: true })),
    GaussianNLLLoss: () => triple(new nn.GaussianNLLLoss({ full: true }), x, y, p, loss.gaussianNllLoss(x, y, p, { full: true })),
    DiceLoss: () => pair(new nn.DiceLoss({ smooth: 0.5 }), x, q, loss.diceLoss(x, q, { smooth: 0.5 })),
    TverskyLoss: () => pair(new nn.TverskyLoss({ beta: 0.8 }), x, labels, loss.tverskyLoss(x, labels, { beta: 0.8 })),
    JaccardLoss: () => pair(new nn.JaccardLoss(), x, labels, loss.jaccardLoss(x, labels)),
    BoxIoULoss: () => pair(new nn.BoxIoULoss(), a, b, loss.boxIouLoss(a, b)),
    GeneralizedBoxIoULoss: () => pair(new nn.GeneralizedBoxIoULoss(), a, b, loss.generalizedBoxIouLoss(a, b)),
    DistanceBoxIoULoss: () => pair(new nn.DistanceBoxIoULoss(), a, b, loss.distanceBoxIouLoss(a, b)),
    CompleteBoxIoULoss: () =>
      pair(new nn.CompleteBoxIoULoss({ reduction: 'sum' }), a, b, loss.completeBoxIouLoss(a, b, { reduction: 'sum' })),
    HingeLoss: () => pair(new nn.HingeLoss({ squared: true }), x, signs, loss.hingeLoss(x, signs, { squared: true })),
    HingeEmbeddingLoss: () => pair(new nn.HingeEmbeddingLoss({ margin: 2 }), x, signs, loss.hingeEmbeddingLoss(x, signs, { margin: 2 })),
    SoftMarginLoss: () => pair(new nn.SoftMarginLoss(), x, signs, loss.softMarginLoss(x, signs)),
    MultiMarginLoss: () => pair(new nn.MultiMarginLoss({ weight, p: 2 }), x, labels, loss.multiMarginLoss(x, labels, { weight, p: 2 })),
    MultiLabelMarginLoss: () => {
      const lists = tensor(
        [
          [2, -1, 0],
          [0, 1, -1],
          [-1, 0, 0],
          [0, 1, 2],
        ],
        { dtype: 'int64' },
      );
      return pair(new nn.MultiLabelMarginLoss(), x, lists, loss.multilabelMarginLoss(x, lists));
    },
    MarginRankingLoss: () =>
      triple(new nn.MarginRankingLoss({ margin: 0.2 }), x, y, signs, loss.marginRankingLoss(x, y, signs, { margin: 0.2 })),
    CosineEmbeddingLoss: () => triple(new nn.CosineEmbeddingLoss(), x, y, sign, loss.cosineEmbeddingLoss(x, y, sign)),
    TripletMarginLoss: () => triple(new nn.TripletMarginLoss({ swap: true }), x, y, z, loss.tripletMarginLoss(x, y, z, { swap: true })),
    ContrastiveLoss: () =>
      triple(new nn.ContrastiveLoss({ margin: 3 }), x, y, int([1, 0, 0, 1]), loss.contrastiveLoss(x, y, int([1, 0, 0, 1]), { margin: 3 })),
    InfoNCELoss: () => pair(new nn.InfoNCELoss({ symmetric: true }), x, y, loss.infoNceLoss(x, y, { symmetric: true })),
    NTXentLoss: () => pair(new nn.NTXentLoss(), x, y, loss.ntXentLoss(x, y)),
    SupervisedContrastiveLoss: () => pair(new nn.SupervisedContrastiveLoss(), x, labels, loss.supervisedContrastiveLoss(x, labels)),
    ArcMarginLoss: () => {
      const module = new nn.ArcMarginLoss(3, 5, { scale: 16 });
      return pair(module, x, labels, loss.arcMarginLoss(x, module.weight, labels, { scale: 16 }));
    },
    CTCLoss: () => {
      const logs = logSoftmax(randn([6, 4, 3]), -1);
      const targets = randint(1, 3, [4, 2]);
      const [inputs, lengths] = [int([6, 5, 4, 6]), int([2, 1, 0, 2])];
      const module = new nn.CTCLoss({ zeroInfinity: true });
      return { module, inputs: [logs, targets, inputs, lengths], expected: loss.ctcLoss(logs, targets, inputs, lengths) };
    },
  };
}

const close = (a: Tensor, b: Tensor): void => {
  expect(a.shape).toEqual(b.shape);
  const other = Array.from(b.dataSync(), Number);
  Array.from(a.dataSync(), Number).forEach((v, i) => expect(v).toBeCloseTo(other[i], 5));
};

describe('a module gives what its function gives, eager and compiled', () => {
  for (const name of scope(() => Object.keys(casesOf()))) {
    test(name, () => {
      scope(() => {
        manualSeed(3);
        const { module, inputs, expected } = casesOf()[name]();
        const call = (...args: Tensor[]): Tensor => module.call(...(args as never));
        close(call(...inputs), expected);
        const compiled = jit((...args: Tensor[]) => call(...args).detach());
        close(compiled(...inputs), expected);
        compiled.dispose();
        module.dispose();
      });
    });
  }
  test('and every module is here', () => {
    expect(scope(() => Object.keys(casesOf())).sort()).toEqual(Object.keys(nn).sort());
  });
});

describe('weights', () => {
  test('of losses are buffers: state that has no gradient', () => {
    scope(() => {
      const module = new nn.BCEWithLogitsLoss({ posWeight: rand([3]) });
      expect([...module.stateDict().keys()]).toEqual(['pos_weight']);
      expect(module.parameters()).toEqual([]);
      module.to('float64');
      expect(module.posWeight?.dtype).toBe('float64');
      module.dispose();
    });
  });
  test('of the positive class may be one number', () => {
    scope(() => {
      const [x, q] = [randn([4, 3]), rand([4, 3])];
      const expected = loss.bceWithLogits(x, q, { posWeight: full([3], 2.5) });
      const module = new nn.BCEWithLogitsLoss({ posWeight: 2.5 });
      close(loss.bceWithLogits(x, q, { posWeight: 2.5 }), expected);
      close(module.call(x, q), expected);
      expect(module.posWeight?.item()).toBe(2.5);
      module.dispose();
    });
  });
  test('of ArcMarginLoss learn to separate directions', () => {
    manualSeed(1);
    const module = new nn.ArcMarginLoss(4, 3, { scale: 8, margin: 0.2 });
    const labels = randint(0, 3, [60]);
    const features = scope(() => {
      const centres = randn([3, 4]).mul(2);
      return centres.indexSelect(0, labels).add(randn([60, 4]).mul(0.2));
    });
    const optimizer = new Adam(module.parameters(), { lr: 0.05 });
    const step = jit(() => {
      const value = module.call(features, labels);
      optimizer.zeroGrad();
      value.backward();
      optimizer.step();
      return value.detach();
    });
    for (let i = 0; i < 60; i++) step().dispose();
    scope(() => {
      const right = module.cosine(features).argmax(1).eq(labels).float().mean().item();
      expect(right).toBeGreaterThan(0.95);
    });
    step.dispose();
    module.dispose();
    features.dispose();
    labels.dispose();
  });
});

test('a network learns to spell with CTCLoss in one compiled step', () => {
  manualSeed(4);
  const scores = randn([8, 2, 4]).requiresGrad_();
  const targets = tensor(
    [
      [1, 2, 2],
      [3, 1, 0],
    ],
    { dtype: 'int64' },
  );
  const [inputs, lengths] = [int([8, 6]), int([3, 2])];
  const ctc = new nn.CTCLoss();
  const optimizer = new Adam([scores], { lr: 0.3 });
  const step = jit(() => {
    const value = ctc.call(logSoftmax(scores, -1), targets, inputs, lengths);
    optimizer.zeroGrad();
    value.backward();
    optimizer.step();
    return value.detach();
  });
  const losses: number[] = [];
  for (let i = 0; i < 40; i++) losses.push(scope(() => Number(step().item())));
  expect(losses[39]).toBeLessThan(0.05);
  expect(losses[0]).toBeGreaterThan(0.5);
  scope(() => {
    const path = scores.argmax(2);
    const spell = (n: number, steps: number): number[] =>
      Array.from(path.select(1, n).dataSync(), Number)
        .slice(0, steps)
        .filter((c, t, all) => c !== 0 && c !== all[t - 1]);
    expect([spell(0, 8), spell(1, 6)]).toEqual([
      [1, 2, 2],
      [3, 1],
    ]);
    const [g] = grad(ctc.call(logSoftmax(scores, -1), targets, inputs, lengths), [scores]);
    // Steps behind the end of an input change nothing.
    expect(Array.from(g.narrow(0, 6, 2).select(1, 1).dataSync(), Number).every((v) => v === 0)).toBe(true);
  });
  step.dispose();
  for (const t of [scores, targets, inputs, lengths]) t.dispose();
});
