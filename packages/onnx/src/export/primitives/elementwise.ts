/** Elementwise primitives. */
import { type DType, isFloat } from 'trireme';
import type { GraphNode, Shape } from 'trireme/graph';
import { type Emitter, elementCode, type Mapper } from '../emitter.js';
import type { OutAttributes, OutValue } from '../graph.js';

/** Small steps of one node: operands of one shape, results of the same. */
class Elements {
  readonly em: Emitter;
  readonly shape: Shape;
  readonly dtype: DType;
  constructor(em: Emitter, shape: Shape, dtype: DType) {
    this.em = em;
    this.shape = shape;
    this.dtype = dtype;
  }
  op(op: string, inputs: readonly (OutValue | number)[], dtype = this.dtype, attributes: OutAttributes = {}): OutValue {
    const names = inputs.map((x) => (typeof x === 'number' ? this.em.scalar(x, this.dtype) : x.name));
    return this.em.op(op, names, dtype, this.shape, attributes);
  }
  test(op: string, a: OutValue | number, b: OutValue | number): OutValue {
    return this.op(op, [a, b], 'bool');
  }
  where(condition: OutValue, a: OutValue | number, b: OutValue | number, dtype = this.dtype): OutValue {
    const name = (x: OutValue | number): string => (typeof x === 'number' ? this.em.scalar(x, dtype) : x.name);
    return this.em.op('Where', [condition.name, name(a), name(b)], dtype, this.shape);
  }
  cast(x: OutValue, dtype: DType): OutValue {
    return this.em.op('Cast', [x.name], dtype, this.shape, { to: elementCode[dtype] });
  }
}

/** A mapper from a function of the operands. */
function pointwise(write: (e: Elements, inputs: readonly OutValue[], node: GraphNode) => OutValue): Mapper {
  return (node, em) => {
    const { inputs, shape } = em.elementwise(node.inputs);
    em.define(node.outputs[0], write(new Elements(em, shape, inputs[0].dtype), inputs, node));
  };
}
const one = (op: string): Mapper => pointwise((e, inputs) => e.op(op, inputs));
/** One operator for numbers, another for truth values. */
const orLogical = (op: string, ofBool: string): Mapper =>
  pointwise((e, inputs) => {
    if (e.dtype === 'bool') return e.op(ofBool, inputs, 'bool');
    return e.op(op, inputs);
  });
const comparison = (op: string): Mapper =>
  pointwise((e, [a, b]) => {
    if (a.dtype !== 'bool' || op === 'Equal') return e.op(op, [a, b], 'bool');
    return e.op(op, [e.cast(a, 'int32'), e.cast(b, 'int32')], 'bool');
  });
const truth = (e: Elements, x: OutValue): OutValue => (x.dtype === 'bool' ? x : e.cast(x, 'bool'));
const logical = (op: string): Mapper => pointwise((e, [a, b]) => e.op(op, [truth(e, a), truth(e, b)], 'bool'));
const bitwise = (op: string, ofBool: string): Mapper =>
  pointwise((e, inputs) => {
    if (e.dtype === 'bool') return e.op(ofBool, inputs, 'bool');
    e.em.require(18, op);
    return e.op(op, inputs);
  });

