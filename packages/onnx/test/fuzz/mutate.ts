/** Damaged files: mutations of bytes, and of what is inside of containers so that damage reaches the readers behind their checks. */
import { openZip, zipChunks } from 'trireme/io';

/** A random source of 32 bits (Mulberry32): a case is found again by its number. */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed | 0;
  }
  u32(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  }
  below(n: number): number {
    return n <= 0 ? 0 : this.u32() % n;
  }
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)];
  }
}

/** Numbers at the edges of what readers expect. */
const edges = [
  0,
  1,
  2,
  7,
  8,
  16,
  63,
  64,
  127,
  128,
  255,
  256,
  32767,
  32768,
  65535,
  65536,
  2 ** 24,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 40,
  2 ** 53,
  2 ** 63,
];
const texts = ['__proto__', 'constructor', 'toString', '../../etc/passwd', '', 'a'.repeat(300), '\u0000', 'NaN', '-1', '1e999', '/'];

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Most mutations strike the start of a file, where its numbers are. */
function place(random: Random, length: number): number {
  return random.below(3) === 0 ? random.below(length) : random.below(Math.min(length, 1 << (4 + random.below(10))));
}

type Mutation = (bytes: Uint8Array, random: Random) => Uint8Array;

const mutations: readonly Mutation[] = [
  (bytes, random) => {
    const out = bytes.slice();
    for (let n = 1 + random.below(4); n > 0; n--) out[place(random, out.length)] ^= 1 << random.below(8);
    return out;
  },
  (bytes, random) => {
    const out = bytes.slice();
    for (let n = 1 + random.below(4); n > 0; n--) out[place(random, out.length)] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.below(256)]);
    return out;
  },
  // A whole number of 1 to 8 bytes, of either byte order.
  (bytes, random) => {
    const out = bytes.slice();
    const width = random.pick([1, 2, 4, 8]);
    const at = place(random, Math.max(1, out.length - width));
    let value = BigInt(random.pick(edges)) + BigInt(random.below(3)) - 1n;
    const little = random.below(4) !== 0;
    for (let k = 0; k < width && at + k < out.length; k++, value >>= 8n) out[at + (little ? k : width - 1 - k)] = Number(value & 255n);
    return out;
  },
  (bytes, random) => bytes.slice(0, random.below(bytes.length)),
  (bytes, random) => {
    const at = place(random, bytes.length);
    return concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(random.pick([4, 64, 1024])))]);
  },
  (bytes, random) => {
    const from = place(random, bytes.length);
    const part = bytes.subarray(from, from + 1 + random.below(random.pick([4, 64, 1024])));
    const at = place(random, bytes.length);
    return concat([bytes.subarray(0, at), part, bytes.subarray(at)]);
  },
  (bytes, random) => {
    const out = bytes.slice();
    const from = place(random, out.length);
    out.copyWithin(place(random, out.length), from, from + 1 + random.below(64));
    return out;
  },
  // A number written as text (in JSON and headers).
  (bytes, random) => {
    const text = Array.from(bytes.subarray(0, 1 << 16), (byte) => String.fromCharCode(byte)).join('');
    const found = [...text.matchAll(/-?\d+(?:\.\d+)?/g)];
    if (found.length === 0) return bytes.slice();
    const { 0: number, index } = random.pick(found);
    const value = random.pick([...edges, -1, 0.5, Number(number) + 1, Number(number) - 1]);
    return concat([bytes.subarray(0, index), new TextEncoder().encode(String(value)), bytes.subarray(index + number.length)]);
  },
  (bytes, random) => {
    const at = place(random, bytes.length);
    return concat([bytes.subarray(0, at), new TextEncoder().encode(random.pick(texts)), bytes.subarray(at)]);
  },
  (bytes, random) => concat([bytes, new Uint8Array(random.pick([1, 7, 512])).fill(random.below(256))]),
];

export function mutateBytes(bytes: Uint8Array, random: Random): Uint8Array {
  let out = bytes;
  for (let n = random.pick([1, 1, 1, 2, 4]); n > 0; n--) out = random.pick(mutations)(out, random);
  return out;
}

/** JSON that is wrong in its content: a value, key or element changed. */
export function mutateJson(document: unknown, random: Random): string {
  const copy = structuredClone(document);
  for (let n = random.pick([1, 1, 2, 5]); n > 0; n--) change(copy, random);
  let text = JSON.stringify(copy);
  if (random.below(8) === 0) text = text.replace('{', `{"__proto__":{"polluted":1},`);
  if (random.below(40) === 0) text = text.replace(/:(\d+)/, `:${'['.repeat(5000)}${']'.repeat(5000)}`);
  return text;
}

