/** Gradients of the losses against differences, and their values at the ends of the number range. */
import { describe, expect, test } from 'vitest';
import { checkGrads } from '../../src/autograd/check.js';
import { grad } from '../../src/autograd/engine.js';
import { ArgumentError, AutogradError, DTypeError, ShapeError } from '../../src/errors.js';
import { jit } from '../../src/jit.js';
import { cast } from '../../src/ops/cast.js';
import { tensor } from '../../src/ops/create.js';
import * as loss from '../../src/ops/loss.js';
import { rand, randint, randn } from '../../src/ops/random.js';
import { sum } from '../../src/ops/reduce.js';
import { logSoftmax } from '../../src/ops/statistics.js';
import { readSync } from '../../src/tensor/dispatch.js';
import { manualSeed } from '../../src/tensor/generator.js';
import { scope } from '../../src/tensor/scope.js';
import type { Tensor } from '../../src/tensor/tensor.js';

const wide = (t: Tensor): Tensor => cast(t, 'float64');
const points = (...shape: number[]): Tensor => wide(randn(shape));
const shares = (...shape: number[]): Tensor => wide(rand(shape).mul(0.8).add(0.1));
const signs = (...shape: number[]): Tensor => wide(randint(0, 2, shape).mul(2).sub(1));
const int = (values: readonly number[]): Tensor => tensor(values, { dtype: 'int64' });
const corners = (n: number): Tensor => wide(rand([n, 4]).add(tensor([0, 0, 1.2, 1.4])));

