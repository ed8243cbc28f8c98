import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { ItemRandom } from 'trireme/data';
import { encodeWav } from 'trireme/data/audio';
import { writeFileAtomic, zipChunks } from 'trireme/io';
import { summary } from 'trireme/train';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bands, frames, inputOf, variedInput } from '../src/features.js';
import { architecture, KeywordNet } from '../src/model.js';
import { checksumOf, findRecordings, readRecordings, speakersOf, splitOf } from '../src/recordings.js';
import { pictureOf } from '../src/report.js';

const folder = mkdtempSync(join(tmpdir(), 'trireme-spoken-digits-'));
afterAll(() => rmSync(folder, { recursive: true }));
const recordings = join(folder, 'fsdd', 'recordings');
const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const run = (...args: string[]) => spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', timeout: 100_000 });

/** A word of two tones that depend on the digit, a little higher for each speaker and take, after some silence. */
function word(digit: number, speaker: number, take: number, rate = 8000): Float32Array {
  const random = new ItemRandom(digit, speaker, take);
  const pitch = 1 + 0.05 * speaker + random.uniform(-0.02, 0.02);
  const [low, high] = [300 * 1.28 ** (digit % 5), digit < 5 ? 1 : 3].map((f) => f * pitch);
  return Float32Array.from({ length: Math.round(0.5 * rate) }, (_, i) => {
    const t = i / rate - 0.1;
    const tone = t < 0 ? 0 : Math.sin(2 * Math.PI * low * (t < 0.2 ? 1 : high) * t);
    return 0.4 * tone + 0.001 * random.normal();
  });
}

beforeAll(() => {
  mkdirSync(recordings, { recursive: true });
  for (let digit = 0; digit < 10; digit++) {
    for (const [speaker, name] of ['ada', 'bob'].entries()) {
      for (let take = 0; take < 12; take++) {
        const clip = { sampleRate: 8000, channels: [word(digit, speaker, take)] };
        writeFileSync(join(recordings, `${digit}_${name}_${take}.wav`), encodeWav(clip));
      }
    }
  }
});

describe('the recordings', () => {
  test('are read from a folder, by digit, speaker and take', async () => {
    const source = await findRecordings({ folder: join(folder, 'fsdd') });
    expect(source).toEqual({ folder: recordings });
    const all = await readRecordings(source);
    expect(all).toHaveLength(240);
    expect(speakersOf(all)).toEqual(['ada', 'bob']);
    expect(all.slice(10, 13).map(({ digit, speaker, take }) => [digit, speaker, take])).toEqual([
      [0, 'ada', 10],
      [0, 'ada', 11],
      [0, 'bob', 0],
    ]);
    await expect(readRecordings({ folder })).rejects.toThrow(/--data-dir/);
  });
  test('are split by take, or by speaker', async () => {
    const all = await readRecordings({ folder: recordings });
    const own = splitOf(all);
    expect([own.train.length, own.test.length]).toEqual([140, 100]);
    expect(Array.from(own.test).every((i) => all[i].take < 5)).toBe(true);
    const { train, test: held } = splitOf(all, 'bob');
    expect([train.length, held.length]).toEqual([120, 120]);
    expect(Array.from(train).some((i) => all[i].speaker === 'bob')).toBe(false);
    expect(() => splitOf(all, 'eve')).toThrow(/one of ada, bob|no speaker eve/);
  });
  test('in an archive are those of the data set, or none', async () => {
    const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
    // What `sha256sum * | sha256sum` says of these files.
    const files = [['b.wav', bytes('hello\n')] as const, ['a.wav', bytes('a\n')] as const, ['a-b.wav', bytes('')] as const];
    expect(checksumOf(files)).toBe('ed7d0df41f3b8a08e89302b4baa6b06771b1c0918df119549a59d25f390518a9');
    const zip = join(folder, 'other.zip');
    await writeFileAtomic(zip, await zipChunks([['x/recordings/1_ada_0.wav', bytes('no sound')]]));
    await expect(readRecordings({ zip })).rejects.toThrow(/are others/);
  });
  test('that cannot be downloaded say what to do', async () => {
    await expect(findRecordings({ url: 'http://127.0.0.1:9/x.zip', cacheDir: join(folder, 'cache') })).rejects.toThrow(/--data-dir/);
    expect(existsSync(join(folder, 'cache'))).toBe(false);
  });
  // The whole data set: FSDD_DIR=<clone of it> npx vitest run --project node examples/spoken-digits
  test.skipIf(!process.env.FSDD_DIR)('of the data set itself are 3,000, and an archive of them is known', async () => {
    const source = await findRecordings();
    const all = await readRecordings(source);
    expect(speakersOf(all)).toEqual(['george', 'jackson', 'lucas', 'nicolas', 'theo', 'yweweler']);
    const { train, test: held } = splitOf(all);
    expect([train.length, held.length]).toEqual([2700, 300]);
    if (!('folder' in source)) return;
    const zip = join(folder, 'fsdd.zip');
    const names = all.map(({ digit, speaker, take }) => `${digit}_${speaker}_${take}.wav`);
    await writeFileAtomic(
      zip,
      await zipChunks(names.map((name) => [`fsdd-1/recordings/${name}`, readFileSync(join(source.folder, name))] as const)),
    );
    const again = await readRecordings({ zip });
    expect(again[2999]).toEqual(all[2999]);
  });
});

