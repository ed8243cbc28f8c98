/** The colour of an operator. */
import type { Category } from './page.js';

const groups: Readonly<Record<Exclude<Category, 'io' | 'math'>, string>> = {
  linear:
    'Conv ConvTranspose ConvInteger QLinearConv FusedConv DeformConv MatMul MatMulInteger QLinearMatMul FusedMatMul MatMulNBits Gemm FusedGemm Einsum LSTM GRU RNN Attention MultiHeadAttention GroupQueryAttention LinearAttention CausalConvWithState TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor LinearClassifier LinearRegressor SVMClassifier SVMRegressor',
  activation:
    'Relu LeakyRelu PRelu Elu Selu Celu Gelu FastGelu QuickGelu BiasGelu Sigmoid HardSigmoid HardSwish Swish SwiGLU Mish Tanh Softmax LogSoftmax Hardmax Softplus Softsign ThresholdedRelu Shrink Clip',
  norm: 'BatchNormalization InstanceNormalization LayerNormalization GroupNormalization RMSNormalization LRN LpNormalization MeanVarianceNormalization SimplifiedLayerNormalization SkipLayerNormalization SkipSimplifiedLayerNormalization EmbedLayerNormalization Dropout',
  pool: 'MaxPool AveragePool GlobalAveragePool GlobalMaxPool GlobalLpPool LpPool MaxUnpool MaxRoiPool RoiAlign Resize Upsample GridSample',
  shape:
    'Reshape Flatten Squeeze Unsqueeze Transpose Expand Tile Concat Split Slice Pad Gather GatherElements GatherND Scatter ScatterElements ScatterND TensorScatter Shape Size Cast CastLike BitCast Identity Constant ConstantOfShape Range OneHot NonZero Compress DepthToSpace SpaceToDepth CenterCropPad ReverseSequence EyeLike Trilu Unique TopK Where QuantizeLinear DequantizeLinear DynamicQuantizeLinear',
  control:
    'If Loop Scan SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SequenceMap SplitToSequence ConcatFromSequence Optional OptionalGetElement OptionalHasElement',
};

const categories = new Map<string, Category>(
  Object.entries(groups).flatMap(([category, names]) => names.split(' ').map((name) => [name, category as Category] as const)),
);

/** 'math' for operators of no other group. */
export function categoryOf(operator: string): Category {
  return categories.get(operator) ?? 'math';
}
