/** Lowering of loops groups: elementwise maps and reductions over one domain become one loop nest. */
import { dtypeInfo, type ScalarType } from '../dtype.js';
import type { Expr, Local, LoopVar } from '../ir/expr.js';
import { operands } from '../ir/expr.js';
import type { LoopPart, ReduceOp, Stmt } from '../ir/kernel.js';
import { KernelEmitter, type SharedKernel, withNodes } from './emit.js';
import type { Group } from './fuse.js';
import { denseStrides } from './layout.js';
import type { GraphNode, Value } from './program.js';

/** Elements one cell should handle: enough to be worth claiming, few enough to balance threads. */
const cellElements = 4096;
/** Elementwise work above which a value needed by a later loop is kept in memory instead of computed again. */
const keepWork = 6;

/** Neutral element of a reduction. */
export function neutral(op: ReduceOp, type: ScalarType): number | bigint | boolean {
  switch (op) {
    case 'add':
      return 0;
    case 'mul':
      return 1;
    case 'and':
      return type === 'bool' ? true : -1;
    case 'or':
      return 0;
    case 'max':
      return type === 'i32' ? -(2 ** 31) : type === 'i64' ? -(2n ** 63n) : type === 'bool' ? false : Number.NEGATIVE_INFINITY;
    case 'min':
      return type === 'i32' ? 2 ** 31 - 1 : type === 'i64' ? 2n ** 63n - 1n : type === 'bool' ? true : Number.POSITIVE_INFINITY;
    default:
      return op satisfies never;
  }
}

export interface LoweredLoops {
  readonly emitter: KernelEmitter;
  readonly part: LoopPart;
  /** Rough scalar operations in all. */
  readonly work: number;
  /** More than one pass over the domain: outputs may be written before inputs are read for the last time. */
  readonly multiPass: boolean;
}

/** Consecutive domain axes iterated as one. */
interface Span {
  readonly axes: readonly number[];
  readonly extent: number;
  readonly reduced: boolean;
}

function spansOf(group: Group, joined: readonly boolean[]): Span[] {
  const spans: Span[] = [];
  group.shape.forEach((extent, axis) => {
    const reduced = group.reduced?.[axis] ?? false;
    const last = spans[spans.length - 1];
    if (extent === 1 && last) spans[spans.length - 1] = { ...last, axes: [...last.axes, axis] };
    else if (last && last.extent === 1) spans[spans.length - 1] = { axes: [...last.axes, axis], extent, reduced };
    else if (last && joined[axis] && last.reduced === reduced) {
      spans[spans.length - 1] = { axes: [...last.axes, axis], extent: last.extent * extent, reduced };
    } else spans.push({ axes: [axis], extent, reduced });
  });
  return spans;
}

/** Lowers a loops group; `stored` are the values that need a buffer, `shared` the kernel it becomes a part of. */
export function lowerLoops(
  group: Group,
  inlined: ReadonlyMap<Value, GraphNode>,
  stored: ReadonlySet<Value>,
  shared?: SharedKernel,
): LoweredLoops {
  const separate = spansOf(
    group,
    group.shape.map(() => false),
  );
  if (separate.length < 2) return new LoopsBuilder(group, inlined, stored, separate, shared).build();
  // A draft shows which axes every access steps through as one.
  const draft = new LoopsBuilder(group, inlined, stored, separate);
  const result = draft.build();
  const joined = draft.joinableAxes();
  if (!joined.includes(true) && !shared) return result;
  return new LoopsBuilder(group, inlined, stored, spansOf(group, joined), shared).build();
}

class LoopsBuilder {
  private readonly group: Group;
  private readonly stored: ReadonlySet<Value>;
  private readonly spans: readonly Span[];
  private readonly emitter: KernelEmitter;
  /** Index expression of each domain axis at the point under construction. */
  private readonly axis: Expr[];
  /** Everything evaluated, for the analysis of which axes may be joined. */
  private readonly evaluated: Expr[] = [];
  private readonly storeIndices: Expr[] = [];
  /** Every index expression each axis had. */
  private readonly history: Expr[][];
  private readonly levels = new Map<GraphNode, number>();
  private readonly hosts = new Map<GraphNode, Value>();
  private nodeWork = 0;

