import { describe, expect, test } from 'vitest';
import { ArgumentError, add, manualSeed, matmul, nn, noGrad, ones, randn, sum, type Tensor, zeros } from '../../src/index.js';
import { runLayerTest } from './layer-test.js';

class Branches extends nn.Module {
  stages = new nn.ModuleList([new nn.Linear(3, 3), new nn.Linear(3, 3)]);
  heads = new nn.ModuleDict({ classA: new nn.Linear(3, 2), box: new nn.Linear(3, 2) });
  scales = new nn.ParameterList([ones([1]), zeros([2])]);
  byName = new nn.ParameterDict({ shiftX: zeros([2]) });
  override forward(x: Tensor): Tensor {
    let h = x;
    for (const stage of this.stages) h = stage.call(h);
    const both = add(this.heads.get('classA').call(h), this.heads.get('box').call(h));
    return add(add(both.mul(this.scales.at(0)), this.scales.at(1)), this.byName.get('shiftX'));
  }
}

describe('containers', () => {
  test('name their contents as PyTorch does, and train', () => {
    runLayerTest({
      layer: () => new Branches(),
      inputs: [[4, 3]],
      outputShape: [4, 2],
      freesTemporaries: false,
      stateKeys: [
        'stages.0.weight',
        'stages.0.bias',
        'stages.1.weight',
        'stages.1.bias',
        'heads.classA.weight',
        'heads.classA.bias',
        'heads.box.weight',
        'heads.box.bias',
        'scales.0',
        'scales.1',
        'by_name.shiftX',
      ],
    });
  });
  test('a ModuleList is a list', () => {
    const list = new nn.ModuleList([new nn.Linear(1, 2)]);
    list.append(new nn.Linear(2, 3)).insert(0, new nn.Linear(5, 1));
    expect([...list].map((m) => m.weight.shape)).toEqual([
      [1, 5],
      [2, 1],
      [3, 2],
    ]);
    expect(list.at(-1).outFeatures).toBe(3);
    expect(list.map((m, i) => m.inFeatures * 10 + i)).toEqual([50, 11, 22]);
    list.set(0, new nn.Linear(7, 1));
    expect(list.at(0).inFeatures).toBe(7);
    expect(list.pop().outFeatures).toBe(3);
    expect(list.length).toBe(2);
    expect(() => list.at(2)).toThrow(ArgumentError);
    expect(() => list.forward()).toThrow(ArgumentError);
  });
  test('a ModuleDict is a dictionary that keeps its order', () => {
    const dict = new nn.ModuleDict<nn.Module>([
      ['10', new nn.ReLU()],
      ['2', new nn.Tanh()],
    ]);
    expect(dict.keys()).toEqual(['10', '2']);
    expect(dict.has('2')).toBe(true);
    expect([...dict].map(([key, m]) => `${key} ${m}`)).toEqual(['10 ReLU()', '2 Tanh()']);
    expect(dict.delete('2')).toBe(true);
    expect(dict.delete('2')).toBe(false);
    expect(dict.size).toBe(1);
    expect(() => dict.get('2')).toThrow(/one of 10/);
    for (const key of ['forward', 'training', 'a.b', '']) expect(() => dict.set(key, new nn.ReLU())).toThrow(ArgumentError);
  });
  test('parameters in lists and dictionaries are replaced and removed', () => {
    const list = new nn.ParameterList([ones([2])]);
    list.append(zeros([3])).set(0, zeros([4]));
    expect([...list].map((p) => p.shape)).toEqual([[4], [3]]);
    expect(list.at(-1).requiresGrad).toBe(true);
    const dict = new nn.ParameterDict({ a: ones([1]) });
    dict.set('b', ones([2]));
    expect(dict.values().map((p) => p.shape)).toEqual([[1], [2]]);
    expect(dict.delete('a')).toBe(true);
    expect(dict.keys()).toEqual(['b']);
    expect(dict.parameters()).toHaveLength(1);
    expect(dict.entries()[0][0]).toBe('b');
    expect(String(list)).toContain('(1): Parameter containing: [float32 of size [3]]');
  });
  test('a Sequential takes names', () => {
    manualSeed(1);
    const net = new nn.Sequential({ conv: new nn.Linear(2, 3), act: new nn.ReLU() });
    net.append(new nn.Linear(3, 1, { bias: false }));
    expect([...net.stateDict().keys()]).toEqual(['conv.weight', 'conv.bias', '2.weight']);
    expect(net.length).toBe(3);
    expect(net.at(-1)).toBe([...net][2]);
    expect(noGrad(() => net.call(randn([2, 2]))).shape).toEqual([2, 1]);
    const relu = ((x: Tensor) => x.relu()) as unknown as nn.Module;
    expect(() => new nn.Sequential(relu)).toThrow('a layer is a function');
    expect(() => new nn.Sequential(new nn.Linear(2, 3), relu)).toThrow('a layer is a function');
  });
  test('errors name a module that came later', () => {
    const net = new nn.Sequential(new nn.Linear(2, 3));
    net.call(ones([1, 2]));
    net.append(new nn.Linear(4, 1));
    expect(() => net.call(ones([1, 2]))).toThrow(/in Sequential\.1/);
  });
});

