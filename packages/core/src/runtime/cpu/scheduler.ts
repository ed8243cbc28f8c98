/** Runs programs one after the other: on this thread and the pool (runSync), or on the pool alone (run). */
import { CompilerError, EnvironmentError, type TriremeError, WorkerError } from '../../errors.js';
import type { DriverExports } from './driver.js';
import { maySleep, warnSingleThreaded } from './environment.js';
import type { CpuExecutable } from './executable.js';
import type { Heap } from './heap.js';
import { control, errorText, recordAddress } from './layout.js';
import type { Pool } from './pool.js';
import type { Program } from './program.js';
import type { ThreadMemory } from './thread-memory.js';

/** An asynchronous run. */
interface Job {
  readonly executable: CpuExecutable;
  readonly pointers: Float64Array;
  readonly signal: AbortSignal | undefined;
  readonly onAbort: () => void;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
  /** `queued`; `waiting` for workers to get ready; on the `pool`; on this thread in `slices`; `done`. */
  state: 'queued' | 'waiting' | 'pool' | 'slices' | 'done';
  /** Runs the pool had finished when this one began. */
  finished: number;
  /** Where the next slice begins. */
  at: number;
  /** Whether it keeps the process alive through the pool. */
  held: boolean;
}

/** How long a slice of a run on the event loop's own thread aims to take, in milliseconds. */
const sliceTime = 6;

/** Scalar operations that take about as long as it takes to wake a worker. */
const wakeWork = 200_000;
/** Programs below {@link wakeWork} wake the workers when they follow one another within this time, in milliseconds. */
const wakeGap = 0.05;
/**
 * A program of fewer scalar operations goes on with the threads that have woken up when it first needs them to meet;
 * one of more waits for all of them.
 */
const longWork = 4_000_000;

export class Scheduler {
  /** Address of the main thread's kernel scratch memory. */
  scratch = 0;
  /** When a program last ran on this thread that the sleeping workers could have shared. */
  private lastShared = 0;
  /** The asynchronous run under way. */
  private current: Job | null = null;
  private readonly queue: Job[] = [];
  private readonly heap: Heap;
  private readonly driver: DriverExports;
  private readonly table: WebAssembly.Table;
  private readonly threadMemory: ThreadMemory;
  private readonly pool: Pool | null;
  private readonly threads: number;
  private readonly maySleep: number;
  private readonly record = recordAddress(0);

  constructor(heap: Heap, driver: DriverExports, table: WebAssembly.Table, threadMemory: ThreadMemory, pool: Pool | null, threads: number) {
    this.heap = heap;
    this.driver = driver;
    this.table = table;
    this.threadMemory = threadMemory;
    this.pool = pool;
    this.threads = threads;
    this.maySleep = heap.shared && maySleep(heap.i32, control.finished / 4) ? 1 : 0;
    if (pool) pool.onProgress = () => this.progress();
  }

  /** Whether an asynchronous run is under way or queued. */
  get busy(): boolean {
    return this.current !== null;
  }

  /** Runs a program, whose pointers are in place, to its end. Nothing else may be running. */
  runHere(executable: CpuExecutable): void {
    this.link(executable);
    const { pool } = this;
    if (executable.program.parallel && pool !== null && this.threads > 1) {
      this.startPool(executable, this.threads - 1);
      const wanted = Math.min(pool.size, this.threads - 1);
      const ready = pool.ready(executable.published, wanted);
      if (wanted > 0 && ready.length === wanted) {
        if (executable.program.sharedWork >= wakeWork || !pool.asleep) return this.runTeam(executable, ready, pool);
        // Done before anybody else would be awake. Where more of its kind follow closely, workers stay awake.
        if (performance.now() - this.lastShared < wakeGap) pool.wake();
        this.clearStop();
        this.walkAlone(executable, executable.commands);
        this.lastShared = performance.now();
        return;
      }
    }
    this.clearStop();
    this.walkAlone(executable, executable.commands);
  }

