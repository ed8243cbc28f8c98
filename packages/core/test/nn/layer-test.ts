/**
 * One call checks a layer: shapes and dtypes, eager against jit, its state in a fresh layer, its gradients in float64, a
 * training step, training and evaluation, freed memory, and PyTorch's numbers where a reference case is given.
 */
import { expect } from 'vitest';
import { checkGrads } from '../../src/autograd/check.js';
import { grad } from '../../src/autograd/engine.js';
import { noGrad } from '../../src/autograd/mode.js';
import { PhiloxStream } from '../../src/data/philox.js';
import { type DType, isFloat } from '../../src/dtype.js';
import { jit } from '../../src/jit.js';
import type { AnyModule, Module } from '../../src/nn/module.js';
import { add, mul, sub } from '../../src/ops/binary.js';
import { mean, sum } from '../../src/ops/reduce.js';
import { square } from '../../src/ops/unary.js';
import { SGD } from '../../src/optim/sgd.js';
import { createFromArray, readSync } from '../../src/tensor/dispatch.js';
import { manualSeed } from '../../src/tensor/generator.js';
import { memoryInfo } from '../../src/tensor/memory.js';
import { scope } from '../../src/tensor/scope.js';
import { Tensor } from '../../src/tensor/tensor.js';
import { cotangent, numbersOf, type TensorJson, tensorOf } from '../ops/cases.js';

/** A layer as PyTorch ran it, written by tools/reference/families/layers.py. */
export interface LayerCaseJson {
  /** The class, in this library's spelling. */
  readonly op: string;
  /** Positional arguments of its constructor. */
  readonly args: readonly unknown[];
  /** Its options. */
  readonly attrs: Readonly<Record<string, unknown>>;
  /** stateDict() before the run. */
  readonly state: Readonly<Record<string, TensorJson>>;
  readonly inputs: readonly TensorJson[];
  /** In training mode. */
  readonly outputs: readonly TensorJson[];
  /** One an input; null where there is none. */
  readonly grads: readonly (TensorJson | null)[];
  readonly parameterGrads: Readonly<Record<string, TensorJson>>;
  /** Entries of stateDict() that the run changed. */
  readonly stateAfter: Readonly<Record<string, TensorJson>>;
  /** In evaluation mode, after the run. */
  readonly evalOutputs: readonly TensorJson[];
}

/** An input: a shape to fill with numbers from -1.5 to 1.5, or a function that makes the tensor (`dtype` for floating ones). */
export type LayerInput = readonly number[] | ((dtype: DType) => Tensor);

export interface LayerTest<M extends AnyModule = AnyModule> {
  /** Makes the layer; called several times. */
  readonly layer: () => M;
  readonly inputs: readonly LayerInput[];
  /** One shape, or one for each output. */
  readonly outputShape: readonly number[] | readonly (readonly number[])[];
  /** Default float32. */
  readonly outputDtype?: DType;
  /** How the layer is called, where it is not `layer.call(...inputs)` with tensors as the result. */
  readonly call?: (layer: M, ...inputs: readonly Tensor[]) => Tensor | readonly Tensor[];
  /** The keys of stateDict(), in order. */
  readonly stateKeys?: readonly string[];
  readonly reference?: LayerCaseJson;
  /** The output in training depends on the random generator. */
  readonly stochastic?: boolean;
  /** In which mode gradients are compared with differences; default 'train', for stochastic layers 'eval'. */
  readonly gradients?: 'train' | 'eval' | 'none';
  /** false: no differences, where PyTorch's gradients say enough. Default true. */
  readonly differences?: boolean;
  /** Also the gradient of the gradient. */
  readonly secondOrder?: boolean;
  /** Step size of the training step that must reduce a squared error; default 0.01. null for layers it makes no sense for. */
  readonly lr?: number | null;
  /** Between eager and jit; default 1e-5 relative, 1e-6 absolute. */
  readonly rtol?: number;
  readonly atol?: number;
  /** Against PyTorch; default 2e-5 relative, 5e-6 absolute. */
  readonly referenceRtol?: number;
  readonly referenceAtol?: number;
  /** Parameters that may have no gradient (rows never looked up, say). */
  readonly unused?: readonly string[];
  /** false: a call without gradients may leave temporary tensors to the enclosing scope. */
  readonly freesTemporaries?: boolean;
}

