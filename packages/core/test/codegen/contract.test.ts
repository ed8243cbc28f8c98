import { describe, expect, it } from 'vitest';
import type { ContractDim, Coordinate } from '../../src/ir/kernel.js';
import { verifyKernel } from '../../src/ir/verify.js';
import { randomCase, richEpilogue } from './contract-cases.js';
import { buildRunner, type ContractSpec, contractKernel, firstDifference, linear } from './contract-harness.js';

function dim(role: ContractDim['role'], extent: number): ContractDim {
  return { role, extent };
}

/** a[m][k] b[k][n] by default; `transposeA`/`transposeB` store the operand the other way round. */
function matmul(m: number, n: number, k: number, transposeA = false, transposeB = false): { spec: ContractSpec; sizes: number[] } {
  return {
    spec: {
      dims: [dim('m', m), dim('n', n), dim('k', k)],
      a: [linear(transposeA ? 1 : k, [0, 1]), linear(transposeA ? m : 1, [2, 1])],
      b: [linear(transposeB ? k : 1, [1, 1]), linear(transposeB ? 1 : n, [2, 1])],
      outStrides: [n, 1],
    },
    sizes: [m * k, k * n, m * n],
  };
}

interface Conv {
  readonly images: number;
  readonly groups: number;
  /** Channels per group. */
  readonly inputs: number;
  readonly outputs: number;
  readonly size: number;
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
  readonly dilation: number;
}

function outputSize(c: Conv): number {
  return Math.floor((c.size + 2 * c.padding - c.dilation * (c.kernel - 1) - 1) / c.stride) + 1;
}

/** The convolution and its two gradients as contractions: dimensions are [group, image, output channel, y, x, input channel, ky, kx]. */
function convolution(c: Conv, which: 'forward' | 'input' | 'weight'): { spec: ContractSpec; sizes: number[] } {
  const { groups, inputs, outputs, size, kernel, images } = c;
  const out = outputSize(c);
  const window = (y: number, k: number, stride: number): Coordinate => ({
    terms: [
      { dim: y, coefficient: c.stride },
      { dim: k, coefficient: c.dilation },
    ],
    offset: -c.padding,
    dilation: 1,
    extent: size,
    stride,
    checked: c.padding > 0,
  });
  const weight = [
    linear(outputs * inputs * kernel * kernel, [0, 1]),
    linear(inputs * kernel * kernel, [2, 1]),
    linear(kernel * kernel, [5, 1]),
    linear(kernel, [6, 1]),
    linear(1, [7, 1]),
  ];
  const inputChannel = [linear(groups * inputs * size * size, [1, 1]), linear(inputs * size * size, [0, 1]), linear(size * size, [5, 1])];
  const outputChannel = [linear(groups * outputs * out * out, [1, 1]), linear(outputs * out * out, [0, 1]), linear(out * out, [2, 1])];
  const sizes = {
    input: images * groups * inputs * size * size,
    output: images * groups * outputs * out * out,
    weight: groups * outputs * inputs * kernel * kernel,
  };
  const roles = (
    image: ContractDim['role'],
    o: ContractDim['role'],
    space: ContractDim['role'],
    i: ContractDim['role'],
    taps: ContractDim['role'],
    extent: number,
  ) => [
    dim('batch', groups),
    dim(image, images),
    dim(o, outputs),
    dim(space, extent),
    dim(space, extent),
    dim(i, inputs),
    dim(taps, kernel),
    dim(taps, kernel),
  ];
  if (which === 'forward') {
    return {
      spec: {
        dims: roles('n', 'm', 'n', 'k', 'k', out),
        a: weight,
        b: [...inputChannel, window(3, 6, size), window(4, 7, 1)],
        outStrides: [outputs * out * out, groups * outputs * out * out, out * out, out, 1],
      },
      sizes: [sizes.weight, sizes.input, sizes.output],
    };
  }
  if (which === 'weight') {
    return {
      spec: {
        dims: roles('k', 'm', 'k', 'n', 'n', out),
        a: [...outputChannel, linear(out, [3, 1]), linear(1, [4, 1])],
        b: [...inputChannel, window(3, 6, size), window(4, 7, 1)],
        outStrides: [outputs * inputs * kernel * kernel, inputs * kernel * kernel, kernel * kernel, kernel, 1],
      },
      sizes: [sizes.output, sizes.input, sizes.weight],
    };
  }
  const source = (y: number, k: number, stride: number): Coordinate => ({
    terms: [
      { dim: y, coefficient: 1 },
      { dim: k, coefficient: -c.dilation },
    ],
    offset: c.padding,
    dilation: c.stride,
    extent: out,
    stride,
    checked: true,
  });
  return {
    spec: {
      dims: roles('n', 'k', 'n', 'm', 'k', size),
      a: weight,
      b: [...outputChannel, source(3, 6, out), source(4, 7, 1)],
      outStrides: [inputs * size * size, groups * inputs * size * size, size, 1, size * size],
    },
    sizes: [sizes.weight, sizes.output, sizes.input],
  };
}

