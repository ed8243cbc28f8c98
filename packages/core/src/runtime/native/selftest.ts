/**
 * Compiled kernels against WebAssembly. A kernel runs once on both, on private memory with the same made-up numbers, and must write
 * the same. The numbers are quarters of small whole numbers, so that sums of products are exact in any order: what differs by more than
 * rounding was compiled wrongly. The build process (build.ts) does it with every fresh library, and records what small kernels gave;
 * a library from the cache must give the same bits again before it is used ({@link probe}).
 */
import type { CompiledKernel } from '../../codegen/compiled.js';
import { type DType, dtypeInfo } from '../../dtype.js';
import type { Kernel } from '../../ir/kernel.js';
import { bfloatToNumber, halfToNumber, writeElement } from '../../ir/scalar.js';
import { footprintOf, type Region } from './footprint.js';
import type { KernelFunction } from './link.js';

/** Largest integer in the made-up numbers: indices stay inside small tensors. */
const mostInteger = 3;
/** Bytes around every buffer: vectors may be read beyond its ends. */
const margin = 4096;
/** Scalar operations from which WebAssembly computes some cells of the last phase only. */
const sampledWork = 500_000_000;
/** Scalar operations up to which a kernel runs on all kinds of numbers whatever the first gave. */
const cheapWork = 50_000_000;

/** A phase's functions and how many cells each has. */
type Phases = readonly (readonly { readonly name: string; readonly grid: number }[])[];
interface Code {
  readonly phases: Phases;
  readonly workspaceBytes: number;
  readonly preparedBytes: number;
  readonly scratchBytes: number;
}
/** All that it takes to run a kernel elsewhere, as JSON. */
export interface Trial {
  readonly name: string;
  readonly params: readonly { readonly dtype: DType; readonly written: boolean; readonly region: Region | null }[];
  readonly work: number;
  /** Whether regions are only what is likely: not for the process that computes. */
  readonly guessed: boolean;
  readonly native: Code;
}
/** With the same kernel in WebAssembly. */
export interface Comparison extends Trial {
  readonly wasm: Code;
}

function codeOf({ phases, preparation, workspaceBytes, scratchBytes }: CompiledKernel): Code {
  const all = [...(preparation?.phases ?? []), ...phases];
  return {
    phases: all.map((p) => p.map(({ exportName, grid }) => ({ name: exportName, grid }))),
    workspaceBytes,
    preparedBytes: preparation?.bytes ?? 0,
    scratchBytes,
  };
}

/** A name for a kernel of a library. */
export function firstFunction(kernel: CompiledKernel): string {
  return codeOf(kernel).phases[0]?.[0]?.name ?? '';
}

/** How to compare a kernel's native code with its WebAssembly. */
export function comparisonOf(kernel: Kernel, native: CompiledKernel, wasm: CompiledKernel): Comparison {
  const { regions, work, guessed } = footprintOf(kernel, mostInteger);
  // From element 0 on, so that the address of none is negative.
  const params = kernel.params.map(({ dtype, access }, i) => {
    const region = regions[i];
    return { dtype, written: access !== 'read', region: region ? { low: Math.min(0, region.low), high: region.high } : null };
  });
  return { name: kernel.name, params, work, guessed, native: codeOf(native), wasm: codeOf(wasm) };
}

/** Sixteen numbers of each kind. `signed` are of both signs, `positive` from 1/8 to 1: for logarithms and roots. */
type Numbers = 'signed' | 'positive';
function choices(dtype: DType, numbers: Numbers): Uint8Array {
  const { bytes, kind } = dtypeInfo[dtype];
  const out = new Uint8Array(16 * bytes);
  const view = new DataView(out.buffer);
  for (let i = 0; i < 16; i++) {
    const float = numbers === 'signed' ? (i - 8) / 4 : ((i % 8) + 1) / 8;
    const whole = kind === 'bool' ? i & 1 : i % (mostInteger + 1);
    writeElement(view, dtype, i * bytes, dtype === 'int64' ? BigInt(whole) : kind === 'float' ? float : whole);
  }
  return out;
}

