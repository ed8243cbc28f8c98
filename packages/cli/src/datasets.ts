/** Datasets that the workers of a loader build for themselves: what `data: { type: image-folder }` becomes. */
import { type BatchedDataset, type Dataset, type Field, fieldCollate, type ItemContext, withCollate } from 'trireme/data';
import { compose, readImage, resizeImage, type Transform, toTensor } from 'trireme/data/vision';
import { transformFunctions } from './catalog/transforms.js';
import { build, type Named } from './config/named.js';

export interface ImageListOptions {
  readonly paths: readonly string[];
  /** Class of each picture; 0 for pictures to predict. */
  readonly labels: Int32Array;
  /** Height and width. */
  readonly size: readonly [number, number];
  readonly channels: 1 | 3 | 4;
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
  /** Names of transforms with their arguments. */
  readonly transforms: readonly Named[];
}
export interface ImageBatch {
  readonly input: Field;
  readonly target: Field;
}

/** Pictures of a list of files, transformed, resized and scaled: float32 [n, channels, height, width], and int32 [n]. */
export function imageList({ paths, labels, size, channels, mean, std, transforms }: ImageListOptions): BatchedDataset<unknown, ImageBatch> {
  const steps: readonly Transform[] = transforms.map((one) => build(transformFunctions, one));
  const transform = compose(...steps);
  const items: Dataset<{ input: Field; target: number }> = {
    length: paths.length,
    async get(index: number, context?: ItemContext) {
      const image = await readImage(paths[index], { channels });
      const changed = context === undefined || steps.length === 0 ? image : transform({ image }, context.rng).image;
      return { input: toTensor(resizeImage(changed, size[1], size[0]), { mean, std }), target: labels[index] };
    },
  };
  const collate = fieldCollate<{ input: Field; target: number }>({ dtypes: { target: 'int32' } });
  return withCollate(items, (list) => collate(list) as unknown as ImageBatch) as BatchedDataset<unknown, ImageBatch>;
}
