import { describe, expect, test } from 'vitest';
import { add, type DType, jit, mul, nn, optim, pow, scope, square, sub, sum, type Tensor, tensor } from '../../src/index.js';
import reference from '../reference/optimizer.json' with { type: 'json' };

interface Encoded {
  readonly dtype: string;
  readonly shape: number[];
  readonly data: number[];
}
interface Case {
  readonly op: string;
  readonly attrs: { readonly lr: number };
  readonly args: readonly [readonly Encoded[], readonly Encoded[]];
  readonly losses: Encoded;
  readonly after: Readonly<Record<string, readonly Encoded[]>>;
}
const cases = reference.cases as unknown as readonly Case[];
const decode = (e: Encoded): Tensor => tensor(Float32Array.from(e.data), { shape: e.shape, dtype: e.dtype as DType });

function makeOptimizer(op: string, params: Tensor[], attrs: { readonly lr: number }): optim.SGD | optim.Adam {
  switch (op) {
    case 'SGD':
      return new optim.SGD(params, attrs);
    case 'Adam':
      return new optim.Adam(params, attrs);
    case 'AdamW':
      return new optim.AdamW(params, attrs);
    default:
      throw new Error(`no optimizer ${op}`);
  }
}

/** The loss of the reference: sum over the parameters of sum(|w| * (p - target)^2) + sum(p^4) / 4. */
function lossOf(params: readonly Tensor[], targets: readonly Tensor[]): Tensor {
  return params
    .map((p, k) => {
      const n = p.numel;
      const w = tensor(
        Float32Array.from({ length: n }, (_, i) => Math.abs((((7 * i + 3) % 11) - 5.5) / 4)),
        { shape: p.shape },
      );
      return add(sum(mul(w, square(sub(p, targets[k])))), mul(sum(pow(p, 4)), 0.25));
    })
    .reduce((a, b) => add(a, b));
}

function expectNear(actual: ArrayLike<number>, expected: readonly number[], tolerance: number): void {
  expected.forEach((e, i) => expect(Math.abs(actual[i] - e)).toBeLessThanOrEqual(tolerance * (1 + Math.abs(e))));
}

describe.each(cases.map((c) => [`${c.op} ${JSON.stringify(c.attrs)}`, c] as const))('%s', (_, c) => {
  test.each([false, true])('follows PyTorch for 20 steps (one program a step: %s)', (compiled) => {
    const params = c.args[0].map((e) => nn.parameter(decode(e)));
    const targets = c.args[1].map(decode);
    const optimizer = makeOptimizer(c.op, params, c.attrs);
    const body = (): Tensor => {
      const loss = lossOf(params, targets);
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
      return loss.detach();
    };
    const step = compiled ? jit(body) : body;
    for (let i = 1; i <= 20; i++) {
      const loss = scope(() => step().item()) as number;
      expectNear([loss], [c.losses.data[i - 1]], 2e-5);
      c.after[i]?.forEach((e, k) => expectNear(params[k].dataSync() as Float32Array, e.data, 2e-5));
    }
    optimizer.dispose();
  });
});

test('a state continues where it was', () => {
  const make = (): { p: Tensor; adam: optim.Adam; step: () => void } => {
    const p = nn.parameter(tensor([1, -2, 3]));
    const adam = new optim.Adam([p], { lr: 0.1 });
    const step = (): void => {
      sum(square(p)).backward();
      adam.step();
      adam.zeroGrad();
    };
    return { p, adam, step };
  };
  const a = make();
  for (let i = 0; i < 3; i++) a.step();
  const b = make();
  b.p.detach().copy_(a.p.detach());
  b.adam.loadStateDict(a.adam.stateDict());
  for (let i = 0; i < 3; i++) {
    a.step();
    b.step();
  }
  expect(Array.from(b.p.dataSync())).toEqual(Array.from(a.p.dataSync()));
});

test('parameter groups have options of their own', () => {
  const [p, q] = [nn.parameter(tensor([1])), nn.parameter(tensor([1]))];
  const sgd = new optim.SGD([{ params: [p] }, { params: [q], lr: 0.5 }], { lr: 0.1 });
  add(sum(p), sum(q)).backward();
  sgd.step();
  expect(p.item()).toBeCloseTo(0.9, 6);
  expect(q.item()).toBeCloseTo(0.5, 6);
});

test('parameters without a gradient stay, and wrong parameters are refused', () => {
  const [p, q] = [nn.parameter(tensor([1])), nn.parameter(tensor([1]))];
  const adam = new optim.Adam([p, q], { lr: 0.1 });
  sum(p).backward();
  adam.step();
  expect(q.item()).toBe(1);
  expect(p.item()).toBeLessThan(1);
  expect(() => new optim.Adam([], { lr: 1 })).toThrow(/no parameters/);
  expect(() => new optim.Adam([p, p], { lr: 1 })).toThrow(/twice/);
  expect(() => new optim.SGD([tensor([1])], { lr: 1 })).toThrow(/gradients/);
  expect(() => new optim.SGD([p], { lr: 1, nesterov: true })).toThrow(/nesterov/);
});
