/**
 * Loop nests on a GPU. What the IR says about a vector loop is what a workgroup does: many consecutive iterations at once,
 * values inside it one for each lane, accumulators combined after it. So a cell with long vector loops is one workgroup
 * whose lanes stride through them, and everything outside them is computed by every lane alike (stores by the first alone).
 * Other cells are one invocation each, their loops serial.
 */
import type { ScalarType } from '../../dtype.js';
import { type Expr, type Local, operands } from '../../ir/expr.js';
import type { ForStmt, LoopPart, ReduceOp, Stmt } from '../../ir/kernel.js';
import { linearGroup, workgroups } from './grid.js';
import type { Helpers } from './helpers.js';
import type { Dispatch } from './render.js';
import { Writer, wgslType } from './writer.js';

/** Vector loops shorter than this stay in one invocation. */
const shortest = 32;
export const largestGroup = 256;
/** Cells in a workgroup when each is one invocation. */
const cellsPerGroup = 64;

/** Calls `visit` for every statement, those inside others too; `insideVector` tells whether a vector loop is around it. */
function walk(body: readonly Stmt[], visit: (stmt: Stmt, insideVector: boolean) => void, insideVector = false): void {
  for (const stmt of body) {
    visit(stmt, insideVector);
    if (stmt.kind === 'for') walk(stmt.body, visit, insideVector || stmt.mode === 'vector');
    else if (stmt.kind === 'while') walk(stmt.body, visit, insideVector);
    else if (stmt.kind === 'if') {
      walk(stmt.then, visit, insideVector);
      walk(stmt.otherwise, visit, insideVector);
    }
  }
}
function expressionsOf(stmt: Stmt): readonly Expr[] {
  switch (stmt.kind) {
    case 'for':
      return typeof stmt.extent === 'number' ? [] : [stmt.extent];
    case 'declare':
    case 'assign':
    case 'accumulate':
      return [stmt.value];
    case 'store':
      return [stmt.index, stmt.value];
    case 'if':
    case 'while':
      return [stmt.condition];
    default:
      return stmt satisfies never;
  }
}
/** Whether any node of the expressions has the property. */
function some(roots: readonly Expr[], test: (e: Expr) => boolean): boolean {
  const seen = new Set<Expr>();
  const visit = (e: Expr): boolean => {
    if (seen.has(e)) return false;
    seen.add(e);
    return test(e) || operands(e).some(visit);
  };
  return roots.some(visit);
}

/** Parameters a body reads, those a store combines with included. */
function loadedParams(body: readonly Stmt[]): ReadonlySet<number> {
  const loaded = new Set<number>();
  walk(body, (stmt) => {
    if (stmt.kind === 'store' && stmt.mode !== 'set') loaded.add(stmt.buffer.param);
    some(expressionsOf(stmt), (e) => {
      if (e.kind === 'load') loaded.add(e.buffer.param);
      return false;
    });
  });
  return loaded;
}

/**
 * Lanes for a cell as a workgroup, 0 when it should be one invocation: its vector loops are short, or control flow around
 * them (or around stores) depends on values, and then the lanes could not meet at barriers.
 */
function lanesFor(body: readonly Stmt[]): number {
  let longest = 0;
  let uniform = true;
  const fromIndices = (roots: readonly Expr[]): boolean => !some(roots, (e) => e.kind === 'load' || e.kind === 'local');
  walk(body, (stmt, insideVector) => {
    if (insideVector) return;
    if (stmt.kind === 'while') uniform = false;
    else if (stmt.kind === 'for' && stmt.mode === 'vector') longest = Math.max(longest, typeof stmt.extent === 'number' ? stmt.extent : 64);
    else if (stmt.kind === 'for' || stmt.kind === 'if') uniform &&= fromIndices(expressionsOf(stmt));
  });
  if (!uniform || longest < shortest) return 0;
  return Math.min(largestGroup, 2 ** Math.floor(Math.log2(longest)));
}

