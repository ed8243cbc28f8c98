/**
 * Decides how a contraction runs. Everything here depends on shapes and engine features alone, never on the number of
 * threads: sums are taken in the same order wherever the cells run.
 *
 * The product is seen as rows times columns: row elements are broadcast, columns lie along vector lanes. Either role
 * (m or n) can be the rows.
 */
import { CompilerError } from '../../errors.js';
import type { LoopVar } from '../../ir/expr.js';
import type { ContractDim, ContractPart } from '../../ir/kernel.js';
import type { WasmFeatures } from '../compiled.js';
import { type Access, type Axis, analyseOperand, axesOf, dependsOn, innermost } from './contract-access.js';
import { unitStores } from './contract-epilogue.js';
import { type VectorType, vectorTypes } from './contract-vector.js';

/** `direct`: read in place. `cell`: packed by each cell into its scratch. `shared`: packed once into the workspace. */
export type OperandMode = 'direct' | 'cell' | 'shared';

export interface OperandPlan {
  readonly access: Access;
  readonly mode: OperandMode;
  readonly batch: readonly Axis[];
  readonly rows: readonly Axis[];
  readonly k: readonly Axis[];
  /** Does it differ between batches? */
  readonly batched: boolean;
  /** Rows in a packed panel, and elements from one k to the next in it. */
  readonly panelRows: number;
  readonly width: number;
}

export interface ContractPlan {
  readonly v: VectorType;
  readonly relaxed: boolean;
  readonly batchDims: readonly number[];
  readonly rowDims: readonly number[];
  readonly columnDims: readonly number[];
  readonly batch: number;
  readonly rows: number;
  readonly columns: number;
  readonly k: number;
  readonly rowOperand: OperandPlan;
  readonly columnOperand: OperandPlan;
  /** `dot`: lanes run along k instead of columns (few rows, k contiguous in both operands). */
  readonly form: 'lanes' | 'dot';
  /** Register block: rows x vectors. */
  readonly blockRows: number;
  readonly blockVectors: number;
  /** Cell: cellRows x cellColumns outputs. */
  readonly cellRows: number;
  readonly cellColumns: number;
  readonly rowCells: number;
  readonly columnCells: number;
  /** k is cut into runs of kRun (within which direct operands step evenly), runs into blocks of kBlock. */
  readonly kRun: number;
  readonly kBlock: number;
  readonly blocksPerRun: number;
  readonly kBlocks: number;
  /** k-blocks are shared out over this many cells, whose sums a second phase adds. */
  readonly slices: number;
  /** The epilogue's lanes run along the rows, not the columns. */
  readonly epilogueAlongRows: boolean;
}

const blockBytes = 256 * 1024;
/** Multiply-adds that make a cell worth claiming. */
const cellWork = 200_000;
const wantedCells = 16;

function product(dims: readonly ContractDim[], which: readonly number[]): number {
  return which.reduce((total, d) => total * (dims[d]?.extent ?? 1), 1);
}

function ceilTo(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}