  constructor(
    group: Group,
    inlined: ReadonlyMap<Value, GraphNode>,
    stored: ReadonlySet<Value>,
    spans: readonly Span[],
    shared?: SharedKernel,
  ) {
    this.group = group;
    this.stored = stored;
    this.spans = spans;
    const elements = group.nodes.filter((node) => this.isElement(node));
    this.emitter = new KernelEmitter(withNodes(inlined, elements), shared);
    this.axis = group.shape.map(() => this.emitter.b.i32(0));
    this.history = group.shape.map(() => []);
    this.assignLevels(inlined);
    this.assignHosts(inlined);
  }

  private isElement(node: GraphNode): boolean {
    return this.group.roles.get(node)?.kind === 'element';
  }

  /** Level of a node: the number of reductions one after the other that it depends on. */
  private assignLevels(inlined: ReadonlyMap<Value, GraphNode>): void {
    const made = new Map<Value, GraphNode>();
    for (const node of this.group.nodes) for (const v of node.outputs) made.set(v, node);
    const levelOf = (node: GraphNode): number => {
      const known = this.levels.get(node);
      if (known !== undefined) return known;
      let level = 0;
      for (const { value } of node.inputs) {
        const source = made.get(value) ?? inlined.get(value);
        if (!source) continue;
        const above = levelOf(source);
        level = Math.max(level, this.group.roles.get(source)?.kind === 'reduce' && made.has(value) ? above + 1 : above);
      }
      this.levels.set(node, level);
      return level;
    };
    for (const node of this.group.nodes) {
      levelOf(node);
      this.nodeWork += node.primitive.cost ?? 1;
    }
  }
  private level(node: GraphNode): number {
    return this.levels.get(node) ?? 0;
  }

  /** Gives costly elements that a later pass needs again a place to stay: the buffer of an output written later. */
  private assignHosts(inlined: ReadonlyMap<Value, GraphNode>): void {
    const lastUse = new Map<GraphNode, number>();
    const made = new Map<Value, GraphNode>();
    for (const node of this.group.nodes) for (const v of node.outputs) made.set(v, node);
    const use = (node: GraphNode, level: number): void => {
      for (const { value } of node.inputs) {
        const source = made.get(value);
        const computed = inlined.get(value);
        if (source && this.isElement(source)) lastUse.set(source, Math.max(lastUse.get(source) ?? 0, level));
        else if (!source && computed) use(computed, level);
      }
    };
    // Backwards: an element that stays nowhere is computed again, and its inputs read again, as late as its own last use.
    for (const node of this.group.nodes.toReversed())
      use(node, Math.max(this.level(node), this.isElement(node) ? (lastUse.get(node) ?? 0) : 0));
    const taken = new Set<Value>();
    for (const node of this.group.nodes) {
      if (!this.isElement(node) || (lastUse.get(node) ?? 0) <= this.level(node) || node.outputs.length !== 1) continue;
      if (this.stored.has(node.outputs[0])) {
        this.hosts.set(node, node.outputs[0]);
        continue;
      }
      if ((node.primitive.cost ?? 1) < keepWork) continue;
      const host = this.group.nodes
        .filter((o) => this.isElement(o) && this.level(o) >= (lastUse.get(node) ?? 0))
        .flatMap((o) => o.outputs)
        .find((v) => this.stored.has(v) && !taken.has(v) && v.dtype === node.outputs[0].dtype);
      if (!host) continue;
      taken.add(host);
      this.hosts.set(node, host);
    }
  }

  private setSpan(span: Span, index: Expr): void {
    const { algebra, b } = this.emitter;
    algebra.declare(index, span.extent);
    const shape = span.axes.map((a) => this.group.shape[a]);
    const parts = algebra.unflatten(algebra.analyze(index), shape);
    span.axes.forEach((axis, i) => {
      const e = shape[i] === 1 ? b.i32(0) : algebra.toExpr(parts[i]);
      algebra.declare(e, shape[i]);
      this.axis[axis] = e;
      if (e.kind !== 'const') this.history[axis].push(e);
    });
  }

