/**
 * Steps compiled to the driver's commands: 32-bit words, one block of the heap per executable, followed by the
 * argument arrays of its calls.
 *
 * Small calls run on one thread: a run of them is one region that only the leader enters. A barrier stands wherever
 * a thread could otherwise see a phase begin before the work in front of it is done, and nowhere else.
 */

import type { CompiledKernel, KernelEntry } from '../../codegen/compiled.js';
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
  /** True inside a region that one thread walks. */
  private alone = false;
  /** Argument arrays to place behind the commands: the words that point to them. */
  private readonly arrays: { readonly user: number; readonly addresses: readonly Address[]; readonly workspace: boolean }[] = [];

  private readonly kernels: ReadonlyMap<Kernel, LinkedKernel>;
  constructor(kernels: ReadonlyMap<Kernel, LinkedKernel>) {
    this.kernels = kernels;
  }

  finish(): Program {
    this.words.push(commandCode.end);
    const patches: Patch[] = [];
    const workspaceWords: number[] = [];
    const placed = new Map<string, number>();
    for (const array of this.arrays) {
      const key = array.addresses.map((a) => `${a.slot}:${a.offset}`).join() + (array.workspace ? 'w' : '');
      let at = placed.get(key);
      if (at === undefined) {
        at = this.words.length;
        placed.set(key, at);
        for (const address of array.addresses) {
          patches.push({ word: this.words.length, slot: address.slot, offset: address.offset });
          this.words.push(0);
        }
        if (array.workspace) {
          workspaceWords.push(this.words.length);
          this.words.push(0);
        }
      }
      this.words[array.user] = at;
      this.relocations.push(array.user);
    }
    return {
      words: Int32Array.from(this.words),
      relocations: this.relocations,
      patches,
      workspaceWords,
      parallel: this.parallel,
      meets: this.meets,
      work: this.work,
      sharedWork: this.sharedWork,
      computedArgs: this.computedArgs,
      phaseWords: this.phaseWords,
      phaseKernels: this.phaseKernels,
    };
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
    const computed = this.computeArgs(step.args, true);
    linked.compiled.phases.forEach((phase, p) => {
      const entries = phase
        .map((entry, e) => ({ entry, function: (linked.functions[p] as readonly number[])[e] as number }))
        .filter(({ entry }) => entry.grid > 0);
      if (entries.length === 0) return;
      if (!this.alone && this.since !== 'nothing') this.barrier();
      const at = this.words.length;
      this.phaseWords.push(at);
      this.phaseKernels.push(step.kernel.name);
      this.words.push(this.alone ? commandCode.solo : commandCode.phase, 0, entries.length, 0);
      if (!computed) this.arrays.push({ user: at + 1, addresses: step.args, workspace: true });
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
  }

  private while(step: Extract<Step, { kind: 'while' }>): void {
    const start = this.words.length;
    if (!this.alone) this.since = 'all';
    const { rounds } = this;
    this.rounds = Number.POSITIVE_INFINITY;
    this.steps(step.before);
    const exit = this.condition(step.condition);
    const decided = this.since;
    this.steps(step.body);
    this.rounds = rounds;
    this.words.push(commandCode.jump, start);
    this.relocations.push(this.words.length - 1);
    this.land(exit);
    this.since = decided;
  }

  private branch(step: Extract<Step, { kind: 'branch' }>): void {
    const otherwise = this.condition(step.condition);
    const decided = this.since;
    this.steps(step.then);
    const afterThen = this.since;
    if (step.otherwise.length === 0) {
      this.land(otherwise);
      this.since = later(afterThen, decided);
      return;
    }
    const end = this.emitTarget(commandCode.jump);
    this.land(otherwise);
    this.since = decided;
    this.steps(step.otherwise);
    this.land(end);
    this.since = later(afterThen, this.since);
  }

  /** Emits the test of a condition; returns the word of the jump that is taken when it is false. */
  private condition(address: Address): number {
    if (!this.alone && this.since === 'all') this.barrier();
    const computed = this.computeArgs([address], false);
    const at = this.words.length;
    this.words.push(this.alone ? commandCode.test : commandCode.decide, 0, 0);
    if (!computed) this.arrays.push({ user: at + 1, addresses: [address], workspace: false });
    if (!this.alone) {
      this.since = 'nothing';
      this.meets = true;
    }
    return at + 2;
  }

  /** Emits the computation of addresses that depend on loop indices; false if none does. */
  private computeArgs(addresses: readonly Address[], workspace: boolean): boolean {
    const levels = Math.min(this.depth, Math.max(0, ...addresses.map((a) => a.loopStrides?.findLastIndex((s) => s !== 0) ?? -1)) + 1);
    const moves = addresses.some((a) => a.loopStrides?.slice(0, this.depth).some((s) => s !== 0));
    if (!moves) return false;
    const count = addresses.length + (workspace ? 1 : 0);
    this.computedArgs = Math.max(this.computedArgs, count);
    const at = this.words.length;
    this.words.push(commandCode.args, 0, count, levels);
    this.arrays.push({ user: at + 1, addresses, workspace });
    for (const address of addresses) for (let l = 0; l < levels; l++) this.words.push(address.loopStrides?.[l] ?? 0);
    if (workspace) for (let l = 0; l < levels; l++) this.words.push(0);
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

/** Compiles steps whose kernels are linked. */
export function compileSteps(steps: readonly Step[], kernels: ReadonlyMap<Kernel, LinkedKernel>): Program {
  const writer = new ProgramWriter(kernels);
  writer.steps(steps);
  return writer.finish();
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
