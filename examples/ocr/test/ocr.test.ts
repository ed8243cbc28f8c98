import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decodeImage, readImage } from 'trireme/data/vision';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { alphabetOf, decodeLine } from '../src/decode.js';
import { boundsOf, convexHull, cornersOf, grown, type Point, type Quad, smallestRectangle } from '../src/geometry.js';
import { cropOf } from '../src/pictures.js';
import { type Line, TextReader } from '../src/reader.js';
import { readingOrder } from '../src/reading-order.js';
import { findRegions } from '../src/regions.js';

const pathOf = (name: string): string => fileURLToPath(new URL(`pictures/${name}.png`, import.meta.url));
const textOf = (lines: readonly Line[]): string[] => lines.map(({ text }) => text);

/** Corners of a rectangle turned about its centre. */
const turned = (x: number, y: number, width: number, height: number, angle: number): Quad =>
  cornersOf({ center: [x, y], width, height, angle: (angle * Math.PI) / 180 });

describe('geometry', () => {
  test('the hull leaves out what is inside and along its sides', () => {
    const points: Point[] = [
      [0, 0],
      [4, 0],
      [4, 3],
      [0, 3],
      [2, 0],
      [2, 1],
      [4, 1],
    ];
    expect(convexHull(points)).toHaveLength(4);
  });
  test.each([0, 10, -33, 44])('a rectangle turned by %s degrees is found again', (angle) => {
    const quad = turned(50, 40, 60, 12, angle);
    const middle: Point = [50, 40];
    const found = smallestRectangle([...quad, middle]);
    expect(Math.max(found.width, found.height)).toBeCloseTo(60, 9);
    expect(Math.min(found.width, found.height)).toBeCloseTo(12, 9);
    cornersOf(found).forEach((corner, i) => {
      expect(corner[0]).toBeCloseTo(quad[i][0], 9);
      expect(corner[1]).toBeCloseTo(quad[i][1], 9);
    });
  });
  test('growing adds area * ratio / perimeter on each side', () => {
    const { width, height } = grown({ center: [0, 0], width: 30, height: 10, angle: 0 }, 2);
    expect([width, height]).toEqual([30 + 15, 10 + 15]);
  });
});

describe('regions', () => {
  const [width, height] = [60, 40];
  /** Probabilities of 0.9 within a turned rectangle. */
  const mapOf = (angle: number): Float32Array =>
    Float32Array.from({ length: width * height }, (_, i) => {
      const [dx, dy] = [(i % width) + 0.5 - 30, Math.floor(i / width) + 0.5 - 20];
      const a = (angle * Math.PI) / 180;
      const [u, v] = [dx * Math.cos(a) + dy * Math.sin(a), dy * Math.cos(a) - dx * Math.sin(a)];
      return Math.abs(u) <= 20 && Math.abs(v) <= 4 ? 0.9 : 0.1;
    });
  test('an upright one is found to the pixel', () => {
    const [region] = findRegions(mapOf(0), width, height, { unclip: 0, minSize: 1 });
    expect(boundsOf(region.quad)).toEqual([10, 16, 50, 24]);
    expect(region.score).toBeCloseTo(0.9, 6);
  });
  test('a turned one keeps its angle', () => {
    const [{ quad }] = findRegions(mapOf(20), width, height, { unclip: 0 });
    expect((Math.atan2(quad[1][1] - quad[0][1], quad[1][0] - quad[0][0]) * 180) / Math.PI).toBeCloseTo(20, 0);
  });
  test('those of too low a probability or too small are left out', () => {
    expect(findRegions(mapOf(0), width, height, { boxThreshold: 0.95 })).toEqual([]);
    expect(findRegions(mapOf(0), width, height, { minSize: 9 })).toEqual([]);
  });
});

describe('reading order', () => {
  const line = (x: number, y: number, width: number): Quad => turned(x + width / 2, y, width, 20, 0);
  test('a row is read from left to right, though its lines are not quite level', () => {
    expect(readingOrder([line(300, 10, 90), line(0, 14, 90), line(150, 12, 90), line(0, 60, 90)])).toEqual([1, 2, 0, 3]);
  });
  test('columns are read one after the other, below a heading and above a footer', () => {
    const rows = [100, 140, 180];
    const quads = [line(100, 20, 500), ...rows.flatMap((y) => [line(0, y, 300), line(350, y, 300)]), line(100, 260, 500)];
    expect(readingOrder(quads)).toEqual([0, 1, 3, 5, 2, 4, 6, 7]);
  });
  test('tables are read by rows', () => {
    const quads = [100, 140, 180].flatMap((y) => [line(0, y, 60), line(350, y, 60)]);
    expect(readingOrder(quads)).toEqual([0, 1, 2, 3, 4, 5]);
  });
});

