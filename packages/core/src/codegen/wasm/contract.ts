/**
 * Contractions (matrix products through coordinates) as WebAssembly: packed, register-blocked, with the epilogue fused.
 *
 * Phase 1 packs operands that several cells share. Phase 2 multiplies: a cell owns a block of the output and walks k in blocks,
 * summing into a tile of its scratch memory, then runs the epilogue on the tile. When there are too few output blocks
 * for several threads, phase 2 is cut along k as well and phase 3 adds the slices in a fixed order.
 */
import type { ContractPart, Kernel } from '../../ir/kernel.js';
import type { CompiledKernel, KernelEntry, Phase, WasmFeatures } from '../compiled.js';
import type { FunctionBuilder, ModuleBuilder, WasmLocal } from './asm.js';
import { innermost } from './contract-access.js';
import { splitDilation } from './contract-dilation.js';
import { emitEpilogue } from './contract-epilogue.js';
import { emitDotKernel, emitRowKernel } from './contract-micro.js';
import { Packer } from './contract-pack.js';
import { type ContractPlan, type OperandPlan, planContract } from './contract-plan.js';
import { addPosition, addProduct, bump } from './contract-walk.js';
import { compileWindow, planWindow } from './contract-window.js';

/** Byte offsets of the pieces of the workspace and of a thread's scratch memory. */
interface Layout {
  readonly rowPack: number;
  readonly columnPack: number;
  readonly partials: number;
  readonly workspaceBytes: number;
  readonly scratchRows: number;
  readonly scratchColumns: number;
  readonly scratchTile: number;
  readonly scratchBytes: number;
  /** The epilogue runs after each register block of rows; else once for the cell (or in phase 3). */
  readonly epiloguePerBlock: boolean;
  /** Bytes from row to row of the tile (of the partial sums when k is sliced). */
  readonly tileStride: number;
  readonly finishRows: number;
}

/** What every function of one contraction is emitted from. */
interface Context {
  readonly module: ModuleBuilder;
  readonly kernel: Kernel;
  readonly part: ContractPart;
  readonly plan: ContractPlan;
  readonly layout: Layout;
  readonly prefix: string;
  readonly epilogue: FunctionBuilder;
}

function panelsOf(operand: OperandPlan, extent: number): number {
  return Math.ceil(extent / operand.panelRows);
}

function ceilTo(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}

function layoutOf(plan: ContractPlan, origin: number): Layout {
  const { v, rowOperand, columnOperand, batch } = plan;
  let workspace = origin;
  const reserve = (bytes: number): number => {
    const start = workspace;
    workspace += ceilTo(bytes, 64);
    return start;
  };
  const shared = (operand: OperandPlan, extent: number): number =>
    operand.mode === 'shared' ? reserve((operand.batched ? batch : 1) * plan.k * panelsOf(operand, extent) * operand.width * v.bytes) : 0;
  const rowPack = shared(rowOperand, plan.rows);
  const columnPack = shared(columnOperand, plan.columns);
  const paddedColumns = ceilTo(plan.columns, plan.blockVectors * v.lanes);
  const sliced = plan.slices > 1;
  const partials = sliced ? reserve(plan.slices * batch * plan.rows * paddedColumns * v.bytes) : 0;
  const tileStride = (sliced ? paddedColumns : plan.cellColumns) * v.bytes;
  const epiloguePerBlock = !sliced && plan.kBlocks === 1 && !plan.epilogueAlongRows;
  const tileRows = epiloguePerBlock ? plan.blockRows : plan.cellRows;
  const finishRows = Math.max(1, Math.min(plan.rows, Math.floor(16384 / tileStride)));
  let scratch = 0;
  const take = (bytes: number): number => {
    const start = scratch;
    scratch += ceilTo(bytes, 64);
    return start;
  };
  const scratchRows = take(rowOperand.mode === 'cell' ? plan.kBlock * rowOperand.width * v.bytes : 0);
  const scratchColumns = take(
    columnOperand.mode === 'cell' ? panelsOf(columnOperand, plan.cellColumns) * plan.kBlock * columnOperand.width * v.bytes : 0,
  );
  const scratchTile = take((sliced ? finishRows : tileRows) * tileStride);
  return {
    rowPack,
    columnPack,
    partials,
    workspaceBytes: workspace - origin,
    scratchRows,
    scratchColumns,
    scratchTile,
    scratchBytes: scratch,
    epiloguePerBlock,
    tileStride,
    finishRows,
  };
}

