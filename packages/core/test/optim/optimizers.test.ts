import { describe, expect, test } from 'vitest';
import {
  ArgumentError,
  add,
  embedding,
  GradScaler,
  jit,
  manualSeed,
  matmul,
  mseLoss,
  nn,
  noGrad,
  optim,
  randn,
  scope,
  square,
  sub,
  sum,
  type Tensor,
  TraceError,
  tensor,
  zeros,
} from '../../src/index.js';
import { makeOptimizer, type Options, release } from './harness.js';

const parameter = (data: number[]): Tensor => nn.parameter(tensor(data));

describe('parameter groups', () => {
  test('have options of their own', () => {
    const [p, q] = [parameter([1]), parameter([1])];
    const sgd = new optim.SGD([{ params: [p] }, { params: [q], lr: 0.5 }], { lr: 0.1 });
    add(sum(p), sum(q)).backward();
    sgd.step();
    expect(p.item()).toBeCloseTo(0.9, 6);
    expect(q.item()).toBeCloseTo(0.5, 6);
    sgd.dispose();
  });

  test('splitDecay leaves biases and the scales of normalizations without decay', () => {
    const model = new nn.Sequential(new nn.Linear(3, 4), new nn.LayerNorm([2, 2]), new nn.Linear(4, 2, { bias: false }));
    const frozen = new nn.Linear(2, 2);
    frozen.requiresGrad_(false);
    const whole = new nn.Sequential(model, frozen);
    const groups = optim.splitDecay(whole, { weightDecay: 0.1 });
    expect(groups.map((g) => [g.weightDecay, g.params.map((p) => p.shape)])).toEqual([
      [0.1, [[4, 3], [2, 4]]], // biome-ignore format: one line a group
      [0, [[4], [2, 2], [2, 2]]], // biome-ignore format: one line a group
    ]);
    const excluded = optim.splitDecay(model, { weightDecay: 0.1, exclude: (name) => name === '2.weight' });
    expect(excluded[0].params).toHaveLength(1);
    const adamw = new optim.AdamW(groups, { lr: 0.1 });
    expect(adamw.groups[1].options.weightDecay).toBe(0);
    adamw.dispose();
    whole.dispose();
  });
});

test('frozen parameters may be given to an optimizer, and stay until they are thawed', () => {
  const layers = [new nn.Linear(2, 2), new nn.Linear(2, 1)];
  const net = new nn.Sequential(...layers);
  layers[0].requiresGrad_(false);
  const adamw = new optim.AdamW(net.parameters(), { lr: 0.1, weightDecay: 0.5 });
  const accumulation = new optim.GradientAccumulation(adamw, { steps: 2 });
  const start = layers[0].weight.toArray();
  const half = (): void => {
    scope(() => sum(square(net.call(tensor([[1, 2]])))).backward());
    accumulation.step();
  };
  half();
  half();
  expect(layers[0].weight.toArray()).toEqual(start);
  layers[0].requiresGrad_(true);
  half();
  half();
  const thawed = layers[0].weight.toArray();
  expect(thawed).not.toEqual(start);
  layers[0].requiresGrad_(false);
  half();
  half();
  expect(layers[0].weight.toArray()).toEqual(thawed);
  accumulation.dispose();
  adamw.dispose();
  net.dispose();
});

