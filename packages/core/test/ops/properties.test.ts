/** Facts over random shapes, empty and 0-d tensors included, against plain loops. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { broadcastShapes, sizeOf } from '../../src/graph/layout.js';
import { add, mul, sub } from '../../src/ops/binary.js';
import { conv2d } from '../../src/ops/conv.js';
import { gather, indexSelect } from '../../src/ops/gather.js';
import { concat } from '../../src/ops/join.js';
import { matmul } from '../../src/ops/matmul.js';
import { avgPool2d, maxPool2d } from '../../src/ops/pool.js';
import { amax, sum } from '../../src/ops/reduce.js';
import { cumsum } from '../../src/ops/scan.js';
import { indexAdd, scatterAdd } from '../../src/ops/scatter.js';
import { searchsorted, unique } from '../../src/ops/search.js';
import { sort } from '../../src/ops/sort.js';
import { argmax, logSoftmax, logsumexp, softmax, variance } from '../../src/ops/statistics.js';
import { permute } from '../../src/ops/view.js';
import { createFromArray, readSync } from '../../src/tensor/dispatch.js';
import { scope } from '../../src/tensor/scope.js';
import type { Tensor } from '../../src/tensor/tensor.js';

type Shape = readonly number[];
const extent = fc.integer({ min: 0, max: 5 });
const anyShape = fc.array(extent, { maxLength: 4 });

function host(t: Tensor): number[] {
  return Array.from(readSync(t), Number);
}
/** Distinct small numbers, the same for one shape and seed. */
function values(shape: Shape, seed = 1): number[] {
  return Array.from({ length: sizeOf(shape) }, (_, i) => ((i * 37 + seed * 11) % 101) / 16 - 3);
}
function real(shape: Shape, seed = 1): Tensor {
  return createFromArray(values(shape, seed), 'float32', shape);
}
/** All index tuples of a shape, in row-major order. */
function indices(shape: Shape): number[][] {
  return shape.reduce<number[][]>((all, n) => all.flatMap((head) => Array.from({ length: n }, (_, i) => [...head, i])), [[]]);
}
function flat(index: Shape, shape: Shape): number {
  return index.reduce((at, i, axis) => at * shape[axis] + i, 0);
}
function closeTo(actual: readonly number[], wanted: readonly number[], tolerance = 1e-5): void {
  expect(actual.length).toBe(wanted.length);
  wanted.forEach((w, i) => {
    const same = Object.is(actual[i], w) || (Number.isNaN(actual[i]) && Number.isNaN(w));
    if (!same && !(Math.abs(actual[i] - w) <= tolerance * Math.max(1, Math.abs(w))))
      expect.fail(`element ${i}: ${actual[i]}, expected ${w}`);
  });
}
const check = (property: fc.IProperty<unknown[]> | Parameters<typeof fc.assert>[0], runs = 60): void =>
  fc.assert(property as fc.IProperty<unknown>, { numRuns: runs, seed: 7 });

describe('elementwise operations', () => {
  test('broadcast like NumPy, from any shapes that fit', () => {
    const pair = anyShape.chain((shape) => {
      const part = fc.tuple(fc.nat(shape.length), ...shape.map(() => fc.boolean()));
      const shrink = ([drop, ...ones]: [number, ...boolean[]]): number[] => shape.map((n, i) => (ones[i] ? 1 : n)).slice(drop);
      return fc.tuple(
        part.map((p) => shrink(p as [number, ...boolean[]])),
        part.map((p) => shrink(p as [number, ...boolean[]])),
      );
    });
    check(
      fc.property(pair, ([p, q]) =>
        scope(() => {
          const shape = broadcastShapes(p, q, 'test');
          const [x, y] = [values(p), values(q, 2)];
          const result = sub(real(p), real(q, 2));
          expect([...result.shape]).toEqual([...shape]);
          const at = (index: Shape, own: Shape): number =>
            flat(
              index.slice(shape.length - own.length).map((i, k) => (own[k] === 1 ? 0 : i)),
              own,
            );
          expect(host(result)).toEqual(indices(shape).map((i) => Math.fround(x[at(i, p)] - y[at(i, q)])));
        }),
      ),
    );
  });

  test('read permuted tensors in their own order', () => {
    check(
      fc.property(fc.shuffledSubarray([0, 1, 2], { minLength: 3 }), fc.tuple(extent, extent, extent), (axes, shape) =>
        scope(() => {
          const x = values(shape);
          const moved = permute(real(shape), axes);
          expect(host(add(moved, moved))).toEqual(
            indices(moved.shape).map(
              (i) =>
                2 *
                x[
                  flat(
                    axes.map((_, k) => i[axes.indexOf(k)]),
                    shape,
                  )
                ],
            ),
          );
        }),
      ),
    );
  });
});

