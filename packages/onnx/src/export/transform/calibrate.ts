/** The ranges that the values of a model take on example inputs. */
import { ArgumentError } from 'trireme';
import { type OnnxInput, OnnxModel } from '../../engine/onnx-model.js';
import type { ModelModel } from '../../model/model.js';

/** Inputs of one run, by name. */
export type CalibrationBatch = Readonly<Record<string, OnnxInput>>;

export type CalibrationMethod =
  /** From the smallest to the largest value met. */
  | 'minMax'
  /** What is left when the share `1 - percentile` of the values farthest out is cut off. */
  | 'percentile';

export interface Range {
  readonly min: number;
  readonly max: number;
}

const bins = 4096;

/** How often values fall into equal parts of a range. */
class Histogram {
  readonly range: Range;
  private readonly counts = new Float64Array(bins);
  private total = 0;
  constructor(range: Range) {
    this.range = range;
  }
  add(values: Float32Array): void {
    const { min, max } = this.range;
    const factor = max > min ? bins / (max - min) : 0;
    for (const x of values) this.counts[Math.min(bins - 1, Math.max(0, Math.floor((x - min) * factor)))]++;
    this.total += values.length;
  }
  /** The range without the outermost values, from both ends the one with fewer first. */
  central(share: number): Range {
    let cut = this.total * (1 - share);
    let [low, high] = [0, bins - 1];
    while (low < high) {
      const lowFirst = this.counts[low] <= this.counts[high];
      const taken = lowFirst ? this.counts[low] : this.counts[high];
      if (taken > cut) break;
      cut -= taken;
      if (lowFirst) low++;
      else high--;
    }
    const { min, max } = this.range;
    const width = (max - min) / bins;
    return { min: min + low * width, max: min + (high + 1) * width };
  }
}

/**
 * Ranges of the float32 values called `names`. Other names and values of other types are left out.
 * @throws ArgumentError without any batch
 */
export async function calibrate(
  model: ModelModel,
  names: readonly string[],
  batches: readonly CalibrationBatch[],
  method: CalibrationMethod,
  percentile: number,
): Promise<Map<string, Range>> {
  if (batches.length === 0) {
    throw new ArgumentError('no calibration batches', { op: 'quantizeOnnx', expected: 'some batches of typical inputs' });
  }
  const { graph } = model;
  const inputs = new Set(graph.inputs.map(({ name }) => name));
  const made = names.filter((name) => !inputs.has(name));
  const outputs = [...new Set([...graph.outputs.map(({ name }) => name), ...made])].map((name) => ({ name, type: null }));
  const runner = new OnnxModel({ ...model, graph: { ...graph, outputs } });
  const visit = async (see: (name: string, values: Float32Array) => void): Promise<void> => {
    for (const batch of batches) {
      const results = await runner.run(batch);
      for (const name of made) {
        const value = results.get(name);
        if (value.kind === 'tensor' && value.type === 'float32') see(name, value.host as Float32Array);
      }
      for (const name of names) {
        const given = inputs.has(name) ? batch[name] : undefined;
        if (given === undefined) continue;
        const values = 'kind' in given ? (given.kind === 'tensor' ? given.host : null) : given.dataSync();
        if (values instanceof Float32Array) see(name, values);
      }
      results.dispose();
    }
  };
  const ranges = new Map<string, Range>();
  try {
    await visit((name, values) => {
      let { min, max } = ranges.get(name) ?? { min: Infinity, max: -Infinity };
      for (const x of values) {
        if (x < min) min = x;
        if (x > max) max = x;
      }
      ranges.set(name, { min, max });
    });
    if (method === 'minMax') return ranges;
    const histograms = new Map([...ranges].map(([name, range]) => [name, new Histogram(range)]));
    await visit((name, values) => histograms.get(name)?.add(values));
    return new Map([...histograms].map(([name, histogram]) => [name, histogram.central(percentile)]));
  } finally {
    runner.dispose();
  }
}
