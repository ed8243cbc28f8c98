import { describe, expect, it } from 'vitest';
import type { Expr, MathBinaryOp, MathUnaryOp } from '../../src/ir/expr.js';
import { ExprBuilder, operands } from '../../src/ir/expr.js';
import { isMathBinary, isMathUnary, lowerMath, moderateAngle } from '../../src/ir/math.js';
import { evalBinary, evalUnary } from '../../src/ir/scalar.js';
import { compile, fromBits, sweep32, ulpError } from './evaluate.js';

type Unary = (x: number) => number;

function lowered(op: MathUnaryOp, type: 'f32' | 'f64', options = {}): { expr: Expr; run: Unary } {
  const b = new ExprBuilder();
  const x = b.newLocal('x', type);
  const expr = lowerMath(b, b.unary(op, b.read(x)), options);
  const run = compile(expr, [x]);
  return { expr, run: (v) => run(v) as number };
}
const exact = (op: MathUnaryOp, x: number): number => evalUnary(op, 'f64', x) as number;

/** Numbers in [0, 1), the same in every run. */
function uniform(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 0) / 2 ** 32;
  };
}

function nodes(root: Expr): Set<Expr> {
  const seen = new Set<Expr>();
  const visit = (e: Expr): void => {
    if (seen.has(e)) return;
    seen.add(e);
    operands(e).forEach(visit);
  };
  visit(root);
  return seen;
}

/** The worst argument, as text when a test fails. */
function worst(run: Unary, op: MathUnaryOp, type: 'f32' | 'f64', xs: readonly number[], error: (got: number, want: number) => number) {
  let most = { ulp: 0, at: `${op} ${type}` };
  for (const x of xs) {
    const got = run(x);
    const want = exact(op, x);
    const sameZero = want !== 0 || Object.is(got, want);
    const ulp = sameZero ? error(got, want) : Infinity;
    if (!(ulp <= most.ulp)) most = { ulp, at: `${op}(${x}) gave ${got}, exactly ${want}` };
  }
  return most;
}

/** Greatest error in ulp over all f32 arguments. */
const bounds32: Record<MathUnaryOp, number> = {
  exp: 1.5,
  exp2: 1.5,
  expm1: 2,
  log: 1,
  log2: 1.5,
  log1p: 1,
  sin: 3,
  cos: 3,
  tan: 4,
  asin: 2.5,
  acos: 2,
  atan: 2,
  sinh: 2,
  cosh: 2,
  tanh: 2.5,
  asinh: 2,
  acosh: 2.5,
  atanh: 2,
  erf: 3.5,
  erfc: 1.5,
  erfinv: 1,
  lgamma: 1,
  digamma: 1,
  rsqrt: 1.5,
  sigmoid: 2.5,
};

/** Greatest error in ulp for moderate f64 arguments, the reference's own included. */
const bounds64: Partial<Record<MathUnaryOp, number>> = {
  exp: 2,
  exp2: 2,
  expm1: 3,
  log: 2,
  log2: 2,
  log1p: 2,
  sin: 2,
  cos: 2,
  tan: 4,
  asin: 3,
  acos: 3,
  atan: 2,
  sinh: 3,
  cosh: 3,
  tanh: 4,
  asinh: 3,
  acosh: 3,
  atanh: 4,
  erf: 3,
  erfc: 8,
  erfinv: 6,
  rsqrt: 1,
  sigmoid: 3,
};
const unaryOps = Object.keys(bounds32) as MathUnaryOp[];

describe('lowerMath', () => {
  it('leaves core operations only', () => {
    for (const op of unaryOps) {
      for (const type of ['f32', 'f64'] as const) {
        const left = [...nodes(lowered(op, type).expr)].filter(
          (e) => (e.kind === 'unary' && isMathUnary(e.op)) || (e.kind === 'binary' && isMathBinary(e.op)),
        );
        expect(left).toEqual([]);
      }
    }
  });

  it('keeps what the backend has and stays in f32 when told to', () => {
    const kept = lowered('sigmoid', 'f32', { native: new Set(['sigmoid']) }).expr;
    expect(kept).toMatchObject({ kind: 'unary', op: 'sigmoid' });
    for (const op of unaryOps) {
      const types = [...nodes(lowered(op, 'f32', { f64: false }).expr)].map((e) => e.type);
      expect(types).not.toContain('f64');
      expect(types).not.toContain('i64');
    }
  });

  it('uses no shift whose count varies, and shares subexpressions between calls', () => {
    const b = new ExprBuilder();
    const x = b.newLocal('x', 'f32');
    const once = lowerMath(b, b.unary('exp', b.read(x)));
    expect(lowerMath(b, b.unary('exp', b.read(x)))).toBe(once);
    for (const op of unaryOps) {
      for (const e of nodes(lowered(op, 'f32').expr)) {
        if (e.kind === 'binary' && (e.op === 'shl' || e.op === 'shr')) expect(e.b.kind).toBe('const');
      }
    }
  });
});