describe('reductions', () => {
  const shapeAndAxes = anyShape.chain((shape) =>
    fc.tuple(
      fc.constant(shape),
      fc.subarray(
        shape.map((_, i) => i),
        { minLength: shape.length > 0 ? 1 : 0 },
      ),
    ),
  );
  const grouped = (shape: Shape, axes: readonly number[], x: readonly number[]): number[][] => {
    const kept = shape.filter((_, i) => !axes.includes(i));
    const groups: number[][] = indices(kept).map(() => []);
    indices(shape).forEach((index) =>
      groups[
        flat(
          index.filter((_, i) => !axes.includes(i)),
          kept,
        )
      ].push(x[flat(index, shape)]),
    );
    return groups;
  };
  test('sum over any axes', () => {
    check(
      fc.property(shapeAndAxes, ([shape, axes]) =>
        scope(() => {
          const wanted = grouped(shape, shape.length === 0 ? [] : axes, values(shape)).map((g) => g.reduce((a, b) => a + b, 0));
          closeTo(host(sum(real(shape), axes)), wanted);
          expect([...sum(real(shape), axes, true).shape]).toEqual(shape.map((n, i) => (axes.includes(i) ? 1 : n)));
        }),
      ),
    );
  });
  test('amax over any axes with elements', () => {
    check(
      fc.property(
        shapeAndAxes.filter(([shape, axes]) => axes.every((a) => shape[a] > 0)),
        ([shape, axes]) =>
          scope(() => {
            const wanted = grouped(shape, shape.length === 0 ? [] : axes, values(shape)).map((g) => Math.max(...g));
            expect(host(amax(real(shape), axes))).toEqual(wanted);
          }),
      ),
    );
  });
  test('of long rows are accurate', () => {
    scope(() => {
      const n = 100_003;
      const x = Array.from({ length: n }, (_, i) => Math.fround(Math.sin(i)));
      const t = createFromArray(x, 'float32', [n]);
      const exact = x.reduce((a, b) => a + b, 0);
      closeTo(host(sum(t)), [exact], 1e-3);
      const mean = exact / n;
      closeTo(host(variance(t)), [x.reduce((a, b) => a + (b - mean) ** 2, 0) / (n - 1)], 1e-5);
      expect(host(argmax(t))).toEqual([x.indexOf(Math.max(...x))]);
    });
  });
  test('softmax rows sum to 1, and logSoftmax is its logarithm, along any axis', () => {
    check(
      fc.property(
        anyShape.filter((s) => s.length > 0),
        fc.nat(),
        (shape, pick) =>
          scope(() => {
            const axis = pick % shape.length;
            const y = softmax(real(shape), axis);
            closeTo(host(sum(y, axis)), new Array<number>(sizeOf(shape.toSpliced(axis, 1))).fill(shape[axis] === 0 ? 0 : 1));
            closeTo(host(logSoftmax(real(shape), axis)), host(y).map(Math.log), 1e-4);
          }),
      ),
    );
  });
  test('numbers without dimensions reduce to themselves', () => {
    scope(() => {
      const x = createFromArray([2.5], 'float32', []);
      expect([sum(x), amax(x), softmax(x, -1), logSoftmax(x, 0), logsumexp(x)].flatMap(host)).toEqual([2.5, 2.5, 1, 0, 2.5]);
      expect(host(argmax(x))).toEqual([0]);
    });
  });
});

