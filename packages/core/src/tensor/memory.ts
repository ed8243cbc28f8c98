/**
 * The backstop of memory management: frees storages whose handles were garbage-collected.
 *
 * JavaScript engines do not see the memory of a WebAssembly heap, and run finalizers only between tasks. So on
 * allocation pressure in Node we ask for a collection ourselves and look which storages are gone, in the middle of
 * synchronous code too. Elsewhere the FinalizationRegistry alone does it, whenever the event loop turns.
 */
import type { Block, Storage } from './storage.js';
import { nextMacrotask } from '../data/dataloader.js';
import { freeBlock } from './storage.js';

interface Tracked {
  readonly ref: WeakRef<Storage>;
  readonly block: Block;
}

/** Storages smaller than this are left to the finalizers: tracking would cost more than they hold. */
const trackedBytes = 2048;
/** Bytes that may be allocated after a collection before the next is asked for. */
const minimumBudget = 96 * 2 ** 20;

let tracked: Tracked[] = [];
let allocatedSince = 0;
let budget = minimumBudget;
let liveBytes = 0;
let liveCount = 0;

const registry = new FinalizationRegistry<Block>(freeBlock);

interface Collector {
  collect(kind: 'minor' | 'major'): void;
}
let collector: Collector | null | undefined;

/** A way to run the garbage collector now, or null where there is none. */
function getCollector(): Collector | null {
  if (collector !== undefined) return collector;
  collector = null;
  const load = typeof process === 'object' ? process.getBuiltinModule : undefined;
  if (typeof load !== 'function') return collector;
  try {
    const v8 = load('node:v8');
    const vm = load('node:vm');
    v8.setFlagsFromString('--expose-gc');
    const gc = vm.runInNewContext('gc') as (options?: { type: 'minor' | 'major' }) => void;
    // Weak references hold their targets until the current job ends; draining a private microtask queue ends it early.
    const context = vm.createContext({}, { microtaskMode: 'afterEvaluate' });
    const drain = new vm.Script('Promise.resolve().then(() => 0)');
    collector = {
      collect(kind) {
        drain.runInContext(context);
        gc({ type: kind });
      },
    };
  } catch {
    collector = null;
  }
  return collector;
}

/** Called for each new storage. */
export function trackStorage(storage: Storage, block: Block): void {
  liveBytes += block.bytes;
  liveCount++;
  registry.register(storage, block);
  if (block.bytes >= trackedBytes && getCollector() !== null) {
    tracked.push({ ref: new WeakRef(storage), block });
    allocatedSince += block.bytes;
    if (allocatedSince > budget || tracked.length > 100_000 + 2 * liveCount) collectGarbage();
  }
}

/** Called when a block is freed, by hand or by a finalizer. */
export function blockFreed(block: Block): void {
  liveBytes -= block.bytes;
  liveCount--;
}

function sweep(): number {
  let freed = 0;
  const kept: Tracked[] = [];
  for (const entry of tracked) {
    if (!entry.block.live) continue;
    if (entry.ref.deref() === undefined) {
      freed += entry.block.bytes;
      freeBlock(entry.block);
    } else kept.push(entry);
  }
  tracked = kept;
  return freed;
}

/**
 * Frees the memory of unreachable tensors now, where the engine allows it. Returns the bytes freed.
 * Runs by itself under allocation pressure.
 */
export function collectGarbage(kind?: 'minor' | 'major'): number {
  const gc = getCollector();
  if (gc === null) return 0;
  const before = liveBytes;
  // Tensors freed by hand since the last time leave the list without a collection.
  tracked = tracked.filter((entry) => entry.block.live);
  const pending = tracked.reduce((sum, entry) => sum + entry.block.bytes, 0);
  let freed = 0;
  if (kind !== undefined || pending > minimumBudget / 2 || tracked.length > 50_000) {
    gc.collect(kind ?? 'minor');
    freed = sweep();
    if (kind === undefined && freed < allocatedSince / 4 && liveBytes > 2 * minimumBudget) {
      gc.collect('major');
      freed += sweep();
    }
  }
  allocatedSince = 0;
  budget = Math.max(minimumBudget, liveBytes / 2);
  return Math.max(freed, before - liveBytes);
}

/** Bytes and number of live tensor storages, those that wait for the garbage collector included. */
export function memoryInfo(): { readonly bytes: number; readonly storages: number } {
  return { bytes: liveBytes, storages: liveCount };
}

let settledAt = 0;

/**
 * Lets finalizers run when much memory waits for them: code that only awaits resolved promises never gives the event
 * loop a turn. Cheap otherwise.
 */
export async function settleMemory(): Promise<void> {
  const now = performance.now();
  if (now - settledAt < 50) return;
  settledAt = now;
  await nextMacrotask();
}