/** The rows of a cell, when it is nothing but a loop over rows of which none reads what another wrote: they spread over the grid as cells do. */
function independentRows(body: readonly Stmt[], loaded: ReadonlySet<number>): (ForStmt & { readonly extent: number | Expr }) | null {
  const [rows] = body;
  if (body.length !== 1 || rows?.kind !== 'for' || rows.mode !== 'serial') return null;
  let independent = true;
  walk(rows.body, (stmt) => {
    // Where a store goes must not depend on data either: two rows may then choose the same element.
    if (stmt.kind === 'store')
      independent &&= stmt.mode === 'set' && !loaded.has(stmt.buffer.param) && !some([stmt.index], (e) => e.kind === 'load');
  });
  return independent ? rows : null;
}

/** The largest value a loop's extent can have; null when it is not plain to see. */
function extentBound(extent: number | Expr): number | null {
  if (typeof extent === 'number') return extent;
  if (extent.kind !== 'binary' || extent.op !== 'min') return null;
  const bound = extent.a.kind === 'const' ? extent.a : extent.b;
  return bound.kind === 'const' ? Number(bound.value) : null;
}

class LoopWriter {
  private readonly w: Writer;
  /** 0: this cell is one invocation. */
  private readonly lanes: number;
  private readonly loaded: ReadonlySet<number>;
  private insideVector = false;

  constructor(w: Writer, lanes: number, loaded: ReadonlySet<number>) {
    this.w = w;
    this.lanes = lanes;
    this.loaded = loaded;
  }

  block(body: readonly Stmt[]): void {
    for (const stmt of body) this.stmt(stmt);
  }
  private stmt(stmt: Stmt): void {
    const { w } = this;
    switch (stmt.kind) {
      case 'declare':
        return w.line(`var ${w.nameOf(stmt.local)}: ${wgslType(stmt.local.type)} = ${w.value(stmt.value)};`);
      case 'assign':
        return w.line(`${w.nameOf(stmt.local)} = ${w.value(stmt.value)};`);
      case 'accumulate': {
        const name = w.nameOf(stmt.local);
        return w.line(`${name} = ${w.combine(stmt.op, stmt.local.type, name, w.value(stmt.value))};`);
      }
      case 'store': {
        if (this.lanes === 0 || this.insideVector) return w.store(stmt);
        // Every lane has read what it needs before the first one writes.
        w.store(stmt, (write) => {
          w.line('storageBarrier();');
          w.block('if (lane == 0u)', write);
        });
        return this.loaded.has(stmt.buffer.param) ? w.line('storageBarrier();') : undefined;
      }
      case 'if':
        w.block(`if (${w.value(stmt.condition)})`, () => this.block(stmt.then));
        return stmt.otherwise.length > 0 ? w.block('else', () => this.block(stmt.otherwise)) : undefined;
      case 'while':
        return w.block('loop', () => {
          w.line(`if (!${w.value(stmt.condition)}) { break; }`);
          this.block(stmt.body);
        });
      case 'for':
        return this.loop(stmt);
      default:
        return stmt satisfies never;
    }
  }

  private loop(stmt: ForStmt): void {
    const { w, lanes } = this;
    const i = w.nameOf(stmt.variable);
    const extent = typeof stmt.extent === 'number' ? String(stmt.extent) : w.fresh('extent');
    if (typeof stmt.extent !== 'number') w.line(`let ${extent} = ${w.value(stmt.extent)};`);
    if (stmt.mode === 'serial' || lanes === 0) {
      return w.block(`for (var ${i} = 0; ${i} < ${extent}; ${i}++)`, () => this.block(stmt.body));
    }
    const { reduced, sharing } = this.effects(stmt.body);
    if (sharing) w.line('storageBarrier();');
    for (const [local, op] of reduced) {
      const partial = w.fresh('partial');
      w.line(`var ${partial}: ${wgslType(local.type)} = ${neutral(w, op, local.type)};`);
      w.rename(local, partial);
    }
    this.insideVector = true;
    w.block(`for (var ${i} = i32(lane); ${i} < ${extent}; ${i} += ${lanes})`, () => this.block(stmt.body));
    this.insideVector = false;
    for (const [local, op] of reduced) {
      const partial = w.nameOf(local);
      w.rename(local, null);
      const total = `${this.reduction(op, local.type)}(${partial}, lane, ${lanes}u)`;
      w.line(`${w.nameOf(local)} = ${w.combine(op, local.type, w.nameOf(local), total)};`);
    }
    if (sharing) w.line('storageBarrier();');
  }

