/**
 * Contractions with very few rows whose other operand slides a window (depthwise convolution): packing would cost more than
 * the arithmetic. Each cell copies the part of the operand that its outputs see into scratch memory, with zeros around it,
 * and then multiplies along the innermost output dimension without any check.
 */
import type { ContractOperand, ContractPart, Coordinate, Kernel } from '../../ir/kernel.js';
import type { CompiledKernel, WasmFeatures } from '../compiled.js';
import type { FunctionBuilder, ModuleBuilder, WasmLocal } from './asm.js';
import { type Access, analyseOperand, axesOf, innermost } from './contract-access.js';
import { emitEpilogue } from './contract-epilogue.js';
import { multiplyAdd, type VectorType, vectorTypes, zeroBytes } from './contract-vector.js';
import { addPosition, addProduct, bump } from './contract-walk.js';

/** One axis of the copied box. */
interface BoxAxis {
  readonly coordinate: Coordinate;
  /** Coordinate of the box's first element when all indices are 0. */
  readonly start: number;
  readonly length: number;
  /** Coordinates from here on do not exist, or no output needs them (a last band that is not whole). */
  readonly limit: number;
  /** In elements of the box. */
  readonly stride: number;
}

export interface WindowPlan {
  readonly v: VectorType;
  readonly relaxed: boolean;
  readonly rows: number;
  readonly rowDims: readonly number[];
  readonly columnDims: readonly number[];
  readonly batchDims: readonly number[];
  /** Output dimensions one cell has a single index of, besides batch: columns without a window. */
  readonly freeDims: readonly number[];
  /** Columns that slide, outer to inner; the last one runs along lanes. */
  readonly windowDims: readonly number[];
  readonly weights: Access;
  readonly source: Access;
  readonly axes: readonly BoxAxis[];
  /** Step of the lanes through the innermost axis; it is stored in this many phases, each contiguous. */
  readonly laneStep: number;
  readonly phaseLength: number;
  readonly boxElements: number;
  /** Box offset of every k, in elements. */
  readonly taps: readonly number[];
  /** Indices of the outermost window dimension done by one cell. */
  readonly band: number;
}

const maxRows = 4;
const maxTaps = 128;
const bandBytes = 32 * 1024;
const cellWork = 400_000;

/** A plan when the contraction has that form, else null. `pad`: lines of the box take whole vectors. */
export function planWindow(part: ContractPart, features: Pick<WasmFeatures, 'relaxedSimd'>, pad = true): WindowPlan | null {
  if (part.type === 'bool') return null;
  const v = vectorTypes[part.type];
  return planSide(part, features, v, 'm', part.a, part.b, pad) ?? planSide(part, features, v, 'n', part.b, part.a, pad);
}

