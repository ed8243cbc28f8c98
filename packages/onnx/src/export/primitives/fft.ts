/** Fourier transforms as DFT, which opset 17 brought. Complex numbers are pairs along the last axis in both. */
import { sizeOf } from 'trireme/graph';
import type { Emitter, Mapper } from '../emitter.js';
import type { OutAttributes, OutValue } from '../graph.js';

/** DFT along axis 1 of [rows, n, 1 or 2]. */
function transform(em: Emitter, x: OutValue, count: number, attributes: OutAttributes): OutValue {
  em.require(17, 'DFT');
  const shape = [x.shape[0], count, 2];
  if (em.opset >= 20) return em.op('DFT', [x.name, '', em.scalar(1, 'int64')], x.dtype, shape, attributes);
  return em.op('DFT', [x.name], x.dtype, shape, { axis: 1, ...attributes });
}
function scaled(em: Emitter, x: OutValue, factor: number): OutValue {
  return factor === 1 ? x : em.op('Mul', [x.name, em.scalar(factor, x.dtype)], x.dtype, x.shape);
}

export const fftMappers: Readonly<Record<string, Mapper>> = {
  fft: (node, em) => {
    const { inverse, scale } = node.attrs as unknown as { inverse: boolean; scale: number };
    const x = em.read(node.inputs[0]);
    const n = x.shape[x.shape.length - 2];
    const rows = em.reshape(x, [sizeOf(x.shape) / (2 * n), n, 2]);
    // The inverse of ONNX divides by n.
    em.define(node.outputs[0], scaled(em, transform(em, rows, n, inverse ? { inverse: 1 } : {}), inverse ? scale * n : scale));
  },
  rfft: (node, em) => {
    const { n, scale } = node.attrs as unknown as { n: number; scale: number };
    const x = em.read(node.inputs[0]);
    const rows = em.reshape(x, [sizeOf(x.shape) / n, n, 1]);
    em.define(node.outputs[0], scaled(em, transform(em, rows, Math.floor(n / 2) + 1, { onesided: 1 }), scale));
  },
  /** The missing half is the mirror image, conjugate. */
  irfft: (node, em) => {
    const { n, scale } = node.attrs as unknown as { n: number; scale: number };
    const x = em.read(node.inputs[0]);
    const half = Math.floor(n / 2) + 1;
    const rows = em.reshape(x, [sizeOf(x.shape) / (2 * half), half, 2]);
    const rest = n - half;
    const back = rest === 0 ? null : em.slice(rows, 1, rest, rest, -1);
    const conjugate = back === null ? null : em.op('Mul', [back.name, em.graph.literal(x.dtype, [2], [1, -1]).name], x.dtype, back.shape);
    const all = conjugate === null ? rows : em.op('Concat', [rows.name, conjugate.name], x.dtype, rows.shape.with(1, n), { axis: 1 });
    const made = transform(em, all, n, { inverse: 1 });
    em.define(node.outputs[0], scaled(em, em.slice(made, 2, 0, 1), scale * n));
  },
};
