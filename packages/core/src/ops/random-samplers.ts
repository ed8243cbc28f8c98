/**
 * Random numbers by rejection: gamma, Poisson and binomial. Element i tries the blocks [i, 0, ...], [i, 1, ...] of the generator's
 * stream until one is accepted, so its value does not depend on the others.
 */
import { noGrad } from '../autograd/mode.js';
import { AutogradError } from '../errors.js';
import { sizeOf } from '../graph/layout.js';
import type { LoopsContext, Primitive } from '../graph/primitive.js';
import type { Expr } from '../ir/expr.js';
import { apply1, applyInPlace } from '../tensor/dispatch.js';
import { defaultGenerator, type Generator } from '../tensor/generator.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { div, mul, sub } from './binary.js';
import { withGradient } from './custom-gradient.js';
import { computeType, primitive } from './define.js';
import { Arithmetic, LoopWriter } from './loop-writer.js';
import { advancePrimitive, fraction, philoxWords } from './random-primitives.js';
import { type Stage, unravel } from './statements.js';
import { digamma, exp, lgamma, log, neg } from './unary.js';

/** Elements of one cell. */
const block = 64;
/** After so many rejections the last candidate stands; each is accepted with a probability above 1/2. */
const attempts = 128;

/** A stage that computes every element of output 0 by statements. `element` writes them and returns the value. */
function perElement(ctx: LoopsContext, work: number, element: (w: LoopWriter, at: readonly Expr[], i: Expr) => Expr): readonly Stage[] {
  const { b } = ctx;
  const { shape, dtype } = ctx.outputs[0];
  const size = sizeOf(shape);
  if (size === 0) return [];
  const cell = b.loopVar('block');
  const w = new LoopWriter(b);
  const first = b.mul(b.index(cell), b.i32(block));
  const count = size % block === 0 ? b.i32(block) : b.binary('min', b.i32(block), b.sub(b.i32(size), first));
  w.for('element', count, (k) => {
    const i = w.let('i', b.add(first, k));
    const at = unravel(b, i, shape);
    const value = element(w, at, i);
    w.push(ctx.store(0, at, b.cast(value, computeType(dtype))));
  });
  return [{ grid: Math.ceil(size / block), cell, body: w.statements, work: size * work }];
}

/** Uniform over (0, 1] from a word: its logarithm is finite. */
function open(ctx: LoopsContext, word: Expr, type: 'f32' | 'f64'): Expr {
  return fraction(ctx.b, word, 24, type, 1);
}

/** Inputs of a sampler: the state, then parameters of one shape and dtype. */
function sampler(name: string, work: number, element: (ctx: LoopsContext, w: LoopWriter, parameters: Expr[], i: Expr) => Expr): Primitive {
  return primitive<Record<string, never>>({
    name,
    infer: (inputs) => [inputs[1]],
    lowering: {
      kind: 'loops',
      alias: false,
      stages: (ctx) =>
        perElement(ctx, work, (w, at, i) =>
          element(
            ctx,
            w,
            ctx.inputs.slice(1).map((_, k) => w.let('parameter', ctx.load(k + 1, at))),
            i,
          ),
        ),
    },
    vjp: null,
  });
}

/** Runs `attempt` with fresh random words until it accepts a value by calling its `accept`. */
function untilAccepted(
  ctx: LoopsContext,
  w: LoopWriter,
  i: Expr,
  start: Expr,
  attempt: (words: readonly [Expr, Expr, Expr, Expr], result: { set(value: Expr): void }, accept: () => void) => void,
): Expr {
  const { b } = ctx;
  const result = w.variable('result', start);
  const round = w.variable('round', b.i32(0));
  const searching = w.variable('searching', b.const('bool', true));
  w.while(b.and(searching.value, b.binary('lt', round.value, b.i32(attempts))), () => {
    const words = philoxWords(ctx, i, round.value).map((word) => w.let('word', word)) as [Expr, Expr, Expr, Expr];
    round.set(b.add(round.value, b.i32(1)));
    attempt(words, result, () => searching.set(b.const('bool', false)));
  });
  return result.value;
}

