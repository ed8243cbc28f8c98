/**
 * A typed writer of WebAssembly binary modules.
 *
 * {@link ModuleBuilder} collects types, imports, globals, functions and exports; {@link FunctionBuilder} appends
 * instructions to one function. Nothing is validated here beyond block nesting: the engine validates the bytes.
 */
import { CompilerError } from '../../errors.js';
import {
  type LaneMemoryOp,
  type LaneOp,
  laneMemoryOps,
  laneOps,
  type MemoryOp,
  memoryOps,
  type PlainOp,
  plainOps,
  simdOps,
} from './opcodes.js';

export type { LaneMemoryOp, LaneOp, MemoryOp, PlainOp } from './opcodes.js';

export type ValType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

const valTypeCode: Readonly<Record<ValType, number>> = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b };
const codes: Readonly<Record<PlainOp, number>> = { ...plainOps, ...simdOps };

/** Growable byte buffer with the encodings of the binary format. */
export class ByteWriter {
  private bytes: Uint8Array<ArrayBuffer>;
  private view: DataView;
  length = 0;

  constructor(capacity = 256) {
    this.bytes = new Uint8Array(capacity);
    this.view = new DataView(this.bytes.buffer);
  }
  private reserve(more: number): void {
    if (this.length + more <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.length + more));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
    this.view = new DataView(grown.buffer);
  }
  byte(value: number): void {
    this.reserve(1);
    this.bytes[this.length++] = value;
  }
  /** Unsigned LEB128 of an integer in [0, 2^53). */
  u32(value: number): void {
    this.reserve(8);
    while (value >= 0x80) {
      this.bytes[this.length++] = (value % 0x80) | 0x80;
      value = Math.floor(value / 0x80);
    }
    this.bytes[this.length++] = value;
  }
  /** Signed LEB128 of an integer in (-2^53, 2^53), which covers s32 and the s33 of block types. */
  s33(value: number): void {
    this.reserve(8);
    for (;;) {
      const low = ((value % 0x80) + 0x80) % 0x80;
      value = Math.floor(value / 0x80);
      if ((value === 0 && low < 0x40) || (value === -1 && low >= 0x40)) {
        this.bytes[this.length++] = low;
        return;
      }
      this.bytes[this.length++] = low | 0x80;
    }
  }
  /** Signed LEB128 of a 64-bit integer. */
  s64(value: bigint): void {
    this.reserve(10);
    value = BigInt.asIntN(64, value);
    for (;;) {
      const low = Number(value & 0x7fn);
      value >>= 7n;
      if ((value === 0n && low < 0x40) || (value === -1n && low >= 0x40)) {
        this.bytes[this.length++] = low;
        return;
      }
      this.bytes[this.length++] = low | 0x80;
    }
  }
  f32(value: number): void {
    this.reserve(4);
    this.view.setFloat32(this.length, value, true);
    this.length += 4;
  }
  f64(value: number): void {
    this.reserve(8);
    this.view.setFloat64(this.length, value, true);
    this.length += 8;
  }
  append(source: ArrayLike<number>): void {
    this.reserve(source.length);
    this.bytes.set(source, this.length);
    this.length += source.length;
  }
  name(text: string): void {
    const encoded = new TextEncoder().encode(text);
    this.u32(encoded.length);
    this.append(encoded);
  }
  /** The bytes written so far (a view, valid until the next write). */
  finish(): Uint8Array<ArrayBuffer> {
    return this.bytes.subarray(0, this.length);
  }
}

/** A local variable of a function: its index and type. */
export interface WasmLocal {
  readonly index: number;
  readonly type: ValType;
}
/** A branch target. `block` and `if` labels branch to their end, `loop` labels to their start. */
export interface Label {
  readonly depth: number;
}