/**
 * Emits the functions of one contraction into `module`, exported under names that begin with `exportPrefix`.
 * Throws CompilerError for a contraction in `bool`.
 */
export function compileContract(
  module: ModuleBuilder,
  kernel: Kernel,
  part: ContractPart,
  exportPrefix: string,
  features: WasmFeatures,
): CompiledKernel {
  const pieces = splitDilation(part);
  const phases: KernelEntry[][] = [];
  let workspaceBytes = 0;
  let scratchBytes = 0;
  pieces.forEach((piece, i) => {
    const prefix = pieces.length === 1 ? exportPrefix : `${exportPrefix}_${i}`;
    const compiled = compilePiece(module, kernel, piece, prefix, features, workspaceBytes);
    // The pieces write different outputs: their phases run side by side.
    compiled.phases.forEach((phase, p) => {
      phases[p] = [...(phases[p] ?? []), ...phase];
    });
    workspaceBytes += compiled.workspaceBytes;
    scratchBytes = Math.max(scratchBytes, compiled.scratchBytes);
  });
  return { phases, workspaceBytes, scratchBytes };
}

/** `workspace`: where in the kernel's workspace this contraction's begins. */
function compilePiece(
  module: ModuleBuilder,
  kernel: Kernel,
  part: ContractPart,
  prefix: string,
  features: WasmFeatures,
  workspace: number,
): CompiledKernel {
  const window = planWindow(part, features);
  if (window) return compileWindow(module, kernel, part, window, prefix);
  const plan = planContract(part, features);
  if (plan.batch * plan.rows * plan.columns === 0) return { phases: [], workspaceBytes: 0, scratchBytes: 0 };
  const layout = layoutOf(plan, workspace);
  const [outer, inner] = plan.epilogueAlongRows ? [plan.columnDims, plan.rowDims] : [plan.rowDims, plan.columnDims];
  const [outerStep, innerStep] = plan.epilogueAlongRows ? [plan.v.bytes, layout.tileStride] : [layout.tileStride, plan.v.bytes];
  const epilogue = emitEpilogue({ module, kernel, part, v: plan.v, batch: plan.batchDims, outer, inner, outerStep, innerStep });
  const context: Context = { module, kernel, part, plan, layout, prefix, epilogue };

  const phases: Phase[] = [];
  const packing: KernelEntry[] = [];
  const rowPacker = plan.rowOperand.mode === 'direct' ? null : packerOf(context, plan.rowOperand);
  const columnPacker = plan.columnOperand.mode === 'direct' ? null : packerOf(context, plan.columnOperand);
  if (plan.rowOperand.mode === 'shared' && rowPacker) {
    packing.push(emitSharedPack(context, plan.rowOperand, plan.rows, layout.rowPack, rowPacker, `${prefix}_rows`));
  }
  if (plan.columnOperand.mode === 'shared' && columnPacker) {
    packing.push(emitSharedPack(context, plan.columnOperand, plan.columns, layout.columnPack, columnPacker, `${prefix}_columns`));
  }
  if (packing.length > 0) phases.push(packing);
  phases.push([emitCells(context, rowPacker, columnPacker)]);
  if (plan.slices > 1) phases.push([emitFinish(context)]);
  return { phases, workspaceBytes: layout.workspaceBytes, scratchBytes: layout.scratchBytes };
}

function packerOf({ module, plan }: Context, operand: OperandPlan): FunctionBuilder {
  return new Packer(module, plan.v, {
    access: operand.access,
    rows: operand.rows,
    k: operand.k,
    width: operand.width,
    panelRows: operand.panelRows,
  }).function();
}

