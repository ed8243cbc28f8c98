/** Where a TensorFlow.js model comes from. */
import { ArgumentError, EnvironmentError } from 'trireme';
import { readFileBounded } from 'trireme/io';
import { Config, parseJson } from '../formats/json.js';
import type { ReadShard } from './manifest.js';

/** model.json may hold a topology of thousands of nodes, not weights. */
const maxModelBytes = 2 ** 28;
const maxShardBytes = 2 ** 31 - 1;

/** The document in hand, and how to get the shards it names. */
export interface TfjsFiles {
  /** Content of model.json: its bytes, text, or the parsed document. */
  readonly model: Uint8Array | string | object;
  /** Content of a shard, by its path in the document. */
  readonly read: ReadShard;
}

/** Path of model.json (Node only), or its content. In a browser: `{ model: await response.text(), read: (path) => fetch(…) }`. */
export type TfjsSource = string | TfjsFiles;

/** @throws EnvironmentError when a file cannot be read, FormatError when model.json is no JSON */
export async function openTfjs(source: TfjsSource): Promise<{ readonly model: Config; readonly read: ReadShard }> {
  if (typeof source === 'string') {
    const folder = source.slice(0, Math.max(source.lastIndexOf('/'), source.lastIndexOf('\\')) + 1);
    const model = parseJson(await readFileBounded(source, maxModelBytes), 'model.json');
    return { model: new Config(model, 'model.json'), read: (path) => readFileBounded(`${folder}${path}`, maxShardBytes) };
  }
  const { model, read } = source;
  const document = typeof model === 'string' || model instanceof Uint8Array ? parseJson(model, 'model.json') : model;
  const checked: ReadShard = async (path) => {
    const bytes: unknown = await read(path);
    if (bytes instanceof Uint8Array) return bytes;
    if (bytes instanceof ArrayBuffer) return new Uint8Array(bytes);
    throw new EnvironmentError(`read gave no bytes for ${path}`, { op: 'tfjs', expected: 'a Uint8Array' });
  };
  if (typeof read !== 'function')
    throw new ArgumentError('there is no function to read shards with', { op: 'tfjs', expected: '{ model, read }' });
  return { model: new Config(document, 'model.json'), read: checked };
}
