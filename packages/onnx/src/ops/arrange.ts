/** Operators that arrange elements without computing: on the host such an operator is a list of positions. */
import { arange, indexSelect, reshape, type Tensor } from 'trireme';
import { type ElementType, elementInfo, type HostArray } from '../engine/element-type.js';
import { TensorValue } from '../engine/value.js';
import { foldsOnHost } from './host.js';

export type Shape = readonly number[];

export function sizeOf(shape: Shape): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = step;
    step *= shape[axis];
  }
  return strides;
}

/** Strings and complex numbers have no dtype: all that happens to them happens on the host. */
export function isHostType(type: ElementType): boolean {
  return elementInfo[type].carrier === null;
}

/** Whether an operator works on the host: it must for types without dtype, and should for small values that are known. */
export function onHost(...values: readonly TensorValue[]): boolean {
  return values.some((value) => isHostType(value.type)) || foldsOnHost(values);
}

/** Source position of each element of a strided view, in row-major order. */
export function stridedPositions(shape: Shape, strides: readonly number[], offset = 0): Int32Array {
  const count = sizeOf(shape);
  const positions = new Int32Array(count);
  const at = new Array<number>(shape.length).fill(0);
  let position = offset;
  for (let i = 0; i < count; i++) {
    positions[i] = position;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      position += strides[axis];
      if (++at[axis] < shape[axis]) break;
      position -= strides[axis] * shape[axis];
      at[axis] = 0;
    }
  }
  return positions;
}

/** Positions in a tensor of `shape` for every combination of one position of each axis; -1 along an axis gives -1. */
export function gridPositions(shape: Shape, along: readonly ArrayLike<number>[]): Int32Array {
  const strides = stridesOf(shape);
  let positions = Int32Array.of(0);
  along.forEach((list, axis) => {
    const next = new Int32Array(positions.length * list.length);
    let k = 0;
    for (const base of positions) {
      for (let j = 0; j < list.length; j++) next[k++] = base < 0 || list[j] < 0 ? -1 : base + list[j] * strides[axis];
    }
    positions = next;
  });
  return positions;
}

/** 0, 1, ... */
export function countTo(length: number): Int32Array {
  return Int32Array.from({ length }, (_, i) => i);
}

/** An array of the same kind with room for `length` elements of the type; strings are empty, numbers 0. */
export function emptyLike(host: HostArray, type: ElementType, length: number): HostArray {
  if (Array.isArray(host)) return new Array<string>(length).fill('');
  const make = host.constructor as new (length: number) => Exclude<HostArray, readonly string[]>;
  return new make(length * widthOf(type));
}

/** Array entries an element takes. */
export function widthOf(type: ElementType): number {
  return type === 'complex64' || type === 'complex128' ? 2 : 1;
}

/** Copies elements `from[source[i]]` to `to[target[i]]` (i without target); a source of -1 takes element 0 of `fill`, if any. */
export function copyElements(
  from: HostArray,
  source: ArrayLike<number>,
  to: HostArray,
  target: ArrayLike<number> | null,
  type: ElementType,
  fill: HostArray | null = null,
): void {
  const width = widthOf(type);
  // Both arrays are of one kind, whichever it is.
  const [read, write, other] = [from as Int32Array, to as Int32Array, fill as Int32Array | null];
  for (let i = 0; i < source.length; i++) {
    const at = (target === null ? i : target[i]) * width;
    const position = source[i];
    if (position < 0 && other === null) continue;
    for (let part = 0; part < width; part++) {
      write[at + part] = position < 0 && other !== null ? other[part] : read[position * width + part];
    }
  }
}

/** A host value of the elements at these positions; -1 stands for the fill (0, or an empty string). */
export function arranged(x: TensorValue, shape: Shape, positions: Int32Array, fill: HostArray | null = null): TensorValue {
  const result = emptyLike(x.host, x.type, positions.length);
  copyElements(x.host, positions, result, null, x.type, fill);
  return TensorValue.ofHost(result, x.type, shape);
}

/** The same elements under another shape, where they are. */
export function reshaped(x: TensorValue, shape: Shape, onDevice: (t: Tensor) => Tensor): TensorValue {
  if (onHost(x)) return TensorValue.ofHost(x.host, x.type, shape);
  return TensorValue.ofTensor(onDevice(x.tensor), x.type);
}

/** A value for each kind of place: positions for the host, trireme's operations for the device. */
export function moved(x: TensorValue, shape: Shape, positions: () => Int32Array, onDevice: (t: Tensor) => Tensor): TensorValue {
  return onHost(x) ? arranged(x, shape, positions()) : TensorValue.ofTensor(onDevice(x.tensor), x.type);
}

/** 0, 1, ... along an axis of a tensor of `rank` dimensions, int32: computed, so that a program needs no constant for it. */
export function steps(length: number, axis: number, rank: number): Tensor {
  return reshape(
    arange(length, { dtype: 'int32' }),
    Array.from({ length: rank }, (_, i) => (i === axis ? length : 1)),
  );
}

/** int32 positions as a tensor. */
export function positionTensor(positions: ArrayLike<number>, shape: Shape = [positions.length]): Tensor {
  return TensorValue.ofHost(Int32Array.from(positions), 'int32', shape).tensor;
}

/** The slices at known positions (from 0) along an axis. */
export function pickAlong(x: TensorValue, axis: number, positions: ArrayLike<number>): TensorValue {
  const shape = x.shape.with(axis, positions.length);
  return moved(
    x,
    shape,
    () =>
      gridPositions(
        x.shape,
        x.shape.map((extent, i) => (i === axis ? positions : countTo(extent))),
      ),
    (t) => indexSelect(t, axis, positionTensor(positions)),
  );
}
