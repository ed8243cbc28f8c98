import { describe, expect, test, vi } from 'vitest';
import { checkGrads } from '../../src/autograd/check.js';
import {
  ArgumentError,
  type AttentionOptions,
  defaultDevice,
  grad,
  jit,
  manualSeed,
  mul,
  nn,
  noGrad,
  rand,
  randn,
  ShapeError,
  scaledDotProductAttention,
  scope,
  sum,
  type Tensor,
  tensor,
} from '../../src/index.js';
import { cotangent, numbersOf, type TensorJson, tensorOf } from '../ops/cases.js';
import groupedFile from '../reference/grouped-attention.json' with { type: 'json' };
import file from '../reference/layers-attention.json' with { type: 'json' };
import { expectClose } from './close.js';
import { type LayerCaseJson, type LayerTest, layerCases, layerTestOf, runLayerTest } from './layer-test.js';

const numbers = (t: Tensor): number[] => Array.from(t.dataSync(), Number);

/** How PyTorch was called for a case, told by its inputs and outputs. */
function callAs(c: LayerCaseJson): (layer: nn.MultiheadAttention, ...inputs: readonly Tensor[]) => Tensor[] {
  return (layer, ...inputs) => {
    const sequences = inputs.filter((t, k) => c.inputs[k].dtype === 'float32' && (t.ndim > 2 || k === 0));
    const masks = inputs.filter((t) => !sequences.includes(t));
    const padding = masks.find((m) => m.shape[0] === 2);
    const attnMask = masks.find((m) => m !== padding);
    const options: nn.AttentionCall = {
      needWeights: c.outputs.length > 1,
      averageAttnWeights: c.outputs[1]?.shape.length !== 4,
      keyPaddingMask: padding,
      attnMask,
    };
    const [out, weights] = layer.call(sequences[0], sequences[1], sequences[2], options);
    return weights === null ? [out] : [out, weights];
  };
}

describe("MultiheadAttention gives PyTorch's numbers", () => {
  const cases = layerCases(file);
  test.each(cases.map((c, i) => [i, JSON.stringify(c.attrs), c.inputs.map((t) => `[${t.shape.join()}]`).join(' ')] as const))(
    'case %i: %s of %s',
    (i) => {
      const c = cases[i];
      const build = (...args: never[]): nn.MultiheadAttention =>
        new (nn.MultiheadAttention as new (...a: never[]) => nn.MultiheadAttention)(...args);
      const base = layerTestOf(c, build, { call: callAs(c) as never }) as unknown as LayerTest;
      runLayerTest({ ...base, differences: i === 5 });
    },
  );
});

/** Result and gradients of query, key and value. */
function attendWith(inputs: readonly Tensor[], options: AttentionOptions): Tensor[] {
  const leaves = inputs.map((t) => t.detach().requiresGrad_());
  const out = scaledDotProductAttention(leaves[0], leaves[1], leaves[2], options);
  return [out.detach(), ...grad(sum(mul(out, cotangent(out.shape, 'float32'))), leaves)];
}

