/** From a fused program to kernel calls over values: execution order, state updates in place, horizontal fusion. */
import { CompilerError } from '../errors.js';
import { ExprBuilder } from '../ir/expr.js';
import type { CallOrigin, Kernel, KernelParam, Part } from '../ir/kernel.js';
import { copyNode } from './copy.js';
import { KernelEmitter, ParamTable } from './emit.js';
import { type Fusion, fuse, type Group } from './fuse.js';
import { denseLayout, isDense, sizeOf } from './layout.js';
import { lowerContract } from './lower-contract.js';
import { lowerLoops } from './lower-loops.js';
import { originOf } from './origin.js';
import type { GraphNode, Operand, Program, Value } from './program.js';

/** One kernel with the values behind its parameters, or a control-flow node. */
export type Call =
  | {
      readonly kind: 'kernel';
      readonly kernel: Kernel;
      readonly args: readonly Value[];
      readonly work: number;
      readonly origin: CallOrigin;
      /** Output that starts as a copy of an input, in its memory where possible. */
      readonly alias: { readonly output: Value; readonly input: Operand } | null;
      /** Pairs (output, input) that may share memory: each element is read just before it is written. */
      readonly inPlace: readonly { readonly output: Value; readonly input: Value }[];
    }
  | { readonly kind: 'control'; readonly node: GraphNode };

export interface Schedule {
  readonly calls: readonly Call[];
  /** For state written directly into its input's buffer: the value and the input. */
  readonly written: ReadonlyMap<Value, Value>;
  /** Updates that end with a copy instead. */
  readonly copied: readonly { readonly value: Value; readonly input: Value }[];
}

/** Makes every output and update a whole, dense value of its own, made by a node. */
export function separateResults(program: Program): Program {
  const made = new Set(program.nodes.flatMap((n) => n.outputs));
  const taken = new Set<Value>();
  const extra: GraphNode[] = [];
  const own = (o: Operand): Operand => {
    const { value, layout } = o;
    const whole = layout.offset === 0 && isDense(layout) && sizeOf(layout.shape) === sizeOf(value.shape);
    if (whole && made.has(value) && !taken.has(value)) {
      taken.add(value);
      return { value, layout };
    }
    const node = copyNode(o);
    extra.push(node);
    return { value: node.outputs[0], layout: denseLayout(node.outputs[0].shape) };
  };
  const updates = program.updates.map((u) => ({ input: u.input, value: own(u.value) }));
  const outputs = program.outputs.map(own);
  return { ...program, nodes: [...program.nodes, ...extra], outputs, updates };
}

/** Values each group reads from memory or other groups, through what is inlined. */
function readsOf(group: Group, inlined: ReadonlyMap<Value, GraphNode>): Set<Value> {
  const reads = new Set<Value>();
  const seen = new Set<GraphNode>();
  const visit = (node: GraphNode): void => {
    if (seen.has(node)) return;
    seen.add(node);
    for (const { value } of node.inputs) {
      const producer = inlined.get(value);
      if (producer) visit(producer);
      else reads.add(value);
    }
  };
  for (const node of group.nodes) visit(node);
  return reads;
}

interface Plan {
  readonly groups: Group[];
  readonly reads: Map<Group, Set<Value>>;
  readonly producer: Map<Value, Group>;
}

function require(plan: Plan, group: Group, on: Group): void {
  const all = [on, ...on.needs];
  for (const g of all) group.needs.add(g);
  for (const other of plan.groups) if (other.needs.has(group)) for (const g of all) other.needs.add(g);
}

/** Whether `group` reads `input` only at the element it writes next (so that an output may lie in its memory). */
function readsElementwise(group: Group, input: Value, inlined: ReadonlyMap<Value, GraphNode>): boolean {
  if (group.kind === 'opaque') return false;
  let ok = true;
  const visit = (node: GraphNode, size: number): void => {
    const { lowering } = node.primitive;
    for (const { value, layout } of node.inputs) {
      const producer = inlined.get(value);
      const identity =
        lowering.kind === 'map' && lowering.pointwise && layout.offset === 0 && isDense(layout) && sizeOf(layout.shape) === size;
      if (producer && identity) visit(producer, size);
      else if (producer ? reaches(producer, input, inlined) : value === input && !identity) ok = false;
    }
  };
  for (const node of group.nodes) {
    // Where axes are reduced, elements may be read again by a later pass; rows are read once, after their reductions.
    const once = group.reduced === null || group.roles.get(node)?.kind === 'row';
    if (once) visit(node, sizeOf(node.outputs[0].shape));
    else if (reaches(node, input, inlined)) ok = false;
  }
  return ok;
}

