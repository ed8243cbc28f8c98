/**
 * The build process: compiles C sources, several at once, compares every kernel with WebAssembly, and puts what is right into the
 * cache. It is a process of its own, so that code that crashes or never ends takes nobody with it. The plan comes on standard input;
 * every line of standard output is a {@link BuildNews}.
 */
import { rmSync, writeFileSync, writeSync } from 'node:fs';
import { freemem } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { probeFeatures } from '../cpu/environment.js';
import { type CacheEntry, commit, prune, type TestRecord } from './cache.js';
import { type KernelFunction, linkLibraries } from './link.js';
import { runProcess } from './process.js';
import { type Comparison, compare, isProbe, probedWork, trialBytes } from './selftest.js';

export interface BuildPart {
  readonly entry: CacheEntry;
  readonly comparisons: readonly Comparison[];
}
export interface BuildPlan {
  readonly command: string;
  readonly flags: readonly string[];
  /** Exists, and is this build's alone. */
  readonly folder: string;
  /** Compilers at once. */
  readonly jobs: number;
  /** Of one compiler, in milliseconds. */
  readonly timeout: number;
  readonly parts: readonly BuildPart[];
  /** The WebAssembly module with all kernels, for shared memory, in base64. */
  readonly wasm: string;
}
/** `testing`: a kernel is about to run. `done`: the part is in the cache. */
export type BuildNews =
  | { readonly kind: 'testing'; readonly part: number; readonly kernel: string }
  | { readonly kind: 'done'; readonly part: number }
  | { readonly kind: 'failed'; readonly part: number; readonly reason: string }
  | { readonly kind: 'wrong'; readonly part: number; readonly kernel: string; readonly reason: string };

/** Most memory for the test of a kernel. */
const mostMemory = Math.min(3 * 2 ** 30, freemem() / 4);

function tell(news: BuildNews): void {
  writeSync(1, `${JSON.stringify(news)}\n`);
}

async function readInput(): Promise<string> {
  const chunks: string[] = [];
  process.stdin.setEncoding('utf8');
  for await (const chunk of process.stdin) chunks.push(String(chunk));
  return chunks.join('');
}

interface Files {
  readonly source: string;
  readonly object: string;
}

/** Null when it went well, else why not. */
async function compile(plan: BuildPlan, { entry }: BuildPart, files: Files): Promise<string | null> {
  writeFileSync(files.source, entry.text, { mode: 0o600 });
  const args = [...plan.flags, files.source, '-o', files.object, '-lm'];
  // What a compiler that is killed leaves behind goes with the folder.
  const env = { ...process.env, TMPDIR: plan.folder };
  try {
    const { code, signal, timedOut, stderr } = await runProcess(plan.command, args, { env, timeout: plan.timeout, group: false });
    if (timedOut) return `it took more than ${plan.timeout / 1000} s`;
    if (code === 0) return null;
    const lines = stderr.split('\n');
    const line = lines.find((l) => l.includes('error')) ?? lines.find((l) => l.trim() !== '');
    return (line ?? (signal ? `ended by ${signal}` : `exit code ${code}`)).slice(0, 400);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** WebAssembly's functions on the memory that tests share, and that is made anew for a test that needs more. */
class Bench {
  private readonly module: WebAssembly.Module;
  private readonly path: string;
  private readonly names: readonly string[];
  private memory: WebAssembly.Memory | null = null;
  private native: ReadonlyMap<string, KernelFunction> = new Map();
  private wasm: ReadonlyMap<string, KernelFunction> = new Map();

  constructor(module: WebAssembly.Module, path: string, names: readonly string[]) {
    this.module = module;
    this.path = path;
    this.names = names;
  }
  run(comparison: Comparison): ReturnType<typeof compare> {
    const memory = this.of(trialBytes(comparison, comparison.wasm));
    return compare(memory, comparison, this.native, this.wasm);
  }
  private of(bytes: number): WebAssembly.Memory {
    // Room behind the buffers too: code that runs over them shows as a difference rather than as a crash.
    const pages = Math.min(65536, Math.ceil((bytes + 2 ** 20) / 65536));
    if (this.memory !== null && this.memory.buffer.byteLength >= pages * 65536) return this.memory;
    const memory = new WebAssembly.Memory({ initial: pages, maximum: 65536, shared: true });
    const { exports } = new WebAssembly.Instance(this.module, { env: { memory } });
    this.wasm = new Map(Object.entries(exports as Record<string, KernelFunction>));
    this.native = linkLibraries([this.path], this.names, memory).functions;
    this.memory = memory;
    return memory;
  }
}

/** Compares every kernel of a library; null when one is wrong. */
function test(plan: BuildPlan, part: number, path: string, module: WebAssembly.Module): TestRecord | null {
  const { comparisons } = plan.parts[part] as BuildPart;
  const names = comparisons.flatMap((c) => c.native.phases.flatMap((phase) => phase.map((f) => f.name)));
  const bench = new Bench(module, path, names);
  const probes: { trial: Comparison; checksum: number }[] = [];
  const untested: string[] = [];
  let left = probedWork;
  for (const comparison of [...comparisons].sort((a, b) => a.work - b.work)) {
    const verdict = (): ReturnType<Bench['run']> | null => {
      if (trialBytes(comparison, comparison.wasm) > mostMemory) return null;
      tell({ kind: 'testing', part, kernel: comparison.name });
      try {
        return bench.run(comparison);
      } catch {
        // WebAssembly left the memory: the places that were guessed are not those of the kernel.
        return null;
      }
    };
    const found = verdict();
    if (found === null) {
      untested.push(comparison.native.phases[0]?.[0]?.name ?? '');
      continue;
    }
    const { failure, checksum } = found;
    if (failure !== null) {
      tell({ kind: 'wrong', part, kernel: comparison.name, reason: failure });
      return null;
    }
    if (!isProbe(comparison) || comparison.work > left) continue;
    left -= comparison.work;
    probes.push({ trial: comparison, checksum });
  }
  return { probes: probes.map(({ trial: { wasm: _, ...trial }, checksum }) => ({ trial, checksum })), untested };
}

async function main(): Promise<void> {
  const plan = JSON.parse(await readInput()) as BuildPlan;
  // Turns on what the module needs.
  probeFeatures(true);
  const module = new WebAssembly.Module(Uint8Array.from(atob(plan.wasm), (c) => c.charCodeAt(0)));
  const filesOf = (i: number): Files => ({ source: join(plan.folder, `${i}.c`), object: join(plan.folder, `${i}.so`) });
  const compiled: (Promise<string | null> | null)[] = plan.parts.map(() => null);
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < plan.parts.length) {
      const i = next++;
      compiled[i] = compile(plan, plan.parts[i] as BuildPart, filesOf(i));
      await compiled[i];
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, plan.jobs) }, work));
  for (const [i, part] of plan.parts.entries()) {
    const reason = await compiled[i];
    if (reason !== null) {
      tell({ kind: 'failed', part: i, reason: reason ?? 'it was not compiled' });
      continue;
    }
    const files = filesOf(i);
    try {
      const found = test(plan, i, files.object, module);
      if (found === null) continue;
      commit(part.entry, files, found);
      tell({ kind: 'done', part: i });
    } catch (error) {
      tell({ kind: 'failed', part: i, reason: error instanceof Error ? error.message : String(error) });
    }
  }
  rmSync(plan.folder, { recursive: true, force: true });
  prune(dirname(plan.folder));
}

await main();
