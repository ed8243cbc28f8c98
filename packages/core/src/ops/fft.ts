/**
 * Discrete Fourier transforms along one axis: self-sorting mixed-radix passes (Stockham; Van Loan, "Computational Frameworks for the
 * Fast Fourier Transform", 1.7), Bluestein's convolution for lengths with large prime factors. Complex numbers are pairs in a last
 * dimension of 2. Each transform's gradient is another of the three.
 */
import { ShapeError } from '../errors.js';
import { formatShape, type Shape, sizeOf } from '../graph/layout.js';
import type { LoopsContext, TensorType } from '../graph/primitive.js';
import type { Expr } from '../ir/expr.js';
import { apply } from '../tensor/dispatch.js';
import type { Tensor } from '../tensor/tensor.js';
import { mul } from './binary.js';
import { computeType, primitive } from './define.js';
import { type FftPlan, fftTable, type Pass, planFft } from './fft-plan.js';
import { hostConstant } from './fill.js';
import { Arithmetic, LoopWriter } from './loop-writer.js';
import type { Stage } from './statements.js';
import { unravel } from './statements.js';

type Complex = readonly [re: Expr, im: Expr];
type Load = (i: Expr) => Complex;
type Store = (i: Expr, value: Complex) => void;

/** Rows are dealt out to at most so many cells, each with work areas of its own. */
const maximumCells = 16;

/** Where the rows of a transform lie, and what one of its cells may use. */
class TransformWriter extends LoopWriter {
  readonly a: Arithmetic;
  private readonly ctx: LoopsContext;
  private readonly cell: Expr;
  private readonly size: number;

  constructor(ctx: LoopsContext, cell: Expr, size: number) {
    super(ctx.b);
    this.ctx = ctx;
    this.cell = cell;
    this.size = size;
    this.a = new Arithmetic(ctx.b, computeType(ctx.outputs[0].dtype));
  }
  table(i: Expr): Expr {
    return this.ctx.load(1, [i]);
  }
  /** Element of one of the two work areas, each of which has `size` real and `size` imaginary parts. */
  buffer(which: number): { readonly load: Load; readonly store: Store } {
    const { b } = this;
    const at = (part: number, i: Expr): Expr[] => [this.cell, b.add(b.i32((2 * which + part) * this.size), i)];
    return {
      load: (i) => [this.ctx.loadOutput(1, at(0, i)), this.ctx.loadOutput(1, at(1, i))],
      store: (i, [re, im]) => this.push(this.ctx.store(1, at(0, i), re), this.ctx.store(1, at(1, i), im)),
    };
  }
  keep(name: string, [re, im]: Complex): Complex {
    return [this.let(`${name}Re`, re), this.let(`${name}Im`, im)];
  }
  times([xr, xi]: Complex, [yr, yi]: Complex): Complex {
    const { a } = this;
    return [a.sub(a.mul(xr, yr), a.mul(xi, yi)), a.add(a.mul(xr, yi), a.mul(xi, yr))];
  }

  /** The transform of the plan from `load` to `store`; `firstBuffer` is the work area that `load` does not read. */
  transform(plan: FftPlan, load: Load, store: Store, firstBuffer = 0): void {
    const { convolution, length } = plan;
    if (convolution === null) {
      this.passes(plan.passes, load, store, firstBuffer);
      return;
    }
    const { a, b } = this;
    const { size, passes, chirp, kernel } = convolution;
    const at = (start: number, i: Expr): Expr => this.table(b.add(b.i32(start), i));
    const chirpAt = (i: Expr): Complex => [at(chirp, i), at(chirp + length, i)];
    const source = this.buffer(firstBuffer);
    this.lanes('i', length, (i) => source.store(i, this.keep('x', this.times(load(i), chirpAt(i)))));
    this.lanes('i', size - length, (i) => source.store(b.add(i, b.i32(length)), [a.num(0), a.num(0)]));
    // The inverse transform is the conjugate of the transform of the conjugate.
    const middle = this.buffer(passes.length % 2 === 0 ? firstBuffer : 1 - firstBuffer);
    this.passes(
      passes,
      source.load,
      (i, value) => {
        const [re, im] = this.keep('y', this.times(value, [at(kernel, i), at(kernel + size, i)]));
        middle.store(i, [re, a.neg(im)]);
      },
      1 - firstBuffer,
    );
    const end = this.buffer(firstBuffer);
    this.passes(passes, middle.load, end.store, passes.length % 2 === 0 ? 1 - firstBuffer : firstBuffer);
    this.lanes('i', length, (i) => {
      const [re, im] = end.load(i);
      store(i, this.keep('z', this.times([re, a.neg(im)], chirpAt(i))));
    });
  }

