import { describe, expect, it } from 'vitest';
import { compileKernels } from '../../src/codegen/wasm/module.js';
import { type DType, dtypeInfo } from '../../src/dtype.js';
import { CompilerError } from '../../src/errors.js';
import { type Expr, ExprBuilder, type LoopVar } from '../../src/ir/expr.js';
import type { ContractPart, Kernel, KernelParam, LoopPart, Part, Stmt } from '../../src/ir/kernel.js';
import { differences, instantiate, type Outcome, runBoth, unshared } from './wasm-loops-harness.js';

const read = (dtype: DType): KernelParam => ({ dtype, access: 'read' });
const write = (dtype: DType): KernelParam => ({ dtype, access: 'write' });

/** out[i] = f(x[i]) for i < n, in one vector loop. */
function mapKernel(from: DType, to: DType, n: number, f: (b: ExprBuilder, x: Expr) => Expr): Kernel {
  const b = new ExprBuilder();
  const cell = b.loopVar('cell');
  const v = b.loopVar('v');
  const i = b.index(v);
  const value = f(b, b.load({ param: 0, dtype: from }, dtypeInfo[from].compute, i));
  const store: Stmt = { kind: 'store', buffer: { param: 1, dtype: to }, index: i, value, mode: 'set' };
  const loop: Stmt = { kind: 'for', variable: v, extent: n, mode: 'vector', body: [store] };
  return { name: 'map', params: [read(from), write(to)], parts: [{ kind: 'loops', grid: 1, cell, body: [loop] }] };
}
/** out[cell] = reduction of x[cell, :]. */
function reduceKernel(rows: number, n: number, op: 'add' | 'max', first: number): Kernel {
  const b = new ExprBuilder();
  const cell = b.loopVar('cell');
  const v = b.loopVar('v');
  const total = b.newLocal('total', 'f32');
  const value = b.load({ param: 0, dtype: 'float32' }, 'f32', b.add(b.mul(b.index(cell), b.i32(n)), b.index(v)));
  const body: Stmt[] = [
    { kind: 'declare', local: total, value: b.const('f32', first) },
    { kind: 'for', variable: v, extent: n, mode: 'vector', body: [{ kind: 'accumulate', local: total, op, value }] },
    { kind: 'store', buffer: { param: 1, dtype: 'float32' }, index: b.index(cell), value: b.read(total), mode: 'set' },
  ];
  return { name: op, params: [read('float32'), write('float32')], parts: [{ kind: 'loops', grid: rows, cell, body }] };
}
function floats(outcome: Outcome, param: number, count: number, from: 'actual' | 'expected' = 'actual'): number[] {
  const at = outcome.layout.addresses[param] ?? 0;
  return Array.from({ length: count }, (_, i) => outcome[from].getFloat32(at + 4 * i, true));
}
function fillFloats(value: (i: number) => number, count: number): (view: DataView, addresses: readonly number[]) => void {
  return (view, [at = 0]) => {
    for (let i = 0; i < count; i++) view.setFloat32(at + 4 * i, value(i), true);
  };
}

describe('vector loops', () => {
  it('give an element the same result wherever it stands', () => {
    for (const op of ['exp', 'log', 'tanh', 'sin', 'erf', 'lgamma'] as const) {
      const results = new Set<number>();
      for (const n of [1, 2, 3, 5, 16, 19, 37, 64]) {
        const kernel = mapKernel('float32', 'float32', n, (b, x) => b.unary(op, x));
        floats(
          runBoth(
            kernel,
            [n, n],
            fillFloats(() => 0.7310586, n),
          ),
          1,
          n,
        ).forEach((y) => results.add(y));
      }
      expect(results.size, op).toBe(1);
    }
  });

  it('find a NaN at any position of a maximum', () => {
    const n = 23;
    const kernel = reduceKernel(n, n, 'max', -Infinity);
    const outcome = runBoth(
      kernel,
      [n * n, n],
      fillFloats((i) => (i % (n + 1) === 0 ? NaN : i), n * n),
    );
    expect(floats(outcome, 1, n)).toEqual(Array.from({ length: n }, () => NaN));
  });

  it('sum floats to half an ulp of the magnitudes summed, and the same however the grid is cut', () => {
    const rows = 7;
    const n = 1003;
    const x = (i: number): number => Math.fround(Math.sin(i) * 100);
    const whole = floats(runBoth(reduceKernel(rows, n, 'add', 0), [rows * n, rows], fillFloats(x, rows * n)), 1, rows);
    const cut = floats(runBoth(reduceKernel(rows, n, 'add', 0), [rows * n, rows], fillFloats(x, rows * n), [0.2, 0.6]), 1, rows);
    expect(cut).toEqual(whole);
    whole.forEach((sum, row) => {
      let exact = 0;
      let size = 0;
      for (let i = row * n; i < (row + 1) * n; i++) {
        exact += x(i);
        size += Math.abs(x(i));
      }
      expect(Math.abs(sum - exact)).toBeLessThan(size * 2 ** -23);
    });
  });

  it('run no round for an extent of zero and leave the output alone', () => {
    const outcome = runBoth(
      mapKernel('float32', 'float32', 0, (_, x) => x),
      [1, 1],
      (view, [, out = 0]) => view.setFloat32(out, 5, true),
    );
    expect(floats(outcome, 1, 1)).toEqual([5]);
  });
});

