/** RandAugment and TrivialAugment: random operations of random strength. */
import type { ItemRandom } from '../item-random.js';
import {
  adjustBrightness,
  adjustContrast,
  adjustSaturation,
  autoContrastImage,
  equalizeImage,
  posterizeImage,
  solarizeImage,
} from './color.js';
import { adjustSharpness } from './filter.js';
import type { ImageData8 } from './image.js';
import type { Sample, Transform } from './sample.js';
import { affineProjection, type Projection, rotateSample, type WarpOptions, warpSample } from './warp.js';

type Operation = (sample: Sample, strength: number, options: WarpOptions) => Sample;

const onImage =
  (change: (image: ImageData8, strength: number) => ImageData8): Operation =>
  (sample, strength) => ({ ...sample, image: change(sample.image, strength) });

/** x' = x + a y (or the same with x and y exchanged), from the upper left corner, as torchvision has it here. */
const shearX = (strength: number): Projection => [1, strength, 0, 0, 1, 0, 0, 0];
const shearY = (strength: number): Projection => [1, 0, 0, strength, 1, 0, 0, 0];

const moved =
  (x: number, y: number): Operation =>
  (sample, strength, options) => {
    const { width, height } = sample.image;
    const translate = [Math.trunc(x * strength * width), Math.trunc(y * strength * height)] as const;
    return warpSample(sample, affineProjection(width, height, { translate }), options);
  };

interface Entry {
  readonly apply: Operation;
  /** Strength at magnitude m of `bins` (0 to bins - 1), for a picture. */
  readonly strength: (m: number, bins: number) => number;
  readonly signed: boolean;
}

const linear =
  (highest: number) =>
  (m: number, bins: number): number =>
    (highest * m) / (bins - 1);

/** The operations with the ranges of torchvision's implementation. */
function operations(wide: boolean): Entry[] {
  const enhance = wide ? 0.99 : 0.9;
  // Translations are shares of the size: 150 of 331 pixels in the paper.
  const shift = wide ? 32 / 331 : 150 / 331;
  return [
    { apply: (sample) => sample, strength: () => 0, signed: false },
    { apply: (s, a, o) => warpSample(s, shearX(a), o), strength: linear(wide ? 0.99 : 0.3), signed: true },
    { apply: (s, a, o) => warpSample(s, shearY(a), o), strength: linear(wide ? 0.99 : 0.3), signed: true },
    { apply: moved(1, 0), strength: linear(shift), signed: true },
    { apply: moved(0, 1), strength: linear(shift), signed: true },
    { apply: (s, a, o) => rotateSample(s, -a, o), strength: linear(wide ? 135 : 30), signed: true },
    { apply: onImage((image, a) => adjustBrightness(image, 1 + a)), strength: linear(enhance), signed: true },
    { apply: onImage((image, a) => adjustSaturation(image, 1 + a)), strength: linear(enhance), signed: true },
    { apply: onImage((image, a) => adjustContrast(image, 1 + a)), strength: linear(enhance), signed: true },
    { apply: onImage((image, a) => adjustSharpness(image, 1 + a)), strength: linear(enhance), signed: true },
    {
      apply: onImage(posterizeImage),
      strength: (m, bins) => 8 - Math.round(m / ((bins - 1) / (wide ? 6 : 4))),
      signed: false,
    },
    { apply: onImage(solarizeImage), strength: (m, bins) => 255 - (255 * m) / (bins - 1), signed: false },
    { apply: onImage(autoContrastImage), strength: () => 0, signed: false },
    { apply: onImage(equalizeImage), strength: () => 0, signed: false },
  ];
}

function run(entry: Entry, sample: Sample, m: number, bins: number, random: ItemRandom, options: WarpOptions): Sample {
  const size = entry.strength(m, bins);
  const negative = random.chance(0.5);
  return entry.apply(sample, entry.signed && negative ? -size : size, options);
}

export interface RandAugmentOptions extends WarpOptions {
  /** Operations on each picture; 2 unless told otherwise. */
  readonly numOps?: number;
  /** 0 to bins - 1; 9 unless told otherwise. */
  readonly magnitude?: number;
  readonly bins?: number;
}

/** `numOps` operations at random, all of one magnitude (Cubuk et al., "RandAugment", 2019). Boxes, masks and points follow. */
export function randAugment(options: RandAugmentOptions = {}): Transform {
  const { numOps = 2, magnitude = 9, bins = 31 } = options;
  const entries = operations(false);
  return (sample, random) => {
    let current = sample;
    for (let i = 0; i < numOps; i++) current = run(random.pick(entries), current, magnitude, bins, random, options);
    return current;
  };
}

/** One operation of random magnitude from wide ranges (Müller and Hutter, "TrivialAugment", 2021). */
export function trivialAugment(options: WarpOptions & { readonly bins?: number } = {}): Transform {
  const { bins = 31 } = options;
  const entries = operations(true);
  return (sample, random) => run(random.pick(entries), sample, random.below(bins), bins, random, options);
}
