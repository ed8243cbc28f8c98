/**
 * Learns to tell spam from other mail, with an LSTM and with a small transformer.
 *
 *   main.js [options]                         trains and tests
 *   main.js predict DIR MAIL.eml ... [--json]     reads mails with a model that was trained
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ArgumentError, deterministic, FormatError, TriremeError } from 'trireme';
import { Tokenizer } from 'trireme/data/text';
import { writeFileAtomic } from 'trireme/io';
import { type ClassMetrics, classMetrics, confusionMatrix, rocAuc } from 'trireme/metrics';
import { describeMachine, formatDuration, HtmlReport, Model, ModelCheckpoint, ProgressBar, type ReportSection } from 'trireme/train';
import { type Example, encodeMails, loadMails, type Mails, splitMails, trainTokenizer } from './data.js';
import { learnable, readMail } from './mail.js';
import { type Architecture, architectures, makeReader, type ReaderOptions } from './model.js';
import { compile, settings, spamProbabilities, train } from './training.js';

const usage = `usage: main.js [options]                    train and test
       main.js predict DIR MAIL.eml ...    the probability that each mail is spam, by the model in DIR

  --model lstm|transformer|both   default both
  --epochs N     default ${settings.lstm.training.epochs} for the LSTM, ${settings.transformer.training.epochs} for the transformer
  --vocab N      tokens that are told apart (default 8000)
  --tokens N     tokens of a mail that are read (default 320)
  --every N      take every n-th mail of the corpus, for a quick look
  --seed N       of weights, dropout and order (default 1); the split is always the same
  --out DIR      where everything goes (default out, beside this example's package.json)
  --json         one line of JSON on standard output, everything else on standard error`;

const classNames = ['ham', 'spam'];

interface RunOptions {
  readonly out: string;
  readonly epochs: number | undefined;
  readonly maxTokens: number;
  readonly seed: number;
  readonly say: (text: string) => void;
  readonly signal: AbortSignal;
}
/** The mails with their tokenizer. */
interface Prepared {
  readonly mails: Mails;
  readonly tokenizer: Tokenizer;
}

const here = (path: string): string => relative(process.cwd(), path) || path;
const percent = (v: number): string => `${(100 * v).toFixed(2)} %`;

/** The mails of the test that were taken for the other kind, those it was surest of first. */
function mistakes(mails: readonly Example[], probabilities: Float64Array): ReportSection {
  const rows = mails
    .map((mail, i) => ({ mail, p: probabilities[i] }))
    .filter(({ mail, p }) => mail.spam !== p > 0.5)
    .sort((a, b) => Math.abs(b.p - 0.5) - Math.abs(a.p - 0.5))
    .map(({ mail, p }) => [mail.name, percent(p), mail.subject || '(no subject)', mail.text.slice(0, 160).replace(/\s+/g, ' ')]);
  return {
    kind: 'table',
    title: `Wrong: ${rows.length} of ${mails.length}`,
    table: { columns: ['Mail', 'Spam', 'Subject', 'Beginning'], rows },
  };
}

interface Outcome {
  readonly spam: ClassMetrics;
  readonly auc: number;
  readonly matrix: readonly (readonly number[])[];
}

function judge(mails: readonly Example[], probabilities: Float64Array): Outcome {
  const labels = mails.map(({ spam }) => Number(spam));
  const matrix = confusionMatrix(
    labels,
    Array.from(probabilities, (p) => Number(p > 0.5)),
    2,
  );
  return { spam: classMetrics(matrix)[1], auc: rocAuc(labels, probabilities), matrix };
}

async function trainAndTest(architecture: Architecture, { mails, tokenizer }: Prepared, run: RunOptions): Promise<object> {
  const { maxTokens, seed, say, signal } = run;
  const out = join(run.out, architecture);
  await mkdir(out, { recursive: true });
  const { reader: sizes, training: rates } = settings[architecture];
  const reader: ReaderOptions = { architecture, vocabSize: tokenizer.vocabSize, maxTokens, ...sizes };
  const training = { ...rates, epochs: run.epochs ?? rates.epochs, seed };
  const model = compile(reader, training);
  const parameters = model.net.parameterCount();
  say(`\n${architecture}: ${parameters} parameters`);
  const [learnt, held, asked] = [mails.train, mails.validation, mails.test].map((part) => encodeMails(part, tokenizer, maxTokens));

  const started = performance.now();
  const found: { test?: Outcome; validation?: Outcome } = {};
  const test = async (): Promise<ReportSection[]> => {
    const probabilities = await spamProbabilities(model, asked, maxTokens, signal);
    found.test = judge(mails.test, probabilities);
    found.validation = judge(mails.validation, await spamProbabilities(model, held, maxTokens, signal));
    return [{ kind: 'confusion', title: 'Test', matrix: { classNames, counts: found.test.matrix } }, mistakes(mails.test, probabilities)];
  };
  const history = await train(model, learnt, held, reader, training, {
    signal,
    callbacks: [
      new ProgressBar({ output: process.stderr, measures: ['loss', 'f1', 'valLoss', 'valF1'] }),
      new ModelCheckpoint({ directory: join(out, 'checkpoints'), monitor: 'valLoss' }),
      new HtmlReport({
        path: join(out, 'report.html'),
        title: `Spam, ${architecture}`,
        sections: ({ outcome }) => (outcome === 'aborted' ? [] : test()),
      }),
    ],
  });
  const seconds = history.seconds;
  // The averaged weights are those that were tested.
  model.swapAverages();
  await model.save(join(out, 'model.safetensors'));
  await writeFileAtomic(join(out, 'model.json'), new TextEncoder().encode(JSON.stringify(reader)));
  await tokenizer.save(join(out, 'tokenizer.json'));
  const { test: outcome, validation } = found;
  if (outcome === undefined || validation === undefined) throw new Error('the test was not made');
  const { precision, recall, f1 } = outcome.spam;
  say(
    `${architecture}: test F1 ${percent(f1)} (precision ${percent(precision)}, recall ${percent(recall)}), ROC-AUC ${outcome.auc.toFixed(4)}, ` +
      `validation F1 ${percent(validation.spam.f1)}; trained in ${formatDuration(seconds)}\nreport ${here(join(out, 'report.html'))}`,
  );
  return {
    f1,
    precision,
    recall,
    auc: outcome.auc,
    matrix: outcome.matrix,
    valF1: validation.spam.f1,
    epochs: history.epochs.length,
    trainSeconds: Number(seconds.toFixed(1)),
    seconds: Number(((performance.now() - started) / 1000).toFixed(1)),
    parameters,
  };
}

