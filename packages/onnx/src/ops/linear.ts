/** Matrix products. */
import { add, einsum, matmul, mul, type Tensor, transpose } from 'trireme';
import { det } from 'trireme/linalg';
import { narrow } from '../engine/carrier.js';
import type { ElementType } from '../engine/element-type.js';
import { TensorValue } from '../engine/value.js';
import { optionalTensorAt, tensorAt, tensorsOf } from './arguments.js';
import type { OpTable } from './definition.js';
import { aligned, isFloatCarrier } from './elementwise.js';
import { computed } from './tensors.js';

/** A number of which 1 changes nothing; factors of integers are whole. */
export function scaled(x: Tensor, factor: number, type: ElementType): Tensor {
  return factor === 1 ? x : mul(x, isFloatCarrier(type) ? factor : Math.trunc(factor));
}

export const linearOps = {
  MatMul: (inputs, ctx) => {
    const [a, b] = [tensorAt(inputs, 0, ctx), tensorAt(inputs, 1, ctx)];
    return computed(a.type, () => narrow(matmul(a.tensor, b.tensor), a.type));
  },
  Gemm: (inputs, ctx) => {
    const [a, b, c] = [tensorAt(inputs, 0, ctx), tensorAt(inputs, 1, ctx), optionalTensorAt(inputs, 2, ctx)];
    const beta = ctx.attrs.float('beta', 1);
    return computed(a.type, () => {
      const left = ctx.attrs.int('transA', 0) === 0 ? a.tensor : transpose(a.tensor, 0, 1);
      const right = ctx.attrs.int('transB', 0) === 0 ? b.tensor : transpose(b.tensor, 0, 1);
      const product = scaled(matmul(left, right), ctx.attrs.float('alpha', 1), a.type);
      if (c === null || beta === 0) return narrow(product, a.type);
      const bias = aligned(TensorValue.ofTensor(product, a.type), c, ctx).tensor;
      return narrow(add(product, scaled(bias, beta, a.type)), a.type);
    });
  },
  Einsum: (inputs, ctx) => {
    const operands = tensorsOf(inputs, ctx);
    const { type } = operands[0] ?? ctx.fail('there are no inputs');
    const equation = ctx.attrs.string('equation').replaceAll(' ', '');
    return computed(type, () => narrow(einsum(equation, ...operands.map((x) => x.tensor)), type));
  },
  Det: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    return computed(x.type, () => det(x.tensor));
  },
} satisfies OpTable;
