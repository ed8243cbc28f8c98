import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkGrads } from '../../src/autograd/check.js';
import { noGrad } from '../../src/autograd/mode.js';
import { ArgumentError, AutogradError, DTypeError, ShapeError } from '../../src/errors.js';
import { arange, tensor, zeros } from '../../src/ops/create.js';
import { type IndexItem, range } from '../../src/ops/indexing.js';
import { scope } from '../../src/tensor/scope.js';
import { indices, position, size } from './model.js';

/** One index in the naive model: what it does to one axis (or, for null, between axes). */
type Item =
  | { readonly kind: 'number'; readonly at: number }
  | { readonly kind: 'all' }
  | { readonly kind: 'new' }
  | { readonly kind: 'list'; readonly at: readonly number[] };

/** PyTorch's rule, element by element. Returns the shape and, for each element, its index in the source. */
function naive(shape: readonly number[], items: readonly Item[]): { shape: number[]; sources: number[][] } {
  // Numbers first: they drop their axis. Then lists meet the axes that are left.
  type Axis = { source: number | null; list: readonly number[] | null; extent: number };
  const axes: Axis[] = [];
  const fixed = new Map<number, number>();
  let source = 0;
  for (const item of items) {
    if (item.kind === 'new') axes.push({ source: null, list: null, extent: 1 });
    else if (item.kind === 'number') fixed.set(source, (item.at + shape[source]) % shape[source++]);
    else axes.push({ source, list: item.kind === 'list' ? item.at : null, extent: shape[source++] });
  }
  for (; source < shape.length; source++) axes.push({ source, list: null, extent: shape[source] });
  const lists = axes.map((axis, i) => ({ axis, i })).filter(({ axis }) => axis.list !== null);
  const count = lists.length === 0 ? null : Math.max(...lists.map(({ axis }) => axis.list?.length ?? 0));
  const adjacent = lists.every(({ i }, k) => k === 0 || i === lists[k - 1].i + 1);
  const place = lists.length === 0 ? 0 : adjacent ? lists[0].i : 0;
  const kept = axes.filter((axis) => axis.list === null);
  const resultShape = kept.map((axis) => axis.extent);
  if (count !== null) resultShape.splice(place, 0, count);
  const sources = indices(resultShape).map((index) => {
    const rest = count === null ? index : index.toSpliced(place, 1);
    const k = count === null ? 0 : index[place];
    const result = shape.map((_, axis) => fixed.get(axis) ?? 0);
    let next = 0;
    for (const axis of axes) {
      const i = axis.list === null ? rest[next++] : axis.list[axis.list.length === 1 ? 0 : k];
      if (axis.source !== null) result[axis.source] = (i + axis.extent) % axis.extent;
    }
    return result;
  });
  return { shape: resultShape, sources };
}

const cases = fc
  .array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 })
  .chain((shape) =>
    fc.record({
      shape: fc.constant(shape),
      count: fc.integer({ min: 1, max: 3 }),
      picks: fc.array(fc.record({ kind: fc.constantFrom('number', 'all', 'list', 'new'), seed: fc.nat(1000) }), {
        minLength: 1,
        maxLength: 5,
      }),
    }),
  )
  .map(({ shape, count, picks }) => {
    const items: Item[] = [];
    let axis = 0;
    for (const { kind, seed } of picks) {
      if (kind === 'new') {
        items.push({ kind: 'new' });
        continue;
      }
      if (axis === shape.length) continue;
      const extent = shape[axis++];
      if (kind === 'number') items.push({ kind, at: (seed % (2 * extent)) - extent });
      else if (kind === 'all') items.push({ kind });
      else {
        const length = seed % 5 === 0 ? 1 : count;
        items.push({ kind: 'list', at: Array.from({ length }, (_, i) => ((seed + i * 7) % (2 * extent)) - extent) });
      }
    }
    return { shape, items };
  });

