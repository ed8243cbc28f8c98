/** Gradients of the composites, first and second, and what they promise beside their numbers. */
import { beforeAll, describe, expect, test } from 'vitest';
import { checkGrads } from '../../src/autograd/check.js';
import { grad } from '../../src/autograd/engine.js';
import { ArgumentError, DTypeError, ShapeError } from '../../src/errors.js';
import * as act from '../../src/ops/activation.js';
import { scaledDotProductAttention } from '../../src/ops/attention.js';
import { add, div, mul } from '../../src/ops/binary.js';
import { cast } from '../../src/ops/cast.js';
import { dropout, featureDropout } from '../../src/ops/dropout.js';
import { einsum } from '../../src/ops/einsum.js';
import { embedding } from '../../src/ops/embedding.js';
import { interpolate } from '../../src/ops/interpolate.js';
import { concat, diagEmbed, meshgrid, repeatInterleave, roll, stack, tile, tril } from '../../src/ops/join.js';
import * as loss from '../../src/ops/loss.js';
import { linear, matmul } from '../../src/ops/matmul.js';
import * as norm from '../../src/ops/normalization.js';
import { pad } from '../../src/ops/pad.js';
import { lpPool2d, maxPool2d } from '../../src/ops/pool.js';
import { rand } from '../../src/ops/random.js';
import { amax, mean, sum } from '../../src/ops/reduce.js';
import { diff } from '../../src/ops/scan.js';
import { scatter } from '../../src/ops/scatter.js';
import { equal, maskedScatter, maskedSelect } from '../../src/ops/search.js';
import { kthvalue, median, quantile, topk } from '../../src/ops/sort.js';
import * as stat from '../../src/ops/statistics.js';
import { addcmul, clamp, lerp, where } from '../../src/ops/ternary.js';
import { exp, neg, sigmoid } from '../../src/ops/unary.js';
import { transpose } from '../../src/ops/view.js';
import { pixelShuffle, pixelUnshuffle, unfold2d } from '../../src/ops/vision.js';
import { createFromArray, readSync } from '../../src/tensor/dispatch.js';
import { memoryInfo } from '../../src/tensor/memory.js';
import { scope } from '../../src/tensor/scope.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { reals, whole } from './gradient-rows.js';

const host = (t: Tensor): number[] => Array.from(readSync(t), Number);
const float = (data: number[], shape = [data.length]): Tensor => createFromArray(data, 'float32', shape);