function reaches(node: GraphNode, input: Value, inlined: ReadonlyMap<Value, GraphNode>): boolean {
  return node.inputs.some(({ value }) => {
    if (value === input) return true;
    const producer = inlined.get(value);
    return producer !== undefined && reaches(producer, input, inlined);
  });
}

/** Decides which state updates write straight into the state's memory. */
function placeUpdates(program: Program, plan: Plan, fusion: Fusion): Pick<Schedule, 'written' | 'copied'> {
  const written = new Map<Value, Value>();
  const copied: { value: Value; input: Value }[] = [];
  for (const update of program.updates) {
    const input = program.inputs[update.input];
    const { value } = update.value;
    const writer = plan.producer.get(value);
    if (!writer) throw new CompilerError('a state update without a producer', { op: program.name });
    const readers = plan.groups.filter((g) => g !== writer && plan.reads.get(g)?.has(input));
    const aliasNode = writer.kind === 'opaque' ? writer.nodes[0] : null;
    const lowering = aliasNode?.primitive.lowering;
    const aliasesInput =
      lowering?.kind === 'loops' &&
      lowering.alias &&
      aliasNode?.outputs[0] === value &&
      aliasNode.inputs[0].value === input &&
      aliasNode.inputs.slice(1).every((o) => o.value !== input);
    const selfSafe = !plan.reads.get(writer)?.has(input) || aliasesInput || readsElementwise(writer, input, fusion.inlined);
    if (!selfSafe || readers.some((r) => r.needs.has(writer))) {
      copied.push({ value, input });
      continue;
    }
    for (const r of readers) require(plan, writer, r);
    written.set(value, input);
  }
  return { written, copied };
}

/** Groups in execution order: the one whose first node is earliest among those that are ready. */
function order(groups: readonly Group[]): Group[] {
  const left = [...groups].sort((a, b) => a.nodes[0].id - b.nodes[0].id);
  const done = new Set<Group>();
  const result: Group[] = [];
  const isReady = (group: Group): boolean => {
    for (const needed of group.needs) if (!done.has(needed)) return false;
    return true;
  };
  while (left.length > 0) {
    const i = left.findIndex(isReady);
    if (i < 0) throw new CompilerError('kernels depend on each other in a circle');
    const [group] = left.splice(i, 1);
    done.add(group);
    result.push(group);
  }
  return result;
}

/** Plans the kernels of a program. */
export function schedule(
  input: Program,
  options: { readonly fusion: boolean; readonly kept?: ReadonlySet<Value> },
): { readonly program: Program; readonly schedule: Schedule } {
  const program = separateResults(input);
  const fusion = fuse(program, { enabled: options.fusion });
  const plan: Plan = { groups: [...fusion.groups], reads: new Map(), producer: new Map() };
  for (const group of plan.groups) {
    plan.reads.set(group, readsOf(group, fusion.inlined));
    for (const node of group.nodes) for (const v of node.outputs) plan.producer.set(v, group);
  }
  const placed = placeUpdates(program, plan, fusion);

  // A value needs memory when another group reads it or it leaves the program.
  const stored = new Set<Value>();
  for (const o of program.outputs) stored.add(o.value);
  for (const u of program.updates) stored.add(u.value.value);
  for (const group of plan.groups) {
    for (const v of plan.reads.get(group) ?? []) if (plan.producer.get(v) !== group) stored.add(v);
  }

  const needed = new Set(plan.groups.flatMap((g) => [...g.needs]));
  const isSink = (g: Group): boolean => options.fusion && g.kind === 'loops' && g.reduced === null && !needed.has(g);
  const sorted = order(plan.groups);
  const sinks = sorted.filter(isSink);
  const calls: Call[] = [];
  for (const group of sorted) if (!isSink(group)) calls.push(...lowerGroup(group, fusion, stored, options.kept ?? new Set()));
  if (sinks.length > 0) calls.push(lowerSinks(sinks, fusion, stored));
  return { program, schedule: { calls, ...placed } };
}

function kernelName(group: Group): string {
  const names: string[] = [];
  for (const node of group.nodes) if (names[names.length - 1] !== node.primitive.name) names.push(node.primitive.name);
  return names.length > 6 ? [...names.slice(0, 3), `${names.length - 5}more`, ...names.slice(-2)].join('_') : names.join('_');
}

