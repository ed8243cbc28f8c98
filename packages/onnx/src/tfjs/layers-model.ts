/** TensorFlow.js layers models: Keras models in JSON. */
import type { Config } from '../formats/json.js';
import { buildKerasModel, type KerasModel } from '../keras/model.js';
import { readManifest } from './manifest.js';
import { NamedVariables } from './named-variables.js';
import { openTfjs, type TfjsSource } from './source.js';

/** Files from tfjs itself have the model at the top, those from the converter under `model_config`. */
function topologyOf(model: Config): Config {
  const topology = model.object('modelTopology');
  return topology.has('model_config') ? topology.object('model_config') : topology;
}

/** Whether a document is of a layers model. */
export function isLayersModel(model: Config): boolean {
  const format = model.get('format');
  if (format === 'layers-model' || format === 'graph-model') return format === 'layers-model';
  return model.has('modelTopology') && !model.object('modelTopology').has('node');
}

/**
 * A layers model as a module: `predict(x)` of TensorFlow.js is `model.eval().call(x)`. Pictures stay as they are there, [batch, height, width, channels].
 * @throws FormatError when it is damaged or has layers that are not known, EnvironmentError when a file cannot be read
 */
export async function loadLayersModel(source: TfjsSource): Promise<KerasModel> {
  const { model, read } = await openTfjs(source);
  const topology = topologyOf(model);
  const variables = NamedVariables.of(await readManifest(model, read));
  const version = model.object('modelTopology').get('keras_version');
  return buildKerasModel(topology, variables, typeof version === 'string' && version.startsWith('3')).eval();
}
