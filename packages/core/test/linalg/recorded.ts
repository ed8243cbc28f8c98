/** Replays recorded PyTorch cases of linear algebra, transforms and distributions, all in float64. */
import { expect } from 'vitest';
import { grad } from '../../src/autograd/engine.js';
import { isFloat } from '../../src/dtype.js';
import { add, mul } from '../../src/ops/binary.js';
import { sum } from '../../src/ops/reduce.js';
import { scope } from '../../src/tensor/scope.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { type CaseJson, cotangent, isTensorJson, tensorOf } from '../ops/cases.js';

export type Attrs = Readonly<Record<string, unknown>>;
export type Run = (args: readonly Tensor[], attrs: Attrs) => Tensor | readonly Tensor[];

const numbers = (t: Tensor): number[] => Array.from(t.dataSync(), Number);

function compare(got: Tensor, expected: NonNullable<CaseJson['grads']>[number], what: string, tolerance: number): void {
  if (!isTensorJson(expected)) return;
  expect(got.shape, what).toEqual(expected.shape);
  const data = numbers(got);
  expected.data.forEach((raw, i) => {
    const value = Number(raw);
    const off = Math.abs(data[i] - value);
    if (Object.is(data[i], value) || data[i] === value || off <= tolerance * (1 + Math.abs(value))) return;
    expect.fail(`${what}, element ${i}: ${data[i]} instead of ${value}`);
  });
}

/** Runs one case and compares outputs and gradients. */
export function replay(recorded: CaseJson, run: Run, tolerance = 1e-9): void {
  scope(() => {
    const args = recorded.args.map((a) => {
      if (!isTensorJson(a)) throw new TypeError('an argument that is no tensor');
      return tensorOf(a);
    });
    const { grads } = recorded;
    if (grads !== undefined) args.forEach((a, i) => isFloat(a.dtype) && grads[i] !== null && a.requiresGrad_());
    const raw = run(args, recorded.attrs);
    const outputs = Array.isArray(raw) ? (raw as readonly Tensor[]) : [raw as Tensor];
    const name = `${recorded.op} ${JSON.stringify(recorded.attrs)} of ${args.map((a) => `[${a.shape.join()}]`).join(' ')}`;
    expect(outputs.length, name).toBe(recorded.outputs.length);
    outputs.forEach((t, i) => compare(t, recorded.outputs[i], `${name}: output ${i}`, tolerance));
    if (grads === undefined) return;
    const total = outputs
      .filter((t) => isFloat(t.dtype) && t.requiresGrad)
      .map((t) => sum(mul(t, cotangent(t.shape, t.dtype))))
      .reduce<Tensor | null>((a, b) => (a === null ? b : add(a, b)), null);
    const wanted = args.filter((a) => a.requiresGrad);
    const found = total === null ? wanted.map(() => null) : grad(total, wanted, { allowUnused: true });
    args.forEach((a, i) => {
      const at = wanted.indexOf(a);
      if (at < 0) return;
      compare(found[at] ?? mul(a.detach(), 0), grads[i], `${name}: gradient ${i}`, tolerance * 10);
    });
  });
}

/** The cases of a file by operation. */
export function casesByOperation(file: unknown): [string, CaseJson[]][] {
  const groups = new Map<string, CaseJson[]>();
  for (const c of (file as { readonly cases: CaseJson[] }).cases) {
    const list = groups.get(c.op);
    if (list) list.push(c);
    else groups.set(c.op, [c]);
  }
  return [...groups];
}
