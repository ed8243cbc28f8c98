import { FormatError, jit, nn, optim, tensor } from 'trireme';
import { describe, expect, it } from 'vitest';
import { type KerasModel, loadLayersModel, type TfjsFiles } from '../../src/tfjs/index.js';
import reference from '../reference/tfjs-layers.json' with { type: 'json' };

interface Described {
  readonly shape: readonly number[];
  readonly data: readonly number[];
}
interface Case {
  readonly name: string;
  readonly model: object;
  readonly weights: string;
  readonly inputs: readonly Described[];
  readonly outputs: readonly Described[];
}
const cases = reference.cases as unknown as readonly Case[];
const filesOf = ({ model, weights }: Case): TfjsFiles => ({
  model,
  read: async () => Uint8Array.from(atob(weights), (c) => c.charCodeAt(0)),
});
const named = (name: string): Case => cases.find((entry) => entry.name === name)!;
const tensors = (described: readonly Described[]) => described.map(({ shape, data }) => tensor([...data], { shape: [...shape] }));

describe('layers models of TensorFlow.js', () => {
  it.each(cases.map((entry) => [entry.name, entry] as const))('%s', async (_, entry) => {
    const model = await loadLayersModel(filesOf(entry));
    const outputs = model.outputs(...tensors(entry.inputs));
    expect(outputs.map(({ shape }) => shape)).toEqual(entry.outputs.map(({ shape }) => shape));
    for (const [i, output] of outputs.entries()) {
      const found = Array.from(output.dataSync(), Number);
      for (const [k, want] of entry.outputs[i].data.entries()) expect(found[k]).toBeCloseTo(want, 4);
    }
    model.dispose();
  });

  it('are modules: compiled, trained, saved', async () => {
    const entry = named('pictures');
    const [first, second]: KerasModel[] = [await loadLayersModel(filesOf(entry)), await loadLayersModel(filesOf(entry))];
    const [x] = tensors(entry.inputs);
    const compiled = jit((input: typeof x) => first.call(input));
    expect(Array.from(compiled(x).dataSync())).toEqual(expect.arrayContaining([expect.any(Number)]));
    const optimizer = new optim.SGD(first.parameters(), { lr: 0.01 });
    const target = tensor([
      [0, 1],
      [1, 0],
    ]);
    const losses: number[] = [];
    first.train();
    for (let step = 0; step < 5; step++) {
      optimizer.zeroGrad();
      const loss = new nn.MSELoss().call(first.call(x), target);
      loss.backward();
      optimizer.step();
      losses.push(loss.item());
    }
    expect(Number.isFinite(losses[4])).toBe(true);
    first.eval();
    second.loadStateDict(first.stateDict());
    expect(second.call(x).toArray()).toEqual(first.call(x).toArray());
    expect([...first.stateDict().keys()].some((key) => /^model\.layers\.conv2d_.*\.weight$/.test(key))).toBe(true);
    compiled.dispose();
    first.dispose();
    second.dispose();
  });

  it('quantized weights are read', async () => {
    const entry = named('dense');
    const model = structuredClone(entry.model) as { weightsManifest: { weights: { shape: number[]; quantization?: object }[] }[] };
    const sizes = model.weightsManifest[0].weights.map(({ shape }) => shape.reduce((a, b) => a * b, 1));
    const plain = new Float32Array((await filesOf(entry).read('')).slice().buffer);
    const parts: Uint8Array[] = [];
    let at = 0;
    for (const [i, size] of sizes.entries()) {
      const values = plain.subarray(at, at + size);
      at += size;
      const [min, max] = [Math.min(...values), Math.max(...values)];
      const wide = i % 2 === 1;
      const scale = (max - min) / (wide ? 65535 : 255);
      const rounded = Array.from(values, (v) => Math.round((v - min) / scale));
      const codes = wide ? Uint16Array.from(rounded) : Uint8Array.from(rounded);
      parts.push(new Uint8Array(codes.buffer));
      model.weightsManifest[0].weights[i].quantization = { dtype: wide ? 'uint16' : 'uint8', scale, min };
    }
    const loaded = await loadLayersModel({ model, read: async () => Uint8Array.from(parts.flatMap((part) => [...part])) });
    const [x] = tensors(entry.inputs);
    const found = Array.from(loaded.call(x).dataSync());
    for (const [k, want] of entry.outputs[0].data.entries()) expect(Math.abs(found[k] - want)).toBeLessThan(0.02);
    loaded.dispose();
  });

  it('with unknown layers, missing weights or foreign paths are refused by name', async () => {
    const change = (from: string, to: string): TfjsFiles => ({
      ...filesOf(named('dense')),
      model: JSON.parse(JSON.stringify(named('dense').model).replaceAll(from, to)),
    });
    await expect(loadLayersModel(change('"class_name":"Dense"', '"class_name":"Lambda"'))).rejects.toThrow(/not known: Lambda/);
    await expect(loadLayersModel(change('/kernel"', '/other"'))).rejects.toThrow(/no weights "kernel"/);
    await expect(loadLayersModel(change('weights.bin', '../weights.bin'))).rejects.toThrow(/within the model's folder/);
    await expect(loadLayersModel({ ...filesOf(named('dense')), read: async () => new Uint8Array(3) })).rejects.toThrow(FormatError);
  });
});
