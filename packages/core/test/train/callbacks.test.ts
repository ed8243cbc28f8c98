import { describe, expect, test } from 'vitest';
import { noGrad } from '../../src/autograd/mode.js';
import { Linear } from '../../src/nn/index.js';
import { crossEntropy } from '../../src/ops/loss.js';
import { SGD } from '../../src/optim/index.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import {
  type Callback,
  EarlyStopping,
  formatDuration,
  formatNumber,
  type History,
  LambdaCallback,
  LearningRateLogger,
  type MetricLike,
  Model,
  ProgressBar,
  ReduceLROnPlateau,
  TerminateOnNaN,
} from '../../src/train/index.js';
import { asTensors, blobs, weightsOf } from './toy.js';

/** A measure with given values, one an epoch. */
function scripted(values: readonly number[]): MetricLike {
  let epoch = -1;
  return { name: 'score', update: () => undefined, compute: () => values[epoch], reset: () => void epoch++ };
}

async function train(
  callbacks: readonly Callback[],
  { epochs, scores = [], lr = 0.1 }: { readonly epochs: number; readonly scores?: readonly number[]; readonly lr?: number },
): Promise<{ history: History; weights: Record<string, number[]>; lr: number }> {
  const net = new Linear(2, 2);
  const { x, y } = asTensors(blobs(20));
  const model = new Model(net).compile({
    optimizer: (p) => new SGD(p, { lr }),
    loss: crossEntropy,
    metrics: scores.length > 0 ? [scripted(scores)] : [],
  });
  try {
    const history = await model.fit({ x, y, batchSize: 10 }, { epochs, callbacks, seed: 1 });
    return { history, weights: weightsOf(net), lr: model.optimizer.lr };
  } finally {
    model.dispose();
    net.dispose();
    x.dispose();
    y.dispose();
  }
}

test('hooks run in order, and asynchronous ones are waited for', async () => {
  const seen: string[] = [];
  const note = (text: string) => async (): Promise<void> => {
    await new Promise((resolve) => setTimeout(resolve, 1));
    seen.push(text);
  };
  await train(
    [
      new LambdaCallback({
        onTrainBegin: note('begin'),
        onEpochBegin: (_, epoch) => void seen.push(`epoch ${epoch}`),
        onBatchEnd: (run, { batch, step }) => void seen.push(`batch ${batch} of ${run.batchesPerEpoch}, step ${step}`),
        onEpochEnd: note('epoch end'),
        onTrainEnd: (_, { outcome }) => note(outcome)(),
      }),
    ],
    { epochs: 2 },
  );
  expect(seen).toEqual([
    'begin',
    ...['epoch 1', 'batch 1 of 2, step 1', 'batch 2 of 2, step 2', 'epoch end'],
    ...['epoch 2', 'batch 1 of 2, step 3', 'batch 2 of 2, step 4', 'epoch end'],
    'finished',
  ]);
});

test('a callback that fails ends training with its error, and the others learn of it', async () => {
  const outcomes: string[] = [];
  const failing = new LambdaCallback({
    onBatchEnd: () => {
      throw new Error('no more');
    },
    onTrainEnd: (_, { outcome }) => void outcomes.push(outcome),
  });
  await expect(train([failing], { epochs: 1 })).rejects.toThrow('no more');
  expect(outcomes).toEqual(['failed']);
});

describe('early stopping', () => {
  test('waits for its patience, and puts the best weights back', async () => {
    const kept: Record<string, number[]>[] = [];
    const stopping = new EarlyStopping({ monitor: 'score', patience: 2, restoreBest: true });
    const look = new LambdaCallback({ onEpochEnd: (run) => void kept.push(weightsOf(run.net)) });
    const { history, weights } = await train([look, stopping], { epochs: 10, scores: [0.5, 0.7, 0.6, 0.7, 0.9] });
    expect(history.epochs).toHaveLength(4);
    expect(history).toMatchObject({ outcome: 'stopped', reason: expect.stringMatching(/score .* best 0.7 in epoch 2/) });
    expect(stopping).toMatchObject({ best: 0.7, bestEpoch: 2 });
    expect(weights).toEqual(kept[1]);
    expect(kept[3]).not.toEqual(kept[1]);
  });
  test('may watch several measures', async () => {
    const both = [new EarlyStopping({ monitor: 'score', patience: 1 }), new EarlyStopping({ monitor: 'loss', patience: 9 })];
    const { history } = await train(both, { epochs: 5, scores: [2, 1, 1] });
    expect(history).toMatchObject({ outcome: 'stopped', reason: expect.stringMatching(/^score/) });
  });
  test('takes less as better for a loss, and asks for a smallest change', async () => {
    const stopping = new EarlyStopping({ patience: 1, minDelta: 100 });
    const { history } = await train([stopping], { epochs: 5 });
    expect(history.epochs).toHaveLength(2);
  });
  test('says which measures there are when it was given another', async () => {
    await expect(train([new EarlyStopping({ monitor: 'valScore' })], { epochs: 1 })).rejects.toThrow(/one of loss.*validation data/);
  });
});

