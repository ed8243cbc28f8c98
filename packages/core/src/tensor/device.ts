/** The device tensors live on. */
import { InterpreterDevice } from '../ir/interpret-device.js';
import type { Device } from '../runtime/device.js';

let current: Device | null = null;

/** The CPU device of this process, made at first use. */
export function defaultDevice(): Device {
  current ??= new InterpreterDevice();
  return current;
}

/** Replaces the device. Tensors made before stay on the old one and must not be mixed with new ones. */
export function setDefaultDevice(device: Device): void {
  current = device;
}
