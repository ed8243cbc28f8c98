/** Random contractions: shapes, layouts, coordinates and epilogues from a seed. */
import type { DType } from '../../src/dtype.js';
import type { Expr, ExprBuilder, LoopVar } from '../../src/ir/expr.js';
import type { ContractDim, Coordinate, Stmt } from '../../src/ir/kernel.js';
import type { ContractSpec } from './contract-harness.js';

/** Small generator of pseudo-random integers (mulberry32). */
export class Random {
  private state: number;
  constructor(seed: number) {
    this.state = seed | 0;
  }
  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }
  below(n: number): number {
    return Math.floor(this.next() * n);
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
  chance(p: number): boolean {
    return this.next() < p;
  }
  shuffle<T>(list: readonly T[]): T[] {
    const out = [...list];
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [out[i], out[j]] = [out[j] as T, out[i] as T];
    }
    return out;
  }
}

export interface Case {
  readonly spec: ContractSpec;
  /** Elements of every parameter. */
  readonly sizes: readonly number[];
}

const extents = [1, 2, 3, 4, 5, 7, 8, 9, 12, 17, 33];

interface Slot {
  readonly coordinate: Omit<Coordinate, 'stride'>;
  readonly size: number;
}

/** Coordinates over some dimensions, laid out densely in a random order; pairs of dimensions may slide over one axis. */
function randomOperand(
  random: Random,
  dims: readonly ContractDim[],
  rowDims: readonly number[],
  otherDims: readonly number[],
  sliding: boolean,
): { coordinates: Coordinate[]; size: number } {
  const extent = (d: number): number => dims[d]?.extent ?? 1;
  const slots: Slot[] = [];
  const rows = random.shuffle(rowDims);
  const others = random.shuffle(otherDims);
  while (sliding && rows.length > 0 && others.length > 0 && random.chance(0.7)) {
    const row = rows.pop() as number;
    const k = others.pop() as number;
    const rowStep = random.pick([1, 1, 1, 2, 3, -1]);
    const kStep = random.pick([1, 1, 1, 2, -1]);
    const dilation = random.pick([1, 1, 1, 2, 3]);
    const offset = random.below(7) - 3;
    const size = Math.max(1, Math.floor((Math.abs(rowStep) * extent(row) + Math.abs(kStep) * extent(k)) / dilation) + random.below(5) - 2);
    slots.push({
      coordinate: {
        terms: [
          { dim: row, coefficient: rowStep },
          { dim: k, coefficient: kStep },
        ],
        offset,
        dilation,
        extent: size,
        checked: true,
      },
      size,
    });
  }
  for (const d of [...rows, ...others]) {
    const flip = random.chance(0.1) && extent(d) > 0;
    slots.push({
      coordinate: {
        terms: [{ dim: d, coefficient: flip ? -1 : 1 }],
        offset: flip ? extent(d) - 1 : 0,
        dilation: 1,
        extent: extent(d),
        checked: random.chance(0.1),
      },
      size: extent(d),
    });
  }
  const order = random.chance(0.4) ? slots : random.shuffle(slots);
  let stride = 1;
  const coordinates: Coordinate[] = [];
  for (const slot of [...order].reverse()) {
    coordinates.push({ ...slot.coordinate, stride });
    stride *= slot.size;
  }
  return { coordinates, size: Math.max(1, stride) };
}

const storage = {
  f32: ['float32', 'float32', 'float32', 'float16', 'bfloat16'],
  f64: ['float64'],
  i32: ['int32', 'int32', 'int8', 'uint8', 'int16'],
  i64: ['int64'],
} as const satisfies Record<string, readonly DType[]>;

/** bias over the last output dimension, relu, a residual, and both the raw and the final value stored. */
export function richEpilogue(type: 'f32' | 'f64' | 'i32' | 'i64', outType: DType) {
  return (e: ExprBuilder, result: Expr, vars: readonly LoopVar[], outIndex: Expr): Stmt[] => {
    const last = vars[vars.length - 1];
    const biasIndex = last ? e.index(last) : e.i32(0);
    const bias = e.load({ param: 3, dtype: outType }, type, biasIndex);
    const residual = e.load({ param: 4, dtype: outType }, type, outIndex);
    const shifted = e.newLocal('shifted', type);
    const zero = e.const(type, 0);
    return [
      { kind: 'declare', local: shifted, value: e.add(result, bias) },
      { kind: 'store', buffer: { param: 5, dtype: outType }, index: outIndex, value: e.read(shifted), mode: 'set' },
      {
        kind: 'store',
        buffer: { param: 2, dtype: outType },
        index: outIndex,
        value: e.add(e.binary('max', e.read(shifted), zero), residual),
        mode: 'set',
      },
    ];
  };
}

export function randomCase(seed: number): Case {
  const random = new Random(seed);
  const type = random.pick(['f32', 'f32', 'f32', 'f64', 'i32', 'i64'] as const);
  const roles: ContractDim['role'][] = [];
  const add = (role: ContractDim['role'], count: number): void => {
    for (let i = 0; i < count; i++) roles.push(role);
  };
  add('batch', random.below(3));
  add('m', random.pick([0, 1, 1, 1, 2]));
  add('n', random.pick([0, 1, 1, 2, 3]));
  add('k', random.pick([0, 1, 1, 2, 3]));
  const order = random.chance(0.5) ? roles : random.shuffle(roles);
  let budget = 30_000;
  const dims = order.map((role): ContractDim => {
    const choices = extents.filter((x) => x <= (role === 'batch' ? 3 : budget) && x <= Math.max(2, budget));
    const extent = random.chance(0.01) ? 0 : random.pick(choices);
    budget = Math.max(1, Math.floor(budget / Math.max(1, extent)));
    return { extent, role };
  });
  const which = (role: ContractDim['role']): number[] => dims.flatMap((d, i) => (d.role === role ? [i] : []));
  const batchFor = (): number[] => which('batch').filter(() => random.chance(0.75));
  const slide = random.below(4);
  const a = randomOperand(random, dims, which('m'), [...batchFor(), ...which('k')], slide === 1);
  const b = randomOperand(random, dims, which('n'), [...batchFor(), ...which('k')], slide >= 2);
  const outputDims = dims.filter((d) => d.role !== 'k');
  const positions = random.chance(0.6) ? outputDims.map((_, i) => i) : random.shuffle(outputDims.map((_, i) => i));
  const outStrides = outputDims.map(() => 0);
  let size = 1;
  for (const position of [...positions].reverse()) {
    outStrides[position] = size;
    size *= outputDims[position]?.extent ?? 1;
  }
  const outType = random.pick(storage[type]);
  const rich = random.chance(0.3);
  const lastExtent = outputDims[outputDims.length - 1]?.extent ?? 1;
  return {
    spec: {
      type,
      dims,
      a: a.coordinates,
      b: b.coordinates,
      aType: random.pick(storage[type]),
      bType: random.pick(storage[type]),
      outType,
      outStrides,
      ...(rich ? { epilogue: richEpilogue(type, outType), extra: [outType, outType, outType] } : {}),
    },
    sizes: [a.size, b.size, Math.max(1, size), ...(rich ? [Math.max(1, lastExtent), Math.max(1, size), Math.max(1, size)] : [])],
  };
}
