import { FormatError } from 'trireme';
import { describe, expect, it } from 'vitest';
import { type ElementType, elementInfo, elementTypes, type HostArray } from '../../src/engine/element-type.js';
import { bitsOf, numberToBfloat, numberToHalf, valuesOf } from '../../src/engine/small-floats.js';
import { decodeTensor, densify, encodeTensor, fromHost, readHost } from '../../src/engine/transfer.js';
import type { TensorContent } from '../../src/model/model.js';

/** Values that every type but bool can hold, at its ends too. */
const samples: Partial<Record<ElementType, HostArray>> = {
  float32: Float32Array.of(0, -1.5, Infinity),
  float64: Float64Array.of(Math.PI, -0, 1e300),
  float16: Float32Array.of(65504, 2 ** -24, -0.5),
  bfloat16: Float32Array.of(1, -2.5, 2 ** 127),
  int8: Int8Array.of(-128, 127, 0),
  uint8: Uint8Array.of(255, 0, 7),
  int16: Int16Array.of(-32768, 32767, 1),
  uint16: Uint16Array.of(65535, 0, 300),
  int32: Int32Array.of(-(2 ** 31), 2 ** 31 - 1, 5),
  uint32: Uint32Array.of(2 ** 32 - 1, 0, 9),
  int64: BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n, 1n),
  uint64: BigUint64Array.of(2n ** 64n - 1n, 0n, 3n),
  bool: Uint8Array.of(1, 0, 1),
  uint4: Uint8Array.of(15, 0, 9),
  int4: Int8Array.of(-8, 7, -1),
  uint2: Uint8Array.of(3, 0, 2),
  int2: Int8Array.of(-2, 1, -1),
  float8e4m3fn: Float32Array.of(448, -0.015625, 0.001953125),
  float8e4m3fnuz: Float32Array.of(240, -1, 0),
  float8e5m2: Float32Array.of(57344, -Infinity, 1.5),
  float8e5m2fnuz: Float32Array.of(57344, -1, 0),
  float4e2m1: Float32Array.of(6, -0.5, 3),
  float8e8m0: Float32Array.of(1, 2 ** 100, 2 ** -127),
};

describe('stored tensors', () => {
  for (const [type, host] of Object.entries(samples) as [ElementType, HostArray][]) {
    it(`keep ${type} exactly, on the host and on the device`, () => {
      const tensor = encodeTensor(host, type, [3]);
      expect(tensor.content.kind === 'raw' && tensor.content.bytes.length).toBe(Math.ceil((3 * elementInfo[type].bits) / 8));
      expect(decodeTensor(tensor)).toEqual(host);
      using device = fromHost(host, type, [3]);
      expect(readHost(device, type)).toEqual(host);
    });
  }
  it('keep strings and complex numbers', () => {
    expect(decodeTensor(encodeTensor(['a', ''], 'string', [2]))).toEqual(['a', '']);
    const complex = Float32Array.of(1, 2, 3, 4);
    expect(decodeTensor(encodeTensor(complex, 'complex64', [2]))).toEqual(complex);
    expect(() => fromHost(complex, 'complex64', [2])).toThrow(/complex64/);
  });
  it('are read from the typed fields too: bits of small floats and packed nibbles in int32_data', () => {
    const read = (type: ElementType, values: (TensorContent & { kind: 'values' })['values'], n: number): HostArray =>
      decodeTensor({ name: 't', type, dims: [n], content: { kind: 'values', values } });
    expect(read('float16', Int32Array.of(0x3c00, 0xc000), 2)).toEqual(Float32Array.of(1, -2));
    expect(read('bfloat16', Int32Array.of(0x3f80), 1)).toEqual(Float32Array.of(1));
    expect(read('int4', Int32Array.of(0x7f, 0x08), 3)).toEqual(Int8Array.of(-1, 7, -8));
    expect(read('uint2', Int32Array.of(0b11100100), 4)).toEqual(Uint8Array.of(0, 1, 2, 3));
    expect(read('bool', Int32Array.of(0, 5), 2)).toEqual(Uint8Array.of(0, 1));
    expect(read('uint32', BigUint64Array.of(4294967295n), 1)).toEqual(Uint32Array.of(4294967295));
    expect(read('float8e5m2', Int32Array.of(0x3c), 1)).toEqual(Float32Array.of(1));
  });
  it('must have as many bytes as their shape says', () => {
    for (const type of elementTypes) {
      if (elementInfo[type].bits === 0) continue;
      const short = { name: 't', type, dims: [64], content: { kind: 'raw', bytes: new Uint8Array(3) } } as const;
      expect(() => decodeTensor(short)).toThrow(FormatError);
    }
  });
});

describe('narrow floats', () => {
  // Patterns from the tables of the formats' definitions.
  it('have the values their definitions give', () => {
    expect(valuesOf('float8e4m3fn')[0x7e]).toBe(448);
    expect(valuesOf('float8e4m3fn')[0x7f]).toBeNaN();
    expect(valuesOf('float8e4m3fn')[0x01]).toBe(2 ** -9);
    expect(valuesOf('float8e4m3fnuz')[0x7f]).toBe(240);
    expect(valuesOf('float8e4m3fnuz')[0x80]).toBeNaN();
    expect(valuesOf('float8e5m2')[0x7c]).toBe(Infinity);
    expect(valuesOf('float8e5m2')[0x01]).toBe(2 ** -16);
    expect(valuesOf('float8e5m2fnuz')[0x7f]).toBe(57344);
    expect(Array.from(valuesOf('float4e2m1').slice(0, 8))).toEqual([0, 0.5, 1, 1.5, 2, 3, 4, 6]);
    expect(valuesOf('float8e8m0')[127]).toBe(1);
    expect(valuesOf('float8e8m0')[255]).toBeNaN();
  });
  it('round to nearest, ties to even', () => {
    expect(bitsOf(1.0625, 'float8e4m3fn')).toBe(0x38);
    expect(bitsOf(1.1875, 'float8e4m3fn')).toBe(0x3a);
    expect(bitsOf(2.5, 'float4e2m1')).toBe(4);
    expect(numberToHalf(2049)).toBe(numberToHalf(2048));
    expect(numberToHalf(65520)).toBe(0x7c00);
    expect(numberToHalf(2 ** -25)).toBe(0);
    expect(numberToBfloat(1 + 2 ** -8)).toBe(0x3f80);
    expect(numberToBfloat(1 + 3 * 2 ** -8)).toBe(0x3f82);
  });
});

describe('sparse tensors', () => {
  const values = encodeTensor(Float32Array.of(5, 7), 'float32', [2], 's');
  it('are made dense from flat and from multi-dimensional indices', () => {
    const flat = densify({ values, indices: encodeTensor(BigInt64Array.of(1n, 5n), 'int64', [2]), dims: [2, 3] });
    expect(Array.from(flat.host as Float32Array)).toEqual([0, 5, 0, 0, 0, 7]);
    const pairs = densify({ values, indices: encodeTensor(BigInt64Array.of(0n, 2n, 1n, 0n), 'int64', [2, 2]), dims: [2, 3] });
    expect(Array.from(pairs.host as Float32Array)).toEqual([0, 0, 5, 7, 0, 0]);
  });
  it('must not have indices outside of their shape', () => {
    expect(() => densify({ values, indices: encodeTensor(BigInt64Array.of(1n, 6n), 'int64', [2]), dims: [2, 3] })).toThrow(FormatError);
    expect(() => densify({ values, indices: encodeTensor(BigInt64Array.of(1n), 'int64', [1]), dims: [2, 3] })).toThrow(FormatError);
  });
});
