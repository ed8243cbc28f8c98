/**
 * A thread of the pool, in Node and in browsers. It sleeps on the shared memory and returns to its event loop only
 * to take a message, so starting a run costs no message.
 */
import { type Library, linkLibraries } from '../native/link.js';
import type { DriverExports } from './driver.js';
import { control, errorText, record } from './layout.js';

/** First message: where the thread lives. */
export interface InitMessage {
  readonly kind: 'init';
  readonly memory: WebAssembly.Memory;
  readonly driver: WebAssembly.Module;
  /** The thread's number (the main thread is 0) and the address of its record. */
  readonly thread: number;
  readonly record: number;
  /** Most rounds to spin before the thread sleeps. */
  readonly spins: number;
}
/** Instantiates an executable's module and puts its functions into the table from `base` on. */
export interface LoadMessage {
  readonly kind: 'load';
  readonly sequence: number;
  readonly module: WebAssembly.Module;
  readonly base: number;
  readonly names: readonly string[];
  /** The native libraries that have the functions that the module lacks. */
  readonly libraries: readonly string[];
}
/** Forgets the functions of a disposed executable. */
export interface UnloadMessage {
  readonly kind: 'unload';
  readonly base: number;
  readonly count: number;
}
export type WorkerMessage = InitMessage | LoadMessage | UnloadMessage;
/** What a worker posts: it took a message in, or it finished a run nobody could wait for. */
export type WorkerReply =
  | { readonly kind: 'progress' }
  | { readonly kind: 'finished' }
  | { readonly kind: 'broken'; readonly message: string };

interface Port {
  post(reply: WorkerReply): void;
  listen(handler: (message: WorkerMessage) => void): void;
}

async function openPort(): Promise<Port> {
  if (typeof process === 'object' && typeof process.versions?.node === 'string') {
    // A variable keeps bundlers from following the import into browser builds.
    const specifier: string = 'node:worker_threads';
    const { parentPort } = (await import(/* @vite-ignore */ /* webpackIgnore: true */ specifier)) as typeof import('node:worker_threads');
    if (!parentPort) throw new Error('this file runs as a worker only');
    return {
      post: (reply) => parentPort.postMessage(reply),
      listen: (handler) => void parentPort.on('message', handler),
    };
  }
  const scope = self as unknown as {
    postMessage(message: unknown): void;
    onmessage: ((event: MessageEvent<WorkerMessage>) => void) | null;
  };
  return {
    post: (reply) => scope.postMessage(reply),
    listen: (handler) => {
      scope.onmessage = (event) => handler(event.data);
    },
  };
}

/** About the time that a worker spins before it sleeps, in milliseconds. */
const soon = 0.1;

interface Thread {
  readonly init: InitMessage;
  readonly words: Int32Array;
  readonly table: WebAssembly.Table;
  readonly driver: DriverExports;
  /** Native libraries by the first function number of their programs. */
  readonly libraries: Map<number, Library>;
}

/** Stores the first error of a run where the caller finds it, and makes the whole team leave. */
function reportError(words: Int32Array, thread: number, at: number, error: unknown): void {
  if (Atomics.compareExchange(words, control.errorThread / 4, 0, thread + 1) === 0) {
    const encoded = new TextEncoder().encode(error instanceof Error ? `${error.name}: ${error.message}` : String(error));
    const text = encoded.subarray(0, errorText.bytes);
    new Uint8Array(words.buffer, errorText.address, errorText.bytes).set(text);
    words[control.errorCommand / 4] = words[at / 4] as number;
    words[control.errorLength / 4] = text.length;
  }
  Atomics.store(words, control.stop / 4, 2);
  Atomics.add(words, control.generation / 4, 1);
  Atomics.notify(words, control.generation / 4);
}

function serve(thread: Thread, port: Port, inbox: number): void {
  const { words, driver, init } = thread;
  const own = init.record;
  const ticketWord = (own + record.ticket) / 4;
  const inboxWord = (own + record.inbox) / 4;
  let spins = init.spins;
  for (;;) {
    const since = performance.now();
    driver.idle(own, served, inbox, spins);
    // To spin pays where the next run follows soon; else it takes a core from somebody, maybe from the leader.
    spins = performance.now() - since < soon ? init.spins : init.spins >>> 4;
    const ticket = Atomics.load(words, ticketWord);
    if (ticket !== served) {
      served = ticket;
      const rank = driver.enter(ticket);
      if (rank < 0) continue;
      try {
        run(driver, words, own, rank);
      } catch (error) {
        reportError(words, init.thread, own + record.command, error);
      }
      if (rank === 0) driver.join(1);
      if (driver.retire(rank) === 1) port.post({ kind: 'finished' });
    } else if (Atomics.load(words, inboxWord) !== inbox) return;
  }
}
/** The last ticket this thread has served. */
let served = 0;

function run(driver: DriverExports, words: Int32Array, own: number, rank: number): void {
  const commands = words[control.commands / 4] as number;
  if (words[control.team / 4] !== 1) {
    driver.walkTeam(commands, own, rank, 1);
    return;
  }
  let at = commands;
  while (at !== 0) at = driver.walkSolo(at, own, -1);
}

function start(init: InitMessage): Thread {
  const table = new WebAssembly.Table({ element: 'anyfunc', initial: 0 });
  const instance = new WebAssembly.Instance(init.driver, { env: { memory: init.memory, table } });
  return {
    init,
    words: new Int32Array(init.memory.buffer),
    table,
    driver: instance.exports as unknown as DriverExports,
    libraries: new Map(),
  };
}

function load(thread: Thread, message: LoadMessage): void {
  const { table } = thread;
  const short = message.base + message.names.length - table.length;
  if (short > 0) table.grow(Math.max(short, table.length));
  const { memory } = thread.init;
  const { exports } = new WebAssembly.Instance(message.module, { env: { memory } });
  const missing = message.names.filter((name) => !(name in exports));
  const library = message.libraries.length === 0 ? null : linkLibraries(message.libraries, missing, memory);
  if (library) thread.libraries.set(message.base, library);
  message.names.forEach((name, i) => table.set(message.base + i, (exports[name] ?? library?.functions.get(name)) as () => void));
}

async function main(): Promise<void> {
  const port = await openPort();
  let thread: Thread | null = null;
  let taken = 0;
  port.listen((message) => {
    taken++;
    try {
      if (message.kind === 'init') {
        thread = start(message);
        Atomics.store(thread.words, (message.record + record.state) / 4, 1);
      }
      if (!thread) throw new Error(`message ${message.kind} before init`);
      if (message.kind === 'load') {
        load(thread, message);
        Atomics.store(thread.words, (thread.init.record + record.loaded) / 4, message.sequence);
      } else if (message.kind === 'unload') {
        for (let i = 0; i < message.count; i++) thread.table.set(message.base + i, null);
        thread.libraries.get(message.base)?.unload();
        thread.libraries.delete(message.base);
      }
      if (message.kind !== 'unload') port.post({ kind: 'progress' });
    } catch (error) {
      if (thread) Atomics.store(thread.words, (thread.init.record + record.state) / 4, 2);
      port.post({ kind: 'broken', message: String(error) });
      return;
    }
    serve(thread, port, taken);
  });
}

void main();