export function planContract(part: ContractPart, features: WasmFeatures): ContractPlan {
  if (part.type === 'bool') throw new CompilerError('contraction in bool', { expected: 'f32, f64, i32 or i64' });
  const v = vectorTypes[part.type];
  const { dims } = part;
  const byRole = (role: ContractDim['role']): number[] => dims.flatMap((dim, d) => (dim.role === role ? [d] : []));
  // An empty sum has no structure.
  const kDims = product(dims, byRole('k')) === 0 ? [] : byRole('k');
  const a = analyseOperand(dims, part.a);
  const b = analyseOperand(dims, part.b);
  const sides = mergeBatch(dims, a, b, byRole('batch'), byRole('m'), byRole('n'));
  const { batchDims, mDims, nDims } = sides;
  const m = product(dims, mDims);
  const n = product(dims, nDims);
  const k = product(dims, byRole('k'));
  const batch = product(dims, batchDims);

  const epilogueAlongM = lanesAlongM(part, mDims, nDims, m, n);
  const swap = rowsAreN(v, a, b, dims, { mDims, nDims, kDims }, { m, n }, epilogueAlongM);
  const [rowAccess, columnAccess] = swap ? [b, a] : [a, b];
  const [rowDims, columnDims] = swap ? [nDims, mDims] : [mDims, nDims];
  const [rows, columns] = swap ? [n, m] : [m, n];

  const rowAxes = axesOf(rowAccess, dims, rowDims);
  const columnAxes = axesOf(columnAccess, dims, columnDims);
  const rowK = axesOf(rowAccess, dims, kDims);
  const columnK = axesOf(columnAccess, dims, kDims);
  const runs = (axes: readonly Axis[]): number => (axes.length === 1 ? k : innermost(axes).extent);

  const evenRows = isEven(rowAccess, v, rowAxes, rowK);
  const evenColumns = isEven(columnAccess, v, columnAxes, columnK);
  const longRun = (axes: readonly Axis[]): boolean => axes.length === 1 || innermost(axes).extent >= 192;
  const rowK1 = innermost(rowK).stride === 1 || k === 1;
  const columnK1 = innermost(columnK).stride === 1 || k === 1;

  let form: ContractPlan['form'] = 'lanes';
  if (rows <= 3 && evenRows && evenColumns && rowK1 && columnK1 && k >= 8 && longRun(rowK) && longRun(columnK)) form = 'dot';

  const { blockRows, blockVectors } = registerBlock(v, rows, columns, form);
  const blockColumns = blockVectors * v.lanes;
  // A broadcast operand can stay in place when a row is walked along its cache lines, or when it is read only a few times.
  const rowDirect =
    form === 'dot' || (evenRows && longRun(rowK) && (rowK1 || columns <= 4 * blockColumns || rows * k * v.bytes <= 16 * 1024));
  const columnUnit = innermost(columnAxes).stride === 1 || columns === 1;
  const footprint = (innermost(columnK).stride || 1) * runs(columnK) * v.bytes;
  const columnDirect =
    form === 'dot' || (evenColumns && columnUnit && longRun(columnK) && columns % v.lanes === 0 && (rows <= 16 || footprint <= 32 * 1024));

  let kRun = k;
  if (rowDirect) kRun = Math.min(kRun, runs(rowK));
  if (columnDirect) kRun = Math.min(kRun, runs(columnK));

  const blocking = chooseBlocks({
    v,
    batch,
    rows,
    columns,
    k,
    kRun,
    blockRows,
    blockColumns,
    columnDirect,
    rowAmplified: !rowDirect && rowAccess.checks.length > 0,
    columnAmplified: columnAccess.checks.length > 0,
    epilogueAcross: swap !== epilogueAlongM,
  });
  const rowMode: OperandMode = rowDirect ? 'direct' : blocking.columnCells > 1 && rowAccess.checks.length === 0 ? 'shared' : 'cell';
  const columnMode: OperandMode = columnDirect ? 'direct' : blocking.rowCells > 1 && columnAccess.checks.length === 0 ? 'shared' : 'cell';
  const operand = (access: Access, mode: OperandMode, axes: Axis[], kAxes: Axis[], panelRows: number): OperandPlan => ({
    access,
    mode,
    batch: axesOf(access, dims, batchDims),
    rows: axes,
    k: kAxes,
    batched: dependsOn(access, batchDims),
    panelRows,
    width: ceilTo(panelRows, v.lanes),
  });
  return {
    v,
    relaxed: features.relaxedSimd,
    batchDims,
    rowDims,
    columnDims,
    batch,
    rows,
    columns,
    k,
    rowOperand: operand(rowAccess, rowMode, rowAxes, rowK, blockRows),
    columnOperand: operand(columnAccess, columnMode, columnAxes, columnK, blockColumns),
    form,
    blockRows,
    blockVectors,
    kRun,
    epilogueAlongRows: swap !== epilogueAlongM,
    ...blocking,
  };
}