  private indicesOf(node: GraphNode): Expr[] {
    const role = this.group.roles.get(node);
    if (role?.reshaped) {
      const { algebra } = this.emitter;
      const flat = algebra.flatten(this.axis, this.group.shape, denseStrides(this.group.shape), 0);
      return algebra.unflatten(flat, node.outputs[0].shape).map((a) => algebra.toExpr(a));
    }
    return (role?.axes ?? []).map((a) => (a < 0 ? this.emitter.b.i32(0) : this.axis[a]));
  }

  build(): LoweredLoops {
    const { b } = this.emitter;
    const parallel = this.spans.filter((s) => !s.reduced);
    const reduced = this.spans.filter((s) => s.reduced);
    const rowLength = reduced.reduce((n, s) => n * s.extent, 1);
    const hasReduction = this.group.nodes.some((n) => n.primitive.lowering.kind === 'reduce');
    const lastSpan = this.spans[this.spans.length - 1];
    const lastParallel = parallel[parallel.length - 1];
    const innerReduced = reduced[reduced.length - 1];
    // Rows are vectorised along the reduced axis where it is the innermost and long enough, else across rows.
    const byRow =
      hasReduction &&
      (lastParallel === undefined || lastParallel.extent < 4 || (lastSpan === innerReduced && (innerReduced?.extent ?? 0) >= 8));
    const inner = byRow ? undefined : lastParallel;
    const outer = inner ? parallel.slice(0, -1) : parallel;
    const cell = b.loopVar('cell');
    const outerCount = outer.reduce((n, s) => n * s.extent, 1);
    const perInner = byRow ? Math.max(1, rowLength) : (inner?.extent ?? 1) * Math.max(1, rowLength);
    const work = outerCount * perInner * Math.max(1, this.nodeWork);
    const multiPass = hasReduction && this.passes() > 1;
    const done = (grid: number, body: readonly Stmt[]): LoweredLoops => ({
      emitter: this.emitter,
      part: { kind: 'loops', grid, cell, body },
      work,
      multiPass: multiPass || this.hosts.size > 0,
    });
    if (outerCount * (inner?.extent ?? 1) === 0) return done(0, []);

    const budget = Math.max(256, Math.floor((4 * cellElements) / Math.max(4, this.nodeWork)));
    if (inner && (inner.extent * Math.max(1, rowLength) >= 2 * budget || outerCount === 1)) {
      // Each cell: a stretch of the inner axis of one outer index.
      const wanted = Math.max(16, Math.floor(budget / Math.max(1, rowLength)));
      const tiles = Math.max(1, Math.ceil(inner.extent / wanted));
      const tile = Math.ceil(Math.ceil(inner.extent / tiles) / 16) * 16;
      const count = Math.ceil(inner.extent / tile);
      const cellIndex = b.index(cell);
      const row = count === 1 ? cellIndex : b.binary('div', cellIndex, b.i32(count));
      const body = this.openOuter(outer, row, outerCount);
      const start = count === 1 ? b.i32(0) : b.mul(b.binary('rem', cellIndex, b.i32(count)), b.i32(tile));
      const v = b.loopVar('i');
      const extent =
        inner.extent % tile === 0 || count === 1
          ? Math.min(tile, inner.extent)
          : b.binary('min', b.i32(tile), b.sub(b.i32(inner.extent), start));
      this.setSpan(inner, b.add(start, b.index(v)));
      body.push({ kind: 'for', variable: v, extent, mode: 'vector', body: this.passesBody(reduced, 'serial') });
      return done(outerCount * count, body);
    }
    // Each cell: several consecutive outer indices.
    const rows = Math.max(1, Math.min(outerCount, Math.floor(budget / Math.max(1, perInner))));
    const cells = Math.ceil(outerCount / rows);
    const r = b.loopVar('row');
    const start = b.mul(b.index(cell), b.i32(rows));
    const row = rows === 1 ? b.index(cell) : b.add(start, b.index(r));
    const body = this.openOuter(outer, row, outerCount);
    if (inner) {
      const v = b.loopVar('i');
      this.setSpan(inner, b.index(v));
      body.push({ kind: 'for', variable: v, extent: inner.extent, mode: 'vector', body: this.passesBody(reduced, 'serial') });
    } else body.push(...this.passesBody(reduced, 'vector'));
    if (rows === 1) return done(cells, body);
    const extent = outerCount % rows === 0 ? rows : b.binary('min', b.i32(rows), b.sub(b.i32(outerCount), start));
    return done(cells, [{ kind: 'for', variable: r, extent, mode: 'serial', body }]);
  }

