export * from './dataloader.js';
export * from './dataset.js';
export * from './philox.js';
export * from './split.js';
