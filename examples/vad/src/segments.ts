/** From probabilities to stretches of speech. */

export interface SegmentOptions {
  /** Seconds of a frame. */
  readonly frameSeconds: number;
  /** Seconds of the sound. */
  readonly duration: number;
  /** Speech begins at this probability. Default 0.5. */
  readonly threshold?: number;
  /** It ends below this one. Default 0.15 lower. */
  readonly endThreshold?: number;
  /** Seconds; shorter speech is left out. Default 0.25. */
  readonly minSpeech?: number;
  /** Seconds; shorter silence does not end speech. Default 0.1. */
  readonly minSilence?: number;
  /** Seconds added on both sides, as far as there is room. Default 0.03. */
  readonly pad?: number;
}

/** Seconds from the beginning. */
export interface Segment {
  readonly start: number;
  readonly end: number;
}

/** Two thresholds, so that a probability about one of them does not make many pieces. */
export function segmentsOf(probabilities: ArrayLike<number>, options: SegmentOptions): Segment[] {
  const { frameSeconds, duration, threshold = 0.5, minSpeech = 0.25, minSilence = 0.1, pad = 0.03 } = options;
  const endThreshold = options.endThreshold ?? threshold - 0.15;
  const spoken: Segment[] = [];
  let start = -1;
  let quietFrom = -1;
  const finish = (end: number): void => {
    if (end - start >= minSpeech) spoken.push({ start, end: Math.min(end, duration) });
    start = -1;
    quietFrom = -1;
  };
  for (let i = 0; i < probabilities.length; i++) {
    const now = i * frameSeconds;
    const p = probabilities[i];
    if (p >= threshold) {
      if (start < 0) start = now;
      quietFrom = -1;
    } else if (p < endThreshold && start >= 0) {
      if (quietFrom < 0) quietFrom = now;
      if (now + frameSeconds - quietFrom >= minSilence) finish(quietFrom);
    }
  }
  if (start >= 0) finish(quietFrom < 0 ? duration : quietFrom);
  return spoken.map(({ start: from, end: to }, i) => {
    const before = i === 0 ? from : (from - spoken[i - 1].end) / 2;
    const after = i === spoken.length - 1 ? duration - to : (spoken[i + 1].start - to) / 2;
    return { start: from - Math.min(pad, before), end: to + Math.min(pad, after) };
  });
}
