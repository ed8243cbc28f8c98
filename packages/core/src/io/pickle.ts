/**
 * A reader of Python pickles that runs nothing: of the objects a pickle can name, it builds those that a table allows, from data alone.
 * Protocols 0 to 5, without out-of-band buffers and extension codes.
 * Format: CPython's Lib/pickletools.py.
 */
import { FormatError } from '../errors.js';

/** Something a table of globals stands for. */
export interface PickleGlobal {
  /** Called with the arguments in the pickle (REDUCE, NEWOBJ); absent for what is only named, such as a class of storages. */
  readonly make?: (args: readonly PickleValue[]) => PickleValue;
  /** Takes the state of an object it made (BUILD); absent: state is an error. */
  readonly setState?: (object: PickleValue, state: PickleValue) => void;
}

/** Lists and tuples are arrays, dictionaries are Maps, integers beyond 2^53 bigints. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleValue[]
  | Map<PickleValue, PickleValue>
  | Set<PickleValue>
  | PickleObject;

/** What a table's functions make, and globals themselves. */
export interface PickleObject {
  readonly kind: string;
}

/** A named global on the stack. */
interface NamedGlobal extends PickleObject {
  readonly kind: 'global';
  readonly name: string;
  readonly global: PickleGlobal;
}

export interface PickleOptions {
  readonly op: string;
  /** What a global (`module name`, with a blank) stands for; undefined: refused. */
  readonly find: (module: string, name: string) => PickleGlobal | undefined;
  /** A global that is a value by itself, such as a dtype. */
  readonly findValue?: (module: string, name: string) => PickleObject | undefined;
  /** What a persistent id (a storage) stands for. */
  readonly persistent: (id: PickleValue) => PickleValue;
}

/** The data ended inside of the pickle; with more of the file it may go on. */
export class PickleEndError extends FormatError {}

const marker: PickleObject = { kind: 'mark' };
/** Values on the stack and in the memo; far above what models need, far below what fills the memory. */
const maxObjects = 20_000_000;
const maxLongBytes = 1024;

export class Unpickler {
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly options: PickleOptions;
  private readonly stack: PickleValue[] = [];
  private readonly memo = new Map<number, PickleValue>();
  /** Which global made an object, for BUILD. */
  private readonly makers = new Map<PickleValue, PickleGlobal>();
  /** Byte after the last one read. */
  position: number;