/** Marsaglia and Tsang, "A simple method for generating gamma variables" (2000); below 1 a sample of alpha + 1 times U^(1 / alpha). */
const gammaPrimitive = sampler('randomGamma', 300, (ctx, w, [alpha], i) => {
  const { b } = ctx;
  const type = alpha.type === 'f64' ? 'f64' : 'f32';
  const a = new Arithmetic(b, type);
  const boosted = w.let('boosted', a.lt(alpha, a.num(1)));
  const d = w.let('d', a.sub(a.select(boosted, a.add(alpha, a.num(1)), alpha), a.num(1 / 3)));
  const c = w.let('c', a.div(a.num(1), a.sqrt(a.mul(a.num(9), d))));
  const lift = w.variable('lift', a.num(1));
  const value = untilAccepted(ctx, w, i, d, ([word0, word1, word2, word3], result, accept) => {
    const radius = a.sqrt(a.mul(a.num(-2), b.unary('log', open(ctx, word0, type))));
    const x = w.let('x', a.mul(radius, b.unary('cos', a.mul(a.num(2 * Math.PI), fraction(b, word1, 24, type)))));
    const root = w.let('root', a.add(a.num(1), a.mul(c, x)));
    const v = w.let('v', a.mul(root, a.mul(root, root)));
    w.if(a.lt(a.num(0), v), () => {
      const bound = a.add(a.mul(a.num(0.5), a.mul(x, x)), a.mul(d, a.add(a.sub(a.num(1), v), b.unary('log', v))));
      w.if(a.lt(b.unary('log', open(ctx, word2, type)), bound), () => {
        result.set(a.mul(d, v));
        lift.set(a.select(boosted, b.unary('exp', a.div(b.unary('log', open(ctx, word3, type)), alpha)), a.num(1)));
        accept();
      });
    });
  });
  return a.mul(value, lift.value);
});

/** Below a mean of 10 by multiplying uniforms, above by transformed rejection (PTRS, Hörmann 1993). */
const poissonPrimitive = sampler('randomPoisson', 400, (ctx, w, [mean], i) => {
  const { b } = ctx;
  const a = new Arithmetic(b, 'f64');
  const rate = w.let('rate', b.cast(mean, 'f64'));
  const result = w.variable('count', a.num(0));
  w.if(
    a.lt(rate, a.num(10)),
    () => {
      // The number of exponential waiting times that fit into `rate`.
      const total = w.variable('total', a.num(0));
      const round = w.variable('round', b.i32(0));
      const counting = w.variable('counting', b.const('bool', true));
      w.while(b.and(counting.value, b.binary('lt', round.value, b.i32(attempts))), () => {
        const words = philoxWords(ctx, i, round.value).map((word) => w.let('word', word));
        round.set(b.add(round.value, b.i32(1)));
        for (const word of words) {
          w.if(counting.value, () => {
            total.set(a.sub(total.value, b.unary('log', open(ctx, word, 'f64'))));
            w.if(
              a.lt(total.value, rate),
              () => result.set(a.add(result.value, a.num(1))),
              () => counting.set(b.const('bool', false)),
            );
          });
        }
      });
    },
    () => {
      const root = w.let('root', a.sqrt(rate));
      const width = w.let('width', a.add(a.num(0.931), a.mul(a.num(2.53), root)));
      const slope = w.let('slope', a.add(a.num(-0.059), a.mul(a.num(0.02483), width)));
      const inverseAlpha = w.let('inverseAlpha', a.add(a.num(1.1239), a.div(a.num(1.1328), a.sub(width, a.num(3.4)))));
      const quick = w.let('quick', a.sub(a.num(0.9277), a.div(a.num(3.6224), a.sub(width, a.num(2)))));
      const logRate = w.let('logRate', b.unary('log', rate));
      const value = untilAccepted(ctx, w, i, b.unary('floor', rate), ([word0, word1], candidate, accept) => {
        const u = w.let('u', a.sub(fraction(b, word0, 31, 'f64', 0.5), a.num(0.5)));
        const v = w.let('v', open(ctx, word1, 'f64'));
        const edge = w.let('edge', a.sub(a.num(0.5), a.abs(u)));
        const k = w.let(
          'k',
          b.unary('floor', a.add(a.mul(a.add(a.div(a.mul(a.num(2), slope), edge), width), u), a.add(rate, a.num(0.43)))),
        );
        const inside = b.and(b.binary('le', a.num(0.07), edge), b.binary('le', v, quick));
        w.if(
          inside,
          () => {
            candidate.set(k);
            accept();
          },
          () => {
            const outside = b.binary('or', a.lt(k, a.num(0)), b.and(a.lt(edge, a.num(0.013)), a.lt(edge, v)));
            w.if(a.not(outside), () => {
              const shape = a.add(a.div(slope, a.mul(edge, edge)), width);
              const left = b.unary('log', a.div(a.mul(v, inverseAlpha), shape));
              const right = a.sub(a.sub(a.mul(k, logRate), rate), b.unary('lgamma', a.add(k, a.num(1))));
              w.if(b.binary('le', left, right), () => {
                candidate.set(k);
                accept();
              });
            });
          },
        );
      });
      result.set(value);
    },
  );
  return result.value;
});

