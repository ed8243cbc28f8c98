/** The device tensors live on. */
import { createCpuDevice } from '../runtime/cpu/index.js';
import type { Device } from '../runtime/device.js';
import { collectGarbage, describeMemory } from './memory.js';

let current: Device | null = null;

/** The CPU device of this process, made at first use. */
export function defaultDevice(): Device {
  if (current === null) {
    const device = createCpuDevice();
    device.onPressure = () => collectGarbage() > 0;
    device.describeHolders = describeMemory;
    current = device;
  }
  return current;
}

/** Replaces the device. Tensors made before stay on the old one and must not be mixed with new ones. */
export function setDefaultDevice(device: Device): void {
  current = device;
}
