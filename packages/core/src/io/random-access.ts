/** Reading parts of files, blobs and bytes in memory, so that large files need not fit into the memory. */
import { ArgumentError, EnvironmentError, FormatError } from '../errors.js';
import { fileError } from './files.js';
import { nodeModule } from './node.js';

/** Something with bytes at positions. */
export interface RandomAccess {
  /** What it is called in messages: the path of a file. */
  readonly name: string;
  readonly byteLength: number;
  /**
   * The bytes begin .. end-1.
   * @throws FormatError when they are not all there, EnvironmentError when they cannot be read.
   */
  read(begin: number, end: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** What readers take: the path of a file (Node only), bytes in memory, a Blob or File (browsers too), or an open one. */
export type ByteSource = string | URL | Uint8Array | Blob | RandomAccess;

/** Most bytes that are asked for at once; a file's own numbers never lead to a larger allocation. */
const maxRead = 2 ** 31 - 1;

function checkRange(name: string, begin: number, end: number, byteLength: number): void {
  const op = 'read';
  if (!Number.isSafeInteger(begin) || !Number.isSafeInteger(end) || begin < 0 || end < begin || end - begin > maxRead) {
    throw new ArgumentError(`bytes ${begin} to ${end} of ${name}`, { op, expected: `a range of at most ${maxRead} bytes` });
  }
  if (end > byteLength) {
    throw new FormatError(`${name} has ${byteLength} bytes`, {
      op,
      received: byteLength,
      expected: `at least ${end} bytes`,
      fix: 'The file is cut short: copy or download it again.',
    });
  }
}

function memory(bytes: Uint8Array): RandomAccess {
  const name = 'the data';
  return {
    name,
    byteLength: bytes.length,
    read: async (begin, end) => {
      checkRange(name, begin, end, bytes.length);
      return bytes.subarray(begin, end);
    },
    close: async () => undefined,
  };
}

function blob(source: Blob): RandomAccess {
  const name = 'name' in source && typeof source.name === 'string' ? source.name : 'the blob';
  return {
    name,
    byteLength: source.size,
    read: async (begin, end) => {
      checkRange(name, begin, end, source.size);
      return new Uint8Array(await source.slice(begin, end).arrayBuffer());
    },
    close: async () => undefined,
  };
}

async function file(path: string): Promise<RandomAccess> {
  const op = 'openRandomAccess';
  const fs = await nodeModule('node:fs/promises', op);
  let handle: Awaited<ReturnType<typeof fs.open>>;
  let byteLength = 0;
  try {
    handle = await fs.open(path, 'r');
  } catch (cause) {
    throw fileError(op, `could not open ${path}`, cause);
  }
  try {
    const status = await handle.stat();
    if (!status.isFile()) {
      throw new EnvironmentError(`${path} is not a regular file`, { op, received: path, expected: 'the path of a regular file' });
    }
    byteLength = status.size;
  } catch (cause) {
    await handle.close();
    throw cause;
  }
  return {
    name: path,
    byteLength,
    read: async (begin, end) => {
      checkRange(path, begin, end, byteLength);
      const bytes = new Uint8Array(end - begin);
      let filled = 0;
      try {
        while (filled < bytes.length) {
          const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, begin + filled);
          if (bytesRead === 0) break;
          filled += bytesRead;
        }
      } catch (cause) {
        throw fileError('read', `could not read ${path}`, cause);
      }
      // The file became shorter after it was opened.
      if (filled < bytes.length) checkRange(path, begin, end, begin + filled);
      return bytes;
    },
    close: () => handle.close(),
  };
}

/**
 * Opens a file, or looks at bytes, for reading parts of it. Close it after use.
 * @throws EnvironmentError when the file cannot be opened, or for a path outside Node.
 */
export async function openRandomAccess(source: ByteSource): Promise<RandomAccess> {
  if (source instanceof Uint8Array) return memory(source);
  if (source instanceof URL) {
    if (source.protocol !== 'file:') {
      throw new ArgumentError(`the address is ${source.href}`, {
        op: 'openRandomAccess',
        expected: 'a file: address',
        fix: 'download() it.',
      });
    }
    return file(filePath(source));
  }
  if (typeof source === 'string') return file(source);
  return 'read' in source ? source : blob(source);
}

/** The path of a file: address; Node's own function needs a synchronous import. */
function filePath(url: URL): string {
  const path = decodeURIComponent(url.pathname);
  return /^\/[A-Za-z]:/.test(path) ? path.slice(1) : path;
}

/**
 * All bytes of a source of at most `maxBytes`.
 * @throws FormatError when it is larger, EnvironmentError when it cannot be read.
 */
export async function readAll(source: ByteSource, maxBytes: number): Promise<Uint8Array> {
  const access = await openRandomAccess(source);
  try {
    if (access.byteLength > maxBytes) {
      throw new FormatError(`${access.name} has ${access.byteLength} bytes`, {
        op: 'readAll',
        received: access.byteLength,
        expected: `at most ${maxBytes} bytes`,
        fix: 'If the file is trusted, raise the limit.',
      });
    }
    return await access.read(0, access.byteLength);
  } finally {
    // What the caller opened the caller closes.
    if (access !== source) await access.close();
  }
}

/** The bytes of a source from start to end, in pieces. */
export async function* readChunks(source: ByteSource, chunkBytes = 1 << 18): AsyncGenerator<Uint8Array, void, void> {
  const access = await openRandomAccess(source);
  try {
    for (let at = 0; at < access.byteLength; at += chunkBytes) yield await access.read(at, Math.min(at + chunkBytes, access.byteLength));
  } finally {
    if (access !== source) await access.close();
  }
}
