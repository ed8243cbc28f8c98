/**
 * Packing: copies a block of an operand into panels `[panel][k][width]` that the multiplication reads in order.
 * Elements outside the operand (checks that fail, rows past the end of the last panel) become zeros.
 */
import type { FunctionBuilder, ModuleBuilder, ValType, WasmLocal } from './asm.js';
import { type Axis, innermost } from './contract-access.js';
import { loadScalar, loadVector, transpose, type VectorType, zeroBytes } from './contract-vector.js';
import { addPosition, addProduct, at, bump, KWalk, type PackSpec } from './contract-walk.js';

/** Emits the functions that pack one operand. */
export class Packer {
  private readonly checkCount: number;
  private readonly rowInner: Axis;
  private readonly kInner: Axis;
  private readonly mode: 'rows' | 'k' | 'scalar';
  private column: FunctionBuilder | null = null;
  private lanesAlongRows: FunctionBuilder | null = null;
  private lanesAlongK: FunctionBuilder | null = null;
  private readonly module: ModuleBuilder;
  private readonly v: VectorType;
  private readonly spec: PackSpec;

  constructor(module: ModuleBuilder, v: VectorType, spec: PackSpec) {
    const { access } = spec;
    this.module = module;
    this.v = v;
    this.spec = spec;
    this.checkCount = access.checks.length;
    this.rowInner = innermost(spec.rows);
    this.kInner = innermost(spec.k);
    const plain = (axis: Axis): boolean => access.checks.every((check, j) => check.dilation === 1 || axis.checkSteps[j] === 0);
    const rowUnit = this.rowInner.stride === 1 && this.rowInner.extent > 1;
    if (plain(this.rowInner) && rowUnit && this.rowInner.extent >= v.lanes) this.mode = 'rows';
    else if (plain(this.kInner) && this.kInner.stride === 1 && this.kInner.extent >= v.lanes) this.mode = 'k';
    else if (access.buffer.dtype === v.dtype && plain(this.rowInner) && this.rowInner.extent >= v.lanes) this.mode = 'rows';
    else this.mode = 'scalar';
  }

  /**
   * `(source, coordinates..., r0, r1, k0, kCount, destination)`: packs rows [r0, r1) and kCount values of k from k0.
   * `source` includes the offset of the batch, the coordinates that of the checks and the batch; r0 begins a panel.
   */
  function(): FunctionBuilder {
    const { module, spec, v, mode } = this;
    const params: ValType[] = new Array<ValType>(this.checkCount + 6).fill('i32');
    const fn = module.function(params);
    const source = at(fn.params, 0);
    const coordinates = fn.params.slice(1, 1 + this.checkCount);
    const [r0, r1, k0, kCount, destination] = fn.params.slice(1 + this.checkCount) as [
      WasmLocal,
      WasmLocal,
      WasmLocal,
      WasmLocal,
      WasmLocal,
    ];
    const row = fn.local('i32');
    const panel = fn.local('i32');
    fn.get(r0).set(row);
    fn.get(destination).set(panel);
    const done = fn.block();
    const panels = fn.loop();
    fn.get(row).get(r1).op('i32.ge_u').brIf(done);
    this.panel(fn, { source, coordinates, row, end: r1, k0, kCount, panel });
    bump(fn, row, spec.panelRows);
    fn.get(panel);
    addProduct(fn, kCount, spec.width * v.bytes);
    fn.set(panel);
    fn.br(panels);
    fn.end();
    fn.end();
    if (mode !== 'k') this.columnFunction();
    return fn;
  }

  private panel(fn: FunctionBuilder, p: PanelLocals): void {
    const { v, spec, mode } = this;
    const wide = spec.panelRows / v.lanes;
    const whole = mode === 'rows' && Number.isInteger(wide) && wide > 1 && wide <= 8 ? fn.block() : null;
    if (whole && this.rowInner.extent >= spec.panelRows) {
      // All rows of the panel are consecutive in memory: one pass over k for the panel.
      const narrowPanel = fn.block();
      this.unlessConsecutive(fn, p.row, p.end, spec.panelRows, narrowPanel);
      this.rowGroup(fn, p, p.row, 0, wide);
      fn.br(whole);
      fn.end();
    }
    const row = fn.local('i32');
    for (let i = 0; i < spec.panelRows; i += v.lanes) {
      fn.get(p.row).i32(i).op('i32.add').set(row);
      const lanes = Math.min(v.lanes, spec.panelRows - i);
      if (mode === 'k') this.kGroup(fn, p, row, i, lanes);
      else if (mode === 'rows' && lanes === v.lanes) {
        const finished = fn.block();
        const scattered = fn.block();
        this.unlessConsecutive(fn, row, p.end, v.lanes, scattered);
        this.rowGroup(fn, p, row, i, 1);
        fn.br(finished);
        fn.end();
        this.columns(fn, p, row, i, lanes);
        fn.end();
      } else this.columns(fn, p, row, i, lanes);
    }
    fn.free(row);
    if (whole) fn.end();
  }

