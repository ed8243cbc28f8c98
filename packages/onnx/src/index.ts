/** ONNX models in Trireme. */

export { decodeValue } from './engine/data.js';
export { type ElementType, elementInfo, elementTypes, type HostArray } from './engine/element-type.js';
export { DataDependentError, OnnxError, type UnsupportedOperator, UnsupportedOperatorError } from './engine/errors.js';
export { type Inference, type InferredValue, inferShapes } from './engine/infer.js';
export type { LoadOptions } from './engine/load.js';
export {
  type OnnxInput,
  type OnnxMetadata,
  OnnxModel,
  type OnnxModelOptions,
  type OnnxPort,
  type RunOptions,
} from './engine/onnx-model.js';
export { OnnxModule, type OnnxModuleOptions } from './engine/onnx-module.js';
export { OnnxOutputs } from './engine/outputs.js';
export { decodeTensor, encodeTensor } from './engine/transfer.js';
export { type MapValue, type OptionalValue, type SequenceValue, TensorValue, type Value as OnnxValue } from './engine/value.js';
export { type Unmapped, UnmappedError } from './export/emitter.js';
export { type ExportOptions, exportModel } from './export/export.js';
export type { Exportable } from './export/record.js';
export { exportOnnx, type SaveOptions, saveModel, saveOnnx } from './export/save.js';
export type { CalibrationBatch, CalibrationMethod } from './export/transform/calibrate.js';
export { type Float16Options, toFloat16 } from './export/transform/float16.js';
export { foldBatchNorm, foldConstants } from './export/transform/fold.js';
export { type QuantizeOptions, quantizeOnnx } from './export/transform/quantize.js';
export { encodeModel } from './model/encode.js';
export type * from './model/model.js';
export { decodeModel } from './model/protobuf.js';
export { encodeTensorFile } from './model/tensor-file.js';
export type { AttributeReader, OpContext, OpFunction, OpTable } from './ops/definition.js';
