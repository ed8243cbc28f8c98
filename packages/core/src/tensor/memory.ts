/**
 * The backstop of memory management: frees storages whose handles were garbage-collected.
 *
 * JavaScript engines do not see the memory of a WebAssembly heap, and run finalizers only between tasks. So on
 * allocation pressure in Node we ask for a collection ourselves and look which storages are gone, in the middle of
 * synchronous code too. Elsewhere the FinalizationRegistry alone does it, whenever the event loop turns.
 */

import { nextMacrotask } from '../data/dataloader.js';
import { debugLevel } from '../debug.js';
import { dtypeInfo } from '../dtype.js';
import type { Block, Storage } from './storage.js';
import { freeBlock } from './storage.js';

interface Tracked {
  readonly ref: WeakRef<Storage>;
  readonly block: Block;
}

/** Storages smaller than this are left to the finalizers: tracking would cost more than they hold. */
const trackedBytes = 2048;
/** Bytes that may be allocated after a collection before the next is asked for. */
const minimumBudget = 96 * 2 ** 20;

/** Above the growth at which engines collect by themselves. */
const hintBytes = 192 * 2 ** 20;

let tracked: Tracked[] = [];
let allocatedSince = 0;
let budget = minimumBudget;
/** Bytes that survived the last collection. */
let settledBytes = 0;
let maximumTracked = 100_000;
let liveBytes = 0;
let liveCount = 0;

const registry = new FinalizationRegistry<Block>((block) => {
  if (block.live && block.origin !== null) {
    console.warn(
      `[trireme] a ${block.dtype} tensor of ${block.bytes} bytes was left to the garbage collector; it was made at\n${block.origin}`,
    );
  }
  freeBlock(block);
});

/** Where a tensor is being made, with TRIREME_DEBUG; null otherwise, since stacks are slow. */
export function creationStack(): string | null {
  return debugLevel() >= 1 ? (new Error('created').stack?.split('\n').slice(3, 9).join('\n') ?? null) : null;
}

/** Runs the garbage collector now; null where there is no way to. */
let collect: (() => void) | null | undefined;

function getCollector(): (() => void) | null {
  if (collect !== undefined) return collect;
  collect = null;
  const load = typeof process === 'object' ? process.getBuiltinModule : undefined;
  if (typeof load !== 'function') return collect;
  try {
    const v8 = load('node:v8');
    const vm = load('node:vm');
    v8.setFlagsFromString('--expose-gc');
    // Only a full collection clears weak references: a scavenge keeps their targets.
    const gc = vm.runInNewContext('gc') as () => void;
    // Weak references hold their targets until the current job ends; draining a private microtask queue ends it early.
    const context = vm.createContext({}, { microtaskMode: 'afterEvaluate' });
    const drain = new vm.Script('Promise.resolve().then(() => 0)');
    collect = () => {
      drain.runInContext(context);
      gc();
    };
  } catch {
    collect = null;
  }
  return collect;
}

/** Called for each new storage. */
export function trackStorage(storage: Storage, block: Block): void {
  liveBytes += block.bytes;
  liveCount++;
  registry.register(storage, block);
  if (block.bytes >= trackedBytes) {
    tracked.push({ ref: new WeakRef(storage), block });
    allocatedSince += block.bytes;
    if (allocatedSince > budget || tracked.length > maximumTracked) relieve();
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
 * Frees the memory of unreachable tensors now, where the engine allows it (Node). Returns the bytes freed.
 * Runs by itself under allocation pressure.
 */
export function collectGarbage(): number {
  const run = getCollector();
  if (run === null) return 0;
  run();
  const freed = sweep();
  allocatedSince = 0;
  budget = Math.max(minimumBudget, liveBytes / 2);
  return freed;
}

/**
 * Where the collector cannot be called: engines count the bytes of array buffers, and collect when they have grown much. The
 * buffer is dropped at once, and its pages are never touched.
 */
function hintAtMemory(): void {
  try {
    new ArrayBuffer(hintBytes);
  } catch {
    // No address space for it: then the engine is under pressure anyway.
  }
}

/** Under pressure: a collection, unless what was allocated since the last one has been freed by hand already. */
function relieve(): void {
  let pending = 0;
  const live: Tracked[] = [];
  for (const entry of tracked) {
    if (!entry.block.live) continue;
    live.push(entry);
    pending += entry.block.bytes;
  }
  tracked = live;
  allocatedSince = Math.max(0, pending - settledBytes);
  if (allocatedSince > budget / 2 || tracked.length > maximumTracked) {
    if (getCollector() === null) hintAtMemory();
    else collectGarbage();
    allocatedSince = 0;
    settledBytes = tracked.reduce((sum, entry) => sum + entry.block.bytes, 0);
    maximumTracked = Math.max(100_000, 2 * tracked.length);
  }
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

/** The largest groups of live tensors of one size, for messages about memory: `12 x float32 of 1048576 elements, 48 MB`. */
export function describeMemory(): string {
  const groups = new Map<string, { count: number; bytes: number; block: Block }>();
  for (const { block } of tracked) {
    if (!block.live) continue;
    const key = `${block.dtype}:${block.bytes}`;
    const group = groups.get(key);
    if (group) {
      group.count++;
      group.bytes += block.bytes;
    } else groups.set(key, { count: 1, bytes: block.bytes, block });
  }
  const largest = [...groups.values()].sort((a, b) => b.bytes - a.bytes).slice(0, 5);
  const lines = largest.map(({ count, bytes, block }) => {
    const elements = block.bytes / dtypeInfo[block.dtype].bytes;
    const origin = block.origin === null ? '' : `, the first made at ${block.origin.trim().split('\n')[0]}`;
    return `${count} x ${block.dtype} of ${elements} elements, ${(bytes / 2 ** 20).toFixed(1)} MB${origin}`;
  });
  return `${liveCount} tensors hold ${(liveBytes / 2 ** 20).toFixed(1)} MB: ${lines.join('; ')}.`;
}
