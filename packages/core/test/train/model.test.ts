import { describe, expect, test, vi } from 'vitest';
import { DataLoader } from '../../src/data/dataloader.js';
import { ArrayDataset } from '../../src/data/dataset.js';
import { jit } from '../../src/jit.js';
import { Linear, Module } from '../../src/nn/index.js';
import { add } from '../../src/ops/binary.js';
import { tensor } from '../../src/ops/create.js';
import { crossEntropy, mseLoss } from '../../src/ops/loss.js';
import { AdamW, SGD } from '../../src/optim/index.js';
import { manualSeed } from '../../src/tensor/generator.js';
import { memoryInfo } from '../../src/tensor/memory.js';
import { scope } from '../../src/tensor/scope.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { type BatchRecord, fieldsToTensors, LambdaCallback, type MetricLike, Model, trainStep } from '../../src/train/index.js';
import { asTensors, blobs, classifier, weightsOf } from './toy.js';

const accuracy = (logits: Tensor, y: Tensor): Tensor => logits.argmax(1).eq(y).float().mean();

/** The message alone: an error that is kept would keep alive what its stack refers to. */
const failure = (promise: Promise<unknown>): Promise<string> => promise.then(String, (error: unknown) => String(error));

function fieldLoader(items = 64, batchSize = 16) {
  const { points, labels } = blobs(items);
  const dataset = new ArrayDataset({ point: { data: points, shape: [2] }, label: { data: labels, shape: [] } });
  return new DataLoader(dataset, { batchSize, shuffle: true, seed: 5 });
}

