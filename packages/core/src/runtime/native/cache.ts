/**
 * Compiled code on disk. An entry is a library, its digest, and the full text of what it was made from: a hit compares all
 * of it. The folder belongs to the user alone: objects of others are never loaded.
 */
import { node } from './node.js';
import type { Toolchain } from './toolchain.js';

/** Bytes the folder may hold; the least recently used entries go first. */
const mostBytes = 512 * 2 ** 20;
/** Temporary files older than this were left by a process that ended: milliseconds. */
const staleAfter = 3600_000;

export interface CacheFolder {
  readonly path: string;
  /** Whether it outlives the process. */
  readonly lasting: boolean;
  /** Why the lasting folder is not used, if so. */
  readonly reason: string | null;
}

const folders = new Map<string, CacheFolder>();

function ownedPrivately(path: string): string | null {
  const stats = node().fs.lstatSync(path);
  if (!stats.isDirectory()) return `${path} is not a folder`;
  if (process.getuid && stats.uid !== process.getuid()) return `${path} belongs to another user`;
  if ((stats.mode & 0o077) !== 0) {
    node().fs.chmodSync(path, 0o700);
    if ((node().fs.lstatSync(path).mode & 0o077) !== 0) return `${path} is open to other users`;
  }
  return null;
}

function temporary(reason: string | null): CacheFolder {
  const path = node().fs.mkdtempSync(node().path.join(node().os.tmpdir(), 'trireme-native-'));
  process.once('exit', () => node().fs.rmSync(path, { recursive: true, force: true }));
  return { path, lasting: false, reason };
}

/** The folder for compiled code: TRIREME_CACHE, else the user's cache; `off`, or where that fails, one for this process. */
export function cacheFolder(): CacheFolder {
  const asked = process.env.TRIREME_CACHE ?? '';
  let folder = folders.get(asked);
  if (!folder) {
    folder = asked === 'off' ? temporary(null) : lasting(asked);
    folders.set(asked, folder);
  }
  return folder;
}

function lasting(asked: string): CacheFolder {
  const { path, os, fs } = node();
  const base = asked || path.join(process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache'), 'trireme');
  const at = path.join(base, 'native');
  try {
    fs.mkdirSync(at, { recursive: true, mode: 0o700 });
    const problem = ownedPrivately(at);
    return problem === null ? { path: at, lasting: true, reason: null } : temporary(problem);
  } catch (error) {
    return temporary(error instanceof Error ? error.message : String(error));
  }
}

/** One piece of code to compile, or compiled. */
export interface CacheEntry {
  /** All that the library depends on: compiler, flags, CPU and source. */
  readonly text: string;
  readonly library: string;
  readonly source: string;
  readonly sum: string;
}

const digest = (data: string | Uint8Array): string => node().crypto.createHash('sha256').update(data).digest('hex');

export function cacheEntry(toolchain: Toolchain, source: string): CacheEntry {
  const text = `${source}\n/*\n${toolchain.command} ${toolchain.version}\n${toolchain.flags.join(' ')}\n${digest(toolchain.macros)}\n*/\n`;
  const at = node().path.join(cacheFolder().path, digest(text));
  return { text, library: `${at}.so`, source: `${at}.c`, sum: `${at}.sum` };
}

/** Whether the entry is there, whole, and made from the same text by this user. */
export function isCached(entry: CacheEntry): boolean {
  try {
    if (node().fs.readFileSync(entry.source, 'utf8') !== entry.text) return false;
    for (const file of [entry.library, entry.sum]) {
      const stats = node().fs.lstatSync(file);
      if (!stats.isFile() || (process.getuid && stats.uid !== process.getuid())) return false;
    }
    if (node().fs.readFileSync(entry.sum, 'utf8') !== digest(node().fs.readFileSync(entry.library))) return false;
    const now = new Date();
    node().fs.utimesSync(entry.library, now, now);
    return true;
  } catch {
    return false;
  }
}

let attempts = 0;
/** Files to compile into, for this process alone. */
export function temporaryFiles(entry: CacheEntry): { readonly source: string; readonly object: string } {
  const stem = `${entry.library.slice(0, -3)}.${process.pid}.${attempts++}`;
  node().fs.writeFileSync(`${stem}.tmp.c`, entry.text, { mode: 0o600 });
  return { source: `${stem}.tmp.c`, object: `${stem}.tmp.so` };
}

/** Moves what was compiled into place; the source, which marks the entry as whole, comes last. */
export function commit(entry: CacheEntry, files: { readonly source: string; readonly object: string }): void {
  const sum = `${files.object}.sum`;
  node().fs.writeFileSync(sum, digest(node().fs.readFileSync(files.object)), { mode: 0o600 });
  node().fs.renameSync(files.object, entry.library);
  node().fs.renameSync(sum, entry.sum);
  node().fs.renameSync(files.source, entry.source);
  prune();
}

export function discard(files: { readonly source: string; readonly object: string }): void {
  for (const file of [files.source, files.object]) node().fs.rmSync(file, { force: true });
}

let sincePruned = 0;
/** Keeps the folder within its bound. Looks at it at the first commit of a process and every 64th after that. */
function prune(): void {
  const { path, lasting } = cacheFolder();
  if (!lasting || sincePruned++ % 64 !== 0) return;
  const now = Date.now();
  const found: { readonly stem: string; readonly bytes: number; readonly used: number }[] = [];
  let total = 0;
  for (const name of node().fs.readdirSync(path)) {
    const file = node().path.join(path, name);
    try {
      const stats = node().fs.statSync(file);
      if (name.includes('.tmp.')) {
        if (now - stats.mtimeMs > staleAfter) node().fs.rmSync(file, { force: true });
        continue;
      }
      total += stats.size;
      if (name.endsWith('.so')) found.push({ stem: file.slice(0, -3), bytes: stats.size, used: stats.mtimeMs });
    } catch {
      // Another process removed it.
    }
  }
  found.sort((a, b) => a.used - b.used);
  for (const { stem, bytes } of found) {
    if (total <= mostBytes) break;
    for (const suffix of ['.c', '.sum', '.so']) node().fs.rmSync(stem + suffix, { force: true });
    total -= bytes;
  }
}
