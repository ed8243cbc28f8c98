import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cond, erfinv, gt, lgamma, mul, nn, randn, scan, sub, type Tensor, tanh, whileLoop } from 'trireme';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OnnxModel } from '../../src/engine/onnx-model.js';
import { UnmappedError } from '../../src/export/emitter.js';
import { exportModel } from '../../src/export/export.js';
import { exportOnnx, saveModel, saveOnnx } from '../../src/export/save.js';
import { decodeModel } from '../../src/model/protobuf.js';
import { operatorsOf, roundTrip } from './support.js';

class Gamma extends nn.Module {
  override forward(x: Tensor): Tensor {
    return lgamma(x).add(erfinv(x));
  }
}

describe('exportModel', () => {
  it('names inputs, outputs, nodes and weights after the model', () => {
    class Net extends nn.Module<
      [{ readonly image: Tensor; readonly scale: Tensor }],
      { readonly logits: Tensor; readonly features: Tensor }
    > {
      readonly body = new nn.Sequential(new nn.Linear(4, 3), new nn.ReLU());
      readonly headLayer = new nn.Linear(3, 2, { bias: false });
      override forward({ image, scale }: { readonly image: Tensor; readonly scale: Tensor }): {
        readonly logits: Tensor;
        readonly features: Tensor;
      } {
        const features = this.body.call(image).mul(scale);
        return { logits: this.headLayer.call(features), features };
      }
    }
    const net = new Net();
    const { graph } = roundTrip(net, [{ image: randn([2, 4]), scale: randn([1]) }]);
    expect(graph.inputs.map(({ name }) => name)).toEqual(['input.image', 'input.scale']);
    expect(graph.outputs.map(({ name }) => name)).toEqual(['logits', 'features']);
    expect(graph.nodes.map(({ name }) => name)).toEqual(['body/0/Gemm', 'body/1/Relu', 'Mul', 'headLayer/Gemm']);
    expect(graph.initializers.map(({ name }) => name).sort()).toEqual([...net.stateDict().keys()].sort());
    const named = exportModel(new nn.ReLU(), [randn([1])], { inputNames: ['x'], outputNames: ['y'] });
    expect([...named.graph.inputs, ...named.graph.outputs].map(({ name }) => name)).toEqual(['x', 'y']);
  });

  it('exports in evaluation mode and leaves the mode as it was', () => {
    const net = new nn.Sequential(new nn.Linear(3, 3), new nn.Dropout(0.5), new nn.BatchNorm1d(3));
    net.train();
    expect(operatorsOf(exportModel(net, [randn([2, 3])]))).toEqual(['Gemm', 'BatchNormalization']);
    expect([net, ...net.children()].every((m) => m.training)).toBe(true);
  });

  it('names every operation without a form in ONNX, with its module', () => {
    const net = new nn.Sequential(new nn.Linear(2, 2), new Gamma());
    let error: unknown;
    try {
      exportModel(net, [randn([1, 2])]);
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(UnmappedError);
    expect((error as UnmappedError).unmapped.map(({ op, module }) => `${op} in ${module}`)).toEqual(['lgamma in 1', 'erfinv in 1']);
  });

  it('says which opset an operator needs', () => {
    const bits = (x: Tensor): Tensor => x.to('int32').bitwiseAnd(3);
    expect(() => exportModel(bits, [randn([2])], { opset: 17 })).toThrow(/BitwiseAnd needs opset 18/);
    expect(() => exportModel(bits, [randn([2])], { opset: 12 })).toThrow(/from 13 to 23/);
    for (const opset of [13, 17, 20, 21, 23]) {
      const layer = new nn.TransformerEncoderLayer(4, 2, { dimFeedforward: 8, batchFirst: true, activation: 'gelu' });
      roundTrip(new nn.Sequential(layer, new nn.RMSNorm(4)), [randn([1, 3, 4])], { opset });
    }
  });

  it('refuses functions that change tensors in place', () => {
    class Counter extends nn.Module {
      readonly count = nn.buffer(randn([1]));
      override forward(x: Tensor): Tensor {
        this.count.add_(1);
        return x.add(this.count);
      }
    }
    expect(() => exportModel(new Counter(), [randn([1])])).toThrow(/in place: count/);
  });

  it('writes conditions and loops as bodies', () => {
    const branches = (x: Tensor): Tensor[] =>
      cond(
        gt(x.sum(), 0),
        (t) => [mul(t, 2)],
        (t) => [sub(t, 1)],
        [x],
      );
    expect(operatorsOf(roundTrip(branches, [randn([3])], { others: [[randn([3])], [randn([3])]] }))).toContain('If');
    const loop = (x: Tensor): Tensor[] =>
      whileLoop(
        (t) => t.abs().sum().lt(100),
        (t) => [mul(t, 1.7)],
        [x],
      );
    expect(operatorsOf(roundTrip(loop, [randn([3])]))).toContain('Loop');
    const steps = (x: Tensor): unknown => scan(([h], [t]) => [[tanh(h.add(t))], [h.mul(2)]], [x.select(0, 0)], [x], { reverse: true });
    expect(operatorsOf(roundTrip(steps, [randn([4, 3])]))).toContain('Scan');
  });
});

describe('files', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'trireme-onnx-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('hold the metadata and the same numbers, with weights inside or beside', async () => {
    const net = new nn.Linear(40, 30);
    const x = randn([1, 40]);
    const expected = net.call(x).dataSync();
    const path = join(folder, 'net.onnx');
    const options = { metadata: { classes: 'a,b' }, docString: 'A test.' };
    for (const weights of ['embedded', 'external'] as const) {
      await saveOnnx(path, net, [x], { ...options, weights });
      const model = await OnnxModel.load(path);
      expect(model.metadata.properties.get('classes')).toBe('a,b');
      expect(model.metadata.docString).toBe('A test.');
      using outputs = await model.run({ input: x });
      expect(outputs.data('output')).toEqual(expected);
      model.dispose();
    }
    expect((await readdir(folder)).sort()).toEqual(['net.onnx', 'net.onnx.data']);
    expect((await stat(path)).size).toBeLessThan(1000);
    expect((await stat(`${path}.data`)).size).toBe(4 * 40 * 30);
    await saveModel(path, exportOnnx(net, [x]));
    expect(decodeModel(await readFile(path)).graph.initializers.every(({ content }) => content.kind === 'raw')).toBe(true);
  });
});
