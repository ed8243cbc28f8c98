import { FormatError, tensor } from 'trireme';
import { openZip, zipChunks } from 'trireme/io';
import { describe, expect, it } from 'vitest';
import { loadKeras } from '../../src/keras/index.js';
import reference from '../reference/keras.json' with { type: 'json' };

interface Described {
  readonly shape: readonly number[];
  readonly data: readonly number[];
}
interface Case {
  readonly name: string;
  readonly file: string;
  readonly inputs: readonly Described[];
  readonly outputs: readonly Described[];
}
const cases = reference.cases as unknown as readonly Case[];
const bytesOf = ({ file }: Case): Uint8Array => Uint8Array.from(atob(file), (c) => c.charCodeAt(0));
const named = (name: string): Case => cases.find((entry) => entry.name === name)!;

/** The archive with a part of its configuration replaced. */
async function withConfig(entry: Case, from: string, to: string): Promise<Uint8Array> {
  const archive = await openZip(bytesOf(entry));
  const content: [string, Uint8Array][] = [];
  for (const [name, each] of archive.entries) {
    const bytes = await each.read();
    content.push([name, name === 'config.json' ? new TextEncoder().encode(new TextDecoder().decode(bytes).replaceAll(from, to)) : bytes]);
  }
  return Uint8Array.from((await zipChunks(content)).flatMap((chunk) => [...chunk]));
}

describe('models of Keras', () => {
  it.each(cases.map((entry) => [entry.name, entry] as const))('%s', async (_, entry) => {
    const model = await loadKeras(bytesOf(entry));
    const outputs = model.outputs(...entry.inputs.map(({ shape, data }) => tensor([...data], { shape: [...shape] })));
    expect(outputs.map(({ shape }) => shape)).toEqual(entry.outputs.map(({ shape }) => shape));
    for (const [i, output] of outputs.entries()) {
      const found = Array.from(output.dataSync(), Number);
      for (const [k, want] of entry.outputs[i].data.entries()) expect(found[k]).toBeCloseTo(want, 4);
    }
    model.dispose();
  });

  it('name their inputs and outputs', async () => {
    const model = await loadKeras(bytesOf(named('graph')));
    expect(model.inputs).toEqual([
      { name: 'picture', shape: [null, 4, 4, 2] },
      { name: 'row', shape: [null, 3] },
    ]);
    expect(model.outputNames).toHaveLength(2);
    model.dispose();
  });

  it('with layers that are not known, or code, are refused by name', async () => {
    const entry = named('dense');
    await expect(loadKeras(await withConfig(entry, '"class_name": "Dense"', '"class_name": "Lambda"'))).rejects.toThrow(
      /not known: Lambda/,
    );
    await expect(loadKeras(await withConfig(entry, 'hard_sigmoid', 'my_own'))).rejects.toThrow(/my_own/);
    await expect(loadKeras(bytesOf(entry).subarray(0, 2000))).rejects.toThrow(FormatError);
  });
});
