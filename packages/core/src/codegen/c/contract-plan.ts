/**
 * Decides how a contraction runs as C. Depends on shapes and the vector width alone, never on the number of threads.
 *
 * The product is seen as rows times columns: an element of a row is broadcast and multiplied with a vector of columns. Operands
 * with checked coordinates are first copied with their border of zeros, so that every address is a sum of an offset by row (or
 * column) and an offset by k.
 */
import type { ContractDim, ContractOperand, ContractPart } from '../../ir/kernel.js';
import { type Access, analyseOperand } from '../wasm/contract-access.js';
import { unitStores } from '../wasm/contract-epilogue.js';

/** The machine as far as a plan depends on it. */
export interface CTarget {
  /** Elements of 32 bits in a vector register. */
  readonly lanes: 4 | 8 | 16;
  readonly registers: 16 | 32;
}

/** A loop over dimensions that an operand (or both) steps through evenly. */
export interface Axis {
  readonly extent: number;
  /** Elements of the row operand and of the column operand from one step to the next. */
  readonly row: number;
  readonly column: number;
}

/** The copy of an operand with a border of zeros: one extent for each coordinate. */
export interface Padding {
  readonly extents: readonly number[];
  /** What the first element of each extent is in the source. */
  readonly low: readonly number[];
  readonly source: ContractOperand;
  readonly elements: number;
}

/** An operand after padding: address = base + sum(strides[dim] * index[dim]). */
export interface LinearOperand {
  readonly param: number;
  readonly padding: Padding | null;
  readonly base: number;
  readonly strides: readonly number[];
}

export interface CContractPlan {
  readonly target: CTarget;
  readonly dims: readonly ContractDim[];
  readonly batchDims: readonly number[];
  readonly rowDims: readonly number[];
  readonly columnDims: readonly number[];
  readonly row: LinearOperand;
  readonly column: LinearOperand;
  readonly batch: number;
  readonly rows: number;
  /** Columns as they are counted by the kernel; where `pitch` is above `width`, those between are computed in vain. */
  readonly columns: number;
  /** Columns lie `pitch` apart from one line of `width` to the next in the column operand (both 0: they are flat). */
  readonly pitch: number;
  readonly width: number;
  readonly k: number;
  readonly kAxes: readonly Axis[];
  /** Whether rows are packed in panels, and whether columns are read in place. */
  readonly rowsPacked: boolean;
  readonly columnsDirect: boolean;
  /** Whether the panels of rows (of columns) are packed once for many calls. */
  readonly rowsKept: boolean;
  readonly columnsKept: boolean;
  readonly blockRows: number;
  readonly blockVectors: number;
  /** A cell: so many row panels and column panels. */
  readonly cellRowPanels: number;
  readonly cellColumnPanels: number;
  readonly rowCells: number;
  readonly columnCells: number;
  /** Parts of k that are summed apart, then together; each but the last has `sliceLength` steps of the outermost k axis. */
  readonly slices: number;
  readonly sliceLength: number;
}

const product = (dims: readonly ContractDim[], which: readonly number[]): number => which.reduce((n, d) => n * dims[d].extent, 1);

/** Copies of at most this many times the source's size are made. */
const paddingLimit = 4;

function linearOperand(dims: readonly ContractDim[], operand: ContractOperand): { access: LinearOperand; sourceElements: number } | null {
  if (operand.buffer.dtype !== 'float32') return null;
  const plain: Access = analyseOperand(dims, operand);
  const sourceElements = operand.coordinates.reduce((n, c) => n * Math.max(1, c.stride === 0 ? 1 : c.extent), 1);
  if (plain.checks.length === 0)
    return { access: { param: operand.buffer.param, padding: null, base: plain.base, strides: plain.strides }, sourceElements };
  if (plain.checks.some((c) => c.dilation !== 1)) return null;
  const low: number[] = [];
  const extents: number[] = [];
  const steps: number[][] = [];
  let base = 0;
  for (const c of operand.coordinates) {
    if (c.dilation !== 1) return null;
    const coefficients = dims.map(() => 0);
    for (const t of c.terms) coefficients[t.dim] += dims[t.dim].extent > 1 ? t.coefficient : 0;
    let least = c.offset;
    let most = c.offset;
    dims.forEach((dim, d) => {
      const reach = coefficients[d] * (dim.extent - 1);
      if (reach < 0) least += reach;
      else most += reach;
    });
    low.push(least);
    extents.push(most - least + 1);
    steps.push(coefficients);
  }
  const elements = extents.reduce((n, e) => n * e, 1);
  if (elements > paddingLimit * sourceElements + 65536) return null;
  const strides = dims.map(() => 0);
  let stride = 1;
  for (let i = extents.length - 1; i >= 0; i--) {
    base += (operand.coordinates[i].offset - low[i]) * stride;
    dims.forEach((_, d) => {
      strides[d] += steps[i][d] * stride;
    });
    stride *= extents[i];
  }
  return { access: { param: operand.buffer.param, padding: { extents, low, source: operand, elements }, base, strides }, sourceElements };
}

