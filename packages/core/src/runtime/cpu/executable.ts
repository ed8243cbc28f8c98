/** A program in the heap: its arena, its commands, and the instance of its module on this thread. */
import type { CompiledKernel, CompiledModule, Phase } from '../../codegen/compiled.js';
import { CompilerError, LifetimeError } from '../../errors.js';
import type { Kernel } from '../../ir/kernel.js';
import type { Executable, ExecutableSpec } from '../device.js';
import { type KernelFunction, type Library, linkLibraries } from '../native/link.js';
import type { NativeModule } from '../native/tier.js';
import type { Heap } from './heap.js';
import type { Published } from './pool.js';
import { compileSteps, type LinkedKernel, type Program } from './program.js';
import type { Scheduler } from './scheduler.js';

/** A program of one small call, done without the driver. */
interface DirectCall {
  readonly call: KernelFunction;
  readonly grid: number;
  /** Address and first word of the argument array; `slots[i]` 0 means that the argument is in the arena and in place. */
  readonly args: number;
  readonly words: Int32Array;
  readonly slots: Int32Array;
  readonly offsets: Float64Array;
}

/** The code of a program: each kernel is in the WebAssembly module or in a native library. */
export interface KernelCode {
  readonly wasm: CompiledModule;
  /** Paths of the native libraries. */
  readonly libraries: readonly string[];
  readonly kernels: readonly CompiledKernel[];
}

/** Compiles what the native module does not have. */
export function kernelCode(
  kernels: readonly Kernel[],
  native: NativeModule | null,
  compile: (kernels: readonly Kernel[]) => CompiledModule,
): KernelCode {
  if (native === null) {
    const wasm = compile(kernels);
    return { wasm, libraries: [], kernels: wasm.kernels };
  }
  const wasm = compile(kernels.filter((_, i) => native.kernels[i] === null));
  let next = 0;
  return {
    wasm,
    libraries: native.libraries,
    kernels: native.kernels.map((kernel) => kernel ?? (wasm.kernels[next++] as CompiledKernel)),
  };
}

const roundUp = (bytes: number): number => Math.ceil(bytes / 64) * 64;

export class CpuExecutable implements Executable {
  readonly name: string;
  readonly program: Program;
  readonly published: Published;
  readonly functions: readonly KernelFunction[];
  /** Address of the first command. */
  readonly commands: number;
  /** Address of the arena. */
  readonly arena: number;
  /** Whether the functions are in this thread's table. */
  linked = false;

  private readonly library: Library | null;
  private readonly scheduler: Scheduler;
  private readonly heap: Heap;
  private readonly onDispose: (executable: CpuExecutable) => void;
  private readonly slots: number;
  private readonly arenaBytes: number;
  private readonly direct: DirectCall | null;
  /** For slot s, words patchWords[i] hold its address + patchOffsets[i], for i from patchStarts[s] to patchStarts[s + 1]. */
  private readonly patchStarts: Int32Array;
  private readonly patchWords: Int32Array;
  private readonly patchOffsets: Float64Array;
  /** The pointers in place. */
  private readonly pointers: Float64Array;
  private readonly kept: ReadonlySet<number>;
  private readonly preparedMemory: number;
  private readonly staleAt: number;
  /** States of the kept slots: the present one, the one of the run under way, and the one that is prepared. */
  private wanted = 1;
  private running = 0;
  private done = 0;
  private disposed = false;

