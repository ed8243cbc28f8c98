/** Reductions, shapes, parts and joins. */
import { keeping, type Rule, type RuleTable, single } from './elementwise.js';
import type { TfNode } from './node.js';
import type { Placed, Translator } from './translator.js';

const plainOf = (node: TfNode, k: number, t: Translator): string => t.plain(t.input(node, k));

/** Axes of a moved value. */
function axesIn(value: Placed, axes: readonly number[], t: Translator): number[] {
  if (!value.moved) return [...axes];
  const rank = t.rankOf(value);
  return axes.map((axis) => {
    const at = axis < 0 ? axis + rank : axis;
    return at === 0 ? 0 : at === rank - 1 ? 1 : at + 1;
  });
}

const reduce =
  (opType: string): Rule =>
  (node, t) => {
    const x = t.input(node, 0);
    const axes = t.needInts(node, 1);
    const keep = node.bool('keep_dims') || node.bool('keepdims');
    // Over space alone, channels come out in their place: [batch, channels].
    const rank = t.rankOf(x);
    const spatial = x.moved && axes.length === rank - 2 && axes.every((axis) => axis > 0 && axis < rank - 1);
    const source = x.moved && !keep && !spatial ? { name: t.plain(x), moved: false } : x;
    const name = t.emit(opType, [source.name, t.ints(axesIn(source, axes, t))], { keepdims: keep ? 1 : 0 }, node.name);
    return keep ? keeping(source, name, t) : single(name);
  };
/** All and Any: of bytes. */
const logical =
  (opType: string): Rule =>
  (node, t) => {
    const bytes = t.emit('Cast', [plainOf(node, 0, t)], { to: 6 });
    const keep = node.bool('keep_dims');
    return single(t.emit('Cast', [t.emit(opType, [bytes, t.ints(t.needInts(node, 1))], { keepdims: keep ? 1 : 0 })], { to: 9 }));
  };
const arg =
  (opType: string): Rule =>
  (node, t) => {
    const axis = node.inputs.length > 1 ? (t.needInts(node, 1)[0] ?? 0) : 0;
    return single(t.asInt32(t.emit(opType, [plainOf(node, 0, t)], { axis, keepdims: 0 }, node.name)));
  };

const reshape: Rule = (node, t) =>
  single(t.emit('Reshape', [plainOf(node, 0, t), t.asInt64(t.input(node, 1))], { allowzero: 1 }, node.name));

const squeeze: Rule = (node, t) => {
  const x = t.input(node, 0);
  const axes = node.ints('squeeze_dims', node.ints('axis', []));
  // Of [batch, 1, 1, channels] the channels come out in their place.
  const rank = t.rankOf(x);
  if (x.moved && axes.length === rank - 2 && axes.every((axis) => axis > 0 && axis < rank - 1)) {
    return single(t.emit('Squeeze', [x.name, t.ints(axesIn(x, axes, t))], {}, node.name));
  }
  return single(t.emit('Squeeze', axes.length === 0 ? [t.plain(x)] : [t.plain(x), t.ints(axes)], {}, node.name));
};
const expandDims: Rule = (node, t) =>
  single(t.emit('Unsqueeze', [plainOf(node, 0, t), t.ints(t.needInts(node, 1).slice(0, 1))], {}, node.name));
const transpose: Rule = (node, t) => single(t.emit('Transpose', [plainOf(node, 0, t)], { perm: t.needInts(node, 1) }, node.name));

function concat(node: TfNode, t: Translator, values: readonly Placed[], axis: number): Placed[] {
  const moved = values.every((value) => value.moved && t.rankOf(value) === t.rankOf(values[0]));
  const names = values.map((value) => (moved ? value.name : t.plain(value)));
  const [at] = moved ? axesIn(values[0], [axis], t) : [axis];
  const name = t.emit('Concat', names, { axis: at }, node.name);
  return moved ? [t.moved(name, t.rankOf(values[0]))] : single(name);
}
const inputsOf = (node: TfNode, t: Translator, from: number, to: number): Placed[] =>
  node.inputs.slice(from, to).map((edge) => t.placed(edge));

