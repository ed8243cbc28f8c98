import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { noGrad, scope, tensor } from 'trireme';
import { RandomSampler } from 'trireme/data';
import { afterAll, describe, expect, test } from 'vitest';
import { Gpt, type GptOptions, initialise } from '../src/model.js';
import { compare, isComparable, readReference } from '../src/reference.js';
import { sample } from '../src/sampling.js';
import { readBook, splitText, WindowDataset } from '../src/text.js';
import { compile, defaults, train } from '../src/training.js';

const folder = mkdtempSync(join(tmpdir(), 'trireme-moby-'));
afterAll(() => rmSync(folder, { recursive: true }));
const book = readBook();
const corpus = splitText(book);
const network = { context: 128, dim: 128, heads: 4, layers: 4, dropout: 0 };
const full: GptOptions = { vocabSize: corpus.tokenizer.vocabSize, ...network };
const tiny: GptOptions = { ...full, context: 16, dim: 16, heads: 2, layers: 2 };

/** A small network that is freed afterwards. */
async function withTiny<T>(use: (net: Gpt) => T | Promise<T>): Promise<T> {
  const net = new Gpt(tiny);
  initialise(net, 3);
  try {
    return await use(net);
  } finally {
    net.dispose();
  }
}

describe('the text', () => {
  test('is the book, the last tenth held out', () => {
    expect(book.length).toBe(1_217_536);
    expect(book.includes('CHAPTER 1. Loomings.\n\nCall me Ishmael.')).toBe(true);
    expect(corpus.tokenizer.vocabSize).toBe(89);
    expect([corpus.train.length, corpus.validation.length]).toEqual([1_095_782, 121_754]);
    expect(corpus.tokenizer.decode(corpus.validation.slice(-40))).toMatch(/orphan\.\n+$/);
  });
  test('comes in windows whose targets are one further', () => {
    const windows = new WindowDataset(corpus.train, 5, 3);
    const [inputs, targets] = windows.getBatch(Int32Array.of(0, 2));
    const all = Array.from(corpus.train.subarray(0, 12));
    expect(inputs.toArray()).toEqual([all.slice(0, 5), all.slice(6, 11)]);
    expect(targets.toArray()).toEqual([all.slice(1, 6), all.slice(7, 12)]);
    inputs.dispose();
    targets.dispose();
    expect(windows.get(windows.length - 1)).toHaveLength(6);
    expect(() => new WindowDataset(corpus.train.subarray(0, 5), 5)).toThrow(/more than 5/);
  });
});

describe('beside PyTorch', () => {
  test('weights and batches begin as there', () => {
    const net = new Gpt(full);
    initialise(net, 1);
    const state = net.stateDict();
    const first = (name: string): number[] => Array.from(state.get(name)?.dataSync() ?? [], Number).slice(0, 3);
    expect(first('characters.weight')).toEqual([0.01830422878265381, 0.02055284008383751, -0.003054250730201602]);
    expect(first('positions.weight')).toEqual([-0.026926131919026375, -0.00680868374183774, 0.0029139993712306023]);
    expect(first('blocks.layers.0.self_attn.in_proj_weight')).toEqual([0.027930181473493576, 0.015075897797942162, 0.005394943058490753]);
    expect(first('blocks.layers.3.norm2.weight')).toEqual([1, 1, 1]);
    const sampler = new RandomSampler(new WindowDataset(corpus.train, 128).length, { seed: 1, replacement: true, numSamples: 5 });
    expect(Array.from(sampler.order(0))).toEqual([218839, 429919, 74050, 203533, 3804]);
    net.dispose();
  });
  test('the first losses are the same', async () => {
    const reference = await readReference();
    const net = new Gpt(full);
    const options = { ...defaults, epochs: 1, steps: 3 };
    const model = compile(net, options);
    const { losses } = await train(model, { ...corpus, validation: corpus.validation.subarray(0, 400) }, full.context, options);
    for (const [i, loss] of losses.entries()) expect(Math.abs(loss / reference.train[i] - 1)).toBeLessThan(2e-4);
    expect(isComparable(reference, { ...defaults, ...full })).toBe(true);
    expect(isComparable(reference, { ...options, ...full })).toBe(false);
    expect(reference.parameters).toBe(net.parameterCount());
    model.dispose();
    net.dispose();
  });
  test('a comparison tells the last and the largest difference', async () => {
    const reference = { ...(await readReference()), train: [4, 3], validation: [2, 1] };
    expect(compare(reference, [4, 3.03], [2.2, 1.01])).toMatchObject({ referenceLoss: 1, validationLoss: 1.01 });
    const { difference, largestDifference, firstBatches } = compare(reference, [4, 3.03], [2.2, 1.01]);
    expect(difference).toBeCloseTo(0.01, 9);
    expect(largestDifference).toBeCloseTo(0.1, 9);
    expect(firstBatches).toBeCloseTo(0.01, 9);
  });
});

