/**
 * Zip archives, as numpy (.npz) and others write them: stored and deflated entries, no encryption. Archives beyond 4 GB (zip64) are read,
 * not written. The reader treats the archive as hostile: it goes by the central directory, refuses entries that
 * overlap, bounds every size before it allocates, and checks every CRC.
 * Format: PKWARE's APPNOTE.TXT, sections 4.3.7 (local header), 4.3.12 (directory), 4.3.14 to 4.3.16
 * (end records) and 4.5.3 (zip64 sizes).
 */
import { ArgumentError, FormatError } from '../errors.js';
import { crc32 } from './crc32.js';
import { deflate, inflate } from './inflate.js';
import { type ByteSource, openRandomAccess, type RandomAccess } from './random-access.js';
import { readLarge } from './read-large.js';

const op = 'zip';
const endSignature = 0x06054b50;
const directorySignature = 0x02014b50;
const localSignature = 0x04034b50;
const locator64Signature = 0x07064b50;
const end64Signature = 0x06064b50;
const locator64Bytes = 20;
const end64Bytes = 56;
const endBytes = 22;
const directoryBytes = 46;
const localBytes = 30;
const stored = 0;
const deflated = 8;
const full16 = 0xffff;
const full32 = 0xffffffff;
/** Deflate makes 258 bytes of at best 2 bits. */
const maxRatio = 1032;

export interface ZipLimits {
  /** Most bytes of one entry, decompressed; 2 GB unless told otherwise. */
  readonly maxEntryBytes?: number;
  /** Most bytes of all entries together, decompressed; 4 GB unless told otherwise. */
  readonly maxTotalBytes?: number;
}

export interface ZipEntry {
  /** As it is in the archive, with / between folders. It may be anything: never join it to a path unchecked. */
  readonly name: string;
  /** Bytes, decompressed. */
  readonly size: number;
  /**
   * The content.
   * @throws FormatError when it is damaged, EnvironmentError when it cannot be read.
   */
  read(): Promise<Uint8Array>;
  /**
   * Parts of the content: of a stored entry read where they are, without a look at the checksum; a deflated one is unpacked as a whole.
   * @throws as read()
   */
  open(): Promise<RandomAccess>;
}

export interface ZipArchive {
  /** By name, in the order of the directory. */
  readonly entries: ReadonlyMap<string, ZipEntry>;
  close(): Promise<void>;
}

