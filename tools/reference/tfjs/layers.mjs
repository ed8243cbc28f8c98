// Writes small TensorFlow.js layers models with inputs and what TensorFlow.js makes of them to packages/onnx/test/reference/tfjs-layers.json.
//   node tools/reference/tfjs/layers.mjs <folder with node_modules/@tensorflow/tfjs>
import { Buffer } from 'node:buffer';
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import process from 'node:process';

const require = createRequire(join(process.argv[2], 'x.cjs'));
const tf = require('@tensorflow/tfjs');
await tf.setBackend('cpu');

let state = 1;
/** Numbers in ±1 with few digits, the same on every run. */
const numbers = (n) =>
  Array.from({ length: n }, () => {
    state = (state * 48271) % 2147483647;
    return Math.round((state / 2147483647 - 0.5) * 2000) / 1000;
  });
const size = (shape) => shape.reduce((a, b) => a * b, 1);
const cases = [];

async function add(name, model, inputs) {
  model.setWeights(
    model.getWeights().map((w, i) => {
      const values = numbers(size(w.shape));
      // Variances are positive.
      return tf.tensor(
        /variance/.test(model.weights[i].originalName) ? values.map((v) => Math.abs(v) + 0.5) : values.map((v) => v * 0.6),
        w.shape,
      );
    }),
  );
  const artifacts = await new Promise((resolve) => {
    const save = async (saved) => {
      resolve(saved);
      return { modelArtifactsInfo: { dateSaved: new Date(0) } };
    };
    model.save({ save });
  });
  const tensors = inputs.map(({ shape, values }) => tf.tensor(values ?? numbers(size(shape)), shape));
  const outputs = [model.predict(tensors.length === 1 ? tensors[0] : tensors)].flat();
  const describe = (t) => ({ shape: t.shape, data: Array.from(t.dataSync()) });
  cases.push({
    name,
    model: {
      format: 'layers-model',
      modelTopology: artifacts.modelTopology,
      weightsManifest: [{ paths: ['weights.bin'], weights: artifacts.weightSpecs }],
    },
    weights: Buffer.from(artifacts.weightData).toString('base64'),
    inputs: tensors.map(describe),
    outputs: outputs.map(describe),
  });
}
const L = tf.layers;
const sequential = (...layers) => tf.sequential({ layers });

await add(
  'dense',
  sequential(L.dense({ units: 4, activation: 'relu', inputShape: [3] }), L.dense({ units: 3, activation: 'softmax', useBias: false })),
  [{ shape: [2, 3] }],
);
for (const activation of ['elu', 'selu', 'sigmoid', 'tanh', 'hardSigmoid', 'softplus', 'softsign', 'relu6', 'swish', 'mish', 'gelu'])
  await add(`activation ${activation}`, sequential(L.dense({ units: 5, activation, inputShape: [4] })), [{ shape: [2, 4] }]);
await add(
  'pictures',
  sequential(
    L.conv2d({ filters: 4, kernelSize: 3, strides: 2, padding: 'same', inputShape: [7, 8, 3], activation: 'relu' }),
    L.batchNormalization({}),
    L.depthwiseConv2d({ kernelSize: [3, 2], padding: 'same', depthMultiplier: 2 }),
    L.reLU({ maxValue: 1 }),
    L.zeroPadding2d({
      padding: [
        [0, 1],
        [1, 2],
      ],
    }),
    L.separableConv2d({ filters: 3, kernelSize: 2, strides: 1 }),
    L.maxPooling2d({ poolSize: 2, strides: 1, padding: 'same' }),
    L.dropout({ rate: 0.5 }),
    L.flatten(),
    L.dense({ units: 2 }),
  ),
  [{ shape: [2, 7, 8, 3] }],
);
await add(
  'conv valid dilated',
  sequential(
    L.conv2d({ filters: 2, kernelSize: 2, dilationRate: 2, inputShape: [5, 6, 2] }),
    L.averagePooling2d({ poolSize: [2, 3], strides: 2, padding: 'same' }),
  ),
  [{ shape: [1, 5, 6, 2] }],
);
for (const padding of ['same', 'valid'])
  for (const [kernelSize, strides] of [
    [3, 2],
    [2, 3],
    [4, 2],
    [1, 2],
  ])
    await add(
      `conv2dTranspose ${padding} ${kernelSize} ${strides}`,
      sequential(L.conv2dTranspose({ filters: 2, kernelSize, strides, padding, inputShape: [3, 4, 2] })),
      [{ shape: [1, 3, 4, 2] }],
    );
