import { jit, mseLoss, optim, type Tensor, tensor } from 'trireme';
import { describe, expect, it } from 'vitest';
import { OnnxModel } from '../../src/engine/onnx-model.js';
import type { ModelModel } from '../../src/model/model.js';
import { floats, graph, info, ints, model, node } from '../support.js';

const spread = (n: number): number[] => Array.from({ length: n }, (_, i) => Math.sin(i + 1) / 2);

/** Two layers with a batch normalization between, and a reshape by a constant. */
const network = (): ModelModel =>
  model(
    graph(
      [
        node('Gemm', 'x fc1.weight fc1.bias', 'h', { transB: 1 }),
        node('BatchNormalization', 'h bn.weight bn.bias bn.running_mean bn.running_var', 'n'),
        node('Tanh', 'n', 't'),
        node('Gemm', 't fc2.weight fc2.bias', 'o', { transB: 1 }),
        node('Reshape', 'o shape', 'y'),
      ],
      [info('x', ['batch', 3])],
      ['y'],
      [
        floats('fc1.weight', [8, 3], spread(24)),
        floats('fc1.bias', [8], spread(8)),
        floats('bn.weight', [8], Array<number>(8).fill(1)),
        floats('bn.bias', [8], Array<number>(8).fill(0)),
        floats('bn.running_mean', [8], Array<number>(8).fill(0)),
        floats('bn.running_var', [8], Array<number>(8).fill(1)),
        floats('fc2.weight', [1, 8], spread(8)),
        floats('fc2.bias', [1], [0]),
        ints('shape', [-1]),
      ],
    ),
  );

const x = (): Tensor =>
  tensor(
    Float32Array.from({ length: 12 }, (_, i) => Math.cos(i)),
    { shape: [4, 3] },
  );

describe('OnnxModel.toModule', () => {
  it('has the weights under their names: floats as parameters, integers and statistics as buffers', () => {
    using loaded = new OnnxModel(network());
    const net = loaded.toModule();
    expect([...net.namedParameters()].map(([name]) => name)).toEqual([
      'fc1.weight',
      'fc1.bias',
      'bn.weight',
      'bn.bias',
      'fc2.weight',
      'fc2.bias',
    ]);
    expect([...net.namedBuffers()].map(([name]) => name)).toEqual(['bn.running_mean', 'bn.running_var', 'shape']);
    expect(net.stateDict().size).toBe(9);
    net.dispose();
  });
  it('has weights in Constant nodes as parameters too', () => {
    const weight = floats('', [3, 2], spread(6));
    using loaded = new OnnxModel(
      model(
        graph(
          [
            node('Constant', '', 'w', { value: weight }),
            node('Constant', '', 'two', { value: floats('', [], [2]) }),
            node('MatMul', 'x w', 'h'),
            node('Mul', 'h two', 'y'),
          ],
          [info('x', ['batch', 3])],
          ['y'],
        ),
      ),
    );
    const net = loaded.toModule();
    expect([...net.namedParameters()].map(([name, { shape }]) => [name, shape])).toEqual([['w', [3, 2]]]);
    using input = x();
    using outputs = loaded.runSync({ x: input });
    using y = net.call(input);
    expect(y.toArray()).toEqual(outputs.tensor('y').toArray());
    net.dispose();
  });
  it('computes what the model computes, also under jit', () => {
    using loaded = new OnnxModel(network());
    const net = loaded.toModule().eval();
    using input = x();
    using expected = loaded.runSync({ x: input });
    const compiled = jit((t: Tensor) => net.call(t).detach());
    using eager = net.call(input);
    using jitted = compiled(input);
    const want = Array.from(expected.data('y') as Float32Array);
    for (const got of [eager, jitted]) {
      expect(got.shape).toEqual([4]);
      Array.from(got.dataSync() as Float32Array).forEach((value, i) => expect(value).toBeCloseTo(want[i], 5));
    }
    compiled.dispose();
    net.dispose();
  });
  it('learns: a few steps lower its loss, eagerly and as one compiled step', () => {
    for (const compile of [false, true]) {
      using loaded = new OnnxModel(network());
      const net = loaded.toModule();
      using input = x();
      using target = tensor([1, -1, 0.5, 0]);
      const optimizer = new optim.SGD(net.parameters(), { lr: 0.1 });
      const before = net.stateDict().get('bn.running_mean')?.toArray();
      const step = (t: Tensor): Tensor => {
        optimizer.zeroGrad();
        const loss = mseLoss(net.call(t), target);
        loss.backward();
        optimizer.step();
        return loss.detach();
      };
      const compiled = compile ? jit(step) : null;
      const run = compiled ?? step;
      const losses: number[] = [];
      for (let i = 0; i < 15; i++) {
        using loss = run(input);
        losses.push(Number(loss.item()));
      }
      expect(losses[14]).toBeLessThan(losses[0] / 2);
      // In training mode the statistics follow the batches.
      expect(net.stateDict().get('bn.running_mean')?.toArray()).not.toEqual(before);
      compiled?.dispose();
      net.dispose();
    }
  });
  it('has gradients through control flow', () => {
    const source = model(
      graph(
        [
          node('Loop', 'n _ x', 'y', {
            body: graph(
              [node('Mul', 'v w', 'next'), node('Identity', 'go', 'same')],
              [info('i', [], 'int64'), info('go', [], 'bool'), info('v', [1])],
              ['same', 'next'],
            ),
          }),
        ],
        [info('x', [1])],
        ['y'],
        [floats('w', [1], [3]), { ...ints('n', [4], []) }],
      ),
    );
    using loaded = new OnnxModel(source);
    const net = loaded.toModule();
    using input = tensor([2]);
    net.call(input).backward();
    // d(2 w^4)/dw = 8 w^3
    expect(net.getParameter('w').grad?.toArray()).toEqual([216]);
    net.zeroGrad();
    net.dispose();
  });
  it('names the inputs it wants', () => {
    using loaded = new OnnxModel(network());
    const net = loaded.toModule();
    expect(() => net.call()).toThrow(/1: x/);
    expect(() => loaded.toModule({ output: 'z' })).toThrow(/no output 'z'/);
    net.dispose();
  });
});
