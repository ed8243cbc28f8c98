/** Shapes and indices: the same results on the host and on the device, and gradients through the moves. */
import fc from 'fast-check';
import { grad, mul, sum, type Tensor, tensor } from 'trireme';
import { describe, expect, it } from 'vitest';
import { NodeAttributes } from '../../src/engine/attributes.js';
import type { ElementType, HostArray } from '../../src/engine/element-type.js';
import { TensorValue } from '../../src/engine/value.js';
import type { AttributeModel, NodeModel } from '../../src/model/model.js';
import { bitCastOps } from '../../src/ops/bitcast.js';
import type { OpContext, OpTable } from '../../src/ops/definition.js';
import { gatherOps } from '../../src/ops/gather.js';
import { ngramOps } from '../../src/ops/ngrams.js';
import { partOps } from '../../src/ops/parts.js';
import { scatterOps } from '../../src/ops/scatter.js';
import { selectOps } from '../../src/ops/select.js';
import { shapeOps } from '../../src/ops/shape.js';

const ops: OpTable = { ...shapeOps, ...partOps, ...gatherOps, ...scatterOps, ...selectOps, ...ngramOps, ...bitCastOps };

type Attributes = Readonly<Record<string, number | string | readonly number[] | readonly string[]>>;

function attributesOf(given: Attributes): Map<string, AttributeModel> {
  return new Map(
    Object.entries(given).map(([name, value]): [string, AttributeModel] => {
      if (typeof value === 'number') return [name, { kind: 'int', value: BigInt(value) }];
      if (typeof value === 'string') return [name, { kind: 'string', value }];
      const words = value.filter((entry) => typeof entry === 'string');
      return [name, words.length > 0 ? { kind: 'strings', value: words } : { kind: 'ints', value: (value as number[]).map(BigInt) }];
    }),
  );
}

/** Runs one operator by itself. */
function run(
  opType: string,
  inputs: readonly (TensorValue | null)[],
  attributes: Attributes = {},
  opset = 21,
  outputCount = 1,
): TensorValue[] {
  const fail = (what: string, expected?: string): never => {
    throw new Error(`${opType}: ${what}${expected === undefined ? '' : `, not ${expected}`}`);
  };
  const model = attributesOf(attributes);
  const node: NodeModel = { name: '', opType, domain: '', overload: '', inputs: [], outputs: [], attributes: model };
  const ctx: OpContext = {
    node,
    attrs: new NodeAttributes(model, fail),
    opset,
    outputCount,
    wants: () => true,
    run: () => fail('runs no graph'),
    fail,
  };
  const made = ops[opType](inputs, ctx);
  return (Array.isArray(made) ? made : [made]).map((value) => (value?.kind === 'tensor' ? value : fail('makes no tensor')));
}

const ints = (values: readonly number[], shape: readonly number[] = [values.length]): TensorValue =>
  TensorValue.ofHost(BigInt64Array.from(values, BigInt), 'int64', shape);
const floats = (values: readonly number[], shape: readonly number[] = [values.length]): TensorValue =>
  TensorValue.ofHost(Float32Array.from(values), 'float32', shape);
const words = (values: readonly string[], shape: readonly number[] = [values.length]): TensorValue =>
  TensorValue.ofHost(values, 'string', shape);
const counted = (shape: readonly number[]): TensorValue =>
  floats(
    Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i + 1),
    shape,
  );
/** The same value as a tensor on the device whose content is not known. */
const moved = (value: TensorValue): TensorValue => TensorValue.ofTensor(value.tensor, value.type);

const content = ({ type, shape, host }: TensorValue): { type: ElementType; shape: number[]; values: unknown[] } => ({
  type,
  shape: [...shape],
  values: Array.from(host as ArrayLike<unknown>),
});

/** Both ways give the same; returns what they give. */
function both(
  opType: string,
  inputs: readonly (TensorValue | null)[],
  attributes: Attributes = {},
  opset = 21,
  outputCount = 1,
  move = [0],
): unknown[] {
  const onHost = run(opType, inputs, attributes, opset, outputCount).map(content);
  const there = inputs.map((value, k) => (value !== null && move.includes(k) ? moved(value) : value));
  expect(run(opType, there, attributes, opset, outputCount).map(content)).toEqual(onHost);
  return onHost.map(({ values }) => values);
}

