/** Rotation, shear, perspective: pictures under a projective map of the plane. */
import { ArgumentError } from '../../errors.js';
import type { ItemRandom } from '../item-random.js';
import { fillOf } from './crop.js';
import type { ImageData8 } from './image.js';
import { type BoxLimits, moveAnnotations, type Sample, type Transform } from './sample.js';

/** [a, b, c, d, e, f, g, h]: (x, y) goes to ((a x + b y + c) / w, (d x + e y + f) / w) with w = g x + h y + 1. */
export type Projection = readonly [number, number, number, number, number, number, number, number];

export interface WarpOptions extends BoxLimits {
  readonly interpolation?: 'nearest' | 'bilinear';
  /** Value of places from outside the picture; 0 unless told otherwise. */
  readonly fill?: number | readonly number[];
  /** Class of such places in the mask; 0 unless told otherwise. */
  readonly maskFill?: number;
}

/** @throws ArgumentError when the map cannot be turned round. */
export function invertProjection(m: Projection): Projection {
  const [a, b, c, d, e, f, g, h] = m;
  const inverse = [e - f * h, c * h - b, b * f - c * e, f * g - d, a - c * g, c * d - a * f, d * h - e * g, b * g - a * h];
  const last = a * e - b * d;
  const determinant = a * inverse[0] + b * inverse[3] + c * inverse[6];
  if (Math.abs(determinant) < 1e-12 || last === 0) {
    throw new ArgumentError('the map has no inverse', { op: 'warp', received: m, expected: 'a map that keeps areas above 0' });
  }
  return inverse.map((value) => value / last) as unknown as Projection;
}

const project = (m: Projection, x: number, y: number): readonly [number, number] => {
  const w = m[6] * x + m[7] * y + 1;
  return [(m[0] * x + m[1] * y + m[2]) / w, (m[3] * x + m[4] * y + m[5]) / w];
};

/** The picture in which the pixel at (x, y) is what `inverse` finds in the source. Coordinates are those of pixel centres. */
export function warpImage(
  image: ImageData8,
  inverse: Projection,
  width: number,
  height: number,
  options: Pick<WarpOptions, 'interpolation' | 'fill'> = {},
): ImageData8 {
  const { interpolation = 'bilinear', fill = 0 } = options;
  const { channels } = image;
  const data = warp(image.data, image.width, image.height, channels, inverse, width, height, interpolation, fillOf(fill, channels));
  return { width, height, channels, data };
}

function warp(
  data: Uint8Array,
  fromWidth: number,
  fromHeight: number,
  channels: number,
  m: Projection,
  width: number,
  height: number,
  interpolation: 'nearest' | 'bilinear',
  fill: Uint8Array,
): Uint8Array {
  const out = new Uint8Array(width * height * channels);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const px = x + 0.5;
      const py = y + 0.5;
      const w = m[6] * px + m[7] * py + 1;
      const sx = (m[0] * px + m[1] * py + m[2]) / w;
      const sy = (m[3] * px + m[4] * py + m[5]) / w;
      const to = (y * width + x) * channels;
      if (!(w > 0 && sx >= 0 && sy >= 0 && sx < fromWidth && sy < fromHeight)) {
        for (let c = 0; c < channels; c++) out[to + c] = fill[c];
        continue;
      }
      if (interpolation === 'nearest') {
        const at = (Math.floor(sy) * fromWidth + Math.floor(sx)) * channels;
        for (let c = 0; c < channels; c++) out[to + c] = data[at + c];
        continue;
      }
      // Between the four nearest centres; at the borders the outermost ones repeat.
      const ux = sx - 0.5;
      const uy = sy - 0.5;
      const x0 = Math.floor(ux);
      const y0 = Math.floor(uy);
      const tx = ux - x0;
      const ty = uy - y0;
      const left = Math.max(0, x0) * channels;
      const right = Math.min(fromWidth - 1, x0 + 1) * channels;
      const upper = Math.max(0, y0) * fromWidth * channels;
      const lower = Math.min(fromHeight - 1, y0 + 1) * fromWidth * channels;
      for (let c = 0; c < channels; c++) {
        const top = data[upper + left + c] * (1 - tx) + data[upper + right + c] * tx;
        const bottom = data[lower + left + c] * (1 - tx) + data[lower + right + c] * tx;
        out[to + c] = Math.floor(top * (1 - ty) + bottom * ty + 0.5);
      }
    }
  }
  return out;
}

