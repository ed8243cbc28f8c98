/** Replays the layers of a file of reference cases: PyTorch's numbers, and all that runLayerTest asks of a layer. */
import { describe, test } from 'vitest';
import { affineGrid, type GridSampleOptions, gridSample, nn, type Tensor } from '../../src/index.js';
import { type LayerCaseJson, type LayerTest, layerCases, layerTestOf, runLayerTest } from './layer-test.js';

class GridSample extends nn.Module<[Tensor, Tensor]> {
  private readonly options: GridSampleOptions;
  constructor(options: GridSampleOptions) {
    super();
    this.options = options;
  }
  override forward(x: Tensor, grid: Tensor): Tensor {
    return gridSample(x, grid, this.options);
  }
}
class AffineGrid extends nn.Module {
  private readonly args: [number[], { alignCorners: boolean }];
  constructor(...args: [number[], { alignCorners: boolean }]) {
    super();
    this.args = args;
  }
  override forward(theta: Tensor): Tensor {
    return affineGrid(theta, ...this.args);
  }
}

type Build = (...args: never[]) => nn.AnyModule;
const construct =
  (Class: new (...args: never[]) => nn.AnyModule): Build =>
  (...args) =>
    new Class(...args);
const special: Readonly<Record<string, Build>> = {
  gridSample: construct(GridSample),
  affineGrid: construct(AffineGrid),
  'weightNorm Linear': (a: number, b: number, o = {}) => nn.weightNorm(new nn.Linear(a, b), o),
  'weightNorm Conv1d': (a: number, b: number, k: number, o = {}) => nn.weightNorm(new nn.Conv1d(a, b, k), o),
  'weightNorm ConvTranspose1d': (a: number, b: number, k: number, o = {}) => nn.weightNorm(new nn.ConvTranspose1d(a, b, k), o),
  'spectralNorm Linear': (a: number, b: number, o = {}) => nn.spectralNorm(new nn.Linear(a, b), o),
  'spectralNorm Conv2d': (a: number, b: number, k: number, o = {}) => nn.spectralNorm(new nn.Conv2d(a, b, k), o),
  'spectralNorm ConvTranspose2d': (a: number, b: number, k: number, o = {}) => nn.spectralNorm(new nn.ConvTranspose2d(a, b, k), o),
};
const builderOf = (op: string): Build =>
  special[op] ?? construct((nn as unknown as Record<string, new (...args: never[]) => nn.AnyModule>)[op]);

/** What single layers need. */
function moreOf(c: LayerCaseJson): Partial<LayerTest> {
  // Differences do not see that the power iteration stands still within one backward pass.
  if (c.op.startsWith('spectralNorm')) return { gradients: 'eval' };
  if (c.op === 'Bilinear' || c.op === 'weightNorm Linear') return { secondOrder: true };
  // Rounding and limits make steps.
  if (c.op === 'gridSample' && c.attrs.mode === 'nearest') return { gradients: 'none' };
  // Sums of many terms that cancel.
  if (c.op === 'LPPool2d' || c.op === 'LPPool3d') return { referenceAtol: 2e-5 };
  if (/^(Batch|Instance|Group)Norm/.test(c.op)) return { referenceRtol: 5e-5, referenceAtol: 2e-5, atol: 5e-6 };
  return {};
}

/** One test for each class of layers in the file. */
export function replayLayers(family: string, file: unknown): void {
  describe(family, () => {
    const byOp = new Map<string, LayerCaseJson[]>();
    for (const c of layerCases(file)) byOp.set(c.op, [...(byOp.get(c.op) ?? []), c]);
    for (const [op, cases] of byOp) {
      test(`${op} (${cases.length})`, () => {
        for (const [i, c] of cases.entries()) {
          try {
            runLayerTest(layerTestOf(c, builderOf(op), { differences: i === 0, ...moreOf(c) }));
          } catch (error) {
            throw new Error(
              `case ${i}: ${op}(${JSON.stringify(c.args)}, ${JSON.stringify(c.attrs)}): ${error instanceof Error ? error.message : String(error)}`,
              { cause: error },
            );
          }
        }
      });
    }
  });
}
