// Whether two values agree, by the rules of onnx.backend.test: equal types and shapes, |a - e| <= atol + rtol * |e|, NaN equal to NaN.

/** @typedef {import('@trireme/onnx').OnnxValue} Value */
/** @typedef {{ readonly rtol: number, readonly atol: number }} Tolerance */

/**
 * A sentence about the first difference, null if there is none.
 * @param {Value} actual
 * @param {Value} expected
 * @param {Tolerance} tolerance
 * @returns {string | null}
 */
export function difference(actual, expected, tolerance) {
  if (expected.kind === 'optional') {
    // A test may hold an optional's content for it.
    const inner = actual.kind === 'optional' ? actual.value : actual;
    if (expected.value === null || inner === null) return expected.value === inner ? null : 'one optional is empty and the other is not';
    return difference(inner, expected.value, tolerance);
  }
  if (actual.kind === 'optional' && actual.value !== null) return difference(actual.value, expected, tolerance);
  if (actual.kind === 'map' && expected.kind === 'map') {
    if (actual.entries.size !== expected.entries.size) return `${actual.entries.size} entries, expected ${expected.entries.size}`;
    for (const [key, value] of expected.entries) {
      const got = actual.entries.get(key);
      if (got === undefined || !isClose(got, value, tolerance)) return `entry ${key} is ${got}, expected ${value}`;
    }
    return null;
  }
  if (actual.kind === 'sequence' && expected.kind === 'sequence') {
    if (actual.items.length !== expected.items.length) return `${actual.items.length} items, expected ${expected.items.length}`;
    for (const [i, item] of expected.items.entries()) {
      const found = difference(actual.items[i], item, tolerance);
      if (found !== null) return `item ${i}: ${found}`;
    }
    return null;
  }
  if (actual.kind !== 'tensor' || expected.kind !== 'tensor') return `a ${actual.kind}, expected a ${expected.kind}`;
  if (actual.type !== expected.type) return `of ${actual.type}, expected ${expected.type}`;
  const shape = `[${actual.shape.join(', ')}]`;
  if (shape !== `[${expected.shape.join(', ')}]`) return `shape ${shape}, expected [${expected.shape.join(', ')}]`;
  const [a, e] = [actual.host, expected.host];
  if (a.length !== e.length) return `${a.length} elements, expected ${e.length}`;
  let wrong = 0;
  let first = -1;
  for (let i = 0; i < e.length; i++) {
    if (equal(a[i], e[i], tolerance)) continue;
    wrong++;
    if (first < 0) first = i;
  }
  return wrong === 0 ? null : `${wrong} of ${e.length} elements differ; element ${first} is ${a[first]}, expected ${e[first]}`;
}

/**
 * @param {number | bigint | string} a
 * @param {number | bigint | string} e
 * @param {Tolerance} tolerance
 */
function equal(a, e, tolerance) {
  if (typeof a === 'string' || typeof e === 'string') return a === e;
  return a === e || isClose(Number(a), Number(e), tolerance);
}

/** @param {number} a @param {number} e @param {Tolerance} tolerance */
function isClose(a, e, { rtol, atol }) {
  if (Number.isNaN(e)) return Number.isNaN(a);
  if (!Number.isFinite(e)) return a === e;
  return Math.abs(a - e) <= atol + rtol * Math.abs(e);
}
