import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ArgumentError, EnvironmentError, FormatError } from '../../src/errors.js';
import { nn, tensor } from '../../src/index.js';
import {
  decodeNpy,
  decodeNpyStrings,
  encodeNpy,
  encodeNpz,
  encodeSafetensors,
  isPickleObject,
  loadWeights,
  openPyTorch,
  openSafetensors,
  openWeights,
  openZip,
  type RandomAccess,
  saveSafetensorsSharded,
} from '../../src/io/index.js';
import reference from '../reference/weight-files.json' with { type: 'json' };

interface Described {
  readonly dtype?: string;
  readonly shape: readonly number[];
  readonly data: readonly unknown[];
}
interface Case {
  readonly name: string;
  readonly base64: string;
  readonly tensors?: Readonly<Record<string, Described>>;
  readonly shape?: readonly number[];
  readonly numbers?: readonly number[];
  readonly text?: readonly string[];
}
const cases = reference.cases as unknown as readonly Case[];
const named = (name: string): Case => cases.find((entry) => entry.name === name)!;
const bytesOf = (name: string): Uint8Array => Uint8Array.from(atob(named(name).base64), (c) => c.charCodeAt(0));

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trireme-weights-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const plain = (values: ArrayLike<number | bigint>): unknown[] =>
  Array.from(values, (v) => (typeof v === 'bigint' ? String(v) : Number.isFinite(v) ? v : String(v)));

async function loaded(bytes: Uint8Array): Promise<Record<string, { shape: readonly number[]; data: unknown[] }>> {
  const tensors = await loadWeights(bytes);
  return Object.fromEntries([...tensors].map(([name, t]) => [name, { shape: t.shape, data: plain(t.dataSync()) }]));
}
const wanted = ({ tensors = {} }: Case): Record<string, { shape: readonly number[]; data: readonly unknown[] }> =>
  Object.fromEntries(Object.entries(tensors).map(([name, { shape, data }]) => [name, { shape, data }]));

describe('files of PyTorch', () => {
  it.each(['state.pt', 'legacy.pt', 'protocol4.pt', 'types.pt', 'checkpoint.pt', 'checkpoint-legacy.pt', 'tensor.pt'])(
    '%s gives the tensors that were saved: views, shared storages, every dtype',
    async (name) => {
      expect(await loaded(bytesOf(name))).toEqual(wanted(named(name)));
    },
  );

  it('keep float16 and bfloat16, and widen what tensors lack', async () => {
    const dtypes = async (name: string): Promise<Record<string, string>> =>
      Object.fromEntries([...(await loadWeights(bytesOf(name)))].map(([key, t]) => [key, t.dtype]));
    expect(await dtypes('state.pt')).toMatchObject({ float16: 'float16', bfloat16: 'bfloat16', bool: 'bool', int64: 'int64' });
    expect(await dtypes('types.pt')).toEqual({ uint16: 'int32', uint32: 'int64', e4m3: 'float32', e5m2: 'float32' });
  });

  it.each(['checkpoint.pt', 'checkpoint-legacy.pt'])('%s: the rest of a checkpoint is data', async (name) => {
    const file = await openPyTorch(bytesOf(name));
    const value = file.value as Map<string, unknown>;
    expect(value.get('epoch')).toBe(3);
    expect(value.get('best')).toBe(0.75);
    expect(value.get('big')).toBe(2n ** 70n);
    expect(value.get('bytes')).toEqual(Uint8Array.of(0, 255));
    expect(value.get('betas')).toEqual([0.9, 0.999]);
    expect(value.get('tags')).toEqual(new Set(['a']));
    expect(value.get('size')).toEqual([2, 3]);
    expect(value.get('none')).toBeNull();
    expect(value.get('dtype')).toMatchObject({ kind: 'dtype', name: 'float16' });
    expect(isPickleObject((value.get('state_dict') as Map<string, never>).get('0.weight'), 'tensor')).toBe(true);
    const moments = await openPyTorch(bytesOf(name), { part: 'optimizer' });
    expect([...moments.entries.keys()]).toContain('state.0.exp_avg');
    await expect(openPyTorch(bytesOf(name), { part: 'other' })).rejects.toThrow(/no part "other".*epoch/s);
  });

  it('load into a module', async () => {
    const model = new nn.Sequential(new nn.Linear(3, 2), new nn.BatchNorm1d(2));
    model.loadStateDict(await loadWeights(bytesOf('checkpoint.pt')));
    const { data } = named('checkpoint.pt').tensors!['0.bias'];
    expect(Array.from(model.getParameter('0.bias').dataSync())).toEqual(data);
  });

  it('never run code: other objects are errors that name them', async () => {
    await expect(openPyTorch(bytesOf('code.pt'))).rejects.toThrow(/"(__builtin__|builtins)\.print"/);
    await expect(openPyTorch(bytesOf('module.pt'))).rejects.toThrow(/"torch\.nn\.modules\.linear\.Linear".*state_dict/s);
  });

  it('with complex numbers open, and say what they are when read', async () => {
    const file = await openPyTorch(bytesOf('complex.pt'));
    expect(file.entries.get('z')?.storedAs).toBe('complex64');
    await expect(file.entries.get('z')?.read()).rejects.toThrow(/is of complex64/);
    expect((await file.entries.get('z')?.readStored())?.length).toBe(8);
  });

  it('of a big-endian machine are refused', async () => {
    const bytes = bytesOf('state.pt');
    const text = Buffer.from(bytes).toString('latin1');
    const at = text.indexOf('little', text.indexOf('byteorder'));
    bytes.set(new TextEncoder().encode('bigbig'), at);
    await expect(openPyTorch(bytes)).rejects.toThrow(FormatError);
  });
});

