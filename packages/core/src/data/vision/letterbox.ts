/** Pictures of any aspect in a frame of one size. */
import { padImage, padMask } from './crop.js';
import { type ResizeOptions, resizeSample } from './resize.js';
import { type BoxLimits, moveAnnotations, type Transform } from './sample.js';

export interface LetterboxOptions extends ResizeOptions, BoxLimits {
  /** Value of the bars; 114 unless told otherwise. */
  readonly fill?: number | readonly number[];
  /** Class of the bars in the mask; 0 unless told otherwise. */
  readonly maskFill?: number;
  /** Small pictures are made larger too (true unless told otherwise). */
  readonly enlarge?: boolean;
  /** Where the picture lies: in the middle (the default) or at the upper left corner. */
  readonly at?: 'center' | 'corner';
}

/** Into height x width with the aspect kept, the rest filled with bars. */
export function letterbox(size: number | readonly [number, number], options: LetterboxOptions = {}): Transform {
  const [height, width] = typeof size === 'number' ? [size, size] : size;
  const { fill = 114, maskFill = 0, enlarge = true, at = 'center' } = options;
  return (sample) => {
    const scale = Math.min(width / sample.image.width, height / sample.image.height, enlarge ? Number.POSITIVE_INFINITY : 1);
    const w = Math.max(1, Math.min(width, Math.round(sample.image.width * scale)));
    const h = Math.max(1, Math.min(height, Math.round(sample.image.height * scale)));
    const small = resizeSample(sample, w, h, options);
    const left = at === 'center' ? Math.floor((width - w) / 2) : 0;
    const top = at === 'center' ? Math.floor((height - h) / 2) : 0;
    const sides = { left, top, right: width - w - left, bottom: height - h - top };
    return {
      ...small,
      image: padImage(small.image, sides, { fill }),
      ...moveAnnotations(small, width, height, (x, y) => [x + left, y + top], { minVisible: 0, minSize: 0 }),
      ...(small.mask ? { mask: padMask(small.mask, w, h, sides, { maskFill }) } : {}),
    };
  };
}
