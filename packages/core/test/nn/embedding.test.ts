import { describe, expect, test } from 'vitest';
import {
  ArgumentError,
  add,
  addRows,
  clipGradNorm,
  clipGradValue,
  embedding,
  grad,
  jit,
  keep,
  manualSeed,
  matmul,
  mul,
  nn,
  noGrad,
  randn,
  ShapeError,
  SparseGrad,
  scope,
  selectRows,
  setRows,
  sum,
  type Tensor,
  tensor,
  zeros,
} from '../../src/index.js';
import file from '../reference/layers-embedding.json' with { type: 'json' };
import { type LayerCaseJson, type LayerTest, layerCases, layerTestOf, runLayerTest } from './layer-test.js';

const int64 = (data: number[] | number[][]): Tensor => tensor(data, { dtype: 'int64' });
const numbers = (t: Tensor): number[] => Array.from(t.dataSync(), Number);

type AnyEmbedding = nn.Embedding | nn.EmbeddingBag;
function callBag(layer: AnyEmbedding, index: Tensor, ...rest: readonly Tensor[]): Tensor {
  if (layer instanceof nn.Embedding) return layer.call(index);
  const offsets = rest[0]?.dtype === 'int64' ? rest[0] : null;
  return layer.call(index, offsets, rest[offsets === null ? 0 : 1] ?? null);
}
function testOf(c: LayerCaseJson, more: object = {}): LayerTest {
  const Class = (c.op === 'Embedding' ? nn.Embedding : nn.EmbeddingBag) as new (...a: never[]) => AnyEmbedding;
  return layerTestOf(
    { ...c, attrs: { ...c.attrs, ...more } },
    (...args: never[]) => new Class(...args),
    // Scaled gradients and renormalized rows are not what differences show.
    {
      call: callBag as never,
      lr: 0.05,
      gradients: 'maxNorm' in c.attrs || 'scaleGradByFreq' in c.attrs || 'paddingIdx' in c.attrs ? 'none' : 'train',
    },
  ) as unknown as LayerTest;
}

describe("tables give PyTorch's numbers", () => {
  const cases = layerCases(file);
  test.each(cases.map((c, i) => [c.op, i, JSON.stringify(c.attrs), c.inputs.map((t) => `[${t.shape.join()}]`).join(' ')] as const))(
    '%s, case %i: %s of %s',
    (_, i) => {
      runLayerTest(testOf(cases[i]));
    },
  );
  test('sparse gradients are the same numbers', () => {
    for (const c of cases) {
      scope(() => {
        const numbersOf = (sparse: boolean, compiled: boolean): number[] => {
          const test = testOf(c, { sparse });
          manualSeed(5);
          const layer = test.layer() as AnyEmbedding;
          const inputs = c.inputs.map((json) => tensor(json.data.map(Number), { dtype: json.dtype, shape: [...json.shape] }));
          const step = (...xs: Tensor[]): void => {
            const out = callBag(layer, xs[0], ...xs.slice(1));
            sum(mul(out, out)).backward();
          };
          const compiledStep = jit(step);
          (compiled ? compiledStep : step)(...inputs);
          expect(layer.weight.grad === null).toBe(sparse);
          const dense = layer.weight.sparseGrad?.toDense() ?? (layer.weight.grad as Tensor);
          const result = numbers(dense);
          layer.dispose();
          compiledStep.dispose();
          return result;
        };
        const wanted = numbersOf(false, false);
        for (const compiled of [false, true])
          numbersOf(true, compiled).forEach((v, i) => {
            expect(v).toBeCloseTo(wanted[i], 5);
          });
      });
    }
  });
});

