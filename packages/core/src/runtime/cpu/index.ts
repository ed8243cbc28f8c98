/** The CPU device with the WebAssembly code generator. */
import { compileKernels } from '../../codegen/wasm/module.js';
import { CpuDevice, type CpuDeviceOptions } from './device.js';

export { CpuDevice, type CpuDeviceOptions } from './device.js';

/**
 * A device on this machine's CPU, in Node and in browsers. It is ready at once: worker threads start when a program
 * first needs them, and programs run on this thread until they are up.
 * @throws ArgumentError for `threads` or `maxBytes` out of range; OutOfMemoryError if the engine grants no memory.
 */
export function createCpuDevice(options: CpuDeviceOptions = {}): CpuDevice {
  return new CpuDevice(options, compileKernels);
}
