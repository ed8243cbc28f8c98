import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DType, ScalarType } from '../../src/dtype.js';
import { dtypeInfo } from '../../src/dtype.js';
import type { Expr } from '../../src/ir/expr.js';
import { ExprBuilder } from '../../src/ir/expr.js';
import { interpretKernel, interpretSteps } from '../../src/ir/interpret.js';
import { InterpreterDevice } from '../../src/ir/interpret-device.js';
import type { ContractPart, Kernel, Step, Stmt } from '../../src/ir/kernel.js';
import { bfloatToNumber, evalCast, halfToNumber, numberToBfloat, numberToHalf, roundEven } from '../../src/ir/scalar.js';

/** out[i] = f(x[i]) for n elements. */
function mapKernel(n: number, from: DType, to: DType, f: (b: ExprBuilder, x: Expr) => Expr): Kernel {
  const b = new ExprBuilder();
  const cell = b.loopVar('i');
  const x = b.load({ param: 0, dtype: from }, dtypeInfo[from].compute, b.index(cell));
  const body: Stmt[] = [{ kind: 'store', buffer: { param: 1, dtype: to }, index: b.index(cell), value: f(b, x), mode: 'set' }];
  return {
    name: 'map',
    params: [
      { dtype: from, access: 'read' },
      { dtype: to, access: 'write' },
    ],
    parts: [{ kind: 'loops', grid: n, cell, body }],
  };
}

