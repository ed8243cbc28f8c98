import { describe, expect, test } from 'vitest';
import {
  ArgumentError,
  autocast,
  jit,
  manualSeed,
  mul,
  nn,
  noGrad,
  randn,
  ShapeError,
  scope,
  sum,
  type Tensor,
  tensor,
} from '../../src/index.js';
import file from '../reference/layers-recurrent.json' with { type: 'json' };
import { type LayerCaseJson, type LayerTest, layerCases, layerTestOf, runLayerTest } from './layer-test.js';

type AnyRnn = nn.RNN | nn.LSTM | nn.GRU;
const flat = (value: Tensor | readonly Tensor[]): Tensor[] => (Array.isArray(value) ? [...value] : [value as Tensor]);

/** How PyTorch was called for a case, told by its inputs. */
function callLayer(layer: AnyRnn, ...inputs: readonly Tensor[]): Tensor[] {
  return scope(() => callWith(layer, inputs));
}
function callWith(layer: AnyRnn, inputs: readonly Tensor[]): Tensor[] {
  const hasLengths = inputs[1]?.dtype === 'int64';
  const [x, ...rest] = inputs;
  const states = hasLengths ? rest.slice(1) : rest;
  const state = states.length === 0 ? null : layer instanceof nn.LSTM ? ([states[0], states[1]] as const) : states[0];
  if (hasLengths) {
    const packed = nn.packPaddedSequence(x, rest[0]);
    const [out, last] = (layer as nn.GRU).call(packed, state as Tensor | null);
    return [nn.padPackedSequence(out)[0], ...flat(last)];
  }
  const [out, last] = (layer as nn.GRU).call(x, state as Tensor | null);
  return [out, ...flat(last)];
}
function callCell(cell: nn.RNNCell | nn.LSTMCell, ...inputs: readonly Tensor[]): Tensor[] {
  const [x, h, c] = inputs;
  return cell instanceof nn.LSTMCell ? [...cell.call(x, h === undefined ? null : [h, c])] : [cell.call(x, h ?? null)];
}
const classes = { RNN: nn.RNN, LSTM: nn.LSTM, GRU: nn.GRU, RNNCell: nn.RNNCell, LSTMCell: nn.LSTMCell, GRUCell: nn.GRUCell };

function testOf(c: LayerCaseJson): LayerTest {
  const Class = classes[c.op as keyof typeof classes];
  const build = (...args: unknown[]): AnyRnn => new (Class as unknown as new (...a: unknown[]) => AnyRnn)(...args);
  const call = c.op.endsWith('Cell') ? callCell : callLayer;
  return layerTestOf(c, build as (...args: never[]) => AnyRnn, { call: call as never }) as unknown as LayerTest;
}

describe.each(Object.keys(classes))("%s gives PyTorch's numbers", (op) => {
  const cases = layerCases(file, op);
  test.each(cases.map((c, i) => [i, JSON.stringify(c.attrs), c.inputs.map((t) => `[${t.shape.join()}]`).join(' ')] as const))(
    'case %i: %s of %s',
    (i) => {
      // PyTorch's gradients are enough for most.
      runLayerTest({ ...testOf(cases[i]), differences: i === 2 });
    },
  );
});

