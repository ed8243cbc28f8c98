/** The layers that a configuration can name: all of `trireme/nn` that take one tensor and give one. */
import * as nn from 'trireme/nn';
import { build, type Catalog, type Entry, type Named, named, optionClass, plainClass } from '../config/named.js';
import {
  amounts,
  choice,
  count,
  either,
  flag,
  integer,
  lazy,
  list,
  notNegative,
  nullable,
  number,
  positive,
  type Schema,
  share,
  sizes,
} from '../config/schema.js';

const stride = { stride: sizes, padding: amounts };
const conv = {
  stride: sizes,
  padding: either(choice('same', 'valid'), amounts),
  paddingEnd: amounts,
  dilation: sizes,
  groups: count,
  paddingMode: choice('zeros', 'reflect', 'replicate', 'circular'),
  bias: flag,
} as const;
const transposed = { ...stride, outputPadding: amounts, dilation: sizes, groups: count, bias: flag };
const maxPool = { ...stride, paddingEnd: amounts, dilation: sizes, ceilMode: flag };
const avgPool = {
  ...stride,
  paddingEnd: amounts,
  dilation: sizes,
  ceilMode: flag,
  countIncludePad: flag,
  divisorOverride: nullable(count),
};
const lpPool = { stride: sizes, ceilMode: flag };
const running = { eps: positive, momentum: nullable(share), affine: flag, trackRunningStats: flag };
const unfold = { ...stride, dilation: sizes };
const resized = { size: nullable(sizes), scaleFactor: nullable(either(positive, list(positive, { min: 1 }))) };

const channels = [
  ['inChannels', count],
  ['outChannels', count],
  ['kernelSize', sizes],
] as const;
const kernel = [['kernelSize', sizes]] as const;
const lp = [['p', positive], ...kernel] as const;
const features = [['numFeatures', count]] as const;
const dim = [['dim', integer]] as const;
const padding = [['padding', amounts]] as const;
const probability = [['p', share]] as const;
const adaptive = [['outputSize', either(count, list(nullable(count), { min: 1 }))]] as const;
const lambda = [['lambda', notNegative]] as const;
const alpha = [['alpha', number]] as const;

type Layer = nn.Module;

/** One layer, or a list of layers one after the other. */
export const layerList: Schema<Named[]> = lazy('layers', 'a list of layers', () => list(layer, { min: 1 }));

const sequential: Entry<Layer> = {
  positional: [{ name: 'layers', schema: layerList, needed: true }],
  options: {},
  needed: [],
  make: ({ layers: inner }) => new nn.Sequential(...(inner as Named[]).map((one) => build(layers, one))),
};

