/** Writes the nodes of a Program as ONNX nodes: what each value is called, and views as nodes of their own. */
import { type DType, type Tensor, TriremeError } from 'trireme';
import {
  type AttrValue,
  type GraphNode,
  isDense,
  type Layout,
  type Operand,
  type Program,
  reshapeLayout,
  type Shape,
  shapesEqual,
  sizeOf,
  type Value,
} from 'trireme/graph';
import type { OutAttributes, OutGraph, OutValue } from './graph.js';
import { planView, type ViewStep, withoutLeadingOnes } from './views.js';

/** An operation that cannot be written, at one place of a model. */
export interface Unmapped {
  /** Name of the primitive. */
  readonly op: string;
  /** Path of the module that runs it, '' outside modules. */
  readonly module: string;
  readonly reason: string;
}

/** Operations of a model that ONNX has nothing for: all of them at once. */
export class UnmappedError extends TriremeError {
  readonly unmapped: readonly Unmapped[];
  constructor(unmapped: readonly Unmapped[]) {
    const lines = unmapped.map(({ op, module, reason }) => `${op}${module === '' ? '' : ` in ${module}`} (${reason})`);
    super(`${unmapped.length} operations have no form in ONNX: ${lines.join('; ')}`, {
      op: 'exportOnnx',
      received: unmapped,
      expected: 'operations that ONNX has in the chosen opset',
      fix: 'Export the part of the model before them, choose a newer opset, or replace them.',
    });
    this.unmapped = unmapped;
  }
}

/** Thrown by what writes one node; collected into an {@link UnmappedError}. */
export class CannotMap extends Error {}

/** Writes one node. Results are handed over with {@link Emitter.define}. */
export type Mapper = (node: GraphNode, em: Emitter) => void;

/** A node, or several, that are written as something else; found by patterns. */
export interface Replacement {
  /** What it reads. */
  readonly inputs: readonly Operand[];
  emit(em: Emitter): void;
}

/** What is known of the memory from outside. */
export interface Captured {
  readonly name: string;
  /** The tensor to store. */
  readonly tensor: Tensor;
}

/** Last element of an axis, wherever that is. */
const toEnd = 2 ** 31 - 1;

export class Emitter {
  readonly graph: OutGraph;
  readonly opset: number;
  readonly #values = new Map<Value, OutValue>();
  readonly #producers: ReadonlyMap<Value, GraphNode>;
  readonly #views = new Map<string, OutValue>();
  readonly #captured: ReadonlyMap<Value, Captured>;
  /** Path of the module whose node is being written, as it stands in names: `encoder/0`. */
  scope = '';

  /** Values that something written reads. */
  wanted: ReadonlySet<Value> = new Set();
  /** What could not be written so far, bodies included. */
  readonly unmapped: Unmapped[];
  /** Path of the module that is exported: names leave it out. */
  readonly #root: string;

  constructor(
    graph: OutGraph,
    opset: number,
    program: Program,
    captured: ReadonlyMap<Value, Captured>,
    root: string,
    unmapped: Unmapped[] = [],
  ) {
    this.graph = graph;
    this.#root = root;
    this.opset = opset;
    this.#producers = producersOf(program);
    this.#captured = captured;
    this.unmapped = unmapped;
  }

