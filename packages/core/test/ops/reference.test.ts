/** Every recorded PyTorch case: the same outputs and the same gradients. */
import { describe, expect, test } from 'vitest';
import { grad } from '../../src/autograd/engine.js';
import { isFloat } from '../../src/dtype.js';
import { mul } from '../../src/ops/binary.js';
import { add } from '../../src/ops/binary.js';
import { sum } from '../../src/ops/reduce.js';
import { readSync } from '../../src/tensor/dispatch.js';
import { scope } from '../../src/tensor/scope.js';
import { Tensor } from '../../src/tensor/tensor.js';
import type { Arg, CaseJson, TensorJson } from './cases.js';
import { cotangent, isTensorJson, loadCases, numbersOf, operations, tensorOf } from './cases.js';

/** Allowed distance, relative to the value and in absolute terms (gradients and sums mix large and small numbers). */
interface Tolerance {
  readonly rtol: number;
  readonly atol: number;
}
const tight: Tolerance = { rtol: 2e-6, atol: 2e-7 };
const families: Record<string, Tolerance> = {
  unary: { rtol: 4e-6, atol: 1e-6 },
  binary: { rtol: 4e-6, atol: 1e-6 },
  ternary: tight,
  activation: { rtol: 1e-5, atol: 1e-6 },
  reduction: { rtol: 1e-5, atol: 2e-6 },
  scan: { rtol: 1e-5, atol: 2e-6 },
  sorting: tight,
  indexing: { rtol: 1e-5, atol: 1e-6 },
  shape: tight,
  matmul: { rtol: 1e-5, atol: 2e-6 },
  convolution: { rtol: 1e-5, atol: 3e-6 },
  attention: { rtol: 1e-5, atol: 2e-6 },
  pooling: { rtol: 1e-5, atol: 1e-6 },
  padding: tight,
  resizing: { rtol: 1e-5, atol: 3e-6 },
  normalization: { rtol: 3e-5, atol: 1e-5 },
  loss: { rtol: 1e-5, atol: 2e-6 },
};
/** Where IEEE 754 leaves the sign of a zero open: maximum(0, -0), and what is made of it. */
const openZeros = new Set(['maximum', 'minimum', 'amax', 'amin', 'relu6', 'clamp', 'hardtanh']);
/** Results below the smallest normal number may be 0: PyTorch's vector code flushes some. */
const tiny = 2 ** -126;
/** Gradients next to poles and large sums of rounding errors. */
const looser: Record<string, Tolerance> = { digamma: { rtol: 3e-5, atol: 1e-6 } };
/** PyTorch's vectorised gelu overflows at the largest numbers, and gives NaN at infinity. */
function isKnownDefect(c: CaseJson, i: number): boolean {
  return c.op === 'gelu' && c.attrs.approximate === 'none' && isTensorJson(c.args[0]) && Number(c.args[0].data[i]) > 1e38;
}
/** Views and indexing are methods with tests of their own. */
const elsewhere = new Set([
  'slice', 'reshape', 'permute', 'transpose', 'expand', 'squeeze', 'unsqueeze', 'flatten', 'movedim', 'diagonal', 'unfold', 'split', 'chunk', 'flip',
  'index', 'indexPut',
]);

function compare(actual: Tensor, expected: TensorJson, { rtol, atol }: Tolerance, what: string, exactZeros: boolean, skip: (i: number) => boolean = () => false): void {
  expect(actual.dtype, `${what}: dtype`).toBe(expected.dtype);
  expect([...actual.shape], `${what}: shape`).toEqual([...expected.shape]);
  const got = Array.from(readSync(actual), Number);
  const wanted = numbersOf(expected);
  wanted.forEach((w, i) => {
    const g = got[i];
    const same = Object.is(g, w) || (!exactZeros && g === w);
    if (same || (Number.isNaN(g) && Number.isNaN(w)) || skip(i) || (Math.abs(g) < tiny && Math.abs(w) < tiny && Math.abs(g - w) > 0)) return;
    const close = Number.isFinite(w) && w !== 0 ? Math.abs(g - w) <= atol + rtol * Math.abs(w) : !exactZeros && Math.abs(g - w) <= atol;
    if (!close) expect.fail(`${what}: element ${i} is ${Object.is(g, -0) ? '-0' : g}, expected ${Object.is(w, -0) ? '-0' : w}\n got ${got.join(' ')}\n want ${wanted.join(' ')}`);
  });
}

