/** Static quantization: int8 weights and activations as QuantizeLinear and DequantizeLinear around the float operators. */
import { ArgumentError } from 'trireme';
import { decodeTensor, encodeTensor } from '../../engine/transfer.js';
import { encodeModel } from '../../model/encode.js';
import type { AttributeModel, ModelModel, NodeModel, TensorModel } from '../../model/model.js';
import { decodeModel } from '../../model/protobuf.js';
import { type CalibrationBatch, type CalibrationMethod, calibrate, type Range } from './calibrate.js';
import { foldBatchNorm, foldConstants, readCounts, withoutUnread } from './fold.js';

export interface QuantizeOptions {
  /** One scale for each output channel of the weights instead of one for all. Default true. */
  readonly perChannel?: boolean;
  /** Activations as int8 around 0, instead of uint8 with a zero point. Default false. */
  readonly symmetric?: boolean;
  /** Weights of 7 bits: older x86 processors saturate when they add products of 8 bits. Default false. */
  readonly reduceRange?: boolean;
  /** Operators to quantize. Default: Conv, ConvTranspose, Gemm, MatMul, Add, AveragePool and GlobalAveragePool. */
  readonly operators?: readonly string[];
  /** Names of nodes to leave as they are. */
  readonly exclude?: readonly string[];
  /** Default 'minMax'. */
  readonly calibration?: CalibrationMethod;
  /** Share of the values that keep their place with 'percentile'. Default 0.9999. */
  readonly percentile?: number;
}

const defaultOperators = ['Conv', 'ConvTranspose', 'Gemm', 'MatMul', 'Add', 'AveragePool', 'GlobalAveragePool'];
const weighted = new Set(['Conv', 'ConvTranspose', 'Gemm', 'MatMul']);
/** Limits that quantization itself can draw: nothing is quantized between them and the operator before. */
const limits = new Set(['Relu', 'Clip']);
/** What these give are elements of their input, so that it keeps its scale. */
const moving = new Set(['MaxPool', 'Reshape', 'Flatten', 'Squeeze', 'Unsqueeze', 'Transpose', 'Slice', 'Identity']);
/** DequantizeLinear has scales along an axis since then. */
const firstOpset = 13;

type QuantizedType = 'int8' | 'uint8' | 'int32';

interface Scale {
  readonly scale: number;
  readonly zeroPoint: number;
}

function scaleOf({ min, max }: Range, symmetric: boolean): Scale {
  // 0 is always exact: padding and what Relu cuts off.
  const [low, high] = [Math.min(0, min), Math.max(0, max)];
  if (symmetric) return { scale: Math.fround(Math.max(-low, high) / 127) || 1, zeroPoint: 0 };
  const scale = Math.fround((high - low) / 255) || 1;
  return { scale, zeroPoint: Math.min(255, Math.max(0, Math.round(-low / scale))) };
}

const intAttribute = (node: NodeModel, name: string): number => {
  const attribute = node.attributes.get(name);
  return attribute?.kind === 'int' ? Number(attribute.value) : 0;
};

/** The axis of a weight that counts output channels. */
function channelAxis(node: NodeModel, rank: number): number {
  switch (node.opType) {
    case 'Conv':
      return 0;
    case 'ConvTranspose':
      return 1;
    case 'Gemm':
      return intAttribute(node, 'transB') === 1 ? 0 : 1;
    default:
      return rank - 1;
  }
}

/** A product with factors other than 1 does not fit the scales of its bias. */
function isPlain(node: NodeModel): boolean {
  return ['alpha', 'beta'].every((name) => {
    const attribute = node.attributes.get(name);
    return attribute?.kind !== 'float' || attribute.value === 1;
  });
}

/** One model on its way. */
class Quantizer {
  private readonly options: QuantizeOptions;
  private readonly model: ModelModel;
  private readonly constants: Map<string, TensorModel>;
  private readonly counts: ReadonlyMap<string, number>;
  private readonly consumers = new Map<string, NodeModel[]>();
  private readonly chosen: readonly NodeModel[];
  /** Nodes that stand in front of the others: weights as float again. */
  private readonly front: NodeModel[] = [];
  private readonly weights = new Map<string, { readonly name: string; readonly scales: readonly number[] }>();

  constructor(model: ModelModel, options: QuantizeOptions) {
    this.model = model;
    this.options = options;
    this.constants = new Map(model.graph.initializers.map((t) => [t.name, t]));
    this.counts = readCounts(model.graph);
    for (const node of model.graph.nodes) {
      for (const name of node.inputs) this.consumers.set(name, [...(this.consumers.get(name) ?? []), node]);
    }
    const operators = new Set(options.operators ?? defaultOperators);
    const excluded = new Set(options.exclude ?? []);
    this.chosen = model.graph.nodes.filter(
      (node) => operators.has(node.opType) && node.domain === '' && !excluded.has(node.name) && isPlain(node),
    );
  }