const pack: Rule = (node, t) => {
  const axis = node.int('axis', 0);
  const parts = inputsOf(node, t, 0, node.inputs.length).map((value) => t.emit('Unsqueeze', [t.plain(value), t.ints([axis])]));
  return single(t.emit('Concat', parts, { axis }, node.name));
};
const unpack: Rule = (node, t) => {
  const [axis, count] = [node.int('axis', 0), node.int('num', 1)];
  if (!(count >= 1 && count <= 100_000)) node.fail(`splits into ${count}`);
  if (count === 1) return single(t.emit('Squeeze', [plainOf(node, 0, t), t.ints([axis])], {}, node.name));
  const parts = t.emitMany('Split', [plainOf(node, 0, t)], { axis, num_outputs: count }, count, node.name);
  return parts.map((part) => ({ name: t.emit('Squeeze', [part, t.ints([axis])]), moved: false }));
};
const split: Rule = (node, t) => {
  const [axis = 0] = t.needInts(node, 0);
  const x = t.input(node, 1);
  const count = node.int('num_split', 1);
  if (!(count >= 1 && count <= 100_000)) node.fail(`splits into ${count}`);
  const [at] = axesIn(x, [axis], t);
  if (count === 1) return [x];
  return t.emitMany('Split', [x.name], { axis: at, num_outputs: count }, count, node.name).flatMap((name) => keeping(x, name, t));
};
const splitV: Rule = (node, t) => {
  const x = t.input(node, 0);
  const sizes = t.needInts(node, 1);
  const [axis = 0] = t.needInts(node, 2);
  if (sizes.some((n) => n < 0)) node.fail('a size is left open', 'all sizes');
  const [at] = axesIn(x, [axis], t);
  return t.emitMany('Split', [x.name, t.ints(sizes)], { axis: at }, sizes.length, node.name).flatMap((name) => keeping(x, name, t));
};

/** The end of everything, for ends that are not given. */
const farthest = 2 ** 31 - 1;

const slice: Rule = (node, t) => {
  const begin = t.input(node, 1);
  const size = t.knownInts(t.input(node, 2));
  const starts = t.knownInts(begin);
  if (starts !== undefined && size !== undefined) {
    const ends = starts.map((start, i) => (size[i] < 0 ? farthest : start + size[i]));
    return single(t.emit('Slice', [plainOf(node, 0, t), t.ints(starts), t.ints(ends)], {}, node.name));
  }
  const [from, length] = [t.asInt64(begin), t.asInt64(t.input(node, 2))];
  const open = t.emit('Less', [length, t.ints([0])]);
  const end = t.emit('Where', [open, t.ints([farthest]), t.emit('Add', [from, length])]);
  return single(t.emit('Slice', [plainOf(node, 0, t), from, end], {}, node.name));
};

