/** The threads of a DataLoader: they start when first used, keep no process alive, and end with the loader. */
import { EnvironmentError, WorkerError } from '../errors.js';
import { hasNodeModules, nodeModule } from '../io/node.js';
import type { BatchTask, DataReply, DataTask, NextTask } from './data-worker.js';
import type { DatasetSource } from './worker-dataset.js';

/** An item or a batch could not be made in a worker thread. */
export class DataWorkerError extends WorkerError {
  /** Index of the item in the dataset; -1 when the failure was not that of one item. */
  readonly index: number;
  /** The stack in the worker. */
  readonly workerStack: string;
  constructor(what: string, index: number, name: string, message: string, stack: string) {
    const cause = new Error(message);
    cause.name = name;
    cause.stack = stack;
    super(`${what} (${name}: ${message})\n[in the worker] ${stack}`, { op: 'DataLoader', received: index, cause });
    this.index = index;
    this.workerStack = stack;
  }
}

interface Answer {
  readonly batch: unknown;
  readonly done: boolean;
}

interface Waiting {
  resolve(answer: Answer): void;
  reject(reason: unknown): void;
}

interface Thread {
  readonly waiting: Map<number, Waiting>;
  post(task: DataTask, transfer?: ArrayBuffer[]): void;
  /** Whether the thread keeps the process alive. */
  hold(alive: boolean): void;
  terminate(): Promise<void>;
}

type Receive = (reply: DataReply | { readonly kind: 'broken'; readonly error: unknown }) => void;

/** The worker's script: beside the bundle in a built package; in the package's build when this runs from its source. */
function workerUrl(): URL {
  const path: string = import.meta.url.endsWith('.ts') ? '../../dist/data-worker.js' : './data-worker.js';
  return new URL(path, import.meta.url);
}

async function spawnNode(receive: Receive): Promise<Omit<Thread, 'waiting'>> {
  const { Worker } = await nodeModule('node:worker_threads', 'DataLoader');
  // The parent's flags (loaders, for example) hold for the worker too, but not those that say what the parent runs.
  const execArgv = process.execArgv.filter((flag) => !/^(-e|-p|--eval|--print|--input-type|--inspect)/.test(flag));
  const worker = new Worker(workerUrl(), { name: 'trireme-data', execArgv });
  worker.on('message', receive);
  worker.on('messageerror', (error: unknown) => receive({ kind: 'broken', error }));
  worker.on('error', (error: unknown) => receive({ kind: 'broken', error }));
  worker.on('exit', (code) => receive({ kind: 'broken', error: new Error(`the thread ended with exit code ${code}`) }));
  worker.unref();
  return {
    post: (task, transfer = []) => worker.postMessage(task, transfer),
    hold: (alive) => (alive ? worker.ref() : worker.unref()),
    terminate: async () => void (await worker.terminate()),
  };
}

function spawnBrowser(receive: Receive): Omit<Thread, 'waiting'> {
  const worker = new Worker(new URL('./data-worker.js', import.meta.url), { type: 'module', name: 'trireme-data' });
  worker.onmessage = (event: MessageEvent<DataReply>) => receive(event.data);
  worker.onerror = (event) => receive({ kind: 'broken', error: new Error(event.message || 'the worker did not start') });
  return {
    post: (task, transfer = []) => worker.postMessage(task, transfer),
    hold: () => {},
    terminate: async () => worker.terminate(),
  };
}

type WithoutId<T> = T extends unknown ? Omit<T, 'id'> : never;

/** A team of threads that build the same dataset. */
export class DataPool {
  /** Threads. */
  readonly size: number;
  private readonly starting: Promise<Thread[]>;
  private readonly threads: Thread[] = [];
  private nextId = 0;
  private held = 0;
  /** Why nothing more can be asked of it; null while it works. */
  private ended: { readonly reason: unknown } | null = null;

  constructor(source: DatasetSource, size: number) {
    this.size = size;
    this.starting = this.start(source);
    // Who asks for a batch hears of it.
    this.starting.catch(() => undefined);
  }

  /** Whether it failed or was closed. */
  get isEnded(): boolean {
    return this.ended !== null;
  }

