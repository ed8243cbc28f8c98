/** Pooling, padding, cropping and resizing of Keras. */
import {
  amax,
  avgPool1d,
  avgPool2d,
  avgPool3d,
  FormatError,
  interpolate,
  maxPool1d,
  maxPool2d,
  maxPool3d,
  mean,
  pad,
  type Tensor,
} from 'trireme';
import type { Config } from '../formats/json.js';
import { channelsFirst, channelsLast, type Laid } from './laid.js';
import { type BuildContext, FunctionLayer, type KerasLayer, type LayerTable } from './layer.js';
import { paddingsOf } from './windows.js';

type Dimensions = 1 | 2 | 3;
const isFirst = (config: Config): boolean => config.string('data_format', 'channels_last') === 'channels_first';

function spatial(config: Config, run: (x: Tensor) => Tensor): KerasLayer {
  const first = isFirst(config);
  return new FunctionLayer(
    (input): Laid => (first ? { x: run(channelsLast(input)), moved: false } : { x: run(channelsFirst(input)), moved: true }),
  );
}

function pooling(n: Dimensions, kind: 'max' | 'average'): (context: BuildContext) => KerasLayer {
  return ({ config }) => {
    const kernel = config.integers('pool_size', n, 2);
    const stride = config.has('strides') ? config.integers('strides', n) : kernel;
    const padding = config.string('padding', 'valid');
    if ([...kernel, ...stride].some((v) => v < 1)) config.fail('has windows or strides below 1');
    const ones = kernel.map(() => 1);
    return spatial(config, (x) => {
      const around = paddingsOf(x, padding, kernel, stride, ones);
      if (kind === 'max') return [maxPool1d, maxPool2d, maxPool3d][n - 1](x, kernel, { stride, ...around }) as Tensor;
      return [avgPool1d, avgPool2d, avgPool3d][n - 1](x, kernel, { stride, ...around, countIncludePad: false });
    });
  };
}

function globalPooling(n: Dimensions, kind: 'max' | 'average'): (context: BuildContext) => KerasLayer {
  return ({ config }) => {
    const keep = config.boolean('keepdims', false);
    const first = isFirst(config);
    const axes = Array.from({ length: n }, (_, i) => i + 2);
    return new FunctionLayer((input): Laid => {
      const x = first ? channelsLast(input) : channelsFirst(input);
      const out = kind === 'max' ? amax(x, axes, keep) : mean(x, axes, keep);
      return { x: out, moved: keep && !first, mask: null };
    });
  };
}

/** Amounts of each dimension: a number for all, a number for each, or pairs. */
function pairs(config: Config, name: string, n: Dimensions, fallback: number): [number, number][] {
  const value = config.has(name) ? config.get(name) : fallback;
  const items = Array.isArray(value) && (n > 1 || value.length === 1) ? value : new Array<unknown>(n).fill(value);
  const out = items.map((item): unknown => (Array.isArray(item) ? item : [item, item]));
  const isPair = (item: unknown): item is [number, number] =>
    Array.isArray(item) && item.length === 2 && item.every((v) => Number.isSafeInteger(v) && v >= 0 && v < 2 ** 24);
  if (out.length !== n || !out.every(isPair)) config.fail(`.${name} is ${JSON.stringify(value)}`, 'numbers or pairs');
  return out as [number, number][];
}

const padding =
  (n: Dimensions) =>
  ({ config }: BuildContext): KerasLayer => {
    const amounts = pairs(config, 'padding', n, 1);
    return spatial(config, (x) => pad(x, amounts.toReversed().flat()));
  };
const cropping =
  (n: Dimensions) =>
  ({ config }: BuildContext): KerasLayer => {
    const amounts = pairs(config, 'cropping', n, 1);
    return spatial(config, (x) =>
      pad(
        x,
        amounts
          .toReversed()
          .flat()
          .map((v) => -v),
      ),
    );
  };

const upSampling =
  (n: Dimensions) =>
  ({ config }: BuildContext): KerasLayer => {
    const factors = config.integers('size', n, 2);
    const mode = config.string('interpolation', 'nearest');
    if (factors.some((f) => f < 1 || f > 1024) || !['nearest', 'bilinear'].includes(mode)) {
      config.fail(`upsamples by ${factors.join(' x ')} (${mode})`, 'nearest or bilinear');
    }
    return spatial(config, (x) =>
      interpolate(x, { size: factors.map((f, d) => f * x.shape[d + 2]), mode: mode === 'nearest' ? 'nearest' : 'bilinear' }),
    );
  };

const resizing = ({ config }: BuildContext): KerasLayer => {
  const size = [config.integer('height', 1, 65536), config.integer('width', 1, 65536)];
  const mode = config.string('interpolation', 'bilinear');
  if (
    config.boolean('crop_to_aspect_ratio', false) ||
    config.boolean('pad_to_aspect_ratio', false) ||
    !['nearest', 'bilinear'].includes(mode)
  ) {
    throw new FormatError(`${config.path} resizes by ${mode}`, { op: 'keras', expected: 'nearest or bilinear, to the full size' });
  }
  return spatial(config, (x) => interpolate(x, { size, mode: mode === 'nearest' ? 'nearest-exact' : 'bilinear' }));
};

export const poolLayers = {
  MaxPooling1D: pooling(1, 'max'),
  MaxPool1D: pooling(1, 'max'),
  MaxPooling2D: pooling(2, 'max'),
  MaxPool2D: pooling(2, 'max'),
  MaxPooling3D: pooling(3, 'max'),
  AveragePooling1D: pooling(1, 'average'),
  AvgPool1D: pooling(1, 'average'),
  AveragePooling2D: pooling(2, 'average'),
  AvgPool2D: pooling(2, 'average'),
  AveragePooling3D: pooling(3, 'average'),
  GlobalMaxPooling1D: globalPooling(1, 'max'),
  GlobalMaxPooling2D: globalPooling(2, 'max'),
  GlobalMaxPooling3D: globalPooling(3, 'max'),
  GlobalAveragePooling1D: globalPooling(1, 'average'),
  GlobalAveragePooling2D: globalPooling(2, 'average'),
  GlobalAveragePooling3D: globalPooling(3, 'average'),
  ZeroPadding1D: padding(1),
  ZeroPadding2D: padding(2),
  ZeroPadding3D: padding(3),
  Cropping1D: cropping(1),
  Cropping2D: cropping(2),
  Cropping3D: cropping(3),
  UpSampling1D: upSampling(1),
  UpSampling2D: upSampling(2),
  UpSampling3D: upSampling(3),
  Resizing: resizing,
} satisfies LayerTable;
