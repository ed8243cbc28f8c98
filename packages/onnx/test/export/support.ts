/** Exports, loads what came out, and compares numbers. */
import { isTensor, nn, noGrad, type Tensor } from 'trireme';
import { expect } from 'vitest';
import { OnnxModel } from '../../src/engine/onnx-model.js';
import { type ExportOptions, exportModel } from '../../src/export/export.js';
import type { Exportable } from '../../src/export/record.js';
import { encodeModel } from '../../src/model/encode.js';
import type { ModelModel } from '../../src/model/model.js';

export function tensorsIn(value: unknown): Tensor[] {
  if (isTensor(value)) return [value];
  if (Array.isArray(value)) return value.flatMap(tensorsIn);
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(tensorsIn) : [];
}

/** Operators of a model's graph, in order. */
export function operatorsOf(model: ModelModel): string[] {
  return model.graph.nodes.map((node) => node.opType);
}

function direct(target: Exportable, args: readonly unknown[]): Tensor[] {
  if (!(target instanceof nn.Module)) return tensorsIn(noGrad(() => (target as (...list: readonly unknown[]) => unknown)(...args)));
  target.eval();
  return tensorsIn(noGrad(() => (target as unknown as nn.Module<readonly unknown[], unknown>).call(...args)));
}

/** Largest difference, relative to the largest value. */
export function differenceOf(got: ArrayLike<number | bigint>, expected: ArrayLike<number | bigint>): number {
  let [worst, largest] = [0, 1e-6];
  for (let i = 0; i < expected.length; i++) {
    const [a, b] = [Number(got[i]), Number(expected[i])];
    if (Object.is(a, b) || a === b) continue;
    worst = Math.max(worst, Number.isFinite(a - b) ? Math.abs(a - b) : Infinity);
    largest = Math.max(largest, Math.abs(b));
  }
  return worst / largest;
}

/** Runs the exported bytes on the same inputs as the original, and expects the same results. Returns the model. */
export function roundTrip(
  target: Exportable,
  inputs: readonly unknown[],
  { others = [], ...options }: ExportOptions & { readonly others?: readonly (readonly unknown[])[] } = {},
): ModelModel {
  const model = exportModel(target, inputs, options);
  const loaded = OnnxModel.fromBytes(encodeModel(model));
  try {
    for (const args of [inputs, ...others]) {
      const expected = direct(target, args);
      const given = tensorsIn(args);
      const outputs = loaded.runSync(Object.fromEntries(loaded.inputs.map(({ name }, i) => [name, given[i]])));
      loaded.outputs.forEach(({ name }, i) => {
        const { host, shape, type } = outputs.value(name);
        expect([name, type, ...shape]).toEqual([name, expected[i].dtype, ...expected[i].shape]);
        expect(differenceOf(host as Float32Array, expected[i].dataSync()), name).toBeLessThan(2e-5);
      });
      outputs.dispose();
    }
  } finally {
    loaded.dispose();
  }
  return model;
}
