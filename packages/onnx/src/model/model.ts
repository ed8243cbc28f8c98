/** An ONNX model in memory: what the messages of onnx.proto hold, with plain types and tensors not yet decoded. */
import type { ElementType } from '../engine/element-type.js';

/** Where a tensor's bytes lie outside of the model's file. */
export interface ExternalData {
  /** Path relative to the model's folder. */
  readonly location: string;
  /** In bytes. */
  readonly offset: number;
  /** In bytes; undefined: as many as the tensor takes. */
  readonly length: number | undefined;
}

/** Values of a TensorProto in the form they are stored in; transfer.ts decodes them. */
export type TensorContent =
  /** Little-endian, row-major; 4- and 2-bit elements packed, the first in the lowest bits. */
  | { readonly kind: 'raw'; readonly bytes: Uint8Array }
  /** The typed fields: float_data, int32_data (also small integers and the bits of small floats), int64_data, double_data, uint64_data. */
  | { readonly kind: 'values'; readonly values: Float32Array | Int32Array | BigInt64Array | Float64Array | BigUint64Array }
  | { readonly kind: 'strings'; readonly values: readonly string[] }
  | { readonly kind: 'external'; readonly external: ExternalData };

export interface TensorModel {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
  readonly content: TensorContent;
  readonly docString?: string;
}

export interface SparseTensorModel {
  /** The values that are not 0, one-dimensional; its name is the tensor's. */
  readonly values: TensorModel;
  /** int64, [n] (positions in the flattened tensor) or [n, rank], ascending. */
  readonly indices: TensorModel;
  readonly dims: readonly number[];
}

/** A number, a name that stands for one (`batch`), or nothing known. */
export type Dimension = number | string | null;

export type TypeModel =
  | { readonly kind: 'tensor' | 'sparse'; readonly element: ElementType | undefined; readonly shape: readonly Dimension[] | null }
  | { readonly kind: 'sequence'; readonly of: TypeModel | null }
  | { readonly kind: 'optional'; readonly of: TypeModel | null }
  | { readonly kind: 'map'; readonly key: ElementType | undefined; readonly value: TypeModel | null };

/** Name and type of an input, an output or a value in between. */
export interface ValueInfo {
  readonly name: string;
  readonly type: TypeModel | null;
  readonly docString?: string;
}

export type AttributeModel =
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'int'; readonly value: bigint }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'tensor'; readonly value: TensorModel }
  | { readonly kind: 'graph'; readonly value: GraphModel }
  | { readonly kind: 'sparse'; readonly value: SparseTensorModel }
  | { readonly kind: 'type'; readonly value: TypeModel }
  | { readonly kind: 'floats'; readonly value: readonly number[] }
  | { readonly kind: 'ints'; readonly value: readonly bigint[] }
  | { readonly kind: 'strings'; readonly value: readonly string[] }
  | { readonly kind: 'tensors'; readonly value: readonly TensorModel[] }
  | { readonly kind: 'graphs'; readonly value: readonly GraphModel[] }
  | { readonly kind: 'sparses'; readonly value: readonly SparseTensorModel[] }
  | { readonly kind: 'types'; readonly value: readonly TypeModel[] }
  /** In the body of a function: the attribute of this name of the node that calls it. */
  | { readonly kind: 'reference'; readonly value: string; readonly code: number };

export interface NodeModel {
  /** '' when the node has none. */
  readonly name: string;
  readonly opType: string;
  /** '' is ai.onnx. */
  readonly domain: string;
  /** Chooses among functions of one name. */
  readonly overload: string;
  /** '' stands for an optional input left out. */
  readonly inputs: readonly string[];
  /** '' stands for an output nobody wants. */
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, AttributeModel>;
  readonly docString?: string;
}

export interface GraphModel {
  readonly name: string;
  readonly nodes: readonly NodeModel[];
  readonly initializers: readonly TensorModel[];
  readonly sparseInitializers: readonly SparseTensorModel[];
  /** In old models the initializers are among them. */
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  readonly valueInfo: readonly ValueInfo[];
  readonly docString?: string;
}

export interface FunctionModel {
  readonly name: string;
  readonly domain: string;
  readonly overload: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Attributes that a call must give. */
  readonly attributes: readonly string[];
  /** Attributes with a value for calls that do not give them. */
  readonly attributeDefaults: ReadonlyMap<string, AttributeModel>;
  readonly nodes: readonly NodeModel[];
  readonly opsetImports: ReadonlyMap<string, number>;
  readonly docString?: string;
}

export interface TrainingInfoModel {
  readonly initialization: GraphModel | null;
  readonly algorithm: GraphModel | null;
  /** From the names of outputs to the initializers that take their values. */
  readonly initializationBinding: ReadonlyMap<string, string>;
  readonly updateBinding: ReadonlyMap<string, string>;
}

export interface ModelModel {
  readonly irVersion: number;
  readonly producerName: string;
  readonly producerVersion: string;
  readonly domain: string;
  readonly modelVersion: bigint;
  readonly docString: string;
  /** Version of each domain; '' is ai.onnx. */
  readonly opsetImports: ReadonlyMap<string, number>;
  readonly graph: GraphModel;
  readonly functions: readonly FunctionModel[];
  readonly trainingInfo: readonly TrainingInfoModel[];
  readonly metadata: ReadonlyMap<string, string>;
}

/** The name of a domain in one spelling: `ai.onnx` is ''. */
export function normalDomain(domain: string): string {
  return domain === 'ai.onnx' ? '' : domain;
}