async function trainCommand(which: readonly Architecture[], every: number, vocabSize: number, run: RunOptions): Promise<object> {
  const started = performance.now();
  const mails = splitMails(loadMails(every));
  const count = (part: readonly Example[]): string => `${part.length} (${part.filter(({ spam }) => spam).length} spam)`;
  const { tier, threads } = describeMachine();
  run.say(
    `mails: train ${count(mails.train)}, validation ${count(mails.validation)}, test ${count(mails.test)}; ${tier}, ${threads} threads`,
  );
  const tokenizer = await trainTokenizer(mails.train, vocabSize, run.signal);
  run.say(`${tokenizer.vocabSize} tokens learnt, ${formatDuration((performance.now() - started) / 1000)} so far`);
  const results: Record<string, object> = {};
  for (const architecture of which) results[architecture] = await trainAndTest(architecture, { mails, tokenizer }, run);
  return { ...results, seconds: Number(((performance.now() - started) / 1000).toFixed(1)), tier, threads };
}

async function predictCommand(folder: string, files: readonly string[], say: (text: string) => void): Promise<object> {
  const options = JSON.parse(await readFile(join(folder, 'model.json'), 'utf8')) as ReaderOptions;
  if (!architectures.includes(options?.architecture)) {
    throw new FormatError(`${folder} has no model of this example`, { op: 'predict', expected: 'a folder that a training has written' });
  }
  const model = new Model(makeReader(options));
  await model.load(join(folder, 'model.safetensors'));
  const tokenizer = await Tokenizer.load(join(folder, 'tokenizer.json'));
  const mails = await Promise.all(
    files.map(async (name): Promise<Example> => {
      const mail = readMail(await readFile(name, 'utf8'));
      return { name, subject: mail.subject, text: learnable(mail), spam: false };
    }),
  );
  const probabilities = await spamProbabilities(model, encodeMails(mails, tokenizer, options.maxTokens), options.maxTokens);
  mails.forEach(({ name }, i) => {
    say(`${name}: ${probabilities[i] > 0.5 ? 'spam' : 'ham'} (${percent(probabilities[i])} spam)`);
  });
  return mails.map(({ name }, i) => ({ file: name, spam: probabilities[i] }));
}

function countOption(name: string, text: string | undefined, fallback: number, least: number): number {
  if (text === undefined) return fallback;
  const n = Number(text);
  if (text.trim() === '' || !Number.isSafeInteger(n) || n < least) {
    throw new ArgumentError(`--${name} is ${text}`, { op: 'main', received: text, expected: `a whole number, ${least} or more` });
  }
  return n;
}

function architecturesOf(name: string): readonly Architecture[] {
  const which = architectures.filter((a) => name === 'both' || name === a);
  if (which.length === 0)
    throw new ArgumentError(`--model is ${name}`, { op: 'main', received: name, expected: 'lstm, transformer or both' });
  return which;
}

async function main(args: string[]): Promise<number> {
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        model: { type: 'string', default: 'both' },
        epochs: { type: 'string' },
        vocab: { type: 'string' },
        tokens: { type: 'string' },
        every: { type: 'string' },
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
    const say = (text: string): void => void (values.json ? process.stderr : process.stdout).write(`${text}\n`);
    const answer = (result: object): void => void (values.json && process.stdout.write(`${JSON.stringify(result)}\n`));
    const [command, folder, ...files] = positionals;
    if (command === 'predict') {
      if (folder === undefined || files.length === 0) {
        throw new ArgumentError('there is no mail', { op: 'predict', expected: 'predict DIR MAIL.eml ...' });
      }
      answer(await predictCommand(folder, files, say));
      return 0;
    }
    if (command !== undefined) {
      throw new ArgumentError(`there is no command ${command}`, { op: 'main', expected: 'predict, or none', fix: 'See --help.' });
    }
    const controller = new AbortController();
    const stop = (): void => controller.abort(new ArgumentError('interrupted', { op: 'train' }));
    process.once('SIGINT', stop);
    try {
      deterministic(true);
      const run: RunOptions = {
        out: values.out ?? fileURLToPath(new URL('../out', import.meta.url)),
        epochs: values.epochs === undefined ? undefined : countOption('epochs', values.epochs, 1, 1),
        maxTokens: countOption('tokens', values.tokens, 320, 16),
        seed: countOption('seed', values.seed, 1, 0),
        say,
        signal: controller.signal,
      };
      const which = architecturesOf(values.model);
      answer(await trainCommand(which, countOption('every', values.every, 1, 1), countOption('vocab', values.vocab, 8000, 500), run));
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
