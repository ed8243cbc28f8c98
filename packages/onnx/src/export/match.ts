/**
 * Finds operations of the library in Programs by example: an operation is recorded on inputs of the types at hand, and what that
 * gives is compared with what the Program has, node by node. So the patterns follow the library when it composes an operation
 * in another way.
 */
import { noGrad, type Tensor } from 'trireme';
import {
  denseStrides,
  type GraphNode,
  isDense,
  type Layout,
  type Operand,
  type Program,
  sizeOf,
  type TensorType,
  traceProgram,
  type Value,
} from 'trireme/graph';
import { decodeNumber, type Emitter, producersOf } from './emitter.js';

/** A recorded operation: its inputs may be anything, and so may numbers that the recording marks as free. */
export interface Template {
  readonly program: Program;
  readonly producers: ReadonlyMap<Value, GraphNode>;
  /** Number of inputs that may be anything; those behind are memory of the recording, compared by content. */
  readonly inputs: number;
  readonly contents: ReadonlyMap<Value, ArrayLike<number | bigint>>;
}

/** Marks of free numbers: values that nobody writes. */
const firstMark = 0.618033988749;
const marks = [0, 1, 2].map((k) => firstMark + k * 1e-3);

/** What a template stands for at one place. */
export interface Match {
  /** Of each input of the template; undefined for one that it does not read. */
  readonly inputs: readonly (Operand | undefined)[];
  /** The free numbers, in order. */
  readonly numbers: readonly (number | undefined)[];
}

const templates = new Map<string, Template>();
const mostTemplates = 1024;

/**
 * The recording of `fn` on inputs of these types; `fn` gets them and the marks of free numbers. The same for the same key.
 * Shapes, types and everything else that `fn` depends on belong in the key.
 */
export function templateOf(
  key: string,
  types: readonly TensorType[],
  fn: (inputs: Tensor[], free: readonly number[]) => unknown,
): Template {
  const full = `${key}|${types.map((t) => `${t.dtype}[${t.shape.join()}]`).join()}`;
  const known = templates.get(full);
  if (known !== undefined) return known;
  const { program, captured } = noGrad(() => traceProgram((...inputs) => fn(inputs, marks), types, key));
  const contents = new Map(captured.map((t, i) => [program.inputs[types.length + i], t.dataSync() as ArrayLike<number | bigint>]));
  for (const t of captured) t.dispose();
  const made = { program, producers: producersOf(program), inputs: types.length, contents };
  if (templates.size >= mostTemplates) templates.clear();
  templates.set(full, made);
  return made;
}

/** Strides of axes with one element say nothing. */
const strideAt = (layout: Layout, axis: number): number => (layout.shape[axis] <= 1 ? 0 : layout.strides[axis]);

function sameSteps(a: Layout, b: Layout): boolean {
  return a.shape.length === b.shape.length && a.shape.every((extent, i) => extent === b.shape[i] && strideAt(a, i) === strideAt(b, i));
}
export function sameLayout(a: Layout, b: Layout): boolean {
  return a.offset === b.offset && sameSteps(a, b);
}

/** Whether an operand is all of its value in order, in whatever shape. */
export function isWhole({ value, layout }: Operand): boolean {
  return layout.offset === 0 && isDense(layout) && sizeOf(layout.shape) === sizeOf(value.shape);
}

/** One comparison under way. */
class Comparison {
  readonly inputs: (Operand | undefined)[];
  readonly numbers: (number | undefined)[] = marks.map(() => undefined);
  private readonly pairs = new Map<Value, Value>();
  private readonly template: Template;
  private readonly em: Emitter;
  private readonly own: ReadonlyMap<Value, number>;

  constructor(template: Template, em: Emitter) {
    this.template = template;
    this.em = em;
    this.inputs = new Array<undefined>(template.inputs).fill(undefined);
    this.own = new Map(template.program.inputs.map((value, k) => [value, k]));
  }

  /** Takes `known` of the template for `found` of the program, if nothing speaks against it. */
  pair(known: Value, found: Value): boolean {
    const before = this.pairs.get(known);
    if (before !== undefined) return before === found;
    const wanted = this.template.producers.get(known);
    const node = this.em.producerOf(found);
    if (wanted === undefined || node === undefined) return false;
    if (wanted.outputs.indexOf(known) !== node.outputs.indexOf(found) || !this.node(wanted, node)) return false;
    this.pairs.set(known, found);
    return true;
  }