/** Writes the body of one function. Every method appends one instruction unless it says otherwise. */
export class FunctionBuilder {
  /** Index in the module's function space (imports first). */
  readonly index: number;
  readonly params: readonly WasmLocal[];
  readonly results: readonly ValType[];
  private readonly code = new ByteWriter(1024);
  private readonly localTypes: ValType[] = [];
  private readonly released: Record<ValType, WasmLocal[]> = { i32: [], i64: [], f32: [], f64: [], v128: [] };
  private depth = 0;

  constructor(index: number, paramTypes: readonly ValType[], results: readonly ValType[]) {
    this.index = index;
    this.results = results;
    this.params = paramTypes.map((type, i) => ({ index: i, type }));
  }

  /** A local of this type, reusing a released one: its value is undefined until set. Appends nothing. */
  local(type: ValType): WasmLocal {
    const reused = this.released[type].pop();
    if (reused) return reused;
    this.localTypes.push(type);
    return { index: this.params.length + this.localTypes.length - 1, type };
  }
  /** Gives a local back for reuse by later {@link local} calls. Appends nothing. */
  free(...locals: readonly WasmLocal[]): void {
    for (const local of locals) this.released[local.type].push(local);
  }
  get(local: WasmLocal): this {
    this.code.byte(0x20);
    this.code.u32(local.index);
    return this;
  }
  set(local: WasmLocal): this {
    this.code.byte(0x21);
    this.code.u32(local.index);
    return this;
  }
  tee(local: WasmLocal): this {
    this.code.byte(0x22);
    this.code.u32(local.index);
    return this;
  }
  globalGet(index: number): this {
    this.code.byte(0x23);
    this.code.u32(index);
    return this;
  }
  globalSet(index: number): this {
    this.code.byte(0x24);
    this.code.u32(index);
    return this;
  }

  i32(value: number): this {
    this.code.byte(0x41);
    this.code.s33(value | 0);
    return this;
  }
  i64(value: bigint): this {
    this.code.byte(0x42);
    this.code.s64(value);
    return this;
  }
  f32(value: number): this {
    this.code.byte(0x43);
    this.code.f32(value);
    return this;
  }
  f64(value: number): this {
    this.code.byte(0x44);
    this.code.f64(value);
    return this;
  }
  /** `v128.const` from 16 bytes. */
  v128(bytes: ArrayLike<number>): this {
    if (bytes.length !== 16) throw new CompilerError(`v128.const of ${bytes.length} bytes`, { expected: '16 bytes' });
    this.code.byte(0xfd);
    this.code.u32(0x0c);
    this.code.append(bytes);
    return this;
  }
  /** `v128.const` from lanes of one type. */
  v128Lanes(lanes: Float32Array | Float64Array | Int32Array | BigInt64Array | Int16Array | Int8Array | Uint8Array): this {
    return this.v128(new Uint8Array(lanes.buffer, lanes.byteOffset, lanes.byteLength));
  }

