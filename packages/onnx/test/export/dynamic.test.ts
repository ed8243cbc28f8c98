import { arange, memoryInfo, nn, randint, randn, type Tensor } from 'trireme';
import { describe, expect, it } from 'vitest';
import { exportModel } from '../../src/export/export.js';
import { operatorsOf, roundTrip } from './support.js';

const shapesOf = (model: ReturnType<typeof exportModel>, kind: 'inputs' | 'outputs'): unknown[] =>
  model.graph[kind].map(({ type }) => (type?.kind === 'tensor' ? type.shape : null));

describe('extents that may change', () => {
  it('names a batch and runs at any', () => {
    const net = new nn.Sequential(new nn.Conv2d(1, 3, 3), new nn.ReLU(), new nn.MaxPool2d(2), new nn.Flatten(), new nn.Linear(27, 4));
    const others = [1, 5].map((n) => [randn([n, 1, 8, 8])]);
    const model = roundTrip(net, [randn([2, 1, 8, 8])], { dynamicBatch: true, others });
    expect(shapesOf(model, 'inputs')).toEqual([['batch', 1, 8, 8]]);
    expect(shapesOf(model, 'outputs')).toEqual([['batch', 4]]);
    expect(operatorsOf(model)).toEqual(['Conv', 'Relu', 'MaxPool', 'Reshape', 'Gemm']);
  });

  it('names batch and steps of a transformer, whose positions and mask depend on them', () => {
    const layer = (): nn.TransformerEncoderLayer => new nn.TransformerEncoderLayer(8, 2, { dimFeedforward: 16, batchFirst: true });
    const encoder = new nn.TransformerEncoder(layer, 1);
    const table = new nn.Embedding(20, 8);
    const run = (ids: Tensor): Tensor => encoder.call(table.call(ids).add(arange(ids.shape[1]).reshape(1, -1, 1)), { isCausal: true });
    encoder.eval();
    const ids = (batch: number, steps: number): [Tensor] => [randint(0, 20, [batch, steps], { dtype: 'int64' })];
    const model = roundTrip(run, ids(2, 9), {
      dynamicAxes: { input: { 0: 'batch', 1: 'steps' } },
      others: [ids(1, 1), ids(3, 14), ids(4, 6)],
    });
    expect(shapesOf(model, 'outputs')).toEqual([['batch', 'steps', 8]]);
  });

  it('holds for the states of a recurrent layer and for loops', () => {
    const axes = { dynamicAxes: { input: { 0: 'steps', 1: 'batch' } } };
    const others = [[randn([9, 4, 3])], [randn([1, 1, 3])]];
    const model = roundTrip(new nn.LSTM(3, 4, { bidirectional: true }), [randn([5, 2, 3])], { ...axes, others });
    expect(shapesOf(model, 'outputs')).toEqual([
      ['steps', 'batch', 8],
      [2, 'batch', 4],
      [2, 'batch', 4],
    ]);
    roundTrip(new nn.GRUCell(3, 4), [randn([2, 3])], { dynamicBatch: true, others: [[randn([5, 3])]] });
  });

  it('computes numbers that depend on an extent', () => {
    const run = (x: Tensor): Tensor[] => [x.sum(0).div(x.shape[0]), x.reshape(-1), x.mul(x.shape[0] * 2 + 1), arange(x.shape[0])];
    const model = roundTrip(run, [randn([4, 3])], { dynamicBatch: true, others: [[randn([7, 3])]] });
    expect(operatorsOf(model)).toContain('ReduceMean');
    expect(shapesOf(model, 'outputs')).toEqual([[3], [null], ['batch', 3], ['batch']]);
  });

  it('refuses what no number can say, and names the place', () => {
    const halves = (x: Tensor): Tensor => x.slice([[0, Math.floor(x.shape[0] / 2)]]);
    expect(() => exportModel(halves, [randn([4, 3])], { dynamicBatch: true })).toThrow(/Slice.*batch = \d+/);
    const square = (x: Tensor): Tensor => x.mul(x.shape[0] ** 2);
    expect(() => exportModel(square, [randn([4, 3])], { dynamicBatch: true })).toThrow(/Mul.*is.*for batch/);
    const limited = (x: Tensor): Tensor => x.reshape(4, 3);
    expect(() => exportModel(limited, [randn([4, 3])], { dynamicBatch: true })).toThrow(/cannot be recorded at batch = /);
  });

  it('checks the names of dynamicAxes', () => {
    expect(() => exportModel(new nn.ReLU(), [randn([2, 3])], { dynamicAxes: { x: [0] } })).toThrow(/axis 0 of x.*input \[2, 3\]/);
    expect(() => exportModel(new nn.ReLU(), [randn([2, 3])], { dynamicAxes: { input: [2] } })).toThrow(/axis 2 of input/);
    const two = (a: Tensor, b: Tensor): Tensor => a.sum().add(b.sum());
    expect(() => exportModel(two, [randn([2]), randn([3])], { dynamicBatch: true })).toThrow(/'batch' is 2 and 3/);
  });

  it('leaves no tensors behind', () => {
    const net = new nn.Sequential(new nn.Upsample({ scaleFactor: 2, mode: 'bilinear' }), new nn.Conv2d(1, 2, 3));
    const x = randn([1, 1, 4, 4]);
    exportModel(net, [x], { dynamicBatch: true });
    const before = memoryInfo().storages;
    exportModel(net, [x], { dynamicBatch: true });
    expect(memoryInfo().storages).toBe(before);
  });
});