const seed = 20;

function makeInput(input: LayerInput, k: number, dtype: DType): Tensor {
  if (typeof input === 'function') return input(dtype);
  const stream = new PhiloxStream(seed, k);
  const size = input.reduce((n, extent) => n * extent, 1);
  return createFromArray(
    Array.from({ length: size }, (_, i) => 3 * stream.uniform(i) - 1.5),
    dtype,
    input,
  );
}

function makeInputs(inputs: readonly LayerInput[], dtype: DType = 'float32', requiresGrad = false): Tensor[] {
  return inputs.map((input, k) => {
    const t = makeInput(input, k, dtype);
    t.requiresGrad = requiresGrad && isFloat(t.dtype);
    return t;
  });
}

const listOf = (result: Tensor | readonly Tensor[]): readonly Tensor[] => (result instanceof Tensor ? [result] : result);
const numbers = (t: Tensor): number[] => Array.from(readSync(t), Number);

/** Fails unless each number is within `atol + rtol * |wanted|`. */
function expectClose(actual: Tensor, wanted: readonly number[], what: string, rtol: number, atol: number): void {
  const got = numbers(actual);
  expect(got.length, `${what}: number of elements`).toBe(wanted.length);
  wanted.forEach((w, i) => {
    const g = got[i];
    if (Object.is(g, w) || g === w || (Number.isNaN(g) && Number.isNaN(w))) return;
    if (!(Math.abs(g - w) <= atol + rtol * Math.abs(w)))
      expect.fail(
        `${what}: element ${i} is ${g}, expected ${w}\n got ${got.slice(0, 64).join(' ')}\n want ${wanted.slice(0, 64).join(' ')}`,
      );
  });
}

/** Copies of a layer's state. */
function snapshot(layer: AnyModule): Map<string, Tensor> {
  return new Map(Array.from(layer.stateDict(), ([key, t]) => [key, noGrad(() => t.detach().clone())]));
}

/** Where in the tree of modules each parameter stands. */
function slotsOf(layer: AnyModule): { readonly owner: AnyModule; readonly property: string; readonly value: Tensor }[] {
  const parameters = new Set(layer.parameters());
  const slots: { owner: AnyModule; property: string; value: Tensor }[] = [];
  for (const owner of layer.modules())
    for (const [property, value] of Object.entries(owner))
      if (value instanceof Tensor && parameters.has(value)) slots.push({ owner, property, value });
  return slots;
}

interface TrainRun {
  readonly outputs: readonly Tensor[];
  /** Of the floating inputs, then of the parameters. */
  readonly grads: readonly (Tensor | null)[];
}

/** The test that belongs to a reference case: its inputs, shapes and state keys, with a factory for the layer. */
export function layerTestOf<M extends AnyModule>(
  c: LayerCaseJson,
  build: (...args: never[]) => M,
  more: Partial<LayerTest<M>> = {},
): LayerTest<M> {
  const construct = build as unknown as (...args: unknown[]) => M;
  return {
    layer: () => (Object.keys(c.attrs).length > 0 ? construct(...c.args, c.attrs) : construct(...c.args)),
    inputs: c.inputs.map((json) => (dtype: DType) => {
      const t = tensorOf(json);
      return isFloat(t.dtype) && t.dtype !== dtype ? t.to(dtype) : t;
    }),
    outputShape: c.outputs.length === 1 ? c.outputs[0].shape : c.outputs.map((o) => o.shape),
    outputDtype: c.outputs[0].dtype,
    stateKeys: Object.keys(c.state),
    reference: c,
    ...more,
  };
}