describe('first and second gradients', () => {
  const rows: Record<string, { fn: (...x: Tensor[]) => Tensor | Tensor[]; inputs: () => Tensor[]; order?: 1 | 2 }> = {
    softmax: { fn: (x) => stat.softmax(x, 1), inputs: () => [reals([2, 4])] },
    logSoftmax: { fn: (x) => stat.logSoftmax(x, 0), inputs: () => [reals([3, 2])] },
    logsumexp: { fn: (x) => stat.logsumexp(x, [0, 2]), inputs: () => [reals([2, 3, 2])] },
    variance: { fn: (x) => stat.variance(x, 1), inputs: () => [reals([2, 4])] },
    std: { fn: (x) => stat.std(x, 0, true), inputs: () => [reals([4, 2])] },
    norm: { fn: (x) => [stat.norm(x, 2, 1), stat.norm(x, 3), stat.norm(x, 1, 0)], inputs: () => [reals([2, 3], 0.2, 1)] },
    'max along an axis': { fn: (x) => exp(stat.max(x, 1).values), inputs: () => [reals([3, 4])] },
    'min along an axis': { fn: (x) => exp(stat.min(x, 0, true).values), inputs: () => [reals([3, 4])] },
    normalize: { fn: (x) => stat.normalize(x), inputs: () => [reals([2, 3], 0.2, 1)] },
    gelu: { fn: (x) => [act.gelu(x), act.gelu(x, { approximate: 'tanh' })], inputs: () => [reals([6], -2, 2)] },
    'smooth activations': {
      fn: (x) => [act.silu(x), act.mish(x), act.softplus(x), act.logSigmoid(x), act.tanhshrink(x)],
      inputs: () => [reals([5], -2, 2)],
    },
    'piecewise activations': {
      fn: (x) => [act.elu(x), act.celu(x, { alpha: 0.5 }), act.selu(x), act.leakyRelu(x), act.hardswish(x), act.softsign(x)],
      inputs: () => [reals([5], -2, 2)],
    },
    glu: { fn: (x) => act.glu(x), inputs: () => [reals([2, 4])] },
    layerNorm: { fn: (x, w, b) => norm.layerNorm(x, 4, w, b), inputs: () => [reals([3, 4]), reals([4], -1, 1, 2), reals([4])] },
    rmsNorm: { fn: (x, w) => norm.rmsNorm(x, [4], w), inputs: () => [reals([3, 4]), reals([4], -1, 1, 2)] },
    groupNorm: { fn: (x, w, b) => norm.groupNorm(x, 2, w, b), inputs: () => [reals([2, 4, 3]), reals([4], -1, 1, 2), reals([4])] },
    'batchNorm in training': {
      fn: (x, w, b) => norm.batchNorm(x, null, null, w, b, { training: true }),
      inputs: () => [reals([3, 2, 2]), reals([2], 0.5, 1, 2), reals([2])],
    },
    attention: {
      fn: (q, k, v) => scaledDotProductAttention(q, k, v, { isCausal: true }),
      inputs: () => [reals([1, 2, 3, 2]), reals([1, 2, 3, 2], -1, 1, 2), reals([1, 2, 3, 2], -1, 1, 3)],
    },
    'crossEntropy of indices': {
      fn: (x) => loss.crossEntropy(x, whole([0, 2, 1]), { labelSmoothing: 0.1, ignoreIndex: 1 }),
      inputs: () => [reals([3, 4])],
    },
    'crossEntropy of probabilities': {
      fn: (x, p) => loss.crossEntropy(x, stat.softmax(p, 1)),
      inputs: () => [reals([2, 3]), reals([2, 3], -1, 1, 2)],
    },
    bceWithLogits: { fn: (x, y) => loss.bceWithLogits(x, y), inputs: () => [reals([5], -2, 2), reals([5], 0, 1, 2)] },
    regression: {
      fn: (x, y) => [loss.mseLoss(x, y), loss.huberLoss(x, y, { delta: 0.4 }), loss.smoothL1Loss(x, y)],
      inputs: () => [reals([6]), reals([6], -0.7, 1.3, 2)],
    },
    klDiv: { fn: (x, y) => loss.klDiv(x, y), inputs: () => [reals([4]), reals([4], 0.1, 1)] },
    interpolate: {
      fn: (x) => [
        interpolate(x, { size: [5, 3], mode: 'bilinear' }),
        interpolate(x, { scaleFactor: 1.5, mode: 'bicubic', alignCorners: true }),
        interpolate(x, { size: 2 }),
      ],
      inputs: () => [reals([1, 1, 3, 4])],
    },
    einsum: {
      fn: (x, y, z) => [einsum('ij,jk,kl->li', x, y, z), einsum('ii->i', y), einsum('ii', y)],
      inputs: () => [reals([2, 3]), reals([3, 3], -1, 1, 2), reals([3, 2], -1, 1, 3)],
    },
    linear: { fn: (x, w, b) => exp(linear(x, w, b)), inputs: () => [reals([2, 2, 3]), reals([2, 3], -1, 1, 2), reals([2])] },
    'moving elements': {
      fn: (x) => [
        tile(x, [2, 1]),
        roll(x, [1, -1], [0, 1]),
        repeatInterleave(x, [1, 0, 2], 1),
        tril(x),
        pad(x, [1, 1], { mode: 'circular' }),
        diff(x),
        diagEmbed(x, -1),
        exp(pad(x, [2, 1], { mode: 'reflect' })),
      ],
      inputs: () => [reals([2, 3])],
    },
    joining: {
      fn: (x, y) => [stack([x, y], -1), concat([x, mul(x, y)], 1), ...meshgrid([sum(x, 1), sum(y, 0)])],
      inputs: () => [reals([2, 3]), reals([2, 3], -1, 1, 2)],
    },
    images: {
      fn: (x) => [exp(pixelShuffle(x, 2)), exp(pixelUnshuffle(x, 2)), exp(unfold2d(x, 2, { padding: 1 }))],
      inputs: () => [reals([1, 4, 2, 2])],
    },
    'lp pooling': { fn: (x) => lpPool2d(x, 2, 2), inputs: () => [reals([1, 1, 4, 4], 0.2, 1)] },
    selecting: {
      fn: (x) => [exp(topk(x, 2, 1).values), exp(kthvalue(x, 2, 0).values), exp(median(x)), exp(quantile(x, 0.3))],
      inputs: () => [reals([3, 5])],
    },
    masks: {
      fn: (x, y) => [
        exp(maskedSelect(x, createFromArray([1, 0, 1], 'bool', [3]))),
        exp(maskedScatter(x, createFromArray([1, 0, 1], 'bool', [3]), y)),
      ],
      inputs: () => [reals([2, 3]), reals([6], -1, 1, 2)],
    },
    mixing: {
      fn: (x, y) => [lerp(x, y, 0.3), addcmul(x, y, y, { value: 2 }), clamp(x, { min: y })],
      inputs: () => [reals([4]), reals([4], -0.8, 1.1, 2)],
    },
  };
  for (const [name, { fn, inputs, order = 2 }] of Object.entries(rows)) {
    test(name, () => scope(() => checkGrads(fn, inputs(), { order, name, atol: 3e-5 })));
  }
});