/** One buffer in the memory: `at` is the address of element 0; it begins in front of that where a kernel does. */
interface Placed {
  readonly dtype: DType;
  readonly at: number;
  readonly start: number;
  readonly bytes: number;
}
const roundUp = (bytes: number): number => Math.ceil(bytes / 64) * 64;

class Arena {
  private top: number;
  private readonly memory: WebAssembly.Memory;
  constructor(memory: WebAssembly.Memory, from = 65536) {
    this.memory = memory;
    this.top = from;
  }
  take(bytes: number): number {
    const at = this.top + margin;
    this.top = roundUp(at + bytes + margin);
    const missing = this.top + 65536 - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / 65536));
    return at;
  }
  place(dtype: DType, { low, high }: Region): Placed {
    const { bytes } = dtypeInfo[dtype];
    const size = (high - low + 1) * bytes;
    const start = this.take(size + 64);
    // Element 0 keeps the alignment that buffers have.
    const at = start + roundUp(-low * bytes);
    return { dtype, at, start: at + low * bytes, bytes: size };
  }
}

/** Bytes of private memory that a trial needs at most, both sides together. */
export function trialBytes({ params, native }: Trial, wasm?: Code): number {
  const buffers = params.reduce((sum, { dtype, written, region }) => {
    const bytes = region === null ? 0 : (region.high - region.low + 1) * dtypeInfo[dtype].bytes + 2 * margin + 128;
    return sum + bytes * (written && wasm ? 2 : 1);
  }, 0);
  const own = (code: Code): number => code.workspaceBytes + code.preparedBytes + code.scratchBytes + 8 * margin;
  return buffers + own(native) + (wasm ? own(wasm) : 0) + 131072;
}

function fill(memory: WebAssembly.Memory, { dtype, start, bytes }: Placed, seed: number, numbers: Numbers): void {
  const size = dtypeInfo[dtype].bytes;
  const table = choices(dtype, numbers);
  let state = (Math.imul(seed + 1, 0x9e3779b1) ^ 0x5bd1e995) | 0;
  if (size === 4 && start % 4 === 0) {
    const words = new Int32Array(memory.buffer, start, bytes / 4);
    const from = new Int32Array(table.buffer);
    for (let i = 0; i < words.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      words[i] = from[state >>> 28] as number;
    }
    return;
  }
  const out = new Uint8Array(memory.buffer, start, bytes);
  for (let i = 0; i < bytes; i += size) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    const from = (state >>> 28) * size;
    for (let j = 0; j < size; j++) out[i + j] = table[from + j] as number;
  }
}

/** Changes floats of a buffer by some units in the last places, to see how much results depend on that. */
function nudge(memory: WebAssembly.Memory, { dtype, start, bytes }: Placed, seed: number): void {
  if (dtype !== 'float32' && dtype !== 'float64') return;
  const values =
    dtype === 'float32' ? new Float32Array(memory.buffer, start, bytes / 4) : new Float64Array(memory.buffer, start, bytes / 8);
  const step = dtype === 'float32' ? 2 ** -20 : 2 ** -48;
  let state = seed | 0;
  for (let i = 0; i < values.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    values[i] = (values[i] as number) * (1 + (state < 0 ? step : -step));
  }
}

/** One side of a comparison: where its code finds what. */
interface Side {
  readonly code: Code;
  readonly functions: ReadonlyMap<string, KernelFunction>;
  readonly buffers: readonly (Placed | null)[];
  readonly table: number;
  readonly workspace: number;
  readonly prepared: number;
  readonly scratch: number;
}

function place(arena: Arena, trial: Trial, code: Code, functions: Side['functions'], shared: Side | null): Side {
  const buffers = trial.params.map(({ dtype, written, region }, i) =>
    region === null ? null : shared && !written ? (shared.buffers[i] ?? null) : arena.place(dtype, region),
  );
  return {
    code,
    functions,
    buffers,
    table: arena.take(4 * (trial.params.length + 2)),
    workspace: arena.take(code.workspaceBytes),
    prepared: arena.take(code.preparedBytes),
    scratch: arena.take(code.scratchBytes),
  };
}

