/** `trireme verify`, and what conversions run by themselves. */
import { type OnnxValue, TensorValue } from '@trireme/onnx';
import { exitCodes, UsageError } from '../errors.js';
import { readValues } from '../models/arrays.js';
import { type Comparison, compareAll, compareValues, comparisonTable, worstOf } from '../models/compare.js';
import { checkedInputs, madeUpValue } from '../models/inputs.js';
import { kindOf, openRunnable, type Runnable } from '../models/open.js';
import { hostOf, tensorsOfFile } from '../models/weights.js';
import type { Output } from '../output.js';
import { onInterrupt } from '../session.js';
import { parseDims } from './inspect.js';

export interface VerifyFlags {
  readonly inputs: readonly string[];
  readonly dims: readonly string[];
  readonly seed: number;
  /** Largest difference that passes, as a part of the largest element of an output. */
  readonly tolerance: number;
}

/** Runs both models on the same inputs: those of files, and made-up ones for the others. */
export async function compareModels(
  a: Runnable,
  b: Runnable,
  { inputs, dims, seed }: Omit<VerifyFlags, 'tolerance'>,
  signal: AbortSignal,
): Promise<Comparison[]> {
  const given = await readValues(inputs, a.inputs);
  const extents = new Map(parseDims(dims));
  // Extents that the files have hold for the made-up inputs too.
  for (const { name, shape } of a.inputs) {
    const value = given.get(name)?.value;
    if (value?.kind !== 'tensor') continue;
    shape?.forEach((extent, i) => {
      if (typeof extent === 'string') extents.set(extent, value.shape[i]);
    });
  }
  const missing = a.inputs.filter(({ name, optional, kind }) => !given.has(name) && !optional && kind !== 'optional');
  for (const port of missing) given.set(port.name, { file: 'made up', value: madeUpValue(port, extents, seed) });
  const values = checkedInputs(a.file, a.inputs, given);
  const others = new Map<string, OnnxValue>();
  a.inputs.forEach(({ name }, i) => {
    const value = values.get(name);
    const other = b.inputs.find((port) => port.name === name) ?? b.inputs[i];
    if (value !== undefined && other !== undefined) others.set(other.name, value);
  });
  return compareAll(await a.run(values, signal), await b.run(others, signal));
}

/** Compares two files of weights, tensor by tensor. */
export async function compareWeights(a: string, b: string): Promise<Comparison[]> {
  const [first, second] = [await tensorsOfFile(a), await tensorsOfFile(b)];
  try {
    const comparisons: Comparison[] = [];
    for (const [name, entry] of first.entries) {
      const other = second.entries.get(name);
      const value = hostOf(await entry.read());
      comparisons.push(
        other === undefined
          ? compareAll(new Map([[name, value]]), new Map())[0]
          : compareValues(name, name, value, hostOf(await other.read())),
      );
    }
    for (const [name, { shape }] of second.entries) {
      if (first.entries.has(name)) continue;
      const [missing] = compareAll(new Map([[name, TensorValue.ofHost(new Float32Array(0), 'float32', shape)]]), new Map());
      comparisons.push({ ...missing, mismatch: `only in ${b}` });
    }
    return comparisons;
  } finally {
    await first.close();
    await second.close();
  }
}

export function reportComparison(comparisons: readonly Comparison[], tolerance: number, output: Output): boolean {
  const worst = worstOf(comparisons);
  const ordered = [...comparisons].sort((p, q) => q.relative - p.relative);
  // Many equal tensors are told in one line.
  const shown = comparisons.length <= 8 ? ordered : ordered.slice(0, 20).filter(({ relative }) => relative > 0);
  const rest = comparisons.length - shown.length;
  if (shown.length > 0) output.say(comparisonTable(shown));
  if (rest > 0)
    output.say(`${shown.length > 0 ? 'and ' : ''}${rest} ${shown.at(-1)?.relative ? 'more, which differ less or not at all' : 'equal'}`);
  const ok = worst <= tolerance;
  output.say(
    `${ok ? 'the same' : 'NOT the same'} within ${tolerance} of the largest element: the largest difference is ${worst.toExponential(2)}`,
  );
  return ok;
}

export async function verify(a: string, b: string, flags: VerifyFlags, output: Output): Promise<number> {
  const [kindA, kindB] = [kindOf(a), kindOf(b)];
  if ((kindA === 'weights') !== (kindB === 'weights')) {
    throw new UsageError(
      `${kindA === 'weights' ? a : b} holds weights, and the other file a model`,
      'Compare two models, or two files of weights.',
    );
  }
  const interruption = onInterrupt('interrupted (again to end at once)');
  try {
    let comparisons: Comparison[];
    if (kindA === 'weights') comparisons = await compareWeights(a, b);
    else {
      const first = await openRunnable(a);
      const second = await openRunnable(b);
      comparisons = await compareModels(first, second, flags, interruption.signal);
      first.dispose();
      second.dispose();
    }
    const ok = reportComparison(comparisons, flags.tolerance, output);
    output.result({ command: 'verify', ok, files: [a, b], tolerance: flags.tolerance, largest: worstOf(comparisons), comparisons });
    return ok ? exitCodes.done : exitCodes.failed;
  } finally {
    interruption.release();
  }
}
