/** Every optimizer takes the steps that PyTorch takes (or the written-out reference, where PyTorch has none). */
import { describe, expect, test } from 'vitest';
import { embedding, jit, mul, nn, optim, scope, square, sum, type Tensor, tensor } from '../../src/index.js';
import { decode, expectNear, lossOf, makeOptimizer, problemOf, sparseCases, type TrajectoryCase, trajectoryCases } from './harness.js';

const tolerances = { float32: 2e-5, float64: 1e-11 };
/** PyTorch counts in float32 tensors here: products of momenta (NAdam), step sizes (ASGD). */
const coarse = ['NAdam', 'ASGD'];
const toleranceOf = (c: TrajectoryCase): number => (coarse.includes(c.op) && c.dtype === 'float64' ? 2e-7 : tolerances[c.dtype]);

function stepOf(c: TrajectoryCase, compiled: boolean): { step: () => number; params: Tensor[]; optimizer: optim.AnyOptimizer } {
  const { params, targets } = problemOf(c);
  const optimizer = makeOptimizer(c.op, params, c.attrs);
  if (optimizer instanceof optim.LBFGS) {
    const body = (): Tensor => {
      optimizer.zeroGrad();
      const loss = lossOf(params, targets);
      loss.backward();
      return loss.detach();
    };
    const closure = compiled ? jit(body) : body;
    return { step: () => scope(() => optimizer.step(closure).item()) as number, params, optimizer };
  }
  const body = (): Tensor => {
    const loss = lossOf(params, targets);
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    return loss.detach();
  };
  const step = compiled ? jit(body) : body;
  return { step: () => scope(() => step().item()) as number, params, optimizer };
}

describe.each(trajectoryCases.map((c) => [`${c.op} ${JSON.stringify(c.attrs)} ${c.dtype}`, c] as const))('%s', (_, c) => {
  test.each([false, true])('takes the steps of the reference (one program a step: %s)', (compiled) => {
    const { step, params, optimizer } = stepOf(c, compiled);
    c.losses.data.forEach((expected, i) => {
      expectNear([step()], [expected], toleranceOf(c));
      c.after[i + 1]?.forEach((e, k) => expectNear(params[k].dataSync(), e.data, toleranceOf(c)));
    });
    optimizer.dispose();
  });
});

// One of each class is enough for the state, with all its options on.
const lastOfEach = [...new Map(trajectoryCases.map((c) => [`${c.op} ${c.dtype}`, c])).values()];
test.each(lastOfEach.map((c) => [c.op, c.dtype, c] as const))('%s %s continues from a saved state bit by bit', (_, __, c) => {
  const whole = stepOf(c, true);
  const first = stepOf(c, true);
  const half = c.op === 'LBFGS' ? 2 : 7;
  for (let i = 0; i < half; i++) {
    whole.step();
    first.step();
  }
  const second = stepOf(c, true);
  second.params.forEach((p, i) => p.detach().copy_(first.params[i].detach()));
  second.optimizer.loadStateDict(first.optimizer.stateDict());
  first.optimizer.dispose();
  for (let i = 0; i < half; i++) expect(second.step()).toBe(whole.step());
  second.params.forEach((p, i) => expect(p.toArray()).toEqual(whole.params[i].toArray()));
  whole.optimizer.dispose();
  second.optimizer.dispose();
});

describe.each(sparseCases.map((c) => [`${c.op} ${JSON.stringify(c.attrs)}`, c] as const))('sparse gradients: %s', (_, c) => {
  test.each([false, true])('change the rows that PyTorch changes (compiled: %s)', (compiled) => {
    const table = nn.parameter(decode(c.args[0][0]));
    const indices = c.args[1].map((e) => decode(e));
    const optimizer = makeOptimizer(c.op, [table], c.attrs);
    const body = (index: Tensor): Tensor => {
      const rows = embedding(index, table, { sparse: true });
      const w = tensor(
        Array.from({ length: rows.numel }, (__, i) => Math.abs((((7 * i + 3) % 11) - 5.5) / 4)),
        { shape: rows.shape },
      );
      const loss = sum(mul(w, square(rows)));
      loss.backward();
      expect(table.grad).toBeNull();
      optimizer.step();
      optimizer.zeroGrad();
      return loss.detach();
    };
    const step = compiled ? jit(body) : body;
    for (let i = 1; i <= 10; i++) {
      scope(() => void step(indices[(i - 1) % 3]));
      c.after[i]?.forEach((e) => expectNear(table.dataSync(), e.data, 1e-5));
    }
    optimizer.dispose();
  });
});
