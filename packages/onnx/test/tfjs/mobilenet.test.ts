// Trained MobileNetV2 models against TensorFlow.js: numbers by tools/reference/tfjs/mobilenet.mjs.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { noGrad, type Tensor, tensor } from 'trireme';
import { describe, expect, test } from 'vitest';
import { loadGraphModel, loadLayersModel, type TfjsFiles } from '../../src/tfjs/index.js';
import { filesOfPackage } from '../npm-package.js';
import reference from '../reference/tfjs-mobilenet.json' with { type: 'json' };

const shards: Readonly<Record<string, readonly string[]>> = {
  mobilenet_v2: ['group1-shard1of1'],
  mobilenet_v2_mid: ['group1-shard1of2', 'group1-shard2of2'],
};
const pathOf = (name: string, file: string): string => `dist/models/${name}/${file}.min.js`;
const paths = Object.entries(shards).flatMap(([name, files]) => ['model', ...files].map((file) => pathOf(name, file)));
const folder = await filesOfPackage('nsfwjs', '4.3.0', paths);

const require = createRequire(import.meta.url);
/** The package has each file as a script: model.json as an object, shards in base64. */
function read(name: string, file: string): unknown {
  const found: unknown = require(join(folder ?? '', pathOf(name, file)));
  return typeof found === 'object' && found !== null && 'default' in found ? found.default : found;
}
const filesOf = (name: string): TfjsFiles => ({
  model: read(name, 'model') as object,
  read: async (path) => Uint8Array.from(Buffer.from(read(name, path) as string, 'base64')),
});

const { side } = reference;
/** That of the generator. */
const picture = (k: number): Tensor =>
  tensor(
    Float32Array.from({ length: side * side * 3 }, (_, i) => {
      const [c, x, y] = [i % 3, Math.floor(i / 3) % side, Math.floor(i / 3 / side)];
      return 0.5 + 0.5 * Math.sin((x * (k + 1)) / 17 + c) * Math.cos((y * (c + 1)) / 23 + k);
    }),
    { shape: [1, side, side, 3] },
  );

function expectClose(found: Float32Array, wanted: readonly number[]): void {
  expect(found).toHaveLength(wanted.length);
  const worst = Math.max(...wanted.map((want, i) => Math.abs(found[i] - want)));
  expect(worst).toBeLessThan(1e-4 * Math.max(...wanted));
}

describe.skipIf(folder === null)('MobileNetV2 of TensorFlow.js', () => {
  const outputsOf = (name: string) => reference.cases.find((entry) => entry.name === name)?.outputs ?? [];

  test('a layers model gives its numbers', async () => {
    const model = await loadLayersModel(filesOf('mobilenet_v2'));
    outputsOf('mobilenet_v2').forEach((wanted, k) => {
      using x = picture(k);
      using y = noGrad(() => model.call(x)) as Tensor;
      expectClose(y.dataSync() as Float32Array, wanted);
    });
    model.dispose();
  });
  test('a graph model gives its numbers, as a single program', async () => {
    using model = await loadGraphModel(filesOf('mobilenet_v2_mid'));
    for (const [k, wanted] of outputsOf('mobilenet_v2_mid').entries()) {
      using x = picture(k);
      using outputs = await model.run({ [model.inputs[0].name]: x });
      expectClose(outputs.data(model.outputs[0].name) as Float32Array, wanted);
    }
    expect(model.barriers).toEqual([]);
    expect(model.programs).toBe(1);
  });
});
