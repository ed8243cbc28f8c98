/** The device tensors live on. */
import { CpuDevice, createCpuDevice } from '../runtime/cpu/index.js';
import type { Device } from '../runtime/device.js';
import { collectGarbage, describeMemory } from './memory.js';

let current: Device | null = null;
const leaving: (() => void)[] = [];

/** Calls `fn` whenever another device is about to take the place of one that was used: what lives there must be let go of. */
export function beforeDeviceChange(fn: () => void): void {
  leaving.push(fn);
}

/** The CPU device of this process, made at first use. */
export function defaultDevice(): Device {
  if (current === null) setDefaultDevice(createCpuDevice());
  return current as unknown as Device;
}

/**
 * Replaces the device. Tensors made before stay on the old one and must not be mixed with new ones; the default generator moves
 * with its state.
 */
export function setDefaultDevice(device: Device): void {
  if (device instanceof CpuDevice) {
    // Under pressure unreachable tensors go first; when that is not enough, the error says who holds what.
    device.onPressure ??= () => collectGarbage() > 0;
    device.describeHolders ??= describeMemory;
  }
  if (current !== null && current !== device) for (const fn of leaving) fn();
  current = device;
}
