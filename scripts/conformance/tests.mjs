// Finding tests, and how exactly their results have to agree.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join, relative } from 'node:path';

/** @typedef {{ readonly name: string, readonly folder: string, readonly rtol: number, readonly atol: number }} Test */

/** Of onnx.backend.test for all tests that say nothing else. */
const defaults = { rtol: 1e-3, atol: 1e-7 };

/**
 * Tests for which onnx gives its own backend other tolerances (`test_kwargs` in onnx/test/test_backend_reference.py): sums of Fourier
 * transforms come in another order, and the expanded Celu rounds at every step.
 * @type {readonly { readonly name: RegExp, readonly rtol?: number, readonly atol: number }[]}
 */
const exceptions = [
  { name: /^test_dft(_axis|_inverse)?(_opset19)?$/, atol: 1e-6 },
  { name: /^test_celu_bfloat16_expanded$/, rtol: 1e-2, atol: 1e-2 },
];

/**
 * Of a test that has its own: from the list, or from the data.json that onnx writes for large models.
 * @param {string} name
 * @param {string} path of the data.json
 * @returns {{ rtol?: number, atol?: number }}
 */
function tolerance(name, path) {
  const { name: _, ...listed } = exceptions.find((exception) => exception.name.test(name)) ?? {};
  if (!existsSync(path)) return listed;
  const { rtol, atol } = JSON.parse(readFileSync(path, 'utf8'));
  return { ...(typeof rtol === 'number' && { rtol }), ...(typeof atol === 'number' && { atol }) };
}

/**
 * Every folder below this one that holds a model and data for it, sorted by name.
 * @param {string} folder
 * @returns {Test[]}
 */
export function findTests(folder) {
  /** @type {Test[]} */
  const tests = [];
  const walk = (/** @type {string} */ at) => {
    const entries = readdirSync(at, { withFileTypes: true });
    if (entries.some((entry) => entry.name === 'model.onnx')) {
      const name = relative(folder, at).replaceAll('\\', '/') || basename(at);
      tests.push({ name, folder: at, ...defaults, ...tolerance(basename(at), join(at, 'data.json')) });
      return;
    }
    for (const entry of entries) {
      const path = join(at, entry.name);
      if (entry.isDirectory() || (entry.isSymbolicLink() && statSync(path).isDirectory())) walk(path);
    }
  };
  walk(folder);
  return tests.sort((a, b) => (a.name < b.name ? -1 : 1));
}