describe('recurrent layers', () => {
  test('have second derivatives, with masks and from the end too', () => {
    for (const op of ['RNN', 'GRU', 'LSTM']) {
      const c = layerCases(file, op).find((k) => k.inputs[1]?.dtype === 'int64' && k.inputs.length > 2);
      if (c === undefined) throw new Error('no such case');
      runLayerTest({ ...testOf(c), reference: undefined, secondOrder: true });
    }
  });

  test('compile once for all lengths when the lengths are a tensor', () => {
    scope(() => {
      manualSeed(3);
      const gru = new nn.GRU(2, 3, { bidirectional: true, batchFirst: true });
      const x = randn([3, 5, 2]);
      const run = (values: Tensor, lengths: Tensor): Tensor => {
        const [out] = gru.call(nn.packPaddedSequence(values, lengths, { batchFirst: true }));
        return nn.padPackedSequence(out, { batchFirst: true })[0];
      };
      const compiled = jit(run);
      noGrad(() => {
        for (const lengths of [
          [5, 2, 1],
          [1, 4, 3],
        ]) {
          const given = tensor(lengths, { dtype: 'int64' });
          const got = Array.from(compiled(x, given).dataSync(), Number);
          const wanted = run(x, given);
          wanted.dataSync().forEach((v, i) => {
            expect(got[i]).toBeCloseTo(Number(v), 5);
          });
          // What lies behind the end of a sequence does not matter, and the output there is 0.
          const noise = x.clone();
          lengths.forEach((n, b) => {
            if (n < 5)
              noise
                .select(0, b)
                .narrow(0, n, 5 - n)
                .fill_(100);
          });
          expect(Array.from(run(noise, given).dataSync())).toEqual(Array.from(wanted.dataSync()));
          lengths.forEach((n, b) => {
            if (n < 5)
              expect(
                wanted
                  .select(0, b)
                  .narrow(0, n, 5 - n)
                  .abs()
                  .sum()
                  .item(),
              ).toBe(0);
          });
        }
      });
      expect(compiled.programs).toHaveLength(1);
      compiled.dispose();
      gru.dispose();
    });
  });

  test('are a loop of the program: its size does not depend on the number of steps', () => {
    scope(() => {
      const lstm = new nn.LSTM(3, 4);
      const step = jit((x: Tensor) => {
        const [out] = lstm.call(x);
        const loss = sum(mul(out, out));
        lstm.zeroGrad();
        loss.backward();
        return loss.detach();
      });
      const kernels = [4, 40].map((steps) => {
        step(randn([steps, 2, 3])).dispose();
        return step.programs[0].kernels.length;
      });
      expect(kernels[1]).toBe(kernels[0]);
      step.dispose();
      lstm.zeroGrad();
      lstm.dispose();
    });
  });

  test('compute in bfloat16 under autocast, with float32 states and gradients', () => {
    for (const Class of [nn.RNN, nn.GRU, nn.LSTM]) {
      scope(() => {
        manualSeed(9);
        const layer = new Class(3, 4);
        const x = randn([3, 2, 3]);
        const step = (input: Tensor, coarse: boolean): Tensor => {
          const run = (): Tensor => (layer as nn.GRU).call(input)[0];
          const loss = sum((coarse ? autocast(run, { dtype: 'bfloat16' }) : run()).float().square());
          layer.zeroGrad();
          loss.backward();
          return loss.detach();
        };
        const results = [false, true].map((coarse) => {
          const compiled = jit((input: Tensor) => step(input, coarse));
          const loss = Number(compiled(x).item());
          const grads = layer.parameters().map((p) => Number(p.grad?.norm().item()));
          expect(layer.parameters().every((p) => p.grad?.dtype === 'float32')).toBe(true);
          compiled.dispose();
          return [loss, ...grads];
        });
        results[0].forEach((v, i) => {
          expect(Math.abs(results[1][i] - v)).toBeLessThan(0.05 * Math.abs(v) + 1e-3);
        });
        layer.zeroGrad();
        layer.dispose();
      });
    }
  });

  test('drop outputs between layers in training only', () => {
    scope(() => {
      manualSeed(4);
      const rnn = new nn.RNN(3, 8, { numLayers: 2, dropout: 0.5 });
      const x = randn([4, 2, 3]);
      noGrad(() => {
        const numbers = (): number[] => Array.from(rnn.call(x)[0].dataSync() as Float32Array);
        const [a, b] = [numbers(), numbers()];
        expect(a).not.toEqual(b);
        rnn.eval();
        expect(numbers()).toEqual(numbers());
      });
      rnn.dispose();
    });
  });

  test('refuse inputs and states that do not fit', () => {
    scope(() => {
      const lstm = new nn.LSTM(3, 4);
      expect(() => lstm.call(randn([5, 2, 4]))).toThrow(ShapeError);
      expect(() => lstm.call(randn([5, 2, 3]), [randn([1, 2, 3]), randn([1, 2, 4])])).toThrow(/\[1, 2, 4\]/);
      expect(() => new nn.LSTM(3, 4, { projSize: 4 })).toThrow(ArgumentError);
      lstm.dispose();
    });
  });
});

describe('packed sequences', () => {
  const a = (): Tensor => tensor([[1], [2], [3]]);
  const b = (): Tensor => tensor([[4]]);
  const c = (): Tensor => tensor([[5], [6]]);

  test('hold what PyTorch holds', () => {
    scope(() => {
      const packed = nn.packSequence([b(), a(), c()]);
      const { data, ...rest } = packed.pack();
      // torch.nn.utils.rnn.pack_sequence([b, a, c], enforce_sorted=False)
      expect(Array.from(data.dataSync())).toEqual([1, 5, 4, 2, 6, 3]);
      expect(rest).toEqual({ batchSizes: [3, 2, 1], sortedIndices: [1, 2, 0], unsortedIndices: [2, 0, 1] });
      const [padded, lengths] = nn.padPackedSequence(packed, { batchFirst: true, paddingValue: -1, totalLength: 4 });
      expect(padded.toArray()).toEqual([
        [[4], [-1], [-1], [-1]],
        [[1], [2], [3], [-1]],
        [[5], [6], [-1], [-1]],
      ]);
      expect(lengths.toArray()).toEqual([1n, 3n, 2n].map(Number));
      expect(nn.unpackSequence(packed).map((t) => t.toArray())).toEqual([b(), a(), c()].map((t) => t.toArray()));
    });
  });
  test('are padded on either side', () => {
    scope(() => {
      expect(nn.padSequence([a(), c()], { batchFirst: true, paddingSide: 'left' }).toArray()).toEqual([
        [[1], [2], [3]],
        [[0], [5], [6]],
      ]);
      expect(nn.padSequence([a(), c()]).shape).toEqual([3, 2, 1]);
      expect(() => nn.padSequence([a(), randn([2, 2])])).toThrow(ShapeError);
    });
  });
  test('are checked where the lengths are numbers', () => {
    scope(() => {
      const x = randn([4, 2, 1]);
      expect(nn.packPaddedSequence(x, [2, 3]).padded.shape).toEqual([3, 2, 1]);
      expect(() => nn.packPaddedSequence(x, [2, 5])).toThrow(ArgumentError);
      expect(() => nn.packPaddedSequence(x, [2, 3], { enforceSorted: true })).toThrow(/descending/);
    });
  });
});
