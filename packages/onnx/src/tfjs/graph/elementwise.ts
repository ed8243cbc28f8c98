/** Element-wise nodes. */
import type { TfNode } from './node.js';
import { type Placed, type Translator, toFirst, transposeHost } from './translator.js';

/** Writes a node; gives its outputs. */
export type Rule = (node: TfNode, t: Translator) => readonly Placed[];
export type RuleTable = { readonly [op: string]: Rule };

export const single = (name: string): Placed[] => [{ name, moved: false }];

/** Keeps the layout of its input. */
export function keeping(value: Placed, name: string, t: Translator): Placed[] {
  return value.moved ? [t.moved(name, t.rankOf(value))] : single(name);
}

const unary =
  (opType: string, attributes: Parameters<Translator['emit']>[2] = {}): Rule =>
  (node, t) => {
    const x = t.input(node, 0);
    return keeping(x, t.emit(opType, [x.name], attributes, node.name), t);
  };

/** Two values laid out alike, so that they broadcast as in TensorFlow; and whether that is with channels at axis 1. */
export function alike(a: Placed, b: Placed, t: Translator): { readonly a: string; readonly b: string; readonly rank: number | null } {
  if (!a.moved && !b.moved) return { a: a.name, b: b.name, rank: null };
  if (a.moved && b.moved && t.rankOf(a) === t.rankOf(b)) return { a: a.name, b: b.name, rank: t.rankOf(a) };
  const [moved, other] = a.moved ? [a, b] : [b, a];
  const rank = t.rankOf(moved);
  const known = other.moved ? undefined : t.constantOf(other);
  let name: string | undefined;
  if (known !== undefined && known.shape.length <= 1) {
    const channels = known.shape[0] ?? 1;
    const shape = known.data.length === 1 ? [] : [channels, ...new Array<number>(rank - 2).fill(1)];
    name = t.constant(other.name, { ...known, shape });
  } else if (known !== undefined && known.shape.length === rank) {
    name = t.constant(other.name, { type: known.type, ...transposeHost(known.data, known.shape, toFirst(rank)) });
  }
  if (name === undefined) return { a: t.plain(a), b: t.plain(b), rank: null };
  return a.moved ? { a: a.name, b: name, rank } : { a: name, b: b.name, rank };
}

export function binaryOf(opType: string, x: Placed, y: Placed, t: Translator, hint = opType): Placed {
  const { a, b, rank } = alike(x, y, t);
  const name = t.emit(opType, [a, b], {}, hint);
  return rank === null ? { name, moved: false } : t.moved(name, rank);
}
const binary =
  (opType: string): Rule =>
  (node, t) => [binaryOf(opType, t.input(node, 0), t.input(node, 1), t, node.name)];

const negated =
  (opType: string): Rule =>
  (node, t) => {
    const value = binaryOf(opType, t.input(node, 0), t.input(node, 1), t, node.name);
    return keeping(value, t.emit('Not', [value.name]), t);
  };

/** Applies an activation that is fused into another node. */
export function activate(value: Placed, op: string, node: TfNode, t: Translator, alpha?: Placed): Placed {
  switch (op) {
    case 'Relu':
    case 'Elu':
    case 'Sigmoid':
    case 'Tanh':
      return keeping(value, t.emit(op, [value.name]), t)[0];
    case 'Relu6':
      return keeping(value, t.emit('Clip', [value.name, t.float(0), t.float(6)]), t)[0];
    case 'LeakyRelu':
      return keeping(value, t.emit('LeakyRelu', [value.name], { alpha: { float: node.float('leakyrelu_alpha', 0.2) } }), t)[0];
    case 'Prelu':
      return prelu(value, alpha ?? node.fail('the slope is missing'), t);
    default:
      return node.fail(`the fused operation ${op}`, 'BiasAdd, Relu, Relu6, Elu, LeakyRelu, Prelu, Sigmoid, Tanh');
  }
}

function prelu(value: Placed, alpha: Placed, t: Translator): Placed {
  const { a, b, rank } = alike(value, alpha, t);
  const name = t.emit('PRelu', [a, b]);
  return rank === null ? { name, moved: false } : t.moved(name, rank);
}

/** TensorFlow's remainder has the sign of the divisor, as ONNX's of integers; for floats it is x - floor(x / y) * y. */
const floorMod: Rule = (node, t) => {
  const [x, y] = [t.input(node, 0), t.input(node, 1)];
  if (node.type('T', 'float32') === 'int32') return [binaryOf('Mod', x, y, t)];
  const quotient = binaryOf('Div', x, y, t);
  const floor = keeping(quotient, t.emit('Floor', [quotient.name]), t)[0];
  return [binaryOf('Sub', x, binaryOf('Mul', floor, y, t), t)];
};
const floorDiv: Rule = (node, t) => {
  const [x, y] = [t.input(node, 0), t.input(node, 1)];
  if (node.type('T', 'float32') !== 'int32') {
    const quotient = binaryOf('Div', x, y, t);
    return keeping(quotient, t.emit('Floor', [quotient.name]), t);
  }
  // Integer division of ONNX truncates: what is left over decides.
  const rest = binaryOf('Mod', x, y, t);
  return [binaryOf('Div', binaryOf('Sub', x, rest, t), y, t)];
};

