/** ONNX models by @trireme/onnx. */
import { readFileSync } from 'node:fs';
import { OnnxModel } from '@trireme/onnx';
import { tensor } from 'trireme';
import { ONNX, onnxMissing, onnxValues, summary } from '../../workloads.mjs';
import { Refused } from '../serve.mjs';

/** @returns {import('../serve.mjs').Prepared} */
export function onnx(/** @type {string} */ name) {
  const missing = onnxMissing(name);
  if (missing !== null) throw new Refused(missing);
  const { file, inputs, output } = ONNX[name];
  const model = OnnxModel.fromBytes(readFileSync(file));
  const given = Object.fromEntries(
    inputs.map((input) => [
      input.name,
      input.integer === undefined
        ? tensor(onnxValues(input), { shape: input.shape })
        : tensor(BigInt(input.integer), { shape: input.shape, dtype: 'int64' }),
    ]),
  );
  /** @type {Float32Array} */
  let values = new Float32Array();
  return {
    call: () => {
      const outputs = model.runSync(given);
      values = /** @type {Float32Array} */ (outputs.data(output));
      outputs.dispose();
      return undefined;
    },
    probe: () => summary(values),
  };
}
