/** Replays recorded PyTorch cases and compares outputs and gradients. */
import { expect } from 'vitest';
import { grad } from '../../src/autograd/engine.js';
import { isFloat } from '../../src/dtype.js';
import { add, mul } from '../../src/ops/binary.js';
import { sum } from '../../src/ops/reduce.js';
import { readSync } from '../../src/tensor/dispatch.js';
import { scope } from '../../src/tensor/scope.js';
import { Tensor } from '../../src/tensor/tensor.js';
import type { Arg, CaseJson, TensorJson } from './cases.js';
import { cotangent, isTensorJson, loadCases, numbersOf, operations, tensorOf } from './cases.js';

/** Allowed distance, relative to the value and in absolute terms (gradients and sums mix large and small numbers). */
export interface Tolerance {
  readonly rtol: number;
  readonly atol: number;
}
const tight: Tolerance = { rtol: 2e-6, atol: 2e-7 };
export const families: Record<string, Tolerance> = {
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
export const looser: Record<string, Tolerance> = { digamma: { rtol: 3e-5, atol: 1e-6 } };
/** PyTorch's vectorised gelu overflows at the largest numbers, and gives NaN at infinity. */
function isKnownDefect(c: CaseJson, i: number): boolean {
  return c.op === 'gelu' && c.attrs.approximate === 'none' && isTensorJson(c.args[0]) && Number(c.args[0].data[i]) > 1e38;
}
/** Views and indexing are methods with tests of their own. */
export const elsewhere = new Set([
  'slice',
  'reshape',
  'permute',
  'transpose',
  'expand',
  'squeeze',
  'unsqueeze',
  'flatten',
  'movedim',
  'diagonal',
  'unfold',
  'split',
  'chunk',
  'flip',
  'index',
  'indexPut',
]);

function compare(
  actual: Tensor,
  expected: TensorJson,
  { rtol, atol }: Tolerance,
  what: string,
  exactZeros: boolean,
  skip: (i: number) => boolean = () => false,
): void {
  expect(actual.dtype, `${what}: dtype`).toBe(expected.dtype);
  expect([...actual.shape], `${what}: shape`).toEqual([...expected.shape]);
  const got = Array.from(readSync(actual), Number);
  const wanted = numbersOf(expected);
  wanted.forEach((w, i) => {
    const g = got[i];
    const same = Object.is(g, w) || (!exactZeros && g === w);
    if (same || (Number.isNaN(g) && Number.isNaN(w)) || skip(i) || (Math.abs(g) < tiny && Math.abs(w) < tiny && Math.abs(g - w) > 0))
      return;
    const close = Number.isFinite(w) && w !== 0 ? Math.abs(g - w) <= atol + rtol * Math.abs(w) : !exactZeros && Math.abs(g - w) <= atol;
    if (!close)
      expect.fail(
        `${what}: element ${i} is ${Object.is(g, -0) ? '-0' : g}, expected ${Object.is(w, -0) ? '-0' : w}\n got ${got.join(' ')}\n want ${wanted.join(' ')}`,
      );
  });
}

interface Built {
  readonly args: Arg[];
  readonly tensors: readonly Tensor[];
}
function build(c: CaseJson): Built {
  const tensors: Tensor[] = [];
  const make = (t: TensorJson): Tensor => {
    tensors.push(tensorOf(t));
    return tensors[tensors.length - 1];
  };
  const args = c.args.map((a): Arg => {
    if (isTensorJson(a)) return make(a);
    if (Array.isArray(a)) return (a as TensorJson[]).map(make);
    return typeof a === 'number' ? a : null;
  });
  return { args, tensors };
}

interface Wanted {
  /** Position among the case's tensors. */
  readonly tensor: number;
  readonly grad: TensorJson;
}
/** The recorded gradients of float tensors, in the order of the tensors. */
function wantedGrads(c: CaseJson): Wanted[] {
  const flat = (value: unknown): unknown[] => (Array.isArray(value) ? value : [value]);
  const wanted: Wanted[] = [];
  let tensor = 0;
  c.args.forEach((arg, k) => {
    const recorded = flat(c.grads?.[k] ?? null);
    flat(arg).forEach((a, i) => {
      if (!isTensorJson(a)) return;
      const g = recorded[i];
      if (isTensorJson(g) && isFloat(a.dtype)) wanted.push({ tensor, grad: g });
      tensor++;
    });
  });
  return wanted;
}

/** Outputs of a case, then the gradients that are wanted (null: none flows there). */
type Run = (
  c: CaseJson,
  built: Built,
  wanted: readonly Wanted[],
) => { readonly outputs: readonly Tensor[]; readonly grads: readonly (Tensor | null)[] };

/** The operation and its gradients, as written, by a table of operations. */
export const evaluateWith =
  (table: typeof operations): Run =>
  (c, { args, tensors }, wanted) => {
    const run = table[c.op];
    if (run === undefined) throw new Error(`no operation ${c.op}`);
    for (const { tensor } of wanted) tensors[tensor].requiresGrad = true;
    const result = run(args, c.attrs);
    const outputs = result instanceof Tensor ? [result] : result;
    const parts = outputs
      .filter((out) => isFloat(out.dtype) && out.requiresGrad)
      .map((out) => sum(mul(out, cotangent(out.shape, out.dtype))));
    if (wanted.length === 0 || parts.length === 0) return { outputs, grads: wanted.map(() => null) };
    const total = parts.reduce((a, b) => add(a, b));
    return {
      outputs,
      grads: grad(
        total,
        wanted.map(({ tensor }) => tensors[tensor]),
        { allowUnused: true },
      ),
    };
  };
/** {@link evaluateWith} of the operations of the shared table. */
export const evaluate: Run = evaluateWith(operations);

/** Runs a case and compares everything that was recorded. */
export function replay(c: CaseJson, tolerance: Tolerance, run: Run = evaluate): void {
  const wanted = wantedGrads(c);
  const { outputs, grads } = run(c, build(c), wanted);
  expect(outputs.length, 'number of outputs').toBe(c.outputs.length);
  const exact = c.special === true && !openZeros.has(c.op);
  outputs.forEach((out, i) => compare(out, c.outputs[i], tolerance, `output ${i}`, exact, (k) => isKnownDefect(c, k)));
  wanted.forEach(({ grad: expected }, i) => {
    const actual = grads[i];
    if (actual === null)
      expect(
        numbersOf(expected).every((v) => v === 0),
        `gradient ${i} is 0`,
      ).toBe(true);
    else compare(actual, expected, tolerance, `gradient ${i}`, false);
  });
}

/** Replays the cases of one operation; fails with a line for each that differs. */
export function replayAll(op: string, cases: readonly CaseJson[], tolerance: Tolerance, run: Run = evaluate): void {
  const failures: string[] = [];
  cases.forEach((c, i) => {
    try {
      scope(() => replay(c, looser[op] ?? tolerance, run));
    } catch (error) {
      const shapes = c.args.map((a) => (isTensorJson(a) ? `${a.dtype}[${a.shape.join()}]` : JSON.stringify(a)?.slice(0, 40)));
      failures.push(
        `case ${i} ${shapes.join(' ')} ${JSON.stringify(c.attrs)}${c.special ? ' special' : ''}: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  });
  if (failures.length > 0) expect.fail(`${failures.length} of ${cases.length} cases\n${failures.join('\n')}`);
}

/** The cases of a family by operation, without those tested elsewhere. */
export function casesByOp(family: string): Map<string, CaseJson[]> {
  const byOp = new Map<string, CaseJson[]>();
  for (const c of loadCases(family)) if (!elsewhere.has(c.op)) byOp.set(c.op, [...(byOp.get(c.op) ?? []), c]);
  return byOp;
}
