/**
 * A reader of HDF5 files as h5py writes them for Keras: groups, datasets of numbers in one piece, attributes. Chunked and compressed datasets, soft and
 * external links, and files larger than their own addresses are errors. Everything a file says is checked, and nothing in it can make the reader run in
 * circles.
 * Format: "HDF5 File Format Specification Version 3.0", The HDF Group.
 */
import { FormatError } from 'trireme';
import type { RandomAccess } from 'trireme/io';
import { Cursor } from './hdf5-cursor.js';
import { decodeElements, type Hdf5Type, readDatatype, readSpace } from './hdf5-types.js';
import type { Variable } from './variables.js';

const op = 'hdf5';
const maxObjects = 200_000;
const maxDepth = 64;
const maxMessages = 20_000;
const maxBlocks = 1000;

export type Hdf5Attribute = string | readonly string[] | readonly number[];

export interface Hdf5Dataset {
  readonly shape: readonly number[];
  read(): Promise<Variable>;
}

export interface Hdf5File {
  /** By path, without a stroke in front: `layers/dense/vars/0`. */
  readonly datasets: ReadonlyMap<string, Hdf5Dataset>;
  /** Of groups, by path ('' is the root). */
  readonly attributes: ReadonlyMap<string, ReadonlyMap<string, Hdf5Attribute>>;
}

function fail(what: string, expected?: string): never {
  throw new FormatError(what, { op, expected, fix: 'The file is damaged, or was written with options that Keras does not use.' });
}

interface Message {
  readonly type: number;
  readonly data: Cursor;
}

class Reader {
  readonly #source: RandomAccess;
  /** Bytes of an address and of a length. */
  readonly #offsetBytes: number;
  readonly #lengthBytes: number;
  readonly #base: number;
  #objects = 0;
  readonly datasets = new Map<string, Hdf5Dataset>();
  readonly attributes = new Map<string, Map<string, Hdf5Attribute>>();

  constructor(source: RandomAccess, offsetBytes: number, lengthBytes: number, base: number) {
    this.#source = source;
    this.#offsetBytes = offsetBytes;
    this.#lengthBytes = lengthBytes;
    this.#base = base;
  }

  async #at(address: number, bytes: number): Promise<Cursor> {
    const begin = this.#base + address;
    if (!Number.isSafeInteger(begin + bytes) || bytes > 2 ** 26 || begin + bytes > this.#source.byteLength) {
      fail(`${bytes} bytes at ${address} pass the end of the file`);
    }
    return new Cursor(await this.#source.read(begin, begin + bytes), this.#offsetBytes, this.#lengthBytes);
  }

