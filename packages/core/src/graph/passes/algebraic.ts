/**
 * Algebraic simplification. Only identities that hold for every float (signed zeros, infinities, NaN) are used, and one
 * rewrite that changes the order of rounding: a sparse gradient that is scaled and added to its parameter is scattered into
 * the parameter directly, so that an embedding's update touches only the rows it looked up.
 */
import { denseLayout, isDense, shapesEqual } from '../layout.js';
import { primitiveNamed } from '../primitive.js';
import type { GraphNode, Operand, Program, Value } from '../program.js';
import { makeNode } from '../trace.js';
import { constantOf } from './fold.js';
import { Rewriter } from './rewrite.js';

const isWhole = (o: Operand, shape: readonly number[]): boolean =>
  shapesEqual(o.layout.shape, shape) && shapesEqual(o.value.shape, shape) && o.layout.offset === 0 && isDense(o.layout);

class Simplifier extends Rewriter {
  private readonly makers = new Map<Value, GraphNode>();
  private readonly uses = new Map<Value, number>();

  constructor(program: Program) {
    super();
    const count = (v: Value): void => {
      this.uses.set(v, (this.uses.get(v) ?? 0) + 1);
    };
    for (const n of program.nodes) for (const o of n.inputs) count(o.value);
    for (const o of program.outputs) count(o.value);
    for (const u of program.updates) count(u.value.value);
  }

  visit(original: GraphNode): void {
    const node = this.node(original);
    const same = this.identity(node);
    if (same) {
      this.replace(original.outputs[0], same.value);
      return;
    }
    const sparse = this.sparseLinear(node, original);
    if (sparse) {
      this.replace(original.outputs[0], sparse.outputs[0]);
      return;
    }
    this.emit(node);
  }

  private emit(node: GraphNode): GraphNode {
    for (const v of node.outputs) this.makers.set(v, node);
    this.nodes.push(node);
    return node;
  }

  /** The operand a node passes on unchanged. */
  private identity(node: GraphNode): Operand | null {
    const [a, b] = node.inputs;
    const [out] = node.outputs;
    const constant = (o: Operand | undefined): number | bigint | null => (o ? constantOf(this.makers.get(o.value)) : null);
    const whole = (o: Operand): Operand | null => (isWhole(o, out.shape) && o.value.dtype === out.dtype ? o : null);
    switch (node.primitive.name) {
      case 'mul':
        if (Number(constant(b)) === 1 && constant(b) !== null) return whole(a);
        if (Number(constant(a)) === 1 && constant(a) !== null) return whole(b);
        return null;
      case 'div':
        return constant(b) !== null && Number(constant(b)) === 1 ? whole(a) : null;
      case 'sub':
        // x - 0 is x for every x; x + 0 is not (-0).
        return Object.is(Number(constant(b) ?? Number.NaN), 0) ? whole(a) : null;
      case 'neg': {
        const inner = this.makers.get(a.value);
        return inner?.primitive.name === 'neg' && isWhole(a, out.shape) ? whole(inner.inputs[0]) : null;
      }
      default:
        return null;
    }
  }

  /** A scatter of sums into zeros that nothing else uses. */
  private zeroScatter(o: Operand): GraphNode | null {
    const node = this.makers.get(o.value);
    if (!node || (node.primitive.name !== 'indexAdd' && node.primitive.name !== 'scatterAdd')) return null;
    if (!isWhole(o, node.outputs[0].shape) || this.uses.get(o.value) !== 1) return null;
    const zero = constantOf(this.makers.get(node.inputs[0].value));
    return zero !== null && Number(zero) === 0 ? node : null;
  }

  private sparseLinear(node: GraphNode, original: GraphNode): GraphNode | null {
    const mul = primitiveNamed('mul');
    const neg = primitiveNamed('neg');
    if (!mul || !neg || node.inputs.length !== 2) return null;
    const [a, b] = node.inputs;
    const uses = this.uses.get(original.outputs[0]) ?? 0;
    const track = (made: GraphNode): GraphNode => {
      this.uses.set(made.outputs[0], uses);
      return this.emit(made);
    };
    if (node.primitive.name === 'mul') {
      for (const [sum, factor] of [
        [a, b],
        [b, a],
      ] as const) {
        const scatter = this.zeroScatter(sum);
        if (!scatter || factor.layout.strides.some((s, i) => s !== 0 && factor.layout.shape[i] > 1)) continue;
        const source = scatter.inputs[2];
        const shape = source.layout.shape;
        const spread: Operand = { value: factor.value, layout: { shape, strides: shape.map(() => 0), offset: factor.layout.offset } };
        const scaled = this.emit(makeNode(mul, [source, spread], node.attrs, node.scope));
        return track(makeNode(scatter.primitive, [scatter.inputs[0], scatter.inputs[1], whole(scaled)], scatter.attrs, node.scope));
      }
      return null;
    }
    const subtract = node.primitive.name === 'sub';
    if (!subtract && node.primitive.name !== 'add') return null;
    const pairs = subtract
      ? ([[a, b]] as const)
      : ([
          [a, b],
          [b, a],
        ] as const);
    for (const [target, sum] of pairs) {
      const scatter = this.zeroScatter(sum);
      if (!scatter) continue;
      const source = subtract ? whole(this.emit(makeNode(neg, [scatter.inputs[2]], {}, node.scope))) : scatter.inputs[2];
      return track(makeNode(scatter.primitive, [target, scatter.inputs[1], source], scatter.attrs, node.scope));
    }
    return null;
  }
}

function whole(node: GraphNode): Operand {
  const [value] = node.outputs;
  return { value, layout: denseLayout(value.shape) };
}

export function algebraic(program: Program): Program {
  const simplifier = new Simplifier(program);
  for (const node of program.nodes) simplifier.visit(node);
  return simplifier.finish(program);
}
