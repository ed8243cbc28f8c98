/** L-BFGS: a quasi-Newton method for whole-batch problems. */
import { enableGrad, noGrad } from '../autograd/mode.js';
import { ArgumentError, TraceError } from '../errors.js';
import { currentTrace } from '../graph/trace.js';
import { add, div, mul, sub } from '../ops/binary.js';
import { cast, copy } from '../ops/cast.js';
import { full, zeros } from '../ops/create.js';
import { concat } from '../ops/join.js';
import { dot } from '../ops/matmul.js';
import { amax, sum } from '../ops/reduce.js';
import { abs, neg } from '../ops/unary.js';
import { reshape } from '../ops/view.js';
import { narrow } from '../ops/view-slice.js';
import { writeInto } from '../ops/write-view.js';
import { readSync } from '../tensor/data.js';
import { keep, scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Probe, strongWolfe } from './line-search.js';
import { type Closure, makeState, Optimizer, type OptimizerOptions, type OptimizerState, type StepOptions } from './optimizer.js';

export interface LBFGSOptions extends Omit<OptimizerOptions, 'masterWeights'> {
  /** Iterations in one step(); default 20. */
  readonly maxIter?: number;
  /** Evaluations of the closure in one step(); default 1.25 * maxIter. */
  readonly maxEval?: number;
  readonly toleranceGrad?: number;
  readonly toleranceChange?: number;
  /** Pairs of steps and gradient changes that are remembered; default 100. */
  readonly historySize?: number;
  /** Without one, each iteration moves by `lr` along the direction. */
  readonly lineSearch?: 'strongWolfe' | null;
}

/** A step and the change of the gradient along it. */
interface Pair {
  readonly step: Tensor;
  readonly change: Tensor;
  /** 1 / (step . change) */
  readonly rho: Tensor;
}

const item = (t: Tensor): number => Number(readSync(t)[0]);
const largest = (t: Tensor): number => item(amax(abs(t)));

/**
 * Nocedal and Wright, Numerical Optimization, algorithm 7.5, with PyTorch's stopping rules. `step(closure)` evaluates the
 * closure several times: it clears the gradients, computes the loss, calls backward() and returns the loss. It may be (or
 * call) a jit() function; the step itself decides by values and cannot be traced. Parameters are of one dtype and in one group.
 */
export class LBFGS extends Optimizer<LBFGSOptions> {
  private history: Pair[] = [];
  private direction: Tensor | null = null;
  private lastGradient: Tensor | null = null;
  private scale: Tensor | null = null;
  private stepLength = 0;
  private lastLoss = 0;
  private iterations = 0;
  private evaluations = 0;

  constructor(params: Iterable<Tensor>, options: LBFGSOptions = { lr: 1 }) {
    const list = [...params];
    super('LBFGS', list, options);
    if (list.some((p) => p.dtype !== list[0].dtype)) {
      throw new ArgumentError('parameters of several dtypes', { op: 'LBFGS', received: list.map((p) => p.dtype), expected: 'one dtype' });
    }
  }

  /** How often the closure was evaluated so far. */
  get closureCalls(): number {
    return this.evaluations;
  }

  /** Returns the loss before the step. @throws ArgumentError without a closure, TraceError inside jit() */
  override step(closure: StepOptions | Closure = {}): Tensor {
    if (typeof closure !== 'function') {
      throw new ArgumentError('step() without a closure', {
        op: 'LBFGS',
        expected: 'a function that clears the gradients, computes the loss, calls backward() and returns the loss',
      });
    }
    if (currentTrace() !== null) {
      throw new TraceError('LBFGS decides by the values of the loss', {
        op: 'LBFGS',
        fix: 'Call step() outside jit(), with a closure that calls a jit() function.',
      });
    }
    return noGrad(() => this.minimize(() => enableGrad(closure)));
  }