describe('a model', () => {
  test('learns from tensors in memory, and tells loss and measures of training and validation', async () => {
    const net = classifier();
    const data = asTensors(blobs());
    const model = new Model(net).compile({ optimizer: (p) => new AdamW(p, { lr: 0.02 }), loss: crossEntropy, metrics: { accuracy } });
    const history = await model.fit({ ...data, batchSize: 16 }, { epochs: 8, seed: 1, validation: { ...data } });
    expect(history.outcome).toBe('finished');
    expect(history.epochs.map((e) => e.epoch)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(history.epochs[7].step).toBe(32);
    const { metrics } = history.epochs[7];
    expect(Object.keys(metrics).sort()).toEqual(['accuracy', 'loss', 'valAccuracy', 'valLoss']);
    expect(metrics.valAccuracy).toBeGreaterThan(0.95);
    expect(await model.evaluate(data)).toEqual({ loss: metrics.valLoss, accuracy: metrics.valAccuracy });
    model.dispose();
    data.x.dispose();
    data.y.dispose();
    net.dispose();
  });

  test('gives the numbers of a loop written by hand, as one Program and operation by operation', async () => {
    const byHand = classifier();
    const { points, labels } = blobs(32);
    const optimizer = new SGD(byHand.parameters(), { lr: 0.1, momentum: 0.9 });
    manualSeed(4);
    for (let epoch = 0; epoch < 2; epoch++) {
      for (let start = 0; start < 32; start += 8) {
        scope(() => {
          const x = tensor(points.subarray(2 * start, 2 * start + 16), { shape: [8, 2] });
          crossEntropy(byHand.call(x), tensor(labels.subarray(start, start + 8))).backward();
          optimizer.step();
          optimizer.zeroGrad();
        });
      }
    }
    const wanted = weightsOf(byHand);
    byHand.dispose();
    optimizer.dispose();
    for (const compiled of [true, false]) {
      const net = classifier();
      const data = asTensors(blobs(32));
      const model = new Model(net).compile({
        optimizer: (p) => new SGD(p, { lr: 0.1, momentum: 0.9 }),
        loss: crossEntropy,
        jit: compiled,
      });
      await model.fit({ ...data, batchSize: 8, shuffle: false }, { epochs: 2, seed: 4 });
      const found = weightsOf(net);
      for (const [name, values] of Object.entries(wanted)) {
        found[name].forEach((v, i) => expect(v, `${name} ${compiled}`).toBeCloseTo(values[i], 5));
      }
      model.dispose();
      net.dispose();
      data.x.dispose();
      data.y.dispose();
    }
  });

  test('runs each step as one Program', async () => {
    const net = classifier();
    const data = asTensors(blobs(32));
    const step = trainStep({ net, optimizer: new SGD(net.parameters(), { lr: 0.1 }), loss: crossEntropy, clipGradNorm: 1 });
    const before = memoryInfo().storages;
    const losses: number[] = [];
    for (let i = 0; i < 20; i++) {
      const loss = i % 2 ? step(data.x, data.y) : await step.run(data.x, data.y);
      losses.push(Number(loss.item()));
      loss.dispose();
    }
    expect(step.programs).toHaveLength(1);
    expect(step.programs[0].program.updates.length).toBeGreaterThanOrEqual(net.parameters().length);
    // Less where the collector has found what earlier code left behind.
    expect(memoryInfo().storages).toBeLessThanOrEqual(before);
    expect(losses[19]).toBeLessThan(losses[0] / 2);
    step.dispose();
  });

  test('takes field batches of a loader through toTensors, and frees what it makes: memory stays flat', async () => {
    const net = classifier();
    const model = new Model(net).compile({ optimizer: (p) => new AdamW(p, { lr: 0.02 }), loss: crossEntropy, metrics: { accuracy } });
    const storages: number[] = [];
    const history = await model.fit(fieldLoader(), {
      epochs: 6,
      toTensors: fieldsToTensors('point', 'label'),
      validation: fieldLoader(20),
      callbacks: [new LambdaCallback({ onEpochEnd: () => void storages.push(memoryInfo().storages) })],
    });
    expect(history.epochs[5].metrics.valAccuracy).toBeGreaterThan(0.9);
    expect(Math.max(...storages.slice(1))).toBeLessThanOrEqual(storages[0]);
    model.dispose();
    net.dispose();
  });

  test('takes tensors in memory as validation beside a loader that needs toTensors', async () => {
    const net = classifier();
    const data = asTensors(blobs(20));
    const model = new Model(net).compile({ optimizer: (p) => new AdamW(p, { lr: 0.02 }), loss: crossEntropy, metrics: { accuracy } });
    const toTensors = fieldsToTensors('point', 'label');
    const history = await model.fit(fieldLoader(), { epochs: 2, toTensors, validation: { ...data, batchSize: 7 } });
    const { loss } = await model.evaluate(data);
    expect(history.epochs[1].metrics.valLoss).toBeCloseTo(loss, 6);
    model.dispose();
    net.dispose();
    data.x.dispose();
    data.y.dispose();
  });

  test('takes several inputs as a list, and a loss made of parts', async () => {
    class Sum extends Module<[Tensor, Tensor]> {
      readonly left = new Linear(2, 1);
      readonly right = new Linear(2, 1);
      override forward(a: Tensor, b: Tensor): Tensor {
        return add(this.left.call(a), this.right.call(b));
      }
    }
    const net = new Sum();
    const a = tensor([
      [1, 2],
      [3, 4],
    ]);
    const y = tensor([[1], [2]]);
    const model = new Model(net).compile({
      optimizer: (p) => new SGD(p, { lr: 0.01 }),
      loss: (out, target) => {
        const fit = mseLoss(out, target);
        const size = out.square().mean();
        return { loss: fit.add(size.mul(0.1)), fit, size };
      },
    });
    const { epochs } = await model.fit([[[a, a], y]], { epochs: 3 });
    const { loss, fit, size } = epochs[2].metrics;
    expect(loss).toBeCloseTo(fit + 0.1 * size, 5);
    expect(a.isDisposed).toBe(false);
    model.dispose();
    net.dispose();
    a.dispose();
    y.dispose();
  });

  test('averages the gradients of several batches for one update', async () => {
    const steps: BatchRecord[] = [];
    const train = async (batchSize: number, accumulate: number): Promise<Record<string, number[]>> => {
      manualSeed(2);
      const net = new Linear(2, 2);
      const data = asTensors(blobs(24));
      const model = new Model(net).compile({ optimizer: (p) => new AdamW(p, { lr: 0.05 }), loss: crossEntropy, accumulate });
      await model.fit(
        { ...data, batchSize, shuffle: false },
        { epochs: 2, callbacks: [new LambdaCallback({ onBatchEnd: (_, b) => void (accumulate > 1 && steps.push(b)) })] },
      );
      const weights = weightsOf(net);
      model.dispose();
      net.dispose();
      data.x.dispose();
      data.y.dispose();
      return weights;
    };
    const [whole, parts] = [await train(12, 1), await train(4, 3)];
    for (const [name, values] of Object.entries(whole)) values.forEach((v, i) => expect(parts[name][i]).toBeCloseTo(v, 6));
    expect(steps.map((s) => s.step)).toEqual([0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4]);
    expect(steps.map((s) => s.updated).slice(0, 3)).toEqual([false, false, true]);
  });

  test('leaves frozen layers as they are, decay and gathering included, and trains them once they are thawed', async () => {
    const net = classifier();
    const [first] = net.children();
    first.requiresGrad_(false);
    const start = first.parameters().map((p) => p.toArray());
    const data = asTensors(blobs(32));
    const model = new Model(net).compile({ optimizer: (p) => new AdamW(p, { lr: 0.02 }), loss: crossEntropy, accumulate: 2 });
    await model.fit({ ...data, batchSize: 8 }, { epochs: 2 });
    expect(first.parameters().map((p) => p.toArray())).toEqual(start);
    await model.fit(
      { ...data, batchSize: 8 },
      { epochs: 2, callbacks: [{ onEpochBegin: (_, epoch) => void first.requiresGrad_(epoch === 4) }] },
    );
    expect(first.parameters().map((p) => p.toArray())).not.toEqual(start);
    model.dispose();
  });

  test('takes the last batches of an epoch as an update of their own', async () => {
    const net = new Linear(2, 2);
    const data = asTensors(blobs(20));
    const model = new Model(net).compile({ optimizer: (p) => new SGD(p, { lr: 0.1 }), loss: crossEntropy, accumulate: 3 });
    const { epochs } = await model.fit({ ...data, batchSize: 5 }, { epochs: 2 });
    expect(epochs.map((e) => e.step)).toEqual([2, 4]);
    model.dispose();
    net.dispose();
    data.x.dispose();
    data.y.dispose();
  });

  test('gathers metrics over batches, apart for training and validation', async () => {
    let updates = 0;
    const count: MetricLike = {
      name: 'items',
      update: (prediction) => {
        updates += prediction.shape[0];
      },
      compute: () => ({ seen: updates }),
      reset: () => {
        updates = 0;
      },
    };
    const net = new Linear(2, 2);
    const data = asTensors(blobs(20));
    const model = new Model(net).compile({ optimizer: (p) => new SGD(p, { lr: 0.1 }), loss: crossEntropy, metrics: [count] });
    const { epochs } = await model.fit({ ...data, batchSize: 8 }, { epochs: 1, validation: { x: data.x, y: data.y } });
    expect(epochs[0].metrics['items.seen']).toBe(20);
    expect(epochs[0].metrics['valItems.seen']).toBe(20);
    model.dispose();
    net.dispose();
    data.x.dispose();
    data.y.dispose();
  });

  test('evaluates and predicts with averaged weights, and trains on with its own', async () => {
    const net = new Linear(2, 2);
    const data = asTensors(blobs(32));
    const model = new Model(net).compile({
      optimizer: (p) => new SGD(p, { lr: 0.5 }),
      loss: crossEntropy,
      ema: { decay: 0.5 },
    });
    const before = weightsOf(net).weight;
    await model.fit({ ...data, batchSize: 32 }, { epochs: 1 });
    const after = weightsOf(net).weight;
    const averaged = before.map((v, i) => 0.5 * v + 0.5 * after[i]);
    model.swapAverages();
    weightsOf(net).weight.forEach((v, i) => expect(v).toBeCloseTo(averaged[i], 6));
    const direct = net.call(data.x);
    model.swapAverages();
    const predicted = await model.predict(data.x);
    expect(predicted.toArray()).toEqual(direct.toArray());
    expect(weightsOf(net).weight).toEqual(after);
    for (const t of [direct, predicted, data.x, data.y]) t.dispose();
    model.dispose();
    net.dispose();
  });

  test('predicts in order, in batches, as tensors and as arrays', async () => {
    const net = classifier();
    const { x, y } = asTensors(blobs(10));
    const model = new Model(net);
    net.eval();
    const whole = net.call(x);
    const joined = await model.predict(x, { batchSize: 4 });
    const { data, shape } = await model.predict(x, { batchSize: 4, as: 'array' });
    const streamed = await model.predict(
      (async function* () {
        yield x.slice([[0, 6]]);
        yield x.slice([[6, 10]]);
      })(),
    );
    expect(shape).toEqual([10, 2]);
    const wanted = Array.from(whole.dataSync(), Number);
    for (const found of [joined.dataSync(), data, streamed.dataSync()]) {
      Array.from(found, Number).forEach((v, i) => expect(v).toBeCloseTo(wanted[i], 5));
    }
    expect(net.training).toBe(false);
    for (const t of [x, y, whole, joined, streamed]) t.dispose();
    model.dispose();
    net.dispose();
  });

  test('gives a schedule the length of the training and lets it take a step after each update', async () => {
    const net = new Linear(2, 2);
    const data = asTensors(blobs(20));
    let plan = '';
    const lrs: number[] = [];
    const model = new Model(net).compile({
      optimizer: (p) => new SGD(p, { lr: 1 }),
      loss: crossEntropy,
      schedule: (optimizer, { steps, stepsPerEpoch, epochs }) => {
        plan = `${steps} ${stepsPerEpoch} ${epochs}`;
        let n = 0;
        return {
          step: () => {
            optimizer.lr = 1 / (1 + ++n);
          },
          stateDict: () => n,
          loadStateDict: (state: number) => {
            n = state;
          },
        };
      },
    });
    const { epochs } = await model.fit(
      { ...data, batchSize: 8 },
      { epochs: 2, callbacks: [new LambdaCallback({ onBatchEnd: (_, { lr }) => void lrs.push(lr) })] },
    );
    expect(plan).toBe('6 3 2');
    expect(lrs).toEqual([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6]);
    expect(epochs[1].lr).toBe(1 / 7);
    model.dispose();
    net.dispose();
    data.x.dispose();
    data.y.dispose();
  });

  test('leaves the event loop free between steps', async () => {
    const net = classifier();
    const data = asTensors(blobs(64));
    const model = new Model(net).compile({ optimizer: (p) => new SGD(p, { lr: 0.1 }), loss: crossEntropy });
    await model.fit({ ...data, batchSize: 8 }, { epochs: 1 });
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    const { seconds } = await model.fit({ ...data, batchSize: 8 }, { epochs: 30 });
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(seconds * 10);
    model.dispose();
    net.dispose();
    data.x.dispose();
    data.y.dispose();
  });

  test('ends within a batch when it is aborted, with the reason, also while data is being loaded', async () => {
    const net = new Linear(2, 2);
    const model = new Model(net).compile({ optimizer: (p) => new SGD(p, { lr: 0.1 }), loss: crossEntropy });
    const controller = new AbortController();
    const reason = new Error('enough');
    let batches = 0;
    const data = asTensors(blobs(16));
    const ended = vi.fn<(outcome: string) => void>();
    const run = model.fit(
      { ...data, batchSize: 4 },
      {
        epochs: 1000,
        signal: controller.signal,
        callbacks: [
          new LambdaCallback({
            onBatchEnd: () => {
              if (++batches === 6) controller.abort(reason);
            },
            onTrainEnd: (_, { outcome }) => ended(outcome),
          }),
        ],
      },
    );
    await expect(run).rejects.toBe(reason);
    expect(batches).toBe(6);
    expect(ended.mock.calls).toEqual([['aborted']]);
    const slow = {
      async *[Symbol.asyncIterator](): AsyncGenerator<[Tensor, Tensor]> {
        await new Promise((resolve) => setTimeout(resolve, 60_000).unref?.() ?? resolve);
        yield [data.x, data.y];
      },
    };
    const stop = AbortSignal.timeout(30);
    await expect(model.fit(slow, { epochs: 1, signal: stop })).rejects.toThrow(/time/);
    model.dispose();
    net.dispose();
    data.x.dispose();
    data.y.dispose();
  });

  test('says what is wrong with data, losses, metrics and options', async () => {
    const net = new Linear(2, 2);
    const { x, y } = asTensors(blobs(8));
    const optimizer = new SGD(net.parameters(), { lr: 0.1 });
    expect(await failure(new Model(net).fit({ x, y }, { epochs: 1 }))).toMatch(/compile/);
    const model = new Model(net).compile({ optimizer, loss: (out) => out });
    expect(await failure(model.fit({ x, y }, { epochs: 1 }))).toMatch(/loss is not one number/);
    expect(await failure(model.fit({ x, y }, { epochs: 0 }))).toMatch(/epochs is 0/);
    expect(await failure(model.fit([], { epochs: 1 }))).toMatch(/without batches/);
    expect(await failure(model.fit([{ point: 1 }], { epochs: 1 }))).toMatch(/toTensors/);
    using part = x.slice([[0, 3]]);
    expect(await failure(model.fit({ x, y: part }, { epochs: 1 }))).toMatch(/first dimension/);
    expect(() => new Model(net).compile({ optimizer, loss: crossEntropy, metrics: { loss: (out) => out.mean() } })).toThrow(
      /two measures named loss/,
    );
    expect(() => new Model(net).compile({ optimizer, loss: crossEntropy }).swapAverages()).toThrow(/ema/);
    const misspelt = new Model(net).compile({
      optimizer,
      loss: crossEntropy,
      schedule: { scheduler: { step: () => {}, stateDict: () => 0, loadStateDict: () => {} }, interval: 'epoch', monitor: 'valAcuracy' },
    });
    expect(await failure(misspelt.fit({ x, y }, { epochs: 1 }))).toMatch(/no measure valAcuracy/);
    model.dispose();
    misspelt.dispose();
    optimizer.dispose();
    net.dispose();
    x.dispose();
    y.dispose();
  });

  test.each(['bfloat16', 'float16'] as const)('learns in mixed precision, %s', async (autocast) => {
    const net = classifier(0);
    const data = asTensors(blobs(64));
    const seen: string[] = [];
    const model = new Model(net).compile({
      optimizer: (p) => new AdamW(p, { lr: 0.02 }),
      loss: (logits, y) => {
        seen.push(logits.dtype);
        return crossEntropy(logits, y);
      },
      autocast,
      clipGradNorm: 1,
    });
    const { epochs } = await model.fit({ ...data, batchSize: 16 }, { epochs: 6, seed: 1, validation: { ...data } });
    expect(new Set(seen)).toEqual(new Set([autocast]));
    expect(net.parameters().every((p) => p.dtype === 'float32')).toBe(true);
    expect(epochs[5].metrics.valLoss).toBeLessThan(0.2);
    model.dispose();
    net.dispose();
    data.x.dispose();
    data.y.dispose();
  });

  test('works inside functions that are traced', () => {
    const net = classifier();
    const { x, y } = asTensors(blobs(16));
    const step = trainStep({ net, optimizer: new SGD(net.parameters(), { lr: 0.1 }), loss: crossEntropy });
    const outer = jit((a: Tensor, b: Tensor) => step(a, b));
    const loss = outer(x, y);
    expect(Number(loss.item())).toBeGreaterThan(0);
    expect(step.programs).toHaveLength(0);
    for (const t of [loss, x, y]) t.dispose();
    outer.dispose();
    net.dispose();
  });
});
