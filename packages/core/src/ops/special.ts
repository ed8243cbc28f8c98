/** Element formulas of special functions that the kernel IR has no instruction for. */
import type { Expr, ExprBuilder } from '../ir/expr.js';

const bernoulli = [1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510];
/** The recurrence moves the argument up by this much, where the asymptotic series is exact to double precision. */
const shift = 10;

function power(b: ExprBuilder, x: Expr, n: number): Expr {
  let result: Expr | null = null;
  let base = x;
  for (let bits = n; bits > 0; bits >>= 1) {
    if (bits & 1) result = result === null ? base : b.mul(result, base);
    if (bits > 1) base = b.mul(base, base);
  }
  return result ?? b.const(x.type, 1);
}

/** zeta(s, x) for a whole s above 1 and x > 0, by the Euler-Maclaurin formula (DLMF 25.11.43). */
function hurwitzZeta(b: ExprBuilder, s: number, x: Expr): Expr {
  const c = (value: number): Expr => b.const(x.type, value);
  const inverse = (e: Expr, n: number): Expr => b.binary('div', c(1), power(b, e, n));
  let sum = inverse(x, s);
  for (let k = 1; k < shift; k++) sum = b.add(sum, inverse(b.add(x, c(k)), s));
  const top = b.add(x, c(shift));
  const topInverse = b.binary('div', c(1), top);
  sum = b.add(sum, b.mul(power(b, topInverse, s - 1), c(1 / (s - 1))));
  let term = power(b, topInverse, s);
  sum = b.add(sum, b.mul(term, c(0.5)));
  term = b.mul(term, topInverse);
  let factor = s;
  let factorial = 2;
  bernoulli.forEach((value, j) => {
    sum = b.add(sum, b.mul(term, c((value * factor) / factorial)));
    const order = 2 * (j + 1);
    factor *= (s + order - 1) * (s + order);
    factorial *= (order + 1) * (order + 2);
    term = b.mul(term, b.mul(topInverse, topInverse));
  });
  return sum;
}

/** The n-th derivative of digamma: (-1)^(n+1) n! zeta(n+1, x) (DLMF 5.15.1, 25.11.12). */
export function polygammaElement(b: ExprBuilder, n: number, x: Expr): Expr {
  const c = (value: number): Expr => b.const(x.type, value);
  let factor = n % 2 === 0 ? -1 : 1;
  for (let k = 2; k <= n; k++) factor *= k;
  if (n > 1) {
    const value = b.mul(hurwitzZeta(b, n + 1, x), c(factor));
    return b.select(b.binary('lt', c(0), x), value, c(NaN));
  }
  // Reflection: trigamma(1 - x) + trigamma(x) = pi^2 / sin^2(pi x) (DLMF 5.15.6).
  const small = b.binary('lt', x, c(0.5));
  const positive = hurwitzZeta(b, 2, b.select(small, b.sub(c(1), x), x));
  const reduced = b.sub(x, b.unary('roundEven', x));
  const sine = b.unary('sin', b.mul(reduced, c(Math.PI)));
  return b.select(small, b.sub(b.binary('div', c(Math.PI * Math.PI), b.mul(sine, sine)), positive), positive);
}