function fail(what: string, expected?: string, received?: unknown): never {
  throw new FormatError(what, { op, expected, received, fix: 'The archive is damaged or not a zip file; save or download it again.' });
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function count64(view: DataView, at: number): number {
  const n = view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
  return Number.isSafeInteger(n) ? n : fail(`a size of ${n} bytes`);
}

interface Directory {
  readonly offset: number;
  readonly bytes: number;
  readonly count: number;
}

/** The directory of an archive in the zip64 format, whose end record stands at `end`. */
async function findDirectory64(source: RandomAccess, end: number): Promise<Directory> {
  if (end < locator64Bytes + end64Bytes) fail('the archive lacks the zip64 end record');
  const locator = viewOf(await source.read(end - locator64Bytes, end));
  if (locator.getUint32(0, true) !== locator64Signature || locator.getUint32(4, true) !== 0 || locator.getUint32(16, true) > 1) {
    fail('the archive lacks the zip64 end record');
  }
  const at = count64(locator, 8);
  if (at + end64Bytes > end - locator64Bytes) fail('the zip64 end record is not where it should be');
  const record = viewOf(await source.read(at, at + end64Bytes));
  if (record.getUint32(0, true) !== end64Signature) fail('the zip64 end record is damaged');
  const [count, bytes, offset] = [count64(record, 32), count64(record, 40), count64(record, 48)];
  if (count64(record, 24) !== count) fail('the archive is one of several parts');
  if (offset + bytes > at) fail(`the directory ends at byte ${offset + bytes}`, `at most ${at}`);
  return { offset, bytes, count };
}

/** Where the directory is, from the end record, which a comment of up to 64 KiB may follow. */
async function findDirectory(source: RandomAccess): Promise<Directory> {
  const from = Math.max(0, source.byteLength - endBytes - 0xffff);
  const tail = await source.read(from, source.byteLength);
  const view = viewOf(tail);
  for (let at = tail.length - endBytes; at >= 0; at--) {
    if (view.getUint32(at, true) !== endSignature || at + endBytes + view.getUint16(at + 20, true) !== tail.length) continue;
    const [disk, count, bytes, offset] = [
      view.getUint16(at + 4, true),
      view.getUint16(at + 10, true),
      view.getUint32(at + 12, true),
      view.getUint32(at + 16, true),
    ];
    if (offset === full32 || bytes === full32 || count === full16) return findDirectory64(source, from + at);
    if (disk !== 0 || view.getUint16(at + 6, true) !== 0 || view.getUint16(at + 8, true) !== count)
      fail('the archive is one of several parts');
    if (offset + bytes > from + at) fail(`the directory ends at byte ${offset + bytes}`, `at most ${from + at}`);
    return { offset, bytes, count };
  }
  return fail('the archive has no end record');
}

/** Sizes and place of an entry that do not fit into 32 bits are in an extra field, those that need it alone, in this order. */
function wideSizes(name: string, extra: Uint8Array, narrow: readonly number[]): number[] {
  const wide = [...narrow];
  const view = viewOf(extra);
  for (let at = 0; at + 4 <= extra.length; ) {
    const end = at + 4 + view.getUint16(at + 2, true);
    if (end > extra.length) break;
    if (view.getUint16(at, true) === 1) {
      let position = at + 4;
      for (const [i, value] of narrow.entries()) {
        if (value !== full32) continue;
        if (position + 8 > end) fail(`entry ${JSON.stringify(name)} lacks its zip64 sizes`);
        wide[i] = count64(view, position);
        position += 8;
      }
      return wide;
    }
    at = end;
  }
  return fail(`entry ${JSON.stringify(name)} lacks its zip64 sizes`);
}

interface Entry {
  readonly name: string;
  readonly method: number;
  readonly crc: number;
  readonly packed: number;
  readonly size: number;
  readonly header: number;
}

function readDirectory(bytes: Uint8Array, count: number, directoryStart: number): Entry[] {
  const view = viewOf(bytes);
  const entries: Entry[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + directoryBytes > bytes.length || view.getUint32(at, true) !== directorySignature) {
      fail(`entry ${i} of the directory is damaged (byte ${directoryStart + at})`);
    }
    const nameBytes = view.getUint16(at + 28, true);
    const next = at + directoryBytes + nameBytes + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
    if (next > bytes.length) fail(`entry ${i} passes the end of the directory`);
    const name = new TextDecoder().decode(bytes.subarray(at + directoryBytes, at + directoryBytes + nameBytes));
    const flags = view.getUint16(at + 8, true);
    const method = view.getUint16(at + 10, true);
    const crc = view.getUint32(at + 16, true);
    const narrow = [24, 20, 42].map((offset) => view.getUint32(at + offset, true));
    const extraStart = at + directoryBytes + nameBytes;
    const extra = bytes.subarray(extraStart, extraStart + view.getUint16(at + 30, true));
    const [size, packed, header] = narrow.includes(full32) ? wideSizes(name, extra, narrow) : narrow;
    if (flags & 1) fail(`entry ${JSON.stringify(name)} is encrypted`);
    if (method !== stored && method !== deflated) {
      fail(`entry ${JSON.stringify(name)} is compressed with method ${method}`, 'stored (0) or deflated (8)', method);
    }
    if (method === stored && packed !== size) fail(`entry ${JSON.stringify(name)} has ${packed} bytes`, `${size}, as it is stored`);
    if (size > (packed + 1) * maxRatio) fail(`entry ${JSON.stringify(name)} is said to unpack ${packed} bytes to ${size}`);
    entries.push({ name, method, crc, packed, size, header });
    at = next;
  }
  return entries;
}

