export * from './auto-augment.js';
export * from './color.js';
export {
  centerCrop,
  cropImage,
  cropSample,
  type FlipOptions,
  horizontalFlip,
  type PadMode,
  type PadOptions,
  pad,
  padImage,
  type RandomResizedCropOptions,
  randomCrop,
  randomResizedCrop,
  type Sides,
  verticalFlip,
} from './crop.js';
export * from './draw.js';
export * from './erase.js';
export * from './filter.js';
export * from './image.js';
export * from './image-size.js';
export * from './letterbox.js';
export * from './mix.js';
export * from './png.js';
export * from './resize.js';
export * from './sample.js';
export * from './tensor.js';
export * from './warp.js';
