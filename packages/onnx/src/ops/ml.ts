/** Operators of ai.onnx.ml on features and labels. */
import {
  abs,
  add,
  amax,
  cast,
  concat,
  type DType,
  div,
  eq,
  erfinv,
  gt,
  isNaN,
  matmul,
  mul,
  neg,
  norm,
  sigmoid,
  softmax,
  sub,
  sum,
  type Tensor,
  where,
} from 'trireme';
import { type ElementType, elementInfo, type HostArray } from '../engine/element-type.js';
import { type MapValue, TensorValue, type Value } from '../engine/value.js';
import type { NodeModel } from '../model/model.js';
import { numbersOf, tensorAt, tensorsOf } from './arguments.js';
import { pickAlong, reshaped } from './arrange.js';
import { castValue } from './cast.js';
import type { OpContext, OpTable } from './definition.js';
import { type HostNumbers, hostArray, hostCast, hostWriter } from './host.js';
import { computed, constant } from './tensors.js';

/** Scores as a model's last step reports them. */
export function postTransformed(scores: Tensor, transform: string, ctx: OpContext): Tensor {
  switch (transform) {
    case 'NONE':
      return scores;
    case 'SOFTMAX':
      return softmax(scores, -1);
    case 'LOGISTIC':
      return sigmoid(scores);
    case 'SOFTMAX_ZERO': {
      // Scores of 0 stay 0 and take no share.
      const isZero = eq(scores, 0);
      return where(isZero, 0, softmax(where(isZero, -Infinity, scores), -1));
    }
    case 'PROBIT':
      return mul(erfinv(sub(mul(scores, 2), 1)), Math.SQRT2);
    default:
      return ctx.fail(`post_transform '${transform}'`, 'NONE, SOFTMAX, LOGISTIC, SOFTMAX_ZERO or PROBIT');
  }
}

/** Keys compare by their text; NaN equals NaN, and numbers of all widths meet. */
const keyOf = (value: string | number | bigint): string => (typeof value === 'string' ? value : Object.is(value, -0) ? '0' : String(value));

interface Column {
  readonly type: ElementType;
  readonly host: HostArray;
}

/** A list that is one of several attributes: `<name>_strings`, `_int64s`, `_floats` or `_tensor`. */
function listAttribute(name: string, ctx: OpContext): Column {
  const { attrs } = ctx;
  if (attrs.has(`${name}_tensor`)) return attrs.tensor(`${name}_tensor`);
  if (attrs.has(`${name}_strings`)) return { type: 'string', host: attrs.strings(`${name}_strings`) };
  if (attrs.has(`${name}_int64s`)) return int64Column(`${name}_int64s`, ctx);
  if (attrs.has(`${name}_floats`)) return { type: 'float32', host: Float32Array.from(attrs.floats(`${name}_floats`)) };
  return ctx.fail(`there are no ${name}`, `${name}_tensor, ${name}_strings, ${name}_int64s or ${name}_floats`);
}

function int64Column(name: string, ctx: OpContext): Column {
  return { type: 'int64', host: BigInt64Array.from(ctx.attrs.ints(name), BigInt) };
}

/** The value for keys that are not in the list. */
function defaultEntry(type: ElementType, ctx: OpContext): string | number | bigint {
  const { attrs } = ctx;
  if (attrs.has('default_tensor')) return attrs.tensor('default_tensor').host[0];
  if (type === 'string') return attrs.string('default_string', '_Unused');
  if (type.startsWith('float')) return attrs.float('default_float', -0);
  return attrs.int('default_int64', -1);
}

/** Up to version 1: a list of classes and both directions. */
function classEncoder(x: TensorValue, ctx: OpContext): TensorValue {
  const classes = ctx.attrs.strings('classes_strings');
  if (x.type === 'string') {
    const places = new Map(classes.map((name, i) => [name, i]));
    const fallback = ctx.attrs.int('default_int64', -1);
    const codes = BigInt64Array.from(x.host as readonly string[], (name) => BigInt(places.get(name) ?? fallback));
    return TensorValue.ofHost(codes, 'int64', x.shape);
  }
  const fallback = ctx.attrs.string('default_string', '_Unused');
  const names = numbersOf(x).map((code) => classes[code] ?? fallback);
  return TensorValue.ofHost(names, 'string', x.shape);
}