/** `for cell in [begin, end)`. */
function forCells(fn: FunctionBuilder, begin: WasmLocal, end: WasmLocal, body: (cell: WasmLocal) => void): void {
  const cell = fn.local('i32');
  fn.get(begin).set(cell);
  const done = fn.block();
  const loop = fn.loop();
  fn.get(cell).get(end).op('i32.ge_u').brIf(done);
  body(cell);
  bump(fn, cell, 1);
  fn.br(loop);
  fn.end();
  fn.end();
  fn.free(cell);
}

/** digit = rest % extent, rest /= extent. */
function takeDigit(fn: FunctionBuilder, rest: WasmLocal, extent: number, digit: WasmLocal): void {
  if (extent === 1) {
    fn.i32(0).set(digit);
    return;
  }
  fn.get(rest).i32(extent).op('i32.rem_u').set(digit);
  fn.get(rest).i32(extent).op('i32.div_u').set(rest);
}

function setMin(fn: FunctionBuilder, out: WasmLocal, a: WasmLocal, limit: number): void {
  fn.get(a).i32(limit).get(a).i32(limit).op('i32.lt_u').op('select').set(out);
}

/** Address of an operand's first element for this batch, and the coordinates of its checks there. */
function operandOrigin(
  fn: FunctionBuilder,
  operand: OperandPlan,
  args: WasmLocal,
  batch: WasmLocal,
): { base: WasmLocal; coordinates: WasmLocal[] } {
  const { access } = operand;
  const base = fn.local('i32');
  const coordinates = access.checks.map((check) => {
    const c = fn.local('i32');
    fn.i32(check.offset).set(c);
    return c;
  });
  fn.get(args)
    .mem('i32.load', access.buffer.param * 4)
    .i32(access.base * access.elementBytes)
    .op('i32.add')
    .set(base);
  addPosition(fn, operand.batch, access.elementBytes, batch, base, coordinates);
  return { base, coordinates };
}

/** Locals of a block of k: its number, first index and length. */
interface KBlock {
  readonly number: WasmLocal;
  readonly start: WasmLocal;
  readonly count: WasmLocal;
}

/** Fills `start` and `count` of block `number`. */
function locateKBlock(fn: FunctionBuilder, plan: ContractPlan, block: KBlock): void {
  if (plan.kBlocks === 1) {
    fn.i32(0).set(block.start);
    fn.i32(plan.k).set(block.count);
    return;
  }
  const within = fn.local('i32');
  fn.get(block.number).i32(plan.blocksPerRun).op('i32.rem_u').i32(plan.kBlock).op('i32.mul').set(within);
  fn.get(block.number).i32(plan.blocksPerRun).op('i32.div_u').i32(plan.kRun).op('i32.mul').get(within).op('i32.add').set(block.start);
  fn.i32(plan.kRun).get(within).op('i32.sub').set(within);
  setMin(fn, block.count, within, plan.kBlock);
  fn.free(within);
}

/** Pushes the address of packed panel `panel` (a local) of k-block `block`. */
function sharedPanel(
  fn: FunctionBuilder,
  { plan, kernel }: Context,
  operand: OperandPlan,
  extent: number,
  offset: number,
  locals: { readonly args: WasmLocal; readonly batch: WasmLocal; readonly block: KBlock; readonly panel: WasmLocal },
): void {
  const perK = panelsOf(operand, extent) * operand.width * plan.v.bytes;
  fn.get(locals.args)
    .mem('i32.load', kernel.params.length * 4)
    .i32(offset)
    .op('i32.add');
  if (operand.batched) addProduct(fn, locals.batch, plan.k * perK);
  addProduct(fn, locals.block.start, perK);
  fn.get(locals.panel)
    .get(locals.block.count)
    .op('i32.mul')
    .i32(operand.width * plan.v.bytes)
    .op('i32.mul')
    .op('i32.add');
}

