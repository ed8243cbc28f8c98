/** The training loop of the library walks along PyTorch's curve too. */
import { expect, test } from 'vitest';
import { crossEntropy, type nn, type Tensor } from '../../src/index.js';
import { Model } from '../../src/train/index.js';
import { batches, toTensor } from './data.js';
import { curves, furthest, load, slack } from './harness.js';
import { models } from './models.js';

test('fit() with clipping, parameter groups and a one-cycle schedule', async () => {
  const curve = curves.find((c) => c.op === 'resnet');
  if (curve === undefined) throw new Error('there is no such curve');
  const { net, train } = models.resnet();
  load(net, curve, 'float32');
  const { optimizer, schedule } = train();
  const trainer = new Model(net as unknown as nn.Module).compile({ optimizer, loss: crossEntropy, clipGradNorm: 0.5, schedule });
  function* data(): Generator<readonly [Tensor, Tensor]> {
    for (let i = 0; i < curve!.losses.length; i++) {
      const [x, y] = batches.resnet(i).map((part) => toTensor(part, 'float32'));
      yield [x, y];
    }
  }
  const losses: number[] = [];
  const history = await trainer.fit(data(), { epochs: 1, callbacks: [{ onBatchEnd: (_, { loss }) => void losses.push(loss) }] });
  expect(history.outcome).toBe('finished');
  expect(furthest(losses, curve.losses)).toBeLessThan(slack * furthest(curve.losses32, curve.losses));
  expect(history.epochs[0].metrics.loss).toBeCloseTo(curve.losses.reduce((a, b) => a + b) / losses.length, 5);
  trainer.dispose();
  optimizer.dispose();
  net.dispose();
});
