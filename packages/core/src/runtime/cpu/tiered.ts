/** A program that starts as WebAssembly and goes on as native code once that is compiled. */
import type { Executable } from '../device.js';
import type { NativeModule } from '../native/tier.js';
import type { Tier } from './environment.js';
import type { CpuExecutable } from './executable.js';

/** The run at which a program counts as worth compiling: sooner where a run does much. The first run never waits for a compiler to start. */
const hotRuns = 4;
const hotRunsOfLarge = 2;
/** Scalar operations of a run from which a program is large. */
const largeWork = 20_000_000;

export interface TierUp {
  /** Asks for native code; `done` is called later, with null when there will be none. */
  request(done: (module: NativeModule | null) => void): void;
  /** Compiles it now and waits; null when there is no native code. */
  compileNow(): NativeModule | null;
  /** The device's tier at present: `auto` unless it was pinned since the program was loaded. */
  tier(): Tier;
  /** Builds the program anew with native code; null when that fails. */
  build(module: NativeModule): CpuExecutable | null;
  /** Whether an asynchronous run is under way or queued on the device. */
  busy(): boolean;
}

export class TieredExecutable implements Executable {
  private active: CpuExecutable;
  private tierUp: TierUp | null;
  private runs = 0;
  private readonly hot: number;
  private ready: NativeModule | null = null;
  private disposed = false;

  /** `work`: scalar operations of a run. */
  constructor(first: CpuExecutable, tierUp: TierUp, work: number) {
    this.active = first;
    this.tierUp = tierUp;
    this.hot = work >= largeWork ? hotRunsOfLarge : hotRuns;
  }

  /** Whether native code has taken over. */
  get isNative(): boolean {
    return this.active.published.libraries.length > 0;
  }

  runSync(pointers: ArrayLike<number>): void {
    this.advance();
    this.active.runSync(pointers);
  }
  run(pointers: ArrayLike<number>, signal?: AbortSignal): Promise<void> {
    this.advance();
    return this.active.run(pointers, signal);
  }
  keptChanged(): void {
    this.active.keptChanged();
  }
  dispose(): void {
    this.disposed = true;
    this.tierUp = null;
    this.active.dispose();
  }

  private advance(): void {
    const { tierUp } = this;
    if (tierUp === null) return;
    const tier = tierUp.tier();
    if (tier === 'wasm') {
      this.tierUp = null;
      return;
    }
    if (tier === 'native') this.ready ??= tierUp.compileNow();
    if (this.ready !== null) this.takeOver(tierUp, this.ready);
    else if (tier === 'native') this.tierUp = null;
    else if (++this.runs === this.hot) this.request();
  }
  private takeOver(tierUp: TierUp, module: NativeModule): void {
    if (tierUp.busy()) return;
    const next = tierUp.build(module);
    this.tierUp = null;
    this.ready = null;
    if (next === null) return;
    this.active.dispose();
    this.active = next;
  }
  private request(): void {
    this.tierUp?.request((module) => {
      if (this.disposed) return;
      this.ready = module;
      if (module === null) this.tierUp = null;
    });
  }
}
