/** Trireme: deep learning for TypeScript. */
export * from './autograd/index.js';
export * as data from './data/index.js';
export { type DType, dtypes, isFloat, promoteTypes } from './dtype.js';
export * from './errors.js';
export type { CompiledProgram } from './graph/compile.js';
export { type JitFunction, type JitOptions, jit } from './jit.js';
export * as nn from './nn/index.js';
export * from './ops/control.js';
export * from './ops/index.js';
export * as optim from './optim/index.js';
export { CpuDevice, type CpuDeviceOptions, createCpuDevice } from './runtime/cpu/index.js';
export type { Device, DeviceStats } from './runtime/device.js';
export type { TypedArray } from './tensor/data.js';
export { defaultDevice, setDefaultDevice } from './tensor/device.js';
export { Generator, manualSeed } from './tensor/generator.js';
export { collectGarbage, memoryInfo } from './tensor/memory.js';
export { keep, scope } from './tensor/scope.js';
export { isTensor, Tensor } from './tensor/tensor.js';
