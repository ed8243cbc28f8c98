/**
 * Steps compiled to the driver's commands: 32-bit words, one block of the heap per executable, followed by the
 * argument arrays of its calls.
 *
 * Small calls run on one thread: a run of them is one region that only the leader enters. A barrier stands wherever
 * a thread could otherwise see a phase begin before the work in front of it is done, and nowhere else.
 */

import type { CompiledKernel, KernelEntry, Phase } from '../../codegen/compiled.js';
import { CompilerError } from '../../errors.js';
import type { Address, Kernel, Step } from '../../ir/kernel.js';
import { commandCode, maxLoopDepth } from './layout.js';

/** Calls of at most this many scalar operations run on one thread: a barrier costs more than half their time. */
export const smallWork = 32768;

/** A kernel as the program calls it: its functions' numbers in the threads' tables. */
export interface LinkedKernel {
  readonly kernel: Kernel;
  readonly compiled: CompiledKernel;
  /** Number of each entry, in the order of its phases. */
  readonly functions: readonly (readonly number[])[];
  /** The same of its preparation. */
  readonly preparing: readonly (readonly number[])[];
}

/** A word that holds slot base + offset. */
export interface Patch {
  readonly word: number;
  readonly slot: number;
  readonly offset: number;
}

export interface Program {
  readonly words: Int32Array;
  /** Words that hold word numbers of the same block, to be made addresses. */
  readonly relocations: readonly number[];
  readonly patches: readonly Patch[];
  /** Words that hold the workspace's address. */
  readonly workspaceWords: readonly number[];
  /** Words that hold the address of a call's prepared memory: so many bytes into {@link preparedBytes}. */
  readonly preparedWords: readonly { readonly word: number; readonly offset: number }[];
  readonly preparedBytes: number;
  /** The word whose lowest byte says whether the operands in kept slots must be prepared anew; -1: there are none. */
  readonly staleWord: number;
  /** Whether several threads have something to share. */
  readonly parallel: boolean;
  /** Whether the threads have to meet on the way. */
  readonly meets: boolean;
  /** Scalar operations in all, whoever does them. */
  readonly work: number;
  /** Scalar operations the threads can share; Infinity when a condition decides how many. */
  readonly sharedWork: number;
  /** Most arguments a call computes at run time. */
  readonly computedArgs: number;
  /** First word of each phase, ascending, and the kernel it belongs to. */
  readonly phaseWords: readonly number[];
  readonly phaseKernels: readonly string[];
}

/** What the threads have done since they last met. */
type Since = 'nothing' | 'leader' | 'all';
const later = (a: Since, b: Since): Since => (a === 'all' || b === 'all' ? 'all' : a === 'leader' || b === 'leader' ? 'leader' : 'nothing');

function chunksOf(entry: KernelEntry): number {
  return Math.ceil(entry.grid / Math.max(1, entry.chunk));
}

/** The words behind a call's addresses. */
interface Tail {
  readonly workspace: boolean;
  /** Where its prepared memory begins. */
  readonly prepared: number | null;
}
type Call = Extract<Step, { kind: 'call' }>;

class ProgramWriter {
  readonly words: number[] = [];
  readonly relocations: number[] = [];
  readonly phaseWords: number[] = [];
  readonly phaseKernels: string[] = [];
  computedArgs = 0;
  parallel = false;
  meets = false;
  work = 0;
  sharedWork = 0;
  /** Rounds of the enclosing loops. */
  private rounds = 1;
  private since: Since = 'nothing';
  private depth = 0;
  /** Branches and loops around the step at hand. */
  private conditions = 0;
  private get certain(): boolean {
    return this.depth === 0 && this.conditions === 0;
  }
  /** True inside a region that one thread walks. */
  private alone = false;
  /** Argument arrays to place behind the commands: the words that point to them. */
  private readonly arrays: { readonly user: number; readonly addresses: readonly Address[]; readonly tail: Tail }[] = [];
  /** Prepared memory by what is in it, the calls whose preparation was emitted, and the word that points to the stale word's address. */
  private readonly memory = new Map<string, number>();
  private preparedBytes = 0;
  private prepared = new Set<string>();
  private preparedForGood: ReadonlySet<string> = new Set();
  private staleUser = -1;

