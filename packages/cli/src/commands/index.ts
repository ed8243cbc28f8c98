/** The table of commands: it is the parser, the help and the completion. */
import process from 'node:process';
import type { Arguments, Flag } from '../args.js';
import { parsePath, parseValue } from '../config/document.js';
import { exitCodes, UsageError } from '../errors.js';
import type { LoadedRun, Setting } from '../load.js';
import type { Output } from '../output.js';
import type { DataPart } from '../run.js';
import { nearest } from '../suggest.js';

export interface Command {
  readonly name: string;
  /** After the name. */
  readonly usage: string;
  readonly summary: string;
  readonly details?: string;
  readonly flags: readonly Flag[];
  /** Fewest and most arguments that are no flags. */
  readonly positionals: readonly [min: number, max: number];
  /** What the first argument may be, for completion: files by ending, or words. */
  readonly first?: readonly string[];
  run(args: Arguments, output: Output, given: readonly string[]): Promise<number>;
}

const json: Flag = { name: 'json', help: 'one line of JSON on standard output, words on standard error' };
const help: Flag = { name: 'help', short: 'h', help: 'this text' };
const general = [json, help] as const;

const deviceFlags: readonly Flag[] = [
  { name: 'threads', value: 'N', least: 1, help: 'threads of the device (default TRIREME_THREADS, else the cores)' },
  { name: 'tier', value: 'TIER', choices: ['wasm', 'native', 'auto'], help: 'code of the device (default TRIREME_TIER, else auto)' },
];
const runFlags: readonly Flag[] = [
  { name: 'set', value: 'KEY=VALUE', many: true, help: 'change an option of the script, or a key of the configuration; again for more' },
  { name: 'output', short: 'o', value: 'FOLDER', path: true, help: 'output folder of the run (default runs/NAME)' },
  { name: 'seed', value: 'N', least: 0, help: 'of weights, dropout and the order of the data' },
  { name: 'device', value: 'DEVICE', choices: ['cpu'], help: 'where tensors live: cpu' },
  ...deviceFlags,
];
const dim: Flag = { name: 'dim', value: 'NAME=N', many: true, help: 'an extent that the model leaves open (default 1); again for more' };
const input: Flag = {
  name: 'input',
  short: 'i',
  value: 'NAME=FILE',
  many: true,
  path: true,
  help: 'an array for an input; again for more',
};
const checkpoint: Flag = {
  name: 'checkpoint',
  short: 'c',
  value: 'WHERE',
  path: true,
  help: 'a checkpoint folder, a .safetensors file, best or last (default last)',
};
const modelFiles = ['onnx', 'json', 'keras', 'h5', 'safetensors', 'npz', 'pt', 'pth', 'bin', 'gguf'];
const runFiles = ['yaml', 'yml', 'js', 'mjs', 'ts', 'mts', 'json'];

function settings(args: Arguments): Setting[] {
  return args.all('set').map((text) => {
    const at = text.indexOf('=');
    if (at < 1) throw new UsageError(`--set ${text} has no value`, 'Write --set KEY=VALUE, as in --set optimizer.lr=0.01.');
    return { path: parsePath(text.slice(0, at)), value: parseValue(text.slice(at + 1)) };
  });
}

async function device(args: Arguments, tier?: 'native'): Promise<void> {
  const { prepareDevice } = await import('../session.js');
  prepareDevice({ threads: args.number('threads'), tier: tier ?? (args.text('tier') as 'auto' | 'native' | 'wasm' | undefined) });
}

