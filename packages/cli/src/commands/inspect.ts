/** `trireme inspect` */
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { decodeModel, type Inference, inferShapes, type ModelModel } from '@trireme/onnx';
import { readFileBounded, writeFileAtomic } from 'trireme/io';
import { ConfigError, exitCodes, reasonOf, UsageError } from '../errors.js';
import { elementsOf, type Inspection, inspectModel, shapeText } from '../inspect/inspection.js';
import { renderPage } from '../inspect/page.js';
import { amount, byteText, pictureOf } from '../inspect/picture.js';
import { kindOf, openRunnable } from '../models/open.js';
import { reexported } from '../models/reexport.js';
import { tensorsOfFile } from '../models/weights.js';
import { columns, type Output } from '../output.js';
import { suggestion } from '../suggest.js';

/** Largest model file that is read; weights beside it (external data) are not. */
const maxFile = 2 ** 31 - 1;

export interface InspectFlags {
  /** `batch=4` */
  readonly dims: readonly string[];
  readonly html: string | undefined;
  /** Whether to list every value. */
  readonly values: boolean;
}

/** @throws UsageError unless each is NAME=N */
export function parseDims(given: readonly string[]): Map<string, number> {
  return new Map(
    given.map((text) => {
      const match = /^(.+)=(\d+)$/.exec(text);
      if (match === null) throw new UsageError(`--dim ${text} is no extent`, 'Write --dim NAME=N, as in --dim batch=8.');
      return [match[1], Number(match[2])] as const;
    }),
  );
}

/** Extents for names and holes, noting which were used: what was asked for, else 1. */
function extents(given: ReadonlyMap<string, number>): {
  readonly used: Record<string, number>;
  readonly of: (dim: string | null) => number;
} {
  const used: Record<string, number> = {};
  return {
    used,
    of: (dim) => {
      const extent = given.get(dim ?? '?') ?? 1;
      used[dim ?? '?'] = extent;
      return extent;
    },
  };
}

/** Shapes where the model can be walked; a model of unknown operators is described without. */
function inferredOf(model: ModelModel, extent: (dim: string | null) => number): Inference {
  try {
    return inferShapes(model, extent);
  } catch (error) {
    return { values: new Map(), dependent: [], problems: [error instanceof Error ? error.message : String(error)] };
  }
}

function textOf(file: string, bytes: number, inspection: Inspection, { dependent, problems }: Inference): string {
  const { graph, producer, irVersion, opsets, inputs, outputs, parameters, flops, dims, nodes, operators, functions } = inspection;
  const io = (list: Inspection['inputs']): string =>
    columns(
      list.map(({ name, type, shape }) => [name, type, shapeText(shape)]),
      '  ',
    );
  const chosen = Object.entries(dims).map(([name, extent]) => `${name} = ${extent}`);
  const versions = Object.entries(opsets).map(([domain, version]) => `${domain} ${version}`);
  const facts: string[][] = [
    ['opsets', `${versions.join(', ')} (IR version ${irVersion})`],
    ...(producer === '' ? [] : [['made by', producer]]),
    ['parameters', `${parameters.elements.toLocaleString('en')} in ${parameters.tensors} tensors, ${byteText(parameters.bytes)}`],
    ...(flops === null ? [] : [['FLOPs', `${amount(flops)}${chosen.length > 0 ? ` for ${chosen.join(', ')}` : ''}`]]),
    ['nodes', String(nodes)],
    ...(functions.length === 0 ? [] : [['functions', functions.join(', ')]]),
  ];
  return [
    `${file}: ${graph === '' ? 'a graph without a name' : graph}, ${byteText(bytes)}`,
    columns(facts, '  '),
    'inputs',
    io(inputs),
    'outputs',
    io(outputs),
    'operators',
    columns(
      Object.entries(operators).map(([name, count]) => [name, String(count)]),
      '  ',
    ),
    ...(dependent.length === 0 ? [] : [`shapes that depend on data begin at ${dependent.join(', ')}`]),
    ...problems.map((problem) => `shapes are not known: ${problem}`),
  ].join('\n');
}

/** What to describe, and the size of the file: data beside a model (external data) is not read. */
async function modelIn(file: string, dims: ReadonlyMap<string, number>): Promise<{ readonly model: ModelModel; readonly bytes: number }> {
  try {
    if (kindOf(file) === 'onnx') {
      const content = await readFileBounded(file, maxFile);
      return { model: decodeModel(content), bytes: content.length };
    }
    const runnable = await openRunnable(file);
    const model = runnable.source.kind === 'onnx' ? runnable.source.model.model : reexported(runnable, dims, undefined);
    runnable.dispose();
    return { model, bytes: (await stat(file)).size };
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError({ file, message: reasonOf(error) }, error);
  }
}

/** Tensors shown without --values. */
const shownTensors = 20;

async function inspectWeights(file: string, all: boolean, output: Output): Promise<number> {
  const weights = await tensorsOfFile(file);
  try {
    const tensors = [...weights.entries.values()].map(({ name, storedAs, shape }) => ({ name, type: storedAs, shape }));
    const elements = tensors.reduce((sum, { shape }) => sum + elementsOf(shape), 0);
    output.say(`${file}: ${weights.format}, ${tensors.length} tensors, ${elements.toLocaleString('en')} elements`);
    const shown = all ? tensors : tensors.slice(0, shownTensors);
    output.say(
      columns(
        shown.map(({ name, type, shape }) => [name, type, shapeText(shape)]),
        '  ',
      ),
    );
    if (shown.length < tensors.length) output.say(`  and ${tensors.length - shown.length} more: --values lists all`);
    const metadata = Object.fromEntries(
      [...weights.metadata].filter(([, value]) => !Array.isArray(value)).map(([name, value]) => [name, String(value)]),
    );
    output.result({ command: 'inspect', ok: true, file, format: weights.format, elements, tensors, metadata });
    return exitCodes.done;
  } finally {
    await weights.close();
  }
}

export async function inspect(file: string, { dims, html, values }: InspectFlags, output: Output): Promise<number> {
  const given = parseDims(dims);
  if (kindOf(file) === 'weights') {
    if (html !== undefined || given.size > 0) throw new UsageError(`${file} holds weights`, 'Pictures and extents are of models.');
    return inspectWeights(file, values, output);
  }
  const { model, bytes } = await modelIn(file, given);
  const extent = extents(given);
  const inferred = inferredOf(model, extent.of);
  const unused = [...given.keys()].find((name) => !Object.hasOwn(extent.used, name));
  if (unused !== undefined) {
    const names = Object.keys(extent.used);
    throw new ConfigError({
      file,
      message: `no input has an extent named ${unused}.`,
      fix: names.length === 0 ? 'All extents are numbers.' : suggestion(unused, names),
    });
  }
  const walked = new Map([...inferred.values].map(([name, { type, shape, isConstant }]) => [name, { type, shape, isKnown: isConstant }]));
  const inspection = inspectModel(model, walked, extent.used);
  output.say(textOf(file, bytes, inspection, inferred));
  if (values) {
    output.say('values');
    output.say(
      columns(
        inspection.values.map(({ name, type, shape }) => [name, type, shapeText(shape)]),
        '  ',
      ),
    );
  }
  if (html !== undefined) {
    const page = renderPage(pictureOf(basename(file), model, walked, inspection, bytes));
    await writeFileAtomic(html, new TextEncoder().encode(page));
    output.say(`picture of the graph: ${html}`);
  }
  const { dependent, problems } = inferred;
  output.result({ command: 'inspect', ok: true, file, bytes, ...inspection, dependent, problems, html: html ?? null });
  return exitCodes.done;
}