function run(memory: WebAssembly.Memory, side: Side, sampled = false): void {
  const table = new Uint32Array(memory.buffer, side.table, side.buffers.length + 2);
  side.buffers.forEach((b, i) => {
    table[i] = b?.at ?? side.scratch;
  });
  table[side.buffers.length] = side.workspace;
  table[side.buffers.length + 1] = side.prepared;
  side.code.phases.forEach((phase, p) => {
    for (const { name, grid } of phase) {
      const f = side.functions.get(name);
      if (!f) throw new Error(`there is no function ${name}`);
      if (!sampled || p < side.code.phases.length - 1 || grid < 8) f(0, grid, side.table, side.scratch);
      else for (const cell of [0, grid >> 1, grid - 1]) f(cell, cell + 1, side.table, side.scratch);
    }
  });
}

type Values = Float32Array | Float64Array | Int32Array | Int16Array | Int8Array | Uint8Array;
/** A copy of a buffer's elements as numbers. */
function read(memory: WebAssembly.Memory, { dtype, start, bytes }: Placed): Values {
  const raw = new Uint8Array(memory.buffer, start, bytes).slice().buffer;
  switch (dtype) {
    case 'float32':
      return new Float32Array(raw);
    case 'float64':
      return new Float64Array(raw);
    case 'int32':
      return new Int32Array(raw);
    case 'int16':
      return new Int16Array(raw);
    case 'int8':
      return new Int8Array(raw);
    case 'uint8':
    case 'bool':
      return new Uint8Array(raw);
    case 'int64':
      return Float64Array.from(new BigInt64Array(raw), Number);
    case 'bfloat16':
      return Float32Array.from(new Uint16Array(raw), bfloatToNumber);
    case 'float16':
      return Float32Array.from(new Uint16Array(raw), halfToNumber);
    default:
      return dtype satisfies never;
  }
}

/** Relative differences that other orders of summation explain, generously: some thousand units in the last place. */
const tolerances: Record<DType, number> = {
  float32: 1e-4,
  float64: 1e-11,
  float16: 4e-3,
  bfloat16: 3e-2,
  int8: 0,
  uint8: 0,
  int16: 0,
  int32: 0,
  int64: 0,
  bool: 0,
};

/** How far two results are apart: the elements that differ, and by how much at most. */
interface Distance {
  readonly count: number;
  readonly most: number;
  readonly first: number;
}
function distance(got: Values, want: Values, tolerance: number, counts: ((i: number) => boolean) | null): Distance {
  let scale = 0;
  for (let i = 0; i < want.length; i++) {
    const size = Math.abs(want[i] as number);
    if (size > scale && size < Number.POSITIVE_INFINITY) scale = size;
  }
  let [count, most, first] = [0, 0, -1];
  for (let i = 0; i < want.length; i++) {
    const [g, w] = [got[i] as number, want[i] as number];
    // NaN is equal to NaN, infinities to themselves alone.
    if (Object.is(g, w) || g === w || (counts !== null && !counts(i))) continue;
    const gap = Math.abs(g - w);
    if (gap <= tolerance * scale) continue;
    count++;
    if (first < 0) first = i;
    if (!(gap <= most)) most = Number.isNaN(gap) ? Number.POSITIVE_INFINITY : gap;
  }
  return { count, most, first };
}

/** 32 bits of what a side has written. */
function checksum(memory: WebAssembly.Memory, trial: Trial, side: Side): number {
  let sum = 0x811c9dc5;
  trial.params.forEach(({ written }, i) => {
    const buffer = side.buffers[i];
    if (!written || !buffer) return;
    for (const byte of new Uint8Array(memory.buffer, buffer.start, buffer.bytes)) sum = Math.imul(sum ^ byte, 0x01000193);
  });
  return sum >>> 0;
}

function prepare(memory: WebAssembly.Memory, side: Side, numbers: Numbers): void {
  side.buffers.forEach((b, i) => {
    if (b) fill(memory, b, i, numbers);
  });
}

/** What a comparison found. */
export interface Verdict {
  /** Null when both agree. */
  readonly failure: string | null;
  /** Of the native results, for kernels that {@link isProbe}. */
  readonly checksum: number;
}