  private readonly kernels: ReadonlyMap<Kernel, LinkedKernel>;
  private readonly kept: KeptMemory;
  constructor(kernels: ReadonlyMap<Kernel, LinkedKernel>, kept: KeptMemory) {
    this.kernels = kernels;
    this.kept = kept;
  }

  finish(): Program {
    this.words.push(commandCode.end);
    const patches: Patch[] = [];
    const workspaceWords: number[] = [];
    const preparedWords: { word: number; offset: number }[] = [];
    const placed = new Map<string, number>();
    for (const array of this.arrays) {
      const key =
        array.addresses.map((a) => `${a.slot}:${a.offset}`).join() + (array.tail.workspace ? `w${array.tail.prepared ?? ''}` : '');
      let at = placed.get(key);
      if (at === undefined) {
        at = this.words.length;
        placed.set(key, at);
        for (const address of array.addresses) {
          patches.push({ word: this.words.length, slot: address.slot, offset: address.offset });
          this.words.push(0);
        }
        if (array.tail.workspace) {
          workspaceWords.push(this.words.length);
          this.words.push(0);
        }
        if (array.tail.prepared !== null) {
          preparedWords.push({ word: this.words.length, offset: array.tail.prepared });
          this.words.push(0);
        }
      }
      this.words[array.user] = at;
      this.relocations.push(array.user);
    }
    let staleWord = -1;
    if (this.staleUser >= 0) {
      staleWord = this.words.push(0) - 1;
      this.words[this.staleUser] = this.words.length;
      this.words.push(staleWord);
      this.relocations.push(this.staleUser, staleWord + 1);
    }
    return {
      words: Int32Array.from(this.words),
      relocations: this.relocations,
      patches,
      workspaceWords,
      preparedWords,
      preparedBytes: this.preparedBytes,
      staleWord,
      parallel: this.parallel,
      meets: this.meets,
      work: this.work,
      sharedWork: this.sharedWork,
      computedArgs: this.computedArgs,
      phaseWords: this.phaseWords,
      phaseKernels: this.phaseKernels,
    };
  }

