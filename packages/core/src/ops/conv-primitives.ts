/**
 * The three products of a convolution. y = conv(w, x); the other two are its gradients, and each of the three has the other two
 * for its own, so that every order of derivative exists. All are contractions that read an operand through moving coordinates:
 * no image is unfolded in memory. The channels of a grouped operand are two dimensions in the result: [.., groups, channels / groups, ..].
 */
import { DTypeError } from '../errors.js';
import type { AxisIndex, ContractionSpec, TensorType } from '../graph/primitive.js';
import { apply1 } from '../tensor/dispatch.js';
import type { Tensor } from '../tensor/tensor.js';
import { primitive } from './define.js';
import { reshape } from './view.js';

/** All three primitives take the geometry of the forward convolution. Sizes are spatial, one value a dimension. */
export type ConvAttrs = {
  readonly inputSize: readonly number[];
  readonly kernelSize: readonly number[];
  readonly outputSize: readonly number[];
  readonly stride: readonly number[];
  /** In front of each dimension; what is behind follows from the output's size. */
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
  readonly groups: number;
};

type Role = 'batch' | 'm' | 'n' | 'k';

/** Collects the dimensions of a contraction by name. */
class Dims {
  readonly list: { readonly extent: number; readonly role: Role }[] = [];
  add(extent: number, role: Role): number {
    this.list.push({ extent, role });
    return this.list.length - 1;
  }
}
const plain = (dim: number): AxisIndex => ({ terms: [{ dim, coefficient: 1 }] });
/** Channels of all groups: group * perGroup + channel. */
function channels(group: number | null, perGroup: number, channel: number): AxisIndex {
  const own = { dim: channel, coefficient: 1 };
  return { terms: group === null ? [own] : [{ dim: group, coefficient: perGroup }, own] };
}

/** Where output position `out` and kernel position `tap` read the input along spatial dimension d. */
function inputAxis(attrs: ConvAttrs, d: number, out: number, tap: number): AxisIndex {
  const [stride, dilation, padding] = [attrs.stride[d], attrs.dilation[d], attrs.padding[d]];
  const last = (attrs.outputSize[d] - 1) * stride + (attrs.kernelSize[d] - 1) * dilation - padding;
  return {
    terms: [
      { dim: out, coefficient: stride },
      { dim: tap, coefficient: dilation },
    ],
    offset: -padding,
    checked: padding > 0 || last >= attrs.inputSize[d],
  };
}
/** Where input position `at` and kernel position `tap` meet the output along d: (at + padding - tap * dilation) / stride, if whole. */
function outputAxis(attrs: ConvAttrs, d: number, at: number, tap: number): AxisIndex {
  return {
    terms: [
      { dim: at, coefficient: 1 },
      { dim: tap, coefficient: -attrs.dilation[d] },
    ],
    offset: attrs.padding[d],
    dilation: attrs.stride[d],
    checked: true,
  };
}

function sameDType(a: TensorType, b: TensorType, op: string): void {
  if (a.dtype !== b.dtype || a.dtype === 'bool') {
    throw new DTypeError(`operands of ${a.dtype} and ${b.dtype}`, { op, received: [a.dtype, b.dtype], expected: 'one float or int dtype' });
  }
}
const grouped = (groups: number, perGroup: number): number[] => (groups === 1 ? [perGroup] : [groups, perGroup]);

/** Inputs w [O, C/g, kernel] and x [N, C, input]; output [N, (g,) O/g, output]. */
const convPrimitive = primitive<ConvAttrs>({
  name: 'conv',
  infer([w, x], attrs) {
    sameDType(w, x, 'conv');
    return [{ dtype: x.dtype, shape: [x.shape[0], ...grouped(attrs.groups, w.shape[0] / attrs.groups), ...attrs.outputSize] }];
  },
  lowering: {
    kind: 'contract',
    spec([w, x], attrs): ContractionSpec {
      const { groups } = attrs;
      const dims = new Dims();
      const n = dims.add(x.shape[0], 'n');
      const g = groups === 1 ? null : dims.add(groups, 'batch');
      const o = dims.add(w.shape[0] / groups, 'm');
      const out = attrs.outputSize.map((size) => dims.add(size, 'n'));
      const c = dims.add(w.shape[1], 'k');
      const taps = attrs.kernelSize.map((size) => dims.add(size, 'k'));
      return {
        dims: dims.list,
        a: [channels(g, w.shape[0] / groups, o), plain(c), ...taps.map(plain)],
        b: [plain(n), channels(g, w.shape[1], c), ...taps.map((tap, d) => inputAxis(attrs, d, out[d], tap))],
        out: [n, ...(g === null ? [] : [g]), o, ...out],
      };
    },
  },
  saves: { inputs: [0, 1] },
  vjp(ctx, [g]) {
    if (g === null) return [null, null];
    return [
      ctx.needs(0) ? convWeightGrad(g, ctx.input(1), ctx.attrs) : null,
      ctx.needs(1) ? convInputGrad(ctx.input(0), g, ctx.attrs) : null,
    ];
  },
});