test('the learning rate is reduced on a plateau, not below its least', async () => {
  const logger = new LearningRateLogger({ interval: 'epoch' });
  const reduce = new ReduceLROnPlateau({ monitor: 'score', factor: 0.1, patience: 1, cooldown: 1, minLr: 0.005 });
  await train([reduce, logger], { epochs: 8, scores: [1, 1, 1, 1, 1, 1, 1, 1] });
  // Epoch 3 is the second without improvement; the fourth is not counted.
  expect(logger.history.map(({ lrs }) => Number(lrs[0].toPrecision(6)))).toEqual([0.1, 0.1, 0.01, 0.01, 0.01, 0.005, 0.005, 0.005]);
  expect(logger.history.map(({ step }) => step)).toEqual([2, 4, 6, 8, 10, 12, 14, 16]);
});

test('a loss that is no number ends training', async () => {
  const spoil = new LambdaCallback({
    onEpochEnd: ({ net }, { epoch }) => {
      if (epoch === 2) noGrad(() => (net as unknown as { weight: Tensor }).weight.fill_(Number.NaN));
    },
  });
  const { history } = await train([spoil, new TerminateOnNaN()], { epochs: 9 });
  expect(history).toMatchObject({ outcome: 'stopped', reason: 'the loss is NaN in epoch 3, batch 1' });
  expect(history.epochs).toHaveLength(2);
});

describe('progress', () => {
  const collect = (isTTY: boolean) => {
    const parts: string[] = [];
    return { parts, output: { write: (text: string) => parts.push(text), isTTY, columns: 100 } };
  };
  test('is plain lines where there is no terminal', async () => {
    const { parts, output } = collect(false);
    await train([new ProgressBar({ output, interval: 0 })], { epochs: 2 });
    const text = parts.join('');
    expect(text).not.toContain('\u001b');
    expect(text).toMatch(/ 50 % {2}epoch 1\/2 {2}1\/2 {2}loss [\d.]+ {2}\d+ items\/s {2}[\d.]+ m?s left\n/);
    expect(text).toMatch(/\nepoch 2\/2 {2}loss [\d.]+ {2}[\d.]+ m?s {2}\d+ items\/s\n$/);
  });
  test('is a bar on a terminal, taken away at the end, and lines for the epochs', async () => {
    const { parts, output } = collect(true);
    const slow = new LambdaCallback({ onBatchEnd: () => new Promise<void>((resolve) => setTimeout(resolve, 120)) });
    await train([slow, new ProgressBar({ output })], { epochs: 2 });
    const bars = parts.filter((part) => part.includes('█'));
    expect(bars.length).toBeGreaterThan(0);
    for (const bar of bars) expect(bar.replace('\r\u001b[K', '').length).toBeLessThan(100);
    expect(parts.filter((part) => part.startsWith('epoch'))).toHaveLength(2);
    expect(parts.at(-1)).not.toContain('█');
  });
  test('cannot be made to move the cursor by a name', () => {
    const { parts, output } = collect(false);
    new ProgressBar({ output }).line('a\u001b[2Jb\nc');
    expect(parts).toEqual(['a [2Jb c\n']);
  });
  test.each([
    [0.0452, '45 ms'],
    [3.21, '3.2 s'],
    [59.4, '59 s'],
    [245, '4 min 05 s'],
    [7620, '2 h 07 min'],
  ])('writes %s seconds as %s', (seconds, text) => expect(formatDuration(seconds)).toBe(text));
  test.each([
    [0.12345, '0.1235'],
    [12.3456, '12.35'],
    [1234, '1234'],
    [0.0000123, '1.23e-5'],
    [Number.NaN, 'NaN'],
  ])('writes %s as %s', (value, text) => expect(formatNumber(value)).toBe(text));
});
