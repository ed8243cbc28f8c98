/**
 * Fusion: which operations share a kernel.
 *
 * First every cheap elementwise operation is marked to be computed where it is used (inlined). What is left, the roots,
 * is gathered into groups that become one kernel each:
 *  - a `loops` group iterates over one domain; some of its axes may be reduced. Softmax, normalisations, losses and
 *    whole optimizer updates become one group each, however many reductions and outputs they have;
 *  - a `contract` group is one contraction and the elementwise operations applied to its result (its epilogue);
 *  - an `opaque` group is one primitive with a lowering of its own.
 */
import { dtypeInfo } from '../dtype.js';
import { denseStrides, isDense, type Shape, shapesEqual, sizeOf } from './layout.js';
import type { GraphNode, Operand, Program, Value } from './program.js';

/** How a node's output axes lie on the domain of its group: `axes[j]` is the domain axis of output axis j, -1 for extent 1. */
export interface Role {
  readonly kind: 'reduce' | 'element' | 'row';
  readonly axes: readonly number[];
  /** An element role in another shape of as many elements, in the same order: `axes` says nothing. */
  readonly reshaped?: boolean;
}

export interface Group {
  readonly kind: 'loops' | 'contract' | 'opaque';
  /** In an order in which every value is made before it is used. */
  nodes: GraphNode[];
  /** The domain of a loops group, the output shape of a contract group. */
  readonly shape: Shape;
  /** Which domain axes are reduced; null while the group has no reduction. */
  reduced: readonly boolean[] | null;
  readonly roles: Map<GraphNode, Role>;
  /** Groups that must run before, all of them (transitively). */
  readonly needs: Set<Group>;
}

export interface Fusion {
  /** In execution order. */
  readonly groups: readonly Group[];
  /** Values computed where they are used. */
  readonly inlined: ReadonlyMap<Value, GraphNode>;
}

/** Elementwise work (rough instructions) up to which a value used several times is computed again instead of stored. */
const cheapWork = 3;
/** The same for a value that is broadcast: the repetition is invariant in the inner loop, where code generators hoist it. */
const broadcastWork = 12;
/** Bound on the work of one inlined expression, so that kernels stay small. */
const maximumWork = 200;

/** dtypes whose stored form differs from the computed one: rounding happens when a value is stored, so it is stored. */
function isNarrow(value: Value): boolean {
  const { bytes, kind } = dtypeInfo[value.dtype];
  return bytes < 4 && kind !== 'bool';
}

interface Use {
  readonly node: GraphNode;
  readonly operand: Operand;
}

/** Decides which map nodes are computed where they are used. */
function chooseInlined(program: Program): Map<Value, GraphNode> {
  const uses = new Map<Value, Use[]>();
  const kept = new Set<Value>();
  for (const node of program.nodes) {
    for (const operand of node.inputs) {
      const list = uses.get(operand.value);
      if (list) list.push({ node, operand });
      else uses.set(operand.value, [{ node, operand }]);
    }
  }
  for (const o of program.outputs) kept.add(o.value);
  for (const u of program.updates) kept.add(u.value.value);
  const inlined = new Map<Value, GraphNode>();
  const work = new Map<GraphNode, number>();
  for (const node of program.nodes) {
    if (node.primitive.lowering.kind !== 'map') continue;
    let total = node.primitive.cost ?? 1;
    for (const { value } of node.inputs) {
      const producer = inlined.get(value);
      if (producer) total += work.get(producer) ?? 0;
    }
    work.set(node, total);
    if (total > maximumWork || node.outputs.some((v) => kept.has(v) || isNarrow(v))) continue;
    const all = node.outputs.flatMap((v) => uses.get(v) ?? []);
    if (all.every((use) => canInline(use, total)) && (all.length <= 1 || total <= cheapWork)) {
      for (const v of node.outputs) inlined.set(v, node);
    }
  }
  return inlined;
}