describe('decoding', () => {
  const alphabet = alphabetOf('a\nb\n');
  test('repeats count once, blanks separate', () => {
    const path = [0, 1, 1, 0, 1, 2, 3, 3];
    const values = Float32Array.from({ length: path.length * 4 }, (_, i) => (i % 4 === path[Math.floor(i / 4)] ? 0.7 : 0.1));
    const { text, score } = decodeLine(values, 0, path.length, alphabet);
    expect(text).toBe('aab ');
    expect(score).toBeCloseTo(0.7, 6);
  });
  test('nothing but blanks is nothing', () => {
    expect(decodeLine(Float32Array.of(1, 0, 0, 0), 0, 1, alphabet)).toEqual({ text: '', score: 0 });
  });
});

describe('reading pictures', () => {
  let reader: TextReader;
  beforeAll(async () => {
    reader = await TextReader.load();
  });
  afterAll(() => reader.dispose());
  test('small and large letters, digits, punctuation', async () => {
    expect(textOf(await reader.read(await readImage(pathOf('sizes'))))).toEqual([
      'Invoice 2048-17',
      'The quick brown fox jumps',
      'over the lazy dog, 12 times.',
      'Total: 1,284.50 EUR (incl. VAT 19 %)',
      'small print: valid until 2031-05-31',
      'BIG!',
    ]);
  });
  test('lines at any angle', async () => {
    const lines = await reader.read(await readImage(pathOf('turned')));
    expect(textOf(lines).sort()).toEqual(['Uphill we go', 'and downhill again', 'sideways', 'upside down']);
    const angle = ({ quad: [a, b] }: Line): number => (Math.atan2(b[1] - a[1], b[0] - a[0]) * 180) / Math.PI;
    const find = (text: string): Line => lines.find((line) => line.text === text) ?? lines[0];
    expect(Math.abs(angle(find('Uphill we go')) + 14)).toBeLessThan(3);
    expect(Math.abs(angle(find('and downhill again')) - 22)).toBeLessThan(3);
    expect(lines.filter((line) => line.upsideDown).map(({ text }) => text)).toContain('upside down');
  });
  test('columns, one after the other', async () => {
    expect(textOf(await reader.read(await readImage(pathOf('columns')))).join('\n')).toBe(
      'Two columns of text\nColumns are read one\nafter the other, so that\na sentence which goes on\nin the next line stays\n' +
        'in one piece. The right\ncolumn comes second,\neven where its lines\nstand beside others.',
    );
  });
  test('a picture without text has no lines', async () => {
    const { width, height, channels } = await readImage(pathOf('turned'));
    expect(await reader.read({ width, height, channels, data: new Uint8Array(width * height * channels).fill(200) })).toEqual([]);
  });
  test('a turned line is straightened', async () => {
    const picture = await readImage(pathOf('turned'));
    const crop = cropOf(picture, turned(180, 110, 240, 44, -14));
    expect([crop.width, crop.height]).toEqual([240, 44]);
    expect(textOf([{ ...(await reader.recognize([crop]))[0], quad: turned(0, 0, 1, 1, 0), upsideDown: false }])).toEqual(['Uphill we go']);
  });
});

describe('command line', () => {
  const folder = mkdtempSync(join(tmpdir(), 'trireme-ocr-'));
  const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
  const run = (...args: string[]) => spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('prints lines as JSON and draws them', async () => {
    const out = join(folder, 'turned.png');
    const { stdout, stderr, status } = run(pathOf('turned'), '--json', '--out', out);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const { width, height, lines } = JSON.parse(stdout) as {
      width: number;
      height: number;
      lines: { text: string; corners: number[][] }[];
    };
    expect([width, height]).toEqual([640, 480]);
    expect(lines.map(({ text }) => text)).toContain('Uphill we go');
    expect(lines[0].corners).toHaveLength(4);
    const drawn = await decodeImage(readFileSync(out));
    expect([drawn.width, drawn.height]).toEqual([1280, 480]);
    const colored = drawn.data.filter(
      (v, i) => i % 3 === 0 && Math.max(Math.abs(v - drawn.data[i + 1]), Math.abs(v - drawn.data[i + 2])) > 60,
    );
    expect(colored.length).toBeGreaterThan(1000);
  });
  test('says what is wrong', () => {
    expect(run(join(folder, 'none.png'))).toMatchObject({ status: 1, stderr: expect.stringContaining('there is no file') });
    expect(run(pathOf('turned'), '--min-score', '2')).toMatchObject({ status: 1, stderr: expect.stringContaining('--min-score') });
    expect(run()).toMatchObject({ status: 1, stderr: expect.stringContaining('no picture') });
  });
});