function planSide(
  part: ContractPart,
  features: Pick<WasmFeatures, 'relaxedSimd'>,
  v: VectorType,
  rowRole: 'm' | 'n',
  weightOperand: ContractOperand,
  sourceOperand: ContractOperand,
  pad: boolean,
): WindowPlan | null {
  const { dims } = part;
  const extent = (d: number): number => dims[d]?.extent ?? 1;
  const which = (test: (role: string) => boolean): number[] => dims.flatMap((dim, d) => (test(dim.role) ? [d] : []));
  const rowDims = which((role) => role === rowRole);
  const kDims = which((role) => role === 'k');
  const batchDims = which((role) => role === 'batch');
  const columnDims = which((role) => role !== rowRole && role !== 'k' && role !== 'batch');
  const count = (list: readonly number[]): number => list.reduce((total, d) => total * extent(d), 1);
  const rows = count(rowDims);
  const taps = count(kDims);
  if (rows > maxRows || taps < 2 || taps > maxTaps || count(columnDims) < 2 * v.lanes || count(batchDims) === 0) return null;
  const weights = analyseOperand(dims, weightOperand);
  const source = analyseOperand(dims, sourceOperand);
  const weightRows = axesOf(weights, dims, rowDims);
  const weightK = axesOf(weights, dims, kDims);
  if (weights.checks.length > 0 || weights.buffer.dtype !== v.dtype || source.buffer.dtype !== v.dtype) return null;
  if (weightRows.length > 1 || weightK.length > 1 || innermost(weightRows).stride < 0 || innermost(weightK).stride < 0) return null;

  const moves = (c: Coordinate, d: number): number =>
    extent(d) <= 1 ? 0 : c.terms.reduce((sum, t) => sum + (t.dim === d ? t.coefficient : 0), 0);
  const sliding = sourceOperand.coordinates.filter((c) => kDims.some((d) => moves(c, d) !== 0));
  const windowDims = columnDims.filter((d) => sliding.some((c) => moves(c, d) !== 0));
  const freeDims = columnDims.filter((d) => !windowDims.includes(d));
  const lane = windowDims[windowDims.length - 1];
  const wide = columnDims.filter((d) => extent(d) > 1);
  if (lane === undefined || lane !== wide[wide.length - 1] || extent(lane) < v.lanes) return null;
  // Every coordinate belongs to the box or to the cell, and moves forwards with the outputs.
  for (const c of sourceOperand.coordinates) {
    const inBox = sliding.includes(c);
    if (c.dilation !== 1) return null;
    for (const t of c.terms) {
      if (extent(t.dim) <= 1) continue;
      if (inBox && !kDims.includes(t.dim) && (t.coefficient < 0 || !windowDims.includes(t.dim))) return null;
      if (!inBox && windowDims.includes(t.dim)) return null;
    }
    if (!inBox && c.checked && source.checks.length > 0 && !isPlain(c, dims)) return null;
  }
  const ordered = [...sliding].sort((x, y) => y.stride - x.stride);
  const laneCoordinate = ordered[ordered.length - 1];
  if (laneCoordinate?.stride !== 1 || sliding.some((c) => c !== laneCoordinate && moves(c, lane) !== 0)) return null;
  const laneStep = moves(laneCoordinate, lane);
  if (laneStep < 1 || laneStep > 4) return null;
  // The innermost axis may move with the lanes and k alone: other window dimensions would need their own phases.
  if (windowDims.some((d) => d !== lane && moves(laneCoordinate, d) !== 0)) return null;

  const outermost = windowDims[0] ?? lane;
  /** What the taps subtract at most: a flipped kernel steps backwards. */
  const least = (c: Coordinate): number => kDims.reduce((sum, d) => sum + Math.min(0, moves(c, d)) * (extent(d) - 1), 0);
  const build = (band: number): { axes: BoxAxis[]; boxElements: number; phaseLength: number } => {
    const reach = (c: Coordinate): number =>
      [...windowDims, ...kDims].reduce((sum, d) => sum + Math.abs(moves(c, d)) * ((d === outermost ? band : extent(d)) - 1), 0);
    const padded = pad ? Math.ceil((extent(lane) * v.bytes) / 16) * (16 / v.bytes) : extent(lane);
    const innerReach = reach(laneCoordinate) + (padded - extent(lane)) * laneStep;
    const tight = Math.ceil((innerReach + 1) / laneStep);
    const phaseLength = pad ? Math.ceil((tight + 1) / v.lanes) * v.lanes : tight;
    const limit = (c: Coordinate): number => {
      const needed = c.offset + 1 + [...windowDims, ...kDims].reduce((sum, d) => sum + Math.max(0, moves(c, d)) * (extent(d) - 1), 0);
      return c.checked ? Math.min(c.extent, needed) : needed;
    };
    const start = (c: Coordinate): number => c.offset + least(c);
    const axes: BoxAxis[] = [];
    let stride = phaseLength * laneStep;
    for (const c of [...ordered].reverse()) {
      if (c === laneCoordinate) {
        axes.unshift({ coordinate: c, start: start(c), length: reach(c) + 1, limit: limit(c), stride: 1 });
        continue;
      }
      axes.unshift({ coordinate: c, start: start(c), length: reach(c) + 1, limit: limit(c), stride });
      stride *= reach(c) + 1;
    }
    return { axes, boxElements: stride, phaseLength };
  };
  let band = extent(outermost);
  if (outermost !== lane) {
    while (band > 1 && build(band).boxElements * v.bytes > bandBytes) band = Math.ceil(band / 2);
  }
  const box = build(band);
  if (box.boxElements * v.bytes > 16 * bandBytes) return null;
  const offsets = Array.from({ length: taps }, (_, flat) => {
    const index = new Map<number, number>();
    for (let i = kDims.length - 1, rest = flat; i >= 0; i--) {
      const d = kDims[i] ?? 0;
      index.set(d, rest % extent(d));
      rest = Math.floor(rest / extent(d));
    }
    let offset = 0;
    for (const axis of box.axes) {
      const q = kDims.reduce((sum, d) => sum + moves(axis.coordinate, d) * (index.get(d) ?? 0), -least(axis.coordinate));
      if (axis.coordinate === laneCoordinate) offset += (q % laneStep) * box.phaseLength + Math.floor(q / laneStep);
      else offset += q * axis.stride;
    }
    return offset;
  });
  return {
    v,
    relaxed: features.relaxedSimd,
    rows,
    rowDims,
    columnDims,
    batchDims,
    freeDims,
    windowDims,
    weights,
    source,
    ...box,
    laneStep,
    taps: offsets,
    band,
  };
}