const stridedSlice: Rule = (node, t) => {
  const [begins, ends, strides] = [t.knownInts(t.input(node, 1)), t.knownInts(t.input(node, 2)), t.knownInts(t.input(node, 3))];
  const mask = (name: string, i: number): boolean => ((node.int(name, 0) >> i) & 1) === 1;
  const count = (begins ?? ends ?? strides)?.length;
  if ([begins, ends, strides].some((given) => given !== undefined && given.length !== count))
    node.fail('begin, end and steps differ in length');
  if (count === undefined || strides === undefined || count > 31) return node.fail('bounds and steps are computed', 'constant steps');
  const starts: number[] = [];
  const stops: number[] = [];
  const steps: number[] = [];
  const axes: number[] = [];
  const places: number[] = [];
  const dropped: number[] = [];
  const added: number[] = [];
  const ellipsis = Array.from({ length: count }, (_, i) => i).find((i) => mask('ellipsis_mask', i));
  // Dimensions behind an ellipsis are counted from the end.
  const behind = (i: number): boolean => ellipsis !== undefined && i > ellipsis;
  const after = (i: number, counts: (k: number) => boolean): number =>
    Array.from({ length: count - i }, (_, k) => i + k).filter(counts).length;
  const isNew = (i: number): boolean => mask('new_axis_mask', i);
  const isDropped = (i: number): boolean => mask('shrink_axis_mask', i) && !isNew(i);
  let axis = 0;
  let place = 0;
  for (let i = 0; i < count; i++) {
    if (i === ellipsis) continue;
    if (isNew(i)) {
      added.push(behind(i) ? -after(i, (k) => !isDropped(k)) : place);
      place++;
      continue;
    }
    const at = behind(i) ? -after(i, (k) => !isNew(k)) : axis;
    axis++;
    const [begin, end, step] = [begins?.[i] ?? 0, ends?.[i] ?? 0, strides[i]];
    if (step === 0) node.fail('a step is 0');
    axes.push(at);
    places.push(i);
    steps.push(isDropped(i) ? 1 : step);
    starts.push(mask('begin_mask', i) && !isDropped(i) ? (step > 0 ? 0 : farthest) : begin);
    stops.push(isDropped(i) ? (begin === -1 ? farthest : begin + 1) : mask('end_mask', i) ? (step > 0 ? farthest : -farthest) : end);
    if (isDropped(i)) dropped.push(at);
    else place++;
  }
  let name = plainOf(node, 0, t);
  if (axes.length > 0) {
    const bounds =
      begins !== undefined && ends !== undefined
        ? [t.ints(starts), t.ints(stops)]
        : computedBounds(node, t, { places, starts, stops, isDropped, begins, ends, mask });
    name = t.emit('Slice', [name, ...bounds, t.ints(axes), t.ints(steps)], {}, node.name);
  }
  if (dropped.length > 0) name = t.emit('Squeeze', [name, t.ints(dropped)]);
  if (added.length > 0) name = t.emit('Unsqueeze', [name, t.ints(added)]);
  return single(name);
};

interface Bounds {
  /** Which entries of begin and end the sliced axes have. */
  readonly places: readonly number[];
  readonly starts: readonly number[];
  readonly stops: readonly number[];
  readonly begins: readonly number[] | undefined;
  readonly ends: readonly number[] | undefined;
  isDropped(i: number): boolean;
  mask(name: string, i: number): boolean;
}

/** Bounds that are computed: those of open and dropped dimensions are put in their place. */
function computedBounds(node: TfNode, t: Translator, { places, starts, stops, begins, ends, isDropped, mask }: Bounds): string[] {
  const flags = (values: readonly boolean[]): string =>
    t.constant('flags', { type: 'bool', shape: [values.length], data: Uint8Array.from(values, Number) });
  const at = (k: number): string => t.emit('Gather', [t.asInt64(t.input(node, k)), t.ints(places)]);
  const begin =
    begins !== undefined
      ? t.ints(starts)
      : t.emit('Where', [flags(places.map((i) => mask('begin_mask', i) && !isDropped(i))), t.ints(starts), at(1)]);
  const next = t.emit('Add', [begin, t.ints([1])]);
  const behind = t.emit('Where', [t.emit('Equal', [next, t.ints([0])]), t.ints([farthest]), next]);
  const given = ends !== undefined ? t.ints(stops) : t.emit('Where', [flags(places.map((i) => mask('end_mask', i))), t.ints(stops), at(2)]);
  return [begin, t.emit('Where', [flags(places.map(isDropped)), behind, given])];
}

const gather: Rule = (node, t) => {
  const axis = node.inputs.length > 2 ? (t.needInts(node, 2)[0] ?? 0) : 0;
  if (node.int('batch_dims', 0) !== 0) node.fail('batch dimensions', 'none');
  return single(t.emit('Gather', [plainOf(node, 0, t), t.asInt64(t.input(node, 1))], { axis }, node.name));
};

