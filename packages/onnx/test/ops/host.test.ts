/** What is computed from shapes and constants stays on the host, and is there what the device would make of it. */
import { grad, scope, sum, tensor } from 'trireme';
import { describe, expect, it } from 'vitest';
import type { ElementType } from '../../src/engine/element-type.js';
import { TensorValue } from '../../src/engine/value.js';
import { hostLimit } from '../../src/ops/host.js';
import { type Attribute, elements, known, onDevice, run1 } from './support.js';

const signed = [7, -7, 6, -6, 0, 5, -1];
const divisors = [2, 2, -4, -4, 3, 1, 5];
const ranges: Partial<Record<ElementType, readonly (readonly (number | bigint)[])[]>> = {
  float32: [
    [1.5, -2.25, 3, 1e30, 0.1],
    [0.5, 2, -7, 1e30, 3],
  ],
  float64: [
    [1.5, -2.25, 3, 0.1],
    [0.5, 2, -7, 3],
  ],
  int8: [
    [...signed, 127, -128],
    [...divisors, 3, 2],
  ],
  uint8: [
    [255, 200, 0, 7],
    [2, 100, 5, 7],
  ],
  uint16: [
    [65535, 40000, 0],
    [2, 40000, 3],
  ],
  int32: [
    [...signed, 2147483647, 123456789],
    [...divisors, 2, 987654321],
  ],
  uint32: [
    [4294967295, 3000000000, 9],
    [3, 2999999999, 4],
  ],
  int64: [
    [...signed.map(BigInt), 9007199254740993n],
    [...divisors.map(BigInt), 3n],
  ],
  uint64: [
    [18446744073709551615n, 9223372036854775808n, 9n, 12345678901234567890n],
    [3n, 18446744073709551615n, 4n, 7n],
  ],
};

function same(op: string, inputs: readonly TensorValue[], attributes: Readonly<Record<string, Attribute>> = {}): void {
  scope(() => {
    const host = run1(op, inputs, attributes);
    expect(host.isKnown).toBe(true);
    const device = run1(op, inputs.map(onDevice), attributes);
    expect(device.isKnown).toBe(false);
    expect([device.type, device.shape]).toEqual([host.type, host.shape]);
    const [got, wanted] = [elements(device.host), elements(host.host)];
    for (const [i, x] of got.entries()) {
      if (typeof x === 'number' && host.type.startsWith('float')) expect(x).toBeCloseTo(Number(wanted[i]), 4);
      else expect(x, `${op} of ${host.type}, element ${i}`).toBe(wanted[i]);
    }
  });
}

const binary = ['Add', 'Sub', 'Mul', 'Div', 'Mod', 'Max', 'Min', 'Equal', 'Less', 'GreaterOrEqual'];
const cases = binary.flatMap((op) => Object.entries(ranges).map(([type, [a, b]]) => [op, type as ElementType, a, b] as const));

