import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DType, dtypeInfo, dtypes } from '../../src/dtype.js';
import { ArgumentError, FormatError } from '../../src/errors.js';
import { decodeSafetensors, encodeSafetensors, type RawTensor, safetensorsChunks } from '../../src/io/safetensors.js';

/** A file from header text and data bytes. */
function file(header: string, data: Uint8Array | number = 0, length?: number): Uint8Array {
  const text = new TextEncoder().encode(header);
  const bytes = typeof data === 'number' ? new Uint8Array(data) : data;
  const out = new Uint8Array(8 + text.length + bytes.length);
  new DataView(out.buffer).setBigUint64(0, BigInt(length ?? text.length), true);
  out.set(text, 8);
  out.set(bytes, 8 + text.length);
  return out;
}

function raw(dtype: DType, shape: number[], fill = 7): RawTensor {
  const size = shape.reduce((a, b) => a * b, dtypeInfo[dtype].bytes as number);
  return { dtype, shape, data: new Uint8Array(size).fill(fill) };
}

describe('encodeSafetensors', () => {
  it('writes the bytes of the reference implementation', () => {
    // From `safetensors.numpy.save({'b': zeros(2, int8), 'a': float32 [1, 2]}, {'format': 'pt'})`: wide elements come first.
    const bytes = encodeSafetensors(
      [
        ['b', { dtype: 'int8', shape: [2], data: new Uint8Array(2) }],
        ['a', { dtype: 'float32', shape: [1, 2], data: new Uint8Array(new Float32Array([1, 2]).buffer) }],
      ],
      [['format', 'pt']],
    );
    const header =
      '{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"b":{"dtype":"I8","shape":[2],"data_offsets":[8,10]}}';
    const padded = header.padEnd(Math.ceil(header.length / 8) * 8);
    expect(bytes).toEqual(file(padded, new Uint8Array([0, 0, 0x80, 0x3f, 0, 0, 0, 0x40, 0, 0])));
  });

  it('round-trips every dtype, scalars, empty tensors and awkward names', () => {
    const names = ['__proto__', 'constructor', 'toString', '0', 'a"b\\c', 'ü 漢字', 'layer.0.weight', '', '{', '],'];
    const tensors = new Map<string, RawTensor>();
    dtypes.forEach((dtype, i) => tensors.set(names[i], raw(dtype, i % 3 === 0 ? [] : i % 3 === 1 ? [2, 3] : [4, 0, 5], i + 1)));
    const metadata = new Map([
      ['__proto__', 'x'],
      ['config', '{"a":[1,2,{"b":"\\"}"}]}'],
    ]);
    const decoded = decodeSafetensors(encodeSafetensors(tensors, metadata));
    expect(decoded.metadata).toEqual(metadata);
    expect(new Map([...decoded.tensors].sort())).toEqual(new Map([...tensors].sort()));
    expect(({} as Record<string, unknown>).dtype).toBeUndefined();
  });

  it('aligns the data of every tensor to its element size', () => {
    const order = ['bool', 'float64', 'int16', 'float32'] as const;
    const bytes = encodeSafetensors(order.map((dtype, i) => [`t${i}`, raw(dtype, [3])] as const));
    for (const { dtype, data } of decodeSafetensors(bytes).tensors.values()) {
      expect(data.byteOffset % dtypeInfo[dtype].bytes).toBe(0);
    }
  });

  it('gives the same file whatever the order of the tensors', () => {
    const tensors = [['b', raw('float32', [2])] as const, ['a', raw('int64', [1])] as const, ['c', raw('float32', [1])] as const];
    expect(encodeSafetensors([...tensors].reverse())).toEqual(encodeSafetensors(tensors));
  });

  it('makes chunks that hold no copy of the data', () => {
    const tensor = raw('float32', [2]);
    expect(safetensorsChunks([['a', tensor]])[1]).toBe(tensor.data);
  });

  it.each([
    ['bytes that do not fit the shape', [['a', { dtype: 'float32', shape: [2], data: new Uint8Array(7) }]]],
    ['a negative size', [['a', { dtype: 'float32', shape: [-1], data: new Uint8Array(0) }]]],
    ['a fraction', [['a', { dtype: 'uint8', shape: [0.5, 2], data: new Uint8Array(1) }]]],
    ['an unknown dtype', [['a', { dtype: 'constructor', shape: [], data: new Uint8Array(4) }]]],
    [
      'a name twice',
      [
        ['a', raw('int8', [1])],
        ['a', raw('int8', [1])],
      ],
    ],
    ['the name of the metadata', [['__metadata__', raw('int8', [1])]]],
  ] as [string, [string, RawTensor][]][])('refuses %s', (_, tensors) => {
    expect(() => encodeSafetensors(tensors)).toThrow(ArgumentError);
  });
});

