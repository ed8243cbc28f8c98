/**
 * Trains a classifier, shows how good it is, writes a report, saves the model, and lets a new process load it and predict.
 *
 *   main.js [--data digits|fashion-mnist] [--data-dir DIR] [--data-url URL] [--epochs N] [--seed N] [--out DIR] [--json]
 *   main.js predict MODEL.safetensors PICTURE.png ... [--json]
 */
import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { ArgumentError, CpuDevice, defaultDevice, manualSeed, TriremeError, zeros } from 'trireme';
import { saveSafetensors, writeFileAtomic } from 'trireme/io';
import { type ClassMetrics, classMetrics, confusionMatrix, macroAverage } from 'trireme/metrics';
import { loadDigits, loadFashion, type Split } from './datasets.js';
import { architectures, Classifier } from './model.js';
import { writePicture } from './pictures.js';
import { predict } from './predict.js';
import { renderPage } from './report.js';
import { classify, train, trainable } from './training.js';

const usage = `usage: npm start -- [options]                             train, evaluate, report, save, predict
       npm start -- predict MODEL.safetensors PICTURE.png ...    predict with a saved model

  --data digits|fashion-mnist   what to learn (default digits)
  --data-dir DIR                folder with the four Fashion-MNIST files
  --data-url URL                mirror to download them from, by https or http
  --epochs N                    passes over the training pictures (default 30; fashion-mnist 6)
  --seed N                      of weights, order and augmentation (default 1)
  --out DIR                     where report and model go (default runs/<data>)
  --json                        one line of JSON on standard output, everything else on standard error`;

const settings = {
  digits: { epochs: 30, batchSize: 64, maxLr: 0.01, augmentation: { shift: 1, mirror: false } },
  'fashion-mnist': { epochs: 6, batchSize: 128, maxLr: 0.005, augmentation: { shift: 2, mirror: true } },
} as const;

function countOption(name: string, text: string | undefined, fallback: number, least: number): number {
  if (text === undefined) return fallback;
  const n = Number(text);
  if (text.trim() === '' || !Number.isSafeInteger(n) || n < least)
    throw new ArgumentError(`--${name} is ${text}`, { op: 'main', received: text, expected: `a whole number, ${least} or more` });
  return n;
}

function matrixText(matrix: readonly (readonly number[])[], names: readonly string[], classes: readonly ClassMetrics[]): string {
  const width = Math.max(...names.map((n) => n.length), ...matrix.flat().map((n) => String(n).length)) + 1;
  const head = `${' '.repeat(width)} ${names.map((n) => n.padStart(width)).join('')}   precision  recall`;
  const rows = matrix.map((row, i) => {
    const cells = row.map((n) => (n === 0 ? '·' : String(n)).padStart(width)).join('');
    return `${names[i].padStart(width)} ${cells}   ${(100 * classes[i].precision).toFixed(1).padStart(7)} %${(100 * classes[i].recall).toFixed(1).padStart(6)} %`;
  });
  return [head, ...rows].join('\n');
}