function check({ spec, sizes }: { spec: ContractSpec; sizes: readonly number[] }, seed: number, pieces = 1): string | null {
  const kernel = contractKernel(spec);
  verifyKernel(kernel);
  return firstDifference(kernel, sizes, seed, pieces);
}

describe('random contractions equal the reference evaluator', () => {
  // Layouts, roles, flips, sliding and dilated coordinates, element types and epilogues all vary with the seed.
  for (let block = 0; block < 4; block++) {
    it(`seeds ${block * 100} to ${block * 100 + 99}`, () => {
      for (let seed = block * 100; seed < block * 100 + 100; seed++) {
        expect(check(randomCase(seed), seed, 1 + (seed % 3)), `seed ${seed}`).toBeNull();
      }
    });
  }
});

describe('matrix products', () => {
  const sizes = [1, 2, 3, 4, 5, 7, 8, 9, 17, 33];
  it.each([
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ])('every small size, operands transposed: %s %s', (transposeA, transposeB) => {
    for (const m of sizes) {
      for (const n of sizes) {
        const k = sizes[(m + 3 * n) % sizes.length] ?? 1;
        expect(check(matmul(m, n, k, transposeA, transposeB), m * 100 + n), `${m}x${n}x${k}`).toBeNull();
      }
    }
  });

  it('packs operands once for several cells', () => {
    const product = matmul(130, 75, 70, true, false);
    const { phases } = buildRunner(contractKernel(product.spec), product.sizes).compiled;
    expect(phases.length).toBe(2);
    expect(check(product, 1, 3)).toBeNull();
  });

  it('blocks long sums, and cuts them into slices when there are few outputs', () => {
    const product = matmul(13, 17, 4099, true, true);
    const { phases, workspaceBytes } = buildRunner(contractKernel(product.spec), product.sizes).compiled;
    expect(phases.length).toBe(2);
    expect(phases[0]?.[0]?.grid).toBeGreaterThan(1);
    expect(workspaceBytes).toBeGreaterThan(0);
    expect(check(product, 2, 2)).toBeNull();
  });

  it.each([
    [1, 300, 1100],
    [300, 1, 1100],
    [2, 130, 1030],
    [130, 3, 1030],
  ])('matrix times a few vectors: %i x %i x %i', (m, n, k) => {
    for (const [ta, tb] of [
      [false, false],
      [false, true],
      [true, false],
    ] as const) {
      expect(check(matmul(m, n, k, ta, tb), m + n, 2), `${ta} ${tb}`).toBeNull();
    }
  });

  it('an empty sum is zero, an empty output has no cells', () => {
    expect(check(matmul(5, 9, 0), 3)).toBeNull();
    const empty = matmul(0, 9, 4);
    const runner = buildRunner(contractKernel(empty.spec), empty.sizes);
    expect(runner.compiled.phases.flat().reduce((cells, entry) => cells + entry.grid, 0)).toBe(0);
    expect(check(empty, 3)).toBeNull();
  });

  it.each(['f32', 'f64', 'i32', 'i64'] as const)('%s with bias, relu, residual and two outputs', (type) => {
    const outType = ({ f32: 'float32', f64: 'float64', i32: 'int32', i64: 'int64' } as const)[type];
    for (const [m, n, k] of [
      [9, 33, 17],
      [66, 70, 64],
      [5, 3, 2500],
    ] as const) {
      const { spec, sizes: plain } = matmul(m, n, k);
      const rich: ContractSpec = { ...spec, type, epilogue: richEpilogue(type, outType), extra: [outType, outType, outType] };
      expect(check({ spec: rich, sizes: [...plain, n, m * n, m * n] }, m), `${m}x${n}x${k}`).toBeNull();
    }
  });

  it('integer products wrap', () => {
    const kernel = contractKernel({ ...matmul(4, 8, 2).spec, type: 'i32' });
    const runner = buildRunner(kernel, [8, 16, 32]);
    new Int32Array(runner.memory.buffer, runner.addresses[0], 8).fill(70000);
    new Int32Array(runner.memory.buffer, runner.addresses[1], 16).fill(70000);
    runner.run();
    expect(new Int32Array(runner.memory.buffer, runner.addresses[2], 1)[0]).toBe((Math.imul(70000, 70000) * 2) | 0);
  });

  it('subnormal, infinite and not-a-number float16 operands widen exactly', () => {
    const spec: ContractSpec = { ...matmul(1, 4, 1).spec, aType: 'float32', bType: 'float16' };
    const runner = buildRunner(contractKernel(spec), [1, 4, 4]);
    new Float32Array(runner.memory.buffer, runner.addresses[0], 1)[0] = 1;
    new Uint16Array(runner.memory.buffer, runner.addresses[1], 4).set([0x0001, 0xfc00, 0x7e00, 0x83ff]);
    runner.run();
    const got = new Float32Array(runner.memory.buffer, runner.addresses[2], 4);
    expect([...got]).toEqual([2 ** -24, -Infinity, NaN, -(1023 * 2 ** -24)]);
  });
});

