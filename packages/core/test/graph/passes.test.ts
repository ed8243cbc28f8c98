import { describe, expect, test } from 'vitest';
import { lowerProgram } from '../../src/graph/compile.js';
import { composeLayout, denseLayout, permuteLayout, sliceLayout } from '../../src/graph/layout.js';
import { algebraic } from '../../src/graph/passes/algebraic.js';
import { cse } from '../../src/graph/passes/cse.js';
import { dce } from '../../src/graph/passes/dce.js';
import { fold } from '../../src/graph/passes/fold.js';
import { elideCopies } from '../../src/graph/passes/layout.js';
import { splitReductions } from '../../src/graph/passes/split-reduce.js';
import type { Program } from '../../src/graph/program.js';
import { currentTrace, Trace, withTrace } from '../../src/graph/trace.js';
import {
  add,
  concat,
  indexAdd,
  indexSelect,
  jit,
  mul,
  neg,
  randint,
  randn,
  sub,
  sum,
  type Tensor,
  tensor,
  zeros,
} from '../../src/index.js';

/** The program a function records, before any pass. */
function record(fn: () => readonly Tensor[]): Program {
  const trace = new Trace('test', null);
  try {
    return withTrace(trace, () => trace.finish(fn().map((t) => trace.operand(t))));
  } finally {
    trace.abandon();
  }
}
const names = (program: Program): string[] => program.nodes.map((n) => n.primitive.name);
const count = (program: Program, name: string): number => names(program).filter((n) => n === name).length;

describe('passes', () => {
  const x = randn([4, 6]);
  test('dce drops what reaches no output and no state', () => {
    const state = zeros([6]);
    const program = record(() => {
      mul(x, 3).tanh();
      state.add_(sum(x, 0));
      return [add(x, 1)];
    });
    const after = dce(program);
    expect(count(program, 'tanh')).toBe(1);
    expect(count(after, 'tanh')).toBe(0);
    expect(after.updates).toHaveLength(1);
    expect(count(after, 'sum')).toBe(1);
  });
  test('fold computes elementwise operations on constants', () => {
    const program = record(() => [mul(x, add(neg(tensorConstant(2)), 5))]);
    const after = dce(fold(program));
    expect(names(after).sort()).toEqual(['full', 'mul']);
    expect(after.nodes.find((n) => n.primitive.name === 'full')?.attrs.value).toBe(3);
  });
  test('cse merges equal operations on equal operands, and nothing else', () => {
    const program = record(() => [add(x.exp(), x.exp()), x.sum(0), x.sum(1)]);
    const after = cse(program);
    expect(count(after, 'exp')).toBe(1);
    expect(count(after, 'sum')).toBe(2);
  });
  test('cse keeps random draws apart', () => {
    const program = cse(record(() => [add(randn([4]), randn([4]))]));
    expect(names(program).filter((n) => n.startsWith('random'))).toHaveLength(2);
  });
  test('algebraic drops multiplications by one and double negations, but not additions of zero', () => {
    const program = record(() => [mul(x, 1), neg(neg(x)), sub(x, 0), add(x, 0)]);
    expect(names(dce(algebraic(program)))).toEqual(['full', 'add']);
    // x + 0 is 0 for x = -0.
    expect(Object.is(jit((t: Tensor) => add(t, 0))(tensor([-0])).dataSync()[0], 0)).toBe(true);
  });
  test('algebraic scatters a scaled sparse gradient into its table', () => {
    const table = randn([100, 4]);
    const index = randint(100, [8]);
    const rows = randn([8, 4]);
    const program = record(() => {
      table.sub_(mul(indexAdd(zeros([100, 4]), 0, index, rows), 0.1));
      return [];
    });
    const after = dce(algebraic(program));
    expect(count(after, 'sub')).toBe(0);
    const scatter = after.nodes.find((n) => n.primitive.name === 'indexAdd');
    expect(scatter?.inputs[0].value).toBe(after.inputs.find((v) => v.shape[0] === 100));
    // In the table's own memory: nothing of its size is copied.
    expect(lowerProgram(program).arenaBytes).toBeLessThan(100 * 4 * 4);
  });
  test('layout reads through dense copies of views', () => {
    const program = record(() => [x.t().contiguous().mul(2), concat([x.narrow(0, 1, 2).contiguous(), x], 0)]);
    const after = dce(elideCopies(program));
    expect(names(after).filter((n) => n === 'cast' || n === 'copy')).toEqual([]);
  });
  test('splitReductions gives threads something to share', () => {
    const program = record(() => [sum(randnLike([512, 512]))]);
    const after = splitReductions(program);
    expect(count(after, 'sum')).toBe(2);
    expect(count(splitReductions(record(() => [sum(x)])), 'sum')).toBe(1);
  });
});

/** A constant of the program under construction. */
function tensorConstant(value: number): Tensor {
  expect(currentTrace()).not.toBeNull();
  return zeros([4, 6]).add(value).mul(1);
}
function randnLike(shape: number[]): Tensor {
  return zeros(shape).add(1);
}

describe('the memory plan', () => {
  test('reuses memory in a chain: two buffers are enough', () => {
    const w = Array.from({ length: 8 }, () => randn([32, 32]));
    const { arenaBytes } = jit((x: Tensor) => w.reduce((h, m) => h.matmul(m), x)).compile(randn([64, 32]));
    expect(arenaBytes).toBe(2 * 64 * 32 * 4);
  });
  test('needs none when one kernel does it all', () => {
    expect(jit((x: Tensor) => x.mul(2).tanh().add(1)).compile(randn([8, 8])).arenaBytes).toBe(0);
  });
  test('updates state in place', () => {
    const w = randn([256, 256]);
    expect(jit((g: Tensor) => void w.sub_(mul(g, 0.1))).compile(randn([256, 256])).arenaBytes).toBe(0);
  });
  test('a lookup before the update of its table sees the old rows', () => {
    const table = tensor([[1], [2], [3]]);
    const index = tensor([0, 2], { dtype: 'int64' });
    const f = jit(() => {
      const before = indexSelect(table, 0, index).mul(1);
      table.mul_(10);
      return before;
    });
    expect(Array.from(f().dataSync())).toEqual([1, 3]);
    expect(Array.from(f().dataSync())).toEqual([10, 30]);
  });
});

describe('composed layouts', () => {
  test('of a permuted, sliced and flipped view are exact or refused', () => {
    const inner = sliceLayout(permuteLayout(denseLayout([4, 6]), [1, 0]), 0, 5, 3, -2);
    const shape = inner.shape;
    for (const outer of [
      denseLayout(shape),
      permuteLayout(denseLayout(shape), [1, 0]),
      sliceLayout(denseLayout(shape), 1, 3, 2, -1),
      denseLayout([12]),
    ]) {
      const composed = composeLayout(outer, shape, inner);
      if (composed === null) {
        expect(outer.shape).toEqual([12]);
        continue;
      }
      const at = (layout: typeof inner, flat: number): number => {
        let rest = flat;
        let offset = layout.offset;
        for (let i = layout.shape.length - 1; i >= 0; i--) {
          offset += (rest % layout.shape[i]) * layout.strides[i];
          rest = Math.floor(rest / layout.shape[i]);
        }
        return offset;
      };
      for (let i = 0; i < 12 && i < outer.shape.reduce((a, b) => a * b, 1); i++) expect(at(composed, i)).toBe(at(inner, at(outer, i)));
    }
  });
});