describe('spectrograms', () => {
  test('do not depend on how loud or when a word was spoken', () => {
    const samples = word(3, 0, 0);
    const { data, rows, frames: columns } = inputOf(samples);
    expect([rows, columns]).toEqual([bands, frames]);
    expect(Math.max(...data)).toBeCloseTo(1, 5);
    expect(Math.min(...data)).toBeGreaterThanOrEqual(-1);
    inputOf(samples.map((v) => v / 8)).data.forEach((v, i) => expect(v).toBeCloseTo(data[i], 3));
  });
  test('vary by seed, recording and epoch alone', () => {
    const samples = word(3, 0, 0);
    const make = (epoch: number) => variedInput(samples, new ItemRandom(1, 2, epoch));
    expect(make(1)).toEqual(make(1));
    expect(make(1)).not.toEqual(make(2));
    expect([make(1).rows, make(1).frames]).toEqual([bands, frames]);
  });
  test('as pictures have low tones at the bottom', () => {
    const data = new Float32Array(bands * frames).fill(-1);
    data.fill(1, 0, frames);
    const { width, height, data: pixels } = pictureOf({ data, rows: bands, frames });
    expect([width, height]).toEqual([frames, bands]);
    expect([pixels[0], pixels[3 * width * (height - 1)]]).toEqual([0, 252]);
  });
});

test('the network has the size that the README tells', () => {
  const net = new KeywordNet(architecture);
  const { parameters, macs } = summary(net, [1, 1, bands, frames]);
  net.dispose();
  expect(parameters).toBe(162_930);
  expect(Math.round(macs / 1e5)).toBe(126);
});

describe('the command', () => {
  test('learns words, prints one line of JSON, and tells digits from files', () => {
    const out = join(folder, 'out');
    const { status, stdout, stderr } = run('--json', '--data-dir', recordings, '--epochs', '5', '--batch-size', '20', '--out', out);
    expect(status, stderr).toBe(0);
    expect(stdout.trimEnd().split('\n')).toHaveLength(1);
    const result = JSON.parse(stdout) as { accuracy: number; report: string; model: string };
    expect(result).toMatchObject({ parameters: 162_930, epochs: 5, tier: 'wasm' });
    expect(result.accuracy).toBeGreaterThan(0.6);
    const page = readFileSync(result.report, 'utf8');
    for (const title of ['Confusion matrix', 'Misheard', 'Spectrograms', 'Training recordings, varied']) expect(page).toContain(title);

    // At another rate, with two channels, by a model that a new process loads.
    const file = join(folder, 'seven.wav');
    const channel = word(7, 0, 1, 16_000);
    writeFileSync(file, encodeWav({ sampleRate: 16_000, channels: [channel, channel] }));
    const told = run('predict', file, join(recordings, '2_bob_3.wav'), '--out', out, '--json');
    expect(told.status, told.stderr).toBe(0);
    const lines = told.stdout.trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line) as object)).toEqual([
      { file, digit: expect.any(Number) as number, probability: expect.any(Number) as number },
      { file: join(recordings, '2_bob_3.wav'), digit: expect.any(Number) as number, probability: expect.any(Number) as number },
    ]);
    const held = run('--json', '--data-dir', recordings, '--held-out', 'all', '--epochs', '1', '--batch-size', '20', '--out', out);
    expect(held.status, held.stderr).toBe(0);
    expect(Object.keys((JSON.parse(held.stdout) as { bySpeaker: object }).bySpeaker)).toEqual(['ada', 'bob']);
  }, 200_000);
  test('says what is wrong, and ends with 1', () => {
    const cases: [string[], RegExp][] = [
      [['--data-dir', folder], /holds no recordings/],
      [['--data-dir', recordings, '--held-out', 'eve'], /no speaker eve/],
      [['--data-dir', recordings, '--epochs', 'many'], /1 or more/],
      [['predict', '--out', folder], /no sound files/],
      [['predict', 'x.wav', '--out', join(folder, 'none')], /model\.safetensors/],
      [['listen'], /no command listen/],
    ];
    for (const [args, message] of cases) {
      const { status, stderr } = run(...args);
      expect(status).toBe(1);
      expect(stderr).toMatch(message);
      expect(stderr).not.toMatch(/\n\s+at /);
    }
  }, 60_000);
});