const select: Rule = (node, t) => {
  const names = [0, 1, 2].map((k) => t.plain(t.input(node, k)));
  return single(t.emit('Where', names, {}, node.name));
};
const addN: Rule = (node, t) => {
  const values = node.inputs.map((_, k) => t.input(node, k));
  return [values.reduce((a, b) => binaryOf('Add', a, b, t))];
};
const cast: Rule = (node, t) => {
  const x = t.input(node, 0);
  const codes: Readonly<Record<string, number>> = { float32: 1, int32: 6, bool: 9 };
  const code = codes[node.type('DstT', 'float32')] ?? node.fail('a cast to text', 'float32, int32 or bool');
  return keeping(x, t.emit('Cast', [x.name], { to: code }), t);
};

export const elementwiseRules = {
  Add: binary('Add'),
  AddV2: binary('Add'),
  BiasAdd: binary('Add'),
  Sub: binary('Sub'),
  Mul: binary('Mul'),
  RealDiv: binary('Div'),
  Div: binary('Div'),
  Maximum: binary('Max'),
  Minimum: binary('Min'),
  Pow: binary('Pow'),
  FloorMod: floorMod,
  Mod: floorMod,
  FloorDiv: floorDiv,
  SquaredDifference: (node, t) => {
    const d = binaryOf('Sub', t.input(node, 0), t.input(node, 1), t);
    return keeping(d, t.emit('Mul', [d.name, d.name]), t);
  },
  DivNoNan: (node, t) => {
    const [x, y] = [t.input(node, 0), t.input(node, 1)].map((value) => t.plain(value));
    const zero = t.emit('Equal', [y, t.float(0)]);
    return single(t.emit('Where', [zero, t.float(0), t.emit('Div', [x, y])]));
  },
  AddN: addN,
  Greater: binary('Greater'),
  GreaterEqual: binary('GreaterOrEqual'),
  Less: binary('Less'),
  LessEqual: binary('LessOrEqual'),
  Equal: binary('Equal'),
  NotEqual: negated('Equal'),
  LogicalAnd: binary('And'),
  LogicalOr: binary('Or'),
  LogicalNot: unary('Not'),
  Select: select,
  SelectV2: select,
  Abs: unary('Abs'),
  Acos: unary('Acos'),
  Acosh: unary('Acosh'),
  Asin: unary('Asin'),
  Asinh: unary('Asinh'),
  Atan: unary('Atan'),
  Atanh: unary('Atanh'),
  Ceil: unary('Ceil'),
  Cos: unary('Cos'),
  Cosh: unary('Cosh'),
  Elu: unary('Elu'),
  Erf: unary('Erf'),
  Exp: unary('Exp'),
  Floor: unary('Floor'),
  IsNan: unary('IsNaN'),
  IsInf: unary('IsInf'),
  Log: unary('Log'),
  Neg: unary('Neg'),
  Relu: unary('Relu'),
  Round: unary('Round'),
  Selu: unary('Selu'),
  Sigmoid: unary('Sigmoid'),
  Sign: unary('Sign'),
  Sin: unary('Sin'),
  Sinh: unary('Sinh'),
  Softplus: unary('Softplus'),
  Softsign: unary('Softsign'),
  Sqrt: unary('Sqrt'),
  Tan: unary('Tan'),
  Tanh: unary('Tanh'),
  Reciprocal: unary('Reciprocal'),
  Inv: unary('Reciprocal'),
  Square: (node, t) => {
    const x = t.input(node, 0);
    return keeping(x, t.emit('Mul', [x.name, x.name]), t);
  },
  Rsqrt: (node, t) => {
    const x = t.input(node, 0);
    return keeping(x, t.emit('Reciprocal', [t.emit('Sqrt', [x.name])]), t);
  },
  Log1p: (node, t) => {
    const x = t.input(node, 0);
    return keeping(x, t.emit('Log', [t.emit('Add', [x.name, t.float(1)])]), t);
  },
  Expm1: (node, t) => {
    const x = t.input(node, 0);
    return keeping(x, t.emit('Sub', [t.emit('Exp', [x.name]), t.float(1)]), t);
  },
  Relu6: (node, t) => [activate(t.input(node, 0), 'Relu6', node, t)],
  LeakyRelu: (node, t) => {
    const x = t.input(node, 0);
    return keeping(x, t.emit('LeakyRelu', [x.name], { alpha: { float: node.float('alpha', 0.2) } }), t);
  },
  Prelu: (node, t) => [prelu(t.input(node, 0), t.input(node, 1), t)],
  ClipByValue: (node, t) => {
    const x = t.input(node, 0);
    return keeping(x, t.emit('Clip', [x.name, t.plain(t.input(node, 1)), t.plain(t.input(node, 2))]), t);
  },
  Cast: cast,
} satisfies RuleTable;