await add(
  'global pooling',
  sequential(
    L.upSampling2d({ size: [2, 3], inputShape: [2, 2, 3] }),
    L.cropping2D({
      cropping: [
        [1, 0],
        [0, 1],
      ],
    }),
    L.globalAveragePooling2d({}),
  ),
  [{ shape: [2, 2, 2, 3] }],
);
await add('global max', sequential(L.globalMaxPooling2d({ inputShape: [2, 3, 2] })), [{ shape: [2, 2, 3, 2] }]);
await add(
  'sequence of convolutions',
  sequential(
    L.conv1d({ filters: 3, kernelSize: 3, padding: 'valid', dilationRate: 2, inputShape: [8, 2] }),
    L.maxPooling1d({ poolSize: 2 }),
    L.conv1d({ filters: 2, kernelSize: 2, strides: 2, padding: 'same' }),
    L.globalMaxPooling1d({}),
  ),
  [{ shape: [2, 8, 2] }],
);
await add(
  'conv3d',
  sequential(L.conv3d({ filters: 2, kernelSize: 2, padding: 'same', inputShape: [3, 4, 3, 2] }), L.maxPooling3d({ poolSize: [1, 2, 1] })),
  [{ shape: [1, 3, 4, 3, 2] }],
);
for (const [name, options] of [
  ['last', {}],
  ['sequences', { returnSequences: true, recurrentActivation: 'sigmoid' }],
  ['backwards', { goBackwards: true, recurrentActivation: 'sigmoid' }],
])
  for (const kind of ['lstm', 'gru', 'simpleRNN']) {
    const { recurrentActivation, ...rest } = options;
    await add(
      `${kind} ${name}`,
      sequential(
        L[kind]({
          units: 3,
          inputShape: [5, 2],
          ...rest,
          ...(kind === 'simpleRNN' || !recurrentActivation ? {} : { recurrentActivation }),
        }),
      ),
      [{ shape: [2, 5, 2] }],
    );
  }
for (const mergeMode of ['concat', 'sum', 'ave', 'mul'])
  await add(
    `bidirectional ${mergeMode}`,
    sequential(
      L.bidirectional({
        layer: L.lstm({ units: 2, returnSequences: mergeMode !== 'sum', recurrentActivation: 'sigmoid' }),
        mergeMode,
        inputShape: [4, 3],
      }),
    ),
    [{ shape: [2, 4, 3] }],
  );
await add(
  'embedding',
  sequential(L.embedding({ inputDim: 7, outputDim: 4, inputLength: 5 }), L.gru({ units: 3 }), L.dense({ units: 1, activation: 'sigmoid' })),
  [{ shape: [2, 5], values: [1, 2, 3, 4, 5, 6, 0, 2, 1, 3] }],
);
await add('time distributed', sequential(L.timeDistributed({ layer: L.dense({ units: 2 }), inputShape: [3, 4] })), [{ shape: [2, 3, 4] }]);
await add(
  'shapes',
  sequential(L.permute({ dims: [2, 1], inputShape: [2, 3] }), L.reshape({ targetShape: [6, 1] }), L.flatten(), L.repeatVector({ n: 2 })),
  [{ shape: [2, 2, 3] }],
);
await add('layer normalization', sequential(L.layerNormalization({ inputShape: [3, 4] })), [{ shape: [2, 3, 4] }]);
await add('batch normalization', sequential(L.batchNormalization({ scale: false, inputShape: [3, 4] })), [{ shape: [2, 3, 4] }]);
await add(
  'leaky',
  sequential(
    L.leakyReLU({ alpha: 0.1, inputShape: [2, 3] }),
    L.prelu({}),
    L.elu({}),
    L.thresholdedReLU({ theta: 0.2 }),
    L.softmax({ axis: 2 }),
  ),
  [{ shape: [2, 2, 3] }],
);
{
  const a = tf.input({ shape: [4, 4, 2] });
  const b = tf.input({ shape: [3] });
  const shared = L.conv2d({ filters: 2, kernelSize: 3, padding: 'same', activation: 'tanh' });
  const twice = shared.apply(shared.apply(a));
  const sum = L.add().apply([a, twice]);
  const parts = [L.multiply().apply([sum, a]), L.maximum().apply([sum, a]), L.average().apply([sum, a])];
  const joined = L.concatenate({ axis: -1 }).apply(parts);
  const rows = L.concatenate({ axis: 1 }).apply([joined, joined]);
  const pooled = L.globalAveragePooling2d({}).apply(rows);
  const inner = tf.sequential({ layers: [L.dense({ units: 6, inputShape: [3], activation: 'relu' })] });
  const second = L.dot({ axes: -1, normalize: true }).apply([pooled, inner.apply(b)]);
  await add('graph', tf.model({ inputs: [a, b], outputs: [pooled, second] }), [{ shape: [2, 4, 4, 2] }, { shape: [2, 3] }]);
}
{
  const a = tf.input({ shape: [4, 2] });
  const [sequence, h, c] = L.lstm({ units: 3, returnSequences: true, returnState: true, recurrentActivation: 'sigmoid' }).apply(a);
  const next = L.lstm({ units: 3, recurrentActivation: 'sigmoid' }).apply([sequence, h, c]);
  await add('states', tf.model({ inputs: a, outputs: next }), [{ shape: [2, 4, 2] }]);
}
const text = JSON.stringify({ family: 'tfjs-layers', reference: `TensorFlow.js ${tf.version.tfjs}`, cases }).replaceAll(
  '{"name":"',
  '\n{"name":"',
);
writeFileSync(new URL('../../../packages/onnx/test/reference/tfjs-layers.json', import.meta.url), `${text}\n`);
console.log(`${cases.length} cases, ${(text.length / 1024).toFixed(0)} KiB`);