/** A batch dimension that one operand ignores is a row (column) dimension of the other. */
function mergeBatch(
  dims: readonly ContractDim[],
  a: Access,
  b: Access,
  batchDims: number[],
  mDims: number[],
  nDims: number[],
): { batchDims: number[]; mDims: number[]; nDims: number[] } {
  const stay: number[] = [];
  const toM: number[] = [];
  const toN: number[] = [];
  for (const d of batchDims) {
    if ((dims[d]?.extent ?? 1) <= 1) stay.push(d);
    else if (!dependsOn(a, [d])) toN.push(d);
    else if (!dependsOn(b, [d]) && axesOf(a, dims, [d, ...toM, ...mDims]).length === 1) toM.push(d);
    else stay.push(d);
  }
  return { batchDims: stay, mDims: [...toM, ...mDims], nDims: [...toN, ...nDims] };
}

function lanesAlongM(part: ContractPart, mDims: readonly number[], nDims: readonly number[], m: number, n: number): boolean {
  const variables = new Map<number, LoopVar>();
  let next = 0;
  part.dims.forEach((dim, d) => {
    const variable = part.outputVars[next];
    if (dim.role === 'k' || variable === undefined) return;
    next++;
    variables.set(d, variable);
  });
  const unit = (which: readonly number[]): number => {
    const wide = which.filter((d) => (part.dims[d]?.extent ?? 1) > 1);
    const variable = variables.get(wide[wide.length - 1] ?? -1);
    return variable ? unitStores(part.epilogue, variable) : 0;
  };
  const alongM = unit(mDims);
  const alongN = unit(nDims);
  if (n < 4 && m >= 4) return true;
  if (m < 4 && n >= 4) return false;
  return alongM > alongN;
}

/** One stride for all rows, one for k within a run, nothing to check or widen, nothing backwards. */
function isEven(access: Access, v: VectorType, rows: readonly Axis[], k: readonly Axis[]): boolean {
  const limit = 1 << 24;
  const fits = (stride: number): boolean => stride >= 0 && stride < limit;
  return (
    access.checks.length === 0 &&
    access.buffer.dtype === v.dtype &&
    rows.length === 1 &&
    fits(innermost(rows).stride) &&
    fits(innermost(k).stride)
  );
}

function rowsAreN(
  v: VectorType,
  a: Access,
  b: Access,
  dims: readonly ContractDim[],
  which: { readonly mDims: readonly number[]; readonly nDims: readonly number[]; readonly kDims: readonly number[] },
  size: { readonly m: number; readonly n: number },
  epilogueAlongM: boolean,
): boolean {
  const { m, n } = size;
  if (n < 4 && m > n) return true;
  if (m < 4) return false;
  const stays = (access: Access, rows: readonly number[]): boolean => {
    const kAxes = axesOf(access, dims, which.kDims);
    return isEven(access, v, axesOf(access, dims, rows), kAxes) && kAxes.length === 1 && innermost(kAxes).stride === 1;
  };
  // A large operand whose rows are contiguous along k is broadcast in place when the other side fills whole vectors.
  const fills = (extent: number): boolean => extent <= 32 && extent % 4 === 0;
  if (fills(m) && n > 4 * m && stays(b, which.nDims)) return true;
  if (fills(n) && m > 4 * n && stays(a, which.mDims)) return false;
  return epilogueAlongM;
}

function registerBlock(
  v: VectorType,
  rows: number,
  columns: number,
  form: ContractPlan['form'],
): { blockRows: number; blockVectors: number } {
  if (form === 'dot') return { blockRows: rows, blockVectors: rows === 1 ? 8 / v.lanes : 4 / v.lanes };
  // As many accumulators as leave registers for a step's loads, which engines place before its arithmetic.
  const vectors = Math.ceil(columns / v.lanes);
  if (rows === 1) return { blockRows: 1, blockVectors: Math.min(6, vectors) };
  if (rows === 2) return { blockRows: 2, blockVectors: Math.min(4, vectors) };
  if (vectors === 1) return { blockRows: Math.min(rows, 6), blockVectors: 1 };
  return { blockRows: Math.min(rows, 4), blockVectors: 2 };
}

