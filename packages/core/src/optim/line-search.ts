/** A line search for the strong Wolfe conditions. */

/** The objective along the search direction, at one step length. */
export interface Probe<G> {
  readonly t: number;
  readonly value: number;
  readonly gradient: G;
  /** Derivative along the direction. */
  readonly slope: number;
}

export interface LineSearchOptions {
  /** Sufficient decrease. */
  readonly c1?: number;
  /** Curvature. */
  readonly c2?: number;
  readonly toleranceChange?: number;
  readonly maxEvaluations?: number;
}

/** The minimum of the cubic through two values and slopes, within bounds (Nocedal and Wright, equation 3.59). */
function cubicMinimum(a: Probe<unknown>, b: Probe<unknown>, bounds?: readonly [number, number]): number {
  const [low, high] = bounds ?? (a.t <= b.t ? [a.t, b.t] : [b.t, a.t]);
  const d1 = a.slope + b.slope - (3 * (a.value - b.value)) / (a.t - b.t);
  const square = d1 * d1 - a.slope * b.slope;
  if (!(square >= 0)) return (low + high) / 2;
  const d2 = Math.sqrt(square);
  const at =
    a.t <= b.t
      ? b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
      : a.t - (a.t - b.t) * ((a.slope + d2 - d1) / (a.slope - b.slope + 2 * d2));
  return Math.min(Math.max(at, low), high);
}

/**
 * A step length for which value and slope satisfy the strong Wolfe conditions: bracketing, then zooming in with cubic
 * interpolation (Nocedal and Wright, Numerical Optimization, algorithms 3.5 and 3.6; bounds and safeguards as in minFunc).
 * `largest` is the largest element of the direction. Returns the best probe and how many there were.
 */
export function strongWolfe<G>(
  evaluate: (t: number) => Probe<G>,
  start: Probe<G>,
  firstStep: number,
  largest: number,
  { c1 = 1e-4, c2 = 0.9, toleranceChange = 1e-9, maxEvaluations = 25 }: LineSearchOptions = {},
): { readonly best: Probe<G>; readonly evaluations: number } {
  const tooHigh = (p: Probe<G>): boolean => p.value > start.value + c1 * p.t * start.slope;
  const isFlat = (p: Probe<G>): boolean => Math.abs(p.slope) <= -c2 * start.slope;

  let before = start;
  let now = evaluate(firstStep);
  let evaluations = 1;
  let rounds = 0;
  let bracket: [Probe<G>, Probe<G>] | null = null;
  while (rounds < maxEvaluations) {
    if (tooHigh(now) || (rounds > 1 && now.value >= before.value)) {
      bracket = [before, now];
      break;
    }
    if (isFlat(now)) return { best: now, evaluations };
    if (now.slope >= 0) {
      bracket = [before, now];
      break;
    }
    const t = cubicMinimum(before, now, [now.t + 0.01 * (now.t - before.t), now.t * 10]);
    before = now;
    now = evaluate(t);
    evaluations++;
    rounds++;
  }
  bracket ??= [start, now];

  const lowOf = (pair: readonly [Probe<G>, Probe<G>]): 0 | 1 => (pair[0].value <= pair[1].value ? 0 : 1);
  let low = lowOf(bracket);
  let stalled = false;
  while (rounds < maxEvaluations) {
    const [left, right] = [Math.min(bracket[0].t, bracket[1].t), Math.max(bracket[0].t, bracket[1].t)];
    if ((right - left) * largest < toleranceChange) break;
    let t = cubicMinimum(bracket[0], bracket[1]);
    // Close to an end of the bracket twice in a row (or at it): step away from it.
    const margin = 0.1 * (right - left);
    if (Math.min(right - t, t - left) < margin) {
      if (stalled || t >= right || t <= left) {
        t = Math.abs(t - right) < Math.abs(t - left) ? right - margin : left + margin;
        stalled = false;
      } else stalled = true;
    } else stalled = false;
    const probe = evaluate(t);
    evaluations++;
    rounds++;
    const high = low === 0 ? 1 : 0;
    if (tooHigh(probe) || probe.value >= bracket[low].value) {
      bracket[high] = probe;
      low = lowOf(bracket);
    } else {
      if (isFlat(probe)) return { best: probe, evaluations };
      if (probe.slope * (bracket[high].t - bracket[low].t) >= 0) bracket[high] = bracket[low];
      bracket[low] = probe;
    }
  }
  return { best: bracket[low], evaluations };
}