function canInline({ node, operand }: Use, work: number): boolean {
  const { lowering } = node.primitive;
  const growth = sizeOf(operand.layout.shape) / Math.max(1, sizeOf(operand.value.shape));
  switch (lowering.kind) {
    case 'contract':
    case 'control':
      return false;
    case 'loops':
      return work <= 1 && !(lowering.alias && node.inputs[0] === operand);
    case 'reduce':
      return growth <= 1 || work <= broadcastWork;
    case 'map': {
      const size = sizeOf(node.outputs[0].shape) / Math.max(1, sizeOf(operand.value.shape));
      if (lowering.pointwise) return Math.max(growth, size) <= 1 || work <= broadcastWork;
      return work <= cheapWork;
    }
    default:
      return lowering satisfies never;
  }
}

/** Reads of values in memory (or in the group) by an expression, through inlined nodes; `axes` null: not axis by axis. */
interface Read {
  readonly value: Value;
  readonly operand: Operand;
  /** Domain axis of each axis of the operand. */
  readonly axes: readonly number[] | null;
  /** Whether every step on the way reads all elements in order, in whatever shapes. */
  readonly inOrder: boolean;
}

/** For each axis of `value` the domain axis it runs along, when the operand reads it whole and axis by axis. */
function axesThrough(operand: Operand, axes: readonly number[] | null): readonly number[] | null {
  if (axes === null || operand.layout.offset !== 0) return null;
  const { shape, strides } = operand.layout;
  const target = operand.value.shape;
  const dense = denseStrides(target);
  const used = new Set<number>();
  const result = target.map((extent, j) => {
    if (extent === 1) return -1;
    const i = shape.findIndex((s, k) => !used.has(k) && s === extent && strides[k] === dense[j] && axes[k] >= 0);
    if (i < 0) return -2;
    used.add(i);
    return axes[i];
  });
  if (result.includes(-2)) return null;
  // Every axis of the operand that moves through memory is accounted for.
  if (shape.some((s, k) => s > 1 && strides[k] !== 0 && !used.has(k))) return null;
  return result;
}

function collectReads(node: GraphNode, axes: readonly number[], inlined: ReadonlyMap<Value, GraphNode>): Read[] {
  const reads: Read[] = [];
  const visit = (n: GraphNode, own: readonly number[] | null, ordered: boolean): void => {
    const { lowering } = n.primitive;
    const pointwise = lowering.kind === 'map' && lowering.pointwise;
    const through = lowering.kind === 'reduce' || pointwise ? own : null;
    for (const operand of n.inputs) {
      const producer = inlined.get(operand.value);
      const inOrder = ordered && pointwise && isWhole(operand);
      if (producer) visit(producer, axesThrough(operand, through), inOrder);
      else reads.push({ value: operand.value, operand, axes: through, inOrder });
    }
  };
  visit(node, axes, true);
  return reads;
}

/** All elements of the value, in order. */
function isWhole({ value, layout }: Operand): boolean {
  return layout.offset === 0 && isDense(layout) && sizeOf(layout.shape) === sizeOf(value.shape);
}

const identityAxes = (rank: number): number[] => Array.from({ length: rank }, (_, i) => i);

function reducedAxes(node: GraphNode): boolean[] {
  const { lowering } = node.primitive;
  const types = node.inputs.map((o) => ({ dtype: o.value.dtype, shape: o.layout.shape }));
  const mask = node.inputs[0].layout.shape.map(() => false);
  if (lowering.kind === 'reduce') for (const axis of lowering.axes(types, node.attrs)) mask[axis] = true;
  return mask;
}

/** The place `node` would take in `group`, judging by shapes alone. */
function roleIn(group: Group, node: GraphNode): Role | null {
  const { lowering } = node.primitive;
  if (lowering.kind === 'reduce') {
    if (group.kind !== 'loops' || !shapesEqual(group.shape, node.inputs[0].layout.shape)) return null;
    const mask = reducedAxes(node);
    if (group.reduced !== null && mask.some((m, i) => m !== group.reduced?.[i])) return null;
    return { kind: 'reduce', axes: identityAxes(mask.length).filter((i) => !mask[i]) };
  }
  if (lowering.kind !== 'map' || !lowering.pointwise || group.kind === 'opaque') return null;
  const { shape } = node.outputs[0];
  if (shapesEqual(shape, group.shape)) return { kind: 'element', axes: identityAxes(shape.length) };
  const { reduced } = group;
  if (reduced === null) return sizeOf(shape) === sizeOf(group.shape) ? { kind: 'element', axes: [], reshaped: true } : null;
  const kept = identityAxes(reduced.length).filter((i) => !reduced[i]);
  if (
    shapesEqual(
      shape,
      kept.map((i) => group.shape[i]),
    )
  )
    return { kind: 'row', axes: kept };
  const keptDims = group.shape.map((extent, i) => (reduced[i] ? 1 : extent));
  if (shapesEqual(shape, keptDims)) return { kind: 'row', axes: reduced.map((r, i) => (r ? -1 : i)) };
  return null;
}