/** The cases of one class in a file of layer cases. */
export function layerCases(file: unknown, op?: string): LayerCaseJson[] {
  const { cases } = file as { readonly cases: readonly LayerCaseJson[] };
  return op === undefined ? [...cases] : cases.filter((c) => c.op === op);
}

/** Checks everything a layer must satisfy. Call it inside a test. */
export function runLayerTest<M extends AnyModule>(test: LayerTest<M>): void {
  const disposables: { dispose(): void }[] = [];
  try {
    scope(() => checkLayer(test, disposables));
  } finally {
    for (const d of disposables) d.dispose();
  }
}

function checkLayer<M extends AnyModule>(test: LayerTest<M>, disposables: { dispose(): void }[]): void {
  const call = test.call ?? ((layer: M, ...inputs: readonly Tensor[]) => (layer as unknown as Module<readonly Tensor[]>).call(...inputs));
  const run = (layer: M, inputs: readonly Tensor[]): readonly Tensor[] => listOf(call(layer, ...inputs));
  const fresh = (from?: ReadonlyMap<string, Tensor>): M => {
    manualSeed(from === undefined ? seed : seed + 1);
    const layer = test.layer();
    if (from !== undefined) layer.loadStateDict(from);
    disposables.push(layer);
    return layer;
  };
  const { rtol = 1e-5, atol = 1e-6 } = test;

  const layer = fresh();
  const start = snapshot(layer);
  if (test.stateKeys !== undefined) expect([...start.keys()], 'keys of stateDict()').toEqual([...test.stateKeys]);
  const inputs = makeInputs(test.inputs);

  // Shapes and dtypes.
  const outputs = noGrad(() => run(layer, inputs));
  const shapes = test.outputShape.length === 0 || typeof test.outputShape[0] === 'number' ? [test.outputShape] : test.outputShape;
  expect(
    outputs.map((o) => [...o.shape]),
    'output shapes',
  ).toEqual(shapes);
  for (const o of outputs) if (isFloat(o.dtype)) expect(o.dtype, 'output dtype').toBe(test.outputDtype ?? 'float32');

  // State round trip, and evaluation gives the same numbers each time.
  const state = snapshot(layer);
  layer.eval();
  const again = fresh(state);
  again.eval();
  noGrad(() => {
    const first = run(layer, inputs).map(numbers);
    expect(run(layer, inputs).map(numbers), 'evaluation twice').toEqual(first);
    expect(run(again, inputs).map(numbers), 'a fresh layer with the same state').toEqual(first);
    const compiled = jit((...xs: readonly Tensor[]) => [...run(layer, xs)]);
    disposables.push(compiled);
    compiled(...inputs).forEach((o, k) => {
      expectClose(o, first[k], `evaluation in jit: output ${k}`, rtol, atol);
    });
  });
  for (const module of again.modules()) expect(module.training, 'training after eval()').toBe(false);
  for (const module of again.train().modules()) expect(module.training, 'training after train()').toBe(true);

  // Forward and backward in training mode, eager and compiled, from the same state.
  const weights = outputs.map((o) => (isFloat(o.dtype) ? cotangent(o.shape, o.dtype) : null));
  const trainOnce = (l: M, xs: readonly Tensor[]): TrainRun => {
    const outs = run(l, xs);
    const parts = outs.flatMap((o, k) => {
      const w = weights[k];
      return w !== null && o.requiresGrad ? [sum(mul(o, w))] : [];
    });
    const leaves = [...xs.filter((x) => x.requiresGrad), ...l.parameters()];
    const grads =
      parts.length === 0
        ? leaves.map(() => null)
        : grad(
            parts.reduce((a, b) => add(a, b)),
            leaves,
            { allowUnused: true },
          );
    return { outputs: outs.map((o) => o.detach()), grads };
  };
  const eagerLayer = fresh(start);
  const leaves = makeInputs(test.inputs, 'float32', true);
  manualSeed(seed);
  const eager = trainOnce(eagerLayer, leaves);
  const jitLayer = fresh(start);
  const compiledTraining = jit((...xs: readonly Tensor[]) => trainOnce(jitLayer, xs));
  disposables.push(compiledTraining);
  manualSeed(seed);
  const compiled = compiledTraining(...leaves);
  eager.outputs.forEach((o, k) => {
    expectClose(compiled.outputs[k], numbers(o), `training in jit: output ${k}`, rtol, atol);
  });
  const leafNames = [
    ...test.inputs.flatMap((_, k) => (leaves[k].requiresGrad ? [`input ${k}`] : [])),
    ...Array.from(eagerLayer.namedParameters(), ([name]) => name),
  ];
  eager.grads.forEach((g, k) => {
    const name = leafNames[k];
    const other = compiled.grads[k];
    if (g === null || other === null) {
      expect(g, `gradient of ${name}, eager and in jit`).toBe(other);
      if (test.gradients !== 'none' && !test.unused?.includes(name)) expect.fail(`no gradient reaches ${name}`);
      return;
    }
    expectClose(other, numbers(g), `gradient of ${name} in jit`, rtol, atol * 10);
  });
  const after = eagerLayer.stateDict();
  for (const [key, t] of jitLayer.stateDict()) expectClose(t, numbers(after.get(key) as Tensor), `${key} after a call in jit`, rtol, atol);

  if (test.reference !== undefined) checkReference(test, test.reference, fresh, run);
  checkDifferences(test, fresh, run);
  checkTrainingStep(test, fresh, run, disposables);
  checkMemory(test, layer, run);
}

