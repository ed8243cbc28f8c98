export { crc32 } from './crc32.js';
export * from './download.js';
export * from './download-folder.js';
export { readFileBounded, writeFileAtomic } from './files.js';
export * from './gguf.js';
export { dequantizeGguf, type GgufBlockType, ggufBlocks, isGgufBlockType } from './gguf-blocks.js';
export { gunzip, isGzip } from './gzip.js';
export * from './idx.js';
export * from './npy.js';
export * from './open-weights.js';
export { type OptionalModuleName, provideModule } from './optional.js';
export { isObject as isPickleObject, type PickleObject, type PickleValue } from './pickle.js';
export * from './pytorch.js';
export type { PtStorage, PtTensor, PtType } from './pytorch-pickle.js';
export * from './random-access.js';
export {
  decodeSafetensors,
  encodeSafetensors,
  maxSafetensorsHeader,
  type RawTensor,
  type SafetensorsFile,
  safetensorsChunks,
} from './safetensors.js';
export * from './safetensors-file.js';
export { type StoredType, storedTypes } from './stored.js';
export * from './weights.js';
export type { MetadataValue, WeightEntry, WeightsFile, WeightsFormat } from './weights-file.js';
export * from './zip.js';