describe('half precision', () => {
  const n = 65536;
  const allPatterns = (view: DataView, [at = 0]: readonly number[]): void => {
    for (let i = 0; i < n; i++) view.setUint16(at + 2 * i, i, true);
  };
  it.each(['float16', 'bfloat16'] as const)('%s: every pattern widens exactly', (dtype) => {
    const kernel = mapKernel(dtype, 'float32', n, (_, x) => x);
    const elements = [n, n];
    expect(differences(kernel, elements, runBoth(kernel, elements, allPatterns)).slice(0, 3)).toEqual([]);
  });
  it.each(['float16', 'bfloat16'] as const)('%s: values between two neighbours round to the nearest, ties to even', (dtype) => {
    // Halfway points, and one f32 step to either side of them.
    const kernel = mapKernel('float32', dtype, 3 * n, (_, x) => x);
    const elements = [3 * n, 3 * n];
    const bits = dtype === 'float16' ? 13 : 16;
    const base = dtype === 'float16' ? 0x33000000 : 0;
    const fill = (view: DataView, [at = 0]: readonly number[]): void => {
      for (let i = 0; i < n; i++) {
        const middle = (base + i * 2 ** bits + 2 ** (bits - 1)) >>> 0;
        for (const d of [-1, 0, 1]) view.setUint32(at + 4 * (3 * i + d + 1), middle + d, true);
      }
    };
    expect(differences(kernel, elements, runBoth(kernel, elements, fill)).slice(0, 3)).toEqual([]);
  });
});

