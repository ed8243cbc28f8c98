import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type DType, dtypeInfo } from '../../src/dtype.js';
import { ArgumentError, EnvironmentError, FormatError } from '../../src/errors.js';
import { manualSeed, nn, randn, tensor, zeros } from '../../src/index.js';
import { loadSafetensors, saveSafetensors, tensorsFromSafetensors } from '../../src/io/index.js';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trireme-weights-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('saveSafetensors and loadSafetensors', () => {
  it('bring a trained module, its buffers too, into a new one', async () => {
    manualSeed(3);
    const make = (): nn.Sequential => new nn.Sequential(new nn.Linear(3, 4), new nn.BatchNorm1d(4), new nn.Linear(4, 2));
    const [first, second] = [make(), make()];
    const x = randn([5, 3]);
    first.call(x); // moves the running statistics
    const path = join(folder, 'model.safetensors');
    await saveSafetensors(path, first.stateDict(), new Map([['note', 'grüße']]));
    const { tensors, metadata } = await loadSafetensors(path);
    expect([...tensors.keys()].sort()).toEqual([...first.stateDict().keys()].sort());
    expect(metadata).toEqual(new Map([['note', 'grüße']]));
    first.eval();
    second.eval();
    const want = first.call(x).toArray();
    expect(second.call(x).toArray()).not.toEqual(want);
    second.loadStateDict(tensors);
    expect(second.call(x).toArray()).toEqual(want);
    expect(await readdir(folder)).toEqual(['model.safetensors']);
  });

  it('keep every dtype, views in the order they are read, scalars and empty tensors', async () => {
    const path = join(folder, 'all.safetensors');
    const matrix = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    const named = new Map([
      ['view', matrix.transpose(0, 1)],
      ['row', matrix.select(0, 1)],
      ['scalar', tensor(7)],
      ['empty', zeros([0, 3])],
      ...(Object.keys(dtypeInfo) as DType[]).map((dtype) => [dtype, tensor([0, 1, 1], { dtype })] as const),
    ]);
    await saveSafetensors(path, named);
    const { tensors } = await loadSafetensors(path);
    expect(tensors.size).toBe(named.size);
    for (const [name, t] of named) {
      const back = tensors.get(name);
      expect([name, back?.dtype, back?.shape, back?.toArray()]).toEqual([name, t.dtype, t.shape, t.toArray()]);
    }
  });

  it('refuse what is damaged, too large, missing or nothing, and keep the old file', async () => {
    const path = join(folder, 'model.safetensors');
    await saveSafetensors(path, new Map([['w', tensor([1, 2, 3])]]));
    const bytes = await readFile(path);
    await expect(saveSafetensors(path, new Map())).rejects.toThrow(ArgumentError);
    await expect(saveSafetensors(join(folder, 'no', 'x'), new Map([['w', tensor([1])]]))).rejects.toThrow(EnvironmentError);
    expect((await readFile(path)).equals(bytes)).toBe(true);
    await expect(loadSafetensors(path, { maxBytes: bytes.length - 1 })).rejects.toThrow(FormatError);
    await expect(loadSafetensors(join(folder, 'none'))).rejects.toThrow(EnvironmentError);
    await writeFile(path, bytes.subarray(0, bytes.length - 4));
    await expect(loadSafetensors(path)).rejects.toThrow(FormatError);
    expect(() => tensorsFromSafetensors(new Uint8Array(3))).toThrow(FormatError);
  });
});
