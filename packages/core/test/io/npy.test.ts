import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ArgumentError, FormatError } from '../../src/errors.js';
import { decodeNpy, encodeNpy, encodeNpz, type NpyArray, type NpyDType, type NpyInput, openZip, readNpz } from '../../src/io/index.js';
import reference from '../reference/numpy-files.json' with { type: 'json' };

interface Described {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: readonly unknown[];
}
interface Case {
  readonly name: string;
  readonly base64: string;
  readonly arrays?: Readonly<Record<string, Described>>;
}
const cases = reference.cases as unknown as readonly Case[];
const bytesOf = ({ base64 }: Case): Uint8Array => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const named = (name: string): Case => cases.find((entry) => entry.name === name)!;

/** As the reference file writes them: 64-bit integers and what JSON lacks as text. */
function described({ dtype, shape, data }: NpyArray): Described {
  const values = Array.from(data as Iterable<number | bigint>, (v) => {
    if (typeof v === 'bigint') return String(v);
    if (dtype === 'bool') return v === 1;
    return Number.isFinite(v) ? v : String(v);
  });
  return { dtype, shape, data: values };
}

describe('arrays written by numpy', () => {
  it.each(cases.filter(({ name, arrays }) => name.endsWith('.npy') && arrays).map((entry) => [entry.name, entry] as const))(
    '%s',
    (_, entry) => {
      expect(described(decodeNpy(bytesOf(entry)))).toEqual(entry.arrays?.['']);
    },
  );

  it.each(['stored.npz', 'deflated.npz'])('%s', async (name) => {
    const entry = named(name);
    const arrays = await readNpz(bytesOf(entry));
    expect(Object.fromEntries([...arrays].map(([key, array]) => [key, described(array)]))).toEqual(entry.arrays);
    expect([...(await readNpz(bytesOf(entry), { names: ['int64'] })).keys()]).toEqual(['int64']);
    await expect(readNpz(bytesOf(entry), { names: ['other'] })).rejects.toThrow(/no array "other"/);
    await expect(readNpz(bytesOf(entry), { maxBytes: 100 })).rejects.toThrow(FormatError);
  });

  it('refuses pickled Python objects', () => {
    expect(() => decodeNpy(bytesOf(named('object.npy')))).toThrow(/Python objects/);
  });

  it('comes byte for byte from encodeNpy where numpy writes little-endian and row-major', () => {
    for (const entry of cases) {
      if (!entry.name.endsWith('.npy') || !entry.arrays || /fortran|bigendian/.test(entry.name)) continue;
      const array = decodeNpy(bytesOf(entry));
      // numpy before 2 pads headers differently; NaN has many patterns.
      if (entry.name !== 'float16.npy') expect([entry.name, ...encodeNpy(array)]).toEqual([entry.name, ...bytesOf(entry)]);
    }
  });
});

const sized = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 });
const arrays: fc.Arbitrary<NpyInput> = sized.chain((shape) => {
  const n = shape.reduce((a, b) => a * b, 1);
  const of = <T>(element: fc.Arbitrary<T>) => fc.array(element, { minLength: n, maxLength: n });
  return fc.oneof(
    of(fc.float()).map((v) => ({ shape, data: Float32Array.from(v) })),
    of(fc.double()).map((v) => ({ shape, data: Float64Array.from(v) })),
    of(fc.integer()).map((v) => ({ shape, data: Int32Array.from(v) })),
    of(fc.integer()).map((v) => ({ shape, data: Uint16Array.from(v) })),
    of(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })).map((v) => ({ shape, data: BigInt64Array.from(v) })),
    of(fc.boolean()).map((v) => ({ shape, data: Uint8Array.from(v, Number), dtype: 'bool' as NpyDType })),
    of(fc.integer({ min: -2048, max: 2048 })).map((v) => ({ shape, data: Float32Array.from(v), dtype: 'float16' as NpyDType })),
  );
});

describe('encodeNpy and encodeNpz', () => {
  it('bring back what they were given', async () => {
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.string({ minLength: 1 }), arrays, { maxKeys: 4 }), fc.boolean(), async (given, compress) => {
        // "a.npy" as a name would be ambiguous with the entry of "a".
        const entries = Object.entries(given).filter(([name]) => !name.endsWith('.npy'));
        const back = await readNpz(await encodeNpz(entries, { compress }));
        expect([...back.keys()]).toEqual(entries.map(([name]) => name));
        for (const [name, { data, shape, dtype }] of entries) {
          expect(back.get(name)?.data).toEqual(data);
          expect(back.get(name)?.shape).toEqual(shape);
          if (dtype) expect(back.get(name)?.dtype).toBe(dtype);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('put each array of a .npz file at a multiple of 64 bytes', async () => {
    const bytes = await encodeNpz([
      ['a', { data: Float32Array.from([1]), shape: [1] }],
      ['bc', { data: Float32Array.from([2]), shape: [] }],
    ]);
    const magic = [0x93, 0x4e, 0x55, 0x4d];
    const starts: number[] = [];
    for (let i = 0; i < bytes.length; i++) if (magic.every((byte, k) => bytes[i + k] === byte)) starts.push(i);
    expect(starts.length).toBe(2);
    expect(starts.map((start) => start % 64)).toEqual([0, 0]);
  });

  it('refuse arrays that do not fit their shape or dtype', () => {
    const data = new Float32Array(3);
    expect(() => encodeNpy({ data, shape: [2] })).toThrow(ArgumentError);
    expect(() => encodeNpy({ data, shape: [-3] })).toThrow(ArgumentError);
    expect(() => encodeNpy({ data, shape: [3], dtype: 'int8' })).toThrow(ArgumentError);
  });
});

describe('damaged files', () => {
  const sources = ['stored.npz', 'deflated.npz', 'float32.npy', 'fortran.npy'].map((name) => bytesOf(named(name)));
  const edits = fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), fc.nat(255)), { maxLength: 4 });

  it('give a result or a FormatError, whatever was changed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(3), edits, fc.boolean(), fc.double({ min: 0, max: 1, noNaN: true }), async (which, changes, short, cut) => {
        const source = sources[which];
        const bytes = source.slice(0, short ? Math.floor(cut * source.length) : source.length);
        for (const [at, byte] of changes) bytes[Math.floor(at * bytes.length)] = byte;
        try {
          if (which < 2) await readNpz(bytes, { maxBytes: 1 << 20 });
          else decodeNpy(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
        }
      }),
      { numRuns: 600 },
    );
  });

  it.each([
    ["{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'shape': (1,), }", 'a key twice'],
    ["{'descr': '<f4', 'fortran_order': False, }", 'no shape'],
    ["{'descr': '<f4', 'fortran_order': 0, 'shape': (1,), }", 'an order that is no bool'],
    ["{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", 'a negative size'],
    ["{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 'a size beyond 2^53'],
    ["{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1,), }", 'a structured type'],
    ["{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", 'complex numbers'],
    ["__import__('os')", 'code'],
  ])('refuses a header %s (%s)', (header) => {
    const text = new TextEncoder().encode(header);
    const bytes = new Uint8Array(10 + text.length + 4);
    bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, text.length, 0]);
    bytes.set(text, 10);
    expect(() => decodeNpy(bytes)).toThrow(FormatError);
  });

  it('does not lose the archive to an entry that is no array', async () => {
    const archive = await openZip(bytesOf(named('stored.npz')));
    expect(archive.entries.get('int64.npy')?.size).toBe(152);
    await archive.close();
  });
});