function looked(x: TensorValue, keys: Column, values: Column, fallback: string | number | bigint): TensorValue {
  const places = new Map(Array.from(keys.host as ArrayLike<string | number | bigint>, (key, i) => [keyOf(key), i]));
  const found = Array.from(x.host as ArrayLike<string | number | bigint>, (key) => {
    const place = places.get(keyOf(key));
    return place === undefined ? fallback : values.host[place];
  });
  return entriesValue(found, values.type, x.shape);
}

function entriesValue(entries: readonly (string | number | bigint)[], type: ElementType, shape: readonly number[]): TensorValue {
  if (type === 'string') return TensorValue.ofHost(entries.map(String), type, shape);
  const writer = hostWriter(type, entries.length);
  for (const [i, entry] of entries.entries()) writer.set(i, typeof entry === 'string' ? Number(entry) : entry);
  return TensorValue.ofHost(writer.data, type, shape);
}

/** Rows of features, in float32 (float64 where they are). A single row may come without its axis. */
export function features(x: TensorValue): Tensor {
  const wide = castValue(x, x.type === 'float64' ? 'float64' : 'float32').tensor;
  return wide.shape.length === 1 ? wide.reshape([1, wide.shape[0]]) : wide;
}

/** The label of each row: that of the largest score. */
export function labelsOf(positions: readonly number[], ctx: OpContext): TensorValue {
  const isText = ctx.attrs.has('classlabels_strings') && ctx.attrs.strings('classlabels_strings').length > 0;
  if (isText) {
    const labels = ctx.attrs.strings('classlabels_strings');
    return TensorValue.ofHost(
      positions.map((k) => labels[k]),
      'string',
      [positions.length],
    );
  }
  const name = ctx.attrs.has('classlabels_int64s') ? 'classlabels_int64s' : 'classlabels_ints';
  const labels = ctx.attrs.ints(name, []);
  return TensorValue.ofHost(
    BigInt64Array.from(positions, (k) => BigInt(labels[k] ?? k)),
    'int64',
    [positions.length],
  );
}

export function classCount(ctx: OpContext): number {
  const names = ['classlabels_strings', 'classlabels_ints', 'classlabels_int64s'];
  for (const name of names) {
    if (!ctx.attrs.has(name)) continue;
    const { length } = name === 'classlabels_strings' ? ctx.attrs.strings(name) : ctx.attrs.ints(name);
    if (length > 0) return length;
  }
  return ctx.fail('there are no class labels', 'classlabels_strings or classlabels_ints');
}

const lists = new WeakMap<NodeModel, Map<string, Tensor>>();

/** Numbers of an attribute as a tensor, made once for the node, and again where a scope around it has ended. */
function listTensor(name: string, values: readonly number[], dtype: DType, shape: readonly number[], ctx: OpContext): Tensor {
  const known = lists.get(ctx.node) ?? new Map<string, Tensor>();
  lists.set(ctx.node, known);
  const key = `${name}:${dtype}`;
  const found = known.get(key);
  if (found !== undefined && !found.isDisposed) return found;
  const made = constant(values, dtype, shape);
  known.set(key, made);
  return made;
}

/** `x @ coefficients.T + intercepts`, coefficients [targets, features]. */
function linearScores(x: TensorValue, targets: number, ctx: OpContext): Tensor {
  const rows = features(x);
  const coefficients = listTensor('coefficients', ctx.attrs.floats('coefficients'), rows.dtype, [targets, rows.shape[1]], ctx);
  const product = matmul(rows, coefficients.t());
  const intercepts = ctx.attrs.floats('intercepts', []);
  return intercepts.length === 0 ? product : add(product, listTensor('intercepts', intercepts, rows.dtype, [intercepts.length], ctx));
}

/** The place of the largest number of each row. */
export function largestPlaces(scores: TensorValue): number[] {
  const [rows, columns] = scores.shape;
  const data = scores.host as HostNumbers;
  return Array.from({ length: rows }, (_, i) => {
    let best = 0;
    for (let k = 1; k < columns; k++) if (data[i * columns + k] > data[i * columns + best]) best = k;
    return best;
  });
}

