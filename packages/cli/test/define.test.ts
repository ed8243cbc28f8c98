/** Scripts are typed: what is written in one place is known in the others. */
import { crossEntropy, mseLoss, nn, ones, type Tensor } from 'trireme';
import { ArrayDataset, DataLoader, type Field } from 'trireme/data';
import { Accuracy } from 'trireme/metrics';
import { AdamW, OneCycleLR } from 'trireme/optim';
import { EarlyStopping, fieldsToTensors } from 'trireme/train';
import { expect, expectTypeOf, test } from 'vitest';
import { defineRun } from '../src/index.js';
import { isOwnRun, isRun } from '../src/run.js';

/** Two arguments and a pair of outputs. */
class TwoTowers extends nn.Module<[left: Tensor, right: Tensor], readonly [Tensor, Tensor]> {
  override forward(left: Tensor, right: Tensor): readonly [Tensor, Tensor] {
    return [left, right];
  }
}

test('a run knows the types of its options, inputs, outputs and targets', () => {
  const run = defineRun({
    options: { lr: 1e-3, hidden: 64, sizes: [1, 2], optimizer: { kind: 'adamw' } },
    epochs: ({ hidden }) => hidden / 32,
    net: ({ hidden, sizes, optimizer }) => {
      expectTypeOf(hidden).toEqualTypeOf<number>();
      expectTypeOf(sizes).toEqualTypeOf<number[]>();
      expectTypeOf(optimizer.kind).toEqualTypeOf<string>();
      return new nn.Sequential(new nn.Linear(4, hidden), new nn.Linear(hidden, 3));
    },
    data: ({ seed }) => ({
      train: new DataLoader(
        new ArrayDataset({ x: { data: new Float32Array(8), shape: [4] } as Field, y: { data: new Int32Array(2), shape: [] } as Field }),
        { seed },
      ),
      toTensors: fieldsToTensors('x', 'y'),
    }),
    compile: ({ lr }) => ({
      optimizer: (p) => new AdamW(p, { lr }),
      loss: crossEntropy,
      metrics: [new Accuracy()],
      schedule: (optimizer, { steps }) => new OneCycleLR(optimizer, { maxLr: lr, totalSteps: steps }),
    }),
    callbacks: () => [new EarlyStopping({ patience: 3 })],
    predict: async ({ model, inputs, options }) => {
      expectTypeOf(options.lr).toEqualTypeOf<number>();
      const output = await model.predict(ones([inputs.length, 4]), { as: 'array' });
      expectTypeOf(output.shape).toEqualTypeOf<readonly number[]>();
      return [output.shape];
    },
  });
  expect(isRun(run) && isOwnRun(run)).toBe(true);
  expect(isRun({ definition: {} })).toBe(false);

  defineRun({
    epochs: 1,
    net: () => new TwoTowers(),
    data: () => ({ train: [[[ones([1]), ones([1])], ones([1])] as const] }),
    compile: () => ({
      optimizer: (p) => new AdamW(p, { lr: 0.1 }),
      loss: (output, target: Tensor) => {
        expectTypeOf(output).toEqualTypeOf<readonly [Tensor, Tensor]>();
        return mseLoss(output[0], target);
      },
    }),
  });
});
