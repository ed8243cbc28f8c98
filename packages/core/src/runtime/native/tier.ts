/** The native tier of a CPU device: renders kernels as C, has them compiled and compared, and says once why when it cannot. */
import { type CKernel, renderC } from '../../codegen/c/module.js';
import type { CompiledKernel, CompiledModule, Phase } from '../../codegen/compiled.js';
import { debugLevel, debugPrint } from '../../debug.js';
import type { Kernel } from '../../ir/kernel.js';
import type { BuildNews, BuildPlan } from './build.js';
import {
  buildFolder,
  type CacheEntry,
  type CacheRecord,
  endBuild,
  findCached,
  hasEntries,
  lookUp,
  removeEntry,
  temporaryFolder,
} from './cache.js';
import { functionName, linkLibraries, requireKoffi } from './link.js';
import { node } from './node.js';
import { type Finished, type RunOptions, runProcess, runProcessSync } from './process.js';
import { comparisonOf, firstFunction, probe, trialBytes } from './selftest.js';
import { compilerTimeout, findToolchain, findToolchainSync, firstLine, type Toolchain } from './toolchain.js';

/** Compiled libraries and which kernels they have. */
export interface NativeModule {
  readonly libraries: readonly string[];
  /** In the order of the kernels, with the names of {@link functionName}; null for those that stay with WebAssembly. */
  readonly kernels: readonly (CompiledKernel | null)[];
}

export interface NativeTierOptions {
  /** Milliseconds after which a compiler counts as hanging. */
  readonly compilerTimeout?: number;
  /** Milliseconds after which a kernel that is compared with WebAssembly counts as hanging. */
  readonly testTimeout?: number;
}

/** Kernels that become one translation unit: contractions count for {@link contractionWeight} loop nests. */
const unitWeight = 24;
const contractionWeight = 4;
/** A comparison runs at the pace of one WebAssembly thread, in the background. */
const usualTestTimeout = 60_000;
/** Libraries that compute something else than WebAssembly before the compiler is trusted no more. */
const mostWrong = 3;

/** A program's kernels on their way to native code. */
export interface NativeJob {
  readonly name: string;
  readonly kernels: readonly Kernel[];
  /** The same kernels as WebAssembly, for shared memory. */
  readonly wasm: () => CompiledModule;
  /** Rendered and looked up, once somebody has asked. */
  units: Unit[] | null;
}

/** Some of a program's kernels: one translation unit and its library. */
interface Unit {
  readonly entry: CacheEntry;
  /** By position among the program's kernels. */
  readonly kernels: ReadonlyMap<number, CompiledKernel>;
  record: CacheRecord | null;
}

/** Libraries that this process has tested, and the memory that each works on. */
const tested = new Set<string>();
const heaps = new Map<string, WeakRef<WebAssembly.Memory>>();
/** Paths of libraries that were wrong: the loader may have them in mind still, whatever is there now. */
const replaced = new Set<string>();
let copies: string | null = null;
let copied = 0;
/** As at the start of a process: libraries from the cache are tested again. For tests of that. */
export function forget(): void {
  tested.clear();
}

export class NativeTier {
  private toolchain: Toolchain | null = null;
  private finding: Promise<Toolchain> | null = null;
  /** Why there is no native code. */
  private off: string | null = null;
  private wrong = 0;
  /** What was wrong with a library. */
  private doubt: string | null = null;
  private running = 0;
  private readonly queue: (() => void)[] = [];
  private readonly memory: WebAssembly.Memory | null;
  private readonly timeouts: { readonly compiler: number; readonly test: number };

  /** `memory`: the heap of the device. */
  constructor(memory: WebAssembly.Memory | null = null, options: NativeTierOptions = {}) {
    this.memory = memory;
    this.timeouts = { compiler: options.compilerTimeout ?? compilerTimeout, test: options.testTimeout ?? usualTestTimeout };
  }

  /** True once native code is known to work, the reason when it (or some of it) does not, null while nobody has tried. */
  get status(): true | string | null {
    return this.off ?? this.doubt ?? (this.toolchain ? true : null);
  }

  /** Whether a compiler and the library loader are there; waits for the compiler's answer. */
  isAvailable(): boolean {
    if (this.off !== null) return false;
    try {
      requireKoffi();
      this.toolchain ??= findToolchainSync();
      return true;
    } catch (error) {
      this.giveUp(firstLine(error));
      return false;
    }
  }

