/**
 * A character GPT on Moby-Dick: trains, compares itself with the same training in PyTorch, writes.
 *
 *   main.js [options]              trains and samples
 *   main.js sample [options]       samples from the weights in --out
 */
import { readFile } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ArgumentError, deterministic, FormatError, TriremeError } from 'trireme';
import { CharTokenizer } from 'trireme/data/text';
import { writeFileAtomic } from 'trireme/io';
import { describeMachine, formatDuration, HtmlReport, JsonlLogger, Model, ModelCheckpoint, ProgressBar } from 'trireme/train';
import { Gpt, type GptOptions } from './model.js';
import { compare, isComparable, type Reference, readReference } from './reference.js';
import { type SampleOptions, sample } from './sampling.js';
import { readText, splitText } from './text.js';
import { compile, defaults, type TrainingOptions, train } from './training.js';

const usage = `usage: main.js [options]           train, compare with PyTorch, write text
       main.js sample [options]    write text with the weights in --out

  --text FILE        learn from this text instead of the book
  --epochs N         validations in a training (default ${defaults.epochs})
  --steps N          updates from one to the next (default ${defaults.steps})
  --batch N          windows in a batch (default ${defaults.batchSize})
  --lr X             highest learning rate (default ${defaults.lr})
  --layers N, --dim N, --heads N, --context N    of the network (default 4, 128, 4, 128)
  --dropout P        default 0, as the comparison has it
  --seed N           of weights, batches and samples (default 1)
  --out DIR          where everything goes (default out, beside this example's package.json)
  --resume           go on from the last checkpoint there
  --prompt TEXT      start of the text that is written
  --length N         characters to write (default 600)
  --temperature X    default 0.8
  --json             one line of JSON on standard output, everything else on standard error`;