const shapes = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 });

describe('host and device agree', () => {
  it('on slices with any bounds and steps', () => {
    const bound = fc.integer({ min: -7, max: 7 });
    const step = fc.constantFrom(-3, -2, -1, 1, 2, 3);
    fc.assert(
      fc.property(shapes, fc.array(fc.tuple(bound, bound, step), { minLength: 4, maxLength: 4 }), (shape, bounds) => {
        const used = bounds.slice(0, shape.length);
        both('Slice', [counted(shape), ints(used.map((b) => b[0])), ints(used.map((b) => b[1])), null, ints(used.map((b) => b[2]))]);
      }),
      { numRuns: 60 },
    );
  });

  it('on padding in every mode, with parts cut off', () => {
    fc.assert(
      fc.property(
        shapes,
        fc.array(fc.integer({ min: -1, max: 3 }), { minLength: 8, maxLength: 8 }),
        fc.constantFrom('constant', 'reflect', 'edge', 'wrap'),
        (shape, amounts, mode) => {
          const pads = Array.from({ length: 2 * shape.length }, (_, i) => amounts[i]);
          const rest = shape.map((n, i) => n + Math.min(0, pads[i]) + Math.min(0, pads[i + shape.length]));
          fc.pre(rest.every((n) => n > 0));
          both('Pad', [counted(shape), ints(pads), mode === 'constant' ? floats([9], []) : null], { mode });
        },
      ),
      { numRuns: 60 },
    );
  });

  it('on permutations, repeats and broadcasts', () => {
    fc.assert(
      fc.property(shapes, fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 4, maxLength: 4 }), (shape, numbers) => {
        both('Transpose', [counted(shape)], { perm: shape.map((_, i) => (i + 1) % shape.length) });
        both('Tile', [counted(shape), ints(shape.map((_, i) => numbers[i]))]);
        both('Expand', [counted(shape), ints([2, ...shape.map(() => 1)])]);
      }),
      { numRuns: 40 },
    );
  });

  it('on reading by index, negative ones included', () => {
    const x = counted([3, 4, 2]);
    both('Gather', [x, ints([-1, 0, 2, -3], [2, 2])], { axis: 1 }, 21, 1, [0, 1]);
    both('Gather', [x, ints([-1], [])], { axis: 0 });
    both('GatherElements', [x, ints([0, -1, 2, 1, -2, 0, 0, 0], [1, 4, 2])], { axis: 0 }, 21, 1, [0, 1]);
    both('GatherND', [x, ints([0, -1, 2, 3], [2, 2])], {}, 21, 1, [0, 1]);
    both('GatherND', [x, ints([0, 1, -1], [3, 1])], { batch_dims: 1 }, 21, 1, [0, 1]);
    both('ReverseSequence', [x, ints([1, 3, 2, 0])], { time_axis: 0, batch_axis: 1 }, 21, 1, [0, 1]);
  });

  it('on writing by index', () => {
    const x = counted([3, 3]);
    expect(both('ScatterElements', [x, ints([1, 0, -1], [1, 3]), floats([10, 20, 30], [1, 3])], { axis: 0 }, 21, 1, [0, 1, 2])).toEqual([
      [1, 20, 3, 10, 5, 6, 7, 8, 30],
    ]);
    both('ScatterND', [x, ints([-1, 0], [2, 1]), counted([2, 3])], {}, 21, 1, [0, 1, 2]);
    both('ScatterND', [x, ints([0, 1, 2, -1], [2, 2]), counted([2])], {}, 21, 1, [0, 1, 2]);
  });

  it('on classes as vectors and triangles', () => {
    both('OneHot', [ints([0, 2, -1, 7], [2, 2]), ints([3], []), floats([0.5, 4])], { axis: 1 });
    both('Trilu', [counted([2, 3, 4]), ints([-1], [])], { upper: 0 });
    both('Trilu', [counted([3, 4]), ints([1], [])]);
    both('CenterCropPad', [counted([3, 8, 5]), ints([4, 5])], { axes: [0, 1] });
    both('Compress', [counted([3, 4]), TensorValue.ofHost(Uint8Array.of(1, 0, 1), 'bool', [3])], { axis: 1 });
    both('Split', [counted([7, 2])], { num_outputs: 3 }, 18, 3);
  });
});

