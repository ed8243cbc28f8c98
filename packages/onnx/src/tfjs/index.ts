/** TensorFlow.js models in Trireme. */
export { KerasModel, type KerasPort, kerasLayers } from '../keras/model.js';
export { loadGraphModel, tfjsOperations, translateGraph } from './graph-model.js';
export { isLayersModel, loadLayersModel } from './layers-model.js';
export { type ReadShard, readManifest, type TfjsDType, type TfjsWeight } from './manifest.js';
export type { TfjsFiles, TfjsSource } from './source.js';
