/** Transforms of every kind of length against their defining sums, and their gradients. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkGrads } from '../../src/autograd/check.js';
import { ArgumentError, DTypeError, ShapeError } from '../../src/errors.js';
import * as fft from '../../src/fft/index.js';
import { jit } from '../../src/jit.js';
import { zeros } from '../../src/ops/create.js';
import { normal } from '../../src/ops/random.js';
import { permute, transpose } from '../../src/ops/view.js';
import { Generator } from '../../src/tensor/generator.js';
import { scope } from '../../src/tensor/scope.js';
import type { Tensor } from '../../src/tensor/tensor.js';

type Real = 'float32' | 'float64';
const random = (shape: readonly number[], seed: number, dtype: Real = 'float64'): Tensor =>
  normal(shape, 0, 1, { dtype, generator: new Generator(seed) });

/** The sum that defines the transform, of one row of complex numbers. */
function directly(row: readonly number[], inverse: boolean): number[] {
  const n = row.length / 2;
  const out: number[] = [];
  for (let k = 0; k < n; k++) {
    let [re, im] = [0, 0];
    for (let j = 0; j < n; j++) {
      const angle = ((inverse ? 2 : -2) * Math.PI * ((j * k) % n)) / n;
      const [c, s] = [Math.cos(angle), Math.sin(angle)];
      re += row[2 * j] * c - row[2 * j + 1] * s;
      im += row[2 * j] * s + row[2 * j + 1] * c;
    }
    out.push(re, im);
  }
  return out;
}
function gap(got: Tensor, expected: readonly number[]): number {
  const data = got.dataSync();
  expect(data.length).toBe(expected.length);
  return expected.reduce((worst, x, i) => Math.max(worst, Math.abs(Number(data[i]) - x)), 0);
}
const numbers = (t: Tensor): number[] => Array.from(t.dataSync(), Number);

/** Smooth lengths, primes, squares of primes, powers of two, products with a large prime. */
const lengths = [
  1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 19, 22, 25, 31, 32, 34, 48, 49, 60, 64, 81, 97, 100, 121, 128, 169, 210, 243, 256, 257,
];

describe('against the defining sum', () => {
  test.each(lengths)('%d points', (n) => {
    const x = random([2, n, 2], n);
    const rows = [numbers(x).slice(0, 2 * n), numbers(x).slice(2 * n)];
    const bound = 1e-14 * n * 8;
    expect(
      gap(
        fft.fft(x),
        rows.flatMap((r) => directly(r, false)),
      ),
    ).toBeLessThan(bound);
    expect(
      gap(
        fft.ifft(x, { norm: 'forward' }),
        rows.flatMap((r) => directly(r, true)),
      ),
    ).toBeLessThan(bound);
    const real = random([2, n], n + 1);
    const whole = [0, 1].flatMap((r) =>
      directly(
        numbers(real)
          .slice(r * n, r * n + n)
          .flatMap((v) => [v, 0]),
        false,
      ).slice(0, 2 * (Math.floor(n / 2) + 1)),
    );
    const half = fft.rfft(real);
    expect(gap(half, whole)).toBeLessThan(bound);
    expect(gap(fft.irfft(half, { n }), numbers(real))).toBeLessThan(bound);
    const single = real.to('float32');
    expect(gap(fft.irfft(fft.rfft(single), { n }), numbers(single))).toBeLessThan(2e-6);
  });
  test('float32 has errors of a few roundings at a million points', () => {
    const n = 2 ** 20;
    const x = random([n], 1, 'float32');
    const back = numbers(fft.irfft(fft.rfft(x)));
    const data = numbers(x);
    expect(Math.sqrt(back.reduce((sum, v, i) => sum + (v - data[i]) ** 2, 0) / n)).toBeLessThan(5e-7);
  });
});

