export { type CheckGradsOptions, checkGrads } from './check.js';
export { checkpoint } from './checkpoint.js';
export { type ClipNormOptions, clipGradNorm, clipGradValue } from './clip.js';
export { type CustomFunction, customFunction, type FunctionContext } from './custom.js';
export { type BackwardOptions, backward, type GradOptions, grad } from './engine.js';
export { jvp, vjp } from './functional.js';
export type { HookHandle } from './hooks.js';
export { enableGrad, isGradEnabled, noGrad } from './mode.js';
export type { GradHook, GradNode } from './node.js';
