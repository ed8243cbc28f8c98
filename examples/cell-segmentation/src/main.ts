/** `node dist/main.js`: trains a U-Net on masks made from boxes, measures it and draws its masks; `predict`: masks of photos. */
import { mkdir } from 'node:fs/promises';
import { basename, extname, join, relative, resolve } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ArgumentError, deterministic, manualSeed, TriremeError } from 'trireme';
import { bccdFolder } from 'trireme/data';
import { drawMask, encodePng, readImage, resizeImage } from 'trireme/data/vision';
import { loadSafetensors, writeFileAtomic } from 'trireme/io';
import { describeMachine, HtmlReport, ModelCheckpoint, ProgressBar, type ReportSection, type SampleImage, summary } from 'trireme/train';
import { boxColumns, boxRows, classColumns, classRows, evaluate, type Results, sideBySide, tableText } from './evaluation.js';
import { classNames } from './masks.js';
import { type Architecture, architecture, UNet } from './model.js';
import { loadPhotos } from './photos.js';
import { segment, train, trainable } from './training.js';

const usage = `usage: node examples/cell-segmentation/dist/main.js [options]                  train, evaluate, report, save
       node examples/cell-segmentation/dist/main.js predict MODEL PHOTO ...    masks of photos, with a saved model

  --data-dir DIR   folder with Annotations, ImageSets and JPEGImages (default $BCCD_DIR, else downloaded)
  --train SET      photos to learn from (default trainval)
  --test SET       photos to measure with (default test)
  --epochs N       passes over the photos (default 15)
  --batch N        photos in a step (default 4)
  --seed N         of weights, order and variation (default 1)
  --workers N      threads that vary photos (default 1)
  --resume         goes on from the last checkpoint in the output folder
  --out DIR        where report, pictures and model go (default examples/cell-segmentation/out)
  --json           one line of JSON on standard output, everything else on standard error`;

const maxLr = 3e-3;

function count(name: string, text: string, least: number): number {
  const n = Number(text);
  if (text.trim() !== '' && Number.isSafeInteger(n) && n >= least) return n;
  throw new ArgumentError(`--${name} is ${text}`, { op: 'main', received: text, expected: `a whole number, ${least} or more` });
}

interface TrainArguments {
  readonly dataDir: string | undefined;
  readonly train: string;
  readonly test: string;
  readonly epochs: number;
  readonly batchSize: number;
  readonly seed: number;
  readonly workers: number;
  readonly resume: boolean;
  readonly out: string;
  readonly json: boolean;
}

function sections(results: Results, pictures: readonly SampleImage[]): ReportSection[] {
  return [
    {
      kind: 'table',
      title: 'Held-out photos',
      note: 'Against the masks made from boxes and colours.',
      table: { columns: classColumns, rows: classRows(results) },
    },
    {
      kind: 'table',
      title: 'Regions against boxes',
      note: 'Boxes that a region of the class overlaps by at least a half.',
      table: { columns: boxColumns, rows: boxRows(results) },
    },
    { kind: 'confusion', title: 'Pixels', matrix: { classNames, counts: results.counts } },
    {
      kind: 'images',
      title: 'Masks',
      note: 'Boxes of the data; the mask made of them, with cells without a box in a colour of their own; the mask of the network.',
      images: pictures,
      size: 960,
    },
  ];
}