/** A sample under the map `forward` (from source to target), in a picture of width x height (that of the source unless told otherwise). */
export function warpSample(
  sample: Sample,
  forward: Projection,
  options: WarpOptions = {},
  width = sample.image.width,
  height = sample.image.height,
): Sample {
  const inverse = invertProjection(forward);
  const { image, mask } = sample;
  return {
    ...sample,
    image: warpImage(image, inverse, width, height, options),
    ...moveAnnotations(sample, width, height, (x, y) => project(forward, x, y), options),
    ...(mask
      ? { mask: warp(mask, image.width, image.height, 1, inverse, width, height, 'nearest', Uint8Array.of(options.maskFill ?? 0)) }
      : {}),
  };
}

export interface AffineParameters {
  /** Degrees, clockwise. */
  readonly angle?: number;
  /** Pixels. */
  readonly translate?: readonly [number, number];
  readonly scale?: number;
  /** Degrees along x and y. */
  readonly shear?: readonly [number, number];
  /** The fixed point; the middle of the picture unless told otherwise. */
  readonly center?: readonly [number, number];
}

/** Scale, shear, then rotation about the centre, then translation (torchvision's order and signs). */
export function affineProjection(width: number, height: number, parameters: AffineParameters): Projection {
  const { angle = 0, translate = [0, 0], scale = 1, shear = [0, 0], center = [width / 2, height / 2] } = parameters;
  const radians = Math.PI / 180;
  const rotation = angle * radians;
  const sx = shear[0] * radians;
  const sy = shear[1] * radians;
  // R(angle) * ShearY * ShearX * scale.
  const a = (Math.cos(rotation - sy) / Math.cos(sy)) * scale;
  const b = ((-Math.cos(rotation - sy) * Math.tan(sx)) / Math.cos(sy) - Math.sin(rotation)) * scale;
  const c = (Math.sin(rotation - sy) / Math.cos(sy)) * scale;
  const d = ((-Math.sin(rotation - sy) * Math.tan(sx)) / Math.cos(sy) + Math.cos(rotation)) * scale;
  const [cx, cy] = center;
  return [a, b, cx + translate[0] - a * cx - b * cy, c, d, cy + translate[1] - c * cx - d * cy, 0, 0];
}

const rangeOf = (value: number | readonly [number, number]): readonly [number, number] =>
  typeof value === 'number' ? [-value, value] : value;

export interface RotateOptions extends WarpOptions {
  /** The picture grows so that no corner is lost. */
  readonly expand?: boolean;
}

/** By a random angle of -degrees .. degrees (or a range), clockwise. */
export function rotate(degrees: number | readonly [number, number], options: RotateOptions = {}): Transform {
  const [low, high] = rangeOf(degrees);
  return (sample, random) => rotateSample(sample, random.uniform(low, high), options);
}

/** By exactly `angle` degrees, clockwise. */
export function rotateSample(sample: Sample, angle: number, options: RotateOptions = {}): Sample {
  const { width, height } = sample.image;
  const forward = affineProjection(width, height, { angle });
  if (!options.expand) return warpSample(sample, forward, options);
  const corners = [project(forward, 0, 0), project(forward, width, 0), project(forward, 0, height), project(forward, width, height)];
  const xs = corners.map(([x]) => x);
  const ys = corners.map(([, y]) => y);
  const round = (value: number): number => Math.ceil(value - 1e-6);
  const newWidth = round(Math.max(...xs) - Math.min(...xs));
  const newHeight = round(Math.max(...ys) - Math.min(...ys));
  const translate = [(newWidth - width) / 2, (newHeight - height) / 2] as const;
  return warpSample(sample, affineProjection(width, height, { angle, translate }), options, newWidth, newHeight);
}

