/** The wire format of protocol buffers, as far as writing it goes: https://protobuf.dev/programming-guides/encoding/ */

const utf8 = new TextEncoder();

/** Writes the fields of one message, in the order of the calls. Fields are given by number. */
export class Message {
  private buffer = new Uint8Array(64);
  private length = 0;

  private reserve(bytes: number): number {
    const start = this.length;
    this.length += bytes;
    if (this.length > this.buffer.length) {
      const grown = new Uint8Array(Math.max(2 * this.buffer.length, this.length));
      grown.set(this.buffer.subarray(0, start));
      this.buffer = grown;
    }
    return start;
  }
  /** A whole number, 0 to 2^53. */
  private varint(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      const at = this.reserve(1);
      this.buffer[at] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    const at = this.reserve(1);
    this.buffer[at] = rest;
  }
  private key(field: number, wireType: number): void {
    this.varint(field * 8 + wireType);
  }
  private view(bytes: number): DataView {
    const start = this.reserve(bytes);
    return new DataView(this.buffer.buffer, this.buffer.byteOffset + start, bytes);
  }

  /** int32, int64, uint32, uint64, bool or enum; not negative. */
  int(field: number, value: number): this {
    this.key(field, 0);
    this.varint(value);
    return this;
  }
  double(field: number, value: number): this {
    this.key(field, 1);
    this.view(8).setFloat64(0, value, true);
    return this;
  }
  float(field: number, value: number): this {
    this.key(field, 5);
    this.view(4).setFloat32(0, value, true);
    return this;
  }
  bytes(field: number, value: Uint8Array): this {
    this.key(field, 2);
    this.varint(value.length);
    const at = this.reserve(value.length);
    this.buffer.set(value, at);
    return this;
  }
  string(field: number, value: string): this {
    return this.bytes(field, utf8.encode(value));
  }
  message(field: number, value: Message): this {
    return this.bytes(field, value.finish());
  }
  /** An entry of a map with string keys. */
  entry(field: number, key: string, value: Message): this {
    return this.message(field, new Message().string(1, key).message(2, value));
  }
  /** The message so far. */
  finish(): Uint8Array {
    return this.buffer.slice(0, this.length);
  }
}
