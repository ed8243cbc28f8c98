import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ArgumentError, FormatError } from '../../src/errors.js';
import { crc32, openZip, zipChunks } from '../../src/io/index.js';

function concat(chunks: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(chunks.flatMap((chunk) => [...chunk]));
}
const text = (value: string): Uint8Array => new TextEncoder().encode(value);

async function unzip(bytes: Uint8Array): Promise<[string, Uint8Array][]> {
  const archive = await openZip(bytes);
  return Promise.all([...archive.entries.values()].map(async (entry) => [entry.name, await entry.read()] as [string, Uint8Array]));
}

describe('crc32', () => {
  it('is that of zip and gzip', () => {
    expect(crc32(text('123456789'))).toBe(0xcbf43926);
    expect(crc32(new Uint8Array(0))).toBe(0);
    // Python's zlib.crc32(bytes(range(256)) * 3)
    expect(crc32(Uint8Array.from({ length: 768 }, (_, i) => i & 255))).toBe(0xb0c0df2a);
  });
});

describe('zip archives', () => {
  it('bring back names and bytes, stored or deflated, aligned or not', async () => {
    const content = fc.dictionary(fc.string({ minLength: 1, unit: 'grapheme' }), fc.uint8Array({ maxLength: 300 }), { maxKeys: 5 });
    await fc.assert(
      fc.asyncProperty(content, fc.boolean(), fc.constantFrom(1, 2, 3, 64), async (files, compress, align) => {
        const entries = Object.entries(files);
        expect(await unzip(concat(await zipChunks(entries, { compress, align })))).toEqual(entries);
      }),
      { numRuns: 150 },
    );
  });

  it('make repetition small', async () => {
    const zeros = new Uint8Array(100_000);
    const bytes = concat(await zipChunks([['zeros', zeros]], { compress: true }));
    expect(bytes.length).toBeLessThan(1000);
    expect(await unzip(bytes)).toEqual([['zeros', zeros]]);
  });

  it('are found behind a comment', async () => {
    const bytes = concat(await zipChunks([['a', text('hello')]]));
    const comment = text('PK\x05\x06 says nothing');
    const out = concat([bytes, comment]);
    new DataView(out.buffer).setUint16(bytes.length - 2, comment.length, true);
    expect(await unzip(out)).toEqual([['a', text('hello')]]);
  });

  it('are refused when an entry is larger than it says, over the limit, or read twice by overlap', async () => {
    const bytes = concat(await zipChunks([['zeros', new Uint8Array(50_000)]], { compress: true }));
    await expect(openZip(bytes, { maxEntryBytes: 49_999 })).rejects.toThrow(/at most 49999/);
    await expect(openZip(bytes, { maxTotalBytes: 49_999 })).rejects.toThrow(FormatError);
    // The directory claims less than the data unpacks to: decompression stops at the claim.
    const liar = bytes.slice();
    const directory = new DataView(liar.buffer).getUint32(liar.length - 6, true);
    new DataView(liar.buffer).setUint32(directory + 24, 10, true);
    const [entry] = [...(await openZip(liar)).entries.values()];
    await expect(entry.read()).rejects.toThrow(/passes 10 bytes/);

    const two = concat(
      await zipChunks([
        ['a', new Uint8Array(100)],
        ['b', new Uint8Array(100)],
      ]),
    );
    const start = new DataView(two.buffer).getUint32(two.length - 6, true);
    // The second entry points to the first one's data.
    new DataView(two.buffer).setUint32(start + 47 + 42, 0, true);
    await expect(openZip(two)).rejects.toThrow(/overlaps/);
  });

  it('are refused when the content does not have its checksum', async () => {
    const bytes = concat(await zipChunks([['a', text('hello')]]));
    bytes[31 + 2] ^= 1;
    const [entry] = [...(await openZip(bytes)).entries.values()];
    await expect(entry.read()).rejects.toThrow(/checksum/);
  });

  it('refuse to be written with a name twice or none', async () => {
    await expect(
      zipChunks([
        ['a', new Uint8Array(1)],
        ['a', new Uint8Array(1)],
      ]),
    ).rejects.toThrow(ArgumentError);
    await expect(zipChunks([['', new Uint8Array(1)]])).rejects.toThrow(ArgumentError);
  });

  it('that are damaged give typed errors only', async () => {
    const good = concat(
      await zipChunks(
        [
          ['one', new Uint8Array(500).map((_, i) => i % 11)],
          ['two', text('2')],
        ],
        { compress: true },
      ),
    );
    const edits = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(edits, fc.nat(good.length), fc.boolean(), async (changes, cut, short) => {
        const bytes = good.slice(0, short ? cut : good.length);
        for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte;
        try {
          await unzip(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
        }
      }),
      { numRuns: 500 },
    );
  });
});
