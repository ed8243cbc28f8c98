/**
 * Trains a network that hears spoken digits, tests it, writes a report and saves the model; then tells digits from sound files.
 *
 *   main.js [--data-dir DIR] [--data-url URL] [--held-out SPEAKER|all] [--epochs N] [--batch-size N] [--seed N] [--out DIR] [--json]
 *   main.js predict FILE.wav ... [--model PATH] [--json]
 */
import { join, relative, resolve } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ArgumentError, deterministic, manualSeed, TriremeError } from 'trireme';
import { describeMachine, fieldsToTensors, HtmlReport, ModelCheckpoint, ProgressBar, summary, TensorBoard } from 'trireme/train';
import { testTensors, trainingBatches } from './batches.js';
import { bands, frames } from './features.js';
import { architecture, KeywordNet } from './model.js';
import { predictFiles } from './predict.js';
import { findRecordings, type Recording, readRecordings, type Source, speakersOf, splitOf } from './recordings.js';
import { sections } from './report.js';
import { type Prediction, predictDigits, trainable } from './training.js';

const usage = `usage: node examples/spoken-digits/dist/main.js [options]                    train, test, report, save
       node examples/spoken-digits/dist/main.js predict FILE.wav ...         tell digits from sound files

  --data-dir DIR            folder of the recordings, {digit}_{speaker}_{number}.wav (else $FSDD_DIR, else they are downloaded)
  --data-url URL            mirror of the archive to download
  --held-out SPEAKER|all    test with all recordings of a speaker that the network never heard; all: each in turn
  --epochs N                passes over the training recordings (default 15)
  --batch-size N            recordings in a batch (default 64)
  --seed N                  of weights, order and variations (default 1)
  --out DIR                 where reports and models go (default out, beside dist)
  --model PATH              of predict (default model.safetensors of the own split in --out)
  --json                    one line of JSON on standard output`;

interface Options {
  readonly source: Source;
  readonly recordings: readonly Recording[];
  readonly epochs: number;
  readonly batchSize: number;
  readonly seed: number;
  readonly out: string;
  readonly signal: AbortSignal;
}
interface Result {
  readonly accuracy: number;
  readonly report: string;
  readonly model: string;
  readonly parameters: number;
}

function count(name: string, text: string | undefined, fallback: number, least = 1): number {
  if (text === undefined) return fallback;
  const n = Number(text);
  if (text.trim() !== '' && Number.isSafeInteger(n) && n >= least) return n;
  throw new ArgumentError(`--${name} is ${text}`, { op: 'main', received: text, expected: `a whole number, ${least} or more` });
}

/** One training: on the data set's own split, or without a speaker. Its last weights are tested, not the best ones of the way. */
async function train({ source, recordings, epochs, batchSize, seed, out, signal }: Options, heldOut?: string): Promise<Result> {
  const { train, test } = splitOf(recordings, heldOut);
  const pick = (indices: Int32Array): Recording[] => Array.from(indices, (i) => recordings[i]);
  const tested = pick(test);
  const folder = join(out, heldOut ?? 'own');
  manualSeed(seed);
  const net = new KeywordNet(architecture);
  const model = trainable(net);
  const batches = await trainingBatches({ source, indices: train }, Math.min(batchSize, train.length), seed);
  const held = testTensors(tested);
  const report = join(folder, 'report.html');
  let predictions: Prediction[] | undefined;
  process.stderr.write(
    `${heldOut === undefined ? 'own split' : `without ${heldOut}`}: ${train.length} recordings to learn from, ${test.length} to test with\n`,
  );
  try {
    await model.fit(batches, {
      epochs,
      seed,
      signal,
      toTensors: fieldsToTensors('input', 'label'),
      validation: { ...held, batchSize: 100 },
      callbacks: [
        new ProgressBar({ everyEpochs: 5 }),
        new ModelCheckpoint({ directory: join(folder, 'checkpoints'), everyEpochs: 10, keepBest: 0 }),
        new TensorBoard({ directory: join(folder, 'tensorboard'), graph: [1, 1, bands, frames] }),
        new HtmlReport({
          path: report,
          title: heldOut === undefined ? 'Spoken digits' : `Spoken digits of ${heldOut}, never heard before`,
          sections: async ({ outcome }) => {
            if (outcome === 'aborted') return [];
            predictions = await predictDigits(model, held.x, signal);
            return sections({ train: pick(train), test: tested, predictions });
          },
        }),
      ],
    });
  } finally {
    await batches.close();
  }
  if (predictions === undefined) throw new ArgumentError('there are no predictions', { op: 'main', expected: 'a training that ends' });
  const right = predictions.reduce((n, { digit }, i) => n + (digit === tested[i].digit ? 1 : 0), 0);
  const path = join(folder, 'model.safetensors');
  model.swapAverages();
  await model.save(path, new Map([['architecture', JSON.stringify(architecture)]]));
  return { accuracy: right / tested.length, report, model: path, parameters: net.parameters().reduce((n, p) => n + p.numel, 0) };
}

