/**
 * Recurrent layers. With the usual activations they are the library's own, which run as compiled loops with gradients of
 * their own; with other activations, peepholes or clipping the steps are put together here.
 */
import {
  add,
  arange,
  cast,
  clamp,
  concat,
  linear,
  lt,
  matmul,
  mul,
  narrow,
  type RecurrentKind,
  recurrent,
  reshape,
  scan,
  scope,
  select,
  stack,
  sub,
  type Tensor,
  transpose,
  where,
  zeros,
} from 'trireme';
import { elementInfo } from '../engine/element-type.js';
import { TensorValue, type Value } from '../engine/value.js';
import { optionalTensorAt, tensorAt } from './arguments.js';
import type { OpContext, OpFunction, OpTable } from './definition.js';
import { type Activation, activationsOf } from './recurrent-activations.js';
import { constant } from './tensors.js';

type Kind = 'rnn' | 'gru' | 'lstm';

const gates: Readonly<Record<Kind, number>> = { rnn: 1, gru: 3, lstm: 4 };
/** Activations of one direction. */
const usual: Readonly<Record<Kind, readonly string[]>> = {
  rnn: ['Tanh'],
  gru: ['Sigmoid', 'Tanh'],
  lstm: ['Sigmoid', 'Tanh', 'Tanh'],
};
/** Where the library's gates (i f g o, r z n) lie among those of the format (i o f c, z r h). */
const gateOrder: Readonly<Record<Kind, readonly number[]>> = { rnn: [0], gru: [1, 0, 2], lstm: [0, 2, 3, 1] };

/** The tensors of one direction, gates in the library's order. H hidden features, G gates. */
interface Weights {
  /** [G * H, in]. */
  readonly input: Tensor;
  /** [G * H, H]. */
  readonly hidden: Tensor;
  /** Bias of the input and of the hidden state, [G * H] each. */
  readonly inputBias: Tensor | null;
  readonly hiddenBias: Tensor | null;
  /** Of an LSTM: [3, H], for the gates i, o, f. */
  readonly peephole: Tensor | null;
}

interface Setting {
  readonly kind: Kind;
  readonly hidden: number;
  readonly clip: number | undefined;
  readonly activations: readonly Activation[];
  /** The reset gate of a GRU scales the product with the hidden state instead of the state. */
  readonly resetAfter: boolean;
  /** The forget gate of an LSTM is what the input gate leaves. */
  readonly coupled: boolean;
}

/** Outputs [T, B, H], the last state [B, H] and the last cell state. */
type Outputs = readonly Tensor[];

/* ---- weights ---- */

const orderedValues = new WeakMap<TensorValue, Tensor[]>();

/** Blocks of `size` rows of a matrix or elements of a vector, in another order. */
function reordered(t: Tensor, order: readonly number[], size: number): Tensor {
  if (order.every((from, to) => from === to)) return t;
  return concat(
    order.map((from) => narrow(t, 0, from * size, size)),
    0,
  );
}

/** The rows of each direction with gates in the library's order. Values that are known are put in order on the host, once. */
function ordered(value: TensorValue, blocks: readonly number[], size: number): Tensor[] {
  const directions = value.shape[0];
  const found = orderedValues.get(value);
  if (found?.every((t) => !t.isDisposed)) return found;
  const host = value.constant;
  if (!(host instanceof Float32Array || host instanceof Float64Array)) {
    return Array.from({ length: directions }, (_, d) => reordered(select(value.tensor, 0, d), blocks, size));
  }
  const [rows, ...rest] = value.shape.slice(1);
  const width = rest.reduce((a, b) => a * b, 1);
  const made = Array.from({ length: directions }, (_, d) => {
    const from = host.subarray(d * rows * width, (d + 1) * rows * width);
    const moved = new Float64Array(rows * width);
    blocks.forEach((block, to) => {
      moved.set(from.subarray(block * size * width, (block + 1) * size * width), to * size * width);
    });
    return constant(moved as unknown as readonly number[], elementInfo[value.type].carrier ?? 'float32', [rows, ...rest]);
  });
  orderedValues.set(value, made);
  return made;
}

