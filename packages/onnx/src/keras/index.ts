/** Keras models in Trireme. */
export { loadKeras } from './load.js';
export { KerasModel, type KerasPort, kerasLayers } from './model.js';