  /** Branches to `otherwise` unless rows [row, row + count) exist and lie in one run of the innermost row axis. */
  private unlessConsecutive(
    fn: FunctionBuilder,
    row: WasmLocal,
    end: WasmLocal,
    count: number,
    otherwise: ReturnType<FunctionBuilder['block']>,
  ): void {
    fn.get(row).i32(count).op('i32.add').get(end).op('i32.gt_u').brIf(otherwise);
    if (this.spec.rows.length === 1) return;
    fn.get(row)
      .i32(this.rowInner.extent)
      .op('i32.rem_u')
      .i32(this.rowInner.extent - count)
      .op('i32.gt_u')
      .brIf(otherwise);
  }

  /** Loads offset and coordinates of one row into fresh locals. */
  private rowPosition(fn: FunctionBuilder, p: PanelLocals, row: WasmLocal): { address: WasmLocal; coordinates: WasmLocal[] } {
    const address = fn.local('i32');
    fn.get(p.source).set(address);
    const coordinates = p.coordinates.map((c) => {
      const local = fn.local('i32');
      fn.get(c).set(local);
      return local;
    });
    addPosition(fn, this.spec.rows, this.spec.access.elementBytes, row, address, coordinates);
    return { address, coordinates };
  }

  /** Pushes a flag: do the given checks hold at this point? Dilated ones also add to `address`. */
  private pointChecks(
    fn: FunctionBuilder,
    which: readonly number[],
    row: readonly WasmLocal[],
    k: readonly WasmLocal[],
    address: WasmLocal,
  ): void {
    const { access } = this.spec;
    const c = fn.local('i32');
    if (which.length === 0) fn.i32(1);
    which.forEach((j, n) => {
      const check = at(access.checks, j);
      fn.get(at(row, j)).get(at(k, j)).op('i32.add');
      if (check.dilation === 1) fn.i32(check.extent).op('i32.lt_u');
      else {
        fn.tee(c)
          .i32(check.extent * check.dilation)
          .op('i32.lt_u');
        fn.get(c).i32(check.dilation).op('i32.rem_u').op('i32.eqz').op('i32.and');
        fn.get(address)
          .get(c)
          .i32(check.dilation)
          .op('i32.div_s')
          .i32(check.stride * access.elementBytes)
          .op('i32.mul');
        fn.op('i32.add').set(address);
      }
      if (n > 0) fn.op('i32.and');
    });
    fn.free(c);
  }

  /** Pushes a flag: do `lanes` lanes from `first` on, `step` apart in the coordinate, all pass check j? */
  private laneCheck(
    fn: FunctionBuilder,
    j: number,
    step: number,
    [first, lanes]: readonly [first: number, lanes: number],
    row: readonly WasmLocal[],
    k: readonly WasmLocal[],
  ): void {
    const reach = (lanes - 1) * Math.abs(step);
    const offset = first * step + (step < 0 ? -reach : 0);
    fn.get(at(row, j)).get(at(k, j)).op('i32.add');
    if (offset !== 0) fn.i32(offset).op('i32.add');
    fn.i32(Math.max(0, at(this.spec.access.checks, j).extent - reach)).op('i32.lt_u');
  }