describe('arithmetic at its edges', () => {
  it.each(['float32', 'float64'] as const)('the remainder of %s is exact, from subnormal to huge', (dtype) => {
    const type = dtypeInfo[dtype].compute;
    const values = [0, -0, 1, -1, 0.1, 3, 7.5, 1e10, -1e30, 3e38, 1e-45, 5e-324, 1e300, Infinity, -Infinity, NaN, Math.PI];
    const n = values.length ** 2;
    const b = new ExprBuilder();
    const cell = b.loopVar('cell');
    const v = b.loopVar('v');
    const at = (param: number): Expr => b.load({ param, dtype }, type, b.index(v));
    const store: Stmt = {
      kind: 'store',
      buffer: { param: 2, dtype },
      index: b.index(v),
      value: b.binary('rem', at(0), at(1)),
      mode: 'set',
    };
    const body: Stmt[] = [{ kind: 'for', variable: v, extent: n, mode: 'vector', body: [store] }];
    const kernel: Kernel = {
      name: 'rem',
      params: [read(dtype), read(dtype), write(dtype)],
      parts: [{ kind: 'loops', grid: 1, cell, body }],
    };
    const set = (view: DataView, address: number, i: number, value: number): void => {
      if (dtype === 'float32') view.setFloat32(address + 4 * i, value, true);
      else view.setFloat64(address + 8 * i, value, true);
    };
    const outcome = runBoth(kernel, [n, n, n], (view, [x = 0, y = 0]) => {
      for (let i = 0; i < n; i++) {
        set(view, x, i, values[i % values.length] ?? 0);
        set(view, y, i, values[Math.floor(i / values.length)] ?? 0);
      }
    });
    expect(differences(kernel, [n, n, n], outcome)).toEqual([]);
  });

  it('integer division by zero is zero, and the least integer by -1 wraps, in vectors and in the tail', () => {
    const pairs = [5, 0, -5, 0, -(2 ** 31), -1, -(2 ** 31), 1, 7, -2, -7, 2, 2 ** 31 - 1, -1];
    for (const op of ['div', 'rem'] as const) {
      const count = pairs.length / 2;
      const b = new ExprBuilder();
      const cell = b.loopVar('cell');
      const v = b.loopVar('v');
      const at = (offset: number): Expr => b.load({ param: 0, dtype: 'int32' }, 'i32', b.add(b.mul(b.index(v), b.i32(2)), b.i32(offset)));
      const value = b.binary(op, at(0), at(1));
      const store: Stmt = { kind: 'store', buffer: { param: 1, dtype: 'int32' }, index: b.index(v), value, mode: 'set' };
      const body: Stmt[] = [{ kind: 'for', variable: v, extent: count, mode: 'vector', body: [store] }];
      const kernel: Kernel = { name: op, params: [read('int32'), write('int32')], parts: [{ kind: 'loops', grid: 1, cell, body }] };
      const outcome = runBoth(kernel, [2 * count, count], (view, [x = 0]) => pairs.forEach((p, i) => view.setInt32(x + 4 * i, p, true)));
      const out = outcome.layout.addresses[1] ?? 0;
      const got = Array.from({ length: count }, (_, i) => outcome.actual.getInt32(out + 4 * i, true));
      expect(got).toEqual(op === 'div' ? [0, 0, -(2 ** 31), -(2 ** 31), -3, -3, -(2 ** 31) + 1] : [0, 0, 0, 0, 1, -1, 0]);
    }
  });
});