describe('step()', () => {
  test('leaves parameters without a gradient alone; wrong parameters are refused', () => {
    const [p, q] = [parameter([1]), parameter([1])];
    const adam = new optim.Adam([p, q], { lr: 0.1 });
    sum(p).backward();
    adam.step();
    expect(q.item()).toBe(1);
    expect(p.item()).toBeLessThan(1);
    adam.dispose();
    expect(() => new optim.Adam([], { lr: 1 })).toThrow(/no parameters/);
    expect(() => new optim.Adam([p, p], { lr: 1 })).toThrow(/twice/);
    expect(() => new optim.SGD([tensor([1])], { lr: 1 })).toThrow(/gradients/);
    expect(() => new optim.SGD([p], { lr: 1, nesterov: true })).toThrow(/nesterov/);
    expect(() => new optim.SGD([{ params: [p], lr: -1 }], { lr: 1 })).toThrow('the learning rate is -1');
  });

  test('refuses a state that was loaded from an optimizer of other parameters', () => {
    const [p, q] = [parameter([1, 2]), parameter([1, 2, 3])];
    const [adam, other] = [new optim.Adam([p], { lr: 0.1 }), new optim.Adam([q], { lr: 0.1 })];
    sum(q).backward();
    other.step();
    adam.loadStateDict(other.stateDict());
    sum(p).backward();
    expect(() => adam.step()).toThrow('expAvg of a parameter of shape [2] has shape [3]');
    expect(p.toArray()).toEqual([1, 2]);
    adam.dispose();
    other.dispose();
  });

  test('runs a closure first and returns its loss', () => {
    const p = parameter([2]);
    const sgd = new optim.SGD([p], { lr: 0.25 });
    const loss = noGrad(() =>
      sgd.step(() => {
        const value = sum(square(p));
        value.backward();
        return value.detach();
      }),
    );
    expect(loss?.item()).toBe(4);
    expect(p.item()).toBe(1);
    sgd.dispose();
  });

  test('changes nothing, state included, where `skip` holds', () => {
    const options: Record<string, Options> = {
      SGD: { lr: 0.1, momentum: 0.9, dampening: 0.1 },
      ASGD: { lr: 0.1 },
      Adagrad: { lr: 0.1, lrDecay: 0.1 },
      Adadelta: { lr: 1 },
      RMSProp: { lr: 0.1, momentum: 0.5, centered: true },
      Adam: { lr: 0.1, amsgrad: true },
      AdamW: { lr: 0.1 },
      Adamax: { lr: 0.1 },
      NAdam: { lr: 0.1 },
      RAdam: { lr: 0.1 },
      Rprop: { lr: 0.1 },
      Adafactor: { lr: 0.1 },
      Lion: { lr: 0.1 },
      LARS: { lr: 0.1, momentum: 0.9 },
      LAMB: { lr: 0.1 },
      Lookahead: { lr: 0.1, k: 1, alpha: 0.5 },
    };
    for (const [op, attrs] of Object.entries(options)) {
      const p = nn.parameter(tensor([[1, -2], [0.5, 3]])); // biome-ignore format: a matrix
      const optimizer = makeOptimizer(op, [p], attrs);
      const step = (gradient: number, skip: boolean): void =>
        scope(() => {
          p.grad = tensor([[gradient, 1], [0.5, -1]]); // biome-ignore format: a matrix
          optimizer.step({ skip: tensor(skip) });
          optimizer.zeroGrad();
        });
      const snapshot = (): unknown => [p.toArray(), [...optimizer.stateDict().tensors].map(([k, t]) => [k, t.toArray()])];
      step(1, false);
      const before = snapshot();
      step(Number.NaN, true);
      expect(snapshot(), op).toEqual(before);
      step(2, false);
      expect(snapshot(), op).not.toEqual(before);
      optimizer.dispose();
    }
  });

  test('follows the learning rate inside a compiled step', () => {
    const p = parameter([1]);
    const sgd = new optim.SGD([p], { lr: 0.1 });
    const step = jit(() => {
      sum(p).backward();
      sgd.step();
      sgd.zeroGrad();
    });
    step();
    sgd.lr = 0.5;
    step();
    expect(p.item()).toBeCloseTo(0.4, 6);
    expect(step.programs).toHaveLength(1);
    expect(() => jit(() => sgd.setLr(sgd.groups[0], 1))()).toThrow(TraceError);
    step.dispose();
    sgd.dispose();
  });

  test('follows a momentum that is set, also when it was compiled with a fixed one', () => {
    const run = (compiled: boolean): number[] => {
      const p = parameter([1]);
      const adam = new optim.Adam([p], { lr: 0.1 });
      const body = (): void => {
        sum(square(p)).backward();
        adam.step();
        adam.zeroGrad();
      };
      const step = compiled ? jit(body) : body;
      const seen = [0.9, 0.5, 0.8].map((beta, i) => {
        if (i > 0) adam.setMomentum(adam.groups[0], beta);
        expect(adam.momentumOf(adam.groups[0])).toBe(beta);
        step();
        return p.item();
      });
      adam.dispose();
      return seen;
    };
    const eager = run(false);
    run(true).forEach((value, i) => expect(value).toBeCloseTo(eager[i], 6));
    const p = parameter([1]);
    const adagrad = new optim.Adagrad([p]);
    expect(() => adagrad.setMomentum(adagrad.groups[0], 0.5)).toThrow(/no momentum/);
    adagrad.dispose();
  });

  test('refuses sparse gradients where every row would change', () => {
    const table = nn.parameter(randn([4, 2]));
    const lookUp = (): void => sum(embedding(tensor([1], { dtype: 'int64' }), table, { sparse: true })).backward();
    for (const [make, message] of [
      [() => new optim.Adam([table]), /SparseAdam/],
      [() => new optim.SGD([table], { lr: 1, momentum: 0.9 }), /momentum/],
      [() => new optim.Adagrad([table], { lr: 1, weightDecay: 0.1 }), /weight decay/],
    ] as const) {
      const optimizer = make();
      lookUp();
      expect(() => optimizer.step()).toThrow(message);
      optimizer.zeroGrad();
      optimizer.dispose();
    }
    const sparse = new optim.SparseAdam([table]);
    sum(table).backward();
    expect(() => sparse.step()).toThrow(/dense gradient/);
    sparse.dispose();
    table.grad = null;
  });

  test('LazyAdam is Adam for dense gradients and leaves rows alone that were not looked up', () => {
    const run = (make: (p: Tensor) => optim.AnyOptimizer, sparse: boolean): unknown => {
      const table = nn.parameter(tensor([[1, 2], [3, 4], [5, 6]])); // biome-ignore format: a table
      const optimizer = make(table);
      for (const row of [0, 2]) {
        scope(() => sum(square(embedding(tensor([row], { dtype: 'int64' }), table, { sparse }))).backward());
        optimizer.step();
        optimizer.zeroGrad();
      }
      optimizer.dispose();
      return table.toArray();
    };
    const adam = run((p) => new optim.Adam([p], { lr: 0.1 }), false);
    expect(run((p) => new optim.LazyAdam([p], { lr: 0.1 }), false)).toEqual(adam);
    const lazy = run((p) => new optim.LazyAdam([p], { lr: 0.1 }), true) as number[][];
    expect(lazy[1]).toEqual([3, 4]);
    // Adam goes on with row 0 in the second step by its momentum; the lazy form does not.
    expect(lazy[0][0]).toBeCloseTo(0.9, 5);
    expect((adam as number[][])[0][0]).toBeLessThan(0.85);
  });
});