  /** One pass after the other; intermediate results alternate between the work areas, `first` before the other. */
  private passes(passes: readonly Pass[], load: Load, store: Store, first: number): void {
    if (passes.length === 0) {
      store(this.b.i32(0), this.keep('x', load(this.b.i32(0))));
      return;
    }
    let from = load;
    passes.forEach((pass, i) => {
      const isLast = i === passes.length - 1;
      const buffer = this.buffer((first + i) % 2);
      this.pass(pass, from, isLast ? store : buffer.store);
      from = buffer.load;
    });
  }

  private pass(pass: Pass, load: Load, store: Store): void {
    const { b } = this;
    const { radix, blocks, run } = pass;
    const body = (j: Expr, k: Expr): void => {
      const inputs = Array.from({ length: radix }, (_, q) => {
        const at = b.add(k, b.mul(b.add(j, b.i32(blocks * q)), b.i32(run)));
        return this.keep(`x${q}`, load(at));
      });
      const outputs = this.butterfly(inputs).map((y, p) => {
        if (p === 0 || blocks === 1) return this.keep(`y${p}`, y);
        const at = (part: number): Expr => this.table(b.add(b.i32(pass.twiddles + (2 * (p - 1) + part) * blocks), j));
        return this.keep(`y${p}`, this.times(this.keep(`t${p}`, y), [at(0), at(1)]));
      });
      outputs.forEach((y, p) => store(b.add(k, b.mul(b.add(b.mul(j, b.i32(radix)), b.i32(p)), b.i32(run))), y));
    };
    // Vectors run along the longer of the two loops that lie side by side in memory.
    if (run === 1) this.lanes('j', blocks, (j) => body(j, b.i32(0)));
    else if (run < 4 && blocks > 4) this.for('k', run, (k) => this.lanes('j', blocks, (j) => body(j, k)));
    else this.for('j', blocks, (j) => this.lanes('k', run, (k) => body(j, k)));
  }

  /** The transform of as many numbers as there are inputs: 2, 4 or an odd number. */
  private butterfly(x: readonly Complex[]): Complex[] {
    const { a } = this;
    const add = ([p, q]: Complex, [r, s]: Complex): Complex => [a.add(p, r), a.add(q, s)];
    const sub = ([p, q]: Complex, [r, s]: Complex): Complex => [a.sub(p, r), a.sub(q, s)];
    /** -i times the number. */
    const turned = ([p, q]: Complex): Complex => [q, a.neg(p)];
    const n = x.length;
    if (n === 2) return [add(x[0], x[1]), sub(x[0], x[1])];
    if (n === 4) {
      const even = this.keep('even', add(x[0], x[2]));
      const evenDifference = this.keep('evenDifference', sub(x[0], x[2]));
      const odd = this.keep('odd', add(x[1], x[3]));
      const oddDifference = this.keep('oddDifference', turned(sub(x[1], x[3])));
      return [add(even, odd), add(evenDifference, oddDifference), sub(even, odd), sub(evenDifference, oddDifference)];
    }
    const half = (n - 1) / 2;
    const sums = Array.from({ length: half }, (_, i) => this.keep(`sum${i}`, add(x[i + 1], x[n - 1 - i])));
    const differences = Array.from({ length: half }, (_, i) => this.keep(`difference${i}`, turned(sub(x[i + 1], x[n - 1 - i]))));
    const outputs = new Array<Complex>(n);
    outputs[0] = sums.reduce(add, x[0]);
    const scaled = ([p, q]: Complex, factor: number): Complex => [a.mul(p, a.num(factor)), a.mul(q, a.num(factor))];
    for (let p = 1; p <= half; p++) {
      let straight = x[0];
      let crossed: Complex | null = null;
      for (let i = 0; i < half; i++) {
        const angle = (2 * Math.PI * ((p * (i + 1)) % n)) / n;
        straight = add(straight, scaled(sums[i], Math.cos(angle)));
        const part = scaled(differences[i], Math.sin(angle));
        crossed = crossed === null ? part : add(crossed, part);
      }
      const [real, imaginary] = [this.keep(`straight${p}`, straight), this.keep(`crossed${p}`, crossed ?? straight)];
      outputs[p] = add(real, imaginary);
      outputs[n - p] = sub(real, imaginary);
    }
    return outputs;
  }
}