/** The transposed convolution. Inputs w [O, C/g, kernel] and y [N, O, output]; output [N, (g,) C/g, input]. */
const convInputGradPrimitive = primitive<ConvAttrs>({
  name: 'convInputGrad',
  infer([w, y], attrs) {
    sameDType(w, y, 'convInputGrad');
    return [{ dtype: y.dtype, shape: [y.shape[0], ...grouped(attrs.groups, w.shape[1]), ...attrs.inputSize] }];
  },
  lowering: {
    kind: 'contract',
    spec([w, y], attrs): ContractionSpec {
      const { groups } = attrs;
      const dims = new Dims();
      const n = dims.add(y.shape[0], 'n');
      const g = groups === 1 ? null : dims.add(groups, 'batch');
      const c = dims.add(w.shape[1], 'm');
      const at = attrs.inputSize.map((size) => dims.add(size, 'n'));
      const o = dims.add(w.shape[0] / groups, 'k');
      const taps = attrs.kernelSize.map((size) => dims.add(size, 'k'));
      return {
        dims: dims.list,
        a: [channels(g, w.shape[0] / groups, o), plain(c), ...taps.map(plain)],
        b: [plain(n), channels(g, w.shape[0] / groups, o), ...taps.map((tap, d) => outputAxis(attrs, d, at[d], tap))],
        out: [n, ...(g === null ? [] : [g]), c, ...at],
      };
    },
  },
  saves: { inputs: [0, 1] },
  vjp(ctx, [g]) {
    if (g === null) return [null, null];
    return [
      ctx.needs(0) ? convWeightGrad(ctx.input(1), g, ctx.attrs) : null,
      ctx.needs(1) ? convForward(ctx.input(0), g, ctx.attrs) : null,
    ];
  },
});

/** Inputs y [N, O, output] and x [N, C, input]; output [(g,) O/g, C/g, kernel]. */
const convWeightGradPrimitive = primitive<ConvAttrs>({
  name: 'convWeightGrad',
  infer([y, x], attrs) {
    sameDType(y, x, 'convWeightGrad');
    const { groups } = attrs;
    return [{ dtype: x.dtype, shape: [...grouped(groups, y.shape[1] / groups), x.shape[1] / groups, ...attrs.kernelSize] }];
  },
  lowering: {
    kind: 'contract',
    spec([y, x], attrs): ContractionSpec {
      const { groups } = attrs;
      const dims = new Dims();
      const g = groups === 1 ? null : dims.add(groups, 'batch');
      const o = dims.add(y.shape[1] / groups, 'm');
      const c = dims.add(x.shape[1] / groups, 'n');
      const taps = attrs.kernelSize.map((size) => dims.add(size, 'n'));
      const n = dims.add(x.shape[0], 'k');
      const out = attrs.outputSize.map((size) => dims.add(size, 'k'));
      return {
        dims: dims.list,
        a: [plain(n), channels(g, y.shape[1] / groups, o), ...out.map(plain)],
        b: [plain(n), channels(g, x.shape[1] / groups, c), ...taps.map((tap, d) => inputAxis(attrs, d, out[d], tap))],
        out: [...(g === null ? [] : [g]), o, c, ...taps],
      };
    },
  },
  saves: { inputs: [0, 1] },
  vjp(ctx, [g]) {
    if (g === null) return [null, null];
    const w = mergeGroups(g, ctx.attrs, 0);
    return [ctx.needs(0) ? convForward(w, ctx.input(1), ctx.attrs) : null, ctx.needs(1) ? convInputGrad(w, ctx.input(0), ctx.attrs) : null];
  },
});

export const convPrimitives = [convPrimitive, convInputGradPrimitive, convWeightGradPrimitive];

/** Makes one axis of the groups and the channels within them. */
function mergeGroups(t: Tensor, attrs: ConvAttrs, axis: number): Tensor {
  if (attrs.groups === 1) return t;
  const spatial = attrs.inputSize.length;
  // Already merged: as many axes as a batch, channels and space (or two channel axes and space) have.
  if (t.shape.length === spatial + 2) return t;
  return reshape(t, t.shape.toSpliced(axis, 2, t.shape[axis] * t.shape[axis + 1]));
}

/** y [N, O, output] from w [O, C/g, kernel] and x [N, C, input]. */
export function convForward(w: Tensor, x: Tensor, attrs: ConvAttrs): Tensor {
  return mergeGroups(apply1(convPrimitive, [mergeGroups(w, attrs, 0), mergeGroups(x, attrs, 1)], attrs), attrs, 1);
}
/** x [N, C, input] from w [O, C/g, kernel] and y [N, O, output]. */
export function convInputGrad(w: Tensor, y: Tensor, attrs: ConvAttrs): Tensor {
  return mergeGroups(apply1(convInputGradPrimitive, [mergeGroups(w, attrs, 0), mergeGroups(y, attrs, 1)], attrs), attrs, 1);
}
/** w [O, C/g, kernel] from y [N, O, output] and x [N, C, input]. */
export function convWeightGrad(y: Tensor, x: Tensor, attrs: ConvAttrs): Tensor {
  return mergeGroups(apply1(convWeightGradPrimitive, [mergeGroups(y, attrs, 1), mergeGroups(x, attrs, 1)], attrs), attrs, 0);
}