function checkReference<M extends AnyModule>(
  test: LayerTest<M>,
  c: LayerCaseJson,
  fresh: (from: ReadonlyMap<string, Tensor>) => M,
  run: (layer: M, inputs: readonly Tensor[]) => readonly Tensor[],
): void {
  const { referenceRtol: rtol = 2e-5, referenceAtol: atol = 5e-6 } = test;
  const layer = fresh(new Map(Object.entries(c.state).map(([key, json]) => [key, tensorOf(json)])));
  const inputs = c.inputs.map((json, k) => {
    const t = tensorOf(json);
    t.requiresGrad = c.grads[k] !== null && c.grads[k] !== undefined;
    return t;
  });
  const same = (t: Tensor, json: TensorJson, what: string, slack = 1): void => {
    expect([...t.shape], `PyTorch: ${what}: shape`).toEqual([...json.shape]);
    expectClose(t, numbersOf(json), `PyTorch: ${what}`, rtol * slack, atol * slack);
  };
  const outputs = run(layer, inputs);
  outputs.forEach((o, k) => {
    same(o, c.outputs[k], `output ${k}`);
  });
  const named = [...layer.namedParameters()].filter(([name]) => name in c.parameterGrads);
  expect(
    named.map(([name]) => name),
    'parameters with gradients',
  ).toEqual(Object.keys(c.parameterGrads));
  const wanted = [...inputs.filter((x) => x.requiresGrad), ...named.map(([, p]) => p)];
  if (wanted.length > 0) {
    const parts = outputs.filter((o) => o.requiresGrad).map((o) => sum(mul(o, cotangent(o.shape, o.dtype))));
    const total = parts.reduce((a, b) => add(a, b));
    const grads = grad(total, wanted, { allowUnused: true });
    const expected = [...c.grads.filter((g) => g !== null), ...Object.values(c.parameterGrads)];
    const names = [...inputs.flatMap((x, k) => (x.requiresGrad ? [`input ${k}`] : [])), ...named.map(([name]) => name)];
    grads.forEach((g, k) => {
      // PyTorch gives zeros where nothing flows.
      if (g === null)
        expect(
          numbersOf(expected[k]).some((v) => v !== 0),
          `gradient of ${names[k]} is 0`,
        ).toBe(false);
      else same(g, expected[k], `gradient of ${names[k]}`, 2);
    });
  }
  const state = layer.stateDict();
  for (const [key, json] of Object.entries(c.stateAfter)) same(state.get(key) as Tensor, json, `${key} after the call`);
  layer.eval();
  noGrad(() => {
    run(layer, inputs).forEach((o, k) => {
      same(o, c.evalOutputs[k], `output ${k} in evaluation`);
    });
  });
}

