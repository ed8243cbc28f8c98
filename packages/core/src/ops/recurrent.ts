/**
 * One direction of one recurrent layer over a whole sequence. Inside jit() the steps are a compiled loop. Its gradient is
 * a loop too, in the other direction, and everything that does not depend on the step before (the products with the
 * input, the gradients of the weights) is one large product outside of it.
 */
import { customFunction } from '../autograd/custom.js';
import { grad } from '../autograd/engine.js';
import { enableGrad, isGradEnabled } from '../autograd/mode.js';
import { ArgumentError } from '../errors.js';
import { autocastDType, raised, withAutocast } from '../tensor/autocast.js';
import { composite, scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { add, eq, gt, mul, rsub, sub } from './binary.js';
import { cast } from './cast.js';
import { contract } from './contract.js';
import { scan } from './control.js';
import { zeros } from './create.js';
import { hostConstant } from './fill.js';
import { iotaAlong } from './iota.js';
import { concat } from './join.js';
import { matmul } from './matmul.js';
import { sum } from './reduce.js';
import { where } from './ternary.js';
import { relu, sigmoid, tanh } from './unary.js';
import { expand, reshape, t as transposed } from './view.js';
import { chunk, narrow, select } from './view-slice.js';

export type RecurrentKind = 'lstm' | 'gru' | 'tanh' | 'relu';

export const gateCount: Readonly<Record<RecurrentKind, number>> = { lstm: 4, gru: 3, tanh: 1, relu: 1 };

/** The tensors of one direction of a layer. H hidden features, P = H unless there is a projection, G gates. */
export interface RecurrentInputs {
  /** Inputs times their weight, with the biases: [T, B, G * H]. */
  readonly projected: Tensor;
  /** First state [B, P]. */
  readonly h: Tensor;
  /** First cell state of an LSTM [B, H]. */
  readonly c: Tensor | null;
  /** [G * H, P]. */
  readonly weight: Tensor;
  /** Bias of the recurrent product of a GRU [3 * H], which its reset gate scales. */
  readonly bias: Tensor | null;
  /** Projection of an LSTM's output [P, H]. */
  readonly projection: Tensor | null;
  /** bool [T, B, 1]: where a sequence has this step. Elsewhere its state stays and its output is 0. */
  readonly mask: Tensor | null;
}

/** Outputs [T, B, P], then the last state [B, P], then the last cell state of an LSTM [B, H]. */
export type RecurrentOutputs = readonly Tensor[];

/** What a step needs, in the order of the scan's inputs and states. */
interface Step {
  readonly x: Tensor;
  readonly mask: Tensor | null;
}
interface Cell {
  /** [h] or [h, c] from those before; `saved` is what the gradient reads. */
  step(state: readonly Tensor[], step: Step): { readonly state: readonly Tensor[]; readonly saved: readonly Tensor[] };
}

function checkInputs(kind: RecurrentKind, inputs: RecurrentInputs): void {
  if ((kind === 'lstm') !== (inputs.c !== null))
    throw new ArgumentError(`${kind} ${inputs.c === null ? 'without' : 'with'} a cell state`, { op: kind });
}

/** 2 for the gate that is a tanh (the third), 1 for the sigmoids: tanh(x) = 2 sigmoid(2x) - 1. */
function lstmScale(x: Tensor): Tensor {
  return hostConstant([1, 1, 2, 1], x.dtype, [4, 1]);
}

/** New states where the mask holds, the old ones elsewhere. */
function held(next: Tensor, before: Tensor, mask: Tensor | null): Tensor {
  const same = cast(next, before.dtype);
  return mask === null ? same : where(mask, same, before);
}

function cellOf(kind: RecurrentKind, { weight, bias, projection }: RecurrentInputs): Cell {
  const across = transposed(weight);
  switch (kind) {
    case 'lstm':
      return {
        step([h, c], { x, mask }) {
          const [batch] = c.shape;
          const pre = reshape(add(x, matmul(h, across)), [batch, 4, -1]);
          const scale = lstmScale(pre);
          const gates = add(mul(sigmoid(mul(pre, scale)), scale), rsub(scale, 1));
          const [i, f, g, o] = [0, 1, 2, 3].map((k) => select(gates, 1, k));
          const cell = cast(add(mul(f, c), mul(i, g)), c.dtype);
          const out = mul(o, tanh(cell));
          const next = projection === null ? out : matmul(out, transposed(projection));
          return { state: [held(next, h, mask), held(cell, c, mask)], saved: [gates, cell] };
        },
      };
    case 'gru':
      return {
        step([h], { x, mask }) {
          const product = matmul(h, across);
          const own = bias === null ? product : add(product, bias);
          const [xr, xz, xn] = chunk(x, 3, 1);
          const [hr, hz, hn] = chunk(own, 3, 1);
          const r = sigmoid(add(xr, hr));
          const z = sigmoid(add(xz, hz));
          const n = tanh(add(xn, mul(r, hn)));
          return { state: [held(add(n, mul(z, sub(h, n))), h, mask)], saved: [r, z, n, hn] };
        },
      };
    case 'tanh':
    case 'relu':
      return {
        step([h], { x, mask }) {
          const next = (kind === 'tanh' ? tanh : relu)(add(x, matmul(h, across)));
          return { state: [held(next, h, mask)], saved: [next] };
        },
      };
    default:
      return kind satisfies never;
  }
}

/** The loop forward: outputs, last states, then what each step saved, stacked. */
function run(kind: RecurrentKind, inputs: RecurrentInputs, reverse: boolean, saving: boolean): { outputs: Tensor[]; saved: Tensor[] } {
  const { projected, h, c, mask } = inputs;
  const cell = cellOf(kind, inputs);
  const states = c === null ? [h] : [h, c];
  const { carry, outputs } = scan(
    (state, [x, valid]) =>
      scope(() => {
        const { state: next, saved } = cell.step(state, { x, mask: valid ?? null });
        const out = valid === undefined ? next[0] : where(valid, next[0], 0);
        return [next, saving ? [out, ...saved] : [out]] as const;
      }),
    states,
    mask === null ? [projected] : [projected, mask],
    { reverse },
  );
  return { outputs: [outputs[0], ...carry], saved: outputs.slice(1) };
}

/** The states each step started from, [T, B, ...]: `made` are those it left, which are 0 where the mask does not hold. */
function statesBefore(made: Tensor, first: Tensor, mask: Tensor | null, reverse: boolean): Tensor {
  const length = made.shape[0];
  const start = reshape(first, [1, ...first.shape]);
  const all = reverse ? concat([narrow(made, 0, 1, length - 1), start], 0) : concat([start, narrow(made, 0, 0, length - 1)], 0);
  if (mask === null || !reverse) return all;
  // Backwards a sequence starts at its last step: the one after it is masked.
  const next = concat([narrow(mask, 0, 1, length - 1), zeros([1, ...mask.shape.slice(1)], { dtype: 'bool' })], 0);
  return where(next, all, start);
}

/** [B, H] tensors side by side, [B, n, H]; chosen element by element, so that the compiler fuses it with what makes them. */
function abreast(parts: readonly Tensor[]): Tensor {
  const [batch, features] = parts[0].shape;
  const place = expand(iotaAlong(parts.length, 1, 3), [batch, parts.length, features]);
  const wide = parts.map((x) => expand(reshape(x, [batch, 1, features]), [batch, parts.length, features]));
  return wide.reduceRight((rest, x, k) => where(eq(place, k), x, rest));
}

/** Gradients with respect to the projected inputs, the recurrent product and the states. */
interface Back {
  /** Of the state after the step: [h] or [h, c]. `rows` are the step's slices of `slices`. */
  step(
    grads: readonly Tensor[],
    rows: readonly Tensor[],
  ): {
    /** Of the states before. */
    readonly before: readonly Tensor[];
    /** Of the projected input, of the recurrent product where that differs, and of the projected output. */
    readonly out: readonly Tensor[];
  };
  /** What `rows` are cut from. */
  readonly slices: readonly Tensor[];
}

function backOf(kind: RecurrentKind, inputs: RecurrentInputs, saved: readonly Tensor[], before: Tensor, cells: Tensor | null): Back {
  const { weight, projection } = inputs;
  switch (kind) {
    case 'lstm':
      return {
        slices: [saved[0], saved[1], cells as Tensor],
        step([dh, dc], [gates, cell, old]) {
          const [batch] = gates.shape;
          const [i, f, g, o] = [0, 1, 2, 3].map((k) => select(gates, 1, k));
          const dOut = projection === null ? dh : matmul(dh, projection);
          const squashed = tanh(cell);
          const dCell = add(dc, mul(mul(dOut, o), rsub(mul(squashed, squashed), 1)));
          const scale = lstmScale(gates);
          const slope = mul(add(gates, sub(scale, 1)), rsub(gates, 1));
          const d = mul(abreast([mul(dCell, g), mul(dCell, old), mul(dCell, i), mul(dOut, squashed)]), slope);
          const flat = reshape(d, [batch, -1]);
          const out = projection === null ? [flat] : [flat, dh, mul(o, squashed)];
          return { before: [matmul(flat, weight), mul(dCell, f)], out };
        },
      };
    case 'gru':
      return {
        slices: [...saved, before],
        step([dh], [r, z, n, hn, old]) {
          const dn = mul(mul(dh, rsub(z, 1)), rsub(mul(n, n), 1));
          const dz = mul(mul(dh, sub(old, n)), mul(z, rsub(z, 1)));
          const dr = mul(mul(dn, hn), mul(r, rsub(r, 1)));
          const [batch] = dh.shape;
          const own = reshape(abreast([dr, dz, mul(dn, r)]), [batch, -1]);
          return { before: [add(mul(dh, z), matmul(own, weight))], out: [reshape(abreast([dr, dz, dn]), [batch, -1]), own] };
        },
      };
    case 'tanh':
    case 'relu':
      return {
        slices: saved,
        step([dh], [y]) {
          const d = kind === 'tanh' ? mul(dh, rsub(mul(y, y), 1)) : mul(dh, cast(gt(y, 0), dh.dtype));
          return { before: [matmul(d, weight)], out: [d] };
        },
      };
    default:
      return kind satisfies never;
  }
}

/** `sum over steps and batch of a[t, b, m] * b[t, b, n]`: [m, n]. */
function overSteps(a: Tensor, b: Tensor): Tensor {
  return contract(a, [0, 1, 2], b, [0, 1, 3], [2, 3]);
}

/** The names of the tensors of a layer, in the order of the arguments of its function. */
const names = ['projected', 'h', 'weight', 'c', 'bias', 'projection', 'mask'] as const;

/**
 * Runs one direction of a layer; `reverse` from the last step to the first. Without the projection outputs are the
 * states. Differentiable with respect to all floating inputs.
 */
export function recurrent(kind: RecurrentKind, inputs: RecurrentInputs, reverse = false): RecurrentOutputs {
  if (autocastDType() !== null) {
    // The projections are large products and ran in the low dtype; the recurrence keeps its state in that of the weights.
    const wide = { ...inputs, projected: raised(inputs.projected) };
    return withAutocast(null, () => recurrent(kind, wide, reverse));
  }
  checkInputs(kind, inputs);
  const present = names.filter((name) => inputs[name] !== null);
  const tensors = present.map((name) => inputs[name] as Tensor);
  const named = (list: readonly Tensor[]): RecurrentInputs => {
    const of = (name: (typeof names)[number]): Tensor | null => list[present.indexOf(name)] ?? null;
    return { ...inputs, ...Object.fromEntries(names.map((name) => [name, present.includes(name) ? of(name) : null])) } as RecurrentInputs;
  };
  if (!isGradEnabled() || !tensors.some((x) => x.requiresGrad)) return composite(kind, () => run(kind, inputs, reverse, false).outputs);
  const fn = customFunction<Tensor[], readonly Tensor[]>({
    name: kind,
    forward(ctx, ...list) {
      const { outputs, saved } = run(kind, named(list), reverse, true);
      ctx.saveForBackward(...list, outputs[0], ...saved);
      return outputs;
    },
    backward(ctx, ...grads) {
      const all = ctx.savedTensors;
      const list = all.slice(0, present.length);
      if (isGradEnabled()) return again(kind, named(list), list, reverse, grads);
      const found = gradients(kind, named(list), all[present.length], all.slice(present.length + 1), reverse, grads);
      return present.map((name) => found[name] ?? null);
    },
  });
  return fn(...tensors);
}

/** The gradient from operations that have one themselves. */
function again(
  kind: RecurrentKind,
  inputs: RecurrentInputs,
  list: readonly Tensor[],
  reverse: boolean,
  grads: readonly (Tensor | null)[],
): (Tensor | null)[] {
  const { outputs } = enableGrad(() => run(kind, inputs, reverse, false));
  const roots = outputs.flatMap((out, k) => (grads[k] === null ? [] : [{ out, weight: grads[k] as Tensor }]));
  const wanted = list.filter((x) => x.requiresGrad);
  const found = grad(
    roots.map((r) => r.out),
    wanted,
    { gradOutputs: roots.map((r) => r.weight), createGraph: true, allowUnused: true, stopAtInputs: true },
  );
  return list.map((x) => (x.requiresGrad ? found[wanted.indexOf(x)] : null));
}

function gradients(
  kind: RecurrentKind,
  inputs: RecurrentInputs,
  outputs: Tensor,
  saved: readonly Tensor[],
  reverse: boolean,
  grads: readonly (Tensor | null)[],
): Partial<Record<(typeof names)[number], Tensor>> {
  const { h, c, mask, projected, projection } = inputs;
  const [gOut, gH, gC] = grads;
  const before = statesBefore(outputs, h, mask, reverse);
  const cells = c === null ? null : statesBefore(saved[1], c, mask, reverse);
  const back = backOf(kind, inputs, saved, before, cells);
  const first =
    c === null
      ? [gH ?? zeros(h.shape, { dtype: h.dtype })]
      : [gH ?? zeros(h.shape, { dtype: h.dtype }), gC ?? zeros(c.shape, { dtype: c.dtype })];
  const extra = [...(gOut === null ? [] : [gOut]), ...(mask === null ? [] : [mask])];
  const { carry, outputs: found } = scan(
    (state, row) =>
      scope(() => {
        const rows = row.slice(0, back.slices.length);
        const arriving = gOut === null ? null : row[back.slices.length];
        const valid = mask === null ? null : row[row.length - 1];
        const masked = (x: Tensor): Tensor => (valid === null ? x : where(valid, x, 0));
        const toHidden = arriving === null ? state[0] : add(state[0], masked(arriving));
        const after = [toHidden, ...state.slice(1)];
        const { before: next, out } = back.step(after.map(masked), rows);
        return [next.map((x, k) => cast(valid === null ? x : where(valid, x, after[k]), state[k].dtype)), out] as const;
      }),
    first,
    [...back.slices, ...extra],
    { reverse: !reverse },
  );
  const own = kind === 'gru' ? found[1] : found[0];
  // Under autocast products are of another dtype than their operands.
  const sums = (a: Tensor, b: Tensor, like: Tensor): Tensor => cast(overSteps(cast(a, like.dtype), cast(b, like.dtype)), like.dtype);
  const { weight, bias } = inputs;
  return {
    projected: cast(reshape(found[0], projected.shape), projected.dtype),
    h: carry[0],
    ...(c === null ? {} : { c: carry[1] }),
    weight: sums(own, before, weight),
    ...(bias === null ? {} : { bias: cast(sum(own, [0, 1]), bias.dtype) }),
    ...(projection === null ? {} : { projection: sums(found[1], found[2], projection) }),
  };
}
