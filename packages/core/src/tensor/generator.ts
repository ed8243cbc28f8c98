/** Where random numbers come from. */
import { philoxKey } from '../data/philox.js';
import { ArgumentError } from '../errors.js';
import { withTrace } from '../graph/trace.js';
import { copy } from '../ops/cast.js';
import { writeInto } from '../ops/write-view.js';
import { beforeDeviceChange } from './device.js';
import { createFromArray, readSync } from './dispatch.js';
import { outsideScopes } from './scope.js';
import type { Tensor } from './tensor.js';

/** Seed of the default generator until manualSeed() is called: runs repeat by themselves. */
const defaultSeed = 0;

/**
 * A stream of random numbers: Philox4x32-10 keyed by the seed, one stream per call of a random operation. Its state is a
 * tensor that the operations advance in place, so they draw new numbers in each run of a jitted function too.
 */
export class Generator {
  private initial: Int32Array;
  private current: Tensor | null = null;

  constructor(seed = defaultSeed) {
    this.initial = stateOf(seed);
  }

  /** int32 [seed low, seed high, stream, 0]. Never made inside a trace: traced functions capture it. */
  get state(): Tensor {
    if (this.current === null || this.current.isDisposed) {
      this.current = withTrace(null, () => outsideScopes(() => createFromArray(this.initial, 'int32', [4])));
    }
    return this.current;
  }

  /** Starts the stream of `seed` (a safe integer) from its beginning. @throws ArgumentError */
  manualSeed(seed: number): this {
    this.setState(stateOf(seed));
    return this;
  }

  /** The state as four numbers, to be stored in a checkpoint. Reads the tensor: not inside jit(). */
  getState(): Int32Array {
    return this.current === null ? this.initial.slice() : (readSync(this.current) as Int32Array);
  }

  /** Continues from a state that getState() gave. @throws ArgumentError */
  setState(state: ArrayLike<number>): void {
    if (state.length !== 4)
      throw new ArgumentError(`a state of ${state.length} numbers`, {
        op: 'Generator.setState',
        expected: 'the four numbers that getState() gave',
      });
    const values = Int32Array.from(state);
    if (this.current === null || this.current.isDisposed) {
      this.initial = values;
      return;
    }
    const fresh = outsideScopes(() => createFromArray(values, 'int32', [4]));
    writeInto(this.current, fresh);
    fresh.dispose();
  }

  /** Takes the state off the device; it goes back, to whichever device is current, at the next use. */
  unload(): void {
    this.initial = this.getState();
    this.current?.dispose();
    this.current = null;
  }

  /** A copy of the state as a tensor; with {@link restore} it also works inside jit(). */
  snapshot(): Tensor {
    return copy(this.state);
  }
  restore(snapshot: Tensor): void {
    writeInto(this.state, snapshot);
  }
}

function stateOf(seed: number): Int32Array {
  if (!Number.isSafeInteger(seed))
    throw new ArgumentError(`seed ${seed}`, { op: 'manualSeed', received: seed, expected: 'a whole number of at most 53 bits' });
  const [low, high] = philoxKey(seed);
  return Int32Array.from([low | 0, high | 0, 0, 0]);
}

/** What random operations use unless they are given another. */
export const defaultGenerator: Generator = new Generator();
beforeDeviceChange(() => defaultGenerator.unload());

/** Seeds the default generator. Returns it. */
export function manualSeed(seed: number): Generator {
  return defaultGenerator.manualSeed(seed);
}