/** exp(x) - 1 without cancellation near 0: 2 t / (1 - t) with t = tanh(x / 2). */
function expm1(e: Elements, x: OutValue): OutValue {
  const t = e.op('Tanh', [e.op('Mul', [x, 0.5])]);
  const near = e.op('Div', [e.op('Add', [t, t]), e.op('Sub', [1, t])]);
  const far = e.op('Sub', [e.op('Exp', [x]), 1]);
  return e.where(e.test('Less', e.op('Abs', [x]), 1), near, far);
}
/** log(1 + x) without cancellation near 0: 2 atanh(x / (2 + x)). */
function log1p(e: Elements, x: OutValue): OutValue {
  const t = e.op('Atanh', [e.op('Div', [x, e.op('Add', [x, 2])])]);
  const far = e.op('Log', [e.op('Add', [x, 1])]);
  return e.where(e.test('Less', e.op('Abs', [x]), 0.5), e.op('Add', [t, t]), far);
}
/** The quadrant from the signs of both. */
function atan2(e: Elements, y: OutValue, x: OutValue): OutValue {
  const plain = e.op('Atan', [e.op('Div', [y, x])]);
  const left = e.where(e.test('Less', y, 0), e.op('Sub', [plain, Math.PI]), e.op('Add', [plain, Math.PI]));
  const upright = e.op('Mul', [e.op('Sign', [y]), Math.PI / 2]);
  return e.where(e.test('Greater', x, 0), plain, e.where(e.test('Less', x, 0), left, upright));
}
function remainder(e: Elements, x: OutValue, y: OutValue): OutValue {
  if (!isFloat(e.dtype)) return e.op('Mod', [x, y]);
  return e.op('Sub', [x, e.op('Mul', [y, e.op('Floor', [e.op('Div', [x, y])])])]);
}
function floorDivide(e: Elements, x: OutValue, y: OutValue): OutValue {
  if (isFloat(e.dtype)) return e.op('Floor', [e.op('Div', [x, y])]);
  return e.op('Div', [e.op('Sub', [x, e.op('Mod', [x, y])]), y]);
}

/** `max`/`min` attributes of a clamp, which are JSON numbers. */
function limit(value: unknown): number | null {
  return typeof value === 'number' ? value : null;
}

/** A copy: another name for the same elements. */
function identity(node: GraphNode, em: Emitter): void {
  em.define(node.outputs[0], em.elementwise(node.inputs).inputs[0]);
}

