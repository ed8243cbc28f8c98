export { checkGrads, type CheckGradsOptions } from './check.js';
export { checkpoint } from './checkpoint.js';
export { clipGradNorm, type ClipNormOptions, clipGradValue } from './clip.js';
export { type CustomFunction, customFunction, type FunctionContext } from './custom.js';
export { backward, type BackwardOptions, grad, type GradOptions } from './engine.js';
export { jvp, vjp } from './functional.js';
export type { HookHandle } from './hooks.js';
export { enableGrad, isGradEnabled, noGrad } from './mode.js';
export type { GradHook, GradNode } from './node.js';