  private async start(source: DatasetSource): Promise<Thread[]> {
    for (let i = 0; i < this.size; i++) {
      const waiting = new Map<number, Waiting>();
      const receive: Receive = (reply) => this.receive(waiting, reply);
      try {
        const port = hasNodeModules() ? await spawnNode(receive) : spawnBrowser(receive);
        this.threads.push({ ...port, waiting });
        if (this.ended) void port.terminate();
        else port.post({ kind: 'init', source });
        if (this.held > 0) port.hold(true);
      } catch (cause) {
        const error = new EnvironmentError('the data worker could not be started', {
          op: 'DataLoader',
          fix: 'Use workers: 0, which makes the batches in this thread.',
          cause,
        });
        void this.end(error);
        throw error;
      }
    }
    return this.threads;
  }

  private receive(waiting: Map<number, Waiting>, reply: Parameters<Receive>[0]): void {
    if (this.ended || reply.kind === 'ready') return;
    if (reply.kind === 'broken') {
      const { name, message, stack = '' } = reply.error instanceof Error ? reply.error : new Error(String(reply.error));
      void this.end(new DataWorkerError('a data worker ended', -1, name, message, stack));
      return;
    }
    if (reply.kind === 'error' && reply.id < 0) {
      void this.end(new DataWorkerError('the dataset could not be built', -1, reply.name, reply.message, reply.stack));
      return;
    }
    const waiter = waiting.get(reply.id);
    // A batch that nobody waits for any more.
    if (!waiter) return;
    waiting.delete(reply.id);
    if (reply.kind === 'batch') waiter.resolve(reply);
    else {
      const what = reply.index >= 0 ? `item ${reply.index} failed` : 'a batch failed';
      waiter.reject(new DataWorkerError(what, reply.index, reply.name, reply.message, reply.stack));
    }
  }

  /** Asks a thread (the least busy one unless told which) for a batch. The id names the request for {@link forget}. */
  request(task: WithoutId<BatchTask | NextTask>, thread?: number): { readonly id: number; readonly answer: Promise<Answer> } {
    const id = this.nextId++;
    const answer = this.ask({ ...task, id } as BatchTask | NextTask, thread);
    // Batches asked for ahead fail before somebody looks at them.
    answer.catch(() => undefined);
    return { id, answer };
  }

  private async ask(task: BatchTask | NextTask, which?: number): Promise<Answer> {
    const threads = await this.starting;
    if (this.ended) throw this.ended.reason;
    const thread = which === undefined ? threads.reduce((a, b) => (b.waiting.size < a.waiting.size ? b : a)) : threads[which];
    return new Promise((resolve, reject) => {
      thread.waiting.set(task.id, { resolve, reject });
      thread.post(task);
    });
  }

  /** Tells one thread, or all, something that has no answer. */
  async tell(task: DataTask, which?: number): Promise<void> {
    const threads = await this.starting;
    if (this.ended) return;
    for (const thread of which === undefined ? threads : [threads[which]]) thread.post(task);
  }

  /** Gives up requests: those that have not begun are not made, the answers of the others are dropped. */
  async forget(ids: readonly number[]): Promise<void> {
    if (ids.length === 0 || this.ended) return;
    const threads = await this.starting.catch(() => []);
    for (const thread of threads) {
      for (const id of ids) thread.waiting.delete(id);
      if (!this.ended) thread.post({ kind: 'cancel', ids });
    }
  }

  /** Waits for a promise while the threads keep the process alive (else it would exit in the middle of a wait). */
  async whileHeld<T>(promise: Promise<T>): Promise<T> {
    if (this.held++ === 0) for (const thread of this.threads) thread.hold(true);
    try {
      return await promise;
    } finally {
      if (--this.held === 0) for (const thread of this.threads) thread.hold(false);
    }
  }

  /** Ends the threads; what is still waited for fails with the reason. */
  async end(reason: unknown): Promise<void> {
    if (this.ended) return;
    this.ended = { reason };
    for (const { waiting } of this.threads) {
      for (const waiter of waiting.values()) waiter.reject(reason);
      waiting.clear();
    }
    await Promise.all(this.threads.map((thread) => thread.terminate()));
  }
}
