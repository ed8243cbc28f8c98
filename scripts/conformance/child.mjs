// Runs the tests that its parent sends, one after the other.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { decodeValue, OnnxModel, TensorValue } from '@trireme/onnx';
import { difference } from './compare.mjs';

/** Of the latest model. */
let opset = 0;

/** @param {string} folder @param {string} kind @param {number} k */
const file = (folder, kind, k) => join(folder, `${kind}_${k}.pb`);

/**
 * A value of a test. numpy has no bfloat16: older tests hold its bits as uint16.
 * @param {string} path
 * @param {import('@trireme/onnx').OnnxPort} port
 * @returns {import('@trireme/onnx').OnnxValue}
 */
function read(path, { kind, type }) {
  const value = decodeValue(readFileSync(path), kind);
  if (type !== 'bfloat16' || value.kind !== 'tensor' || !(value.host instanceof Uint16Array)) return value;
  const bits = Uint32Array.from(value.host, (x) => x * 65536);
  return TensorValue.ofHost(new Float32Array(bits.buffer), 'bfloat16', value.shape);
}

/**
 * The first difference between what a model gives and what it should, null if there is none.
 * @param {import('./tests.mjs').Test} test
 * @returns {Promise<{ status: 'passed' | 'failed' | 'skipped', reason: string }>}
 */
async function run({ folder, rtol, atol }) {
  const sets = readdirSync(folder).filter((name) => name.startsWith('test_data_set_'));
  if (sets.length === 0) return { status: 'skipped', reason: 'there is no test_data_set' };
  const model = await OnnxModel.load(join(folder, 'model.onnx'), { checkShapes: false });
  opset = model.metadata.opsets.get('') ?? 0;
  try {
    for (const set of sets) {
      const data = join(folder, set);
      /** @type {Record<string, import('@trireme/onnx').OnnxValue>} */
      const inputs = {};
      model.inputs.forEach((port, k) => {
        if (existsSync(file(data, 'input', k))) inputs[port.name] = read(file(data, 'input', k), port);
      });
      const outputs = await model.run(inputs);
      const expected = readdirSync(data).filter((name) => /^output_\d+\.pb$/.test(name)).length;
      if (expected !== model.outputs.length) return { status: 'failed', reason: `${model.outputs.length} outputs, expected ${expected}` };
      for (const [k, port] of model.outputs.entries()) {
        const found = difference(outputs.get(port.name), read(file(data, 'output', k), port), { rtol, atol });
        if (found !== null) return { status: 'failed', reason: `${set}, output '${port.name}': ${found}` };
      }
      outputs.dispose();
    }
  } finally {
    model.dispose();
  }
  return { status: 'passed', reason: '' };
}

process.on('message', async (/** @type {import('./tests.mjs').Test} */ test) => {
  /** @type {Awaited<ReturnType<typeof run>>} */
  let outcome;
  try {
    outcome = await run(test);
  } catch (error) {
    outcome = { status: 'failed', reason: error instanceof Error ? `${error.name}: ${error.message}` : String(error) };
    if (process.env.CONFORMANCE_STACKS && error instanceof Error) outcome.reason += `\n${error.stack}`;
  }
  process.send?.({ ...outcome, reason: outcome.reason.slice(0, 4000), opset });
});