  /** An emitter for a body: it sees what this one has defined by name, and has its own producers. */
  body(graph: OutGraph, program: Program): Emitter {
    const inner = new Emitter(graph, this.opset, program, new Map(), this.#root, this.unmapped);
    inner.scope = this.scope;
    return inner;
  }

  /** A module's path as part of names. */
  scopeOf(path: string): string {
    const below = path === this.#root ? '' : path.startsWith(`${this.#root}.`) ? path.slice(this.#root.length + 1) : path;
    return below.replaceAll('.', '/');
  }

  isWanted(value: Value): boolean {
    return this.wanted.has(value);
  }
  /** @throws CannotMap */
  fail(reason: string): never {
    throw new CannotMap(reason);
  }
  require(opset: number, what: string): void {
    if (this.opset < opset) this.fail(`${what} needs opset ${opset}`);
  }

  /** Says what a value is called. `value`'s elements are those of `out`, in the same order; its shape may be another. */
  define(value: Value, out: OutValue): void {
    this.#values.set(value, out);
  }
  isDefined(value: Value): boolean {
    return this.#values.has(value) || this.#captured.has(value);
  }

  /** The name, type and shape under which the elements of a value are known. */
  valueOf(value: Value): OutValue {
    const known = this.#values.get(value);
    if (known !== undefined) return known;
    const captured = this.#captured.get(value);
    if (captured === undefined) this.fail('a value that nothing makes');
    const { name, tensor } = captured;
    const made = this.graph.constant(name, value.dtype, tensor.shape, tensor);
    this.#values.set(value, made);
    return made;
  }
  /** The tensor behind a value from outside. */
  tensorOf(value: Value): Tensor | undefined {
    return this.#captured.get(value)?.tensor;
  }
  capturedName(value: Value): string | undefined {
    return this.#captured.get(value)?.name;
  }
  producerOf(value: Value): GraphNode | undefined {
    return this.#producers.get(value);
  }
  /** The number an operand consists of, where it is a constant of one number. */
  numberOf({ value }: Operand): number | undefined {
    const node = this.#producers.get(value);
    return node?.primitive.name === 'full' ? decodeNumber(node.attrs.value) : undefined;
  }

  /** Adds a node at the current module and returns what it makes. */
  op(op: string, inputs: readonly string[], dtype: DType, shape: Shape, attributes: OutAttributes = {}): OutValue {
    return this.graph.node(this.scope, op, inputs, [{ dtype, shape }], attributes)[0];
  }
  ops(
    op: string,
    inputs: readonly string[],
    outputs: readonly ({ readonly dtype: DType; readonly shape: Shape } | null)[],
    attributes: OutAttributes = {},
  ): OutValue[] {
    return this.graph.node(this.scope, op, inputs, outputs, attributes);
  }
  /** A constant of one number. */
  scalar(value: number, dtype: DType): string {
    return this.graph.literal(dtype, [], [value]).name;
  }
  ints(...values: readonly number[]): string {
    return this.graph.ints(...values);
  }

  cast(x: OutValue, dtype: DType): OutValue {
    return x.dtype === dtype ? x : this.op('Cast', [x.name], dtype, x.shape, { to: elementCode[dtype] });
  }

  reshape(x: OutValue, shape: Shape): OutValue {
    if (shapesEqual(x.shape, shape)) return x;
    const key = `${x.name}|reshape|${shape.join()}`;
    return this.#cached(key, () => this.#reshape(x, shape));
  }
  #reshape(x: OutValue, shape: Shape): OutValue {
    const added = insertedOnes(x.shape, shape);
    if (added !== null) return this.op('Unsqueeze', [x.name, this.ints(...added)], x.dtype, shape);
    const removed = insertedOnes(shape, x.shape);
    if (removed !== null) return this.op('Squeeze', [x.name, this.ints(...removed)], x.dtype, shape);
    return this.op('Reshape', [x.name, this.ints(...shape)], x.dtype, shape);
  }
  transpose(x: OutValue, permutation: readonly number[]): OutValue {
    if (permutation.every((axis, i) => axis === i)) return x;
    return this.op(
      'Transpose',
      [x.name],
      x.dtype,
      permutation.map((axis) => x.shape[axis]),
      { perm: permutation },
    );
  }
  slice(x: OutValue, axis: number, start: number, count: number, step = 1): OutValue {
    const extent = x.shape[axis];
    const last = start + (count - 1) * step;
    const end = step > 0 ? (last + step >= extent || last === extent - 1 ? toEnd : last + 1) : last + step < 0 ? -toEnd : last - 1;
    // The last element is that wherever the axis ends.
    const from = start === extent - 1 && (step < 0 || count === 1) && start > 0 ? -1 : start;
    const inputs = [
      x.name,
      this.ints(from),
      this.ints(count === 0 ? from : end),
      this.ints(axis),
      ...(step === 1 ? [] : [this.ints(step)]),
    ];
    return this.op('Slice', inputs, x.dtype, x.shape.with(axis, count));
  }
  expand(x: OutValue, shape: Shape): OutValue {
    if (shapesEqual(x.shape, shape)) return x;
    return this.op('Expand', [x.name, this.ints(...shape)], x.dtype, shape);
  }

