/** A slow and obvious model of arrays, to compare tensors with. */

export interface Model {
  readonly shape: readonly number[];
  at(index: readonly number[]): number;
}

export function size(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

/** All indices of a shape in row-major order. */
export function indices(shape: readonly number[]): number[][] {
  return shape.reduce<number[][]>((list, extent) => list.flatMap((index) => Array.from({ length: extent }, (_, i) => [...index, i])), [[]]);
}

export function position(index: readonly number[], shape: readonly number[]): number {
  return index.reduce((sum, i, axis) => sum * shape[axis] + i, 0);
}

/** 0, 1, 2, ... in row-major order. */
export function counting(shape: readonly number[]): Model {
  return { shape, at: (index) => position(index, shape) };
}

export function values(model: Model): number[] {
  return indices(model.shape).map((index) => model.at(index));
}

/** Freezes the values, so that long chains stay fast. */
export function settled(model: Model): Model {
  const list = values(model);
  return { shape: model.shape, at: (index) => list[position(index, model.shape)] };
}
