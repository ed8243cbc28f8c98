/** The CPU device: a heap, programs in WebAssembly, and a pool of threads that share the heap. */
import type { CompiledModule, Phase, WasmFeatures } from '../../codegen/compiled.js';
import { debugLevel, debugPrint } from '../../debug.js';
import { LifetimeError } from '../../errors.js';
import type { Kernel } from '../../ir/kernel.js';
import type { Device, DeviceStats, Executable, ExecutableSpec } from '../device.js';
import { type NativeModule, NativeTier } from '../native/tier.js';
import { type DriverExports, emitDriver } from './driver.js';
import { canShareMemory, checkThreads, defaultThreads, defaultTier, probeFeatures, type Tier, warnSingleThreaded } from './environment.js';
import { CpuExecutable, kernelCode } from './executable.js';
import { Heap } from './heap.js';
import { Pool } from './pool.js';
import { kernelsOf } from './program.js';
import { Scheduler } from './scheduler.js';
import { ThreadMemory } from './thread-memory.js';
import { TieredExecutable } from './tiered.js';

export interface CpuDeviceOptions {
  /** Threads of a run, this one included. Default: TRIREME_THREADS, else the cores, at most 16. */
  readonly threads?: number;
  /** Limit of the heap in bytes. Default and most: 4 GiB. */
  readonly maxBytes?: number;
  /** Whether the heap is shared with worker threads. Default: where the environment allows it. */
  readonly shared?: boolean;
  /**
   * `wasm`: WebAssembly alone. `native`: code of the machine's C compiler, waited for. `auto`: WebAssembly at first, native code
   * as soon as it is compiled in the background; the last bits of results change then. Default: TRIREME_TIER, else `auto`.
   */
  readonly tier?: Tier;
}

/** Scalar operations of a run below which a program stays WebAssembly in the `auto` tier. */
const leastNativeWork = 200_000;

/** Turns kernels into a WebAssembly module. */
export type KernelCompiler = (kernels: readonly Kernel[], features: WasmFeatures) => CompiledModule;

/** A module for people: its entries, and its bytes for a disassembler (`base64 -d | wasm2wat -`). */
function describeModule(name: string, kernels: readonly Kernel[], { bytes, kernels: compiled }: CompiledModule): string {
  const lines = compiled.map(({ phases, workspaceBytes, scratchBytes }, i) => {
    const entries = phases.map((phase) => phase.map((e) => `${e.exportName} (${e.grid} cells, ${e.chunk} at a time)`).join(', '));
    return `${kernels[i].name}: ${entries.join('; then ')}; workspace ${workspaceBytes}, scratch ${scratchBytes} bytes`;
  });
  const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
  return `${name}: ${bytes.length} bytes of WebAssembly\n${lines.join('\n')}\n${text}`;
}

export class CpuDevice implements Device {
  readonly name = 'cpu';
  readonly threads: number;
  readonly features: WasmFeatures;
  readonly heap: Heap;

  private readonly compile: KernelCompiler;
  private readonly pool: Pool | null;
  private readonly scheduler: Scheduler;
  private readonly threadMemory: ThreadMemory;
  private readonly functions = new FunctionNumbers();
  private loaded = 0;
  private readonly native: NativeTier | null;
  private readonly givenTier: Tier;
  private pinnedTier: 'native' | 'wasm' | null = null;
  private disposed = false;

  constructor(options: CpuDeviceOptions, compile: KernelCompiler) {
    const shared = options.shared ?? canShareMemory();
    const threads = options.threads === undefined ? defaultThreads() : checkThreads(options.threads, 'threads');
    if (!shared && options.shared === undefined && threads > 1) {
      warnSingleThreaded(
        'SharedArrayBuffer is missing. Serve the page with the headers Cross-Origin-Opener-Policy: same-origin and ' +
          'Cross-Origin-Embedder-Policy: require-corp.',
      );
    }
    this.compile = compile;
    this.givenTier = shared ? (options.tier ?? defaultTier()) : 'wasm';
    this.threads = shared ? threads : 1;
    this.features = probeFeatures(shared);
    this.heap = new Heap({ shared, maxBytes: options.maxBytes ?? 2 ** 32 });
    this.native = this.givenTier === 'wasm' ? null : new NativeTier(this.heap.memory);
    const driver = new WebAssembly.Module(emitDriver({ shared, maxPages: this.heap.maxPages }));
    const table = new WebAssembly.Table({ element: 'anyfunc', initial: 0 });
    const instance = new WebAssembly.Instance(driver, { env: { memory: this.heap.memory, table } });
    this.pool = shared ? new Pool(this.heap, driver) : null;
    this.threadMemory = new ThreadMemory(this.heap);
    this.scheduler = new Scheduler(
      this.heap,
      instance.exports as unknown as DriverExports,
      table,
      this.threadMemory,
      this.pool,
      this.threads,
    );
  }

  /** Where programs run: see {@link CpuDeviceOptions.tier}; one of the two others while the tier is pinned. */
  get tier(): Tier {
    return this.pinnedTier ?? this.givenTier;
  }
  /** Whether native code can be had: null while nobody has asked, else true or the reason why not. */
  get nativeStatus(): true | string | null {
    return this.native === null ? 'the tier is wasm' : this.native.status;
  }
  /**
   * Pins the tier, or lets go of it: with `auto`, native code may take over in the middle of a run and change last bits. Pinned,
   * every program waits for its native code at its next run, or all stay with WebAssembly where there is none.
   */
  pinTier(pinned: boolean): void {
    if (!pinned) this.pinnedTier = null;
    else if (this.givenTier === 'auto') this.pinnedTier = this.native?.isAvailable() ? 'native' : 'wasm';
  }