  /** A whole program: what stays from run to run is prepared under a condition, at its beginning. */
  program(all: readonly Step[]): void {
    const heads = all.flatMap((step) => (step.kind === 'prepare' ? [step.body] : []));
    const steps = all.filter((step) => step.kind !== 'prepare');
    const stays = (a: Address): boolean =>
      (this.kept.slots.has(a.slot) || (a.slot === 0 && a.offset >= this.kept.arenaFrom)) && !a.loopStrides?.some((s) => s !== 0);
    const kept = callsIn(steps).filter((call) => this.preparedArgs(call)?.every(stays));
    if (kept.length > 0 || heads.length > 0) {
      this.staleUser = this.words.length + 1;
      this.words.push(commandCode.decide, 0, 0);
      const skip = this.words.length - 1;
      this.meets = true;
      for (const head of heads) this.steps(head);
      for (const call of kept) this.prepare(call);
      this.preparedForGood = new Set(this.prepared);
      this.land(skip);
    }
    this.steps(steps);
  }
  /** The arguments that a call's preparation reads; null when it has none. */
  private preparedArgs(call: Call): Address[] | null {
    const preparation = this.linked(call.kernel).compiled.preparation;
    return preparation ? preparation.params.map((p) => call.args[p] as Address) : null;
  }
  /**
   * Emits what the rounds of a loop share before it: the preparations of its own calls. (What a loop within it shares may change from one
   * of its rounds to the next.) Returns what was prepared outside, which counts again behind the loop: within, the same
   * memory may hold something else, and what was prepared for the loop may be gone after it.
   */
  private prepareLoop(body: readonly Step[]): Set<string> {
    const outside = this.prepared;
    if (this.depth > 0) return outside;
    this.prepared = new Set(this.preparedForGood);
    for (const step of body) {
      if (step.kind !== 'call') continue;
      if (this.preparedArgs(step)?.every((a) => !a.loopStrides?.some((s) => s !== 0))) this.prepare(step);
    }
    return outside;
  }
  /** Emits a call's preparation, if that has not happened yet. */
  private prepare(call: Call): void {
    const linked = this.linked(call.kernel);
    const { preparation } = linked.compiled;
    if (!preparation) return;
    const key = this.preparedKey(call);
    if (this.prepared.has(key)) return;
    this.prepared.add(key);
    const addresses = call.args.map(({ slot, offset }) => ({ slot, offset }));
    this.phases(call.kernel.name, preparation.phases, linked.preparing, addresses, this.tailOf(call), false, false);
  }
  private preparedKey(call: Call): string {
    const kernel = [...this.kernels.keys()].indexOf(call.kernel);
    return `${kernel}:${(this.preparedArgs(call) ?? []).map((a) => `${a.slot}+${a.offset}*${a.loopStrides?.join() ?? ''}`).join(';')}`;
  }
  private tailOf(call: Call): Tail {
    const { preparation } = this.linked(call.kernel).compiled;
    if (!preparation) return { workspace: true, prepared: null };
    const key = this.preparedKey(call);
    let prepared = this.memory.get(key);
    if (prepared === undefined) {
      prepared = this.preparedBytes;
      this.memory.set(key, prepared);
      this.preparedBytes += Math.ceil(preparation.bytes / 64) * 64;
    }
    return { workspace: true, prepared };
  }

  steps(steps: readonly Step[]): void {
    let at = 0;
    while (at < steps.length) {
      const step = steps[at] as Step;
      if (this.alone || !this.isSmall(step)) {
        this.step(step);
        at++;
        continue;
      }
      let end = at + 1;
      while (end < steps.length && this.isSmall(steps[end] as Step)) end++;
      if (this.since === 'all') this.barrier();
      const target = this.emitTarget(commandCode.leader);
      this.alone = true;
      for (; at < end; at++) this.step(steps[at] as Step);
      this.alone = false;
      this.land(target);
      this.since = 'leader';
    }
  }

  private step(step: Step): void {
    switch (step.kind) {
      case 'call':
        return this.call(step);
      case 'repeat':
        return this.repeat(step);
      case 'while':
        return this.while(step);
      case 'branch':
        return this.branch(step);
      case 'prepare':
        throw new CompilerError('a prepare step that is not at the head of its program');
      default:
        step satisfies never;
    }
  }

  private isSmall(step: Step): boolean {
    switch (step.kind) {
      case 'call': {
        if (step.work <= smallWork) return true;
        const { phases } = this.linked(step.kernel).compiled;
        return phases.every((phase) => phase.reduce((sum, entry) => sum + chunksOf(entry), 0) <= 1);
      }
      case 'repeat':
      case 'prepare':
        return step.body.every((s) => this.isSmall(s));
      case 'while':
        return step.before.every((s) => this.isSmall(s)) && step.body.every((s) => this.isSmall(s));
      case 'branch':
        return step.then.every((s) => this.isSmall(s)) && step.otherwise.every((s) => this.isSmall(s));
      default:
        return step satisfies never;
    }
  }
  private linked(kernel: Kernel): LinkedKernel {
    const linked = this.kernels.get(kernel);
    if (!linked) throw new CompilerError(`kernel ${kernel.name} was not compiled`);
    return linked;
  }

