/** Gradients through operators on floats, random numbers with seeds, and text. */
import { grad, jit, scope, sum, type Tensor, tensor } from 'trireme';
import { describe, expect, it } from 'vitest';
import { TensorValue } from '../../src/engine/value.js';
import { type Attribute, elements, known, onDevice, run, run1 } from './support.js';

/** The gradient of the sum of an operator's output by its first input. */
function slope(
  op: string,
  data: readonly number[],
  others: readonly (TensorValue | null)[] = [],
  attributes: Readonly<Record<string, Attribute>> = {},
): number[] {
  return scope(() => {
    const x = tensor([...data], { requiresGrad: true });
    const y = run1(op, [TensorValue.ofTensor(x, 'float32'), ...others], attributes);
    const [g] = grad([sum(y.tensor.to('float32'))], [x]);
    return Array.from(g?.dataSync() as Float32Array);
  });
}

describe('gradients', () => {
  it('go through powers, products and activations', () => {
    expect(slope('Pow', [1, 2, 3], [known('int64', [2], [])])).toEqual([2, 4, 6]);
    expect(slope('PRelu', [-1, 2], [onDevice(known('float32', [0.25], [1]))])).toEqual([0.25, 1]);
    expect(slope('ReduceSumSquare', [1, -2], [], {})).toEqual([2, -4]);
    expect(slope('Max', [1, 5], [known('float32', [3], [])])).toEqual([0, 1]);
    expect(slope('Clip', [-3, 0.5, 3], [known('float32', [-1], []), known('float32', [1], [])])).toEqual([0, 1, 0]);
  });

  it('pass a cast to an 8-bit float as if it did not round', () => {
    expect(slope('Cast', [0.3, 1.7], [], { to: 17 })).toEqual([1, 1]);
  });

  it('reach the scale of dequantized weights', () => {
    scope(() => {
      const scale = tensor(0.5, { requiresGrad: true });
      const y = run1('DequantizeLinear', [
        onDevice(known('int8', [3, -4])),
        TensorValue.ofTensor(scale, 'float32'),
        known('int8', [1], []),
      ]);
      expect(elements(y.host)).toEqual([1, -2.5]);
      const [g] = grad([sum(y.tensor)], [scale]);
      expect(g?.item()).toBe(-3);
    });
  });
});

describe('random numbers', () => {
  it('go on from call to call, and repeat with the seed', () => {
    const make = () => {
      const attributes = { shape: [4], seed: { float: 7 } };
      return elements(run1('RandomNormal', [], attributes).host);
    };
    // Every call is a node of its own here.
    expect(make()).toEqual(make());
    const other = elements(run1('RandomNormal', [], { shape: [4], seed: { float: 8 } }).host);
    expect(other).not.toEqual(make());
  });

  it('draw more of what is likelier', () => {
    scope(() => {
      const drawn = run1('Multinomial', [onDevice(known('float32', [0, -20, 0], [1, 3]))], { sample_size: 64, seed: { float: 3 } });
      const counts = [0, 1, 2].map((k) => elements(drawn.host).filter((x) => x === k).length);
      expect(counts[1]).toBe(0);
      expect(Math.min(counts[0], counts[2])).toBeGreaterThan(10);
      expect([drawn.type, drawn.shape]).toEqual(['int32', [1, 64]]);
    });
  });
});

describe('inside a program', () => {
  it('quantized products are recorded whole', () => {
    const f = jit((a: Tensor) => {
      const { tensor: b } = known('uint8', [1, 2, 3, 4], [2, 2]);
      return run1('MatMulInteger', [TensorValue.ofTensor(a, 'uint8'), TensorValue.ofTensor(b, 'uint8'), known('uint8', [1], [])]).tensor;
    });
    scope(() => {
      const a = tensor(Uint8Array.of(1, 2, 3, 4), { shape: [2, 2] });
      expect(Array.from(f(a).dataSync())).toEqual([3, 4, 11, 16]);
    });
  });
});

describe('text', () => {
  it('keeps the flags and names of RE2 patterns', () => {
    const x = known('string', ['ABC', 'abc1', 'xabc']);
    expect(elements(run1('RegexFullMatch', [x], { pattern: '(?i)(?P<word>abc)\\d*' }).host)).toEqual([1, 1, 0]);
  });

  it('maps what has no label to the default', () => {
    const [labels] = run(
      'LabelEncoder',
      [known('float32', [Number.NaN, 1, 2])],
      { keys_floats: { floats: [Number.NaN, 1] }, values_strings: ['none', 'one'] },
      { domain: 'ai.onnx.ml' },
    );
    expect(labels?.kind === 'tensor' && labels.host).toEqual(['none', 'one', '_Unused']);
  });
});
