/**
 * Extents that may change: a model is recorded at several sizes, and where the recordings differ, the number is written as what it
 * depends on. What cannot be put that way is an error that names the place.
 */
import { ArgumentError, type DType } from 'trireme';
import { type OutConstant, OutGraph, type OutNode } from './graph.js';

/** An extent with a name, at the first input that has it. */
export interface DynamicExtent {
  readonly name: string;
  readonly input: string;
  readonly axis: number;
}

/** A recording and the sizes it was made at, one for each extent. */
export interface Sized {
  readonly sizes: readonly number[];
  readonly graph: OutGraph;
}

/** `sum over subsets of coefficient * product of the extents in it`; bit i of the position stands for extent i. */
type Polynomial = readonly number[];

/** From the values at the corners (bit i: the second size of extent i). */
function fitted(values: readonly number[], corners: readonly Sized[]): Polynomial {
  const [low, high] = [corners[0].sizes, corners[corners.length - 1].sizes];
  const out = values.slice();
  low.forEach((size, i) => {
    for (let at = 0; at < out.length; at++) {
      if ((at & (1 << i)) !== 0) continue;
      const other = at | (1 << i);
      const slope = (out[other] - out[at]) / (high[i] - size);
      out[at] -= slope * size;
      out[other] = slope;
    }
  });
  return out;
}
function valueAt(polynomial: Polynomial, sizes: readonly number[]): number {
  return polynomial.reduce(
    (sum, c, at) => sum + c * sizes.reduce((product, size, i) => ((at & (1 << i)) === 0 ? product : product * size), 1),
    0,
  );
}

/** Puts several recordings of one model together. */
export class Generalizer {
  private readonly extents: readonly DynamicExtent[];
  private readonly corners: readonly Sized[];
  private readonly check: Sized;
  private readonly base: OutGraph;
  /** Names of the other recordings by those of the first. */
  private readonly names: readonly Map<string, string>[];
  private readonly front: OutNode[] = [];
  private readonly made = new Map<string, string>();

  /** `corners`: the recordings at all combinations of two sizes, `check`: one at other sizes. */
  constructor(extents: readonly DynamicExtent[], corners: readonly Sized[], check: Sized) {
    this.extents = extents;
    this.corners = corners;
    this.check = check;
    this.base = corners[0].graph;
    this.names = this.all.map(() => new Map());
  }
  private get all(): readonly Sized[] {
    return [...this.corners, this.check];
  }

  private fail(where: string, what: string, values: readonly unknown[]): never {
    const list = this.all.map(
      ({ sizes }, k) => `${JSON.stringify(values[k])} for ${this.extents.map((e, i) => `${e.name} = ${sizes[i]}`).join(', ')}`,
    );
    throw new ArgumentError(`${where}: ${what} is ${list.join('; ')}`, {
      op: 'exportOnnx',
      received: values,
      expected: 'a graph that is the same for all sizes, with numbers that are sums of products of them',
      fix: 'Leave this axis out of dynamicAxes, or write the model so that it does not depend on its extent.',
    });
  }

  /** The polynomial through a number's values, null when there is none with whole coefficients. */
  private polynomialOf(values: readonly number[]): Polynomial | null {
    const polynomial = fitted(values.slice(0, this.corners.length), this.corners);
    if (!polynomial.every(Number.isInteger)) return null;
    return valueAt(polynomial, this.check.sizes) === values[values.length - 1] ? polynomial : null;
  }

  run(): OutGraph {
    const graphs = this.all.map((s) => s.graph);
    this.pairConstants(graphs);
    this.pairNames(
      graphs.map((g) => [...g.inputs, ...g.outputs].map((v) => v.name)),
      'the inputs and outputs',
    );
    const out = new OutGraph(this.base.name, null, this.base.names);
    for (const [name, constant] of this.base.constants) out.constants.set(name, constant);
    this.rewrite(graphs, out);
    out.inputs.push(...this.base.inputs);
    out.outputs.push(...this.base.outputs);
    out.nodes.unshift(...this.front);
    return out;
  }

  /** The extents of an input or output: numbers, names, or null for what depends on several. */
  dimensionsOf(kind: 'inputs' | 'outputs', k: number): (number | string | null)[] {
    const shapes = this.all.map((s) => s.graph[kind][k].shape);
    return shapes[0].map((extent, axis) => {
      const values = shapes.map((shape) => shape[axis]);
      if (values.every((v) => v === extent)) return extent;
      const i = this.extents.findIndex((_, e) => this.all.every(({ sizes }, s) => sizes[e] === values[s]));
      return i < 0 ? null : this.extents[i].name;
    });
  }

