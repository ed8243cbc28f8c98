/** runLayerTest finds what is wrong with a layer. */
import { describe, expect, test } from 'vitest';
import { add, customFunction, keep, manualSeed, mul, nn, ones, randn, sum, type Tensor } from '../../src/index.js';
import { runLayerTest } from './layer-test.js';

abstract class Scale extends nn.Module {
  weight = nn.parameter(ones([3]));
}
const check = (make: () => nn.Module): void => runLayerTest({ layer: make, inputs: [[2, 3]], outputShape: [2, 3] });

class Right extends Scale {
  override forward(x: Tensor): Tensor {
    return mul(x, this.weight);
  }
}
class WrongGradient extends Scale {
  private readonly product = customFunction({
    forward: (ctx, x: Tensor, w: Tensor) => {
      ctx.saveForBackward(x, w);
      return mul(x, w);
    },
    backward: (ctx, g) => {
      const [x, w] = ctx.savedTensors;
      return g === null ? [null, null] : [mul(g, w), mul(sum(mul(g, x), 0), 1.1)];
    },
  });
  override forward(x: Tensor): Tensor {
    return this.product(x, this.weight);
  }
}
class WrongDirection extends Scale {
  private readonly product = customFunction({
    forward: (ctx, x: Tensor, w: Tensor) => {
      ctx.saveForBackward(x, w);
      return mul(x, w);
    },
    backward: (ctx, g) => (g === null ? [null, null] : [mul(g, ctx.savedTensors[1]), sum(mul(g, ctx.savedTensors[0]), 0).neg()]),
  });
  override forward(x: Tensor): Tensor {
    return this.product(x, this.weight);
  }
}
class Leaky extends Scale {
  override forward(x: Tensor): Tensor {
    return mul(add(x, 1), this.weight);
  }
}
class Hoarder extends Scale {
  override forward(x: Tensor): Tensor {
    keep(mul(x, 2));
    return mul(x, this.weight);
  }
}
class Forgetful extends Scale {
  private readonly hidden = keep(randn([3]));
  override forward(x: Tensor): Tensor {
    return mul(mul(x, this.hidden), this.weight);
  }
}
class Counting extends Scale {
  private calls = 0;
  override forward(x: Tensor): Tensor {
    this.calls++;
    return mul(mul(x, this.calls), this.weight);
  }
}
class Idle extends Scale {
  other = nn.parameter(ones([1]));
  override forward(x: Tensor): Tensor {
    return mul(x, this.weight);
  }
}

describe('runLayerTest', () => {
  test('passes a layer that is right', () => {
    check(() => new Right());
  });
  test.each<[string, () => nn.Module, RegExp]>([
    ['a gradient that is off', () => new WrongGradient(), /differences give/],
    ['temporaries left behind', () => new Leaky(), /tensors left by a call/],
    ['tensors that nobody frees', () => new Hoarder(), /tensors left by a call/],
    ['state missing in stateDict()', () => new Forgetful(), /fresh layer with the same state/],
    ['numbers that change from call to call', () => new Counting(), /evaluation twice/],
    ['a parameter without gradient', () => new Idle(), /no gradient reaches other/],
  ])('finds %s', (_name, make, message) => {
    manualSeed(1);
    expect(() => check(make)).toThrow(message);
  });
  test('finds a step in the wrong direction, wrong shapes and keys', () => {
    const layer = {
      layer: () => new WrongDirection(),
      inputs: [[2, 3]],
      outputShape: [2, 3],
      gradients: 'eval',
      differences: false,
    } as const;
    expect(() => runLayerTest(layer)).toThrow(/loss after a training step/);
    expect(() => runLayerTest({ layer: () => new Right(), inputs: [[2, 3]], outputShape: [3, 2] })).toThrow(/output shapes/);
    expect(() => runLayerTest({ layer: () => new Right(), inputs: [[2, 3]], outputShape: [2, 3], stateKeys: ['w'] })).toThrow(
      /keys of stateDict/,
    );
    expect(() => runLayerTest({ layer: () => new Right(), inputs: [[2, 3]], outputShape: [2, 3], outputDtype: 'float64' })).toThrow(
      /dtype/,
    );
  });
});
