/** Sequences of different lengths in one batch. */
import { dtypeInfo } from '../dtype.js';
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import { lt } from '../ops/binary.js';
import { full, tensor } from '../ops/create.js';
import { indexSelect } from '../ops/gather.js';
import { iota } from '../ops/iota.js';
import { concat, stack } from '../ops/join.js';
import { where } from '../ops/ternary.js';
import { expand, reshape, transpose } from '../ops/view.js';
import { narrow } from '../ops/view-slice.js';
import { readSync } from '../tensor/data.js';
import { composite } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';

/**
 * A batch of sequences with their lengths, as recurrent layers take it. Steps behind the end of a sequence change nothing.
 * The steps stay where they are, so that shapes do not depend on the lengths and one compiled program serves all of them;
 * the tightly packed form that PyTorch stores is to be had from {@link PackedSequence.pack}.
 */
export class PackedSequence {
  /** [steps, batch, ...]; what lies behind a sequence's end is never read. */
  readonly padded: Tensor;
  /** Steps of each sequence, int64 [batch]. */
  readonly lengths: Tensor;

  constructor(padded: Tensor, lengths: Tensor) {
    if (padded.ndim < 2 || lengths.ndim !== 1 || lengths.shape[0] !== padded.shape[1] || dtypeInfo[lengths.dtype].kind !== 'int') {
      throw new ShapeError(`sequences ${formatShape(padded.shape)} with lengths ${lengths.dtype} ${formatShape(lengths.shape)}`, {
        op: 'PackedSequence',
        received: [padded.shape, lengths.shape],
        expected: '[steps, batch, ...] and whole numbers [batch]',
      });
    }
    this.padded = padded;
    this.lengths = lengths;
  }

  /** bool [steps, batch, 1]: where a sequence has this step. */
  mask(): Tensor {
    const [steps, batch] = this.padded.shape;
    return composite('mask', () =>
      reshape(lt(reshape(iota(steps, this.lengths.dtype), [steps, 1]), reshape(this.lengths, [1, batch])), [steps, batch, 1]),
    );
  }

  /** The same sequences with other features, [steps, batch, ...]. */
  with(padded: Tensor): PackedSequence {
    return new PackedSequence(padded, this.lengths);
  }

  /**
   * PyTorch's form: the steps without padding, step by step and longest sequence first, how many sequences each step has,
   * and the order. Reads the lengths, so not inside jit().
   */
  pack(): { readonly data: Tensor; readonly batchSizes: number[]; readonly sortedIndices: number[]; readonly unsortedIndices: number[] } {
    const lengths = Array.from(readSync(this.lengths), Number);
    const sortedIndices = lengths.map((_, i) => i).sort((a, b) => lengths[b] - lengths[a] || a - b);
    const unsortedIndices = new Array<number>(lengths.length);
    sortedIndices.forEach((sequence, place) => {
      unsortedIndices[sequence] = place;
    });
    const batchSizes: number[] = [];
    const rows: number[] = [];
    for (let step = 0; step < Math.max(0, ...lengths); step++) {
      const present = sortedIndices.filter((i) => lengths[i] > step);
      batchSizes.push(present.length);
      rows.push(...present.map((i) => step * lengths.length + i));
    }
    const { shape } = this.padded;
    const data = composite('pack', () =>
      indexSelect(reshape(this.padded, [shape[0] * shape[1], ...shape.slice(2)]), 0, tensor(rows, { dtype: 'int64' })),
    );
    return { data, batchSizes, sortedIndices, unsortedIndices };
  }
}

export interface PackOptions {
  /** The sequences are [batch, steps, ...] instead of [steps, batch, ...]. */
  readonly batchFirst?: boolean;
  /** Refuses lengths that are not in descending order, as some export formats need. Default false: any order is fine. */
  readonly enforceSorted?: boolean;
}

function checkLengths(lengths: readonly number[], steps: number, enforceSorted: boolean, op: string): void {
  if (lengths.some((n) => !Number.isInteger(n) || n < 1 || n > steps)) {
    throw new ArgumentError(`lengths ${lengths.join(', ')}`, { op, received: lengths, expected: `whole numbers from 1 to ${steps}` });
  }
  if (enforceSorted && lengths.some((n, i) => i > 0 && n > lengths[i - 1])) {
    throw new ArgumentError(`lengths ${lengths.join(', ')} are not in descending order`, {
      op,
      received: lengths,
      expected: 'the longest sequence first',
      fix: 'Leave enforceSorted out: the order does not matter.',
    });
  }
}

