/** Reading by index. */
import { add, expand, gather, indexSelect, lt, mul, reshape, select, sub, type Tensor, where } from 'trireme';
import { TensorValue } from '../engine/value.js';
import { axisOf, numbersOf, tensorAt } from './arguments.js';
import { arranged, countTo, gridPositions, moved, onHost, positionTensor, type Shape, sizeOf, steps, stridesOf } from './arrange.js';
import type { OpContext, OpTable } from './definition.js';
import { computed } from './tensors.js';

/** Known positions counted from the front. @throws FormatError for those outside */
function checked(positions: readonly number[], extent: number, ctx: OpContext): Int32Array {
  return Int32Array.from(positions, (position) => {
    if (position < -extent || position >= extent) ctx.fail(`index ${position} of an axis of ${extent} elements`);
    return position < 0 ? position + extent : position;
  });
}

/** Positions on the device counted from the front; those outside stay outside, which readers clamp and writers skip. */
function fromFront(index: Tensor, extent: number): Tensor {
  return where(lt(index, 0), add(index, extent), index);
}

/**
 * Row numbers for index tuples [..., k] into the first axes of `shape`, where axis i of the tuples that stands for batch axis i
 * of the tensor counts by itself.
 */
export function rowNumbers(index: Tensor, shape: Shape, batchDims: number): Tensor {
  const tuple = index.shape[index.shape.length - 1];
  const strides = stridesOf(shape.slice(0, batchDims + tuple));
  const lead = index.shape.slice(0, -1);
  let row: Tensor | null = null;
  for (let k = 0; k < tuple; k++) {
    const part = mul(fromFront(select(index, -1, k), shape[batchDims + k]), strides[batchDims + k]);
    row = row === null ? part : add(row, part);
  }
  for (let axis = 0; axis < batchDims; axis++) {
    const along = mul(steps(lead[axis], axis, lead.length), strides[axis]);
    row = row === null ? along : add(row, along);
  }
  return row === null ? expand(positionTensor([0], []), lead) : row;
}

/** {@link rowNumbers} on the host, flat. @throws FormatError for positions outside */
export function knownRowNumbers(index: TensorValue, shape: Shape, batchDims: number, ctx: OpContext): Int32Array {
  const tuple = index.shape[index.shape.length - 1];
  const strides = stridesOf(shape.slice(0, batchDims + tuple));
  const entries = numbersOf(index);
  const lead = index.shape.slice(0, -1);
  const leadStrides = stridesOf(lead);
  return countTo(sizeOf(lead)).map((i) => {
    let row = 0;
    for (let axis = 0; axis < batchDims; axis++) row += (Math.floor(i / leadStrides[axis]) % lead[axis]) * strides[axis];
    const at = entries.slice(i * tuple, (i + 1) * tuple);
    at.forEach((position, k) => {
      row += checked([position], shape[batchDims + k], ctx)[0] * strides[batchDims + k];
    });
    return row;
  });
}

/** Flat positions that an index names along an axis, each other axis counting by itself; on the host. */
export function elementPositions(shape: Shape, index: TensorValue, axis: number, ctx: OpContext): Int32Array {
  const strides = stridesOf(shape);
  const along = checked(numbersOf(index), shape[axis], ctx);
  const others = gridPositions(
    shape,
    index.shape.map((extent, i) => (i === axis ? new Int32Array(extent) : countTo(extent))),
  );
  return others.map((base, i) => base + along[i] * strides[axis]);
}