  /** The messages of an object's header. */
  async #messages(address: number): Promise<Message[]> {
    const start = await this.#at(address, Math.min(16, this.#source.byteLength - this.#base - address));
    return start.text(4) === 'OHDR' ? this.#messages2(address) : this.#messages1(address);
  }

  async #messages1(address: number): Promise<Message[]> {
    const head = await this.#at(address, 16);
    if (head.u8() !== 1) fail(`the object at ${address} has a header of an unknown version`, 'version 1 or 2');
    head.skip(1);
    const count = head.u16();
    head.skip(4);
    const blocks = [await this.#at(address + 16, head.u32())];
    const messages: Message[] = [];
    for (let block = blocks.shift(), n = 0; block !== undefined && messages.length < count; block = blocks.shift(), n++) {
      if (n > maxBlocks) fail('an object has too many header blocks');
      while (block.left >= 8 && messages.length < count) {
        const type = block.u16();
        const size = block.u16();
        const flags = block.u8();
        block.skip(3);
        const data = block.sub(size);
        if (flags & 2) fail('an object shares a message with another');
        messages.push({ type, data });
        if (messages.length > maxMessages) fail('an object has too many messages');
        if (type === 0x10) blocks.push(await this.#at(data.offset(), data.length()));
      }
    }
    return messages;
  }

  async #messages2(address: number): Promise<Message[]> {
    const head = await this.#at(address, Math.min(40, this.#source.byteLength - this.#base - address));
    head.skip(4);
    if (head.u8() !== 2) fail(`the object at ${address} has a header of an unknown version`);
    const flags = head.u8();
    if (flags & 0x20) head.skip(16);
    if (flags & 0x10) head.skip(4);
    const size = head.uint(1 << (flags & 3));
    const blocks = [await this.#at(address + head.position, size)];
    const messages: Message[] = [];
    for (let block = blocks.shift(), n = 0; block !== undefined; block = blocks.shift(), n++) {
      if (n > maxBlocks) fail('an object has too many header blocks');
      while (block.left >= 4) {
        const type = block.u8();
        const length = block.u16();
        const messageFlags = block.u8();
        if (flags & 4) block.skip(2);
        const data = block.sub(length);
        if (messageFlags & 2) fail('an object shares a message with another');
        messages.push({ type, data });
        if (messages.length > maxMessages) fail('an object has too many messages');
        if (type !== 0x10) continue;
        const [at, bytes] = [data.offset(), data.length()];
        const more = await this.#at(at, bytes);
        if (more.text(4) !== 'OCHK') fail('a header block is damaged');
        blocks.push(more.sub(Math.max(0, bytes - 8)));
      }
    }
    return messages;
  }

  /** Reads an object and all below. */
  async visit(address: number, path: string, depth: number, above: ReadonlySet<number>): Promise<void> {
    if (depth > maxDepth || above.has(address)) fail(`groups are in themselves at ${JSON.stringify(path)}`);
    if (++this.#objects > maxObjects) fail(`the file has more than ${maxObjects} objects`);
    const messages = await this.#messages(address);
    const children = new Map<string, number>();
    let [shape, type, layout]: [readonly number[] | null, Hdf5Type | null, { address: number; bytes: number } | Uint8Array | null] = [
      null,
      null,
      null,
    ];
    for (const { type: kind, data } of messages) {
      if (kind === 0x01) shape = readSpace(data);
      else if (kind === 0x03) type = readDatatype(data);
      else if (kind === 0x08) layout = this.#layout(data);
      else if (kind === 0x0b && data.left > 1 && data.peek(1) > 0) fail(`dataset ${JSON.stringify(path)} is compressed`, 'plain numbers');
      else if (kind === 0x0c) await this.#attribute(data, path);
      else if (kind === 0x06) this.#link(data, children);
      else if (kind === 0x11) await this.#symbols(data.offset(), data.offset(), children);
      else if (kind === 0x02) this.#checkDense(data, path);
    }
    if (layout !== null && shape !== null && type !== null) this.#dataset(path, shape, type, layout);
    const inside = new Set([...above, address]);
    for (const [name, child] of children) await this.visit(child, path === '' ? name : `${path}/${name}`, depth + 1, inside);
  }

  #layout(data: Cursor): { address: number; bytes: number } | Uint8Array {
    const version = data.u8();
    if (version !== 3 && version !== 4) fail(`a dataset has a layout of version ${version}`, '3 or 4');
    const kind = data.u8();
    if (kind === 0) return data.bytes(data.u16());
    if (kind === 1) return { address: data.offset(), bytes: data.length() };
    return fail('a dataset is in chunks', 'one piece, as Keras writes them');
  }

  #dataset(path: string, shape: readonly number[], type: Hdf5Type, layout: { address: number; bytes: number } | Uint8Array): void {
    const size = shape.includes(0) ? 0 : shape.reduce((product, n) => product * n, type.bytes);
    const held = layout instanceof Uint8Array ? layout.length : layout.bytes;
    if (!Number.isSafeInteger(size) || size > held)
      fail(`dataset ${JSON.stringify(path)} [${shape.join(', ')}] has ${held} bytes`, `${size} bytes`);
    if (this.datasets.has(path)) fail(`the dataset ${JSON.stringify(path)} occurs twice`);
    this.datasets.set(path, {
      shape,
      read: async () => {
        const bytes = layout instanceof Uint8Array ? layout.slice(0, size) : await this.#read(layout.address, size);
        return { shape, data: decodeElements(bytes, type, JSON.stringify(path)) };
      },
    });
  }
  async #read(address: number, bytes: number): Promise<Uint8Array> {
    return bytes === 0 ? new Uint8Array(0) : (await this.#source.read(this.#base + address, this.#base + address + bytes)).slice();
  }

  /** Links of new groups. */
  #link(data: Cursor, children: Map<string, number>): void {
    if (data.u8() !== 1) fail('a link is of an unknown version');
    const flags = data.u8();
    const kind = flags & 8 ? data.u8() : 0;
    if (flags & 4) data.skip(8);
    if (flags & 16) data.skip(1);
    const name = data.text(data.uint(1 << (flags & 3)));
    if (kind === 0) this.#child(children, name, data.offset());
  }
  #child(children: Map<string, number>, name: string, address: number): void {
    if (children.has(name)) fail(`the name ${JSON.stringify(name)} occurs twice in a group`);
    if (children.size >= maxObjects) fail('a group has too many members');
    children.set(name, address);
  }
  /** Groups of many links keep them elsewhere. */
  #checkDense(data: Cursor, path: string): void {
    if (data.u8() !== 0) fail('a group is of an unknown version');
    const flags = data.u8();
    if (flags & 1) data.skip(8);
    if (data.offset() !== data.undefinedOffset)
      fail(`group ${JSON.stringify(path)} has its links in a heap`, 'the layout of h5py without options');
  }

  /** Links of old groups: a tree of tables, names in a heap. */
  async #symbols(tree: number, heapAddress: number, children: Map<string, number>): Promise<void> {
    const heap = await this.#at(heapAddress, 8 + 2 * this.#lengthBytes + this.#offsetBytes);
    if (heap.text(4) !== 'HEAP') fail('the names of a group are damaged');
    heap.skip(4);
    const heapBytes = heap.length();
    heap.length();
    const names = await this.#at(heap.offset(), heapBytes);
    const pending = [tree];
    const seen = new Set<number>();
    for (let address = pending.pop(); address !== undefined; address = pending.pop()) {
      if (seen.has(address) || seen.size > maxObjects) fail('the table of a group is in itself');
      seen.add(address);
      const start = await this.#at(address, 8);
      const signature = start.text(4);
      if (signature === 'SNOD') {
        start.skip(2);
        const count = start.u16();
        const entryBytes = 2 * this.#offsetBytes + 24;
        const entries = await this.#at(address + 8, count * entryBytes);
        for (let i = 0; i < count; i++) {
          const entry = entries.sub(entryBytes);
          const name = names.textAt(entry.offset());
          const target = entry.offset();
          // Cache type 2: a soft link.
          if (entry.u32() !== 2) this.#child(children, name, target);
        }
        continue;
      }
      if (signature !== 'TREE' || start.u8() !== 0) fail('the table of a group is damaged');
      start.skip(1);
      const used = start.u16();
      const body = await this.#at(address + 8, 2 * this.#offsetBytes + used * (this.#offsetBytes + this.#lengthBytes) + this.#lengthBytes);
      body.skip(2 * this.#offsetBytes);
      for (let i = 0; i < used; i++) {
        body.length();
        pending.push(body.offset());
      }
    }
  }

  async #attribute(data: Cursor, path: string): Promise<void> {
    const version = data.u8();
    if (version < 1 || version > 3) fail(`an attribute is of version ${version}`, '1 to 3');
    data.skip(1);
    const [nameBytes, typeBytes, spaceBytes] = [data.u16(), data.u16(), data.u16()];
    if (version === 3) data.skip(1);
    const padded = (n: number): number => (version === 1 ? Math.ceil(n / 8) * 8 : n);
    const name = data.sub(padded(nameBytes)).text(nameBytes).replace(/\0.*$/s, '');
    const type = readDatatype(data.sub(padded(typeBytes)));
    const shape = readSpace(data.sub(padded(spaceBytes)));
    const size = shape.reduce((product, n) => product * n, 1);
    if (!(size * type.bytes <= data.left)) fail(`attribute ${JSON.stringify(name)} passes the end of its message`);
    let value: Hdf5Attribute | null = null;
    if (type.kind === 'text') {
      const texts = Array.from({ length: size }, () => data.text(type.bytes).replace(/\0+$/, ''));
      value = shape.length === 0 ? texts[0] : texts;
    } else if (type.kind === 'long text') {
      const texts: string[] = [];
      for (let i = 0; i < size; i++) texts.push(await this.#heapText(data.u32(), data.offset(), data.u32()));
      value = shape.length === 0 ? texts[0] : texts;
    } else if (type.kind === 'float' || type.kind === 'int') {
      value = Array.from(decodeElements(data.bytes(size * type.bytes), type, name) as ArrayLike<number | bigint>, Number);
    }
    if (value === null) return;
    const own = this.attributes.get(path) ?? new Map<string, Hdf5Attribute>();
    own.set(name, value);
    this.attributes.set(path, own);
  }

  /** A text of any length: object `index` of a heap. */
  async #heapText(length: number, address: number, index: number): Promise<string> {
    if (length === 0) return '';
    const head = await this.#at(address, 8 + this.#lengthBytes);
    if (head.text(4) !== 'GCOL') fail('a heap of texts is damaged');
    head.skip(4);
    const bytes = head.length();
    const heap = await this.#at(address, bytes);
    heap.skip(8 + this.#lengthBytes);
    while (heap.left >= 8 + this.#lengthBytes) {
      const object = heap.u16();
      heap.skip(6);
      const size = heap.length();
      if (object === 0) break;
      const content = heap.sub(Math.min(Math.ceil(size / 8) * 8, heap.left));
      if (object === index) return content.text(Math.min(length, size));
    }
    return fail(`a heap of texts has no object ${index}`);
  }
}