describe('writing', () => {
  test('with caches gives the scores of reading all at once', () =>
    withTiny((net) => {
      net.eval();
      const caches = net.makeCaches();
      noGrad(() =>
        scope(() => {
          const read = (from: number, to: number) => tensor(corpus.train.slice(100 + from, 100 + to), { shape: [1, to - from] });
          const whole = net.call(read(0, 12)).toArray() as number[][][];
          const start = net.decode(read(0, 7), caches).toArray() as number[][][];
          const rest = [7, 8, 9, 10, 11].map((i) => net.decode(read(i, i + 1), caches).toArray() as number[][][]);
          const steps = [...start[0], ...rest.map(([[scores]]) => scores)];
          for (const [i, scores] of steps.entries()) scores.forEach((v, k) => expect(v).toBeCloseTo(whole[0][i][k], 4));
        }),
      );
      for (const cache of caches) cache.dispose();
    }));
  test('goes on beyond the context, the same with the same seed', () =>
    withTiny(async (net) => {
      const options = { prompt: 'Call me Ishmael. Some', length: 40, temperature: 1, seed: 5 };
      const parts: string[] = [];
      const text = await sample(net, corpus.tokenizer, { ...options, write: (part) => void parts.push(part) });
      expect(text).toBe(options.prompt + parts.join(''));
      expect(parts).toHaveLength(40);
      expect(await sample(net, corpus.tokenizer, options)).toBe(text);
      expect(await sample(net, corpus.tokenizer, { ...options, seed: 6 })).not.toBe(text);
      await expect(sample(net, corpus.tokenizer, { ...options, prompt: '' })).rejects.toThrow(/prompt is empty/);
    }));
});

describe('the command', () => {
  const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
  const run = (...args: string[]) => spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', timeout: 100_000 });
  test('trains on a text, goes on, samples', () => {
    const text = join(folder, 'text.txt');
    writeFileSync(text, 'to be or not to be, that is the question. '.repeat(60));
    const out = join(folder, 'out');
    const small = [
      '--text',
      text,
      '--out',
      out,
      '--context',
      '16',
      '--dim',
      '16',
      '--heads',
      '2',
      '--layers',
      '1',
      '--steps',
      '20',
      '--lr',
      '0.01',
    ];
    const short = ['--prompt', 'to be', '--length', '8', '--json'];
    const first = run(...small, ...short, '--epochs', '2');
    expect(first.status, first.stderr).toBe(0);
    expect(first.stdout.trimEnd().split('\n')).toHaveLength(1);
    const result = JSON.parse(first.stdout) as { valLoss: number; updates: number; sample: string };
    expect(result.valLoss).toBeLessThan(2.9);
    expect(result.updates).toBe(40);
    expect(result.sample).toMatch(/^to be.{8}$/s);
    expect(readFileSync(join(out, 'report.html'), 'utf8')).toContain('Written by the network');
    const more = run(...small, ...short, '--epochs', '3', '--resume');
    expect(more.status, more.stderr).toBe(0);
    expect(more.stderr).toMatch(/resumed from .*epoch 2, step 40/);
    const sampled = run('sample', '--out', out, ...short);
    expect(sampled.status, sampled.stderr).toBe(0);
    expect(JSON.parse(sampled.stdout)).toMatchObject({ sample: expect.stringMatching(/^to be.{8}$/s) as string });
  }, 120_000);
  test('says what is wrong', () => {
    const cases: [string[], RegExp][] = [
      [['--epochs', '0'], /--epochs is 0/],
      [['swim'], /no command swim/],
      [['sample', '--out', join(folder, 'none')], /model\.json/],
    ];
    for (const [args, message] of cases) {
      const { status, stderr } = run(...args);
      expect(status).toBe(1);
      expect(stderr).toMatch(message);
      expect(stderr).not.toMatch(/\n\s+at /);
    }
  }, 60_000);
});
