/**
 * The wire format of protocol buffers: a reader that treats its bytes as hostile, and a writer.
 * https://protobuf.dev/programming-guides/encoding/
 *
 * A message is only split into its fields when it is opened; values are decoded when they are asked for, by field number. Nothing is
 * allocated by a number in the file: every length is checked against the bytes that are there first.
 */
import { FormatError } from 'trireme';

/** Messages inside messages; ONNX models with nested subgraphs stay far below. */
const maxDepth = 200;

const varint = 0;
const fixed64 = 1;
const delimited = 2;
const fixed32 = 5;

const utf8 = new TextDecoder();

function fail(what: string, name: string, expected?: string): never {
  throw new FormatError(`${name}: ${what}`, {
    op: 'protobuf',
    expected,
    fix: 'The file is damaged, cut short or of another format; save or download it again.',
  });
}

/** A position in the bytes that numbers are read from. */
class Cursor {
  readonly bytes: Uint8Array;
  readonly name: string;
  at: number;
  readonly end: number;
  constructor(bytes: Uint8Array, at: number, end: number, name: string) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
    this.name = name;
  }

  /** Skips a varint. */
  skipVarint(): void {
    for (let i = 0; i < 10; i++) {
      if (this.at >= this.end) fail('a number goes beyond the end', this.name);
      if (this.bytes[this.at++] < 0x80) return;
    }
    fail('a number of more than 10 bytes', this.name, 'at most 10 bytes');
  }
  /** A varint modulo 2^64. */
  big(): bigint {
    let low = 0;
    let high = 0;
    for (let i = 0; i < 10; i++) {
      if (this.at >= this.end) fail('a number goes beyond the end', this.name);
      const byte = this.bytes[this.at++];
      const bits = byte & 0x7f;
      // 28 bits in `low`, the others (at most 42, of which 36 count) in `high`.
      if (i < 4) low += bits * 2 ** (7 * i);
      else if (i < 9) high += bits * 2 ** (7 * (i - 4));
      else high += (bits & 1) * 2 ** 35;
      if (byte < 0x80) return BigInt.asUintN(64, (BigInt(high) << 28n) + BigInt(low));
    }
    fail('a number of more than 10 bytes', this.name, 'at most 10 bytes');
  }
  /** A varint that is a length, a tag or an enumeration: at most 2^53. */
  small(): number {
    let value = 0;
    for (let i = 0; i < 8; i++) {
      if (this.at >= this.end) fail('a number goes beyond the end', this.name);
      const byte = this.bytes[this.at++];
      value += (byte & 0x7f) * 2 ** (7 * i);
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
    }
    fail('a length or tag of more than 2^53', this.name);
  }
  /** Takes a length and that many bytes. */
  range(): [begin: number, end: number] {
    const length = this.small();
    if (length > this.end - this.at) fail(`a length of ${length} where ${this.end - this.at} bytes are left`, this.name);
    const begin = this.at;
    this.at += length;
    return [begin, this.at];
  }
}

/** The fields of one message, for reading by their numbers. Where a field that is not repeated occurs often, the last one counts. */
export class WireMessage {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #name: string;
  readonly #depth: number;
  /** By field number: start of each value times 8, plus its wire type. */
  readonly #fields = new Map<number, number[]>();
  readonly #end: number;

  private constructor(bytes: Uint8Array, begin: number, end: number, name: string, depth: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#name = name;
    this.#depth = depth;
    this.#end = end;
    if (depth > maxDepth) fail(`messages nested more than ${maxDepth} deep`, name);
    const cursor = new Cursor(bytes, begin, end, name);
    while (cursor.at < end) {
      const tag = cursor.small();
      const field = Math.floor(tag / 8);
      const wire = tag % 8;
      if (field < 1 || field > 536870911) fail(`field number ${field}`, name, 'a number from 1 to 536870911');
      const start = cursor.at;
      if (wire === varint) cursor.skipVarint();
      else if (wire === delimited) cursor.range();
      else if (wire === fixed32 || wire === fixed64) {
        cursor.at += wire === fixed32 ? 4 : 8;
        if (cursor.at > end) fail('a number goes beyond the end', name);
      } else fail(`wire type ${wire} in field ${field}`, name, 'one of 0, 1, 2, 5');
      const list = this.#fields.get(field);
      if (list === undefined) this.#fields.set(field, [start * 8 + wire]);
      else list.push(start * 8 + wire);
    }
  }

  /** @throws FormatError when the bytes are not a message. */
  static parse(bytes: Uint8Array, name: string): WireMessage {
    return new WireMessage(bytes, 0, bytes.length, name, 0);
  }

  has(field: number): boolean {
    return this.#fields.has(field);
  }