  /** The value that leaves an operator and the limits right behind it. */
  private resultOf(node: NodeModel): string {
    const [name] = node.outputs;
    const [next] = this.consumers.get(name) ?? [];
    if (next !== undefined && limits.has(next.opType) && this.counts.get(name) === 1) return next.outputs[0];
    return name;
  }
  private dataInputs(node: NodeModel): string[] {
    const used = weighted.has(node.opType) ? node.inputs.slice(0, 2) : node.inputs;
    return used.filter((name) => name !== '' && !this.constants.has(name));
  }

  /** Values to be quantized, if they are floats. */
  candidates(): string[] {
    return [...new Set(this.chosen.flatMap((node) => [...this.dataInputs(node), this.resultOf(node)]))];
  }

  run(ranges: ReadonlyMap<string, Range>): ModelModel {
    const { graph } = this.model;
    const symmetric = this.options.symmetric ?? false;
    const scales = new Map([...ranges].map(([name, range]) => [name, scaleOf(range, symmetric)]));
    for (const {
      opType,
      inputs: [from],
      outputs: [to],
    } of graph.nodes) {
      const scale = moving.has(opType) && scales.has(to) ? scales.get(from) : undefined;
      if (scale !== undefined) scales.set(to, scale);
    }
    const chosen = new Set(this.chosen.filter((node) => this.dataInputs(node).every((name) => scales.has(name))));
    const inputs = new Set(graph.inputs.map(({ name }) => name));
    const type = symmetric ? 'int8' : 'uint8';
    const nodes: NodeModel[] = [];
    const renamed = new Map<string, string>();
    const pair = (float: string, name: string, { scale, zeroPoint }: Scale): void => {
      const parameters = [this.store(`${name}:scale`, 'float32', [], [scale]), this.store(`${name}:zero`, type, [], [zeroPoint])];
      nodes.push(linear('QuantizeLinear', [float, ...parameters], `${name}:quantized`));
      nodes.push(linear('DequantizeLinear', [`${name}:quantized`, ...parameters], name));
    };
    // Inputs keep their names, so what reads them reads another.
    for (const name of inputs) {
      const scale = scales.get(name);
      if (scale === undefined) continue;
      renamed.set(name, `${name}:rounded`);
      pair(name, `${name}:rounded`, scale);
    }
    const current = (name: string): string => renamed.get(name) ?? name;
    for (const node of graph.nodes) {
      const weightedInputs = chosen.has(node) && weighted.has(node.opType) ? this.withWeights(node, scales) : node.inputs;
      const made = node.outputs.map((name) => (scales.has(name) ? `${name}:float` : name));
      nodes.push({ ...node, inputs: weightedInputs.map(current), outputs: made });
      // Whatever reads a quantized value reads it rounded: a float beside it would keep it from staying int8.
      node.outputs.forEach((name, k) => {
        const scale = scales.get(name);
        if (scale !== undefined) pair(made[k], name, scale);
      });
    }
    const result = { ...graph, nodes: [...this.front, ...nodes], initializers: [...this.constants.values()], valueInfo: [] };
    return { ...this.model, graph: withoutUnread(result) };
  }

  private store(name: string, type: 'float32' | QuantizedType, dims: readonly number[], values: readonly number[]): string {
    const arrays = { float32: Float32Array, int8: Int8Array, uint8: Uint8Array, int32: Int32Array };
    this.constants.set(name, encodeTensor(arrays[type].from(values), type, dims, name));
    return name;
  }

  /** The inputs of a product with its weight and bias from integers. */
  private withWeights(node: NodeModel, scales: ReadonlyMap<string, Scale>): string[] {
    const [x, w, bias] = node.inputs;
    const weight = this.weight(node, w);
    if (weight === null) return [...node.inputs];
    const input = scales.get(x);
    const wide =
      bias && input !== undefined
        ? this.bias(
            node,
            bias,
            weight.scales.map((s) => Math.fround(s * input.scale)),
          )
        : bias;
    return [x, weight.name, ...(wide ? [wide] : [])];
  }