  constructor(bytes: Uint8Array, options: PickleOptions, position = 0) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.options = options;
    this.position = position;
  }

  fail(what: string, expected?: string): never {
    throw new FormatError(`${what} (byte ${this.position} of the pickle)`, {
      op: this.options.op,
      expected,
      fix: 'The file is damaged or not what it seems; save or download it again.',
    });
  }

  private take(n: number): number {
    const at = this.position;
    if (n > this.bytes.length - at) {
      throw new PickleEndError(`the pickle ends at byte ${this.bytes.length}`, { op: this.options.op, expected: `${n} more bytes` });
    }
    this.position = at + n;
    return at;
  }
  private slice(n: number): Uint8Array {
    const at = this.take(n);
    return this.bytes.subarray(at, at + n);
  }
  private u8(): number {
    return this.bytes[this.take(1)];
  }
  private u32(): number {
    return this.view.getUint32(this.take(4), true);
  }
  private length64(): number {
    const at = this.take(8);
    const n = this.view.getUint32(at + 4, true) * 2 ** 32 + this.view.getUint32(at, true);
    return Number.isSafeInteger(n) ? n : this.fail(`a length of ${n}`);
  }
  private text(n: number): string {
    return new TextDecoder().decode(this.slice(n));
  }
  private latin1(n: number): string {
    return Array.from(this.slice(n), (byte) => String.fromCharCode(byte)).join('');
  }
  private line(): string {
    const end = this.bytes.indexOf(0x0a, this.position);
    if (end < 0) this.take(this.bytes.length + 1);
    const text = this.text(end - this.position);
    this.position = end + 1;
    return text;
  }

  private push(value: PickleValue): void {
    if (this.stack.length >= maxObjects) this.fail(`the pickle has more than ${maxObjects} values at once`);
    this.stack.push(value);
  }
  private pop(): PickleValue {
    const value = this.stack.pop();
    if (value === undefined || value === marker) this.fail('the pickle takes a value that is not there');
    return value;
  }
  private top(): PickleValue {
    const value = this.stack[this.stack.length - 1];
    if (value === undefined || value === marker) this.fail('the pickle uses a value that is not there');
    return value;
  }
  /** What lies above the last mark, without it. */
  private popToMark(): PickleValue[] {
    const at = this.stack.lastIndexOf(marker);
    if (at < 0) this.fail('the pickle lacks a mark');
    const items = this.stack.splice(at);
    items.shift();
    return items;
  }
  private remember(key: number): void {
    if (this.memo.size >= maxObjects) this.fail(`the pickle remembers more than ${maxObjects} values`);
    this.memo.set(key, this.top());
  }
  private recall(key: number): void {
    const value = this.memo.get(key);
    if (value === undefined) this.fail(`the pickle uses value ${key} before it is there`);
    this.push(value);
  }

  /** Two's complement, little-endian. */
  private long(n: number): number | bigint {
    if (n > maxLongBytes) this.fail(`an integer of ${n} bytes`, `at most ${maxLongBytes}`);
    let value = 0n;
    for (const byte of this.slice(n).toReversed()) value = (value << 8n) | BigInt(byte);
    return narrow(BigInt.asIntN(Math.max(8, 8 * n), value));
  }
  private decimal(text: string): number | bigint {
    if (!/^-?\d{1,400}L?$/.test(text)) this.fail(`the integer ${JSON.stringify(text.slice(0, 40))}`);
    return narrow(BigInt(text.replace('L', '')));
  }

  private global(module: string, name: string): PickleObject {
    const value = this.options.findValue?.(module, name);
    if (value) return value;
    const global = this.options.find(module, name);
    if (global === undefined) {
      throw new FormatError(`the file names ${JSON.stringify(`${module}.${name}`)}`, {
        op: this.options.op,
        received: `${module}.${name}`,
        expected: 'tensors, numbers, text, lists and dictionaries alone: anything else would need Python code',
        fix: 'In Python, save the state dict (torch.save(model.state_dict(), path)) and leave other objects out, or save safetensors.',
      });
    }
    const found: NamedGlobal = { kind: 'global', name: `${module}.${name}`, global };
    return found;
  }
  private call(callee: PickleValue, args: PickleValue): void {
    if (!isObject(callee, 'global') || !Array.isArray(args)) this.fail('the pickle calls what is no known function');
    const { name, global } = callee as NamedGlobal;
    if (!global.make) this.fail(`the pickle calls ${name}`);
    const made = global.make(args);
    if (typeof made === 'object' && made !== null) this.makers.set(made, global);
    this.push(made);
  }
  private build(): void {
    const state = this.pop();
    const object = this.top();
    const setState = this.makers.get(object)?.setState;
    if (!setState) this.fail('the pickle sets the state of an object that has none');
    setState(object, state);
  }
  private setItems(items: readonly PickleValue[]): void {
    const target = this.top();
    if (!(target instanceof Map) || items.length % 2 !== 0) this.fail('the pickle puts keys into what is no dictionary');
    for (let i = 0; i < items.length; i += 2) target.set(items[i], items[i + 1]);
  }
  private append(items: readonly PickleValue[]): void {
    const target = this.top();
    if (!Array.isArray(target)) this.fail('the pickle appends to what is no list');
    for (const item of items) target.push(item);
  }
  private addItems(items: readonly PickleValue[]): void {
    const target = this.top();
    if (!(target instanceof Set)) this.fail('the pickle adds to what is no set');
    for (const item of items) target.add(item);
  }
  private tuple(n: number): void {
    const items: PickleValue[] = [];
    for (let i = 0; i < n; i++) items.unshift(this.pop());
    this.push(items);
  }

  /** The value of the pickle that starts at `position`, which then is after its end. */
  load(): PickleValue {
    for (;;) {
      const code = this.u8();
      if (code === 0x2e) {
        const value = this.pop();
        if (this.stack.length > 0) this.fail('the pickle leaves values behind');
        return value;
      }
      this.step(code);
    }
  }

  private step(code: number): void {
    switch (code) {
      case 0x80: // PROTO
        if (this.u8() > 5) this.fail('the pickle is of a newer protocol', 'protocol 0 to 5');
        return;
      case 0x95: // FRAME
        this.length64();
        return;
      case 0x28: // MARK
        return this.push(marker);
      case 0x30: // POP
        if (this.stack.pop() === undefined) this.fail('the pickle takes a value that is not there');
        return;
      case 0x31: // POP_MARK
        this.popToMark();
        return;
      case 0x32: // DUP
        return this.push(this.top());
      case 0x4e: // NONE
        return this.push(null);
      case 0x88: // NEWTRUE
        return this.push(true);
      case 0x89: // NEWFALSE
        return this.push(false);
      case 0x4a: // BININT
        return this.push(this.view.getInt32(this.take(4), true));
      case 0x4b: // BININT1
        return this.push(this.u8());
      case 0x4d: // BININT2
        return this.push(this.view.getUint16(this.take(2), true));
      case 0x8a: // LONG1
        return this.push(this.long(this.u8()));
      case 0x8b: // LONG4
        return this.push(this.long(this.u32()));
      case 0x49: {
        // INT; 00 and 01 are the booleans of protocol 0.
        const text = this.line();
        return this.push(text === '01' ? true : text === '00' ? false : this.decimal(text));
      }
      case 0x4c: // LONG
        return this.push(this.decimal(this.line()));
      case 0x46: // FLOAT
        return this.push(Number(this.line()));
      case 0x47: // BINFLOAT
        return this.push(this.view.getFloat64(this.take(8)));
      default:
        return this.stepText(code);
    }
  }

  private stepText(code: number): void {
    switch (code) {
      case 0x58: // BINUNICODE
        return this.push(this.text(this.u32()));
      case 0x8c: // SHORT_BINUNICODE
        return this.push(this.text(this.u8()));
      case 0x8d: // BINUNICODE8
        return this.push(this.text(this.length64()));
      case 0x56: // UNICODE
        return this.push(this.line());
      case 0x54: // BINSTRING (of Python 2)
        return this.push(this.latin1(this.u32()));
      case 0x55: // SHORT_BINSTRING
        return this.push(this.latin1(this.u8()));
      case 0x42: // BINBYTES
        return this.push(this.slice(this.u32()).slice());
      case 0x43: // SHORT_BINBYTES
        return this.push(this.slice(this.u8()).slice());
      case 0x8e: // BINBYTES8
      case 0x96: // BYTEARRAY8
        return this.push(this.slice(this.length64()).slice());
      default:
        return this.stepContainer(code);
    }
  }

  private stepContainer(code: number): void {
    switch (code) {
      case 0x7d: // EMPTY_DICT
        return this.push(new Map());
      case 0x5d: // EMPTY_LIST
      case 0x29: // EMPTY_TUPLE
        return this.push([]);
      case 0x8f: // EMPTY_SET
        return this.push(new Set());
      case 0x64: {
        // DICT
        const items = this.popToMark();
        this.push(new Map());
        return this.setItems(items);
      }
      case 0x6c: // LIST
      case 0x74: // TUPLE
        return this.push(this.popToMark());
      case 0x91: // FROZENSET
        return this.push(new Set(this.popToMark()));
      case 0x85: // TUPLE1 .. TUPLE3
      case 0x86:
      case 0x87:
        return this.tuple(code - 0x84);
      case 0x61: // APPEND
        return this.append([this.pop()]);
      case 0x65: // APPENDS
        return this.append(this.popToMark());
      case 0x73: {
        // SETITEM
        const value = this.pop();
        return this.setItems([this.pop(), value]);
      }
      case 0x75: // SETITEMS
        return this.setItems(this.popToMark());
      case 0x90: // ADDITEMS
        return this.addItems(this.popToMark());
      default:
        return this.stepObject(code);
    }
  }

  private stepObject(code: number): void {
    switch (code) {
      case 0x71: // BINPUT
        return this.remember(this.u8());
      case 0x72: // LONG_BINPUT
        return this.remember(this.u32());
      case 0x70: // PUT
        return this.remember(Number(this.decimal(this.line())));
      case 0x94: // MEMOIZE
        return this.remember(this.memo.size);
      case 0x68: // BINGET
        return this.recall(this.u8());
      case 0x6a: // LONG_BINGET
        return this.recall(this.u32());
      case 0x67: // GET
        return this.recall(Number(this.decimal(this.line())));
      case 0x63: {
        // GLOBAL
        const module = this.line();
        return this.push(this.global(module, this.line()));
      }
      case 0x93: {
        // STACK_GLOBAL
        const name = this.pop();
        const module = this.pop();
        if (typeof name !== 'string' || typeof module !== 'string') this.fail('the name of a global is no text');
        return this.push(this.global(module, name));
      }
      case 0x52: // REDUCE
      case 0x81: {
        // NEWOBJ
        const args = this.pop();
        return this.call(this.pop(), args);
      }
      case 0x62: // BUILD
        return this.build();
      case 0x51: // BINPERSID
        return this.push(this.options.persistent(this.pop()));
      case 0x50: // PERSID
        return this.push(this.options.persistent(this.line()));
      default:
        return this.fail(`the instruction 0x${code.toString(16).padStart(2, '0')}`, 'those of data');
    }
  }
}

function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** Whether a value is an object of this kind. */
export function isObject(value: PickleValue | undefined, kind: string): value is PickleObject {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Map) &&
    !(value instanceof Set) &&
    !(value instanceof Uint8Array) &&
    value.kind === kind
  );
}
