// Writes what TensorFlow.js makes of the MobileNetV2 models of the package nsfwjs to packages/onnx/test/reference/tfjs-mobilenet.json.
//   node tools/reference/tfjs/mobilenet.mjs <folder with node_modules/@tensorflow/tfjs and node_modules/nsfwjs>
import { Buffer } from 'node:buffer';
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import process from 'node:process';

const require = createRequire(join(process.argv[2], 'x.cjs'));
const tf = require('@tensorflow/tfjs');
await tf.setBackend('cpu');

const models = {
  mobilenet_v2: ['group1-shard1of1'],
  mobilenet_v2_mid: ['group1-shard1of2', 'group1-shard2of2'],
};
const side = 224;
/** A picture [side, side, 3] of values from 0 to 1, some waves; the test makes the same. */
const picture = (k) =>
  Float32Array.from({ length: side * side * 3 }, (_, i) => {
    const [c, x, y] = [i % 3, Math.floor(i / 3) % side, Math.floor(i / 3 / side)];
    return 0.5 + 0.5 * Math.sin((x * (k + 1)) / 17 + c) * Math.cos((y * (c + 1)) / 23 + k);
  });

const cases = [];
for (const [name, shards] of Object.entries(models)) {
  const folder = join(process.argv[2], 'node_modules/nsfwjs/dist/models', name);
  const load = (file) => {
    const found = require(join(folder, `${file}.min.js`));
    return found.default ?? found;
  };
  const document = load('model');
  const bytes = Buffer.concat(shards.map((shard) => Buffer.from(load(shard), 'base64')));
  const weightData = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  const handler = tf.io.fromMemory({
    modelTopology: document.modelTopology,
    weightSpecs: document.weightsManifest.flatMap(({ weights }) => weights),
    weightData,
    ...(document.signature ? { signature: document.signature } : {}),
  });
  const isGraph = 'node' in document.modelTopology;
  const model = await (isGraph ? tf.loadGraphModel(handler) : tf.loadLayersModel(handler));
  const outputs = [0, 1].map((k) =>
    Array.from(model.predict(tf.tensor(picture(k), [1, side, side, 3])).dataSync(), (v) => Number(v.toPrecision(9))),
  );
  cases.push({ name, kind: isGraph ? 'graph' : 'layers', outputs });
}
const reference = { tfjs: tf.version.tfjs, side, cases };
writeFileSync(new URL('../../../packages/onnx/test/reference/tfjs-mobilenet.json', import.meta.url), `${JSON.stringify(reference)}\n`);
