/** What becomes of the data that a configuration describes. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Tensor } from 'trireme';
import { encodePng } from 'trireme/data/vision';
import { writeNpz } from 'trireme/io';
import type { JsonObject } from 'trireme/train';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import parquetFiles from '../../core/test/reference/parquet-files.json' with { type: 'json' };
import { disposeAll } from '../src/build.js';
import { ConfigDocument } from '../src/config/document.js';
import { type DataConfig, dataSchema } from '../src/config/read.js';
import { Reading } from '../src/config/schema.js';
import { openData } from '../src/sources/index.js';
import { describeOutputs } from '../src/sources/target.js';
import { makeFolder, parsed, trireme } from './support.js';

const folder = makeFolder();
const signal = new AbortController().signal;

function config(data: object): DataConfig {
  const file = join(folder, 'data.yaml');
  writeFileSync(file, stringify(data));
  const reading = new Reading(folder);
  const read = dataSchema.read(ConfigDocument.read(file).root, reading);
  if (read === undefined) throw new Error(JSON.stringify(reading.problems));
  return read;
}

interface Contents {
  readonly inputs: unknown[];
  readonly targets: unknown[];
  readonly dtypes: readonly [input: string, target: string];
  readonly shape: readonly number[];
}
/** Everything in one part, in the order of a pass. */
async function contents(
  data: object,
  {
    part = 'train',
    loss = 'CrossEntropyLoss',
    facts = null,
  }: { part?: 'train' | 'validation' | 'test'; loss?: string; facts?: JsonObject | null } = {},
): Promise<Contents & { facts: JsonObject }> {
  const opened = await openData(
    config({ shuffle: false, batchSize: 1000, ...data }),
    { options: {}, seed: 0, parts: [part], facts, signal },
    loss,
  );
  const loader = opened[part];
  if (loader === undefined || !opened.toTensors) throw new Error(`no ${part} data`);
  for await (const batch of loader as AsyncIterable<never>) {
    const [x, y] = opened.toTensors(batch) as unknown as readonly [Tensor, Tensor];
    const result = {
      inputs: x.toArray() as unknown[],
      targets: y.toArray() as unknown[],
      dtypes: [x.dtype, y.dtype] as const,
      shape: x.shape,
      facts: opened.facts as JsonObject,
    };
    disposeAll(x, y);
    await opened.close?.();
    return result;
  }
  throw new Error('no batch');
}

const write = (name: string, text: string | Uint8Array): string => {
  writeFileSync(join(folder, name), text);
  return name;
};