function change(root: unknown, random: Random): void {
  let node = root;
  for (let depth = random.below(12); depth > 0; depth--) {
    if (typeof node !== 'object' || node === null) return;
    const children = Object.values(node).filter((child) => typeof child === 'object' && child !== null);
    if (children.length === 0) break;
    node = random.pick(children);
  }
  if (typeof node !== 'object' || node === null) return;
  const record = node as Record<string, unknown>;
  const keys = Object.keys(record);
  if (keys.length === 0) return;
  const key = random.pick(keys);
  const old = record[key];
  switch (random.below(5)) {
    case 0:
      if (Array.isArray(node)) node.splice(Number(key), 1);
      else delete record[key];
      return;
    case 1:
      if (Array.isArray(node)) node.push(structuredClone(random.pick(node)));
      else if (typeof old !== 'object') record[`${key}${random.pick(texts)}`] = old;
      return;
    case 2:
      record[key] =
        typeof old === 'number'
          ? random.pick([...edges, -1, 0.5, old + 1, old - 1, -old])
          : random.pick<unknown>([null, 0, -1, 2 ** 40, '', [], {}, true, [[0]], 'x']);
      return;
    case 3:
      record[key] = random.pick<unknown>([...texts, null, ...edges]);
      return;
    default: {
      // What stands elsewhere in the same object.
      const other = record[random.pick(keys)];
      record[key] = structuredClone(other);
    }
  }
}

/** A zip archive one entry of which is damaged, with right sizes and checksums; or the names of two are exchanged. */
export async function mutateZip(
  bytes: Uint8Array,
  random: Random,
  inner: (name: string, content: Uint8Array) => Uint8Array,
): Promise<Uint8Array> {
  const archive = await openZip(bytes);
  const entries: [string, Uint8Array][] = [];
  for (const [name, entry] of archive.entries) entries.push([name, await entry.read()]);
  await archive.close();
  const at = random.below(entries.length);
  const [name, content] = entries[at];
  const kind = random.below(10);
  if (kind === 0) entries.splice(at, 1);
  else if (kind === 1) entries[at] = [`${name}${random.pick(texts.filter((text) => text !== ''))}`, content];
  else if (kind === 2) entries[at] = [name, random.pick(entries)[1]];
  else entries[at] = [name, inner(name, content)];
  return concat(await zipChunks(entries, { compress: random.below(4) === 0 }));
}

/** A varint of protocol buffers at a place: its value, and the byte after it. */
function varint(bytes: Uint8Array, at: number): { value: number; end: number } | null {
  let value = 0;
  for (let k = 0; k < 8 && at + k < bytes.length; k++) {
    value += (bytes[at + k] & 127) * 2 ** (7 * k);
    if (bytes[at + k] < 128) return { value, end: at + k + 1 };
  }
  return null;
}
function encodeVarint(value: number): Uint8Array {
  const out: number[] = [];
  let rest = Math.max(0, Math.floor(value));
  do {
    out.push(rest >= 128 ? (rest % 128) + 128 : rest % 128);
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return Uint8Array.from(out);
}

interface Field {
  readonly start: number;
  /** Where the content is; of a length-delimited field behind its length. */
  readonly content: number;
  readonly end: number;
  readonly wire: number;
}

function fieldsOf(bytes: Uint8Array): Field[] | null {
  const fields: Field[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = varint(bytes, at);
    if (tag === null || tag.value < 8) return null;
    const wire = tag.value & 7;
    let [content, end] = [tag.end, tag.end];
    if (wire === 0) end = varint(bytes, content)?.end ?? -1;
    else if (wire === 1) end += 8;
    else if (wire === 5) end += 4;
    else if (wire === 2) {
      const length = varint(bytes, content);
      if (length === null) return null;
      content = length.end;
      end = content + length.value;
    } else return null;
    if (end < 0 || end > bytes.length) return null;
    fields.push({ start: at, content, end, wire });
    at = end;
  }
  return fields;
}

/** A protocol buffer with one field changed, somewhere inside, and the lengths around it put right. */
export function mutateProtobuf(bytes: Uint8Array, random: Random, depth = 0): Uint8Array {
  const fields = fieldsOf(bytes);
  if (fields === null || fields.length === 0 || depth > 12) return mutateBytes(bytes, random);
  const field = random.pick(fields);
  const [before, own, after] = [bytes.subarray(0, field.start), bytes.subarray(field.start, field.end), bytes.subarray(field.end)];
  const kind = random.below(12);
  if (kind === 0) return concat([before, after]);
  if (kind === 1) return concat([before, own, own, after]);
  if (kind === 2) return concat([before, own, bytes.subarray(random.pick(fields).start, random.pick(fields).end), after]);
  const tag = bytes.subarray(field.start, varint(bytes, field.start)?.end);
  if (field.wire === 0) return concat([before, tag, encodeVarint(random.pick(edges)), after]);
  if (field.wire !== 2) return concat([before, tag, mutateBytes(bytes.subarray(field.content, field.end), random), after]);
  const inner = mutateProtobuf(bytes.subarray(field.content, field.end), random, depth + 1);
  return concat([before, tag, encodeVarint(inner.length), inner, after]);
}

/** A header of JSON behind its length, as safetensors has it: the header is changed and its length put right. */
export function mutateSafetensors(bytes: Uint8Array, random: Random): Uint8Array {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))) as unknown;
  const text = new TextEncoder().encode(mutateJson(header, random));
  const start = new Uint8Array(8);
  new DataView(start.buffer).setUint32(0, text.length, true);
  return concat([start, text, bytes.subarray(8 + length)]);
}