describe('master weights', () => {
  test('keep steps that are smaller than the precision of bfloat16', () => {
    const train = (masterWeights: boolean, compiled: boolean): number => {
      const p = nn.parameter(tensor([1], { dtype: 'bfloat16' }));
      const sgd = new optim.SGD([p], { lr: 1e-3, masterWeights });
      const body = (): void => {
        sum(p).backward();
        sgd.step();
        sgd.zeroGrad();
      };
      const step = compiled ? jit(body) : body;
      for (let i = 0; i < 64; i++) step();
      expect(p.dtype).toBe('bfloat16');
      sgd.dispose();
      return p.item();
    };
    // 1 - 0.001 rounds to 1 in bfloat16.
    expect(train(false, false)).toBe(1);
    for (const compiled of [false, true]) expect(train(true, compiled)).toBeCloseTo(0.936, 2);
  });

  test('are part of the state and follow newly loaded weights on demand', () => {
    const make = (): { p: Tensor; adam: optim.Adam; step: () => void } => {
      const p = nn.parameter(tensor([1, -2], { dtype: 'bfloat16' }));
      const adam = new optim.Adam([p], { lr: 1e-3, masterWeights: true });
      return {
        p,
        adam,
        step: () => {
          scope(() => sum(square(p)).backward());
          adam.step();
          adam.zeroGrad();
        },
      };
    };
    const [a, b] = [make(), make()];
    for (let i = 0; i < 3; i++) a.step();
    const state = a.adam.stateDict();
    expect(state.tensors.get('0.masterWeight')?.dtype).toBe('float32');
    b.p.detach().copy_(a.p.detach());
    b.adam.loadStateDict(state);
    for (let i = 0; i < 20; i++) {
      a.step();
      b.step();
    }
    expect(b.adam.stateDict().tensors.get('0.masterWeight')?.toArray()).toEqual(
      a.adam.stateDict().tensors.get('0.masterWeight')?.toArray(),
    );
    a.p.detach().copy_(tensor([3, 3]));
    a.adam.refreshMasterWeights();
    a.step();
    expect((a.p.toArray() as number[])[0]).toBeCloseTo(3, 1);
    for (const { adam } of [a, b]) adam.dispose();
  });
});

