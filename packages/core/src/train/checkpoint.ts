/**
 * Checkpoints on disk (Node). One folder each: the network's weights and everything else as safetensors, and the rest as
 * JSON. `manifest.json` names the whole ones with the checksums of their files; it is replaced in one rename after the files are
 * on the disk, so whenever the process dies, it names only checkpoints that are whole.
 */
import { EnvironmentError, FormatError } from '../errors.js';
import { readFileBounded, writeFileAtomic } from '../io/files.js';
import { nodeModule } from '../io/node.js';
import { type RawTensor, safetensorsChunks } from '../io/safetensors.js';
import { rawTensor, tensorsFromSafetensors } from '../io/weights.js';
import type { Tensor } from '../tensor/tensor.js';
import type { TrainState } from './callback.js';
import type { JsonObject } from './types.js';

const op = 'checkpoint';
const manifestName = 'manifest.json';
const files = { weights: 'weights.safetensors', state: 'state.safetensors', json: 'checkpoint.json' } as const;
/** Of one file. The manifest and the JSON are far smaller. */
const maxBytes = 2 ** 32;

interface FileEntry {
  readonly bytes: number;
  /** Of the content, in hexadecimal. */
  readonly sha256: string;
}
export interface CheckpointEntry {
  /** Its folder, beside the manifest. */
  readonly name: string;
  readonly epoch: number;
  readonly step: number;
  /** Written after a whole epoch: the metrics are the epoch's. */
  readonly epochEnd: boolean;
  /** ISO 8601. */
  readonly time: string;
  readonly metrics: Readonly<Record<string, number>>;
  readonly files: Readonly<Record<string, FileEntry>>;
}
interface Manifest {
  readonly version: 1;
  /** From the oldest to the newest. */
  readonly checkpoints: readonly CheckpointEntry[];
}
/** Names the checkpoints to keep, of all that are whole (oldest first). The newest always stays. */
export type Retention = (checkpoints: readonly CheckpointEntry[]) => Iterable<string>;

export interface LoadedCheckpoint {
  readonly entry: CheckpointEntry;
  readonly weights: Map<string, Tensor>;
  readonly tensors: Map<string, Tensor>;
  readonly json: JsonObject;
}

/** JSON has no NaN and no infinities; a diverged run has. */
function encodeJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, (_, v: unknown) => (typeof v === 'number' && !Number.isFinite(v) ? { $number: String(v) } : v), indent);
}
function decodeJson(text: string): unknown {
  return JSON.parse(text, (_, v: unknown) => {
    const special = typeof v === 'object' && v !== null && '$number' in v && Object.keys(v).length === 1;
    return special ? Number((v as { readonly $number: string }).$number) : v;
  });
}

async function sha256(chunks: readonly Uint8Array[]): Promise<string> {
  const total = chunks.reduce((n, chunk) => n + chunk.length, 0);
  const bytes = new Uint8Array(total);
  let position = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, position);
    position += chunk.length;
  }
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

const raw = (tensors: ReadonlyMap<string, Tensor>): Map<string, RawTensor> =>
  new Map(Array.from(tensors, ([name, t]) => [name, rawTensor(t)]));

/** Checkpoint folders are named so; nothing else in the directory is ever touched. */
const ownFolder = /^step-\d{8,}(-\d+)?$/;

