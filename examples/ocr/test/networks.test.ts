// The networks against ONNX Runtime: numbers by tools/reference/onnx/ocr.py. `TRIREME_TIER=native npx vitest run examples/ocr` does it natively.
import { readFileSync } from 'node:fs';
import { OnnxModel } from '@trireme/onnx';
import { cropImage, type ImageData8, readImage } from 'trireme/data/vision';
import { describe, expect, test } from 'vitest';
import { batchOf } from '../src/pictures.js';
import { bundledModels } from '../src/reader.js';

interface Reference {
  readonly parts: readonly (readonly [left: number, top: number, width: number, height: number])[];
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly shape: readonly number[];
  readonly sum: number;
  readonly squares: number;
  readonly greatest: number;
  readonly every: number;
  readonly values: readonly number[];
  readonly best?: readonly number[];
}
const names = ['detection', 'recognition', 'classification'] as const;
const references = JSON.parse(readFileSync(new URL('onnxruntime.json', import.meta.url), 'utf8')) as Record<
  (typeof names)[number],
  Reference
>;

function inputOf(picture: ImageData8, { parts, mean, std }: Reference) {
  const crops = parts.map(([left, top, width, height]) => cropImage(picture, left, top, width, height));
  return batchOf(crops, crops.length, crops[0].height, crops[0].width, { mean, std });
}

describe('networks', () => {
  test.each(names)('%s gives the numbers of ONNX Runtime, as a single program', async (name) => {
    const reference = references[name];
    using x = inputOf(await readImage(new URL('pictures/columns.png', import.meta.url).pathname), reference);
    using model = await OnnxModel.load(bundledModels()[name]);
    using outputs = await model.run({ x });
    expect(model.barriers).toEqual([]);
    expect(model.programs).toBe(1);
    const { shape } = outputs.value(model.outputs[0].name);
    expect(shape).toEqual(reference.shape);
    const y = outputs.data(model.outputs[0].name) as Float32Array;
    const tolerance = 1e-4 * reference.greatest;
    const worst = Math.max(...reference.values.map((value, i) => Math.abs(y[i * reference.every] - value)));
    expect(worst).toBeLessThan(tolerance);
    let [sum, squares] = [0, 0];
    for (const v of y) [sum, squares] = [sum + v, squares + v * v];
    expect(Math.abs(sum / reference.sum - 1)).toBeLessThan(1e-4);
    expect(Math.abs(squares / reference.squares - 1)).toBeLessThan(1e-4);
    const classes = shape[shape.length - 1];
    reference.best?.forEach((best, row) => {
      const scores = y.subarray(row * classes, (row + 1) * classes);
      expect(scores.indexOf(Math.max(...scores))).toBe(best);
    });
  });
});