describe('gradients at special points', () => {
  const gradientAt = (fn: (x: Tensor) => Tensor, data: number[], shape = [data.length]): number[] =>
    scope(() => {
      const x = float(data, shape);
      x.requiresGrad = true;
      const [g] = grad(sum(fn(x)), [x]);
      return host(g);
    });
  test('equal maxima share the gradient of amax, and the index takes that of max along an axis', () => {
    expect(gradientAt((x) => amax(x), [1, 3, 3])).toEqual([0, 0.5, 0.5]);
    expect(gradientAt((x) => stat.max(x, 0).values, [1, 3, 3])).toEqual([0, 1, 0]);
  });
  test('norms and deviations are flat at 0 instead of infinitely steep', () => {
    expect(gradientAt((x) => stat.norm(x), [0, 0])).toEqual([0, 0]);
    expect(gradientAt((x) => stat.std(x), [2, 2, 2])).toEqual([0, 0, 0]);
    expect(gradientAt((x) => stat.norm(x, 0.5), [0, 1])[0]).toBe(0);
  });
  test('where keeps infinities of the branch not taken out', () => {
    expect(gradientAt((x) => act.softplus(x), [1000, 0])).toEqual([1, 0.5]);
    expect(gradientAt((x) => act.elu(x), [1000, -1000])).toEqual([1, 0]);
  });
  test('a padding row of an embedding gets none', () => {
    scope(() => {
      const weight = float([1, 2, 3, 4, 5, 6], [3, 2]);
      weight.requiresGrad = true;
      const [g] = grad(sum(embedding(whole([0, 1, 1, 2]), weight, { paddingIdx: 1 })), [weight]);
      expect(host(g)).toEqual([1, 1, 0, 0, 1, 1]);
    });
  });
});

describe('memory', () => {
  test('a composite leaves nothing behind but its result', () => {
    const x = float(
      Array.from({ length: 24 }, (_, i) => i / 24),
      [2, 3, 4],
    );
    const image = float(
      Array.from({ length: 64 }, (_, i) => i / 64),
      [1, 4, 4, 4],
    );
    const runs: (() => Tensor)[] = [
      () => stat.softmax(x, 1),
      () => act.gelu(x),
      () => norm.layerNorm(x, 4),
      () => norm.groupNorm(image, 2),
      () => stat.variance(x, 0),
      () => stat.argmax(x, 1),
      () => loss.crossEntropy(reshape2(x), whole([0, 1])),
      () => interpolate(image, { size: 6, mode: 'bilinear' }),
      () => matmul(x, transpose(neg(x), 1, 2)),
      () => maxPool2d(image, 2),
      () => scaledDotProductAttention(x, x, x, { isCausal: true }),
      () => quantile(x, 0.5),
      () => unfold2d(image, 2),
      () => scatter(x, 0, createFromArray(new Array(24).fill(0), 'int32', [2, 3, 4]), x),
    ];
    for (const run of runs) scope(run);
    for (const [i, run] of runs.entries()) {
      const before = memoryInfo().storages;
      const result = scope(run);
      expect([i, memoryInfo().storages - before]).toEqual([i, 1]);
      result.dispose();
      expect([i, memoryInfo().storages - before]).toEqual([i, 0]);
    }
  });
  const reshape2 = (x: Tensor): Tensor => sum(x, 1);
});

