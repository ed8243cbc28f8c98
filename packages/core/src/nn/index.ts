export * from './init.js';
export * from './layers.js';
export { type AnyModule, buffer, type LoadOptions, type LoadResult, Module, parameter } from './module.js';
export * from './stateless.js';
