/** Runs that are described in a script, and their interruption. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { CheckpointStore } from 'trireme/train';
import { beforeAll, describe, expect, test } from 'vitest';
import { makeFolder, parsed, trireme } from './support.js';

const folder = makeFolder();

/** Dropout, running statistics, shuffling, momentum, averages: what a resumed training must find again. */
const script = `
import { crossEntropy, nn, tensor } from 'trireme';
import { ArrayDataset, DataLoader, normalArray } from 'trireme/data';
import { Accuracy } from 'trireme/metrics';
import { SGD } from 'trireme/optim';
import { fieldsToTensors, LambdaCallback } from 'trireme/train';
import { defineRun } from '@trireme/cli';

console.log('loading');
export default defineRun({
  name: 'spirals',
  options: { lr: 0.05, hidden: [32, 32], delay: 0, stubborn: false, model: { dropout: 0.2 } },
  epochs: 3,
  net: ({ hidden: [a, b], model }) => new nn.Sequential(
    new nn.Linear(8, a), new nn.BatchNorm1d(a), new nn.ReLU(), new nn.Dropout(model.dropout), new nn.Linear(a, b), new nn.ReLU(), new nn.Linear(b, 3),
  ),
  data: ({ seed, parts }) => {
    const data = new ArrayDataset({
      x: { data: normalArray(8 * 160, 5), shape: [8] },
      y: { data: Int32Array.from({ length: 160 }, (_, i) => (i * 7) % 3), shape: [] },
    });
    return {
      train: new DataLoader(data, { batchSize: 16, shuffle: true, seed }),
      test: new DataLoader(data, { batchSize: 80 }),
      toTensors: fieldsToTensors('x', 'y'),
      facts: { rows: data.length },
    };
  },
  compile: ({ lr }) => ({ optimizer: (p) => new SGD(p, { lr, momentum: 0.9 }), loss: crossEntropy, metrics: [new Accuracy()], ema: 0.9 }),
  callbacks: ({ options }) => [new LambdaCallback({
    onBatchEnd: async (run, { epoch, batch }) => {
      if (options.delay === 0) return;
      process.stderr.write('batch ' + epoch + '.' + batch + '\\n');
      await new Promise((resolve) => setTimeout(resolve, options.delay));
    },
    onAbort: () => options.stubborn ? new Promise((resolve) => setTimeout(resolve, 30_000)) : undefined,
  })],
  predict: async ({ inputs, model, facts }) => {
    const x = tensor(inputs.map((text) => JSON.parse(text)));
    const { data } = await model.predict(x, { as: 'array' });
    x.dispose();
    return inputs.map((input, i) => ({ input, rows: facts.rows, scores: Array.from(data.subarray(3 * i, 3 * i + 3)) }));
  },
});
`;
const weights = (output: string): string => readFileSync(join(folder, output, 'model.safetensors'), 'base64');

beforeAll(() => writeFileSync(join(folder, 'spirals.mjs'), script));

describe.skipIf(process.platform === 'win32')('an interruption', () => {
  test('saves a checkpoint and says how to go on; then the training ends with the same bits as one that never stopped', async () => {
    const whole = await trireme(folder, ['train', 'spirals.mjs', '--output', 'whole', '--json']);
    expect(parsed(whole)).toMatchObject({ ok: true, epochs: 3, steps: 30, test: expect.anything() });

    const slow = ['train', 'spirals.mjs', '--output', 'stopped', '--json', '--set', 'delay=25'];
    let again = slow;
    for (const [signal, place] of [
      ['SIGINT', 'batch 1.4'],
      ['SIGTERM', 'batch 2.7'],
    ] as const) {
      let sent = false;
      const stopped = await trireme(folder, again, {
        watch: (text, kill) => {
          if (sent || !text.includes(`${place}\n`)) return;
          sent = true;
          kill(signal);
        },
      });
      expect(stopped.code).toBe(130);
      expect(stopped.stderr).toMatch(/Go on with:\n {2}trireme train spirals\.mjs --output stopped --json --set delay=25 --resume/);
      expect(parsed(stopped)).toMatchObject({ ok: false, interrupted: signal, checkpoint: { epoch: Number(place.at(6)) } });
      again = [...slow, '--resume'];
    }
    const { checkpoints } = await CheckpointStore.open(join(folder, 'stopped/checkpoints'));
    expect(checkpoints.at(-1)).toMatchObject({ epoch: 2, epochEnd: false });
    const resumed = parsed(await trireme(folder, [...slow.slice(0, -1), 'delay=0', '--resume']));
    expect(resumed).toMatchObject({ ok: true, epochs: 3, steps: 30, resumed: { epoch: 2 } });
    expect(resumed.metrics).toEqual(parsed(whole).metrics);
    expect(weights('stopped')).toBe(weights('whole'));
  }, 60_000);

  test('ends the process at once when it comes a second time', async () => {
    let signals = 0;
    const started = Date.now();
    const { code } = await trireme(folder, ['train', 'spirals.mjs', '--output', 'twice', '--set', 'delay=10', '--set', 'stubborn=true'], {
      watch: (text, kill) => {
        if (signals === 0 && text.includes('batch 1.2\n')) {
          signals = 1;
          kill('SIGINT');
        } else if (signals === 1 && text.includes('saving a checkpoint')) {
          signals = 2;
          kill('SIGINT');
        }
      },
    });
    expect(code).toBe(130);
    expect(Date.now() - started).toBeLessThan(25_000);
  }, 60_000);
});