  private pairConstants(graphs: readonly OutGraph[]): void {
    const lists = graphs.map((g) => [...g.constants.values()]);
    if (lists.some((list) => list.length !== lists[0].length)) {
      this.fail(
        'the model',
        'the number of constants',
        lists.map((list) => list.length),
      );
    }
    this.pairNames(
      lists.map((list) => list.map((c) => c.name)),
      'constants',
    );
  }
  private pairNames(lists: readonly (readonly string[])[], what: string): void {
    if (lists.some((list) => list.length !== lists[0].length))
      this.fail(
        'the model',
        `the number of ${what}`,
        lists.map((list) => list.length),
      );
    lists[0].forEach((name, i) => {
      this.names.forEach((map, k) => {
        map.set(name, lists[k][i]);
      });
    });
  }

  /** Copies the nodes of the first recording, with what differs in the others put right. */
  private rewrite(graphs: readonly OutGraph[], out: OutGraph): void {
    const counts = graphs.map((g) => g.nodes.length);
    if (counts.some((n) => n !== counts[0])) this.fail('the model', 'the number of operations', counts);
    graphs[0].nodes.forEach((node, i) => {
      const nodes = graphs.map((g) => g.nodes[i]);
      const where = `${node.op} (${node.name})`;
      if (nodes.some((n) => n.op !== node.op || n.inputs.length !== node.inputs.length))
        this.fail(
          where,
          'the operation',
          nodes.map((n) => n.op),
        );
      this.pairNames(
        nodes.map((n) => n.outputs),
        'outputs',
      );
      node.inputs.forEach((name, k) => {
        nodes.forEach((n, g) => {
          if (n.inputs[k] !== (name === '' ? '' : this.names[g].get(name)))
            this.fail(
              where,
              `input ${k}`,
              nodes.map((other) => other.inputs[k]),
            );
        });
      });
      const inputs = node.inputs.map((name, k) => this.inputOf(graphs, nodes, k, name, where, out));
      out.nodes.push({ ...node, inputs, attributes: this.attributesOf(nodes, where, out) });
    });
  }

  private attributesOf(nodes: readonly OutNode[], where: string, out: OutGraph): OutNode['attributes'] {
    return Object.fromEntries(
      Object.entries(nodes[0].attributes).map(([key, value]) => {
        if (value instanceof OutGraph) {
          const bodies = nodes.map((n) => n.attributes[key]).filter((v) => v instanceof OutGraph);
          const body = new OutGraph(value.name, out);
          this.pairNames(
            bodies.map((b) => b.inputs.map((v) => v.name)),
            'inputs of a body',
          );
          this.rewrite(bodies, body);
          body.inputs.push(...value.inputs);
          body.outputs.push(...value.outputs);
          return [key, body];
        }
        const texts = nodes.map((n) => JSON.stringify(n.attributes[key]));
        if (texts.some((text) => text !== texts[0]))
          this.fail(
            where,
            key,
            nodes.map((n) => n.attributes[key]),
          );
        return [key, value];
      }),
    );
  }

  /** The name to read in the place of a constant that differs. */
  private inputOf(graphs: readonly OutGraph[], nodes: readonly OutNode[], k: number, name: string, where: string, out: OutGraph): string {
    const constants = nodes.map((n, g) => this.all[g].graph.constants.get(n.inputs[k]));
    const [first] = constants;
    if (first === undefined || !Array.isArray(first.content)) return name;
    const rows = constants.map((c) => (c?.content ?? []) as readonly number[]);
    if (rows.every((row) => row.length === rows[0].length && row.every((v, i) => Object.is(v, rows[0][i])))) return name;
    if (rows.some((row) => row.length !== rows[0].length))
      this.fail(
        where,
        `the size of input ${k}`,
        rows.map((row) => row.length),
      );
    if (nodes[0].op === 'Reshape' && k === 1) {
      const plain = this.plainShape(graphs, nodes, rows);
      if (plain !== null) return this.literal(out, plain);
    }
    return this.computed(first, rows, where, k, out);
  }

  /** A shape with 0 for extents of the input and -1 for the only other that changes, as Reshape reads them. */
  private plainShape(graphs: readonly OutGraph[], nodes: readonly OutNode[], rows: readonly (readonly number[])[]): number[] | null {
    const inputs = nodes.map((n, g) => graphs[g].shapeOf(n.inputs[0]) ?? this.all[g].graph.shapeOf(n.inputs[0]));
    let open = 0;
    const shape = rows[0].map((extent, i) => {
      if (rows.every((row) => row[i] === extent)) return extent;
      if (rows.every((row, g) => inputs[g]?.[i] === row[i])) return 0;
      open++;
      return -1;
    });
    return open > 1 || rows[0].includes(0) ? null : shape;
  }