describe('tables', () => {
  test('are made from given vectors, frozen unless told otherwise', () => {
    scope(() => {
      const vectors = tensor([
        [1, 2],
        [3, 4],
      ]);
      const frozen = nn.Embedding.fromPretrained(vectors);
      expect(frozen.call(int64([1])).toArray()).toEqual([[3, 4]]);
      expect(frozen.weight.requiresGrad).toBe(false);
      const free = nn.Embedding.fromPretrained(vectors, { freeze: false, paddingIdx: 0, sparse: true });
      sum(free.call(int64([0, 1, 1]))).backward();
      expect(free.weight.sparseGrad?.toDense().toArray()).toEqual([
        [0, 0],
        [2, 2],
      ]);
      expect(frozen.parameters()).toHaveLength(1);
      frozen.dispose();
      free.dispose();
    });
  });
  test('take the place of negative numbers from the end', () => {
    scope(() => {
      const table = new nn.Embedding(4, 2, { sparse: true });
      sum(table.call(int64([-1, 3]))).backward();
      expect(table.weight.sparseGrad?.coalesce().toDense().toArray()).toEqual([
        [0, 0],
        [0, 0],
        [0, 0],
        [2, 2],
      ]);
      table.dispose();
    });
  });
  test('refuse what does not fit', () => {
    scope(() => {
      expect(() => new nn.Embedding(4, 2, { paddingIdx: 4 })).toThrow(ArgumentError);
      const bag = new nn.EmbeddingBag(4, 2);
      expect(() => bag.call(int64([1, 2]))).toThrow(ShapeError);
      expect(() => bag.call(int64([[1]]), null, tensor([[1]]))).toThrow(/'sum'/);
      bag.dispose();
    });
  });
});

describe('a sparse gradient', () => {
  const make = (): SparseGrad =>
    new SparseGrad(
      int64([3, 1, 3, 5, 1]),
      tensor([
        [1, 2],
        [3, 4],
        [5, 6],
        [7, 8],
        [9, 10],
      ]),
      [5, 2],
    );
  test('coalesces: each row once, sums in order, the rest names no row', () => {
    scope(() => {
      const g = make().coalesce();
      expect(g.isCoalesced).toBe(true);
      expect(numbers(g.indices)).toEqual([1, 3, 5, 5, 5]);
      expect(numbers(g.values).slice(0, 4)).toEqual([12, 14, 6, 8]);
      // Row 5 does not exist.
      expect(g.toDense().toArray()).toEqual(make().toDense().toArray());
      expect(numbers(g.toDense())).toEqual([0, 0, 12, 14, 0, 0, 6, 8, 0, 0]);
      expect(g.coalesce()).toBe(g);
    });
  });
  test('adds up over lookups and backward passes', () => {
    scope(() => {
      const table = new nn.Embedding(4, 1, { sparse: true });
      const twice = add(sum(table.call(int64([0, 1]))), sum(table.call(int64([1, 2]))));
      twice.backward();
      expect(table.weight.grad).toBeNull();
      expect(table.weight.sparseGrad?.indices.shape).toEqual([4]);
      sum(table.call(int64([2]))).backward();
      expect(table.weight.sparseGrad?.toDense().toArray()).toEqual([[1], [2], [2], [0]]);
      table.zeroGrad();
      expect(table.weight.sparseGrad).toBeNull();
      table.dispose();
    });
  });
  test('becomes dense where a dense one meets it, in either order', () => {
    for (const compiled of [false, true]) {
      scope(() => {
        const weight = keep(
          tensor(
            [
              [1, 2],
              [3, 4],
              [5, 6],
            ],
            { requiresGrad: true },
          ),
        );
        const step = (index: Tensor, x: Tensor): void => {
          const rows = embedding(index, weight, { sparse: true });
          // Tied weights: the table is the output layer as well.
          sum(matmul(rows, weight.t())).backward();
          sum(mul(weight, x)).backward();
          sum(embedding(index, weight, { sparse: true })).backward();
        };
        const compiledStep = jit(step);
        (compiled ? compiledStep : step)(int64([2, 0]), tensor(10));
        // Rows used: the sum of all rows, and 1; each row: the sum of the rows used, and 10.
        expect(weight.sparseGrad).toBeNull();
        expect(weight.grad?.toArray()).toEqual([
          [9 + 1 + 6 + 10, 12 + 1 + 8 + 10],
          [6 + 10, 8 + 10],
          [9 + 1 + 6 + 10, 12 + 1 + 8 + 10],
        ]);
        compiledStep.dispose();
        weight.grad?.dispose();
        weight.dispose();
      });
    }
  });
  test('is dense in grad(), with a hook, and for a table that is computed', () => {
    scope(() => {
      const weight = tensor([[1], [2]], { requiresGrad: true });
      const index = int64([1, 1]);
      expect(grad(sum(embedding(index, weight, { sparse: true })), weight).toArray()).toEqual([[0], [2]]);
      sum(embedding(index, mul(weight, 3), { sparse: true })).backward();
      expect(weight.grad?.toArray()).toEqual([[0], [6]]);
      weight.grad = null;
      const hook = weight.registerHook((g) => mul(g, 10));
      sum(embedding(index, weight, { sparse: true })).backward();
      expect(numbers(weight.grad as unknown as Tensor)).toEqual([0, 20]);
      hook.remove();
    });
  });
  test('is clipped as a dense one is', () => {
    scope(() => {
      const run = (sparse: boolean): [number, number[]] => {
        manualSeed(6);
        const table = new nn.Embedding(4, 2, { sparse });
        const out = table.call(int64([1, 3, 1]));
        sum(mul(out, out)).backward();
        const norm = Number(clipGradNorm(table.weight, 0.5).item());
        clipGradValue(table.weight, 0.2);
        const result = numbers(table.weight.sparseGrad?.toDense() ?? (table.weight.grad as Tensor));
        table.dispose();
        return [norm, result];
      };
      const [norm, values] = run(true);
      const [wantedNorm, wanted] = run(false);
      expect(norm).toBeCloseTo(wantedNorm, 5);
      values.forEach((v, i) => {
        expect(v).toBeCloseTo(wanted[i], 6);
      });
    });
  });
  test('leaves a compiled step with as many rows as it used, and the table is changed in place', () => {
    scope(() => {
      manualSeed(7);
      const count = 50_000;
      const table = new nn.Embedding(count, 4, { sparse: true });
      const before = table.weight.detach().clone();
      const step = jit((index: Tensor): Tensor => {
        table.zeroGrad();
        const loss = sum(mul(table.call(index), 2));
        loss.backward();
        noGrad(() => {
          const g = table.weight.sparseGrad;
          if (g !== null) addRows(table.weight, g.indices, mul(g.values, -0.5));
        });
        return loss.detach();
      });
      step(int64([7, 9, 7])).dispose();
      expect(table.weight.sparseGrad?.indices.shape).toEqual([3]);
      const change = table.weight.detach().sub(before);
      expect(numbers(change.sum(1)).flatMap((v, i) => (v === 0 ? [] : [[i, Math.round(v)]]))).toEqual([
        [7, -8],
        [9, -4],
      ]);
      // No buffer of the table's size: only the rows.
      expect(step.programs[0].arenaBytes).toBeLessThan(4096);
      expect(String(step.programs[0])).not.toMatch(new RegExp(`work ${count}`));
      step.dispose();
      table.dispose();
    });
  });
});