/** Below n p = 10 by the waiting times between successes (Devroye 1986, X.4.3), above by transformed rejection (BTRS, Hörmann 1993). */
const binomialPrimitive = sampler('randomBinomial', 500, (ctx, w, [total, chance], i) => {
  const { b } = ctx;
  const a = new Arithmetic(b, 'f64');
  const n = w.let('n', b.cast(total, 'f64'));
  const given = w.let('given', b.cast(chance, 'f64'));
  const flipped = w.let('flipped', a.lt(a.num(0.5), given));
  const p = w.let('p', a.select(flipped, a.sub(a.num(1), given), given));
  const result = w.variable('count', a.num(0));
  w.if(
    a.lt(a.mul(n, p), a.num(10)),
    () => {
      const failure = w.let('failure', b.unary('log1p', a.neg(p)));
      const position = w.variable('position', a.num(0));
      const round = w.variable('round', b.i32(0));
      const counting = w.variable('counting', a.lt(a.num(0), p));
      w.while(b.and(counting.value, b.binary('lt', round.value, b.i32(attempts))), () => {
        const words = philoxWords(ctx, i, round.value).map((word) => w.let('word', word));
        round.set(b.add(round.value, b.i32(1)));
        for (const word of words) {
          w.if(counting.value, () => {
            const wait = b.unary('floor', a.div(b.unary('log', open(ctx, word, 'f64')), failure));
            position.set(a.add(position.value, a.add(wait, a.num(1))));
            w.if(
              b.binary('le', position.value, n),
              () => result.set(a.add(result.value, a.num(1))),
              () => counting.set(b.const('bool', false)),
            );
          });
        }
      });
    },
    () => {
      const q = w.let('q', a.sub(a.num(1), p));
      const spread = w.let('spread', a.sqrt(a.mul(n, a.mul(p, q))));
      const width = w.let('width', a.add(a.num(1.15), a.mul(a.num(2.53), spread)));
      const slope = w.let('slope', a.add(a.add(a.num(-0.0873), a.mul(a.num(0.0248), width)), a.mul(a.num(0.01), p)));
      const centre = w.let('centre', a.add(a.mul(n, p), a.num(0.5)));
      const quick = w.let('quick', a.sub(a.num(0.92), a.div(a.num(4.2), width)));
      const alpha = w.let('alpha', a.mul(a.add(a.num(2.83), a.div(a.num(5.1), width)), spread));
      const mode = w.let('mode', b.unary('floor', a.mul(a.add(n, a.num(1)), p)));
      const odds = w.let('odds', b.unary('log', a.div(p, q)));
      const logFactorial = (x: Expr): Expr => b.unary('lgamma', a.add(x, a.num(1)));
      const top = w.let('top', a.add(logFactorial(mode), logFactorial(a.sub(n, mode))));
      const value = untilAccepted(ctx, w, i, mode, ([word0, word1], candidate, accept) => {
        const u = w.let('u', a.sub(fraction(b, word0, 31, 'f64', 0.5), a.num(0.5)));
        const v = w.let('v', open(ctx, word1, 'f64'));
        const edge = w.let('edge', a.sub(a.num(0.5), a.abs(u)));
        const k = w.let('k', b.unary('floor', a.add(a.mul(a.add(a.div(a.mul(a.num(2), slope), edge), width), u), centre)));
        w.if(b.and(b.binary('le', a.num(0), k), b.binary('le', k, n)), () => {
          const inside = b.and(b.binary('le', a.num(0.07), edge), b.binary('le', v, quick));
          w.if(
            inside,
            () => {
              candidate.set(k);
              accept();
            },
            () => {
              const left = b.unary('log', a.div(a.mul(v, alpha), a.add(a.div(slope, a.mul(edge, edge)), width)));
              const rest = a.sub(a.sub(top, logFactorial(k)), logFactorial(a.sub(n, k)));
              w.if(b.binary('le', left, a.add(rest, a.mul(a.sub(k, mode), odds))), () => {
                candidate.set(k);
                accept();
              });
            },
          );
        });
      });
      result.set(value);
    },
  );
  return a.select(flipped, a.sub(n, result.value), result.value);
});

