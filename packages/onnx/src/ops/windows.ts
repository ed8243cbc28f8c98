/** Where the windows of convolutions and poolings lie: what kernel_shape, strides, dilations, pads and auto_pad say. */
import type { OpContext } from './definition.js';
import { filled } from './tensors.js';

/** One number a spatial dimension in each. */
export interface Geometry {
  readonly kernel: readonly number[];
  readonly stride: number[];
  readonly dilation: number[];
  /** Padding in front and behind. */
  readonly begin: number[];
  readonly end: number[];
}

/** The extent of a window, with the gaps that dilation makes. */
export const reach = (kernel: number, dilation: number): number => dilation * (kernel - 1) + 1;

/** Splits a total padding as auto_pad says: the odd element goes behind for SAME_UPPER, in front for SAME_LOWER. */
export function splitPadding(total: number, mode: string): [begin: number, end: number] {
  const half = Math.floor(total / 2);
  return mode === 'SAME_UPPER' ? [half, total - half] : [total - half, half];
}

function listOf(ctx: OpContext, name: string, n: number, fallback: number): number[] {
  const list = ctx.attrs.ints(name, filled(n, fallback));
  if (list.length !== n) ctx.fail(`${name} has ${list.length} values`, `${n}, one a spatial dimension`);
  return [...list];
}

/** The attribute `pads`: all beginnings, then all ends. */
export function padsOf(ctx: OpContext, n: number): { readonly begin: number[]; readonly end: number[] } {
  const pads = ctx.attrs.ints('pads', filled(2 * n, 0));
  if (pads.length !== 2 * n) ctx.fail(`pads has ${pads.length} values`, `${2 * n}, two a spatial dimension`);
  return { begin: pads.slice(0, n), end: pads.slice(n) };
}

export function stridesOf(ctx: OpContext, n: number): { readonly stride: number[]; readonly dilation: number[] } {
  return { stride: listOf(ctx, 'strides', n, 1), dilation: listOf(ctx, 'dilations', n, 1) };
}

/** Geometry of windows over `spatial` extents. */
export function geometryOf(ctx: OpContext, spatial: readonly number[], kernel: readonly number[]): Geometry {
  const n = spatial.length;
  if (kernel.length !== n) ctx.fail(`a kernel of ${kernel.length} dimensions for ${n} spatial ones`);
  const { stride, dilation } = stridesOf(ctx, n);
  const mode = ctx.attrs.string('auto_pad', 'NOTSET');
  switch (mode) {
    case 'NOTSET':
    case '':
      return { kernel, stride, dilation, ...padsOf(ctx, n) };
    case 'VALID':
      return { kernel, stride, dilation, begin: filled(n, 0), end: filled(n, 0) };
    case 'SAME_UPPER':
    case 'SAME_LOWER': {
      const pads = spatial.map((size, d) => {
        const covered = (Math.ceil(size / stride[d]) - 1) * stride[d] + reach(kernel[d], dilation[d]);
        return splitPadding(Math.max(0, covered - size), mode);
      });
      return { kernel, stride, dilation, begin: pads.map(([b]) => b), end: pads.map(([, e]) => e) };
    }
    default:
      return ctx.fail(`auto_pad ${mode}`, 'NOTSET, VALID, SAME_UPPER or SAME_LOWER');
  }
}