/** Makes the device first, since a script may make tensors as soon as it is loaded. */
async function load(args: Arguments, tier?: 'native'): Promise<LoadedRun> {
  const { loadRun } = await import('../load.js');
  const changes = settings(args);
  await device(args, tier);
  return loadRun(args.positionals[0], {
    settings: changes,
    seed: args.number('seed'),
    epochs: args.number('epochs'),
    output: args.text('output'),
  });
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

export const commands: readonly Command[] = [
  {
    name: 'train',
    usage: '<script or configuration> [options]',
    summary: 'train a model, with checkpoints, logs and a report',
    details: `The output folder gets config.yaml (the configuration as it was resolved), checkpoints/, model.safetensors (the weights
at the end), logs.jsonl, report.html, tensorboard/ and data.json (names of classes and the like).

Ctrl-C (or SIGTERM) saves a checkpoint in the middle of the epoch and says how to go on; a second one ends at once. With
--resume the training goes on from its last checkpoint to the same bits as if it had never stopped.`,
    flags: [
      { name: 'epochs', value: 'N', least: 1, help: 'passes over the data in all, those before a resumed checkpoint included' },
      { name: 'resume', help: 'go on from the last checkpoint of the output folder' },
      { name: 'overwrite', help: 'start anew in an output folder that holds a training' },
      ...runFlags,
      ...general,
    ],
    positionals: [1, 1],
    first: runFiles,
    async run(args, output, given) {
      const [resume, overwrite] = [args.has('resume'), args.has('overwrite')];
      if (resume && overwrite) throw new UsageError('--resume and --overwrite exclude one another', 'Give one of them.');
      const run = await load(args);
      const { train } = await import('./train.js');
      const words = given.filter((word) => word !== '--overwrite' && word !== '--resume');
      return train(run, { resume, overwrite, again: ['trireme', 'train', ...words, '--resume'].map(quoted).join(' ') }, output);
    },
  },
  {
    name: 'eval',
    usage: '<script or configuration> [--checkpoint WHERE] [options]',
    summary: 'measure a trained model on its test data',
    flags: [
      checkpoint,
      {
        name: 'part',
        value: 'PART',
        choices: ['train', 'validation', 'test'],
        help: 'the data to measure on (default test, else validation)',
      },
      ...runFlags,
      ...general,
    ],
    positionals: [1, 1],
    first: runFiles,
    async run(args, output) {
      const run = await load(args);
      const { evaluate } = await import('./use.js');
      return evaluate(run, { checkpoint: args.text('checkpoint'), part: args.text('part') as DataPart | undefined }, output);
    },
  },
  {
    name: 'predict',
    usage: '<script or configuration> [--checkpoint WHERE] <input> ... [options]',
    summary: 'predict for input files with a trained model',
    details: `Inputs are files of the kind that the run is trained on: tables (.csv, .tsv, .jsonl, .parquet), pictures, .npz or IDX files;
for a script, whatever its predict() takes. Each item gives one line of JSON; with --json all are in one list.`,
    flags: [checkpoint, ...runFlags, ...general],
    positionals: [1, Number.POSITIVE_INFINITY],
    first: runFiles,
    async run(args, output) {
      const run = await load(args);
      const { predict } = await import('./use.js');
      return predict(run, { checkpoint: args.text('checkpoint'), inputs: args.positionals.slice(1) }, output);
    },
  },
  {
    name: 'summary',
    usage: '<script or configuration> [options]',
    summary: 'show the layers of a model: shapes, parameters, FLOPs, memory',
    flags: [...runFlags, ...general],
    positionals: [1, 1],
    first: runFiles,
    async run(args, output) {
      const run = await load(args);
      const { summarize } = await import('./use.js');
      return summarize(run, output);
    },
  },
  {
    name: 'inspect',
    usage: '<model> [--html FILE] [options]',
    summary: 'show what is in a model: inputs, operators, parameters, FLOPs, shapes',
    details: `A model is an .onnx file, model.json of TensorFlow.js, or a .keras or .h5 file; of a file of weights the tensors are listed.
Shapes of all values are inferred for the extents that --dim gives (1 for the others); nothing is computed. --html writes
a page with the picture of the graph that needs nothing else: it opens in any browser, without a network.`,
    flags: [
      { name: 'html', value: 'FILE', path: true, help: 'write a page with the picture of the graph' },
      dim,
      { name: 'values', help: 'list the shape of every value' },
      ...general,
    ],
    positionals: [1, 1],
    first: modelFiles,
    async run(args, output) {
      const { inspect } = await import('./inspect.js');
      return inspect(args.positionals[0], { dims: args.all('dim'), html: args.text('html'), values: args.has('values') }, output);
    },
  },
  {
    name: 'run',
    usage: '<model> --input NAME=FILE ... [--output WHERE] [options]',
    summary: 'run a model on arrays in files',
    details: `Inputs are .npy, .npz or .pb files; an archive (.npz) without a name gives arrays to the inputs they are named after. Types
and shapes are checked against the model. Outputs are described, and with --output written: to a .npz, .npy or .pb file, or to a
folder with a file for each.`,
    flags: [
      input,
      { name: 'output', short: 'o', value: 'WHERE', path: true, help: 'a folder, or a .npz, .npy or .pb file' },
      ...deviceFlags,
      ...general,
    ],
    positionals: [1, 1],
    first: ['onnx', 'json', 'keras', 'h5'],
    async run(args, output) {
      await device(args);
      const { runModel } = await import('./run-model.js');
      return runModel(args.positionals[0], { inputs: args.all('input'), target: args.text('output') }, output);
    },
  },
  {
    name: 'convert',
    usage: '<in> <out> [--fp16 | --quantize] [--opset N] [options]',
    summary: 'convert a model or weights to another format, and compare the two',
    details: `Formats go by the endings. Read are models (.onnx, model.json of TensorFlow.js, .keras, .h5) and weights (.safetensors and an index
of shards, .npz, .npy, .pt, .pth, .bin, .gguf, folders); written are .onnx, .safetensors and .npz. A model can be converted to weights.

--fp16 stores weights as float16, --quantize those of products, convolutions and embeddings as int8 with a scale for each channel;
an ONNX graph computes in float32 as before. --opset records the model anew and writes it for that version.

Both models then run on the same inputs (those of --input, else made-up ones) and the largest difference is shown; exit code 1 says
that it is larger than the kind of conversion explains.`,
    flags: [
      { name: 'fp16', help: 'weights as float16' },
      { name: 'quantize', help: 'weights as int8' },
      { name: 'opset', value: 'N', least: 1, help: 'version of the ONNX operators to write' },
      input,
      dim,
      ...deviceFlags,
      ...general,
    ],
    positionals: [2, 2],
    first: modelFiles,
    async run(args, output) {
      await device(args);
      const { convert } = await import('./convert.js');
      const [from, to] = args.positionals;
      const flags = { fp16: args.has('fp16'), quantize: args.has('quantize'), opset: args.number('opset') };
      return convert(from, to, { ...flags, inputs: args.all('input'), dims: args.all('dim') }, output);
    },
  },
  {
    name: 'verify',
    usage: '<a> <b> [--input NAME=FILE ...] [options]',
    summary: 'run two models on the same inputs, or take two files of weights, and compare the numbers',
    details: `Inputs without a file are made up: normal numbers for floats, 0 and 1 for others. Outputs go together by name, else by place.
Exit code 1: somewhere the difference is larger than --tolerance times the largest element.`,
    flags: [
      input,
      dim,
      { name: 'tolerance', value: 'X', help: 'largest difference that passes, as a part of the largest element (default 1e-4)' },
      { name: 'seed', value: 'N', least: 0, help: 'of made-up inputs' },
      ...deviceFlags,
      ...general,
    ],
    positionals: [2, 2],
    first: modelFiles,
    async run(args, output) {
      const tolerance = Number(args.text('tolerance') ?? '1e-4');
      if (!(tolerance >= 0)) throw new UsageError(`--tolerance is ${args.text('tolerance')}`, 'It takes a number, 0 or more.');
      await device(args);
      const { verify } = await import('./verify.js');
      const [a, b] = args.positionals;
      return verify(a, b, { inputs: args.all('input'), dims: args.all('dim'), seed: args.number('seed') ?? 0, tolerance }, output);
    },
  },
  {
    name: 'doctor',
    usage: '[options]',
    summary: 'show what this machine offers, and what to do about what is missing',
    details: 'Exit code 1 means that something is broken; what merely could be better is marked warn.',
    flags: [{ name: 'quick', help: 'leave out the measurement of GFLOP/s and GB/s' }, ...general],
    positionals: [0, 0],
    async run(args, output) {
      const { doctor } = await import('../doctor/doctor.js');
      return doctor({ quick: args.has('quick') }, output);
    },
  },
  {
    name: 'warmup',
    usage: '<script or configuration> [options]',
    summary: 'compile the native code of a run ahead, for containers',
    details: `Runs one step, one evaluation and one prediction with native code, so that its compiled kernels are in the cache
(TRIREME_CACHE) and the next process on the same kind of CPU starts with them. Nothing of the training is kept. Give the
--threads that the later run will have.`,
    flags: [...runFlags.filter((flag) => flag.name !== 'tier'), ...general],
    positionals: [1, 1],
    first: runFiles,
    async run(args, output) {
      const run = await load(args, 'native');
      const { warmup } = await import('./warmup.js');
      return warmup(run, output);
    },
  },
  {
    name: 'schema',
    usage: '',
    summary: 'print the JSON Schema of configuration files, for editors',
    flags: [help],
    positionals: [0, 0],
    async run() {
      const { jsonSchema } = await import('../config/read.js');
      process.stdout.write(`${JSON.stringify(jsonSchema())}\n`);
      return exitCodes.done;
    },
  },
  {
    name: 'completion',
    usage: '<bash|zsh|fish>',
    summary: 'print the completion script of a shell',
    details: `bash:  trireme completion bash > ~/.local/share/bash-completion/completions/trireme
zsh:   trireme completion zsh > "\${fpath[1]}/_trireme"
fish:  trireme completion fish > ~/.config/fish/completions/trireme.fish`,
    flags: [help],
    positionals: [1, 1],
    first: ['bash', 'zsh', 'fish'],
    async run(args) {
      const { completion } = await import('../completion.js');
      process.stdout.write(completion(args.positionals[0], commands));
      return exitCodes.done;
    },
  },
  {
    name: 'help',
    usage: '[command]',
    summary: 'show how a command is used',
    flags: [help],
    positionals: [0, 1],
    async run(args) {
      const { commandHelp, overview } = await import('../help.js');
      const [name] = args.positionals;
      process.stdout.write(name === undefined ? overview(commands) : commandHelp(findCommand(name)));
      return exitCodes.done;
    },
  },
];

/** @throws UsageError with the nearest name */
export function findCommand(name: string): Command {
  const found = commands.find((command) => command.name === name);
  if (found) return found;
  throw new UsageError(`there is no command ${name}`, suggestedCommand(name));
}
function suggestedCommand(name: string): string {
  const aliases: Readonly<Record<string, string>> = {
    evaluate: 'eval',
    test: 'eval',
    fit: 'train',
    infer: 'predict',
    info: 'doctor',
    summarize: 'summary',
    show: 'inspect',
    export: 'convert',
    compare: 'verify',
  };
  if (Object.hasOwn(aliases, name)) return `Did you mean ${aliases[name]}?`;
  const near = nearest(
    name,
    commands.map((command) => command.name),
  );
  return near === null ? `Known are ${commands.map((command) => command.name).join(', ')}.` : `Did you mean ${near}?`;
}
