/** Reading little-endian numbers one after the other, never beyond the end. */
import { FormatError } from 'trireme';

export class Cursor {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #offsetBytes: number;
  readonly #lengthBytes: number;
  position = 0;

  constructor(bytes: Uint8Array, offsetBytes: number, lengthBytes: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#offsetBytes = offsetBytes;
    this.#lengthBytes = lengthBytes;
  }
  get left(): number {
    return this.#bytes.length - this.position;
  }
  #take(n: number): number {
    if (!(n >= 0 && n <= this.left))
      throw new FormatError(`${n} bytes where ${this.left} are left`, { op: 'hdf5', expected: 'a whole file' });
    const at = this.position;
    this.position += n;
    return at;
  }
  skip(n: number): void {
    this.#take(n);
  }
  peek(n: number): number {
    return this.#bytes[this.position + n] ?? 0;
  }
  u8(): number {
    return this.#bytes[this.#take(1)];
  }
  u16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }
  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }
  /** Of 1, 2, 4 or 8 bytes; beyond 2^53 it is Infinity, which no size or place is. */
  uint(bytes: number): number {
    const at = this.#take(bytes);
    let value = 0;
    for (let k = bytes - 1; k >= 0; k--) value = value * 256 + this.#bytes[at + k];
    return Number.isSafeInteger(value) ? value : Number.POSITIVE_INFINITY;
  }
  /** An address; Infinity for none. */
  offset(): number {
    const value = this.uint(this.#offsetBytes);
    return value === 2 ** 32 - 1 && this.#offsetBytes === 4 ? Number.POSITIVE_INFINITY : value;
  }
  get undefinedOffset(): number {
    return Number.POSITIVE_INFINITY;
  }
  length(): number {
    return this.uint(this.#lengthBytes);
  }
  bytes(n: number): Uint8Array {
    const at = this.#take(n);
    return this.#bytes.subarray(at, at + n);
  }
  /** ASCII or UTF-8; a signature's bytes above 127 come as they are. */
  text(n: number): string {
    const bytes = this.bytes(n);
    if (n <= 8) return String.fromCharCode(...bytes);
    return new TextDecoder().decode(bytes);
  }
  /** A text that ends with a zero, at a place. */
  textAt(at: number): string {
    const end = at >= 0 && at < this.#bytes.length ? this.#bytes.indexOf(0, at) : -1;
    if (end < 0) throw new FormatError(`a name at ${at} has no end`, { op: 'hdf5', expected: 'a whole file' });
    return new TextDecoder().decode(this.#bytes.subarray(at, end));
  }
  sub(n: number): Cursor {
    return new Cursor(this.bytes(n), this.#offsetBytes, this.#lengthBytes);
  }
  /** What is left, with other sizes of addresses. */
  withSizes(offsetBytes: number, lengthBytes: number): Cursor {
    return new Cursor(this.#bytes.subarray(this.position), offsetBytes, lengthBytes);
  }
}