interface BlockInput {
  readonly v: VectorType;
  readonly batch: number;
  readonly rows: number;
  readonly columns: number;
  readonly k: number;
  readonly kRun: number;
  readonly blockRows: number;
  readonly blockColumns: number;
  readonly columnDirect: boolean;
  readonly rowAmplified: boolean;
  readonly columnAmplified: boolean;
  readonly epilogueAcross: boolean;
}

type Blocking = Pick<
  ContractPlan,
  'cellRows' | 'cellColumns' | 'rowCells' | 'columnCells' | 'kBlock' | 'blocksPerRun' | 'kBlocks' | 'slices'
>;

function chooseBlocks(p: BlockInput): Blocking {
  const { v, blockRows, blockColumns } = p;
  const work = p.batch * p.rows * p.columns * Math.max(1, p.k);
  const cellLimit = Math.max(1, Math.min(wantedCells, Math.floor(work / cellWork)));
  const runs = p.k === 0 ? 1 : p.k / p.kRun;
  // Rows read through checks are packed by the cell that uses them: once, when it has all the columns.
  const allColumns = p.rowAmplified && p.columns <= 1024;
  const longest = allColumns ? Math.max(128, Math.min(1024, Math.floor((2 * blockBytes) / (p.columns * v.bytes)))) : 1024;
  let blocksPerRun = Math.max(1, Math.ceil(p.kRun / longest));
  const kBlockOf = (count: number): number => Math.min(p.kRun, ceilTo(Math.ceil(p.kRun / count), 4));
  let kBlock = kBlockOf(blocksPerRun);

  let cellColumns = Math.max(
    blockColumns,
    Math.floor(Math.min(256, blockBytes / (Math.max(1, kBlock) * v.bytes)) / blockColumns) * blockColumns,
  );
  if (allColumns) cellColumns = p.columns;
  cellColumns = Math.min(cellColumns, ceilTo(p.columns, blockColumns));
  let columnCells = Math.ceil(p.columns / cellColumns);
  const leastColumns = Math.max(32, blockColumns);
  if (p.batch * columnCells < cellLimit && !allColumns) {
    columnCells = Math.min(Math.ceil(p.columns / leastColumns), Math.ceil(cellLimit / p.batch));
    columnCells = Math.max(1, columnCells);
  }
  cellColumns = ceilTo(Math.ceil(p.columns / columnCells), blockColumns);
  columnCells = Math.ceil(p.columns / cellColumns);

  let rowCells = 1;
  const several = runs * blocksPerRun > 1;
  if (several || p.epilogueAcross) rowCells = Math.ceil((p.rows * cellColumns * v.bytes) / blockBytes);
  const leastRows = p.columnDirect || p.rowAmplified ? 16 : 64;
  if (p.batch * columnCells * rowCells < cellLimit) {
    rowCells = Math.max(rowCells, Math.min(Math.ceil(p.rows / leastRows), Math.ceil(cellLimit / (p.batch * columnCells))));
  }
  const cellRows = ceilTo(Math.ceil(p.rows / rowCells), blockRows);
  rowCells = Math.ceil(p.rows / cellRows);

  let slices = 1;
  const cells = p.batch * columnCells * rowCells;
  if (cells < cellLimit && p.k >= 2048) {
    const wanted = Math.min(Math.ceil(cellLimit / cells), Math.floor(p.k / 512));
    if (runs * blocksPerRun < wanted) {
      blocksPerRun = Math.ceil(wanted / runs);
      kBlock = kBlockOf(blocksPerRun);
      blocksPerRun = Math.ceil(p.kRun / kBlock);
    }
    slices = Math.min(wanted, runs * blocksPerRun);
  }
  if (p.kRun > 0) blocksPerRun = Math.ceil(p.kRun / kBlock);
  slices = Math.min(slices, runs * blocksPerRun);
  return { cellRows, cellColumns, rowCells, columnCells, kBlock, blocksPerRun, kBlocks: runs * blocksPerRun, slices };
}