describe('host folding', () => {
  it.each(cases.filter(([op, type]) => op !== 'Mod' || !type.startsWith('float')))('%s of %s', (op, type, a, b) => {
    same(op, [known(type, a), known(type, b)]);
  });

  it('takes the sign of the dividend for fmod, of the divisor without', () => {
    const [a, b] = [known('int32', signed), known('int32', divisors)];
    same('Mod', [a, b], { fmod: 1 });
    expect(elements(run1('Mod', [a, b], { fmod: 1 }).host)).toEqual([1, -1, 2, -2, 0, 0, -1]);
    expect(elements(run1('Mod', [a, b]).host)).toEqual([1, 1, -2, -2, 0, 0, 4]);
  });

  it.each(['Abs', 'Neg', 'Sign', 'Floor', 'Ceil', 'Round', 'Sqrt', 'Reciprocal'])('%s', (op) => {
    same(op, [known('float32', [0.5, 1.5, 2.5, 3.25, 4])]);
  });

  it.each(['ReduceSum', 'ReduceProd', 'ReduceMax', 'ReduceMin'])('%s over an axis, kept and dropped', (op) => {
    for (const type of ['int64', 'float32', 'uint64'] as const) {
      const x = known(type, [1, 5, 3, 2, 4, 6], [2, 3]);
      const axes = known('int64', [1]);
      for (const keepdims of [0, 1]) {
        scope(() => {
          const host = run1(op, [x, axes], { keepdims }, { opset: 20 });
          const device = run1(op, [onDevice(x), axes], { keepdims }, { opset: 20 });
          expect(host.isKnown).toBe(true);
          expect([device.shape, elements(device.host)]).toEqual([host.shape, elements(host.host)]);
        });
      }
    }
  });

  it.each([
    ['float32', 'int8', [1.9, -1.9, 100]],
    ['int64', 'uint8', [300, -1, 7]],
    ['float32', 'float16', [1 / 3, 65504, 1e-7]],
    ['float32', 'float8e4m3fn', [1.0625, 500, 1e-3, -0.3]],
    ['float32', 'float8e5m2', [1.125, 1e6, 1e-5, -0.3]],
    ['float32', 'float4e2m1', [1.25, 9, 0.2, -2.6]],
    ['float32', 'float8e8m0', [1.25, 9, 0.2, 4]],
    ['int32', 'int4', [7, 8, -9, 3]],
    ['int32', 'uint2', [7, 8, -9, 3]],
    ['float32', 'bool', [0, 2, -1]],
    ['uint64', 'float32', [2 ** 63, 5, 0]],
    ['float64', 'uint64', [2 ** 63, 5, 1e19]],
  ] as const)('Cast from %s to %s', (from, to, data) => {
    const codes: Readonly<Record<string, number>> = {
      int8: 3,
      uint8: 2,
      float16: 10,
      float8e4m3fn: 17,
      float8e5m2: 19,
      float4e2m1: 23,
      float8e8m0: 24,
      int4: 22,
      uint2: 25,
      bool: 9,
      float32: 1,
      uint64: 13,
    };
    same('Cast', [known(from, data)], { to: codes[to] });
  });

  it('computes a shape without ever needing the device', () => {
    const image = TensorValue.ofTensor(tensor([0, 0, 0, 0, 0, 0], { shape: [1, 2, 3] }), 'float32');
    const shape = run1('Shape', [image]);
    const last = run1('Gather', [shape, known('int64', [2])]);
    const doubled = run1('Mul', [last, known('int64', [2])]);
    const halved = run1('Div', [run1('Sub', [doubled, known('int64', [1])]), known('int64', [2])]);
    const positive = run1('Where', [run1('Less', [halved, known('int64', [0])]), known('int64', [0]), halved]);
    const joined = run1('Concat', [run1('Cast', [positive], { to: 7 }), known('int64', [-1])], { axis: 0 });
    const values = [shape, last, doubled, halved, positive, joined];
    expect(values.map((value) => value.isKnown)).toEqual(values.map(() => true));
    expect(values.map((value) => value.onDevice)).toEqual(values.map(() => null));
    expect(elements(joined.host)).toEqual([2n, -1n]);
    const steps = run1('Range', [known('int64', [0], []), known('int64', [5], []), known('int64', [2], [])]);
    expect(elements(steps.host)).toEqual([0n, 2n, 4n]);
    expect(elements(run1('ConstantOfShape', [known('int64', [2])]).host)).toEqual([0, 0]);
    image.dispose();
  });

  it('leaves large constants and parameters to the device', () => {
    scope(() => {
      const large = known('float32', new Array<number>(hostLimit + 1).fill(1));
      expect(run1('Add', [large, large]).isKnown).toBe(false);
      const weight = tensor([1, 2], { requiresGrad: true });
      const value = TensorValue.ofTensor(weight, 'float32');
      // Reading a parameter does not make a constant of it.
      expect(elements(value.host)).toEqual([1, 2]);
      const y = run1('Mul', [value, value]);
      expect(y.isKnown).toBe(false);
      const [g] = grad([sum(y.tensor)], [weight]);
      expect(Array.from(g?.dataSync() ?? [])).toEqual([2, 4]);
      weight.dispose();
    });
  });

  it('writes numbers as text with the fewest digits that read back', () => {
    const text = run1('Cast', [known('float32', [0.1, 1 / 3, 1e10, Number.NaN, -Infinity])], { to: 8 });
    expect(text.host).toEqual(['0.1', '0.33333334', '10000000000', 'NaN', '-INF']);
    expect(elements(run1('Cast', [known('string', ['+INF', '-inf', '9007199254740993', '1e3'])], { to: 1 }).host)).toEqual([
      Infinity,
      -Infinity,
      9007199254740992,
      1000,
    ]);
    expect(elements(run1('Cast', [known('string', ['9007199254740993'])], { to: 7 }).host)).toEqual([9007199254740993n]);
  });
});

describe('old opsets', () => {
  it('lays the second operand along the first from an axis on', () => {
    scope(() => {
      const a = onDevice(known('float32', [1, 2, 3, 4, 5, 6], [2, 3]));
      const sums = run1('Add', [a, known('float32', [10, 20])], { broadcast: 1, axis: 0 }, { opset: 6 });
      expect(elements(sums.host)).toEqual([11, 12, 13, 24, 25, 26]);
    });
  });

  it('takes the softmax over all axes from the given one on', () => {
    scope(() => {
      const x = onDevice(known('float32', [0, 0, 0, 0, 0, 0, 0, 0], [2, 2, 2]));
      expect(elements(run1('Softmax', [x], {}, { opset: 12 }).host)[0]).toBeCloseTo(0.25, 6);
      expect(elements(run1('Softmax', [x], {}, { opset: 13 }).host)[0]).toBeCloseTo(0.5, 6);
    });
  });

  it('reads the limits of Clip from attributes, and later from inputs', () => {
    scope(() => {
      const x = onDevice(known('float32', [-2, 0, 2]));
      expect(elements(run1('Clip', [x], { min: { float: -1 }, max: { float: 1 } }, { opset: 6 }).host)).toEqual([-1, 0, 1]);
      expect(elements(run1('Clip', [x, null, known('float32', [1], [])]).host)).toEqual([-2, 0, 1]);
    });
  });
});