  private node(wanted: GraphNode, node: GraphNode): boolean {
    if (wanted.primitive !== node.primitive || wanted.inputs.length !== node.inputs.length) return false;
    if (wanted.subprograms.length > 0 || wanted.outputs[0].dtype !== node.outputs[0].dtype) return false;
    if (!this.attributes(wanted, node)) return false;
    return wanted.inputs.every((operand, k) => this.operand(operand, node.inputs[k]));
  }

  private attributes(wanted: GraphNode, node: GraphNode): boolean {
    if (wanted.primitive.name === 'full') {
      const mark = marks.indexOf(decodeNumber(wanted.attrs.value));
      if (mark >= 0) {
        const value = decodeNumber(node.attrs.value);
        this.numbers[mark] ??= value;
        return this.numbers[mark] === value;
      }
    }
    return JSON.stringify(wanted.attrs) === JSON.stringify(node.attrs);
  }

  private operand(wanted: Operand, found: Operand): boolean {
    const input = this.own.get(wanted.value);
    if (input === undefined) return sameLayout(wanted.layout, found.layout) && this.pair(wanted.value, found.value);
    if (input >= this.template.inputs) return sameLayout(wanted.layout, found.layout) && this.content(wanted.value, found.value);
    return this.bind(input, wanted, found);
  }

  /** Memory of the recording against memory of the program. */
  private content(wanted: Value, found: Value): boolean {
    const tensor = this.em.tensorOf(found);
    const expected = this.template.contents.get(wanted);
    if (tensor === undefined || expected === undefined || tensor.numel !== expected.length || found.dtype !== wanted.dtype) return false;
    const values = tensor.dataSync() as ArrayLike<number | bigint>;
    return Array.from({ length: expected.length }, (_, i) => i).every((i) => values[i] === expected[i]);
  }

  /** An input of the template: the operand of the program at its first use, and the same one at the others. */
  private bind(input: number, wanted: Operand, found: Operand): boolean {
    if (wanted.value.dtype !== found.value.dtype) return false;
    const { shape } = wanted.value;
    const known = this.inputs[input];
    const plain = isWhole(wanted) && sameSteps(wanted.layout, { shape, strides: denseStrides(shape), offset: 0 });
    // The whole input may be a view of any kind; a part or another shape of it only of something that lies densely.
    if (!plain && !sameSteps(wanted.layout, found.layout)) return false;
    const layout: Layout = plain
      ? found.layout
      : { shape, strides: denseStrides(shape), offset: found.layout.offset - wanted.layout.offset };
    if (known === undefined) {
      this.inputs[input] = { value: found.value, layout };
      return true;
    }
    return known.value === found.value && sameLayout(known.layout, layout);
  }
}

export class Matcher {
  private readonly em: Emitter;
  private readonly uses = new Map<Value, number>();

  constructor(program: Program, em: Emitter) {
    this.em = em;
    const note = ({ value }: Operand): void => {
      this.uses.set(value, (this.uses.get(value) ?? 0) + 1);
    };
    for (const node of program.nodes) node.inputs.forEach(note);
    program.outputs.forEach(note);
  }

  /** How many operands read a value. */
  usesOf(value: Value): number {
    return this.uses.get(value) ?? 0;
  }
  producer(operand: Operand | undefined): GraphNode | undefined {
    return operand === undefined ? undefined : this.em.producerOf(operand.value);
  }

  /** The first node named `name` when one goes back along the inputs, at most `depth` nodes away. */
  behind(node: GraphNode, name: string, depth: number): GraphNode | undefined {
    for (const operand of node.inputs) {
      const producer = this.producer(operand);
      if (producer === undefined) continue;
      if (producer.primitive.name === name) return producer;
    }
    if (depth <= 1) return undefined;
    for (const operand of node.inputs) {
      const producer = this.producer(operand);
      const found = producer === undefined ? undefined : this.behind(producer, name, depth - 1);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Whether the template's (only) result is output 0 of `node`. */
  match(template: Template, node: GraphNode): Match | null {
    const comparison = new Comparison(template, this.em);
    const [result] = template.program.outputs;
    return comparison.pair(result.value, node.outputs[0]) ? comparison : null;
  }
}