function toIndex(items: readonly Item[], asTensor: boolean): IndexItem[] {
  return items.map((item) => {
    if (item.kind === 'new') return null;
    if (item.kind === 'all') return ':';
    if (item.kind === 'number') return item.at;
    return asTensor ? tensor(item.at, { dtype: 'int32' }) : item.at;
  });
}

describe('index', () => {
  test('numbers, ranges, new axes and lists in any mixture agree with a naive model', () => {
    fc.assert(
      fc.property(cases, fc.boolean(), ({ shape, items }, asTensor) =>
        scope(() => {
          const x = arange(size(shape), { dtype: 'float64' }).reshape(shape);
          const expected = naive(shape, items);
          const y = x.index(...toIndex(items, asTensor));
          expect(y.shape).toEqual(expected.shape);
          expect(Array.from(y.dataSync())).toEqual(expected.sources.map((source) => position(source, shape)));
        }),
      ),
      { numRuns: 300 },
    );
  });

  test('the gradient arrives where the elements came from', () => {
    fc.assert(
      fc.property(cases, ({ shape, items }) =>
        scope(() => {
          const x = zeros(shape, { dtype: 'float64', requiresGrad: true });
          const { sources, shape: resultShape } = naive(shape, items);
          const weights = sources.map((_, i) => i + 1);
          x.index(...toIndex(items, true)).backward(tensor(weights, { dtype: 'float64', shape: resultShape }));
          const expected = new Array<number>(size(shape)).fill(0);
          sources.forEach((source, i) => {
            expected[position(source, shape)] += weights[i];
          });
          expect(Array.from(x.grad?.dataSync() ?? [])).toEqual(expected);
        }),
      ),
      { numRuns: 100 },
    );
  });

  test('assignment writes exactly the indexed elements', () => {
    fc.assert(
      fc.property(cases, fc.boolean(), ({ shape, items }, accumulate) =>
        scope(() => {
          const { sources, shape: resultShape } = naive(shape, items);
          const values = sources.map((_, i) => i + 100);
          const expected = Array.from({ length: size(shape) }, (_, i) => i);
          sources.forEach((source, i) => {
            const at = position(source, shape);
            expected[at] = accumulate ? expected[at] + values[i] : values[i];
          });
          const x = arange(size(shape), { dtype: 'float64' }).reshape(shape);
          const value = tensor(values, { dtype: 'float64', shape: resultShape });
          const index = toIndex(items, true);
          expect(Array.from(x.indexPut(index, value, { accumulate }).dataSync())).toEqual(expected);
          expect(Array.from(x.dataSync())[size(shape) - 1]).toBe(size(shape) - 1);
          if (!accumulate) expect(Array.from(x.set(index, value).dataSync())).toEqual(expected);
        }),
      ),
      { numRuns: 200 },
    );
  });

  test("text slices mean what they mean in Python, and '...' fills up", () => {
    const x = arange(24).reshape(2, 3, 4);
    expect(x.index(0, '1:', '::2').toArray()).toEqual([
      [4, 6],
      [8, 10],
    ]);
    expect(x.index('...', -1).toArray()).toEqual([
      [3, 7, 11],
      [15, 19, 23],
    ]);
    expect(x.index('::-1', '...', range(null, 2)).toArray()).toEqual(x.index([1, 0], ':', '0:2').toArray());
    expect(x.index(1, '...', null).shape).toEqual([3, 4, 1]);
    expect(x.index(0).storage).toBe(x.storage);
  });

  test('masks pick elements, rows, and positions for assignment', () => {
    const x = tensor([
      [1, -2],
      [-3, 4],
    ]);
    expect(x.index(x.gt(0)).toArray()).toEqual([1, 4]);
    expect(x.index(tensor([false, true])).toArray()).toEqual([[-3, 4]]);
    expect(x.index(':', tensor([true, false])).toArray()).toEqual([[1], [-3]]);
    x.set(x.lt(0), 0);
    expect(x.toArray()).toEqual([
      [1, 0],
      [0, 4],
    ]);
    x.set([tensor([true, false])], tensor([[7, 8]]));
    expect(x.toArray()).toEqual([
      [7, 8],
      [0, 4],
    ]);
  });

  test('index tensors of several dimensions broadcast', () => {
    const x = arange(12).reshape(3, 4);
    const rows = tensor([[0], [2]], { dtype: 'int64' });
    const columns = tensor([1, 3, -1], { dtype: 'int64' });
    expect(x.index(rows, columns).toArray()).toEqual([
      [1, 3, 3],
      [9, 11, 11],
    ]);
  });

  test('positions beyond the axis: an error where the host knows them, the nearest end in tensors', () => {
    const x = arange(3);
    expect(() => x.index(3)).toThrow(ArgumentError);
    expect(() => x.index([0, 3])).toThrow('index 3 does not exist on an axis of 3 elements');
    expect(x.index(tensor([5, -9], { dtype: 'int64' })).toArray()).toEqual([2, 0]);
  });

  test('what cannot be an index is refused with the reason', () => {
    const x = zeros([2, 3]);
    expect(() => x.index(0, 0, 0)).toThrow(ShapeError);
    expect(() => x.index('...', '...')).toThrow(ShapeError);
    expect(() => x.index(tensor([0.5]))).toThrow(DTypeError);
    expect(() => x.index(tensor([true, false, true]))).toThrow(/a mask of shape \[3\] for axes of extents \[2\]/);
    expect(() => x.index('1:2:3:4')).toThrow(ArgumentError);
    expect(() => x.index('a:')).toThrow(ArgumentError);
    expect(() => x.index('::0')).toThrow(ArgumentError);
  });

  test('gradients of indexing and of replacing pass numeric checks to second order', () => {
    const x = tensor(
      [
        [0.3, -0.7, 1.1],
        [0.9, 0.2, -0.4],
      ],
      { dtype: 'float64' },
    );
    const v = tensor([0.5, -1.5], { dtype: 'float64' });
    const rows = tensor([1, 0, 1], { dtype: 'int64' });
    checkGrads((a) => a.mul(a).index(rows, '::-1'), x, { order: 2 });
    checkGrads((a, b) => a.mul(a).indexPut([':', 1], b.exp()), [x, v], { order: 2 });
    checkGrads((a, b) => a.mul(a).indexPut([tensor([1, 0], { dtype: 'int64' }), [0, 2]], b.exp()), [x, v], { order: 2 });
    checkGrads((a, b) => a.mul(a).indexPut([0, '0:2'], b.exp(), { accumulate: true }), [x, v], { order: 2 });
  });
});