/** Phase 1: packs one operand into the workspace. */
function emitSharedPack(
  context: Context,
  operand: OperandPlan,
  extent: number,
  offset: number,
  packer: FunctionBuilder,
  exportName: string,
): KernelEntry {
  const { module, plan } = context;
  const panels = panelsOf(operand, extent);
  const panelsPerCell = Math.max(1, Math.min(panels, Math.round(16384 / (Math.max(1, plan.kBlock) * operand.width))));
  const groups = Math.ceil(panels / panelsPerCell);
  const grid = (operand.batched ? plan.batch : 1) * plan.kBlocks * groups;
  const fn = module.function(['i32', 'i32', 'i32', 'i32'], [], exportName);
  const [begin, end, args] = fn.params as [WasmLocal, WasmLocal, WasmLocal];
  const rest = fn.local('i32');
  const batch = fn.local('i32');
  const panel = fn.local('i32');
  const first = fn.local('i32');
  const last = fn.local('i32');
  const block: KBlock = { number: fn.local('i32'), start: fn.local('i32'), count: fn.local('i32') };
  forCells(fn, begin, end, (cell) => {
    fn.get(cell).set(rest);
    takeDigit(fn, rest, groups, panel);
    takeDigit(fn, rest, plan.kBlocks, block.number);
    fn.get(rest).set(batch);
    locateKBlock(fn, plan, block);
    fn.get(panel).i32(panelsPerCell).op('i32.mul').tee(panel).i32(operand.panelRows).op('i32.mul').tee(first);
    fn.i32(panelsPerCell * operand.panelRows)
      .op('i32.add')
      .set(last);
    setMin(fn, last, last, extent);
    const origin = operandOrigin(fn, operand, args, batch);
    fn.get(origin.base);
    for (const c of origin.coordinates) fn.get(c);
    fn.get(first).get(last).get(block.start).get(block.count);
    sharedPanel(fn, context, operand, extent, offset, { args, batch, block, panel });
    fn.call(packer.index);
    fn.free(origin.base, ...origin.coordinates);
  });
  return { exportName, grid, chunk: 1 };
}

/** The functions for whole register blocks and for the last rows. */
function emitMicroKernels({ module, plan, layout }: Context): { whole: FunctionBuilder; edge: FunctionBuilder | null } {
  const { v, rowOperand, columnOperand, blockRows, blockVectors } = plan;
  const accumulates = plan.kBlocks > 1;
  const rowStride = innermost(rowOperand.rows).stride * v.bytes;
  const columnStride = innermost(columnOperand.rows).stride * v.bytes;
  const blockColumns = blockVectors * v.lanes;
  const make = (rows: number): FunctionBuilder => {
    const common = { v, relaxed: plan.relaxed, rows, cRow: layout.tileStride, accumulates };
    if (plan.form === 'dot') {
      return emitDotKernel(module, {
        ...common,
        groups: blockVectors,
        tailColumns: plan.columns % blockColumns,
        aRow: rowStride,
        bColumn: columnStride,
      });
    }
    const tailVectors = Math.ceil((plan.columns % blockColumns) / v.lanes);
    return emitRowKernel(module, {
      ...common,
      vectors: blockVectors,
      tailVectors: tailVectors === blockVectors ? 0 : tailVectors,
      a:
        rowOperand.mode === 'direct'
          ? { row: rowStride, k: innermost(rowOperand.k).stride * v.bytes }
          : { row: v.bytes, k: rowOperand.width * v.bytes },
      b:
        columnOperand.mode === 'direct'
          ? { k: innermost(columnOperand.k).stride * v.bytes, panel: blockVectors * 16 }
          : { k: blockVectors * 16, panel: null },
    });
  };
  const left = plan.rows % blockRows;
  return { whole: make(blockRows), edge: left === 0 ? null : make(left) };
}