async function trainCommand(args: TrainArguments, signal: AbortSignal): Promise<void> {
  const { out, json, seed } = args;
  const started = performance.now();
  const say = (text: string): void => void (json ? process.stderr : process.stdout).write(`${text}\n`);
  const folder = args.dataDir ?? process.env.BCCD_DIR ?? (await bccdFolder({ signal }));
  const test = await loadPhotos(folder, args.test, architecture);
  // Pinned to one tier, so that a run can be repeated bit by bit.
  deterministic(true);
  manualSeed(seed);
  const net = new UNet();
  const { parameters, macs } = summary(net, { shape: [1, architecture.height, architecture.width, 3], dtype: 'uint8' });
  const { tier, threads } = describeMachine();
  say(`${parameters.toLocaleString('en')} parameters, ${(macs / 1e9).toFixed(2)} G multiply-adds a photo; ${tier}, ${threads} threads`);
  const model = trainable(net, maxLr);
  let results: Results | null = null;
  const measure = async (): Promise<{ results: Results; pictures: SampleImage[] }> => {
    const masks = await segment(model, test, signal);
    results = evaluate(masks, test);
    const pictures: SampleImage[] = [];
    await mkdir(join(out, 'pictures'), { recursive: true });
    for (let i = 0; i < test.length; i += Math.ceil(test.length / 8)) {
      const image = sideBySide(test[i], masks[i]);
      await writeFileAtomic(join(out, 'pictures', `${test[i].id}.png`), await encodePng(image));
      pictures.push({ image, caption: test[i].id });
    }
    return { results, pictures };
  };
  const report = join(out, 'report.html');
  const history = await train(model, architecture, {
    folder,
    set: args.train,
    epochs: args.epochs,
    batchSize: args.batchSize,
    seed,
    workers: args.workers,
    validation: test,
    resume: args.resume,
    signal,
    callbacks: [
      new ProgressBar({ output: process.stderr }),
      new ModelCheckpoint({ directory: join(out, 'checkpoints') }),
      new HtmlReport({
        path: report,
        title: 'Blood cells, pixel by pixel',
        sections: async ({ outcome }) => {
          if (outcome !== 'finished') return [];
          const { results: measured, pictures } = await measure();
          return sections(measured, pictures);
        },
      }),
    ],
  });
  if (results === null) ({ results } = await measure());
  const measured: Results = results;
  const path = join(out, 'model.safetensors');
  model.swapAverages();
  await model.save(path, new Map([['architecture', JSON.stringify(architecture)]]));
  const seconds = (performance.now() - started) / 1000;
  const here = (file: string): string => relative(process.cwd(), file) || file;
  say(`\n${tableText(classColumns, classRows(measured))}\n\n${tableText(boxColumns, boxRows(measured))}\n`);
  say(
    `mIoU ${(100 * measured.meanIou).toFixed(1)} %, Dice ${(100 * measured.meanDice).toFixed(1)} % on ${test.length} photos, ${seconds.toFixed(0)} s`,
  );
  say(`report  ${here(report)}\nmodel   ${here(path)}`);
  if (!json) return;
  const { meanIou, meanDice, accuracy, classes, boxes } = measured;
  const line = {
    meanIou,
    meanDice,
    accuracy,
    classes,
    boxes,
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

async function predictCommand(path: string | undefined, files: readonly string[], out: string, json: boolean): Promise<void> {
  if (path === undefined || files.length === 0)
    throw new ArgumentError('a model and photos are needed', { op: 'predict', expected: 'predict MODEL PHOTO ...' });
  const { tensors, metadata } = await loadSafetensors(path);
  for (const t of tensors.values()) t.dispose();
  const text = metadata.get('architecture');
  if (text === undefined)
    throw new ArgumentError(`${path} is no segmenter of cells`, { op: 'predict', expected: 'a model that this program saved' });
  const settings = JSON.parse(text) as Architecture;
  const model = trainable(new UNet(settings), maxLr);
  await model.load(path);
  await mkdir(out, { recursive: true });
  for (const file of files) {
    const image = resizeImage(await readImage(file), settings.width, settings.height);
    const [mask] = await segment(model, [{ image }]);
    const picture = join(out, `${basename(file, extname(file))}-mask.png`);
    await writeFileAtomic(picture, await encodePng(drawMask(image, mask, 0.6)));
    const shares = Object.fromEntries(settings.classNames.map((name, c) => [name, mask.filter((v) => v === c).length / mask.length]));
    const shown = Object.entries(shares).map(([name, share]) => `${(100 * share).toFixed(1)} % ${name}`);
    process.stdout.write(json ? `${JSON.stringify({ file, picture, shares })}\n` : `${file}: ${shown.join(', ')}  (${picture})\n`);
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
        train: { type: 'string', default: 'trainval' },
        test: { type: 'string', default: 'test' },
        epochs: { type: 'string', default: '15' },
        batch: { type: 'string', default: '4' },
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
    const { train: trainSet, test, resume, json } = values;
    await trainCommand(
      {
        dataDir: values['data-dir'],
        train: trainSet,
        test,
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
