/** Every schedule sets the learning rates (and momenta) that PyTorch sets. */
import { describe, expect, test } from 'vitest';
import { jit, nn, optim, sum, tensor } from '../../src/index.js';
import reference from '../reference/schedule.json' with { type: 'json' };

interface Case {
  readonly op: string;
  readonly attrs: Readonly<Record<string, unknown>>;
  /** By group, then step. */
  readonly lrs: readonly (readonly number[])[];
  readonly momenta?: readonly number[];
  readonly metrics?: readonly number[];
}
const cases = reference.cases as unknown as readonly Case[];

function makeOptimizer(): optim.SGD {
  const [p, q] = [nn.parameter(tensor([0])), nn.parameter(tensor([0]))];
  return new optim.SGD([{ params: [p] }, { params: [q], lr: 0.02 }], { lr: 0.1, momentum: 0.9 });
}

function makeSchedule(op: string, attrs: Case['attrs'], sgd: optim.SGD): optim.LRScheduler {
  switch (op) {
    case 'LambdaLR':
      return new optim.LambdaLR(sgd, [(s) => 0.95 ** s, (s) => 1 / (1 + s)]);
    case 'MultiplicativeLR':
      return new optim.MultiplicativeLR(sgd, (s) => 1 - 1 / (s + 9));
    case 'LinearWarmup(CosineAnnealingLR)':
      return new optim.LinearWarmup(new optim.CosineAnnealingLR(sgd, { tMax: Number(attrs.tMax) }), { steps: Number(attrs.steps) });
    case 'LinearWarmup(StepLR)':
      return new optim.LinearWarmup(new optim.StepLR(sgd, { stepSize: Number(attrs.stepSize) }), {
        steps: Number(attrs.steps),
        startFactor: Number(attrs.startFactor),
      });
    case 'SequentialLR':
      return new optim.SequentialLR(
        sgd,
        [
          new optim.ConstantLR(sgd, { factor: 0.1, totalSteps: 20 }),
          new optim.ExponentialLR(sgd, { gamma: 0.9 }),
          new optim.CosineAnnealingLR(sgd, { tMax: 60 }),
        ],
        { milestones: [20, 50] },
      );
    case 'ChainedLR':
      return new optim.ChainedLR([
        new optim.ConstantLR(sgd, { factor: 0.2, totalSteps: 12 }),
        new optim.ExponentialLR(sgd, { gamma: 0.95 }),
        new optim.StepLR(sgd, { stepSize: 25, gamma: 0.5 }),
      ]);
    default: {
      const classes = optim as unknown as Record<string, new (o: optim.SGD, options: Case['attrs']) => optim.LRScheduler>;
      return new classes[op](sgd, attrs);
    }
  }
}

describe.each(cases.map((c) => [`${c.op} ${JSON.stringify(c.attrs)}`, c] as const))('%s', (_, c) => {
  test('sets the rates of the reference over 120 steps, and continues from a state in the middle', () => {
    let sgd = makeOptimizer();
    let schedule = makeSchedule(c.op, c.attrs, sgd);
    const steps = c.lrs[0].length;
    for (let step = 0; step < steps; step++) {
      if (step === 57) {
        const state = JSON.parse(JSON.stringify(schedule.stateDict())) as optim.SchedulerState;
        const momentum = sgd.momentumOf(sgd.groups[0]);
        sgd.dispose();
        sgd = makeOptimizer();
        schedule = makeSchedule(c.op, c.attrs, sgd);
        schedule.loadStateDict(state);
        expect(sgd.momentumOf(sgd.groups[0])).toBe(momentum);
      }
      sgd.groups.forEach((group, i) => {
        const expected = c.lrs[i][step];
        expect(Math.abs(sgd.lrOf(group) - expected), `step ${step}, group ${i}`).toBeLessThanOrEqual(1e-12 + 1e-10 * expected);
        expect(schedule.lastLr[i]).toBe(sgd.lrOf(group));
      });
      if (c.momenta) expect(sgd.momentumOf(sgd.groups[0])).toBeCloseTo(c.momenta[step], 12);
      if (step + 1 < steps) schedule.step(c.metrics?.[step]);
    }
    sgd.dispose();
  });
});

test('compiled steps use the rate of the schedule without being compiled again', () => {
  const p = nn.parameter(tensor([0]));
  const sgd = new optim.SGD([p], { lr: 1 });
  const schedule = new optim.LinearWarmup(new optim.ExponentialLR(sgd, { gamma: 0.5 }), { steps: 2 });
  const step = jit(() => {
    sum(p).backward();
    sgd.step();
    sgd.zeroGrad();
  });
  const rates: number[] = [];
  for (let i = 0; i < 5; i++) {
    const before = p.item();
    step();
    rates.push(before - p.item());
    schedule.step();
  }
  expect(rates).toEqual([0, 0.5, 1, 0.5, 0.25]);
  expect(step.programs).toHaveLength(1);
  step.dispose();
  sgd.dispose();
});

test('a warm-up in front of ReduceLROnPlateau hands the measures on', () => {
  const sgd = makeOptimizer();
  const schedule = new optim.LinearWarmup(new optim.ReduceLROnPlateau(sgd, { patience: 1, factor: 0.5 }), { steps: 4 });
  const rates = Array.from({ length: 10 }, () => {
    const { lr } = sgd;
    schedule.step(1);
    return Number(lr.toFixed(4));
  });
  expect(rates).toEqual([0, 0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.05, 0.05, 0.025]);
  sgd.dispose();
});

test('what does not fit is refused', () => {
  const sgd = makeOptimizer();
  const other = makeOptimizer();
  const plain = new optim.Adagrad([nn.parameter(tensor([1]))]);
  expect(() => new optim.StepLR(sgd, { stepSize: 0 })).toThrow(/whole number/);
  expect(() => new optim.CyclicLR(sgd, { baseLr: [0.1], maxLr: 1 })).toThrow(/groups/);
  expect(() => new optim.OneCycleLR(plain, { maxLr: 1, totalSteps: 10 })).toThrow(/cycleMomentum/);
  expect(() => new optim.SequentialLR(sgd, [new optim.StepLR(other, { stepSize: 1 })], { milestones: [] })).toThrow(/another optimizer/);
  expect(() => new optim.ChainedLR([new optim.ReduceLROnPlateau(sgd)])).toThrow(/function of the step/);
  expect(() => new optim.ReduceLROnPlateau(sgd).step()).toThrow(/measure/);
  const cycle = new optim.OneCycleLR(sgd, { maxLr: 1, totalSteps: 2 });
  cycle.step();
  cycle.step();
  expect(() => cycle.step()).toThrow(/cycle of 2/);
  expect(() => cycle.loadStateDict(new optim.StepLR(sgd, { stepSize: 1 }).stateDict())).toThrow(/StepLR/);
  for (const o of [sgd, other, plain]) o.dispose();
});
