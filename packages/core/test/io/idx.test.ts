import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../src/errors.js';
import { gunzip } from '../../src/io/gzip.js';
import { decodeIdx, readIdx } from '../../src/io/idx.js';

function idx(type: number, shape: number[], data: number[] | Uint8Array): Uint8Array {
  const header = new DataView(new ArrayBuffer(4 + 4 * shape.length));
  header.setUint8(2, type);
  header.setUint8(3, shape.length);
  shape.forEach((size, axis) => header.setUint32(4 + 4 * axis, size));
  return new Uint8Array([...new Uint8Array(header.buffer), ...data]);
}

const doubles = new DataView(new ArrayBuffer(8));
doubles.setFloat64(0, Math.PI);

describe('decodeIdx', () => {
  it.each([
    ['uint8', 0x08, [2], [1, 255], [1, 255]],
    ['int8', 0x09, [2], [1, 255], [1, -1]],
    ['int16', 0x0b, [2], [0, 1, 0xff, 0xfe], [1, -2]],
    ['int32', 0x0c, [1], [0, 0, 1, 2], [258]],
    ['float32', 0x0d, [1], [0x3f, 0x80, 0, 0], [1]],
    ['float64', 0x0e, [1], [...new Uint8Array(doubles.buffer)], [Math.PI]],
    ['uint8', 0x08, [], [5], [5]],
    ['uint8', 0x08, [2, 0, 3], [], []],
  ] as [string, number, number[], number[], number[]][])('reads %s (type %i)', (dtype, type, shape, bytes, values) => {
    const array = decodeIdx(idx(type, shape, bytes));
    expect(array.dtype).toBe(dtype);
    expect(array.shape).toEqual(shape);
    expect([...array.data]).toEqual(values);
  });

  it.each([
    ['an empty file', new Uint8Array(0)],
    ['a wrong magic', new Uint8Array([1, 0, 8, 0, 5])],
    ['an unknown type', idx(0x0a, [1], [1])],
    ['a cut header', idx(0x08, [1], []).subarray(0, 6)],
    ['missing data', idx(0x08, [3], [1, 2])],
    ['extra data', idx(0x08, [1], [1, 2])],
    ['a size beyond 2^53', idx(0x0e, [0xffffffff, 0xffffffff, 0xffffffff], [])],
    ['nine dimensions', idx(0x08, Array(9).fill(1), [1])],
  ])('refuses %s', (_, bytes) => {
    expect(() => decodeIdx(bytes)).toThrow(FormatError);
  });
});

describe('readIdx', () => {
  const good = idx(
    0x08,
    [4, 250],
    new Uint8Array(1000).map((_, i) => i % 7),
  );

  it('reads gzipped files', async () => {
    expect((await readIdx(gzipSync(good))).shape).toEqual([4, 250]);
    expect((await readIdx(good)).data).toEqual((await readIdx(gzipSync(good))).data);
  });

  it('bounds what it decompresses', async () => {
    const bomb = gzipSync(new Uint8Array(20_000_000));
    await expect(gunzip(bomb, 1_000_000)).rejects.toThrow(/passes 1000000 bytes/);
    await expect(readIdx(good, 100)).rejects.toThrow(FormatError);
    await expect(readIdx(gzipSync(good), good.length - 1)).rejects.toThrow(FormatError);
    expect((await readIdx(gzipSync(good), good.length)).data.length).toBe(1000);
  });

  it('refuses a cut gzip file', async () => {
    await expect(readIdx(gzipSync(good).subarray(0, 30))).rejects.toThrow(FormatError);
    await expect(readIdx(new Uint8Array([0x1f, 0x8b]))).rejects.toThrow(FormatError);
  });

  it('answers any mutation with a result or a FormatError', async () => {
    const zipped = new Uint8Array(gzipSync(good));
    const edits = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(edits, fc.boolean(), fc.nat(), fc.boolean(), async (changes, zip, cut, short) => {
        const source = zip ? zipped : good;
        const bytes = source.slice(0, short ? cut % source.length : source.length);
        // Most edits go to the header, where they matter.
        for (const [at, byte] of changes) bytes[at % (at % 2 ? 16 : source.length)] = byte;
        try {
          const { shape, data } = await readIdx(bytes, 1 << 20);
          expect(data.length).toBe(shape.reduce((a, b) => a * b, 1));
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
        }
      }),
      { numRuns: 800 },
    );
  });
});
