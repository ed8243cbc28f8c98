import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DataLoader, openParquet } from '../../../src/data/index.js';
import { checkPages } from '../../../src/data/readers/parquet-pages.js';
import { ArgumentError, FormatError } from '../../../src/errors.js';
import { openRandomAccess, type RandomAccess } from '../../../src/io/index.js';
import reference from '../../reference/parquet-files.json' with { type: 'json' };

const files = new Map(reference.cases.map(({ name, base64 }) => [name, new Uint8Array(Buffer.from(base64, 'base64'))]));
const file = (name: string): Uint8Array => files.get(name)!;
const rows = reference.cases.flatMap((entry) => ('rows' in entry ? (entry.rows ?? []) : [])).map((row) => ({ ...row, id: BigInt(row.id) }));

describe('Parquet files written by pyarrow', () => {
  it.each([...files.keys()])('%s', async (name) => {
    const parquet = await openParquet(file(name));
    expect([parquet.length, [...parquet.groupStarts]]).toEqual([60, [0, 20, 40, 60]]);
    expect(await parquet.rows()).toEqual(rows);
    expect(await parquet.rows(18, 43)).toEqual(rows.slice(18, 43));
    expect(await parquet.rows(7, 7)).toEqual([]);
    expect(await parquet.get(41)).toEqual(rows[41]);
    await parquet.close();
  });

  it('give columns as typed arrays', async () => {
    const parquet = await openParquet(file('snappy.parquet'));
    expect(await parquet.column('x')).toEqual(Float32Array.from(rows, (row) => row.x));
    expect(await parquet.column('count', 10, 30)).toEqual(Int32Array.from(rows.slice(10, 30), (row) => row.count));
    expect(await parquet.column('id')).toEqual(BigInt64Array.from(rows, (row) => row.id));
    expect(await parquet.column('flag')).toEqual(Uint8Array.from(rows, (row) => Number(row.flag)));
    expect(await parquet.column('maybe')).toEqual(rows.map((row) => row.maybe));
    expect(await parquet.column('label', 0, 2)).toEqual(['red', 'green']);
    await expect(parquet.column('none')).rejects.toThrow(ArgumentError);
    await expect(parquet.rows(0, 61)).rejects.toThrow(ArgumentError);
    await expect(openParquet(file('snappy.parquet'), { columns: ['none'] })).rejects.toThrow(ArgumentError);
  });

  it('are datasets, by index and as a stream', async () => {
    const parquet = await openParquet(file('snappy.parquet'), { columns: ['x', 'label'] });
    const want = rows.map(({ x, label }) => ({ x, label }));
    const byIndex: unknown[] = [];
    for await (const batch of new DataLoader(parquet, { batchSize: 7, shuffle: true })) byIndex.push(...batch);
    expect(byIndex.length).toBe(60);
    expect(byIndex).toEqual(expect.arrayContaining(want));
    const streamed: unknown[] = [];
    for await (const row of parquet.stream().skip(19).take(3)) streamed.push(row);
    expect(streamed).toEqual(want.slice(19, 22));
  });

  it('are read in the parts that are wanted', async () => {
    const bytes = file('none.parquet');
    const memory = await openRandomAccess(bytes);
    let ranges: [number, number][] = [];
    const watched: RandomAccess = {
      ...memory,
      read: (begin, end) => {
        ranges.push([begin, end]);
        return memory.read(begin, end);
      },
    };
    const parquet = await openParquet(watched);
    const read = async (work: Promise<unknown>): Promise<number> => {
      await work;
      const total = ranges.reduce((sum, [begin, end]) => sum + end - begin, 0);
      ranges = [];
      return total;
    };
    ranges = [];
    const all = await read(parquet.rows());
    expect(await read(parquet.rows(20, 21))).toBeLessThan(all / 2);
    expect(await read(parquet.column('flag', 20, 21))).toBeLessThan(all / 20);
  });
});

describe('damaged Parquet files', () => {
  it('give typed errors only', async () => {
    const edits = fc.array(fc.tuple(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), fc.nat(255)), {
      minLength: 1,
      maxLength: 4,
    });
    const names = [...files.keys()];
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...names), edits, fc.boolean(), async (name, changes, short) => {
        const bytes = file(name).slice(0, short ? Math.floor(changes[0][0] * file(name).length) : undefined);
        for (const [at, byte] of changes) bytes[Math.floor(at * bytes.length)] = byte;
        try {
          const parquet = await openParquet(bytes, { maxRowGroupBytes: 1 << 20, maxRowGroupValues: 10_000 });
          await parquet.rows();
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
        }
      }),
      { numRuns: 400 },
    );
  });

  it('are refused over the limits', async () => {
    await expect(openParquet(file('snappy.parquet'), { maxRowGroupBytes: 100 })).rejects.toThrow(/raise the limit/);
    await expect(openParquet(file('snappy.parquet'), { maxRowGroupValues: 19 })).rejects.toThrow(FormatError);
    await expect(openParquet(new Uint8Array(0))).rejects.toThrow(FormatError);
  });

  it('whose pages say more than the column has are refused before they are decoded', () => {
    // A data page header: type 0, 100 bytes unpacked, 4 packed, a struct that starts with the number of values.
    const zigzag = (value: number): number[] => {
      const bytes: number[] = [];
      let rest = value * 2;
      for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
      return [...bytes, rest];
    };
    const page = (values: number, unpacked = 100) =>
      Uint8Array.from([0x15, 0, 0x15, ...zigzag(unpacked), 0x15, ...zigzag(4), 0x2c, 0x15, ...zigzag(values), 0, 0, 1, 2, 3, 4]);
    expect(() => checkPages(page(50), { maxBytes: 1000, values: 50 })).not.toThrow();
    expect(() => checkPages(page(2 ** 30), { maxBytes: 1000, values: 50 })).toThrow(/more than the column's 50 values/);
    expect(() => checkPages(page(50, 1001), { maxBytes: 1000, values: 50 })).toThrow(/more than 1000 bytes/);
    expect(() => checkPages(page(50).slice(0, 9), { maxBytes: 1000, values: 50 })).toThrow(FormatError);
  });
});