function drawFrom(p: Primitive, parameters: readonly Tensor[], generator: Generator = defaultGenerator): Tensor {
  const { state } = generator;
  const drawn = noGrad(() => apply1(p, [state, ...parameters]));
  applyInPlace(advancePrimitive, [state]);
  return drawn;
}
/** Poisson counts with these means, in their dtype. No gradient. */
export function poissonSamples(mean: Tensor, generator?: Generator): Tensor {
  return drawFrom(poissonPrimitive, [mean], generator);
}
/** Numbers of successes in `total` trials of probability `p`; equal shapes and dtypes. No gradient. */
export function binomialSamples(total: Tensor, p: Tensor, generator?: Generator): Tensor {
  return drawFrom(binomialPrimitive, [total, p], generator);
}

/* ---- the incomplete gamma function ---- */

const maximumTerms = 200_000;

/**
 * Sums of the series P(a, x) = x^a e^-x / Gamma(a) * sum of t_k, t_k = x^k / (a (a + 1) ... (a + k)) (DLMF 8.11.4), and of
 * t_k (1 / a + ... + 1 / (a + k)), the negative of its derivative with respect to a. All terms are positive.
 */
function gammaSeries(w: LoopWriter, a: Arithmetic, alpha: Expr, x: Expr): { readonly sum: Expr; readonly slope: Expr } {
  const { b } = w;
  const denominator = w.variable('denominator', alpha);
  const term = w.variable('term', a.div(a.num(1), alpha));
  const harmonic = w.variable('harmonic', a.div(a.num(1), alpha));
  const sum = w.variable('sum', term.value);
  const slope = w.variable('slope', a.mul(term.value, harmonic.value));
  const round = w.variable('round', b.i32(0));
  const going = w.variable('going', b.const('bool', true));
  w.while(going.value, () => {
    denominator.set(a.add(denominator.value, a.num(1)));
    const inverse = w.let('inverse', a.div(a.num(1), denominator.value));
    term.set(a.mul(term.value, a.mul(x, inverse)));
    harmonic.set(a.add(harmonic.value, inverse));
    sum.set(a.add(sum.value, term.value));
    slope.set(a.add(slope.value, a.mul(term.value, harmonic.value)));
    round.set(b.add(round.value, b.i32(1)));
    const small = b.and(a.lt(term.value, a.mul(a.num(2 ** -54), sum.value)), a.lt(x, denominator.value));
    going.set(b.and(a.not(small), b.binary('lt', round.value, b.i32(maximumTerms))));
  });
  return { sum: sum.value, slope: slope.value };
}

/** A function of (a, x) computed in float64 whatever the dtype. */
function gammaFunction(
  name: string,
  element: (w: LoopWriter, a: Arithmetic, alpha: Expr, x: Expr) => Expr,
  vjp: Parameters<typeof primitive<Record<string, never>>>[0]['vjp'],
): Primitive {
  return primitive<Record<string, never>>({
    name,
    infer: (inputs) => [inputs[0]],
    lowering: {
      kind: 'loops',
      alias: false,
      stages: (ctx) =>
        perElement(ctx, 300, (w, at) => {
          const a = new Arithmetic(w.b, 'f64');
          const alpha = w.let('alpha', w.b.cast(ctx.load(0, at), 'f64'));
          const x = w.let('x', w.b.cast(ctx.load(1, at), 'f64'));
          return element(w, a, alpha, x);
        }),
    },
    saves: { inputs: [0, 1] },
    vjp,
  });
}

const igammaPrimitive = gammaFunction(
  'igamma',
  (w, a, alpha, x) => {
    const { b } = w;
    const result = w.variable('result', a.num(0));
    // Beyond this the upper tail is below rounding.
    const far = a.lt(a.add(alpha, a.add(a.num(80), a.mul(a.num(12), a.sqrt(alpha)))), x);
    w.if(
      far,
      () => result.set(a.num(1)),
      () =>
        w.if(a.lt(a.num(0), x), () => {
          const { sum } = gammaSeries(w, a, alpha, x);
          const front = a.sub(a.sub(a.mul(alpha, b.unary('log', x)), x), b.unary('lgamma', alpha));
          result.set(b.binary('min', a.num(1), a.mul(b.unary('exp', front), sum)));
        }),
    );
    return result.value;
  },
  (ctx, [g]) => {
    if (g === null) return [null, null];
    const [alpha, x] = [ctx.input(0), ctx.input(1)];
    const density = exp(sub(sub(mul(sub(alpha, 1), log(x)), x), lgamma(alpha)));
    const weighted = mul(g, density);
    return [ctx.needs(0) ? neg(mul(weighted, gammaSlope(alpha, x))) : null, weighted];
  },
);

