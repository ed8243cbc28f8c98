/** Linear layers and convolutions with their bias, and average pooling. */
import type { GraphNode, Operand } from 'trireme/graph';
import { sizeOf } from 'trireme/graph';
import type { Emitter } from '../emitter.js';
import { isWhole, type Matcher } from '../match.js';
import { contractionOf, matrixProduct, roles } from '../primitives/contract.js';
import { convolution, type PoolWindow, transposedConvolution, windowMean, windowsOf } from '../primitives/spatial.js';
import { type Pattern, standsFor } from './pattern.js';

/** The operand as a vector along `axis`, if it repeats along all others. */
function vectorAlong({ value, layout }: Operand, axis: number): Operand | null {
  const moves = layout.shape.some((extent, i) => i !== axis && extent > 1 && layout.strides[i] !== 0);
  const extent = layout.shape[axis];
  const stride = extent > 1 ? layout.strides[axis] : 1;
  if (moves || stride !== 1) return null;
  return { value, layout: { shape: [extent], strides: [1], offset: layout.offset } };
}

/** A product that nothing but this sum reads, and what is added to it. */
function sumOf(
  node: GraphNode,
  matcher: Matcher,
  names: readonly string[],
): { readonly product: GraphNode; readonly bias: Operand } | null {
  for (const [mine, other] of [node.inputs, [node.inputs[1], node.inputs[0]]]) {
    const product = matcher.producer(mine);
    if (product === undefined || !names.includes(product.primitive.name) || !isWhole(mine)) continue;
    if (matcher.usesOf(mine.value) === 1 && other.value !== mine.value) return { product, bias: other };
  }
  return null;
}

const linearBias: Pattern = {
  roots: ['add'],
  find(node, matcher, em) {
    const found = sumOf(node, matcher, ['contract']);
    if (found === null || em.numberOf(found.bias) !== undefined) return null;
    const { product } = found;
    const contraction = contractionOf(product);
    const { batch, m, n, k } = roles(contraction);
    const last = contraction.out[contraction.out.length - 1];
    if (batch.length > 0 || k.length !== 1 || n.length !== 1 || m.length === 0 || n[0] !== last) return null;
    if (product.outputs[0].shape.length !== node.outputs[0].shape.length) return null;
    const bias = vectorAlong(found.bias, node.outputs[0].shape.length - 1);
    if (bias === null) return null;
    return standsFor(node, [...product.inputs, bias], (to) => matrixProduct(product, to, bias) ?? to.fail('a product of this form'));
  },
};

const convBias: Pattern = {
  roots: ['add'],
  find(node, matcher, em) {
    const found = sumOf(node, matcher, ['conv', 'convInputGrad']);
    if (found === null || em.numberOf(found.bias) !== undefined) return null;
    const { product } = found;
    const rank = product.inputs[0].layout.shape.length;
    if (node.outputs[0].shape.length !== (product.attrs.kernelSize as readonly number[]).length + 2 || rank < 3) return null;
    const bias = vectorAlong(found.bias, 1);
    if (bias === null) return null;
    const write = product.primitive.name === 'conv' ? convolution : transposedConvolution;
    return standsFor(node, [...product.inputs, bias], (to) => write(product, to, bias));
  },
};

/** How many elements that exist each window has, row-major. */
function existing(windows: readonly PoolWindow[]): number[] {
  const along = windows.map((w) =>
    Array.from({ length: w.count }, (_, o) => {
      const start = o * w.stride - w.padding;
      return Math.min(start + w.kernel, w.size) - Math.max(start, 0);
    }),
  );
  return along.reduce<number[]>((all, list) => all.flatMap((a) => list.map((b) => a * b)), [1]);
}

/** Sums over windows, one dimension after the other where they are large, as those over all of them. */
function windowsBehind(
  node: GraphNode | undefined,
  matcher: Matcher,
): { readonly x: Operand; readonly windows: readonly PoolWindow[] } | null {
  if (node?.primitive.name !== 'windowSum') return null;
  const windows = windowsOf(node);
  const [x] = node.inputs;
  const idle = (w: PoolWindow): boolean => w.kernel === 1 && w.stride === 1 && w.padding === 0 && w.count === w.size;
  const before = isWhole(x) && matcher.usesOf(x.value) === 1 ? windowsBehind(matcher.producer(x), matcher) : null;
  if (before === null || before.windows.some((w, d) => !idle(w) && !idle(windows[d]))) return { x, windows };
  return { x: before.x, windows: windows.map((w, d) => (idle(w) ? before.windows[d] : w)) };
}

const averagePool: Pattern = {
  roots: ['div'],
  find(node, matcher, em) {
    const [total, divisor] = node.inputs;
    const found = isWhole(total) ? windowsBehind(matcher.producer(total), matcher) : null;
    if (found === null) return null;
    const { x, windows } = found;
    if (windows.some((w) => w.adaptive || w.dilation !== 1)) return null;
    const [{ dtype }] = node.outputs;
    const all = sizeOf(windows.map((w) => w.kernel));
    const counts = existing(windows);
    const number = em.numberOf(divisor);
    if (number !== undefined) {
      return standsFor(node, [x], (to) => {
        const mean = windowMean(to, to.read(x), windows, windows.some((w) => w.padding > 0) || counts.some((c) => c !== all));
        return number === all ? mean : to.op('Mul', [mean.name, to.scalar(all / number, dtype)], dtype, mean.shape);
      });
    }
    return countsOf(divisor, em, counts) ? standsFor(node, [x], (to) => windowMean(to, to.read(x), windows, false)) : null;
  },
};

/** Whether the divisors are the numbers of existing elements. */
function countsOf(divisor: Operand, em: Emitter, counts: readonly number[]): boolean {
  const tensor = em.tensorOf(divisor.value);
  if (tensor === undefined || tensor.numel !== counts.length) return false;
  const values = tensor.dataSync();
  return counts.every((count, i) => Number(values[i]) === count);
}

export const productPatterns: readonly Pattern[] = [linearBias, convBias, averagePool];