/** Whether the operand reads, at each point of the domain, just the element of `value` made at that point. */
function readsInPlace(read: Read, reader: Role, producer: Role, value: Value): boolean {
  if (reader.reshaped || producer.reshaped) return read.inOrder && isWhole(read.operand);
  const through = axesThrough(read.operand, read.axes);
  return through?.every((axis, j) => value.shape[j] === 1 || axis === producer.axes[j]) ?? false;
}

class Fuser {
  readonly groups: Group[] = [];
  private readonly groupOf = new Map<GraphNode, Group>();
  private readonly producer = new Map<Value, GraphNode>();
  private readonly inlined: ReadonlyMap<Value, GraphNode>;
  private latest: { readonly node: GraphNode | null; readonly reads: Map<string, readonly Read[]> } = { node: null, reads: new Map() };

  constructor(inlined: ReadonlyMap<Value, GraphNode>) {
    this.inlined = inlined;
  }

  add(node: GraphNode): void {
    for (const v of node.outputs) this.producer.set(v, node);
    const { lowering } = node.primitive;
    const domain = lowering.kind === 'reduce' ? node.inputs[0].layout.shape : node.outputs[0].shape;
    const reads = this.readsOf(node, identityAxes(domain.length));
    const sources = new Set<Group>();
    for (const { value } of reads) {
      const made = this.producer.get(value);
      const group = made && this.groupOf.get(made);
      if (group) sources.add(group);
    }
    const home = this.findHome(node, sources);
    if (home) {
      this.join(home, node, sources);
      return;
    }
    const kind = lowering.kind === 'contract' ? 'contract' : lowering.kind === 'reduce' || lowering.kind === 'map' ? 'loops' : 'opaque';
    const reduced = lowering.kind === 'reduce' ? reducedAxes(node) : null;
    const group: Group = { kind, nodes: [], shape: domain, reduced, roles: new Map(), needs: new Set() };
    this.groups.push(group);
    const axes = identityAxes(domain.length);
    group.roles.set(node, reduced ? { kind: 'reduce', axes: axes.filter((i) => !reduced[i]) } : { kind: 'element', axes });
    this.place(group, node, sources);
  }

  /** {@link collectReads}, kept while one node looks for its group: each candidate asks again. */
  private readsOf(node: GraphNode, axes: readonly number[]): readonly Read[] {
    if (this.latest.node !== node) this.latest = { node, reads: new Map() };
    const key = axes.join();
    const known = this.latest.reads.get(key);
    if (known) return known;
    const reads = collectReads(node, axes, this.inlined);
    this.latest.reads.set(key, reads);
    return reads;
  }

  /** A source group the node can join, after merging others into it where that is possible. */
  private findHome(node: GraphNode, sources: Set<Group>): Group | null {
    for (const group of [...sources].reverse()) {
      const role = roleIn(group, node);
      if (!role || !this.fits(group, node, role, sources)) continue;
      for (const other of [...sources]) {
        if (other === group || !this.canMerge(group, other) || !this.fits(other, node, role, sources)) continue;
        this.merge(group, other);
        sources.delete(other);
      }
      return group;
    }
    return null;
  }

