/** Keras models from files: .keras (Keras 3) and .h5 (a whole model in one HDF5 file). */
import { FormatError } from 'trireme';
import { type ByteSource, openRandomAccess, openZip, type RandomAccess, type ZipArchive } from 'trireme/io';
import { Config, parseJson } from '../formats/json.js';
import { NamedVariables } from '../tfjs/named-variables.js';
import { type Hdf5File, readHdf5 } from './hdf5.js';
import { buildKerasModel, type KerasModel } from './model.js';
import type { LayerVariables, Variable } from './variables.js';

/** A configuration of many layers has some megabytes. */
const maxConfigBytes = 2 ** 28;
const maxWeightBytes = 2 ** 32;

/** Weights of Keras 3: groups named by the class of a layer, numbered, with the variables in order. */
class StoredVariables implements LayerVariables {
  readonly #all: ReadonlyMap<string, Variable>;
  readonly #path: string;
  readonly #used = new Map<string, number>();

  constructor(all: ReadonlyMap<string, Variable>, path = '') {
    this.#all = all;
    this.#path = path;
  }
  #at(name: string): Variable | undefined {
    return this.#all.get(`${this.#path}vars/${name}`);
  }
  has(names: readonly string[], name: string): boolean {
    return this.#at(String(names.indexOf(name))) !== undefined;
  }
  take(names: readonly string[]): Variable[] {
    return names.map((name, i) => {
      const found = this.#at(String(i));
      if (found) return found;
      throw new FormatError(`${this.#path || 'the model'} has no ${name} (${this.#path}vars/${i})`, {
        op: 'keras',
        expected: names.join(', '),
      });
    });
  }
  part(name: string): LayerVariables {
    return new StoredVariables(this.#all, `${this.#path}${name}/`);
  }
  layer(_name: string, className: string): LayerVariables {
    const group = className
      .replace(/\W+/g, '')
      .replace(/(.)([A-Z][a-z]+)/g, '$1_$2')
      .replace(/([a-z])([A-Z])/g, '$1_$2')
      .toLowerCase();
    const count = this.#used.get(group) ?? 0;
    this.#used.set(group, count + 1);
    return new StoredVariables(this.#all, `${this.#path}layers/${count === 0 ? group : `${group}_${count}`}/`);
  }
}

async function readVariables({ datasets }: Hdf5File): Promise<Map<string, Variable>> {
  const variables = new Map<string, Variable>();
  let total = 0;
  for (const [path, dataset] of datasets) {
    total += dataset.shape.reduce((product, n) => product * n, 1);
    if (!(total <= maxWeightBytes)) throw new FormatError('the weights have more than 2^32 elements', { op: 'keras' });
    variables.set(path, await dataset.read());
  }
  return variables;
}

async function fromArchive(archive: ZipArchive): Promise<KerasModel> {
  const entryOf = (name: string) => {
    const entry = archive.entries.get(name);
    if (!entry)
      throw new FormatError(`the archive has no ${name}`, { op: 'keras', expected: 'config.json, metadata.json and model.weights.h5' });
    return entry;
  };
  const configEntry = entryOf('config.json');
  if (configEntry.size > maxConfigBytes)
    throw new FormatError(`config.json has ${configEntry.size} bytes`, { op: 'keras', expected: `at most ${maxConfigBytes}` });
  const config = new Config(parseJson(await configEntry.read(), 'config.json'), 'config.json');
  const weights = await entryOf('model.weights.h5').open();
  try {
    return buildKerasModel(config, new StoredVariables(await readVariables(await readHdf5(weights))), true);
  } finally {
    await weights.close();
  }
}

async function fromHdf5(source: RandomAccess): Promise<KerasModel> {
  const file = await readHdf5(source);
  const root = file.attributes.get('');
  const text = root?.get('model_config');
  if (typeof text !== 'string') {
    throw new FormatError('the file has no model_config', {
      op: 'keras',
      expected: 'a whole model (model.save), not its weights alone',
      fix: 'Build the model in Keras and save it as .keras.',
    });
  }
  const version = root?.get('keras_version');
  const weights = [...(await readVariables(file))].flatMap(([path, { shape, data }]) => {
    if (!path.startsWith('model_weights/')) return [];
    const name = path.slice('model_weights/'.length);
    return [[name, { name, dtype: 'float32' as const, shape, data: Float32Array.from(data as ArrayLike<number>, Number) }] as const];
  });
  const modern = typeof version === 'string' && version.startsWith('3');
  return buildKerasModel(new Config(parseJson(text, 'model_config'), 'model_config'), NamedVariables.of(new Map(weights)), modern);
}

/**
 * A model saved by Keras: `.keras` of Keras 3, or a whole model as `.h5`. Pictures stay as they are there, [batch, height, width, channels]. Nothing in a
 * file is run: Lambda layers and custom classes are errors that name them.
 * @throws FormatError when it is damaged or has layers that are not known, EnvironmentError when it cannot be read
 */
export async function loadKeras(from: ByteSource): Promise<KerasModel> {
  const source = await openRandomAccess(from);
  try {
    const start = await source.read(0, Math.min(4, source.byteLength));
    if (start.length === 4 && start[0] === 0x50 && start[1] === 0x4b) {
      const archive = await openZip(source, { maxEntryBytes: Number.MAX_SAFE_INTEGER, maxTotalBytes: Number.MAX_SAFE_INTEGER });
      return (await fromArchive(archive)).eval();
    }
    return (await fromHdf5(source)).eval();
  } finally {
    if (source !== from) await source.close();
  }
}