function weightsOf(kind: Kind, hidden: number, inputs: readonly (Value | null)[], ctx: OpContext): Weights[] {
  const order = gateOrder[kind];
  const count = gates[kind];
  const input = ordered(tensorAt(inputs, 1, ctx), order, hidden);
  const recurrentWeights = ordered(tensorAt(inputs, 2, ctx), order, hidden);
  const b = optionalTensorAt(inputs, 3, ctx);
  const bias = b === null ? null : ordered(b, [...order, ...order.map((k) => k + count)], hidden);
  const p = kind === 'lstm' ? optionalTensorAt(inputs, 7, ctx) : null;
  return input.map((w, d) => {
    const both = bias === null ? null : bias[d];
    return {
      input: w,
      hidden: recurrentWeights[d],
      inputBias: both === null ? null : narrow(both, 0, 0, count * hidden),
      hiddenBias: both === null ? null : narrow(both, 0, count * hidden, count * hidden),
      peephole: p === null ? null : reshape(select(p.tensor, 0, d), [3, hidden]),
    };
  });
}

/* ---- one direction ---- */

/** The library's layer of the same computation, or null. */
function libraryKind({ kind, clip, activations, resetAfter, coupled }: Setting, weights: Weights): RecurrentKind | null {
  if (clip !== undefined || coupled || weights.peephole !== null) return null;
  const names = activations.map((a) => a.plain);
  if (kind === 'rnn') return names[0] === 'tanh' || names[0] === 'relu' ? names[0] : null;
  if (names.some((name, k) => name !== usual[kind][k].toLowerCase())) return null;
  return kind === 'lstm' || resetAfter ? kind : null;
}

function sumOf(a: Tensor | null, b: Tensor | null): Tensor | null {
  return a === null || b === null ? (a ?? b) : add(a, b);
}

function direction(
  setting: Setting,
  x: Tensor,
  weights: Weights,
  states: readonly Tensor[],
  mask: Tensor | null,
  reverse: boolean,
): Outputs {
  const library = libraryKind(setting, weights);
  const [h, c] = states;
  if (library !== null) {
    const own = library === 'gru' ? weights.hiddenBias : null;
    const bias = library === 'gru' ? weights.inputBias : sumOf(weights.inputBias, weights.hiddenBias);
    const projected = linear(x, weights.input, bias);
    return recurrent(library, { projected, h, c: c ?? null, weight: weights.hidden, bias: own, projection: null, mask }, reverse);
  }
  // All that does not depend on the step before is one product; only the candidate of a GRU may need its bias apart.
  const separate = setting.kind === 'gru' && setting.resetAfter;
  const projected = linear(x, weights.input, separate ? weights.inputBias : sumOf(weights.inputBias, weights.hiddenBias));
  const cell = cellOf(setting, weights);
  const held = (next: Tensor, before: Tensor, valid: Tensor | undefined): Tensor =>
    valid === undefined ? next : where(valid, next, before);
  const { carry, outputs } = scan(
    (state, [step, valid]) =>
      scope(() => {
        const next = cell(state, step).map((s, k) => held(s, state[k], valid));
        return [next, [valid === undefined ? next[0] : where(valid, next[0], 0)]] as const;
      }),
    states,
    mask === null ? [projected] : [projected, mask],
    { reverse },
  );
  return [outputs[0], ...carry];
}

/** The next states from those before and the step's product with the input, gates in the library's order. */
function cellOf(
  { kind, hidden, clip, activations, resetAfter, coupled }: Setting,
  weights: Weights,
): (state: readonly Tensor[], x: Tensor) => Tensor[] {
  const limited = (t: Tensor): Tensor => (clip === undefined ? t : clamp(t, { min: -clip, max: clip }));
  const act = (k: number, t: Tensor): Tensor => activations[k].apply(limited(t));
  const gate = (t: Tensor, k: number): Tensor => narrow(t, 1, k * hidden, hidden);
  const across = transpose(weights.hidden, 0, 1);
  switch (kind) {
    case 'rnn':
      return ([h], x) => [act(0, add(x, matmul(h, across)))];
    case 'gru': {
      const toGates = narrow(across, 1, 0, 2 * hidden);
      const toCandidate = narrow(across, 1, 2 * hidden, hidden);
      const bias = resetAfter ? weights.hiddenBias : null;
      return ([h], x) => {
        const product = matmul(h, toGates);
        const pre = add(narrow(x, 1, 0, 2 * hidden), bias === null ? product : add(product, narrow(bias, 0, 0, 2 * hidden)));
        const [r, z] = [act(0, gate(pre, 0)), act(0, gate(pre, 1))];
        const own = (): Tensor => {
          if (!resetAfter) return matmul(mul(r, h), toCandidate);
          const made = matmul(h, toCandidate);
          return mul(r, bias === null ? made : add(made, narrow(bias, 0, 2 * hidden, hidden)));
        };
        const n = act(1, add(gate(x, 2), own()));
        return [add(n, mul(z, sub(h, n)))];
      };
    }
    case 'lstm': {
      const p = weights.peephole;
      const peep = (k: number, c: Tensor, pre: Tensor): Tensor => (p === null ? pre : add(pre, mul(select(p, 0, k), c)));
      return ([h, c], x) => {
        const pre = add(x, matmul(h, across));
        const i = act(0, peep(0, c, gate(pre, 0)));
        const f = coupled ? sub(1, i) : act(0, peep(2, c, gate(pre, 1)));
        const cell = add(mul(f, c), mul(i, act(1, gate(pre, 2))));
        const o = act(0, peep(1, cell, gate(pre, 3)));
        return [mul(o, activations[2].apply(cell)), cell];
      };
    }
    default:
      return kind satisfies never;
  }
}