/** Analytic gradients of inputs and parameters against central differences, in float64. */
function checkDifferences<M extends AnyModule>(
  test: LayerTest<M>,
  fresh: () => M,
  run: (layer: M, inputs: readonly Tensor[]) => readonly Tensor[],
): void {
  const mode = test.gradients ?? (test.stochastic ? 'eval' : 'train');
  if (mode === 'none' || test.differences === false) return;
  const layer = fresh();
  layer.to('float64').train(mode === 'train');
  const inputs = makeInputs(test.inputs, 'float64');
  const slots = slotsOf(layer);
  if (inputs.every((x) => x.dtype !== 'float64') && slots.length === 0) return;
  const values = slots.map(({ value }) => value.detach().clone());
  checkGrads(
    (...all) => {
      const [xs, parameters] = [all.slice(0, inputs.length), all.slice(inputs.length)];
      slots.forEach(({ owner, property }, i) => {
        Object.assign(owner, { [property]: parameters[i] });
      });
      try {
        return run(layer, xs);
      } finally {
        for (const { owner, property, value } of slots) Object.assign(owner, { [property]: value });
      }
    },
    [...inputs, ...values],
    { name: layer.constructor.name, order: test.secondOrder ? 2 : 1 },
  );
}

function checkTrainingStep<M extends AnyModule>(
  test: LayerTest<M>,
  fresh: () => M,
  run: (layer: M, inputs: readonly Tensor[]) => readonly Tensor[],
  disposables: { dispose(): void }[],
): void {
  const { lr = 0.01 } = test;
  const layer = fresh();
  if (lr === null || layer.parameters().length === 0) return;
  const inputs = makeInputs(test.inputs);
  manualSeed(seed);
  const targets = noGrad(() =>
    run(layer, inputs).map((o) => (isFloat(o.dtype) ? add(o.detach(), mul(cotangent(o.shape, o.dtype), 0.5)) : null)),
  );
  const optimizer = new SGD(layer.parameters(), { lr });
  const step = jit((...xs: readonly Tensor[]) => {
    const losses = run(layer, xs).flatMap((o, k) => {
      const target = targets[k];
      return target === null ? [] : [mean(square(sub(o, target)))];
    });
    const total = losses.reduce((a, b) => add(a, b));
    optimizer.zeroGrad();
    total.backward();
    optimizer.step();
    return total.detach();
  });
  disposables.push(step);
  const losses = [0, 1].map(() => {
    // The same dropout both times.
    manualSeed(seed);
    return Number(step(...inputs).item());
  });
  optimizer.zeroGrad();
  expect(losses[1], 'loss after a training step').toBeLessThan(losses[0]);
}

/** A call without gradients leaves nothing behind but its outputs. */
function checkMemory<M extends AnyModule>(
  test: LayerTest<M>,
  layer: M,
  run: (layer: M, inputs: readonly Tensor[]) => readonly Tensor[],
): void {
  const inputs = makeInputs(test.inputs);
  layer.eval();
  noGrad(() => {
    for (const o of run(layer, inputs)) if (!inputs.includes(o)) o.dispose();
    const before = memoryInfo().storages;
    const outputs = run(layer, inputs);
    const made = memoryInfo().storages - before;
    if (test.freesTemporaries !== false) expect(made, 'tensors left by a call without gradients').toBeLessThanOrEqual(outputs.length);
    for (const o of outputs) if (!inputs.includes(o)) o.dispose();
    const around = memoryInfo().storages;
    scope(() => run(layer, inputs).length);
    expect(memoryInfo().storages, 'tensors alive after a scope around a call').toBe(around);
  });
}
