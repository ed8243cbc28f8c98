import { describe, expect, test } from 'vitest';
import { ArgumentError, grad, jit, manualSeed, nn, noGrad, optim, randn, ShapeError, square, sum, type Tensor } from '../../src/index.js';
import { scope } from '../../src/tensor/scope.js';

const values = (t: Tensor): number[] => Array.from(t.dataSync(), Number);
/** The largest singular value of a weight read as a matrix [rows, others], by many steps of power iteration. */
function largestSingularValue(weight: Tensor): number {
  const rows = weight.shape[0];
  const data = values(weight);
  const columns = data.length / rows;
  let v = Array.from({ length: columns }, (_, i) => 1 + i / 7);
  let sigma = 0;
  for (let step = 0; step < 500; step++) {
    const u = Array.from({ length: rows }, (_, r) => v.reduce((s, x, c) => s + x * data[r * columns + c], 0));
    const next = v.map((_, c) => u.reduce((s, x, r) => s + x * data[r * columns + c], 0));
    const length = Math.hypot(...next);
    sigma = Math.sqrt(length / Math.hypot(...v));
    v = next.map((x) => x / length);
  }
  return sigma;
}

describe('weight normalization', () => {
  test('starts at the weight there was, and returns to a plain weight', () => {
    manualSeed(1);
    const layer = new nn.Linear(4, 3);
    const x = randn([2, 4]);
    const before = values(layer.call(x));
    expect(nn.weightNorm(layer)).toBe(layer);
    expect(nn.isParametrized(layer, 'weight')).toBe(true);
    expect([...layer.stateDict().keys()]).toEqual(['bias', 'parametrizations.weight.original0', 'parametrizations.weight.original1']);
    expect(layer.getParameter('parametrizations.weight.original0').shape).toEqual([3, 1]);
    values(layer.call(x)).forEach((v, i) => expect(v).toBeCloseTo(before[i], 5));
    nn.removeParametrizations(layer, 'weight');
    expect(nn.isParametrized(layer)).toBe(false);
    expect([...layer.stateDict().keys()].sort()).toEqual(['bias', 'weight']);
    values(layer.call(x)).forEach((v, i) => expect(v).toBeCloseTo(before[i], 5));
    expect(layer.parameters()).toHaveLength(2);
  });
  test('an assignment to the weight goes to the originals', () => {
    manualSeed(2);
    const layer = nn.weightNorm(new nn.Linear(2, 2, { bias: false }));
    const wanted = randn([2, 2]);
    layer.weight = wanted;
    values(layer.weight).forEach((v, i) => expect(v).toBeCloseTo(values(wanted)[i], 5));
  });
  test('of both weights of a layer', () => {
    manualSeed(3);
    const layer = new nn.Linear(3, 2);
    nn.weightNorm(nn.weightNorm(layer), { name: 'bias' });
    expect(layer.parameters()).toHaveLength(4);
    expect(layer.call(randn([1, 3])).shape).toEqual([1, 2]);
    nn.removeParametrizations(nn.removeParametrizations(layer, 'bias'), 'weight');
    expect(layer.parameters()).toHaveLength(2);
  });
});