/** Starts a process that knows nothing of this one but the files. */
async function predictElsewhere(model: string, files: readonly string[], signal: AbortSignal): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [fileURLToPath(import.meta.url), 'predict', model, ...files], {
      signal,
    });
    return stdout;
  } catch (cause) {
    signal.throwIfAborted();
    throw new Error(`the new process could not predict: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

interface TrainArguments {
  readonly data: keyof typeof settings;
  readonly dataDir: string | undefined;
  readonly dataUrl: string | undefined;
  readonly epochs: number;
  readonly seed: number;
  readonly out: string;
  readonly json: boolean;
}

/** Trains until done or interrupted; a second interruption ends the process at once. Each file is written whole or not at all. */
async function trainCommand(args: TrainArguments): Promise<void> {
  const controller = new AbortController();
  const stop = (): void =>
    controller.abort(new ArgumentError('interrupted', { op: 'train', fix: 'Files are whole or not written: start again.' }));
  process.once('SIGINT', stop);
  try {
    await trainAndReport(args, controller.signal);
  } finally {
    process.off('SIGINT', stop);
  }
}

/** Where most of the work ran: native code takes over as soon as it is compiled, where it can be had. */
function backend(): string {
  const device = defaultDevice();
  if (!(device instanceof CpuDevice)) return device.name;
  return device.tier !== 'wasm' && device.nativeStatus === true ? 'native' : 'wasm';
}

async function trainAndReport({ data, dataDir, dataUrl, epochs, seed, out, json }: TrainArguments, signal: AbortSignal): Promise<void> {
  const started = performance.now();
  const say = (text: string): void => void (json ? process.stderr : process.stdout).write(`${text}\n`);
  const split: Split = data === 'digits' ? await loadDigits() : await loadFashion({ folder: dataDir, url: dataUrl, signal });
  const architecture = architectures[data];
  manualSeed(seed);
  const model = new Classifier(architecture);
  const parameters = model.parameters().reduce((n, p) => n + p.numel, 0);
  const { threads } = defaultDevice();
  say(
    `${data}: ${split.train.labels.length} pictures to learn from, ${split.test.labels.length} to test with; ${parameters} parameters; ${threads} threads`,
  );

  const { batchSize, maxLr, augmentation } = settings[data];
  const trained = trainable(model, maxLr);
  const options = { epochs, batchSize, maxLr, seed, augmentation, signal };
  const results = await train(trained, split, options, ({ epoch, metrics }) =>
    data !== 'digits' || epoch % 5 === 0 || epoch === epochs
      ? `epoch ${epoch}: loss ${metrics.loss.toFixed(4)}, test accuracy ${(100 * metrics.valAccuracy).toFixed(2)} %`
      : null,
  );

  const predictions = await classify(trained, split.test, signal);
  const matrix = confusionMatrix(split.test.labels, predictions.classes, architecture.classes);
  const classes = classMetrics(matrix);
  const macro = macroAverage(classes);
  const seconds = (performance.now() - started) / 1000;
  say(`\n${matrixText(matrix, split.classNames, classes)}\n`);
  say(`test accuracy ${(100 * predictions.accuracy).toFixed(2)} %, macro F1 ${(100 * macro.f1).toFixed(2)} %, ${seconds.toFixed(1)} s`);

  signal.throwIfAborted();
  await mkdir(out, { recursive: true });
  const facts = {
    'Test accuracy': `${(100 * predictions.accuracy).toFixed(2)} %`,
    'Macro F1': `${(100 * macro.f1).toFixed(2)} %`,
    Epochs: String(epochs),
    Time: `${seconds.toFixed(1)} s`,
    Parameters: parameters.toLocaleString('en'),
    Backend: `${backend()}, ${threads} threads`,
    Seed: String(seed),
  };
  const title = data === 'digits' ? 'Handwritten digits, 8x8' : 'Fashion-MNIST';
  const report = join(out, 'report.html');
  await writeFileAtomic(
    report,
    new TextEncoder().encode(
      await renderPage({ title, facts, epochs: results, classNames: split.classNames, matrix, classes, test: split.test, predictions }),
    ),
  );
  signal.throwIfAborted();
  const modelPath = join(out, 'model.safetensors');
  await saveSafetensors(
    modelPath,
    model.stateDict(),
    new Map([
      ['architecture', JSON.stringify(architecture)],
      ['classNames', JSON.stringify(split.classNames)],
      ['data', data],
    ]),
  );
  // Imported here: predicting needs none of it.
  const { saveOnnx } = await import('@trireme/onnx');
  const onnxPath = join(out, 'model.onnx');
  using example = zeros([1, 1, architecture.side, architecture.side]);
  await saveOnnx(onnxPath, model, [example], {
    dynamicBatch: true,
    inputNames: ['pictures'],
    outputNames: ['logits'],
    metadata: { classNames: JSON.stringify(split.classNames), data },
  });
  const here = (path: string): string => relative(process.cwd(), path) || path;
  say(`report  ${here(report)}\nmodel   ${here(modelPath)}\nONNX    ${here(onnxPath)}`);

  // Held-out pictures as files, read by a process of its own.
  const size = architecture.side ** 2;
  const files: string[] = [];
  const truth: string[] = [];
  for (let i = 0; i < 5; i++) {
    signal.throwIfAborted();
    const index = Math.floor((i * split.test.labels.length) / 5);
    const file = join(out, `sample-${i}.png`);
    await writePicture(
      file,
      split.test.images.subarray(index * size, (index + 1) * size),
      architecture.side,
      Math.max(1, Math.round(64 / architecture.side)),
    );
    files.push(file);
    truth.push(split.classNames[split.test.labels[index]]);
  }
  say(`\na new process loads the model and reads pictures of ${truth.join(', ')}:`);
  say((await predictElsewhere(modelPath, files, signal)).trimEnd());
  if (json) {
    process.stdout.write(
      `${JSON.stringify({ data, accuracy: predictions.accuracy, macroF1: macro.f1, seconds: Number(seconds.toFixed(2)), epochs, parameters, backend: backend(), threads, report: resolve(report), model: resolve(modelPath), onnx: resolve(onnxPath) })}\n`,
    );
  }
}

async function predictCommand(model: string | undefined, files: readonly string[], json: boolean): Promise<void> {
  if (model === undefined)
    throw new ArgumentError('there is no model', { op: 'predict', expected: 'predict <model.safetensors> <picture.png> ...' });
  const predictions = await predict(model, files);
  for (const p of predictions) {
    process.stdout.write(
      json
        ? `${JSON.stringify(p)}\n`
        : `${relative(process.cwd(), p.file) || p.file}: ${p.class}  (${(100 * p.probability).toFixed(1)} %)\n`,
    );
  }
}

async function main(args: string[]): Promise<number> {
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        data: { type: 'string', default: 'digits' },
        'data-dir': { type: 'string' },
        'data-url': { type: 'string' },
        epochs: { type: 'string' },
        seed: { type: 'string' },
        out: { type: 'string' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.help) {
      process.stdout.write(`${usage}\n`);
      return 0;
    }
    const [command, ...rest] = positionals;
    if (command === 'predict') {
      await predictCommand(rest[0], rest.slice(1), values.json);
      return 0;
    }
    if (command !== undefined)
      throw new ArgumentError(`there is no command ${command}`, {
        op: 'main',
        received: command,
        expected: 'predict, or none',
        fix: 'See --help.',
      });
    const { data } = values;
    if (data !== 'digits' && data !== 'fashion-mnist')
      throw new ArgumentError(`--data is ${data}`, { op: 'main', received: data, expected: 'digits or fashion-mnist' });
    await trainCommand({
      data,
      dataDir: values['data-dir'],
      dataUrl: values['data-url'],
      epochs: countOption('epochs', values.epochs, settings[data].epochs, 1),
      seed: countOption('seed', values.seed, 1, 0),
      out: resolve(values.out ?? join('runs', data)),
      json: values.json,
    });
    return 0;
  } catch (error) {
    const expected = error instanceof TriremeError || (error instanceof TypeError && 'code' in error);
    process.stderr.write(
      `\n${expected && error instanceof Error ? error.message : error instanceof Error ? error.stack : String(error)}\n`,
    );
    return 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
