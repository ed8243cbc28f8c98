import {
  add,
  argmax,
  avgPool2d,
  interpolate,
  logSoftmax,
  logsumexp,
  matmul,
  mean,
  nn,
  norm,
  prelu,
  randn,
  softmax,
  sum,
  type Tensor,
  tensor,
  topk,
} from 'trireme';
import { describe, expect, it } from 'vitest';
import type { ExportOptions } from '../../src/export/export.js';
import type { Exportable } from '../../src/export/record.js';
import { operatorsOf, roundTrip } from './support.js';

type Given = readonly [
  name: string,
  target: () => Exportable,
  shape: readonly number[],
  operators: readonly string[],
  options?: ExportOptions,
];

const layers: readonly Given[] = [
  ['Linear', () => new nn.Linear(5, 7), [2, 5], ['Gemm']],
  ['Linear on sequences', () => new nn.Linear(5, 7), [2, 3, 5], ['Transpose', 'MatMul', 'Add']],
  ['Conv1d', () => new nn.Conv1d(3, 4, 3, { padding: 1, stride: 2 }), [2, 3, 11], ['Conv']],
  ['Conv2d in groups', () => new nn.Conv2d(4, 8, 3, { groups: 2 }), [2, 4, 8, 8], ['Conv']],
  ["Conv2d with padding 'same'", () => new nn.Conv2d(3, 4, 4, { padding: 'same' }), [2, 3, 8, 8], ['Conv']],
  ['Conv3d', () => new nn.Conv3d(2, 3, 2), [2, 2, 4, 5, 6], ['Conv']],
  ['ConvTranspose2d', () => new nn.ConvTranspose2d(3, 4, 3, { stride: 2, padding: 1, outputPadding: 1 }), [2, 3, 6, 6], ['ConvTranspose']],
  ['BatchNorm2d', () => new nn.BatchNorm2d(3), [2, 3, 5, 5], ['BatchNormalization']],
  ['BatchNorm1d without parameters', () => new nn.BatchNorm1d(3, { affine: false }), [2, 3], ['BatchNormalization']],
  ['LayerNorm', () => new nn.LayerNorm([4, 6]), [2, 4, 6], ['LayerNormalization']],
  ['LayerNorm without bias', () => new nn.LayerNorm(6, { bias: false }), [2, 4, 6], ['LayerNormalization']],
  ['RMSNorm', () => new nn.RMSNorm(6), [2, 4, 6], ['RMSNormalization'], { opset: 23 }],
  ['GroupNorm', () => new nn.GroupNorm(2, 6), [2, 6, 4, 4], ['GroupNormalization']],
  ['InstanceNorm2d', () => new nn.InstanceNorm2d(3, { affine: true }), [2, 3, 5, 5], ['InstanceNormalization']],
  ['MaxPool2d', () => new nn.MaxPool2d(3, { stride: 2, padding: 1, ceilMode: true }), [2, 3, 9, 10], ['MaxPool']],
  ['AvgPool2d', () => new nn.AvgPool2d(3, { stride: 2, padding: 1 }), [2, 3, 8, 8], ['AveragePool']],
  ['AvgPool2d of real elements', () => new nn.AvgPool2d(3, { padding: 1, countIncludePad: false }), [2, 3, 8, 8], ['AveragePool']],
  ['AvgPool2d of large windows', () => new nn.AvgPool2d(10, { stride: 1 }), [2, 3, 12, 12], ['AveragePool']],
  ['AdaptiveAvgPool2d', () => new nn.AdaptiveAvgPool2d(1), [2, 3, 7, 7], ['GlobalAveragePool']],
  ['Upsample nearest', () => new nn.Upsample({ scaleFactor: 2 }), [2, 3, 4, 5], ['Resize']],
  ['Upsample bilinear', () => new nn.Upsample({ scaleFactor: 2, mode: 'bilinear' }), [2, 3, 4, 5], ['Resize']],
  ['Upsample bicubic', () => new nn.Upsample({ scaleFactor: 2, mode: 'bicubic', alignCorners: true }), [2, 3, 4, 5], ['Resize']],
  ['Embedding', () => embeddingOf(), [2, 3], ['Abs', 'Clip', 'Cast', 'Gather']],
  ['LSTM', () => new nn.LSTM(3, 4), [5, 2, 3], ['LSTM', 'Squeeze']],
  ['GRU', () => new nn.GRU(3, 4), [5, 2, 3], ['GRU', 'Squeeze']],
  ['RNN', () => new nn.RNN(3, 4, { nonlinearity: 'relu' }), [5, 2, 3], ['RNN', 'Squeeze']],
  ['GELU', () => new nn.GELU(), [2, 6], ['Gelu']],
  ['GELU before opset 20', () => new nn.GELU(), [2, 6], ['Mul', 'Mul', 'Erf', 'Add', 'Mul'], { opset: 19 }],
  ['GELU by tanh', () => new nn.GELU({ approximate: 'tanh' }), [2, 6], ['Gelu']],
  ['Mish', () => new nn.Mish(), [2, 6], ['Mish']],
  ['Hardswish', () => new nn.Hardswish(), [2, 6], ['HardSwish']],
  ['Hardsigmoid', () => new nn.Hardsigmoid(), [2, 6], ['HardSigmoid']],
  ['ELU', () => new nn.ELU(0.5), [2, 6], ['Elu']],
  ['SELU', () => new nn.SELU(), [2, 6], ['Selu']],
  ['CELU', () => new nn.CELU(2), [2, 6], ['Celu']],
  ['LeakyReLU', () => new nn.LeakyReLU(0.2), [2, 6], ['LeakyRelu']],
  ['ReLU6', () => new nn.ReLU6(), [2, 6], ['Clip']],
  ['Softplus', () => new nn.Softplus(), [2, 6], ['Softplus']],
  ['Softshrink', () => new nn.Softshrink(0.3), [2, 6], ['Shrink']],
];

