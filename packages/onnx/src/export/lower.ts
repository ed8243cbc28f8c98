/** From a Program to ONNX nodes: what is recognised as one operator of ONNX, and all else primitive by primitive. */
import type { GraphNode, Operand, Program, Value } from 'trireme/graph';
import { CannotMap, type Emitter, type Replacement } from './emitter.js';
import { Matcher } from './match.js';
import { recognise } from './patterns/index.js';
import { mapperOf } from './primitives/index.js';

/** The values that have to be made for the outputs, given what stands in the place of what. */
function neededFor(program: Program, em: Emitter, replaced: ReadonlyMap<GraphNode, Replacement>): Set<Value> {
  const wanted = new Set<Value>();
  const open: Operand[] = [...program.outputs];
  for (let operand = open.pop(); operand !== undefined; operand = open.pop()) {
    if (wanted.has(operand.value)) continue;
    wanted.add(operand.value);
    const node = em.producerOf(operand.value);
    if (node !== undefined) open.push(...(replaced.get(node)?.inputs ?? node.inputs));
  }
  return wanted;
}

function write(node: GraphNode, em: Emitter, replacement: Replacement | undefined): void {
  const { name } = node.primitive;
  try {
    if (replacement !== undefined) return replacement.emit(em);
    const mapper = mapperOf(name);
    if (mapper === undefined) em.fail('ONNX has no such operator');
    mapper(node, em);
  } catch (error) {
    if (!(error instanceof CannotMap)) throw error;
    em.unmapped.push({ op: name, module: em.scope.replaceAll('/', '.'), reason: error.message });
    // The rest is written on, so that one error names everything there is to say.
    for (const value of node.outputs) em.define(value, { name: `missing:${name}`, dtype: value.dtype, shape: value.shape });
  }
}

/** Writes what the outputs of a program need. What could not be written is left in `em.unmapped`. */
export function lower(em: Emitter, program: Program): void {
  const replaced = recognise(program, em, new Matcher(program, em));
  const wanted = neededFor(program, em, replaced);
  em.wanted = wanted;
  const { scope } = em;
  for (const node of program.nodes) {
    if (!node.outputs.some((value) => wanted.has(value))) continue;
    em.scope = em.scopeOf(node.scope);
    write(node, em, replaced.get(node));
  }
  em.scope = scope;
}
