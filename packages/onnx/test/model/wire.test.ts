import fc from 'fast-check';
import { FormatError } from 'trireme';
import { describe, expect, it } from 'vitest';
import { encodeModel } from '../../src/model/encode.js';
import { decodeModel } from '../../src/model/protobuf.js';
import { WireMessage, WireWriter } from '../../src/model/wire.js';
import { floats, graph, info, ints, model, node, stored } from '../support.js';

const parse = (...bytes: number[]): WireMessage => WireMessage.parse(Uint8Array.from(bytes), 'message');

describe('wire format', () => {
  it('reads and writes 64-bit integers of every size', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
        const writer = new WireWriter();
        writer.int(3, value);
        expect(WireMessage.parse(writer.finish(), 'm').int(3)).toBe(value);
      }),
    );
  });
  it('reads repeated numbers packed, one by one, and mixed', () => {
    const m = parse(0x08, 1, 0x0a, 2, 2, 3, 0x08, 4);
    expect(Array.from(m.int64s(1))).toEqual([1n, 2n, 3n, 4n]);
    const floats_ = parse(0x15, 0, 0, 0x80, 0x3f, 0x12, 4, 0, 0, 0, 0x40);
    expect(Array.from(floats_.floats(2))).toEqual([1, 2]);
  });
  it('lets the last of several values of one field count', () => {
    expect(parse(0x08, 1, 0x08, 2).int(1)).toBe(2n);
  });
  it('refuses lengths beyond the end, before it allocates for them', () => {
    expect(() => parse(0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f)).toThrow(FormatError);
    expect(() => parse(0x0a, 5, 1, 2)).toThrow(/length of 5 where 2 bytes/);
    expect(() => parse(0x0d, 1, 2)).toThrow(FormatError);
    expect(() => parse(0x80)).toThrow(FormatError);
  });
  it('refuses numbers that never end, groups, field 0 and types that do not fit', () => {
    expect(() => parse(0x08, ...Array<number>(11).fill(0xff))).toThrow(/more than 10 bytes/);
    expect(() => parse(0x0b)).toThrow(/wire type 3/);
    expect(() => parse(0x00, 1)).toThrow(/field number 0/);
    expect(() => parse(0x08, 1).string(1)).toThrow(/wire type 0/);
    expect(() => parse(0x12, 3, 0, 0, 0).floats(2)).toThrow(/multiple of 4/);
    expect(() => parse(0x0a, 1, 0x80).int64s(1)).toThrow(FormatError);
  });
});

describe('decodeModel on damaged files', () => {
  const bytes = encodeModel(
    model(
      graph(
        [
          node('Add', 'x w', 'y'),
          node('If', 'c', 'z', { then_branch: graph([node('Relu', 'y', 'a')], [], ['a']), else_branch: graph([], [], ['y']) }),
        ],
        [info('x', ['batch', 2]), info('c', [], 'bool')],
        ['z'],
        [floats('w', [2], [1, 2]), ints('k', [1, 2, 3])],
      ),
    ),
  );
  it('ends with a FormatError or a model for every file cut short', () => {
    for (let length = 0; length < bytes.length; length++) {
      try {
        decodeModel(bytes.subarray(0, length));
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
      }
    }
  });
  it('ends with a FormatError or a model whatever bytes are changed', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }), (changes) => {
        const copy = bytes.slice();
        for (const [at, value] of changes) copy[at] = value;
        try {
          decodeModel(copy);
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
        }
      }),
      { numRuns: 500 },
    );
  });
  it('refuses messages nested without end', () => {
    let inner: Uint8Array = new Uint8Array(0);
    // Graphs within attributes within nodes.
    for (let depth = 0; depth < 400; depth++) {
      const w = new WireWriter();
      w.message(1, (n) =>
        n.message(5, (a) => {
          a.string(1, 'body');
          a.int(20, 5);
          a.bytes(6, inner);
        }),
      );
      inner = w.finish();
    }
    const top = new WireWriter();
    top.bytes(7, inner);
    expect(() => decodeModel(top.finish())).toThrow(/nested more than/);
  });
  it('refuses shapes whose product overflows, and negative sizes', () => {
    const withDims = (dims: readonly bigint[]): Uint8Array => {
      const w = new WireWriter();
      w.message(7, (g) =>
        g.message(5, (t) => {
          t.ints(1, dims);
          t.int(2, 1);
          t.string(8, 'w');
        }),
      );
      return w.finish();
    };
    expect(() => decodeModel(withDims([2n ** 40n, 2n ** 40n]))).toThrow(/below 2\^53/);
    expect(() => decodeModel(withDims([-1n]))).toThrow(FormatError);
    expect(() => decodeModel(withDims(Array<bigint>(80).fill(1n)))).toThrow(/80 dimensions/);
  });
  it('gives back what was written', () => {
    const original = model(
      graph(
        [
          node(
            'Conv',
            'x w',
            'y',
            { pads: [1, 1, 1, 1], auto_pad: 'NOTSET', alpha: { kind: 'float', value: 0.5 } },
            { name: 'conv', domain: '' },
          ),
        ],
        [info('x', ['batch', 3, null, 8])],
        [info('y', null)],
        [floats('w', [1, 1, 1, 1], [2]), stored('s', 'string', [2], ['a', 'ü'])],
      ),
    );
    const read = decodeModel(encodeModel(original));
    expect(read.graph.nodes).toEqual(original.graph.nodes.map((n) => ({ ...n })));
    expect(read.graph.inputs).toEqual(original.graph.inputs);
    expect(read.opsetImports).toEqual(original.opsetImports);
    expect(read.metadata).toEqual(original.metadata);
    expect(read.modelVersion).toBe(3n);
    expect(read.graph.initializers.map((t) => [t.name, t.type, t.dims])).toEqual([
      ['w', 'float32', [1, 1, 1, 1]],
      ['s', 'string', [2]],
    ]);
  });
});