describe('a module', () => {
  test('prints its tree', () => {
    const net = new nn.Sequential(
      new nn.Conv2d(1, 4, 3, { padding: 1, bias: false }),
      new nn.BatchNorm2d(4),
      new nn.ModuleList([new nn.Linear(2, 2), new nn.Linear(2, 2), new nn.Linear(2, 3)]) as unknown as nn.Module,
      new nn.Sequential({ act: new nn.LeakyReLU(0.1) }),
    );
    expect(String(net)).toBe(`Sequential(
  (0): Conv2d(1, 4, kernelSize=[3, 3], stride=[1, 1], padding=[1, 1], bias=false)
  (1): BatchNorm2d(4, eps=0.00001, momentum=0.1, affine=true, trackRunningStats=true)
  (2): ModuleList(
    (0-1): 2 x Linear(inFeatures=2, outFeatures=2, bias=true)
    (2): Linear(inFeatures=2, outFeatures=3, bias=true)
  )
  (3): Sequential(
    (act): LeakyReLU(negativeSlope=0.1)
  )
)`);
  });
  test('finds parts by path, and counts its parameters', () => {
    const net = new Branches();
    expect(net.getSubmodule('stages.1')).toBe(net.stages.at(1));
    expect(net.getSubmodule('')).toBe(net);
    expect(net.getParameter('heads.box.bias')).toBe(net.heads.get('box').bias);
    expect(() => net.getParameter('heads.box.scale')).toThrow(/heads\.box\.bias|stages/);
    expect(new nn.BatchNorm1d(3).getBuffer('running_var').shape).toEqual([3]);
    expect(net.parameterCount()).toBe(2 * 12 + 2 * 8 + 3 + 2);
    net.stages.requiresGrad_(false);
    expect(net.parameterCount({ trainable: true })).toBe(2 * 8 + 3 + 2);
  });
  test('takes buffers, parameters and modules by name', () => {
    const net = new nn.Identity();
    net.registerBuffer('meanImage', zeros([2]));
    net.registerBuffer('scratch', zeros([2]), { persistent: false });
    net.registerParameter('gamma', ones([1]));
    net.registerParameter('beta', null);
    net.registerModule('innerLayer', new nn.Linear(1, 1, { bias: false }) as unknown as nn.AnyModule);
    expect([...net.stateDict().keys()]).toEqual(['mean_image', 'gamma', 'inner_layer.weight']);
    expect(net.buffers()).toHaveLength(2);
    expect(sum(net.getParameter('gamma')).item()).toBe(1);
  });
  test('a transposed convolution leads to the wanted size', () => {
    const up = new nn.ConvTranspose2d(1, 1, 3, { stride: 2, padding: 1 });
    const x = ones([1, 1, 4, 5]);
    expect(up.call(x).shape).toEqual([1, 1, 7, 9]);
    expect(up.call(x, [8, 9]).shape).toEqual([1, 1, 8, 9]);
    expect(up.call(x, [1, 1, 7, 10]).shape).toEqual([1, 1, 7, 10]);
    expect(() => up.call(x, [9, 9])).toThrow(/from \[7, 9\] to \[8, 10\]/);
  });
  test('a bilinear layer is the sum over both inputs', () => {
    manualSeed(2);
    const layer = new nn.Bilinear(2, 3, 4, { bias: false });
    const [a, b] = [randn([2]), randn([3])];
    const wanted = Array.from({ length: 4 }, (_, o) => Number(matmul(matmul(a, layer.weight.detach().select(0, o)), b).item()));
    const got = Array.from(layer.call(a, b).dataSync(), Number);
    got.forEach((v, o) => expect(v).toBeCloseTo(wanted[o], 5));
    expect(() => layer.call(a, a)).toThrow(/\[\.\.\., 3\]/);
  });
});