/** Phase 2: blocks of the output (times slices of k). */
function emitCells(context: Context, rowPacker: FunctionBuilder | null, columnPacker: FunctionBuilder | null): KernelEntry {
  const { module, plan, layout, epilogue, kernel } = context;
  const { v, rowOperand, columnOperand, blockRows } = plan;
  const blockColumns = plan.blockVectors * v.lanes;
  const { whole, edge } = emitMicroKernels(context);
  const exportName = `${context.prefix}_multiply`;
  const sliced = plan.slices > 1;
  const fn = module.function(['i32', 'i32', 'i32', 'i32'], [], exportName);
  const [begin, end, args, scratch] = fn.params as [WasmLocal, WasmLocal, WasmLocal, WasmLocal];
  const i32s = (count: number): WasmLocal[] => Array.from({ length: count }, () => fn.local('i32'));
  const [rest, batch, slice, r0, r1, c0, c1, row] = i32s(8) as [
    WasmLocal,
    WasmLocal,
    WasmLocal,
    WasmLocal,
    WasmLocal,
    WasmLocal,
    WasmLocal,
    WasmLocal,
  ];
  const [panels, tail, tile, lastBlock, rowEnd, rowPointer, columnPointer, panel] = i32s(8) as [
    WasmLocal,
    WasmLocal,
    WasmLocal,
    WasmLocal,
    WasmLocal,
    WasmLocal,
    WasmLocal,
    WasmLocal,
  ];
  const [accumulate, packedFor, key] = i32s(3) as [WasmLocal, WasmLocal, WasmLocal];
  const block: KBlock = { number: fn.local('i32'), start: fn.local('i32'), count: fn.local('i32') };
  const keepsPack = columnOperand.mode === 'cell' && plan.rowCells > 1 && plan.kBlocks === 1;
  fn.i32(-1).set(packedFor);

  const callEpilogue = (first: WasmLocal, last: WasmLocal): void => {
    fn.get(args).get(tile).get(batch);
    const rows = (): void => {
      fn.get(first).get(last).get(first).op('i32.sub');
    };
    const columns = (): void => {
      fn.get(c0).get(c1).get(c0).op('i32.sub');
    };
    if (plan.epilogueAlongRows) {
      columns();
      rows();
    } else {
      rows();
      columns();
    }
    fn.call(epilogue.index);
  };

  forCells(fn, begin, end, (cell) => {
    fn.get(cell).set(rest);
    takeDigit(fn, rest, plan.rowCells, r0);
    fn.get(rest).set(key);
    takeDigit(fn, rest, plan.slices, slice);
    takeDigit(fn, rest, plan.columnCells, c0);
    fn.get(rest).set(batch);
    const range = (first: WasmLocal, last: WasmLocal, size: number, extent: number): void => {
      fn.get(first).i32(size).op('i32.mul').tee(first).i32(size).op('i32.add').set(last);
      setMin(fn, last, last, extent);
    };
    range(r0, r1, plan.cellRows, plan.rows);
    range(c0, c1, plan.cellColumns, plan.columns);
    fn.get(c1).get(c0).op('i32.sub').i32(blockColumns).op('i32.div_u').set(panels);
    fn.get(c1).get(c0).op('i32.sub').i32(blockColumns).op('i32.rem_u').set(tail);
    if (plan.form === 'lanes' && plan.columns % blockColumns > blockColumns - v.lanes) {
      // The last panel is padded to a whole one.
      fn.get(panels).get(tail).i32(0).op('i32.ne').op('i32.add').set(panels);
    }
    const rowOrigin = operandOrigin(fn, rowOperand, args, batch);
    const columnOrigin = operandOrigin(fn, columnOperand, args, batch);
    if (sliced) {
      fn.get(args)
        .mem('i32.load', kernel.params.length * 4)
        .i32(layout.partials)
        .op('i32.add');
      addProduct(fn, slice, plan.batch * plan.rows * layout.tileStride);
      addProduct(fn, batch, plan.rows * layout.tileStride);
      addProduct(fn, r0, layout.tileStride);
      addProduct(fn, c0, v.bytes);
      fn.set(tile);
      fn.get(slice).i32(plan.kBlocks).op('i32.mul').i32(plan.slices).op('i32.div_u').set(block.number);
      fn.get(slice).i32(1).op('i32.add').i32(plan.kBlocks).op('i32.mul').i32(plan.slices).op('i32.div_u').set(lastBlock);
    } else {
      fn.get(scratch).i32(layout.scratchTile).op('i32.add').set(tile);
      fn.i32(0).set(block.number);
      fn.i32(plan.kBlocks).set(lastBlock);
    }
    fn.i32(0).set(accumulate);
    const blocks = fn.loop();
    locateKBlock(fn, plan, block);
    placeColumns();
    fn.get(r0).set(row);
    const rows = fn.loop();
    fn.get(row).i32(blockRows).op('i32.add').set(rowEnd);
    setMinLocal(fn, rowEnd, r1);
    placeRow();
    const callKernel = (target: FunctionBuilder): void => {
      fn.get(rowPointer).get(columnPointer).get(tile);
      if (!layout.epiloguePerBlock) {
        fn.get(row).get(r0).op('i32.sub').i32(layout.tileStride).op('i32.mul').op('i32.add');
      }
      fn.get(block.count).get(panels).get(tail).get(accumulate).call(target.index);
    };
    if (edge) {
      fn.get(rowEnd).get(row).op('i32.sub').i32(blockRows).op('i32.eq');
      fn.if();
      callKernel(whole);
      fn.else();
      callKernel(edge);
      fn.end();
    } else callKernel(whole);
    if (layout.epiloguePerBlock) callEpilogue(row, rowEnd);
    bump(fn, row, blockRows);
    fn.get(row).get(r1).op('i32.lt_u').brIf(rows);
    fn.end();
    fn.i32(1).set(accumulate);
    bump(fn, block.number, 1);
    fn.get(block.number).get(lastBlock).op('i32.lt_u').brIf(blocks);
    fn.end();
    if (!sliced && !layout.epiloguePerBlock) callEpilogue(r0, r1);
    fn.free(rowOrigin.base, ...rowOrigin.coordinates, columnOrigin.base, ...columnOrigin.coordinates);

    function placeColumns(): void {
      if (columnOperand.mode === 'direct') {
        fn.get(columnOrigin.base);
        addProduct(fn, c0, innermost(columnOperand.rows).stride * v.bytes);
        fn.set(columnPointer);
        addPosition(fn, columnOperand.k, v.bytes, block.start, columnPointer, []);
      } else if (columnOperand.mode === 'shared') {
        fn.get(c0).i32(blockColumns).op('i32.div_u').set(panel);
        sharedPanel(fn, context, columnOperand, plan.columns, layout.columnPack, { args, batch, block, panel });
        fn.set(columnPointer);
      } else if (columnPacker) {
        fn.get(scratch).i32(layout.scratchColumns).op('i32.add').set(columnPointer);
        if (keepsPack) {
          fn.get(key).get(packedFor).op('i32.ne');
          fn.if();
        }
        fn.get(columnOrigin.base);
        for (const c of columnOrigin.coordinates) fn.get(c);
        fn.get(c0).get(c1).get(block.start).get(block.count).get(columnPointer).call(columnPacker.index);
        if (keepsPack) {
          fn.get(key).set(packedFor);
          fn.end();
        }
      }
    }
    function placeRow(): void {
      if (rowOperand.mode === 'direct') {
        fn.get(rowOrigin.base);
        addProduct(fn, row, innermost(rowOperand.rows).stride * v.bytes);
        fn.set(rowPointer);
        addPosition(fn, rowOperand.k, v.bytes, block.start, rowPointer, []);
      } else if (rowOperand.mode === 'shared') {
        fn.get(row).i32(blockRows).op('i32.div_u').set(panel);
        sharedPanel(fn, context, rowOperand, plan.rows, layout.rowPack, { args, batch, block, panel });
        fn.set(rowPointer);
      } else if (rowPacker) {
        fn.get(scratch).i32(layout.scratchRows).op('i32.add').set(rowPointer);
        fn.get(rowOrigin.base);
        for (const c of rowOrigin.coordinates) fn.get(c);
        fn.get(row).get(rowEnd).get(block.start).get(block.count).get(rowPointer).call(rowPacker.index);
      }
    }
  });
  const grid = plan.batch * plan.columnCells * plan.slices * plan.rowCells;
  const perCell = (plan.cellRows * plan.cellColumns * Math.max(1, plan.k)) / plan.slices;
  const chunk = Math.max(1, Math.min(Math.ceil(grid / 16), Math.floor(400_000 / perCell)));
  return { exportName, grid, chunk };
}

