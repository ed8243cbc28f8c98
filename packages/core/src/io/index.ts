export * from './files.js';
export { gunzip, isGzip } from './gzip.js';
export * from './idx.js';
export * from './safetensors.js';
export * from './weights.js';