/** A checked coordinate that no index can fail. */
function isPlain(c: Coordinate, dims: ContractPart['dims']): boolean {
  return analyseOperand(dims, { buffer: { param: 0, dtype: 'float32' }, coordinates: [c] }).checks.length === 0;
}

/** Emits a contraction that {@link planWindow} accepted. */
export function compileWindow(module: ModuleBuilder, kernel: Kernel, part: ContractPart, plan: WindowPlan, prefix: string): CompiledKernel {
  const { v, axes } = plan;
  const extent = (d: number): number => part.dims[d]?.extent ?? 1;
  const count = (list: readonly number[]): number => list.reduce((total, d) => total * extent(d), 1);
  const lane = plan.windowDims[plan.windowDims.length - 1] ?? 0;
  const width = extent(lane);
  const vectors = Math.ceil(width / v.lanes);
  const tileStride = vectors * 16;
  const outerWindow = plan.windowDims.slice(0, -1);
  const outermost = outerWindow[0];
  const bands = outermost === undefined ? 1 : Math.ceil(extent(outermost) / plan.band);
  const batch = count(plan.batchDims);
  const free = count(plan.freeDims);
  const tapsAt = 0;
  const boxAt = Math.ceil((plan.taps.length * 4) / 64) * 64;
  const tileAt = boxAt + Math.ceil((plan.boxElements * v.bytes) / 64) * 64 + 64;
  const epilogue = emitEpilogue({
    module,
    kernel,
    part,
    v,
    batch: plan.batchDims,
    outer: plan.rowDims,
    inner: plan.columnDims,
    outerStep: tileStride,
    innerStep: v.bytes,
  });
  const multiply = emitWindowRow(module, plan, part, vectors, tileStride);
  const copy = emitCopy(module, plan, part);
  const exportName = `${prefix}_window`;
  const fn = module.function(['i32', 'i32', 'i32', 'i32'], [], exportName);
  const [begin, end, args, scratch] = fn.params as [WasmLocal, WasmLocal, WasmLocal, WasmLocal];
  const i32s = Array.from({ length: 13 }, () => fn.local('i32'));
  const [cell, rest, batchIndex, freeIndex, bandIndex, weightAddress, sourceAddress, box, tile, column, line, lineEnd, lineIndex] =
    i32s as [
      WasmLocal,
      WasmLocal,
      WasmLocal,
      WasmLocal,
      WasmLocal,
      WasmLocal,
      WasmLocal,
      WasmLocal,
      WasmLocal,
      WasmLocal,
      WasmLocal,
      WasmLocal,
      WasmLocal,
    ];
  const lineAddress = fn.local('i32');
  plan.taps.forEach((offset, i) => {
    fn.get(scratch)
      .i32(offset * v.bytes)
      .mem('i32.store', tapsAt + i * 4);
  });
  fn.get(scratch).i32(boxAt).op('i32.add').set(box);
  fn.get(scratch).i32(tileAt).op('i32.add').set(tile);
  // The margins of the box stay zero from cell to cell.
  fn.get(box)
    .i32(0)
    .i32(plan.boxElements * v.bytes + 64)
    .memoryFill();
  fn.get(begin).set(cell);
  const done = fn.block();
  const cells = fn.loop();
  fn.get(cell).get(end).op('i32.ge_u').brIf(done);
  fn.get(cell).set(rest);
  const digit = (size: number, out: WasmLocal): void => {
    fn.get(rest).i32(size).op('i32.rem_u').set(out);
    fn.get(rest).i32(size).op('i32.div_u').set(rest);
  };
  digit(bands, bandIndex);
  digit(free, freeIndex);
  fn.get(rest).set(batchIndex);
  const origin = (access: Access, out: WasmLocal, base: number): void => {
    fn.get(args)
      .mem('i32.load', access.buffer.param * 4)
      .i32(base * v.bytes)
      .op('i32.add')
      .set(out);
    addPosition(fn, axesOf(access, part.dims, plan.batchDims), v.bytes, batchIndex, out, []);
    addPosition(fn, axesOf(access, part.dims, plan.freeDims), v.bytes, freeIndex, out, []);
  };
  origin(plan.weights, weightAddress, plan.weights.base);
  // Box coordinates carry their own offsets: take them out of the base.
  const boxBase = axes.reduce((sum, axis) => sum + axis.coordinate.offset * axis.coordinate.stride, 0);
  origin({ ...plan.source, checks: [] }, sourceAddress, plan.source.base - boxBase);
  fn.get(bandIndex).i32(plan.band).op('i32.mul').tee(bandIndex);
  fn.set(line);
  fn.get(sourceAddress).get(box).get(bandIndex).call(copy.index);
  // Lines: all window dimensions but the lanes'; `line` counts the outermost, `lineIndex` the others.
  const inner = outerWindow.slice(1);
  const innerCount = count(inner);
  fn.get(line).i32(plan.band).op('i32.add').set(lineEnd);
  const outerExtent = outermost === undefined ? 1 : extent(outermost);
  fn.get(lineEnd).i32(outerExtent).get(lineEnd).i32(outerExtent).op('i32.lt_u').op('select').set(lineEnd);
  const lines = fn.loop();
  fn.i32(0).set(lineIndex);
  const innerLines = fn.loop();
  // Where the line starts in the box, and its flat column index.
  fn.get(box).set(lineAddress);
  fn.i32(0).set(column);
  const flat = flatStrides(plan, extent);
  const advance = (d: number, index: WasmLocal, from: WasmLocal | null): void => {
    const step = axes.reduce((sum, axis) => {
      const coefficient = axis.coordinate.terms.reduce((s, t) => s + (t.dim === d ? t.coefficient : 0), 0);
      return sum + coefficient * axis.stride;
    }, 0);
    fn.get(lineAddress).get(index);
    if (from) fn.get(from).op('i32.sub');
    fn.i32(step * v.bytes)
      .op('i32.mul')
      .op('i32.add')
      .set(lineAddress);
    fn.get(column);
    addProduct(fn, index, flat.get(d) ?? 0);
    fn.set(column);
  };
  if (outermost !== undefined) advance(outermost, line, bandIndex);
  const index = fn.local('i32');
  const place = (list: readonly number[], from: WasmLocal, each: (d: number, index: WasmLocal) => void): void => {
    fn.get(from).set(rest);
    for (let i = list.length - 1; i >= 0; i--) {
      const d = list[i] ?? 0;
      digit(extent(d), index);
      each(d, index);
    }
  };
  place(inner, lineIndex, (d, i) => {
    advance(d, i, null);
  });
  place(plan.freeDims, freeIndex, (d, i) => {
    fn.get(column);
    addProduct(fn, i, flat.get(d) ?? 0);
    fn.set(column);
  });
  fn.get(weightAddress).get(lineAddress).get(scratch).get(tile).call(multiply.index);
  fn.get(args).get(tile).get(batchIndex).i32(0).i32(plan.rows).get(column).i32(width).call(epilogue.index);
  bump(fn, lineIndex, 1);
  fn.get(lineIndex).i32(innerCount).op('i32.lt_u').brIf(innerLines);
  fn.end();
  bump(fn, line, 1);
  fn.get(line).get(lineEnd).op('i32.lt_u').brIf(lines);
  fn.end();
  bump(fn, cell, 1);
  fn.br(cells);
  fn.end();
  fn.end();
  const grid = batch * free * bands;
  const perCell = (plan.rows * plan.taps.length * count(plan.windowDims)) / bands;
  const chunk = Math.max(1, Math.min(Math.ceil(grid / 16), Math.floor(cellWork / perCell)));
  return { phases: [[{ exportName, grid, chunk }]], workspaceBytes: 0, scratchBytes: tileAt + plan.rows * tileStride };
}