function inPlacePairs(group: Group, emitter: KernelEmitter, fusion: Fusion, multiPass: boolean): { output: Value; input: Value }[] {
  if (multiPass || group.kind !== 'loops' || group.reduced !== null) return [];
  const outputs = new Set(group.nodes.flatMap((n) => n.outputs));
  const pairs: { output: Value; input: Value }[] = [];
  for (const input of emitter.arguments) {
    if (outputs.has(input) || !readsElementwise(group, input, fusion.inlined)) continue;
    for (const output of emitter.arguments) {
      if (outputs.has(output) && output.dtype === input.dtype && sizeOf(output.shape) === sizeOf(input.shape))
        pairs.push({ output, input });
    }
  }
  return pairs;
}

function lowerGroup(group: Group, fusion: Fusion, stored: ReadonlySet<Value>, kept: ReadonlySet<Value>): Call[] {
  const name = kernelName(group);
  const kernel = (params: readonly KernelParam[], parts: readonly Part[]): Kernel => ({ name, params, parts });
  if (group.kind === 'loops') {
    const { emitter, part, work, multiPass } = lowerLoops(group, fusion.inlined, stored);
    if (part.grid === 0) return [];
    const inPlace = inPlacePairs(group, emitter, fusion, multiPass);
    return [
      {
        kind: 'kernel',
        kernel: kernel(emitter.parameters, [part]),
        args: emitter.arguments,
        work,
        origin: originOf(group.nodes, fusion.inlined, emitter.arguments, [part]),
        alias: null,
        inPlace,
      },
    ];
  }
  if (group.kind === 'contract') {
    const { emitter, part, work } = lowerContract(group, fusion.inlined, stored, kept);
    if (sizeOf(group.shape) === 0) return [];
    return [
      {
        kind: 'kernel',
        kernel: kernel(emitter.parameters, [part]),
        args: emitter.arguments,
        work,
        origin: originOf(group.nodes, fusion.inlined, emitter.arguments, [part]),
        alias: null,
        inPlace: [],
      },
    ];
  }
  const [node] = group.nodes;
  const { lowering } = node.primitive;
  if (lowering.kind === 'control') return [{ kind: 'control', node }];
  if (lowering.kind !== 'loops') throw new CompilerError(`no lowering for ${node.primitive.name}`, { op: node.primitive.name });
  const emitter = new KernelEmitter(fusion.inlined);
  const stages = lowering.stages(emitter.loopsContext(node), node.attrs);
  const elements = Math.max(...node.inputs.map((o) => sizeOf(o.layout.shape)), ...node.outputs.map((v) => sizeOf(v.shape)));
  // Outputs nobody wrote in this kernel list are still parameters: stages share one parameter list.
  for (const v of node.outputs) emitter.buffer(v, 'write');
  const alias = lowering.alias ? { output: node.outputs[0], input: node.inputs[0] } : null;
  return stages.map((stage, i) => ({
    kind: 'kernel',
    kernel: {
      name: stages.length > 1 ? `${name}_${i}` : name,
      params: emitter.parameters,
      parts: [{ kind: 'loops', grid: stage.grid, cell: stage.cell, body: stage.body }],
    },
    args: emitter.arguments,
    work: stage.work ?? elements * 8,
    origin: originOf(group.nodes, fusion.inlined, emitter.arguments, []),
    alias: i === 0 ? alias : null,
    inPlace: [],
  }));
}

/** Elementwise groups that nothing else waits for become parts of one kernel (an optimizer's whole update, for example). */
function lowerSinks(groups: readonly Group[], fusion: Fusion, stored: ReadonlySet<Value>): Call {
  const shared = { b: new ExprBuilder(), params: new ParamTable() };
  const parts: Part[] = [];
  const inPlace: { output: Value; input: Value }[] = [];
  let work = 0;
  for (const group of groups) {
    const lowered = lowerLoops(group, fusion.inlined, stored, shared);
    if (lowered.part.grid === 0) continue;
    parts.push(lowered.part);
    work += lowered.work;
    if (groups.length === 1) inPlace.push(...inPlacePairs(group, lowered.emitter, fusion, lowered.multiPass));
  }
  const name = groups.length === 1 ? kernelName(groups[0]) : `${kernelName(groups[0])}_x${groups.length}`;
  return {
    kind: 'kernel',
    kernel: { name, params: shared.params.parameters, parts },
    args: shared.params.arguments,
    work,
    origin: originOf(
      groups.flatMap((g) => g.nodes),
      fusion.inlined,
      shared.params.arguments,
      parts,
    ),
    alias: null,
    inPlace,
  };
}
