import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { scope, tensor } from 'trireme';
import { ItemRandom } from 'trireme/data';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { evaluate } from '../src/evaluation.js';
import { maskFromBoxes, otsu, regions, unknown } from '../src/masks.js';
import { UNet } from '../src/model.js';
import { loadPhotos, type Photo, variedItems } from '../src/photos.js';
import { segmentationLoss } from '../src/training.js';

const folder = mkdtempSync(join(tmpdir(), 'trireme-masks-'));
const data = join(folder, 'voc');
const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const size = { width: 320, height: 240 };

/** A red cell with a pale middle, one without a box, a white cell with a nucleus over a red one, a platelet; at half the photo's size. */
const scene = {
  red: { x: 60, y: 60, r: 28 },
  unboxed: { x: 260, y: 200, r: 26 },
  white: { x: 200, y: 80, r: 45 },
  platelet: { x: 90, y: 180, r: 10 },
};
function draw(): Buffer {
  const circle = (x: number, y: number, r: number, fill: string): string =>
    `<circle cx="${2 * x}" cy="${2 * y}" r="${2 * r}" fill="${fill}"/>`;
  const { red, unboxed, white, platelet } = scene;
  const shapes = [
    circle(red.x, red.y, red.r, '#b98f88'),
    circle(red.x, red.y, 9, '#c6c4bc'),
    circle(unboxed.x, unboxed.y, unboxed.r, '#b98f88'),
    circle(240, 120, 28, '#b98f88'),
    circle(white.x, white.y, white.r, '#bb9fc0'),
    circle(white.x, white.y, 20, '#6a50b5'),
    circle(platelet.x, platelet.y, platelet.r, '#7a66c0'),
  ];
  return Buffer.from(
    `<svg xmlns="http://www.w3.org/2000/svg" width="640" height="480"><rect width="640" height="480" fill="#c8c8be"/>${shapes.join('')}</svg>`,
  );
}
function annotation(): string {
  const boxes = [
    ['RBC', scene.red],
    ['WBC', scene.white],
    ['Platelets', scene.platelet],
  ] as const;
  const objects = boxes.map(
    ([name, { x, y, r }]) =>
      `<object><name>${name}</name><bndbox><xmin>${2 * (x - r)}</xmin><ymin>${2 * (y - r)}</ymin><xmax>${2 * (x + r)}</xmax><ymax>${2 * (y + r)}</ymax></bndbox></object>`,
  );
  return `<annotation><size><width>640</width><height>480</height></size>${objects.join('')}</annotation>`;
}