const options = {
  text: { type: 'string' },
  epochs: { type: 'string' },
  steps: { type: 'string' },
  batch: { type: 'string' },
  lr: { type: 'string' },
  layers: { type: 'string' },
  dim: { type: 'string' },
  heads: { type: 'string' },
  context: { type: 'string' },
  dropout: { type: 'string' },
  seed: { type: 'string' },
  out: { type: 'string' },
  resume: { type: 'boolean', default: false },
  prompt: { type: 'string', default: 'CHAPTER 136. ' },
  length: { type: 'string' },
  temperature: { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

function numberOption(values: Readonly<Record<string, unknown>>, name: string, fallback: number, least: number, whole = true): number {
  const text = values[name];
  if (typeof text !== 'string') return fallback;
  const n = Number(text);
  if (text.trim() === '' || !(whole ? Number.isSafeInteger(n) : Number.isFinite(n)) || n < least) {
    throw new ArgumentError(`--${name} is ${text}`, {
      op: 'main',
      received: text,
      expected: `a ${whole ? 'whole ' : ''}number from ${least}`,
    });
  }
  return n;
}

interface RunOptions {
  readonly text: string | undefined;
  readonly network: Omit<GptOptions, 'vocabSize'>;
  readonly training: TrainingOptions;
  readonly sampling: SampleOptions;
  readonly out: string;
  readonly resume: boolean;
  /** For people. */
  readonly say: (text: string) => void;
  readonly write: (text: string) => void;
  readonly signal: AbortSignal;
}

/** What of the options decides the result, with what the text adds. */
type Described = TrainingOptions & GptOptions;

const weightsFile = (out: string): string => join(out, 'model.safetensors');
const descriptionFile = (out: string): string => join(out, 'model.json');
const here = (path: string): string => relative(process.cwd(), path) || path;

async function trainAndSample({ text, network, training, sampling, out, resume, say, write, signal }: RunOptions): Promise<object> {
  const started = performance.now();
  const corpus = splitText(await readText(text));
  const described: Described = { ...training, vocabSize: corpus.tokenizer.vocabSize, ...network };
  const net = new Gpt(described);
  const model = compile(net, training);
  const parameters = net.parameterCount();
  const machine = describeMachine();
  say(
    `${corpus.train.length} characters to learn from, ${corpus.validation.length} held out, ${described.vocabSize} different ones; ` +
      `${parameters} parameters; ${machine.tier}, ${machine.threads} threads`,
  );
  const reference: Reference | null = text === undefined ? await readReference() : null;
  let written = '';
  const report = new HtmlReport({
    path: join(out, 'report.html'),
    title: `GPT on ${text === undefined ? 'Moby-Dick' : basename(text)}`,
    sections: async ({ epochs }) => {
      if (signal.aborted || epochs.length === 0) return [];
      say('');
      written = await sample(net, corpus.tokenizer, { ...sampling, write, signal });
      say('');
      const points = (values: readonly number[]): (readonly [number, number])[] => values.map((v, i) => [i + 1, v] as const);
      const charts =
        reference === null || !isComparable(reference, described)
          ? []
          : [
              {
                title: 'validation loss',
                axis: 'epoch',
                series: [
                  { name: 'Trireme', points: points(epochs.map((e) => e.metrics.valLoss)) },
                  { name: reference.reference, points: points(reference.validation) },
                ],
              },
            ];
      return [
        { kind: 'charts', title: 'Beside PyTorch', charts, note: 'The same initial weights and batches.' },
        { kind: 'text', title: 'Written by the network', text: written },
      ];
    },
  });
  const { history, losses } = await train(model, corpus, network.context, training, {
    callbacks: [
      new ProgressBar({ output: process.stderr }),
      new ModelCheckpoint({ directory: join(out, 'checkpoints'), monitor: 'valLoss' }),
      new JsonlLogger(join(out, 'log.jsonl')),
      report,
    ],
    signal,
    resume,
  });
  await model.save(weightsFile(out));
  const description = JSON.stringify({ options: described, characters: corpus.tokenizer.toJson() });
  await writeFileAtomic(descriptionFile(out), new TextEncoder().encode(description));

  const validation = history.epochs.map((e) => e.metrics.valLoss);
  const last = history.epochs[history.epochs.length - 1].metrics;
  const seconds = history.epochs.reduce((sum, e) => sum + e.seconds, 0);
  say(
    `validation loss ${last.valLoss.toFixed(4)} (${(last.valLoss / Math.LN2).toFixed(3)} bits a character), ` +
      `${(100 * last.valAccuracy).toFixed(1)} % of the characters right, ${formatDuration(seconds)}`,
  );
  let comparison: ReturnType<typeof compare> | null = null;
  if (reference !== null && isComparable(reference, described)) {
    comparison = compare(reference, losses, validation);
    const percent = (v: number): string => `${(100 * v).toFixed(3)} %`;
    say(
      `${reference.reference}, same weights and batches: ${comparison.referenceLoss.toFixed(4)}; ` +
        `difference ${percent(comparison.difference)}, at most ${percent(comparison.largestDifference)} in any epoch`,
    );
  }
  say(`report  ${here(join(out, 'report.html'))}\nweights ${here(weightsFile(out))}`);
  return {
    valLoss: last.valLoss,
    bitsPerCharacter: last.valLoss / Math.LN2,
    valAccuracy: last.valAccuracy,
    loss: last.loss,
    ...(comparison === null ? {} : { pytorchValLoss: comparison.referenceLoss, ...comparison }),
    epochs: history.epochs.length,
    updates: history.epochs.length * training.steps,
    trainSeconds: Number(seconds.toFixed(1)),
    seconds: Number(((performance.now() - started) / 1000).toFixed(1)),
    parameters,
    tier: machine.tier,
    threads: machine.threads,
    sample: written,
  };
}

/** Loads what a training has left and writes. */
async function sampleCommand({ sampling, out, say, write, signal }: RunOptions): Promise<object> {
  const description: unknown = JSON.parse(await readFile(descriptionFile(out), 'utf8'));
  if (typeof description !== 'object' || description === null || !('options' in description) || !('characters' in description)) {
    throw new FormatError(`${descriptionFile(out)} describes no network`, { op: 'sample', expected: 'what a training has written' });
  }
  const net = new Gpt(description.options as Described);
  await new Model(net).load(weightsFile(out));
  const started = performance.now();
  const text = await sample(net, CharTokenizer.fromJson(description.characters), { ...sampling, write, signal });
  const seconds = (performance.now() - started) / 1000;
  say(`\n${(sampling.length / seconds).toFixed(0)} characters a second`);
  return { sample: text, seconds: Number(seconds.toFixed(2)) };
}

async function main(args: string[]): Promise<number> {
  try {
    const { values, positionals } = parseArgs({ args, allowPositionals: true, options });
    if (values.help) {
      process.stdout.write(`${usage}\n`);
      return 0;
    }
    const [command] = positionals;
    if (positionals.length > 1 || (command !== undefined && command !== 'sample')) {
      throw new ArgumentError(`there is no command ${positionals.join(' ')}`, {
        op: 'main',
        expected: 'sample, or none',
        fix: 'See --help.',
      });
    }
    const stream = values.json ? process.stderr : process.stdout;
    const controller = new AbortController();
    const stop = (): void => controller.abort(new ArgumentError('interrupted', { op: 'main', fix: 'Go on with --resume.' }));
    process.once('SIGINT', stop);
    const n = (name: string, fallback: number, least: number, whole = true): number => numberOption(values, name, fallback, least, whole);
    const seed = n('seed', defaults.seed, 0);
    const lr = n('lr', defaults.lr, 1e-12, false);
    const epochs = n('epochs', defaults.epochs, 1);
    const steps = n('steps', defaults.steps, 1);
    const run: RunOptions = {
      text: values.text,
      network: {
        context: n('context', 128, 2),
        dim: n('dim', 128, 1),
        heads: n('heads', 4, 1),
        layers: n('layers', 4, 1),
        dropout: n('dropout', 0, 0, false),
      },
      training: {
        ...defaults,
        epochs,
        steps,
        batchSize: n('batch', defaults.batchSize, 1),
        lr,
        minLr: (lr * defaults.minLr) / defaults.lr,
        // A short training warms up in a tenth of its steps.
        warmup: Math.max(1, Math.min(defaults.warmup, Math.round((epochs * steps) / 10))),
        seed,
      },
      sampling: { prompt: values.prompt, length: n('length', 600, 0), temperature: n('temperature', 0.8, 1e-3, false), seed },
      out: values.out ?? fileURLToPath(new URL('../out', import.meta.url)),
      resume: values.resume,
      say: (text) => void stream.write(`${text}\n`),
      write: (text) => void stream.write(text),
      signal: controller.signal,
    };
    try {
      deterministic(true);
      const result = await (command === 'sample' ? sampleCommand(run) : trainAndSample(run));
      if (values.json) process.stdout.write(`${JSON.stringify(result)}\n`);
    } finally {
      process.off('SIGINT', stop);
    }
    return 0;
  } catch (error) {
    const plain = error instanceof TriremeError || (error instanceof Error && 'code' in error);
    process.stderr.write(`\n${error instanceof Error ? (plain ? error.message : error.stack) : String(error)}\n`);
    return 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
