/** Floating-point operations of a node: two for each multiply-add of its matrix products and convolutions; other work counts nothing. */
import type { NodeModel } from '@trireme/onnx';

export type KnownShape = readonly number[] | undefined;

function product(list: readonly number[]): number {
  return list.reduce((a, b) => a * b, 1);
}

function intOf(node: NodeModel, name: string, fallback: number): number {
  const attribute = node.attributes.get(name);
  return attribute?.kind === 'int' ? Number(attribute.value) : fallback;
}

type Rule = (node: NodeModel, inputs: readonly KnownShape[], outputs: readonly KnownShape[]) => number;

/** Weights [out, in / groups, ...kernel]: each result takes one product for every weight of its channel. */
const convolution =
  (weights: number): Rule =>
  (_, inputs, [out]) =>
    2 * product(out ?? []) * product(inputs[weights]?.slice(1) ?? [0]);

/** Weights [in, out / groups, ...kernel]: each element of the input meets every weight of its channel. */
const transposedConvolution: Rule = (_, [x, w]) => 2 * product(x ?? []) * product(w?.slice(1) ?? [0]);

const matrixProduct: Rule = (_, [a], [out]) => 2 * product(out ?? []) * (a?.at(-1) ?? 0);

const gemm: Rule = (node, [a], [out]) => 2 * product(out ?? []) * (a?.[intOf(node, 'transA', 0) === 0 ? 1 : 0] ?? 0);

/** Weights [directions, gates * hidden, in] and [directions, gates * hidden, hidden], used at each step for each sequence. */
const recurrent: Rule = (_, [x, w, r]) =>
  x === undefined || w === undefined || r === undefined ? 0 : 2 * x[0] * x[1] * (product(w) + product(r));

/** Queries times keys and their weights times values, of [batch, heads, length, size] or [batch, length, heads * size]. */
const attention: Rule = (node, [q, k, v]) => {
  if (q === undefined || k === undefined || v === undefined) return 0;
  const isSplit = q.length === 4;
  const heads = isSplit ? 1 : intOf(node, 'q_num_heads', 1);
  const [queries, keys] = [q.at(-2) ?? 0, k.at(-2) ?? 0];
  const batches = isSplit ? q[0] * q[1] : q[0];
  const kvHeads = isSplit ? 1 : intOf(node, 'kv_num_heads', heads);
  const size = (q.at(-1) ?? 0) + ((v.at(-1) ?? 0) / kvHeads) * heads;
  return 2 * batches * queries * keys * size;
};

/** Every index of the equation runs once through its extent. */
const einsum: Rule = (node, inputs) => {
  const equation = node.attributes.get('equation');
  if (equation?.kind !== 'string' || inputs.length < 2) return 0;
  const extents = new Map<string, number>();
  equation.value
    .replaceAll(' ', '')
    .split('->')[0]
    .split(',')
    .forEach((term, k) => {
      const shape = inputs[k];
      if (shape === undefined) return;
      const letters = term.replace('...', '');
      const [front, back] = term.split('...');
      const rest = shape.length - letters.length;
      for (let i = 0; i < rest && back !== undefined; i++) extents.set(`.${rest - i}`, shape[front.length + i]);
      for (const [i, letter] of [...letters].entries()) extents.set(letter, shape[i < front.length ? i : i + rest]);
    });
  return 2 * product([...extents.values()]);
};

const rules: Readonly<Record<string, Rule>> = {
  Conv: convolution(1),
  ConvInteger: convolution(1),
  QLinearConv: convolution(3),
  FusedConv: convolution(1),
  ConvTranspose: transposedConvolution,
  MatMul: matrixProduct,
  MatMulInteger: matrixProduct,
  QLinearMatMul: matrixProduct,
  FusedMatMul: matrixProduct,
  MatMulNBits: matrixProduct,
  Gemm: gemm,
  LSTM: recurrent,
  GRU: recurrent,
  RNN: recurrent,
  Attention: attention,
  Einsum: einsum,
};

/** 0 for operators without products, and where shapes are not known. */
export function flopsOf(node: NodeModel, inputs: readonly KnownShape[], outputs: readonly KnownShape[]): number {
  if (!Object.hasOwn(rules, node.opType)) return 0;
  const flops = rules[node.opType](node, inputs, outputs);
  return Number.isFinite(flops) ? flops : 0;
}
