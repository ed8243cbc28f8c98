/** `node dist/main.js`: trains a detector of blood cells, measures it and draws what it finds; `predict`: finds cells in photos. */
import { mkdir } from 'node:fs/promises';
import { basename, extname, join, relative, resolve } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ArgumentError, deterministic, manualSeed, TriremeError } from 'trireme';
import { bccdFolder } from 'trireme/data';
import { encodePng, readImage, resizeImage } from 'trireme/data/vision';
import { loadSafetensors, writeFileAtomic } from 'trireme/io';
import { describeMachine, HtmlReport, ModelCheckpoint, ProgressBar, type SampleImage, summary } from 'trireme/train';
import { annotated, evaluate, type Results, resultText, sections, shownFrom, sideBySide } from './evaluation.js';
import { type Architecture, architecture, CellDetector } from './model.js';
import { loadPhotos, type Photo } from './photos.js';
import { type CellModel, detect, train, trainable } from './training.js';

const usage = `usage: node examples/cell-detection/dist/main.js [options]                  train, evaluate, report, save
       node examples/cell-detection/dist/main.js predict MODEL PHOTO ...    boxes in photos, with a saved model

  --data-dir DIR     folder with Annotations, ImageSets and JPEGImages (default $BCCD_DIR, else downloaded)
  --train SET        photos to learn from (default train; trainval: those of the validation too)
  --validation SET   photos to measure with every fifth epoch (default val; none for no such measure)
  --test SET         photos to measure with at the end (default test)
  --epochs N         passes over the photos (default 32)
  --batch N          photos in a step (default 8)
  --seed N           of weights, order and variation (default 1)
  --workers N        threads that vary photos (default 1)
  --resume           goes on from the last checkpoint in the output folder
  --out DIR          where report, pictures and model go (default examples/cell-detection/out)
  --json             one line of JSON on standard output, everything else on standard error`;

function count(name: string, text: string, least: number): number {
  const n = Number(text);
  if (text.trim() !== '' && Number.isSafeInteger(n) && n >= least) return n;
  throw new ArgumentError(`--${name} is ${text}`, { op: 'main', received: text, expected: `a whole number, ${least} or more` });
}

interface TrainArguments {
  readonly dataDir: string | undefined;
  readonly train: string;
  readonly test: string;
  readonly validation: string;
  readonly epochs: number;
  readonly batchSize: number;
  readonly seed: number;
  readonly workers: number;
  readonly resume: boolean;
  readonly out: string;
  readonly json: boolean;
}

const maxLr = 3e-3;

