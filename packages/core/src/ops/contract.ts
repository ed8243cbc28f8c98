/** Products of two tensors summed over common axes: the primitive behind matrix products and einsum. */
import { CompilerError, DTypeError, ShapeError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import type { AxisIndex, ContractionSpec } from '../graph/primitive.js';
import { apply1 } from '../tensor/dispatch.js';
import type { Tensor } from '../tensor/tensor.js';
import { primitive } from './define.js';

/** A label for each axis of both operands and of the result, as in einsum: equal labels are one dimension. */
type ContractAttrs = { readonly a: readonly number[]; readonly b: readonly number[]; readonly out: readonly number[] };

function extentsOf(attrs: ContractAttrs, a: readonly number[], b: readonly number[]): Map<number, number> {
  const extents = new Map<number, number>();
  const note = (labels: readonly number[], shape: readonly number[]): void =>
    labels.forEach((label, axis) => {
      const known = extents.get(label);
      if (known !== undefined && known !== shape[axis]) {
        throw new ShapeError(`operands of shapes ${formatShape(a)} and ${formatShape(b)} do not fit`, {
          op: 'contract',
          received: [a, b],
          expected: `one extent for the common axis (${known} and ${shape[axis]})`,
        });
      }
      extents.set(label, shape[axis]);
    });
  note(attrs.a, a);
  note(attrs.b, b);
  return extents;
}

const contractPrimitive = primitive<ContractAttrs>({
  name: 'contract',
  infer([a, b], attrs) {
    if (a.dtype !== b.dtype || a.dtype === 'bool') {
      throw new DTypeError(`operands of ${a.dtype} and ${b.dtype}`, {
        op: 'contract',
        received: [a.dtype, b.dtype],
        expected: 'one float or int dtype',
      });
    }
    const extents = extentsOf(attrs, a.shape, b.shape);
    return [{ dtype: a.dtype, shape: attrs.out.map((label) => extents.get(label) ?? 1) }];
  },
  lowering: {
    kind: 'contract',
    spec([a, b], attrs): ContractionSpec {
      const extents = extentsOf(attrs, a.shape, b.shape);
      // Output axes in their order, then the summed ones in the order of the first operand.
      const labels = [...attrs.out, ...attrs.a.filter((label) => !attrs.out.includes(label))];
      const dims = labels.map((label) => {
        const [inA, inB, inOut] = [attrs.a, attrs.b, attrs.out].map((list) => list.includes(label));
        if (!inOut && !(inA && inB)) throw new CompilerError(`axis ${label} is summed over one operand alone`, { op: 'contract' });
        const role = !inOut ? ('k' as const) : inA && inB ? ('batch' as const) : inA ? ('m' as const) : ('n' as const);
        return { extent: extents.get(label) ?? 1, role };
      });
      const axes = (list: readonly number[]): AxisIndex[] =>
        list.map((label) => ({ terms: [{ dim: labels.indexOf(label), coefficient: 1 }] }));
      return { dims, a: axes(attrs.a), b: axes(attrs.b), out: attrs.out.map((_, i) => i) };
    },
  },
  saves: { inputs: [0, 1] },
  vjp(ctx, [g]) {
    if (g === null) return [null, null];
    const { a, b, out } = ctx.attrs;
    return [ctx.needs(0) ? contract(g, out, ctx.input(1), b, a) : null, ctx.needs(1) ? contract(ctx.input(0), a, g, out, b) : null];
  },
});

export const contractPrimitives = [contractPrimitive];

/**
 * `out[...] = sum of a[...] * b[...]` over the labels that are not in `out`. Each label names an axis of both operands, or of one
 * operand and the result. The operand whose axis comes last in the result is taken as the second, so that rows of the result are
 * made from rows of it.
 */
export function contract(a: Tensor, aLabels: readonly number[], b: Tensor, bLabels: readonly number[], out: readonly number[]): Tensor {
  const free = out.filter((label) => aLabels.includes(label) !== bLabels.includes(label));
  const last = free[free.length - 1];
  if (last !== undefined && aLabels.includes(last)) return contract2(b, bLabels, a, aLabels, out);
  return contract2(a, aLabels, b, bLabels, out);
}

function contract2(a: Tensor, aLabels: readonly number[], b: Tensor, bLabels: readonly number[], out: readonly number[]): Tensor {
  // Labels are numbered by first appearance, so that equal contractions have equal attributes.
  const numbers = new Map<number, number>();
  const number = (label: number): number => {
    const known = numbers.get(label);
    if (known !== undefined) return known;
    numbers.set(label, numbers.size);
    return numbers.size - 1;
  };
  const attrs = { a: aLabels.map(number), b: bLabels.map(number), out: out.map(number) };
  return apply1(contractPrimitive, [a, b], attrs);
}