  /** Outer locals a vector loop accumulates, and whether it writes a buffer that the cell also reads. */
  private effects(body: readonly Stmt[]): { readonly reduced: ReadonlyMap<Local, ReduceOp>; readonly sharing: boolean } {
    const own = new Set<Local>();
    const reduced = new Map<Local, ReduceOp>();
    let sharing = false;
    walk(body, (stmt) => {
      if (stmt.kind === 'declare') own.add(stmt.local);
      else if (stmt.kind === 'accumulate' && !own.has(stmt.local)) reduced.set(stmt.local, stmt.op);
      else if (stmt.kind === 'store') sharing ||= this.loaded.has(stmt.buffer.param);
    });
    return { reduced, sharing };
  }

  /** The function that combines one value of each lane, in a fixed order; all lanes get the result. */
  private reduction(op: ReduceOp, scalar: ScalarType): string {
    const { helpers } = this.w;
    const type = wgslType(scalar);
    const scratch = helpers.define(`scratch_${type}`, () => `var<workgroup> scratch_${type}: array<${type}, ${largestGroup}>;`);
    const combined = this.w.combine(op, scalar, `${scratch}[lane]`, `${scratch}[lane + half]`);
    return helpers.define(
      `reduce_${op}_${type}`,
      () => `fn reduce_${op}_${type}(value: ${type}, lane: u32, lanes: u32) -> ${type} {
  ${scratch}[lane] = value;
  workgroupBarrier();
  for (var half = lanes / 2u; half > 0u; half = half / 2u) {
    if (lane < half) { ${scratch}[lane] = ${combined}; }
    workgroupBarrier();
  }
  let result = ${scratch}[0];
  workgroupBarrier();
  return result;
}`,
    );
  }
}

function neutral(w: Writer, op: ReduceOp, type: ScalarType): string {
  switch (op) {
    case 'add':
    case 'or':
      return w.constant(type, 0);
    case 'mul':
      return w.constant(type, 1);
    case 'and':
      return w.constant(type, type === 'bool' ? 1 : -1);
    case 'max':
      return w.constant(type, type === 'f32' ? -Infinity : -(2 ** 31));
    case 'min':
      return w.constant(type, type === 'f32' ? Infinity : 2 ** 31 - 1);
    default:
      return op satisfies never;
  }
}

/** Renders a loop nest as one entry point; null when it has nothing to do. */
export function renderLoops(part: LoopPart, entryPoint: string, helpers: Helpers): { code: string; dispatch: Dispatch } | null {
  const w = new Writer(helpers);
  const loaded = loadedParams(part.body);
  const found = independentRows(part.body, loaded);
  const bound = found && extentBound(found.extent);
  const rows = found && bound !== null ? { loop: found, bound } : null;
  const body = rows ? rows.loop.body : part.body;
  const items = part.grid * (rows ? rows.bound : 1);
  if (items === 0) return null;
  const lanes = lanesFor(body);
  const groups = workgroups(lanes > 0 ? items : Math.ceil(items / cellsPerGroup));

  const group = linearGroup(groups);
  w.line(`let item = ${lanes > 0 ? `i32(${group})` : `i32((${group}) * ${cellsPerGroup}u + lane)`};`);
  w.line(`if (item >= ${items}) { return; }`);
  const cell = w.nameOf(part.cell);
  if (!rows) w.line(`let ${cell} = item;`);
  else {
    w.line(`let ${cell} = item / ${rows.bound};`);
    w.line(`let ${w.nameOf(rows.loop.variable)} = item % ${rows.bound};`);
    const { extent, variable } = rows.loop;
    if (typeof extent !== 'number') w.line(`if (${w.nameOf(variable)} >= ${w.value(extent)}) { return; }`);
  }
  new LoopWriter(w, lanes, loaded).block(body);
  const code = `@compute @workgroup_size(${lanes || cellsPerGroup})
fn ${entryPoint}(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
${w}
}`;
  return { code, dispatch: { entryPoint, workgroups: groups } };
}