/** Overlapping entries make a small file unpack to any size (Fifield, "A better zip bomb", 2019). */
function checkOverlap(entries: readonly Entry[], directoryStart: number): void {
  let free = 0;
  for (const { name, header, packed } of [...entries].sort((a, b) => a.header - b.header)) {
    const end = header + localBytes + packed;
    if (header < free || end > directoryStart) fail(`entry ${JSON.stringify(name)} overlaps something else in the archive`);
    free = end;
  }
}

/** Where the data of an entry starts. */
async function dataStart(source: RandomAccess, { name, header, packed, method }: Entry, directoryStart: number): Promise<number> {
  const local = viewOf(await source.read(header, header + localBytes));
  if (local.getUint32(0, true) !== localSignature || local.getUint16(8, true) !== method) {
    fail(`the header of entry ${JSON.stringify(name)} is damaged (byte ${header})`);
  }
  const start = header + localBytes + local.getUint16(26, true) + local.getUint16(28, true);
  if (start + packed > directoryStart) fail(`entry ${JSON.stringify(name)} passes the end of the data`);
  return start;
}

async function readEntry(source: RandomAccess, entry: Entry, directoryStart: number): Promise<Uint8Array> {
  const { name, packed, size, method, crc } = entry;
  const start = await dataStart(source, entry, directoryStart);
  const bytes = await readLarge(source, start, start + packed);
  const content = method === stored ? bytes : await inflate(bytes, 'deflate-raw', size, op);
  if (content.length !== size) fail(`entry ${JSON.stringify(name)} has ${content.length} bytes`, `${size} bytes`, content.length);
  if (crc32(content) !== crc) fail(`the checksum of entry ${JSON.stringify(name)} is wrong`);
  return content;
}

async function openEntry(source: RandomAccess, entry: Entry, directoryStart: number): Promise<RandomAccess> {
  if (entry.method !== stored) return openRandomAccess(await readEntry(source, entry, directoryStart));
  const start = await dataStart(source, entry, directoryStart);
  const { name, size } = entry;
  return {
    name: `${source.name}/${name}`,
    byteLength: size,
    read: async (begin, end) => {
      if (end > size) fail(`entry ${JSON.stringify(name)} has ${size} bytes`, `at least ${end}`, size);
      return source.read(start + begin, start + end);
    },
    close: async () => undefined,
  };
}

/**
 * Opens an archive; only its directory is read. Close it after use.
 * @throws FormatError when it is damaged or passes a limit, EnvironmentError when it cannot be read.
 */
export async function openZip(from: ByteSource, limits: ZipLimits = {}): Promise<ZipArchive> {
  const { maxEntryBytes = 2 ** 31 - 1, maxTotalBytes = 2 ** 32 } = limits;
  const source = await openRandomAccess(from);
  const close = async (): Promise<void> => {
    if (source !== from) await source.close();
  };
  try {
    const { offset, bytes, count } = await findDirectory(source);
    const found = readDirectory(await source.read(offset, offset + bytes), count, offset);
    checkOverlap(found, offset);
    const entries = new Map<string, ZipEntry>();
    let total = 0;
    for (const entry of found) {
      const { name, size } = entry;
      total += size;
      if (size > maxEntryBytes || total > maxTotalBytes) {
        throw new FormatError(`entry ${JSON.stringify(name)} has ${size} bytes, all so far ${total}`, {
          op,
          received: size,
          expected: `at most ${maxEntryBytes} bytes an entry and ${maxTotalBytes} in all`,
          fix: 'If the file is trusted, raise the limits.',
        });
      }
      if (entries.has(name)) fail(`the entry ${JSON.stringify(name)} occurs twice`);
      entries.set(name, { name, size, read: () => readEntry(source, entry, offset), open: () => openEntry(source, entry, offset) });
    }
    return { entries, close };
  } catch (cause) {
    await close();
    throw cause;
  }
}

