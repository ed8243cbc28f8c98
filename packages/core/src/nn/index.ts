export * from './activations.js';
export { type AttentionCall, MultiHeadAttention, MultiheadAttention, type MultiheadAttentionOptions } from './attention.js';
export * from './containers.js';
export {
  Conv1d,
  Conv2d,
  Conv3d,
  type ConvLayerOptions,
  ConvTranspose1d,
  ConvTranspose2d,
  ConvTranspose3d,
  type ConvTransposeLayerOptions,
  type KernelSize,
} from './conv.js';
export * from './dropout.js';
export * from './embedding.js';
export type { ForwardHook, ForwardPreHook, FullBackwardHook, GradList } from './hooks.js';
export * as init from './init.js';
export { KVCache, type KVCacheOptions } from './kv-cache.js';
export { type BiasOption, Bilinear, CosineSimilarity, Flatten, Identity, Linear, PairwiseDistance, Unflatten } from './layers.js';
export * from './losses.js';
export { type AnyModule, buffer, type LoadOptions, type LoadResult, Module, parameter } from './module.js';
export {
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  type BatchNormLayerOptions,
  GroupNorm,
  InstanceNorm1d,
  InstanceNorm2d,
  InstanceNorm3d,
  LayerNorm,
  type LayerNormOptions,
  LocalResponseNorm,
  RMSNorm,
  type RunningNormOptions,
} from './norm.js';
export * from './packed.js';
export * from './padding.js';
export {
  isParametrized,
  Parametrization,
  registerParametrization,
  removeParametrizations,
  type SpectralNormOptions,
  spectralNorm,
  weightNorm,
} from './parametrize.js';
export * from './pooling.js';
export * from './resample.js';
export * from './rnn.js';
export * from './rotary.js';
export { type ProcessGroup, SyncBatchNorm, type SyncBatchNormOptions } from './sync-batch-norm.js';
export * from './transformer.js';
