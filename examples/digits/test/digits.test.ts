import { Buffer } from 'node:buffer';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { crc32, deflateSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { augment } from '../src/augment.js';
import { loadDigits } from '../src/datasets.js';
import { encodePicture, readGrey, toInput } from '../src/pictures.js';
import { oneCycle } from '../src/training.js';

const folder = mkdtempSync(join(tmpdir(), 'trireme-digits-'));
afterAll(() => rmSync(folder, { recursive: true }));
const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const run = (...args: string[]) => spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', timeout: 100_000 });

describe('the data', () => {
  test('are 1,797 digits, a fifth of each class held out', async () => {
    const { train, test: held, classNames } = await loadDigits();
    expect([train.labels.length, held.labels.length, train.side, classNames.length]).toEqual([1438, 359, 8, 10]);
    expect(train.images).toHaveLength(1438 * 64);
    expect(Math.max(...train.images)).toBe(1);
    for (let c = 0; c < 10; c++) {
      const share =
        held.labels.filter((l) => l === c).length /
        (held.labels.filter((l) => l === c).length + train.labels.filter((l) => l === c).length);
      expect(share).toBeGreaterThan(0.19);
      expect(share).toBeLessThan(0.21);
    }
  });
  test('vary by seed and epoch alone', async () => {
    const { train } = await loadDigits();
    const indices = Int32Array.of(3, 1, 4);
    const make = (epoch: number): number[] => Array.from(augment(train, indices, { shift: 1, mirror: true }, 7, epoch));
    expect(make(1)).toEqual(make(1));
    expect(make(1)).not.toEqual(make(2));
  });
});

/** A PNG from the bytes of its rows and, with a palette or transparency, further chunks. */
function makePng(width: number, depth: number, colorType: number, rows: number[][], chunks: [string, number[]][] = []): Buffer {
  const chunk = (name: string, data: Uint8Array): Buffer => {
    const out = Buffer.alloc(12 + data.length);
    out.writeUInt32BE(data.length);
    out.write(name, 4, 'latin1');
    out.set(data, 8);
    out.writeUInt32BE(crc32(out.subarray(4, 8 + data.length)), 8 + data.length);
    return out;
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width);
  header.writeUInt32BE(rows.length, 4);
  header.set([depth, colorType], 8);
  return Buffer.concat([
    Buffer.of(137, 80, 78, 71, 13, 10, 26, 10),
    chunk('IHDR', header),
    ...chunks.map(([name, data]) => chunk(name, Uint8Array.from(data))),
    chunk('IDAT', deflateSync(Buffer.from(rows.flatMap((row) => [0, ...row])))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

describe('pictures', () => {
  // Each is three pixels wide: white, black, white.
  test.each<[string, Buffer]>([
    ['1 bit', makePng(3, 1, 0, [[0b10100000]])],
    ['2 bits', makePng(3, 2, 0, [[0b11001100]])],
    ['4 bits', makePng(3, 4, 0, [[0xf0, 0xf0]])],
    ['8 bits', makePng(3, 8, 0, [[255, 0, 255]])],
    ['16 bits', makePng(3, 16, 0, [[255, 255, 0, 0, 255, 255]])],
    ['grey with alpha', makePng(3, 8, 4, [[0, 0, 0, 255, 255, 255]])],
    ['RGB', makePng(3, 8, 2, [[255, 255, 255, 0, 0, 0, 255, 255, 255]])],
    ['RGB with a transparent colour', makePng(3, 8, 2, [[9, 8, 7, 0, 0, 0, 9, 8, 7]], [['tRNS', [0, 9, 0, 8, 0, 7]]])],
    ['RGBA', makePng(3, 8, 6, [[0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0, 0]])],
    ['palette of 2 bits', makePng(3, 2, 3, [[0b01000100]], [['PLTE', [0, 0, 0, 255, 255, 255]]])],
    [
      'palette with a transparent entry',
      makePng(
        3,
        8,
        3,
        [[0, 1, 0]],
        [
          ['PLTE', [0, 0, 0, 0, 0, 0]],
          ['tRNS', [0]],
        ],
      ),
    ],
  ])('of %s are read', async (kind, bytes) => {
    const path = join(folder, `${kind}.png`);
    writeFileSync(path, bytes);
    const { width, height, data } = await readGrey(path);
    expect([width, height]).toEqual([3, 1]);
    for (const [i, v] of [1, 0, 1].entries()) expect(data[i]).toBeCloseTo(v, 6);
  });
  test('come back from a PNG as the model saw them', async () => {
    const { test: held } = await loadDigits();
    const ink = held.images.subarray(0, 64);
    const { decode } = await import('fast-png');
    const png = decode(encodePicture(ink, 8, 8));
    const back = toInput({ width: 64, height: 64, data: Float32Array.from(png.data, (v) => v / 255) }, 8);
    back.forEach((v, i) => expect(Math.abs(v - ink[i])).toBeLessThan(0.003));
  });
  test('of other sizes are cut to their ink and centred', () => {
    const data = new Float32Array(50 * 30).fill(1);
    for (let y = 10; y < 20; y++) for (let x = 30; x < 40; x++) data[y * 50 + x] = 0;
    const input = toInput({ width: 50, height: 30, data }, 8);
    expect(Math.min(...input)).toBe(1);
  });
});

test('the learning rate rises and falls', () => {
  expect(oneCycle(0, 100, 1)).toBeCloseTo(0.1, 6);
  expect(oneCycle(30, 100, 1)).toBeCloseTo(1, 6);
  expect(oneCycle(100, 100, 1)).toBeCloseTo(0.001, 6);
});

describe('the command', () => {
  test('trains, and prints one line of JSON', () => {
    const { status, stdout, stderr } = run('--json', '--epochs', '4', '--out', folder);
    expect(status, stderr).toBe(0);
    expect(stdout.trimEnd().split('\n')).toHaveLength(1);
    const result = JSON.parse(stdout) as {
      accuracy: number;
      parameters: number;
      backend: string;
      threads: number;
      seconds: number;
      model: string;
    };
    expect(result.accuracy).toBeGreaterThan(0.9);
    expect(result.parameters).toBe(25_978);
    expect(result.backend).toBe('wasm');
    expect(stderr).toMatch(/a new process loads the model/);
    const prediction = run('predict', result.model, join(folder, 'sample-4.png'), '--json');
    expect(JSON.parse(prediction.stdout)).toMatchObject({ class: expect.stringMatching(/^\d$/) as string });
  }, 120_000);
  test('says what is wrong with a model, a picture or an option, and ends with 1', () => {
    const broken = join(folder, 'broken.png');
    writeFileSync(broken, 'no picture');
    const cases: [string[], RegExp][] = [
      [['predict', join(folder, 'none.safetensors'), broken], /none\.safetensors/],
      [['predict', broken, broken], /safetensors/],
      [['predict', join(folder, 'model.safetensors'), broken], /broken\.png is no PNG/],
      [['predict', join(folder, 'model.safetensors')], /no pictures/],
      [['--data', 'cats'], /digits or fashion-mnist/],
      [['--epochs', '-3'], /epochs/],
      [['--epochs', '0'], /1 or more/],
    ];
    for (const [args, message] of cases) {
      const { status, stderr } = run(...args);
      expect(status).toBe(1);
      expect(stderr).toMatch(message);
      expect(stderr).not.toMatch(/\n\s+at /);
    }
  }, 60_000);
  test.skipIf(process.platform === 'win32')(
    'ends soon when interrupted, and writes nothing',
    async () => {
      const out = join(folder, 'interrupted');
      const child = spawn(process.execPath, [main, '--epochs', '100000', '--out', out]);
      let stderr = '';
      let interrupted = false;
      const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
      child.stderr.on('data', (data: Buffer) => {
        stderr += String(data);
        // The fifth epoch is the first with a line.
        if (interrupted || !/epoch 5:/.test(stderr)) return;
        interrupted = true; // once: a second one ends the process without a word
        child.kill('SIGINT');
      });
      expect(await ended).toBe(1);
      expect(stderr).toMatch(/interrupted/);
      expect(stderr).not.toMatch(/\n\s+at /);
      expect(existsSync(out)).toBe(false);
    },
    60_000,
  );
});