/** Flat column index added by one step of each column dimension. */
function flatStrides(plan: WindowPlan, extent: (d: number) => number): Map<number, number> {
  const strides = new Map<number, number>();
  let stride = 1;
  for (const d of [...plan.columnDims].reverse()) {
    strides.set(d, stride);
    stride *= extent(d);
  }
  return strides;
}

/** `(weights, line, taps, tile)`: one line of outputs for every row. */
function emitWindowRow(module: ModuleBuilder, plan: WindowPlan, part: ContractPart, vectors: number, tileStride: number): FunctionBuilder {
  const { v, rows } = plan;
  const fn = module.function(['i32', 'i32', 'i32', 'i32']);
  const [weights, line, taps, tile] = fn.params as [WasmLocal, WasmLocal, WasmLocal, WasmLocal];
  const rowStride = innermost(axesOf(plan.weights, part.dims, plan.rowDims)).stride * v.bytes;
  const kDims = part.dims.flatMap((dim, d) => (dim.role === 'k' ? [d] : []));
  const kStride = innermost(axesOf(plan.weights, part.dims, kDims)).stride * v.bytes;
  const most = [6, 4, 2, 2][rows - 1] ?? 2;
  // Equal blocks: five vectors are done as 3 + 2 rather than 4 + 1.
  const blocks = Math.ceil(vectors / most);
  const size = Math.ceil(vectors / blocks);
  const whole = Math.floor(vectors / size);
  const left = vectors - whole * size;
  const pw = fn.local('i32');
  const pt = fn.local('i32');
  const source = fn.local('i32');
  const counter = fn.local('i32');
  const w = fn.local('v128');
  const block = (width: number): void => {
    const grid = Array.from({ length: rows }, () => Array.from({ length: width }, () => fn.local('v128')));
    const xs = Array.from({ length: width }, () => fn.local('v128'));
    for (const cell of grid.flat()) fn.v128(zeroBytes).set(cell);
    fn.get(weights).set(pw);
    fn.get(taps).set(pt);
    fn.i32(plan.taps.length).set(counter);
    const loop = fn.loop();
    fn.get(line).get(pt).mem('i32.load').op('i32.add').set(source);
    xs.forEach((x, j) => {
      fn.get(source)
        .mem('v128.load', j * 16, Math.log2(v.bytes))
        .set(x);
    });
    grid.forEach((row, r) => {
      fn.get(pw)
        .mem(v.loadSplat, r * rowStride)
        .set(w);
      row.forEach((cell, j) => {
        multiplyAdd(fn, v, plan.relaxed, cell, w, xs[j] as WasmLocal);
      });
    });
    bump(fn, pt, 4);
    bump(fn, pw, kStride);
    bump(fn, counter, -1);
    fn.get(counter).brIf(loop);
    fn.end();
    grid.forEach((row, r) => {
      row.forEach((cell, j) => {
        fn.get(tile)
          .get(cell)
          .mem('v128.store', r * tileStride + j * 16, 2);
      });
    });
    fn.free(...grid.flat(), ...xs);
  };
  const repeat = fn.local('i32');
  fn.i32(whole).set(repeat);
  const loop = fn.loop();
  block(size);
  bump(fn, line, size * 16);
  bump(fn, tile, size * 16);
  bump(fn, repeat, -1);
  fn.get(repeat).brIf(loop);
  fn.end();
  if (left > 0) block(left);
  return fn;
}

