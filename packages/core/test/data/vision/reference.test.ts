/** Against Pillow and torchvision (tools/reference/families/vision.py). */
import { describe, expect, it } from 'vitest';
import { ItemRandom } from '../../../src/data/index.js';
import type { ImageData8, Interpolation, PadMode, Sample } from '../../../src/data/vision/index.js';
import * as vision from '../../../src/data/vision/index.js';
import reference from '../../reference/vision.json' with { type: 'json' };

const { width, height } = reference;
const rgb: ImageData8 = { width, height, channels: 3, data: Uint8Array.from(reference.rgb) };
const gray: ImageData8 = { width, height, channels: 1, data: Uint8Array.from(reference.gray) };

interface Arguments {
  readonly width?: number;
  readonly height?: number;
  readonly interpolation?: string;
  readonly antialias?: boolean;
  readonly factor?: number;
  readonly kernelSize?: number;
  readonly sides?: number[];
  readonly mode?: string;
  readonly fill?: number;
  readonly parameters?: vision.AffineParameters;
  readonly boxes?: number[];
  readonly moved?: number[];
  readonly from?: [number, number][];
  readonly to?: [number, number][];
}

const adjustments: Readonly<Record<string, (image: ImageData8, factor: number) => ImageData8>> = {
  adjustBrightness: vision.adjustBrightness,
  adjustContrast: vision.adjustContrast,
  adjustSaturation: vision.adjustSaturation,
  adjustSharpness: vision.adjustSharpness,
  adjustHue: vision.adjustHue,
  autoContrastImage: vision.autoContrastImage,
  equalizeImage: vision.equalizeImage,
  invertColors: vision.invertColors,
  grayscaleImage: vision.grayscaleImage,
  posterizeImage: vision.posterizeImage,
  solarizeImage: vision.solarizeImage,
};

function run(op: string, image: ImageData8, args: Arguments): ImageData8 {
  const { width: w = 0, height: h = 0, factor = 0, fill = 0 } = args;
  if (op === 'resize') {
    return vision.resizeImage(image, w, h, { interpolation: args.interpolation as Interpolation, antialias: args.antialias });
  }
  if (op === 'gaussianBlurImage') return vision.gaussianBlurImage(image, factor, args.kernelSize);
  if (op === 'pad') {
    const [left, top, right, bottom] = args.sides ?? [];
    return vision.padImage(image, { left, top, right, bottom }, { mode: args.mode as PadMode, fill });
  }
  if (op === 'centerCrop') return vision.centerCrop([h, w])({ image }, new ItemRandom(0)).image;
  if (op === 'affine') {
    return vision.warpSample({ image }, vision.affineProjection(width, height, args.parameters ?? {}), { fill: 50 }).image;
  }
  if (op === 'perspective') return vision.warpSample({ image }, vision.projectionOf(args.from ?? [], args.to ?? []), { fill: 50 }).image;
  return adjustments[op](image, factor);
}

describe('images as Pillow and torchvision make them', () => {
  it.each(reference.cases)('$op $args', ({ op, source, args, shape, tolerance, output }) => {
    const result = run(op, source === 'gray' ? gray : rgb, args as Arguments);
    expect([result.height, result.width]).toEqual(shape);
    expect(result.data.length).toBe(output.length);
    const worst = result.data.reduce((most, value, i) => Math.max(most, Math.abs(value - output[i])), 0);
    expect(worst).toBeLessThanOrEqual(tolerance);
  });

  it('moves boxes with the picture', () => {
    for (const { op, args } of reference.cases as { op: string; args: Arguments }[]) {
      if (op !== 'affine') continue;
      const sample: Sample = { image: rgb, boxes: Float32Array.from(args.boxes ?? []) };
      const forward = vision.affineProjection(width, height, args.parameters ?? {});
      const [a, b, c, d, e, f] = forward;
      const far = vision.moveAnnotations(sample, 1e4, 1e4, (x, y) => [a * x + b * y + c + 100, d * x + e * y + f + 100], {
        minVisible: 0,
        minSize: 0,
      });
      far.boxes?.forEach((value, i) => expect(value - 100).toBeCloseTo(args.moved?.[i] ?? Number.NaN, 3));
      expect(far.boxes?.length).toBe(args.boxes?.length);
    }
  });

  it('normalizes', () => {
    const { mean, std, output } = reference.toTensor;
    const { data, shape } = vision.toTensor(rgb, { mean, std });
    expect(shape).toEqual([3, height, width]);
    data.forEach((value, i) => expect(value).toBeCloseTo(output[i], 5));
    expect(vision.fromTensor(data, shape, { mean, std })).toEqual(rgb);
    expect(vision.stackImages([rgb, rgb], vision.imageNetStatistics).data.slice(data.length)).toEqual(data);
  });
});