  /** Any instruction without immediates, by its text-format name. */
  op(name: PlainOp): this {
    this.opcode(codes[name]);
    return this;
  }
  /** Loads, stores and atomics; `offset` in bytes is unsigned and `align` is log2 of a hint (default: the natural one). */
  mem(name: MemoryOp, offset = 0, align?: number): this {
    const [code, natural] = memoryOps[name];
    this.opcode(code);
    this.memarg(offset, align ?? natural);
    return this;
  }
  /** Loads or stores one lane. */
  laneMem(name: LaneMemoryOp, lane: number, offset = 0): this {
    const [code, natural] = laneMemoryOps[name];
    this.opcode(code);
    this.memarg(offset, natural);
    this.code.byte(lane);
    return this;
  }
  /** `extract_lane` / `replace_lane`. */
  lane(name: LaneOp, lane: number): this {
    this.opcode(laneOps[name]);
    this.code.byte(lane);
    return this;
  }
  /** `i8x16.shuffle`: 16 byte numbers, 0..15 from the first operand and 16..31 from the second. */
  shuffle(bytes: ArrayLike<number>): this {
    if (bytes.length !== 16) throw new CompilerError(`i8x16.shuffle with ${bytes.length} lanes`, { expected: '16 lanes' });
    this.code.byte(0xfd);
    this.code.u32(0x0d);
    this.code.append(bytes);
    return this;
  }
  /** {@link shuffle} by whole 32-bit lanes: four numbers 0..7. */
  shuffle32(a: number, b: number, c: number, d: number): this {
    return this.shuffle([a, b, c, d].flatMap((l) => [4 * l, 4 * l + 1, 4 * l + 2, 4 * l + 3]));
  }
  /** {@link shuffle} by whole 64-bit lanes: two numbers 0..3. */
  shuffle64(a: number, b: number): this {
    return this.shuffle32(2 * a, 2 * a + 1, 2 * b, 2 * b + 1);
  }
  atomicFence(): this {
    this.code.byte(0xfe);
    this.code.byte(0x03);
    this.code.byte(0);
    return this;
  }
  memorySize(): this {
    this.code.byte(0x3f);
    this.code.byte(0);
    return this;
  }
  /** `memory.copy` (destination, source, byte count on the stack). */
  memoryCopy(): this {
    this.code.append([0xfc, 0x0a, 0, 0]);
    return this;
  }
  /** `memory.fill` (destination, byte value, byte count on the stack). */
  memoryFill(): this {
    this.code.append([0xfc, 0x0b, 0]);
    return this;
  }

  call(functionIndex: number): this {
    this.code.byte(0x10);
    this.code.u32(functionIndex);
    return this;
  }
  callIndirect(typeIndex: number, table = 0): this {
    this.code.byte(0x11);
    this.code.u32(typeIndex);
    this.code.u32(table);
    return this;
  }
  /** Opens a block; the returned label branches to its end. */
  block(result?: ValType): Label {
    return this.open(0x02, result);
  }
  /** Opens a loop; the returned label branches back to its start. */
  loop(result?: ValType): Label {
    return this.open(0x03, result);
  }
  /** Opens an `if` on the i32 on the stack. */
  if(result?: ValType): Label {
    return this.open(0x04, result);
  }
  else(): this {
    this.code.byte(0x05);
    return this;
  }
  /** Closes the innermost block, loop or if. */
  end(): this {
    if (this.depth === 0) throw new CompilerError('end without an open block');
    this.depth--;
    this.code.byte(0x0b);
    return this;
  }
  br(label: Label): this {
    this.code.byte(0x0c);
    this.code.u32(this.relative(label));
    return this;
  }
  brIf(label: Label): this {
    this.code.byte(0x0d);
    this.code.u32(this.relative(label));
    return this;
  }
  brTable(labels: readonly Label[], otherwise: Label): this {
    this.code.byte(0x0e);
    this.code.u32(labels.length);
    for (const label of labels) this.code.u32(this.relative(label));
    this.code.u32(this.relative(otherwise));
    return this;
  }
  return(): this {
    this.code.byte(0x0f);
    return this;
  }
  /** Bytes of code so far, to judge how large an unrolled body grew. */
  get size(): number {
    return this.code.length;
  }

  /** The function's entry of the code section: local declarations, then the body. */
  finish(): ByteWriter {
    if (this.depth !== 0) throw new CompilerError(`function ended with ${this.depth} open blocks`);
    const runs: { count: number; type: ValType }[] = [];
    for (const type of this.localTypes) {
      const last = runs[runs.length - 1];
      if (last?.type === type) last.count++;
      else runs.push({ count: 1, type });
    }
    const out = new ByteWriter(this.code.length + runs.length * 4 + 16);
    out.u32(runs.length);
    for (const run of runs) {
      out.u32(run.count);
      out.byte(valTypeCode[run.type]);
    }
    out.append(this.code.finish());
    out.byte(0x0b);
    return out;
  }