/** Makes new folder entries durable, before the manifest speaks of them. Some file systems cannot open a folder. */
async function syncFolder(path: string): Promise<void> {
  const fs = await nodeModule('node:fs/promises', op);
  try {
    const handle = await fs.open(path, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch {
    // Only the durability across a power cut is up to the file system then.
  }
}

/** The checkpoints in one directory. One process at a time may write there. */
export class CheckpointStore {
  readonly directory: string;
  private list: CheckpointEntry[];

  private constructor(directory: string, list: readonly CheckpointEntry[]) {
    this.directory = directory;
    this.list = [...list];
  }

  /** Whole checkpoints, from the oldest to the newest. */
  get checkpoints(): readonly CheckpointEntry[] {
    return this.list;
  }

  /**
   * Reads the directory's manifest; without one there are no checkpoints yet.
   * @throws FormatError for a manifest that is none, EnvironmentError when it cannot be read, or outside Node.
   */
  static async open(directory: string): Promise<CheckpointStore> {
    const { join } = await nodeModule('node:path', op);
    const fs = await nodeModule('node:fs/promises', op);
    const path = join(directory, manifestName);
    const exists = await fs.stat(path).then(
      () => true,
      () => false,
    );
    if (!exists) return new CheckpointStore(directory, []);
    const manifest = parse(path, await readFileBounded(path, 2 ** 26)) as Manifest;
    if (manifest?.version !== 1 || !Array.isArray(manifest.checkpoints) || !manifest.checkpoints.every(isEntry)) {
      throw new FormatError(`${path} is no manifest of checkpoints`, { op, received: manifest?.version, expected: 'version 1' });
    }
    return new CheckpointStore(directory, manifest.checkpoints);
  }

  /** Removes what an interrupted save left behind. For the one process that writes here. */
  async clean(): Promise<void> {
    const fs = await nodeModule('node:fs/promises', op);
    const { join } = await nodeModule('node:path', op);
    const present = await fs.readdir(this.directory).catch(() => []);
    const whole = new Set(this.list.map((c) => c.name));
    for (const name of present) {
      const left = (ownFolder.test(name) && !whole.has(name)) || (name.startsWith(`.${manifestName}.`) && name.endsWith('.tmp'));
      if (left) await fs.rm(join(this.directory, name), { recursive: true, force: true });
    }
  }

  /** Forgets all checkpoints: a new run starts in this directory. */
  async clear(): Promise<void> {
    if (this.list.length > 0) await this.writeManifest([]);
    await this.clean();
  }

  /**
   * Writes a checkpoint whole, then drops those that `retain` no longer wants.
   * @throws EnvironmentError when the disk refuses; the checkpoints from before are untouched then.
   */
  async save({ weights, tensors, json, epoch, step, epochEnd, metrics }: TrainState, retain?: Retention): Promise<CheckpointEntry> {
    // Copied now, at one moment; what follows may take time.
    const contents: readonly (readonly [string, Uint8Array[]])[] = [
      [files.weights, safetensorsChunks(raw(weights), new Map([['format', 'trireme']]))],
      [files.state, safetensorsChunks(raw(tensors))],
      [files.json, [new TextEncoder().encode(`${encodeJson(json, 1)}\n`)]],
    ];
    const fs = await nodeModule('node:fs/promises', op);
    const { join } = await nodeModule('node:path', op);
    const base = `step-${String(step).padStart(8, '0')}`;
    let name = base;
    for (let i = 2; this.list.some((c) => c.name === name); i++) name = `${base}-${i}`;
    const folder = join(this.directory, name);
    const written: Record<string, FileEntry> = {};
    try {
      await fs.mkdir(this.directory, { recursive: true });
      // Left by a save that was interrupted: the manifest does not name it.
      await fs.rm(folder, { recursive: true, force: true });
      await fs.mkdir(folder);
      for (const [file, chunks] of contents) {
        await writeFileAtomic(join(folder, file), chunks);
        written[file] = { bytes: chunks.reduce((n, chunk) => n + chunk.length, 0), sha256: await sha256(chunks) };
      }
      await syncFolder(this.directory);
    } catch (cause) {
      await fs.rm(folder, { recursive: true, force: true }).catch(() => undefined);
      if (cause instanceof EnvironmentError) throw cause;
      throw new EnvironmentError(`could not write the checkpoint ${folder} (${cause instanceof Error ? cause.message : cause})`, {
        op,
        fix: 'Check the space on the disk and the permissions of the folder.',
        cause,
      });
    }
    const entry: CheckpointEntry = { name, epoch, step, epochEnd, time: new Date().toISOString(), metrics, files: written };
    const all = [...this.list, entry];
    const kept = retain ? new Set([...retain(all), name]) : null;
    await this.writeManifest(kept === null ? all : all.filter((c) => kept.has(c.name)));
    for (const { name: old } of all) {
      if (kept !== null && !kept.has(old)) await fs.rm(join(this.directory, old), { recursive: true, force: true });
    }
    return entry;
  }

  private async writeManifest(checkpoints: readonly CheckpointEntry[]): Promise<void> {
    const { join } = await nodeModule('node:path', op);
    const manifest: Manifest = { version: 1, checkpoints };
    await writeFileAtomic(join(this.directory, manifestName), new TextEncoder().encode(`${encodeJson(manifest, 1)}\n`));
    this.list = [...checkpoints];
  }

  /**
   * Reads a checkpoint and compares its checksums. The tensors are the caller's.
   * @throws FormatError when a file is missing or is not what was written.
   */
  async load(entry: CheckpointEntry): Promise<LoadedCheckpoint> {
    const { join } = await nodeModule('node:path', op);
    const read = async (file: string): Promise<Uint8Array> => {
      const path = join(this.directory, entry.name, file);
      const expected = Object.hasOwn(entry.files, file) ? entry.files[file] : undefined;
      const bytes = await readFileBounded(path, maxBytes);
      const found = await sha256([bytes]);
      if (expected === undefined || bytes.length !== expected.bytes || found !== expected.sha256) {
        throw new FormatError(`${path} is not what was written (${bytes.length} bytes, SHA-256 ${found})`, {
          op,
          received: found,
          expected: expected === undefined ? 'a file that the manifest names' : `${expected.bytes} bytes, SHA-256 ${expected.sha256}`,
        });
      }
      return bytes;
    };
    const [weights, state, json] = [await read(files.weights), await read(files.state), await read(files.json)];
    return {
      entry,
      weights: tensorsFromSafetensors(weights).tensors,
      tensors: tensorsFromSafetensors(state).tensors,
      json: parse(files.json, json) as JsonObject,
    };
  }

  /**
   * The newest checkpoint, or (with a warning) the newest one before it that is not damaged; null where there is none.
   * @throws FormatError when there are checkpoints and all are damaged.
   */
  async loadLast(): Promise<LoadedCheckpoint | null> {
    let failure: unknown = null;
    for (const entry of this.list.toReversed()) {
      try {
        return await this.load(entry);
      } catch (error) {
        if (!(error instanceof FormatError || error instanceof EnvironmentError)) throw error;
        failure ??= error;
        console.warn(`trireme: the checkpoint ${entry.name} in ${this.directory} is damaged: ${error.message}`);
      }
    }
    if (failure !== null) throw failure;
    return null;
  }
}

function isEntry(value: unknown): value is CheckpointEntry {
  if (typeof value !== 'object' || value === null) return false;
  const { name, epoch, step, files: list } = value as Partial<CheckpointEntry>;
  return typeof name === 'string' && ownFolder.test(name) && Number.isInteger(epoch) && Number.isInteger(step) && typeof list === 'object';
}

function parse(path: string, bytes: Uint8Array): unknown {
  try {
    return decodeJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new FormatError(`${path} is not JSON (${cause instanceof Error ? cause.message : cause})`, { op, cause });
  }
}
