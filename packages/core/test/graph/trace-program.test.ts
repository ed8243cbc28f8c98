import { describe, expect, it } from 'vitest';
import { printProgram, traceProgram } from '../../src/graph/index.js';
import { jit } from '../../src/jit.js';
import { Linear } from '../../src/nn/index.js';
import { ones, relu, tensor } from '../../src/ops/index.js';

describe('traceProgram', () => {
  it('records a function on types, and says what memory it used', () => {
    const scale = tensor([2, 3]);
    const { program, captured, result } = traceProgram(
      (x) => ({ scaled: x.mul(scale), kind: 'pair' }),
      [{ dtype: 'float32', shape: [4, 2] }],
      'scaled',
    );
    expect(printProgram(program).split('\n')).toEqual([
      'scaled(%0: float32[4, 2], %1: float32[2])',
      '  %2: float32[4, 2] = mul(%0, %1[4, 2; 0, 1])',
      '  return %2',
    ]);
    expect(captured.map((t) => t.storage)).toEqual([scale.storage]);
    expect([...captured[0].dataSync()]).toEqual([2, 3]);
    expect(result).toEqual({ scaled: 0, kind: 'pair' });
    for (const t of captured) t.dispose();
  });

  it('names the modules of operations', () => {
    const layer = new Linear(2, 3);
    const { program, captured } = traceProgram((x) => relu(layer.call(x)), [{ dtype: 'float32', shape: [1, 2] }]);
    expect(program.nodes.map(({ primitive, scope }) => `${primitive.name} ${scope}`)).toEqual(['contract Linear', 'add Linear', 'relu ']);
    for (const t of captured) t.dispose();
    layer.dispose();
  });

  it('refuses to read values, and to be called while another function is recorded', () => {
    expect(() => traceProgram((x) => x.item(), [{ dtype: 'float32', shape: [] }])).toThrow(/read while program was being traced/);
    const nested = jit((x) => traceProgram(() => x, []).result);
    expect(() => nested(ones([1]))).toThrow(/inside of another/);
  });
});
