/** Parts of the picture taken away. */
import { fillOf } from './crop.js';
import type { ImageData8 } from './image.js';
import { imageTransform, type Transform } from './sample.js';

/** The rectangle in one colour. */
export function eraseImage(
  image: ImageData8,
  left: number,
  top: number,
  width: number,
  height: number,
  fill: number | readonly number[] = 0,
): ImageData8 {
  const data = image.data.slice();
  const value = fillOf(fill, image.channels);
  const right = Math.min(image.width, left + width);
  const bottom = Math.min(image.height, top + height);
  for (let y = Math.max(0, top); y < bottom; y++) {
    for (let x = Math.max(0, left); x < right; x++) data.set(value, (y * image.width + x) * image.channels);
  }
  return { ...image, data };
}

export interface RandomErasingOptions {
  readonly p?: number;
  /** Range of the share of the area. */
  readonly scale?: readonly [number, number];
  /** Range of height / width. */
  readonly ratio?: readonly [number, number];
  /** A value, one a channel, or 'noise'. */
  readonly fill?: number | readonly number[] | 'noise';
}

/** Erases a rectangle of random size and place (Zhong et al., "Random erasing data augmentation", 2017). Boxes and masks stay. */
export function randomErasing(options: RandomErasingOptions = {}): Transform {
  const { p = 0.5, scale = [0.02, 0.33], ratio = [0.3, 3.3], fill = 0 } = options;
  return imageTransform((image, random) => {
    if (!random.chance(p)) return image;
    for (let attempt = 0; attempt < 10; attempt++) {
      const area = image.width * image.height * random.uniform(scale[0], scale[1]);
      const aspect = Math.exp(random.uniform(Math.log(ratio[0]), Math.log(ratio[1])));
      const height = Math.round(Math.sqrt(area * aspect));
      const width = Math.round(Math.sqrt(area / aspect));
      if (height >= image.height || width >= image.width || height < 1 || width < 1) continue;
      const top = random.below(image.height - height + 1);
      const left = random.below(image.width - width + 1);
      const out = eraseImage(image, left, top, width, height, fill === 'noise' ? 0 : fill);
      if (fill === 'noise') {
        for (let y = top; y < top + height; y++) {
          const from = (y * image.width + left) * image.channels;
          for (let i = from; i < from + width * image.channels; i++) out.data[i] = random.below(256);
        }
      }
      return out;
    }
    return image;
  });
}

/** Erases `holes` squares of `size` pixels around random points (DeVries and Taylor, "Cutout", 2017). */
export function cutout(
  size: number,
  options: { readonly holes?: number; readonly fill?: number | readonly number[]; readonly p?: number } = {},
): Transform {
  const { holes = 1, fill = 0, p = 1 } = options;
  return imageTransform((image, random) => {
    if (!random.chance(p)) return image;
    let out = image;
    for (let i = 0; i < holes; i++) {
      const x = random.below(image.width) - Math.floor(size / 2);
      const y = random.below(image.height) - Math.floor(size / 2);
      out = eraseImage(out, x, y, size, size, fill);
    }
    return out;
  });
}
