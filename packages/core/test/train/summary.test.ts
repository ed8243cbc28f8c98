import { describe, expect, test } from 'vitest';
import { BatchNorm2d, Conv2d, Embedding, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential } from '../../src/nn/index.js';
import { memoryInfo } from '../../src/tensor/memory.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { summary } from '../../src/train/index.js';

describe('a summary', () => {
  test('has shapes, parameters, FLOPs and memory of each layer', () => {
    const net = new Sequential(
      new Conv2d(3, 8, 3, { padding: 1, bias: false }),
      new BatchNorm2d(8),
      new ReLU(),
      new MaxPool2d(2),
      new Flatten(),
      new Linear(8 * 4 * 4, 10),
    );
    const before = memoryInfo().storages;
    const { layers, ...totals } = summary(net, [2, 3, 8, 8]);
    expect(memoryInfo().storages).toBe(before);
    expect(net.training).toBe(true);
    expect(layers.map((l) => [l.path, l.type, l.outputShapes[0], l.parameters])).toEqual([
      ['', 'Sequential', [2, 10], 216 + 16 + 1290],
      ['0', 'Conv2d', [2, 8, 8, 8], 216],
      ['1', 'BatchNorm2d', [2, 8, 8, 8], 16],
      ['2', 'ReLU', [2, 8, 8, 8], 0],
      ['3', 'MaxPool2d', [2, 8, 4, 4], 0],
      ['4', 'Flatten', [2, 128], 0],
      ['5', 'Linear', [2, 10], 1290],
    ]);
    const convolution = 2 * 8 * 8 * 8 * 3 * 9;
    const linear = 2 * 128 * 10;
    expect(layers.map((l) => l.macs)).toEqual([convolution + linear, convolution, 0, 0, 0, 0, linear]);
    expect(totals.flops).toBe(2 * (convolution + linear));
    expect(layers[1]).toMatchObject({ outputBytes: 4 * 2 * 8 * 8 * 8, parameterBytes: 4 * 216, calls: 1, depth: 1 });
    expect(totals.inputBytes).toBe(4 * 2 * 3 * 8 * 8);
    expect(totals.activationBytes).toBe(4 * (3 * 1024 + 2 * 256 + 20));
    expect(totals.inferenceBytes).toBeGreaterThan(0);
    net.dispose();
  });

  test('counts a shared layer once, its work as often as it runs, and says what is not used', () => {
    class Twice extends Module {
      readonly shared = new Linear(4, 4);
      readonly spare = new Linear(4, 4);
      override forward(x: Tensor): Tensor {
        return this.shared.call(this.shared.call(x));
      }
    }
    const net = new Twice();
    net.spare.requiresGrad_(false);
    const result = summary(net, [3, 4]);
    const [root, shared, spare] = result.layers;
    expect(shared).toMatchObject({ calls: 2, macs: 2 * 3 * 16, parameters: 20, outputBytes: 2 * 48 });
    expect(spare).toMatchObject({ calls: 0, macs: 0, outputShapes: [] });
    expect(root.macs).toBe(2 * 3 * 16);
    expect(result).toMatchObject({ parameters: 40, trainable: 20 });
    expect(String(result)).toMatch(/shared: Linear \(2 calls\) .*\n.*spare: Linear +not used/);
    net.dispose();
  });

  test('takes dtypes and several inputs, and prints a table', () => {
    class Pair extends Module<[Tensor, Tensor]> {
      readonly table = new Embedding(100, 8);
      readonly head = new Linear(8, 2);
      override forward(index: Tensor, shift: Tensor): Tensor {
        return this.head.call(this.table.call(index).add(shift));
      }
    }
    const net = new Pair();
    const result = summary(net, [{ shape: [2, 5], dtype: 'int64' }, { shape: [2, 5, 8] }]);
    expect(result.inputBytes).toBe(8 * 10 + 4 * 80);
    const lines = String(result).split('\n');
    expect(lines[0]).toMatch(/^layer +output +parameters +FLOPs +weights +output size$/);
    expect(lines[3]).toMatch(/^ {2}table: Embedding +\[2, 5, 8\] +800 +- +3\.20 kB +320 B$/);
    expect(lines.at(-2)).toMatch(/^FLOPs 320 \(160 multiply-adds/);
    net.dispose();
  });
});
