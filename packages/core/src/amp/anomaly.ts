/** The search for the first NaN or infinity of a training. */
import { noGrad } from '../autograd/mode.js';
import type { GradNode } from '../autograd/node.js';
import { isFloat } from '../dtype.js';
import { TraceError, TriremeError } from '../errors.js';
import { formatShape, sizeOf } from '../graph/layout.js';
import type { Value } from '../graph/program.js';
import { currentTrace, type Trace } from '../graph/trace.js';
import { cast } from '../ops/cast.js';
import { stack } from '../ops/join.js';
import { amax } from '../ops/reduce.js';
import { abs } from '../ops/unary.js';
import { withAutocast } from '../tensor/autocast.js';
import { readSync } from '../tensor/data.js';
import { modulePath, parseScope } from '../tensor/module-path.js';
import { type Inspection, type OpObserver, observer, setObserver } from '../tensor/observe.js';
import { outsideScopes, scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';

export interface AnomalyOptions {
  /** Infinities count too where no input was infinite. Default true; off for loss scaling, which overflows on purpose. */
  readonly infinities?: boolean;
  /** Number of the first step, for the error; default 1. Each optimizer step counts one. */
  readonly step?: number;
}

/** Where the first bad number appeared. */
export interface AnomalyDetails {
  /** The operation; for a gradient, the operation whose gradient it is. */
  readonly op: string;
  /** Path of the module, '' outside modules. */
  readonly layer: string;
  readonly phase: 'forward' | 'backward';
  readonly kind: 'NaN' | 'infinity';
  readonly step: number;
  /** dtype and shape of the result. */
  readonly result: string;
  /** Whether the numbers it was made from were finite. */
  readonly inputsFinite: boolean;
  /** Name of the compiled function, null outside jit(). */
  readonly compiled: string | null;
}

const hints: Readonly<Record<string, string>> = {
  log: 'The logarithm of 0 or less: add a small number, or use logSoftmax, logSigmoid or log1p.',
  sqrt: 'The root of a negative number, or the gradient of a root at 0: add a small number below the root.',
  rsqrt: 'The root of a negative number or of 0: add a small number below the root.',
  div: 'A division by 0: add a small number to the divisor, or select with where() before dividing.',
  exp: 'An exponential that overflows: subtract the maximum first, as softmax and logsumexp do.',
  pow: 'A negative base with a fractional exponent, or 0 with a negative one.',
  norm: 'The gradient of a norm at 0: add a small number.',
};

/** A NaN or an infinity appeared; {@link details} has the place, also by fields of {@link anomaly}. */
export class AnomalyError extends TriremeError {
  readonly anomaly: AnomalyDetails;
  constructor(anomaly: AnomalyDetails) {
    const { op, layer, phase, kind, step, result, inputsFinite, compiled } = anomaly;
    const what = phase === 'backward' ? `the gradient of ${op}` : op;
    const place = [layer === '' ? '' : ` in layer ${layer}`, compiled === null ? '' : ` (compiled in ${compiled})`].join('');
    const from = inputsFinite ? 'from finite numbers' : 'from numbers that were not finite themselves: data, parameters or constants';
    super(`${what} gave ${kind === 'NaN' ? 'NaN' : 'an infinity'}${place} at step ${step}, ${phase} pass: ${result}, ${from}`, {
      op: 'detectAnomaly',
      received: anomaly,
      expected: 'finite numbers',
      fix: inputsFinite
        ? (hints[op] ?? 'Look at the learning rate, the scale of the inputs and what this layer divides by.')
        : 'Check the data and the loaded weights.',
    });
    this.anomaly = anomaly;
    this.layer = layer;
  }
  /** The layer is known already. */
  override atLayer(): void {}
}

type Site = Pick<AnomalyDetails, 'op' | 'layer' | 'phase' | 'result'>;

/** One look at results, with what they were made from; numbers index the magnitudes of a run. */
interface Check {
  readonly site: Site;
  readonly outputs: readonly number[];
  readonly inputs: readonly number[];
}

/** What is recorded of a function while it is traced. */
interface Recording {
  readonly trace: Trace;
  readonly magnitudes: Tensor[];
  readonly numbers: Map<Value, number>;
  readonly checks: Check[];
  /** Whether the function makes an optimizer step. */
  steps: boolean;
}

/** What an operation that is made of others reads from outside. */
interface Unit {
  readonly made: Set<Tensor['storage']>;
  readonly inputs: Tensor[];
}

const floats = (tensors: readonly (Tensor | null)[]): Tensor[] =>
  tensors.filter((t): t is Tensor => t !== null && isFloat(t.dtype) && sizeOf(t.shape) > 0);

/** The largest magnitude, NaN if there is one: tells whether all elements are finite. 0-d float64. */
function magnitudeOf(t: Tensor): Tensor {
  return noGrad(() => withAutocast(null, () => cast(amax(abs(t.detach())), 'float64')));
}

class Watcher implements OpObserver {
  readonly mode: string;
  step: number;
  private readonly infinities: boolean;
  private recording: Recording | null = null;
  private unit: Unit | null = null;

  constructor({ infinities = true, step = 1 }: AnomalyOptions) {
    this.infinities = infinities;
    this.step = step;
    this.mode = infinities ? 'anomaly' : 'anomaly: NaN';
  }

  operation(name: string, inputs: readonly Tensor[], outputs: readonly Tensor[]): void {
    const { unit } = this;
    if (unit !== null) {
      for (const t of floats(inputs)) if (!unit.made.has(t.storage)) unit.inputs.push(t);
      for (const t of outputs) unit.made.add(t.storage);
      return;
    }
    const { path, backward } = parseScope(modulePath());
    this.check({ op: name, layer: path, phase: backward ? 'backward' : 'forward' }, inputs, outputs);
  }

  composite<T>(name: string, run: () => T): T {
    if (this.unit !== null) return run();
    const { path, backward } = parseScope(modulePath());
    return this.asUnit({ op: name, layer: path, phase: backward ? 'backward' : 'forward' }, run);
  }

  rule<T>(node: GradNode, run: () => T): T {
    // A rule may divide by zero and select afterwards: only what it returns counts.
    const before = this.unit;
    this.unit = null;
    try {
      return this.asUnit({ op: node.name, layer: parseScope(node.scope).path, phase: 'backward' }, run);
    } finally {
      this.unit = before;
    }
  }

  private asUnit<T>(site: Omit<Site, 'result'>, run: () => T): T {
    const unit: Unit = { made: new Set(), inputs: [] };
    this.unit = unit;
    let result: T;
    try {
      result = run();
    } finally {
      this.unit = null;
    }
    const outputs = Array.isArray(result) ? (result as unknown[]) : [result];
    // Views and operands that pass through were looked at where they were made.
    const made = outputs.filter((t): t is Tensor => t instanceof Tensor && unit.made.has(t.storage));
    this.check(site, unit.inputs, made);
    return result;
  }

  private check(site: Omit<Site, 'result'>, inputs: readonly Tensor[], outputs: readonly Tensor[]): void {
    const results = floats(outputs);
    // What is made from nothing is what its author wants.
    const sources = floats(inputs);
    if (results.length === 0 || sources.length === 0) return;
    const trace = currentTrace();
    const full = { ...site, result: results.map((t) => `${t.dtype} ${formatShape(t.shape)}`).join(', ') };
    this.unwatched(() => {
      if (trace === null) {
        const read = (list: readonly Tensor[]): number[] =>
          list.map((t) => scope(() => ({ value: readSync(magnitudeOf(t))[0] })).value as number);
        this.judge(full, read(results), () => read(sources.filter((t) => !t.isDisposed)), null);
      } else if (trace === this.recording?.trace) {
        const { checks } = this.recording;
        const inputNumbers = sources.map((t) => this.numberOf(t));
        checks.push({ site: full, outputs: results.map((t) => this.numberOf(t)), inputs: inputNumbers });
      }
      // Bodies of control flow are looked at from outside, by their results.
    });
  }

  /** @throws AnomalyError when a magnitude tells of a NaN, or of an infinity that no input had. */
  private judge(site: Site, outputs: readonly number[], inputsOf: () => readonly number[], compiled: string | null): void {
    const hasNaN = outputs.some(Number.isNaN);
    if (!hasNaN && !(this.infinities && outputs.includes(Number.POSITIVE_INFINITY))) return;
    const inputs = inputsOf();
    if (!hasNaN && inputs.includes(Number.POSITIVE_INFINITY)) return;
    throw new AnomalyError({
      ...site,
      kind: hasNaN ? 'NaN' : 'infinity',
      step: this.step,
      inputsFinite: inputs.every(Number.isFinite),
      compiled,
    });
  }

  /** The number of a tensor's magnitude in the recording. */
  private numberOf(t: Tensor): number {
    const { recording } = this;
    if (recording === null) return -1;
    const { value } = recording.trace.operand(t);
    const known = recording.numbers.get(value);
    if (known !== undefined) return known;
    const number = recording.magnitudes.length;
    recording.magnitudes.push(outsideScopes(() => scope(() => magnitudeOf(t))));
    recording.numbers.set(value, number);
    return number;
  }

  traced<T>(name: string, body: () => T): { readonly result: T; readonly inspection: Inspection | null } {
    const trace = currentTrace();
    if (trace === null) return { result: body(), inspection: null };
    const [outer, unit] = [this.recording, this.unit];
    const recording: Recording = { trace, magnitudes: [], numbers: new Map(), checks: [], steps: false };
    this.recording = recording;
    this.unit = null;
    try {
      const result = body();
      if (recording.magnitudes.length === 0) return { result, inspection: null };
      const output = this.unwatched(() => outsideScopes(() => stack(recording.magnitudes, 0)));
      const { checks, steps } = recording;
      return { result, inspection: { output, verify: verifier(checks, steps, name) } };
    } finally {
      this.recording = outer;
      this.unit = unit;
    }
  }

  /** Looks through one run of a compiled function. */
  inspect(values: readonly number[], checks: readonly Check[], steps: boolean, name: string): void {
    const take = (numbers: readonly number[]): number[] => numbers.map((n) => values[n]);
    for (const { site, outputs, inputs } of checks) this.judge(site, take(outputs), () => take(inputs), name);
    if (steps) this.step++;
  }

  stepDone(): void {
    this.step++;
  }
  stepTraced(): void {
    if (this.recording !== null) this.recording.steps = true;
  }

  private unwatched<T>(fn: () => T): T {
    const before = setObserver(null);
    try {
      return fn();
    } finally {
      setObserver(before);
    }
  }
}

/** Outlives the trace, and holds nothing of it. */
function verifier(checks: readonly Check[], steps: boolean, name: string): (values: Tensor) => void {
  return (values) => {
    if (observer instanceof Watcher) observer.inspect(Array.from(readSync(values), Number), checks, steps, name);
  };
}

/**
 * Runs `fn` and looks at the result of every operation and every gradient. The first NaN, or the first infinity that was
 * made from finite numbers, throws an AnomalyError that names the operation, the layer, the pass and the step. Compiled
 * functions that `fn` calls run as Programs with a check after each operation, read when the Program has run (their state
 * has changed by then); the error names the first operation in the order of execution.
 *
 * A result made of several operations (softmax, a loss, a layer normalization) counts as one, and of the gradient of an
 * operation only its results: what is computed on the way and selected away is no anomaly. Inside scan, whileLoop and cond
 * of compiled functions the loop as a whole is looked at. Slow: for finding a fault.
 * @throws AnomalyError, TraceError inside a function that is being compiled
 */
export function detectAnomaly<T>(fn: () => T, options: AnomalyOptions = {}): T {
  const trace = currentTrace();
  if (trace !== null) {
    throw new TraceError(`detectAnomaly() was called while ${trace.name} was being traced`, {
      op: 'detectAnomaly',
      fix: 'Call the compiled function inside detectAnomaly().',
    });
  }
  const before = setObserver(new Watcher(options));
  const restore = (): void => {
    setObserver(before);
  };
  let result: T;
  try {
    result = fn();
  } catch (error) {
    restore();
    throw error;
  }
  if (result instanceof Promise) return result.finally(restore) as T;
  restore();
  return result;
}