  private opcode(code: number): void {
    if (code < 0x100) {
      this.code.byte(code);
      return;
    }
    this.code.byte(code >>> 12);
    this.code.u32(code & 0xfff);
  }
  private memarg(offset: number, align: number): void {
    if (!Number.isInteger(offset) || offset < 0 || offset > 0xffffffff) {
      throw new CompilerError(`memory offset ${offset}`, { expected: 'an unsigned 32-bit offset' });
    }
    this.code.u32(align);
    this.code.u32(offset);
  }
  private open(code: number, result?: ValType): Label {
    this.code.byte(code);
    this.code.byte(result ? valTypeCode[result] : 0x40);
    this.depth++;
    return { depth: this.depth };
  }
  private relative(label: Label): number {
    if (label.depth > this.depth) throw new CompilerError('branch to a block that is already closed');
    return this.depth - label.depth;
  }
}

export interface MemoryImport {
  readonly module?: string;
  readonly name?: string;
  /** In pages of 64 KiB. */
  readonly min: number;
  readonly max?: number;
  /** Shared memories need `max`. */
  readonly shared?: boolean;
}

/** Collects one module and writes its bytes. */
export class ModuleBuilder {
  private readonly types: { readonly key: string; readonly params: readonly ValType[]; readonly results: readonly ValType[] }[] = [];
  private readonly typeIndex = new Map<string, number>();
  private readonly imported: { readonly module: string; readonly name: string; readonly type: number }[] = [];
  private readonly defined: { readonly type: number; readonly body: FunctionBuilder }[] = [];
  private readonly globals: { readonly type: ValType; readonly mutable: boolean; readonly value: number | bigint }[] = [];
  private readonly exports: { readonly name: string; readonly kind: number; readonly index: number }[] = [];
  private tableElements: readonly number[] = [];
  private memory: MemoryImport | null = null;
  private tableImport: { readonly module: string; readonly name: string; readonly min: number } | null = null;

  /** Index of a function type; equal types share one. */
  type(params: readonly ValType[], results: readonly ValType[]): number {
    const key = `${params.join()}>${results.join()}`;
    const found = this.typeIndex.get(key);
    if (found !== undefined) return found;
    const index = this.types.length;
    this.types.push({ key, params, results });
    this.typeIndex.set(key, index);
    return index;
  }
  /** The module's single memory, imported as `env.memory` unless named otherwise. */
  importMemory(memory: MemoryImport): void {
    this.memory = memory;
  }
  /** Imports the function table (for `call_indirect`) that several modules share; excludes {@link table}. */
  importTable(min: number, module = 'env', name = 'table'): void {
    this.tableImport = { module, name, min };
  }
  /** Imports a function and returns its index. All imports come before the first {@link function}. */
  importFunction(module: string, name: string, params: readonly ValType[], results: readonly ValType[]): number {
    if (this.defined.length > 0) throw new CompilerError(`import ${module}.${name} after the first function`);
    this.imported.push({ module, name, type: this.type(params, results) });
    return this.imported.length - 1;
  }
  /** Starts a function. Several may be under construction at once. */
  function(params: readonly ValType[], results: readonly ValType[] = [], exportName?: string): FunctionBuilder {
    const body = new FunctionBuilder(this.imported.length + this.defined.length, params, results);
    this.defined.push({ type: this.type(params, results), body });
    if (exportName !== undefined) this.exportFunction(exportName, body.index);
    return body;
  }
  /** Adds a global and returns its index. */
  global(type: Exclude<ValType, 'v128'>, mutable: boolean, value: number | bigint, exportName?: string): number {
    this.globals.push({ type, mutable, value });
    const index = this.globals.length - 1;
    if (exportName !== undefined) this.exports.push({ name: exportName, kind: 3, index });
    return index;
  }
  exportFunction(name: string, index: number): void {
    this.exports.push({ name, kind: 0, index });
  }
  /** Index of a function exported earlier. */
  exportedFunction(name: string): number {
    const found = this.exports.find((e) => e.kind === 0 && e.name === name);
    if (!found) throw new CompilerError(`no function is exported as ${name}`);
    return found.index;
  }
  /** The module's function table (for `call_indirect`): entry i is function `elements[i]`. */
  table(elements: readonly number[]): void {
    this.tableElements = elements;
  }