describe('set while gradients are recorded', () => {
  test('a buffer filled with results carries their gradients', () => {
    const a = tensor([1, 2], { requiresGrad: true });
    const out = zeros([2, 2]);
    out.set([0], a.mul(3));
    out.set([1, 1], a.index(0).mul(5));
    out.sum().backward();
    expect(out.toArray()).toEqual([
      [3, 6],
      [0, 5],
    ]);
    expect(a.grad?.toArray()).toEqual([8, 3]);
  });

  test('what is overwritten gets no gradient', () => {
    const a = tensor([1, 2, 3], { requiresGrad: true });
    const y = a.add(0);
    y.set([1], 10);
    y.sum().backward();
    expect(a.grad?.toArray()).toEqual([1, 0, 1]);
  });

  test('leaves, views and shared memory are refused; noGrad allows them', () => {
    const a = tensor([1, 2, 3], { requiresGrad: true });
    expect(() => a.set([0], 5)).toThrow(AutogradError);
    const base = zeros([3]);
    const view = base.index('0:2');
    expect(() => view.set([0], a.index(0))).toThrow(/indexPut/);
    expect(() => base.set([0], a.index(0))).toThrow(AutogradError);
    view.dispose();
    base.set([0], a.index(0));
    expect(base.requiresGrad).toBe(true);
    noGrad(() => a.set([0], 5));
    expect(a.toArray()).toEqual([5, 2, 3]);
  });
});