/** Dimensions as few loops as possible: neighbours that both operands step through evenly become one. */
export function axesOf(dims: readonly ContractDim[], which: readonly number[], row: LinearOperand, column: LinearOperand): Axis[] {
  const axes: Axis[] = [];
  for (const d of which) {
    const { extent } = dims[d];
    if (extent === 1) continue;
    const axis = { extent, row: row.strides[d], column: column.strides[d] };
    const outer = axes[axes.length - 1];
    if (outer && outer.row === axis.row * extent && outer.column === axis.column * extent)
      axes[axes.length - 1] = { ...axis, extent: outer.extent * extent };
    else axes.push(axis);
  }
  return axes;
}

interface Side {
  readonly rowDims: readonly number[];
  readonly columnDims: readonly number[];
  readonly row: LinearOperand;
  readonly column: LinearOperand;
  readonly rowSource: number;
  readonly unitStores: number;
  /** Operands that are packed once at most. */
  readonly rowKept: boolean;
  readonly columnKept: boolean;
}
interface Layout {
  readonly direct: boolean;
  readonly columns: number;
  readonly pitch: number;
  readonly width: number;
}

/** How the columns of a side lie in memory: in place one after the other, perhaps with gaps between lines, or not. */
function columnLayout(dims: readonly ContractDim[], { columnDims, row, column }: Side): Layout {
  const flat = product(dims, columnDims);
  const axes = axesOf(dims, columnDims, { ...row, strides: dims.map(() => 0) }, column);
  const none = { direct: false, columns: flat, pitch: 0, width: 0 };
  if (axes.length === 0) return { ...none, direct: true };
  const inner = axes[axes.length - 1];
  if (inner.column !== 1) return none;
  if (axes.length === 1) return { ...none, direct: true };
  const [outer] = axes;
  if (axes.length !== 2 || outer.column < inner.extent) return none;
  const columns = (outer.extent - 1) * outer.column + inner.extent;
  return columns <= 1.35 * flat + 16 ? { direct: true, columns, pitch: outer.column, width: inner.extent } : none;
}

/** What a side costs beyond its multiplications, in elements moved. */
function overhead(dims: readonly ContractDim[], side: Side, layout: Layout, k: number): number {
  const rows = product(dims, side.rowDims);
  const flat = product(dims, side.columnDims);
  const amplified = rows * k > 2 * side.rowSource;
  let cost = layout.direct ? ((layout.columns - flat) * rows * k) / 16 : side.columnKept ? 0 : 3 * flat * k;
  cost += side.rowKept ? 0 : amplified ? (rows * k) / 4 : rows * k;
  if (side.unitStores === 0) cost += 4 * rows * flat;
  // A column side narrower than a vector wastes lanes.
  if (flat < 8) cost += (rows * k * (16 - flat)) / 8;
  return cost;
}

/** Accumulators: as many as leave registers for the operands. Two vectors of columns: their loads are what the second-level cache bounds. */
function registerBlock({ registers, lanes }: CTarget, rows: number, columns: number): { blockRows: number; blockVectors: number } {
  const most = registers === 32 ? 24 : 12;
  const vectors = Math.ceil(columns / lanes);
  const wanted = rows >= most / 2 ? 2 : rows >= most / 4 ? 4 : 6;
  const blockVectors = Math.max(1, Math.min(wanted, vectors));
  const limit = Math.floor(most / blockVectors);
  // Panels of equal height: 16 rows are two panels of 8, not 12 and 4.
  const panels = Math.ceil(rows / limit);
  return { blockRows: Math.ceil(rows / panels), blockVectors };
}