/** Second derivatives are checked too unless first is true: kinks and square roots near 0 need care of their own. */
interface Case {
  readonly inputs: () => readonly Tensor[];
  readonly fn: (...inputs: Tensor[]) => Tensor;
  readonly order?: 1;
}
const labels = [2, 0, 1];
const cases: Readonly<Record<string, Case>> = {
  mseLoss: { inputs: () => [points(3, 4), points(3, 4)], fn: (x, y) => loss.mseLoss(x, y) },
  l1Loss: { inputs: () => [points(3, 4), points(3, 4)], fn: (x, y) => loss.l1Loss(x, y, { reduction: 'none' }) },
  smoothL1Loss: { inputs: () => [points(3, 4), points(3, 4)], fn: (x, y) => loss.smoothL1Loss(x, y, { beta: 0.7 }) },
  huberLoss: { inputs: () => [points(3, 4), points(3, 4)], fn: (x, y) => loss.huberLoss(x, y, { delta: 0.7, reduction: 'sum' }) },
  logCoshLoss: { inputs: () => [points(3, 4), points(3, 4)], fn: (x, y) => loss.logCoshLoss(x, y) },
  quantileLoss: { inputs: () => [points(3, 4), points(3, 4)], fn: (x, y) => loss.quantileLoss(x, y, { quantile: 0.2 }) },
  poissonNllLoss: { inputs: () => [points(3, 4), shares(3, 4)], fn: (x, y) => loss.poissonNllLoss(x, y, { full: true }) },
  gaussianNllLoss: { inputs: () => [points(3, 4), points(3, 4), shares(3, 4)], fn: (x, y, v) => loss.gaussianNllLoss(x, y, v) },
  bce: { inputs: () => [shares(3, 4), shares(3, 4)], fn: (x, y) => loss.bce(x, y, { reduction: 'none' }) },
  bceWithLogits: {
    inputs: () => [points(3, 4), shares(3, 4), shares(4)],
    fn: (x, y, w) => loss.bceWithLogits(x, y, { posWeight: w }),
  },
  multilabelSoftMarginLoss: { inputs: () => [points(3, 4), shares(3, 4)], fn: (x, y) => loss.multilabelSoftMarginLoss(x, y) },
  klDiv: { inputs: () => [points(3, 4), shares(3, 4)], fn: (x, y) => loss.klDiv(x, y, { reduction: 'batchmean' }) },
  sigmoidFocalLoss: { inputs: () => [points(3, 4), shares(3, 4)], fn: (x, y) => loss.sigmoidFocalLoss(x, y, { gamma: 1.5 }) },
  focalLoss: {
    inputs: () => [points(3, 4), shares(4)],
    fn: (x, w) => loss.focalLoss(x, int(labels), { alpha: w, gamma: 1.5 }),
  },
  crossEntropy: {
    inputs: () => [points(3, 4), shares(4)],
    fn: (x, w) => loss.crossEntropy(x, int([2, 1, 0]), { weight: w, labelSmoothing: 0.1, ignoreIndex: 1 }),
  },
  'crossEntropy of probabilities': {
    inputs: () => [points(2, 3, 2), shares(2, 3, 2)],
    fn: (x, y) => loss.crossEntropy(x, y, { labelSmoothing: 0.2 }),
  },
  nllLoss: { inputs: () => [points(3, 4)], fn: (x) => loss.nllLoss(x, int(labels), { reduction: 'sum' }) },
  diceLoss: { inputs: () => [points(2, 3, 4), shares(2, 3, 4)], fn: (x, y) => loss.diceLoss(x, y) },
  tverskyLoss: {
    inputs: () => [points(2, 3, 4), shares(2, 3, 4)],
    fn: (x, y) => loss.tverskyLoss(x, y, { alpha: 0.3, beta: 0.7, gamma: 1.4 }),
  },
  jaccardLoss: {
    inputs: () => [points(2, 1, 4)],
    fn: (x) =>
      loss.jaccardLoss(
        x,
        tensor(
          [
            [0, 1, 1, 0],
            [1, 0, 0, 1],
          ],
          { dtype: 'int64' },
        ),
      ),
  },
  boxIouLoss: { inputs: () => [corners(4), corners(4)], fn: (a, b) => loss.boxIouLoss(a, b) },
  generalizedBoxIouLoss: { inputs: () => [corners(4), corners(4)], fn: (a, b) => loss.generalizedBoxIouLoss(a, b) },
  distanceBoxIouLoss: { inputs: () => [corners(4), corners(4)], fn: (a, b) => loss.distanceBoxIouLoss(a, b) },
  tripletMarginLoss: {
    inputs: () => [points(3, 4), points(3, 4), points(3, 4)],
    fn: (a, b, c) => loss.tripletMarginLoss(a, b, c, { margin: 2, swap: true, reduction: 'none' }),
  },
  'tripletMarginLoss by cosine': {
    inputs: () => [points(3, 4), points(3, 4), points(3, 4)],
    fn: (a, b, c) => loss.tripletMarginLoss(a, b, c, { margin: 1.5, distance: 'cosine' }),
  },
  contrastiveLoss: { inputs: () => [points(3, 4), points(3, 4)], fn: (a, b) => loss.contrastiveLoss(a, b, int([1, 0, 0]), { margin: 4 }) },
  infoNceLoss: {
    inputs: () => [points(3, 4), points(3, 4)],
    fn: (a, b) => loss.infoNceLoss(a, b, { temperature: 0.5, symmetric: true }),
  },
  ntXentLoss: { inputs: () => [points(3, 4), points(3, 4)], fn: (a, b) => loss.ntXentLoss(a, b) },
  supervisedContrastiveLoss: {
    inputs: () => [points(5, 3)],
    fn: (x) => loss.supervisedContrastiveLoss(x, int([0, 1, 0, 2, 1]), { temperature: 0.5 }),
  },
  arcMarginLoss: { inputs: () => [points(3, 5), points(4, 5)], fn: (x, w) => loss.arcMarginLoss(x, w, int(labels), { scale: 4 }) },
  hingeLoss: { inputs: () => [points(3, 4)], fn: (x) => loss.hingeLoss(x, signs(3, 4).abs(), { squared: true }) },
  hingeEmbeddingLoss: { inputs: () => [shares(4)], fn: (x) => loss.hingeEmbeddingLoss(x, int([1, -1, -1, 1])) },
  softMarginLoss: { inputs: () => [points(4)], fn: (x) => loss.softMarginLoss(x, int([1, -1, -1, 1])) },
  marginRankingLoss: {
    inputs: () => [points(4), points(4)],
    fn: (a, b) => loss.marginRankingLoss(a, b, int([1, -1, -1, 1]), { margin: 0.3 }),
  },
  cosineEmbeddingLoss: { inputs: () => [points(4, 3), points(4, 3)], fn: (a, b) => loss.cosineEmbeddingLoss(a, b, int([1, -1, -1, 1])) },
  multiMarginLoss: { inputs: () => [points(3, 4)], fn: (x) => loss.multiMarginLoss(x, int(labels), { p: 2, margin: 1.3 }) },
  multilabelMarginLoss: {
    inputs: () => [points(2, 4)],
    fn: (x) =>
      loss.multilabelMarginLoss(
        x,
        tensor(
          [
            [3, 1, -1, 0],
            [0, -1, 2, 3],
          ],
          { dtype: 'int64' },
        ),
      ),
  },
  'ctcLoss, of free log-probabilities': {
    inputs: () => [points(6, 2, 4)],
    fn: (x) =>
      loss.ctcLoss(
        x,
        tensor(
          [
            [1, 1, 2],
            [3, 0, 0],
          ],
          { dtype: 'int64' },
        ),
        [6, 4],
        [3, 1],
        { reduction: 'none' },
      ),
    order: 1,
  },
};