let photos: Photo[] = [];
beforeAll(async () => {
  for (const sub of ['JPEGImages', 'Annotations', 'ImageSets/Main']) mkdirSync(join(data, sub), { recursive: true });
  const jpeg = await sharp(draw()).jpeg({ quality: 95 }).toBuffer();
  for (const [set, names] of [
    ['trainval', ['a', 'b', 'c', 'd']],
    ['test', ['e']],
  ] as const) {
    for (const name of names) {
      writeFileSync(join(data, 'JPEGImages', `${name}.jpg`), jpeg);
      writeFileSync(join(data, 'Annotations', `${name}.xml`), annotation());
    }
    writeFileSync(join(data, 'ImageSets/Main', `${set}.txt`), names.join('\n'));
  }
  photos = await loadPhotos(data, 'test', size);
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('masks from boxes', () => {
  const at = (x: number, y: number): number => photos[0].mask[y * size.width + x];
  test('know cells with a box, the middle of a red one and the whole of a white one', () => {
    expect([at(60, 60), at(40, 60), at(200, 80), at(170, 80), at(90, 180)]).toEqual([1, 1, 2, 2, 3]);
  });
  test('leave out cells without a box, and call the rest background', () => {
    expect([at(260, 200), at(150, 200), at(34, 34)]).toEqual([unknown, 0, 0]);
  });
  test('end a white cell at the ellipse of its box', () => {
    expect(at(237, 117)).not.toBe(2);
  });
  test('cover the areas that were drawn', () => {
    const area = (value: number): number => photos[0].mask.filter((v) => v === value).length;
    for (const [value, r] of [
      [1, scene.red.r],
      [2, scene.white.r],
      [3, scene.platelet.r],
    ] as const) {
      expect(area(value) / (Math.PI * r * r)).toBeGreaterThan(0.9);
      expect(area(value) / (Math.PI * r * r)).toBeLessThan(1.1);
    }
  });
  test('of a photo without boxes know nothing of cells', () => {
    const mask = maskFromBoxes(photos[0].image, new Float32Array(), new Int32Array());
    expect([...new Set(mask)].sort()).toEqual([0, unknown]);
  });
  test('are carried along by variations', async () => {
    const varied = variedItems(photos);
    const areas = new Set<number>();
    for (let epoch = 0; epoch < 6; epoch++) {
      const batch = await varied.getBatch(Int32Array.of(0), { epoch, rng: () => new ItemRandom(1, 0, epoch) });
      expect(batch.mask.shape).toEqual([1, 240, 320]);
      const pixels = batch.image.data;
      let [inside, stained] = [0, 0];
      batch.mask.data.forEach((value, i) => {
        if (value !== 3) return;
        inside++;
        if (pixels[3 * i + 2] - pixels[3 * i + 1] > 15) stained++;
      });
      areas.add(inside);
      expect(inside).toBeGreaterThan(100);
      expect(stained / inside).toBeGreaterThan(0.85);
    }
    expect(areas.size).toBeGreaterThan(1);
  });
});

test("Otsu's threshold lies between two heaps", () => {
  const counts = new Uint32Array(256);
  counts[20] = 100;
  counts[30] = 50;
  counts[200] = 10;
  expect(otsu(counts)).toBeGreaterThanOrEqual(30);
  expect(otsu(counts)).toBeLessThan(200);
});

test('regions are those of neighbours', () => {
  const rows = ['##..', '..#.', '.##.'];
  const found = regions(4, 3, (i) => rows[Math.floor(i / 4)][i % 4] === '#');
  expect(found.map(({ pixels, box }) => [pixels.length, box])).toEqual([
    [2, [0, 0, 2, 1]],
    [3, [1, 1, 3, 3]],
  ]);
});

test('masks are measured class by class, and regions against boxes', () => {
  const known = photos[0].mask.map((v) => (v === unknown ? 0 : v));
  const perfect = evaluate([known], photos);
  expect(perfect.meanIou).toBe(1);
  expect(perfect.boxes.map(({ boxes, regions: count, found }) => [boxes, count, found])).toEqual([
    [1, 1, 1],
    [1, 1, 1],
  ]);
  const half = known.map((v, i) => (v === 2 && i % size.width < scene.white.x ? 0 : v));
  const worse = evaluate([half], photos);
  expect(worse.classes[2].iou).toBeCloseTo(0.5, 1);
  expect(worse.classes[2].dice).toBeCloseTo(2 / 3, 1);
});

test('the loss is small for the right mask alone, and does not see unknown pixels', () => {
  const { mask } = photos[0];
  const loss = (says: (i: number) => number): number =>
    scope(() => {
      const logits = new Float32Array(4 * mask.length);
      mask.forEach((_, i) => {
        logits[says(i) * mask.length + i] = 12;
      });
      const { loss: value } = segmentationLoss(
        tensor(logits, { shape: [1, 4, 240, 320] }),
        tensor(Int32Array.from(mask), { shape: [1, 240, 320] }),
      );
      return Number(value.item());
    });
  expect(loss((i) => (mask[i] === unknown ? 1 : mask[i]))).toBeLessThan(0.01);
  expect(loss(() => 0)).toBeGreaterThan(1);
});

test('the network gives a score for each class and pixel', () => {
  const net = new UNet();
  net.eval();
  expect(scope(() => net.call(tensor(new Uint8Array(240 * 320 * 3), { shape: [1, 240, 320, 3] })).shape)).toEqual([1, 4, 240, 320]);
});

describe('the command', () => {
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', timeout: 200_000, env: { ...process.env, TRIREME_TIER: 'wasm' } });
  test('trains, reports, saves and makes masks of photos', () => {
    const out = join(folder, 'out');
    const { status, stdout, stderr } = run('--json', '--data-dir', data, '--epochs', '1', '--batch', '2', '--out', out);
    expect(status, stderr).toBe(0);
    const line = JSON.parse(stdout) as Record<string, number | string>;
    expect(line).toMatchObject({ epochs: 1, tier: 'wasm' });
    expect(line.meanIou).toBeGreaterThanOrEqual(0);
    expect(readFileSync(String(line.report), 'utf8')).toMatch(/Regions against boxes/);
    const prediction = run('predict', String(line.model), join(data, 'JPEGImages/e.jpg'), '--json', '--out', out);
    expect(prediction.status, prediction.stderr).toBe(0);
    const { shares } = JSON.parse(prediction.stdout) as { shares: Record<string, number> };
    expect(Object.values(shares).reduce((a, b) => a + b)).toBeCloseTo(1, 6);
  }, 300_000);
});
