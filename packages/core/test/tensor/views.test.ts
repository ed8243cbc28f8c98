import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ShapeError } from '../../src/errors.js';
import { arange, tensor, zeros } from '../../src/ops/create.js';
import { scope } from '../../src/tensor/scope.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { counting, indices, type Model, position, settled, size, values } from './model.js';

interface Step {
  readonly kind: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

type Pair = readonly [Tensor, Model];

/** View operations on a tensor and on the model; parameters are taken from a, b and c. */
const operations: readonly ((pair: Pair, step: Step) => Pair | null)[] = [
  function permute([x, m], { a, b }) {
    const axes = m.shape.map((_, i) => i);
    for (let i = axes.length - 1; i > 0; i--) {
      const j = (a * 7 + b * (i + 1)) % (i + 1);
      [axes[i], axes[j]] = [axes[j], axes[i]];
    }
    return [
      x.permute(axes),
      { shape: axes.map((axis) => m.shape[axis]), at: (index) => m.at(m.shape.map((_, axis) => index[axes.indexOf(axis)])) },
    ];
  },
  function transpose([x, m], { a, b }) {
    if (m.shape.length === 0) return null;
    const [p, q] = [a % m.shape.length, b % m.shape.length];
    const swap = (list: readonly number[]) => list.map((_, i) => list[i === p ? q : i === q ? p : i]);
    return [x.transpose(p, q - m.shape.length), { shape: swap(m.shape), at: (index) => m.at(swap(index)) }];
  },
  function slice([x, m], { a, b, c }) {
    if (m.shape.length === 0) return null;
    const axis = a % m.shape.length;
    const extent = m.shape[axis];
    const step = (c % 2 === 0 ? 1 : -1) * (1 + (c % 3));
    const start = b % 3 === 0 ? null : (b % (2 * extent + 3)) - extent - 1;
    const stop = c % 3 === 0 ? null : ((b * 5 + c) % (2 * extent + 3)) - extent - 1;
    const all = Array.from({ length: extent }, (_, i) => i);
    const picked = pythonSlice(all, start, stop, step);
    const slices = m.shape.map((_, i) => (i === axis ? ([start, stop, step] as const) : null));
    return [
      x.slice(slices.slice(0, axis + 1)),
      { shape: m.shape.with(axis, picked.length), at: (index) => m.at(index.with(axis, picked[index[axis]])) },
    ];
  },
  function select([x, m], { a, b }) {
    if (m.shape.length === 0 || size(m.shape) === 0) return null;
    const axis = a % m.shape.length;
    const at = b % m.shape[axis];
    return [
      x.select(axis, b % 2 === 0 ? at : at - m.shape[axis]),
      { shape: m.shape.toSpliced(axis, 1), at: (index) => m.at(index.toSpliced(axis, 0, at)) },
    ];
  },
  function flip([x, m], { a }) {
    if (m.shape.length === 0) return null;
    const axis = a % m.shape.length;
    return [x.flip(axis), { shape: m.shape, at: (index) => m.at(index.with(axis, m.shape[axis] - 1 - index[axis])) }];
  },
  function unsqueeze([x, m], { a }) {
    if (m.shape.length > 4) return null;
    const axis = a % (m.shape.length + 1);
    return [x.unsqueeze(axis), { shape: m.shape.toSpliced(axis, 0, 1), at: (index) => m.at(index.toSpliced(axis, 1)) }];
  },
  function squeeze([x, m]) {
    const kept = m.shape.map((_, axis) => axis).filter((axis) => m.shape[axis] !== 1);
    return [
      x.squeeze(),
      {
        shape: kept.map((axis) => m.shape[axis]),
        at: (index) => m.at(m.shape.map((_, axis) => (kept.includes(axis) ? index[kept.indexOf(axis)] : 0))),
      },
    ];
  },
  function expand([x, m], { a, b }) {
    if (m.shape.length > 3 || size(m.shape) > 200) return null;
    const shape = [1 + (a % 3), ...m.shape.map((extent, axis) => (extent === 1 && axis === b % 3 ? 2 : extent))];
    return [x.expand(shape), { shape, at: (index) => m.at(index.slice(1).map((i, axis) => (m.shape[axis] === 1 ? 0 : i))) }];
  },
  function reshape([x, m], { a, b }) {
    const total = size(m.shape);
    const divisors = Array.from({ length: total }, (_, i) => i + 1).filter((d) => total % d === 0);
    if (total === 0) return null;
    const first = divisors[a % divisors.length];
    const rest = divisors.filter((d) => (total / first) % d === 0);
    const second = rest[b % rest.length];
    const shape = [first, second, total / first / second];
    const list = values(m);
    return [
      b % 2 === 0 ? x.reshape(shape) : x.reshape(first, -1, total / first / second),
      { shape, at: (index) => list[position(index, shape)] },
    ];
  },
  function unfold([x, m], { a, b, c }) {
    if (m.shape.length === 0 || m.shape.length > 4 || size(m.shape) > 200) return null;
    const axis = a % m.shape.length;
    if (m.shape[axis] === 0) return null;
    const length = 1 + (b % m.shape[axis]);
    const step = 1 + (c % 3);
    const windows = Math.floor((m.shape[axis] - length) / step) + 1;
    return [
      x.unfold(axis, length, step),
      {
        shape: [...m.shape.with(axis, windows), length],
        at: (index) => m.at(index.slice(0, -1).with(axis, index[axis] * step + index[index.length - 1])),
      },
    ];
  },
  function diagonal([x, m], { a, b, c }) {
    if (m.shape.length < 2) return null;
    const dim1 = a % m.shape.length;
    const dim2 = (dim1 + 1 + (b % (m.shape.length - 1))) % m.shape.length;
    const offset = (c % 5) - 2;
    const [rows, columns] = [m.shape[dim1], m.shape[dim2]];
    const count = Array.from({ length: rows }, (_, i) => i).filter((i) => i + offset >= 0 && i + offset < columns).length;
    const others = m.shape.map((_, axis) => axis).filter((axis) => axis !== dim1 && axis !== dim2);
    return [
      x.diagonal({ offset, dim1, dim2 }),
      {
        shape: [...others.map((axis) => m.shape[axis]), count],
        at: (index) => {
          const i = index[index.length - 1];
          const row = offset >= 0 ? i : i - offset;
          return m.at(m.shape.map((_, axis) => (axis === dim1 ? row : axis === dim2 ? row + offset : index[others.indexOf(axis)])));
        },
      },
    ];
  },
  function movedim([x, m], { a, b }) {
    if (m.shape.length === 0) return null;
    const [from, to] = [a % m.shape.length, b % m.shape.length];
    const order = m.shape.map((_, i) => i).filter((i) => i !== from);
    order.splice(to, 0, from);
    return [
      x.movedim(from, to),
      { shape: order.map((axis) => m.shape[axis]), at: (index) => m.at(m.shape.map((_, axis) => index[order.indexOf(axis)])) },
    ];
  },
  function asStrided([x, m], { a, b }) {
    const total = size(m.shape);
    if (total < 4 || total > 300) return null;
    const list = values(m);
    const [rows, columns] = [1 + (a % 2), 1 + (b % 2)];
    return [x.asStrided([rows, columns], [1, 2], 0), { shape: [rows, columns], at: ([i, j]) => list[i + 2 * j] }];
  },
];

function pythonSlice(list: readonly number[], start: number | null, stop: number | null, step: number): number[] {
  const n = list.length;
  const clip = (i: number) => (i < 0 ? Math.max(i + n, step > 0 ? 0 : -1) : Math.min(i, step > 0 ? n : n - 1));
  const out: number[] = [];
  const first = start === null ? (step > 0 ? 0 : n - 1) : clip(start);
  const last = stop === null ? (step > 0 ? n : -1) : clip(stop);
  for (let i = first; step > 0 ? i < last : i > last; i += step) out.push(list[i]);
  return out;
}

const shapes = fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 4 });
const steps = fc.array(fc.record({ kind: fc.nat(1000), a: fc.nat(1000), b: fc.nat(1000), c: fc.nat(1000) }), {
  minLength: 1,
  maxLength: 5,
});