  private fits(group: Group, node: GraphNode, role: Role, sources: ReadonlySet<Group>): boolean {
    for (const source of sources) if (source !== group && source.needs.has(group)) return false;
    const domainAxes = role.kind === 'reduce' ? identityAxes(group.shape.length) : role.axes;
    for (const read of this.readsOf(node, domainAxes)) {
      const made = this.producer.get(read.value);
      if (!made || this.groupOf.get(made) !== group) continue;
      // What is kept in registers is not rounded to a narrow type.
      if (isNarrow(read.value)) return false;
      const producerRole = group.roles.get(made);
      if (!producerRole || !readsInPlace(read, role, producerRole, read.value)) return false;
      // A row value cannot depend on an element of the row.
      if (role.kind === 'row' && producerRole.kind === 'element') return false;
    }
    return true;
  }

  private join(group: Group, node: GraphNode, sources: ReadonlySet<Group>): void {
    const role = roleIn(group, node);
    if (role === null) return;
    group.roles.set(node, role);
    if (node.primitive.lowering.kind === 'reduce' && group.reduced === null) group.reduced = reducedAxes(node);
    this.place(group, node, sources);
  }

  private place(group: Group, node: GraphNode, sources: ReadonlySet<Group>): void {
    group.nodes.push(node);
    this.groupOf.set(node, group);
    for (const source of sources) if (source !== group) this.depend(group, source);
  }

  private depend(group: Group, on: Group): void {
    const all = [on, ...on.needs];
    for (const g of all) group.needs.add(g);
    for (const other of this.groups) if (other.needs.has(group)) for (const g of all) other.needs.add(g);
  }

  /**
   * Joins groups that read a state element by element with the group that overwrites it so: the state is read once, and
   * nobody waits for its last reader.
   */
  mergeUpdates(program: Program): void {
    for (const update of program.updates) {
      const input = program.inputs[update.input];
      const made = this.producer.get(update.value.value);
      for (const reader of [...this.groups]) {
        const writer = made && this.groupOf.get(made);
        if (!writer || writer === reader || writer.reduced !== null || !this.canMerge(writer, reader)) continue;
        if (this.readsInOrder(writer, input) === false || this.readsInOrder(reader, input) !== true) continue;
        // Who reads the old state after the reader would have to come before the writer: not both.
        const late = (g: Group): boolean => g.needs.has(reader) && this.readsInOrder(g, input) !== null;
        if (!this.groups.some(late)) this.merge(writer, reader);
      }
    }
  }
  /** Whether a group reads a value element by element, in order; null when it does not read it. */
  private readsInOrder(group: Group, value: Value): boolean | null {
    const reads = group.nodes.flatMap((node) => collectReads(node, [], this.inlined)).filter((read) => read.value === value);
    if (reads.length === 0) return null;
    return reads.every((read) => read.inOrder && isWhole(read.operand));
  }

  private canMerge(a: Group, b: Group): boolean {
    if (a.kind !== 'loops' || b.kind !== 'loops' || !shapesEqual(a.shape, b.shape)) return false;
    if ((a.reduced === null) !== (b.reduced === null) || a.reduced?.some((r, i) => r !== b.reduced?.[i])) return false;
    return !a.needs.has(b) && !b.needs.has(a);
  }

  private merge(into: Group, from: Group): void {
    for (const node of from.nodes) this.groupOf.set(node, into);
    for (const [node, role] of from.roles) into.roles.set(node, role);
    into.nodes = [...into.nodes, ...from.nodes].sort((a, b) => a.id - b.id);
    this.groups.splice(this.groups.indexOf(from), 1);
    for (const g of from.needs) this.depend(into, g);
    for (const other of this.groups) {
      if (!other.needs.delete(from)) continue;
      other.needs.add(into);
      for (const g of into.needs) other.needs.add(g);
    }
  }
}

/** Groups the nodes of a program into kernels. */
export function fuse(program: Program, options: { readonly enabled: boolean } = { enabled: true }): Fusion {
  const inlined = options.enabled ? chooseInlined(program) : new Map<Value, GraphNode>();
  const fuser = new Fuser(inlined);
  for (const node of program.nodes) {
    if (node.outputs.length > 0 && inlined.has(node.outputs[0])) continue;
    fuser.add(node);
  }
  if (options.enabled) fuser.mergeUpdates(program);
  return { groups: fuser.groups, inlined };
}
