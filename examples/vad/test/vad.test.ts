import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type AudioClip, readAudio, toMono, writeWav } from 'trireme/data/audio';
import { afterAll, describe, expect, test } from 'vitest';
import { frameSeconds, type Rate, SpeechDetector } from '../src/detector.js';
import { fileInTar, findModel } from '../src/model-file.js';
import { segmentsOf } from '../src/segments.js';
import { measure, wordsFrom } from '../src/words.js';

interface Reference {
  readonly probabilities: readonly number[];
  readonly state: readonly number[];
}
const reference = JSON.parse(readFileSync(new URL('onnxruntime.json', import.meta.url), 'utf8')) as Record<Rate, Reference> & {
  readonly spoken: readonly (readonly [start: number, end: number])[];
};
const sound = fileURLToPath(new URL('words.wav', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'trireme-vad-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const model = await findModel().catch((error: unknown) => {
  console.warn(`The tests of the network are SKIPPED: ${String(error)}`);
  return null;
});

describe.skipIf(model === null)('the network', () => {
  const path = model ?? '';

  test.each([8000, 16000] as const)('gives the numbers of ONNX Runtime at %s Hz, as a single program', async (rate) => {
    const samples = toMono(await readAudio(sound));
    const repeated = Float32Array.from({ length: (samples.length * rate) / 8000 }, (_, i) => samples[Math.floor((i * 8000) / rate)]);
    using detector = await SpeechDetector.load(path, rate);
    const found = detector.probabilities(repeated);
    expect(detector.model.barriers).toEqual([]);
    expect(detector.model.programs).toBe(1);
    const { probabilities } = reference[rate];
    expect(found).toHaveLength(probabilities.length);
    const worst = Math.max(...probabilities.map((p, i) => Math.abs(found[i] - p) / Math.max(...probabilities)));
    expect(worst).toBeLessThan(1e-4);
  });

  test('words are found where they are', async () => {
    const samples = toMono(await readAudio(sound));
    using detector = await SpeechDetector.load(path, 8000);
    const duration = samples.length / 8000;
    const segments = segmentsOf(detector.probabilities(samples), { frameSeconds, duration });
    expect(segments).toHaveLength(3);
    reference.spoken.forEach(([start, end], i) => {
      expect(Math.abs(segments[i].start - start)).toBeLessThan(0.15);
      expect(Math.abs(segments[i].end - end)).toBeLessThan(0.2);
    });
  });
  test('starts anew after reset()', async () => {
    const samples = toMono(await readAudio(sound)).subarray(5000, 13000);
    using detector = await SpeechDetector.load(path, 8000);
    const first = detector.probabilities(samples);
    expect(detector.probabilities(samples)).toEqual(first);
    expect(() => detector.next(new Float32Array(200))).toThrow('256 samples');
  });

  describe('command line', () => {
    const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
    const run = (...args: string[]) =>
      spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', env: { ...process.env, SILERO_VAD: path } });

    test('prints stretches of speech and draws them', () => {
      const plot = join(folder, 'words.svg');
      const { stdout, stderr, status } = run(sound, '--json', '--plot', plot);
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      const { rate, segments } = JSON.parse(stdout) as { rate: number; segments: { start: number; end: number }[] };
      expect(rate).toBe(8000);
      expect(segments).toHaveLength(3);
      expect(readFileSync(plot, 'utf8').match(/fill="#dcebd6"/g)).toHaveLength(3);
    });
    test('says what is wrong', () => {
      expect(run(join(folder, 'none.wav'))).toMatchObject({ status: 1, stderr: expect.stringContaining('there is no file') });
      expect(run(sound, '--rate', '44100')).toMatchObject({ status: 1, stderr: expect.stringContaining('8000 or 16000') });
    });
  });
});

describe('stretches of speech', () => {
  const options = { frameSeconds: 0.1, duration: 2, minSpeech: 0, minSilence: 0.2, pad: 0 };
  const found = (p: readonly number[], more: object = {}): number[][] =>
    segmentsOf(p, { ...options, ...more }).map(({ start, end }) => [start, end].map((t) => Number(t.toFixed(6))));
  // 2 s: speech from 0.5 to 1 s with a short gap, and from 1.5 s to the end.
  const p = [0, 0, 0, 0.2, 0.4, 0.9, 0.9, 0.1, 0.9, 0.4, 0.2, 0, 0, 0, 0, 0.6, 0.7, 0.9, 0.9, 0.9];

  test('begin at the threshold, end below the lower one, and bridge short silence', () => {
    expect(found(p)).toEqual([
      [0.5, 1],
      [1.5, 2],
    ]);
  });
  test('that are short are left out', () => {
    expect(found([0, 0.9, 0, 0, 0, 0.9, 0.9, 0.9, 0, 0], { minSpeech: 0.25, duration: 1 })).toEqual([[0.5, 0.8]]);
  });
  test('grow by the pad, but not into each other', () => {
    expect(found(p, { pad: 0.3 })).toEqual([
      [0.2, 1.25],
      [1.25, 2],
    ]);
  });
  test('measured against the truth', () => {
    const spoken = [
      { start: 1, end: 2 },
      { start: 3, end: 4 },
    ];
    expect(
      measure(
        [
          { start: 1, end: 2.5 },
          { start: 8, end: 8.5 },
        ],
        spoken,
      ),
    ).toEqual({ words: 2, found: 1, false: 1, precision: 0.5, recall: 0.5 });
  });
});

describe('data', () => {
  test('words with silence between them', async () => {
    const inside = join(folder, 'recordings');
    mkdirSync(inside);
    const tone: AudioClip = { sampleRate: 8000, channels: [Float32Array.from({ length: 4000 }, (_, i) => 0.5 * Math.sin(i / 5))] };
    await writeWav(join(inside, 'a.wav'), tone);
    const { samples, spoken } = await wordsFrom(folder, 5, 16000);
    expect(spoken).toHaveLength(1);
    expect(spoken[0].end - spoken[0].start).toBeCloseTo(0.5, 9);
    expect(spoken[0].start).toBeGreaterThanOrEqual(0.5);
    const loud = (from: number, to: number): number =>
      samples.subarray(from * 16000, to * 16000).reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    expect(loud(0, spoken[0].start - 0.01)).toBeLessThan(2e-3);
    expect(loud(spoken[0].start, spoken[0].end)).toBeGreaterThan(0.4);
  });
  test('a file of a tar archive', () => {
    const header = new Uint8Array(512);
    header.set(new TextEncoder().encode('package/a.txt'));
    header.set(new TextEncoder().encode('00000000003\0'), 124);
    const archive = new Uint8Array(512 * 4);
    archive.set(header);
    archive.set([1, 2, 3], 512);
    expect(fileInTar(archive, 'package/a.txt')).toEqual(Uint8Array.of(1, 2, 3));
    expect(fileInTar(archive, 'package/b.txt')).toBeNull();
    expect(() => fileInTar(archive.subarray(0, 513), 'package/a.txt')).toThrow('damaged');
  });
});
