/**
 * Reading and changing rows of a table by number. The writing ones work in place and touch the named rows only, inside
 * jit() too: what sparse gradients, embeddings and caches are made of. Numbers of `count` and above name no row.
 */
import { ShapeError } from '../errors.js';
import { formatShape, shapesEqual, sizeOf } from '../graph/layout.js';
import type { Primitive } from '../graph/primitive.js';
import { applyInPlace } from '../tensor/dispatch.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { cast } from './cast.js';
import { primitive } from './define.js';
import { indexSelect, requireIndex } from './gather.js';
import { indexAddPrimitive } from './scatter.js';
import { divisorUpTo, forLoop, ifThen, inRange, unravel, vectorLoop, wrapIndex } from './statements.js';

function checkRows(inputs: readonly { readonly dtype: Tensor['dtype']; readonly shape: readonly number[] }[], op: string): void {
  const [table, index, values] = inputs;
  requireIndex(index, op);
  const fits = index.shape.length === 1 && table.shape.length > 0 && table.dtype === values.dtype;
  if (fits && shapesEqual(values.shape, table.shape.with(0, index.shape[0]))) return;
  throw new ShapeError(
    `table ${table.dtype} ${formatShape(table.shape)}, rows ${formatShape(index.shape)} and values ${values.dtype} ${formatShape(values.shape)} do not fit`,
    {
      op,
      received: inputs.map((i) => i.shape),
      expected: 'a 1-d index and one row of values for each of its numbers, in the dtype of the table',
    },
  );
}

/** Cells that share the rows by number modulo their count; below the threshold one cell does all. */
const owners = 8;
const ownershipThreshold = 16384;

/** out[index[i]] = source[i]; of several values for one row the last stays. */
const setRowsPrimitive = primitive({
  name: 'setRows',
  infer(inputs) {
    checkRows(inputs, 'setRows');
    return [inputs[0]];
  },
  lowering: {
    kind: 'loops',
    alias: true,
    stages(ctx) {
      const { b } = ctx;
      const target = ctx.outputs[0].shape;
      const source = ctx.inputs[2].shape;
      const row = sizeOf(target.slice(1));
      if (sizeOf(source) === 0 || row === 0 || target[0] === 0) return [];
      const last = target.length - 1;
      const block = last === 0 ? 1 : divisorUpTo(target[last], 128);
      // One cell for each block of columns (and each owner), which walks all rows.
      const lead = last === 0 ? [1] : [1, ...target.slice(1, last), target[last] / block];
      const blocks = sizeOf(lead);
      const share = blocks < owners && sizeOf(source) >= ownershipThreshold ? owners : 1;
      const cell = b.loopVar('block');
      const owner = b.binary('rem', b.index(cell), b.i32(share));
      const at = unravel(b, b.binary('div', b.index(cell), b.i32(share)), lead);
      const step = b.loopVar('i');
      const column = b.loopVar('j');
      const inner = last === 0 ? [] : [...at.slice(1, last), b.add(b.mul(at[last], b.i32(block)), b.index(column))];
      const place = wrapIndex(b, ctx.load(1, [b.index(step)]), target[0]);
      const inside = inRange(b, place, target[0]);
      const mine = share === 1 ? inside : b.and(inside, b.binary('eq', b.and(place, b.i32(share - 1)), owner));
      const write = ctx.store(0, [place, ...inner], ctx.load(2, [b.index(step), ...inner]));
      const body = [forLoop(step, source[0], [ifThen(mine, last === 0 ? [write] : [vectorLoop(column, block, [write])])])];
      return [{ grid: blocks * share, cell, body, work: sizeOf(source) * 2 + source[0] * blocks * share * 4 }];
    },
  },
  vjp: null,
});

export const rowPrimitives: readonly Primitive[] = [setRowsPrimitive];

/** The rows of `table` [count, ...] that `indices` [n] name: [n, ...]. Differentiable. */
export function selectRows(table: Tensor, indices: Tensor): Tensor {
  return indexSelect(table, 0, indices);
}

/** `table[indices[i]] += values[i]` in place; rows named several times receive every value. Records no gradient. */
export function addRows(table: Tensor, indices: Tensor, values: Tensor): void {
  composite('addRows', () => applyInPlace(indexAddPrimitive, [table, indices, cast(values, table.dtype)], { axis: 0 }));
}

/** `table[indices[i]] = values[i]` in place; of several values for one row the last stays. Records no gradient. */
export function setRows(table: Tensor, indices: Tensor, values: Tensor): void {
  composite('setRows', () => applyInPlace(setRowsPrimitive, [table, indices, cast(values, table.dtype)]));
}