describe('spectral normalization', () => {
  test('brings the largest singular value to 1', () => {
    manualSeed(4);
    const layer = nn.spectralNorm(new nn.Conv2d(3, 5, 2), { nPowerIterations: 20 });
    noGrad(() => layer.call(randn([1, 3, 4, 4])));
    layer.eval();
    expect(largestSingularValue(noGrad(() => layer.weight))).toBeCloseTo(1, 4);
  });
  test('improves its vectors in training, eagerly and compiled, and leaves them alone in evaluation', () => {
    manualSeed(5);
    const layer = nn.spectralNorm(new nn.Linear(6, 6));
    const u = layer.getBuffer('parametrizations.weight.0._u');
    const x = randn([2, 6]);
    noGrad(() => layer.getParameter('parametrizations.weight.original').copy_(randn([6, 6])));
    const run = jit((input: Tensor) => layer.call(input).detach());
    let last = values(u);
    for (let step = 0; step < 3; step++) {
      run(x);
      expect(values(u)).not.toEqual(last);
      last = values(u);
    }
    layer.eval();
    run(x);
    noGrad(() => layer.call(x));
    expect(values(u)).toEqual(last);
    layer.train();
    noGrad(() => layer.call(x));
    expect(values(u)).not.toEqual(last);
    run.dispose();
  });
  test('is trained with its normalized weight in one compiled step', () => {
    manualSeed(6);
    const net = new nn.Sequential(nn.spectralNorm(new nn.Linear(3, 4)), new nn.Tanh(), nn.spectralNorm(new nn.Linear(4, 1)));
    const optimizer = new optim.SGD(net.parameters(), { lr: 0.05 });
    const x = randn([16, 3]);
    const step = jit((input: Tensor) => {
      const loss = square(net.call(input).sub(0.4)).mean();
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      return loss.detach();
    });
    const losses = Array.from({ length: 20 }, () => Number(step(x).item()));
    expect(losses[19]).toBeLessThan(0.8 * losses[0]);
    step.dispose();
  });
  test('of a vector divides by its length', () => {
    const layer = nn.spectralNorm(new nn.Linear(3, 4), { name: 'bias' });
    expect(Math.hypot(...values(noGrad(() => layer.bias as Tensor)))).toBeCloseTo(1, 5);
    nn.removeParametrizations(layer, 'bias', { leaveParametrized: false });
    expect(layer.bias?.requiresGrad).toBe(true);
  });
});

class Symmetric extends nn.Parametrization {
  override forward(x: Tensor): Tensor {
    return x.triu().add(x.triu(1).t());
  }
}
class Doubled extends nn.Parametrization {
  override forward(x: Tensor): Tensor {
    return x.mul(2);
  }
  override rightInverse(value: Tensor): Tensor {
    return value.div(2);
  }
}

describe('parametrizations', () => {
  test('of your own chain, and gradients reach the original', () => {
    manualSeed(7);
    const layer = nn.registerParametrization(new nn.Linear(3, 3, { bias: false }), 'weight', new Symmetric());
    const w = values(layer.weight);
    expect([w[1], w[2], w[5]]).toEqual([w[3], w[6], w[7]]);
    nn.registerParametrization(layer, 'weight', new Doubled());
    // The second one was given an inverse, so the value stayed.
    values(layer.weight).forEach((v, i) => expect(v).toBeCloseTo(w[i], 6));
    const original = layer.getParameter('parametrizations.weight.original');
    const g = scope(() => grad(sum(layer.weight), [original])[0]);
    expect(values(g as Tensor)).toEqual([2, 4, 4, 0, 2, 4, 0, 0, 2]);
  });
  test('refuse what does not fit', () => {
    class Wrong extends nn.Parametrization {
      override forward(x: Tensor): Tensor {
        return x.sum(0);
      }
    }
    const layer = new nn.Linear(2, 2);
    expect(() => nn.registerParametrization(layer, 'weight', new Wrong())).toThrow(ShapeError);
    expect(() => nn.registerParametrization(layer, 'nothing', new Doubled())).toThrow(ArgumentError);
    expect(() => nn.removeParametrizations(layer, 'weight')).toThrow(ArgumentError);
    nn.weightNorm(layer);
    expect(() => nn.removeParametrizations(layer, 'weight', { leaveParametrized: false })).toThrow(/2 originals/);
  });
  test('move with the module to another dtype', () => {
    const layer = nn.spectralNorm(new nn.Linear(3, 3)).to('float64');
    expect(layer.call(randn([1, 3], { dtype: 'float64' })).dtype).toBe('float64');
    expect(layer.getBuffer('parametrizations.weight.0._v').dtype).toBe('float64');
  });
});
