/** Which measure a callback follows, and which way is better. */
import { ArgumentError } from '../../errors.js';
import { lessIsBetter } from '../types.js';

export interface MonitorOptions {
  /** Name of the epoch's measure. Default: valLoss where there is validation data, else loss. */
  readonly monitor?: string;
  /** Which way is better. Default: less for losses and errors, more for everything else. */
  readonly mode?: 'min' | 'max';
  /** The smallest change that counts as better. Default 0. */
  readonly minDelta?: number;
}

/** The best value of a measure so far. */
export class Monitor {
  best: number | null = null;
  private readonly options: MonitorOptions;
  private readonly op: string;
  constructor(op: string, options: MonitorOptions) {
    this.op = op;
    this.options = options;
  }

  nameIn(metrics: Readonly<Record<string, number>>): string {
    return this.options.monitor ?? (Object.hasOwn(metrics, 'valLoss') ? 'valLoss' : 'loss');
  }
  /** @throws ArgumentError when the epoch has no such measure */
  valueIn(metrics: Readonly<Record<string, number>>): number {
    const name = this.nameIn(metrics);
    if (Object.hasOwn(metrics, name)) return metrics[name];
    throw new ArgumentError(`an epoch has no measure ${name}`, {
      op: this.op,
      received: name,
      expected: `one of ${Object.keys(metrics).join(', ')}`,
      fix: name.startsWith('val') ? 'Pass validation data to fit().' : undefined,
    });
  }
  /** Negative when `a` is better than `b`; NaN is worse than everything. */
  compare(name: string, a: number, b: number): number {
    if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
    const sign = (this.options.mode ?? (lessIsBetter(name) ? 'min' : 'max')) === 'min' ? 1 : -1;
    return sign * (a - b);
  }
  /** Whether this epoch is the best one so far, which is then remembered. */
  improves(metrics: Readonly<Record<string, number>>): boolean {
    const value = this.valueIn(metrics);
    if (Number.isNaN(value)) return false;
    const { minDelta = 0 } = this.options;
    if (this.best !== null && !(this.compare(this.nameIn(metrics), value, this.best) < -minDelta)) return false;
    this.best = value;
    return true;
  }
}
