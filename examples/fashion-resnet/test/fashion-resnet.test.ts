import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { ItemRandom, loadFashionMnist } from 'trireme/data';
import { summary } from 'trireme/train';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { augmentation, samplesOf, testBatches, trainingBatches } from '../src/data.js';
import { architecture, ResNet } from '../src/model.js';

const folder = mkdtempSync(join(tmpdir(), 'trireme-fashion-resnet-'));
afterAll(() => rmSync(folder, { recursive: true }));
const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const run = (...args: string[]) => spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', timeout: 100_000 });

function writeIdx(name: string, shape: readonly number[], data: Uint8Array): void {
  const header = new DataView(new ArrayBuffer(4 + 4 * shape.length));
  header.setUint16(2, 0x0800 + shape.length);
  shape.forEach((extent, axis) => header.setUint32(4 + 4 * axis, extent));
  writeFileSync(join(folder, name), Buffer.concat([new Uint8Array(header.buffer), data]));
}

/** Pictures of horizontal stripes, brighter and closer from class to class, with noise. */
function writePictures(part: string, count: number): void {
  const images = new Uint8Array(count * 784);
  for (let i = 0; i < count; i++) {
    const random = new ItemRandom(count, i);
    const c = i % 10;
    for (let p = 0; p < 784; p++) {
      const bright = Math.floor(p / 28) % (2 + (c % 5)) === 0 ? 120 + 12 * c : 0;
      images[i * 784 + p] = bright + random.below(30);
    }
  }
  writeIdx(`${part}-images-idx3-ubyte`, [count, 28, 28], images);
  writeIdx(
    `${part}-labels-idx1-ubyte`,
    [count],
    Uint8Array.from({ length: count }, (_, i) => i % 10),
  );
}
beforeAll(() => {
  writePictures('train', 400);
  writePictures('t10k', 60);
});

describe('the data', () => {
  test('vary by seed, picture and epoch alone, and stay 28x28', async () => {
    const { train } = await loadFashionMnist({ folder });
    const sample = samplesOf(train).get(7);
    const make = (epoch: number) => augmentation(sample, new ItemRandom(1, 7, epoch)).image;
    expect(make(1)).toEqual(make(1));
    expect(make(1)).not.toEqual(make(2));
    expect([make(1).width, make(1).height, make(1).channels]).toEqual([28, 28, 1]);
  });
  test('are batches of normalised pictures and labels', async () => {
    const { train, test: held } = await loadFashionMnist({ folder });
    expect(trainingBatches(train, { batchSize: 64, seed: 1 })).toHaveLength(6);
    for await (const [images, labels] of testBatches(held, 25)) {
      expect(images.shape).toEqual([25, 1, 28, 28]);
      expect(Array.from(labels.dataSync(), Number).slice(0, 12)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
      expect(Number(images.dataSync()[0])).toBeCloseTo((held.fields.image.data[0] / 255 - 0.286) / 0.353, 5);
      images.dispose();
      labels.dispose();
    }
  });
});

test('the network has the size that the README tells', () => {
  const net = new ResNet(architecture);
  const { parameters, macs } = summary(net, [1, 1, 28, 28]);
  net.dispose();
  expect(parameters).toBe(308_074);
  expect(Math.round(macs / 1e6)).toBe(37);
});

describe('the command', () => {
  test('trains, goes on after its end, and prints one line of JSON', () => {
    const out = join(folder, 'out');
    const args = ['--json', '--data-dir', folder, '--batch-size', '40', '--out', out];
    const first = run(...args, '--epochs', '3');
    expect(first.status, first.stderr).toBe(0);
    expect(first.stdout.trimEnd().split('\n')).toHaveLength(1);
    const result = JSON.parse(first.stdout) as { accuracy: number; parameters: number; tier: string; report: string; model: string };
    expect(result.accuracy).toBeGreaterThan(0.5);
    expect(result).toMatchObject({ parameters: 308_074, epochs: 3, tier: 'wasm' });
    const page = readFileSync(result.report, 'utf8');
    for (const title of ['Confusion matrix', 'Misclassified', 'Training pictures, varied']) expect(page).toContain(title);
    expect(existsSync(result.model)).toBe(true);
    const again = run(...args, '--epochs', '3', '--resume');
    expect(again.status, again.stderr).toBe(0);
    expect(again.stderr).toMatch(/resumed from .* \(epoch 3/);
    expect(JSON.parse(again.stdout)).toMatchObject({ accuracy: result.accuracy });
  }, 120_000);
  test('says what is wrong, and ends with 1', () => {
    const cases: [string[], RegExp][] = [
      [['--data-dir', join(folder, 'none')], /has no train-images/],
      [['--epochs', '0'], /1 or more/],
      [['--colour', 'red'], /colour/],
    ];
    for (const [args, message] of cases) {
      const { status, stderr } = run(...args);
      expect(status).toBe(1);
      expect(stderr).toMatch(message);
      expect(stderr).not.toMatch(/\n\s+at /);
    }
  }, 60_000);
});
