/** Lowering of contract groups: a contraction and the elementwise operations on its result. */
import { dtypeInfo } from '../dtype.js';
import { CompilerError } from '../errors.js';
import type { Expr, LoopVar } from '../ir/expr.js';
import type { ContractOperand, ContractPart, Coordinate, Stmt } from '../ir/kernel.js';
import { KernelEmitter, operandType, withNodes } from './emit.js';
import type { Group } from './fuse.js';
import { denseStrides, sizeOf } from './layout.js';
import type { AxisIndex } from './primitive.js';
import type { GraphNode, Operand, Value } from './program.js';

export interface LoweredContract {
  readonly emitter: KernelEmitter;
  readonly part: ContractPart;
  /** Rough scalar operations in all. */
  readonly work: number;
}

function contractOperand(emitter: KernelEmitter, operand: Operand, axes: readonly AxisIndex[], kept: boolean): ContractOperand {
  const { shape, strides, offset } = operand.layout;
  const coordinates: Coordinate[] = axes.map((axis, i) => ({
    terms: axis.terms,
    offset: axis.offset ?? 0,
    dilation: axis.dilation ?? 1,
    extent: shape[i],
    stride: strides[i],
    checked: axis.checked ?? false,
  }));
  if (offset !== 0) coordinates.push({ terms: [], offset, dilation: 1, extent: offset + 1, stride: 1, checked: false });
  const buffer = emitter.buffer(operand.value, 'read');
  return kept ? { buffer, coordinates, kept } : { buffer, coordinates };
}

/** `kept`: values whose content stays from one call of the kernel to the next. */
export function lowerContract(
  group: Group,
  inlined: ReadonlyMap<Value, GraphNode>,
  stored: ReadonlySet<Value>,
  kept: ReadonlySet<Value>,
): LoweredContract {
  const [node, ...followers] = group.nodes;
  const { lowering } = node.primitive;
  if (lowering.kind !== 'contract') throw new CompilerError(`${node.primitive.name} is not a contraction`, { op: node.primitive.name });
  const emitter = new KernelEmitter(withNodes(inlined, followers));
  const { b, algebra } = emitter;
  const spec = lowering.spec(node.inputs.map(operandType), node.attrs);
  const out = node.outputs[0];
  const type = dtypeInfo[out.dtype].compute;
  const result = b.newLocal('acc', type);
  const variables = new Map<number, LoopVar>();
  const outputVars: LoopVar[] = [];
  spec.dims.forEach((dim, d) => {
    if (dim.role === 'k') return;
    const v = b.loopVar(`${dim.role}${d}`);
    algebra.declare(b.index(v), dim.extent);
    variables.set(d, v);
    outputVars.push(v);
  });
  const indices: Expr[] = spec.out.map((d) => {
    const v = variables.get(d);
    if (!v) throw new CompilerError('a reduced dimension among the outputs of a contraction', { op: node.primitive.name });
    return spec.dims[d].extent === 1 ? b.i32(0) : b.index(v);
  });
  emitter.provide(out, () => b.read(result));
  const epilogue: Stmt[] = [];
  const flat = algebra.flatten(indices, out.shape, denseStrides(out.shape), 0);
  // Every value of the group holds the same elements in the same order, whatever its shape.
  const index = algebra.toExpr(flat);
  if (stored.has(out)) epilogue.push(emitter.store(out, index, b.read(result)));
  let cost = 0;
  for (const f of followers) {
    cost += f.primitive.cost ?? 1;
    const own = group.roles.get(f)?.reshaped ? algebra.unflatten(flat, f.outputs[0].shape).map((a) => algebra.toExpr(a)) : indices;
    const values = emitter.element(f, own, null);
    f.outputs.forEach((value, k) => {
      if (stored.has(value)) epilogue.push(emitter.store(value, index, values[k]));
    });
  }
  const part: ContractPart = {
    kind: 'contract',
    type,
    dims: spec.dims,
    a: contractOperand(emitter, node.inputs[0], spec.a, kept.has(node.inputs[0].value)),
    b: contractOperand(emitter, node.inputs[1], spec.b, kept.has(node.inputs[1].value)),
    result,
    outputVars,
    epilogue,
  };
  const k = spec.dims.reduce((n, d) => (d.role === 'k' ? n * d.extent : n), 1);
  return { emitter, part, work: sizeOf(out.shape) * (k + cost) };
}
