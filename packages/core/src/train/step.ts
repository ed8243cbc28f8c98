/** One training step as one Program: forward, backward, clipping, update. */
import { clipGradNorm, clipGradValue } from '../autograd/clip.js';
import { noGrad } from '../autograd/mode.js';
import { nextMacrotask } from '../data/dataloader.js';
import { ArgumentError } from '../errors.js';
import { currentTrace } from '../graph/trace.js';
import { type JitFunction, jit } from '../jit.js';
import { type AnyModule, Module } from '../nn/module.js';
import { add, div } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { full, zeros } from '../ops/create.js';
import { mean } from '../ops/reduce.js';
import { writeInto } from '../ops/write-view.js';
import type { EMA } from '../optim/averaging.js';
import { type AnyOptimizer, makeState } from '../optim/optimizer.js';
import { TensorBase } from '../tensor/base.js';
import { scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { flattenTree, mapTree } from '../tensor/tree.js';
import type { Precision } from './precision.js';
import type { InputsOf, Loss, LossResult, MetricFunction } from './types.js';

export interface TrainStepOptions<Args extends readonly unknown[], Out, Target> {
  readonly net: Module<Args, Out>;
  readonly optimizer: AnyOptimizer;
  readonly loss: Loss<Out, Target>;
  /** Scales the gradients so that their norm, all taken as one vector, is at most this. */
  readonly clipGradNorm?: number;
  /** Limits each element of the gradients to [-limit, limit]. */
  readonly clipGradValue?: number;
  /** Batches whose gradients are averaged for one update. Default 1. */
  readonly accumulate?: number;
  /** Runs the network and the loss under another precision. */
  readonly precision?: Precision;
  /** Averages that follow the parameters. */
  readonly ema?: EMA;
  /** Shown in profiles and debugging output. */
  readonly name?: string;
  /** False: operation by operation instead of as one Program, for networks whose control flow depends on values. */
  readonly jit?: boolean;
}

/** Results of one step. Tensors without gradient; the caller owns them. */
export interface StepResult {
  readonly loss: Tensor;
  /** Parts of the loss, measures and gradNorm, 0-d. */
  readonly measures: Readonly<Record<string, Tensor>>;
  /** The network's output where it was asked for, else null. */
  readonly output: unknown;
}

/** As {@link JitFunction}, also where steps are not compiled. */
export type Runner<A extends readonly unknown[], R> = Pick<JitFunction<A, R>, 'run' | 'dispose' | 'programs'> & ((...args: A) => R);

function callNet<Args extends readonly unknown[], Out>(net: Module<Args, Out>, inputs: InputsOf<Args>): Out {
  const args = (Array.isArray(inputs) ? inputs : [inputs]) as unknown as Args;
  return net.call(...args);
}

function lossOf<Out, Target>(loss: Loss<Out, Target>, output: Out, target: Target): { loss: Tensor; parts: Record<string, Tensor> } {
  const result: LossResult = loss instanceof Module ? loss.call(output, target) : loss(output, target);
  const { loss: value, ...parts } = result instanceof TensorBase ? { loss: result } : result;
  if (!(value instanceof TensorBase) || value.numel !== 1) {
    throw new ArgumentError('the loss is not one number', {
      op: 'trainStep',
      received: value instanceof TensorBase ? value.shape : value,
      expected: 'a 0-d tensor, or an object with one under `loss`',
      fix: 'Reduce it: loss.mean() or loss.sum().',
    });
  }
  return { loss: value, parts };
}

/** Tensors of a result without their gradient history. */
function detached(value: unknown): unknown {
  const tensors: Tensor[] = [];
  flattenTree(value, tensors, []);
  return mapTree(value, (k) => tensors[k].detach());
}

function measured<Out, Target>(
  metrics: Readonly<Record<string, MetricFunction<Out, Target>>>,
  output: Out,
  target: Target,
): Record<string, Tensor> {
  return noGrad(() => {
    const bare = detached(output) as Out;
    return Object.fromEntries(
      Object.entries(metrics).map(([name, fn]) => {
        const value = fn(bare, target);
        const float = value.dtype === 'float32' || value.dtype === 'float64' ? value : cast(value, 'float32');
        return [name, float.numel === 1 ? float : mean(float)];
      }),
    );
  });
}

/** Operation by operation, freeing what was made in between. */
function interpreted<A extends readonly unknown[], R>(fn: (...args: A) => R): Runner<A, R> {
  const call = (...args: A): R => scope(() => fn(...args));
  const run = async (...args: A): Promise<R> => {
    const result = call(...args);
    await nextMacrotask();
    return result;
  };
  return Object.assign(call, { run, dispose: () => undefined, programs: [] });
}

export interface CompiledStep<Args extends readonly unknown[], Target> {
  /** `update` false: gradients are only gathered. */
  readonly run: (inputs: InputsOf<Args>, targets: Target, update: boolean) => Promise<StepResult>;
  readonly call: (inputs: InputsOf<Args>, targets: Target, update: boolean) => StepResult;
  readonly programs: Runner<never, unknown>['programs'];
  /** State of gathered gradients, for checkpoints; empty without accumulation. */
  readonly gathered: ReadonlyMap<string, Tensor>;
  dispose(): void;
}

/** Builds the step that fit() runs: with measures and, where asked for, the network's output. */
export function compileStep<Args extends readonly unknown[], Out, Target>(
  options: TrainStepOptions<Args, Out, Target>,
  metrics: Readonly<Record<string, MetricFunction<Out, Target>>> = {},
  wantOutput = false,
): CompiledStep<Args, Target> {
  const { net, optimizer, loss, accumulate = 1, precision, ema, name = 'trainStep' } = options;
  if (!Number.isSafeInteger(accumulate) || accumulate < 1) {
    throw new ArgumentError(`accumulate is ${accumulate}`, {
      op: 'trainStep',
      received: accumulate,
      expected: 'a whole number, 1 or more',
    });
  }
  const parameters = optimizer.parameters();
  const gathered = new Map<string, Tensor>();
  const sums = new Map<Tensor, Tensor>();
  let count: Tensor | null = null;
  if (accumulate > 1) {
    parameters.forEach((p, i) => {
      const sum = makeState(() => zeros(p.shape, { dtype: p.dtype }));
      sums.set(p, sum);
      gathered.set(`${i}`, sum);
    });
    count = makeState(() => zeros([], { dtype: 'float32' }));
    gathered.set('count', count);
  }

  /** Adds the new gradients to those gathered. On an update their mean becomes the gradient, and gathering starts anew. */
  const gather = (counter: Tensor, update: boolean): void =>
    noGrad(() => {
      const batches = add(counter, 1);
      for (const [p, sum] of sums) {
        if (!p.requiresGrad) continue;
        const { grad } = p;
        const total = grad === null ? sum : add(sum, grad);
        if (!update) writeInto(sum, total);
        else {
          p.grad = div(total, cast(batches, p.dtype));
          writeInto(sum, zeros(p.shape, { dtype: p.dtype }));
        }
      }
      writeInto(counter, update ? full([], 0) : batches);
    });

  const update = (measures: Record<string, Tensor>): void => {
    const scaler = precision?.scaler ?? null;
    if (options.clipGradNorm !== undefined || options.clipGradValue !== undefined) scaler?.unscale_(optimizer);
    if (options.clipGradNorm !== undefined) measures.gradNorm = clipGradNorm(parameters, options.clipGradNorm);
    if (options.clipGradValue !== undefined) clipGradValue(parameters, options.clipGradValue);
    if (scaler === null) optimizer.step();
    else {
      scaler.step(optimizer);
      scaler.update();
    }
    ema?.update();
  };

  const step = (inputs: InputsOf<Args>, targets: Target, now: boolean): StepResult => {
    const forward = (): { output: Out; loss: Tensor; parts: Record<string, Tensor> } => {
      const output = callNet(net, inputs);
      return { output, ...lossOf(loss, output, targets) };
    };
    const { output, loss: value, parts } = precision ? precision.run(forward) : forward();
    (precision?.scaler?.scale(value) ?? value).backward();
    const measures: Record<string, Tensor> = { ...(detached(parts) as Record<string, Tensor>), ...measured(metrics, output, targets) };
    if (count !== null) gather(count, now);
    if (now) update(measures);
    // In a trace nothing has memory; else nobody but this step knows the gradients.
    if (currentTrace() === null) for (const p of parameters) p.grad?.dispose();
    optimizer.zeroGrad();
    return { loss: value.detach(), measures, output: wantOutput ? detached(output) : null };
  };
  const runner: Runner<[InputsOf<Args>, Target, boolean], StepResult> = options.jit === false ? interpreted(step) : jit(step, { name });
  return {
    run: (inputs, targets, now) => runner.run(inputs, targets, now),
    call: runner,
    get programs() {
      return runner.programs;
    },
    gathered,
    dispose() {
      runner.dispose();
      for (const t of gathered.values()) t.dispose();
    },
  };
}

export interface TrainStep<Args extends readonly unknown[], Target> {
  /** One step on this thread and the pool; returns the loss, a 0-d tensor that the caller owns. */
  (inputs: InputsOf<Args>, targets: Target): Tensor;
  /** The same off the event loop. Do not change parameters or inputs before it resolves. */
  run(inputs: InputsOf<Args>, targets: Target): Promise<Tensor>;
  readonly programs: Runner<never, unknown>['programs'];
  /** Frees its programs. Network and optimizer stay. */
  dispose(): void;
}

/**
 * A training step for loops of your own: forward, backward, clipping and update as one Program.
 *
 *   const step = trainStep({ net, optimizer, loss: crossEntropy });
 *   const loss = await step.run(inputs, targets);
 *
 * With several inputs pass a list: they are the arguments of forward(). Modes are yours to set: call net.train() before.
 */
export function trainStep<Args extends readonly unknown[], Out, Target = Tensor>(
  options: TrainStepOptions<Args, Out, Target>,
): TrainStep<Args, Target> {
  const step = compileStep(options);
  const { accumulate = 1 } = options;
  let calls = 0;
  const now = (): boolean => ++calls % accumulate === 0;
  const lossAlone = ({ loss, measures }: StepResult): Tensor => {
    for (const t of Object.values(measures)) t.dispose();
    return loss;
  };
  const call = (inputs: InputsOf<Args>, targets: Target): Tensor => lossAlone(step.call(inputs, targets, now()));
  const made = Object.assign(call, {
    run: async (inputs: InputsOf<Args>, targets: Target): Promise<Tensor> => lossAlone(await step.run(inputs, targets, now())),
    dispose: () => step.dispose(),
    programs: step.programs,
  });
  Object.defineProperty(made, 'programs', { get: () => step.programs });
  return made;
}

/** Forward, loss and measures without gradients, as one Program. */
export function compileEvaluation<Args extends readonly unknown[], Out, Target>(
  { net, loss, precision, jit: compiled }: Pick<TrainStepOptions<Args, Out, Target>, 'net' | 'loss' | 'precision' | 'jit'>,
  metrics: Readonly<Record<string, MetricFunction<Out, Target>>>,
  wantOutput: boolean,
): Runner<[InputsOf<Args>, Target], StepResult> {
  const evaluate = (inputs: InputsOf<Args>, targets: Target): StepResult =>
    // Inside: around the call the mode would end before the trace begins.
    noGrad(() => {
      const forward = (): { output: Out; loss: Tensor; parts: Record<string, Tensor> } => {
        const output = callNet(net, inputs);
        return { output, ...lossOf(loss, output, targets) };
      };
      const { output, loss: value, parts } = precision ? precision.run(forward) : forward();
      return {
        loss: value,
        measures: { ...parts, ...measured(metrics, output, targets) },
        output: wantOutput ? output : null,
      };
    });
  return compiled === false ? interpreted(evaluate) : jit(evaluate, { name: 'evaluate' });
}

/** The network's output alone, without gradients. */
export function compilePrediction<Args extends readonly unknown[], Out>(
  net: Module<Args, Out>,
  precision: Precision | undefined,
  compiled: boolean,
): Runner<[InputsOf<Args>], Out> {
  const predict = (inputs: InputsOf<Args>): Out =>
    noGrad(() => (precision ? precision.run(() => callNet(net, inputs)) : callNet(net, inputs)));
  return compiled ? jit(predict, { name: 'predict' }) : interpreted(predict);
}

/** Runs `fn` with the module in a mode, and puts each layer back into the one it was in. */
export async function inMode<T>(net: AnyModule, training: boolean, fn: () => Promise<T>): Promise<T> {
  const before = new Map(net.modules().map((module) => [module, module.training]));
  net.train(training);
  try {
    return await fn();
  } finally {
    for (const [module, mode] of before) module.training = mode;
  }
}
