/** What every probability distribution can do, and what their parameters have in common. */
import { noGrad } from '../autograd/mode.js';
import { type DType, isFloat, promoteTypes } from '../dtype.js';
import { ArgumentError, DTypeError, ShapeError } from '../errors.js';
import { broadcastShapes, formatShape, type Shape } from '../graph/layout.js';
import { cast } from '../ops/cast.js';
import { broadcastTo } from '../ops/common.js';
import { full } from '../ops/create.js';
import { all } from '../ops/reduce.js';
import { exp, sqrt } from '../ops/unary.js';
import { currentTrace, readSync } from '../tensor/dispatch.js';
import type { Generator } from '../tensor/generator.js';
import { composite, scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import type { Constraint } from './constraints.js';

export type Parameter = Tensor | number;

export interface DistributionOptions {
  /** Whether parameters and the values given to logProb() and cdf() are checked (outside jit(), where they can be read). Default true. */
  readonly validateArgs?: boolean;
}
export interface SampleOptions {
  /** The default generator when absent. */
  readonly generator?: Generator;
}

/**
 * A distribution over tensors: independent ones with parameters of `batchShape`, each over elements of `eventShape`. Samples have the
 * shape [...sampleShape, ...batchShape, ...eventShape]. Draws come from the Philox generator: the same seed gives the same numbers, in
 * jit() too. What a distribution has no closed form for throws an ArgumentError that says so.
 */
export abstract class Distribution {
  readonly batchShape: Shape;
  readonly eventShape: Shape;
  /** Whether rsample() exists: samples through which gradients flow to the parameters. */
  readonly hasRsample: boolean = false;
  readonly validateArgs: boolean;

  constructor(batchShape: Shape, eventShape: Shape, { validateArgs = true }: DistributionOptions = {}) {
    this.batchShape = batchShape;
    this.eventShape = eventShape;
    this.validateArgs = validateArgs;
  }

  get name(): string {
    return this.constructor.name;
  }
  /** Where its values lie. */
  abstract get support(): Constraint;
  /** Logarithm of the density (of the probability, for discrete ones) of values that broadcast with the batch shape. */
  abstract logProb(value: Tensor): Tensor;
  /** The same distribution for each element of a larger batch shape. */
  abstract expand(batchShape: Shape): Distribution;

  /** Draws without gradient. */
  sample(sampleShape: Shape = [], options: SampleOptions = {}): Tensor {
    return noGrad(() => this.rsample(sampleShape, options));
  }
  /** Draws as a differentiable function of the parameters and of noise. @throws ArgumentError where there is none */
  rsample(_sampleShape: Shape = [], _options: SampleOptions = {}): Tensor {
    return this.missing('rsample', 'Use sample(), with a score-function estimator for gradients.');
  }
  get mean(): Tensor {
    return this.missing('mean');
  }
  get variance(): Tensor {
    return this.missing('variance');
  }
  get stddev(): Tensor {
    return composite('stddev', () => sqrt(this.variance));
  }
  /** Differential entropy (entropy, for discrete ones) in nats. */
  entropy(): Tensor {
    return this.missing('entropy', 'Estimate it as -logProb(sample([n])).mean(0).');
  }
  perplexity(): Tensor {
    return composite('perplexity', () => exp(this.entropy()));
  }
  /** The probability of values up to `value`. */
  cdf(_value: Tensor): Tensor {
    return this.missing('cdf');
  }
  /** The value whose cdf is `value`. */
  icdf(_value: Tensor): Tensor {
    return this.missing('icdf');
  }

  protected missing(what: string, fix?: string): never {
    throw new ArgumentError(`${this.name} has no ${what}`, {
      op: `${this.name}.${what}`,
      expected: 'a distribution with a closed form of it',
      fix,
    });
  }
  protected extended(sampleShape: Shape): Shape {
    return [...sampleShape, ...this.batchShape, ...this.eventShape];
  }
  /** @throws ArgumentError when a value lies outside the support; only outside jit() and with validateArgs. */
  protected checkValue(value: Tensor, op: string): void {
    const rank = this.eventShape.length;
    const event = value.shape.slice(value.shape.length - rank);
    if (value.shape.length < rank || event.some((extent, i) => extent !== this.eventShape[i] && this.eventShape[i] !== 1)) {
      throw new ShapeError(`values of shape ${formatShape(value.shape)}`, {
        op: `${this.name}.${op}`,
        received: value.shape,
        expected: `[..., ${this.eventShape.join(', ')}]`,
      });
    }
    broadcastShapes(value.shape.slice(0, value.shape.length - rank), this.batchShape, `${this.name}.${op}`);
    if (this.validateArgs) requireWithin(this.support, value, `${this.name}.${op}`, 'the value');
  }
}

/** Outside jit(): @throws ArgumentError unless every element of `value` belongs to the constraint. */
export function requireWithin(constraint: Constraint, value: Tensor, op: string, what: string): void {
  if (currentTrace() !== null) return;
  const holds = noGrad(() => scope(() => Number(readSync(all(constraint.check(value.detach())))[0]) !== 0));
  if (holds) return;
  throw new ArgumentError(`${what} does not lie in the domain`, {
    op,
    expected: constraint.description,
    fix: 'Correct it, or pass { validateArgs: false } to skip the check.',
  });
}

/** The dtype in which parameters meet: that of the tensors among them, else float32. @throws DTypeError for tensors of whole numbers */
export function parameterType(op: string, parameters: readonly Parameter[]): DType {
  let dtype: DType | null = null;
  for (const p of parameters) {
    if (!(p instanceof Tensor)) continue;
    if (!isFloat(p.dtype)) {
      throw new DTypeError(`a parameter of ${p.dtype}`, {
        op,
        received: p.dtype,
        expected: 'floating parameters',
        fix: "Convert it with .to('float32').",
      });
    }
    dtype = dtype === null ? p.dtype : promoteTypes(dtype, p.dtype);
  }
  return dtype ?? 'float32';
}
export function asTensor(p: Parameter, dtype: DType): Tensor {
  return p instanceof Tensor ? (p.dtype === dtype ? p : cast(p, dtype)) : full([], p, { dtype });
}

/** Scalar parameters as tensors of one dtype and shape. */
export function alignParameters<K extends string>(op: string, parameters: Readonly<Record<K, Parameter>>): Record<K, Tensor> {
  const names = Object.keys(parameters) as K[];
  const dtype = parameterType(
    op,
    names.map((k) => parameters[k]),
  );
  const tensors = names.map((k) => asTensor(parameters[k], dtype));
  const shape = tensors.reduce((s: Shape, t) => broadcastShapes(s, t.shape, op), []);
  return Object.fromEntries(names.map((k, i) => [k, broadcastTo(tensors[i], shape)])) as Record<K, Tensor>;
}

/** @throws ArgumentError unless exactly one of two parameterisations is given. */
export function exactlyOne(op: string, parameters: Readonly<Record<string, unknown>>): void {
  const given = Object.keys(parameters).filter((k) => parameters[k] !== undefined);
  if (given.length === 1) return;
  throw new ArgumentError(given.length === 0 ? 'no parameter' : `${given.join(' and ')} at once`, {
    op,
    received: given,
    expected: `exactly one of ${Object.keys(parameters).join(', ')}`,
  });
}

/** The options that a copy of a distribution is made with. */
export function optionsOf(d: Distribution): DistributionOptions {
  return { validateArgs: d.validateArgs };
}
export function checkParameters(d: Distribution, parameters: Readonly<Record<string, readonly [Tensor, Constraint]>>): void {
  if (!d.validateArgs) return;
  for (const [name, [value, constraint]] of Object.entries(parameters)) requireWithin(constraint, value, d.name, `the parameter ${name}`);
}

/** Sums the last `count` dimensions. */
export function sumRightmost(x: Tensor, count: number): Tensor {
  return count === 0 ? x : x.sum(Array.from({ length: count }, (_, i) => x.shape.length - 1 - i));
}