/**
 * dx / da where x lies far above a and the series cancels: the integral over s > 0 of (log(x + s) - digamma(a)) (1 + s / x)^(a - 1) e^-s,
 * by the trapezoidal rule after s = e^(t - e^-t) / r (Takahasi and Mori 1974), r the rate at which the integrand falls.
 */
function upperSlope(w: LoopWriter, a: Arithmetic, alpha: Expr, x: Expr, mean: Expr): Expr {
  const { b } = w;
  const [first, step, points] = [-3.3, 0.06, 125];
  const total = w.variable('total', a.num(0));
  const power = w.let('power', a.sub(alpha, a.num(1)));
  const rate = w.let('rate', a.sub(a.num(1), a.div(power, x)));
  w.for('point', points, (k) => {
    const t = w.let('t', a.add(a.num(first), a.mul(a.num(step), b.cast(k, 'f64'))));
    const small = w.let('small', b.unary('exp', a.neg(t)));
    const s = w.let('s', a.div(b.unary('exp', a.sub(t, small)), rate));
    const weight = a.mul(s, a.mul(a.add(a.num(1), small), a.num(step)));
    const density = b.unary('exp', a.sub(a.mul(power, b.unary('log1p', a.div(s, x))), s));
    total.set(a.add(total.value, a.mul(weight, a.mul(density, a.sub(b.unary('log', a.add(x, s)), mean)))));
  });
  return total.value;
}

const gammaSlopePrimitive = gammaFunction(
  'gammaSlope',
  (w, a, alpha, x) => {
    const { b } = w;
    const result = w.variable('result', a.num(0));
    w.if(a.lt(a.num(0), x), () => {
      const mean = w.let('mean', b.unary('digamma', alpha));
      const tail = a.lt(a.add(alpha, a.add(a.num(4), a.mul(a.num(4), a.sqrt(alpha)))), x);
      w.if(
        tail,
        () => result.set(upperSlope(w, a, alpha, x, mean)),
        () => {
          const { sum, slope } = gammaSeries(w, a, alpha, x);
          result.set(a.mul(x, a.sub(slope, a.mul(a.sub(b.unary('log', x), mean), sum))));
        },
      );
    });
    return result.value;
  },
  // In x by the identity dF/da = -f slope for the cdf F and its density f; in a it has no closed form.
  (ctx, [g]) => {
    if (ctx.needs(0)) {
      throw new AutogradError('the derivative of a gamma sample with respect to its shape has no derivative with respect to the shape', {
        op: 'gammaSlope',
        expected: 'first derivatives of samples alone',
      });
    }
    if (g === null) return [null, null];
    const [alpha, x] = [ctx.input(0), ctx.input(1)];
    const falling = mul(gammaSlope(alpha, x), sub(div(sub(alpha, 1), x), 1));
    return [null, mul(g, sub(sub(digamma(alpha), log(x)), falling))];
  },
);

/** The regularised lower incomplete gamma function P(a, x), a > 0, x >= 0. Equal shapes and dtypes. */
export function igamma(alpha: Tensor, x: Tensor): Tensor {
  return apply1(igammaPrimitive, [alpha, x]);
}
/**
 * dx / da at constant P(a, x): how a gamma sample moves with its shape (implicit reparameterisation; Figurnov, Mohamed, Mnih 2018).
 */
export function gammaSlope(alpha: Tensor, x: Tensor): Tensor {
  return apply1(gammaSlopePrimitive, [alpha, x]);
}

/** Gamma samples of rate 1 with these shapes; the gradient is that of {@link gammaSlope}. */
export function gammaSamples(alpha: Tensor, generator?: Generator): Tensor {
  return composite('gammaSamples', () => {
    const drawn = drawFrom(gammaPrimitive, [alpha], generator);
    if (!alpha.requiresGrad) return drawn;
    return withSlope(alpha, drawn);
  });
}
function withSlope(alpha: Tensor, drawn: Tensor): Tensor {
  return withGradient({
    name: 'gammaSamples',
    inputs: [alpha],
    savesInputs: [0],
    savesOutput: true,
    forward: () => [mul(drawn, 1)],
    vjp: (g, ctx) => [mul(g, gammaSlope(ctx.input(0), ctx.output()))],
  });
}

export const samplerPrimitives: readonly Primitive[] = [
  gammaPrimitive,
  poissonPrimitive,
  binomialPrimitive,
  igammaPrimitive,
  gammaSlopePrimitive,
];