describe('reference interpreter', () => {
  it('rounds every f32 operation to single precision', () => {
    const heap = new ArrayBuffer(64);
    new Float32Array(heap).set([16777216, 0.1]);
    interpretKernel(
      mapKernel(2, 'float32', 'float32', (b, x) => b.mul(b.add(x, b.const('f32', 1)), b.const('f32', 3))),
      heap,
      [0, 32],
    );
    expect([...new Float32Array(heap, 32, 2)]).toEqual([50331648, Math.fround(Math.fround(Math.fround(0.1) + 1) * 3)]);
  });

  it('wraps integers on narrow stores and keeps 64-bit integers exact', () => {
    const heap = new ArrayBuffer(64);
    new Int32Array(heap).set([300, -129]);
    interpretKernel(
      mapKernel(2, 'int32', 'int8', (_, x) => x),
      heap,
      [0, 32],
    );
    expect([...new Int8Array(heap, 32, 2)]).toEqual([44, 127]);
    new BigInt64Array(heap)[0] = 2n ** 62n + 1n;
    interpretKernel(
      mapKernel(1, 'int64', 'int64', (b, x) => b.mul(x, b.const('i64', 3n))),
      heap,
      [0, 32],
    );
    expect(new BigInt64Array(heap, 32, 1)[0]).toBe(BigInt.asIntN(64, (2n ** 62n + 1n) * 3n));
  });

  it('gives zero for a guarded load that does not happen, even outside the heap', () => {
    const heap = new ArrayBuffer(32);
    const b = new ExprBuilder();
    const cell = b.loopVar('i');
    const i = b.index(cell);
    const value = b.load({ param: 0, dtype: 'float32' }, 'f32', b.sub(i, b.i32(1000)), b.binary('lt', i, b.i32(0)));
    const kernel: Kernel = {
      name: 'guarded',
      params: [
        { dtype: 'float32', access: 'read' },
        { dtype: 'float32', access: 'write' },
      ],
      parts: [
        { kind: 'loops', grid: 1, cell, body: [{ kind: 'store', buffer: { param: 1, dtype: 'float32' }, index: i, value, mode: 'set' }] },
      ],
    };
    new Float32Array(heap)[4] = 7;
    interpretKernel(kernel, heap, [0, 16]);
    expect(new Float32Array(heap)[4]).toBe(0);
  });

  it('runs loops, accumulators, conditions, while and read-modify-write stores', () => {
    const b = new ExprBuilder();
    const cell = b.loopVar('row');
    const k = b.loopVar('k');
    const sum = b.newLocal('sum', 'i32');
    const left = b.newLocal('left', 'i32');
    const out = { param: 1, dtype: 'int32' } as const;
    const x = b.load({ param: 0, dtype: 'int32' }, 'i32', b.add(b.mul(b.index(cell), b.i32(3)), b.index(k)));
    const body: Stmt[] = [
      { kind: 'declare', local: sum, value: b.i32(0) },
      { kind: 'for', variable: k, extent: 3, mode: 'vector', body: [{ kind: 'accumulate', local: sum, op: 'add', value: x }] },
      { kind: 'declare', local: left, value: b.read(sum) },
      {
        kind: 'while',
        condition: b.binary('lt', b.i32(10), b.read(left)),
        body: [{ kind: 'assign', local: left, value: b.sub(b.read(left), b.i32(10)) }],
      },
      {
        kind: 'if',
        condition: b.binary('lt', b.read(left), b.i32(6)),
        then: [{ kind: 'store', buffer: out, index: b.i32(0), value: b.read(left), mode: 'add' }],
        otherwise: [{ kind: 'store', buffer: out, index: b.i32(1), value: b.read(sum), mode: 'max' }],
      },
    ];
    const kernel: Kernel = {
      name: 'rows',
      params: [
        { dtype: 'int32', access: 'read' },
        { dtype: 'int32', access: 'readwrite' },
      ],
      parts: [{ kind: 'loops', grid: 3, cell, body }],
    };
    const heap = new ArrayBuffer(64);
    new Int32Array(heap).set([4, 4, 4, 10, 10, 5, 9, 9, 9, 100, -5]);
    interpretKernel(kernel, heap, [0, 36]);
    // Sums 12, 25, 27 leave 2, 5, 7.
    expect([...new Int32Array(heap, 36, 2)]).toEqual([107, 27]);
  });

  it('contracts a strided, dilated, padded convolution through checked coordinates', () => {
    // out[i] = sum_k x[2 i + 3 k - 1] w[k] + i, x of 6 elements padded by one on the left and as needed on the right.
    const b = new ExprBuilder();
    const result = b.newLocal('acc', 'f32');
    const m = b.loopVar('m');
    const n = b.loopVar('n');
    const part: ContractPart = {
      kind: 'contract',
      type: 'f32',
      dims: [
        { extent: 3, role: 'm' },
        { extent: 1, role: 'n' },
        { extent: 3, role: 'k' },
      ],
      a: {
        buffer: { param: 0, dtype: 'float32' },
        coordinates: [
          {
            terms: [
              { dim: 0, coefficient: 2 },
              { dim: 2, coefficient: 3 },
            ],
            offset: -1,
            dilation: 1,
            extent: 6,
            stride: 1,
            checked: true,
          },
        ],
      },
      b: {
        buffer: { param: 1, dtype: 'float32' },
        coordinates: [{ terms: [{ dim: 2, coefficient: 1 }], offset: 0, dilation: 1, extent: 3, stride: 1, checked: false }],
      },
      result,
      outputVars: [m, n],
      epilogue: [
        {
          kind: 'store',
          buffer: { param: 2, dtype: 'float32' },
          index: b.add(b.index(m), b.index(n)),
          value: b.add(b.read(result), b.cast(b.index(m), 'f32')),
          mode: 'set',
        },
      ],
    };
    const kernel: Kernel = {
      name: 'conv',
      params: [
        { dtype: 'float32', access: 'read' },
        { dtype: 'float32', access: 'read' },
        { dtype: 'float32', access: 'write' },
      ],
      parts: [part],
    };
    const heap = new ArrayBuffer(64);
    const x = [1, 2, 3, 4, 5, 6];
    const w = [1, 10, 100];
    new Float32Array(heap).set([...x, ...w]);
    interpretKernel(kernel, heap, [0, 24, 36]);
    const expected = [0, 1, 2].map((i) => i + w.reduce((sum, wk, k) => sum + wk * (x[2 * i + 3 * k - 1] ?? 0), 0));
    expect([...new Float32Array(heap, 36, 3)]).toEqual(expected);
  });

  it('walks repeat, while and branch steps with loop strides', () => {
    const increment = mapKernel(1, 'int32', 'int32', (b, x) => b.add(x, b.i32(1)));
    const below = mapKernel(1, 'int32', 'bool', (b, x) => b.binary('lt', x, b.i32(5)));
    const call = (kernel: Kernel, ...args: number[]): Step => ({
      kind: 'call',
      kernel,
      args: args.map((offset) => ({ slot: 0, offset })),
      work: 1,
    });
    const strided: Step = {
      kind: 'call',
      kernel: increment,
      args: [
        { slot: 0, offset: 16, loopStrides: [4] },
        { slot: 0, offset: 20, loopStrides: [4] },
      ],
      work: 1,
    };
    const steps: Step[] = [
      { kind: 'while', condition: { slot: 0, offset: 8 }, before: [call(below, 0, 8)], body: [call(increment, 0, 0)] },
      { kind: 'branch', condition: { slot: 0, offset: 8 }, then: [call(increment, 0, 0)], otherwise: [call(increment, 0, 4)] },
      { kind: 'repeat', count: 3, body: [strided] },
    ];
    const heap = new ArrayBuffer(64);
    interpretSteps(steps, [0], heap);
    expect([...new Int32Array(heap, 0, 2)]).toEqual([5, 6]);
    expect([...new Int32Array(heap, 16, 4)]).toEqual([0, 1, 2, 3]);
  });

  it('frees the arena of every run and can be aborted between kernels', async () => {
    const device = new InterpreterDevice();
    const increment = mapKernel(4, 'float32', 'float32', (b, x) => b.add(x, b.const('f32', 1)));
    const at = device.allocate(16);
    const executable = device.load({
      name: 'inc',
      arenaBytes: 1024,
      slots: 2,
      constants: [{ offset: 0, bytes: new Uint8Array(new Float32Array([1, 2, 3, 4]).buffer) }],
      steps: [
        {
          kind: 'call',
          kernel: increment,
          args: [
            { slot: 0, offset: 0 },
            { slot: 1, offset: 0 },
          ],
          work: 4,
        },
      ],
    });
    executable.runSync([0, at]);
    const bytes = device.bytes(at, 16);
    expect([...new Float32Array(bytes.buffer, bytes.byteOffset, 4)]).toEqual([2, 3, 4, 5]);
    expect(device.stats()).toMatchObject({ bytesInUse: 16, allocations: 1 });
    const abort = new AbortController();
    abort.abort(new Error('enough'));
    await expect(executable.run([0, at], abort.signal)).rejects.toThrow('enough');
    await executable.run([0, at]);
    device.free(at, 16);
    expect(device.stats().bytesInUse).toBe(0);
  });
});

