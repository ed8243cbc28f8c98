/** Comparisons, truth values and the choice by them. */
import { eq, ge, gt, le, logicalAnd, logicalNot, logicalOr, logicalXor, lt, type Tensor, where } from 'trireme';
import { inOrder } from '../engine/carrier.js';
import { tensorAt } from './arguments.js';
import type { OpFunction, OpTable } from './definition.js';
import { aligned, type BinaryRule, binary, combine, type Operand, operandOf, unary } from './elementwise.js';
import { comparison, foldsOnHost, hostStringsEqual, hostWhere } from './host.js';
import { computed } from './tensors.js';

type Order = (x: number | bigint, y: number | bigint) => boolean;

function compare(device: (a: Operand, b: Operand) => Tensor, host: Order): BinaryRule {
  return {
    device: (a, b, type) => (type === 'uint64' ? device(inOrder(a as Tensor, type), inOrder(b as Tensor, type)) : device(a, b)),
    host: comparison(host),
    result: 'bool',
  };
}
const truth = (device: (a: Operand, b: Operand) => Tensor, host: (x: number, y: number) => number): OpFunction =>
  binary({ device, host: { number: host }, result: 'bool' });

const equalRule = compare(eq, (x, y) => x === y);

export const logicOps = {
  Equal: (inputs, ctx) => {
    const a = tensorAt(inputs, 0, ctx);
    const b = aligned(a, tensorAt(inputs, 1, ctx), ctx);
    if (a.type !== 'string') return combine(a, b, equalRule, ctx);
    return hostStringsEqual(a, b) ?? ctx.fail('the shapes do not broadcast');
  },
  Greater: binary(compare(gt, (x, y) => x > y)),
  GreaterOrEqual: binary(compare(ge, (x, y) => x >= y)),
  Less: binary(compare(lt, (x, y) => x < y)),
  LessOrEqual: binary(compare(le, (x, y) => x <= y)),
  And: truth(logicalAnd, (x, y) => x & y),
  Or: truth(logicalOr, (x, y) => x | y),
  Xor: truth(logicalXor, (x, y) => x ^ y),
  Not: unary(logicalNot, { number: (x) => 1 - x }),
  Where: (inputs, ctx) => {
    const [condition, a, b] = [0, 1, 2].map((k) => tensorAt(inputs, k, ctx));
    if (a.type === 'string' || foldsOnHost([condition, a, b])) {
      return hostWhere(condition, a, b) ?? ctx.fail('the shapes do not broadcast');
    }
    const x = operandOf(a, condition);
    const y = operandOf(b, condition);
    // Two numbers would have no dtype.
    return computed(a.type, () => where(condition.tensor, typeof y === 'object' ? x : a.tensor, y));
  },
} satisfies OpTable;
