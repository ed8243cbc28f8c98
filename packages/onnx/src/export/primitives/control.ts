/** Control flow: bodies become graphs of their own, which see the names around them. */
import type { GraphNode, Operand, Program, Value } from 'trireme/graph';
import type { Emitter, Mapper } from '../emitter.js';
import { OutGraph, type OutValue } from '../graph.js';
import { lower } from '../lower.js';

/** Names the result of a body in a graph's list of outputs, which must be made inside of it and listed once. */
function addOutput(em: Emitter, operand: Operand): void {
  const made = em.read(operand);
  const { graph } = em;
  const own = graph.nodes.some((node) => node.outputs.includes(made.name)) && !graph.outputs.some((out) => out.name === made.name);
  graph.outputs.push(own ? made : em.op('Identity', [made.name], made.dtype, made.shape));
}

/** Writes a program into the emitter's own graph; `inputs` are what its inputs are called. */
function inline(em: Emitter, program: Program, inputs: readonly OutValue[]): OutValue[] {
  const inner = em.body(em.graph, program);
  program.inputs.forEach((value, k) => inner.define(value, inputs[k]));
  lower(inner, program);
  return program.outputs.map((o) => inner.read(o));
}

function define(em: Emitter, outputs: readonly Value[], made: readonly OutValue[]): void {
  outputs.forEach((value, k) => em.define(value, made[k]));
}

/** A branch: its inputs are names from around it. */
function branch(em: Emitter, program: Program, inputs: readonly OutValue[]): OutGraph {
  const graph = new OutGraph(em.graph.names.fresh('branch'), em.graph);
  const inner = em.body(graph, program);
  program.inputs.forEach((value, k) => inner.define(value, inputs[k]));
  lower(inner, program);
  for (const output of program.outputs) addOutput(inner, output);
  return graph;
}

function cond(node: GraphNode, em: Emitter): void {
  const [test, ...inputs] = node.inputs.map((o) => em.read(o));
  const [thenBranch, elseBranch] = node.subprograms.map((program) => branch(em, program, inputs));
  define(em, node.outputs, em.ops('If', [test.name], node.outputs, { then_branch: thenBranch, else_branch: elseBranch }));
}

/** Inputs: constants, then state. The condition is evaluated before the loop and at the end of each round. */
function whileLoop(node: GraphNode, em: Emitter): void {
  const consts = node.attrs.consts as number;
  const all = node.inputs.map((o, k) => (k < consts ? em.readFlexible(o) : em.read(o)));
  const [constants, first] = [all.slice(0, consts), all.slice(consts)];
  const [condition, body] = node.subprograms;
  const [start] = inline(em, condition, all);
  const graph = new OutGraph(em.graph.names.fresh('body'), em.graph);
  graph.input('round', 'int64', []);
  graph.input('go', 'bool', []);
  const states = first.map((s, k) => graph.input(`state${k}`, s.dtype, s.shape));
  const inner = em.body(graph, body);
  body.inputs.forEach((value, k) => inner.define(value, k < consts ? constants[k] : states[k - consts]));
  lower(inner, body);
  const next = body.outputs.map((o) => inner.read(o));
  const [go] = inline(inner, condition, [...constants, ...next]);
  graph.outputs.push(inner.op('Identity', [go.name], 'bool', []));
  for (const state of next) graph.outputs.push(inner.op('Identity', [state.name], state.dtype, state.shape));
  define(em, node.outputs, em.ops('Loop', ['', start.name, ...first.map((s) => s.name)], node.outputs, { body: graph }));
}

/** Inputs: constants, state, then what is walked along axis 0. */
function scan(node: GraphNode, em: Emitter): void {
  const { consts, carries, length, reverse } = node.attrs as unknown as {
    consts: number;
    carries: number;
    length: number;
    reverse: boolean;
  };
  const all = node.inputs.map((o, k) => (k < consts ? em.readFlexible(o) : em.read(o)));
  const [body] = node.subprograms;
  const states = all.slice(consts, consts + carries);
  const walked = all.slice(consts + carries);
  const steps =
    walked.length > 0
      ? walked
      : [em.op('Range', [em.scalar(0, 'int64'), em.scalar(length, 'int64'), em.scalar(1, 'int64')], 'int64', [length])];
  const graph = new OutGraph(em.graph.names.fresh('step'), em.graph);
  const stateInputs = states.map((s, k) => graph.input(`state${k}`, s.dtype, s.shape));
  const stepInputs = steps.map((x, k) => graph.input(`x${k}`, x.dtype, x.shape.slice(1)));
  const inner = em.body(graph, body);
  const given = [...all.slice(0, consts), ...stateInputs, ...stepInputs];
  body.inputs.forEach((value, k) => inner.define(value, given[k]));
  lower(inner, body);
  for (const output of body.outputs) addOutput(inner, output);
  const stacked = node.outputs.length - carries;
  const directions = reverse
    ? {
        scan_input_directions: steps.map(() => 1),
        ...(stacked === 0 ? {} : { scan_output_directions: new Array<number>(stacked).fill(1) }),
      }
    : {};
  const inputs = [...states, ...steps].map((v) => v.name);
  define(em, node.outputs, em.ops('Scan', inputs, node.outputs, { num_scan_inputs: steps.length, body: graph, ...directions }));
}

export const controlMappers: Readonly<Record<string, Mapper>> = { cond, while: whileLoop, scan };
