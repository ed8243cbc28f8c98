/** Folders of pictures, one folder a class. */
import { type BatchedDataset, type Field, openImageFolder, workerDataset } from 'trireme/data';
import type { DataConfig } from '../config/read.js';
import { type ImageBatch, type ImageListOptions, imageList } from '../datasets.js';
import { ConfigError } from '../errors.js';
import { splitItems } from './split.js';
import type { TargetFacts } from './target.js';

export type ImageConfig = Extract<DataConfig, { readonly type: 'image-folder' }>;
export interface ImageFacts {
  readonly kind: 'images';
  readonly target: TargetFacts;
}
type Dataset = BatchedDataset<unknown, ImageBatch>;

function listOptions(config: ImageConfig, paths: readonly string[], labels: Int32Array, training: boolean): ImageListOptions {
  const { size, channels, mean, std, transforms } = config;
  const both = typeof size === 'number' ? ([size, size] as const) : size;
  // Two channels are no picture.
  if (channels === 2) throw new ConfigError({ key: 'data.channels', message: 'is 2.', expected: '1 (grey), 3 (RGB) or 4 (RGBA)' });
  return { paths, labels, size: both, channels: channels as 1 | 3 | 4, mean, std, transforms: training ? transforms : [] };
}

async function datasetOf(config: ImageConfig, options: ImageListOptions): Promise<Dataset> {
  if (config.workers === 0) return imageList(options);
  return workerDataset<Dataset & object>(new URL('./datasets.js', import.meta.url), 'imageList', options);
}

export async function openImages(
  config: ImageConfig,
  wanted: readonly string[],
  known: ImageFacts | null,
): Promise<{ readonly facts: ImageFacts; readonly datasets: Readonly<Record<'train' | 'validation' | 'test', Dataset | null>> }> {
  const needsMain = known === null || wanted.includes('train') || wanted.some((name) => config[name as 'test'] === undefined);
  const main = needsMain ? await openImageFolder(config.path) : null;
  const classes = known?.target.kind === 'class' ? known.target.classes : (main?.classNames ?? []);
  const part = async (name: 'train' | 'validation' | 'test'): Promise<Dataset | null> => {
    if (!wanted.includes(name)) return null;
    const own = name === 'train' ? undefined : config[name];
    if (own === undefined) {
      if (main === null) return null;
      const held = { validation: config.validation !== undefined, test: config.test !== undefined };
      const rows = splitItems(main.length, main.labels, config.split, held)[name];
      if (rows === null) return null;
      return datasetOf(
        config,
        listOptions(
          config,
          Array.from(rows, (i) => main.paths[i]),
          rows.map((i) => main.labels[i]),
          name === 'train',
        ),
      );
    }
    const folder = await openImageFolder(own);
    const numbers = folder.classNames.map((className) => {
      const number = classes.indexOf(className);
      if (number >= 0) return number;
      throw new ConfigError({
        file: own,
        key: `data.${name}`,
        message: `the class ${className} is not in the training data.`,
        expected: classes.join(', '),
      });
    });
    return datasetOf(
      config,
      listOptions(
        config,
        folder.paths,
        folder.labels.map((label) => numbers[label]),
        false,
      ),
    );
  };
  return {
    facts: { kind: 'images', target: { kind: 'class', classes } },
    datasets: { train: await part('train'), validation: await part('validation'), test: await part('test') },
  };
}

/** Pictures to predict for, in batches. */
export async function* imageInputs(
  config: ImageConfig,
  files: readonly string[],
): AsyncGenerator<{ readonly input: Field; readonly names: string[] }> {
  const items = imageList(listOptions(config, files, new Int32Array(files.length), false));
  const size = config.evalBatchSize ?? config.batchSize;
  for (let start = 0; start < files.length; start += size) {
    const rows = Int32Array.from({ length: Math.min(size, files.length - start) }, (_, i) => start + i);
    const { input } = await items.getBatch(rows);
    yield { input: { data: input.data, shape: input.shape.slice(1) }, names: Array.from(rows, (i) => files[i]) };
  }
}
