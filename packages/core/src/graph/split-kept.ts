/** Takes out of a program what follows from kept inputs alone: it needs to be computed only when they have changed. */
import { denseLayout, sizeOf } from './layout.js';
import { bytesOf } from './plan.js';
import type { GraphNode, Operand, Program, Value } from './program.js';

/** Prepared values may take so many bytes beyond the kept inputs they come from. */
const mostBytes = 64 * 2 ** 20;

export interface KeptSplit {
  /** Its outputs are `prepared`. */
  readonly preparation: Program;
  /** Its inputs are those of the whole program, then `prepared`. */
  readonly main: Program;
  readonly prepared: readonly Value[];
}

/** The two halves, or null when nothing is to be prepared. */
export function splitKept(program: Program, kept: ReadonlySet<Value>): KeptSplit | null {
  if (kept.size === 0) return null;
  const early = new Set<GraphNode>();
  const known = new Set(kept);
  // Constants belong to whoever uses them.
  const constants = new Map<Value, GraphNode>();
  for (const node of program.nodes) {
    if (node.inputs.length === 0) {
      for (const value of node.outputs) constants.set(value, node);
      continue;
    }
    if (node.primitive.lowering.kind === 'control') continue;
    const values = node.inputs.map((o) => o.value);
    if (!values.every((v) => known.has(v) || constants.has(v)) || !values.some((v) => known.has(v))) continue;
    early.add(node);
    for (const value of node.outputs) known.add(value);
  }
  if (early.size === 0) return null;
  const nodes = program.nodes.filter((node) => !early.has(node));
  const made = new Set([...early].flatMap((node) => node.outputs));
  const wanted = new Set<Value>();
  const use = ({ value }: Operand): void => {
    if (made.has(value)) wanted.add(value);
  };
  for (const node of nodes) node.inputs.forEach(use);
  program.outputs.forEach(use);
  for (const update of program.updates) use(update.value);
  const prepared = [...wanted];
  const sources = [...kept].reduce((sum, value) => sum + bytesOf(value), 0);
  if (prepared.length === 0 || prepared.reduce((sum, value) => sum + bytesOf(value), 0) > sources + mostBytes) return null;
  if (prepared.some((value) => sizeOf(value.shape) === 0)) return null;
  const needed = new Set([...early].flatMap((node) => node.inputs.flatMap(({ value }) => constants.get(value) ?? [])));
  return {
    preparation: {
      name: `${program.name}:prepare`,
      inputs: program.inputs,
      nodes: program.nodes.filter((node) => early.has(node) || needed.has(node)),
      outputs: prepared.map((value) => ({ value, layout: denseLayout(value.shape) })),
      updates: [],
    },
    main: { ...program, inputs: [...program.inputs, ...prepared], nodes },
    prepared,
  };
}