/** out = min(out, limit). */
function setMinLocal(fn: FunctionBuilder, out: WasmLocal, limit: WasmLocal): void {
  fn.get(out).get(limit).get(out).get(limit).op('i32.lt_u').op('select').set(out);
}

/** Phase 3: adds the slices of some rows and runs the epilogue. */
function emitFinish(context: Context): KernelEntry {
  const { module, plan, layout, kernel, epilogue } = context;
  const { v } = plan;
  const exportName = `${context.prefix}_finish`;
  const fn = module.function(['i32', 'i32', 'i32', 'i32'], [], exportName);
  const [begin, end, args, scratch] = fn.params as [WasmLocal, WasmLocal, WasmLocal, WasmLocal];
  const groups = Math.ceil(plan.rows / layout.finishRows);
  const rest = fn.local('i32');
  const batch = fn.local('i32');
  const r0 = fn.local('i32');
  const r1 = fn.local('i32');
  const source = fn.local('i32');
  const address = fn.local('i32');
  const out = fn.local('i32');
  const left = fn.local('i32');
  const slice = fn.local('i32');
  const sum = fn.local('v128');
  const align = Math.log2(v.bytes);
  const sliceBytes = plan.batch * plan.rows * layout.tileStride;
  forCells(fn, begin, end, (cell) => {
    fn.get(cell).set(rest);
    takeDigit(fn, rest, groups, r0);
    fn.get(rest).set(batch);
    fn.get(r0).i32(layout.finishRows).op('i32.mul').tee(r0).i32(layout.finishRows).op('i32.add').set(r1);
    setMin(fn, r1, r1, plan.rows);
    fn.get(args)
      .mem('i32.load', kernel.params.length * 4)
      .i32(layout.partials)
      .op('i32.add');
    addProduct(fn, batch, plan.rows * layout.tileStride);
    addProduct(fn, r0, layout.tileStride);
    fn.set(source);
    fn.get(scratch).i32(layout.scratchTile).op('i32.add').set(out);
    fn.get(r1)
      .get(r0)
      .op('i32.sub')
      .i32(layout.tileStride / 16)
      .op('i32.mul')
      .set(left);
    const loop = fn.loop();
    fn.get(source).mem('v128.load', 0, align).set(sum);
    fn.get(source).set(address);
    fn.i32(plan.slices - 1).set(slice);
    const add = fn.loop();
    bump(fn, address, sliceBytes);
    fn.get(sum).get(address).mem('v128.load', 0, align).op(v.add).set(sum);
    bump(fn, slice, -1);
    fn.get(slice).brIf(add);
    fn.end();
    fn.get(out).get(sum).mem('v128.store', 0, align);
    bump(fn, out, 16);
    bump(fn, source, 16);
    bump(fn, left, -1);
    fn.get(left).brIf(loop);
    fn.end();
    fn.get(args).get(scratch).i32(layout.scratchTile).op('i32.add').get(batch);
    if (plan.epilogueAlongRows) fn.i32(0).i32(plan.columns).get(r0).get(r1).get(r0).op('i32.sub');
    else fn.get(r0).get(r1).get(r0).op('i32.sub').i32(0).i32(plan.columns);
    fn.call(epilogue.index);
  });
  return { exportName, grid: plan.batch * groups, chunk: 1 };
}