  constructor(
    spec: ExecutableSpec,
    kernels: readonly Kernel[],
    code: KernelCode,
    base: number,
    heap: Heap,
    scheduler: Scheduler,
    onDispose: (executable: CpuExecutable) => void,
  ) {
    this.name = spec.name;
    this.heap = heap;
    this.scheduler = scheduler;
    this.onDispose = onDispose;
    this.slots = spec.slots;

    const names: string[] = [];
    const linked = new Map<Kernel, LinkedKernel>();
    code.kernels.forEach((kernel, k) => {
      const number = (phases: readonly Phase[]): number[][] =>
        phases.map((phase) => phase.map((entry) => base + names.push(entry.exportName) - 1));
      const functions = number(kernel.phases);
      const preparing = number(kernel.preparation?.phases ?? []);
      linked.set(kernels[k] as Kernel, { kernel: kernels[k] as Kernel, compiled: kernel, functions, preparing });
    });
    this.kept = new Set(spec.kept?.slots ?? []);
    this.program = compileSteps(spec.steps, linked, { slots: this.kept, arenaFrom: spec.kept?.arenaFrom ?? Number.POSITIVE_INFINITY });
    const module = compileModule(spec.name, code.wasm);
    const instance = new WebAssembly.Instance(module, { env: { memory: heap.memory } });
    const symbols = names.filter((name) => !(name in instance.exports));
    this.library = code.libraries.length === 0 ? null : linkLibraries(code.libraries, symbols, heap.memory);
    this.functions = names.map((name) => (instance.exports[name] ?? this.library?.functions.get(name)) as KernelFunction);
    this.published = { module, base, names, libraries: code.libraries, sequence: 0 };

    const workspaceBytes = Math.max(0, ...code.kernels.map((k) => k.workspaceBytes));
    this.arenaBytes = roundUp(spec.arenaBytes) + workspaceBytes;
    this.arena = heap.allocate(this.arenaBytes);
    for (const { offset, bytes } of spec.constants) {
      if (offset < 0 || offset + bytes.length > spec.arenaBytes) {
        throw new CompilerError(`program ${spec.name} has a constant outside its arena`, { received: { offset, length: bytes.length } });
      }
      heap.u8.set(bytes, this.arena + offset);
    }

    const { words, relocations, patches, workspaceWords, preparedWords, preparedBytes, staleWord } = this.program;
    try {
      this.commands = heap.allocate(words.length * 4);
    } catch (error) {
      heap.free(this.arena, this.arenaBytes);
      throw error;
    }
    try {
      this.preparedMemory = heap.allocate(preparedBytes);
    } catch (error) {
      heap.free(this.arena, this.arenaBytes);
      heap.free(this.commands, words.length * 4);
      throw error;
    }
    heap.i32.set(words, this.commands / 4);
    const firstWord = this.commands / 4;
    for (const word of relocations) heap.u32[firstWord + word] = this.commands + 4 * (words[word] as number);
    for (const word of workspaceWords) heap.u32[firstWord + word] = this.arena + roundUp(spec.arenaBytes);

    for (const { word, offset } of preparedWords) heap.u32[firstWord + word] = this.preparedMemory + offset;
    this.staleAt = staleWord < 0 ? -1 : firstWord + staleWord;

    const sorted = [...patches].sort((p, q) => p.slot - q.slot);
    this.patchStarts = new Int32Array(spec.slots + 1);
    this.patchWords = Int32Array.from(sorted, (p) => firstWord + p.word);
    this.patchOffsets = Float64Array.from(sorted, (p) => p.offset);
    for (const { slot } of sorted) {
      if (!(slot >= 0 && slot < spec.slots)) throw new CompilerError(`program ${spec.name} uses slot ${slot} of ${spec.slots}`);
      this.patchStarts[slot + 1] = (this.patchStarts[slot + 1] as number) + 1;
    }
    for (let s = 0; s < spec.slots; s++) this.patchStarts[s + 1] = (this.patchStarts[s + 1] as number) + (this.patchStarts[s] as number);
    this.pointers = new Float64Array(spec.slots).fill(-1);
    if (spec.slots > 0) this.patchSlot(0, this.arena);
    this.direct = this.makeDirect(spec);
  }

