import { nn, noGrad, randn, type Tensor } from 'trireme';
import { describe, expect, it } from 'vitest';
import { OnnxModel } from '../../src/engine/onnx-model.js';
import { decodeTensor } from '../../src/engine/transfer.js';
import { exportModel } from '../../src/export/export.js';
import { exportOnnx } from '../../src/export/save.js';
import { toFloat16 } from '../../src/export/transform/float16.js';
import { foldBatchNorm, foldConstants } from '../../src/export/transform/fold.js';
import { quantizeOnnx } from '../../src/export/transform/quantize.js';
import type { ModelModel } from '../../src/model/model.js';
import { differenceOf, operatorsOf } from './support.js';

function smallNet(): nn.Sequential {
  const norm = new nn.BatchNorm2d(6);
  noGrad(() => {
    norm.runningMean?.add_(0.3);
    norm.runningVar?.mul_(1.7);
  });
  return new nn.Sequential(
    new nn.Conv2d(1, 6, 3, { padding: 1, bias: false }),
    norm,
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Conv2d(6, 8, 3),
    new nn.ReLU(),
    new nn.Flatten(),
    new nn.Linear(32, 5),
  );
}

function outputOf(model: ModelModel, inputs: Readonly<Record<string, Tensor>>): Float32Array {
  const runner = new OnnxModel(model);
  const outputs = runner.runSync(inputs);
  const values = outputs.data('output') as Float32Array;
  outputs.dispose();
  runner.dispose();
  return values;
}

function floatsOf(model: ModelModel, name: string | undefined): Float32Array {
  const found = model.graph.initializers.find((t) => t.name === name);
  return found === undefined ? new Float32Array() : (decodeTensor(found) as Float32Array);
}

describe('folding', () => {
  it('makes normalization part of the convolution before it', () => {
    const x = randn([2, 1, 8, 8]);
    const model = exportModel(smallNet(), [x]);
    const folded = foldBatchNorm(model);
    expect(operatorsOf(folded)).toEqual(operatorsOf(model).filter((op) => op !== 'BatchNormalization'));
    expect(differenceOf(outputOf(folded, { input: x }), outputOf(model, { input: x }))).toBeLessThan(1e-5);
  });

  it('computes what depends on weights alone', () => {
    const x = randn([2, 3, 4]);
    const model = exportModel(new nn.MultiheadAttention(4, 2, { batchFirst: true }), [x, x, x]);
    const folded = foldConstants(model);
    expect(operatorsOf(folded).filter((op) => op === 'Transpose').length).toBeLessThan(
      operatorsOf(model).filter((op) => op === 'Transpose').length,
    );
    expect(folded.graph.nodes.every((node) => node.inputs.some((name) => !folded.graph.initializers.some((t) => t.name === name)))).toBe(
      true,
    );
    const inputs = { input0: x, input1: x, input2: x };
    expect(differenceOf(outputOf(folded, inputs), outputOf(model, inputs))).toBeLessThan(1e-6);
  });
});

describe('quantizeOnnx', () => {
  const batches = Array.from({ length: 4 }, () => ({ input: randn([4, 1, 8, 8]) }));

  it('puts integers around products and stays near the float model', async () => {
    const model = exportModel(smallNet(), [batches[0].input], { dynamicBatch: true });
    const quantized = await quantizeOnnx(model, batches);
    const operators = operatorsOf(quantized);
    expect(operators).not.toContain('BatchNormalization');
    // The input, both convolutions behind their ReLU, what pooling and flattening make of them, and the dense layer.
    expect(operators.filter((op) => op === 'QuantizeLinear')).toHaveLength(6);
    const scaleOf = (name: string): number[] => [
      ...floatsOf(quantized, quantized.graph.nodes.find((n) => n.outputs[0] === name)?.inputs[1]),
    ];
    const pool = quantized.graph.nodes.find((n) => n.opType === 'MaxPool');
    expect(scaleOf(`${pool?.outputs[0].replace(':float', '')}:quantized`)).toEqual(scaleOf(`${pool?.inputs[0]}:quantized`));
    const weights = quantized.graph.initializers.filter((t) => t.type === 'int8' && t.dims.length > 1);
    expect(weights.map((t) => t.dims)).toEqual(
      expect.arrayContaining([
        [6, 1, 3, 3],
        [8, 6, 3, 3],
        [5, 32],
      ]),
    );
    expect(quantized.graph.initializers.some((t) => t.type === 'float32' && t.dims.length > 1)).toBe(false);
    expect(differenceOf(outputOf(quantized, batches[1]), outputOf(model, batches[1]))).toBeLessThan(0.05);
  });

  it('follows its options', async () => {
    const bytes = exportOnnx(smallNet(), [batches[0].input], { dynamicBatch: true });
    const reference = outputOf(OnnxModel.fromBytes(bytes).model, batches[0]);
    for (const options of [
      { symmetric: true },
      { perChannel: false },
      { reduceRange: true },
      { calibration: 'percentile' as const, percentile: 0.999 },
    ]) {
      const quantized = OnnxModel.fromBytes(await quantizeOnnx(bytes, batches, options)).model;
      expect(differenceOf(outputOf(quantized, batches[0]), reference)).toBeLessThan(0.1);
      const zeros = quantized.graph.initializers.filter((t) => t.name.endsWith(':zero') && t.dims.length === 0);
      expect(zeros.some((t) => t.type === 'uint8')).toBe(options.symmetric !== true);
    }
    const excluded = OnnxModel.fromBytes(await quantizeOnnx(bytes, batches, { operators: ['Conv'], exclude: ['0/Conv'] })).model;
    expect(excluded.graph.initializers.filter((t) => t.type === 'int8' && t.dims.length > 1)).toHaveLength(1);
    await expect(quantizeOnnx(bytes, [])).rejects.toThrow(/no calibration batches/);
  });
});

describe('toFloat16', () => {
  it('halves the weights, keeps the types outside, and gives nearly the same numbers', () => {
    const x = randn([2, 1, 8, 8]);
    const model = exportModel(smallNet(), [x]);
    const half = toFloat16(model);
    expect(half.graph.initializers.some((t) => t.type === 'float32')).toBe(false);
    expect(half.graph.inputs).toEqual(model.graph.inputs);
    expect(half.graph.outputs).toEqual(model.graph.outputs);
    expect(differenceOf(outputOf(half, { input: x }), outputOf(model, { input: x }))).toBeLessThan(5e-3);
    const inner = toFloat16(model, { keepIoTypes: false });
    expect(inner.graph.inputs[0].type).toMatchObject({ element: 'float16' });
    expect(operatorsOf(inner)).not.toContain('Cast');
  });

  it('leaves operators without float16, and inputs that are float32 by rule, as they are', () => {
    const x = randn([1, 2, 4, 4]);
    const up = (t: Tensor): Tensor => new nn.Upsample({ scaleFactor: 2, mode: 'bilinear' }).call(t);
    const half = toFloat16(exportModel(up, [x]));
    expect(half.graph.initializers.find((t) => t.dims[0] === 4)?.type).toBe('float32');
    expect(differenceOf(outputOf(half, { input: x }), up(x).dataSync())).toBeLessThan(2e-3);
  });
});