  job(name: string, kernels: readonly Kernel[], wasm: () => CompiledModule): NativeJob {
    return { name, kernels, wasm, units: null };
  }

  /** What the cache has, if that is all; null without a word where it is not. */
  fromCache(job: NativeJob): NativeModule | null {
    if (this.off !== null || !hasEntries() || !this.isAvailable() || this.toolchain === null) return null;
    try {
      const units = this.prepare(job, this.toolchain);
      return this.missing(units).length === 0 ? this.module(units, job.kernels.length) : null;
    } catch {
      return null;
    }
  }

  /** Compiles kernels and waits for it. Null where native code cannot be had. */
  compileNow(job: NativeJob): NativeModule | null {
    if (!this.isAvailable() || this.toolchain === null) return null;
    const { name, kernels, wasm } = job;
    try {
      const units = this.prepare(job, this.toolchain);
      const missing = this.missing(units);
      if (missing.length > 0) {
        const plan = this.plan(missing, kernels, wasm(), node().os.availableParallelism(), this.toolchain);
        const rounds = Math.ceil(missing.length / plan.jobs);
        const timeout = rounds * this.timeouts.compiler + this.timeouts.test;
        const news: BuildNews[] = [];
        const finished = runProcessSync(process.execPath, [builderPath()], { ...this.options(plan), timeout });
        for (const line of finished.stdout.split('\n')) news.push(...parseNews(line));
        this.conclude(name, missing, plan, news, finished);
      }
      return this.off === null ? this.module(units, kernels.length) : null;
    } catch (error) {
      this.giveUp(`${name}: ${firstLine(error)}`);
      return null;
    }
  }

  /** Compiles kernels in other processes; `done` is called later with the result. See {@link compileNow}. */
  request(job: NativeJob, done: (module: NativeModule | null) => void): void {
    if (this.off !== null) return done(null);
    this.compile(job).then(done, (error: unknown) => {
      this.giveUp(`${job.name}: ${firstLine(error)}`);
      done(null);
    });
  }

  private async compile(job: NativeJob): Promise<NativeModule | null> {
    const { name, kernels, wasm } = job;
    requireKoffi();
    this.finding ??= findToolchain();
    this.toolchain ??= await this.finding.catch((error: unknown) => {
      this.giveUp(firstLine(error));
      return null;
    });
    const { toolchain } = this;
    if (toolchain === null) return null;
    const units = this.prepare(job, toolchain);
    if (this.missing(units).length > 0) {
      const cores = Math.max(1, node().os.availableParallelism() >> 1);
      const jobs = await this.slots(cores, units.length);
      try {
        // Another program with the same kernels may have been first.
        const missing = this.off === null ? this.missing(units) : [];
        if (missing.length > 0) {
          const plan = this.plan(missing, kernels, wasm(), jobs, toolchain);
          const news: BuildNews[] = [];
          let untilTest = Math.ceil(missing.length / jobs) * this.timeouts.compiler + this.timeouts.test;
          const onLine = (line: string): number | undefined => {
            const found = parseNews(line);
            news.push(...found);
            if (found.some((n) => n.kind === 'testing')) untilTest = this.timeouts.test;
            return found.length > 0 ? untilTest : undefined;
          };
          const options = { ...this.options(plan), timeout: untilTest, background: true, onLine };
          this.conclude(name, missing, plan, news, await runProcess(process.execPath, [builderPath()], options));
        }
      } finally {
        this.running -= jobs;
        for (const waiting of this.queue.splice(0)) waiting();
      }
    }
    return this.off === null ? this.module(units, kernels.length) : null;
  }

  /** Waits for some of the cores that may compile; all programs together use no more. */
  private async slots(cores: number, wanted: number): Promise<number> {
    while (this.running >= cores) await new Promise<void>((resolve) => this.queue.push(resolve));
    const jobs = Math.min(wanted, cores - this.running);
    this.running += jobs;
    return jobs;
  }