  private minimize(closure: Closure): Tensor {
    const { maxIter = 20, maxEval = Math.floor((maxIter * 5) / 4), toleranceGrad = 1e-7, toleranceChange = 1e-9 } = this.groups[0].options;
    const search = this.groups[0].options.lineSearch === 'strongWolfe';
    const sign = this.groups[0].options.maximize === true ? -1 : 1;
    const { lr } = this;
    const first = closure();
    let loss = sign * item(first);
    let gradient = this.flatGradient(sign);
    this.evaluations++;
    let calls = 1;
    const replaceGradient = (next: Tensor): void => {
      if (next !== gradient) gradient.dispose();
      gradient = next;
    };
    try {
      if (largest(gradient) <= toleranceGrad) return first;
      for (let round = 1; round <= maxIter; round++) {
        this.iterations++;
        this.chooseDirection(gradient);
        const direction = this.direction ?? gradient;
        this.lastGradient?.dispose();
        this.lastGradient = keepCopy(gradient);
        this.lastLoss = loss;
        this.stepLength = this.iterations === 1 ? Math.min(1, 1 / scalar(() => sum(abs(gradient)))) * lr : lr;
        const slope = scalar(() => dot(gradient, direction));
        if (slope > -toleranceChange) break;
        let made = 0;
        if (search) {
          const origin = this.parameters().map((p) => keepCopy(p.detach()));
          const seen: Tensor[] = [];
          const evaluate = (t: number): Probe<Tensor> => {
            this.move(t, direction);
            const value = sign * scalar(closure);
            const g = this.flatGradient(sign);
            seen.push(g);
            this.parameters().forEach((p, i) => writeInto(p, origin[i]));
            return { t, value, gradient: g, slope: scalar(() => dot(g, direction)) };
          };
          const start = { t: 0, value: loss, gradient, slope };
          const most = scalar(() => amax(abs(direction)));
          const { best, evaluations } = strongWolfe(evaluate, start, this.stepLength, most, {
            toleranceChange,
            maxEvaluations: maxEval - calls,
          });
          this.stepLength = best.t;
          loss = best.value;
          made = evaluations;
          for (const t of [...origin, ...seen.filter((g) => g !== best.gradient)]) t.dispose();
          replaceGradient(best.gradient);
          this.move(this.stepLength, direction);
        } else {
          this.move(this.stepLength, direction);
          // The last evaluation would be for nothing: the next step() begins with one.
          if (round !== maxIter) {
            loss = sign * scalar(closure);
            replaceGradient(this.flatGradient(sign));
            made = 1;
          }
        }
        calls += made;
        this.evaluations += made;
        const moved = scalar(() => amax(abs(direction))) * Math.abs(this.stepLength);
        const done = made > 0 && scalar(() => amax(abs(gradient))) <= toleranceGrad;
        if (calls >= maxEval || done || moved <= toleranceChange || Math.abs(loss - this.lastLoss) < toleranceChange) break;
      }
      return first;
    } finally {
      gradient.dispose();
    }
  }

  /** Minus the inverse Hessian (as far as the history tells it) times the gradient. */
  private chooseDirection(gradient: Tensor): void {
    const before = this.direction;
    const last = this.lastGradient;
    if (this.iterations === 1 || before === null || last === null) {
      this.direction = makeState(() => neg(gradient));
      before?.dispose();
      return;
    }
    const change = makeState(() => sub(gradient, last));
    const step = makeState(() => mul(before, this.stepLength));
    const product = scalar(() => dot(change, step));
    if (product > 1e-10) {
      const { historySize = 100 } = this.groups[0].options;
      if (this.history.length >= historySize) dropPair(this.history.shift());
      this.history.push({ step, change, rho: makeState(() => div(1, dot(change, step))) });
      this.scale?.dispose();
      this.scale = makeState(() => div(dot(change, step), dot(change, change)));
    } else for (const t of [change, step]) t.dispose();
    this.direction = keep(
      scope(() => {
        let q = neg(gradient);
        const weights: Tensor[] = [];
        for (const pair of this.history.toReversed()) {
          const weight = mul(dot(pair.step, q), pair.rho);
          weights.unshift(weight);
          q = sub(q, mul(pair.change, weight));
        }
        let r = this.scale === null ? q : mul(q, this.scale);
        this.history.forEach((pair, i) => {
          r = add(r, mul(pair.step, sub(weights[i], mul(dot(pair.change, r), pair.rho))));
        });
        return r;
      }),
    );
    before.dispose();
  }

