import { tensor } from 'trireme';
import { describe, expect, it } from 'vitest';
import { loadGraphModel, loadLayersModel, type TfjsFiles } from '../../src/tfjs/index.js';
import reference from '../reference/tfjs-graphs.json' with { type: 'json' };

interface Case {
  readonly name: string;
  readonly model: object;
  readonly weights: string;
  readonly inputs: Readonly<
    Record<string, { readonly shape: readonly number[]; readonly values: readonly number[]; readonly dtype: 'float32' | 'int32' }>
  >;
  readonly outputs: Readonly<
    Record<string, { readonly shape: readonly number[]; readonly data: readonly number[]; readonly dtype: string }>
  >;
}
const cases = reference.cases as unknown as readonly Case[];
const filesOf = ({ model, weights }: Case): TfjsFiles => ({
  model,
  read: async () => Uint8Array.from(atob(weights), (c) => c.charCodeAt(0)),
});
const named = (name: string): Case => cases.find((entry) => entry.name === name)!;
const inputsOf = ({ inputs }: Case) =>
  Object.fromEntries(
    Object.entries(inputs).map(([name, { shape, values, dtype }]) => [name, tensor([...values], { shape: [...shape], dtype })]),
  );

describe('graph models of TensorFlow.js', () => {
  it.each(cases.map((entry) => [entry.name, entry] as const))('%s', async (_, entry) => {
    const model = await loadGraphModel(filesOf(entry));
    const outputs = await model.run(inputsOf(entry));
    for (const [name, { shape, data, dtype }] of Object.entries(entry.outputs)) {
      const found = outputs.tensor(name);
      expect([name, found.dtype, ...found.shape]).toEqual([name, dtype, ...shape]);
      const values = Array.from(found.dataSync(), Number);
      for (const [i, want] of data.entries()) {
        if (Number.isNaN(want)) expect(values[i]).toBeNaN();
        else if (Math.abs(values[i] - want) > 1e-4 * Math.max(1, Math.abs(want)))
          expect(`${name}[${i}] ${values[i]}`).toBe(`${name}[${i}] ${want}`);
      }
    }
    outputs.dispose();
    model.dispose();
  });

  it('a chain of convolutions has one transposition before it and those of its outputs behind', async () => {
    const model = await loadGraphModel(filesOf(named('convolutions in a chain')));
    expect(model.model.graph.nodes.filter(({ opType }) => opType === 'Transpose')).toHaveLength(3);
    model.dispose();
  });

  it('with operations that are not known are refused by name', async () => {
    const entry = named('elements');
    const model = JSON.parse(JSON.stringify(entry.model).replace('"op":"Erf"', '"op":"Lgamma"').replace('"op":"Selu"', '"op":"Digamma"'));
    await expect(loadGraphModel({ ...filesOf(entry), model })).rejects.toThrow(/Digamma.*Lgamma|Lgamma.*Digamma/);
    await expect(loadLayersModel(filesOf(entry))).rejects.toThrow(/class_name/);
    const circle = JSON.parse(JSON.stringify(entry.model).replace('"op":"Sub","input":["x","y"]', '"op":"Sub","input":["div","y"]'));
    await expect(loadGraphModel({ ...filesOf(entry), model: circle })).rejects.toThrow(/circle/);
  });
});