/** Elements of one part of a work area. */
function bufferSize(plan: FftPlan): number {
  return plan.convolution?.size ?? plan.length;
}
function cellsFor(lead: Shape): number {
  return Math.min(maximumCells, sizeOf(lead));
}
function workType(lead: Shape, plan: FftPlan, dtype: TensorType['dtype']): TensorType {
  return { dtype, shape: [cellsFor(lead), 4 * bufferSize(plan)] };
}

/** The stage that runs `write` for every row of `lead`. */
function perRow(
  ctx: LoopsContext,
  lead: Shape,
  plan: FftPlan,
  write: (w: TransformWriter, row: readonly Expr[]) => void,
): readonly Stage[] {
  const { b } = ctx;
  const rows = sizeOf(lead);
  if (rows === 0) return [];
  const cells = cellsFor(lead);
  const share = Math.ceil(rows / cells);
  const cell = b.loopVar('cell');
  const size = bufferSize(plan);
  const w = new TransformWriter(ctx, b.index(cell), size);
  const first = b.mul(b.index(cell), b.i32(share));
  const count = rows % cells === 0 ? b.i32(share) : b.binary('max', b.i32(0), b.binary('min', b.i32(share), b.sub(b.i32(rows), first)));
  w.for('row', count, (r) => {
    const row = w.let('row', b.add(first, r));
    write(w, unravel(b, row, lead));
  });
  const convolved = plan.convolution === null ? 1 : 3;
  return [{ grid: cells, cell, body: w.statements, work: rows * size * convolved * (6 + 2 * Math.ceil(Math.log2(size + 1))) }];
}

type ComplexAttrs = { readonly inverse: boolean; readonly scale: number };
type RealAttrs = { readonly n: number; readonly scale: number };

function requirePairs(type: TensorType, op: string): void {
  if (type.shape.length < 2 || type.shape[type.shape.length - 1] !== 2 || type.shape[type.shape.length - 2] < 1) {
    throw new ShapeError(`shape ${formatShape(type.shape)}`, {
      op,
      received: type.shape,
      expected: '[..., n, 2]: at least one complex number along the axis, the last dimension holding real and imaginary part',
    });
  }
}

const complexFftPrimitive = primitive<ComplexAttrs>({
  name: 'fft',
  infer([x]) {
    requirePairs(x, 'fft');
    const { shape, dtype } = x;
    return [x, workType(shape.slice(0, -2), planFft(shape[shape.length - 2], false), dtype)];
  },
  lowering: {
    kind: 'loops',
    alias: false,
    stages(ctx, { inverse, scale }) {
      const { shape } = ctx.outputs[0];
      const plan = planFft(shape[shape.length - 2], false);
      return perRow(ctx, shape.slice(0, -2), plan, (w, row) => {
        const { a, b } = w;
        // With real and imaginary parts exchanged on both sides a transform becomes the inverse one.
        const [re, im] = inverse ? [b.i32(1), b.i32(0)] : [b.i32(0), b.i32(1)];
        const scaled = (x: Expr): Expr => (scale === 1 ? x : a.mul(x, a.num(scale)));
        w.transform(
          plan,
          (i) => [ctx.load(0, [...row, i, re]), ctx.load(0, [...row, i, im])],
          (i, [x, y]) => w.push(ctx.store(0, [...row, i, re], scaled(x)), ctx.store(0, [...row, i, im], scaled(y))),
        );
      });
    },
  },
  vjp: (ctx, [g]) => [g === null ? null : complexFft(g, !ctx.attrs.inverse, ctx.attrs.scale), null],
});

/** Even lengths are done as a complex transform of half the length. */
function realPlan(n: number): FftPlan {
  return n % 2 === 0 ? planFft(n / 2, true) : planFft(n, false);
}

