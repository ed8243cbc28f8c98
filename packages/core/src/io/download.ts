/** Files from the network, checked and kept in a cache. Node only. */
import { ArgumentError, EnvironmentError, FormatError } from '../errors.js';
import { fileError, writeFileAtomic } from './files.js';
import { nodeModule } from './node.js';

export interface DownloadOptions {
  /** Checksums of the file in hexadecimal; what is given must be right. */
  readonly sha256?: string;
  /** Where a data set's own page names no better one. */
  readonly md5?: string;
  /** Folder to keep it in, made when missing; {@link cacheFolder}() unless told otherwise. */
  readonly cacheDir?: string;
  /** Name in the folder; the last part of the address unless told otherwise. */
  readonly fileName?: string;
  /** Largest file, in bytes; 4 GB unless told otherwise. */
  readonly maxBytes?: number;
  readonly signal?: AbortSignal | undefined;
  /** What to do when it cannot be had, for the message. */
  readonly fix?: string;
}

const op = 'download';

/** The folder for what can be made or downloaded again: `$XDG_CACHE_HOME/trireme/<name>`, by default in `~/.cache`. */
export async function cacheFolder(name = ''): Promise<string> {
  const { join } = await nodeModule('node:path', op);
  const { homedir } = await nodeModule('node:os', op);
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'trireme', name);
}

function nameOf(url: string, given: string | undefined): string {
  let name = given;
  if (name === undefined) {
    try {
      name = decodeURIComponent(new URL(url).pathname.split('/').at(-1) ?? '');
    } catch (cause) {
      throw new ArgumentError(`the address is ${url}`, { op, received: url, expected: 'an http or https address', cause });
    }
  }
  // It must not lead out of the cache folder.
  if (name === '' || name.startsWith('.') || /[/\\\0:]/.test(name)) {
    throw new ArgumentError(`the file name is ${JSON.stringify(name)}`, {
      op,
      received: name,
      expected: 'a plain file name',
      fix: 'Give fileName.',
    });
  }
  return name;
}

/** The pieces of a response's body, given up as soon as they are longer than the limit. */
async function* bounded(response: Response, maxBytes: number): AsyncGenerator<Uint8Array, void, void> {
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > maxBytes) throw new Error(`more than ${maxBytes} bytes`);
    yield chunk;
  }
}

type Hashes = readonly (readonly [name: 'sha256' | 'md5', expected: string])[];

function wanted({ sha256, md5 }: DownloadOptions): Hashes {
  const hashes: [name: 'sha256' | 'md5', expected: string][] = [];
  if (sha256 !== undefined) hashes.push(['sha256', sha256.toLowerCase()]);
  if (md5 !== undefined) hashes.push(['md5', md5.toLowerCase()]);
  return hashes;
}

interface Check {
  update(chunk: Uint8Array): void;
  /** The first checksum that is wrong; null when all are right. */
  wrong(): { readonly found: string; readonly expected: string } | null;
}

async function startCheck(hashes: Hashes): Promise<Check> {
  const { createHash } = await nodeModule('node:crypto', op);
  const running = hashes.map(([name, expected]) => ({ hash: createHash(name), expected }));
  return {
    update: (chunk) => {
      for (const { hash } of running) hash.update(chunk);
    },
    wrong: () =>
      running.map(({ hash, expected }) => ({ found: hash.digest('hex'), expected })).find(({ found, expected }) => found !== expected) ??
      null,
  };
}

/**
 * Downloads a file to the cache, checked before it gets its name there, and gives its path. What the cache has (with the
 * right checksum, where one is given) is not asked for again. The file never lies in memory as a whole.
 * @throws EnvironmentError when it cannot be had, FormatError when it is another file, the signal's reason when aborted.
 */
export async function download(url: string, options: DownloadOptions = {}): Promise<string> {
  const { maxBytes = 2 ** 32, signal, fix } = options;
  const { dirname, join } = await nodeModule('node:path', op);
  const fs = await nodeModule('node:fs/promises', op);
  const { createReadStream } = await nodeModule('node:fs', op);
  const name = nameOf(url, options.fileName);
  const folder = options.cacheDir ?? (await cacheFolder('downloads'));
  const path = join(folder, name);
  const hashes = wanted(options);
  if (await exists(fs, path)) {
    const cached = await startCheck(hashes);
    if (hashes.length > 0) for await (const chunk of createReadStream(path)) cached.update(chunk as Uint8Array);
    if (cached.wrong() === null) return path;
  }
  signal?.throwIfAborted();
  let response: Response;
  const failed = (cause: unknown): EnvironmentError =>
    new EnvironmentError(`could not download ${name} from ${url} (${cause instanceof Error ? cause.message : cause})`, {
      op,
      fix: fix ?? 'Check the address and the network.',
      cause,
    });
  try {
    response = await fetch(url, { signal });
    if (!response.ok) throw new Error(`status ${response.status}`);
  } catch (cause) {
    signal?.throwIfAborted();
    throw failed(cause);
  }
  const check = await startCheck(hashes);
  async function* checked(): AsyncGenerator<Uint8Array, void, void> {
    try {
      for await (const chunk of bounded(response, maxBytes)) {
        check.update(chunk);
        yield chunk;
      }
    } catch (cause) {
      signal?.throwIfAborted();
      throw failed(cause);
    }
    const wrong = check.wrong();
    if (!wrong) return;
    throw new FormatError(`${name} has the checksum ${wrong.found}`, {
      op,
      received: wrong.found,
      expected: wrong.expected,
      fix: 'The download is damaged or is another file: try again later.',
    });
  }
  let made: string | undefined;
  try {
    made = await fs.mkdir(folder, { recursive: true });
  } catch (cause) {
    throw fileError(op, `could not make ${folder}`, cause);
  }
  try {
    await writeFileAtomic(path, checked());
  } catch (cause) {
    // The folders that were made for it go too, as long as nothing else is in them.
    for (let empty = folder; made !== undefined && empty.length >= made.length; empty = dirname(empty)) {
      await fs.rmdir(empty).catch(() => undefined);
    }
    throw cause;
  }
  return path;
}

async function exists(fs: typeof import('node:fs/promises'), path: string): Promise<boolean> {
  try {
    return (await fs.stat(path)).isFile();
  } catch {
    return false;
  }
}
