import { describe, expect, it } from 'vitest';
import { DataLoader, type Dataset, defaultCollate, fieldCollate, padCollate } from '../../src/data/index.js';
import { ArgumentError, ShapeError } from '../../src/errors.js';

describe('fieldCollate', () => {
  const items = [
    { image: { data: Float32Array.of(1, 2, 3, 4), shape: [1, 2, 2] }, box: Int32Array.of(1, 2), label: 3, id: 1n, hard: true, name: 'a' },
    { image: { data: Float32Array.of(5, 6, 7, 8), shape: [1, 2, 2] }, box: Int32Array.of(3, 4), label: 0, id: 2n, hard: false, name: 'b' },
  ];

  it('stacks arrays, fields, numbers, bigints and booleans, and lists the rest', () => {
    const batch = fieldCollate<(typeof items)[number]>({ dtypes: { label: 'int32' } })(items);
    expect(batch).toEqual({
      image: { data: Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8), shape: [2, 1, 2, 2] },
      box: { data: Int32Array.of(1, 2, 3, 4), shape: [2, 2] },
      label: { data: Int32Array.of(3, 0), shape: [2] },
      id: { data: BigInt64Array.of(1n, 2n), shape: [2] },
      hard: { data: Uint8Array.of(1, 0), shape: [2] },
      name: ['a', 'b'],
    });
    expect(defaultCollate(items).label).toEqual({ data: Float32Array.of(3, 0), shape: [2] });
  });

  it('gives bare arrays the shape it is told', () => {
    const collate = fieldCollate<{ x: Float32Array; y: Int32Array }>({ shapes: { x: [2, 1], y: [] } });
    const batch = collate([
      { x: Float32Array.of(1, 2), y: Int32Array.of(5) },
      { x: Float32Array.of(3, 4), y: Int32Array.of(6) },
    ]);
    expect(batch.x.shape).toEqual([2, 2, 1]);
    expect(batch.y).toEqual({ data: Int32Array.of(5, 6), shape: [2] });
  });

  it('refuses items that do not agree', () => {
    expect(() => defaultCollate([{ x: Float32Array.of(1) }, { x: Float32Array.of(1, 2) }])).toThrow(ShapeError);
    expect(() => defaultCollate<object>([{ x: Float32Array.of(1) }, { x: Int32Array.of(1) }])).toThrow(/of item 1 is a Int32Array/);
    expect(() => defaultCollate<object>([{ x: 1 }, { y: 1 }])).toThrow(ArgumentError);
    expect(() => defaultCollate([{ x: { data: Float32Array.of(1), shape: [2] } }])).toThrow(ShapeError);
    expect(() => defaultCollate([])).toThrow(ArgumentError);
  });
});

describe('padCollate', () => {
  const items = [
    { ids: Int32Array.of(1, 2, 3), mel: { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] }, label: 1 },
    { ids: Int32Array.of(4), mel: { data: Float32Array.of(5, 6), shape: [1, 2] }, label: 0 },
  ];

  it('fills up to the longest, and tells the lengths', async () => {
    const dataset: Dataset<(typeof items)[number]> = { length: 2, get: (index) => items[index] };
    const collate = padCollate<(typeof items)[number]>({ pad: { ids: 9, mel: 0 }, dtypes: { label: 'int32' } });
    for await (const batch of new DataLoader(dataset, { batchSize: 2, collate })) {
      expect(batch).toEqual({
        ids: { data: Int32Array.of(1, 2, 3, 4, 9, 9), shape: [2, 3] },
        mel: { data: Float32Array.of(1, 2, 3, 4, 5, 6, 0, 0), shape: [2, 2, 2] },
        label: { data: Int32Array.of(1, 0), shape: [2] },
        lengths: { data: Int32Array.of(3, 1), shape: [2] },
      });
    }
  });

  it('rounds the length up, and pads in front', () => {
    const left = padCollate<{ ids: Int32Array }>({ pad: { ids: 0 }, multipleOf: 4, side: 'left' });
    expect(left(items.map(({ ids }) => ({ ids }))).ids).toEqual({ data: Int32Array.of(0, 1, 2, 3, 0, 0, 0, 4), shape: [2, 4] });
    const long = padCollate<{ id: BigInt64Array }>({ pad: { id: 7n }, minLength: 2 });
    expect(long([{ id: BigInt64Array.of(1n) }]).id).toEqual({ data: BigInt64Array.of(1n, 7n), shape: [1, 2] });
  });

  it('refuses what it cannot pad', () => {
    expect(() => padCollate<object>({ pad: { other: 0 } })(items)).toThrow(ArgumentError);
    expect(() => padCollate<object>({ pad: { label: 0 } })([{ label: 1 }])).toThrow(/holds no arrays/);
    expect(() => padCollate<object>({ pad: { ids: 0 }, multipleOf: 0 })).toThrow(ArgumentError);
    const ragged = [items[0], { ...items[1], mel: { data: Float32Array.of(1, 2, 3), shape: [1, 3] } }];
    expect(() => padCollate<object>({ pad: { mel: 0 } })(ragged)).toThrow(ShapeError);
  });
});
