/**
 * Trains a residual network on Fashion-MNIST, tests it, writes a report and saves the model.
 *
 *   main.js [--data-dir DIR] [--data-url URL] [--epochs N] [--batch-size N] [--limit N] [--seed N] [--out DIR] [--resume] [--json]
 */
import { join, relative, resolve } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ArgumentError, deterministic, manualSeed, TriremeError } from 'trireme';
import { loadFashionMnist } from 'trireme/data';
import { describeMachine, HtmlReport, ModelCheckpoint, ProgressBar, summary, TensorBoard } from 'trireme/train';
import { testBatches, trainingBatches } from './data.js';
import { architecture, ResNet } from './model.js';
import { sections } from './report.js';
import { classify, type Predictions, trainable } from './training.js';

const usage = `usage: node examples/fashion-resnet/dist/main.js [options]

  --data-dir DIR    folder with the four files of Fashion-MNIST
  --data-url URL    mirror to download them from, by https or http
  --epochs N        passes over the training pictures (default 12)
  --batch-size N    pictures in a batch (default 128)
  --limit N         train and test with the first N pictures alone
  --seed N          of weights, order and variations (default 1)
  --out DIR         where report, model and checkpoints go (default out, beside dist)
  --resume          go on from the last checkpoint in --out
  --json            one line of JSON on standard output`;

interface Options {
  readonly dataDir: string | undefined;
  readonly dataUrl: string | undefined;
  readonly epochs: number;
  readonly batchSize: number;
  readonly limit: number | undefined;
  readonly seed: number;
  readonly out: string;
  readonly resume: boolean;
}

interface Result {
  readonly accuracy: number;
  readonly seconds: number;
  readonly epochs: number;
  readonly parameters: number;
  readonly tier: string;
  readonly threads: number;
  readonly report: string;
  readonly model: string;
}

function count(name: string, text: string | undefined, fallback: number, least = 1): number {
  if (text === undefined) return fallback;
  const n = Number(text);
  if (text.trim() !== '' && Number.isSafeInteger(n) && n >= least) return n;
  throw new ArgumentError(`--${name} is ${text}`, { op: 'main', received: text, expected: `a whole number, ${least} or more` });
}

async function train({ dataDir, dataUrl, epochs, batchSize, limit, seed, out, resume }: Options, signal: AbortSignal): Promise<Result> {
  const started = performance.now();
  const { train, test, classNames } = await loadFashionMnist({ folder: dataDir, url: dataUrl, signal });
  deterministic(true);
  manualSeed(seed);
  const net = new ResNet(architecture);
  const [, height, width] = train.fields.image.shape;
  process.stderr.write(`${summary(net, [1, 1, height, width])}\n`);

  const batches = trainingBatches(train, { batchSize, seed, count: limit });
  const tested = Math.min(limit ?? test.length, test.length);
  const model = trainable(net, (0.1 * batchSize) / 128);
  const report = join(out, 'report.html');
  let predictions: Predictions | undefined;
  await model.fit(batches, {
    epochs,
    seed,
    signal,
    resume,
    validation: testBatches(test, limit),
    callbacks: [
      new ProgressBar(),
      new ModelCheckpoint({ directory: join(out, 'checkpoints'), keepBest: 0 }),
      new TensorBoard({ directory: join(out, 'tensorboard'), everySteps: 10, graph: [1, 1, height, width] }),
      new HtmlReport({
        path: report,
        title: 'Fashion-MNIST, residual network',
        sections: async ({ outcome }) => {
          if (outcome === 'aborted') return [];
          predictions = await classify(model, test, tested, signal);
          return sections({ train, test, classNames, predictions });
        },
      }),
    ],
  });
  if (predictions === undefined) throw new ArgumentError('there are no predictions', { op: 'main', expected: 'a training that ends' });
  const path = join(out, 'model.safetensors');
  model.swapAverages();
  await model.save(path, new Map([['architecture', JSON.stringify(architecture)]]));
  const { tier, threads } = describeMachine();
  return {
    accuracy: predictions.accuracy,
    seconds: Number(((performance.now() - started) / 1000).toFixed(1)),
    epochs,
    parameters: net.parameters().reduce((n, p) => n + p.numel, 0),
    tier,
    threads,
    report,
    model: path,
  };
}

async function main(args: string[]): Promise<number> {
  const controller = new AbortController();
  const stop = (): void =>
    controller.abort(new ArgumentError('interrupted', { op: 'train', fix: 'Go on with --resume: the last checkpoint is whole.' }));
  process.once('SIGINT', stop);
  try {
    const { values } = parseArgs({
      args,
      options: {
        'data-dir': { type: 'string' },
        'data-url': { type: 'string' },
        epochs: { type: 'string' },
        'batch-size': { type: 'string' },
        limit: { type: 'string' },
        seed: { type: 'string' },
        out: { type: 'string' },
        resume: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.help) {
      process.stdout.write(`${usage}\n`);
      return 0;
    }
    const options: Options = {
      dataDir: values['data-dir'],
      dataUrl: values['data-url'],
      epochs: count('epochs', values.epochs, 12),
      batchSize: count('batch-size', values['batch-size'], 128),
      limit: values.limit === undefined ? undefined : count('limit', values.limit, 0),
      seed: count('seed', values.seed, 1, 0),
      out: resolve(values.out ?? fileURLToPath(new URL('../out', import.meta.url))),
      resume: values.resume,
    };
    const result = await train(options, controller.signal);
    const { accuracy, seconds, report, model } = result;
    const here = (path: string): string => relative(process.cwd(), path) || path;
    process.stdout.write(
      values.json
        ? `${JSON.stringify(result)}\n`
        : `test accuracy ${(100 * accuracy).toFixed(2)} %, ${seconds} s\nreport  ${here(report)}\nmodel   ${here(model)}\n`,
    );
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
