/** Boxes: overlaps and suppression agree with torchvision. */
import { describe, expect, test } from 'vitest';
import { checkGrads } from '../../src/autograd/check.js';
import { ArgumentError, ShapeError } from '../../src/errors.js';
import * as boxes from '../../src/ops/boxes.js';
import { tensor } from '../../src/ops/create.js';
import { rand } from '../../src/ops/random.js';
import { readSync } from '../../src/tensor/dispatch.js';
import { scope } from '../../src/tensor/scope.js';
import { Tensor } from '../../src/tensor/tensor.js';
import file from '../reference/boxes.json' with { type: 'json' };
import type { Arg, CaseJson, operations } from './cases.js';
import { evaluateWith, replayAll } from './replay.js';

const must = (a: Arg | undefined): Tensor => {
  if (a instanceof Tensor) return a;
  throw new TypeError('a tensor is missing');
};
const table: typeof operations = {
  boxIou: ([a, b]) => boxes.boxIou(must(a), must(b)),
  generalizedBoxIou: ([a, b]) => boxes.generalizedBoxIou(must(a), must(b)),
  distanceBoxIou: ([a, b]) => boxes.distanceBoxIou(must(a), must(b)),
  completeBoxIou: ([a, b]) => boxes.completeBoxIou(must(a), must(b)),
  boxArea: ([a]) => boxes.boxArea(must(a)),
  clipBoxes: ([a], { size }) => boxes.clipBoxes(must(a), size as [number, number]),
  boxConvert: ([a], { from, to }) => boxes.boxConvert(must(a), from as boxes.BoxFormat, to as boxes.BoxFormat),
  nms: ([a, s], attrs) => boxes.nms(must(a), must(s), attrs),
  batchedNms: ([a, s, g], attrs) => boxes.batchedNms(must(a), must(s), must(g), attrs),
};
const cases = file.cases as unknown as readonly CaseJson[];

describe('boxes agree with torchvision', () => {
  for (const op of Object.keys(table)) {
    const own = cases.filter((c) => c.op === op);
    test(`${op} (${own.length})`, () => {
      expect(own.length).toBeGreaterThan(0);
      replayAll(op, own, { rtol: 1e-5, atol: 2e-6 }, evaluateWith(table));
    });
  }
});

describe('boxes', () => {
  test('have gradients of differences', () => {
    scope(() => {
      const corners = (n: number): Tensor =>
        rand([n, 4])
          .add(tensor([0, 0, 1.2, 1.4]))
          .to('float64');
      for (const fn of [boxes.boxIou, boxes.generalizedBoxIou, boxes.distanceBoxIou]) checkGrads(fn, [corners(3), corners(2)]);
    });
  });
  test('without area overlap nothing', () => {
    scope(() => {
      const point = tensor([[1, 1, 1, 1]]);
      expect(boxes.boxIou(point, point).item()).toBe(0);
    });
  });
  test('of batches are compared within each batch', () => {
    scope(() => {
      const a = rand([2, 3, 4]);
      expect(boxes.boxIou(a, rand([2, 5, 4])).shape).toEqual([2, 3, 5]);
    });
  });
  test('are suppressed up to a number, from a score on, the earlier of equal ones first', () => {
    scope(() => {
      const b = tensor([
        [0, 0, 10, 10],
        [1, 1, 11, 11],
        [30, 30, 40, 40],
        [50, 50, 60, 60],
      ]);
      const s = tensor([0.5, 0.5, 0.9, 0.1]);
      const kept = (options: boxes.NmsOptions): number[] => Array.from(readSync(boxes.nms(b, s, options)), Number);
      expect(kept({})).toEqual([2, 0, 3]);
      expect(kept({ maxDetections: 2 })).toEqual([2, 0]);
      expect(kept({ scoreThreshold: 0.2 })).toEqual([2, 0]);
      expect(kept({ iouThreshold: 0.95 })).toEqual([2, 0, 1, 3]);
      expect(boxes.nms(tensor([], { shape: [0, 4] }), tensor([])).shape).toEqual([0]);
    });
  });
  test('of other shapes and formats are refused', () => {
    scope(() => {
      expect(() => boxes.boxArea(rand([3, 5]))).toThrow(ShapeError);
      expect(() => boxes.nms(rand([3, 4]), rand([2]))).toThrow(ShapeError);
      expect(() => boxes.boxIou(rand([4]), rand([4]))).toThrow(ShapeError);
      expect(() => boxes.boxConvert(rand([3, 4]), 'xyxy', 'yxyx' as 'xyxy')).toThrow(ArgumentError);
    });
  });
});
