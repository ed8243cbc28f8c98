/**
 * Zip archives, as numpy (.npz) and others write them: stored and deflated entries, no encryption, no zip64 (entries and
 * archives below 4 GB). The reader treats the archive as hostile: it goes by the central directory, refuses entries that
 * overlap, bounds every size before it allocates, and checks every CRC.
 * Format: PKWARE's APPNOTE.TXT, sections 4.3.7 (local header), 4.3.12 (directory) and 4.3.16 (end record).
 */
import { ArgumentError, FormatError } from '../errors.js';
import { crc32 } from './crc32.js';
import { deflate, inflate } from './inflate.js';
import { type ByteSource, openRandomAccess, type RandomAccess } from './random-access.js';

const op = 'zip';
const endSignature = 0x06054b50;
const directorySignature = 0x02014b50;
const localSignature = 0x04034b50;
const endBytes = 22;
const directoryBytes = 46;
const localBytes = 30;
const stored = 0;
const deflated = 8;
const full32 = 0xffffffff;

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

/** Where the directory is, from the end record, which a comment of up to 64 KiB may follow. */
async function findDirectory(source: RandomAccess): Promise<{ offset: number; bytes: number; count: number; end: number }> {
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
    if (disk !== 0 || view.getUint16(at + 6, true) !== 0 || view.getUint16(at + 8, true) !== count)
      fail('the archive is one of several parts');
    if (offset === full32 || bytes === full32 || count === 0xffff) fail('the archive is in the zip64 format', 'an archive below 4 GB');
    if (offset + bytes > from + at) fail(`the directory ends at byte ${offset + bytes}`, `at most ${from + at}`);
    return { offset, bytes, count, end: from + at };
  }
  return fail('the archive has no end record');
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
    const [crc, packed, size, header] = [16, 20, 24, 42].map((offset) => view.getUint32(at + offset, true));
    if (flags & 1) fail(`entry ${JSON.stringify(name)} is encrypted`);
    if (packed === full32 || size === full32 || header === full32) fail(`entry ${JSON.stringify(name)} is in the zip64 format`);
    if (method !== stored && method !== deflated) {
      fail(`entry ${JSON.stringify(name)} is compressed with method ${method}`, 'stored (0) or deflated (8)', method);
    }
    if (method === stored && packed !== size) fail(`entry ${JSON.stringify(name)} has ${packed} bytes`, `${size}, as it is stored`);
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

async function readEntry(source: RandomAccess, entry: Entry, directoryStart: number): Promise<Uint8Array> {
  const { name, header, packed, size, method, crc } = entry;
  const local = viewOf(await source.read(header, header + localBytes));
  if (local.getUint32(0, true) !== localSignature || local.getUint16(8, true) !== method) {
    fail(`the header of entry ${JSON.stringify(name)} is damaged (byte ${header})`);
  }
  const start = header + localBytes + local.getUint16(26, true) + local.getUint16(28, true);
  if (start + packed > directoryStart) fail(`entry ${JSON.stringify(name)} passes the end of the data`);
  const bytes = await source.read(start, start + packed);
  const content = method === stored ? bytes : await inflate(bytes, 'deflate-raw', size, op);
  if (content.length !== size) fail(`entry ${JSON.stringify(name)} has ${content.length} bytes`, `${size} bytes`, content.length);
  if (crc32(content) !== crc) fail(`the checksum of entry ${JSON.stringify(name)} is wrong`);
  return content;
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
      entries.set(name, { name, size, read: () => readEntry(source, entry, offset) });
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