function linearClassifier(inputs: readonly (Value | null)[], ctx: OpContext): TensorValue[] {
  const x = tensorAt(inputs, 0, ctx);
  const classes = classCount(ctx);
  const outputs = ctx.attrs.floats('coefficients').length / features(x).shape[1];
  const single = outputs === 1 && classes === 2;
  const raw = computed('float32', () => {
    const scores = cast(linearScores(x, outputs, ctx), 'float32');
    // One score tells two classes apart: the other has its opposite.
    return single ? concat([neg(scores), scores], 1) : scores;
  });
  const positions = single ? numbersOf(raw).flatMap((score, i) => (i % 2 === 1 ? [Number(score > 0)] : [])) : largestPlaces(raw);
  const transform = ctx.attrs.string('post_transform', 'NONE');
  return [labelsOf(positions, ctx), computed('float32', () => postTransformed(raw.tensor, transform, ctx))];
}

function scaler(x: TensorValue, ctx: OpContext): Tensor {
  const rows = features(x);
  const [offset, scale] = [ctx.attrs.floats('offset', [0]), ctx.attrs.floats('scale', [1])];
  return cast(
    mul(
      sub(rows, listTensor('offset', offset, rows.dtype, [offset.length], ctx)),
      listTensor('scale', scale, rows.dtype, [scale.length], ctx),
    ),
    'float32',
  ).reshape(x.shape);
}

function normalizer(x: TensorValue, ctx: OpContext): Tensor {
  const rows = features(x);
  const kind = ctx.attrs.string('norm', 'MAX');
  const lengths: Readonly<Record<string, () => Tensor>> = {
    MAX: () => amax(abs(rows), 1, true),
    L1: () => sum(abs(rows), 1, true),
    L2: () => norm(rows, 2, 1, true),
  };
  const length = (lengths[kind] ?? (() => ctx.fail(`norm '${kind}'`, 'MAX, L1 or L2')))();
  return cast(div(rows, where(eq(length, 0), 1, length)), 'float32').reshape(x.shape);
}

function imputer(x: TensorValue, ctx: OpContext): TensorValue {
  const isFloat = ctx.attrs.has('imputed_value_floats');
  const values = isFloat ? ctx.attrs.floats('imputed_value_floats') : ctx.attrs.ints('imputed_value_int64s');
  const replaced = isFloat ? ctx.attrs.float('replaced_value_float', 0) : ctx.attrs.int('replaced_value_int64', 0);
  const carrier = elementInfo[x.type].carrier ?? 'float32';
  const fill = listTensor('imputed_value', values, carrier, [values.length], ctx);
  return computed(x.type, () => where(Number.isNaN(replaced) ? isNaN(x.tensor) : eq(x.tensor, replaced), fill, x.tensor));
}

function oneHotEncoder(x: TensorValue, ctx: OpContext): TensorValue {
  const isText = ctx.attrs.has('cats_strings');
  const categories: readonly (string | number)[] = isText ? ctx.attrs.strings('cats_strings') : ctx.attrs.ints('cats_int64s');
  const places = new Map(categories.map((category, i) => [keyOf(category), i]));
  const entries = Array.from(x.host as ArrayLike<string | number | bigint>, (entry) =>
    typeof entry === 'number' ? Math.trunc(entry) : entry,
  );
  const data = hostArray('float32', entries.length * categories.length);
  for (const [i, entry] of entries.entries()) {
    const place = places.get(keyOf(entry));
    if (place !== undefined) data[i * categories.length + place] = 1;
    else if (ctx.attrs.int('zeros', 1) === 0) ctx.fail(`'${entry}' is no category`);
  }
  return TensorValue.ofHost(data, 'float32', [...x.shape, categories.length]);
}

function zipMap(x: TensorValue, ctx: OpContext): MapValue {
  if (x.shape.length > 1 && x.shape[0] !== 1) ctx.fail(`${x.shape[0]} rows`, 'one row: a map has one number a key');
  const text = ctx.attrs.has('classlabels_strings');
  const keys: readonly (string | bigint)[] = text
    ? ctx.attrs.strings('classlabels_strings')
    : ctx.attrs.ints('classlabels_int64s').map(BigInt);
  const numbers = numbersOf(x);
  return { kind: 'map', entries: new Map(keys.map((key, i) => [key, numbers[i]])) };
}