describe('files of GGUF', () => {
  it('give metadata, plain tensors and dequantized blocks as the reference implementation has them', async () => {
    const bytes = bytesOf('model.gguf');
    const file = await openWeights(bytes);
    expect(file.format).toBe('gguf');
    expect(file.metadata.get('general.architecture')).toBe('llama');
    expect(file.metadata.get('llama.block_count')).toBe(2);
    expect(file.metadata.get('llama.rope.freq_base')).toBe(10000);
    expect(file.metadata.get('flag')).toBe(true);
    expect(file.metadata.get('big')).toBe(2n ** 60n);
    expect(file.metadata.get('tokenizer.ggml.tokens')).toEqual(['a', 'b', 'ä']);
    expect(file.metadata.get('tokenizer.ggml.scores')).toEqual([0.5, -1, 2]);
    const tensors = await loadWeights(bytes);
    const expected = wanted(named('model.gguf'));
    expect([...tensors.keys()]).toEqual(Object.keys(expected));
    for (const [name, { shape, data }] of Object.entries(expected)) {
      const t = tensors.get(name)!;
      expect([name, ...t.shape]).toEqual([name, ...shape]);
      const largest = Math.max(...data.map((v) => Math.abs(Number(v))));
      for (const [i, v] of Array.from(t.dataSync(), Number).entries()) {
        if (!(Math.abs(v - Number(data[i])) <= 2e-6 * largest)) expect(`${name}[${i}] ${v}`).toBe(`${name}[${i}] ${data[i]}`);
      }
    }
    expect(file.entries.get('Q4_K')?.storedAs).toBe('Q4_K');
    expect((await file.entries.get('Q4_K')?.readStored())?.length).toBe(2 * 144);
  });

  it('of version 1 or cut short are refused', async () => {
    const bytes = bytesOf('model.gguf');
    await expect(openWeights(bytes.subarray(0, bytes.length - 40))).rejects.toThrow(/passes the end/);
    bytes[4] = 1;
    await expect(openWeights(bytes)).rejects.toThrow(/version is 1/);
  });
});

describe('arrays of numpy', () => {
  it('of complex numbers are pairs, and come byte for byte from encodeNpy', () => {
    for (const name of ['complex64.npy', 'complex128.npy']) {
      const array = decodeNpy(bytesOf(name));
      expect(array.shape).toEqual(named(name).shape);
      expect(Array.from(array.data as Float64Array)).toEqual(named(name).numbers);
      expect(decodeNpy(encodeNpy(array))).toEqual(array);
    }
    const complex64 = bytesOf('complex64.npy');
    expect(encodeNpy(decodeNpy(complex64))).toEqual(complex64);
  });

  it('of text are read by decodeNpyStrings', () => {
    for (const name of ['text.npy', 'bytes.npy']) {
      const { shape, text } = named(name);
      expect(decodeNpyStrings(bytesOf(name))).toEqual({ shape, data: text });
      expect(() => decodeNpy(bytesOf(name))).toThrow(/decodeNpyStrings/);
    }
  });

  it('are weights too: float16 stays what it is', async () => {
    const data = Float32Array.of(1, 2.5, -3);
    const archive = await encodeNpz([['w', { data, shape: [3], dtype: 'float16' }]], { compress: true });
    const weights = (await loadWeights(archive)).get('w')!;
    expect([weights.dtype, ...weights.dataSync()]).toEqual(['float16', 1, 2.5, -3]);
    const single = await loadWeights(encodeNpy({ data, shape: [1, 3] }));
    expect(single.get('array')?.toArray()).toEqual([[1, 2.5, -3]]);
    await expect(loadWeights(encodeNpy({ data: new Float32Array(2), shape: [1], dtype: 'complex64' }))).rejects.toThrow(/complex64/);
  });
});

