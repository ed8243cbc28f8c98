/** A program run kernel by kernel from JavaScript, control flow included, so that each call can be timed. */
import type { CompiledProgram } from '../graph/compile.js';
import type { Address, CallOrigin, Kernel, Step } from '../ir/kernel.js';
import type { Device, Executable } from '../runtime/device.js';

type CallStep = Extract<Step, { kind: 'call' }>;

/** One call of a kernel, in milliseconds of `performance.now()`. */
export interface TimedCall {
  readonly kernel: Kernel;
  readonly origin: CallOrigin | undefined;
  readonly start: number;
  readonly end: number;
}

/** Every call is an executable of its own whose slots are its arguments; the arena they share lives here. */
export class SteppedProgram {
  private readonly device: Device;
  private readonly program: CompiledProgram;
  private readonly kept: ReadonlySet<number>;
  /** State of the kept inputs that the last run found, and their addresses. */
  private seen = -1;
  private places = '';
  private changed = true;
  private readonly arenaBytes: number;
  private readonly arena: number;
  private readonly executables = new Map<CallStep, { readonly executable: Executable; readonly pointers: Float64Array }>();
  /** Base addresses of the slots of the run under way. */
  private bases: ArrayLike<number> = [];
  /** Indices of the enclosing `repeat` steps, outermost first. */
  private readonly counters: number[] = [];

  constructor(program: CompiledProgram, device: Device) {
    this.device = device;
    this.program = program;
    this.kept = new Set(program.keptSlots);
    this.arenaBytes = program.arenaBytes;
    this.arena = device.allocate(program.arenaBytes);
  }

  run(pointers: Float64Array, onCall: (call: TimedCall) => void): void {
    const bases = pointers.slice();
    bases[0] = this.arena;
    this.bases = bases;
    this.counters.length = 0;
    const places = this.program.keptSlots.map((slot) => pointers[slot]).join();
    this.changed = this.seen !== this.program.keptVersion || this.places !== places;
    this.seen = this.program.keptVersion;
    this.places = places;
    this.walk(this.program.steps, onCall);
  }

  dispose(): void {
    for (const { executable } of this.executables.values()) executable.dispose();
    this.device.free(this.arena, this.arenaBytes);
  }

  private walk(steps: readonly Step[], onCall: (call: TimedCall) => void): void {
    for (const step of steps) {
      switch (step.kind) {
        case 'call':
          this.call(step, onCall);
          break;
        case 'repeat': {
          const level = this.counters.push(0) - 1;
          for (let i = 0; i < step.count; i++) {
            this.counters[level] = i;
            this.walk(step.body, onCall);
          }
          this.counters.pop();
          break;
        }
        case 'prepare':
          if (this.changed) this.walk(step.body, onCall);
          break;
        case 'while':
          for (;;) {
            this.walk(step.before, onCall);
            if (!this.holds(step.condition)) break;
            this.walk(step.body, onCall);
          }
          break;
        case 'branch':
          this.walk(this.holds(step.condition) ? step.then : step.otherwise, onCall);
          break;
        default:
          step satisfies never;
      }
    }
  }

  private address({ slot, offset, loopStrides }: Address): number {
    let address = this.bases[slot] + offset;
    loopStrides?.forEach((stride, level) => {
      address += stride * (this.counters[level] ?? 0);
    });
    return address;
  }
  private holds(condition: Address): boolean {
    return this.device.bytes(this.address(condition), 1)[0] !== 0;
  }

  private call(step: CallStep, onCall: (call: TimedCall) => void): void {
    const { kernel, args, origin } = step;
    let entry = this.executables.get(step);
    if (!entry) {
      const stays = ({ slot, offset, loopStrides }: Address): boolean =>
        !loopStrides?.some((s) => s !== 0) && (this.kept.has(slot) || (slot === 0 && offset >= this.program.preparedFrom));
      const executable = this.device.load({
        name: kernel.name,
        steps: [{ kind: 'call', kernel, args: args.map((_, i) => ({ slot: 1 + i, offset: 0 })), work: step.work }],
        arenaBytes: 0,
        slots: 1 + args.length,
        constants: [],
        kept: { slots: args.flatMap((arg, i) => (stays(arg) ? [1 + i] : [])), arenaFrom: 0 },
      });
      entry = { executable, pointers: new Float64Array(1 + args.length) };
      this.executables.set(step, entry);
    }
    if (this.changed) entry.executable.keptChanged?.();
    const { executable, pointers } = entry;
    args.forEach((arg, i) => {
      pointers[1 + i] = this.address(arg);
    });
    const start = performance.now();
    executable.runSync(pointers);
    onCall({ kernel, origin, start, end: performance.now() });
  }
}
