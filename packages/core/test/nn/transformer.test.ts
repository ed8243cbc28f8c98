import { describe, expect, test } from 'vitest';
import { ArgumentError, jit, manualSeed, nn, noGrad, randn, scope, type Tensor } from '../../src/index.js';
import file from '../reference/layers-transformer.json' with { type: 'json' };
import { expectClose } from './close.js';
import { type LayerCaseJson, type LayerTest, layerCases, layerTestOf, runLayerTest } from './layer-test.js';

const numbers = (t: Tensor): number[] => Array.from(t.dataSync(), Number);

type Options = nn.TransformerOptions;
function build(op: string, args: readonly unknown[]): nn.Module<never, Tensor> {
  const [dModel, nhead, numLayers] = args as number[];
  const options = args[args.length - 1] as Options;
  switch (op) {
    case 'TransformerEncoderLayer':
      return new nn.TransformerEncoderLayer(dModel, nhead, options);
    case 'TransformerDecoderLayer':
      return new nn.TransformerDecoderLayer(dModel, nhead, options);
    case 'TransformerEncoder':
      return new nn.TransformerEncoder(() => new nn.TransformerEncoderLayer(dModel, nhead, options), numLayers, {
        norm: new nn.LayerNorm(4),
      });
    case 'TransformerDecoder':
      return new nn.TransformerDecoder(() => new nn.TransformerDecoderLayer(dModel, nhead, options), numLayers);
    default:
      return new nn.Transformer(options);
  }
}
function call(layer: nn.Module<never, Tensor>, ...inputs: readonly Tensor[]): Tensor {
  const sequences = inputs.filter((t) => t.dtype !== 'bool');
  const masks = inputs.filter((t) => t.dtype === 'bool');
  const mask = masks.find((m) => m.shape[0] === 3);
  const padding = masks.find((m) => m.shape[0] === 2);
  if (layer instanceof nn.TransformerEncoderLayer || layer instanceof nn.TransformerEncoder)
    return layer.call(sequences[0], { mask, keyPaddingMask: padding });
  if (layer instanceof nn.TransformerDecoderLayer || layer instanceof nn.TransformerDecoder)
    return layer.call(sequences[0], sequences[1], { tgtMask: mask });
  return (layer as unknown as nn.Transformer).call(sequences[0], sequences[1], { tgtMask: mask });
}
const testOf = (c: LayerCaseJson): LayerTest =>
  layerTestOf(c, ((...args: unknown[]) => build(c.op, args)) as never, {
    call: call as never,
    referenceRtol: 1e-4,
    referenceAtol: 2e-5,
    lr: 0.001,
  }) as LayerTest;

describe("transformers give PyTorch's numbers", () => {
  const cases = layerCases(file);
  test.each(cases.map((c, i) => [c.op, i, JSON.stringify(c.attrs)] as const))('%s, case %i: %s', (_, i) => {
    runLayerTest({ ...testOf(cases[i]), differences: false, rtol: 1e-4, atol: 1e-5 });
  });
});

describe('transformers', () => {
  test('have as many layers as asked, with weights of their own', () => {
    scope(() => {
      const encoder = new nn.TransformerEncoder(() => new nn.TransformerEncoderLayer(4, 2, { dimFeedforward: 8 }), 3);
      expect(encoder.parameters()).toHaveLength(3 * 12);
      expect([...encoder.stateDict().keys()].slice(0, 3)).toEqual([
        'layers.0.self_attn.in_proj_weight',
        'layers.0.self_attn.in_proj_bias',
        'layers.0.self_attn.out_proj.weight',
      ]);
      encoder.dispose();
    });
  });
  test('decode step by step with a cache for each layer', () => {
    scope(() => {
      manualSeed(12);
      const model = new nn.TransformerEncoder(
        () => new nn.TransformerEncoderLayer(8, 2, { dimFeedforward: 8, batchFirst: true, normFirst: true, rotary: true, numKvHeads: 1 }),
        2,
      ).eval();
      const x = randn([1, 5, 8]);
      const wanted = noGrad(() => model.call(x, { isCausal: true }));
      const caches = model.layers.map(() => new nn.KVCache({ batch: 1, heads: 1, features: 4, maxLength: 6 }));
      const step = jit((token: Tensor) => noGrad(() => model.call(token, { caches })));
      for (let t = 0; t < 5; t++)
        expectClose(step(x.narrow(1, t, 1).contiguous()), numbers(wanted.narrow(1, t, 1)), `step ${t}`, 1e-4, 1e-5);
      expect(step.programs).toHaveLength(1);
      expect(() => model.call(x, { caches: caches.slice(1) })).toThrow(ArgumentError);
      step.dispose();
      for (const cache of caches) cache.dispose();
      model.dispose();
    });
  });
  test('the subsequent mask is -infinity above the diagonal', () => {
    scope(() => {
      expect(nn.Transformer.generateSquareSubsequentMask(2).toArray()).toEqual([
        [0, -Infinity],
        [0, 0],
      ]);
    });
  });
});
