/** The transforms of pictures that a configuration can name. */
import * as vision from 'trireme/data/vision';
import { type Catalog, named, optionCall } from '../config/named.js';
import {
  choice,
  count,
  either,
  flag,
  list,
  notNegative,
  number,
  numberIn,
  numberOrRange,
  pair,
  positive,
  range,
  share,
  sizeOrPair,
} from '../config/schema.js';

const byte = numberIn({ min: 0, max: 255 });
const fill = either(byte, list(byte, { min: 1 }));
const boxes = { minVisible: null, minSize: null };
const padding = { ...boxes, mode: choice('constant', 'edge', 'reflect'), fill, maskFill: null };
const warp = { ...boxes, interpolation: choice('nearest', 'bilinear'), fill, maskFill: null };
const resizing = { ...boxes, interpolation: choice('nearest', 'box', 'bilinear', 'bicubic', 'lanczos'), antialias: flag };
const flip = { p: share, keypointPairs: null };
const chance = { p: share };
const size = [['size', sizeOrPair]] as const;

export const transformFunctions: Catalog<vision.Transform> = {
  resize: optionCall(vision.resize, 1, size, { ...resizing, maxSize: count }),
  letterbox: optionCall(vision.letterbox, 1, size, { ...resizing, fill, maskFill: null, enlarge: flag, at: choice('center', 'corner') }),
  centerCrop: optionCall(vision.centerCrop, 1, size, padding),
  randomCrop: optionCall(vision.randomCrop, 1, size, { ...padding, padding: count }),
  randomResizedCrop: optionCall(vision.randomResizedCrop, 1, size, { ...resizing, scale: range, ratio: range }),
  pad: optionCall((amount: number, options?: vision.PadOptions) => vision.pad(amount, options), 1, [['padding', count]], {
    mode: choice('constant', 'edge', 'reflect'),
    fill,
    maskFill: null,
  }),
  horizontalFlip: optionCall(vision.horizontalFlip, 0, [], flip),
  verticalFlip: optionCall(vision.verticalFlip, 0, [], flip),
  rotate: optionCall(vision.rotate, 1, [['degrees', numberOrRange]], { ...warp, expand: flag }),
  affine: optionCall(vision.affine, 0, [], {
    ...warp,
    degrees: numberOrRange,
    translate: pair(share),
    scale: pair(positive),
    shear: numberOrRange,
    shearY: numberOrRange,
  }),
  perspective: optionCall(vision.perspective, 0, [], { ...warp, distortion: share, p: share }),
  colorJitter: optionCall(vision.colorJitter, 1, [], {
    brightness: numberOrRange,
    contrast: numberOrRange,
    saturation: numberOrRange,
    hue: numberOrRange,
  }),
  grayscale: optionCall(vision.grayscale, 0, [], { channels: null, p: share }),
  autoContrast: optionCall(vision.autoContrast, 0, [], chance),
  equalize: optionCall(vision.equalize, 0, [], chance),
  posterize: optionCall(vision.posterize, 1, [['bits', numberIn({ min: 0, max: 8, whole: true })]], chance),
  solarize: optionCall(vision.solarize, 1, [['threshold', byte]], chance),
  invert: optionCall(vision.invert, 0, [], chance),
  gaussianBlur: optionCall(vision.gaussianBlur, 0, [], { sigma: either(positive, pair(positive)), kernelSize: count, p: share }),
  randomErasing: optionCall(vision.randomErasing, 0, [], {
    p: share,
    scale: pair(share),
    ratio: pair(positive),
    fill: either(choice('noise'), fill),
  }),
  cutout: optionCall(vision.cutout, 1, [['size', count]], { holes: count, fill, p: share }),
  randAugment: optionCall(vision.randAugment, 0, [], { ...warp, numOps: count, magnitude: notNegative, bins: count }),
  trivialAugment: optionCall(vision.trivialAugment, 0, [], { ...warp, bins: count }),
};

export const transform = named('transform', transformFunctions);
export const normalization = { mean: list(number, { min: 1 }), std: list(positive, { min: 1 }) };
