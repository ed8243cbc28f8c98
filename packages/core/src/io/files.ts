/** Bounded reads and atomic writes of whole files (Node only). */
import { ArgumentError, EnvironmentError, FormatError } from '../errors.js';
import { nodeModule } from './node.js';

let temporaries = 0;

/**
 * Writes a file so that a reader sees either the old content or the new one, never a part of it, and so that the
 * new one survives a power cut: a temporary file in the same folder, fsync, rename over the target, fsync of the folder.
 * The temporary file is removed if anything fails. Several chunks are written one after the other, also as they come.
 * @throws EnvironmentError when the file system refuses, or outside Node; what the chunks' own iteration throws.
 */
export async function writeFileAtomic(path: string, bytes: Uint8Array | readonly Uint8Array[] | AsyncIterable<Uint8Array>): Promise<void> {
  const op = 'writeFileAtomic';
  const fs = await nodeModule('node:fs/promises', op);
  const { basename, dirname, join } = await nodeModule('node:path', op);
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${process.pid}.${temporaries++}.tmp`);
  let created = false;
  let failure: { readonly cause: unknown } | null = null;
  async function* watched(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
    try {
      yield* chunks;
    } catch (cause) {
      failure = { cause };
      throw cause;
    }
  }
  try {
    // 'wx' refuses to follow or overwrite something already at the temporary name.
    const handle = await fs.open(temporary, 'wx', 0o666);
    created = true;
    try {
      const chunks = bytes instanceof Uint8Array ? [bytes] : Symbol.asyncIterator in bytes ? watched(bytes) : bytes;
      for await (const chunk of chunks) {
        for (let done = 0; done < chunk.length; ) done += (await handle.write(chunk, done)).bytesWritten;
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    await fs.rename(temporary, path);
    created = false;
  } catch (cause) {
    if (created) await fs.rm(temporary, { force: true }).catch(() => undefined);
    // (TypeScript does not see that the generator sets it.)
    const own = failure as { readonly cause: unknown } | null;
    if (own) throw own.cause;
    throw fileError(op, `could not write ${path}`, cause);
  }
  await syncFolder(fs, folder);
}

/** Makes the rename durable. Windows and some network file systems cannot open a folder; there the rename stands alone. */
async function syncFolder(fs: typeof import('node:fs/promises'), folder: string): Promise<void> {
  try {
    const handle = await fs.open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch {
    // The new content is in place already; only its durability across a power cut is up to the file system.
  }
}

/**
 * Reads a whole regular file of at most `maxBytes` bytes. Neither a file that grows while it is read nor a device
 * such as /dev/zero gets past the limit.
 * @throws FormatError when the file is larger than the limit.
 * @throws EnvironmentError when it cannot be read, or outside Node.
 */
export async function readFileBounded(path: string, maxBytes: number): Promise<Uint8Array> {
  const op = 'readFileBounded';
  if (!Number.isSafeInteger(maxBytes) || maxBytes < 0) {
    throw new ArgumentError(`maxBytes is ${maxBytes}`, { op, received: maxBytes, expected: 'a whole number of bytes, 0 or more' });
  }
  const fs = await nodeModule('node:fs/promises', op);
  let handle: Awaited<ReturnType<typeof fs.open>>;
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
    if (status.size > maxBytes) throw tooLarge(op, path, status.size, maxBytes);
    const bytes = new Uint8Array(status.size);
    let filled = 0;
    while (filled < bytes.length) {
      const { bytesRead } = await handle.read(bytes, filled, Math.min(bytes.length - filled, 1 << 30), filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return filled === bytes.length ? bytes : bytes.slice(0, filled);
  } catch (cause) {
    if (cause instanceof FormatError || cause instanceof EnvironmentError) throw cause;
    throw fileError(op, `could not read ${path}`, cause);
  } finally {
    await handle.close();
  }
}

function tooLarge(op: string, path: string, size: number, maxBytes: number): FormatError {
  return new FormatError(`${path} has ${size} bytes`, {
    op,
    received: size,
    expected: `at most ${maxBytes} bytes`,
    fix: 'If the file is trusted, raise the limit.',
  });
}

const hints: Readonly<Record<string, string>> = {
  ENOENT: 'Check the path; its folder must exist.',
  EACCES: 'Check the permissions of the file and its folder.',
  EPERM: 'Check the permissions of the file and its folder.',
  EROFS: 'The file system is read-only; choose another folder.',
  ENOSPC: 'The disk is full; free some space or choose another folder.',
  EISDIR: 'The path is a folder; give the path of a file.',
};

export function fileError(op: string, what: string, cause: unknown): EnvironmentError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new EnvironmentError(`${what} (${reason}).`, {
    op,
    received: code,
    fix: Object.hasOwn(hints, code) ? hints[code] : undefined,
    cause,
  });
}
