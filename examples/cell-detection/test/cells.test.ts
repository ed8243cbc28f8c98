import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { scope, tensor } from 'trireme';
import { ItemRandom } from 'trireme/data';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findBoxes } from '../src/detect.js';
import { evaluate } from '../src/evaluation.js';
import { architecture, CellDetector, gridOf } from '../src/model.js';
import { loadPhotos, plainItems, variedItems } from '../src/photos.js';
import { assign, detectionLoss } from '../src/targets.js';

const folder = mkdtempSync(join(tmpdir(), 'trireme-cells-'));
const data = join(folder, 'voc');
const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const grid = gridOf(architecture);

/** Round spots in the colours of the classes, with the annotations of PASCAL VOC. */
async function makePhoto(name: string, seed: number): Promise<void> {
  const random = new ItemRandom(seed);
  const spots = Array.from({ length: 6 }, (_, i) => {
    const [kind, radius, color] = (
      [
        ['RBC', 50, '#b98f88'],
        ['WBC', 90, '#7a5fb5'],
        ['Platelets', 20, '#6f5fc0'],
      ] as const
    )[i < 4 ? 0 : i - 3];
    return { kind, radius, color, x: random.integer(radius, 640 - radius), y: random.integer(radius, 480 - radius) };
  });
  const circles = spots.map((s) => `<circle cx="${s.x}" cy="${s.y}" r="${s.radius}" fill="${s.color}"/>`).join('');
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="640" height="480"><rect width="640" height="480" fill="#c8c8be"/>${circles}</svg>`;
  writeFileSync(join(data, 'JPEGImages', `${name}.jpg`), await sharp(Buffer.from(svg)).jpeg().toBuffer());
  const objects = spots.map(
    ({ kind, x, y, radius: r }) =>
      `<object><name>${kind}</name><bndbox><xmin>${x - r}</xmin><ymin>${y - r}</ymin><xmax>${x + r}</xmax><ymax>${y + r}</ymax></bndbox></object>`,
  );
  const xml = `<annotation><size><width>640</width><height>480</height><depth>3</depth></size>${objects.join('')}
    <object><name>RBC</name><bndbox><xmin>9</xmin><ymin>9</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>`;
  writeFileSync(join(data, 'Annotations', `${name}.xml`), xml);
}

beforeAll(async () => {
  for (const sub of ['JPEGImages', 'Annotations', 'ImageSets/Main']) mkdirSync(join(data, sub), { recursive: true });
  for (const [set, count] of [
    ['train', 6],
    ['val', 1],
    ['test', 2],
  ] as const) {
    const names = Array.from({ length: count }, (_, i) => `${set}-${i}`);
    for (const [i, name] of names.entries()) await makePhoto(name, i + count);
    writeFileSync(join(data, 'ImageSets/Main', `${set}.txt`), `${names.join('\n')}\n`);
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Centre of each cell of the output. */
const centres = grid.flatMap(({ columns, rows, stride }) =>
  Array.from({ length: columns * rows }, (_, i) => [((i % columns) + 0.5) * stride, (Math.floor(i / columns) + 0.5) * stride]),
);

describe('the targets', () => {
  test('give each object cells around its centre, on the level of its size', () => {
    const boxes = Float32Array.of(100, 60, 150, 112, 200, 100, 216, 118, 20, 100, 130, 210);
    const { classes, boxes: wanted } = assign(boxes, Int32Array.of(0, 2, 1), grid);
    const first = grid[0].columns * grid[0].rows;
    const levels = new Map<number, Set<number>>();
    classes.forEach((label, i) => {
      if (label < 0) return;
      const [left, top, right, bottom] = wanted.subarray(4 * i, 4 * i + 4);
      const [x, y] = centres[i];
      expect(x >= left && x < right && y >= top && y < bottom).toBe(true);
      levels.set(label, (levels.get(label) ?? new Set()).add(i < first ? 8 : 16));
    });
    expect(levels).toEqual(
      new Map([
        [0, new Set([8])],
        [2, new Set([8])],
        [1, new Set([16])],
      ]),
    );
    expect(classes.filter((c) => c === 0)).toHaveLength(9);
  });
  test('give a cell that two objects want to the nearer one, and the smallest object a cell', () => {
    const near = assign(Float32Array.of(100, 100, 140, 140, 112, 100, 152, 140), Int32Array.of(0, 2), grid);
    expect(near.classes.filter((c) => c >= 0)).toHaveLength(15);
    const at = centres.findIndex(([x, y]) => x === 124 && y === 124);
    expect(near.classes[at]).toBe(0);
    expect(assign(Float32Array.of(101, 101, 103, 103), Int32Array.of(2), grid).classes.filter((c) => c === 2)).toHaveLength(1);
    expect(assign(new Float32Array(), new Int32Array(), grid).classes.every((c) => c === -1)).toBe(true);
  });
  test('are met at no loss by a network that says just them, and at some by others', () => {
    const { classes, boxes } = assign(Float32Array.of(100, 60, 150, 112), Int32Array.of(1), grid);
    const loss = (shift: number, confidence: number): number[] =>
      scope(() => {
        const logits = Float32Array.from({ length: classes.length * 3 }, (_, i) =>
          classes[Math.floor(i / 3)] === i % 3 ? confidence : -20,
        );
        const parts = detectionLoss(
          {
            logits: tensor(logits, { shape: [1, classes.length, 3] }),
            boxes: tensor(
              boxes.map((v) => v + shift),
              { shape: [1, classes.length, 4] },
            ),
          },
          {
            classes: tensor(classes, { shape: [1, classes.length] }),
            boxes: tensor(boxes, { shape: [1, classes.length, 4] }),
            truth: tensor([0]),
          },
        );
        return [parts.classLoss.item(), parts.boxLoss.item()].map(Number);
      });
    const [classLoss, boxLoss] = loss(0, 20);
    expect(classLoss).toBeLessThan(1e-3);
    expect(boxLoss).toBeLessThan(1e-3);
    expect(loss(0, -5)[0]).toBeGreaterThan(1);
    expect(loss(10, 20)[1]).toBeGreaterThan(0.2);
  });
});

test('the network says one thing of each cell', () => {
  const net = new CellDetector();
  net.eval();
  const shapes = scope(() => {
    const { logits, boxes } = net.call(tensor(new Uint8Array(240 * 320 * 3), { shape: [1, 240, 320, 3] }));
    return [logits.shape, boxes.shape];
  });
  expect(shapes).toEqual([
    [1, centres.length, 3],
    [1, centres.length, 4],
  ]);
});

describe('detections', () => {
  test('are the best of those that overlap, in order', () => {
    const boxes = Float32Array.of(0, 0, 10, 10, 1, 0, 11, 10, 30, 30, 40, 40);
    const logits = Float32Array.of(2, -9, 1, -9, -9, 0);
    const [found] = findBoxes({ data: logits, shape: [1, 3, 2] }, { data: boxes, shape: [1, 3, 4] });
    expect([...found.labels]).toEqual([0, 1]);
    expect([...found.boxes]).toEqual([0, 0, 10, 10, 30, 30, 40, 40]);
    expect(found.scores[1]).toBeCloseTo(0.5, 6);
  });
  test('without any score above the threshold are none', () => {
    const [found] = findBoxes({ data: Float32Array.of(-9), shape: [1, 1, 1] }, { data: new Float32Array(4), shape: [1, 1, 4] });
    expect(found.labels).toHaveLength(0);
  });
  test('are measured in pixels of the photo: all right, one missed, one in the wrong place', async () => {
    const photos = await loadPhotos(data, 'test', architecture);
    const right = photos.map(({ boxes, labels }) => ({
      boxes: boxes.map((v) => 2 * v),
      labels,
      scores: new Float32Array(labels.length).fill(0.9),
    }));
    const perfect = evaluate(right, photos, architecture.classNames);
    expect(perfect.map50).toBeCloseTo(1, 6);
    expect(perfect.classes.map(({ precision, recall }) => [precision, recall])).toEqual([
      [1, 1],
      [1, 1],
      [1, 1],
    ]);
    const white = right[0].labels.indexOf(1);
    right[0].boxes.set([0, 0, 5, 5], 4 * white);
    const worse = evaluate(right, photos, architecture.classNames).classes[1];
    expect([worse.precision, worse.recall]).toEqual([0.5, 0.5]);
  });
});

describe('photos', () => {
  test('come with their boxes at the size of the input, without boxes that have no area', async () => {
    const photos = await loadPhotos(data, 'train', architecture);
    expect(photos).toHaveLength(6);
    for (const { image, boxes, labels } of photos) {
      expect([image.width, image.height, labels.length]).toEqual([320, 240, 6]);
      // The last spot, the platelet, is drawn over the others.
      const [x, y] = [0, 1].map((k) => Math.floor((boxes[4 * 5 + k] + boxes[4 * 5 + k + 2]) / 2));
      const [r, g, b] = image.data.subarray(3 * (320 * y + x), 3 * (320 * y + x) + 3);
      expect(b - r > 40 && b - g > 40).toBe(true);
    }
  });
  test('vary by epoch, and keep boxes on what they name', async () => {
    const photos = await loadPhotos(data, 'train', architecture);
    const varied = variedItems(photos, architecture, { plainFrom: 5 });
    const of = async (epoch: number, index: number) => varied.get(index, { epoch, rng: new ItemRandom(3, index, epoch) });
    expect((await of(0, 1)).image.data).toEqual((await of(0, 1)).image.data);
    expect((await of(0, 1)).image.data).not.toEqual((await of(1, 1)).image.data);
    let [seen, right] = [0, 0];
    for (let epoch = 0; epoch < 8; epoch++) {
      const { image, truth } = await of(epoch, epoch % 6);
      for (let i = 0; i < 100 && truth.data[5 * i] >= 0; i++) {
        const [label, left, top, width, height] = truth.data.subarray(5 * i, 5 * i + 5);
        if (label !== 2) continue;
        const at = 3 * (320 * Math.floor((top + height) / 2) + Math.floor((left + width) / 2));
        seen++;
        if (image.data[at + 2] - image.data[at + 1] > 25) right++;
      }
    }
    expect(seen).toBeGreaterThan(5);
    expect(right / seen).toBeGreaterThan(0.9);
    expect(plainItems(photos).length).toBe(6);
  });
  test.skipIf(!process.env.BCCD_DIR)('of the data set are 292 to learn from and 72 to test with', async () => {
    const real = process.env.BCCD_DIR ?? '';
    const held = await loadPhotos(real, 'test', architecture);
    expect(held.map(({ labels }) => labels.length).reduce((a, b) => a + b)).toBe(945);
    expect([held.length, readFileSync(join(real, 'ImageSets/Main/trainval.txt'), 'utf8').trim().split('\n').length]).toEqual([72, 292]);
  });
});

describe('the command', () => {
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', timeout: 200_000, env: { ...process.env, TRIREME_TIER: 'wasm' } });
  test('trains, reports, saves and finds cells in photos', () => {
    const out = join(folder, 'out');
    const { status, stdout, stderr } = run('--json', '--data-dir', data, '--epochs', '1', '--batch', '2', '--out', out);
    expect(status, stderr).toBe(0);
    expect(stdout.trimEnd().split('\n')).toHaveLength(1);
    const line = JSON.parse(stdout) as Record<string, number | string>;
    expect(line).toMatchObject({ epochs: 1, tier: 'wasm', perClass: { RBC: {}, WBC: {}, Platelets: {} } });
    expect(stderr).toMatch(/valMap\.map50/);
    expect(line.map50).toBeGreaterThanOrEqual(0);
    expect(readFileSync(String(line.report), 'utf8')).toMatch(/Truth and detections/);
    expect(existsSync(join(out, 'pictures/test-0.png'))).toBe(true);
    const prediction = run('predict', String(line.model), join(data, 'JPEGImages/test-0.jpg'), '--json', '--out', out);
    expect(prediction.status, prediction.stderr).toBe(0);
    expect(JSON.parse(prediction.stdout)).toMatchObject({ cells: expect.any(Array) as unknown[] });
  }, 300_000);
  test('says what is wrong with its options', () => {
    for (const [args, message] of [
      [['--data-dir', join(folder, 'none')], /test\.txt/],
      [['--epochs', '0'], /1 or more/],
      [['predict'], /a model and photos/],
      [['dance'], /no command dance/],
    ] as const) {
      const { status, stderr } = run(...args);
      expect(status).toBe(1);
      expect(stderr).toMatch(message);
      expect(stderr).not.toMatch(/\n\s+at /);
    }
  }, 60_000);
});