/**
 * Padded sequences with their lengths. Given as numbers, the lengths are checked and steps that no sequence has are cut off;
 * given as a tensor they may change from call to call of a compiled function.
 */
export function packPaddedSequence(
  x: Tensor,
  lengths: Tensor | readonly number[],
  { batchFirst = false, enforceSorted = false }: PackOptions = {},
): PackedSequence {
  const padded = batchFirst ? transpose(x, 0, 1) : x;
  if (lengths instanceof Tensor) return new PackedSequence(padded, lengths);
  checkLengths(lengths, padded.shape[0], enforceSorted, 'packPaddedSequence');
  const longest = Math.max(...lengths);
  const cut = longest < padded.shape[0] ? narrow(padded, 0, 0, longest) : padded;
  return new PackedSequence(cut, tensor([...lengths], { dtype: 'int64' }));
}

export interface PadPackedOptions {
  readonly batchFirst?: boolean;
  /** What stands behind the end of a sequence. Default 0. */
  readonly paddingValue?: number;
  /** Pads to this many steps. */
  readonly totalLength?: number;
}

/** The sequences padded with one value, and their lengths. */
export function padPackedSequence(
  packed: PackedSequence,
  { batchFirst = false, paddingValue = 0, totalLength }: PadPackedOptions = {},
): readonly [Tensor, Tensor] {
  const { padded } = packed;
  const [steps, batch] = padded.shape;
  if (totalLength !== undefined && totalLength < steps) {
    throw new ArgumentError(`totalLength ${totalLength} for ${steps} steps`, {
      op: 'padPackedSequence',
      received: totalLength,
      expected: `${steps} or more`,
    });
  }
  const result = composite('padPackedSequence', () => {
    const mask = reshape(packed.mask(), [steps, batch, ...padded.shape.slice(2).map(() => 1)]);
    const filled = where(expand(mask, padded.shape), padded, paddingValue);
    const more = (totalLength ?? steps) - steps;
    const long =
      more === 0 ? filled : concat([filled, full([more, batch, ...padded.shape.slice(2)], paddingValue, { dtype: padded.dtype })], 0);
    return batchFirst ? transpose(long, 0, 1) : long;
  });
  return [result, packed.lengths];
}

export interface PadOptions {
  readonly batchFirst?: boolean;
  readonly paddingValue?: number;
  /** Where the padding goes. Default 'right'. */
  readonly paddingSide?: 'left' | 'right';
}

/** Sequences [steps_i, ...] padded to the longest and stacked: [longest, count, ...], or [count, longest, ...] with batchFirst. */
export function padSequence(
  sequences: readonly Tensor[],
  { batchFirst = false, paddingValue = 0, paddingSide = 'right' }: PadOptions = {},
): Tensor {
  if (sequences.length === 0) throw new ArgumentError('no sequences', { op: 'padSequence', expected: 'at least one' });
  const [first] = sequences;
  const odd = sequences.find((s) => s.ndim === 0 || s.dtype !== first.dtype || s.shape.slice(1).join() !== first.shape.slice(1).join());
  if (odd !== undefined) {
    throw new ShapeError(`sequences ${formatShape(first.shape)} and ${formatShape(odd.shape)}`, {
      op: 'padSequence',
      received: sequences.map((s) => s.shape),
      expected: 'one dtype, and shapes that differ in the first extent only',
    });
  }
  const longest = Math.max(...sequences.map((s) => s.shape[0]));
  return composite('padSequence', () =>
    stack(
      sequences.map((s) => {
        if (s.shape[0] === longest) return s;
        const rest = full([longest - s.shape[0], ...s.shape.slice(1)], paddingValue, { dtype: s.dtype });
        return concat(paddingSide === 'right' ? [s, rest] : [rest, s], 0);
      }),
      batchFirst ? 0 : 1,
    ),
  );
}

/** The sequences [steps_i, ...] as one batch. */
export function packSequence(
  sequences: readonly Tensor[],
  { enforceSorted = false }: Pick<PackOptions, 'enforceSorted'> = {},
): PackedSequence {
  const padded = padSequence(sequences);
  return packPaddedSequence(
    padded,
    sequences.map((s) => s.shape[0]),
    { enforceSorted },
  );
}

/** The sequences without their padding: the inverse of {@link packSequence}. Reads the lengths, so not inside jit(). */
export function unpackSequence(packed: PackedSequence): Tensor[] {
  const lengths = Array.from(readSync(packed.lengths), Number);
  return lengths.map((length, i) => composite('unpackSequence', () => narrow(packed.padded, 0, 0, length).select(1, i)));
}
