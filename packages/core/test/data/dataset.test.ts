import { describe, expect, it } from 'vitest';
import { ArrayDataset, stratifiedSplit } from '../../src/data/index.js';
import { ArgumentError, ShapeError } from '../../src/errors.js';

const dataset = new ArrayDataset({
  image: { data: Float32Array.from({ length: 12 }, (_, i) => i), shape: [1, 2] },
  label: { data: Int32Array.from([5, 4, 3, 2, 1, 0]), shape: [] },
});

describe('ArrayDataset', () => {
  it('gives items as views and batches as stacked copies', () => {
    expect(dataset.length).toBe(6);
    expect([...dataset.get(2).image]).toEqual([4, 5]);
    expect(dataset.get(2).image.buffer).toBe(dataset.fields.image.data.buffer);
    const batch = dataset.getBatch(Int32Array.from([5, 0]));
    expect(batch.image).toEqual({ data: Float32Array.from([10, 11, 0, 1]), shape: [2, 1, 2] });
    expect(batch.label).toEqual({ data: Int32Array.from([0, 5]), shape: [2] });
    expect(batch.image.data).toBeInstanceOf(Float32Array);
  });

  it('keeps 64-bit integers', () => {
    const ids = new ArrayDataset({ id: { data: BigInt64Array.from([1n, -2n, 3n]), shape: [] } });
    expect(ids.getBatch(Int32Array.from([1])).id.data).toEqual(BigInt64Array.from([-2n]));
  });

  it('makes subsets that are their own', () => {
    const subset = dataset.subset(Int32Array.from([4, 4, 1]));
    expect(subset.length).toBe(3);
    expect([...subset.fields.label.data]).toEqual([1, 1, 4]);
    subset.fields.image.data[0] = 99;
    expect(dataset.get(4).image[0]).toBe(8);
  });

  it('refuses fields that do not fit and items that do not exist', () => {
    const label = { data: new Int32Array(3), shape: [] };
    expect(() => new ArrayDataset({ x: { data: new Float32Array(5), shape: [2] } })).toThrow(ShapeError);
    expect(() => new ArrayDataset({ x: { data: new Float32Array(4), shape: [2] }, label })).toThrow(/label has 3 items, x has 2/);
    expect(() => new ArrayDataset({})).toThrow(ArgumentError);
    expect(() => dataset.get(6)).toThrow(ArgumentError);
    expect(() => dataset.getBatch(Int32Array.from([0, -1]))).toThrow(ArgumentError);
  });
});

describe('stratifiedSplit', () => {
  const labels = Int32Array.from({ length: 203 }, (_, i) => (i % 7 === 0 ? 2 : i % 2));
  const count = (indices: Int32Array, label: number): number => indices.filter((i) => labels[i] === label).length;

  it('divides every class in the same proportion and uses every item once', () => {
    const { train, test } = stratifiedSplit(labels, 0.2, 3);
    expect([...train, ...test].sort((a, b) => a - b)).toEqual(Array.from({ length: 203 }, (_, i) => i));
    expect(test.length).toBe(Math.round(203 * 0.2));
    for (const label of [0, 1, 2]) {
      const share = count(test, label) / (count(test, label) + count(train, label));
      expect(Math.abs(share - 0.2)).toBeLessThan(1 / 29);
    }
    expect([...test]).toEqual([...test].sort((a, b) => a - b));
  });

  it('depends on the seed alone', () => {
    expect(stratifiedSplit(labels, 0.2, 3)).toEqual(stratifiedSplit(labels, 0.2, 3));
    expect(stratifiedSplit(labels, 0.2, 4)).not.toEqual(stratifiedSplit(labels, 0.2, 3));
  });

  it('takes nothing or everything at the ends', () => {
    expect(stratifiedSplit(labels, 0, 1).test.length).toBe(0);
    expect(stratifiedSplit(labels, 1, 1).train.length).toBe(0);
    expect(() => stratifiedSplit(labels, 1.1, 1)).toThrow(ArgumentError);
    expect(() => stratifiedSplit([0, -1], 0.5, 1)).toThrow(ArgumentError);
  });
});