describe('tables', () => {
  test('numbers are normalized by the training rows, words become one of several, names of classes are sorted', async () => {
    const path = write('a.csv', 'x,word,y\n1,b,no\n3,a,yes\n5,b,no\n7,b,yes\n');
    const { inputs, targets, dtypes, facts } = await contents({ type: 'csv', path, target: 'y' });
    const step = 1 / Math.sqrt(5);
    expect(inputs.map((row) => (row as number[]).map((v) => Number((v / (Math.abs(v) === 1 || v === 0 ? 1 : step)).toFixed(3))))).toEqual([
      [-3, 0, 1],
      [-1, 1, 0],
      [1, 0, 1],
      [3, 0, 1],
    ]);
    expect(targets).toEqual([0, 1, 0, 1]);
    expect(dtypes).toEqual(['float32', 'int32']);
    expect(facts).toMatchObject({
      features: [{ mean: 4, std: Math.sqrt(5) }, { values: ['a', 'b'] }],
      target: { kind: 'class', classes: ['no', 'yes'] },
    });
    // Other rows are prepared as those of the training.
    const other = await contents(
      { type: 'csv', path: 'absent.csv', test: write('b.csv', 'y,x,word\nyes,4,a\n'), target: 'y' },
      { part: 'test', facts },
    );
    expect(other).toMatchObject({ inputs: [[0, 1, 0]], targets: [1] });
  });

  test('a loss of two classes gets 0 and 1; numbers stay numbers', async () => {
    const path = write('c.csv', 'x,y,z\n1,0,0.5\n2,1,1.5\n');
    expect(
      await contents({ type: 'csv', path, target: 'y', normalize: false, exclude: ['z'] }, { loss: 'BCEWithLogitsLoss' }),
    ).toMatchObject({ inputs: [[1], [2]], targets: [[0], [1]], dtypes: ['float32', 'float32'] });
    expect(await contents({ type: 'csv', path, target: ['z', 'x'], features: ['y'], normalize: false }, { loss: 'MSELoss' })).toMatchObject(
      {
        inputs: [[0], [1]],
        targets: [
          [0.5, 1],
          [1.5, 2],
        ],
      },
    );
  });

  test('JSON lines may hold lists of numbers; Parquet files are tables too', async () => {
    const path = write('d.jsonl', '{"v":[1,2],"w":3,"k":7}\n{"v":[4,5],"w":6,"k":9}\n');
    expect(await contents({ type: 'jsonl', path, target: 'k', normalize: false })).toMatchObject({
      inputs: [
        [1, 2, 3],
        [4, 5, 6],
      ],
      targets: [0, 1],
      facts: { target: { classes: ['7', '9'] } },
    });
    const [{ base64, rows }] = parquetFiles.cases;
    const file = write(
      'e.parquet',
      Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)),
    );
    const parquet = await contents(
      { type: 'parquet', path: file, target: 'x', features: ['count'], normalize: false },
      { loss: 'MSELoss' },
    );
    expect(parquet.inputs).toEqual(rows?.map((row) => [row.count]));
    expect(parquet.targets).toEqual(rows?.map((row) => [Math.fround(row.x)]));
  });

  test.each([
    ['x,y\n1,a\n,b\n', { target: 'y' }, /m\.csv: data\.features: x of row 2 is missing\. Expected a number\. missing: mean/],
    ['x,y\n1,a\n2,b\n', { target: 'z' }, /there is no column "z"\. Known are x, y\./],
    ['x,y\n1,a\n2,b\n', { target: 'y', features: ['X'] }, /data\.features: there is no column "X"\. Did you mean x\?/],
    ['x,y\n1,a\n2,b\n', { target: 'y', targetType: 'number' }, /the column y holds no numbers/],
    ['x,y\n1,a\n2,b\n3,c\n', { target: 'y', targetType: 'binary' }, /has 3 values\. Expected two/],
    ['x,y\n1,a\n2\n', { target: 'y' }, /line 3/],
    ['x,y\n1,a\n2,b\n', { target: 'y', split: { test: 0.9, validation: 0.2 } }, /nothing is left for training/],
  ])('%j with %j', async (text, options, message) => {
    await expect(contents({ type: 'csv', path: write('m.csv', text), ...options })).rejects.toThrow(message);
  });

  test('the parts of a split are disjoint, in proportion, and the same with another seed', async () => {
    const path = write('s.csv', `x,y\n${Array.from({ length: 50 }, (_, i) => `${i},${i % 5 === 0 ? 'rare' : 'often'}`).join('\n')}\n`);
    const data = { type: 'csv', path, target: 'y', normalize: false, split: { validation: 0.2, test: 0.3 } };
    const parts = await Promise.all((['train', 'validation', 'test'] as const).map((part) => contents(data, { part })));
    expect(parts.map((p) => p.inputs.length)).toEqual([25, 10, 15]);
    expect(parts.map((p) => p.targets.filter((t) => t === 1).length)).toEqual([5, 2, 3]);
    expect(new Set(parts.flatMap((p) => p.inputs.flat())).size).toBe(50);
  });
});

describe('arrays', () => {
  test('bytes of .npz files become numbers from 0 to 1, whole numbers stay', async () => {
    await writeNpz(join(folder, 'a.npz'), [
      ['x', { data: Uint8Array.of(0, 255, 51, 102), shape: [2, 2] }],
      ['tokens', { data: BigInt64Array.of(5n, 6n), shape: [2, 1] }],
      ['y', { data: BigInt64Array.of(2n, 0n), shape: [2] }],
    ]);
    const { inputs, targets, facts } = await contents({ type: 'npz', path: 'a.npz' });
    expect((inputs as number[][]).flat().map((v) => Number(v.toFixed(4)))).toEqual([0, 1, 0.2, 0.4]);
    expect(targets).toEqual([2, 0]);
    expect(facts).toMatchObject({ target: { classes: ['0', '1', '2'] } });
    expect(await contents({ type: 'npz', path: 'a.npz', inputs: 'tokens' })).toMatchObject({
      inputs: [[5], [6]],
      dtypes: ['int32', 'int32'],
    });
    await expect(contents({ type: 'npz', path: 'a.npz', inputs: 'absent' })).rejects.toThrow(/absent/);
  });

  test('IDX files, also gzipped, become [n, 1, height, width]', async () => {
    const images = Uint8Array.of(0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 255, 255, 0);
    const labels = Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 2, 1, 0);
    write('labels.idx', labels);
    const data = { type: 'idx', images: write('images.gz', gzipSync(images)), labels: 'labels.idx', mean: [0.5], std: [0.5] };
    expect(await contents(data)).toMatchObject({ shape: [2, 1, 1, 2], inputs: [[[[-1, 1]]], [[[1, -1]]]], targets: [1, 0] });
    write('labels.idx', Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 1, 1));
    await expect(contents(data)).rejects.toThrow(/has 1 targets for 2 items/);
  });
});

