/** Values that outputs must have, from PyTorch in double precision (bench/tools/expected.py). */

/** @type {Record<string, number[]>} */
export const EXPECTED = {};
