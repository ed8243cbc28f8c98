import { describe, expect, it } from 'vitest';
import { ExprBuilder } from '../../src/ir/expr.js';
import type { Kernel, Step, Stmt } from '../../src/ir/kernel.js';
import { printKernel, printSteps } from '../../src/ir/print.js';

const b = new ExprBuilder();
const cell = b.loopVar('row');
const v = b.loopVar('v');
const i = b.index(cell);
const sum = b.newLocal('sum', 'f32');
const scale = b.newLocal('sum', 'f32');
const x = b.load({ param: 0, dtype: 'bfloat16' }, 'f32', b.add(b.mul(i, b.i32(8)), b.index(v)), b.binary('lt', b.index(v), b.i32(7)));
const c = (value: number) => b.const('f32', value);

describe('printKernel', () => {
  it('prints loops, typed locals, guards and infix expressions', () => {
    const y = b.mul(b.sub(b.read(sum), b.sub(b.read(scale), c(0.1))), b.unary('neg', b.add(b.read(scale), c(-2))));
    const body: Stmt[] = [
      { kind: 'declare', local: sum, value: c(0) },
      {
        kind: 'for',
        variable: v,
        extent: 8,
        mode: 'vector',
        body: [{ kind: 'accumulate', local: sum, op: 'max', value: b.add(b.mul(x, x), b.unary('exp', x)) }],
      },
      { kind: 'declare', local: scale, value: b.select(b.binary('lt', b.read(sum), c(1)), c(1), b.binary('max', b.read(sum), c(1e-5))) },
      {
        kind: 'if',
        condition: b.binary('eq', i, b.i32(0)),
        then: [{ kind: 'store', buffer: { param: 1, dtype: 'float32' }, index: i, value: y, mode: 'set' }],
        otherwise: [{ kind: 'store', buffer: { param: 1, dtype: 'float32' }, index: b.i32(0), value: y, mode: 'add' }],
      },
    ];
    const kernel: Kernel = {
      name: 'demo',
      params: [
        { dtype: 'bfloat16', access: 'read' },
        { dtype: 'float32', access: 'readwrite' },
      ],
      parts: [{ kind: 'loops', grid: 4, cell, body }],
    };
    expect(printKernel(kernel)).toBe(
      `kernel demo(p0: read bfloat16, p1: readwrite float32)
  cells row in 0..4
    let sum: f32 = 0
    vector for v in 0..8
      $0: f32 = p0[row * 8 + v if v < 7]
      sum max= $0 * $0 + exp($0)
    let sum_${scale.id}: f32 = sum < 1 ? 1 : max(sum, 0.00001)
    if row == 0
      p1[row] = (sum - (sum_${scale.id} - 0.1)) * -(sum_${scale.id} + -2)
    else
      p1[0] += (sum - (sum_${scale.id} - 0.1)) * -(sum_${scale.id} + -2)`,
    );
  });

  it('prints a contraction with its coordinates and epilogue', () => {
    const acc = b.newLocal('acc', 'f32');
    const m = b.loopVar('m');
    const kernel: Kernel = {
      name: 'conv',
      params: [
        { dtype: 'float32', access: 'read' },
        { dtype: 'float32', access: 'read' },
        { dtype: 'float32', access: 'write' },
      ],
      parts: [
        {
          kind: 'contract',
          type: 'f32',
          dims: [
            { extent: 5, role: 'm' },
            { extent: 3, role: 'k' },
          ],
          a: {
            buffer: { param: 0, dtype: 'float32' },
            coordinates: [
              {
                terms: [
                  { dim: 0, coefficient: 2 },
                  { dim: 1, coefficient: 1 },
                ],
                offset: -1,
                dilation: 1,
                extent: 9,
                stride: 4,
                checked: true,
              },
            ],
          },
          b: {
            buffer: { param: 1, dtype: 'float32' },
            coordinates: [{ terms: [{ dim: 1, coefficient: 1 }], offset: 0, dilation: 1, extent: 3, stride: 1, checked: false }],
          },
          result: acc,
          outputVars: [m],
          epilogue: [
            { kind: 'store', buffer: { param: 2, dtype: 'float32' }, index: b.index(m), value: b.unary('tanh', b.read(acc)), mode: 'set' },
          ],
        },
      ],
    };
    expect(printKernel(kernel)).toBe(`kernel conv(p0: read float32, p1: read float32, p2: write float32)
  contract m0 in 0..5, k0 in 0..3
    acc: f32 = sum over k of p0[(2*m0 + k0 - 1 within 9)*4] * p1[k0]
    for each (m)
      p2[m] = tanh(acc)`);
  });
});

describe('printSteps', () => {
  it('prints calls with addresses under their control flow', () => {
    const kernel: Kernel = { name: 'step', params: [{ dtype: 'float32', access: 'read' }], parts: [] };
    const call: Step = { kind: 'call', kernel, args: [{ slot: 1, offset: 8, loopStrides: [4] }], work: 10 };
    const steps: Step[] = [
      { kind: 'repeat', count: 3, body: [call] },
      { kind: 'branch', condition: { slot: 0, offset: 0 }, then: [], otherwise: [call] },
    ];
    expect(printSteps(steps)).toBe(`repeat r0 in 0..3
  step(s1 + 8 + 4*r0)  work 10
if [s0 + 0]
else
  step(s1 + 8 + 4*r0)  work 10`);
  });
});