describe('number formats', () => {
  it('gives back every half and bfloat16 value bit for bit', () => {
    const changed: number[] = [];
    for (let bits = 0; bits < 65536; bits++) {
      const half = halfToNumber(bits);
      const bfloat = bfloatToNumber(bits);
      if (!Number.isNaN(half) && numberToHalf(half) !== bits) changed.push(bits);
      if (!Number.isNaN(bfloat) && numberToBfloat(bfloat) !== bits) changed.push(bits);
    }
    expect(changed).toEqual([]);
    expect([numberToHalf(NaN), numberToBfloat(NaN)].map((bits) => bits & 0x7c00)).toEqual([0x7c00, 0x7c00]);
  });

  it('rounds to the nearest half and bfloat16, ties to even', () => {
    const formats = [
      [numberToHalf, halfToNumber],
      [numberToBfloat, bfloatToNumber],
    ] as const;
    for (const [encode, decode] of formats) {
      fc.assert(
        fc.property(fc.float({ noNaN: true, min: Math.fround(-65000), max: Math.fround(65000) }), (x) => {
          const bits = encode(x);
          const error = Math.abs(decode(bits) - x);
          for (const neighbour of [bits - 1, bits + 1]) {
            if ((neighbour & 0x7fff) === 0x7fff || neighbour < 0 || (bits & 0x7fff) === 0) continue;
            const other = Math.abs(decode(neighbour) - x);
            expect(error).toBeLessThanOrEqual(other);
            if (error === other) expect(bits & 1).toBe(0);
          }
        }),
      );
    }
  });

  it('casts floats to integers by truncation with saturation, NaN to zero', () => {
    const cases: [number, ScalarType, number | bigint][] = [
      [-1.9, 'i32', -1],
      [3e9, 'i32', 2147483647],
      [-Infinity, 'i32', -2147483648],
      [NaN, 'i32', 0],
      [1e30, 'i64', 2n ** 63n - 1n],
      [NaN, 'bool', 1],
    ];
    for (const [x, to, expected] of cases) expect(evalCast('f32', to, x)).toBe(expected);
    // One rounding: through f64 this would land on 2^60.
    expect(evalCast('i64', 'f32', 2n ** 60n + 2n ** 36n + 1n)).toBe(2 ** 60 + 2 ** 37);
  });

  it('rounds halves to even', () => {
    expect([0.5, 1.5, 2.5, -0.5, -1.5, 2.6].map(roundEven)).toEqual([0, 2, 2, -0, -2, 3]);
  });
});
