import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type CsvValue,
  DataLoader,
  encodeCsv,
  encodeJsonl,
  encodeTokens,
  iterable,
  openJsonl,
  openLines,
  openTokens,
  readCsv,
  readCsvRows,
  readJsonl,
  readLines,
} from '../../../src/data/index.js';
import { ArgumentError, FormatError } from '../../../src/errors.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
async function list<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of source) items.push(item);
  return items;
}
/** The first error of a reading that must fail. */
async function failure(run: Promise<unknown>): Promise<FormatError> {
  try {
    await run;
  } catch (error) {
    if (error instanceof FormatError) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

describe('lines', () => {
  it('end with LF or CR LF, the last one with nothing', async () => {
    for (const [text, lines] of [
      ['a\nb\r\nc', ['a', 'b', 'c']],
      ['a\n\nb\n', ['a', '', 'b']],
      ['', []],
      ['\n', ['']],
      ['\uFEFFä', ['ä']],
    ] as const) {
      expect(await list(readLines(bytes(text)))).toEqual(lines);
      const dataset = await openLines(bytes(text));
      expect(await Promise.all(Array.from({ length: dataset.length }, (_, i) => dataset.get(i)))).toEqual(lines);
    }
  });

  it('are the same by stream and by index, also across the pieces of a large file', async () => {
    const text = Array.from({ length: 9000 }, (_, i) => 'x'.repeat((i * 37) % 211)).join('\n');
    expect(text.length).toBeGreaterThan(2 * 2 ** 18);
    const want = text.split('\n');
    expect(await list(readLines(bytes(text)))).toEqual(want);
    const dataset = await openLines(new Blob([text]));
    expect(dataset.length).toBe(want.length);
    for (const i of [0, 1, 4000, 8999]) expect(await dataset.get(i)).toBe(want[i]);
    await expect(dataset.get(9000)).rejects.toThrow(ArgumentError);
  });

  it('are refused when too long or not UTF-8', async () => {
    expect((await failure(list(readLines(bytes('ab\ncdef\n'), { maxLineBytes: 3 })))).details.received).toBe(2);
    expect((await failure(openLines(bytes('ab\ncdefgh\n'), { maxLineBytes: 3 }))).details.received).toBe(2);
    expect((await failure(list(readLines(Uint8Array.of(97, 10, 0xff))))).details.received).toBe(2);
  });
});

describe('JSONL', () => {
  it('brings back what was written', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.jsonValue({ noUnicodeString: false })), async (values) => {
        const plain = JSON.parse(JSON.stringify(values)) as unknown[];
        const text = bytes(encodeJsonl(plain));
        expect(await list(readJsonl(text))).toEqual(plain);
        const dataset = await openJsonl(text);
        expect(await Promise.all(plain.map((_, i) => dataset.get(i)))).toEqual(plain);
      }),
      { numRuns: 40 },
    );
  });

  it('names the line that is not JSON', async () => {
    expect((await failure(list(readJsonl(bytes('{"a":1}\n\n{"a":}\n'))))).details.received).toBe(3);
    const dataset = await openJsonl(bytes('1\n[\n'));
    await expect(dataset.get(1)).rejects.toThrow(/line 2/);
    expect(() => encodeJsonl([1, undefined])).toThrow(/value 1/);
    expect(() => encodeJsonl([1n])).toThrow(ArgumentError);
  });
});

