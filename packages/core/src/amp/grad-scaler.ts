/** Loss scaling for float16 gradients. */
import { noGrad } from '../autograd/mode.js';
import { ArgumentError } from '../errors.js';
import { currentTrace, type Trace } from '../graph/trace.js';
import { add, eq, logicalAnd, logicalOr, mul, sub } from '../ops/binary.js';
import { cast } from '../ops/cast.js';
import { full, zeros } from '../ops/create.js';
import { all } from '../ops/reduce.js';
import { where } from '../ops/ternary.js';
import { isFinite, logicalNot, reciprocal } from '../ops/unary.js';
import { writeInto } from '../ops/write-view.js';
import { type AnyOptimizer, makeState, type StepOptions } from '../optim/optimizer.js';
import { withAutocast } from '../tensor/autocast.js';
import { readSync } from '../tensor/data.js';
import { outsideScopes, scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';

export interface GradScalerOptions {
  /** Default 65536. */
  readonly initScale?: number;
  /** Factor after `growthInterval` steps without overflow; default 2. */
  readonly growthFactor?: number;
  /** Factor after an overflow; default 0.5. */
  readonly backoffFactor?: number;
  /** Default 2000. */
  readonly growthInterval?: number;
  /** False: scale() and step() do nothing of their own. */
  readonly enabled?: boolean;
}

/** What is known of the gradients of one optimizer. */
interface Findings {
  /** The function in which it was found out. */
  readonly trace: Trace | null;
  /** Some gradient is infinite or NaN. */
  readonly found: Tensor;
  /** 1 / scale. */
  readonly inverse: Tensor;
  readonly unscaled: boolean;
}

/** The gradients of all parameters, of sparse ones the values. */
function gradientsOf(optimizer: AnyOptimizer): Tensor[] {
  return optimizer.parameters().flatMap((p) => p.grad ?? p.sparseGrad?.values ?? []);
}

/** Plain JSON. */
export interface GradScalerState {
  readonly scale: number;
  /** Steps since the last overflow or growth. */
  readonly growthTracker: number;
}

/**
 * Multiplies the loss so that small float16 gradients do not vanish, and skips steps whose gradients overflowed
 * (Micikevicius et al., arXiv:1710.03740). Scale, counter and findings are tensors and nothing is read on the way, so all
 * of it works inside jit(), where the skip is part of the Program:
 *
 * ```ts
 * const loss = autocast(() => lossOf(model.call(x), y), { dtype: 'float16' });
 * scaler.scale(loss).backward();
 * scaler.step(optimizer); // unscales first; call unscale_ yourself to clip in between
 * scaler.update();
 * optimizer.zeroGrad();
 * ```
 */
export class GradScaler {
  readonly enabled: boolean;
  private readonly options: Required<Omit<GradScalerOptions, 'enabled'>>;
  private readonly scaleState: Tensor;
  private readonly tracker: Tensor;
  /** Whether an overflow was seen since the last update(). */
  private readonly overflowed: Tensor;
  /** Optimizers whose gradients were looked at since the last update(). */
  private readonly seen = new Map<AnyOptimizer, Findings>();

  constructor({ initScale = 65536, growthFactor = 2, backoffFactor = 0.5, growthInterval = 2000, enabled = true }: GradScalerOptions = {}) {
    if (!(initScale > 0 && growthFactor > 1 && backoffFactor > 0 && backoffFactor < 1 && growthInterval >= 1)) {
      throw new ArgumentError(
        `initScale ${initScale}, growthFactor ${growthFactor}, backoffFactor ${backoffFactor}, growthInterval ${growthInterval}`,
        { op: 'GradScaler', expected: 'a positive scale, a growth above 1, a backoff between 0 and 1, an interval of at least 1' },
      );
    }
    this.enabled = enabled;
    this.options = { initScale, growthFactor, backoffFactor, growthInterval };
    this.scaleState = makeState(() => full([], initScale));
    this.tracker = makeState(() => zeros([], { dtype: 'int32' }));
    this.overflowed = makeState(() => zeros([], { dtype: 'bool' }));
  }

  /** The present scale; reads it on the host. */
  getScale(): number {
    return this.enabled ? Number(readSync(this.scaleState)[0]) : 1;
  }

  /** The loss times the scale, to call backward() on. A half-precision loss becomes float32. */
  scale(loss: Tensor): Tensor {
    if (!this.enabled) return loss;
    return scope(() => {
      const wide = loss.dtype === 'float64' ? loss : cast(loss, 'float32');
      return mul(wide, cast(this.scaleState, wide.dtype));
    });
  }

  /**
   * Divides the gradients of the optimizer's parameters by the scale, in place: before clipping. step() alone scales them on
   * their way into the update instead. @throws ArgumentError when called twice, and for float16 gradients
   */
  unscale_(optimizer: AnyOptimizer): void {
    if (!this.enabled) return;
    if (this.findingsOf(optimizer)?.unscaled) {
      throw new ArgumentError('these gradients were unscaled already', {
        op: 'GradScaler.unscale_',
        expected: 'one unscale_() between two update()',
      });
    }
    const { found, inverse } = this.lookAt(optimizer);
    noGrad(() =>
      scope(() => {
        for (const grad of gradientsOf(optimizer)) {
          if (grad.dtype === 'float16') {
            throw new ArgumentError('float16 gradients would lose in unscale_() what the scale has saved', {
              op: 'GradScaler.unscale_',
              expected: 'float32 gradients: float32 parameters under autocast',
              fix: 'Leave unscale_() out: step() divides on the way into the update.',
            });
          }
          writeInto(grad, mul(grad, cast(inverse, grad.dtype)));
        }
      }),
    );
    this.seen.set(optimizer, { trace: currentTrace(), found, inverse, unscaled: true });
  }

  /** What was found out since the last update(), in this function. */
  private findingsOf(optimizer: AnyOptimizer): Findings | null {
    const known = this.seen.get(optimizer);
    return known?.trace === currentTrace() ? known : null;
  }
  private lookAt(optimizer: AnyOptimizer): Findings {
    const [found, inverse] = outsideScopes(() =>
      noGrad(() =>
        withAutocast(null, () =>
          scope(() => {
            const finite = gradientsOf(optimizer).map((grad) => all(isFinite(grad)));
            const usable = finite.length === 0 ? full([], true) : finite.reduce(logicalAnd);
            return [logicalNot(usable), reciprocal(this.scaleState)] as const;
          }),
        ),
      ),
    );
    const findings = { trace: currentTrace(), found, inverse, unscaled: false };
    this.seen.set(optimizer, findings);
    return findings;
  }

  /** `optimizer.step()`, of which nothing happens when a gradient is infinite or NaN. A step that is skipped anyway finds nothing. */
  step(optimizer: AnyOptimizer, { skip = null }: Pick<StepOptions, 'skip'> = {}): void {
    if (!this.enabled) {
      optimizer.step({ skip });
      return;
    }
    const { found, inverse, unscaled } = this.findingsOf(optimizer) ?? this.lookAt(optimizer);
    const { overflowed } = this;
    noGrad(() => scope(() => writeInto(overflowed, logicalOr(overflowed, skip === null ? found : logicalAnd(found, logicalNot(skip))))));
    const skipped = skip === null ? found : noGrad(() => logicalOr(skip, found));
    optimizer.step({ skip: skipped, gradScale: unscaled ? null : inverse });
  }

  /** Adjusts the scale: after the steps of all optimizers. `newScale` sets it instead. */
  update(newScale?: number): void {
    if (!this.enabled) return;
    const { growthFactor, backoffFactor, growthInterval } = this.options;
    noGrad(() =>
      scope(() => {
        const { overflowed, scaleState, tracker } = this;
        const counted = add(tracker, 1);
        const grows = eq(counted, growthInterval);
        const adjusted = where(overflowed, mul(scaleState, backoffFactor), where(grows, mul(scaleState, growthFactor), scaleState));
        // A scale that overflows itself stays.
        const next = newScale === undefined ? where(isFinite(adjusted), adjusted, scaleState) : full([], newScale);
        const count = newScale === undefined ? where(logicalOr(overflowed, grows), 0, counted) : sub(tracker, tracker);
        writeInto(scaleState, next);
        writeInto(tracker, count);
        writeInto(overflowed, zeros([], { dtype: 'bool' }));
      }),
    );
    this.forget();
  }
  private forget(): void {
    for (const { found, inverse } of this.seen.values()) {
      found.dispose();
      inverse.dispose();
    }
    this.seen.clear();
  }

  stateDict(): GradScalerState {
    return { scale: Number(readSync(this.scaleState)[0]), growthTracker: Number(readSync(this.tracker)[0]) };
  }
  loadStateDict({ scale, growthTracker }: GradScalerState): void {
    noGrad(() => {
      writeInto(this.scaleState, full([], scale));
      writeInto(this.tracker, full([], growthTracker, { dtype: 'int32' }));
    });
  }
  dispose(): void {
    for (const t of [this.scaleState, this.tracker, this.overflowed]) t.dispose();
    this.forget();
  }
}