  #cached(key: string, make: () => OutValue): OutValue {
    const known = this.#views.get(key);
    if (known !== undefined) return known;
    const made = make();
    this.#views.set(key, made);
    return made;
  }

  #step(x: OutValue, step: ViewStep): OutValue {
    switch (step.kind) {
      case 'reshape':
        return this.#reshape(x, step.shape);
      case 'transpose':
        return this.transpose(x, step.permutation);
      case 'slice':
        return this.slice(x, step.axis, step.start, step.count, step.step);
      case 'expand':
        return this.expand(x, step.shape);
      case 'gather': {
        const positions = this.graph.literal('int64', step.shape, step.positions);
        const shape = x.shape.toSpliced(step.axis, 1, ...step.shape);
        return this.op('Gather', [x.name, positions.name], x.dtype, shape, { axis: step.axis });
      }
      default:
        return step satisfies never;
    }
  }

  /** Each step by the name it gives, so that views with a common beginning share it. */
  #view(x: OutValue, steps: readonly ViewStep[]): OutValue {
    return steps.reduce((current, step) => this.#cached(`${current.name}|${JSON.stringify(step)}`, () => this.#step(current, step)), x);
  }
  #plan(from: Shape, layout: Layout, broadcast: boolean): readonly ViewStep[] {
    return planView(from, layout, broadcast) ?? this.fail('a view of too many elements that follow no rule');
  }

  /** The elements of a view, in its shape. */
  read({ value, layout }: Operand): OutValue {
    const number = this.numberOf({ value, layout });
    if (number !== undefined && layout.shape.length === 0) return this.graph.literal(value.dtype, [], [number]);
    if (number !== undefined) return this.expand(this.graph.literal(value.dtype, [], [number]), layout.shape);
    const source = this.valueOf(value);
    return this.#view(source, this.#plan(source.shape, layout, false));
  }

  /** The elements of a view in a shape that broadcasts to its own. */
  readBroadcast({ value, layout }: Operand): OutValue {
    const number = this.numberOf({ value, layout });
    if (number !== undefined) return this.graph.literal(value.dtype, [], [number]);
    const source = this.valueOf(value);
    // Leading extents of 1 need not be written: as many are left out as makes it shortest.
    const shape = layout.shape.map((extent, axis) => (extent > 1 && layout.strides[axis] === 0 ? 1 : extent));
    const most = shape.length - withoutLeadingOnes(shape).length;
    let best: readonly ViewStep[] | null = null;
    for (let cut = 0; cut <= most && best?.length !== 0; cut++) {
      const short = { shape: layout.shape.slice(cut), strides: layout.strides.slice(cut), offset: layout.offset };
      const steps = this.#plan(source.shape, short, true);
      if (best === null || steps.length <= best.length) best = steps;
    }
    return this.#view(source, best ?? []);
  }

  /** As many elements in the shape of the value behind it, where the view is just all of them in order. */
  readFlexible(operand: Operand): OutValue {
    const { value, layout } = operand;
    const whole = layout.offset === 0 && isDense(layout) && sizeOf(layout.shape) === sizeOf(value.shape);
    return whole && this.numberOf(operand) === undefined ? this.valueOf(value) : this.read(operand);
  }

  /**
   * Operands of an elementwise operation, to be broadcast, and the shape of the result: that in which the elements of the first
   * operand are known, so that reshapes around elementwise operations fall away.
   */
  elementwise(operands: readonly Operand[]): { readonly inputs: readonly OutValue[]; readonly shape: Shape } {
    const logical = operands[0].layout.shape;
    for (const { value, layout } of operands) {
      if (
        !isDense(layout) ||
        layout.offset !== 0 ||
        sizeOf(layout.shape) !== sizeOf(value.shape) ||
        this.numberOf({ value, layout }) !== undefined
      )
        continue;
      const { shape } = this.valueOf(value);
      if (shapesEqual(shape, logical)) break;
      const views = operands.map((o) => reshapeLayout(o.layout, shape));
      if (views.some((view) => view === null)) continue;
      return this.#broadcasting(
        operands.map((o, k) => ({ value: o.value, layout: views[k] ?? o.layout })),
        shape,
      );
    }
    return this.#broadcasting(operands, logical);
  }
  #broadcasting(operands: readonly Operand[], shape: Shape): { readonly inputs: readonly OutValue[]; readonly shape: Shape } {
    const inputs = operands.map((o) => this.readBroadcast(o));
    const reached = shape.map((extent, axis) => inputs.some((x) => (x.shape[axis - shape.length + x.shape.length] ?? 1) === extent));
    // Leading extents of 1 that no operand has are not in the result either.
    const rank = Math.max(...inputs.map((x) => x.shape.length));
    if (reached.every((is) => is)) return { inputs, shape: shape.slice(shape.length - rank) };
    // Every operand repeats along some axis: one has to say how often.
    return { inputs: [this.expand(inputs[0], shape), ...inputs.slice(1)], shape };
  }
}

/** Positions of the ones in `to` that `from` does not have; null when that is not all the difference. */
function insertedOnes(from: Shape, to: Shape): number[] | null {
  if (to.length <= from.length) return null;
  const added: number[] = [];
  let i = 0;
  to.forEach((extent, axis) => {
    if (i < from.length && from[i] === extent && (extent !== 1 || to.length - axis === from.length - i)) i++;
    else if (extent === 1) added.push(axis);
    else i = Number.POSITIVE_INFINITY;
  });
  return i === from.length && added.length === to.length - from.length ? added : null;
}

/** A number in the attributes of a constant: infinities, NaN, -0 and whole numbers of 64 bits are written as text. */
export function decodeNumber(value: AttrValue | undefined): number {
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (typeof value === 'string') return Number(value.endsWith('n') ? value.slice(0, -1) : value);
  return typeof value === 'number' ? value : Number.NaN;
}

/** TensorProto.DataType of each dtype. */
export const elementCode: Readonly<Record<DType, number>> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int16: 5,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  bfloat16: 16,
};

/** The node that makes each value. */
export function producersOf(program: Program): Map<Value, GraphNode> {
  return new Map(program.nodes.flatMap((node) => node.outputs.map((value) => [value, node] as const)));
}