  private weight(node: NodeModel, name: string): { readonly name: string; readonly scales: readonly number[] } | null {
    const tensor = this.constants.get(name);
    if (tensor?.type !== 'float32') return null;
    const rank = tensor.dims.length;
    // Groups of a transposed convolution share the axis of their outputs.
    const grouped = node.opType === 'ConvTranspose' && intAttribute(node, 'group') > 1;
    const axis = (this.options.perChannel ?? true) && rank > 1 && !grouped ? channelAxis(node, rank) : null;
    const key = `${name}|${axis}`;
    const known = this.weights.get(key);
    if (known !== undefined) return known;
    const values = decodeTensor(tensor) as Float32Array;
    const largest = this.options.reduceRange ? 63 : 127;
    const channels = axis === null ? 1 : tensor.dims[axis];
    const inner = axis === null ? values.length : tensor.dims.slice(axis + 1).reduce((n, d) => n * d, 1);
    const channelOf = (i: number): number => (axis === null ? 0 : Math.floor(i / inner) % channels);
    const sizes = new Float64Array(channels);
    values.forEach((v, i) => {
      const c = channelOf(i);
      sizes[c] = Math.max(sizes[c], Math.abs(v));
    });
    const scales = Array.from(sizes, (size) => Math.fround(size / largest) || 1);
    const rounded = Array.from(values, (v, i) => Math.min(largest, Math.max(-largest, Math.round(v / scales[channelOf(i)]))));
    const shape = axis === null ? [] : [channels];
    const label = axis === null ? name : `${name}:${axis}`;
    const made = {
      name: `${label}:rounded`,
      scales,
    };
    const inputs = [
      this.store(`${label}:quantized`, 'int8', tensor.dims, rounded),
      this.store(`${label}:scale`, 'float32', shape, scales),
      this.store(`${label}:zero`, 'int8', shape, new Array<number>(scales.length).fill(0)),
    ];
    this.front.push(linear('DequantizeLinear', inputs, made.name, axis ?? undefined));
    this.weights.set(key, made);
    return made;
  }

  /** In the scale of the products: int32, added before anything is rounded. */
  private bias(node: NodeModel, name: string, scales: readonly number[]): string {
    const tensor = this.constants.get(name);
    if (tensor?.type !== 'float32' || tensor.dims.length !== 1) return name;
    const values = decodeTensor(tensor) as Float32Array;
    const scale = (i: number): number => scales[scales.length === 1 ? 0 : i];
    const rounded = Array.from(values, (v, i) => Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, Math.round(v / scale(i)))));
    const perChannel = scales.length > 1;
    const label = `${name}@${node.name}`;
    const shape = perChannel ? [scales.length] : [];
    const inputs = [
      this.store(`${label}:quantized`, 'int32', tensor.dims, rounded),
      this.store(`${label}:scale`, 'float32', shape, scales),
      this.store(
        `${label}:zero`,
        'int32',
        shape,
        scales.map(() => 0),
      ),
    ];
    this.front.push(linear('DequantizeLinear', inputs, `${label}:rounded`, perChannel ? 0 : undefined));
    return `${label}:rounded`;
  }
}

function linear(opType: 'QuantizeLinear' | 'DequantizeLinear', inputs: readonly string[], output: string, axis?: number): NodeModel {
  const attributes = new Map<string, AttributeModel>(axis === undefined ? [] : [['axis', { kind: 'int', value: BigInt(axis) }]]);
  return { name: `${output}/${opType}`, opType, domain: '', overload: '', inputs, outputs: [output], attributes };
}

/**
 * The model with int8 weights and activations, in the form (QDQ) that runtimes turn into integer operators: ranges of the
 * activations are taken from runs on typical inputs. BatchNormalization becomes part of the convolution before it.
 * Bytes give bytes, a model in memory gives one.
 * @throws ArgumentError without calibration batches, or for opsets below 13
 */
export async function quantizeOnnx<M extends ModelModel | Uint8Array>(
  model: M,
  calibration: readonly CalibrationBatch[],
  options: QuantizeOptions = {},
): Promise<M> {
  const source: ModelModel = model instanceof Uint8Array ? decodeModel(model) : model;
  const opset = source.opsetImports.get('') ?? 0;
  if (opset < firstOpset) {
    throw new ArgumentError(`a model of opset ${opset}`, { op: 'quantizeOnnx', received: opset, expected: `opset ${firstOpset} or newer` });
  }
  const folded = foldBatchNorm(foldConstants(source));
  const quantizer = new Quantizer(folded, options);
  const ranges = await calibrate(
    folded,
    quantizer.candidates(),
    calibration,
    options.calibration ?? 'minMax',
    options.percentile ?? 0.9999,
  );
  const result = quantizer.run(ranges);
  return (model instanceof Uint8Array ? encodeModel(result) : result) as M;
}