  /** `vectors` vectors of consecutive rows from `row`, all k. */
  private rowGroup(fn: FunctionBuilder, p: PanelLocals, row: WasmLocal, slot: number, vectors: number): void {
    const { spec, v } = this;
    const { access } = spec;
    const position = this.rowPosition(fn, p, row);
    const walk = new KWalk(fn, spec);
    const out = fn.local('i32');
    const address = fn.local('i32');
    const count = fn.local('i32');
    const value = fn.local('v128');
    const all = access.checks.map((_, j) => j);
    const laneChecks = all.filter((j) => this.rowInner.checkSteps[j] !== 0);
    const stepChecks = all.filter((j) => !laneChecks.includes(j) && this.kInner.checkSteps[j] !== 0);
    const runChecks = all.filter((j) => !laneChecks.includes(j) && !stepChecks.includes(j));
    const extra = fn.local('i32');
    const pitch = spec.width * v.bytes;
    fn.get(p.panel)
      .i32(slot * v.bytes)
      .op('i32.add')
      .set(out);
    walk.emit(p.k0, p.kCount, () => {
      fn.get(walk.run).set(count);
      const next = fn.block();
      if (runChecks.length > 0) {
        fn.get(position.address).set(extra);
        this.pointChecks(fn, runChecks, position.coordinates, walk.coordinates, extra);
        fn.op('i32.eqz');
        fn.if();
        const zeros = fn.loop();
        for (let i = 0; i < vectors; i++)
          fn.get(out)
            .v128(zeroBytes)
            .mem('v128.store', i * 16, 2);
        bump(fn, out, pitch);
        bump(fn, count, -1);
        fn.get(count).brIf(zeros);
        fn.end();
        walk.advanceBy(walk.run);
        fn.br(next);
        fn.end();
      }
      const base = runChecks.length > 0 ? extra : position.address;
      const step = fn.loop();
      fn.get(base).get(walk.offset).op('i32.add').set(address);
      if (laneChecks.length + stepChecks.length === 0) {
        for (let i = 0; i < vectors; i++) {
          fn.get(out);
          this.loadLanes(fn, address, this.rowInner, i * v.lanes, value);
          fn.mem('v128.store', i * 16, 2);
        }
      } else {
        const stored = fn.block();
        const zero = fn.block();
        if (stepChecks.length > 0) {
          this.pointChecks(fn, stepChecks, position.coordinates, walk.coordinates, address);
          fn.op('i32.eqz').brIf(zero);
        }
        const inside = (first: number, lanes: number): void => {
          laneChecks.forEach((j, n) => {
            this.laneCheck(fn, j, this.rowInner.checkSteps[j] ?? 0, [first, lanes], position.coordinates, walk.coordinates);
            if (n > 0) fn.op('i32.and');
          });
        };
        const load = (i: number): void => this.loadLanes(fn, address, this.rowInner, i * v.lanes, value);
        if (laneChecks.length > 0 && vectors > 1) {
          inside(0, vectors * v.lanes);
          fn.if();
        }
        if (laneChecks.length === 0 || vectors > 1) {
          for (let i = 0; i < vectors; i++) {
            fn.get(out);
            load(i);
            fn.mem('v128.store', i * 16, 2);
          }
        }
        if (laneChecks.length > 0) {
          if (vectors > 1) fn.else();
          for (let i = 0; i < vectors; i++) {
            fn.get(out);
            inside(i * v.lanes, v.lanes);
            fn.if('v128');
            load(i);
            fn.else();
            fn.get(address)
              .i32(i * v.lanes * this.rowInner.stride * access.elementBytes)
              .op('i32.add');
            for (const j of laneChecks) {
              fn.get(at(position.coordinates, j)).get(at(walk.coordinates, j)).op('i32.add');
              fn.i32(i * v.lanes * (this.rowInner.checkSteps[j] ?? 0)).op('i32.add');
            }
            fn.call(this.rowLaneLoader().index);
            fn.end();
            fn.mem('v128.store', i * 16, 2);
          }
          if (vectors > 1) fn.end();
        }
        fn.br(stored);
        fn.end();
        for (let i = 0; i < vectors; i++)
          fn.get(out)
            .v128(zeroBytes)
            .mem('v128.store', i * 16, 2);
        fn.end();
      }
      walk.advance(this.kInner, 1);
      bump(fn, out, pitch);
      bump(fn, count, -1);
      fn.get(count).brIf(step);
      fn.end();
      fn.end();
    });
    walk.free();
    fn.free(out, address, count, value, extra, position.address, ...position.coordinates);
  }