describe('f32 functions over all bit patterns', () => {
  const random = uniform(7);
  const spread = (width: number): number[] => Array.from({ length: 5000 }, () => Math.fround((random() - 0.5) * width));
  const xs = [...sweep32(20000), ...spread(20), ...spread(220), ...spread(2.2), ...spread(30000)];
  for (const op of unaryOps) {
    it(`${op} is within ${bounds32[op]} ulp`, () => {
      const { run } = lowered(op, 'f32');
      // Where lgamma and digamma cross zero below 0, large terms cancel and the error stays absolute; tested below.
      const crossing = (x: number): boolean => (op === 'lgamma' || op === 'digamma') && x < 0 && Math.abs(exact(op, x)) < 0.01;
      const found = worst(
        run,
        op,
        'f32',
        xs.filter((x) => !crossing(x)),
        (got, want) => ulpError(got, want, 'f32'),
      );
      expect(found.ulp, found.at).toBeLessThanOrEqual(bounds32[op]);
    });
  }

  it('lgamma and digamma keep an absolute error of 1e-9 at their zeros below 0', () => {
    for (const op of ['lgamma', 'digamma'] as const) {
      const { run } = lowered(op, 'f32');
      const near = spread(8).filter((x) => x < 0 && Math.abs(exact(op, x)) < 0.01);
      expect(near.length).toBeGreaterThan(3);
      for (const x of near) expect(Math.abs(run(x) - exact(op, x))).toBeLessThan(1e-9);
    }
  });

  it('reduces the angles that come closest to multiples of pi/2', () => {
    // 16367173 * 2^72 is the worst of all f32 angles (Muller, Elementary Functions, ch. 11).
    const angles = [
      16367173 * 2 ** 72,
      3.4028234663852886e38,
      12288,
      12289,
      2 ** 32,
      2 ** 64,
      2 ** 96,
      1e22,
      fromBits(0x7f000001),
      6381956.5,
    ];
    for (const op of ['sin', 'cos', 'tan'] as const) {
      const { run } = lowered(op, 'f32');
      const found = worst(
        run,
        op,
        'f32',
        angles.flatMap((x) => [x, -x].map(Math.fround)),
        (got, want) => ulpError(got, want, 'f32'),
      );
      expect(found.ulp, found.at).toBeLessThanOrEqual(4);
    }
  });

  it('is as accurate without the reduction of huge angles where that is not needed', () => {
    for (const op of ['sin', 'cos', 'tan'] as const) {
      const { run, expr } = lowered(op, 'f32', { anyAngle: false });
      const inside = spread(2 * moderateAngle.f32);
      const found = worst(run, op, 'f32', inside, (got, want) => ulpError(got, want, 'f32'));
      expect(found.ulp, found.at).toBeLessThanOrEqual(4);
      expect(nodes(expr).size).toBeLessThan(65);
    }
  });

  it('keeps six digits where f64 is not allowed', () => {
    for (const op of ['sin', 'cos', 'tan', 'erfinv'] as const) {
      const { run } = lowered(op, 'f32', { f64: false });
      const wrong = spread(1.99).filter((x) => !(Math.abs(run(x) - exact(op, x)) <= 2e-6 * Math.max(1, Math.abs(exact(op, x)))));
      expect(wrong).toEqual([]);
    }
  });
});

describe('saturation', () => {
  it('tanh and erf never leave [-1, 1] and sigmoid never leaves [0, 1]', () => {
    for (const [op, low] of [
      ['tanh', -1],
      ['erf', -1],
      ['sigmoid', 0],
    ] as const) {
      const { run } = lowered(op, 'f32');
      const xs = Array.from({ length: 20000 }, (_, i) => Math.fround(i * 0.002 - 20));
      expect(xs.filter((x) => !(run(x) >= low && run(x) <= 1))).toEqual([]);
      expect([run(Infinity), run(-Infinity)]).toEqual([1, low]);
    }
  });
});

