/** A place to watch programs run: the profiler puts itself between a program and its executable. */
import type { CompiledProgram } from './compile.js';

export interface RunObserver {
  /** Runs the program in the place of its executable. `scope` is the path of the module that called an eager operation. */
  run(program: CompiledProgram, pointers: Float64Array, scope: string): void;
}

/** Who runs programs at present; null: their executables. */
export let runObserver: RunObserver | null = null;

/** Sets the observer; returns the one before. */
export function setRunObserver(observer: RunObserver | null): RunObserver | null {
  const before = runObserver;
  runObserver = observer;
  return before;
}