describe('safetensors', () => {
  it('with types that tensors lack are widened', async () => {
    expect(await loaded(bytesOf('f8.safetensors'))).toEqual(wanted(named('f8.safetensors')));
  });

  it('are read in parts: the header and what is asked for', async () => {
    const data = (n: number): Uint8Array => new Uint8Array(4 * n);
    const bytes = encodeSafetensors([
      ['a', { dtype: 'float32', shape: [1000], data: data(1000) }],
      ['b', { dtype: 'float32', shape: [5000], data: data(5000) }],
    ]);
    let read = 0;
    const source: RandomAccess = {
      name: 'counted',
      byteLength: bytes.length,
      read: async (begin, end) => {
        read += end - begin;
        return bytes.subarray(begin, end);
      },
      close: async () => undefined,
    };
    const file = await openSafetensors(source);
    expect(read).toBeLessThan(500);
    await file.entries.get('a')?.read();
    expect(read).toBeLessThan(4500);
  });

  it('spread over shards come back through the index, from file or folder', async () => {
    const tensors = new Map([
      ['a', tensor([1, 2, 3])],
      ['b', tensor([4, 5, 6, 7])],
      ['__proto__', tensor([8])],
    ]);
    const paths = await saveSafetensorsSharded(folder, tensors, { maxShardBytes: 16, metadata: new Map([['format', 'pt']]) });
    expect((await readdir(folder)).sort()).toEqual([
      'model-00001-of-00003.safetensors',
      'model-00002-of-00003.safetensors',
      'model-00003-of-00003.safetensors',
      'model.safetensors.index.json',
    ]);
    const index = JSON.parse(await readFile(paths.at(-1)!, 'utf8'));
    expect(index.metadata).toEqual({ total_size: 32 });
    expect(index.weight_map.b).toBe('model-00002-of-00003.safetensors');
    for (const place of [paths.at(-1)!, folder]) {
      const back = await loadWeights(place);
      expect([...back].map(([name, t]) => [name, t.toArray()]).sort()).toEqual([
        ['__proto__', [8]],
        ['a', [1, 2, 3]],
        ['b', [4, 5, 6, 7]],
      ]);
    }
    const some = await loadWeights(folder, { names: ['a'] });
    expect([...some.keys()]).toEqual(['a']);
    await expect(loadWeights(folder, { names: ['c'] })).rejects.toThrow(/no tensor "c"/);
    await expect(loadWeights(folder, { maxBytes: 20 })).rejects.toThrow(/more than 20 bytes/);
    const one = join(folder, 'one');
    await saveSafetensorsSharded(one, tensors);
    expect(await readdir(one)).toEqual(['model.safetensors']);
    await expect(saveSafetensorsSharded(one, tensors, { maxShardBytes: 0 })).rejects.toThrow(ArgumentError);
  });

  it('an index cannot lead out of its folder or miss a tensor', async () => {
    const write = async (map: Record<string, unknown>): Promise<string> => {
      const path = join(folder, 'model.safetensors.index.json');
      await writeFile(path, JSON.stringify({ weight_map: map }));
      return path;
    };
    await writeFile(join(folder, 'x.safetensors'), encodeSafetensors([['a', { dtype: 'uint8', shape: [1], data: new Uint8Array(1) }]]));
    for (const file of ['../x.safetensors', '/etc/passwd', 'a/b', '.hidden', 7, '']) {
      await expect(openWeights(await write({ a: file }))).rejects.toThrow(/plain file name/);
    }
    await expect(openWeights(await write({ b: 'x.safetensors' }))).rejects.toThrow(/no tensor "b"/);
    await expect(openWeights(await write({ a: 'gone.safetensors' }))).rejects.toThrow(EnvironmentError);
    expect((await openWeights(await write({ a: 'x.safetensors' }))).entries.size).toBe(1);
  });
});

describe('zip archives', () => {
  it('in the zip64 format are read, whole and in parts', async () => {
    const archive = await openZip(bytesOf('zip64.zip'));
    const texts: string[] = [];
    for (const entry of archive.entries.values()) texts.push(new TextDecoder().decode(await entry.read()));
    expect(texts).toEqual(named('zip64.zip').text);
    const inside = await archive.entries.get('first.txt')!.open();
    expect(new TextDecoder().decode(await inside.read(2, 6))).toBe('text');
    await expect(inside.read(20, 40)).rejects.toThrow(FormatError);
    await archive.close();
  });
});

describe('openWeights', () => {
  it('goes by the content, whatever the name', async () => {
    const formats: Record<string, string> = {
      'state.pt': 'pytorch',
      'legacy.pt': 'pytorch',
      'model.gguf': 'gguf',
      'f8.safetensors': 'safetensors',
      'complex64.npy': 'npy',
    };
    for (const name of Object.keys(formats)) {
      const path = join(folder, 'weights.bin');
      await writeFile(path, bytesOf(name));
      const file = await openWeights(path);
      expect([name, file.format]).toEqual([name, formats[name]]);
      expect(file.entries.size).toBeGreaterThan(0);
      await file.close();
    }
    await writeFile(join(folder, 'text'), 'version https://git-lfs.github.com/spec/v1');
    await expect(openWeights(join(folder, 'text'))).rejects.toThrow(/Git LFS/);
    await mkdir(join(folder, 'empty'));
    await expect(openWeights(join(folder, 'empty'))).rejects.toThrow(/no file of weights/);
  });
});
