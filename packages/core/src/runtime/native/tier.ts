/** The native tier of a CPU device: renders kernels as C, has them compiled, and says once why when it cannot. */
import { type CKernel, renderC } from '../../codegen/c/module.js';
import { debugLevel, debugPrint } from '../../debug.js';
import type { Kernel } from '../../ir/kernel.js';
import { type CacheEntry, cacheEntry, commit, discard, isCached, temporaryFiles } from './cache.js';
import { requireKoffi } from './link.js';
import { node } from './node.js';
import { compileArguments, compilerTimeout, findToolchain, findToolchainSync, firstLine, type Toolchain } from './toolchain.js';

/** A compiled library and which kernels it has. */
export interface NativeModule {
  readonly path: string;
  /** In the order of the kernels; null for those that stay with WebAssembly. */
  readonly kernels: readonly (CKernel | null)[];
}

export class NativeTier {
  private toolchain: Toolchain | null = null;
  private finding: Promise<Toolchain> | null = null;
  /** Why there is no native code. */
  private off: string | null = null;
  private running = 0;
  private readonly queue: (() => void)[] = [];

  /** True once native code is known to work, the reason when it does not, null while nobody has tried. */
  get status(): true | string | null {
    return this.off ?? (this.toolchain ? true : null);
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

  /** Compiles kernels and waits for it. Null where native code cannot be had. */
  compileNow(name: string, kernels: readonly Kernel[]): NativeModule | null {
    if (!this.isAvailable() || this.toolchain === null) return null;
    const job = this.prepare(name, kernels, this.toolchain);
    if (job === null || isCached(job.entry)) return job && this.module(job);
    const files = temporaryFiles(job.entry);
    try {
      node().childProcess.execFileSync(this.toolchain.command, compileArguments(this.toolchain, files.source, files.object), {
        timeout: compilerTimeout,
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      commit(job.entry, files);
      return this.module(job);
    } catch (error) {
      discard(files);
      this.giveUp(this.compileError(name, error));
      return null;
    }
  }

  /** Compiles kernels in another process; `done` is called later with the result. */
  request(name: string, kernels: readonly Kernel[], done: (module: NativeModule | null) => void): void {
    if (this.off !== null) return done(null);
    this.compile(name, kernels).then(done, (error: unknown) => {
      this.giveUp(firstLine(error));
      done(null);
    });
  }

  private async compile(name: string, kernels: readonly Kernel[]): Promise<NativeModule | null> {
    requireKoffi();
    this.finding ??= findToolchain();
    this.toolchain ??= await this.finding;
    const { toolchain } = this;
    await this.slot();
    try {
      if (this.off !== null) return null;
      const job = this.prepare(name, kernels, toolchain);
      if (job === null || isCached(job.entry)) return job && this.module(job);
      const files = temporaryFiles(job.entry);
      try {
        await new Promise<void>((resolve, reject) => {
          const child = node().childProcess.execFile(
            toolchain.command,
            compileArguments(toolchain, files.source, files.object),
            { timeout: compilerTimeout, maxBuffer: 2 ** 20 },
            (error) => (error ? reject(error) : resolve()),
          );
          // A process that is done does not wait for code it no longer needs.
          child.unref();
          child.stdout?.destroy();
          (child.stderr as { unref?: () => void } | null)?.unref?.();
        });
        commit(job.entry, files);
        return this.module(job);
      } catch (error) {
        discard(files);
        throw new Error(this.compileError(name, error));
      }
    } finally {
      this.running--;
      this.queue.shift()?.();
    }
  }

  private async slot(): Promise<void> {
    if (this.running >= Math.max(1, node().os.availableParallelism() >> 1)) await new Promise<void>((resolve) => this.queue.push(resolve));
    this.running++;
  }

  private prepare(
    name: string,
    kernels: readonly Kernel[],
    toolchain: Toolchain,
  ): { entry: CacheEntry; kernels: readonly (CKernel | null)[] } | null {
    const rendered = renderC(kernels, toolchain.target);
    if (rendered.kernels.every((k) => k === null)) return null;
    if (debugLevel() >= 4) debugPrint(4, `${name} in C\n${rendered.text}`);
    return { entry: cacheEntry(toolchain, rendered.text), kernels: rendered.kernels };
  }
  private module({ entry, kernels }: { entry: CacheEntry; kernels: readonly (CKernel | null)[] }): NativeModule {
    return { path: entry.library, kernels };
  }
  private compileError(name: string, error: unknown): string {
    const failed = error as { killed?: boolean; stderr?: unknown };
    if (failed.killed) return `the compiler took more than ${compilerTimeout / 1000} s for ${name}`;
    const line = String(failed.stderr ?? '')
      .split('\n')
      .find((l) => l.includes('error'));
    return `the compiler failed on ${name}: ${line ?? firstLine(error)}`;
  }

  /** From here on everything runs as WebAssembly; one line says why. */
  giveUp(reason: string): void {
    if (this.off !== null) return;
    this.off = reason;
    console.warn(`trireme: running as WebAssembly, since native code cannot be had here: ${reason}. TRIREME_TIER=wasm asks for that.`);
  }
}