  private call(step: Extract<Step, { kind: 'call' }>): void {
    const linked = this.linked(step.kernel);
    if (step.args.length !== step.kernel.params.length) {
      throw new CompilerError(`kernel ${step.kernel.name} is called with ${step.args.length} arguments`, {
        expected: `${step.kernel.params.length}`,
      });
    }
    const small = step.work <= smallWork;
    this.work += step.work * this.rounds;
    if (!this.alone) this.sharedWork += step.work * this.rounds;
    const tail = this.tailOf(step);
    const computed = this.computeArgs(step.args, tail);
    const { preparation, phases } = linked.compiled;
    if (preparation && !this.prepared.has(this.preparedKey(step))) {
      this.phases(step.kernel.name, preparation.phases, linked.preparing, step.args, tail, computed, small);
      // What is in a slot stays for the rest of the run: state that changes is written when all have read it.
      if (this.certain && this.preparedArgs(step)?.every((a) => a.slot > 0)) this.prepared.add(this.preparedKey(step));
    }
    this.phases(step.kernel.name, phases, linked.functions, step.args, tail, computed, small);
  }

  /** `computed`: the arguments were computed just before. */
  private phases(
    name: string,
    phases: readonly Phase[],
    functions: readonly (readonly number[])[],
    args: readonly Address[],
    tail: Tail,
    computed: boolean,
    small: boolean,
  ): void {
    phases.forEach((phase, p) => {
      const entries = phase
        .map((entry, e) => ({ entry, function: (functions[p] as readonly number[])[e] as number }))
        .filter(({ entry }) => entry.grid > 0);
      if (entries.length === 0) return;
      if (!this.alone && this.since !== 'nothing') this.barrier();
      const at = this.words.length;
      this.phaseWords.push(at);
      this.phaseKernels.push(name);
      this.words.push(this.alone ? commandCode.solo : commandCode.phase, 0, entries.length, 0);
      if (!computed) this.arrays.push({ user: at + 1, addresses: args, tail });
      let chunks = 0;
      for (const { entry, function: index } of entries) {
        chunks += chunksOf(entry);
        this.words.push(index, entry.grid, small ? entry.grid : Math.max(1, entry.chunk), chunks);
      }
      this.words[at + 3] = chunks;
      if (!this.alone) {
        this.since = 'all';
        this.parallel = true;
      }
    });
  }

  private repeat(step: Extract<Step, { kind: 'repeat' }>): void {
    if (step.count <= 0) return;
    if (this.depth >= maxLoopDepth) throw new CompilerError(`repeat steps nested deeper than ${maxLoopDepth}`);
    const outside = this.prepareLoop(step.body);
    const level = this.depth++;
    this.words.push(commandCode.repeat, level);
    const start = this.words.length;
    // The second round meets what the end of the body left behind.
    if (!this.alone) this.since = 'all';
    const { rounds } = this;
    this.rounds *= step.count;
    this.steps(step.body);
    this.rounds = rounds;
    this.words.push(commandCode.again, level, step.count, start);
    this.relocations.push(this.words.length - 1);
    this.depth--;
    this.prepared = outside;
  }

  private while(step: Extract<Step, { kind: 'while' }>): void {
    const outside = this.prepareLoop([...step.before, ...step.body]);
    const start = this.words.length;
    if (!this.alone) this.since = 'all';
    const { rounds } = this;
    this.rounds = Number.POSITIVE_INFINITY;
    this.conditions++;
    this.steps(step.before);
    const exit = this.condition(step.condition);
    const decided = this.since;
    this.steps(step.body);
    this.conditions--;
    this.rounds = rounds;
    this.words.push(commandCode.jump, start);
    this.relocations.push(this.words.length - 1);
    this.land(exit);
    this.since = decided;
    this.prepared = outside;
  }

  private branch(step: Extract<Step, { kind: 'branch' }>): void {
    const otherwise = this.condition(step.condition);
    const decided = this.since;
    this.conditions++;
    this.steps(step.then);
    const afterThen = this.since;
    if (step.otherwise.length === 0) {
      this.conditions--;
      this.land(otherwise);
      this.since = later(afterThen, decided);
      return;
    }
    const end = this.emitTarget(commandCode.jump);
    this.land(otherwise);
    this.since = decided;
    this.steps(step.otherwise);
    this.conditions--;
    this.land(end);
    this.since = later(afterThen, this.since);
  }

