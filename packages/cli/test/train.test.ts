/** A configuration file from training to prediction, each step a process of its own. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { flowers, makeFolder, parsed, trireme, writeFlowers } from './support.js';

const folder = makeFolder();
const run = join(folder, 'runs/flowers');

interface Trained {
  readonly ok: boolean;
  readonly epochs: number;
  readonly steps: number;
  readonly resumed: { readonly epoch: number; readonly step: number } | null;
  readonly metrics: Readonly<Record<string, number>>;
  readonly test: Readonly<Record<string, number>>;
  readonly machine: { readonly tier: string; readonly threads: number };
}

beforeAll(async () => {
  writeFlowers(join(folder, 'flowers.csv'));
  writeFileSync(join(folder, 'flowers.yaml'), flowers);
});

describe('a configuration file', () => {
  let first: Trained;
  beforeAll(async () => {
    const done = await trireme(folder, ['train', 'flowers.yaml', '--json']);
    expect(done.stderr).toMatch(/epoch 2\/2/);
    expect(done.code).toBe(0);
    first = parsed<Trained>(done);
  });

  test('trains, measures, and leaves everything in the output folder', () => {
    expect(first).toMatchObject({ ok: true, epochs: 2, steps: 8, resumed: null, machine: { tier: 'wasm', threads: 2 } });
    expect(Object.keys(first.metrics)).toEqual(['loss', 'accuracy', 'f1', 'valLoss', 'valAccuracy', 'valF1']);
    expect(first.test.accuracy).toBeGreaterThan(0.5);
    for (const name of [
      'config.yaml',
      'data.json',
      'model.safetensors',
      'logs.jsonl',
      'report.html',
      'tensorboard',
      'checkpoints/manifest.json',
    ]) {
      expect(existsSync(join(run, name)), name).toBe(true);
    }
    expect(parse(readFileSync(join(run, 'config.yaml'), 'utf8'))).toMatchObject({ seed: 4, epochs: 2, optimizer: { AdamW: { lr: 0.02 } } });
  });

  test('is not trained over a training that is there', async () => {
    const { code, stdout, stderr } = await trireme(folder, ['train', 'flowers.yaml']);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/holds a training already \(epoch 2, step 8\)\n.*--resume.*--overwrite.*--output/);
  });

  test('is evaluated on the held-out rows, from the checkpoint and from the exported weights', async () => {
    const evaluated = parsed(await trireme(folder, ['eval', 'flowers.yaml', '--json']));
    expect(evaluated).toMatchObject({ ok: true, part: 'test', epoch: 2, step: 8, metrics: first.test });
    const exported = parsed(
      await trireme(folder, ['eval', 'runs/flowers', '--checkpoint', 'runs/flowers/model.safetensors', '--part', 'validation', '--json']),
    );
    expect(exported).toMatchObject({ part: 'validation', epoch: null, metrics: { accuracy: first.metrics.valAccuracy } });
  });

  test('predicts without the training data', async () => {
    writeFileSync(join(folder, 'new.jsonl'), '{"colour":"red","width":0,"height":2.2}\n{"colour":"blue","width":2,"height":0.3}\n');
    rmSync(join(folder, 'flowers.csv'));
    try {
      const { code, stdout } = await trireme(folder, ['predict', 'runs/flowers/config.yaml', '--checkpoint', 'best', 'new.jsonl']);
      expect(code).toBe(0);
      const lines = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { input: string; class: string; probabilities: Record<string, number> });
      expect(lines.map((line) => line.class)).toEqual(['iris', 'tulip']);
      expect(lines[0].input).toBe('new.jsonl:1');
      expect(Object.values(lines[1].probabilities).reduce((a, b) => a + b)).toBeCloseTo(1, 4);
      const wrong = await trireme(folder, ['predict', 'runs/flowers', 'absent.csv', '--json']);
      expect(wrong.code).toBe(3);
      expect(parsed(wrong)).toMatchObject({ ok: false, exitCode: 3 });
    } finally {
      writeFlowers(join(folder, 'flowers.csv'));
    }
  });

  test('is summarized by layers', async () => {
    const { code, stdout } = await trireme(folder, ['summary', 'flowers.yaml']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/3: Linear\s+\[16, 3\]/);
    expect(parsed(await trireme(folder, ['summary', 'flowers.yaml', '--json', '--set', 'input=[4]']))).toMatchObject({
      parameters: 4 * 16 + 16 + 16 * 3 + 3,
      inputs: [[1, 4]],
    });
  });
});
