import { describe, expect, test } from 'vitest';
import {
  AutogradError,
  add,
  cond,
  grad,
  jit,
  lt,
  manualSeed,
  matmul,
  mul,
  ones,
  rand,
  randn,
  ShapeError,
  scan,
  sub,
  sum,
  type Tensor,
  tanh,
  tensor,
  whileLoop,
  zeros,
} from '../../src/index.js';

const numbers = (t: Tensor): number[] => Array.from(t.dataSync() as Float32Array);
function expectSame(a: readonly Tensor[], b: readonly Tensor[]): void {
  expect(a.length).toBe(b.length);
  a.forEach((t, i) => {
    expect(t.shape).toEqual(b[i].shape);
    const other = numbers(b[i]);
    numbers(t).forEach((v, k) => expect(v).toBeCloseTo(other[k], 4));
  });
}

describe('cond', () => {
  const x = tensor([1, 2, 3], { requiresGrad: true });
  const w = tensor([4, 5, 6], { requiresGrad: true });
  const f = (p: Tensor): Tensor[] => {
    const [y] = cond(
      p,
      (a) => [sum(mul(a, w))],
      (a) => [sum(mul(mul(a, a), w))],
      [x],
    );
    return [y.detach(), ...grad(y, [x, w])];
  };
  test('takes one branch, with gradients of inputs and of what it captured, compiled as eager', () => {
    const jitted = jit(f);
    for (const value of [true, false]) {
      const p = tensor(value);
      expectSame(jitted(p), f(p));
    }
    expect(numbers(f(tensor(true))[1])).toEqual([4, 5, 6]);
    expect(numbers(f(tensor(false))[1])).toEqual([8, 20, 36]);
  });
  test('branches that disagree are refused', () => {
    const g = jit((p: Tensor, a: Tensor) =>
      cond(
        p,
        (t) => [t],
        (t) => [sum(t)],
        [a],
      ),
    );
    expect(() => g(tensor(true), tensor([1, 2]))).toThrow(ShapeError);
  });
  test('state changed in one branch changes only when that branch runs', () => {
    const count = zeros([]);
    const g = jit((p: Tensor) =>
      cond(
        p,
        () => {
          count.add_(1);
          return [add(count, 0)];
        },
        () => [add(count, 100)],
      ),
    );
    expect(numbers(g(tensor(true))[0])).toEqual([1]);
    expect(numbers(g(tensor(false))[0])).toEqual([101]);
    expect(numbers(g(tensor(true))[0])).toEqual([2]);
    expect(count.item()).toBe(2);
  });
});

describe('whileLoop', () => {
  const powers = (n: Tensor): Tensor[] =>
    whileLoop(
      (i) => lt(i, n),
      (i, s) => [add(i, 1), mul(s, 1.5)],
      [tensor(0, { dtype: 'int32' }), tensor(1)],
    );
  test('repeats a number of times that only the data know', () => {
    const jitted = jit(powers);
    for (const n of [0, 1, 7, 20]) {
      const limit = tensor(n, { dtype: 'int32' });
      expectSame(jitted(limit), powers(limit));
      expect(numbers(jitted(limit)[1])[0]).toBeCloseTo(1.5 ** n, 1);
    }
  });
  test('has a gradient when the number of rounds is bounded, and says so when it is not', () => {
    const x = tensor(1.1, { requiresGrad: true });
    const f = (bound?: number): Tensor => {
      const [y] = whileLoop(
        (s) => lt(s, 10),
        (s) => [mul(s, x)],
        [mul(x, 1)],
        bound === undefined ? {} : { maxIterations: bound },
      );
      return grad(y, x);
    };
    const expected = f(40).item() as number;
    expect(jit(() => f(40))().item()).toBeCloseTo(expected, 2);
    expect(() => jit(() => f())()).toThrow(AutogradError);
  });
});

describe('scan', () => {
  manualSeed(7);
  const w = randn([4, 4]).requiresGrad_();
  const xs = randn([5, 3, 4]).requiresGrad_();
  const h0 = randn([3, 4]).requiresGrad_();
  const rnn = (reverse: boolean): Tensor[] => {
    const half = mul(w, 0.5);
    const { carry, outputs } = scan(
      ([h], [x]) => {
        const next = tanh(add(matmul(h, half), x));
        return [[next], [mul(next, next), sum(next)]];
      },
      [h0],
      [xs],
      { reverse },
    );
    const loss = add(add(sum(carry[0]), mul(sum(outputs[0]), 0.3)), sum(outputs[1]));
    return [loss.detach(), outputs[0].detach(), ...grad(loss, [w, xs, h0])];
  };
  test('is one loop in a program and gives what the unrolled loop gives, gradients included', () => {
    for (const reverse of [false, true]) {
      const jitted = jit(() => rnn(reverse));
      expectSame(jitted(), rnn(reverse));
      expect(jitted.programs[0].steps.some((s) => s.kind === 'repeat')).toBe(true);
    }
  });
  test('runs for a given length without inputs, also 0', () => {
    for (const length of [0, 1, 6]) {
      const f = (): Tensor[] => {
        const r = scan(([i]) => [[add(i, 2)], [i]], [tensor(1)], [], { length });
        return [...r.carry, ...r.outputs];
      };
      expectSame(jit(f)(), f());
      expect(f()[1].shape).toEqual([length]);
    }
  });
  test('random numbers inside advance with every step', () => {
    const f = (): Tensor => scan(() => [[], [rand([2])]], [], [], { length: 3 }).outputs[0];
    manualSeed(11);
    const eager = numbers(f());
    manualSeed(11);
    expect(numbers(jit(f)())).toEqual(eager);
    expect(new Set(eager).size).toBe(6);
  });
  test('loops nest', () => {
    const f = (x: Tensor): Tensor =>
      scan(
        ([s], [row]) => {
          const inner = scan(([t], [v]) => [[add(t, mul(v, v))], [sub(t, v)]], [s], [row]);
          return [[inner.carry[0]], [inner.outputs[0]]];
        },
        [tensor(0)],
        [x],
      ).outputs[0];
    const x = randn([3, 4]);
    expectSame([jit(f)(x)], [f(x)]);
  });
  test('outputs may be parts of a larger or smaller value', () => {
    const f = (x: Tensor): Tensor[] => {
      const { carry, outputs } = scan(
        ([s], [row]) => {
          const wide = mul(row, s);
          return [[wide.narrow(0, 3, 1)], [wide.narrow(0, 1, 2), wide.narrow(0, 0, 1).expand([3])]];
        },
        [ones([1])],
        [x],
      );
      return [...carry, ...outputs];
    };
    const x = randn([3, 4]);
    expectSame(jit(f)(x), f(x));
  });
  test('a carry that changes its shape is refused', () => {
    expect(() => scan(([s]) => [[add(s, zeros([2]))], []], [tensor(1)], [], { length: 2 })).toThrow(ShapeError);
  });
});