export const layers: Catalog<Layer> = {
  Sequential: sequential,
  Linear: optionClass(
    nn.Linear,
    [
      ['inFeatures', count],
      ['outFeatures', count],
    ],
    { bias: flag },
  ),
  Identity: plainClass(nn.Identity, []),
  Flatten: plainClass(nn.Flatten, [
    ['startDim', integer],
    ['endDim', integer],
  ]),
  Unflatten: plainClass(nn.Unflatten, [
    ['dim', integer],
    ['shape', list(integer, { min: 1 })],
  ]),
  Embedding: optionClass(
    nn.Embedding,
    [
      ['numEmbeddings', count],
      ['embeddingDim', count],
    ],
    {
      paddingIdx: nullable(integer),
      maxNorm: nullable(positive),
      normType: positive,
      scaleGradByFreq: flag,
      sparse: flag,
    },
  ),

  Conv1d: optionClass(nn.Conv1d, channels, conv),
  Conv2d: optionClass(nn.Conv2d, channels, conv),
  Conv3d: optionClass(nn.Conv3d, channels, conv),
  ConvTranspose1d: optionClass(nn.ConvTranspose1d, channels, transposed) as unknown as Entry<Layer>,
  ConvTranspose2d: optionClass(nn.ConvTranspose2d, channels, transposed) as unknown as Entry<Layer>,
  ConvTranspose3d: optionClass(nn.ConvTranspose3d, channels, transposed) as unknown as Entry<Layer>,

  MaxPool1d: optionClass(nn.MaxPool1d, kernel, maxPool),
  MaxPool2d: optionClass(nn.MaxPool2d, kernel, maxPool),
  MaxPool3d: optionClass(nn.MaxPool3d, kernel, maxPool),
  AvgPool1d: optionClass(nn.AvgPool1d, kernel, avgPool),
  AvgPool2d: optionClass(nn.AvgPool2d, kernel, avgPool),
  AvgPool3d: optionClass(nn.AvgPool3d, kernel, avgPool),
  LPPool1d: optionClass(nn.LPPool1d, lp, lpPool),
  LPPool2d: optionClass(nn.LPPool2d, lp, lpPool),
  LPPool3d: optionClass(nn.LPPool3d, lp, lpPool),
  AdaptiveAvgPool1d: plainClass(nn.AdaptiveAvgPool1d, adaptive),
  AdaptiveAvgPool2d: plainClass(nn.AdaptiveAvgPool2d, adaptive),
  AdaptiveAvgPool3d: plainClass(nn.AdaptiveAvgPool3d, adaptive),
  AdaptiveMaxPool1d: plainClass(nn.AdaptiveMaxPool1d, adaptive),
  AdaptiveMaxPool2d: plainClass(nn.AdaptiveMaxPool2d, adaptive),
  AdaptiveMaxPool3d: plainClass(nn.AdaptiveMaxPool3d, adaptive),

  BatchNorm1d: optionClass(nn.BatchNorm1d, features, running),
  BatchNorm2d: optionClass(nn.BatchNorm2d, features, running),
  BatchNorm3d: optionClass(nn.BatchNorm3d, features, running),
  InstanceNorm1d: optionClass(nn.InstanceNorm1d, features, running),
  InstanceNorm2d: optionClass(nn.InstanceNorm2d, features, running),
  InstanceNorm3d: optionClass(nn.InstanceNorm3d, features, running),
  LayerNorm: optionClass(nn.LayerNorm, [['normalizedShape', sizes]], { eps: positive, elementwiseAffine: flag, bias: flag }),
  RMSNorm: optionClass(nn.RMSNorm, [['normalizedShape', sizes]], { eps: nullable(positive), elementwiseAffine: flag }),
  GroupNorm: optionClass(
    nn.GroupNorm,
    [
      ['numGroups', count],
      ['numChannels', count],
    ],
    { eps: positive, affine: flag },
  ),
  LocalResponseNorm: optionClass(nn.LocalResponseNorm, [['size', count]], { alpha: number, beta: number, k: number }),

  Dropout: plainClass(nn.Dropout, probability),
  Dropout1d: plainClass(nn.Dropout1d, probability),
  Dropout2d: plainClass(nn.Dropout2d, probability),
  Dropout3d: plainClass(nn.Dropout3d, probability),
  AlphaDropout: plainClass(nn.AlphaDropout, probability),
  FeatureAlphaDropout: plainClass(nn.FeatureAlphaDropout, probability),

  ReLU: plainClass(nn.ReLU, []),
  ReLU6: plainClass(nn.ReLU6, []),
  LeakyReLU: plainClass(nn.LeakyReLU, [['negativeSlope', number]]),
  PReLU: plainClass(nn.PReLU, [
    ['numParameters', count],
    ['initial', number],
  ]),
  RReLU: plainClass(nn.RReLU, [
    ['lower', number],
    ['upper', number],
  ]),
  GELU: optionClass(nn.GELU, [], { approximate: choice('none', 'tanh') }),
  SiLU: plainClass(nn.SiLU, []),
  Mish: plainClass(nn.Mish, []),
  ELU: plainClass(nn.ELU, alpha),
  CELU: plainClass(nn.CELU, alpha),
  SELU: plainClass(nn.SELU, []),
  GLU: plainClass(nn.GLU, dim),
  Softplus: optionClass(nn.Softplus, [], { beta: positive, threshold: number }),
  Softsign: plainClass(nn.Softsign, []),
  Softshrink: plainClass(nn.Softshrink, lambda),
  Hardshrink: plainClass(nn.Hardshrink, lambda),
  Tanhshrink: plainClass(nn.Tanhshrink, []),
  Sigmoid: plainClass(nn.Sigmoid, []),
  LogSigmoid: plainClass(nn.LogSigmoid, []),
  Tanh: plainClass(nn.Tanh, []),
  Hardtanh: plainClass(nn.Hardtanh, [
    ['minVal', number],
    ['maxVal', number],
  ]),
  Hardswish: plainClass(nn.Hardswish, []),
  Hardsigmoid: plainClass(nn.Hardsigmoid, []),
  Threshold: plainClass(nn.Threshold, [
    ['threshold', number],
    ['value', number],
  ]),
  Softmax: plainClass(nn.Softmax, dim),
  Softmin: plainClass(nn.Softmin, dim),
  LogSoftmax: plainClass(nn.LogSoftmax, dim),
  Softmax2d: plainClass(nn.Softmax2d, []),

  ZeroPad1d: plainClass(nn.ZeroPad1d, padding),
  ZeroPad2d: plainClass(nn.ZeroPad2d, padding),
  ZeroPad3d: plainClass(nn.ZeroPad3d, padding),
  ConstantPad1d: plainClass(nn.ConstantPad1d, [...padding, ['value', number]]),
  ConstantPad2d: plainClass(nn.ConstantPad2d, [...padding, ['value', number]]),
  ConstantPad3d: plainClass(nn.ConstantPad3d, [...padding, ['value', number]]),
  ReflectionPad1d: plainClass(nn.ReflectionPad1d, padding),
  ReflectionPad2d: plainClass(nn.ReflectionPad2d, padding),
  ReflectionPad3d: plainClass(nn.ReflectionPad3d, padding),
  ReplicationPad1d: plainClass(nn.ReplicationPad1d, padding),
  ReplicationPad2d: plainClass(nn.ReplicationPad2d, padding),
  ReplicationPad3d: plainClass(nn.ReplicationPad3d, padding),
  CircularPad1d: plainClass(nn.CircularPad1d, padding),
  CircularPad2d: plainClass(nn.CircularPad2d, padding),
  CircularPad3d: plainClass(nn.CircularPad3d, padding),

  PixelShuffle: plainClass(nn.PixelShuffle, [['upscaleFactor', count]]),
  PixelUnshuffle: plainClass(nn.PixelUnshuffle, [['downscaleFactor', count]]),
  ChannelShuffle: plainClass(nn.ChannelShuffle, [['groups', count]]),
  Upsample: optionClass(nn.Upsample, [], {
    ...resized,
    mode: choice('nearest', 'nearest-exact', 'linear', 'bilinear', 'bicubic', 'trilinear'),
    alignCorners: nullable(flag),
    recomputeScaleFactor: flag,
  }),
  UpsamplingNearest2d: optionClass(nn.UpsamplingNearest2d, [], resized),
  UpsamplingBilinear2d: optionClass(nn.UpsamplingBilinear2d, [], resized),
  Unfold: optionClass(nn.Unfold, kernel, unfold),
  Fold: optionClass(nn.Fold, [['outputSize', sizes], ...kernel], unfold),
};

function elsewhere(name: string): string | undefined {
  if (!Object.hasOwn(nn, name) || Object.hasOwn(layers, name)) return undefined;
  return `nn.${name} is not for a plain list of layers; make the network in a module: model: { script: net.js, export: makeNet }.`;
}

/** One layer. */
export const layer: Schema<Named> = named('layer', layers, elsewhere);