describe('blockwise attention', () => {
  const shapes: [string, number[], number[], number[], AttentionOptions][] = [
    ['plain', [2, 3, 9, 4], [2, 3, 11, 4], [2, 3, 11, 5], {}],
    ['one block and a rest', [5, 4], [7, 4], [7, 3], { blockSize: 5 }],
    ['causal', [2, 10, 4], [2, 10, 4], [2, 10, 4], { isCausal: true }],
    ['causal with more keys than queries', [2, 3, 4], [2, 9, 4], [2, 9, 4], { isCausal: true }],
    ['causal with fewer keys than queries', [2, 9, 4], [2, 3, 4], [2, 3, 4], { isCausal: true }],
    ['causal in several parts', [1, 600, 4], [1, 600, 4], [1, 600, 4], { isCausal: true, blockSize: 128 }],
    ['grouped', [2, 4, 6, 4], [2, 2, 9, 4], [2, 2, 9, 3], { enableGqa: true }],
    ['grouped and causal', [2, 4, 9, 4], [2, 2, 9, 4], [2, 2, 9, 3], { enableGqa: true, isCausal: true }],
    ['key shared by the batch', [3, 6, 4], [1, 9, 4], [9, 4], {}],
    ['with a scale', [6, 4], [6, 4], [6, 4], { scale: 0.9 }],
  ];
  test.each(shapes)('gives the numbers of the whole matrix: %s', (_, q, k, v, options) => {
    scope(() => {
      manualSeed(1);
      const inputs = [randn(q), randn(k), randn(v)];
      const wanted = attendWith(inputs, { ...options, algorithm: 'full' });
      const block: AttentionOptions = { blockSize: 4, ...options, algorithm: 'blockwise' };
      const compiled = jit((...xs: Tensor[]) => attendWith(xs, block));
      for (const got of [attendWith(inputs, block), compiled(...inputs)])
        got.forEach((t, i) => {
          expect(t.shape).toEqual(wanted[i].shape);
          expectClose(t, numbers(wanted[i]), `result ${i}`, 2e-5, 3e-6);
        });
      compiled.dispose();
    });
  });
  test.each([
    ['bool', [6, 9]],
    ['bool', [2, 1, 1, 9]],
    ['bool', [2, 3, 6, 9]],
    ['bool', [6, 1]],
    ['added', [3, 6, 9]],
    ['added', [1, 9]],
  ] as const)('takes %s masks of shape %j', (kind, shape) => {
    scope(() => {
      manualSeed(2);
      const inputs = [randn([2, 3, 6, 4]), randn([2, 3, 9, 4]), randn([2, 3, 9, 4])];
      const mask = kind === 'bool' ? rand(shape).gt(0.4) : randn(shape);
      const wanted = attendWith(inputs, { mask, algorithm: 'full' });
      const got = jit((...xs: Tensor[]) => attendWith(xs.slice(0, 3), { mask: xs[3], algorithm: 'blockwise', blockSize: 4 }));
      got(...inputs, mask).forEach((t, i) => {
        expectClose(t, numbers(wanted[i]), `result ${i}`, 2e-5, 3e-6);
      });
      got.dispose();
    });
  });
  test("both algorithms give PyTorch's numbers for grouped heads, and 0 where a query may see nothing", () => {
    scope(() => {
      for (const c of groupedFile.cases) {
        for (const algorithm of ['full', 'blockwise'] as const) {
          const [q, k, v] = c.args.slice(0, 3).map((a) => tensorOf(a as TensorJson).requiresGrad_());
          const mask = c.args[3] === null ? null : tensorOf(c.args[3] as TensorJson);
          const out = scaledDotProductAttention(q, k, v, { mask, isCausal: c.attrs.isCausal, enableGqa: true, algorithm, blockSize: 2 });
          expectClose(out, numbersOf(c.outputs[0] as TensorJson), algorithm, 1e-5, 2e-6);
          const grads = grad(sum(mul(out, cotangent(out.shape, 'float32'))), [q, k, v]);
          grads.forEach((g, i) => {
            expectClose(g, numbersOf(c.grads[i] as TensorJson), `${algorithm}: gradient ${i}`, 1e-5, 2e-6);
          });
        }
      }
    });
  });
  test('has the gradient that differences show, and the gradient of that', () => {
    scope(() => {
      manualSeed(3);
      const inputs = [randn([3, 2], { dtype: 'float64' }), randn([5, 2], { dtype: 'float64' }), randn([5, 2], { dtype: 'float64' })];
      checkGrads((q, k, v) => scaledDotProductAttention(q, k, v, { algorithm: 'blockwise', blockSize: 2 }), inputs, { order: 2 });
    });
  });
  test('drops weights with the same random numbers forward and backward', () => {
    scope(() => {
      manualSeed(4);
      const [q, k, v] = [randn([2, 40, 4]), randn([2, 40, 4]), randn([2, 40, 4])];
      const options: AttentionOptions = { algorithm: 'blockwise', blockSize: 16, dropout: 0.3, isCausal: true };
      const run = (value: Tensor): Tensor => scaledDotProductAttention(q, k, value, options);
      // The result is linear in the value: its gradient along a direction is the result for that direction.
      const direction = randn([2, 40, 4]);
      const leaf = v.detach().requiresGrad_();
      manualSeed(5);
      const out = run(leaf);
      const weights = randn(out.shape);
      const along = sum(mul(grad(sum(mul(out, weights)), leaf), direction));
      manualSeed(5);
      const wanted = sum(
        mul(
          noGrad(() => run(direction)),
          weights,
        ),
      );
      expect(along.item()).toBeCloseTo(Number(wanted.item()), 3);
      manualSeed(5);
      const compiled = jit((x: Tensor) => {
        const own = run(x);
        return grad(sum(mul(own, weights)), x);
      });
      expect(sum(mul(compiled(leaf), direction)).item()).toBeCloseTo(Number(wanted.item()), 3);
      const whole = noGrad(() => scaledDotProductAttention(q, k, v));
      expect(Math.abs(Number(run(v).mean().item()) - Number(whole.mean().item()))).toBeLessThan(0.2);
      compiled.dispose();
    });
  });
  test('never holds the scores of all pairs: memory grows with the length', () => {
    scope(() => {
      const arena = (length: number, algorithm: AttentionOptions['algorithm'], isCausal: boolean): number => {
        const step = jit((q: Tensor, k: Tensor, v: Tensor) => attendWith([q, k, v], { algorithm, isCausal }));
        const x = randn([1, length, 16]);
        const { arenaBytes } = step.compile(x, x, x);
        step.dispose();
        return arenaBytes;
      };
      for (const isCausal of [false, true]) {
        const [short, long] = [1024, 4096].map((length) => arena(length, 'auto', isCausal));
        // Four times as long, four times as much; one matrix of scores would be 64 MB.
        expect(long / short).toBeLessThan(5);
        expect(long).toBeLessThan((4 * 4096 * 4096) / 4);
      }
      expect(arena(2048, 'full', false)).toBeGreaterThan(2048 * 2048 * 4);
    });
  });
  test('holds no matrix of all pairs eagerly either', () => {
    scope(() => {
      const device = defaultDevice();
      const [q, k, v] = [0, 1, 2].map(() => randn([1, 2048, 8]));
      const spy = vi.spyOn(device, 'allocate');
      const [out] = attendWith([q, k, v], {});
      const blockwise = Math.max(...spy.mock.calls.map(([bytes]) => bytes));
      attendWith([q, k, v], { algorithm: 'full' });
      const full = Math.max(...spy.mock.calls.map(([bytes]) => bytes));
      spy.mockRestore();
      expect(out.shape).toEqual([1, 2048, 8]);
      expect(full).toBe(2048 * 2048 * 4);
      expect(blockwise).toBeLessThan(full / 8);
    });
  });
  test('sums in float32 where the operands are bfloat16', () => {
    scope(() => {
      manualSeed(6);
      const inputs = [randn([2, 40, 8]), randn([2, 40, 8]), randn([2, 40, 8])];
      const wanted = scaledDotProductAttention(inputs[0], inputs[1], inputs[2]);
      const leaves = inputs.map((t) => t.to('bfloat16').requiresGrad_());
      const out = scaledDotProductAttention(leaves[0], leaves[1], leaves[2], { algorithm: 'blockwise', blockSize: 8 });
      expect(out.dtype).toBe('bfloat16');
      expectClose(out, numbers(wanted), 'result', 0.02, 0.02);
      const whole = grad(sum(scaledDotProductAttention(leaves[0], leaves[1], leaves[2]).float().square()), leaves);
      grad(sum(out.float().square()), leaves).forEach((g, i) => {
        expect(g.dtype).toBe('bfloat16');
        expectClose(g, numbers(whole[i]), `gradient ${i}`, 0.05, 0.05);
      });
    });
  });
  test('refuses a mask that wants a gradient', () => {
    scope(() => {
      const x = randn([4, 2]);
      const mask = randn([4, 4]).requiresGrad_();
      expect(() => scaledDotProductAttention(x, x, x, { mask, algorithm: 'blockwise' })).toThrow(ArgumentError);
      sum(scaledDotProductAttention(x, x, x, { mask })).backward();
      expect(mask.grad?.shape).toEqual([4, 4]);
    });
  });
});

