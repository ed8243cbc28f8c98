/**
 * Connectionist temporal classification (Graves et al., 2006): the likelihood of a label sequence summed over all alignments, by the
 * forward-backward recursions in the log domain. The time steps are a scan that is compiled, also outside jit().
 */
import { customFunction } from '../autograd/custom.js';
import { ArgumentError, AutogradError, ShapeError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import { jit } from '../jit.js';
import { createFromArray } from '../tensor/dispatch.js';
import { composite } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { add, div, eq, gt, logicalAnd, logicalOr, lt, maximum, minimum, mul, ne, sub } from './binary.js';
import { cast } from './cast.js';
import { requireKind, widen } from './common.js';
import { scan } from './control.js';
import { full } from './create.js';
import { withGradient } from './custom-gradient.js';
import { gather, take } from './gather.js';
import { iotaAlong } from './iota.js';
import { concat } from './join.js';
import { finish, type LossOptions } from './loss-common.js';
import { pad } from './pad.js';
import { cumsum } from './scan.js';
import { where } from './ternary.js';
import { exp, isInf, log, neg } from './unary.js';
import { expand, reshape, unsqueeze } from './view.js';
import { narrow } from './view-slice.js';

export interface CtcOptions extends LossOptions {
  /** The class that stands for no label. Default 0. */
  readonly blank?: number;
  /** Samples whose target does not fit into the input cost 0 instead of Infinity. Default false. */
  readonly zeroInfinity?: boolean;
}

/** A tensor moved by `by` places to the right (negative: left) along its last axis; what comes in is impossible. */
function shifted(x: Tensor, by: number): Tensor {
  const length = x.shape[1];
  const stay = Math.max(0, length - Math.abs(by));
  if (stay === 0) return full(x.shape, -Infinity, { dtype: x.dtype });
  return by > 0 ? pad(narrow(x, 1, 0, stay), [by, 0], { value: -Infinity }) : pad(narrow(x, 1, -by, stay), [0, -by], { value: -Infinity });
}

/** `log(exp(a) + exp(b) + exp(c))`, where all three may be -Infinity. */
function logSum(a: Tensor, b: Tensor, c: Tensor): Tensor {
  const largest = maximum(maximum(a, b), c);
  const from = where(isInf(largest), 0, largest);
  return add(log(add(add(exp(sub(a, from)), exp(sub(b, from))), exp(sub(c, from)))), from);
}

/** States [N, 2S + 1]: a blank, then label and blank in turn. */
interface States {
  /** Whether a path may jump over the blank before this state. */
  readonly skip: Tensor;
  /** Whether a path may end in this state. */
  readonly last: Tensor;
}

/** log-probabilities of the paths that end in each state after each step, [T, N, L], and of the whole targets, [N]. */
const runForward = jit(
  (emissions: Tensor, active: Tensor, { skip, last }: States): [Tensor, Tensor] => {
    const [, n, states] = emissions.shape;
    const { dtype } = emissions;
    // A state before the first step from which the first two states can be reached.
    const start = expand(where(eq(iotaAlong(states, 1, 2), 0), full([], 0, { dtype }), -Infinity), [n, states]);
    const { carry, outputs } = scan(
      ([a], [emission, runs]) => {
        const arrive = logSum(a, shifted(a, 1), where(skip, shifted(a, 2), -Infinity));
        const next = where(runs, add(arrive, emission), a);
        return [[next], [next]];
      },
      [start],
      [emissions, active],
    );
    const ends = where(last, carry[0], -Infinity);
    const best = ends.amax(1, true);
    const from = where(isInf(best), 0, best);
    const total = add(log(exp(sub(ends, from)).sum(1, true)), from);
    return [reshape(total, [n]), outputs[0]];
  },
  { name: 'ctcForward' },
);

/** The probability of each state at each step, given the target: [T, N, L]; 0 where the target is impossible. */
const runBackward = jit(
  (emissions: Tensor, active: Tensor, { skip, last }: States, alphas: Tensor, total: Tensor): Tensor => {
    const [steps, n] = emissions.shape;
    const { dtype } = emissions;
    const end = where(last, full([], 0, { dtype }), -Infinity);
    const skipNext = gt(shifted(cast(skip, dtype), -2), 0);
    const { outputs } = scan(
      ([b], [emission, runs]) => {
        const after = add(b, emission);
        const leave = logSum(after, shifted(after, -1), where(skipNext, shifted(after, -2), -Infinity));
        return [[where(runs, leave, b)], [b]];
      },
      [end],
      [emissions, active],
      { reverse: true },
    );
    const possible = logicalAnd(logicalAnd(reshape(gt(total, -Infinity), [1, n, 1]), active), gt(alphas, -Infinity));
    const share = sub(add(alphas, outputs[0]), reshape(where(isInf(total), 0, total), [1, n, 1]));
    return where(possible, exp(share), full([steps, 1, 1], 0, { dtype }));
  },
  { name: 'ctcBackward' },
);

/** Its own derivative would be that of the whole recursion: it is refused, not left out. */
const posteriors = customFunction<[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor>({
  name: 'ctcBackward',
  forward: (_, emissions, active, skip, last, alphas, total) => runBackward(emissions, active, { skip, last }, alphas, total),
  backward() {
    throw new AutogradError('a second derivative is wanted', {
      op: 'ctcLoss',
      expected: 'first derivatives only',
      fix: 'Leave createGraph out, or detach() the loss.',
    });
  },
});

/** The negative log-likelihoods [N]. */
function negativeLogLikelihood(emissions: Tensor, active: Tensor, { skip, last }: States): Tensor {
  return withGradient({
    name: 'ctcLoss',
    inputs: [emissions],
    savesInputs: [0],
    forward: () => {
      const [total, alphas] = runForward(emissions, active, { skip, last });
      return [neg(total), alphas, total, active, skip, last];
    },
    vjp: (g, ctx) => {
      const [alphas, total, runs, jump, ends] = [0, 1, 2, 3, 4].map((k) => ctx.extra(k));
      const shares = posteriors(ctx.input(0), runs, jump, ends, alphas, total);
      return [neg(mul(shares, reshape(g, [1, -1, 1])))];
    },
  });
}

type Lengths = Tensor | readonly number[];

function lengthsOf(lengths: Lengths, n: number, what: string): Tensor {
  const t = lengths instanceof Tensor ? cast(lengths, 'int32') : createFromArray(lengths, 'int32', [lengths.length]);
  const flat = t.shape.length === 0 ? reshape(t, [1]) : t;
  if (flat.shape.length !== 1 || flat.shape[0] !== n) {
    throw new ShapeError(`${what} of shape ${formatShape(t.shape)}`, { op: 'ctcLoss', received: t.shape, expected: `[${n}]` });
  }
  return flat;
}

/** Targets as rows [N, S], whatever stands behind their ends. */
function rowsOf(targets: Tensor, lengths: Tensor, given: Lengths, n: number): Tensor {
  if (targets.shape.length === 2) {
    if (targets.shape[0] === n) return targets;
    throw new ShapeError(`targets of shape ${formatShape(targets.shape)} for a batch of ${n}`, {
      op: 'ctcLoss',
      received: targets.shape,
      expected: `[${n}, S], or [sum of the target lengths]`,
    });
  }
  // One after the other: a row is as long as the longest if the lengths are known here, else as all together.
  const total = targets.shape[0];
  const longest = given instanceof Tensor ? total : Math.max(0, ...given);
  if (longest === 0) return full([n, 0], 0, { dtype: 'int32' });
  const starts = sub(cumsum(lengths, 0), cast(lengths, 'int64'));
  const at = minimum(add(reshape(starts, [n, 1]), iotaAlong(longest, 1, 2, 'int64')), total - 1);
  return take(targets, at);
}

/** The labels with blanks between and around them, [N, 2S + 1]; blanks behind the end. */
function extended(rows: Tensor, lengths: Tensor, blank: number): Tensor {
  const [n, s] = rows.shape;
  const blanks = full([n, 1], blank, { dtype: 'int32' });
  if (s === 0) return blanks;
  const valid = lt(iotaAlong(s, 1, 2), reshape(lengths, [n, 1]));
  const labels = where(valid, cast(rows, 'int32'), blank);
  const pairs = concat([full([n, s, 1], blank, { dtype: 'int32' }), unsqueeze(labels, -1)], -1);
  return concat([reshape(pairs, [n, 2 * s]), blanks], 1);
}

/**
 * The negative log-likelihood of label sequences under logProbs [T, N, C] (or [T, C]), the log-softmax of scores, summed over all
 * alignments. targets: int [N, S], padded, or all sequences one after the other; inputLengths and targetLengths: [N], tensors (also
 * inside jit()) or plain arrays. 'mean' divides each loss by its target's length (at least 1), then takes the mean over the batch.
 * Outside jit() too, each combination of T, N and S is compiled at its first use: pad batches to a few sizes.
 * A target that does not fit costs Infinity and has gradient 0. The gradient is the true one in logProbs: PyTorch's adds exp(logProbs),
 * which vanishes in the gradient of the scores before logSoftmax.
 */
export function ctcLoss(
  logProbs: Tensor,
  targets: Tensor,
  inputLengths: Lengths,
  targetLengths: Lengths,
  { blank = 0, zeroInfinity = false, reduction = 'mean' }: CtcOptions = {},
): Tensor {
  const op = 'ctcLoss';
  requireKind(logProbs, ['float'], op);
  requireKind(targets, ['int'], op);
  const rank = logProbs.shape.length;
  if (rank !== 2 && rank !== 3) {
    throw new ShapeError(`log-probabilities of shape ${formatShape(logProbs.shape)}`, {
      op,
      received: logProbs.shape,
      expected: '[T, N, C] or [T, C]',
    });
  }
  const classes = logProbs.shape[rank - 1];
  if (!Number.isInteger(blank) || blank < 0 || blank >= classes) {
    throw new ArgumentError(`the blank is ${blank}`, { op, received: blank, expected: `a class from 0 to ${classes - 1}` });
  }
  return composite(op, () => {
    const logs = widen(rank === 3 ? logProbs : unsqueeze(logProbs, 1));
    const [steps, n] = logs.shape;
    const given = lengthsOf(inputLengths, n, 'inputLengths');
    const wanted = lengthsOf(targetLengths, n, 'targetLengths');
    const rows = rowsOf(rank === 3 || targets.shape.length === 2 ? targets : unsqueeze(targets, 0), wanted, targetLengths, n);
    const labels = extended(rows, wanted, blank);
    const length = labels.shape[1];
    const before =
      length > 2 ? pad(narrow(labels, 1, 0, length - 2), [2, 0], { value: blank }) : full([n, length], blank, { dtype: 'int32' });
    const skip = logicalAnd(ne(labels, blank), ne(labels, before));
    const end = mul(reshape(wanted, [n, 1]), 2);
    const state = iotaAlong(length, 1, 2);
    const last = logicalOr(eq(state, end), eq(state, sub(end, 1)));
    const active = lt(iotaAlong(steps, 0, 3), reshape(given, [1, n, 1]));
    const emissions = gather(logs, 2, expand(unsqueeze(labels, 0), [steps, n, length]));
    const likelihoods = cast(negativeLogLikelihood(emissions, active, { skip, last }), logProbs.dtype);
    const values = zeroInfinity ? where(isInf(likelihoods), 0, likelihoods) : likelihoods;
    if (reduction === 'mean') return finish(div(values, cast(maximum(wanted, 1), values.dtype)), 'mean');
    return finish(rank === 2 && reduction === 'none' ? reshape(values, []) : values, reduction);
  });
}
