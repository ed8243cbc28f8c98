/**
 * Recurrent layers: a scan whose body is that of the library's LSTM, GRU or RNN, over inputs that were multiplied by their weight
 * before. ONNX has the gates in another order, and one vector for both biases, so weights are stored anew.
 */
import { nn, noGrad, zeros } from 'trireme';
import { type GraphNode, type Operand, type Program, sizeOf, traceProgram, type Value } from 'trireme/graph';
import type { Emitter, Replacement } from '../emitter.js';
import type { OutAttributes, OutValue } from '../graph.js';
import { isWhole, type Matcher, sameLayout, templateOf } from '../match.js';
import { contractionOf, roles } from '../primitives/contract.js';
import type { Pattern } from './pattern.js';

interface Kind {
  readonly operator: 'LSTM' | 'GRU' | 'RNN';
  /** Where the gates of ONNX stand in the library's weights. */
  readonly gates: readonly number[];
  /** Says so in the names of weights stored anew. */
  readonly suffix: string;
  readonly attributes: OutAttributes;
  make(hidden: number, bias: boolean): nn.LSTM | nn.GRU | nn.RNN;
}

const kinds: readonly Kind[] = [
  {
    operator: 'LSTM',
    gates: [0, 3, 1, 2],
    suffix: 'iofc',
    attributes: {},
    make: (hidden, bias) => new nn.LSTM(1, hidden, { bias }),
  },
  {
    operator: 'GRU',
    gates: [1, 0, 2],
    suffix: 'zrh',
    attributes: { linear_before_reset: 1 },
    make: (hidden, bias) => new nn.GRU(1, hidden, { bias }),
  },
  ...(['tanh', 'relu'] as const).map(
    (nonlinearity): Kind => ({
      operator: 'RNN',
      gates: [0],
      suffix: 'i',
      attributes: { activations: { strings: [nonlinearity === 'tanh' ? 'Tanh' : 'Relu'] } },
      make: (hidden, bias) => new nn.RNN(1, hidden, { bias, nonlinearity }),
    }),
  ),
];

const bodies = new Map<string, Program>();

/**
 * The body of the library's loop, over sequences of one length or (`masked`) of several. The layer is made while recording, so that
 * nothing is drawn and nothing allocated.
 */
function bodyOf(kind: Kind, batch: number, hidden: number, bias: boolean, masked: boolean): Program | null {
  const key = `${kinds.indexOf(kind)}|${batch}|${hidden}|${bias}|${masked}`;
  const known = bodies.get(key);
  if (known !== undefined) return known;
  const run = (): unknown => {
    const layer = kind.make(hidden, bias) as nn.GRU;
    const x = zeros([2, batch, 1]);
    return masked ? layer.call(new nn.PackedSequence(x, zeros([batch], { dtype: 'int32' })))[1] : layer.call(x);
  };
  const { program, captured } = noGrad(() => traceProgram(run, [], kind.operator));
  for (const t of captured) t.dispose();
  const body = program.nodes.find((node) => node.primitive.name === 'scan')?.subprograms[0];
  if (body === undefined) return null;
  if (bodies.size >= 64) bodies.clear();
  bodies.set(key, body);
  return body;
}

/** The lengths that a mask [steps, batch, 1] stands for. */
function lengthsOf(mask: Operand, matcher: Matcher): Operand | null {
  const node = matcher.producer(mask);
  const lengths = node?.inputs[1];
  if (node?.primitive.name !== 'lt' || lengths === undefined || !isWhole(mask)) return null;
  const [steps, batch] = mask.layout.shape;
  const types = [{ dtype: lengths.value.dtype, shape: [batch] }];
  const template = templateOf(`lengths ${steps}`, types, ([l]) => new nn.PackedSequence(zeros([steps, batch, 1]), l).mask());
  return matcher.match(template, node)?.inputs[0] ?? null;
}