describe('gradients of losses are those of differences', () => {
  for (const [name, { inputs, fn, order = 2 }] of Object.entries(cases)) {
    test(name, () => {
      manualSeed(5);
      scope(() => checkGrads(fn, inputs(), { name, order }));
    });
  }
  test('completeBoxIouLoss, but for the weight of its aspect term, which counts as a constant', () => {
    scope(() => {
      // Of the same shape the term is 0 and has no weight.
      const a = wide(tensor([[0, 0, 2, 1]]));
      const b = wide(tensor([[0.3, 0.2, 2.3, 1.2]]));
      checkGrads((x) => loss.completeBoxIouLoss(x, b).sub(loss.completeBoxIouLoss(x, b).sub(loss.distanceBoxIouLoss(x, b)).detach()), [a]);
    });
  });
});

const numbers = (t: Tensor): number[] => Array.from(readSync(t) as ArrayLike<number>, Number);
const finite = (t: Tensor): boolean => numbers(t).every((v) => Number.isFinite(v));

describe('extreme logits', () => {
  const extremes = [1e4, -1e4, 1e37, -1e37, 88, -104, 0];
  const byName: Readonly<Record<string, (x: Tensor) => Tensor>> = {
    'crossEntropy of the unlikeliest class': (x) => loss.crossEntropy(x.reshape([1, -1]), int([0])),
    'bceWithLogits for 1': (x) => loss.bceWithLogits(x, x.mul(0).add(1).detach(), { reduction: 'sum' }),
    'bceWithLogits for 0': (x) => loss.bceWithLogits(x, x.mul(0).detach(), { reduction: 'sum' }),
    'sigmoidFocalLoss for 1': (x) => loss.sigmoidFocalLoss(x, x.mul(0).add(1).detach(), { gamma: 0.5, reduction: 'sum' }),
    'sigmoidFocalLoss for 0': (x) => loss.sigmoidFocalLoss(x, x.mul(0).detach(), { reduction: 'sum' }),
    focalLoss: (x) => loss.focalLoss(x.reshape([1, -1]), int([2]), { gamma: 0.5 }),
    softMarginLoss: (x) => loss.softMarginLoss(x, x.mul(0).add(1).detach(), { reduction: 'sum' }),
    diceLoss: (x) => loss.diceLoss(x.reshape([1, 1, -1]), int([1, 0, 1, 0, 1, 0, 1]).reshape([1, -1])),
    multilabelSoftMarginLoss: (x) => loss.multilabelSoftMarginLoss(x.reshape([1, -1]), x.mul(0).reshape([1, -1]).detach()),
  };
  for (const [name, fn] of Object.entries(byName)) {
    test(`give finite values and gradients: ${name}`, () => {
      scope(() => {
        // Sums of such numbers overflow by right: one at a time, but where they are scores of one sample.
        const together = name.startsWith('crossEntropy') || name === 'focalLoss' || name === 'diceLoss';
        for (const values of together ? [extremes] : extremes.map((v) => [v])) {
          const x = tensor(values, { requiresGrad: true });
          const y = fn(x);
          const [g] = grad(y, [x]);
          expect([values, finite(y), finite(g)]).toEqual([values, true, true]);
        }
      });
    });
  }
  test('probabilities of exactly 0 and 1 have a large but finite loss and gradient', () => {
    scope(() => {
      const x = tensor([0, 1, 0, 1], { requiresGrad: true });
      const y = loss.bce(x, tensor([0, 1, 1, 0]), { reduction: 'none' });
      const [g] = grad(sum(y), [x]);
      expect(numbers(y).map(Math.abs)).toEqual([0, 0, 100, 100]);
      expect([finite(g), ...numbers(g).slice(0, 2)]).toEqual([true, 0, 0]);
    });
  });
  test('boxes without extent and embeddings of length 0', () => {
    scope(() => {
      const point = tensor([[1, 1, 1, 1]], { requiresGrad: true });
      for (const fn of [loss.boxIouLoss, loss.generalizedBoxIouLoss, loss.distanceBoxIouLoss, loss.completeBoxIouLoss]) {
        const y = fn(point, tensor([[1, 1, 1, 1]]));
        expect([finite(y), finite(grad(y, [point])[0])]).toEqual([true, true]);
      }
      const zero = tensor([[0, 0, 0]], { requiresGrad: true });
      for (const y of [
        loss.cosineEmbeddingLoss(zero, tensor([[1, 2, 3]]), int([1])),
        loss.tripletMarginLoss(zero, zero, tensor([[1, 2, 3]]), { margin: 9 }),
        loss.infoNceLoss(zero, tensor([[1, 2, 3]])),
      ]) {
        expect([finite(y), finite(grad(y, [zero])[0])]).toEqual([true, true]);
      }
    });
  });
});