  private prepare(job: NativeJob, toolchain: Toolchain): Unit[] {
    if (job.units !== null) {
      for (const unit of job.units) unit.record ??= findCached(unit.entry);
      return job.units;
    }
    const { name, kernels } = job;
    const units: Unit[] = [];
    for (const positions of unitsOf(kernels)) {
      const rendered = renderC(
        positions.map((i) => kernels[i] as Kernel),
        toolchain.target,
      );
      const compiled = new Map<number, CompiledKernel>();
      rendered.kernels.forEach((kernel, k) => {
        if (kernel === null) return;
        const library = units.length;
        const entries = (phases: CKernel['phases']): Phase[] =>
          phases.map((phase) => phase.map(({ symbol, grid, chunk }) => ({ exportName: functionName(library, symbol), grid, chunk })));
        const { preparation, workspaceBytes, scratchBytes } = kernel;
        compiled.set(positions[k] as number, {
          phases: entries(kernel.phases),
          preparation: preparation && { ...preparation, phases: entries(preparation.phases) },
          workspaceBytes,
          scratchBytes,
        });
      });
      if (compiled.size === 0) continue;
      if (debugLevel() >= 4) debugPrint(4, `${name} in C\n${rendered.text}`);
      units.push({ ...lookUp(toolchain, rendered.text), kernels: compiled });
    }
    job.units = units;
    return units;
  }

  /** The units that the cache does not have. What it has is tried first. */
  private missing(units: readonly Unit[]): Unit[] {
    return units.filter((unit, i) => {
      if (unit.record === null || tested.has(unit.entry.library)) return unit.record === null;
      const kernel = firstWrong(unit.entry.library, unit.record);
      if (kernel === null) {
        tested.add(unit.entry.library);
        return false;
      }
      console.warn(`trireme: kernel ${kernel} of the cached library ${i} computes something else than it did: it is compiled again.`);
      removeEntry(unit.entry);
      replaced.add(unit.entry.library);
      unit.record = null;
      return true;
    });
  }

  private plan(missing: readonly Unit[], kernels: readonly Kernel[], wasm: CompiledModule, jobs: number, toolchain: Toolchain): BuildPlan {
    return {
      command: toolchain.command,
      flags: toolchain.flags,
      folder: buildFolder(),
      jobs: Math.min(jobs, missing.length),
      timeout: this.timeouts.compiler,
      parts: missing.map(({ entry, kernels: own }) => ({
        entry,
        // In the build process there is one library at a time.
        comparisons: Array.from(own, ([i, native]) => comparisonOf(kernels[i] as Kernel, alone(native), wasm.kernels[i] as CompiledKernel)),
      })),
      wasm: node().buffer.from(wasm.bytes).toString('base64'),
    };
  }
  private options(plan: BuildPlan): Pick<RunOptions, 'env' | 'input'> {
    // As Node, where this is Electron; without the parent's flags.
    return { env: { ...process.env, ELECTRON_RUN_AS_NODE: '1', NODE_OPTIONS: '' }, input: JSON.stringify(plan) };
  }

  /** Takes in what the build process has told, and says what went wrong. */
  private conclude(name: string, missing: readonly Unit[], plan: BuildPlan, news: readonly BuildNews[], finished: Finished): void {
    endBuild(plan.folder);
    for (const item of news) {
      const unit = missing[item.part];
      if (unit === undefined) continue;
      if (item.kind === 'done') {
        unit.record = findCached(unit.entry);
        tested.add(unit.entry.library);
      } else if (item.kind === 'failed') {
        this.giveUp(`the compiler failed on ${name}: ${item.reason}`);
      } else if (item.kind === 'wrong')
        this.distrust(name, `kernel ${item.kernel} computes something else than WebAssembly (${item.reason})`);
    }
    const answered = news.filter((n) => n.kind !== 'testing').length;
    if (answered >= missing.length) return;
    const last = news.findLast((n) => n.kind === 'testing');
    if (last?.kind === 'testing') {
      const how = finished.timedOut
        ? `does not end within ${this.timeouts.test / 1000} s`
        : `ends the process (${finished.signal ?? finished.code})`;
      this.distrust(name, `kernel ${last.kernel} ${how}`);
    } else if (finished.timedOut) this.giveUp(`the compiler took too long for ${name}`);
    else {
      const line = finished.stderr.split('\n').find((l) => /error/i.test(l)) ?? finished.stderr.split('\n')[0];
      this.giveUp(`the build process failed on ${name}: ${line || (finished.signal ?? finished.code)}`);
    }
  }