const pad =
  (mode: 'constant' | 'reflect'): Rule =>
  (node, t) => {
    const amounts = t.needInts(node, 1);
    const rank = amounts.length / 2;
    const x = t.input(node, 0);
    if (mode === 'reflect' && node.text('mode', 'REFLECT') !== 'REFLECT') node.fail('a symmetric border', 'REFLECT');
    const order = Array.from({ length: rank }, (_, i) => i);
    const source = x.moved && t.rankOf(x) === rank ? x : { name: t.plain(x), moved: false };
    const places = source.moved ? [0, rank - 1, ...order.slice(1, -1)] : order;
    const pads = t.ints([...places.map((axis) => amounts[2 * axis]), ...places.map((axis) => amounts[2 * axis + 1])]);
    const value = mode === 'constant' && node.inputs.length > 2 ? [plainOf(node, 2, t)] : [];
    return keeping(source, t.emit('Pad', [source.name, pads, ...value], { mode }, node.name), t);
  };

const shape: Rule = (node, t) => single(t.asInt32(t.emit('Shape', [plainOf(node, 0, t)], {}, node.name)));
const fill: Rule = (node, t) => single(t.emit('Expand', [plainOf(node, 1, t), t.asInt64(t.input(node, 0))], {}, node.name));

const filledLike =
  (value: 0 | 1): Rule =>
  (node, t) => {
    const integer = node.type('T', 'float32') !== 'float32';
    const one = integer ? t.constant('number', { type: 'int32', shape: [], data: Int32Array.of(value) }) : t.float(value);
    return single(t.emit('Expand', [one, t.emit('Shape', [plainOf(node, 0, t)])], {}, node.name));
  };

const oneHot: Rule = (node, t) => {
  const values = t.emit(
    'Concat',
    [t.emit('Unsqueeze', [plainOf(node, 3, t), t.ints([0])]), t.emit('Unsqueeze', [plainOf(node, 2, t), t.ints([0])])],
    { axis: 0 },
  );
  return single(t.emit('OneHot', [plainOf(node, 0, t), t.asInt64(t.input(node, 1)), values], { axis: node.int('axis', -1) }, node.name));
};

const topK: Rule = (node, t) => {
  const k = t.emit('Reshape', [t.asInt64(t.input(node, 1)), t.ints([1])]);
  const [values, indices] = t.emitMany(
    'TopK',
    [plainOf(node, 0, t), k],
    { axis: -1, largest: 1, sorted: node.bool('sorted', true) ? 1 : 0 },
    2,
    node.name,
  );
  return [
    { name: values, moved: false },
    { name: t.asInt32(indices), moved: false },
  ];
};

const reverse: Rule = (node, t) => {
  const axes = t.needInts(node, 1);
  const all = (value: number): string => t.ints(axes.map(() => value));
  return single(t.emit('Slice', [plainOf(node, 0, t), all(-1), all(-farthest), t.ints(axes), all(-1)], {}, node.name));
};

const cumulative: Rule = (node, t) =>
  single(
    t.emit(
      'CumSum',
      [plainOf(node, 0, t), t.asInt64(t.input(node, 1))],
      { exclusive: node.bool('exclusive') ? 1 : 0, reverse: node.bool('reverse') ? 1 : 0 },
      node.name,
    ),
  );