describe('identities', () => {
  test('inverse, Parseval, shifts, for any length, axis and norm', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 3 }),
        fc.constantFrom('backward', 'ortho', 'forward'),
        fc.nat(2),
        (shape, norm: 'backward' | 'ortho' | 'forward', at) =>
          scope(() => {
            const dim = at % shape.length;
            const z = random([...shape, 2], 4);
            expect(gap(fft.ifft(fft.fft(z, { dim, norm }), { dim, norm }), numbers(z))).toBeLessThan(1e-12);
            expect(gap(fft.ifftn(fft.fftn(z, { norm }), { norm }), numbers(z))).toBeLessThan(1e-12);
            const energy = (t: Tensor): number => numbers(t).reduce((s, v) => s + v * v, 0);
            expect(Math.abs(energy(fft.fft(z, { dim, norm: 'ortho' })) - energy(z))).toBeLessThan(1e-10);
            const x = random(shape, 5);
            const n = shape[dim];
            expect(gap(fft.irfft(fft.rfft(x, { dim, norm }), { n, dim, norm }), numbers(x))).toBeLessThan(1e-12);
            expect(gap(fft.irfftn(fft.rfftn(x, { norm }), { s: shape, norm }), numbers(x))).toBeLessThan(1e-12);
            expect(gap(fft.fft(fft.complex(x), { dim }), numbers(fft.fftOfReal(x, { dim })))).toBe(0);
            expect(gap(fft.ifftshift(fft.fftshift(z, { complex: true }), { complex: true }), numbers(z))).toBe(0);
          }),
      ),
      { numRuns: 25 },
    );
  });
  test('a view is transformed as its copy is', () => {
    const x = random([3, 8, 5, 2], 2);
    const moved = transpose(x, 0, 1);
    expect(gap(fft.fft(moved), numbers(fft.fft(moved.contiguous())))).toBe(0);
    const y = permute(random([6, 4, 5], 3), [2, 0, 1]);
    expect(gap(fft.rfft(y, { dim: 1 }), numbers(fft.rfft(y.contiguous(), { dim: 1 })))).toBe(0);
  });
  test('more rows than cells, and a number that does not divide evenly', () => {
    const x = random([37, 12, 2], 9);
    const each = Array.from({ length: 37 }, (_, i) => numbers(fft.fft(x.narrow(0, i, 1)))).flat();
    expect(gap(fft.fft(x), each)).toBe(0);
    expect(fft.fft(zeros([0, 4, 2])).shape).toEqual([0, 4, 2]);
  });
  test('n cuts or fills up', () => {
    const x = random([2, 6], 1);
    expect(gap(fft.rfft(x, { n: 4 }), numbers(fft.rfft(x.narrow(1, 0, 4))))).toBe(0);
    expect(fft.rfft(x, { n: 9 }).shape).toEqual([2, 5, 2]);
    expect(fft.fft(fft.complex(x), { n: 10, dim: 0 }).shape).toEqual([10, 6, 2]);
  });
  test('jit gives the same bits', () => {
    const x = random([3, 30], 1, 'float32');
    const f = jit((t: Tensor) => [fft.rfft(t), fft.irfft(fft.rfft(t), { n: 30 }), fft.fft(fft.rfft(t))]);
    const expected = [fft.rfft(x), fft.irfft(fft.rfft(x), { n: 30 }), fft.fft(fft.rfft(x))];
    f(x).forEach((t, i) => expect(gap(t, numbers(expected[i]))).toBe(0));
    f.dispose();
  });
});

describe('gradients, first and second', () => {
  test.each([1, 2, 3, 4, 6, 7, 8, 17, 34])('%d points', (n) => {
    const square = (z: Tensor): Tensor => z.mul(z);
    checkGrads((z) => square(fft.fft(z)), random([2, n, 2], 1), { order: 2, name: 'fft', atol: 1e-4 });
    checkGrads((z) => square(fft.ifft(z, { norm: 'ortho' })), random([n, 2], 2), { order: 2, name: 'ifft' });
    checkGrads((x) => square(fft.rfft(x)), random([2, n], 3), { order: 2, name: 'rfft', atol: 1e-4 });
    checkGrads((z) => square(fft.irfft(z, { n })), random([Math.floor(n / 2) + 1, 2], 4), { order: 2, name: 'irfft' });
  });
  test('along several axes', () => {
    checkGrads((z) => fft.fft2(z).mul(fft.fft2(z)), random([2, 3, 2, 2], 1), { atol: 1e-4 });
    checkGrads((x) => fft.irfft2(fft.rfft2(x).mul(fft.rfft2(x))), random([3, 4], 1), { atol: 1e-4 });
    checkGrads(
      (z) => [fft.complexAbs(z), fft.angle(z), fft.complexMul(z, fft.conj(z)), fft.polar(fft.real(z), fft.imag(z))],
      random([3, 2], 6),
      { order: 2, atol: 1e-4 },
    );
  });
});

describe('arguments', () => {
  test('are checked', () => {
    expect(() => fft.fft(zeros([4]))).toThrow(ShapeError);
    expect(() => fft.fft(zeros([4, 3]))).toThrow(/last dimension of 2/);
    expect(() => fft.fft(zeros([4, 2], { dtype: 'int32' }))).toThrow(DTypeError);
    expect(() => fft.rfft(zeros([0]))).toThrow(ArgumentError);
    expect(() => fft.irfft(zeros([1, 2]))).toThrow(ArgumentError);
    expect(() => fft.fft(zeros([4, 2]), { dim: 1 })).toThrow(ShapeError);
    expect(() => fft.fftn(zeros([4, 4, 2]), { s: [2], dim: [0, 1] })).toThrow(ArgumentError);
  });
  test('frequencies', () => {
    expect(fft.fftfreq(5, 0.5, { dtype: 'float64' }).toArray()).toEqual([0, 0.4, 0.8, -0.8, -0.4]);
    expect(fft.fftfreq(4, 1).toArray()).toEqual([0, 0.25, -0.5, -0.25]);
    expect(fft.rfftfreq(5, 0.5, { dtype: 'float64' }).toArray()).toEqual([0, 0.4, 0.8]);
    expect(fft.fftshift(fft.fftfreq(4)).toArray()).toEqual([-0.5, -0.25, 0, 0.25]);
  });
});
