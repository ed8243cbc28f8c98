/** Memory of loops that free nothing, in a browser: the engine's garbage collector is all there is. */
import { expect, test } from 'vitest';
import { memoryInfo, nn, optim, randn, type Tensor } from '../../src/index.js';

test('a training loop with no disposal code keeps its memory bounded as the event loop turns', async () => {
  const net = new nn.Sequential(new nn.Linear(64, 256), new nn.ReLU(), new nn.Linear(256, 64));
  const optimizer = new optim.SGD(net.parameters(), { lr: 0.01 });
  const x = randn([256, 64]);
  const seen: number[] = [];
  for (let i = 0; i < 2000; i++) {
    const loss: Tensor = net.call(x).sub(x).square().mean();
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    if (i % 4 === 0) await loss.data();
    if (i % 100 === 0) seen.push(Math.round(memoryInfo().bytes / 2 ** 20));
  }
  // At most 143 MiB as measured; nothing freed would be 1,600.
  expect(Math.max(...seen)).toBeLessThan(600);
});