/** Boxes [n, 4] and scores [n]; ONNX has batches and classes around them, and gives [batch, class, box]. */
const suppression =
  (scoreThreshold: number | null, sigma: number | null): Rule =>
  (node, t) => {
    if (sigma !== null && (t.constantOf(t.input(node, sigma))?.data[0] ?? 1) !== 0) node.fail('soft suppression', 'a sigma of 0');
    const boxes = t.emit('Unsqueeze', [plainOf(node, 0, t), t.ints([0])]);
    const scores = t.emit('Unsqueeze', [plainOf(node, 1, t), t.ints([0, 1])]);
    const limit = t.emit('Reshape', [t.asInt64(t.input(node, 2)), t.ints([1])]);
    const one = (k: number): string => t.emit('Reshape', [plainOf(node, k, t), t.ints([1])]);
    const found = t.emit(
      'NonMaxSuppression',
      [boxes, scores, limit, one(3), ...(scoreThreshold === null ? [] : [one(scoreThreshold)])],
      {},
      node.name,
    );
    const index = t.emit('Squeeze', [t.emit('Slice', [found, t.ints([2]), t.ints([3]), t.ints([1])]), t.ints([1])]);
    const kept: Placed = { name: t.asInt32(index), moved: false };
    if (sigma === null) return [kept];
    return [kept, { name: t.emit('Gather', [plainOf(node, 1, t), index]), moved: false }];
  };

const identity: Rule = (node, t) => [t.input(node, 0)];

export const shapeRules = {
  Identity: identity,
  StopGradient: identity,
  Snapshot: identity,
  PreventGradient: identity,
  CheckNumerics: identity,
  IdentityN: (node, t) => inputsOf(node, t, 0, node.inputs.length),
  Mean: reduce('ReduceMean'),
  Sum: reduce('ReduceSum'),
  Max: reduce('ReduceMax'),
  Min: reduce('ReduceMin'),
  Prod: reduce('ReduceProd'),
  EuclideanNorm: reduce('ReduceL2'),
  All: logical('ReduceMin'),
  Any: logical('ReduceMax'),
  ArgMax: arg('ArgMax'),
  ArgMin: arg('ArgMin'),
  Cumsum: cumulative,
  Reshape: reshape,
  Squeeze: squeeze,
  ExpandDims: expandDims,
  Transpose: transpose,
  ConcatV2: (node, t) => concat(node, t, inputsOf(node, t, 0, node.inputs.length - 1), t.needInts(node, node.inputs.length - 1)[0] ?? 0),
  Concat: (node, t) => concat(node, t, inputsOf(node, t, 1, node.inputs.length), t.needInts(node, 0)[0] ?? 0),
  Pack: pack,
  Unpack: unpack,
  Split: split,
  SplitV: splitV,
  Slice: slice,
  StridedSlice: stridedSlice,
  Gather: gather,
  GatherV2: gather,
  GatherNd: (node, t) => single(t.emit('GatherND', [plainOf(node, 0, t), t.asInt64(t.input(node, 1))], {}, node.name)),
  Tile: (node, t) => single(t.emit('Tile', [plainOf(node, 0, t), t.asInt64(t.input(node, 1))], {}, node.name)),
  Pad: pad('constant'),
  PadV2: pad('constant'),
  MirrorPad: pad('reflect'),
  Shape: shape,
  Size: (node, t) => single(t.asInt32(t.emit('Size', [plainOf(node, 0, t)], {}, node.name))),
  Rank: (node, t) => single(t.asInt32(t.emit('Squeeze', [t.emit('Shape', [t.emit('Shape', [plainOf(node, 0, t)])])]))),
  Fill: fill,
  BroadcastTo: (node, t) => single(t.emit('Expand', [plainOf(node, 0, t), t.asInt64(t.input(node, 1))], {}, node.name)),
  Range: (node, t) =>
    single(
      t.emit(
        'Range',
        [0, 1, 2].map((k) => plainOf(node, k, t)),
        {},
        node.name,
      ),
    ),
  ZerosLike: filledLike(0),
  OnesLike: filledLike(1),
  OneHot: oneHot,
  TopKV2: topK,
  Reverse: reverse,
  ReverseV2: reverse,
  NonMaxSuppressionV2: suppression(null, null),
  NonMaxSuppressionV3: suppression(4, null),
  NonMaxSuppressionV5: suppression(4, 5),
} satisfies RuleTable;