  /** Up to `lanes` rows with consecutive k in memory: squares are transposed in registers. */
  private kGroup(fn: FunctionBuilder, p: PanelLocals, row: WasmLocal, slot: number, lanes: number): void {
    const { spec, v, kInner } = this;
    const { access } = spec;
    const walk = new KWalk(fn, spec);
    const all = access.checks.map((_, j) => j);
    const laneChecks = all.filter((j) => kInner.checkSteps[j] !== 0);
    const runChecks = all.filter((j) => !laneChecks.includes(j));
    const out = fn.local('i32');
    const address = fn.local('i32');
    const index = fn.local('i32');
    const half = fn.local('i32');
    const rows = Array.from({ length: v.lanes }, (_, i) => {
      fn.get(row).i32(i).op('i32.add').set(index);
      const position = this.rowPosition(fn, p, index);
      const exists = fn.local('i32');
      if (i < lanes) fn.get(index).get(p.end).op('i32.lt_u').set(exists);
      else fn.i32(0).set(exists);
      return { ...position, exists, ok: fn.local('i32'), base: fn.local('i32'), value: fn.local('v128') };
    });
    const pitch = spec.width * v.bytes;
    const scalarZero = (): void => {
      if (v.type === 'f32') fn.f32(0);
      else if (v.type === 'f64') fn.f64(0);
      else if (v.type === 'i32') fn.i32(0);
      else fn.i64(0n);
    };
    fn.get(p.panel)
      .i32(slot * v.bytes)
      .op('i32.add')
      .set(out);
    walk.emit(p.k0, p.kCount, () => {
      for (const r of rows) {
        fn.get(r.address).set(r.base);
        this.pointChecks(fn, runChecks, r.coordinates, walk.coordinates, r.base);
        fn.get(r.exists).op('i32.and').set(r.ok);
      }
      const tail = fn.block();
      const step = fn.loop();
      fn.get(walk.run).i32(v.lanes).op('i32.lt_u').brIf(tail);
      for (const r of rows) {
        fn.get(r.ok);
        fn.if('v128');
        fn.get(r.base).get(walk.offset).op('i32.add').set(address);
        if (laneChecks.length > 0) {
          laneChecks.forEach((j, n) => {
            this.laneCheck(fn, j, kInner.checkSteps[j] ?? 0, [0, v.lanes], r.coordinates, walk.coordinates);
            if (n > 0) fn.op('i32.and');
          });
          fn.if('v128');
          this.loadLanes(fn, address, kInner, 0, r.value);
          fn.else();
          fn.get(address);
          for (const j of laneChecks) fn.get(at(r.coordinates, j)).get(at(walk.coordinates, j)).op('i32.add');
          fn.call(this.kLaneLoader().index);
          fn.end();
        } else this.loadLanes(fn, address, kInner, 0, r.value);
        fn.else().v128(zeroBytes).end();
        fn.set(r.value);
      }
      transpose(
        fn,
        rows.map((r) => r.value),
      );
      rows.forEach((r, i) => {
        fn.get(out)
          .get(r.value)
          .mem('v128.store', i * pitch, 2);
      });
      bump(fn, out, v.lanes * pitch);
      walk.advance(kInner, v.lanes);
      bump(fn, walk.run, -v.lanes);
      fn.br(step);
      fn.end();
      fn.end();
      const done = fn.block();
      const single = fn.loop();
      fn.get(walk.run).op('i32.eqz').brIf(done);
      rows.forEach((r, i) => {
        fn.get(out);
        fn.get(r.base).get(walk.offset).op('i32.add').set(address);
        this.pointChecks(fn, laneChecks, r.coordinates, walk.coordinates, address);
        fn.get(r.ok).op('i32.and');
        fn.if(v.type);
        fn.get(address);
        loadScalar(fn, access.buffer.dtype, v, half);
        fn.else();
        scalarZero();
        fn.end();
        fn.mem(v.store, i * v.bytes);
      });
      bump(fn, out, pitch);
      walk.advance(kInner, 1);
      bump(fn, walk.run, -1);
      fn.br(single);
      fn.end();
      fn.end();
    });
    walk.free();
    fn.free(out, address, index, half);
    for (const r of rows) fn.free(r.address, ...r.coordinates, r.exists, r.ok, r.base, r.value);
  }

  /** `lanes` rows one by one, by calls. */
  private columns(fn: FunctionBuilder, p: PanelLocals, row: WasmLocal, slot: number, lanes: number): void {
    const i = fn.local('i32');
    const index = fn.local('i32');
    const out = fn.local('i32');
    fn.i32(0).set(i);
    const loop = fn.loop();
    fn.get(row).get(i).op('i32.add').set(index);
    const position = this.rowPosition(fn, p, index);
    fn.get(p.panel)
      .i32(slot * this.v.bytes)
      .op('i32.add');
    addProduct(fn, i, this.v.bytes);
    fn.set(out);
    fn.get(position.address);
    for (const c of position.coordinates) fn.get(c);
    fn.get(index).get(p.end).op('i32.lt_u').get(p.k0).get(p.kCount).get(out).call(this.columnFunction().index);
    bump(fn, i, 1);
    fn.get(i).i32(lanes).op('i32.lt_u').brIf(loop);
    fn.end();
    fn.free(i, index, out, position.address, ...position.coordinates);
  }