/** Whether two recordings are the same, step by step. */
function samePrograms(a: Program, b: Program): boolean {
  if (a.inputs.length !== b.inputs.length || a.nodes.length !== b.nodes.length || a.outputs.length !== b.outputs.length) return false;
  const pairs = new Map<Value, Value>();
  const pair = (x: Value, y: Value): boolean => {
    pairs.set(x, y);
    return x.dtype === y.dtype && sizeOf(x.shape) === sizeOf(y.shape);
  };
  const reads = (x: Operand, y: Operand): boolean => pairs.get(x.value) === y.value && sameLayout(x.layout, y.layout);
  if (!a.inputs.every((value, k) => pair(value, b.inputs[k]))) return false;
  const nodes = a.nodes.every((node, i) => {
    const other = b.nodes[i];
    return (
      node.primitive === other.primitive &&
      JSON.stringify(node.attrs) === JSON.stringify(other.attrs) &&
      node.inputs.length === other.inputs.length &&
      node.inputs.every((o, k) => reads(o, other.inputs[k])) &&
      node.outputs.every((value, k) => pair(value, other.outputs[k]))
    );
  });
  return nodes && a.outputs.every((o, k) => reads(o, b.outputs[k]));
}

/** The product of the inputs with their weight, taken apart. */
interface Projection {
  /** [steps, batch, features], or [steps * batch, features]. */
  readonly x: Operand;
  /** Parameter [gates * hidden, features]. */
  readonly weight: Operand;
  /** Parameters [gates * hidden] that are added. */
  readonly biases: readonly Operand[];
}

function projectionOf(operand: Operand, matcher: Matcher, em: Emitter): Projection | null {
  const last = matcher.producer(operand);
  if (last === undefined || !isWhole(operand)) return null;
  const isSum = last.primitive.name === 'add';
  const product = isSum ? matcher.producer(last.inputs[0]) : last;
  if (product?.primitive.name !== 'contract' || (isSum && !isWhole(last.inputs[0]))) return null;
  const contraction = contractionOf(product);
  const { batch, m, n, k } = roles(contraction);
  const [x, weight] = product.inputs;
  if (batch.length > 0 || n.length !== 1 || k.length !== 1 || contraction.out.at(-1) !== n[0]) return null;
  if (contraction.a.join() !== [...m, ...k].join() || contraction.b.join() !== [...n, ...k].join()) return null;
  if (!isWhole(weight) || em.tensorOf(weight.value) === undefined) return null;
  if (!isSum) return { x, weight, biases: [] };
  const biases = biasesOf(last.inputs[1], matcher, em);
  return biases === null ? null : { x, weight, biases };
}

/** One parameter, or the sum of two. */
function biasesOf({ value, layout }: Operand, matcher: Matcher, em: Emitter): readonly Operand[] | null {
  const along = layout.shape.every((extent, i) => extent <= 1 || layout.strides[i] === (i === layout.shape.length - 1 ? 1 : 0));
  if (!along || layout.offset !== 0 || sizeOf(value.shape) !== layout.shape.at(-1)) return null;
  const node = matcher.producer({ value, layout });
  const parts = node === undefined ? [{ value, layout }] : node.primitive.name === 'add' ? node.inputs : [];
  return parts.length > 0 && parts.every((o) => em.tensorOf(o.value) !== undefined && o.layout.offset === 0) ? parts : null;
}

/** The blocks of rows, one a gate, in the order of `gates`. */
function regrouped(values: ArrayLike<number | bigint>, gates: readonly number[]): Float64Array {
  const block = values.length / gates.length;
  const out = new Float64Array(values.length);
  gates.forEach((from, to) => {
    for (let i = 0; i < block; i++) out[to * block + i] = Number(values[from * block + i]);
  });
  return out;
}

/** A parameter stored anew. */
function stored(em: Emitter, kind: Kind, { value }: Operand, shape: readonly number[]): OutValue {
  const tensor = em.tensorOf(value) ?? em.fail('a weight that is not known');
  const name = `${em.capturedName(value)}:${kind.suffix}`;
  return em.graph.constant(name, value.dtype, shape, regrouped(tensor.dataSync(), kind.gates));
}