export const elementwiseMappers: Readonly<Record<string, Mapper>> = {
  neg: one('Neg'),
  abs: one('Abs'),
  sign: one('Sign'),
  floor: one('Floor'),
  ceil: one('Ceil'),
  round: one('Round'),
  trunc: pointwise((e, [x]) => e.op('Mul', [e.op('Sign', [x]), e.op('Floor', [e.op('Abs', [x])])])),
  sqrt: one('Sqrt'),
  rsqrt: pointwise((e, [x]) => e.op('Reciprocal', [e.op('Sqrt', [x])])),
  reciprocal: one('Reciprocal'),
  exp: one('Exp'),
  exp2: pointwise((e, [x]) => e.op('Pow', [2, x])),
  expm1: pointwise((e, [x]) => expm1(e, x)),
  log: one('Log'),
  log2: pointwise((e, [x]) => e.op('Mul', [e.op('Log', [x]), Math.LOG2E])),
  log10: pointwise((e, [x]) => e.op('Div', [e.op('Log', [x]), Math.LN10])),
  log1p: pointwise((e, [x]) => log1p(e, x)),
  sin: one('Sin'),
  cos: one('Cos'),
  tan: one('Tan'),
  asin: one('Asin'),
  acos: one('Acos'),
  atan: one('Atan'),
  sinh: one('Sinh'),
  cosh: one('Cosh'),
  tanh: one('Tanh'),
  asinh: one('Asinh'),
  acosh: one('Acosh'),
  atanh: one('Atanh'),
  erf: one('Erf'),
  erfc: pointwise((e, [x]) => e.op('Sub', [1, e.op('Erf', [x])])),
  sigmoid: one('Sigmoid'),
  relu: pointwise((e, [x]) => (isFloat(e.dtype) ? e.op('Relu', [x]) : e.op('Max', [x, 0]))),
  clamp: pointwise((e, [x], { attrs }) => {
    const [min, max] = [limit(attrs.min), limit(attrs.max)];
    const name = (value: number | null): string => (value === null ? '' : e.em.scalar(value, e.dtype));
    const inputs = max === null ? (min === null ? [] : [name(min)]) : [name(min), name(max)];
    return inputs.length === 0 ? x : e.em.op('Clip', [x.name, ...inputs], e.dtype, e.shape);
  }),
  isNaN: pointwise((e, [x]) => (isFloat(x.dtype) ? e.op('IsNaN', [x], 'bool') : e.test('Less', x, x))),
  isInf: pointwise((e, [x]) => (isFloat(x.dtype) ? e.op('IsInf', [x], 'bool') : e.test('Less', x, x))),
  isFinite: pointwise((e, [x]) => {
    if (!isFloat(x.dtype)) return e.test('Equal', x, x);
    return e.op('Not', [e.op('Or', [e.op('IsInf', [x], 'bool'), e.op('IsNaN', [x], 'bool')], 'bool')], 'bool');
  }),
  logicalNot: pointwise((e, [x]) => e.op('Not', [truth(e, x)], 'bool')),
  bitwiseNot: pointwise((e, [x]) => {
    if (e.dtype === 'bool') return e.op('Not', [x], 'bool');
    e.em.require(18, 'BitwiseNot');
    return e.op('BitwiseNot', [x]);
  }),
  cast: (node, em) => {
    const [{ value }] = node.inputs;
    const [out] = node.outputs;
    if (value.dtype === out.dtype) return identity(node, em);
    em.define(out, em.cast(em.elementwise(node.inputs).inputs[0], out.dtype));
  },
  barrier: identity,

  add: orLogical('Add', 'Or'),
  sub: one('Sub'),
  mul: orLogical('Mul', 'And'),
  div: one('Div'),
  floorDivide: pointwise((e, [x, y]) => floorDivide(e, x, y)),
  remainder: pointwise((e, [x, y]) => remainder(e, x, y)),
  fmod: pointwise((e, inputs) => e.op('Mod', inputs, e.dtype, { fmod: 1 })),
  pow: one('Pow'),
  maximum: orLogical('Max', 'Or'),
  minimum: orLogical('Min', 'And'),
  atan2: pointwise((e, [y, x]) => atan2(e, y, x)),
  copysign: pointwise((e, [x, y]) => {
    const magnitude = e.op('Abs', [x]);
    return e.where(e.test('Less', y, 0), e.op('Neg', [magnitude]), magnitude);
  }),
  hypot: pointwise((e, [x, y]) => e.op('Sqrt', [e.op('Add', [e.op('Mul', [x, x]), e.op('Mul', [y, y])])])),
  logaddexp: pointwise((e, [x, y]) => {
    const distance = e.op('Neg', [e.op('Abs', [e.op('Sub', [x, y])])]);
    return e.op('Add', [e.op('Max', [x, y]), e.op('Softplus', [distance])]);
  }),
  eq: comparison('Equal'),
  ne: pointwise((e, [a, b]) => e.op('Not', [e.op('Equal', [a, b], 'bool')], 'bool')),
  lt: comparison('Less'),
  le: comparison('LessOrEqual'),
  gt: comparison('Greater'),
  ge: comparison('GreaterOrEqual'),
  logicalAnd: logical('And'),
  logicalOr: logical('Or'),
  logicalXor: logical('Xor'),
  bitwiseAnd: bitwise('BitwiseAnd', 'And'),
  bitwiseOr: bitwise('BitwiseOr', 'Or'),
  bitwiseXor: bitwise('BitwiseXor', 'Xor'),
  // BitShift takes unsigned integers only.
  leftShift: pointwise((e, [x, y]) => e.op('Mul', [x, e.op('Pow', [2, y])])),
  rightShift: pointwise((e, [x, y]) => floorDivide(e, x, e.op('Pow', [2, y]))),
  where: (node, em) => {
    const { inputs, shape } = em.elementwise(node.inputs);
    const [condition, a, b] = inputs;
    em.define(node.outputs[0], em.op('Where', [condition.name, a.name, b.name], a.dtype, shape));
  },
};
