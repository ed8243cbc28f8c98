/** Writing by index. */
import { expand, indexAdd, indexCopy, reshape, scatter, scatterAdd, scatterReduce, type Tensor } from 'trireme';
import { inOrder, narrow } from '../engine/carrier.js';
import type { ElementType, HostArray } from '../engine/element-type.js';
import { TensorValue } from '../engine/value.js';
import { axisOf, tensorAt } from './arguments.js';
import { copyElements, countTo, emptyLike, gridPositions, isHostType, onHost, sizeOf } from './arrange.js';
import type { OpContext, OpTable } from './definition.js';
import { elementPositions, knownRowNumbers, rowNumbers } from './gather.js';
import { computed } from './tensors.js';

const reductions = { none: 'none', add: 'sum', mul: 'prod', max: 'amax', min: 'amin' } as const;
type Reduction = (typeof reductions)[keyof typeof reductions];

function reductionOf(ctx: OpContext): Reduction {
  const name = ctx.attrs.string('reduction', 'none');
  if (Object.hasOwn(reductions, name)) return reductions[name as keyof typeof reductions];
  return ctx.fail(`reduction "${name}"`, Object.keys(reductions).join(', '));
}

/** Runs `write` so that comparisons order the values of the type. */
function ordered(type: ElementType, reduction: Reduction, tensors: readonly Tensor[], write: (list: readonly Tensor[]) => Tensor): Tensor {
  if (reduction !== 'amax' && reduction !== 'amin') return write(tensors);
  // Its own inverse.
  return inOrder(write(tensors.map((t) => inOrder(t, type))), type);
}

/** A copy with elements replaced at these flat positions; of several values for one place the last stays. */
function replaced(x: TensorValue, positions: Int32Array, updates: TensorValue): TensorValue {
  const count = sizeOf(x.shape);
  const result: HostArray = emptyLike(x.host, x.type, count);
  copyElements(x.host, countTo(count), result, null, x.type);
  copyElements(updates.host, countTo(positions.length), result, positions, x.type);
  return TensorValue.ofHost(result, x.type, x.shape);
}

/** Whether to write on the host; there nothing is reduced. @throws FormatError for reductions of types that have none */
function writesOnHost(x: TensorValue, index: TensorValue, updates: TensorValue, reduction: Reduction, ctx: OpContext): boolean {
  if (reduction === 'none') return onHost(x, index, updates);
  return isHostType(x.type) ? ctx.fail(`reduction of ${x.type}`, 'numbers') : false;
}

function scatterElements(x: TensorValue, index: TensorValue, updates: TensorValue, axis: number, ctx: OpContext): TensorValue {
  const reduction = reductionOf(ctx);
  if (updates.type !== x.type) ctx.fail(`${updates.type} updates of a ${x.type} tensor`, 'one type');
  if (index.shape.length !== x.shape.length) ctx.fail(`an index of ${index.shape.length} dimensions for ${x.shape.length}`, 'as many');
  if (writesOnHost(x, index, updates, reduction, ctx)) return replaced(x, elementPositions(x.shape, index, axis, ctx), updates);
  const at = index.tensor;
  if (reduction === 'none') return TensorValue.ofTensor(scatter(x.tensor, axis, at, updates.tensor), x.type);
  return computed(x.type, () => {
    const result = ordered(x.type, reduction, [x.tensor, updates.tensor], ([into, values]) =>
      reduction === 'sum' ? scatterAdd(into, axis, at, values) : scatterReduce(into, axis, at, values, reduction),
    );
    return narrow(result, x.type);
  });
}

/** Rows of `into` that `rows` names replaced by, or combined with, the rows of `values`. */
function writeRows(into: Tensor, rows: Tensor, values: Tensor, reduction: Reduction): Tensor {
  if (reduction === 'none') return indexCopy(into, 0, rows, values);
  if (reduction === 'sum') return indexAdd(into, 0, rows, values);
  return scatterReduce(into, 0, expand(reshape(rows, [-1, 1]), values.shape), values, reduction);
}

function scatterRows(x: TensorValue, index: TensorValue, updates: TensorValue, ctx: OpContext): TensorValue {
  const reduction = reductionOf(ctx);
  const tuple = index.shape[index.shape.length - 1] ?? ctx.fail('the index is a scalar', 'at least one dimension');
  const lead = index.shape.slice(0, -1);
  const inner = x.shape.slice(tuple);
  const wanted = [...lead, ...inner];
  if (tuple > x.shape.length) ctx.fail(`${tuple} indices for ${x.shape.length} dimensions`, 'at most one for each');
  if (updates.type !== x.type || updates.shape.length !== wanted.length || updates.shape.some((n, i) => n !== wanted[i])) {
    ctx.fail(`${updates.type} updates [${updates.shape.join(', ')}]`, `${x.type} [${wanted.join(', ')}]`);
  }
  const size = sizeOf(inner);
  const rowCount = sizeOf(x.shape.slice(0, tuple));
  if (writesOnHost(x, index, updates, reduction, ctx)) {
    const rows = knownRowNumbers(index, x.shape, 0, ctx);
    return replaced(x, gridPositions([rowCount, size], [rows, countTo(size)]), updates);
  }
  if (sizeOf(updates.shape) === 0) return x;
  return computed(x.type, () => {
    const rows = reshape(rowNumbers(index.tensor, x.shape, 0), [sizeOf(lead)]);
    const result = ordered(x.type, reduction, [x.tensor, updates.tensor], ([into, values]) =>
      reshape(writeRows(reshape(into, [rowCount, size]), rows, reshape(values, [sizeOf(lead), size]), reduction), x.shape),
    );
    return reduction === 'none' ? result : narrow(result, x.type);
  });
}

export const scatterOps = {
  Scatter: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const axis = axisOf(ctx.attrs.int('axis', 0), x.shape.length, ctx);
    return scatterElements(x, tensorAt(inputs, 1, ctx), tensorAt(inputs, 2, ctx), axis, ctx);
  },
  ScatterElements: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const axis = axisOf(ctx.attrs.int('axis', 0), x.shape.length, ctx);
    return scatterElements(x, tensorAt(inputs, 1, ctx), tensorAt(inputs, 2, ctx), axis, ctx);
  },
  ScatterND: (inputs, ctx) => scatterRows(tensorAt(inputs, 0, ctx), tensorAt(inputs, 1, ctx), tensorAt(inputs, 2, ctx), ctx),
} satisfies OpTable;