  /** The module's bytes. */
  finish(): Uint8Array<ArrayBuffer> {
    const out = new ByteWriter(4096);
    out.append([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);
    section(out, 1, this.types, (w, t) => {
      w.byte(0x60);
      w.u32(t.params.length);
      for (const p of t.params) w.byte(valTypeCode[p]);
      w.u32(t.results.length);
      for (const r of t.results) w.byte(valTypeCode[r]);
    });
    const imports: ((w: ByteWriter) => void)[] = [];
    if (this.memory) imports.push((w) => writeMemoryImport(w, this.memory as MemoryImport));
    const table = this.tableImport;
    if (table) {
      imports.push((w) => {
        w.name(table.module);
        w.name(table.name);
        w.append([0x01, 0x70, 0x00]);
        w.u32(table.min);
      });
    }
    for (const f of this.imported) {
      imports.push((w) => {
        w.name(f.module);
        w.name(f.name);
        w.byte(0);
        w.u32(f.type);
      });
    }
    section(out, 2, imports, (w, write) => write(w));
    section(out, 3, this.defined, (w, f) => w.u32(f.type));
    const elements = this.tableElements;
    section(out, 4, elements.length > 0 ? [elements.length] : [], (w, count) => {
      w.byte(0x70);
      w.byte(0x01);
      w.u32(count);
      w.u32(count);
    });
    section(out, 6, this.globals, (w, g) => {
      w.byte(valTypeCode[g.type]);
      w.byte(g.mutable ? 1 : 0);
      writeConstant(w, g.type, g.value);
      w.byte(0x0b);
    });
    section(out, 7, this.exports, (w, e) => {
      w.name(e.name);
      w.byte(e.kind);
      w.u32(e.index);
    });
    section(out, 9, elements.length > 0 ? [elements] : [], (w, list) => {
      w.u32(0);
      writeConstant(w, 'i32', 0);
      w.byte(0x0b);
      w.u32(list.length);
      for (const index of list) w.u32(index);
    });
    section(out, 10, this.defined, (w, f) => {
      const body = f.body.finish();
      w.u32(body.length);
      w.append(body.finish());
    });
    return out.finish();
  }
}

function section<T>(out: ByteWriter, id: number, items: readonly T[], write: (w: ByteWriter, item: T) => void): void {
  if (items.length === 0) return;
  const body = new ByteWriter(1024);
  body.u32(items.length);
  for (const item of items) write(body, item);
  out.byte(id);
  out.u32(body.length);
  out.append(body.finish());
}

function writeMemoryImport(w: ByteWriter, memory: MemoryImport): void {
  if (memory.shared && memory.max === undefined) throw new CompilerError('a shared memory import needs a maximum');
  w.name(memory.module ?? 'env');
  w.name(memory.name ?? 'memory');
  w.byte(2);
  w.byte((memory.max === undefined ? 0 : 1) | (memory.shared ? 2 : 0));
  w.u32(memory.min);
  if (memory.max !== undefined) w.u32(memory.max);
}

function writeConstant(w: ByteWriter, type: ValType, value: number | bigint): void {
  switch (type) {
    case 'i32':
      w.byte(0x41);
      w.s33(Number(value) | 0);
      return;
    case 'i64':
      w.byte(0x42);
      w.s64(BigInt(value));
      return;
    case 'f32':
      w.byte(0x43);
      w.f32(Number(value));
      return;
    case 'f64':
      w.byte(0x44);
      w.f64(Number(value));
      return;
    default:
      throw new CompilerError(`global of type ${type}`);
  }
}