export interface ZipOptions {
  /** Deflate the entries (those that become smaller); stored unless told otherwise. */
  readonly compress?: boolean;
  /** Start each entry's data at a multiple of this many bytes, so that it can be mapped into memory. */
  readonly align?: number;
}

/**
 * An archive in pieces, for `writeFileAtomic(path, await zipChunks(…))`. Equal content gives equal bytes (entries carry
 * no time). With `compress` the bytes depend on the platform's deflate.
 * @throws ArgumentError for names that occur twice or are too long, and for what needs zip64.
 */
export async function zipChunks(content: Iterable<readonly [string, Uint8Array]>, options: ZipOptions = {}): Promise<Uint8Array[]> {
  const { compress = false, align = 1 } = options;
  const chunks: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  const names = new Set<string>();
  let position = 0;
  const add = (chunk: Uint8Array): void => {
    chunks.push(chunk);
    position += chunk.length;
  };
  for (const [name, bytes] of content) {
    const nameBytes = new TextEncoder().encode(name);
    if (names.has(name) || nameBytes.length > 0xffff || nameBytes.length === 0) {
      throw new ArgumentError(`the entry name ${JSON.stringify(name.slice(0, 80))}`, {
        op,
        expected: 'a name that occurs once, up to 65535 bytes',
      });
    }
    names.add(name);
    const packed = compress ? await deflate(bytes, 'deflate-raw') : bytes;
    const smaller = packed.length < bytes.length;
    const data = smaller ? packed : bytes;
    const header = position;
    // An extra field (of a private tag) fills up to the alignment; it needs 4 bytes of its own.
    const unaligned = (header + localBytes + nameBytes.length) % align;
    let padding = unaligned === 0 ? 0 : align - unaligned;
    while (padding > 0 && padding < 4) padding += align;
    // From "version needed" to the sizes, the two headers are the same. 20: deflate; bit 11: names are UTF-8; 1980-01-01.
    const common = new Uint8Array(26);
    const view = viewOf(common);
    view.setUint16(0, 20, true);
    view.setUint16(2, 0x800, true);
    view.setUint16(4, smaller ? deflated : stored, true);
    view.setUint32(6, 0x00210000, true);
    view.setUint32(10, crc32(bytes), true);
    view.setUint32(14, data.length, true);
    view.setUint32(18, bytes.length, true);
    view.setUint16(22, nameBytes.length, true);
    const local = new Uint8Array(localBytes + nameBytes.length + padding);
    viewOf(local).setUint32(0, localSignature, true);
    local.set(common, 4);
    viewOf(local).setUint16(28, padding, true);
    local.set(nameBytes, localBytes);
    if (padding > 0) {
      viewOf(local).setUint16(localBytes + nameBytes.length, 0x5254, true);
      viewOf(local).setUint16(localBytes + nameBytes.length + 2, padding - 4, true);
    }
    add(local);
    add(data);
    const entry = new Uint8Array(directoryBytes + nameBytes.length);
    viewOf(entry).setUint32(0, directorySignature, true);
    viewOf(entry).setUint16(4, 20, true);
    entry.set(common, 6);
    viewOf(entry).setUint32(42, header, true);
    entry.set(nameBytes, directoryBytes);
    directory.push(entry);
  }
  const start = position;
  for (const entry of directory) add(entry);
  if (position >= full32 || directory.length >= 0xffff) {
    throw new ArgumentError(`the archive has ${directory.length} entries and ${position} bytes`, {
      op,
      expected: 'fewer than 65535 and below 4 GB',
    });
  }
  const tail = new Uint8Array(endBytes);
  const view = viewOf(tail);
  view.setUint32(0, endSignature, true);
  view.setUint16(8, directory.length, true);
  view.setUint16(10, directory.length, true);
  view.setUint32(12, position - start, true);
  view.setUint32(16, start, true);
  add(tail);
  return chunks;
}
