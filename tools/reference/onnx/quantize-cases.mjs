// Writes quantized and half-precision forms of the example networks, with the float model's results, for check_export.py (with a
// tolerance of its own): `node tools/reference/onnx/quantize-cases.mjs <folder> [filter]`.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { encodeTensorFile, exportOnnx, OnnxModel, quantizeOnnx, TensorValue, toFloat16 } from '@trireme/onnx';
import * as tr from 'trireme';
import { examples } from './example-networks.mjs';

const [folder, filter = ''] = process.argv.slice(2);
if (!folder) throw new Error('usage: node tools/reference/onnx/quantize-cases.mjs <folder> [filter]');

tr.manualSeed(7);
for (const { name, target, inputs, options } of examples()) {
  if (!name.includes(filter)) continue;
  const bytes = exportOnnx(target(), inputs(), options);
  const model = OnnxModel.fromBytes(bytes);
  const feed = () => {
    const args = inputs();
    return Object.fromEntries(model.inputs.map((port, i) => [port.name, /** @type {tr.Tensor} */ (args[i])]));
  };
  const first = feed();
  const outputs = model.runSync(first);
  const calibration = [first, feed(), feed()];
  /** @type {Record<string, () => Promise<Uint8Array>>} */
  const forms = {
    int8: () => quantizeOnnx(bytes, calibration),
    'int8-per-tensor': () => quantizeOnnx(bytes, calibration, { perChannel: false, calibration: 'percentile' }),
    float16: async () => toFloat16(bytes),
  };
  for (const [form, make] of Object.entries(forms)) {
    const home = join(folder, `${name}-${form}`);
    rmSync(home, { recursive: true, force: true });
    const data = join(home, 'test_data_set_0');
    mkdirSync(data, { recursive: true });
    const made = await make();
    writeFileSync(join(home, 'model.onnx'), made);
    console.log(`${name} ${form}: ${bytes.length} -> ${made.length} bytes`);
    Object.values(first).forEach((t, i) => {
      writeFileSync(join(data, `input_${i}.pb`), encodeTensorFile(TensorValue.ofTensor(t, /** @type {any} */ (t.dtype)), ''));
    });
    model.outputs.forEach((port, i) => {
      writeFileSync(join(data, `output_${i}.pb`), encodeTensorFile(outputs.value(port.name), ''));
    });
  }
  model.dispose();
}