describe('rows of a table', () => {
  test('are read, added to and set in place; numbers beyond the end name none', () => {
    for (const compiled of [false, true]) {
      scope(() => {
        const table = keep(zeros([3, 2]));
        const change = (index: Tensor, values: Tensor): Tensor =>
          noGrad(() => {
            addRows(table, index, values);
            setRows(table, int64([0, 3]), values.narrow(0, 0, 2));
            return selectRows(table, int64([2, 1]));
          });
        const compiledChange = jit(change);
        const rows = (compiled ? compiledChange : change)(
          int64([1, -1, 1, 9]),
          tensor([
            [1, 1],
            [2, 2],
            [3, 3],
            [4, 4],
          ]),
        );
        expect(rows.toArray()).toEqual([
          [2, 2],
          [4, 4],
        ]);
        expect(table.toArray()).toEqual([
          [1, 1],
          [4, 4],
          [2, 2],
        ]);
        compiledChange.dispose();
        table.dispose();
      });
    }
  });
  test('are written in parallel for many values with the same result', () => {
    scope(() => {
      manualSeed(8);
      const values = randn([4096, 8]);
      const index = int64(Array.from({ length: 4096 }, (_, i) => (i * 7) % 1000));
      const table = zeros([1000, 8]);
      noGrad(() => setRows(table, index, values));
      const wanted = new Float32Array(8000);
      const given = values.dataSync() as Float32Array;
      for (let i = 0; i < 4096; i++) wanted.set(given.subarray(8 * i, 8 * i + 8), 8 * ((i * 7) % 1000));
      expect(Array.from(table.dataSync())).toEqual(Array.from(wanted));
    });
  });
  test('must fit', () => {
    scope(() => {
      expect(() => setRows(zeros([3, 2]), int64([1]), zeros([1, 3]))).toThrow(ShapeError);
    });
  });
});
