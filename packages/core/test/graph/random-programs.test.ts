import fc from 'fast-check';
import { expect, test } from 'vitest';
import { jit, manualSeed, noGrad, randn, scope, type Tensor } from '../../src/index.js';

/** One step of a random program: makes a tensor from earlier ones. Picks are taken modulo what there is. */
interface Choice {
  readonly op: number;
  readonly a: number;
  readonly b: number;
  readonly axis: number;
}

const operations: readonly ((x: Tensor, y: Tensor, axis: number) => Tensor)[] = [
  (x) => x.tanh(),
  (x) => x.mul(0.5).add(1),
  (x) => x.square().neg(),
  (x) => x.sigmoid(),
  (x, y) => fit(x, y, (a, b) => a.add(b)),
  (x, y) => fit(x, y, (a, b) => a.mul(b)),
  (x, y) => fit(x, y, (a, b) => a.maximum(b)),
  (x, _, axis) => x.sum(axis, true).mul(0.25),
  (x, _, axis) => x.mean(axis),
  (x, _, axis) => x.amax(axis, true),
  (x, _, axis) => x.sub(x.amax(axis, true)).exp(),
  (x, _, axis) => x.softmax(axis),
  (x) => x.transpose(0, -1),
  (x) => x.transpose(0, -1).contiguous(),
  (x) => x.reshape([-1]),
  (x) => (x.numel % 2 === 0 ? x.reshape([2, -1]) : x.flip(0)),
  (x) => (x.ndim < 4 ? x.unsqueeze(0) : x.squeeze()),
  (x, _, axis) => x.cumsum(axis).mul(0.1),
  (x, _, axis) => x.narrow(axis, 0, Math.max(1, (x.shape.at(axis) ?? 1) - 1)),
  (x, y) => product(x, y),
  (x, _, axis) => x.argmax(axis, true).to('float32').mul(0.01).add(x),
  (x) => x.gt(0).where(x, x.mul(0.1)),
  (x, y) => fit(x, y, (a, b) => a.sub(b).tanh().add(a)),
];

/** Applies a binary operation where the shapes broadcast, else to the first operand alone. */
function fit(x: Tensor, y: Tensor, op: (a: Tensor, b: Tensor) => Tensor): Tensor {
  const rank = Math.min(x.ndim, y.ndim);
  for (let i = 1; i <= rank; i++) {
    const [a, b] = [x.shape[x.ndim - i], y.shape[y.ndim - i]];
    if (a !== b && a !== 1 && b !== 1) return op(x, x.mul(0.5));
  }
  return op(x, y);
}

function product(x: Tensor, y: Tensor): Tensor {
  const a = x.reshape([-1, x.shape.at(-1) ?? 1]);
  const b = y.numel % a.shape[1] === 0 ? y.reshape([a.shape[1], -1]) : a.transpose(0, 1);
  return a.matmul(b).mul(0.1);
}

function program(choices: readonly Choice[]): (x: Tensor, y: Tensor) => Tensor[] {
  return (x, y) => {
    const made = [x, y];
    for (const { op, a, b, axis } of choices) {
      const first = made[made.length - 1 - (a % Math.min(made.length, 4))];
      const second = made[b % made.length];
      if (first.ndim === 0) made.push(first.add(second));
      else made.push(operations[op % operations.length](first, second, axis % first.ndim));
      if (made[made.length - 1].numel > 2000) made[made.length - 1] = made[made.length - 1].sum(0);
    }
    return made.slice(-3);
  };
}

test('random programs give the same compiled and eager', () => {
  const choice = fc.record({ op: fc.nat(1000), a: fc.nat(100), b: fc.nat(100), axis: fc.nat(10) });
  const shape = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(fc.array(choice, { minLength: 1, maxLength: 14 }), shape, shape, (choices, s1, s2) => {
      scope(() =>
        noGrad(() => {
          manualSeed(1);
          const x = randn(s1);
          const y = randn(s2);
          const fn = program(choices);
          const expected = fn(x, y);
          const compiled = jit(fn);
          const actual = compiled(x, y);
          actual.forEach((t, k) => {
            expect(t.shape).toEqual(expected[k].shape);
            const want = expected[k].dataSync();
            t.dataSync().forEach((v, i) => {
              const w = Number(want[i]);
              if (!Object.is(Number(v), w)) expect(Math.abs(Number(v) - w)).toBeLessThanOrEqual(2e-4 * (1 + Math.abs(w)));
            });
          });
          compiled.dispose();
        }),
      );
    }),
    { numRuns: 60, seed: 20 },
  );
}, 120_000);