  #places(field: number, wire: number): number[] {
    return (this.#fields.get(field) ?? []).map((place) => {
      if (place % 8 !== wire) fail(`field ${field} has wire type ${place % 8}`, this.#name, `wire type ${wire}`);
      return Math.floor(place / 8);
    });
  }
  #last(field: number, wire: number): number | undefined {
    const list = this.#fields.get(field);
    if (list === undefined) return undefined;
    const place = list[list.length - 1];
    if (place % 8 !== wire) fail(`field ${field} has wire type ${place % 8}`, this.#name, `wire type ${wire}`);
    return Math.floor(place / 8);
  }
  #cursor(at: number): Cursor {
    return new Cursor(this.#bytes, at, this.#end, this.#name);
  }

  /** int64. */
  int(field: number): bigint | undefined {
    const at = this.#last(field, varint);
    return at === undefined ? undefined : BigInt.asIntN(64, this.#cursor(at).big());
  }
  /** int32, or an enumeration; 0 when it is not there. */
  int32(field: number): number {
    return Number(BigInt.asIntN(32, this.int(field) ?? 0n));
  }
  float(field: number): number | undefined {
    const at = this.#last(field, fixed32);
    return at === undefined ? undefined : this.#view.getFloat32(at, true);
  }
  bytes(field: number): Uint8Array | undefined {
    const at = this.#last(field, delimited);
    return at === undefined ? undefined : this.#bytes.subarray(...this.#cursor(at).range());
  }
  string(field: number): string {
    const bytes = this.bytes(field);
    return bytes === undefined ? '' : utf8.decode(bytes);
  }
  strings(field: number): string[] {
    return this.#places(field, delimited).map((at) => utf8.decode(this.#bytes.subarray(...this.#cursor(at).range())));
  }
  message(field: number, name: string): WireMessage | undefined {
    const at = this.#last(field, delimited);
    return at === undefined ? undefined : new WireMessage(this.#bytes, ...this.#cursor(at).range(), name, this.#depth + 1);
  }
  messages(field: number, name: string): WireMessage[] {
    return this.#places(field, delimited).map((at) => new WireMessage(this.#bytes, ...this.#cursor(at).range(), name, this.#depth + 1));
  }

  /** Repeated integers, packed or not, modulo 2^64; how many there are is counted first. */
  #varints(field: number, count: (n: number) => void, take: (value: Cursor, k: number) => void): void {
    const list = this.#fields.get(field) ?? [];
    const cursors: Cursor[] = [];
    let n = 0;
    for (const place of list) {
      const cursor = this.#cursor(Math.floor(place / 8));
      if (place % 8 === varint) {
        n++;
        cursors.push(cursor);
      } else if (place % 8 === delimited) {
        const [begin, end] = cursor.range();
        for (let i = begin; i < end; i++) if (this.#bytes[i] < 0x80) n++;
        if (end > begin && this.#bytes[end - 1] >= 0x80) fail('a number goes beyond the end', this.#name);
        cursors.push(new Cursor(this.#bytes, begin, end, this.#name));
      } else fail(`field ${field} has wire type ${place % 8}`, this.#name, 'wire type 0 or 2');
    }
    count(n);
    let k = 0;
    cursors.forEach((cursor, i) => {
      if (list[i] % 8 === varint) take(cursor, k++);
      else while (cursor.at < cursor.end) take(cursor, k++);
    });
  }
  int64s(field: number): BigInt64Array {
    let out = new BigInt64Array(0);
    this.#varints(
      field,
      (n) => {
        out = new BigInt64Array(n);
      },
      (cursor, k) => {
        out[k] = cursor.big();
      },
    );
    return out;
  }
  uint64s(field: number): BigUint64Array {
    const signed = this.int64s(field);
    return new BigUint64Array(signed.buffer, 0, signed.length);
  }
  int32s(field: number): Int32Array {
    let out = new Int32Array(0);
    this.#varints(
      field,
      (n) => {
        out = new Int32Array(n);
      },
      (cursor, k) => {
        // Negative numbers come as 64 bits.
        out[k] = Number(BigInt.asIntN(32, cursor.big()));
      },
    );
    return out;
  }

  /** The places of repeated numbers of `size` bytes, packed or not. */
  #fixed(field: number, wire: number, size: number): number[] {
    const places: number[] = [];
    for (const place of this.#fields.get(field) ?? []) {
      const at = Math.floor(place / 8);
      if (place % 8 === wire) places.push(at, at + size);
      else if (place % 8 === delimited) {
        const [begin, end] = this.#cursor(at).range();
        if ((end - begin) % size !== 0) fail(`field ${field} packs ${end - begin} bytes`, this.#name, `a multiple of ${size}`);
        places.push(begin, end);
      } else fail(`field ${field} has wire type ${place % 8}`, this.#name, `wire type ${wire} or 2`);
    }
    return places;
  }
  floats(field: number): Float32Array {
    const places = this.#fixed(field, fixed32, 4);
    const out = new Float32Array(total(places) / 4);
    let k = 0;
    for (let p = 0; p < places.length; p += 2)
      for (let at = places[p]; at < places[p + 1]; at += 4) out[k++] = this.#view.getFloat32(at, true);
    return out;
  }
  doubles(field: number): Float64Array {
    const places = this.#fixed(field, fixed64, 8);
    const out = new Float64Array(total(places) / 8);
    let k = 0;
    for (let p = 0; p < places.length; p += 2)
      for (let at = places[p]; at < places[p + 1]; at += 8) out[k++] = this.#view.getFloat64(at, true);
    return out;
  }
}

function total(places: readonly number[]): number {
  let bytes = 0;
  for (let p = 0; p < places.length; p += 2) bytes += places[p + 1] - places[p];
  return bytes;
}

const encoder = new TextEncoder();

/** Writes the fields of one message. Large byte strings are kept as they are, not copied until {@link WireWriter.finish}. */
export class WireWriter {
  readonly #chunks: Uint8Array[] = [];
  #buffer = new Uint8Array(64);
  #used = 0;
  #length = 0;

  /** Bytes so far. */
  get byteLength(): number {
    return this.#length;
  }

  #reserve(bytes: number): void {
    if (this.#used + bytes <= this.#buffer.length) return;
    const larger = new Uint8Array(Math.max(this.#buffer.length * 2, this.#used + bytes));
    larger.set(this.#buffer.subarray(0, this.#used));
    this.#buffer = larger;
  }
  #varint(value: bigint | number): void {
    this.#reserve(10);
    const before = this.#used;
    if (typeof value === 'number' && value >= 0) {
      let rest = value;
      while (rest >= 0x80) {
        this.#buffer[this.#used++] = (rest % 0x80) + 0x80;
        rest = Math.floor(rest / 0x80);
      }
      this.#buffer[this.#used++] = rest;
    } else {
      let rest = BigInt.asUintN(64, BigInt(value));
      while (rest >= 0x80n) {
        this.#buffer[this.#used++] = Number(rest & 0x7fn) + 0x80;
        rest >>= 7n;
      }
      this.#buffer[this.#used++] = Number(rest);
    }
    this.#length += this.#used - before;
  }
  #tag(field: number, wire: number): void {
    this.#varint(field * 8 + wire);
  }
  #flush(): void {
    if (this.#used === 0) return;
    this.#chunks.push(this.#buffer.slice(0, this.#used));
    this.#used = 0;
  }
  #raw(bytes: Uint8Array): void {
    if (bytes.length > 256) {
      this.#flush();
      this.#chunks.push(bytes);
    } else {
      this.#reserve(bytes.length);
      this.#buffer.set(bytes, this.#used);
      this.#used += bytes.length;
    }
    this.#length += bytes.length;
  }

  int(field: number, value: bigint | number): void {
    this.#tag(field, varint);
    this.#varint(value);
  }
  float(field: number, value: number): void {
    this.#tag(field, fixed32);
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, value, true);
    this.#raw(bytes);
  }
  bytes(field: number, bytes: Uint8Array): void {
    this.#tag(field, delimited);
    this.#varint(bytes.length);
    this.#raw(bytes);
  }
  string(field: number, text: string): void {
    this.bytes(field, encoder.encode(text));
  }
  /** As {@link string}, nothing for ''. */
  optionalString(field: number, text: string | undefined): void {
    if (text) this.string(field, text);
  }
  message(field: number, write: (writer: WireWriter) => void): void {
    const inner = new WireWriter();
    write(inner);
    this.#tag(field, delimited);
    this.#varint(inner.byteLength);
    inner.#flush();
    for (const chunk of inner.#chunks) this.#raw(chunk);
  }
  /** Packed integers. */
  ints(field: number, values: Iterable<bigint | number>): void {
    const inner = new WireWriter();
    for (const value of values) inner.#varint(value);
    if (inner.byteLength === 0) return;
    inner.#flush();
    this.#tag(field, delimited);
    this.#varint(inner.byteLength);
    for (const chunk of inner.#chunks) this.#raw(chunk);
  }
  /** Packed floats. */
  floats(field: number, values: ArrayLike<number>): void {
    if (values.length === 0) return;
    const bytes = new Uint8Array(values.length * 4);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < values.length; i++) view.setFloat32(4 * i, values[i], true);
    this.bytes(field, bytes);
  }
  doubles(field: number, values: ArrayLike<number>): void {
    if (values.length === 0) return;
    const bytes = new Uint8Array(values.length * 8);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < values.length; i++) view.setFloat64(8 * i, values[i], true);
    this.bytes(field, bytes);
  }

  /** The message in pieces, in their order. */
  chunks(): readonly Uint8Array[] {
    this.#flush();
    return this.#chunks;
  }
  finish(): Uint8Array {
    const out = new Uint8Array(this.#length);
    let at = 0;
    for (const chunk of this.chunks()) {
      out.set(chunk, at);
      at += chunk.length;
    }
    return out;
  }
}
