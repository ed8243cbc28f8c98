/** The pool of workers: started lazily, never in the way of the process's exit. */
import { hasNodeModules } from '../../io/node.js';
import { builtin } from './environment.js';
import type { Heap } from './heap.js';
import { control, record, recordAddress } from './layout.js';
import type { LoadMessage, WorkerMessage, WorkerReply } from './worker.js';

/** What workers need to run an executable. */
export interface Published {
  readonly module: WebAssembly.Module;
  readonly base: number;
  readonly names: readonly string[];
  /** Paths of the native libraries with the functions that the module lacks. */
  readonly libraries: readonly string[];
  /** Its load message's number; 0 until it is published. */
  sequence: number;
}

interface PoolWorker {
  /** Its number as a thread: 1 for the first worker. */
  readonly thread: number;
  readonly handle: WorkerHandle;
}

/** The few things the two kinds of Worker do differently. */
interface WorkerHandle {
  post(message: WorkerMessage): void;
  /** Whether the worker keeps the process alive. */
  hold(alive: boolean): void;
  terminate(): void;
}

/** Rounds an idle worker spins before it sleeps: about 0.1 ms. */
const idleSpins = 100_000;

export class Pool {
  private readonly heap: Heap;
  private readonly driver: WebAssembly.Module;
  private readonly workers: PoolWorker[] = [];
  private readonly published = new Set<Published>();
  private sequence = 0;
  private nextThread = 1;
  private failed: string | null = null;
  private holds = 0;
  /** Number of the last run, 24 bits. */
  private run = 0;
  private listeners: (() => void)[] = [];
  /** Called (from the event loop) when a worker has taken a message in, finished a run, or broken down. */
  onProgress: () => void = () => {};

  constructor(heap: Heap, driver: WebAssembly.Module) {
    this.heap = heap;
    this.driver = driver;
  }

  /** Why the pool has no workers although it was asked for some; null while it works. */
  get failure(): string | null {
    return this.workers.length === 0 ? this.failed : null;
  }
  get size(): number {
    return this.workers.length;
  }

  /** Starts workers until there are `count`. They become ready later. */
  ensure(count: number): void {
    if (this.failed !== null) return;
    while (this.workers.length < count) {
      const thread = this.nextThread++;
      let handle: WorkerHandle;
      try {
        handle = spawn((reply) => this.receive(thread, reply));
      } catch (error) {
        this.failed = error instanceof Error ? error.message : String(error);
        return;
      }
      const worker = { thread, handle };
      this.workers.push(worker);
      if (this.holds > 0) handle.hold(true);
      const own = recordAddress(thread);
      this.heap.u8.fill(0, own, own + record.counters);
      this.post(worker, { kind: 'init', memory: this.heap.memory, driver: this.driver, thread, record: own, spins: idleSpins });
      for (const executable of this.published) this.post(worker, loadMessage(executable));
    }
  }

  /** Sends an executable to all workers, present and future, once. */
  publish(executable: Published): void {
    if (executable.sequence > 0) return;
    executable.sequence = ++this.sequence;
    this.published.add(executable);
    for (const worker of this.workers) this.post(worker, loadMessage(executable));
    this.wake();
  }
  withdraw(executable: Published): void {
    if (!this.published.delete(executable)) return;
    for (const worker of this.workers) this.post(worker, { kind: 'unload', base: executable.base, count: executable.names.length });
  }

  /** Threads of up to `count` workers that can run the executable now. */
  ready(executable: Published, count: number): number[] {
    const { i32 } = this.heap;
    const ready: number[] = [];
    if (executable.sequence === 0) return ready;
    for (const worker of this.workers) {
      if (ready.length === count) break;
      const own = recordAddress(worker.thread);
      if (Atomics.load(i32, (own + record.state) / 4) !== 1) continue;
      if (Atomics.load(i32, (own + record.loaded) / 4) >= executable.sequence) ready.push(worker.thread);
    }
    return ready;
  }

  /**
   * Invites these threads to a run. Nobody may be running.
   * @param team size of the team that all wait for, or 0: the leader goes ahead with whoever has come.
   * @param firstRank rank of the first worker to enter: 0 to lead, 1 to follow this thread.
   * @param notify how a leading worker reports the end (see `control.notify`).
   */
  dispatch(threads: readonly number[], commands: number, team: number, firstRank: 0 | 1, notify: 0 | 1 | 2): void {
    const { i32 } = this.heap;
    this.run = (this.run & 0xffffff) + 1;
    const run = this.run & 0xffffff;
    i32[control.stop / 4] = 0;
    i32[control.arrived / 4] = 0;
    i32[control.claim / 4] = 0;
    i32[control.errorThread / 4] = 0;
    i32[control.commands / 4] = commands;
    i32[control.invited / 4] = threads.length;
    i32[control.firstRank / 4] = firstRank;
    i32[control.notify / 4] = notify;
    i32[control.team / 4] = team;
    i32[control.active / 4] = threads.length;
    // The gate opens before anyone is invited: who comes and finds another run's gate has come too late.
    Atomics.store(i32, control.gate / 4, run << 8);
    for (const thread of threads) Atomics.store(i32, (recordAddress(thread) + record.ticket) / 4, run);
    this.wake();
  }