  private openOuter(outer: readonly Span[], flat: Expr, count: number): Stmt[] {
    const { algebra } = this.emitter;
    algebra.declare(flat, count);
    const parts = algebra.unflatten(
      algebra.analyze(flat),
      outer.map((s) => s.extent),
    );
    outer.forEach((span, i) => this.setSpan(span, algebra.toExpr(parts[i])));
    return [];
  }

  private passes(): number {
    let last = 0;
    for (const node of this.group.nodes) {
      const kind = this.group.roles.get(node)?.kind;
      if (kind === 'reduce' || (kind === 'element' && node.outputs.some((v) => this.stored.has(v))))
        last = Math.max(last, this.level(node));
    }
    return last + 1;
  }

  /** The passes over the reduced axes at one point of the parallel axes (or one pass, where nothing is reduced). */
  private passesBody(reduced: readonly Span[], mode: 'serial' | 'vector'): Stmt[] {
    const out: Stmt[] = [];
    const { nodes, roles } = this.group;
    const passes = this.passes();
    const maxLevel = Math.max(passes - 1, ...nodes.map((n) => this.level(n)));
    for (let level = 0; level <= maxLevel; level++) {
      for (const node of nodes) if (roles.get(node)?.kind === 'row' && this.level(node) === level) out.push(...this.rowNode(node));
      const reduces = nodes.filter((n) => roles.get(n)?.kind === 'reduce' && this.level(n) === level);
      const elements = nodes.filter(
        (n) => this.isElement(n) && this.level(n) === level && (this.hosts.has(n) || n.outputs.some((v) => this.stored.has(v))),
      );
      if (reduces.length === 0 && elements.length === 0) continue;
      const locals = reduces.map((node) => this.declareAccumulator(node, out));
      const close = this.openReduced(reduced, mode);
      const body: Stmt[] = [];
      // All values of a pass before its stores: an output may lie where a value is still read from.
      const stores = elements.flatMap((node) => this.elementStores(node, body));
      reduces.forEach((node, i) => {
        const value = this.emitter.b.cast(this.evaluate(this.emitter.load(node.inputs[0], this.axis, null)), locals[i].type);
        const { lowering } = node.primitive;
        if (lowering.kind === 'reduce') body.push({ kind: 'accumulate', local: locals[i], op: lowering.op, value });
      });
      out.push(...close([...body, ...stores]));
      for (const node of elements) this.afterStore(node);
      reduces.forEach((node, i) => this.publish(node.outputs[0], () => this.emitter.b.read(locals[i])));
      for (const [i, node] of reduces.entries()) {
        if (this.stored.has(node.outputs[0])) out.push(this.storeAt(node, node.outputs[0], this.emitter.b.read(locals[i])));
      }
      this.emitter.newBody();
    }
    return out;
  }

  private openReduced(reduced: readonly Span[], mode: 'serial' | 'vector'): (body: Stmt[]) => Stmt[] {
    const { b } = this.emitter;
    const variables: LoopVar[] = reduced.map((span, i) => {
      const v = b.loopVar(`r${i}`);
      this.setSpan(span, b.index(v));
      return v;
    });
    return (body) => {
      let inner = body;
      for (let i = reduced.length - 1; i >= 0; i--) {
        const last = i === reduced.length - 1;
        inner = [{ kind: 'for', variable: variables[i], extent: reduced[i].extent, mode: last ? mode : 'serial', body: inner }];
      }
      return inner;
    };
  }

  private declareAccumulator(node: GraphNode, out: Stmt[]): Local {
    const { b } = this.emitter;
    const type = dtypeInfo[node.outputs[0].dtype].compute;
    const local = b.newLocal(node.primitive.name, type);
    const op = node.primitive.lowering.kind === 'reduce' ? node.primitive.lowering.op : 'add';
    out.push({ kind: 'declare', local, value: b.const(type, neutral(op, type)) });
    return local;
  }