  /** Emits the test of a condition; returns the word of the jump that is taken when it is false. */
  private condition(address: Address): number {
    if (!this.alone && this.since === 'all') this.barrier();
    const computed = this.computeArgs([address], { workspace: false, prepared: null });
    const at = this.words.length;
    this.words.push(this.alone ? commandCode.test : commandCode.decide, 0, 0);
    if (!computed) this.arrays.push({ user: at + 1, addresses: [address], tail: { workspace: false, prepared: null } });
    if (!this.alone) {
      this.since = 'nothing';
      this.meets = true;
    }
    return at + 2;
  }

  /** Emits the computation of addresses that depend on loop indices; false if none does. */
  private computeArgs(addresses: readonly Address[], tail: Tail): boolean {
    const levels = Math.min(this.depth, Math.max(0, ...addresses.map((a) => a.loopStrides?.findLastIndex((s) => s !== 0) ?? -1)) + 1);
    const moves = addresses.some((a) => a.loopStrides?.slice(0, this.depth).some((s) => s !== 0));
    if (!moves) return false;
    const behind = (tail.workspace ? 1 : 0) + (tail.prepared === null ? 0 : 1);
    const count = addresses.length + behind;
    this.computedArgs = Math.max(this.computedArgs, count);
    const at = this.words.length;
    this.words.push(commandCode.args, 0, count, levels);
    this.arrays.push({ user: at + 1, addresses, tail });
    for (const address of addresses) for (let l = 0; l < levels; l++) this.words.push(address.loopStrides?.[l] ?? 0);
    for (let i = 0; i < behind * levels; i++) this.words.push(0);
    return true;
  }

  private barrier(): void {
    this.words.push(commandCode.barrier);
    this.meets = true;
    this.since = 'nothing';
  }
  private emitTarget(code: number): number {
    this.words.push(code, 0);
    return this.words.length - 1;
  }
  /** Makes the jump at `word` lead here. */
  private land(word: number): void {
    this.words[word] = this.words.length;
    this.relocations.push(word);
  }
}

/** Memory whose content stays from run to run: slots, and the arena from a byte on. */
export interface KeptMemory {
  readonly slots: ReadonlySet<number>;
  readonly arenaFrom: number;
}

/** Compiles steps whose kernels are linked. */
export function compileSteps(
  steps: readonly Step[],
  kernels: ReadonlyMap<Kernel, LinkedKernel>,
  kept: KeptMemory = { slots: new Set(), arenaFrom: Number.POSITIVE_INFINITY },
): Program {
  const writer = new ProgramWriter(kernels, kept);
  writer.program(steps);
  return writer.finish();
}

function callsIn(steps: readonly Step[]): Call[] {
  return steps.flatMap((step): Call[] => {
    switch (step.kind) {
      case 'call':
        return [step];
      case 'repeat':
      case 'prepare':
        return callsIn(step.body);
      case 'while':
        return [...callsIn(step.before), ...callsIn(step.body)];
      case 'branch':
        return [...callsIn(step.then), ...callsIn(step.otherwise)];
      default:
        return step satisfies never;
    }
  });
}

/** The distinct kernels that steps call, in order of first appearance. */
export function kernelsOf(steps: readonly Step[]): Kernel[] {
  const found = new Set<Kernel>();
  const visit = (list: readonly Step[]): void => {
    for (const step of list) {
      switch (step.kind) {
        case 'call':
          found.add(step.kernel);
          break;
        case 'repeat':
        case 'prepare':
          visit(step.body);
          break;
        case 'while':
          visit(step.before);
          visit(step.body);
          break;
        case 'branch':
          visit(step.then);
          visit(step.otherwise);
          break;
        default:
          step satisfies never;
      }
    }
  };
  visit(steps);
  return [...found];
}