describe('convolutions', () => {
  const base: Conv = { images: 2, groups: 1, inputs: 3, outputs: 5, size: 9, kernel: 3, stride: 1, padding: 1, dilation: 1 };
  const cases: Record<string, Conv> = {
    padded: base,
    'without padding': { ...base, padding: 0 },
    strided: { ...base, stride: 2 },
    'strided by 3': { ...base, stride: 3, size: 11, padding: 2 },
    dilated: { ...base, dilation: 2, padding: 2 },
    'strided and dilated': { ...base, dilation: 2, stride: 2, padding: 3, size: 13 },
    pointwise: { ...base, kernel: 1, padding: 0 },
    'strided pointwise': { ...base, kernel: 1, padding: 0, stride: 2 },
    grouped: { ...base, groups: 3, inputs: 2, outputs: 2 },
    depthwise: { ...base, groups: 4, inputs: 1, outputs: 1 },
    'strided depthwise': { ...base, groups: 4, inputs: 1, outputs: 1, stride: 2, size: 13 },
    'depthwise with a multiplier': { ...base, groups: 3, inputs: 1, outputs: 2, kernel: 5, padding: 2 },
    'large window': { ...base, kernel: 7, padding: 3, size: 12 },
    'rows of whole vectors': { ...base, size: 16, outputs: 8, inputs: 4 },
    'wide image': { ...base, size: 37, groups: 2, inputs: 1, outputs: 1, images: 1 },
    'depthwise in bands': { ...base, size: 103, groups: 2, inputs: 1, outputs: 1, images: 1 },
    'strided depthwise in bands': { ...base, size: 141, groups: 1, inputs: 1, outputs: 1, images: 1, stride: 2 },
    'depthwise in bands without padding': { ...base, size: 107, groups: 1, inputs: 1, outputs: 2, images: 1, padding: 0 },
  };
  for (const [name, conv] of Object.entries(cases)) {
    it.each(['forward', 'input', 'weight'] as const)(`${name}: %s`, (which) => {
      expect(check(convolution(conv, which), 11, 2)).toBeNull();
    });
  }

  it('the input gradient of a strided convolution multiplies no zeros', () => {
    const { spec, sizes } = convolution({ ...base, stride: 2 }, 'input');
    const { phases } = buildRunner(contractKernel(spec), sizes).compiled;
    expect(phases[phases.length - 1]?.length).toBe(4);
  });
});

describe('reproducibility', () => {
  const cases: Record<string, { spec: ContractSpec; sizes: number[] }> = {
    'shared packing': matmul(130, 75, 70, true, false),
    'long sums in slices': matmul(13, 17, 4099),
    'weight gradient': convolution(
      { images: 2, groups: 1, inputs: 3, outputs: 4, size: 40, kernel: 3, stride: 1, padding: 1, dilation: 1 },
      'weight',
    ),
    depthwise: convolution(
      { images: 2, groups: 6, inputs: 1, outputs: 1, size: 30, kernel: 3, stride: 1, padding: 1, dilation: 1 },
      'forward',
    ),
  };
  it.each(Object.entries(cases))('%s: ranges of cells give the same bits', (_, { spec, sizes }) => {
    const results = [1, 2, 7].map((pieces) => {
      const runner = buildRunner(contractKernel(spec), sizes);
      for (const p of [0, 1]) {
        const values = new Float32Array(runner.memory.buffer, runner.addresses[p], sizes[p]);
        for (let i = 0; i < values.length; i++) values[i] = Math.sin(i * 12.9898 + p) * 3.7;
      }
      runner.run(pieces);
      return [...new Float32Array(runner.memory.buffer, runner.addresses[2], sizes[2])];
    });
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
    expect(results[0]?.some((x) => x !== 0)).toBe(true);
  });
});