describe('dropout', () => {
  // The generator's state outlives the tests.
  beforeAll(() => rand([1]).dispose());

  test('keeps about 1 - p of the elements, scaled so that the mean stays', () => {
    scope(() => {
      const x = float(new Array<number>(20_000).fill(1));
      const y = dropout(x, 0.25);
      const kept = host(y).filter((v) => v !== 0);
      expect(Math.abs(kept.length / 20_000 - 0.75)).toBeLessThan(0.02);
      expect(new Set(kept)).toEqual(new Set([Math.fround(1 / 0.75)]));
      expect(dropout(x, 0.25, false)).toBe(x);
    });
  });
  test('gives its gradient to the elements it kept', () => {
    scope(() => {
      const x = float(new Array<number>(100).fill(2));
      x.requiresGrad = true;
      const y = dropout(x, 0.5);
      const [g] = grad(sum(y), [x]);
      expect(host(g)).toEqual(host(div(y, 2)));
    });
  });
  test('of features drops whole channels, and p = 1 drops all', () => {
    scope(() => {
      const y = host(featureDropout(float(new Array<number>(400).fill(1), [10, 10, 4]), 0.5));
      for (let c = 0; c < 100; c++) expect(new Set(y.slice(4 * c, 4 * c + 4)).size).toBe(1);
      expect(new Set(host(dropout(float([1, 2, 3]), 1)))).toEqual(new Set([0]));
    });
  });
});

describe('errors', () => {
  test('say what does not fit', () => {
    scope(() => {
      const x = float([1, 2, 3, 4, 5, 6], [2, 3]);
      expect(() => add(x, float([1, 2]))).toThrow(ShapeError);
      expect(() => matmul(x, x)).toThrow(/do not multiply/);
      expect(() => mean(whole([1, 2]))).toThrow(DTypeError);
      expect(() => amax(float([], [0, 3]), 0)).toThrow(ShapeError);
      expect(() => stat.softmax(x, 2)).toThrow(/axis 2 does not exist/);
      expect(() => embedding(x, x)).toThrow(DTypeError);
      expect(() => topk(x, 4, 1)).toThrow(ArgumentError);
      expect(() => loss.crossEntropy(x, whole([0, 1, 1]))).toThrow(ShapeError);
      expect(() => loss.mseLoss(float([1, 2]), float([1, 2, 3, 4], [2, 2]))).toThrow(ShapeError);
      expect(() => concat([x, float([1, 2], [2, 1])], 0)).toThrow(ShapeError);
      expect(() => einsum('ij,jk', x)).toThrow(ArgumentError);
      expect(() => pad(x, [3, 3], { mode: 'reflect' })).toThrow(ArgumentError);
      expect(() => neg(createFromArray([1], 'bool', [1]))).toThrow(DTypeError);
      expect(() => stat.cosineSimilarity(x, x, { dim: 5 })).toThrow(ShapeError);
    });
  });
  test('equal compares shape and elements', () => {
    scope(() => {
      expect(equal(float([1, 2]), float([1, 2]))).toBe(true);
      expect(equal(float([1, 2]), float([1, 2], [2, 1]))).toBe(false);
      expect(equal(whole([1, 2]), createFromArray([1, 3], 'int64', [2]))).toBe(false);
      expect(host(where(sigmoid(float([0])), 1, 2))).toEqual([1]);
    });
  });
});

describe('half precision', () => {
  test('computes in float32 between its ends', () => {
    scope(() => {
      for (const dtype of ['float16', 'bfloat16'] as const) {
        const wide = float(
          Array.from({ length: 64 }, (_, i) => 20 + (i % 7) / 8),
          [2, 32],
        );
        const x = cast(wide, dtype);
        const tolerance = dtype === 'float16' ? 2e-3 : 2e-2;
        const pairs: [Tensor, Tensor][] = [
          [stat.softmax(x, 1), stat.softmax(wide, 1)],
          [stat.logSoftmax(x, 1), stat.logSoftmax(wide, 1)],
          [stat.variance(x, 1), stat.variance(wide, 1)],
          [stat.norm(mul(x, 100)), stat.norm(mul(wide, 100))],
          [norm.layerNorm(x, 32), norm.layerNorm(wide, 32)],
          [mean(x), mean(wide)],
        ];
        pairs.forEach(([narrow, exact], k) => {
          expect([k, narrow.dtype]).toEqual([k, dtype]);
          host(narrow).forEach((v, i) => {
            const w = host(exact)[i];
            expect([k, i, Math.abs(v - w) <= tolerance * Math.max(1, Math.abs(w))]).toEqual([k, i, true]);
          });
        });
      }
    });
  });
});
