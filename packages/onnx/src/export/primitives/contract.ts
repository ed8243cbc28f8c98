/** Products summed over common axes as MatMul, Gemm, or (what those cannot say) Einsum. */
import { isFloat } from 'trireme';
import type { GraphNode, Operand, Shape } from 'trireme/graph';
import { isDense, sizeOf } from 'trireme/graph';
import type { Emitter, Mapper } from '../emitter.js';
import type { OutValue } from '../graph.js';

type Labels = readonly number[];

export interface Contraction {
  readonly a: Labels;
  readonly b: Labels;
  readonly out: Labels;
}
export function contractionOf(node: GraphNode): Contraction {
  return node.attrs as unknown as Contraction;
}

/** Labels by what they are: in both operands and the result, in one operand and the result, summed. */
export function roles({ a, b, out }: Contraction): { readonly batch: Labels; readonly m: Labels; readonly n: Labels; readonly k: Labels } {
  return {
    batch: out.filter((label) => a.includes(label) && b.includes(label)),
    m: out.filter((label) => a.includes(label) && !b.includes(label)),
    n: out.filter((label) => b.includes(label) && !a.includes(label)),
    k: a.filter((label) => !out.includes(label)),
  };
}

/** The operand with its axes in the order of `order`; null in `order` adds an axis of 1. */
function arranged({ value, layout }: Operand, labels: Labels, order: readonly (number | null)[]): Operand {
  const at = (label: number | null): number => (label === null ? -1 : labels.indexOf(label));
  return {
    value,
    layout: {
      shape: order.map((label) => layout.shape[at(label)] ?? 1),
      strides: order.map((label) => layout.strides[at(label)] ?? 0),
      offset: layout.offset,
    },
  };
}

const equal = (a: readonly unknown[], b: readonly unknown[]): boolean => a.length === b.length && a.every((x, i) => x === b[i]);

/** Whether the operand is all of its value in order, so that leading axes may be split as the value's are. */
function isWhole({ value, layout }: Operand): boolean {
  return layout.offset === 0 && isDense(layout) && sizeOf(layout.shape) === sizeOf(value.shape);
}

/** A matrix product that MatMul can say, with the operands to give it. */
interface Product {
  readonly left: Operand;
  readonly right: Operand;
}

/** The product as [batch, m, k] times [batch, k, n]. */
function asProduct(node: GraphNode): Product | null {
  const contraction = contractionOf(node);
  const { batch, m, n, k } = roles(contraction);
  if (k.length !== 1) return null;
  const [first, second] = node.inputs;
  const build = (a: Operand, aLabels: Labels, rows: Labels, b: Operand, bLabels: Labels, columns: Labels): Product | null => {
    if (columns.length > 1 || (rows.length > 1 && batch.length > 0)) return null;
    if (!equal(contraction.out, [...batch, ...rows, ...columns])) return null;
    const leftOrder = [...batch, ...(rows.length === 0 ? [null] : rows), k[0]];
    const right = arranged(b, bLabels, [...batch, k[0], columns[0] ?? null]);
    return { left: arranged(a, aLabels, leftOrder), right };
  };
  return build(first, contraction.a, m, second, contraction.b, n) ?? build(second, contraction.b, n, first, contraction.a, m);
}

/** Adds `bias` (one value a column) where it is given. @returns null where the contraction is no plain product of matrices */
export function matrixProduct(node: GraphNode, em: Emitter, bias: Operand | null): OutValue | null {
  const product = asProduct(node);
  if (product === null) return null;
  const { left, right } = product;
  const { dtype } = node.outputs[0];
  const columns = right.layout.shape[right.layout.shape.length - 1];
  const x = flexibleRows(em, left);
  const isMatrix = x.shape.length === 2 && right.layout.shape.length === 2;
  if (isMatrix && isFloat(dtype) && (bias !== null || isTransposedWhole(right))) {
    const transposed = isTransposedWhole(right);
    const weight = em.read(transposed ? turned(right) : right);
    const inputs = [x.name, weight.name, ...(bias === null ? [] : [em.read(bias).name])];
    return em.op('Gemm', inputs, dtype, [x.shape[0], columns], transposed ? { transB: 1 } : {});
  }
  const made = em.op('MatMul', [x.name, em.read(right).name], dtype, [...x.shape.slice(0, -1), columns]);
  return bias === null ? made : em.op('Add', [made.name, em.read(bias).name], dtype, made.shape);
}

function turned({ value, layout }: Operand): Operand {
  const swap = (list: readonly number[]): number[] => [list[1], list[0]];
  return { value, layout: { shape: swap(layout.shape), strides: swap(layout.strides), offset: layout.offset } };
}
/** A matrix read by columns: Gemm takes it as it lies. */
function isTransposedWhole(operand: Operand): boolean {
  return operand.layout.shape.length === 2 && !isDense(operand.layout) && isDense(turned(operand).layout);
}

/**
 * Rows of a matrix may be several axes: MatMul leaves them as they are. They are those in front of what makes up the columns in the
 * shape that the elements are known in.
 */
function flexibleRows(em: Emitter, left: Operand): OutValue {
  if (left.layout.shape.length !== 2 || !isWhole(left)) return em.read(left);
  const known = em.valueOf(left.value);
  const columns = left.layout.shape[1];
  let rank = known.shape.length;
  while (rank > 0 && sizeOf(known.shape.slice(rank)) < columns) rank--;
  return rank >= 1 && sizeOf(known.shape.slice(rank)) === columns
    ? em.reshape(known, [...known.shape.slice(0, rank), columns])
    : em.read(left);
}

function einsum(node: GraphNode, em: Emitter): OutValue {
  const { a, b, out } = contractionOf(node);
  const letters = (labels: Labels): string => labels.map((label) => String.fromCharCode(97 + label)).join('');
  const shape: Shape = node.outputs[0].shape;
  const inputs = node.inputs.map((o) => em.read(o).name);
  return em.op('Einsum', inputs, node.outputs[0].dtype, shape, { equation: `${letters(a)},${letters(b)}->${letters(out)}` });
}

export const contractMappers: Readonly<Record<string, Mapper>> = {
  contract: (node, em) => em.define(node.outputs[0], matrixProduct(node, em, null) ?? einsum(node, em)),
};