/* ---- operators ---- */

function layer(kind: Kind): OpFunction {
  return (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const r = tensorAt(inputs, 2, ctx);
    const lengths = optionalTensorAt(inputs, 4, ctx);
    const initial = [5, ...(kind === 'lstm' ? [6] : [])].map((k) => optionalTensorAt(inputs, k, ctx));
    const hidden = ctx.attrs.int('hidden_size', r.shape[2]);
    const way = ctx.attrs.string('direction', 'forward');
    const ways = way === 'bidirectional' ? [false, true] : [way === 'reverse'];
    if (!['forward', 'reverse', 'bidirectional'].includes(way)) ctx.fail(`direction ${way}`, 'forward, reverse or bidirectional');
    if (r.shape[0] !== ways.length) ctx.fail(`weights for ${r.shape[0]} direction(s)`, `${ways.length}, as direction is ${way}`);
    const each = usual[kind].length;
    const activations = activationsOf(
      ctx,
      ways.flatMap(() => usual[kind]),
    );
    if (activations.length !== each * ways.length) ctx.fail(`${activations.length} activations`, `${each * ways.length}`);
    const batchFirst = ctx.attrs.int('layout', 0) === 1;
    const results = scope(() => {
      const steps = batchFirst ? transpose(x.tensor, 0, 1) : x.tensor;
      const [length, batch] = steps.shape;
      const weights = weightsOf(kind, hidden, inputs, ctx);
      const mask = lengths === null ? null : maskOf(lengths, length, batch);
      const outputs = ways.map((reverse, d) => {
        const states = initial.map((value) => {
          if (value === null) return zeros([batch, hidden], { dtype: r.tensor.dtype });
          return batchFirst ? select(value.tensor, 1, d) : select(value.tensor, 0, d);
        });
        const setting = {
          kind,
          hidden,
          clip: ctx.attrs.optionalFloat('clip'),
          activations: activations.slice(d * each, (d + 1) * each),
          resetAfter: ctx.attrs.int('linear_before_reset', 0) !== 0,
          coupled: ctx.attrs.int('input_forget', 0) !== 0,
        };
        return direction(setting, steps, weights[d], states, mask, reverse);
      });
      const [all, ...last] = outputs[0].map((_, k) => outputs.map((o) => o[k]));
      // [T, B, H] a direction: [T, directions, B, H], or [B, T, directions, H].
      const y = batchFirst ? transpose(stack(all, 2), 0, 1) : stack(all, 1);
      return [y, ...last.map((states) => stack(states, batchFirst ? 1 : 0))];
    });
    return results.slice(0, Math.max(1, ctx.outputCount)).map((t) => TensorValue.ofTensor(t, x.type));
  };
}

/** bool [T, B, 1]: where a sequence has this step; null where all are as long as the tensor. */
function maskOf(lengths: TensorValue, length: number, batch: number): Tensor | null {
  if (lengths.isKnown && Array.from(lengths.host as ArrayLike<number>).every((n) => n === length)) return null;
  return lt(arange(0, length, { dtype: 'int32' }).reshape([length, 1, 1]), cast(reshape(lengths.tensor, [1, batch, 1]), 'int32'));
}

export const recurrentOps = { RNN: layer('rnn'), GRU: layer('gru'), LSTM: layer('lstm') } satisfies OpTable;
