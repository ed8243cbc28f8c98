/** Constructors of primitives. They run while modules load, so this file imports nothing that defines primitives. */

import type { DType, ScalarType } from '../dtype.js';
import { dtypeInfo } from '../dtype.js';
import { ArgumentError, DTypeError, ShapeError } from '../errors.js';
import { formatShape, shapesEqual } from '../graph/layout.js';
import type { Attrs, Primitive, TensorType, VjpContext } from '../graph/primitive.js';
import { definePrimitive } from '../graph/primitive.js';
import type { Expr, ExprBuilder } from '../ir/expr.js';
import type { Tensor } from '../tensor/tensor.js';

/** definePrimitive with the attribute type forgotten, as the graph sees it. */
export function primitive<A extends Attrs>(definition: Parameters<typeof definePrimitive<A>>[0]): Primitive {
  return definePrimitive<A>(definition) as Primitive;
}

export interface PointwiseDefinition<A extends Attrs> {
  readonly name: string;
  readonly arity: number;
  /** dtype of the output; by default that of the inputs, which are then all the same. */
  dtype?(inputs: readonly TensorType[], attrs: A): DType;
  /** One element, from one element of each input. `dtype` is that of input 0. */
  element(b: ExprBuilder, operands: readonly Expr[], attrs: A, dtype: DType): Expr;
  readonly saves?: { readonly inputs?: readonly number[]; readonly outputs?: readonly number[] };
  readonly vjp: ((ctx: VjpContext<A>, g: Tensor) => readonly (Tensor | null)[]) | null;
  readonly cost?: number;
}

/** A primitive whose output element i depends on element i of each input only. */
export function pointwise<A extends Attrs>(definition: PointwiseDefinition<A>): Primitive {
  const { name, arity, vjp } = definition;
  return primitive<A>({
    name,
    infer(inputs, attrs) {
      if (inputs.length !== arity) throw new ArgumentError(`takes ${arity} tensors and got ${inputs.length}`, { op: name });
      const first = inputs[0];
      for (const input of inputs) {
        if (!shapesEqual(input.shape, first.shape)) {
          throw new ShapeError(`inputs of shapes ${formatShape(first.shape)} and ${formatShape(input.shape)}`, {
            op: name,
            received: inputs.map((i) => i.shape),
            expected: 'equal shapes',
          });
        }
        if (!definition.dtype && input.dtype !== first.dtype) {
          throw new DTypeError(`inputs of ${first.dtype} and ${input.dtype}`, { op: name, expected: 'one dtype' });
        }
      }
      return [{ dtype: definition.dtype ? definition.dtype(inputs, attrs) : first.dtype, shape: first.shape }];
    },
    lowering: {
      kind: 'map',
      pointwise: true,
      element(ctx, indices, attrs) {
        const operands = ctx.inputs.map((_, k) => ctx.load(k, indices));
        return [definition.element(ctx.b, operands, attrs, ctx.inputs[0].dtype)];
      },
    },
    saves: definition.saves,
    vjp: vjp === null ? null : (ctx, grads) => (grads[0] === null ? grads.map(() => null) : vjp(ctx, grads[0])),
    cost: definition.cost,
  });
}

/** The type a kernel computes a dtype in. */
export function computeType(dtype: DType): ScalarType {
  return dtypeInfo[dtype].compute;
}