describe('matrix products', () => {
  test('agree with plain loops for any extents', () => {
    check(
      fc.property(fc.array(fc.integer({ min: 0, max: 21 }), { minLength: 3, maxLength: 3 }), ([m, k, n]) =>
        scope(() => {
          const [a, b] = [values([m, k]), values([k, n], 2)];
          const wanted = indices([m, n]).map(([i, j]) =>
            Array.from({ length: k }, (_, p) => a[i * k + p] * b[p * n + j]).reduce((s, v) => s + v, 0),
          );
          closeTo(host(matmul(real([m, k]), real([k, n], 2))), wanted);
          closeTo(host(matmul(permute(createFromArray(transposed(a, m, k), 'float32', [k, m]), [1, 0]), real([k, n], 2))), wanted);
        }),
      ),
      40,
    );
  });
  const transposed = (x: readonly number[], rows: number, columns: number): number[] =>
    indices([columns, rows]).map(([j, i]) => x[i * columns + j]);
  test('batches broadcast', () => {
    scope(() => {
      const [a, b] = [real([3, 1, 2, 4]), real([2, 4, 5], 2)];
      const out = matmul(a, b);
      expect([...out.shape]).toEqual([3, 2, 2, 5]);
      const [x, y] = [values([3, 1, 2, 4]), values([2, 4, 5], 2)];
      const wanted = indices([3, 2, 2, 5]).map(([p, q, i, j]) =>
        [0, 1, 2, 3].reduce((s, k) => s + x[flat([p, 0, i, k], [3, 1, 2, 4])] * y[flat([q, k, j], [2, 4, 5])], 0),
      );
      closeTo(host(out), wanted);
    });
  });
});

describe('windows', () => {
  const small = fc.record({
    n: fc.integer({ min: 1, max: 2 }),
    groups: fc.integer({ min: 1, max: 2 }),
    cin: fc.integer({ min: 1, max: 3 }),
    cout: fc.integer({ min: 1, max: 3 }),
    size: fc.tuple(fc.integer({ min: 4, max: 9 }), fc.integer({ min: 4, max: 9 })),
    kernel: fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 })),
    stride: fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 })),
    padding: fc.tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 2 })),
    dilation: fc.integer({ min: 1, max: 2 }),
  });
  test('conv2d agrees with plain loops for any geometry', () => {
    check(
      fc.property(small, ({ n, groups, cin, cout, size, kernel, stride, padding, dilation }) =>
        scope(() => {
          const fits = kernel.every((k, d) => size[d] + 2 * padding[d] >= dilation * (k - 1) + 1);
          if (!fits) return;
          const xs = [n, cin * groups, ...size];
          const ws = [cout * groups, cin, ...kernel];
          const out = conv2d(real(xs), real(ws, 2), null, { stride, padding, dilation, groups });
          const [x, w] = [values(xs), values(ws, 2)];
          const wanted = indices(out.shape).map(([b, o, i, j]) => {
            const group = Math.floor(o / cout);
            return indices([cin, ...kernel]).reduce((s, [c, p, q]) => {
              const at = [i * stride[0] + p * dilation - padding[0], j * stride[1] + q * dilation - padding[1]];
              if (at.some((v, d) => v < 0 || v >= size[d])) return s;
              return s + x[flat([b, group * cin + c, ...at], xs)] * w[flat([o, c, p, q], ws)];
            }, 0);
          });
          closeTo(host(out), wanted);
        }),
      ),
      50,
    );
  });
  test('maxPool2d and avgPool2d agree with plain loops', () => {
    check(
      fc.property(small, ({ n, cin, size, kernel, stride, padding, dilation }) =>
        scope(() => {
          const around = padding.map((p, d) => Math.min(p, Math.floor(kernel[d] / 2)));
          if (kernel.some((k, d) => size[d] + 2 * around[d] < dilation * (k - 1) + 1)) return;
          const xs = [n, cin, ...size];
          const x = values(xs);
          const taps = (b: number, c: number, i: number, j: number, step: number): number[] =>
            indices(kernel).flatMap(([p, q]) => {
              const at = [i * stride[0] + p * step - around[0], j * stride[1] + q * step - around[1]];
              return at.some((v, d) => v < 0 || v >= size[d]) ? [] : [x[flat([b, c, ...at], xs)]];
            });
          const pooled = maxPool2d(real(xs), kernel, { stride, padding: around, dilation });
          expect(host(pooled)).toEqual(indices(pooled.shape).map(([b, c, i, j]) => Math.max(...taps(b, c, i, j, dilation))));
          const mean = avgPool2d(real(xs), kernel, { stride, padding: around, countIncludePad: true });
          closeTo(
            host(mean),
            indices(mean.shape).map(([b, c, i, j]) => taps(b, c, i, j, 1).reduce((s, v) => s + v, 0) / (kernel[0] * kernel[1])),
          );
        }),
      ),
      50,
    );
  });
});