const percent = (v: number): string => `${(100 * v).toFixed(2)} %`;
const here = (path: string): string => relative(process.cwd(), path) || path;

async function trainCommand(options: Options, heldOut: string | undefined, json: boolean): Promise<void> {
  const started = performance.now();
  deterministic(true);
  process.stderr.write(`${summary(new KeywordNet(architecture), [1, 1, bands, frames])}\n`);
  const speakers = heldOut === 'all' ? speakersOf(options.recordings) : [heldOut];
  const results: (readonly [speaker: string | undefined, result: Result])[] = [];
  for (const speaker of speakers) {
    const result = await train(options, speaker);
    results.push([speaker, result]);
    if (!json) {
      const what = speaker === undefined ? 'test accuracy' : `accuracy on ${speaker}`;
      process.stdout.write(`${what} ${percent(result.accuracy)}\nreport  ${here(result.report)}\nmodel   ${here(result.model)}\n`);
    }
  }
  const accuracy = results.reduce((sum, [, result]) => sum + result.accuracy, 0) / results.length;
  const seconds = Number(((performance.now() - started) / 1000).toFixed(1));
  if (!json) {
    process.stdout.write(results.length > 1 ? `mean of the speakers ${percent(accuracy)}, ${seconds} s\n` : `${seconds} s\n`);
    return;
  }
  const { tier, threads } = describeMachine();
  const bySpeaker = heldOut === undefined ? undefined : Object.fromEntries(results.map(([speaker, result]) => [speaker, result.accuracy]));
  const [[, { parameters, report, model }]] = results;
  process.stdout.write(
    `${JSON.stringify({ accuracy, bySpeaker, seconds, epochs: options.epochs, parameters, tier, threads, report, model })}\n`,
  );
}

async function predictCommand(model: string, files: readonly string[], json: boolean): Promise<void> {
  if (files.length === 0) throw new ArgumentError('there are no sound files', { op: 'predict', expected: 'predict FILE.wav ...' });
  const predictions = await predictFiles(model, files);
  files.forEach((file, i) => {
    const { digit, probability } = predictions[i];
    process.stdout.write(
      json ? `${JSON.stringify({ file, digit, probability })}\n` : `${here(file)}: ${digit}  (${(100 * probability).toFixed(1)} %)\n`,
    );
  });
}

async function main(args: string[]): Promise<number> {
  const controller = new AbortController();
  const stop = (): void => controller.abort(new ArgumentError('interrupted', { op: 'train' }));
  process.once('SIGINT', stop);
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        'data-dir': { type: 'string' },
        'data-url': { type: 'string' },
        'held-out': { type: 'string' },
        epochs: { type: 'string' },
        'batch-size': { type: 'string' },
        seed: { type: 'string' },
        out: { type: 'string' },
        model: { type: 'string' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    const [command, ...rest] = positionals;
    const out = resolve(values.out ?? fileURLToPath(new URL('../out', import.meta.url)));
    if (values.help) process.stdout.write(`${usage}\n`);
    else if (command === 'predict') await predictCommand(values.model ?? join(out, 'own', 'model.safetensors'), rest, values.json);
    else if (command !== undefined) {
      throw new ArgumentError(`there is no command ${command}`, { op: 'main', expected: 'predict, or none', fix: 'See --help.' });
    } else {
      const epochs = count('epochs', values.epochs, 15);
      const batchSize = count('batch-size', values['batch-size'], 64);
      const seed = count('seed', values.seed, 1, 0);
      const { signal } = controller;
      const source = await findRecordings({ folder: values['data-dir'], url: values['data-url'], signal });
      const recordings = await readRecordings(source);
      await trainCommand({ source, recordings, epochs, batchSize, seed, out, signal }, values['held-out'], values.json);
    }
    return 0;
  } catch (error) {
    const expected = error instanceof TriremeError || (error instanceof TypeError && 'code' in error);
    process.stderr.write(`\n${error instanceof Error ? (expected ? error.message : error.stack) : String(error)}\n`);
    return 1;
  } finally {
    process.off('SIGINT', stop);
  }
}

process.exitCode = await main(process.argv.slice(2));
