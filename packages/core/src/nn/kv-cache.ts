/** Keys and values of the steps so far, for decoding one step at a time. */
import { noGrad } from '../autograd/mode.js';
import type { DType } from '../dtype.js';
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import { withTrace } from '../graph/trace.js';
import { add, le } from '../ops/binary.js';
import { zeros } from '../ops/create.js';
import { iota, iotaAlong } from '../ops/iota.js';
import { setRows } from '../ops/rows.js';
import { permute } from '../ops/view.js';
import { writeInto } from '../ops/write-view.js';
import { readSync } from '../tensor/data.js';
import { composite, keep, outsideScopes } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkCount } from './check.js';

export interface KVCacheOptions {
  readonly batch: number;
  /** Heads of keys and values. */
  readonly heads: number;
  /** Features of a head. */
  readonly features: number;
  /** Features of a value head, where they differ. */
  readonly valueFeatures?: number;
  /** Most steps it holds. */
  readonly maxLength: number;
  readonly dtype?: DType;
}

/**
 * Memory for the keys and values of one attention layer. Its shape does not depend on how many steps it holds, and writing
 * happens in place, so a compiled step is compiled once and not for each length.
 */
export class KVCache {
  readonly maxLength: number;
  /** [maxLength, batch, heads, features]. */
  readonly keys: Tensor;
  readonly values: Tensor;
  /** Steps held, int32, 0-d. */
  readonly length: Tensor;

  constructor({ batch, heads, features, valueFeatures = features, maxLength, dtype = 'float32' }: KVCacheOptions) {
    for (const [name, n] of Object.entries({ batch, heads, features, valueFeatures, maxLength })) checkCount('KVCache', name, n);
    const make = (shape: readonly number[], type: DType): Tensor =>
      withTrace(null, () => outsideScopes(() => keep(zeros(shape, { dtype: type }))));
    this.maxLength = maxLength;
    this.keys = make([maxLength, batch, heads, features], dtype);
    this.values = make([maxLength, batch, heads, valueFeatures], dtype);
    this.length = make([], 'int32');
  }

  /**
   * Appends keys and values [batch, heads, steps, features] and gives all that is held, [batch, heads, maxLength, features],
   * with the mask [steps, maxLength] of what each of the new steps may see: itself and what came before. Records no
   * gradient. Steps beyond maxLength are lost; check {@link used}.
   */
  append(key: Tensor, value: Tensor): { readonly keys: Tensor; readonly values: Tensor; readonly mask: Tensor } {
    const [, batch, heads, features] = this.keys.shape;
    const steps = key.shape[2];
    if (key.ndim !== 4 || key.shape[0] !== batch || key.shape[1] !== heads || key.shape[3] !== features) {
      throw new ShapeError(`keys of shape ${formatShape(key.shape)}`, {
        op: 'KVCache',
        received: key.shape,
        expected: `[${batch}, ${heads}, steps, ${features}]`,
      });
    }
    if (steps > this.maxLength)
      throw new ArgumentError(`${steps} steps`, { op: 'KVCache', received: steps, expected: `${this.maxLength} or fewer` });
    return noGrad(() =>
      composite('KVCache', () => {
        const rows = add(iota(steps), this.length);
        const mask = le(iotaAlong(this.maxLength, 1, 2), rows.reshape([steps, 1]));
        setRows(this.keys, rows, permute(key.detach(), [2, 0, 1, 3]));
        setRows(this.values, rows, permute(value.detach(), [2, 0, 1, 3]));
        writeInto(this.length, add(this.length, steps));
        return { keys: permute(this.keys, [1, 2, 0, 3]), values: permute(this.values, [1, 2, 0, 3]), mask };
      }),
    );
  }

  /** Steps held. Reads the counter, so not inside jit(). */
  get used(): number {
    return Number(readSync(this.length)[0]);
  }
  /** Forgets all steps, or those from `length` on. */
  reset(length = 0): void {
    noGrad(() => composite('KVCache', () => writeInto(this.length, zeros([], { dtype: 'int32' }).add(length))));
  }
  dispose(): void {
    for (const t of [this.keys, this.values, this.length]) t.dispose();
  }
}