describe('decodeSafetensors', () => {
  it('keeps views of the input', () => {
    const bytes = encodeSafetensors([['a', raw('float32', [2])]]);
    const { data } = decodeSafetensors(bytes).tensors.get('a')!;
    expect(data.buffer).toBe(bytes.buffer);
  });

  it('reads a file inside a larger buffer and one with unaligned data', () => {
    const bytes = file('{"a":{"dtype":"I16","shape":[1],"data_offsets":[0,2]}}', new Uint8Array([1, 2]));
    const larger = new Uint8Array(bytes.length + 3);
    larger.set(bytes, 3);
    expect([...decodeSafetensors(larger.subarray(3)).tensors.get('a')!.data]).toEqual([1, 2]);
  });

  it('reads a file without tensors', () => {
    expect(decodeSafetensors(file('{}')).tensors.size).toBe(0);
  });

  const entry = (dtype: string, shape: string, offsets: string): string => `{"dtype":${dtype},"shape":${shape},"data_offsets":${offsets}}`;
  it.each([
    ['nothing at all', new Uint8Array(0), /0 bytes/],
    ['seven bytes', new Uint8Array(7), /7 bytes/],
    ['a header longer than the file', file('{}', 0, 3), /header length is 3/],
    ['a header length of 2^63', file('{}', 0, 2 ** 63), /header length/],
    ['an empty header', file('', 0, 0), /header length is 0/],
    ['a header that is no object', file('[]'), /does not start with/],
    ['leading space', file(' {}'), /does not start with/],
    ['broken JSON', file('{"a":'), /not valid UTF-8 JSON/],
    ['broken UTF-8', file('{}').fill(0xff, 9), /not valid UTF-8 JSON/],
    ['text after the JSON', file('{}x'), /not valid UTF-8 JSON/],
    ['deep nesting', file(`{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}`), /tensor "a"/],
    ['a name twice', file(`{"a":${entry('"I8"', '[0]', '[0,0]')},"a":${entry('"I8"', '[0]', '[0,0]')}}`), /twice/],
    ['an escaped name twice', file(`{"a":${entry('"I8"', '[0]', '[0,0]')},"\\u0061":${entry('"U8"', '[0]', '[0,0]')}}`), /twice/],
    ['a dtype twice', file('{"a":{"dtype":"I8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1), /twice/],
    ['metadata that is no object', file('{"__metadata__":[]}'), /__metadata__/],
    ['metadata of numbers', file('{"__metadata__":{"a":1}}'), /"a"/],
    ['a tensor that is no object', file('{"a":[]}'), /tensor "a"/],
    ['a missing dtype', file('{"a":{"shape":[1],"data_offsets":[0,1]}}', 1), /dtype undefined/],
    ['an unknown dtype', file(`{"a":${entry('"F8_E4M3"', '[1]', '[0,1]')}}`, 1), /F8_E4M3/],
    ['a dtype named as a prototype field', file(`{"a":${entry('"constructor"', '[1]', '[0,1]')}}`, 1), /constructor/],
    ['fields smuggled through a prototype', file(`{"a":{"__proto__":${entry('"I8"', '[1]', '[0,1]')}}}`, 1), /dtype undefined/],
    ['a negative size', file(`{"a":${entry('"I8"', '[-1]', '[0,0]')}}`), /shape \[-1\]/],
    ['a fractional size', file(`{"a":${entry('"I8"', '[1.5]', '[0,1]')}}`, 1), /shape \[1.5\]/],
    ['a size as text', file(`{"a":${entry('"I8"', '["1"]', '[0,1]')}}`, 1), /shape/],
    ['a shape of 65 axes', file(`{"a":${entry('"I8"', `[${Array(65).fill(1)}]`, '[0,1]')}}`, 1), /at most 64/],
    ['an element count beyond 2^53', file(`{"a":${entry('"I8"', '[4294967296,4294967296]', '[0,0]')}}`), /more bytes than/],
    ['an element count that wraps around at 2^64', file(`{"a":${entry('"F32"', '[4611686018427387904,4]', '[0,0]')}}`), /tensor "a"/],
    ['one offset', file(`{"a":${entry('"I8"', '[1]', '[0]')}}`, 1), /data_offsets/],
    ['a negative offset', file(`{"a":${entry('"I8"', '[1]', '[-1,0]')}}`, 1), /data_offsets/],
    ['offsets back to front', file(`{"a":${entry('"I8"', '[1]', '[1,0]')}}`, 1), /data_offsets/],
    ['an offset beyond the file', file(`{"a":${entry('"I8"', '[2]', '[0,2]')}}`, 1), /within the 1 bytes/],
    ['too few bytes for the shape', file(`{"a":${entry('"F32"', '[1]', '[0,3]')}}`, 3), /4 bytes/],
    ['a hole at the start', file(`{"a":${entry('"I8"', '[1]', '[1,2]')}}`, 2), /hole/],
    ['a hole in the middle', file(`{"a":${entry('"I8"', '[1]', '[0,1]')},"b":${entry('"I8"', '[1]', '[2,3]')}}`, 3), /hole/],
    ['an overlap', file(`{"a":${entry('"I8"', '[2]', '[0,2]')},"b":${entry('"I8"', '[2]', '[1,3]')}}`, 3), /overlaps/],
    ['the same bytes twice', file(`{"a":${entry('"I8"', '[1]', '[0,1]')},"b":${entry('"I8"', '[1]', '[0,1]')}}`, 1), /overlaps/],
    ['data after the last tensor', file(`{"a":${entry('"I8"', '[1]', '[0,1]')}}`, 2), /cover 1 bytes/],
  ] as [string, Uint8Array, RegExp][])('refuses %s', (_, bytes, message) => {
    expect(() => decodeSafetensors(bytes)).toThrow(FormatError);
    expect(() => decodeSafetensors(bytes)).toThrow(message);
  });

  it('answers any mutation of a file with a result or a FormatError', () => {
    const good = encodeSafetensors(
      [
        ['a', raw('float32', [2, 3])],
        ['b', raw('int8', [5])],
      ],
      [['k', 'v']],
    );
    const edit = fc.record({ at: fc.nat(good.length - 1), byte: fc.oneof(fc.nat(255), fc.constantFrom(...'0123456789,:[]{}"-e.')) });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 6 }), fc.nat(good.length), (edits, length) => {
        const bytes = good.slice(0, length % 3 ? good.length : length);
        for (const { at, byte } of edits) bytes[at] = typeof byte === 'number' ? byte : byte.charCodeAt(0);
        try {
          const { tensors } = decodeSafetensors(bytes);
          for (const { dtype, shape, data } of tensors.values()) {
            expect(data.length).toBe(shape.reduce((x, y) => x * y, dtypeInfo[dtype].bytes as number));
          }
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
        }
      }),
      { numRuns: 3000 },
    );
  });
});