/** Runs a kernel on both. Takes as much memory as {@link trialBytes} says. The memory must be nobody else's. */
export function compare(
  memory: WebAssembly.Memory,
  comparison: Comparison,
  native: ReadonlyMap<string, KernelFunction>,
  wasm: ReadonlyMap<string, KernelFunction>,
): Verdict {
  const arena = new Arena(memory);
  const ours = place(arena, comparison, comparison.native, native, null);
  const theirs = place(arena, comparison, comparison.wasm, wasm, ours);
  const sampled = comparison.work > sampledWork;
  let sum = 0;
  for (const numbers of ['signed', 'positive'] as const) {
    prepare(memory, ours, numbers);
    run(memory, ours);
    if (numbers === 'signed' && isProbe(comparison)) sum = checksum(memory, comparison, ours);
    prepare(memory, theirs, numbers);
    const before = sampled ? theirs.buffers.map((b, i) => (b && comparison.params[i]?.written ? read(memory, b) : null)) : null;
    run(memory, theirs, sampled);
    const failure = differences(memory, comparison, ours, theirs, numbers, before);
    if (failure !== null) return { failure, checksum: sum };
    if (comparison.work > cheapWork && !hasNaN(memory, comparison, ours)) break;
  }
  return { failure: null, checksum: sum };
}

function hasNaN(memory: WebAssembly.Memory, trial: Trial, side: Side): boolean {
  return side.buffers.some((b, i) => b !== null && trial.params[i]?.written === true && read(memory, b).some(Number.isNaN));
}

function differences(
  memory: WebAssembly.Memory,
  comparison: Comparison,
  ours: Side,
  theirs: Side,
  numbers: Numbers,
  before: readonly (Values | null)[] | null,
): string | null {
  const written = comparison.params.flatMap(({ written: w }, i) => {
    const [mine, other] = [ours.buffers[i], theirs.buffers[i]];
    return w && mine && other ? [{ i, dtype: mine.dtype, mine, other, got: read(memory, mine), want: read(memory, other) }] : [];
  });
  const apart = written.flatMap((buffer) => {
    const untouched = before?.[buffer.i];
    const counts = untouched ? (i: number): boolean => buffer.want[i] !== untouched[i] : null;
    const found = distance(buffer.got, buffer.want, tolerances[buffer.dtype], counts);
    return found.count > 0 ? [{ ...buffer, ...found }] : [];
  });
  const [worst] = apart;
  if (worst === undefined) return null;
  const message = `parameter ${worst.i} (${worst.dtype}), element ${worst.first}: ${worst.got[worst.first]} instead of ${worst.want[worst.first]}, ${worst.count} of ${worst.got.length} differ`;
  if (before !== null) return message;
  // Where tiny changes of the inputs change WebAssembly's own results as much, rounding explains the difference.
  const moved = apart.map(() => ({ count: 0, most: 0 }));
  for (let round = 1; round <= 3; round++) {
    prepare(memory, theirs, numbers);
    theirs.buffers.forEach((b, i) => {
      if (b) nudge(memory, b, 77 * round + i);
    });
    run(memory, theirs);
    apart.forEach((buffer, at) => {
      const { count, most } = distance(read(memory, buffer.other), buffer.want, 0, null);
      const so = moved[at] as { count: number; most: number };
      so.count = Math.max(so.count, count);
      so.most = Math.max(so.most, most);
    });
  }
  const explained = apart.every((buffer, at) => {
    const so = moved[at] as { count: number; most: number };
    return tolerances[buffer.dtype] === 0 ? buffer.count <= 4 * so.count : buffer.most <= 64 * so.most;
  });
  return explained ? null : message;
}

/** Kernels that are worth running again when their library comes from the cache. */
export function isProbe(trial: Trial): boolean {
  return !trial.guessed && trial.work <= 200_000 && trialBytes(trial) <= 512 * 1024;
}
/** Scalar operations that all probes of a library may take together: a millisecond or two. */
export const probedWork = 1_000_000;

/** The checksum of what a kernel writes, on private memory: the one that {@link compare} gave when the library was made. */
export function probe(memory: WebAssembly.Memory, trial: Trial, native: ReadonlyMap<string, KernelFunction>): number {
  const side = place(new Arena(memory), trial, trial.native, native, null);
  prepare(memory, side, 'signed');
  run(memory, side);
  return checksum(memory, trial, side);
}
