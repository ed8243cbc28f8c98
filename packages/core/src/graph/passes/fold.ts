/** Constant folding: elementwise operations on constants become constants. */
import { dtypeInfo, type ScalarType } from '../../dtype.js';
import type { Expr } from '../../ir/expr.js';
import { ExprBuilder } from '../../ir/expr.js';
import { evalBinary, evalBitcast, evalCast, evalUnary, type Value as Scalar } from '../../ir/scalar.js';
import type { Attrs } from '../primitive.js';
import type { GraphNode, Program, Value } from '../program.js';
import { makeNode } from '../trace.js';
import { Rewriter } from './rewrite.js';

/** The number a value holds everywhere, when it was made by `full`. */
export function constantOf(node: GraphNode | undefined): number | bigint | null {
  if (node?.primitive.name !== 'full') return null;
  const { value } = node.attrs;
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  return decodeSpecial(value);
}

/** Numbers JSON cannot hold are attributes as text. */
function decodeSpecial(value: Attrs[string]): number | bigint | null {
  if (typeof value !== 'string') return null;
  if (value === 'NaN' || value === 'Infinity' || value === '-Infinity' || value === '-0') return Number(value);
  return /^-?\d+n?$/.test(value) ? BigInt(value.replace('n', '')) : null;
}

function encodeSpecial(value: number | bigint): Attrs[string] {
  if (typeof value === 'bigint') return `${value}n`;
  if (Object.is(value, -0)) return '-0';
  return Number.isFinite(value) ? value : String(value);
}

/** Evaluates an expression without loads or indices; null where it has any. */
function evaluate(e: Expr): Scalar | null {
  const children = (...list: Expr[]): Scalar[] | null => {
    const values = list.map(evaluate);
    return values.every((v): v is Scalar => v !== null) ? values : null;
  };
  switch (e.kind) {
    case 'const':
      return e.value;
    case 'unary': {
      const v = children(e.a);
      return v && evalUnary(e.op, e.type, v[0]);
    }
    case 'binary': {
      const v = children(e.a, e.b);
      return v && evalBinary(e.op, e.a.type, v[0], v[1]);
    }
    case 'select': {
      const v = children(e.condition, e.a, e.b);
      return v && (v[0] ? v[1] : v[2]);
    }
    case 'cast': {
      const v = children(e.a);
      return v && evalCast(e.a.type, e.type, v[0]);
    }
    case 'bitcast': {
      const v = children(e.a);
      return v && evalBitcast(e.type, e.a.type, v[0]);
    }
    default:
      return null;
  }
}

const wide: ReadonlySet<ScalarType> = new Set<ScalarType>(['f32', 'f64', 'i32', 'bool']);

function foldNode(node: GraphNode, makers: ReadonlyMap<Value, GraphNode>): number | bigint | null {
  const { lowering } = node.primitive;
  if (lowering.kind !== 'map' || !lowering.pointwise || node.inputs.length === 0 || node.outputs.length !== 1) return null;
  const { bytes, compute, kind } = dtypeInfo[node.outputs[0].dtype];
  if (!wide.has(compute) || (bytes < 4 && kind !== 'bool')) return null;
  const constants = node.inputs.map((o) => constantOf(makers.get(o.value)));
  if (constants.some((c) => c === null)) return null;
  const b = new ExprBuilder();
  const inputs = node.inputs.map((o) => ({ dtype: o.value.dtype, shape: o.layout.shape }));
  const load = (k: number): Expr => b.const(dtypeInfo[inputs[k].dtype].compute, constants[k] ?? 0);
  const indices = node.outputs[0].shape.map(() => b.i32(0));
  const [e] = lowering.element({ b, inputs, outputs: node.outputs, load }, indices, node.attrs);
  const result = evaluate(e);
  return typeof result === 'boolean' ? Number(result) : result;
}

export function fold(program: Program): Program {
  const rewriter = new Rewriter();
  const makers = new Map<Value, GraphNode>();
  const full = program.nodes.find((n) => n.primitive.name === 'full')?.primitive;
  if (!full) return program;
  for (const original of program.nodes) {
    let node = rewriter.node(original);
    const constant = foldNode(node, makers);
    if (constant !== null) {
      const { dtype, shape } = node.outputs[0];
      node = makeNode(full, [], { shape, value: encodeSpecial(constant), dtype }, node.scope);
      rewriter.replace(original.outputs[0], node.outputs[0]);
    }
    for (const v of node.outputs) makers.set(v, node);
    rewriter.nodes.push(node);
  }
  return rewriter.finish(program);
}