  private rowNode(node: GraphNode): Stmt[] {
    const { b } = this.emitter;
    const values = this.emitter.element(node, this.indicesOf(node), null);
    return node.outputs.flatMap((value, k) => {
      const local = b.newLocal(node.primitive.name, values[k].type);
      const out: Stmt[] = [{ kind: 'declare', local, value: this.evaluate(values[k]) }];
      this.publish(value, () => b.read(local));
      if (this.stored.has(value)) out.push(this.storeAt(node, value, b.read(local)));
      return out;
    });
  }

  /** Computes an element into a local that the rest of the pass reads, and returns its stores. */
  private elementStores(node: GraphNode, body: Stmt[]): Stmt[] {
    const { b } = this.emitter;
    const indices = this.indicesOf(node);
    const values = this.emitter.element(node, indices, null);
    const out: Stmt[] = [];
    node.outputs.forEach((value, k) => {
      const target = this.stored.has(value) ? value : this.hosts.get(node);
      if (!target) return;
      const local = b.newLocal(node.primitive.name, values[k].type);
      body.push({ kind: 'declare', local, value: this.evaluate(values[k]) });
      this.emitter.provide(
        value,
        this.emitter.at(value.shape, indices, () => b.read(local)),
      );
      out.push(this.storeAt(node, target, b.read(local)));
    });
    return out;
  }

  /** Later passes read a stored element back instead of computing it again. */
  private afterStore(node: GraphNode): void {
    const host = this.hosts.get(node);
    if (!host) {
      // The locals of this pass are gone.
      for (const value of node.outputs) this.emitter.provide(value, () => null);
      return;
    }
    const { b } = this.emitter;
    const type = dtypeInfo[host.dtype].compute;
    this.emitter.provide(node.outputs[0], () =>
      b.load(this.emitter.buffer(host, 'read'), type, this.emitter.flatOutput(host, this.indicesOf(node))),
    );
  }

  /** Row results are the same at every point of the row. */
  private publish(value: Value, result: () => Expr): void {
    this.emitter.provide(value, result);
  }

  private storeAt(node: GraphNode, target: Value, value: Expr): Stmt {
    const index = this.emitter.flatOutput(target, this.indicesOf(node));
    this.storeIndices.push(index);
    return this.emitter.store(target, index, value);
  }
  private evaluate(e: Expr): Expr {
    this.evaluated.push(e);
    return e;
  }

  /** For each axis: whether it may be iterated together with the one before (every access steps through both as one). */
  joinableAxes(): boolean[] {
    const { shape, reduced } = this.group;
    const long = shape.map((_, i) => i).filter((i) => shape[i] !== 1);
    const joinable = shape.map(() => false);
    long.forEach((axis, k) => {
      joinable[axis] = k > 0 && (reduced?.[axis] ?? false) === (reduced?.[long[k - 1]] ?? false);
    });
    const axisOf = new Map<Expr, number>();
    this.history.forEach((list, axis) => {
      for (const e of list) axisOf.set(e, axis);
    });
    const forbid = (axis: number): void => {
      joinable[axis] = false;
      const next = long[long.indexOf(axis) + 1];
      if (next !== undefined) joinable[next] = false;
    };
    const access = (index: Expr): void => {
      const strides = shape.map(() => 0);
      for (const t of this.emitter.algebra.analyze(index).terms) {
        const axis = axisOf.get(t.base);
        if (axis === undefined) walk(t.base);
        else strides[axis] += t.coefficient;
      }
      for (let k = 1; k < long.length; k++) {
        if (strides[long[k - 1]] !== strides[long[k]] * shape[long[k]]) joinable[long[k]] = false;
      }
    };
    const seen = new Set<Expr>();
    const walk = (e: Expr): void => {
      if (seen.has(e)) return;
      seen.add(e);
      const axis = axisOf.get(e);
      if (axis !== undefined) forbid(axis);
      else if (e.kind === 'load') {
        access(e.index);
        if (e.guard) walk(e.guard);
      } else for (const child of operands(e)) walk(child);
    };
    for (const index of this.storeIndices) access(index);
    for (const e of this.evaluated) walk(e);
    return joinable;
  }
}