/** Both biases one behind the other: of the inputs, of the states. */
function storedBiases(em: Emitter, kind: Kind, ofInput: Operand | undefined, ofState: Operand | undefined, rows: number): OutValue | null {
  const given = ofInput ?? ofState;
  if (given === undefined) return null;
  const half = (operand: Operand | undefined): Float64Array =>
    operand === undefined ? new Float64Array(rows) : regrouped(em.tensorOf(operand.value)?.dataSync() ?? [], kind.gates);
  const content = new Float64Array(2 * rows);
  content.set(half(ofInput));
  content.set(half(ofState), rows);
  return em.graph.constant(`${em.capturedName(given.value)}:${kind.suffix}`, given.value.dtype, [1, 2 * rows], content);
}

function recogniseScan(node: GraphNode, matcher: Matcher, em: Emitter): Replacement | null {
  const { consts, carries, length, reverse } = node.attrs as unknown as {
    consts: number;
    carries: number;
    length: number;
    reverse: boolean;
  };
  const walked = node.inputs.length - consts - carries;
  if (walked < 1 || walked > 2 || consts < 1 || node.outputs.length !== carries + 1) return null;
  const constants = node.inputs.slice(0, consts);
  const states = node.inputs.slice(consts, consts + carries);
  const [steps, mask] = node.inputs.slice(consts + carries);
  const [batch, hidden] = states[0].layout.shape;
  const kind = kinds.find(
    (candidate) =>
      (candidate.operator === 'LSTM') === (carries === 2) &&
      [true, false].some((bias) => {
        const body = bodyOf(candidate, batch, hidden, bias, mask !== undefined);
        return body !== null && samePrograms(body, node.subprograms[0]);
      }),
  );
  if (kind === undefined || em.tensorOf(constants[0].value) === undefined) return null;
  // The constants of the LSTM's body are fixed numbers, which make its hyperbolic tangent of a sigmoid.
  if (kind.operator === 'LSTM' && em.tensorOf(constants[1].value)?.dataSync().join() !== '1,1,2,1') return null;
  const ofState = kind.operator === 'GRU' ? constants[1] : undefined;
  if (ofState !== undefined && em.tensorOf(ofState.value) === undefined) return null;
  const lengths = mask === undefined ? undefined : lengthsOf(mask, matcher);
  if (lengths === null) return null;
  const projection = projectionOf(steps, matcher, em);
  if (projection === null || projection.biases.length > (ofState === undefined ? 2 : 1)) return null;
  const { x, weight, biases } = projection;
  const rows = kind.gates.length * hidden;
  const isZero = (o: Operand): boolean => {
    const producer = matcher.producer(o);
    return producer?.primitive.name === 'full' && em.numberOf(o) === 0;
  };
  const given = states.filter((s) => !isZero(s));
  return {
    inputs: [x, weight, ...biases, constants[0], ...[ofState, lengths].filter((o) => o !== undefined), ...given],
    emit(to) {
      const features = x.layout.shape[x.layout.shape.length - 1];
      const { dtype } = weight.value;
      const input = to.reshape(to.readFlexible(x), [length, batch, features]);
      const initial = states.map((s) => (isZero(s) && given.length === 0 ? '' : to.reshape(to.read(s), [1, batch, hidden]).name));
      const bias = storedBiases(to, kind, biases[0], ofState ?? biases[1], rows);
      const inputs = [
        input.name,
        stored(to, kind, weight, [1, rows, features]).name,
        stored(to, kind, constants[0], [1, rows, hidden]).name,
        bias?.name ?? '',
        lengths === undefined ? '' : to.cast(to.read(lengths), 'int32').name,
        ...initial,
      ];
      while (inputs[inputs.length - 1] === '') inputs.pop();
      const last = { dtype, shape: [1, batch, hidden] };
      const outputs = [{ dtype, shape: [length, 1, batch, hidden] }, ...states.map(() => last)];
      const attributes = { hidden_size: hidden, ...kind.attributes, ...(reverse ? { direction: 'reverse' } : {}) };
      const [all, ...lasts] = to.ops(kind.operator, inputs, outputs, attributes);
      lasts.forEach((state, k) => to.define(node.outputs[k], state));
      to.define(node.outputs[carries], all);
    },
  };
}

export const recurrentPatterns: readonly Pattern[] = [{ roots: ['scan'], find: recogniseScan }];
