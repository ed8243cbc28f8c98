/** Runs that give the same bits every time. */
import { CpuDevice } from './runtime/cpu/device.js';
import { defaultDevice } from './tensor/device.js';

/**
 * With `true`, results of the default device are the same bits in every run with the same seed, thread count and machine: its
 * tier is pinned. Without it, native code may take the place of WebAssembly in the middle of a run, as soon as it is compiled,
 * and the last bits of sums change there. Pinned, a program waits for its native code (or stays with WebAssembly where there is
 * no compiler). `false` lets go of it.
 */
export function deterministic(on: boolean): void {
  const device = defaultDevice();
  if (device instanceof CpuDevice) device.pinTier(on);
}