describe('order', () => {
  const keys = fc.array(fc.oneof(fc.integer({ min: -5, max: 5 }), fc.constantFrom(NaN, Infinity, -Infinity)), { maxLength: 70 });
  test('sort is stable and puts NaN last', () => {
    check(
      fc.property(keys, fc.boolean(), (x, descending) =>
        scope(() => {
          const rank = (v: number): number => (Number.isNaN(v) ? 1 : 0);
          const order = x
            .map((_, i) => i)
            .sort((p, q) => {
              const [a, b] = descending ? [x[q], x[p]] : [x[p], x[q]];
              return rank(a) - rank(b) || (a < b ? -1 : a > b ? 1 : 0) || p - q;
            });
          const { values: sorted, indices: at } = sort(createFromArray(x, 'float32', [x.length]), 0, { descending });
          expect(host(at)).toEqual(order);
          expect(host(sorted)).toEqual(order.map((i) => x[i]));
        }),
      ),
    );
  });
  test('rows of thousands sort along any axis', () => {
    scope(() => {
      const [rows, n] = [3, 5000];
      const x = Array.from({ length: rows * n }, (_, i) => Math.fround(Math.sin(i * 12.9898) * 43758.5453) % 1 || 0.25);
      const { values: sorted } = sort(createFromArray(x, 'float32', [rows, n]), 1);
      const wanted = Array.from({ length: rows }, (_, r) => Float32Array.from(x.slice(r * n, (r + 1) * n)).sort());
      expect(host(sorted)).toEqual(wanted.flatMap((row) => [...row]));
      const columns = sort(permute(createFromArray(x, 'float32', [rows, n]), [1, 0]), 0).values;
      expect(host(permute(columns, [1, 0]))).toEqual(wanted.flatMap((row) => [...row]));
    });
  });
  test('searchsorted finds the place in any row', () => {
    check(
      fc.property(
        fc.array(fc.integer({ min: -9, max: 9 }), { maxLength: 20 }),
        fc.array(fc.integer({ min: -10, max: 10 }), { maxLength: 8 }),
        fc.boolean(),
        (list, wanted, right) =>
          scope(() => {
            const sorted = [...list].sort((a, b) => a - b);
            const found = searchsorted(
              createFromArray(sorted, 'int32', [sorted.length]),
              createFromArray(wanted, 'int32', [wanted.length]),
              { right },
            );
            expect(host(found)).toEqual(wanted.map((v) => sorted.filter((s) => (right ? s <= v : s < v)).length));
          }),
      ),
    );
  });
  test('unique gives back the input by its inverse', () => {
    check(
      fc.property(fc.array(fc.integer({ min: -4, max: 4 }), { maxLength: 30 }), (x) => {
        const { values: different, inverse, counts } = unique(createFromArray(x, 'int64', [x.length]));
        const list = host(different);
        expect(host(inverse).map((i) => list[i])).toEqual(x);
        expect(host(counts)).toEqual(list.map((v) => x.filter((w) => w === v).length));
      }),
    );
  });
});

