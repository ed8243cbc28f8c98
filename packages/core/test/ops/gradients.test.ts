/** The gradient rule of every primitive against differences, and the gradient of the gradient. */
import { describe, expect, test } from 'vitest';
import { checkGrads } from '../../src/autograd/check.js';
import { allPrimitives } from '../../src/ops/table.js';
import { scope } from '../../src/tensor/scope.js';
import { gradientRows } from './gradient-rows.js';

test('every primitive has a name of its own', () => {
  const names = allPrimitives.map((p) => p.name);
  expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
});

test('every primitive with a gradient has a row, and every row a primitive', () => {
  const differentiable = allPrimitives.filter((p) => p.vjp !== null).map((p) => p.name);
  expect(Object.keys(gradientRows).sort()).toEqual(differentiable.sort());
});

describe('gradients agree with differences', () => {
  for (const [name, rows] of Object.entries(gradientRows)) {
    test(`${name} (${rows.length})`, () => {
      const failures: string[] = [];
      rows.forEach(({ fn, inputs, order = 2 }, i) => {
        try {
          scope(() => checkGrads(fn, inputs(), { order, name, atol: 2e-5 }));
        } catch (error) {
          failures.push(`row ${i}: ${error instanceof Error ? error.message : String(error)}`);
        }
      });
      if (failures.length > 0) expect.fail(failures.join('\n'));
    });
  }
});
