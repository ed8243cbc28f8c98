/** Argument checks of linear algebra, and what happens to matrices that have no answer. */
import { ArgumentError, DTypeError } from '../errors.js';
import { broadcastShapes } from '../graph/layout.js';
import { broadcastTo } from '../ops/common.js';
import { batchShape } from '../ops/linalg-common.js';
import { currentTrace, readSync } from '../tensor/dispatch.js';
import type { Tensor } from '../tensor/tensor.js';

/**
 * A matrix for which an operation has no answer: singular, not positive definite, or with infinities or NaN where an iteration needs
 * numbers. Thrown outside jit() only; inside there are no values to look at, and the results hold infinities or NaN instead.
 */
export class LinalgError extends ArgumentError {}

/** @throws DTypeError unless float32 or float64, the same for all. */
export function requireReal(op: string, ...tensors: readonly Tensor[]): void {
  const [first] = tensors;
  for (const { dtype } of tensors) {
    if (dtype !== 'float32' && dtype !== 'float64') {
      throw new DTypeError(`a ${dtype} tensor`, {
        op,
        received: dtype,
        expected: 'float32 or float64',
        fix: "Convert it with .to('float32').",
      });
    }
    if (dtype !== first.dtype) {
      throw new DTypeError(`${first.dtype} and ${dtype}`, { op, expected: 'one dtype', fix: `Convert with .to('${first.dtype}').` });
    }
  }
}

/** Outside jit(): throws when some matrix of the batch has `info` other than 0. */
export function throwOnInfo(op: string, info: Tensor, what: (code: number) => string, expected: string, fix?: string): void {
  if (currentTrace() !== null) return;
  const codes = readSync(info);
  for (let i = 0; i < codes.length; i++) {
    const code = Number(codes[i]);
    if (code === 0) continue;
    const which = codes.length > 1 ? `matrix ${i} of the batch: ` : '';
    throw new LinalgError(`${which}${what(code)}`, { op, received: { matrix: i, info: code }, expected, fix });
  }
}

/** Both with one batch shape; matrices keep their own sizes. */
export function broadcastBatches(a: Tensor, b: Tensor, op: string): readonly [Tensor, Tensor] {
  const batch = broadcastShapes(batchShape(a), batchShape(b), op);
  return [broadcastTo(a, [...batch, ...a.shape.slice(-2)]), broadcastTo(b, [...batch, ...b.shape.slice(-2)])];
}