describe('values stay known', () => {
  it('when shapes are computed from shapes', () => {
    const x = TensorValue.pending('float32', [2, 3, 4]);
    const [shape] = run('Shape', [x]);
    const [head] = run('Slice', [shape, ints([0]), ints([1])]);
    const [target] = run('Concat', [head, ints([-1])], { axis: 0 });
    const [last] = run('Gather', [shape, ints([2], [])]);
    const [lifted] = run('Unsqueeze', [last, ints([0])]);
    expect([head, target, last, lifted].every(({ isKnown }) => isKnown)).toBe(true);
    expect([target, lifted].map(({ host }) => [...host])).toEqual([[2n, -1n], [4n]]);
  });
});

describe('forms of earlier versions', () => {
  it('take shapes, axes, pads and lengths from attributes', () => {
    const x = counted([1, 2, 3]);
    expect(run('Reshape', [x], { shape: [3, -1] }, 1)[0].shape).toEqual([3, 2]);
    expect(run('Squeeze', [x], { axes: [0] }, 11)[0].shape).toEqual([2, 3]);
    expect(run('Unsqueeze', [x], { axes: [0, 4] }, 11)[0].shape).toEqual([1, 1, 2, 3, 1]);
    expect(run('Slice', [x], { starts: [-2], ends: [2147483647], axes: [2] }, 9)[0].shape).toEqual([1, 2, 2]);
    expect(run('Split', [x], { axis: 2, split: [2, 1] }, 11, 2).map(({ shape }) => shape)).toEqual([
      [1, 2, 2],
      [1, 2, 1],
    ]);
    expect(run('Pad', [x], { paddings: [0, 0, 1, 0, 0, 0] }, 1)[0].shape).toEqual([1, 2, 4]);
    expect(run('Concat', [x, x], {}, 1)[0].shape).toEqual([1, 4, 3]);
    expect(run('Tile', [x, ints([2], []), ints([1], [])], {}, 1)[0].shape).toEqual([1, 4, 3]);
    expect(run('TopK', [x], { k: 2 }, 1, 2)[0].shape).toEqual([1, 2, 2]);
  });
});

describe('types without a dtype', () => {
  it('strings move on the host', () => {
    const x = words(['a', 'b', 'c', 'd', 'e', 'f'], [2, 3]);
    expect(run('Transpose', [x])[0].host).toEqual(['a', 'd', 'b', 'e', 'c', 'f']);
    expect(run('Gather', [x, moved(ints([2, 0]))], { axis: 1 })[0].host).toEqual(['c', 'a', 'f', 'd']);
    expect(run('Pad', [x, ints([0, 1, 0, 0])])[0].host).toEqual(['', 'a', 'b', 'c', '', 'd', 'e', 'f']);
    expect(run('ScatterND', [x, ints([1], [1, 1]), words(['x', 'y', 'z'], [1, 3])])[0].host).toEqual(['a', 'b', 'c', 'x', 'y', 'z']);
    expect(run('Unique', [words(['b', 'a', 'b'])], {}, 21, 4).map(({ host }) => [...host])).toEqual([
      ['a', 'b'],
      [1n, 0n],
      [1n, 0n, 1n],
      [1n, 2n],
    ]);
  });

  it('uint64 is ordered as unsigned, by TopK and by ScatterElements', () => {
    const x = moved(TensorValue.ofHost(BigUint64Array.of(1n, 2n ** 63n + 5n, 7n), 'uint64', [3]));
    const [values, places] = run('TopK', [x, ints([2])], {}, 21, 2);
    expect([[...values.host], [...places.host]]).toEqual([
      [2n ** 63n + 5n, 7n],
      [1n, 2n],
    ]);
    const update = TensorValue.ofHost(BigUint64Array.of(2n ** 63n, 9n), 'uint64', [2]);
    expect([...run('ScatterElements', [x, ints([0, 2]), update], { reduction: 'max' })[0].host]).toEqual([2n ** 63n, 2n ** 63n + 5n, 9n]);
  });

  it('sums of uint16 wrap', () => {
    const x = TensorValue.ofHost(Uint16Array.of(65535, 1), 'uint16', [2]);
    const one = TensorValue.ofHost(Uint16Array.of(3), 'uint16', [1]);
    expect([...run('ScatterElements', [x, ints([0]), one], { reduction: 'add' })[0].host]).toEqual([2, 1]);
  });

  it('BitCast keeps the bits', () => {
    const halves = TensorValue.ofHost(Float32Array.of(1, -2), 'float16', [2]);
    expect([...run('BitCast', [halves], { to: 4 }, 26)[0].host]).toEqual([0x3c00, 0xc000]);
    expect(() => run('BitCast', [halves], { to: 1 }, 26)).toThrow(/as many bits/);
  });
});

