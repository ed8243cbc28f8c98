/** `trireme convert` */
import { stat } from 'node:fs/promises';
import { extname } from 'node:path';
import { type ModelModel, saveModel, TensorValue } from '@trireme/onnx';
import { type RawTensor, rawTensor } from 'trireme/io';
import { ConfigError, exitCodes, reasonOf, UsageError } from '../errors.js';
import { byteText } from '../inspect/picture.js';
import { type Comparison, compareValues, worstOf } from '../models/compare.js';
import { halveWeights, quantizeWeights } from '../models/compress.js';
import { kindOf, openRunnable, type Runnable } from '../models/open.js';
import { reexported } from '../models/reexport.js';
import { halved, hostOf, tensorsOfFile, writeWeights, writtenWeights } from '../models/weights.js';
import type { Output } from '../output.js';
import { onInterrupt } from '../session.js';
import { parseDims } from './inspect.js';
import { compareModels, reportComparison } from './verify.js';

export interface ConvertFlags {
  readonly fp16: boolean;
  readonly quantize: boolean;
  readonly opset: number | undefined;
  readonly inputs: readonly string[];
  readonly dims: readonly string[];
}

/** What a comparison may differ, as a part of the largest element: rounding of another order, of float16, of int8. */
const tolerances = { exact: 1e-4, fp16: 2e-2, quantize: 0.25 } as const;

const fileBytes = async (path: string): Promise<number> => (await stat(path).catch(() => null))?.size ?? 0;

interface Converted {
  readonly comparisons: readonly Comparison[] | null;
  /** Why there is no comparison. */
  readonly why: string | null;
  readonly notes: readonly string[];
}

/** Tensors of any source: a file of weights, or what a model has learnt. */
async function tensorsOf(file: string): Promise<{ readonly tensors: Map<string, RawTensor>; readonly metadata: Map<string, string> }> {
  const tensors = new Map<string, RawTensor>();
  const metadata = new Map<string, string>();
  if (kindOf(file) === 'weights') {
    const weights = await tensorsOfFile(file);
    try {
      for (const [name, entry] of weights.entries) tensors.set(name, await entry.read());
      for (const [name, value] of weights.metadata) if (typeof value === 'string') metadata.set(name, value);
    } catch (error) {
      throw new ConfigError({ file, message: reasonOf(error) }, error);
    } finally {
      await weights.close();
    }
    return { tensors, metadata };
  }
  const runnable = await openRunnable(file);
  const { source } = runnable;
  const module = source.kind === 'onnx' ? source.model.toModule() : source.model;
  for (const [name, t] of module.stateDict()) tensors.set(name, rawTensor(t));
  if (source.kind === 'onnx') module.dispose();
  runnable.dispose();
  return { tensors, metadata };
}

async function convertWeights(from: string, to: string, { fp16 }: ConvertFlags): Promise<Converted> {
  const { tensors, metadata } = await tensorsOf(from);
  if (tensors.size === 0) throw new ConfigError({ file: from, message: 'there are no tensors in it.' });
  const written = fp16 ? new Map([...tensors].map(([name, raw]) => [name, halved(raw)])) : tensors;
  await writeWeights(to, written, metadata);
  const back = await tensorsOfFile(to);
  try {
    const comparisons: Comparison[] = [];
    for (const [name, raw] of tensors) {
      const entry = back.entries.get(name);
      const value = entry === undefined ? TensorValue.ofHost(new Float32Array(0), 'float32', [0]) : hostOf(await entry.read());
      comparisons.push(compareValues(name, name, hostOf(raw), value));
    }
    return { comparisons, why: null, notes: [`${tensors.size} tensors`] };
  } finally {
    await back.close();
  }
}

function onnxOf(runnable: Runnable, flags: ConvertFlags, file: string): ModelModel {
  const { source } = runnable;
  const isOnnx = source.kind === 'onnx';
  const current = isOnnx ? source.model.metadata.opsets.get('') : undefined;
  if (isOnnx && (flags.opset === undefined || flags.opset === current)) return source.model.model;
  try {
    return reexported(runnable, parseDims(flags.dims), flags.opset);
  } catch (error) {
    throw new ConfigError({ file, message: `it cannot be written anew: ${reasonOf(error)}` }, error);
  }
}