describe('indices', () => {
  test('outside an axis are clamped when read and skipped when written', () => {
    scope(() => {
      const x = createFromArray([1, 2, 3], 'float32', [3]);
      const index = createFromArray([5, -1, -9, 2 ** 31 - 1, 1], 'int32', [5]);
      const huge = createFromArray([2n ** 40n, -(2n ** 40n), 1n], 'int64', [3]);
      expect(host(indexSelect(x, 0, index))).toEqual([3, 3, 1, 3, 2]);
      expect(host(gather(x, 0, huge))).toEqual([3, 1, 2]);
      expect(host(scatterAdd(x, 0, index, 10))).toEqual([1, 12, 13]);
      expect(host(indexAdd(x, 0, huge, createFromArray([10, 20, 30], 'float32', [3])))).toEqual([1, 32, 3]);
    });
  });
  test('many additions to few places come out whole, however they are shared out', () => {
    scope(() => {
      const n = 40_000;
      const at = Array.from({ length: n }, (_, i) => (i * 7919) % 13);
      const wanted = Array.from({ length: 13 }, (_, p) => at.filter((v) => v === p).length);
      const index = createFromArray(at, 'int32', [n]);
      const zeros = createFromArray(new Array<number>(13).fill(0), 'int32', [13]);
      expect(host(scatterAdd(zeros, 0, index, 1))).toEqual(wanted);
      const rows = createFromArray(new Array<number>(13 * 3).fill(0), 'float32', [13, 3]);
      const ones = createFromArray(new Array<number>(n * 3).fill(1), 'float32', [n, 3]);
      expect(host(indexAdd(rows, 0, index, ones))).toEqual(wanted.flatMap((c) => [c, c, c]));
    });
  });
});

describe('joining', () => {
  test('concat puts any parts one behind the other', () => {
    check(
      fc.property(fc.array(extent, { minLength: 1, maxLength: 4 }), fc.tuple(extent, extent), fc.nat(2), (lengths, others, axis) =>
        scope(() => {
          const shapes = lengths.map((n) => [...others].toSpliced(axis, 0, n));
          const out = concat(
            shapes.map((s, i) => real(s, i)),
            axis,
          );
          const wanted = indices(out.shape).map((index) => {
            let part = 0;
            let at = index[axis];
            while (at >= lengths[part]) at -= lengths[part++];
            return values(shapes[part], part)[flat(index.with(axis, at), shapes[part])];
          });
          expect(host(out)).toEqual(wanted);
        }),
      ),
    );
  });
  test('cumsum is the sum of what came before, along any axis', () => {
    check(
      fc.property(fc.tuple(extent, extent, extent), fc.nat(2), (shape, axis) =>
        scope(() => {
          const x = values(shape);
          const wanted = indices(shape).map((index) =>
            Array.from({ length: index[axis] + 1 }, (_, i) => x[flat(index.with(axis, i), shape)]).reduce((s, v) => s + v, 0),
          );
          closeTo(host(cumsum(real(shape), axis)), wanted);
        }),
      ),
    );
  });
  test('empty tensors pass through products', () => {
    scope(() => {
      expect([...mul(real([0, 3]), real([3])).shape]).toEqual([0, 3]);
      expect(host(matmul(real([2, 0]), real([0, 2])))).toEqual([0, 0, 0, 0]);
    });
  });
});