describe('ctcLoss', () => {
  const targets = (): Tensor =>
    tensor(
      [
        [1, 2],
        [2, 2],
      ],
      { dtype: 'int64' },
    );
  test('without room for its target is Infinity with gradient 0, or 0 with zeroInfinity', () => {
    scope(() => {
      const x = randn([2, 2, 3]).requiresGrad_();
      // Two equal labels need a blank between them: three steps.
      const values = loss.ctcLoss(logSoftmax(x, -1), targets(), [2, 2], [2, 2], { reduction: 'none' });
      expect(numbers(values)[1]).toBe(Infinity);
      const [g] = grad(values.narrow(0, 1, 1).sum(), [x]);
      expect(numbers(g).every((v) => v === 0)).toBe(true);
      const zeroed = loss.ctcLoss(logSoftmax(x, -1), targets(), [2, 2], [2, 2], { reduction: 'none', zeroInfinity: true });
      expect(numbers(zeroed)[1]).toBe(0);
    });
  });
  test('gives targets in a row and padded the same loss, with lengths as arrays or tensors', () => {
    scope(() => {
      const x = logSoftmax(randn([7, 2, 4]), -1);
      const padded = tensor(
        [
          [1, 2, 3],
          [3, 9, 9],
        ],
        { dtype: 'int32' },
      );
      const flat = int([1, 2, 3, 3]);
      const first = loss.ctcLoss(x, padded, [7, 5], [3, 1]).item();
      expect(loss.ctcLoss(x, flat, [7, 5], [3, 1]).item()).toBeCloseTo(Number(first), 5);
      expect(loss.ctcLoss(x, flat, int([7, 5]), int([3, 1])).item()).toBeCloseTo(Number(first), 5);
    });
  });
  test('refuses a second derivative, wrong lengths and an impossible blank', () => {
    scope(() => {
      const x = randn([4, 2, 3]).requiresGrad_();
      const y = loss.ctcLoss(logSoftmax(x, -1), targets(), [4, 4], [2, 2]);
      const [g] = grad(y, [x], { createGraph: true });
      expect(() => grad(sum(g.mul(g)), [x])).toThrow(AutogradError);
      expect(() => loss.ctcLoss(x, targets(), [4], [2, 2])).toThrow(ShapeError);
      expect(() => loss.ctcLoss(x, targets(), [4, 4], [2, 2], { blank: 3 })).toThrow(ArgumentError);
      expect(() => loss.ctcLoss(x, randn([2, 2]), [4, 4], [2, 2])).toThrow(DTypeError);
    });
  });
});

describe('losses refuse', () => {
  test('what does not fit together', () => {
    scope(() => {
      const x = randn([3, 4]);
      expect(() => loss.tripletMarginLoss(x, x, randn([3, 5]))).toThrow(ShapeError);
      expect(() => loss.diceLoss(x, randn([3, 5]))).toThrow(ShapeError);
      expect(() => loss.focalLoss(x, int([0, 1]))).toThrow(ShapeError);
      expect(() => loss.boxIouLoss(randn([3, 5]), randn([3, 5]))).toThrow(ShapeError);
      expect(() => loss.infoNceLoss(randn([3]), randn([3]))).toThrow(ShapeError);
      expect(() => loss.multiMarginLoss(x, int([0, 1, 2]), { p: 3 as 1 })).toThrow(ArgumentError);
      expect(() => loss.supervisedContrastiveLoss(x, int([0, 1]))).toThrow(ShapeError);
      expect(() => loss.mseLoss(x, x, { reduction: 'median' as 'mean' })).toThrow(ArgumentError);
    });
  });
});

test.each([false, true])('a target that is no class shows as NaN, unless it is the ignored one (compiled: %s)', (compiled) => {
  scope(() => {
    const x = randn([3, 4]);
    const each = (target: Tensor): Tensor[] => [
      loss.crossEntropy(x, target, { reduction: 'none' }),
      loss.crossEntropy(x, target, { reduction: 'none', labelSmoothing: 0.1 }),
      loss.nllLoss(x, target, { reduction: 'none' }),
      loss.focalLoss(x, target, { reduction: 'none' }),
    ];
    const run = compiled ? jit(each) : each;
    for (const [first, isClass] of [
      [3, true],
      [-100, true],
      [4, false],
      [-1, false],
    ] as const) {
      for (const values of run(int([first, 0, 1]))) {
        expect((values.toArray() as number[]).map(Number.isNaN), `target ${first}`).toEqual([!isClass, false, false]);
      }
    }
    expect(loss.crossEntropy(x, int([0, 4, 1])).item()).toBeNaN();
  });
});
