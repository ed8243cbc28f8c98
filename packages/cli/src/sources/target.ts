/** Targets as the loss takes them, and outputs as people read them. */
import type { Field } from 'trireme/data';
import type { Json } from 'trireme/train';

/** What is predicted. */
export type TargetFacts =
  | { readonly kind: 'class'; readonly classes: readonly string[] }
  /** 0 and 1 as float32 [n, 1]: the probability of the second class. */
  | { readonly kind: 'binary'; readonly classes: readonly string[] }
  | { readonly kind: 'number'; readonly names: readonly string[] };

/** How outputs become probabilities. */
export type Link = 'softmax' | 'exp' | 'sigmoid' | 'none';
const links: Readonly<Record<string, Link>> = {
  CrossEntropyLoss: 'softmax',
  FocalLoss: 'softmax',
  NLLLoss: 'exp',
  BCEWithLogitsLoss: 'sigmoid',
  SigmoidFocalLoss: 'sigmoid',
};
export const linkOf = (loss: string): Link => (Object.hasOwn(links, loss) ? links[loss] : 'none');
export const isBinaryLoss = (loss: string): boolean => ['BCEWithLogitsLoss', 'BCELoss', 'SigmoidFocalLoss'].includes(loss);

/** Class numbers as the field of targets. */
export function classField(numbers: ArrayLike<number>, kind: 'class' | 'binary'): Field {
  return kind === 'class' ? { data: Int32Array.from(numbers), shape: [] } : { data: Float32Array.from(numbers), shape: [1] };
}

const rounded = (value: number): number => Number(value.toPrecision(6));

function probabilities(row: readonly number[], link: Link): number[] {
  if (link === 'exp') return row.map(Math.exp);
  if (link === 'sigmoid') return row.map((v) => 1 / (1 + Math.exp(-v)));
  if (link === 'none') return [...row];
  const top = Math.max(...row);
  const powers = row.map((v) => Math.exp(v - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((v) => v / sum);
}

/** Outputs [n, ...] as one entry an item. */
export function describeOutputs(
  output: { readonly data: ArrayLike<number | bigint>; readonly shape: readonly number[] },
  names: readonly string[],
  target: TargetFacts,
  link: Link,
): Json[] {
  const width = output.shape.slice(1).reduce((a, b) => a * b, 1);
  return names.map((input, i): Json => {
    const row = Array.from({ length: width }, (_, j) => Number(output.data[i * width + j]));
    if (target.kind === 'number' && width === target.names.length) {
      return { input, ...Object.fromEntries(target.names.map((name, j) => [name, rounded(row[j])])) };
    }
    if (target.kind === 'binary' && width === 1) {
      const [p] = probabilities(row, link);
      return { input, class: target.classes[p >= 0.5 ? 1 : 0] ?? String(Number(p >= 0.5)), probability: rounded(Math.max(p, 1 - p)) };
    }
    if (target.kind === 'class' && output.shape.length === 2 && width > 1) {
      const p = probabilities(row, link);
      const best = p.reduce((at, v, j) => (v > p[at] ? j : at), 0);
      const nameOf = (j: number): string => target.classes[j] ?? String(j);
      return {
        input,
        class: nameOf(best),
        ...(link === 'none' ? {} : { probability: rounded(p[best]) }),
        ...(width <= 20 && link !== 'none' ? { probabilities: Object.fromEntries(p.map((v, j) => [nameOf(j), rounded(v)])) } : {}),
      };
    }
    return { input, output: row.map(rounded) };
  });
}