/** Plans a contraction, or null where it must stay with WebAssembly. */
export function planCContract(part: ContractPart, target: CTarget): CContractPlan | null {
  if (part.type !== 'f32') return null;
  const { dims } = part;
  const byRole = (role: ContractDim['role']): number[] => dims.flatMap((dim, d) => (dim.role === role ? [d] : []));
  const [batchDims, mDims, nDims, kDims] = [byRole('batch'), byRole('m'), byRole('n'), byRole('k')];
  if (dims.some((d) => d.extent === 0)) return null;
  const a = linearOperand(dims, part.a);
  const b = linearOperand(dims, part.b);
  if (!a || !b) return null;
  const k = product(dims, kDims);
  const unit = (which: readonly number[]): number => {
    const last = which.filter((d) => dims[d].extent > 1).at(-1);
    if (last === undefined) return 0;
    const outputs = dims.flatMap((dim, d) => (dim.role === 'k' ? [] : [d]));
    return unitStores(part.epilogue, part.outputVars[outputs.indexOf(last)]);
  };
  const keeps = (operand: ContractOperand, { access }: { access: LinearOperand }): boolean => operand.kept === true && !access.padding;
  const [aKept, bKept] = [keeps(part.a, a), keeps(part.b, b)];
  const sides: Side[] = [
    {
      rowDims: mDims,
      columnDims: nDims,
      row: a.access,
      column: b.access,
      rowSource: a.sourceElements,
      unitStores: unit(nDims),
      rowKept: aKept,
      columnKept: bKept,
    },
    {
      rowDims: nDims,
      columnDims: mDims,
      row: b.access,
      column: a.access,
      rowSource: b.sourceElements,
      unitStores: unit(mDims),
      rowKept: bKept,
      columnKept: aKept,
    },
  ];
  const layouts = sides.map((side) => columnLayout(dims, side));
  const costs = sides.map((side, i) => overhead(dims, side, layouts[i], k));
  const best = costs[1] < costs[0] ? 1 : 0;
  const side = sides[best];
  const layout = layouts[best];
  const rows = product(dims, side.rowDims);
  const { columns } = layout;
  const batch = product(dims, batchDims);
  const amplified = rows * k > 2 * side.rowSource;
  const rowsPacked = (side.rowKept || columns >= 8 * target.lanes) && !amplified && rows * k <= 2 ** 24;
  const columnsKept = side.columnKept && !layout.direct && columns * k <= 2 ** 26;
  const inPlace = layout.direct || columnsKept;
  const { blockRows, blockVectors } = registerBlock(target, rows, columns);
  const panelColumns = blockVectors * target.lanes;
  const rowPanels = Math.ceil(rows / blockRows);
  const columnPanels = Math.ceil(columns / panelColumns);

  // Cells: enough for the threads, each with at least some 200,000 multiplications.
  const work = batch * rows * columns * k;
  const wanted = Math.max(1, Math.min(32, Math.floor(work / 200_000)));
  const packedLimit = inPlace ? 8 : Math.max(1, Math.floor((768 * 1024) / (4 * k * panelColumns)));
  let cellColumnPanels = Math.min(columnPanels, packedLimit);
  while (cellColumnPanels > 1 && batch * Math.ceil(columnPanels / cellColumnPanels) < wanted) cellColumnPanels--;
  const columnCells = Math.ceil(columnPanels / cellColumnPanels);
  let cellRowPanels = rowPanels;
  while (cellRowPanels > 1 && (inPlace || cellRowPanels > 4) && batch * columnCells * Math.ceil(rowPanels / cellRowPanels) < wanted)
    cellRowPanels--;
  const rowCells = Math.ceil(rowPanels / cellRowPanels);
  const kAxes = axesOf(dims, kDims, side.row, side.column);
  if (kAxes.length === 0) kAxes.push({ extent: 1, row: 0, column: 0 });
  const cells = batch * columnCells * rowCells;
  let slices = 1;
  if (cells * 2 <= wanted && k >= 2048) slices = Math.min(Math.ceil(wanted / cells), kAxes[0].extent, Math.floor(k / 512));
  const sliceLength = Math.ceil(kAxes[0].extent / slices);
  slices = Math.ceil(kAxes[0].extent / sliceLength);
  return {
    target,
    dims,
    batchDims,
    rowDims: side.rowDims,
    columnDims: side.columnDims,
    row: side.row,
    column: side.column,
    batch,
    rows,
    columns,
    pitch: layout.pitch,
    width: layout.width,
    k,
    kAxes,
    rowsPacked,
    columnsDirect: layout.direct,
    rowsKept: rowsPacked && side.rowKept,
    columnsKept,
    blockRows,
    blockVectors,
    cellRowPanels,
    cellColumnPanels,
    rowCells,
    columnCells,
    slices,
    sliceLength,
  };
}
