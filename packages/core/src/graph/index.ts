/** Programs for tools that read them: recording a function, the parts of a Program, and its text. */
export { type TracedProgram, traceProgram } from '../trace-program.js';
export { denseLayout, denseStrides, isDense, type Layout, reshapeLayout, type Shape, shapesEqual, sizeOf } from './layout.js';
export type { Attrs, AttrValue, TensorType } from './primitive.js';
export { printProgram } from './print.js';
export type { GraphNode, Operand, Program, Value } from './program.js';