  /** Starts an asynchronous run, or puts it behind those under way. */
  submit(executable: CpuExecutable, pointers: ArrayLike<number>, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason as unknown);
        return;
      }
      const job: Job = {
        executable,
        pointers: Float64Array.from(pointers),
        signal,
        onAbort: () => this.abort(job),
        resolve,
        reject,
        state: 'queued',
        finished: 0,
        at: 0,
        held: false,
      };
      signal?.addEventListener('abort', job.onAbort, { once: true });
      this.queue.push(job);
      this.pump();
    });
  }

  /** Completes all asynchronous runs under way, in their order, before it returns. */
  drain(): void {
    for (let job = this.current; job !== null; job = this.current) {
      this.complete(job);
    }
  }

  /** The executable is about to be disposed: completes its runs, and forgets its code. */
  release(executable: CpuExecutable): void {
    if (this.current?.executable === executable || this.queue.some((job) => job.executable === executable)) this.drain();
    this.pool?.withdraw(executable.published);
    if (executable.linked) executable.functions.forEach((_, i) => this.table.set(executable.published.base + i, null));
  }

  /** Ends all runs with an error. */
  dispose(): void {
    const reason = new EnvironmentError('the device was disposed during the run', { op: 'run' });
    const { current } = this;
    for (const job of this.queue.splice(0)) this.settle(job, reason);
    if (current === null) return;
    if (current.state === 'pool') {
      this.stop(1);
      this.awaitPool(current);
    }
    this.settle(current, reason);
  }

  /** The error for a kernel that trapped on this thread. */
  trapped(executable: CpuExecutable, kernel: string, cause: unknown): CompilerError {
    return new CompilerError(`program ${executable.name}: kernel ${kernel} failed: ${String(cause)}`, {
      op: 'run',
      expected: 'kernels that stay inside their buffers',
      fix: 'If the inputs are what the program was built for, this is a bug in Trireme.',
      cause,
    });
  }

  private link(executable: CpuExecutable): void {
    if (executable.linked) return;
    executable.linked = true;
    const { base } = executable.published;
    const missing = base + executable.functions.length - this.table.length;
    if (missing > 0) this.table.grow(Math.max(missing, this.table.length));
    executable.functions.forEach((f, i) => this.table.set(base + i, f));
  }
  private startPool(executable: CpuExecutable, workers: number): void {
    const { pool } = this;
    if (pool === null) return;
    if (pool.size < workers) {
      // To start a worker takes this thread some milliseconds: one a run.
      pool.ensure(pool.size + 1);
      if (pool.failure !== null) warnSingleThreaded(`workers could not be started: ${pool.failure}.`);
    }
    if (executable.published.sequence === 0) pool.publish(executable.published);
  }
  private clearStop(): void {
    const { i32 } = this.heap;
    i32[control.stop / 4] = 0;
    i32[control.errorThread / 4] = 0;
  }

  private walkAlone(executable: CpuExecutable, from: number): void {
    try {
      let at = from;
      while (at !== 0) at = this.driver.walkSolo(at, this.record, -1);
    } catch (error) {
      throw this.trapped(executable, executable.kernelAt(this.threadMemory.commandOf(0)), error);
    }
  }

  private runTeam(executable: CpuExecutable, workers: readonly number[], pool: Pool): void {
    const { program, commands } = executable;
    const { i32 } = this.heap;
    this.threadMemory.ensure(workers);
    pool.dispatch(workers, commands, waitsForAll(program) ? workers.length + 1 : 0, 1, 0);
    let own: TriremeError | null = null;
    try {
      this.driver.walkTeam(commands, this.record, 0, this.maySleep);
    } catch (error) {
      own = this.trapped(executable, executable.kernelAt(this.threadMemory.commandOf(0)), error);
      this.stop(2);
    }
    this.driver.join(this.maySleep);
    if (((i32[control.gate / 4] as number) & 0x7f) > 0) Atomics.add(i32, control.finished / 4, 1);
    if (own !== null) throw own;
    if (i32[control.stop / 4] === 2) throw this.workerError(executable);
  }

  /** Makes every thread of the run leave at its next check. */
  private stop(reason: 1 | 2): void {
    const { i32 } = this.heap;
    Atomics.compareExchange(i32, control.stop / 4, 0, reason);
    // The generation moves after the stop word is set: no thread can fall asleep on the old one any more.
    Atomics.add(i32, control.generation / 4, 1);
    Atomics.notify(i32, control.generation / 4);
  }

  private workerError(executable: CpuExecutable): WorkerError {
    const { i32, u8 } = this.heap;
    const thread = (i32[control.errorThread / 4] as number) - 1;
    const length = i32[control.errorLength / 4] as number;
    // Decoders refuse shared memory: decode a copy.
    const text = new TextDecoder().decode(u8.slice(errorText.address, errorText.address + length));
    const kernel = executable.kernelAt(i32[control.errorCommand / 4] as number);
    return new WorkerError(`program ${executable.name}: kernel ${kernel} failed on thread ${thread}: ${text}`, {
      op: 'run',
      expected: 'kernels that stay inside their buffers',
      fix: 'If the inputs are what the program was built for, this is a bug in Trireme.',
    });
  }

  private pump(): void {
    while (this.current === null) {
      const job = this.queue.shift();
      if (!job) return;
      this.current = job;
      job.executable.patch(job.pointers);
      this.begin(job);
    }
  }
  private begin(job: Job): void {
    job.state = 'waiting';
    if (this.pool !== null) {
      this.startPool(job.executable, this.threads);
      if (this.pool.failure === null) {
        this.pool.hold(1);
        job.held = true;
        this.tryStart(job, this.pool);
        return;
      }
    }
    this.beginSlices(job);
  }
  /** Starts the run on the pool if workers are ready. */
  private tryStart(job: Job, pool: Pool): void {
    const { executable } = job;
    const wanted = executable.program.parallel ? Math.min(this.threads, pool.size) : 1;
    const ready = pool.ready(executable.published, wanted);
    if (ready.length === 0) return;
    if (ready.length < wanted) ready.length = 1;
    this.threadMemory.ensure(ready);
    job.state = 'pool';
    job.finished = Atomics.load(this.heap.i32, control.finished / 4);
    const team = ready.length === 1 || waitsForAll(executable.program) ? ready.length : 0;
    pool.dispatch(ready, executable.commands, team, 0, waitAsync === undefined ? 2 : 1);
    this.watch(job);
  }
  /** Blocks until the pool has finished the asynchronous run. */
  private awaitPool(job: Job): void {
    const { i32 } = this.heap;
    while (Atomics.load(i32, control.finished / 4) === job.finished) {
      if (this.maySleep === 1) Atomics.wait(i32, control.finished / 4, job.finished);
    }
  }
  /** Waits, without blocking, for the pool to finish the run. */
  private watch(job: Job): void {
    if (job.state !== 'pool') return;
    const { i32 } = this.heap;
    if (Atomics.load(i32, control.finished / 4) !== job.finished) {
      this.settlePool(job);
      this.pump();
      return;
    }
    // Without waitAsync the leading worker posts a message, which arrives in progress().
    if (waitAsync === undefined) return;
    const result = waitAsync(i32, control.finished / 4, job.finished);
    if (result.async) void result.value.then(() => this.watch(job));
    else queueMicrotask(() => this.watch(job));
  }
  private settlePool(job: Job): void {
    const stop = this.heap.i32[control.stop / 4];
    this.settle(job, stop === 2 ? this.workerError(job.executable) : stop === 1 ? job.signal?.reason : null);
  }

  /** News from a worker. */
  private progress(): void {
    const { current, pool } = this;
    if (current === null || pool === null) return;
    if (current.state === 'pool') this.watch(current);
    else if (current.state === 'waiting') {
      if (pool.failure !== null) {
        warnSingleThreaded(`workers could not be started: ${pool.failure}.`);
        this.beginSlices(current);
      } else this.tryStart(current, pool);
    }
  }

  /** Runs on this thread, a few milliseconds at a time. */
  private beginSlices(job: Job): void {
    this.link(job.executable);
    this.clearStop();
    job.state = 'slices';
    job.at = job.executable.commands;
    let budget = 1;
    const slice = (): void => {
      if (job.state !== 'slices') return;
      const start = performance.now();
      try {
        job.at = this.driver.walkSolo(job.at, this.record, budget);
      } catch (error) {
        this.settle(job, this.trapped(job.executable, job.executable.kernelAt(this.threadMemory.commandOf(0)), error));
        this.pump();
        return;
      }
      if (job.at === 0) {
        this.settle(job, null);
        this.pump();
        return;
      }
      const took = performance.now() - start;
      if (took < sliceTime / 2) budget = Math.min(budget * 2, 1 << 20);
      else if (took > sliceTime * 2) budget = Math.max(1, budget >>> 1);
      afterEvents(slice);
    };
    afterEvents(slice);
  }

  private abort(job: Job): void {
    if (job.state === 'pool') {
      this.stop(1);
      return;
    }
    const at = this.queue.indexOf(job);
    if (at >= 0) this.queue.splice(at, 1);
    this.settle(job, job.signal?.reason);
    this.pump();
  }

  /** Brings the current asynchronous run to its end on this thread. */
  private complete(job: Job): void {
    try {
      if (job.state === 'pool') {
        this.awaitPool(job);
        this.settlePool(job);
      } else {
        if (job.state === 'slices') this.walkAlone(job.executable, job.at);
        else this.runHere(job.executable);
        this.settle(job, null);
      }
    } catch (error) {
      this.settle(job, error);
    }
    const next = this.queue.shift();
    if (!next) return;
    this.current = next;
    next.executable.patch(next.pointers);
  }

  /** `reason` null: the run succeeded. */
  private settle(job: Job, reason: unknown): void {
    if (job.state === 'done') return;
    job.state = 'done';
    job.signal?.removeEventListener('abort', job.onAbort);
    if (this.current === job) {
      this.current = null;
      if (job.held) this.pool?.hold(-1);
    }
    if (reason === null) {
      job.executable.completed();
      job.resolve();
    } else job.reject(reason);
  }
}

type WaitAsync = (
  words: Int32Array,
  index: number,
  value: number,
) => { readonly async: false } | { readonly async: true; readonly value: Promise<unknown> };
const waitAsync = (Atomics as unknown as { waitAsync?: WaitAsync }).waitAsync?.bind(Atomics);

function waitsForAll(program: Program): boolean {
  return program.meets && program.sharedWork >= longWork;
}

/** Calls back after the event loop had a turn. */
function afterEvents(callback: () => void): void {
  if (typeof setImmediate === 'function') {
    setImmediate(callback);
    return;
  }
  // Nested timers are clamped to 4 ms; messages are not.
  const channel = new MessageChannel();
  channel.port1.onmessage = () => {
    channel.port1.close();
    callback();
  };
  channel.port2.postMessage(null);
}