  /** All gradients in one vector. */
  private flatGradient(sign: number): Tensor {
    return makeState(() =>
      scope(() => {
        const flat = concat(
          this.parameters().map((p) => {
            const g = p.grad ?? p.sparseGrad?.toDense() ?? zeros(p.shape, { dtype: p.dtype });
            return reshape(cast(g, p.dtype), [p.numel]);
          }),
          0,
        );
        return sign < 0 ? neg(flat) : copy(flat);
      }),
    );
  }
  private move(t: number, direction: Tensor): void {
    scope(() => {
      let offset = 0;
      for (const p of this.parameters()) {
        writeInto(p, add(p, mul(reshape(narrow(direction, 0, offset, p.numel), p.shape), t)));
        offset += p.numel;
      }
    });
  }
  protected override update(): void {}

  override stateDict(): OptimizerState {
    const { tensors, lrs } = super.stateDict();
    for (const [name, value] of Object.entries(this.numbers())) {
      writeInto(this.groupState(this.groups[0], name, 'float64'), full([], value, { dtype: 'float64' }));
      tensors.set(`group0.${name}`, this.groupState(this.groups[0], name, 'float64'));
    }
    const { direction, lastGradient, scale } = this;
    for (const [name, t] of Object.entries({ direction, lastGradient, scale })) if (t !== null) tensors.set(`lbfgs.${name}`, t);
    this.history.forEach((pair, i) => {
      for (const [name, t] of Object.entries(pair)) tensors.set(`lbfgs.history.${i}.${name}`, t as Tensor);
    });
    return { tensors, lrs };
  }
  private numbers(): Record<'stepLength' | 'lastLoss' | 'iterations' | 'evaluations', number> {
    const { stepLength, lastLoss, iterations, evaluations } = this;
    return { stepLength, lastLoss, iterations, evaluations };
  }
  override loadStateDict(state: OptimizerState): void {
    const own = new Map([...state.tensors].filter(([key]) => key.startsWith('lbfgs.')));
    super.loadStateDict({ tensors: new Map([...state.tensors].filter(([key]) => !own.has(key))), lrs: state.lrs });
    this.forget();
    const take = (key: string): Tensor | null => {
      const source = own.get(`lbfgs.${key}`);
      return source ? makeState(() => copy(source)) : null;
    };
    this.direction = take('direction');
    this.lastGradient = take('lastGradient');
    this.scale = take('scale');
    for (let i = 0; own.has(`lbfgs.history.${i}.step`); i++) {
      const [step, change, rho] = ['step', 'change', 'rho'].map((name) => take(`history.${i}.${name}`));
      if (step === null || change === null || rho === null) {
        throw new ArgumentError(`the state of pair ${i} is incomplete`, { op: 'loadStateDict', expected: 'step, change and rho' });
      }
      this.history.push({ step, change, rho });
    }
    const number = (name: string): number => {
      const t = state.tensors.get(`group0.${name}`);
      return t ? item(t) : 0;
    };
    this.stepLength = number('stepLength');
    this.lastLoss = number('lastLoss');
    this.iterations = number('iterations');
    this.evaluations = number('evaluations');
  }
  private forget(): void {
    for (const pair of this.history) dropPair(pair);
    for (const t of [this.direction, this.lastGradient, this.scale]) t?.dispose();
    this.history = [];
  }
  override dispose(): void {
    this.forget();
    super.dispose();
  }
}

function dropPair(pair: Pair | undefined): void {
  if (pair) for (const t of [pair.step, pair.change, pair.rho]) t.dispose();
}

/** The value of a 0-d result; everything made on the way is freed. */
function scalar(fn: () => Tensor): number {
  let value = 0;
  scope(() => {
    value = item(fn());
  });
  return value;
}

function keepCopy(t: Tensor): Tensor {
  return makeState(() => copy(t));
}