describe('wrappers', () => {
  test('GradientAccumulation equals one step on the whole batch, eager and compiled', () => {
    const train = (parts: number, compiled: boolean): number[] => {
      manualSeed(3);
      const w = nn.parameter(tensor([[0.5], [-0.25]]));
      const [x, y] = [randn([8, 2]), randn([8, 1])];
      const adam = new optim.Adam([w], { lr: 0.1 });
      const accumulation = new optim.GradientAccumulation(adam, { steps: parts });
      const body = (inputs: Tensor, targets: Tensor): Tensor => {
        const loss = mseLoss(matmul(inputs, w), targets);
        loss.backward();
        accumulation.step();
        return loss.detach();
      };
      const step = compiled ? jit(body) : body;
      const size = 8 / parts;
      for (let i = 0; i < 3 * parts; i++) {
        const from = (i % parts) * size;
        scope(() => void step(x.slice([[from, from + size]]).contiguous(), y.slice([[from, from + size]]).contiguous()));
      }
      expect(accumulation.pending).toBe(0);
      accumulation.dispose();
      adam.dispose();
      return Array.from(w.dataSync() as Float32Array);
    };
    const whole = train(1, false);
    for (const compiled of [false, true]) train(4, compiled).forEach((v, i) => expect(v).toBeCloseTo(whole[i], 5));
  });

  test('GradientAccumulation shows the gathered gradient before the step, and its state continues', () => {
    const p = parameter([1]);
    const sgd = new optim.SGD([p], { lr: 1 });
    const seen: number[] = [];
    const make = (): optim.GradientAccumulation =>
      new optim.GradientAccumulation(sgd, { steps: 2, beforeStep: ([q]) => void seen.push(q.grad?.item() ?? Number.NaN) });
    const add1 = (accumulation: optim.GradientAccumulation, factor: number): void => {
      sum(p.mul(factor)).backward();
      accumulation.step();
    };
    const first = make();
    add1(first, 4);
    expect([p.item(), first.pending]).toEqual([1, 1]);
    const second = make();
    second.loadStateDict(first.stateDict());
    add1(second, 2);
    expect(seen).toEqual([3]);
    expect(p.item()).toBe(-2);
    for (const a of [first, second]) a.dispose();
    sgd.dispose();
  });

  test('GradientAccumulation goes together with a GradScaler', () => {
    for (const compiled of [false, true]) {
      const p = parameter([1]);
      const sgd = new optim.SGD([p], { lr: 1 });
      const scaler = new GradScaler({ initScale: 4 });
      const accumulation = new optim.GradientAccumulation(sgd, {
        steps: 2,
        apply: (options) => {
          scaler.step(sgd, options);
          scaler.update();
        },
      });
      const body = (factor: Tensor): void => {
        scaler.scale(sum(p.mul(factor))).backward();
        accumulation.step();
      };
      const step = compiled ? jit(body) : body;
      const seen = [0.5, 1.5, Number.POSITIVE_INFINITY, 1, 0.25, 0.25].map((factor) => {
        step(tensor([factor]));
        return [p.item(), scaler.getScale()];
      });
      // The infinite half spoils its step, and lowers the scale once.
      expect(seen).toEqual([[1, 4], [0, 4], [0, 4], [0, 2], [0, 2], [-0.25, 2]]); // biome-ignore format: one line
      release(step);
      for (const o of [accumulation, scaler, sgd]) o.dispose();
    }
  });

  test('Lookahead takes schedules and gives its state in one piece', () => {
    const p = parameter([1]);
    const lookahead = new optim.Lookahead(new optim.SGD([p], { lr: 0.1, momentum: 0.9 }), { k: 2 });
    const schedule = new optim.ExponentialLR(lookahead, { gamma: 0.5 });
    schedule.step();
    expect(lookahead.lr).toBeCloseTo(0.05, 12);
    sum(p).backward();
    lookahead.step();
    expect([...lookahead.stateDict().tensors.keys()].sort()).toEqual(['0.lookaheadSlow', '0.momentumBuffer', 'group0.lookaheadStep']);
    expect(() => new optim.Lookahead(lookahead, { k: 0 })).toThrow(ArgumentError);
    lookahead.dispose();
  });
});

describe('LBFGS', () => {
  const rosenbrock = (p: Tensor): Tensor => {
    const [x, y] = [p.select(0, 0), p.select(0, 1)];
    return add(square(sub(1, x)), square(sub(y, square(x))).mul(100));
  };

  test('finds the minimum of the Rosenbrock function, with a compiled closure', () => {
    const p = nn.parameter(tensor([-1.5, 2], { dtype: 'float64' }));
    const lbfgs = new optim.LBFGS([p], { lr: 1, maxIter: 60, lineSearch: 'strongWolfe', toleranceGrad: 1e-10, toleranceChange: 1e-14 });
    const closure = jit(() => {
      lbfgs.zeroGrad();
      const loss = rosenbrock(p);
      loss.backward();
      return loss.detach();
    });
    lbfgs.step(closure);
    (p.toArray() as number[]).forEach((v) => expect(v).toBeCloseTo(1, 6));
    expect(lbfgs.closureCalls).toBeLessThan(80);
    closure.dispose();
    lbfgs.dispose();
  });

  test('asks for a closure, and cannot be traced', () => {
    const p = parameter([1]);
    const lbfgs = new optim.LBFGS([p]);
    expect(() => lbfgs.step()).toThrow(/closure/);
    expect(() => jit(() => void lbfgs.step(() => sum(p)))()).toThrow(TraceError);
    lbfgs.dispose();
  });
});