describe('CSV', () => {
  it('infers types and missing values', async () => {
    const text = 'id,price,ok,name,mixed\r\n1,0.5,true,"Müller, Ann",1\r\n-2,,FALSE,"says ""hi""\nto all",x\r\n3,1e3,,NA,\r\n';
    const table = await readCsv(bytes(text));
    expect(Object.fromEntries(table.columns)).toEqual({
      id: { type: 'integer', data: Int32Array.of(1, -2, 3) },
      price: { type: 'number', data: Float64Array.of(0.5, Number.NaN, 1000) },
      ok: { type: 'boolean', data: [true, false, null] },
      name: { type: 'string', data: ['Müller, Ann', 'says "hi"\nto all', null] },
      mixed: { type: 'string', data: ['1', 'x', null] },
    });
    expect({ ...table.get(1) }).toEqual({ id: -2, price: Number.NaN, ok: false, name: 'says "hi"\nto all', mixed: 'x' });
    expect([...table.matrix(['price', 'id'])]).toEqual([0.5, 1, Number.NaN, -2, 1000, 3]);
    expect(() => table.matrix(['name'])).toThrow(/holds strings/);
    expect(() => table.column('none')).toThrow(ArgumentError);
    expect(() => table.get(3)).toThrow(ArgumentError);
  });

  it('reads TSV, without a header, some columns, given types', async () => {
    const text = '1\ta\n2\tb\n';
    const plain = await readCsv(bytes(text), { delimiter: '\t', header: false });
    expect([...plain.columns.keys()]).toEqual(['0', '1']);
    const named = await readCsv(bytes(text), { delimiter: '\t', header: ['n', 's'], types: { n: 'string' }, columns: ['n'] });
    expect(Object.fromEntries(named.columns)).toEqual({ n: { type: 'string', data: ['1', '2'] } });
    await expect(readCsv(bytes(text), { delimiter: '\t', columns: ['x'] })).rejects.toThrow(ArgumentError);
    await expect(readCsv(bytes(text), { delimiter: 'ab' })).rejects.toThrow(ArgumentError);
  });

  it('keeps a quoted text that looks missing, and a column named __proto__', async () => {
    const table = await readCsv(bytes('__proto__,b\n"NA",\n'));
    expect(table.column('__proto__').data).toEqual(['NA']);
    expect(Object.keys(table.get(0))).toEqual(['__proto__', 'b']);
  });

  it('names the line that is malformed', async () => {
    const cases: [string, number, RegExp][] = [
      ['a,b\n1,2\n3\n', 3, /has 1 fields/],
      ['a,b\n"x\ny",2\n"open,3\n', 4, /not closed/],
      ['a,b\n"x"y,2\n', 2, /after a closing quote/],
      ['a,b\r\n"x\r\ny",2\r\n1\r\n', 4, /has 1 fields/],
      ['a,a\n1,2\n', 1, /occurs twice/],
    ];
    for (const [text, line, what] of cases) {
      const error = await failure(readCsv(bytes(text)));
      expect(error.details.received).toBe(line);
      expect(error.message).toMatch(what);
    }
    const bad = await failure(readCsv(bytes('a\r\n1\r\nx\r\n'), { types: { a: 'number' } }));
    expect(bad.message).toMatch(/line 3: a is "x" Expected a number/);
    expect((await failure(readCsv(bytes('a,b\n1,2\n,3\n'), { types: { a: 'integer' } }))).message).toMatch(/line 3: a is missing/);
    await failure(readCsv(bytes('')));
    await failure(readCsv(bytes('a\n1\n'), { maxBytes: 3 }));
    await failure(readCsv(bytes(`a,b\n"${'x'.repeat(100)}`), { maxRecordLength: 50 }));
    await failure(readCsv(Uint8Array.of(0xff, 10)));
  });

  const cell = fc.oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom('', 'NA', 'a,b', '"', 'x\ny', 'x\r\ny', ' pad ', 'null', null));

  it('brings back the texts that were written, whatever is in them', async () => {
    const table = fc.integer({ min: 1, max: 4 }).chain((width) =>
      fc.record({
        names: fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: width, maxLength: width }),
        rows: fc.array(fc.array(cell, { minLength: width, maxLength: width }), { maxLength: 5 }),
        delimiter: fc.constantFrom(',', '\t', ';'),
      }),
    );
    await fc.assert(
      fc.asyncProperty(table, async ({ names, rows, delimiter }) => {
        const records = rows.map((row) => Object.fromEntries(names.map((name, i) => [name, row[i]])));
        // A plain object orders keys that look like numbers first, so the order is given; and it has one __proto__.
        fc.pre(!names.includes('__proto__'));
        const text = encodeCsv(records, { delimiter, columns: names });
        const types = Object.fromEntries(names.map((name) => [name, 'string' as const]));
        const back = await readCsv(bytes(text), { delimiter, types, header: true });
        expect([...back.columns.keys()]).toEqual(names);
        expect(names.map((name) => back.column(name).data)).toEqual(names.map((_, i) => rows.map((row) => row[i])));
      }),
      { numRuns: 300 },
    );
  });

  it('brings back numbers exactly', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.double()), async (values) => {
        const text = encodeCsv(
          values.map((x) => ({ x })),
          { columns: ['x'] },
        );
        const back = await readCsv(bytes(text), { types: { x: 'number' } });
        // Minus zero is written as 0.
        expect([...(back.column('x').data as Float64Array)].map((x) => x + 0)).toEqual(values.map((x) => x + 0));
      }),
      { numRuns: 100 },
    );
  });

  it('reads the same in pieces: quotes and line ends across their borders', async () => {
    const row = (i: number): Record<string, CsvValue> => ({
      n: i,
      text: i % 3 ? `line ${i}\r\nsays "${'y'.repeat(i % 90)}"` : `plain ${i}`,
    });
    const rows = Array.from({ length: 12_000 }, (_, i) => row(i));
    const text = encodeCsv(rows).replaceAll('\n', '\r\n').replaceAll('\r\r\n', '\r\n');
    expect(text.length).toBeGreaterThan(2 * 2 ** 18);
    const stream = iterable(() => readCsvRows(bytes(text), { types: { n: 'integer' } }));
    const got = await list(stream);
    expect(got.length).toBe(12_000);
    got.forEach((value, i) => expect({ ...value }).toEqual(rows[i]));
  });

  it('answers any text with rows or a FormatError', async () => {
    const noise = fc.array(fc.constantFrom('"', ',', '\n', '\r', 'a', '1', ' '), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(noise, async (pieces) => {
        try {
          await readCsv(bytes(pieces.join('')));
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('token files', () => {
  const tokens = Array.from({ length: 23 }, (_, i) => (i * 3001) % 60000);

  it.each(['uint16', 'uint32'] as const)('of %s give windows and what follows them', async (dtype) => {
    const dataset = await openTokens(encodeTokens(tokens, dtype), { dtype, contextLength: 5 });
    expect([dataset.tokens, dataset.length]).toEqual([23, 4]);
    for (let i = 0; i < dataset.length; i++) {
      const { x, y } = await dataset.get(i);
      expect([...x]).toEqual(tokens.slice(5 * i, 5 * i + 5));
      expect([...y]).toEqual(tokens.slice(5 * i + 1, 5 * i + 6));
    }
    for await (const { x, y } of new DataLoader(dataset, { batchSize: 3 })) {
      expect(x.shape).toEqual([x.shape[0], 5]);
      expect([...x.data.slice(0, 5)]).toEqual([x.data[0], ...y.data.slice(0, 4)]);
    }
    await expect(dataset.get(4)).rejects.toThrow(ArgumentError);
  });

  it('have as many windows as fit, whatever the stride', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(30), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }), async (n, contextLength, stride) => {
        const file = encodeTokens(Array.from({ length: n }, (_, i) => i));
        const dataset = await openTokens(file, { contextLength, stride });
        let count = 0;
        for (let start = 0; start + contextLength + 1 <= n; start += stride) count++;
        expect(dataset.length).toBe(count);
        if (count > 0) expect([...(await dataset.get(count - 1)).y].at(-1)).toBe((count - 1) * stride + contextLength);
      }),
    );
  });

  it('are refused when cut, of another vocabulary, or not whole numbers', async () => {
    await expect(openTokens(new Uint8Array(3), { contextLength: 1 })).rejects.toThrow(FormatError);
    const dataset = await openTokens(encodeTokens(tokens), { contextLength: 5, vocabSize: 100 });
    expect((await failure(Promise.resolve(dataset.get(0)))).message).toMatch(/token 1 of the data is 3001/);
    await expect(openTokens(new Uint8Array(4), { contextLength: 0 })).rejects.toThrow(ArgumentError);
    expect(() => encodeTokens([65536])).toThrow(ArgumentError);
    expect(() => encodeTokens([0.5])).toThrow(ArgumentError);
  });
});
