/**
 * Compiled code on disk. An entry is a library, a record of its test, and the full text of what it was made from: a hit compares all
 * of it. The folder belongs to the user alone: objects of others are never loaded.
 */

import type { Stats } from 'node:fs';
import { node } from './node.js';
import type { Trial } from './selftest.js';
import type { Toolchain } from './toolchain.js';

/** Bytes the folder may hold; the least recently used entries go first. */
const mostBytes = 512 * 2 ** 20;
/** Temporary files older than this were left by a process that ended: milliseconds. */
const staleAfter = 3600_000;

export interface CacheFolder {
  readonly path: string;
  /** Whether it outlives the process. */
  readonly lasting: boolean;
  /** Where new entries go: the same, or one for this process where the disk only reads. */
  readonly writable: string;
  /** Why the lasting folder is not used, or not written to, if so. */
  readonly reason: string | null;
}

const folders = new Map<string, CacheFolder>();

const isOthers = (stats: Stats): boolean => process.getuid !== undefined && stats.uid !== process.getuid();

/** Why a folder is not this user's alone; null when it is, if need be after its mode was changed. */
function notPrivate(path: string): string | null {
  const { fs, path: paths } = node();
  const stats = fs.lstatSync(path);
  if (stats.isSymbolicLink()) return `${path} is a symbolic link`;
  if (!stats.isDirectory()) return `${path} is not a folder`;
  if (process.platform === 'win32') return null;
  if (isOthers(stats)) return `${path} belongs to another user`;
  // Who may write to the folder above can put another one in the place of this one.
  const above = fs.statSync(paths.dirname(path));
  if (isOthers(above) && above.uid !== 0) return `${paths.dirname(path)} belongs to another user`;
  if ((above.mode & 0o022) !== 0 && (above.mode & 0o1000) === 0) return `${paths.dirname(path)} is open to other users`;
  if ((stats.mode & 0o077) !== 0) {
    fs.chmodSync(path, 0o700);
    if ((fs.lstatSync(path).mode & 0o077) !== 0) return `${path} is open to other users`;
  }
  return null;
}

/** A folder that goes with this process. */
export function temporaryFolder(): string {
  const path = node().fs.mkdtempSync(node().path.join(node().os.tmpdir(), 'trireme-native-'));
  process.once('exit', () => node().fs.rmSync(path, { recursive: true, force: true }));
  return path;
}

/** The folder for compiled code: TRIREME_CACHE, else the user's cache; `off`, or where that fails, one for this process. */
export function cacheFolder(): CacheFolder {
  const asked = process.env.TRIREME_CACHE ?? '';
  let folder = folders.get(asked);
  if (!folder) {
    folder = asked === 'off' ? passing(null) : lasting(asked);
    folders.set(asked, folder);
  }
  return folder;
}

function passing(reason: string | null): CacheFolder {
  const path = temporaryFolder();
  return { path, lasting: false, writable: path, reason };
}

