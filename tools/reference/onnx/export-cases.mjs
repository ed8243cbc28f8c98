// Writes what the exporter makes of many modules, functions and example networks, with inputs and the library's own results, for
// check_export.py to run in ONNX Runtime: `node tools/reference/onnx/export-cases.mjs <folder> [filter] [opset]`.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { encodeTensorFile, exportOnnx, TensorValue } from '@trireme/onnx';
import * as tr from 'trireme';
import { cases } from './cases.mjs';

const [folder, filter = '', opset] = process.argv.slice(2);
if (!folder) throw new Error('usage: node tools/reference/onnx/export-cases.mjs <folder> [filter] [opset]');

/** @param {unknown} value @returns {tr.Tensor[]} */
function tensorsIn(value) {
  if (tr.isTensor(value)) return [value];
  if (Array.isArray(value)) return value.flatMap(tensorsIn);
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(tensorsIn) : [];
}

let failed = 0;
for (const { name, target, inputs, others = [], options } of cases(filter)) {
  const home = join(folder, name.replaceAll(/[^\w.-]+/g, '_'));
  rmSync(home, { recursive: true, force: true });
  mkdirSync(home, { recursive: true });
  try {
    const module = target();
    if (module instanceof tr.nn.Module) module.eval();
    const call = module instanceof tr.nn.Module ? (/** @type {any[]} */ ...args) => module.call(...args) : module;
    writeFileSync(join(home, 'model.onnx'), exportOnnx(module, inputs(), opset ? { ...options, opset: Number(opset) } : options));
    [inputs, ...others].forEach((make, k) => {
      const data = join(home, `test_data_set_${k}`);
      mkdirSync(data);
      const args = make();
      const outputs = tensorsIn(tr.noGrad(() => call(...args)));
      for (const [kind, list] of /** @type {const} */ ([
        ['input', tensorsIn(args)],
        ['output', outputs],
      ])) {
        list.forEach((t, i) => {
          writeFileSync(join(data, `${kind}_${i}.pb`), encodeTensorFile(TensorValue.ofTensor(t, t.dtype), ''));
        });
      }
    });
  } catch (error) {
    failed += 1;
    console.log(`${name}: ${error instanceof Error ? `${error.name}: ${error.message}` : error}`);
    if (process.env.STACK) console.log(error.stack);
  }
}
process.exitCode = failed === 0 ? 0 : 1;