  /** `(address, coordinates..., exists, k0, kCount, out)`: one row, element by element. */
  private columnFunction(): FunctionBuilder {
    if (this.column) return this.column;
    const { spec, v } = this;
    const fn = this.module.function(new Array<ValType>(this.checkCount + 5).fill('i32'));
    this.column = fn;
    const base = at(fn.params, 0);
    const coordinates = fn.params.slice(1, 1 + this.checkCount);
    const [exists, k0, kCount, out] = fn.params.slice(1 + this.checkCount) as [WasmLocal, WasmLocal, WasmLocal, WasmLocal];
    const walk = new KWalk(fn, spec);
    const address = fn.local('i32');
    const half = fn.local('i32');
    const all = spec.access.checks.map((_, j) => j);
    walk.emit(k0, kCount, () => {
      const step = fn.loop();
      fn.get(base).get(walk.offset).op('i32.add').set(address);
      fn.get(out);
      this.pointChecks(fn, all, coordinates, walk.coordinates, address);
      fn.get(exists).op('i32.and');
      fn.if(v.type);
      fn.get(address);
      loadScalar(fn, spec.access.buffer.dtype, v, half);
      fn.else();
      if (v.type === 'f32') fn.f32(0);
      else if (v.type === 'f64') fn.f64(0);
      else if (v.type === 'i32') fn.i32(0);
      else fn.i64(0n);
      fn.end();
      fn.mem(v.store);
      bump(fn, out, spec.width * v.bytes);
      walk.advance(walk.inner, 1);
      bump(fn, walk.run, -1);
      fn.get(walk.run).brIf(step);
      fn.end();
    });
    return fn;
  }

  /** Pushes a vector of `lanes` elements along an axis, from element `first` on. */
  private loadLanes(fn: FunctionBuilder, address: WasmLocal, axis: Axis, first: number, temporary: WasmLocal): void {
    const { v, spec } = this;
    const { elementBytes, buffer } = spec.access;
    const at0 = (lane: number): void => {
      fn.get(address);
      const offset = (first + lane) * axis.stride * elementBytes;
      if (offset !== 0) fn.i32(offset).op('i32.add');
    };
    if (axis.stride === 1) {
      at0(0);
      loadVector(fn, buffer.dtype, v, temporary);
      return;
    }
    // Same dtype as the computing type: the constructor chose scalar mode for others.
    at0(0);
    if (axis.stride === 0) {
      fn.mem(v.loadSplat);
      return;
    }
    fn.mem(v.loadFirst).set(temporary);
    for (let lane = 1; lane < v.lanes; lane++) {
      at0(lane);
      fn.get(temporary).laneMem(v.loadLane, lane).set(temporary);
    }
    fn.get(temporary);
  }

  private rowLaneLoader(): FunctionBuilder {
    this.lanesAlongRows ??= this.laneLoader(this.rowInner);
    return this.lanesAlongRows;
  }
  private kLaneLoader(): FunctionBuilder {
    this.lanesAlongK ??= this.laneLoader(this.kInner);
    return this.lanesAlongK;
  }
  /** `(address, coordinates of the checks along axis...) -> v128`: each lane is checked on its own. */
  private laneLoader(axis: Axis): FunctionBuilder {
    const { v, spec } = this;
    const { access } = spec;
    const which = access.checks.map((_, j) => j).filter((j) => axis.checkSteps[j] !== 0);
    const fn = this.module.function(new Array<ValType>(which.length + 1).fill('i32'), ['v128']);
    const address = at(fn.params, 0);
    const value = fn.local('v128');
    const half = fn.local('i32');
    fn.v128(zeroBytes).set(value);
    for (let lane = 0; lane < v.lanes; lane++) {
      which.forEach((j, n) => {
        const step = axis.checkSteps[j] ?? 0;
        fn.get(at(fn.params, n + 1))
          .i32(step * lane)
          .op('i32.add');
        fn.i32(at(access.checks, j).extent).op('i32.lt_u');
        if (n > 0) fn.op('i32.and');
      });
      fn.if();
      fn.get(value)
        .get(address)
        .i32(lane * axis.stride * access.elementBytes)
        .op('i32.add');
      loadScalar(fn, access.buffer.dtype, v, half);
      fn.lane(v.replaceLane, lane).set(value);
      fn.end();
    }
    fn.get(value);
    return fn;
  }
}

interface PanelLocals {
  readonly source: WasmLocal;
  readonly coordinates: readonly WasmLocal[];
  readonly row: WasmLocal;
  readonly end: WasmLocal;
  readonly k0: WasmLocal;
  readonly kCount: WasmLocal;
  readonly panel: WasmLocal;
}
