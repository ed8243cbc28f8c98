/** The recorded curves, and training along them. */
import { expect } from 'vitest';
import { jit, type nn, scope, type Tensor } from '../../src/index.js';
import reference from '../reference/parity.json' with { type: 'json' };
import { batches, initial, toTensor } from './data.js';
import { models, type ParityModel } from './models.js';

interface Curve {
  readonly op: string;
  /** Shapes by PyTorch's names. */
  readonly state: Readonly<Record<string, readonly number[]>>;
  /** Names that stand for the tensor of another name. */
  readonly tied: Readonly<Record<string, string>>;
  /** The losses in float64, and in float32. */
  readonly losses: readonly number[];
  readonly losses32: readonly number[];
  /** First, middle and last element of each tensor at the end, and a weighted sum of all; float64. */
  readonly after: Readonly<Record<string, readonly number[]>>;
}
export const curves = reference.cases as unknown as readonly Curve[];

/** Loads weights under the names that PyTorch gives them. */
export function load(net: nn.AnyModule, { state, tied }: Curve, dtype: 'float32' | 'float64'): void {
  net.to(dtype);
  const own = net.stateDict();
  const weights = new Map<string, Tensor>();
  for (const [name, shape] of Object.entries(state)) {
    const isStatistic = /running_|num_batches/.test(name);
    const source = tied[name] ?? name;
    const value = isStatistic ? own.get(source) : initial(source, shape, dtype);
    if (value !== undefined) weights.set(name, value);
  }
  net.loadStateDict(weights);
  expect([...net.stateDict()].map(([name, t]) => [name, t.shape])).toEqual(Object.entries(state));
}

export function run(curve: Curve, dtype: 'float32' | 'float64', compiled: boolean): { losses: number[]; model: ParityModel } {
  const model = models[curve.op]();
  scope(() => load(model.net, curve, dtype));
  const { optimizer, schedule } = model.train();
  const body = (...batch: Tensor[]): Tensor => {
    optimizer.zeroGrad();
    const loss = model.loss(...batch);
    loss.backward();
    model.clip?.();
    optimizer.step();
    return loss.detach();
  };
  const program = compiled ? jit(body) : null;
  const step = program ?? body;
  const losses = curve.losses.map((_, i) =>
    scope(() => {
      const loss = step(...batches[curve.op](i).map((part) => toTensor(part, dtype))).item();
      schedule?.step();
      return Number(loss);
    }),
  );
  if (program !== null) expect(program.programs).toHaveLength(1);
  optimizer.zeroGrad();
  optimizer.dispose();
  return { losses, model };
}

export function fingerprint(t: Tensor): number[] {
  const values = Array.from(t.dataSync(), Number);
  const total = values.reduce((sum, v, i) => sum + v * ((((7 * i + 3) % 11) - 5.5) / 4), 0);
  return [values[0], values[Math.floor(values.length / 2)], values[values.length - 1], total];
}

export const furthest = (a: readonly number[], b: readonly number[]): number => Math.max(...a.map((v, i) => Math.abs(v - b[i])));

/**
 * float32 losses may be this many times as far from the float64 curve as PyTorch's own float32 losses are at their furthest: sums
 * are taken in another order, and round in another way.
 */
export const slack = 3;