const realFftPrimitive = primitive<RealAttrs>({
  name: 'rfft',
  infer([x], { n }) {
    const { shape, dtype } = x;
    if (n < 1 || shape[shape.length - 1] !== n) {
      throw new ShapeError(`shape ${formatShape(shape)}`, { op: 'rfft', received: shape, expected: 'at least one element along the axis' });
    }
    const lead = shape.slice(0, -1);
    return [{ dtype, shape: [...lead, Math.floor(n / 2) + 1, 2] }, workType(lead, realPlan(n), dtype)];
  },
  lowering: {
    kind: 'loops',
    alias: false,
    stages(ctx, { n, scale }) {
      const lead = ctx.inputs[0].shape.slice(0, -1);
      const plan = realPlan(n);
      const { length } = plan;
      return perRow(ctx, lead, plan, (w, row) => {
        const { a, b } = w;
        const scaled = (x: Expr): Expr => (scale === 1 ? x : a.mul(x, a.num(scale)));
        const put = (k: Expr, re: Expr, im: Expr): void =>
          w.push(ctx.store(0, [...row, k, b.i32(0)], scaled(re)), ctx.store(0, [...row, k, b.i32(1)], scaled(im)));
        // The last pass must not write the work area that it reads.
        const { buffer, first } = resultBuffer(w, plan);
        if (n % 2 === 1) {
          w.transform(plan, (i) => [ctx.load(0, [...row, i]), a.num(0)], buffer.store, first);
          w.lanes('k', (n + 1) / 2, (k) => {
            const [re, im] = buffer.load(k);
            put(k, re, im);
          });
          return;
        }
        w.transform(
          plan,
          (i) => [ctx.load(0, [...row, b.mul(i, b.i32(2))]), ctx.load(0, [...row, b.add(b.mul(i, b.i32(2)), b.i32(1))])],
          buffer.store,
          first,
        );
        const [re0, im0] = w.keep('z0', buffer.load(b.i32(0)));
        put(b.i32(0), a.add(re0, im0), a.num(0));
        put(b.i32(length), a.sub(re0, im0), a.num(0));
        w.lanes('k', length - 1, (rest) => {
          const k = b.add(rest, b.i32(1));
          const [zr, zi] = w.keep('z', buffer.load(k));
          const [mr, mi] = w.keep('mirror', buffer.load(b.sub(b.i32(length), k)));
          const odd = w.keep('odd', [a.mul(a.num(0.5), a.add(zi, mi)), a.mul(a.num(0.5), a.sub(mr, zr))]);
          const [tr, ti] = w.times(odd, halfRoot(w, plan, k));
          put(k, a.add(a.mul(a.num(0.5), a.add(zr, mr)), tr), a.add(a.mul(a.num(0.5), a.sub(zi, mi)), ti));
        });
      });
    },
  },
  // The adjoint counts each frequency once; irfft counts those with a mirror image twice.
  vjp: (ctx, [g]) => [
    g === null ? null : realFromHalf(mul(g, mirrorWeights(ctx.attrs.n, 0.5, g.dtype)), ctx.attrs.n, ctx.attrs.scale),
    null,
  ],
});

/** e^(-2 pi i k / (2 length)). */
function halfRoot(w: TransformWriter, { halves, length }: FftPlan, k: Expr): Complex {
  const { b } = w;
  return [w.table(b.add(b.i32(halves), k)), w.table(b.add(b.i32(halves + length + 1), k))];
}

/** A work area that may take the result of the transform, and the one that its first pass writes. */
function resultBuffer(
  w: TransformWriter,
  plan: FftPlan,
): { readonly buffer: ReturnType<TransformWriter['buffer']>; readonly first: number } {
  // With convolution the result comes from a loop of its own that reads area `first`; without, pass i writes area (first + i) % 2.
  if (plan.convolution !== null) return { buffer: w.buffer(1), first: 0 };
  const last = plan.passes.length - 1;
  return { buffer: w.buffer(Math.max(0, last) % 2), first: 0 };
}