/** `(source, box, band)`: fills the box for outputs from index `band` of the outermost window dimension on. */
function emitCopy(module: ModuleBuilder, plan: WindowPlan, part: ContractPart): FunctionBuilder {
  const { v, axes, laneStep } = plan;
  const fn = module.function(['i32', 'i32', 'i32']);
  const [source, box, band] = fn.params as [WasmLocal, WasmLocal, WasmLocal];
  const outer = axes.slice(0, -1);
  const lane = axes[axes.length - 1];
  if (!lane) return fn;
  const outermost = plan.windowDims.length > 1 ? plan.windowDims[0] : undefined;
  const from = fn.local('i32');
  const to = fn.local('i32');
  const exists = fn.local('i32');
  const count = fn.local('i32');
  const bandMove = (c: Coordinate): number =>
    outermost === undefined || (part.dims[outermost]?.extent ?? 1) <= 1
      ? 0
      : c.terms.reduce((sum, t) => sum + (t.dim === outermost ? t.coefficient : 0), 0);
  /** Coordinates of the current row of the box, one local for each outer axis. */
  const positions = outer.map(() => fn.local('i32'));
  const counters = outer.map(() => fn.local('i32'));
  const nest = (depth: number): void => {
    const axis = outer[depth];
    const position = positions[depth];
    const counter = counters[depth];
    if (!axis || !position || !counter) {
      rowCopy();
      return;
    }
    fn.i32(axis.start);
    addProduct(fn, band, bandMove(axis.coordinate));
    fn.set(position);
    fn.i32(0).set(counter);
    const loop = fn.loop();
    nest(depth + 1);
    bump(fn, position, 1);
    bump(fn, counter, 1);
    fn.get(counter).i32(axis.length).op('i32.lt_u').brIf(loop);
    fn.end();
  };
  const rowCopy = (): void => {
    fn.i32(1).set(exists);
    fn.get(source).set(from);
    fn.get(box).set(to);
    outer.forEach((axis, i) => {
      const position = positions[i];
      const counter = counters[i];
      if (!position || !counter) return;
      if (axis.coordinate.checked || bandMove(axis.coordinate) !== 0) {
        fn.get(exists).get(position).i32(Math.max(0, axis.limit)).op('i32.lt_u').op('i32.and').set(exists);
      }
      fn.get(from);
      addProduct(fn, position, axis.coordinate.stride * v.bytes);
      fn.set(from);
      fn.get(to);
      addProduct(fn, counter, axis.stride * v.bytes);
      fn.set(to);
    });
    const { coordinate } = lane;
    const low = coordinate.checked ? Math.max(0, -lane.start) : 0;
    const high = coordinate.checked ? Math.min(lane.length, coordinate.extent - lane.start) : lane.length;
    if (high <= low) return;
    fn.get(exists);
    fn.if();
    for (let phase = 0; phase < laneStep; phase++) {
      const first = low + ((((phase - low) % laneStep) + laneStep) % laneStep);
      if (first >= high) continue;
      copyRun(
        Math.ceil((high - first) / laneStep),
        (lane.start + first) * v.bytes,
        (phase * plan.phaseLength + Math.floor(first / laneStep)) * v.bytes,
      );
    }
    fn.else();
    fn.get(to)
      .i32(0)
      .i32(plan.phaseLength * laneStep * v.bytes)
      .memoryFill();
    fn.end();
  };
  const read = fn.local('i32');
  const write = fn.local('i32');
  const copyRun = (length: number, readOffset: number, writeOffset: number): void => {
    fn.get(from).i32(readOffset).op('i32.add').set(read);
    fn.get(to).i32(writeOffset).op('i32.add').set(write);
    const steps = (amount: number, rounds: number, body: () => void): void => {
      if (rounds === 0) return;
      fn.i32(rounds).set(count);
      const loop = fn.loop();
      body();
      bump(fn, read, amount * laneStep * v.bytes);
      bump(fn, write, amount * v.bytes);
      bump(fn, count, -1);
      fn.get(count).brIf(loop);
      fn.end();
    };
    const align = Math.log2(v.bytes);
    let done = 0;
    if (laneStep === 1 || (laneStep === 2 && v.lanes === 4)) {
      // Two vectors hold four elements two apart: the last one read must exist.
      const rounds = Math.floor((laneStep === 1 ? length : length - 1) / v.lanes);
      if (rounds > 0) {
        steps(v.lanes, rounds, () => {
          fn.get(write).get(read).mem('v128.load', 0, align);
          if (laneStep === 2) fn.get(read).mem('v128.load', 16, align).shuffle32(0, 2, 4, 6);
          fn.mem('v128.store', 0, align);
        });
        done = rounds * v.lanes;
      }
    }
    steps(1, length - done, () => {
      fn.get(write).get(read).mem(v.load).mem(v.store);
    });
  };
  nest(0);
  return fn;
}
