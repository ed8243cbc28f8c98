import { describe, expect, test } from 'vitest';
import {
  ArgumentError,
  add,
  cond,
  grad,
  jit,
  manualSeed,
  mul,
  nn,
  noGrad,
  ones,
  randn,
  sum,
  type Tensor,
  tensor,
} from '../../src/index.js';
import { scope } from '../../src/tensor/scope.js';

const values = (t: Tensor): number[] => Array.from(t.dataSync(), Number);

/** A linear layer [[1, 2], [3, 4]] without bias. */
function fixed(): nn.Linear {
  const layer = new nn.Linear(2, 2, { bias: false });
  noGrad(() =>
    layer.weight.copy_(
      tensor([
        [1, 2],
        [3, 4],
      ]),
    ),
  );
  return layer;
}

describe('forward hooks', () => {
  test('see arguments and output, in the order of registration', () => {
    const layer = fixed();
    const seen: unknown[] = [];
    layer.registerForwardPreHook((module, args) => {
      seen.push(['pre', module === (layer as unknown), args.length]);
    });
    layer.registerForwardHook((_module, args, output) => {
      seen.push(['first', (args[0] as Tensor).shape, (output as Tensor).shape]);
    });
    layer.registerForwardHook(() => {
      seen.push('second');
    });
    layer.call(ones([3, 2]));
    expect(seen).toEqual([['pre', true, 1], ['first', [3, 2], [3, 2]], 'second']);
  });
  test('replace arguments and output until they are removed', () => {
    const layer = fixed();
    const pre = layer.registerForwardPreHook((_m, [x]) => mul(x as Tensor, 10));
    const post = layer.registerForwardHook((_m, _a, y) => add(y as Tensor, 1));
    const x = tensor([[1, 1]]);
    expect(values(layer.call(x))).toEqual([31, 71]);
    pre.remove();
    expect(values(layer.call(x))).toEqual([4, 8]);
    post.remove();
    expect(values(layer.call(x))).toEqual([3, 7]);
  });
  test('inside jit: a change of the hooks traces anew, and going back finds the former program', () => {
    const layer = fixed();
    const run = jit((x: Tensor) => layer.call(x).detach());
    const x = tensor([[1, 1]]);
    expect(values(run(x))).toEqual([3, 7]);
    let calls = 0;
    const handle = layer.registerForwardHook((_m, _a, y) => {
      calls++;
      return mul(y as Tensor, 2);
    });
    expect(values(run(x))).toEqual([6, 14]);
    expect(values(run(x))).toEqual([6, 14]);
    expect(calls).toBe(1);
    handle.remove();
    expect(values(run(x))).toEqual([3, 7]);
    expect(run.programs).toHaveLength(2);
    run.dispose();
  });
  test('and the training mode count inside the branches of a compiled condition too', () => {
    const layer = fixed();
    const drop = new nn.Dropout(1);
    const run = jit((x: Tensor) =>
      cond(
        sum(x).gt(0),
        () => [drop.call(layer.call(x)).detach()],
        () => [mul(x, 1)],
      ),
    );
    const x = tensor([[1, 1]]);
    expect(values(run(x)[0])).toEqual([0, 0]);
    drop.eval();
    expect(values(run(x)[0])).toEqual([3, 7]);
    layer.registerForwardHook((_m, _a, y) => mul(y as Tensor, 2));
    expect(values(run(x)[0])).toEqual([6, 14]);
    run.dispose();
  });
  test('work on modules inside others, and collect what flows through', () => {
    manualSeed(1);
    const net = new nn.Sequential(new nn.Linear(3, 4), new nn.ReLU(), new nn.Linear(4, 2));
    const shapes: string[] = [];
    for (const [name, module] of net.namedModules())
      if (name !== '') module.registerForwardHook((_m, _a, y) => void shapes.push(`${name} ${(y as Tensor).shape.join('x')}`));
    scope(() => void net.call(randn([5, 3])));
    expect(shapes).toEqual(['0 5x4', '1 5x4', '2 5x2']);
  });
});

describe('full backward hooks', () => {
  test('see the gradients of inputs and outputs', () => {
    const layer = fixed();
    const seen: number[][] = [];
    layer.registerFullBackwardHook((_m, gradInput, gradOutput) => {
      seen.push(values(gradInput[0] as Tensor), values(gradOutput[0] as Tensor));
    });
    const x = tensor([[1, 1]], { requiresGrad: true });
    sum(mul(layer.call(x), tensor([[1, 10]]))).backward();
    expect(seen).toEqual([
      [31, 42],
      [1, 10],
    ]);
    expect(values(x.grad as Tensor)).toEqual([31, 42]);
  });
  test('replace the gradient of the input, not of the parameters', () => {
    const layer = fixed();
    layer.registerFullBackwardHook((_m, [g]) => [mul(g as Tensor, 2)]);
    const x = tensor([[1, 1]], { requiresGrad: true });
    sum(layer.call(x)).backward();
    expect(values(x.grad as Tensor)).toEqual([8, 12]);
    expect(values(layer.weight.grad as Tensor)).toEqual([1, 1, 1, 1]);
  });
  test('run where the input has no gradient', () => {
    const layer = fixed();
    let seen: readonly (Tensor | null)[] | null = null;
    const handle = layer.registerFullBackwardHook((_m, gradInput) => {
      seen = gradInput;
    });
    sum(layer.call(ones([1, 2]))).backward();
    expect(seen).toEqual([null]);
    seen = null;
    handle.remove();
    sum(layer.call(ones([1, 2]))).backward();
    expect(seen).toBeNull();
  });
  test('are part of a compiled step', () => {
    const layer = fixed();
    layer.registerFullBackwardHook((_m, [g]) => [mul(g as Tensor, 2)]);
    const step = jit((x: Tensor) => grad(sum(layer.call(x)), [x])[0] as Tensor);
    const x = tensor([[1, 1]], { requiresGrad: true });
    expect(values(step(x))).toEqual([8, 12]);
    step.dispose();
  });
  test('must give one gradient an input', () => {
    const layer = fixed();
    layer.registerFullBackwardHook(() => []);
    const x = tensor([[1, 1]], { requiresGrad: true });
    expect(() => sum(layer.call(x)).backward()).toThrow(ArgumentError);
  });
});