  private literal(out: OutGraph, values: readonly number[]): string {
    return out.outermost.literal('int64', [values.length], values).name;
  }

  /** Nodes that compute a constant from the extents. */
  private computed(constant: OutConstant, rows: readonly (readonly number[])[], where: string, k: number, out: OutGraph): string {
    const polynomials = rows[0].map((_, i) => {
      const values = rows.map((row) => row[i]);
      return this.polynomialOf(values) ?? this.fail(where, `input ${k}${rows[0].length > 1 ? `[${i}]` : ''}`, values);
    });
    const key = `${constant.dtype}|${constant.shape.join()}|${JSON.stringify(polynomials)}`;
    const known = this.made.get(key);
    if (known !== undefined) return known;
    const parts = polynomials.map((p) => this.evaluated(p, out));
    let name = parts.length === 1 ? parts[0] : this.node('Concat', parts, { axis: 0 });
    if (constant.shape.length === 0) name = this.node('Squeeze', [name, this.literal(out, [0])]);
    else if (constant.shape.length > 1) name = this.node('Reshape', [name, this.literal(out, constant.shape)]);
    if (constant.dtype !== 'int64') name = this.node('Cast', [name], { to: codes[constant.dtype] ?? this.fail(where, `input ${k}`, rows) });
    this.made.set(key, name);
    return name;
  }

  private node(op: string, inputs: readonly string[], attributes: OutNode['attributes'] = {}): string {
    const name = this.base.names.fresh(`extent/${op}`);
    this.front.push({ name, op, inputs, outputs: [`${name}:out`], attributes });
    return `${name}:out`;
  }
  private memo(key: string, make: () => string): string {
    const known = this.made.get(key) ?? make();
    this.made.set(key, known);
    return known;
  }

  /** An extent as a vector of one int64. */
  private extent(i: number, out: OutGraph): string {
    const { name, input, axis } = this.extents[i];
    return this.memo(`extent ${name}`, () =>
      this.node('Gather', [this.memo(`shape ${input}`, () => this.node('Shape', [input])), this.literal(out, [axis])], { axis: 0 }),
    );
  }
  private evaluated(polynomial: Polynomial, out: OutGraph): string {
    return this.memo(`polynomial ${polynomial.join()}`, () => {
      const terms: string[] = [];
      polynomial.forEach((c, at) => {
        if (c === 0) return;
        const factors = this.extents.flatMap((_, i) => ((at & (1 << i)) === 0 ? [] : [this.extent(i, out)]));
        if (c !== 1 || factors.length === 0) factors.push(this.literal(out, [c]));
        terms.push(factors.reduce((a, b) => this.node('Mul', [a, b])));
      });
      return terms.length === 0 ? this.literal(out, [0]) : terms.reduce((a, b) => this.node('Add', [a, b]));
    });
  }
}

/** Types that a number computed from extents can be wanted in. */
const codes: Partial<Record<DType, number>> = { float32: 1, int32: 6, float64: 11, float16: 10 };

/** Whole numbers without divisors, for sizes that coincide with nothing. */
const primes = Array.from({ length: 400 }, (_, i) => i + 2).filter((n) =>
  Array.from({ length: n - 2 }, (_, i) => i + 2).every((d) => n % d !== 0),
);

/**
 * Three sizes to record at. `used` are the extents that do not change: a size that divides one of them could be mistaken for a part
 * of it. A batch may have any size; another axis may have a limit near its example, so that sizes below it go first.
 */
export function sizesFor(example: number, isBatch: boolean, used: ReadonlySet<number>, taken: ReadonlySet<number>): readonly number[] {
  const stray = (p: number): boolean => taken.has(p) || [...used].some((n) => n >= p && n % p === 0);
  const below = primes.filter((p) => p >= 5 && p <= example).reverse();
  const above = primes.filter((p) => p > example && p >= 5);
  const candidates = isBatch ? primes.filter((p) => p > 30) : [...below, ...above];
  const clean = candidates.filter((p) => !stray(p));
  const other = candidates.filter((p) => !taken.has(p) && !used.has(p) && !clean.includes(p));
  return [...clean.filter((p) => isBatch || p <= example), ...other.filter((p) => isBatch || p <= example), ...clean, ...other]
    .filter((p, i, all) => all.indexOf(p) === i)
    .slice(0, 3);
}
