/** Logs as files: CSV and JSON lines (Node). */
import { readFileBounded, writeFileAtomic } from '../../io/files.js';
import { nodeModule } from '../../io/node.js';
import type { Callback, TrainRun } from '../callback.js';
import type { BatchRecord, EpochRecord, History } from '../types.js';

async function readText(path: string): Promise<string | null> {
  const fs = await nodeModule('node:fs/promises', 'log');
  const exists = await fs.stat(path).then(
    () => true,
    () => false,
  );
  return exists ? new TextDecoder().decode(await readFileBounded(path, 2 ** 30)) : null;
}

async function makeFolderOf(path: string): Promise<void> {
  const { dirname } = await nodeModule('node:path', 'log');
  const fs = await nodeModule('node:fs/promises', 'log');
  await fs.mkdir(dirname(path), { recursive: true });
}

/** A cell of RFC 4180. */
function cell(value: string | number): string {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * One row for each epoch: epoch, step, lr, seconds, items and every measure. The file is replaced whole after each epoch, so it is
 * never torn and columns may appear later. A resumed training keeps the rows of the epochs before.
 */
export class CsvLogger implements Callback {
  readonly name = 'csvLogger';
  private readonly path: string;
  constructor(path: string) {
    this.path = path;
  }
  async onTrainBegin(): Promise<void> {
    await makeFolderOf(this.path);
  }
  async onEpochEnd(run: TrainRun): Promise<void> {
    const names = [...new Set(run.epochs.flatMap((e) => Object.keys(e.metrics)))];
    const rows: (string | number)[][] = [['epoch', 'step', 'lr', 'seconds', 'items', ...names]];
    for (const { epoch, step, lr, seconds, items, metrics } of run.epochs) {
      rows.push([epoch, step, lr, seconds.toFixed(3), items, ...names.map((name) => (Object.hasOwn(metrics, name) ? metrics[name] : ''))]);
    }
    await writeFileAtomic(this.path, new TextEncoder().encode(`${rows.map((row) => row.map(cell).join(',')).join('\n')}\n`));
  }
}

export interface JsonlLoggerOptions {
  /** A line for every so many optimizer updates; 0 for none. Default 1. */
  readonly everySteps?: number;
}

/**
 * One JSON object a line: `{"type":"begin",...}`, `{"type":"step",...}`, `{"type":"epoch",...}`, `{"type":"end",...}`. Numbers that JSON does not have are the strings
 * "NaN", "Infinity", "-Infinity". A resumed training drops the lines after its checkpoint and goes on.
 */
export class JsonlLogger implements Callback {
  readonly name = 'jsonlLogger';
  private readonly path: string;
  private readonly everySteps: number;
  private lines: string[] = [];
  private flushed = 0;

  constructor(path: string, { everySteps = 1 }: JsonlLoggerOptions = {}) {
    this.path = path;
    this.everySteps = everySteps;
  }

  async onTrainBegin(run: TrainRun): Promise<void> {
    await makeFolderOf(this.path);
    const before = run.resumed === null ? null : await readText(this.path);
    const kept = (before ?? '').split('\n').filter((line) => stepOf(line) <= run.step);
    await writeFileAtomic(this.path, new TextEncoder().encode(kept.map((line) => `${line}\n`).join('')));
    this.lines = [];
    const { config, machine, resumed, step } = run;
    this.add({ type: 'begin', time: new Date().toISOString(), step, resumed, config, machine });
    await this.flush();
  }
  onBatchEnd(_run: TrainRun, { epoch, batch, step, updated, loss, lr, measures, size, seconds }: BatchRecord): Promise<void> | void {
    if (this.everySteps === 0 || !updated || step % this.everySteps !== 0) return;
    this.add({ type: 'step', epoch, batch, step, loss, lr, ...measures, size, seconds: round(seconds) });
    if (performance.now() - this.flushed > 1000) return this.flush();
  }
  async onEpochEnd(_run: TrainRun, { epoch, step, metrics, lr, items, seconds }: EpochRecord): Promise<void> {
    this.add({ type: 'epoch', epoch, step, ...metrics, lr, items, seconds: round(seconds) });
    await this.flush();
  }
  async onTrainEnd(run: TrainRun, { outcome, reason, seconds }: History): Promise<void> {
    this.add({ type: 'end', time: new Date().toISOString(), step: run.step, outcome, reason, seconds: round(seconds) });
    await this.flush();
  }

  private add(record: object): void {
    this.lines.push(JSON.stringify(record, (_, v: unknown) => (typeof v === 'number' && !Number.isFinite(v) ? String(v) : v)));
  }
  private async flush(): Promise<void> {
    this.flushed = performance.now();
    if (this.lines.length === 0) return;
    const text = this.lines.map((line) => `${line}\n`).join('');
    this.lines = [];
    const fs = await nodeModule('node:fs/promises', 'log');
    await fs.appendFile(this.path, text);
  }
}

const round = (seconds: number): number => Number(seconds.toFixed(4));

/** The step of a line; infinity for one that is torn, and for the end of the run that is resumed. */
function stepOf(line: string): number {
  try {
    const { step, type } = JSON.parse(line) as { readonly step?: unknown; readonly type?: unknown };
    return typeof step === 'number' && type !== 'end' ? step : Number.POSITIVE_INFINITY;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