async function convertModel(from: string, to: string, flags: ConvertFlags, signal: AbortSignal): Promise<Converted> {
  const runnable = await openRunnable(from);
  const notes: string[] = [];
  let model = onnxOf(runnable, flags, from);
  if (flags.fp16) {
    const { model: smaller, tensors } = halveWeights(model);
    model = smaller;
    notes.push(`${tensors} weights as float16`);
  }
  if (flags.quantize) {
    const opset = model.opsetImports.get('') ?? 1;
    if (opset < 13) {
      throw new ConfigError({
        file: from,
        message: `it is of opset ${opset}, where int8 weights have one scale for all channels.`,
        fix: 'Add --opset 13 or higher.',
      });
    }
    const { model: smaller, tensors } = quantizeWeights(model);
    model = smaller;
    notes.push(`${tensors} weights as int8`);
  }
  await saveModel(to, model);
  notes.push(`opset ${model.opsetImports.get('') ?? '?'}`);
  const written = await openRunnable(to);
  try {
    const comparisons = await compareModels(runnable, written, { inputs: flags.inputs, dims: flags.dims, seed: 0 }, signal);
    return { comparisons, why: null, notes };
  } catch (error) {
    if (signal.aborted || flags.inputs.length > 0) throw error;
    // The conversion is done; made-up inputs are not for every model.
    return { comparisons: null, why: reasonOf(error), notes };
  } finally {
    written.dispose();
    runnable.dispose();
  }
}

function checkFlags(to: string, { fp16, quantize, opset }: ConvertFlags, isModel: boolean): void {
  if (fp16 && quantize) throw new UsageError('--fp16 and --quantize exclude one another', 'Give one of them.');
  if (isModel) return;
  if (quantize) throw new UsageError(`--quantize is for models, and ${to} holds weights`, 'Convert to .onnx, or leave it out.');
  if (opset !== undefined) throw new UsageError(`--opset is for models, and ${to} holds weights`, 'Convert to .onnx, or leave it out.');
}

export async function convert(from: string, to: string, flags: ConvertFlags, output: Output): Promise<number> {
  const ending = extname(to).toLowerCase();
  const isModel = ending === '.onnx';
  if (!isModel && !writtenWeights.includes(ending)) {
    throw new UsageError(`${to} is of no format that is written`, `Written are .onnx, and weights as ${writtenWeights.join(' or ')}.`);
  }
  if (isModel && kindOf(from) === 'weights') {
    throw new UsageError(
      `${from} holds weights without the graph of a model`,
      'Load them into a module and export that, or convert them to .safetensors or .npz.',
    );
  }
  checkFlags(to, flags, isModel);
  const interruption = onInterrupt('interrupted (again to end at once)');
  try {
    const { comparisons, why, notes } = isModel
      ? await convertModel(from, to, flags, interruption.signal)
      : await convertWeights(from, to, flags);
    const [before, after] = [await fileBytes(from), await fileBytes(to)];
    output.say(`${from} to ${to}: ${notes.join(', ')}; ${byteText(before)} to ${byteText(after)}`);
    const tolerance = flags.quantize ? tolerances.quantize : flags.fp16 ? tolerances.fp16 : tolerances.exact;
    let ok = true;
    if (comparisons === null) output.say(`not compared: ${why}\nCompare with trireme verify ${from} ${to} --input NAME=FILE`);
    else ok = reportComparison(comparisons, tolerance, output);
    output.result({
      command: 'convert',
      ok,
      from,
      to,
      notes,
      bytes: { before, after },
      verified: comparisons !== null,
      why,
      tolerance,
      largest: comparisons === null ? null : worstOf(comparisons),
      comparisons: comparisons ?? [],
    });
    return ok ? exitCodes.done : exitCodes.failed;
  } finally {
    interruption.release();
  }
}