function embeddingOf(): (x: Tensor) => Tensor {
  const layer = new nn.Embedding(11, 4);
  return (x) => layer.call(x.abs().clamp({ max: 5 }).to('int64'));
}

const functions: readonly Given[] = [
  ['softmax', () => (x: Tensor) => softmax(x, 1), [2, 3, 4], ['Softmax']],
  ['logSoftmax', () => (x: Tensor) => logSoftmax(x, -1), [2, 3, 4], ['LogSoftmax']],
  ['mean', () => (x: Tensor) => mean(x, [1, 2], true), [2, 3, 4], ['ReduceMean']],
  ['logsumexp', () => (x: Tensor) => logsumexp(x, 1), [2, 3, 4], ['ReduceLogSumExp', 'Squeeze']],
  ['norm', () => (x: Tensor) => norm(x, 2, 1), [2, 3, 4], ['ReduceL2']],
  ['argmax', () => (x: Tensor) => argmax(x, 1), [2, 3, 4], ['ArgMax']],
  ['topk', () => (x: Tensor) => topk(x, 2).values, [2, 3, 4], ['TopK', 'Slice']],
  ['matmul', () => (x: Tensor) => matmul(x, x.transpose(1, 2)), [2, 3, 4], ['Transpose', 'MatMul']],
  ['prelu', () => (x: Tensor) => prelu(x, tensor([0.1, 0.2, 0.3])), [2, 3, 4], ['Unsqueeze', 'PRelu']],
];

describe('operators of ONNX for layers and functions', () => {
  const rows = [...layers, ...functions].map(([name, target, shape, operators, options = {}]) => ({
    name,
    target,
    shape,
    operators,
    options,
  }));
  it.each(rows)('$name', ({ target, shape, operators, options }) => {
    const model = roundTrip(target(), [randn([...shape])], options);
    expect(operatorsOf(model)).toEqual(operators);
  });

  it('writes no reshapes for a batch of one', () => {
    const net = new nn.Sequential(new nn.Conv2d(3, 4, 3), new nn.SiLU(), new nn.Conv2d(4, 1, 1));
    expect(operatorsOf(roundTrip(net, [randn([1, 3, 5, 5])]))).toEqual(['Conv', 'Sigmoid', 'Mul', 'Conv']);
  });

  it('adds a bias to a product that something else reads apart from it', () => {
    const weight = randn([4, 3]);
    const both = (x: Tensor): Tensor[] => {
      const product = matmul(x, weight.t());
      return [product.add(tensor([1, 2, 3, 4])), product];
    };
    expect(operatorsOf(roundTrip(both, [randn([2, 3])]))).toEqual(['Gemm', 'Add']);
  });

  it('keeps the numbers where an operation is like one of ONNX, but not it', () => {
    const almost = (x: Tensor): Tensor => x.mul(0.5).mul(add(x.mul(0.7).erf(), 1));
    expect(operatorsOf(roundTrip(almost, [randn([2, 3])]))).not.toContain('Gelu');
    const other = (x: Tensor): Tensor => interpolate(x, { scaleFactor: 1.3 });
    expect(operatorsOf(roundTrip(other, [randn([1, 2, 5, 7])]))).not.toContain('Resize');
    const partial = (x: Tensor): Tensor => sum(x, 1).div(4);
    expect(operatorsOf(roundTrip(partial, [randn([2, 3])]))).toEqual(['ReduceSum', 'Div']);
    const third = (x: Tensor): Tensor => avgPool2d(x, 2, { divisorOverride: 3 });
    expect(operatorsOf(roundTrip(third, [randn([1, 2, 4, 4])]))).toEqual(['AveragePool', 'Mul']);
  });

  it('writes a recurrent layer over sequences of several lengths with those lengths', () => {
    const lstm = new nn.LSTM(3, 4, { bidirectional: true });
    const run = (x: Tensor, lengths: Tensor): unknown => {
      const [out, state] = lstm.call(nn.packPaddedSequence(x, lengths));
      return [nn.padPackedSequence(out)[0], state];
    };
    const model = roundTrip(run, [randn([5, 3, 3]), tensor([5, 2, 3], { dtype: 'int32' })]);
    expect(operatorsOf(model).filter((op) => op === 'LSTM')).toHaveLength(2);
    const [first] = model.graph.nodes.filter((node) => node.opType === 'LSTM');
    expect(first.inputs[4]).toBe('input1');
  });
});