const inverseRealPrimitive = primitive<RealAttrs>({
  name: 'irfft',
  infer([x], { n }) {
    requirePairs(x, 'irfft');
    const { shape, dtype } = x;
    const half = Math.floor(n / 2) + 1;
    if (n < 1 || shape[shape.length - 2] !== half) {
      throw new ShapeError(`${shape[shape.length - 2]} frequencies`, {
        op: 'irfft',
        received: shape,
        expected: `${half} for a result of ${n} elements, and at least one element`,
      });
    }
    const lead = shape.slice(0, -2);
    return [{ dtype, shape: [...lead, n] }, workType(lead, realPlan(n), dtype)];
  },
  lowering: {
    kind: 'loops',
    alias: false,
    stages(ctx, { n, scale }) {
      const lead = ctx.inputs[0].shape.slice(0, -2);
      const plan = realPlan(n);
      const { length } = plan;
      return perRow(ctx, lead, plan, (w, row) => {
        const { a, b } = w;
        const scaled = (x: Expr): Expr => (scale === 1 ? x : a.mul(x, a.num(scale)));
        const get = (k: Expr): Complex => [ctx.load(0, [...row, k, b.i32(0)]), ctx.load(0, [...row, k, b.i32(1)])];
        // The imaginary parts of frequency 0 and of the one that is its own mirror image do not count.
        const isFirst = (k: Expr): Expr => b.binary('eq', k, b.i32(0));
        // Exchanged parts on both sides: the inverse transform.
        if (n % 2 === 1) {
          const half = (n + 1) / 2;
          w.transform(
            plan,
            (k) => {
              const direct = b.binary('lt', k, b.i32(half));
              const [re, im] = get(b.select(direct, k, b.sub(b.i32(n), k)));
              return [a.select(isFirst(k), a.num(0), a.select(direct, im, a.neg(im))), re];
            },
            (i, [, re]) => w.push(ctx.store(0, [...row, i], scaled(re))),
          );
          return;
        }
        w.transform(
          plan,
          (k) => {
            const [xr, rawXi] = get(k);
            const [mr, rawMi] = get(b.sub(b.i32(length), k));
            const [xi, mi] = [a.select(isFirst(k), a.num(0), rawXi), a.select(isFirst(k), a.num(0), rawMi)];
            const difference = w.keep('difference', [a.sub(xr, mr), a.add(xi, mi)]);
            const [c, s] = halfRoot(w, plan, k);
            const [tr, ti] = w.times(difference, [s, c]);
            return [a.add(a.sub(xi, mi), ti), a.add(a.add(xr, mr), tr)];
          },
          (i, [odd, even]) => {
            const at = b.mul(i, b.i32(2));
            w.push(ctx.store(0, [...row, at], scaled(even)), ctx.store(0, [...row, b.add(at, b.i32(1))], scaled(odd)));
          },
        );
      });
    },
  },
  vjp: (ctx, [g]) => [g === null ? null : mul(halfFromReal(g, ctx.attrs.scale), mirrorWeights(ctx.attrs.n, 2, g.dtype)), null],
});

/** `weight` for each frequency with a mirror image, 1 for frequency 0 and for that of alternating signs: [n / 2 + 1, 1]. */
function mirrorWeights(n: number, weight: number, dtype: Tensor['dtype']): Tensor {
  const half = Math.floor(n / 2) + 1;
  const list = Array.from({ length: half }, (_, k) => (k === 0 || 2 * k === n ? 1 : weight));
  return hostConstant(list, dtype, [half, 1]);
}

/** `scale * sum of x[j] e^(-+2 pi i j k / n)` along the last complex axis of [..., n, 2]. */
export function complexFft(x: Tensor, inverse: boolean, scale = 1): Tensor {
  requirePairs(x, 'fft');
  return apply(complexFftPrimitive, [x, fftTable(planFft(x.shape[x.shape.length - 2], false), false, x.dtype)], { inverse, scale })[0];
}
/** The frequencies 0 .. n / 2 of real numbers [..., n]: [..., n / 2 + 1, 2]. */
export function halfFromReal(x: Tensor, scale = 1): Tensor {
  const n = x.shape[x.shape.length - 1] ?? 0;
  if (n < 1)
    throw new ShapeError(`shape ${formatShape(x.shape)}`, {
      op: 'rfft',
      received: x.shape,
      expected: 'at least one element along the axis',
    });
  return apply(realFftPrimitive, [x, fftTable(realPlan(n), n % 2 === 0, x.dtype)], { n, scale })[0];
}
/** The n real numbers with these frequencies, times n (without the usual division): [..., n / 2 + 1, 2] to [..., n]. */
export function realFromHalf(x: Tensor, n: number, scale = 1): Tensor {
  if (!Number.isInteger(n) || n < 1) throw new ShapeError(`${n} elements`, { op: 'irfft', received: n, expected: 'at least one' });
  return apply(inverseRealPrimitive, [x, fftTable(realPlan(n), n % 2 === 0, x.dtype)], { n, scale })[0];
}

export const fftPrimitives = [complexFftPrimitive, realFftPrimitive, inverseRealPrimitive];