describe('attention with positions', () => {
  test('rotations keep lengths, and products depend on distances alone', () => {
    scope(() => {
      manualSeed(7);
      const [a, b] = [randn([1, 8]), randn([1, 8])];
      for (const interleaved of [false, true]) {
        const at = (x: Tensor, position: number): Tensor => nn.applyRotary(x, nn.rotaryAngles(1, 8, position), { interleaved });
        const product = (i: number, j: number): number => Number(sum(mul(at(a, i), at(b, j))).item());
        expect(product(5, 3)).toBeCloseTo(product(12, 10), 4);
        expect(Math.abs(product(5, 3) - product(5, 4))).toBeGreaterThan(1e-3);
        expect(Number(at(a, 9).square().sum().item())).toBeCloseTo(Number(a.square().sum().item()), 4);
      }
    });
  });
  test('rotary angles and pairs are those of the paper', () => {
    scope(() => {
      const x = tensor([
        [1, 0, 0, 0],
        [0, 1, 0, 0],
      ]);
      const turned = numbers(nn.applyRotary(x, nn.rotaryAngles(2, 4), { interleaved: true }));
      // Step 1 turns the first pair by 1 radian, the second by 1 / 100.
      [1, 0, 0, 0, -Math.sin(1), Math.cos(1), 0, 0].forEach((v, i) => {
        expect(turned[i]).toBeCloseTo(v, 6);
      });
      expect(numbers(nn.rotaryAngles(2, 4))[3]).toBeCloseTo(0.01, 7);
    });
  });
  test('sines and cosines', () => {
    scope(() => {
      const table = nn.sinusoidalPositions(3, 4);
      const wanted = [0, 1, 2].flatMap((t) => [Math.sin(t), Math.cos(t), Math.sin(t / 100), Math.cos(t / 100)]);
      expectClose(table, wanted, 'table', 1e-6, 1e-6);
      expect(nn.sinusoidalPositions(3, 5).shape).toEqual([3, 5]);
      const layer = new nn.SinusoidalPositionalEncoding(4, { maxLength: 6 });
      expect([...layer.stateDict().keys()]).toEqual([]);
      expectClose(layer.call(tensor([[[0, 0, 0, 0]]]), 2), wanted.slice(8), 'offset', 1e-6, 1e-6);
      expect(() => layer.call(randn([1, 7, 4]))).toThrow(ShapeError);
      layer.dispose();
    });
  });
  test('learned positions get gradients', () => {
    runLayerTest({
      layer: () => new nn.LearnedPositionalEncoding(4, { maxLength: 3 }),
      inputs: [[2, 3, 4]],
      outputShape: [2, 3, 4],
      stateKeys: ['weight'],
    });
  });
  test("ALiBi's slopes are those of the paper", () => {
    scope(() => {
      const mask = nn.alibiMask(8, 2, 3, { isCausal: true });
      expectClose(mask.select(0, 0), [-0.5, 0, -Infinity, -1, -0.5, 0], 'head 0', 0, 1e-7);
      expectClose(mask.select(0, 1).select(0, 1), [-0.5, -0.25, 0], 'head 1', 0, 1e-7);
      expect(nn.alibiMask(6, 1, 2).select(2, 0).shape).toEqual([6, 1]);
    });
  });
});

