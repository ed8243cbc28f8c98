/** A hundred steps of training follow PyTorch's, from the same weights and batches: losses, then weights and running statistics. */
import { describe, expect, test } from 'vitest';
import { curves, fingerprint, furthest, run, slack } from './harness.js';

/** These run operation by operation too. */
const eager = ['mlp', 'cnn', 'recommender', 'vae'];

describe.each(curves.map((c) => [c.op, c] as const))('%s', (op, curve) => {
  test('float64: losses, weights and statistics are those of PyTorch', () => {
    const { losses, model } = run(curve, 'float64', true);
    expect(furthest(losses, curve.losses)).toBeLessThan(1e-12);
    const state = model.net.stateDict();
    for (const [name, expected] of Object.entries(curve.after)) {
      const t = state.get(name);
      // What moves by the rounding of a gradient that is 0 (a bias before a normalization) differs most.
      expect(t && furthest(fingerprint(t), expected), name).toBeLessThan(1e-9);
    }
    model.net.dispose();
  });

  test.each(eager.includes(op) ? [true, false] : [true])(
    'float32: losses are about as exact as those of PyTorch (compiled: %s)',
    (compiled) => {
      const { losses, model } = run(curve, 'float32', compiled);
      expect(furthest(losses, curve.losses)).toBeLessThan(slack * furthest(curve.losses32, curve.losses));
      model.net.dispose();
    },
  );
});