function lasting(asked: string): CacheFolder {
  const { path, os, fs } = node();
  const base = path.resolve(asked || path.join(process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache'), 'trireme'));
  const at = path.join(base, 'native');
  try {
    fs.mkdirSync(at, { recursive: true, mode: 0o700 });
    const problem = notPrivate(at);
    if (problem !== null) return passing(problem);
    try {
      fs.accessSync(at, fs.constants.W_OK);
      return { path: at, lasting: true, writable: at, reason: null };
    } catch {
      return { path: at, lasting: true, writable: temporaryFolder(), reason: `${at} cannot be written to` };
    }
  } catch (error) {
    return passing(error instanceof Error ? error.message : String(error));
  }
}

/** Whether there is anything in the cache. */
export function hasEntries(): boolean {
  const { path } = cacheFolder();
  return node()
    .fs.readdirSync(path)
    .some((name) => name.endsWith('.so'));
}

/** One piece of code to compile, or compiled. */
export interface CacheEntry {
  /** All that the library depends on: compiler, flags, CPU and source. */
  readonly text: string;
  readonly library: string;
  readonly source: string;
  readonly record: string;
}

/** What a comparison with WebAssembly found. */
export interface TestRecord {
  /** Small kernels, and the checksums of what they gave: a library from the cache has to give the same. */
  readonly probes: readonly { readonly trial: Trial; readonly checksum: number }[];
  /** First functions of kernels that could not be compared: they stay with WebAssembly. */
  readonly untested: readonly string[];
}
export interface CacheRecord extends TestRecord {
  /** Of the library. */
  readonly sha256: string;
}

const digest = (data: string | Uint8Array): string => node().crypto.createHash('sha256').update(data).digest('hex');

/** What is cached of a source, and else where it is to go. */
export function lookUp(toolchain: Toolchain, source: string): { readonly entry: CacheEntry; readonly record: CacheRecord | null } {
  const { path, writable } = cacheFolder();
  const entry = cacheEntry(toolchain, source, path);
  const record = findCached(entry);
  if (record !== null || writable === path) return { entry, record };
  const own = cacheEntry(toolchain, source, writable);
  return { entry: own, record: findCached(own) };
}

function cacheEntry(toolchain: Toolchain, source: string, folder: string): CacheEntry {
  const text = `${source}\n/*\n${toolchain.command} ${toolchain.version}\n${toolchain.flags.join(' ')}\n${digest(toolchain.macros)}\n*/\n`;
  const at = node().path.join(folder, digest(text));
  return { text, library: `${at}.so`, source: `${at}.c`, record: `${at}.json` };
}

/** A file of this user's alone; throws for any other, links among them. */
function readOwn(path: string): Uint8Array {
  const { fs } = node();
  const file = fs.openSync(path, fs.constants.O_RDONLY | (fs.constants.O_NOFOLLOW ?? 0));
  try {
    const stats = fs.fstatSync(file);
    if (!stats.isFile() || isOthers(stats) || (process.platform !== 'win32' && (stats.mode & 0o022) !== 0)) {
      throw new Error(`${path} is not a file of this user alone`);
    }
    return fs.readFileSync(file);
  } finally {
    fs.closeSync(file);
  }
}

/** The record of an entry that is there, whole, and made from the same text by this user; else null. */
export function findCached(entry: CacheEntry): CacheRecord | null {
  try {
    if (new TextDecoder().decode(readOwn(entry.source)) !== entry.text) return null;
    const record = JSON.parse(new TextDecoder().decode(readOwn(entry.record))) as CacheRecord;
    if (record.sha256 !== digest(readOwn(entry.library)) || !Array.isArray(record.probes) || !Array.isArray(record.untested)) return null;
    touch(entry.library);
    return record;
  } catch {
    return null;
  }
}

/** Says that a library is in use. */
function touch(library: string): void {
  const now = new Date();
  try {
    node().fs.utimesSync(library, now, now);
  } catch {
    // The disk only reads, and nobody cleans up there.
  }
}

/** Removes an entry. */
export function removeEntry(entry: CacheEntry): void {
  for (const file of [entry.source, entry.record, entry.library]) node().fs.rmSync(file, { force: true });
}

let builds = 0;
/** Folders of builds under way. */
const building = new Set<string>();
/** A folder to build in, for this process alone; to be given to {@link endBuild}. */
export function buildFolder(): string {
  const path = node().path.join(cacheFolder().writable, `build.${process.pid}.${builds++}.tmp.d`);
  node().fs.rmSync(path, { recursive: true, force: true });
  node().fs.mkdirSync(path, { mode: 0o700 });
  if (builds === 1) {
    process.once('exit', () => {
      for (const left of building) endBuild(left);
    });
  }
  building.add(path);
  return path;
}
export function endBuild(path: string): void {
  building.delete(path);
  node().fs.rmSync(path, { recursive: true, force: true });
}

/** Moves a library and its source into place. The source, which marks the entry as whole, comes last. */
export function commit(entry: CacheEntry, files: { readonly source: string; readonly object: string }, test: TestRecord): void {
  const { fs } = node();
  const record: CacheRecord = { sha256: digest(fs.readFileSync(files.object)), ...test };
  fs.writeFileSync(`${files.object}.json`, JSON.stringify(record), { mode: 0o600 });
  // Compilers follow the umask.
  fs.chmodSync(files.object, 0o700);
  fs.renameSync(files.object, entry.library);
  fs.renameSync(`${files.object}.json`, entry.record);
  fs.renameSync(files.source, entry.source);
}

/** Keeps the folder within its bound: what was used longest ago goes first. */
export function prune(path: string, most = mostBytes): void {
  const { fs, path: paths } = node();
  const now = Date.now();
  const entries = new Map<string, { bytes: number; used: number }>();
  let total = 0;
  for (const name of fs.readdirSync(path)) {
    const file = paths.join(path, name);
    try {
      const stats = fs.lstatSync(file);
      if (name.includes('.tmp.')) {
        if (now - stats.mtimeMs > staleAfter) fs.rmSync(file, { recursive: true, force: true });
        continue;
      }
      const stem = file.slice(0, file.length - paths.extname(file).length);
      const entry = entries.get(stem) ?? { bytes: 0, used: 0 };
      entry.bytes += stats.size;
      // A hit renews the library; an entry without one was left by a process that died.
      if (name.endsWith('.so')) entry.used = stats.mtimeMs;
      entries.set(stem, entry);
      total += stats.size;
    } catch {
      // Another process removed it.
    }
  }
  for (const [stem, { bytes }] of [...entries].sort(([, a], [, b]) => a.used - b.used)) {
    if (total <= most) break;
    for (const suffix of ['.c', '.json', '.so']) fs.rmSync(stem + suffix, { force: true });
    total -= bytes;
  }
}
