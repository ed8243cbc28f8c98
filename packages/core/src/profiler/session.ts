/** Watches what runs: every kernel with its time, its origin and the memory in use. */
import { ArgumentError } from '../errors.js';
import type { CompiledProgram } from '../graph/compile.js';
import { type RunObserver, setRunObserver } from '../graph/observe.js';
import type { Device } from '../runtime/device.js';
import { defaultDevice } from '../tensor/device.js';
import { parseScope } from '../tensor/module-path.js';
import { Profile } from './profile.js';
import { measureRoof } from './roof.js';
import { SteppedProgram, type TimedCall } from './stepped.js';

/** A part of a kernel's work that belongs to one operation. */
export interface OpShare {
  readonly op: string;
  /** Path of the module, '' outside modules. */
  readonly layer: string;
  readonly backward: boolean;
  readonly flops: number;
}

/** One call of one kernel. Times in milliseconds since the profile began. */
export interface KernelEvent {
  readonly kind: 'kernel';
  readonly name: string;
  readonly program: string;
  readonly start: number;
  readonly duration: number;
  readonly flops: number;
  /** Bytes read and written, estimated from the shapes. */
  readonly bytes: number;
  readonly shares: readonly OpShare[];
  /** Bytes of the device's heap in use when it ended. */
  readonly memory: number;
}
/** A region named by {@link recordFunction}. */
export interface RegionEvent {
  readonly kind: 'region';
  readonly name: string;
  readonly start: number;
  readonly duration: number;
}
export type ProfileEvent = KernelEvent | RegionEvent;

export interface ProfileOptions {
  /** Measure the machine's roof first (about half a second, once). Default true. */
  readonly roof?: boolean;
  /** Most events kept; later ones are counted only. Default 200,000. */
  readonly maxEvents?: number;
}

class Session implements RunObserver {
  readonly events: ProfileEvent[] = [];
  dropped = 0;
  readonly begin = performance.now();
  private readonly device: Device;
  private readonly maxEvents: number;
  private readonly programs = new Map<CompiledProgram, SteppedProgram>();

  constructor(device: Device, maxEvents: number) {
    this.device = device;
    this.maxEvents = maxEvents;
  }

  run(program: CompiledProgram, pointers: Float64Array, scope: string): void {
    let stepped = this.programs.get(program);
    if (!stepped) {
      stepped = new SteppedProgram(program, this.device);
      this.programs.set(program, stepped);
    }
    stepped.run(pointers, (call) => this.add(this.kernelEvent(program.program.name, call, scope)));
  }

  add(event: ProfileEvent): void {
    if (this.events.length < this.maxEvents) this.events.push(event);
    else this.dropped++;
  }

  dispose(): void {
    for (const stepped of this.programs.values()) stepped.dispose();
    this.programs.clear();
  }

  private kernelEvent(program: string, { kernel, origin, start, end }: TimedCall, scope: string): KernelEvent {
    const shares = (origin?.ops ?? []).map(({ name, scope: own, flops }): OpShare => {
      const { path, backward } = parseScope(own || scope);
      return { op: name, layer: path, backward, flops };
    });
    return {
      kind: 'kernel',
      name: kernel.name,
      program,
      start: start - this.begin,
      duration: end - start,
      flops: shares.reduce((sum, share) => sum + share.flops, 0),
      bytes: origin?.bytes ?? 0,
      shares,
      memory: this.device.stats().bytesInUse,
    };
  }
}

let active: Session | null = null;

/**
 * Runs `fn` and measures every kernel in it. Programs run kernel by kernel meanwhile, so that a step takes somewhat longer than
 * without the profiler; compile them (call them once) before, or the first call's compilation counts as time on the host.
 * @throws ArgumentError when a profile is under way already.
 */
export async function profile(fn: () => unknown, options: ProfileOptions = {}): Promise<Profile> {
  const { roof = true, maxEvents = 200_000 } = options;
  if (active !== null) throw new ArgumentError('a profile is under way', { op: 'profile', expected: 'one at a time' });
  const device = defaultDevice();
  const limits = roof ? measureRoof(device) : null;
  const session = new Session(device, maxEvents);
  active = session;
  const before = setRunObserver(session);
  let wall: number;
  try {
    await fn();
    wall = performance.now() - session.begin;
  } finally {
    setRunObserver(before);
    active = null;
    session.dispose();
  }
  return new Profile({ events: session.events, dropped: session.dropped, wallMs: wall, roof: limits, threads: device.threads });
}

/** Names what `fn` does in the profile under way; outside a profile it just runs. */
export function recordFunction<R>(name: string, fn: () => R): R {
  const session = active;
  if (session === null) return fn();
  const start = performance.now();
  const end = (): void => session.add({ kind: 'region', name, start: start - session.begin, duration: performance.now() - start });
  let result: R;
  try {
    result = fn();
  } catch (error) {
    end();
    throw error;
  }
  if (result instanceof Promise) return result.finally(end) as R;
  end();
  return result;
}
