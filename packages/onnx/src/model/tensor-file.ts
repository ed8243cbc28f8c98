/** Files with one tensor (TensorProto), as the test data of the ONNX project has them. */
import { elementInfo } from '../engine/element-type.js';
import { encodeTensor } from '../engine/transfer.js';
import type { TensorValue } from '../engine/value.js';
import { field } from './fields.js';
import { WireWriter } from './wire.js';

/** The bytes of such a file. Reads the value, if it is on the device. */
export function encodeTensorFile(value: TensorValue, name: string): Uint8Array {
  const { content } = encodeTensor(value.host, value.type, value.shape);
  const f = field.tensor;
  const writer = new WireWriter();
  writer.ints(f.dims, value.shape);
  writer.int(f.dataType, elementInfo[value.type].code);
  if (content.kind === 'strings') for (const text of content.values) writer.string(f.stringData, text);
  if (content.kind === 'raw') writer.bytes(f.rawData, content.bytes);
  writer.optionalString(f.name, name);
  return writer.finish();
}