describe('averages of weights', () => {
  test('EMA follows its formula; swapping in and out gives the weights back', () => {
    for (const compiled of [false, true]) {
      const p = parameter([0]);
      const ema = new optim.EMA([p], { decay: 0.9 });
      const body = (): void => {
        noGrad(() => p.add_(1));
        ema.update();
      };
      const step = compiled ? jit(body) : body;
      let expected = 0;
      for (let i = 1; i <= 5; i++) {
        step();
        expected = 0.9 * expected + 0.1 * i;
      }
      expect(ema.averages[0].item()).toBeCloseTo(expected, 5);
      expect(ema.withAverages(() => p.item())).toBeCloseTo(expected, 5);
      expect(p.item()).toBe(5);
      ema.swap();
      expect(p.item()).toBeCloseTo(expected, 5);
      expect(() => ema.update()).toThrow(/averages/);
      ema.swap();
      expect(p.item()).toBe(5);
      ema.dispose();
    }
  });

  test('EMA warm-up follows faster at first', () => {
    const p = parameter([0]);
    const ema = new optim.EMA([p], { decay: 0.99, warmup: true });
    let expected = 0;
    for (let n = 0; n < 4; n++) {
      noGrad(() => p.add_(1));
      ema.update();
      const decay = Math.min(0.99, (1 + n) / (10 + n));
      expected = decay * expected + (1 - decay) * (n + 1);
    }
    expect(ema.averages[0].item()).toBeCloseTo(expected, 5);
    const copy = new optim.EMA([p], { decay: 0.99, warmup: true });
    copy.loadStateDict(ema.stateDict());
    for (const e of [ema, copy]) e.update();
    expect(copy.averages[0].item()).toBe(ema.averages[0].item());
    for (const e of [ema, copy]) e.dispose();
  });

  test('withAverages waits for asynchronous functions', async () => {
    const p = parameter([2]);
    const swa = new optim.SWA([p]);
    swa.update();
    noGrad(() => p.fill_(4));
    swa.update();
    const seen = await swa.withAverages(async () => {
      await Promise.resolve();
      return p.item();
    });
    expect(seen).toBe(3);
    expect(p.item()).toBe(4);
    await expect(swa.withAverages(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(p.item()).toBe(4);
    swa.dispose();
    p.dispose();
  });

  test('SWA is the equal average; updateBatchNorm computes its statistics anew', () => {
    manualSeed(4);
    const model = new nn.Sequential(new nn.Linear(3, 2), new nn.BatchNorm1d(2));
    const swa = new optim.SWA(model);
    const weight = model.parameters()[0];
    const seen: number[][] = [];
    for (let i = 0; i < 3; i++) {
      noGrad(() => weight.add_(1));
      swa.update();
      seen.push(Array.from(weight.dataSync() as Float32Array));
    }
    swa.averages[0].dataSync().forEach((v, i) => expect(Number(v)).toBeCloseTo((seen[0][i] + seen[1][i] + seen[2][i]) / 3, 5));
    swa.swap();
    const batches = [randn([16, 3]), randn([16, 3])];
    model.eval();
    optim.updateBatchNorm(model, batches);
    expect(model.training).toBe(false);
    const [mean] = model.buffers();
    const hidden = noGrad(() => batches.map((b) => (model.children()[0] as unknown as nn.Linear).call(b).mean(0)));
    const expected = add(hidden[0], hidden[1]).mul(0.5);
    mean.dataSync().forEach((v, i) => expect(Number(v)).toBeCloseTo(Number(expected.dataSync()[i]), 5));
    swa.dispose();
    model.dispose();
  });
});

test('half-precision averages are float32', () => {
  const p = nn.parameter(zeros([2], { dtype: 'bfloat16' }));
  const ema = new optim.EMA([p]);
  expect(ema.averages[0].dtype).toBe('float32');
  ema.dispose();
});