describe('kernels of several parts', () => {
  function copyPart(b: ExprBuilder, to: number, n: number): LoopPart {
    const cell = b.loopVar('cell');
    const value = b.load({ param: 0, dtype: 'float32' }, 'f32', b.index(cell));
    return {
      kind: 'loops',
      grid: n,
      cell,
      body: [{ kind: 'store', buffer: { param: to, dtype: 'float32' }, index: b.index(cell), value, mode: 'set' }],
    };
  }
  /** out[m, n] = sum over k of a[m, k] b[k, n], with the epilogue's value twice the sum. */
  function matmulPart(m: number, n: number, k: number, out: number): ContractPart {
    const b = new ExprBuilder();
    const result = b.newLocal('sum', 'f32');
    const outputVars: LoopVar[] = [b.loopVar('i'), b.loopVar('j')];
    const [i, j] = outputVars.map((v) => b.index(v));
    if (!i || !j) throw new RangeError('two output variables');
    const coordinate = (dim: number, extent: number, stride: number): ContractPart['a']['coordinates'][number] => {
      return { terms: [{ dim, coefficient: 1 }], offset: 0, dilation: 1, extent, stride, checked: false };
    };
    return {
      kind: 'contract',
      type: 'f32',
      dims: [
        { extent: m, role: 'm' },
        { extent: n, role: 'n' },
        { extent: k, role: 'k' },
      ],
      a: { buffer: { param: 0, dtype: 'float32' }, coordinates: [coordinate(0, m, k), coordinate(2, k, 1)] },
      b: { buffer: { param: 1, dtype: 'float32' }, coordinates: [coordinate(2, k, 1), coordinate(1, n, k)] },
      result,
      outputVars,
      epilogue: [
        {
          kind: 'store',
          buffer: { param: out, dtype: 'float32' },
          index: b.add(b.mul(i, b.i32(n)), j),
          value: b.mul(b.read(result), b.const('f32', 2)),
          mode: 'set',
        },
      ],
    };
  }

  it('loop parts form one phase, and an empty part has no entry', () => {
    const parts: Part[] = [copyPart(new ExprBuilder(), 1, 5), copyPart(new ExprBuilder(), 2, 9), copyPart(new ExprBuilder(), 2, 0)];
    const kernel: Kernel = { name: 'copies', params: [read('float32'), write('float32'), write('float32')], parts };
    const [compiled] = compileKernels([kernel], unshared).kernels;
    expect(compiled?.phases.map((phase) => phase.map((entry) => entry.grid))).toEqual([[5, 9]]);
    for (const entry of compiled?.phases[0] ?? []) expect(entry.chunk).toBeGreaterThanOrEqual(1);
    const outcome = runBoth(
      kernel,
      [9, 5, 9],
      fillFloats((i) => i + 1, 9),
    );
    expect(floats(outcome, 2, 9)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('contractions side by side keep to their own workspace', () => {
    const [m, n, k] = [200, 260, 300];
    const params = [read('float32'), read('float32'), write('float32'), write('float32'), write('float32')];
    const parts: Part[] = [matmulPart(m, n, k, 2), matmulPart(m, n, k, 3), copyPart(new ExprBuilder(), 4, 10)];
    const kernel: Kernel = { name: 'two products', params, parts };
    const alone: Kernel = { ...kernel, parts: parts.slice(0, 1) };
    const memory = new WebAssembly.Memory({ initial: 128 });
    const running = instantiate([kernel, alone], memory, unshared);
    const [both, single] = running.compiled.kernels;
    expect(both?.workspaceBytes).toBe(2 * (single?.workspaceBytes ?? 0));
    expect(single?.workspaceBytes).toBeGreaterThan(0);
    const data = 65536;
    const sizes = [m * k, k * n, m * n, m * n, 10];
    const addresses = sizes.map((_, p) => data + sizes.slice(0, p).reduce((sum, size) => sum + Math.ceil(size / 16) * 64, 0));
    const workspace = 2 << 20;
    const x = new Float32Array(memory.buffer, addresses[0], m * k + k * n + 64).map((_, i) => ((i * 7) % 11) - 5);
    new Float32Array(memory.buffer, addresses[0], x.length).set(x);
    new Int32Array(memory.buffer, 64, 6).set([...addresses, workspace]);
    running.run(0, 64, 5 << 20);
    const product = (out: number): number[] => [...new Float32Array(memory.buffer, addresses[out], m * n)];
    const [a, w] = [new Float32Array(memory.buffer, addresses[0], m * k), new Float32Array(memory.buffer, addresses[1], k * n)];
    const expected = Array.from({ length: m * n }, (_, at) => {
      let sum = 0;
      for (let l = 0; l < k; l++) sum += (a[Math.floor(at / n) * k + l] ?? 0) * (w[(at % n) * k + l] ?? 0);
      return 2 * sum;
    });
    expect(product(2)).toEqual(expected);
    expect(product(3)).toEqual(expected);
  });

  it('equal kernels give equal bytes', () => {
    const make = (): Kernel => mapKernel('float32', 'float32', 100, (b, x) => b.unary('exp', x));
    expect(compileKernels([make()], unshared).bytes).toEqual(compileKernels([make()], unshared).bytes);
  });
});

describe('kernels that break the rules', () => {
  const wrap = (b: ExprBuilder, body: readonly Stmt[]): Kernel => {
    return { name: 'wrong', params: [write('float32')], parts: [{ kind: 'loops', grid: 1, cell: b.loopVar('cell'), body }] };
  };
  it('a local read before its declaration', () => {
    const b = new ExprBuilder();
    const store: Stmt = {
      kind: 'store',
      buffer: { param: 0, dtype: 'float32' },
      index: b.i32(0),
      value: b.read(b.newLocal('x', 'f32')),
      mode: 'set',
    };
    expect(() => compileKernels([wrap(b, [store])], unshared)).toThrow(CompilerError);
  });
  it('a store of another type than the buffer computes in', () => {
    const b = new ExprBuilder();
    const store: Stmt = { kind: 'store', buffer: { param: 0, dtype: 'float32' }, index: b.i32(0), value: b.i32(1), mode: 'set' };
    expect(() => compileKernels([wrap(b, [store])], unshared)).toThrow(/store of i32 to a float32 buffer/);
  });
  it('a while loop inside a vector loop', () => {
    const b = new ExprBuilder();
    const never = b.binary('lt', b.const('f32', 1), b.const('f32', 0));
    const loop: Stmt = {
      kind: 'for',
      variable: b.loopVar('v'),
      extent: 8,
      mode: 'vector',
      body: [{ kind: 'while', condition: never, body: [] }],
    };
    expect(() => compileKernels([wrap(b, [loop])], unshared)).toThrow(/while loop inside a vector loop/);
  });
});