/** @throws FormatError for what is damaged or not written by Keras, EnvironmentError when the file cannot be read */
export async function readHdf5(source: RandomAccess): Promise<Hdf5File> {
  const start = new Cursor(await source.read(0, Math.min(128, source.byteLength)), 8, 8);
  if (start.text(8) !== '\x89HDF\r\n\x1a\n') fail('the file does not start as an HDF5 file does');
  const version = start.u8();
  if (version > 3) fail(`the superblock is of version ${version}`, '0 to 3');
  let root: number;
  let sizes: [number, number];
  let base: number;
  if (version < 2) {
    start.skip(4);
    sizes = [start.u8(), start.u8()];
    start.skip(version === 0 ? 9 : 13);
    const rest = start.withSizes(...checked(sizes));
    base = rest.offset();
    rest.skip(3 * sizes[0] + sizes[0]);
    root = rest.offset();
  } else {
    sizes = [start.u8(), start.u8()];
    start.skip(1);
    const rest = start.withSizes(...checked(sizes));
    base = rest.offset();
    rest.skip(2 * sizes[0]);
    root = rest.offset();
  }
  const reader = new Reader(source, ...sizes, base);
  await reader.visit(root, '', 0, new Set());
  return reader;
}

function checked(sizes: [number, number]): [number, number] {
  for (const n of sizes) if (n !== 4 && n !== 8) fail(`addresses have ${n} bytes`, '4 or 8');
  return sizes;
}