export interface AffineOptions extends WarpOptions {
  /** Degrees: -x .. x, or a range. */
  readonly degrees?: number | readonly [number, number];
  /** Largest shift as share of width and height. */
  readonly translate?: readonly [number, number];
  readonly scale?: readonly [number, number];
  /** Degrees along x: -x .. x, or a range; along y with `shearY`. */
  readonly shear?: number | readonly [number, number];
  readonly shearY?: number | readonly [number, number];
}

/** A random affine map that keeps the middle. */
export function affine(options: AffineOptions = {}): Transform {
  const { degrees = 0, translate = [0, 0], scale = [1, 1], shear = 0, shearY = 0 } = options;
  return (sample, random) => {
    const { width, height } = sample.image;
    const draw = (range: readonly [number, number]): number => random.uniform(range[0], range[1]);
    const angle = draw(rangeOf(degrees));
    const shift = [Math.round(draw(rangeOf(translate[0] * width))), Math.round(draw(rangeOf(translate[1] * height)))] as const;
    const factor = draw(scale);
    const shears = [draw(rangeOf(shear)), draw(rangeOf(shearY))] as const;
    return warpSample(sample, affineProjection(width, height, { angle, translate: shift, scale: factor, shear: shears }), options);
  };
}

/** The map that takes four points to four others (x, y pairs in the same order). @throws ArgumentError for points on one line. */
export function projectionOf(from: readonly (readonly [number, number])[], to: readonly (readonly [number, number])[]): Projection {
  if (from.length !== 4 || to.length !== 4) {
    throw new ArgumentError(`${from.length} and ${to.length} points`, { op: 'projectionOf', expected: 'four points and four points' });
  }
  const rows: number[][] = [];
  for (let i = 0; i < 4; i++) {
    const [x, y] = from[i];
    const [u, v] = to[i];
    rows.push([x, y, 1, 0, 0, 0, -u * x, -u * y, u], [0, 0, 0, x, y, 1, -v * x, -v * y, v]);
  }
  // Gauss and Jordan, with the largest pivot.
  for (let column = 0; column < 8; column++) {
    let pivot = column;
    for (let r = column + 1; r < 8; r++) if (Math.abs(rows[r][column]) > Math.abs(rows[pivot][column])) pivot = r;
    if (Math.abs(rows[pivot][column]) < 1e-9) {
      throw new ArgumentError('the points lie on a line', { op: 'projectionOf', expected: 'four corners of a quadrilateral' });
    }
    [rows[column], rows[pivot]] = [rows[pivot], rows[column]];
    for (let r = 0; r < 8; r++) {
      if (r === column) continue;
      const factor = rows[r][column] / rows[column][column];
      for (let k = column; k < 9; k++) rows[r][k] -= factor * rows[column][k];
    }
  }
  return rows.map((row, i) => row[8] / row[i]) as unknown as Projection;
}

/** With probability p the corners move inwards by up to distortion / 2 of the sides. */
export function perspective(options: WarpOptions & { readonly distortion?: number; readonly p?: number } = {}): Transform {
  const { distortion = 0.5, p = 0.5 } = options;
  return (sample, random: ItemRandom) => {
    if (!random.chance(p)) return sample;
    const { width, height } = sample.image;
    const dx = (): number => random.uniform(0, (distortion * width) / 2);
    const dy = (): number => random.uniform(0, (distortion * height) / 2);
    const from = [
      [0, 0],
      [width, 0],
      [width, height],
      [0, height],
    ] as const;
    const to = [
      [dx(), dy()],
      [width - dx(), dy()],
      [width - dx(), height - dy()],
      [dx(), height - dy()],
    ] as const;
    return warpSample(sample, projectionOf(from, to), options);
  };
}
