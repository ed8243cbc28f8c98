import { it } from 'vitest';
import { ExprBuilder } from '../../src/ir/expr.js';
import { lowerMath } from '../../src/ir/math.js';
import { evalBinary } from '../../src/ir/scalar.js';
import { compile, fromBits, sweep32, ulpError } from './evaluate.js';
const sp = [0, -0, 1, -1, 2, -2, 3, -3, 0.5, -0.5, 1.5, -2.5, Infinity, -Infinity, NaN, 1e-45, -1e-45, 1e30, -1e30, 16777217, 3e38,1e10,-1e10];
for (const t of ['f32', 'f64'] as const) it(t, () => {
  for (const f of ['pow', 'atan2'] as const) {
    const b = new ExprBuilder(); const x = b.newLocal('x', t), y = b.newLocal('y', t);
    const run = compile(lowerMath(b, b.binary(f, b.read(x), b.read(y))), [x, y]);
    const pairs: [number, number][] = [];
    for (const p of sp) for (const q of sp) pairs.push([t === 'f32' ? Math.fround(p) : p, t === 'f32' ? Math.fround(q) : q]);
    for (let i = 0; i < 20000; i++) { pairs.push([fromBits((Math.random() * 2 ** 32) | 0), fromBits((Math.random() * 2 ** 32) | 0)]); pairs.push([Math.fround(Math.exp(Math.random() * 20 - 10)), Math.fround(Math.random() * 20 - 10)]); pairs.push([Math.fround(1+Math.random()*.1-.05), Math.fround(Math.random() * 2000 - 1000)]); }
    const worst: [number, string][] = [];
    for (const [p, q] of pairs) { const got = run(p, q) as number; const ref = evalBinary(f, 'f64', p, q) as number; let err = ulpError(got, ref, t); if (ref === 0 && !Object.is(got, ref)) err = Infinity; worst.push([err, `${p},${q} got ${got} ref ${ref}`]); }
    worst.sort((a, b2) => b2[0] - a[0]);
    console.log(t, f, 'max', worst.slice(0, 4).map((w) => w.join(' @')).join(' | '));
  }
}, 100000);