describe('Unique', () => {
  it('finds slices, in the order of their first occurrence', () => {
    const x = floats([2, 1, 2, 0, 5, 0], [2, 3]);
    const [y, first, inverse, counts] = run('Unique', [x], { axis: 1, sorted: 0 }, 21, 4).map(content);
    expect([y.shape, y.values, first.values, inverse.values, counts.values]).toEqual([
      [2, 2],
      [2, 1, 0, 5],
      [0n, 1n],
      [0n, 1n, 0n],
      [2n, 1n],
    ]);
  });
});

describe('gradients', () => {
  /** The gradient of a weighted sum of the result. */
  function gradient(build: (x: TensorValue) => TensorValue, data: readonly number[], shape: readonly number[]): number[] {
    const x = tensor([...data], { shape: [...shape], requiresGrad: true });
    const y = build(TensorValue.ofTensor(x, 'float32')).tensor;
    const weights = tensor(
      Array.from({ length: y.numel }, (_, i) => i + 1),
      { shape: y.shape },
    );
    const [g] = grad(sum(mul(y, weights)), [x]) as Tensor[];
    return [...(g.dataSync() as Float32Array)];
  }
  it('flow through what arranges elements', () => {
    expect(gradient((x) => run('Slice', [x, ints([2]), ints([-9]), ints([0]), ints([-2])])[0], [1, 2, 3], [3])).toEqual([2, 0, 1]);
    expect(gradient((x) => run('Gather', [x, moved(ints([1, 1, 0]))])[0], [1, 2], [2])).toEqual([3, 3]);
    expect(gradient((x) => run('Pad', [x, ints([1, 1])], { mode: 'edge' })[0], [1, 2], [2])).toEqual([3, 7]);
    expect(gradient((x) => run('TopK', [x, ints([2])], {}, 21, 2)[0], [5, 9, 7], [3])).toEqual([0, 1, 2]);
    expect(gradient((x) => run('ScatterND', [floats([0, 0, 0]), ints([2, 0], [2, 1]), x])[0], [1, 2], [2])).toEqual([3, 1]);
    expect(gradient((x) => run('Unique', [x], {}, 21, 4)[0], [4, 3, 4], [3])).toEqual([2, 1, 0]);
  });
});

describe('TfIdfVectorizer', () => {
  it('counts words once, and longer n-grams at every distance', () => {
    const text: HostArray = ['x', 'y', 'x', 'y'];
    const attributes = {
      mode: 'TF',
      min_gram_length: 1,
      max_gram_length: 2,
      max_skip_count: 1,
      pool_strings: ['x', 'y', 'x', 'y', 'x', 'x'],
      ngram_counts: [0, 2],
      ngram_indexes: [0, 1, 2, 3],
    };
    // "x y" twice side by side; "x x" once, one word apart.
    expect([...run('TfIdfVectorizer', [words(text)], attributes)[0].host]).toEqual([2, 2, 2, 1]);
  });
});