describe('grouped heads and caches', () => {
  const make = (options: nn.MultiheadAttentionOptions): nn.MultiheadAttention => {
    manualSeed(11);
    return new nn.MultiheadAttention(8, 4, { batchFirst: true, ...options });
  };
  test('fewer key heads are as many with repeated weights', () => {
    scope(() => {
      const grouped = make({ numKvHeads: 2 });
      const whole = make({});
      const weight = grouped.inProjWeight as Tensor;
      const rows = (start: number): number[] => [0, 0, 1, 1].flatMap((g) => [start + 2 * g, start + 2 * g + 1]);
      const index = tensor([...Array(8).keys(), ...rows(8), ...rows(12)], { dtype: 'int64' });
      whole.loadStateDict(
        new Map([
          ...grouped.stateDict(),
          ['in_proj_weight', weight.detach().indexSelect(0, index)],
          ['in_proj_bias', (grouped.inProjBias as Tensor).detach().indexSelect(0, index)],
        ]),
      );
      const x = randn([2, 5, 8]);
      for (const needWeights of [false, true]) {
        const [a, b] = [grouped, whole].map((m) => m.call(x, null, null, { isCausal: true, needWeights }));
        expectClose(a[0], numbers(b[0]), 'output', 1e-5, 1e-6);
        if (needWeights) expectClose(a[1] as Tensor, numbers(b[1] as Tensor), 'weights', 1e-5, 1e-6);
      }
      grouped.dispose();
      whole.dispose();
    });
  });
  test.each([{}, { numKvHeads: 2 }, { rotary: true }, { numKvHeads: 1, rotary: { interleaved: true } }])(
    'decoding step by step with a cache gives the causal result, with one program: %j',
    (options) => {
      scope(() => {
        const layer = make(options).eval();
        const x = randn([2, 6, 8]);
        const wanted = noGrad(() => layer.call(x, null, null, { isCausal: true })[0]);
        const cache = new nn.KVCache({ batch: 2, heads: layer.numKvHeads, features: 2, maxLength: 8 });
        const step = jit((token: Tensor) => noGrad(() => layer.call(token, null, null, { cache })[0]));
        for (const compiled of [false, true]) {
          cache.reset();
          // Two steps at once, then one by one.
          const pieces = [x.narrow(1, 0, 2), ...[2, 3, 4, 5].map((t) => x.narrow(1, t, 1))];
          let at = 0;
          for (const piece of pieces) {
            const out = compiled ? step(piece.contiguous()) : noGrad(() => layer.call(piece, null, null, { cache })[0]);
            expectClose(out, numbers(wanted.narrow(1, at, piece.shape[1])), `steps from ${at}`, 1e-5, 1e-6);
            at += piece.shape[1];
          }
          expect(cache.used).toBe(6);
        }
        expect(step.programs).toHaveLength(2);
        expect(() => cache.append(randn([2, 3, 1, 2]), randn([2, 3, 1, 2]))).toThrow(ShapeError);
        step.dispose();
        cache.dispose();
        layer.dispose();
      });
    },
  );
});