  /** Resolves when `count` workers serve, or cannot be had. */
  async started(count: number): Promise<void> {
    this.ensure(count);
    const { i32 } = this.heap;
    const serving = (): boolean => this.workers.every((w) => Atomics.load(i32, (recordAddress(w.thread) + record.state) / 4) === 1);
    if (serving()) return;
    this.hold(1);
    await new Promise<void>((resolve) => {
      const check = (): void => {
        if (serving()) resolve();
        else this.listeners.push(check);
      };
      check();
    });
    this.hold(-1);
  }

  /** Keeps the process alive while the number of calls with 1 exceeds that of calls with -1. */
  hold(change: 1 | -1): void {
    this.holds += change;
    for (const worker of this.workers) worker.handle.hold(this.holds > 0);
  }

  dispose(): void {
    for (const worker of this.workers) worker.handle.terminate();
    this.workers.length = 0;
    this.published.clear();
    this.failed = 'the device is disposed';
  }

  private post(worker: PoolWorker, message: WorkerMessage): void {
    worker.handle.post(message);
    Atomics.add(this.heap.i32, (recordAddress(worker.thread) + record.inbox) / 4, 1);
  }
  /** Whether workers sleep; to wake one takes 30 microseconds of the caller, and twice that until it works. */
  get asleep(): boolean {
    return Atomics.load(this.heap.i32, control.idle / 4) > 0;
  }
  /** Wakes the workers; those without a task spin for a while. */
  wake(): void {
    const { i32 } = this.heap;
    Atomics.add(i32, control.epoch / 4, 1);
    if (Atomics.load(i32, control.idle / 4) > 0) Atomics.notify(i32, control.epoch / 4);
  }
  private receive(thread: number, reply: WorkerReply): void {
    if (reply.kind === 'broken') {
      const at = this.workers.findIndex((w) => w.thread === thread);
      if (at >= 0) {
        this.workers[at]?.handle.terminate();
        this.workers.splice(at, 1);
        this.failed = reply.message;
      }
    }
    for (const listener of this.listeners.splice(0)) listener();
    this.onProgress();
  }
}

function loadMessage(executable: Published): LoadMessage {
  const { sequence, module, base, names, libraries } = executable;
  return { kind: 'load', sequence, module, base, names, libraries };
}

/**
 * Where the worker's code is for Node: in a built package beside the bundle this file is in (`dist/`); in the package's
 * build when this file runs from its TypeScript source. Bundlers must not see this one: they follow the one in {@link spawnBrowser}.
 */
function workerUrl(): URL {
  const path: string = import.meta.url.endsWith('.ts') ? '../../../dist/worker.js' : './worker.js';
  return new URL(path, import.meta.url);
}

function spawn(receive: (reply: WorkerReply) => void): WorkerHandle {
  return hasNodeModules() ? spawnNode(receive) : spawnBrowser(receive);
}

function spawnNode(receive: (reply: WorkerReply) => void): WorkerHandle {
  const threads = builtin('node:worker_threads');
  if (!threads) throw new Error('worker threads need Node 20.16 or newer');
  // The parent's flags (loaders, inspectors) are not for this worker; it writes nothing to the console.
  const worker = new threads.Worker(workerUrl(), { execArgv: [], name: 'trireme' });
  worker.on('message', receive);
  worker.on('error', (error: unknown) => receive({ kind: 'broken', message: String(error) }));
  worker.unref();
  return {
    post: (message) => worker.postMessage(message),
    hold: (alive) => (alive ? worker.ref() : worker.unref()),
    terminate: () => void worker.terminate(),
  };
}

function spawnBrowser(receive: (reply: WorkerReply) => void): WorkerHandle {
  const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'trireme' });
  worker.onmessage = (event: MessageEvent<WorkerReply>) => receive(event.data);
  worker.onerror = (event) => receive({ kind: 'broken', message: event.message });
  return {
    post: (message) => worker.postMessage(message),
    hold: () => {},
    terminate: () => worker.terminate(),
  };
}