describe('f64 functions', () => {
  const random = uniform(11);
  const xs: number[] = [0, -0, 1, -1, Infinity, -Infinity, NaN, 5e-324, 1e-310, 1e-20, 709, -745, 1e300];
  for (let i = 0; i < 600; i++) {
    const size = 10 ** (random() * 30 - 25);
    xs.push((random() - 0.5) * 20, (random() - 0.5) * 1400, (random() - 0.5) * 2.2, size, -size);
  }
  for (const op of unaryOps) {
    const bound = bounds64[op];
    if (bound === undefined) continue;
    it(`${op} is within ${bound} ulp`, () => {
      const trigonometric = op === 'sin' || op === 'cos' || op === 'tan';
      const inputs = trigonometric ? xs.filter((x) => !(Math.abs(x) > moderateAngle.f64 && Number.isFinite(x))) : xs;
      const found = worst(lowered(op, 'f64').run, op, 'f64', inputs, (got, want) => ulpError(got, want, 'f64'));
      expect(found.ulp, found.at).toBeLessThanOrEqual(bound);
    });
  }

  it('lgamma and digamma are within 1e-13, relative to 1 where they are small', () => {
    for (const op of ['lgamma', 'digamma'] as const) {
      const { run } = lowered(op, 'f64');
      const inputs = xs.filter((x) => x > -170 && Math.abs(x) < 1e300);
      const found = worst(run, op, 'f64', inputs, (got, want) => (got === want ? 0 : Math.abs(got - want) / Math.max(1, Math.abs(want))));
      expect(found.ulp, found.at).toBeLessThanOrEqual(1e-13);
    }
    const { run } = lowered('lgamma', 'f64');
    for (const d of [1e-3, -1e-6, 1e-9]) {
      for (const zero of [1, 2]) {
        const want = exact('lgamma', zero + d);
        expect(Math.abs(run(zero + d) - want)).toBeLessThan(1e-14 * Math.abs(want));
      }
    }
  });

  it('sin and cos of huge angles move the angle by less than half an ulp', () => {
    for (const x of [1e8, 123456789.123, 9.87e11]) {
      const slack = Math.abs(x) * 2 ** -53;
      expect(Math.abs(lowered('sin', 'f64').run(x) - Math.sin(x))).toBeLessThanOrEqual(slack);
      expect(Math.abs(lowered('cos', 'f64').run(x) - Math.cos(x))).toBeLessThanOrEqual(slack);
    }
  });
});

describe('pow and atan2', () => {
  const special = [0, -0, 1, -1, 2, -2, 3, -3, 0.5, -0.5, 1.5, -2.5, Infinity, -Infinity, NaN, 1e-40, -1e-40, 1e30, -1e30, 16777216, 3e38];
  const bounds: Record<MathBinaryOp, Record<'f32' | 'f64', number>> = { pow: { f32: 1, f64: 4 }, atan2: { f32: 2, f64: 3 } };
  for (const op of ['pow', 'atan2'] as const) {
    for (const type of ['f32', 'f64'] as const) {
      it(`${op} of ${type} follows C99 in every special case and is within ${bounds[op][type]} ulp`, () => {
        const b = new ExprBuilder();
        const x = b.newLocal('x', type);
        const y = b.newLocal('y', type);
        const run = compile(lowerMath(b, b.binary(op, b.read(x), b.read(y))), [x, y]);
        const round = type === 'f32' ? Math.fround : (v: number): number => v;
        const random = uniform(3);
        const pairs = special.flatMap((p) => special.map((q) => [round(p), round(q)] as const));
        for (let i = 0; i < 4000; i++) {
          pairs.push([round(Math.exp(random() * 20 - 10)), round(random() * 20 - 10)]);
          pairs.push([round(1 + (random() - 0.5) / 10), round((random() - 0.5) * 2000)]);
          pairs.push([round(-Math.exp(random() * 8 - 4)), Math.round(random() * 20 - 10)]);
          pairs.push([fromBits(random() * 2 ** 32), fromBits(random() * 2 ** 32)]);
        }
        let most = { ulp: 0, at: op as string };
        for (const [p, q] of pairs) {
          const got = run(p, q) as number;
          const want = evalBinary(op, 'f64', p, q) as number;
          const ulp = want !== 0 || Object.is(got, want) ? ulpError(got, want, type) : Infinity;
          if (!(ulp <= most.ulp)) most = { ulp, at: `${op}(${p}, ${q}) gave ${got}, exactly ${want}` };
        }
        expect(most.ulp, most.at).toBeLessThanOrEqual(bounds[op][type]);
      });
    }
  }
});
