/** Which parameters decay. */
import type { Module } from '../nn/module.js';
import type { Tensor } from '../tensor/tensor.js';

export interface SplitDecayOptions {
  /** Weight decay of the parameters that have one; default 0.01. */
  readonly weightDecay?: number;
  /** True for further parameters without decay, by name and tensor (embeddings, for example). */
  readonly exclude?: (name: string, parameter: Tensor) => boolean;
}

/** A group of parameters with its weight decay. */
export interface DecayGroup {
  readonly params: readonly Tensor[];
  readonly weightDecay: number;
}

/**
 * The parameters of a model in two groups for an optimizer: weights, which decay, and biases, the scales of normalizations
 * and other tensors of less than two dimensions, which do not. Frozen parameters are left out, empty groups too.
 */
export function splitDecay<Args extends readonly unknown[], Out>(
  model: Module<Args, Out>,
  { weightDecay = 0.01, exclude = () => false }: SplitDecayOptions = {},
): DecayGroup[] {
  const decayed: Tensor[] = [];
  const free: Tensor[] = [];
  const normalizers = new Set<Tensor>();
  for (const [, module] of model.namedModules()) {
    if (/Norm(\dd)?$/.test(module.constructor.name)) for (const p of module.parameters()) normalizers.add(p);
  }
  for (const [name, p] of model.namedParameters()) {
    if (!p.requiresGrad) continue;
    const exempt = p.shape.length < 2 || normalizers.has(p) || /(^|\.)bias$/.test(name) || exclude(name, p);
    (exempt ? free : decayed).push(p);
  }
  return [
    { params: decayed, weightDecay },
    { params: free, weightDecay: 0 },
  ].filter((group) => group.params.length > 0);
}