test('outputs are told by what they are', () => {
  const classes = ['a', 'b', 'c'];
  expect(describeOutputs({ data: [0, Math.log(2), 0], shape: [1, 3] }, ['x'], { kind: 'class', classes }, 'softmax')).toEqual([
    { input: 'x', class: 'b', probability: 0.5, probabilities: { a: 0.25, b: 0.5, c: 0.25 } },
  ]);
  expect(describeOutputs({ data: [-Math.log(3)], shape: [1, 1] }, ['x'], { kind: 'binary', classes: ['no', 'yes'] }, 'sigmoid')).toEqual([
    { input: 'x', class: 'no', probability: 0.75 },
  ]);
  expect(describeOutputs({ data: [1, 2], shape: [1, 2] }, ['x'], { kind: 'number', names: ['u', 'v'] }, 'none')).toEqual([
    { input: 'x', u: 1, v: 2 },
  ]);
  expect(describeOutputs({ data: [1, 2], shape: [1, 2, 1] }, ['x'], { kind: 'class', classes }, 'softmax')).toEqual([
    { input: 'x', output: [1, 2] },
  ]);
});

test('folders of pictures are read by workers, augmented, trained on and predicted', async () => {
  for (const [name, value] of [
    ['dark', 40],
    ['light', 210],
  ] as const) {
    mkdirSync(join(folder, 'pictures', name), { recursive: true });
    for (let i = 0; i < 8; i++) {
      const data = Uint8Array.from({ length: 10 * 12 * 3 }, (_, k) => value + ((k * 7 + i * 13) % 30));
      writeFileSync(join(folder, 'pictures', name, `${i}.png`), await encodePng({ width: 12, height: 10, channels: 3, data }));
    }
  }
  write(
    'pictures.yaml',
    `epochs: 4
model: [{ Conv2d: [3, 4, 3, { padding: same }] }, ReLU, { AdaptiveAvgPool2d: 1 }, Flatten, { Linear: [4, 2] }]
data:
  type: image-folder
  path: pictures
  size: [8, 8]
  batchSize: 8
  workers: 2
  mean: [0.5]
  std: [0.25]
  transforms: [horizontalFlip, { randomCrop: [8, { padding: 1 }] }, { colorJitter: { brightness: 0.1 } }]
loss: CrossEntropyLoss
optimizer: { Adam: { lr: 0.05 } }
metrics: [Accuracy]
log: { tensorBoard: false, report: false }
`,
  );
  const trained = await trireme(folder, ['train', 'pictures.yaml', '--json']);
  expect(parsed(trained)).toMatchObject({ ok: true, steps: 8 });
  const predicted = await trireme(folder, ['predict', 'pictures.yaml', 'pictures/light/3.png', 'pictures/dark/1.png', '--json']);
  expect(parsed(predicted)).toMatchObject({ predictions: [{ input: 'pictures/light/3.png', class: 'light' }, { class: 'dark' }] });
}, 60_000);

test('texts become token numbers of one length', async () => {
  const vocab = { '[PAD]': 0, '[UNK]': 1, good: 2, bad: 3, film: 4 };
  write(
    'tokenizer.json',
    JSON.stringify({ version: '1.0', pre_tokenizer: { type: 'Whitespace' }, model: { type: 'WordLevel', vocab, unk_token: '[UNK]' } }),
  );
  const path = write('films.csv', 'review,mark\ngood film,1\nbad bad bad film,0\nwhat,1\n');
  const data = { type: 'csv', path, target: 'mark', text: 'review', tokenizer: 'tokenizer.json', length: 3 };
  expect(await contents(data)).toMatchObject({
    inputs: [
      [2, 4, 0],
      [3, 3, 3],
      [1, 0, 0],
    ],
    targets: [1, 0, 1],
    dtypes: ['int32', 'int32'],
  });
});