function build(c: CaseJson): Arg[] {
  const leaf = (t: TensorJson): Tensor => {
    const made = tensorOf(t);
    return made;
  };
  return c.args.map((a): Arg => {
    if (isTensorJson(a)) return leaf(a);
    if (Array.isArray(a)) return a.map(leaf);
    return typeof a === 'number' ? a : null;
  });
}

function replay(c: CaseJson, tolerance: Tolerance): void {
  const run = operations[c.op];
  if (run === undefined) throw new Error(`no operation ${c.op}`);
  const args = build(c);
  const wanted: { readonly tensor: Tensor; readonly grad: TensorJson; readonly name: string }[] = [];
  c.grads?.forEach((g, k) => {
    const arg = args[k];
    const note = (tensor: Tensor, expected: TensorJson | null, name: string): void => {
      if (expected === null || !isFloat(tensor.dtype)) return;
      tensor.requiresGrad = true;
      wanted.push({ tensor, grad: expected, name });
    };
    if (arg instanceof Tensor && !Array.isArray(g)) note(arg, g as TensorJson | null, `gradient ${k}`);
    else if (Array.isArray(arg) && Array.isArray(g)) arg.forEach((t, i) => note(t, g[i] as TensorJson | null, `gradient ${k}[${i}]`));
  });
  const result = run(args, c.attrs);
  const outputs = result instanceof Tensor ? [result] : result;
  expect(outputs.length, 'number of outputs').toBe(c.outputs.length);
  const exact = c.special === true && !openZeros.has(c.op);
  outputs.forEach((out, i) => compare(out, c.outputs[i], tolerance, `output ${i}`, exact, (k) => isKnownDefect(c, k)));
  if (wanted.length === 0) return;
  let total: Tensor | null = null;
  for (const out of outputs) {
    if (!isFloat(out.dtype) || !out.requiresGrad) continue;
    const part = sum(mul(out, cotangent(out.shape, out.dtype)));
    total = total === null ? part : add(total, part);
  }
  if (total === null) {
    for (const { grad: expected, name } of wanted) expect(numbersOf(expected).every((v) => v === 0), `${name} is 0`).toBe(true);
    return;
  }
  const grads = grad(total, wanted.map((w) => w.tensor), { allowUnused: true });
  wanted.forEach(({ grad: expected, name }, i) => {
    const actual = grads[i];
    if (actual === null) expect(numbersOf(expected).every((v) => v === 0), `${name} is 0`).toBe(true);
    else compare(actual, expected, tolerance, name, false);
  });
}

for (const [family, tolerance] of Object.entries(families)) {
  describe(`${family} agrees with PyTorch`, () => {
    const byOp = new Map<string, CaseJson[]>();
    for (const c of loadCases(family)) {
      if (!elsewhere.has(c.op)) byOp.set(c.op, [...(byOp.get(c.op) ?? []), c]);
    }
    for (const [op, cases] of byOp) {
      test(`${op} (${cases.length})`, () => {
        const failures: string[] = [];
        cases.forEach((c, i) => {
          try {
            scope(() => replay(c, looser[op] ?? tolerance));
          } catch (error) {
            const shapes = c.args.map((a) => (isTensorJson(a) ? `${a.dtype}[${a.shape.join()}]` : JSON.stringify(a)?.slice(0, 40)));
            failures.push(`case ${i} ${shapes.join(' ')} ${JSON.stringify(c.attrs)}${c.special ? ' special' : ''}: ${error instanceof Error ? error.message : String(error)}`);
          }
        });
        if (failures.length > 0) expect.fail(`${failures.length} of ${cases.length} cases\n${failures.join('\n')}`);
      });
    }
  });
}
