/** Shows how training goes: a bar on a terminal, plain lines elsewhere. */
import type { Callback, TrainRun } from '../callback.js';
import type { BatchRecord, EpochRecord, History } from '../types.js';

/** Where text goes: a stream of Node, or anything like one. */
export interface TextOutput {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export interface ProgressBarOptions {
  /** Default: standard error; in a browser the console. */
  readonly output?: TextOutput;
  /** Measures to show, in order; default all. */
  readonly measures?: readonly string[];
  /** Milliseconds between two lines where there is no terminal. Default 10,000. */
  readonly interval?: number;
  /** A line for every so many epochs and for the last one; 0 for none. Default 1. */
  readonly everyEpochs?: number;
}

/** The console as an output: a message for each line. */
const consoleOutput: TextOutput = { write: (text) => console.info(text.replace(/\n$/, '')) };

/** `45 ms`, `3.2 s`, `4 min 05 s`, `2 h 07 min`. */
export function formatDuration(seconds: number): string {
  if (seconds < 0.9995) return `${Math.round(1000 * seconds)} ms`;
  if (seconds < 60) return seconds < 10 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  const pad = (n: number): string => String(n).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${pad(Math.floor((whole % 3600) / 60))} min`;
}

/** A number in about four figures: `0.1234`, `12.35`, `1.2e-5`. */
export function formatNumber(value: number): string {
  const size = Math.abs(value);
  if (value === 0 || !Number.isFinite(value)) return String(value);
  if (Number.isInteger(value) && size < 1e6) return String(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(2);
  return value.toPrecision(4);
}

/** Text without what could move the cursor or fill the screen: names come from outside. */
const oneLine = (text: string): string => text.replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, ' ');

/** A bar with rate and time left while an epoch runs, and a line for each epoch. */
export class ProgressBar implements Callback {
  readonly name = 'progressBar';
  private readonly output: TextOutput;
  private readonly options: ProgressBarOptions;
  private readonly terminal: boolean;
  private drawn = false;
  private shownAt = 0;
  private started = 0;
  /** Epochs before this process. */
  private before = 0;
  /** Of the present epoch: items, and seconds without validation. */
  private epochItems = 0;
  private epochTraining = 0;

  constructor(options: ProgressBarOptions = {}) {
    this.options = options;
    const stderr = typeof process === 'object' ? (process.stderr as TextOutput | undefined) : undefined;
    this.output = options.output ?? stderr ?? consoleOutput;
    this.terminal = this.output.isTTY === true;
  }

  onTrainBegin(run: TrainRun): void {
    this.started = performance.now();
    this.shownAt = this.started;
    this.before = run.epochs.length;
    const { resumed } = run;
    if (resumed !== null) this.line(`resumed from ${resumed.checkpoint} (epoch ${resumed.epoch}, step ${resumed.step})`);
  }
  onBatchEnd(run: TrainRun, batch: BatchRecord): void {
    this.epochItems += batch.size;
    this.epochTraining += batch.seconds;
    const now = performance.now();
    if (now - this.shownAt < (this.terminal ? 100 : (this.options.interval ?? 10_000))) return;
    this.shownAt = now;
    this.show(run, batch, now);
  }

  private show(run: TrainRun, batch: BatchRecord, now: number): void {
    const { batchesPerEpoch: total } = run;
    const share = total === null ? null : Math.min(1, batch.batch / total);
    const rate = this.epochItems / Math.max(1e-9, this.epochTraining);
    // Time spent since the start, validation included, for the share of the work done since the start.
    const finished = batch.epoch - 1 - this.before + (share ?? 0);
    const left =
      share === null || finished <= 0 ? null : ((now - this.started) / 1000 / finished) * (run.lastEpoch - this.before - finished);
    const parts = [
      `epoch ${batch.epoch}/${run.lastEpoch}`,
      total === null ? `batch ${batch.batch}` : `${batch.batch}/${total}`,
      ...this.measures(batch.means),
      `${formatNumber(Math.round(rate))} items/s`,
      ...(left === null ? [] : [`${formatDuration(left)} left`]),
    ];
    const status = oneLine(parts.join('  '));
    if (!this.terminal) {
      this.output.write(`${share === null ? '' : `${String(Math.floor(100 * share)).padStart(3)} %  `}${status}\n`);
      return;
    }
    const columns = this.output.columns ?? 80;
    const width = Math.min(30, columns - status.length - 3);
    const bar =
      share === null || width < 8 ? '' : `${'█'.repeat(Math.round(share * width))}${'░'.repeat(width - Math.round(share * width))} `;
    this.output.write(`\r\u001b[K${(bar + status).slice(0, columns - 1)}`);
    this.drawn = true;
  }

  private measures(values: Readonly<Record<string, number>>): string[] {
    const names = this.options.measures ?? Object.keys(values);
    return names.flatMap((name) => (Object.hasOwn(values, name) ? [`${name} ${formatNumber(values[name])}`] : []));
  }

  onEpochBegin(): void {
    this.epochItems = 0;
    this.epochTraining = 0;
  }
  onEpochEnd(run: TrainRun, { epoch, metrics, seconds }: EpochRecord): void {
    const { everyEpochs = 1 } = this.options;
    if (everyEpochs === 0 || (epoch % everyEpochs !== 0 && epoch !== run.lastEpoch)) return;
    const rate = formatNumber(Math.round(this.epochItems / Math.max(1e-9, this.epochTraining)));
    this.line([`epoch ${epoch}/${run.lastEpoch}`, ...this.measures(metrics), formatDuration(seconds), `${rate} items/s`].join('  '));
  }
  onTrainEnd(_run: TrainRun, { outcome, reason }: History): void {
    if (outcome === 'stopped' && reason !== null) this.line(`stopped: ${reason}`);
    else if (this.drawn) this.clear();
  }

  private clear(): void {
    if (this.drawn) this.output.write('\r\u001b[K');
    this.drawn = false;
  }
  /** A line of its own, above the bar. */
  line(text: string): void {
    this.clear();
    this.output.write(`${oneLine(text)}\n`);
  }
}