function mapAt(inputs: readonly (Value | null)[], ctx: OpContext): MapValue {
  const [value] = inputs;
  return value?.kind === 'map' ? value : ctx.fail('input 0 is no map', 'a map');
}

function castMap(map: MapValue, ctx: OpContext): TensorValue {
  const target = { TO_FLOAT: 'float32', TO_INT64: 'int64', TO_STRING: 'string' }[ctx.attrs.string('cast_to', 'TO_FLOAT')] as
    | ElementType
    | undefined;
  const entries = [...map.entries].map(([key, value]) => [Number(key), value] as const).sort(([a], [b]) => a - b);
  const isSparse = ctx.attrs.string('map_form', 'DENSE') === 'SPARSE';
  const data = new Float32Array(isSparse ? ctx.attrs.int('max_map', 1) : entries.length);
  for (const [i, [key, value]] of entries.entries()) data[isSparse ? key : i] = value;
  return hostCast(TensorValue.ofHost(data, 'float32', [1, data.length]), target ?? ctx.fail('cast_to', 'TO_FLOAT, TO_INT64 or TO_STRING'));
}

export const mlOps = {
  ArrayFeatureExtractor: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const source = x.shape.length === 1 ? reshaped(x, [1, x.shape[0]], (t) => t.reshape([1, x.shape[0]])) : x;
    return pickAlong(source, source.shape.length - 1, numbersOf(tensorAt(inputs, 1, ctx)));
  },
  Binarizer: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    return computed(x.type, () => cast(gt(x.tensor, ctx.attrs.float('threshold', 0)), x.tensor.dtype));
  },
  LabelEncoder: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    if (ctx.attrs.has('classes_strings')) return classEncoder(x, ctx);
    const values = listAttribute('values', ctx);
    return looked(x, listAttribute('keys', ctx), values, defaultEntry(values.type, ctx));
  },
  CategoryMapper: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const [codes, names] = [int64Column('cats_int64s', ctx), ctx.attrs.strings('cats_strings')];
    const text: Column = { type: 'string', host: names };
    return x.type === 'string'
      ? looked(x, text, codes, ctx.attrs.int('default_int64', -1))
      : looked(x, codes, text, ctx.attrs.string('default_string', '_Unused'));
  },
  LinearRegressor: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const transform = ctx.attrs.string('post_transform', 'NONE');
    return computed('float32', () => postTransformed(cast(linearScores(x, ctx.attrs.int('targets', 1), ctx), 'float32'), transform, ctx));
  },
  LinearClassifier: linearClassifier,
  Scaler: (inputs, ctx) => computed('float32', () => scaler(tensorAt(inputs, 0, ctx), ctx)),
  Normalizer: (inputs, ctx) => computed('float32', () => normalizer(tensorAt(inputs, 0, ctx), ctx)),
  Imputer: (inputs, ctx) => imputer(tensorAt(inputs, 0, ctx), ctx),
  OneHotEncoder: (inputs, ctx) => oneHotEncoder(tensorAt(inputs, 0, ctx), ctx),
  FeatureVectorizer: (inputs, ctx) =>
    computed('float32', () =>
      concat(
        tensorsOf(inputs, ctx).map((x) => cast(features(x), 'float32')),
        1,
      ),
    ),
  ZipMap: (inputs, ctx) => zipMap(tensorAt(inputs, 0, ctx), ctx),
  DictVectorizer: (inputs, ctx) => {
    const { entries } = mapAt(inputs, ctx);
    const text = ctx.attrs.has('string_vocabulary');
    const keys: readonly (string | bigint)[] = text
      ? ctx.attrs.strings('string_vocabulary')
      : ctx.attrs.ints('int64_vocabulary').map(BigInt);
    return TensorValue.ofHost(
      Float32Array.from(keys, (key) => entries.get(key) ?? 0),
      'float32',
      [1, keys.length],
    );
  },
  CastMap: (inputs, ctx) => castMap(mapAt(inputs, ctx), ctx),
} satisfies OpTable;
