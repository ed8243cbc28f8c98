/** Writes a report page after each training. */
import { writeFileAtomic } from '../../io/files.js';
import { nodeModule } from '../../io/node.js';
import type { Callback, TrainRun } from '../callback.js';
import type { Chart } from '../report/charts.js';
import { type Report, type ReportSection, renderReport } from '../report/report.js';
import { type BatchRecord, type EpochRecord, type History, type Json, validationName } from '../types.js';
import { formatDuration, formatNumber } from './progress.js';

export interface HtmlReportOptions {
  /** The file to write (Node). */
  readonly path: string;
  /** Default: the network's class. */
  readonly title?: string;
  /** More to show at the top. */
  readonly facts?: Readonly<Record<string, string | number>>;
  /** Further parts (a confusion matrix, sample images), made when training has ended. */
  readonly sections?: (history: History) => readonly ReportSection[] | Promise<readonly ReportSection[]>;
}

/** Most points of the curves by step that are kept. */
const mostSteps = 4000;

/** Curves of loss, measures and learning rate, the configuration, a table of the epochs, the machine. */
export class HtmlReport implements Callback {
  readonly name = 'htmlReport';
  private readonly options: HtmlReportOptions;
  private lrs: (readonly [number, number])[] = [];
  private losses: (readonly [number, number])[] = [];
  /** A point for every so many steps. */
  private stride = 1;

  constructor(options: HtmlReportOptions) {
    this.options = options;
  }
  onTrainBegin({ resumed }: TrainRun): void {
    if (resumed !== null) return;
    this.lrs = [];
    this.losses = [];
    this.stride = 1;
  }
  onBatchEnd(_run: TrainRun, { step, updated, loss, lr }: BatchRecord): void {
    if (!updated || step % this.stride !== 0) return;
    this.lrs.push([step, lr]);
    this.losses.push([step, loss]);
    if (this.lrs.length < mostSteps) return;
    this.stride *= 2;
    this.lrs = this.lrs.filter(([s]) => s % this.stride === 0);
    this.losses = this.losses.filter(([s]) => s % this.stride === 0);
  }
  async onTrainEnd(run: TrainRun, history: History): Promise<void> {
    const { path, title = String(run.config.network), facts = {}, sections } = this.options;
    const own = sectionsOf(run, history.epochs, { losses: this.losses, lrs: this.lrs });
    const more = sections === undefined || history.outcome === 'failed' ? [] : await sections(history);
    const report: Report = { title, facts: { ...factsOf(run, history), ...facts }, sections: [own.curves, ...more, ...own.rest] };
    const fs = await nodeModule('node:fs/promises', 'HtmlReport');
    const { dirname } = await nodeModule('node:path', 'HtmlReport');
    await fs.mkdir(dirname(path), { recursive: true });
    await writeFileAtomic(path, new TextEncoder().encode(await renderReport(report)));
  }

  stateDict(): Json {
    return { lrs: this.lrs, losses: this.losses, stride: this.stride };
  }
  loadStateDict(state: Json): void {
    const { lrs, losses, stride } = state as {
      readonly lrs: (readonly [number, number])[];
      readonly losses: (readonly [number, number])[];
      readonly stride: number;
    };
    this.lrs = [...lrs];
    this.losses = [...losses];
    this.stride = stride;
  }
}

function factsOf(run: TrainRun, { epochs, outcome, reason, seconds }: History): Record<string, string | number> {
  const last = epochs[epochs.length - 1];
  return {
    ...Object.fromEntries(Object.entries(last?.metrics ?? {}).map(([name, value]) => [name, formatNumber(value)])),
    epochs: `${epochs.length} of ${run.lastEpoch}`,
    outcome: reason === null ? outcome : `${outcome}: ${reason}`,
    time: formatDuration(seconds),
    parameters: Number(run.config.parameters).toLocaleString('en'),
    machine: `${run.machine.tier}, ${run.machine.threads} threads`,
  };
}

/** The parts that every training has: curves first, then tables. */
export function sectionsOf(
  { config, machine }: Pick<TrainRun, 'config' | 'machine'>,
  epochs: readonly EpochRecord[],
  { losses, lrs }: { readonly losses: readonly (readonly [number, number])[]; readonly lrs: readonly (readonly [number, number])[] },
): { readonly curves: ReportSection; readonly rest: readonly ReportSection[] } {
  const names = [...new Set(epochs.flatMap((e) => Object.keys(e.metrics)))];
  const held = (name: string): boolean => /^val[A-Z]/.test(name);
  const charts: Chart[] = [];
  const points = (name: string): (readonly [number, number])[] =>
    epochs.flatMap((e) => (Object.hasOwn(e.metrics, name) ? [[e.epoch, e.metrics[name]] as const] : []));
  for (const name of names.filter((n) => !held(n) || !names.includes(n.charAt(3).toLowerCase() + n.slice(4)))) {
    const series = [
      { name: held(name) ? 'validation' : 'train', points: points(name) },
      ...(names.includes(validationName(name)) ? [{ name: 'validation', points: points(validationName(name)) }] : []),
    ];
    charts.push({ title: name, axis: 'epoch', series });
  }
  charts.push({ title: 'loss of each batch', axis: 'step', series: [{ name: 'train', points: losses }], log: true });
  charts.push({ title: 'learning rate', axis: 'step', series: [{ name: 'lr', points: lrs }] });
  const text = (value: Json): string => (typeof value === 'string' ? value : JSON.stringify(value));
  return {
    curves: { kind: 'charts', title: 'Curves', charts },
    rest: [
      {
        kind: 'table',
        title: 'Epochs',
        folded: epochs.length > 20,
        table: {
          columns: ['epoch', 'step', 'lr', ...names, 'seconds'],
          rows: epochs.map((e) => [
            e.epoch,
            e.step,
            formatNumber(e.lr),
            ...names.map((name) => (Object.hasOwn(e.metrics, name) ? formatNumber(e.metrics[name]) : '')),
            e.seconds.toFixed(2),
          ]),
        },
      },
      {
        kind: 'table',
        title: 'Configuration',
        table: { columns: ['option', 'value'], rows: Object.entries(config).map(([name, value]) => [name, text(value)]) },
      },
      {
        kind: 'table',
        title: 'Machine',
        table: { columns: ['', 'value'], rows: Object.entries(machine).map(([name, value]) => [name, String(value)]) },
      },
    ],
  };
}