  private module(units: readonly Unit[], count: number): NativeModule | null {
    const kernels = new Array<CompiledKernel | null>(count).fill(null);
    for (const { record, kernels: own } of units) {
      if (record === null) continue;
      for (const [i, kernel] of own) {
        if (!record.untested.includes(firstFunction(alone(kernel)))) kernels[i] = kernel;
      }
    }
    if (kernels.every((k) => k === null)) return null;
    // A library that is missing keeps its number.
    return { libraries: units.map(({ entry, record }) => (record === null ? '' : this.libraryFor(entry.library))), kernels };
  }

  /** A library knows one heap. Where another device, or another thread, may have told it of its own, this one takes a copy. */
  private libraryFor(path: string): string {
    const { memory } = this;
    if (memory === null) return path;
    const owner = heaps.get(path)?.deref();
    if (node().threads.isMainThread && !replaced.has(path) && (owner === undefined || owner === memory)) {
      heaps.set(path, new WeakRef(memory));
      return path;
    }
    return copyOf(path);
  }

  /** One line says what was wrong with a library; what it has runs as WebAssembly. */
  private distrust(name: string, what: string): void {
    if (this.off !== null) return;
    this.doubt = `${name}: ${what}`;
    if (++this.wrong >= mostWrong) this.giveUp(`${name}: ${what}, and so did ${mostWrong - 1} before it`);
    else console.warn(`trireme: ${name} goes on as WebAssembly, since what the compiler made of it was wrong: ${what}.`);
  }

  /** From here on everything runs as WebAssembly; one line says why. */
  giveUp(reason: string): void {
    if (this.off !== null) return;
    this.off = reason;
    console.warn(`trireme: running as WebAssembly, since native code cannot be had here: ${reason}. TRIREME_TIER=wasm asks for that.`);
  }
}

/** Positions of the kernels of each translation unit: by the kernels alone, so that the cache finds them on any machine. */
function unitsOf(kernels: readonly Kernel[]): number[][] {
  const units: number[][] = [];
  let weight = unitWeight;
  kernels.forEach((kernel, i) => {
    const own = kernel.parts.reduce((sum, part) => sum + (part.kind === 'contract' ? contractionWeight : 1), 0);
    if (weight + own > unitWeight) {
      units.push([]);
      weight = 0;
    }
    weight += own;
    units.at(-1)?.push(i);
  });
  return units;
}

/** A library of its own with the same code. */
function copyOf(path: string): string {
  copies ??= temporaryFolder();
  const copy = node().path.join(copies, `${copied++}.so`);
  node().fs.copyFileSync(path, copy);
  return copy;
}

/** A kernel of some library as one of library 0. */
function alone(kernel: CompiledKernel): CompiledKernel {
  const renamed = (phases: readonly Phase[]): Phase[] =>
    phases.map((phase) => phase.map((entry) => ({ ...entry, exportName: entry.exportName.replace(/^\d+:/, '0:') })));
  const { preparation } = kernel;
  return { ...kernel, phases: renamed(kernel.phases), preparation: preparation && { ...preparation, phases: renamed(preparation.phases) } };
}

/** The first kernel of a library from the cache that does not give what its record says; null when all do. */
function firstWrong(path: string, { probes }: CacheRecord): string | null {
  if (probes.length === 0) return null;
  const bytes = Math.max(...probes.map(({ trial }) => trialBytes(trial)));
  const memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / 65536) + 1 });
  const names = probes.flatMap(({ trial }) => trial.native.phases.flatMap((phase) => phase.map((f) => f.name)));
  try {
    // Other threads of this process may be at work with it.
    const library = linkLibraries([node().threads.isMainThread ? path : copyOf(path)], names, memory);
    const wrong = probes.find(({ trial, checksum }) => probe(memory, trial, library.functions) !== checksum);
    library.unload();
    return wrong?.trial.name ?? null;
  } catch {
    return probes[0]?.trial.name ?? null;
  }
}

function parseNews(line: string): BuildNews[] {
  try {
    return line === '' ? [] : [JSON.parse(line) as BuildNews];
  } catch {
    return [];
  }
}

/** Where the build process's code is: beside this one in a built package, in the package's build when this runs from its source. */
function builderPath(): string {
  const path: string = import.meta.url.endsWith('.ts') ? '../../../dist/native-build.js' : './native-build.js';
  return node().url.fileURLToPath(new URL(path, import.meta.url));
}