function runChain(x: Tensor, chain: readonly Step[]): Pair {
  let pair: Pair = [x, counting(x.shape)];
  for (const step of chain) {
    const next = operations[step.kind % operations.length](pair, step);
    if (next !== null) pair = [next[0], settled(next[1])];
  }
  return pair;
}

describe('view operations', () => {
  test('any chain of them reads the elements that a naive model reads', () => {
    fc.assert(
      fc.property(shapes, steps, (shape, chain) =>
        scope(() => {
          const x = arange(size(shape), { dtype: 'float64' }).reshape(shape);
          const [y, model] = runChain(x, chain);
          expect(y.shape).toEqual(model.shape);
          expect(Array.from(y.dataSync())).toEqual(values(model));
        }),
      ),
      { numRuns: 300 },
    );
  });

  test('each element of the gradient is the sum over the places the element went to', () => {
    fc.assert(
      fc.property(shapes, steps, (shape, chain) =>
        scope(() => {
          const x = arange(size(shape), { dtype: 'float64' }).reshape(shape).detach().requiresGrad_();
          const [y, model] = runChain(x, chain);
          const weights = indices(model.shape).map((_, i) => ((7 * i + 3) % 11) - 5.5);
          const expected = new Array<number>(size(shape)).fill(0);
          values(model).forEach((source, i) => {
            expected[source] += weights[i];
          });
          if (y.numel === 0 || !y.requiresGrad) return;
          y.backward(tensor(weights, { dtype: 'float64', shape: y.shape }));
          expect(Array.from(x.grad?.dataSync() ?? [])).toEqual(expected);
        }),
      ),
      { numRuns: 150 },
    );
  });

  test('share memory with what they view', () => {
    const x = zeros([2, 3]);
    x.t().select(0, 1).fill_(5);
    expect(x.toArray()).toEqual([
      [0, 5, 0],
      [0, 5, 0],
    ]);
    expect(x.reshape(3, 2).storage).toBe(x.storage);
    expect(x.t().reshape(6).storage).not.toBe(x.storage);
    expect(() => x.t().view(6)).toThrow(ShapeError);
  });

  test('split, chunk and unbind give consecutive parts', () => {
    const x = arange(7);
    expect(x.split(3).map((part) => part.toArray())).toEqual([[0, 1, 2], [3, 4, 5], [6]]);
    expect(x.split([1, 4, 2]).map((part) => part.toArray())).toEqual([[0], [1, 2, 3, 4], [5, 6]]);
    expect(x.chunk(3).map((part) => part.shape[0])).toEqual([3, 3, 1]);
    expect(
      arange(4)
        .reshape(2, 2)
        .unbind(1)
        .map((part) => part.toArray()),
    ).toEqual([
      [0, 2],
      [1, 3],
    ]);
    expect(() => x.split([3, 3])).toThrow(/sum 7/);
  });

  test('unflatten and flatten are inverse', () => {
    const x = arange(24).reshape(2, 12);
    expect(x.unflatten(1, [3, -1]).shape).toEqual([2, 3, 4]);
    expect(x.unflatten(1, [3, 4]).flatten(1).toArray()).toEqual(x.toArray());
    expect(tensor(3).flatten().shape).toEqual([1]);
  });

  test('errors name shapes, values and the rule', () => {
    const x = zeros([2, 3]);
    expect(() => x.reshape(4, 2)).toThrow('reshape: [2, 3] (6 elements) does not reshape to [4, 2]');
    expect(() => x.reshape(-1, -1)).toThrow(/at most one of them -1/);
    expect(() => x.reshape(-1, 4)).toThrow(ShapeError);
    expect(() => x.permute(0, 0)).toThrow(/each axis once/);
    expect(() => x.expand(2, 4)).toThrow('shape [2, 3] does not expand to [2, 4]');
    expect(() => x.select(0, 2)).toThrow('index 2 does not exist on an axis of 2 elements');
    expect(() => x.select(2, 0)).toThrow(/axis 2 does not exist/);
    expect(() => x.narrow(1, 2, 2)).toThrow(ShapeError);
    expect(() => x.unfold(1, 4, 1)).toThrow(ShapeError);
    expect(() => x.asStrided([2, 2], [3, 3], 1)).toThrow(ShapeError);
    expect(() => zeros([2, 2, 2]).t()).toThrow(/permute/);
  });
});