  /** See {@link Heap.onPressure}. */
  get onPressure(): ((neededBytes: number) => boolean) | null {
    return this.heap.onPressure;
  }
  set onPressure(hook: ((neededBytes: number) => boolean) | null) {
    this.heap.onPressure = hook;
  }
  /** See {@link Heap.describeHolders}. */
  get describeHolders(): (() => string) | null {
    return this.heap.describeHolders;
  }
  set describeHolders(hook: (() => string) | null) {
    this.heap.describeHolders = hook;
  }

  allocate(bytes: number): number {
    return this.heap.allocate(bytes);
  }
  free(address: number, bytes: number): void {
    this.heap.free(address, bytes);
  }
  bytes(address: number, length: number): Uint8Array {
    return new Uint8Array(this.heap.u8.buffer, address, length);
  }
  stats(): DeviceStats {
    return this.heap.stats();
  }

  load(spec: ExecutableSpec): Executable {
    if (this.disposed) throw new LifetimeError('the device was disposed', { op: 'load', fix: 'Create another one.' });
    const kernels = kernelsOf(spec.steps);
    const { native } = this;
    if (native === null || kernels.length === 0) return this.build(spec, kernels, null);
    let compiled: CompiledModule | null = null;
    const wasm = (): CompiledModule => {
      compiled ??= this.compile(kernels, this.features);
      return compiled;
    };
    const job = native.job(spec.name, kernels, wasm);
    if (this.givenTier === 'native') return this.build(spec, kernels, native.compileNow(job));
    const first = this.build(spec, kernels, null, wasm);
    // Smaller ones are done before native code pays.
    if (this.tier === 'wasm' || first.program.work < leastNativeWork) return first;
    // Pinned, what is worth native code has it from its first run on: whether it is follows from the program alone.
    const module = this.tier === 'native' ? native.compileNow(job) : native.fromCache(job);
    if (module !== null) {
      const ready = this.tryBuild(spec, kernels, module);
      if (ready !== null) {
        first.dispose();
        return ready;
      }
    }
    if (this.tier === 'native') return first;
    return new TieredExecutable(
      first,
      {
        request: (done) => native.request(job, done),
        compileNow: () => native.compileNow(job),
        tier: () => this.tier,
        build: (module) => this.tryBuild(spec, kernels, module),
        busy: () => this.scheduler.busy,
      },
      first.program.work,
    );
  }

  private tryBuild(spec: ExecutableSpec, kernels: readonly Kernel[], module: NativeModule): CpuExecutable | null {
    if (this.disposed) return null;
    try {
      return this.build(spec, kernels, module);
    } catch (error) {
      this.native?.giveUp(`${spec.name} could not be loaded: ${String(error)}`);
      return null;
    }
  }

  /** `wasm`: all kernels, where somebody has them compiled already. */
  private build(
    spec: ExecutableSpec,
    kernels: readonly Kernel[],
    module: NativeModule | null,
    wasm: () => CompiledModule = () => this.compile(kernels, this.features),
  ): CpuExecutable {
    const code = kernelCode(kernels, module, (list) => (module === null ? wasm() : this.compile(list, this.features)));
    if (debugLevel() >= 4) debugPrint(4, describeModule(spec.name, kernels, code.wasm));
    const entries = (phases: readonly Phase[]): number => phases.reduce((n, phase) => n + phase.length, 0);
    const count = code.kernels.reduce((sum, kernel) => sum + entries(kernel.phases) + entries(kernel.preparation?.phases ?? []), 0);
    const base = this.functions.take(count);
    let executable: CpuExecutable;
    try {
      executable = new CpuExecutable(spec, kernels, code, base, this.heap, this.scheduler, (e) => this.forget(e));
    } catch (error) {
      this.functions.give(base, count);
      throw error;
    }
    this.loaded++;
    this.threadMemory.require(executable.program.computedArgs, Math.max(0, ...code.kernels.map((k) => k.scratchBytes)));
    try {
      this.threadMemory.ensure([0]);
    } catch (error) {
      executable.dispose();
      throw error;
    }
    this.scheduler.scratch = this.threadMemory.scratchOf(0);
    return executable;
  }

  /** Number of worker threads started so far. */
  get workers(): number {
    return this.pool?.size ?? 0;
  }
  /** Resolves when the pool's threads for {@link Executable.runSync} have started; programs also run before that. */
  async ready(): Promise<void> {
    if (this.threads > 1) await this.pool?.started(this.threads - 1);
  }

  /** Ends the pool and fails the runs under way. Tensors and programs of this device must not be used after it. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.scheduler.dispose();
    this.pool?.dispose();
  }

  private forget(executable: CpuExecutable): void {
    this.functions.give(executable.published.base, executable.functions.length);
    this.loaded--;
    if (this.loaded === 0 && !this.scheduler.busy) this.threadMemory.release();
  }
}

/** Ranges of function numbers, the same on every thread. */
class FunctionNumbers {
  private end = 0;
  private readonly free = new Map<number, number[]>();
  take(count: number): number {
    const reused = this.free.get(count)?.pop();
    if (reused !== undefined) return reused;
    const base = this.end;
    this.end += count;
    return base;
  }
  give(base: number, count: number): void {
    const list = this.free.get(count);
    if (list) list.push(base);
    else this.free.set(count, [base]);
  }
}
