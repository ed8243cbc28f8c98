/** What a training writes to disk. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { crossEntropy } from '../../src/ops/loss.js';
import { AdamW } from '../../src/optim/index.js';
import {
  type Callback,
  CheckpointStore,
  CsvLogger,
  HtmlReport,
  JsonlLogger,
  LambdaCallback,
  Model,
  ModelCheckpoint,
  type ReportSection,
  renderReport,
  TensorBoard,
} from '../../src/train/index.js';
import { asTensors, blobs, classifier, weightsOf } from './toy.js';

const folder = mkdtempSync(join(tmpdir(), 'trireme-logs-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);

async function train(
  callbacks: readonly Callback[],
  options: { epochs?: number; resume?: boolean; signal?: AbortSignal; ema?: number } = {},
) {
  const net = classifier();
  const data = asTensors(blobs(48));
  const { epochs = 3, resume, signal, ema } = options;
  const model = new Model(net).compile({
    optimizer: (p) => new AdamW(p, { lr: 0.02 }),
    loss: crossEntropy,
    metrics: { accuracy: (logits, y) => logits.argmax(1).eq(y).float().mean() },
    ema,
  });
  try {
    const history = await model.fit({ ...data, batchSize: 16 }, { epochs, seed: 7, resume, signal, validation: { ...data }, callbacks });
    return { history, weights: weightsOf(net) };
  } finally {
    model.dispose();
    net.dispose();
    data.x.dispose();
    data.y.dispose();
  }
}

test('CSV and JSON lines have every epoch, also when training is resumed', async () => {
  const loggers = () => [
    new ModelCheckpoint({ directory: at('run') }),
    new CsvLogger(at('logs/run.csv')),
    new JsonlLogger(at('logs/run.jsonl'), { everySteps: 2 }),
  ];
  await train(loggers(), { epochs: 2 });
  const { history } = await train(loggers(), { epochs: 4, resume: true });
  expect(history.epochs.map((e) => e.epoch)).toEqual([1, 2, 3, 4]);
  const [head, ...rows] = readFileSync(at('logs/run.csv'), 'utf8').trimEnd().split('\n');
  expect(head).toBe('epoch,step,lr,seconds,items,loss,accuracy,valLoss,valAccuracy');
  expect(rows.map((row) => row.split(',').slice(0, 2).join())).toEqual(['1,3', '2,6', '3,9', '4,12']);
  const lines = readFileSync(at('logs/run.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { type: string; step: number; valLoss?: number });
  expect(lines.map(({ type, step }) => `${type} ${step}`)).toEqual(
    'begin 0,step 2,epoch 3,step 4,step 6,epoch 6,begin 6,step 8,epoch 9,step 10,step 12,epoch 12,end 12'.split(','),
  );
  expect(lines[2].valLoss).toBe(history.epochs[0].metrics.valLoss);
});

test('a resumed training ends with the weights of one that never stopped', async () => {
  const checkpoint = () => [new ModelCheckpoint({ directory: at('halves') })];
  const { weights: wanted } = await train([], { epochs: 4, ema: 0.9 });
  await train(checkpoint(), { epochs: 2, ema: 0.9 });
  const { weights } = await train(checkpoint(), { epochs: 4, resume: true, ema: 0.9 });
  expect(weights).toEqual(wanted);
});

test('an AbortSignal leaves a checkpoint of the last step, and resuming from it changes nothing', async () => {
  const { weights: wanted } = await train([], { epochs: 3 });
  const controller = new AbortController();
  const stop = new LambdaCallback({
    onBatchEnd: (_, { step }) => {
      if (step === 5) controller.abort('enough');
    },
  });
  const checkpoint = () => new ModelCheckpoint({ directory: at('aborted') });
  // The message alone: an error that is kept would keep alive what its stack refers to.
  const failure = await train([stop, checkpoint()], { signal: controller.signal }).then(String, (error: unknown) => String(error));
  expect(failure).toBe('enough');
  const { checkpoints } = await CheckpointStore.open(at('aborted'));
  expect(checkpoints.map((c) => c.step)).toContain(5);
  expect((await train([checkpoint()], { resume: true })).weights).toEqual(wanted);
});

test('the best and the newest checkpoints are kept; another optimizer cannot resume from them', async () => {
  const checkpoint = new ModelCheckpoint({ directory: at('best'), monitor: 'valAccuracy', keepBest: 2, keepLast: 1 });
  const { history } = await train([checkpoint], { epochs: 6 });
  const ranked = [...history.epochs].sort((a, b) => b.metrics.valAccuracy - a.metrics.valAccuracy || a.epoch - b.epoch);
  const wanted = new Set([ranked[0].epoch, ranked[1].epoch, 6]);
  expect(checkpoint.checkpoints.map((c) => c.epoch)).toEqual([...wanted].sort());
  expect(checkpoint.best?.epoch).toBe(ranked[0].epoch);
  expect(
    readdirSync(at('best'))
      .filter((name) => name !== 'manifest.json')
      .sort(),
  ).toEqual(checkpoint.checkpoints.map((c) => c.name));

  const net = classifier();
  const model = new Model(net);
  await model.load(at('best'));
  await model.save(at('weights.safetensors'));
  const loaded = weightsOf(net);
  net.parameters()[0].detach().zero_();
  await model.load(at('weights.safetensors'));
  expect(weightsOf(net)).toEqual(loaded);
  net.dispose();
  const { SGD } = await import('../../src/optim/index.js');
  const other = classifier();
  const data = asTensors(blobs(8));
  const wrong = new Model(other).compile({ optimizer: (p) => new SGD(p, { lr: 1 }), loss: crossEntropy });
  await expect(wrong.fit(data, { epochs: 9, resume: at('best') })).rejects.toThrow(/optimizer "AdamW".*the same optimizer/);
  wrong.dispose();
  other.dispose();
  data.x.dispose();
  data.y.dispose();
});

test('TensorBoard files hold the whole training', async () => {
  await train([new TensorBoard({ directory: at('board'), graph: [1, 2], histogramsEvery: 1 })]);
  const [file] = readdirSync(at('board'));
  expect(file).toMatch(/^events\.out\.tfevents\.\d+\./);
  const text = readFileSync(join(at('board'), file), 'latin1');
  for (const tag of ['batch/loss', 'lr', 'accuracy/validation', 'loss/train', 'weights/0.weight', '_hparams_/session_end_info', 'AdamW']) {
    expect(text).toContain(tag);
  }
});

test('the report is one page without scripts, and everything from outside is escaped', async () => {
  const evil = '<script>alert("x")</script>';
  const sections = (): readonly ReportSection[] => [
    {
      kind: 'confusion',
      title: evil,
      matrix: {
        classNames: [evil, 'b'],
        counts: [
          [3, 1],
          [0, 4],
        ],
      },
    },
    {
      kind: 'images',
      title: 'Samples',
      images: [{ image: { width: 2, height: 1, channels: 1, data: Uint8Array.of(0, 255) }, caption: evil }],
    },
    { kind: 'text', title: 'Notes', text: evil },
    { kind: 'table', title: 'Rows', table: { columns: [evil], rows: [[evil, evil]] } },
    {
      kind: 'charts',
      title: 'More',
      charts: [
        {
          title: evil,
          axis: evil,
          series: [
            {
              name: evil,
              points: [
                [0, 1],
                [1, Number.NaN],
                [2, 3],
              ],
            },
          ],
        },
      ],
    },
  ];
  const { history } = await train([new HtmlReport({ path: at('reports/run.html'), title: evil, facts: { [evil]: evil }, sections })]);
  const html = readFileSync(at('reports/run.html'), 'utf8');
  expect(html).not.toMatch(/<script|https?:\/\/(?!www\.w3\.org)|javascript:|\son\w+=/i);
  expect(html).toContain('&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;');
  expect(html.match(/<polyline/g)?.length).toBeGreaterThanOrEqual(6);
  expect(html).toMatch(/aria-label="loss by epoch"/);
  expect(html).toContain(`<td>${history.epochs[2].step}</td>`);
  expect(html).toContain('AdamW');
  expect(html).toContain('data:image/png;base64,iVBOR');
});

test('pictures of a report have the size that was asked for, and room for it', async () => {
  const image = { width: 4, height: 2, channels: 1, data: new Uint8Array(8) } as const;
  const figures = async (size?: number): Promise<string> =>
    renderReport({ title: 'sizes', facts: {}, sections: [{ kind: 'images', title: 'one', images: [{ image, caption: 'a' }], size }] });
  expect(await figures()).toMatch(/<figure style="max-width:220px"><img width="96" height="48"/);
  expect(await figures(960)).toMatch(/<figure style="max-width:976px"><img width="960" height="480"/);
});

test('the curves of a report leave gaps where values are not finite, and survive having none', async () => {
  const page = await renderReport({
    title: 'gaps',
    facts: {},
    sections: [
      {
        kind: 'charts',
        title: 'c',
        charts: [
          {
            title: 'a',
            axis: 'step',
            log: true,
            series: [
              {
                name: 's',
                points: [
                  [1, 10],
                  [2, 1],
                  [3, Number.POSITIVE_INFINITY],
                  [4, 100],
                ],
              },
            ],
          },
          { title: 'none', axis: 'step', series: [{ name: 's', points: [[1, Number.NaN]] }] },
          { title: 'one', axis: 'step', series: [{ name: 's', points: [[1, 5]] }] },
        ],
      },
    ],
  });
  expect(page.match(/<polyline/g)).toHaveLength(1);
  expect(page.match(/<circle/g)).toHaveLength(2);
  expect(page).not.toContain('NaN');
});