describe('a script', () => {
  test('takes options from the command line by the type of their defaults, and is evaluated with its averages', async () => {
    const args = ['--set', 'hidden=[8, 4]', '--set', 'model.dropout=0', '--seed', '3', '--output', 'small', '--json'];
    const trained = parsed<{ parameters: number; seed: number; test: object }>(
      await trireme(folder, ['train', 'spirals.mjs', '--epochs', '1', ...args]),
    );
    expect(trained).toMatchObject({ parameters: 8 * 8 + 8 + 16 + 8 * 4 + 4 + 4 * 3 + 3, seed: 3 });
    expect(parsed(await trireme(folder, ['eval', 'spirals.mjs', ...args]))).toMatchObject({ metrics: trained.test });
    // The output folder knows the options too.
    expect(parsed(await trireme(folder, ['eval', 'small', '--json']))).toMatchObject({ metrics: trained.test });
    const predicted = parsed<{ predictions: { rows: number; scores: number[] }[] }>(
      await trireme(folder, ['predict', 'small', '[1,2,3,4,5,6,7,8]', '--json']),
    );
    expect(predicted.predictions).toHaveLength(1);
    expect(predicted.predictions[0]).toMatchObject({ rows: 160, scores: [expect.any(Number), expect.any(Number), expect.any(Number)] });
  }, 60_000);

  test.each([
    [['--set', 'hiden=3'], 3, /--set hiden: hiden: the run has no option hiden\. Did you mean hidden\?/],
    [['--set', 'lr=fast'], 3, /--set lr: lr: is "fast"\. Expected a number, as the default 0\.05/],
    [['--set', 'lr'], 2, /--set lr has no value/],
  ])('%j ends with %i', async (args, code, message) => {
    const ended = await trireme(folder, ['summary', 'spirals.mjs', ...args]);
    expect(ended.stderr).toMatch(message);
    expect(ended.code).toBe(code);
  });

  test('that fails tells it with its stack and ends with 1; one that is no run, with 3', async () => {
    writeFileSync(
      join(folder, 'broken.mjs'),
      script.replace(
        'net: ({ hidden: [a, b], model }) =>',
        "net: () => { throw new RangeError('no such net'); }, old: ({ hidden: [a, b], model }) =>",
      ),
    );
    const broken = await trireme(folder, ['train', 'broken.mjs', '--json']);
    expect(broken.code).toBe(1);
    expect(broken.stderr).toMatch(/RangeError: no such net\n {4}at .*broken\.mjs/);
    expect(parsed(broken)).toMatchObject({ ok: false, exitCode: 1, error: { name: 'RangeError' } });
    writeFileSync(join(folder, 'empty.mjs'), 'export default { epochs: 3 };');
    const empty = await trireme(folder, ['train', 'empty.mjs']);
    expect(empty.code).toBe(3);
    expect(empty.stderr).toMatch(/empty\.mjs: exports an object by default, which is no run\. Expected export default defineRun/);
  });

  test.skipIf('typescript' in process.features && process.features.typescript !== false)(
    'in TypeScript needs a Node.js that strips types, and says so',
    async () => {
      writeFileSync(join(folder, 'typed.ts'), script);
      const { code, stderr } = await trireme(folder, ['train', 'typed.ts']);
      expect(code).toBe(3);
      expect(stderr).toMatch(/typed\.ts: Node\.js .* does not run TypeScript\. Expected Node\.js 22\.18 or newer/);
    },
  );

  test('whose loss is NaN ends with 1, without weights', async () => {
    const diverged = await trireme(folder, ['train', 'spirals.mjs', '--set', 'lr=1e30', '--output', 'nan', '--json']);
    expect(diverged.code).toBe(1);
    expect(parsed(diverged)).toMatchObject({
      ok: false,
      outcome: 'stopped',
      reason: expect.stringMatching(/the loss is (NaN|Infinity)/),
      weights: null,
    });
    expect(existsSync(join(folder, 'nan/model.safetensors'))).toBe(false);
  });
});
