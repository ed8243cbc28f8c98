/**
 * Trading computation for memory: a checkpointed function keeps its inputs alone and runs again in the backward pass.
 *
 * The function's graph is recorded as always, but what its operations save is not kept: each saved tensor is a number in
 * the order of saving. The first time backward asks for one, the function runs again and its operations, in the same order,
 * fill all of them in. So gradients reach every leaf inside, grad() works, and so does a second derivative.
 * (Chen et al., "Training deep nets with sublinear memory cost", 2016.)
 */
import { AutogradError } from '../errors.js';
import { formatShape, shapesEqual } from '../graph/layout.js';
import { currentTrace } from '../graph/trace.js';
import { barrier } from '../ops/cast.js';
import { bindAutocast } from '../tensor/autocast.js';
import { defaultGenerator } from '../tensor/generator.js';
import { outsideScopes, scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { enableGrad, isGradEnabled, noGrad } from './mode.js';
import type { Packer, Saved } from './saved.js';
import { aliasOf, freedGraphError, linkLike, saveTensor, setPacker } from './saved.js';

/** Runs `fn` with another way of saving. */
function withPacker<T>(packer: Packer | null, fn: () => T): T {
  const former = setPacker(packer);
  try {
    return fn();
  } finally {
    setPacker(former);
  }
}

/** While tracing: the input under another name, or the compiler would merge the second run with the first. */
function apart(input: Tensor): Tensor {
  if (currentTrace() === null) return input;
  const copy = noGrad(() => barrier(input));
  linkLike(copy, input);
  return copy;
}

class Frame<R> {
  private readonly fn: (...inputs: Tensor[]) => R;
  private readonly inputs: readonly Saved[];
  /** The generator's state at the first run, so that dropout draws the same masks. */
  private readonly random: Tensor;
  /** Recomputed tensors by number; null before the second run and where they were released. */
  private values: (Tensor | null)[] | null = null;
  private count = 0;
  private released = 0;

  constructor(fn: (...inputs: Tensor[]) => R, inputs: readonly Tensor[]) {
    this.fn = fn;
    this.inputs = inputs.map(saveTensor);
    this.random = outsideScopes(() => defaultGenerator.snapshot());
  }

  run(inputs: readonly Tensor[]): R {
    const result = withPacker(
      (tensor) => this.reserve(tensor),
      () => this.fn(...inputs),
    );
    if (this.count === 0) this.free();
    return result;
  }

  private reserve(tensor: Tensor): Saved | null {
    // Leaves live anyway, and keeping them keeps the check against changes.
    if (tensor.requiresGrad && tensor.gradFn === null) return null;
    return new Recomputed(this, this.count++, tensor);
  }

  value(number: number, op: string): Tensor {
    if (this.values === null) this.recompute(op);
    const value = this.values?.[number] ?? null;
    if (value === null) throw freedGraphError(op);
    return value;
  }

  private recompute(op: string): void {
    const values: Tensor[] = [];
    const current = outsideScopes(() => defaultGenerator.snapshot());
    try {
      defaultGenerator.restore(this.random);
      withPacker(
        (tensor) => {
          if (tensor.requiresGrad && tensor.gradFn === null) return null;
          values.push(aliasOf(tensor));
          return noSaved;
        },
        () =>
          scope(() => {
            const inputs = this.inputs.map((saved, k) => apart(saved.get('checkpoint', `input ${k}`)));
            // Not recorded to the tape of the first run: its nodes exist already.
            enableGrad(() => void this.fn(...inputs));
          }),
      );
    } finally {
      defaultGenerator.restore(current);
      current.dispose();
    }
    if (values.length !== this.count) {
      for (const value of values) value.dispose();
      throw new AutogradError(
        `the checkpointed function saved ${values.length} tensors when it ran again and ${this.count} the first time (asked for by ${op})`,
        {
          op: 'checkpoint',
          expected: 'a function that does the same operations each time',
          fix: 'Keep data-dependent branches, counters and changing state out of it.',
        },
      );
    }
    this.values = values;
  }

  release(number: number): void {
    const value = this.values?.[number];
    if (this.values !== null && value) {
      value.dispose();
      this.values[number] = null;
    }
    if (++this.released === this.count) this.free();
  }

  private free(): void {
    for (const input of this.inputs) input.release();
    this.random.dispose();
  }
}

/** A tensor that comes back by running the function again. */
class Recomputed implements Saved {
  private readonly frame: Frame<unknown>;
  private readonly number: number;
  private readonly shape: readonly number[];
  /** The place in the graph of the first run. */
  private readonly link: Pick<Tensor, 'requiresGrad' | 'gradFn' | 'outputIndex' | 'accumulator'>;
  private freed = false;

  constructor(frame: Frame<unknown>, number: number, tensor: Tensor) {
    this.frame = frame;
    this.number = number;
    this.shape = tensor.shape;
    const { requiresGrad, gradFn, outputIndex, accumulator } = tensor;
    this.link = { requiresGrad, gradFn, outputIndex, accumulator };
  }
  get(op: string, label: string): Tensor {
    if (this.freed) throw freedGraphError(op);
    const value = this.frame.value(this.number, op);
    if (!shapesEqual(value.shape, this.shape)) {
      throw new AutogradError(
        `${label} of ${op} has shape ${formatShape(value.shape)} when the checkpointed function runs again, and had ${formatShape(this.shape)}`,
        {
          op: 'checkpoint',
          expected: 'a function that does the same operations each time',
        },
      );
    }
    linkLike(value, this.link);
    return value;
  }
  release(): void {
    if (this.freed) return;
    this.freed = true;
    this.frame.release(this.number);
  }
}

/** Stands in the throw-away nodes of the second run. */
const noSaved: Saved = {
  get(op) {
    throw freedGraphError(op);
  },
  release() {},
};

/**
 * Runs `fn(...inputs)` so that only the inputs are kept for backward; `fn` runs again there, with the same random numbers.
 * It must do the same operations each time. In-place changes it makes to outer state (running statistics) happen twice.
 */
export function checkpoint<R extends Tensor | readonly Tensor[]>(fn: (...inputs: Tensor[]) => R, ...inputs: Tensor[]): R {
  if (!isGradEnabled()) return fn(...inputs);
  // The second run casts as the first did.
  const frame = new Frame(bindAutocast(fn), inputs);
  return scope(() => frame.run(inputs));
}