  runSync(pointers: ArrayLike<number>): void {
    const { scheduler, direct } = this;
    if (this.disposed) throw this.disposedError();
    if (scheduler.busy) scheduler.drain();
    if (direct === null) {
      this.patch(pointers);
      scheduler.runHere(this);
      this.completed();
      return;
    }
    const { u32 } = this.heap;
    const { words, slots, offsets } = direct;
    for (let i = 0; i < slots.length; i++) {
      u32[words[i] as number] = (pointers[slots[i] as number] as number) + (offsets[i] as number);
    }
    try {
      direct.call(0, direct.grid, direct.args, scheduler.scratch);
    } catch (error) {
      throw scheduler.trapped(this, this.program.phaseKernels[0] ?? '', error);
    }
  }

  run(pointers: ArrayLike<number>, signal?: AbortSignal): Promise<void> {
    if (this.disposed) return Promise.reject(this.disposedError());
    return this.scheduler.submit(this, pointers, signal);
  }

  dispose(): void {
    if (this.disposed) return;
    this.scheduler.release(this);
    this.disposed = true;
    this.heap.free(this.arena, this.arenaBytes);
    this.heap.free(this.commands, this.program.words.length * 4);
    this.heap.free(this.preparedMemory, this.program.preparedBytes);
    this.library?.unload();
    this.onDispose(this);
  }

  /** Puts the slots' addresses into the argument arrays, where they changed. */
  patch(pointers: ArrayLike<number>): void {
    const placed = this.pointers;
    for (let slot = 1; slot < this.slots; slot++) {
      const pointer = pointers[slot] as number;
      if (pointer === placed[slot]) continue;
      if (this.kept.has(slot)) this.wanted++;
      this.patchSlot(slot, pointer);
    }
    if (this.staleAt < 0) return;
    this.running = this.wanted;
    this.heap.i32[this.staleAt] = this.done === this.wanted ? 0 : 1;
  }
  /** The run whose pointers were put in place last has ended well. */
  completed(): void {
    this.done = this.running;
  }
  keptChanged(): void {
    this.wanted++;
  }
  private patchSlot(slot: number, pointer: number): void {
    const { u32 } = this.heap;
    this.pointers[slot] = pointer;
    const end = this.patchStarts[slot + 1] as number;
    for (let i = this.patchStarts[slot] as number; i < end; i++) {
      u32[this.patchWords[i] as number] = pointer + (this.patchOffsets[i] as number);
    }
  }

  /** Name of the kernel whose phase is at an address. */
  kernelAt(address: number): string {
    const word = ((address >>> 0) - this.commands) / 4;
    const at = this.program.phaseWords.indexOf(word);
    return this.program.phaseKernels[at] ?? '';
  }

  private makeDirect(spec: ExecutableSpec): DirectCall | null {
    const [step] = spec.steps;
    const { program, functions } = this;
    if (spec.steps.length !== 1 || step?.kind !== 'call' || program.parallel || program.phaseWords.length !== 1 || functions.length !== 1) {
      return null;
    }
    const phase = program.phaseWords[0] as number;
    const firstWord = this.commands / 4;
    const args = this.heap.u32[firstWord + phase + 1] as number;
    const grid = program.words[phase + 5] as number;
    const chunk = program.words[phase + 6] as number;
    const call = functions[0] as KernelFunction;
    if (chunk < grid) return null;
    const external = step.args.map((address, i) => ({ ...address, word: args / 4 + i })).filter((a) => a.slot !== 0);
    return {
      call,
      grid,
      args,
      words: Int32Array.from(external, (a) => a.word),
      slots: Int32Array.from(external, (a) => a.slot),
      offsets: Float64Array.from(external, (a) => a.offset),
    };
  }
  private disposedError(): LifetimeError {
    return new LifetimeError(`program ${this.name} was disposed`, { op: 'run', fix: 'Load it again.' });
  }
}

function compileModule(name: string, compiled: CompiledModule): WebAssembly.Module {
  try {
    return new WebAssembly.Module(compiled.bytes);
  } catch (cause) {
    throw new CompilerError(`the engine rejected the code of program ${name}: ${String(cause)}`, { cause });
  }
}