/** Slices of `x` along the axis, in the shape of the index. */
export function gathered(x: TensorValue, index: TensorValue, axis: number, ctx: OpContext): TensorValue {
  const shape = [...x.shape.slice(0, axis), ...index.shape, ...x.shape.slice(axis + 1)];
  if (onHost(x, index) || (onHost(x) && index.isKnown)) {
    const list = checked(numbersOf(index), x.shape[axis], ctx);
    return arranged(
      x,
      shape,
      gridPositions(
        x.shape,
        x.shape.map((extent, i) => (i === axis ? list : countTo(extent))),
      ),
    );
  }
  const t = x.tensor;
  if (index.isKnown && index.shape.length === 0) {
    const [position] = checked(numbersOf(index), x.shape[axis], ctx);
    return TensorValue.ofTensor(select(t, axis, position), x.type);
  }
  if (x.shape[axis] === 0 && sizeOf(index.shape) > 0) ctx.fail(`axis ${axis} of [${x.shape.join(', ')}] has no elements to read`);
  return TensorValue.ofTensor(reshape(indexSelect(t, axis, reshape(index.tensor, [sizeOf(index.shape)])), shape), x.type);
}

export const gatherOps = {
  Gather: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    return gathered(x, tensorAt(inputs, 1, ctx), axisOf(ctx.attrs.int('axis', 0), x.shape.length, ctx), ctx);
  },
  GatherElements: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const index = tensorAt(inputs, 1, ctx);
    const axis = axisOf(ctx.attrs.int('axis', 0), x.shape.length, ctx);
    if (index.shape.length !== x.shape.length) {
      ctx.fail(`an index of ${index.shape.length} dimensions for a tensor of ${x.shape.length}`, 'as many');
    }
    if (onHost(x, index)) return arranged(x, index.shape, elementPositions(x.shape, index, axis, ctx));
    return TensorValue.ofTensor(gather(x.tensor, axis, index.tensor), x.type);
  },
  GatherND: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const index = tensorAt(inputs, 1, ctx);
    const batchDims = ctx.attrs.int('batch_dims', 0);
    const tuple = index.shape[index.shape.length - 1] ?? ctx.fail('the index is a scalar', 'at least one dimension');
    const used = batchDims + tuple;
    if (used > x.shape.length) ctx.fail(`${used} indices for ${x.shape.length} dimensions`, 'at most one for each');
    const lead = index.shape.slice(0, -1);
    const inner = x.shape.slice(used);
    const shape = [...lead, ...inner];
    if (onHost(x, index)) {
      const rows = knownRowNumbers(index, x.shape, batchDims, ctx);
      const size = sizeOf(inner);
      return arranged(x, shape, gridPositions([sizeOf(x.shape.slice(0, used)), size], [rows, countTo(size)]));
    }
    return computed(x.type, () => {
      const rows = reshape(x.tensor, [sizeOf(x.shape.slice(0, used)), ...inner]);
      const numbers = rowNumbers(index.tensor, x.shape, batchDims);
      return reshape(indexSelect(rows, 0, reshape(numbers, [sizeOf(lead)])), shape);
    });
  },
  ReverseSequence: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const lengths = tensorAt(inputs, 1, ctx);
    const time = axisOf(ctx.attrs.int('time_axis', 0), x.shape.length, ctx);
    const batch = axisOf(ctx.attrs.int('batch_axis', 1), x.shape.length, ctx);
    if (time === batch) ctx.fail(`axis ${time} is of time and of the batch`, 'two axes');
    return moved(
      x,
      x.shape,
      () => {
        const known = numbersOf(lengths);
        const strides = stridesOf(x.shape);
        return countTo(sizeOf(x.shape)).map((i) => {
          const t = Math.floor(i / strides[time]) % x.shape[time];
          const length = known[Math.floor(i / strides[batch]) % x.shape[batch]];
          return t < length ? i + (length - 1 - 2 * t) * strides[time] : i;
        });
      },
      (t) => {
        const step = steps(x.shape[time], time, x.shape.length);
        const length = reshape(
          lengths.tensor,
          x.shape.map((extent, i) => (i === batch ? extent : 1)),
        );
        const source = where(lt(step, length), sub(sub(length, 1), step), step);
        return gather(t, time, expand(source, x.shape));
      },
    );
  },
} satisfies OpTable;