async function trainCommand(args: TrainArguments, signal: AbortSignal): Promise<void> {
  const { out, json, seed } = args;
  const started = performance.now();
  const say = (text: string): void => void (json ? process.stderr : process.stdout).write(`${text}\n`);
  const folder = args.dataDir ?? process.env.BCCD_DIR ?? (await bccdFolder({ signal }));
  const { classNames } = architecture;
  const test = await loadPhotos(folder, args.test, architecture);
  const validation = args.validation === 'none' ? null : await loadPhotos(folder, args.validation, architecture);
  // Pinned to one tier, so that a run can be repeated bit by bit.
  deterministic(true);
  manualSeed(seed);
  const net = new CellDetector();
  const { parameters, macs } = summary(net, { shape: [1, architecture.height, architecture.width, 3], dtype: 'uint8' });
  const { tier, threads } = describeMachine();
  say(`${parameters.toLocaleString('en')} parameters, ${(macs / 1e9).toFixed(2)} G multiply-adds a photo; ${tier}, ${threads} threads`);
  const model = trainable(net, maxLr);
  let results: Results | null = null;
  const measure = async (): Promise<{ results: Results; pictures: SampleImage[] }> => {
    const found = await detect(model, test, {}, signal);
    results = evaluate(found, test, classNames);
    const pictures: SampleImage[] = [];
    await mkdir(join(out, 'pictures'), { recursive: true });
    for (let i = 0; i < test.length; i += Math.ceil(test.length / 12)) {
      const { id, path } = test[i];
      const image = sideBySide(await readImage(path), test[i], found[i], classNames);
      await writeFileAtomic(join(out, 'pictures', `${id}.png`), await encodePng(image));
      pictures.push({ image, caption: id });
    }
    return { results, pictures };
  };
  const report = join(out, 'report.html');
  const history = await train(model, architecture, {
    folder,
    set: args.train,
    epochs: args.epochs,
    batchSize: args.batchSize,
    maxLr,
    seed,
    workers: args.workers,
    validation,
    resume: args.resume,
    signal,
    callbacks: [
      new ProgressBar({ output: process.stderr }),
      new ModelCheckpoint({ directory: join(out, 'checkpoints'), monitor: 'loss' }),
      new HtmlReport({
        path: report,
        title: 'Blood cells found',
        sections: async ({ outcome }) => {
          if (outcome !== 'finished') return [];
          const { results: measured, pictures } = await measure();
          return sections(measured, pictures);
        },
      }),
    ],
  });
  if (results === null) ({ results } = await measure());
  const { map50, map75, map, classes } = results as Results;
  const path = join(out, 'model.safetensors');
  model.swapAverages();
  await model.save(path, new Map([['architecture', JSON.stringify(architecture)]]));
  const seconds = (performance.now() - started) / 1000;
  const here = (file: string): string => relative(process.cwd(), file) || file;
  say(`\n${resultText(results)}\n\nmAP@0.5 ${(100 * map50).toFixed(1)} % on ${test.length} photos, ${seconds.toFixed(0)} s`);
  say(`report  ${here(report)}\nmodel   ${here(path)}`);
  if (!json) return;
  const perClass = Object.fromEntries(classes.map((c) => [c.name, { ap50: c.ap50, precision: c.precision, recall: c.recall }]));
  const line = {
    map50,
    map75,
    map,
    perClass,
    seconds: Number(seconds.toFixed(1)),
    trainingSeconds: Number(history.seconds.toFixed(1)),
    epochs: history.epochs.length,
    parameters,
    tier,
    threads,
    report: resolve(report),
    model: resolve(path),
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** The network of a file. */
async function loadModel(path: string): Promise<{ readonly model: CellModel; readonly settings: Architecture }> {
  const { tensors, metadata } = await loadSafetensors(path);
  for (const t of tensors.values()) t.dispose();
  const text = metadata.get('architecture');
  if (text === undefined)
    throw new ArgumentError(`${path} is no cell detector`, { op: 'predict', expected: 'a model that this program saved' });
  const settings = JSON.parse(text) as Architecture;
  const model = trainable(new CellDetector(settings), maxLr);
  await model.load(path);
  return { model, settings };
}

async function predictCommand(path: string | undefined, files: readonly string[], out: string, json: boolean): Promise<void> {
  if (path === undefined || files.length === 0)
    throw new ArgumentError('a model and photos are needed', { op: 'predict', expected: 'predict MODEL PHOTO ...' });
  const { model, settings } = await loadModel(path);
  await mkdir(out, { recursive: true });
  for (const file of files) {
    const image = await readImage(file);
    const small = resizeImage(image, settings.width, settings.height);
    const photo: Photo = {
      id: file,
      path: file,
      image: small,
      width: image.width,
      height: image.height,
      boxes: new Float32Array(),
      labels: new Int32Array(),
    };
    const [found] = await detect(model, [photo], { scoreThreshold: shownFrom });
    const cells = Array.from(found.labels, (label, i) => ({
      class: settings.classNames[label],
      score: Number(found.scores[i].toFixed(3)),
      box: Array.from(found.boxes.subarray(4 * i, 4 * i + 4), (v) => Math.round(v)),
    }));
    const picture = join(out, `${basename(file, extname(file))}-cells.png`);
    await writeFileAtomic(picture, await encodePng(annotated(image, found, settings.classNames)));
    const counts = settings.classNames.map((name) => `${cells.filter((c) => c.class === name).length} ${name}`).join(', ');
    process.stdout.write(json ? `${JSON.stringify({ file, picture, cells })}\n` : `${file}: ${counts}  (${picture})\n`);
  }
}

async function main(args: string[]): Promise<number> {
  const controller = new AbortController();
  const stop = (): void =>
    controller.abort(new ArgumentError('interrupted', { op: 'train', fix: 'Go on from the last checkpoint: --resume.' }));
  process.once('SIGINT', stop);
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        'data-dir': { type: 'string' },
        train: { type: 'string', default: 'train' },
        test: { type: 'string', default: 'test' },
        validation: { type: 'string', default: 'val' },
        epochs: { type: 'string', default: '32' },
        batch: { type: 'string', default: '8' },
        seed: { type: 'string', default: '1' },
        workers: { type: 'string', default: '1' },
        resume: { type: 'boolean', default: false },
        out: { type: 'string', default: fileURLToPath(new URL('../out', import.meta.url)) },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.help) {
      process.stdout.write(`${usage}\n`);
      return 0;
    }
    const out = resolve(values.out);
    const [command, ...rest] = positionals;
    if (command === 'predict') {
      await predictCommand(rest[0], rest.slice(1), out, values.json);
      return 0;
    }
    if (command !== undefined)
      throw new ArgumentError(`there is no command ${command}`, {
        op: 'main',
        received: command,
        expected: 'predict, or none',
        fix: 'See --help.',
      });
    const { train: trainSet, test, validation, resume, json } = values;
    await trainCommand(
      {
        dataDir: values['data-dir'],
        train: trainSet,
        test,
        validation,
        epochs: count('epochs', values.epochs, 1),
        batchSize: count('batch', values.batch, 1),
        seed: count('seed', values.seed, 0),
        workers: count('workers', values.workers, 0),
        resume,
        out,
        json,
      },
      controller.signal,
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
