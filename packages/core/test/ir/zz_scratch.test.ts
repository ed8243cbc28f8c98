import { it } from 'vitest';
import { ExprBuilder, operands } from '../../src/ir/expr.js';
import type { Expr } from '../../src/ir/expr.js';
import { lowerMath } from '../../src/ir/math.js';
import { evalUnary, evalBinary } from '../../src/ir/scalar.js';
import { compile, fromBits, sweep32, ulpError } from './evaluate.js';
const fns = (process.env.FNS ?? 'exp,exp2,expm1,log,log2,log1p,sin,cos,tan,asin,acos,atan,sinh,cosh,tanh,asinh,acosh,atanh,erf,erfc,erfinv,lgamma,digamma,rsqrt,sigmoid').split(',');
const N = Number(process.env.N ?? 60000);
function count(e: Expr) { const s = new Set<Expr>(); const ops: Record<string, number> = {}; const v = (x: Expr) => { if (s.has(x)) return; s.add(x); if (x.kind !== 'const') { const k = x.kind === 'binary' && x.op === 'div' ? 'div' : 'n'; ops[k] = (ops[k] ?? 0) + 1; } operands(x).forEach(v); }; v(e); return JSON.stringify(ops); }
it('f32', () => {
  for (const f of fns) {
    const b = new ExprBuilder(); const x = b.newLocal('x', 'f32');
    const low = lowerMath(b, b.unary(f as never, b.read(x)));
    const run = compile(low, [x]);
    const xs = sweep32(N);
    // extra: dense near interesting ranges
    for (let i = 0; i < N / 2; i++) { xs.push(Math.fround((Math.random() - 0.5) * 20), Math.fround((Math.random() - 0.5) * 220), Math.fround((Math.random() - 0.5) * 2.2), Math.fround((Math.random()-.5)*30000)); }
    const worst: [number, number, number, number][] = [];
    for (const v of xs) {
      const got = run(v) as number; const ref = evalUnary(f as never, 'f64', v) as number;
      let err = ulpError(got, ref, 'f32'); if (ref === 0 && !Object.is(got, ref) ) err = Infinity;
      worst.push([err, v, got, ref]);
    }
    worst.sort((a, b) => b[0] - a[0]);
    console.log(f.padEnd(8), count(low), 'max', worst.slice(0, 3).map((w) => `${w[0].toFixed(2)} @${w[1]} got ${w[2]} ref ${w[3]}`).join(' | '));
  }
}, 200000);
it('f64', () => {
  for (const f of fns) {
    const b = new ExprBuilder(); const x = b.newLocal('x', 'f64');
    const low = lowerMath(b, b.unary(f as never, b.read(x)));
    const run = compile(low, [x]);
    const xs: number[] = [0, -0, 1, -1, Infinity, -Infinity, NaN, 5e-324, 1e-310];
    for (let i = 0; i < 1500; i++) { xs.push((Math.random() - 0.5) * 20, (Math.random() - 0.5) * 1500, (Math.random() - 0.5) * 2.2, (Math.random() < 0.5 ? -1 : 1) * 10 ** (Math.random() * 600 - 300)); }
    const worst: [number, number, number, number][] = [];
    for (const v of xs) {
      const got = run(v) as number; const ref = evalUnary(f as never, 'f64', v) as number;
      let err = ulpError(got, ref, 'f64'); if (ref === 0 && !Object.is(got, ref) ) err = Infinity;
      worst.push([err, v, got, ref]);
    }
    worst.sort((a, b) => b[0] - a[0]);
    console.log('f64', f.padEnd(8), count(low), 'max', worst.slice(0, 3).map((w) => `${w[0].toFixed(2)} @${w[1]} got ${w[2]} ref ${w[3]}`).join(' | '));
  }
}, 200000);
