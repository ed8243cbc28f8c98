/**
 * Checks the page headers of a Parquet column before it is decoded: a page says itself how many values and bytes it
 * unpacks to, and a decoder allocates what it says.
 * Format: https://parquet.apache.org/docs/file-format/data-pages/, in Thrift's compact protocol.
 */
import { FormatError } from '../../errors.js';

export interface PageLimits {
  /** Most bytes of the column, decompressed. */
  readonly maxBytes: number;
  /** Values of the column, as the file's metadata says. */
  readonly values: number;
}

function damaged(what: string, at: number): never {
  throw new FormatError(`${what} (byte ${at} of the column)`, {
    op: 'parquet',
    received: at,
    fix: 'The file is damaged: write or download it again.',
  });
}

/** Fields of a struct: numbers and structs by id, other types skipped. */
interface Struct {
  readonly numbers: Map<number, number>;
  readonly structs: Map<number, Struct>;
}

const maxDepth = 8;

/** A reader of Thrift's compact protocol, for what page headers hold. */
class CompactReader {
  at: number;
  private readonly bytes: Uint8Array;
  constructor(bytes: Uint8Array, at: number) {
    this.bytes = bytes;
    this.at = at;
  }

  private byte(): number {
    if (this.at >= this.bytes.length) damaged('a page header is cut short', this.at);
    return this.bytes[this.at++];
  }

  private varint(): number {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.byte();
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
    return damaged('a number in a page header has too many bytes', this.at);
  }

  /** The zigzag form of signed numbers. */
  private signed(): number {
    const value = this.varint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  private skip(count: number): void {
    if (count > this.bytes.length - this.at) damaged('a page header is cut short', this.at);
    this.at += count;
  }

  struct(depth = 0): Struct {
    if (depth > maxDepth) damaged('a page header is nested too deeply', this.at);
    const numbers = new Map<number, number>();
    const structs = new Map<number, Struct>();
    let id = 0;
    for (let head = this.byte(); head !== 0; head = this.byte()) {
      id = head >> 4 === 0 ? this.signed() : id + (head >> 4);
      const type = head & 15;
      if (type >= 4 && type <= 6) numbers.set(id, this.signed());
      else if (type === 12) structs.set(id, this.struct(depth + 1));
      else this.value(type, depth);
    }
    return { numbers, structs };
  }

  /** Passes over a value that is not needed. */
  private value(type: number, depth: number): void {
    if (type === 1 || type === 2) return; // booleans live in the type
    if (type === 3) this.skip(1);
    else if (type >= 4 && type <= 6) this.varint();
    else if (type === 7) this.skip(8);
    else if (type === 8) this.skip(this.varint());
    else if (type === 9 || type === 10) {
      const head = this.byte();
      const count = head >> 4 === 15 ? this.varint() : head >> 4;
      if (count > this.bytes.length - this.at) damaged('a list in a page header is cut short', this.at);
      for (let i = 0; i < count; i++) {
        if ((head & 15) <= 2) this.skip(1);
        else if ((head & 15) === 12) this.struct(depth + 1);
        else this.value(head & 15, depth + 1);
      }
    } else damaged(`a page header has a field of type ${type}`, this.at);
  }
}

/**
 * Walks over the pages of a column chunk.
 * @throws FormatError when a header is damaged or says more than the limits.
 */
export function checkPages(bytes: Uint8Array, { maxBytes, values }: PageLimits): void {
  let at = 0;
  let totalBytes = 0;
  let totalValues = 0;
  while (at < bytes.length && totalValues < values) {
    const reader = new CompactReader(bytes, at);
    const { numbers, structs } = reader.struct();
    const unpacked = numbers.get(2) ?? -1;
    const packed = numbers.get(3) ?? -1;
    if (packed < 0 || unpacked < 0 || packed > bytes.length - reader.at) damaged('a page header names a wrong size', at);
    totalBytes += unpacked;
    // Fields 5 and 8 are data pages, 7 is the dictionary; each begins with its number of values.
    const count = (structs.get(5) ?? structs.get(8))?.numbers.get(1) ?? 0;
    const entries = structs.get(7)?.numbers.get(1) ?? 0;
    totalValues += count;
    if (totalBytes > maxBytes) damaged(`the pages unpack to more than ${maxBytes} bytes`, at);
    if (count < 0 || totalValues > values) damaged(`the pages hold more than the column's ${values} values`, at);
    // An entry of a dictionary takes a bit or more.
    if (entries < 0 || entries > 8 * unpacked) damaged(`a dictionary of ${unpacked} bytes has ${entries} entries`, at);
    at = reader.at + packed;
  }
}
