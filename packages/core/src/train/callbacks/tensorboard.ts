/** Writes a training for TensorBoard. */
import type { AnyModule } from '../../nn/module.js';
import type { Callback, TrainRun } from '../callback.js';
import type { Hparams } from '../tensorboard/summaries.js';
import { SummaryWriter } from '../tensorboard/writer.js';
import { type ExampleInput, isOneInput, traceNet } from '../trace-net.js';
import type { BatchRecord, EpochRecord, History, Json } from '../types.js';

export interface TensorBoardOptions {
  /** Folder of the event files; runs side by side have one each. */
  readonly directory: string;
  /** Loss and learning rate of every so many optimizer updates; 0 for none. Default 1. */
  readonly everySteps?: number;
  /** Histograms of the weights after every so many epochs; 0 for none. Default 0. */
  readonly histogramsEvery?: number;
  /** Shows the graph of the network for these inputs: a shape, a tensor, or a list with one for each argument. */
  readonly graph?: ExampleInput | readonly ExampleInput[];
  /** The row of this run in the hyperparameter table. Default: the simple options of the training. */
  readonly hparams?: Hparams;
}

/**
 * Scalars by step (`batch/...`, `lr`) and by epoch (`loss/train`, `loss/validation` and so on), weights as histograms, the graph, the
 * hyperparameters with their results. For pictures, text and curves of your own use {@link TensorBoard.writer}.
 */
export class TensorBoard implements Callback {
  readonly name = 'tensorBoard';
  private readonly options: TensorBoardOptions;
  private current: SummaryWriter | null = null;

  constructor(options: TensorBoardOptions) {
    this.options = options;
  }
  /** Open while a training runs, else null. */
  get writer(): SummaryWriter | null {
    return this.current;
  }

  async onTrainBegin(run: TrainRun): Promise<void> {
    const { directory, graph, hparams } = this.options;
    const purgeStep = run.resumed === null ? undefined : run.step + 1;
    const writer = new SummaryWriter(directory, { purgeStep });
    this.current = writer;
    writer.addText('configuration', configText(run), run.step);
    if (graph !== undefined) {
      const { program, names } = traceNet(run.net as unknown as GraphNet, isOneInput(graph) ? [graph] : graph);
      writer.addGraph(program, names);
    }
    writer.addHparams(hparams ?? hparamsOf(run), ['loss/train', 'loss/validation']);
    await writer.flush();
  }
  onBatchEnd(_run: TrainRun, { step, updated, loss, measures, lr }: BatchRecord): void {
    const { everySteps = 1 } = this.options;
    if (this.current === null || everySteps === 0 || !updated || step % everySteps !== 0) return;
    this.current.addScalar('batch/loss', loss, step);
    for (const [name, value] of Object.entries(measures)) this.current.addScalar(`batch/${name}`, value, step);
    this.current.addScalar('lr', lr, step);
  }
  async onEpochEnd(run: TrainRun, { epoch, step, metrics }: EpochRecord): Promise<void> {
    const { current: writer } = this;
    if (writer === null) return;
    for (const [name, value] of Object.entries(metrics)) {
      const held = /^val[A-Z]/.test(name);
      const measure = held ? name.charAt(3).toLowerCase() + name.slice(4) : name;
      writer.addScalar(`${measure}/${held ? 'validation' : 'train'}`, value, step);
    }
    writer.addScalar('epoch', epoch, step);
    const { histogramsEvery = 0 } = this.options;
    if (histogramsEvery > 0 && epoch % histogramsEvery === 0) {
      for (const [name, t] of run.net.namedParameters()) writer.addHistogram(`weights/${name}`, t, step);
    }
    await writer.flush();
  }
  async onTrainEnd(_run: TrainRun, { outcome }: History): Promise<void> {
    this.current?.endHparams(outcome === 'finished' || outcome === 'stopped');
    await this.current?.close();
    this.current = null;
  }
}

/** A network of which only the arguments are unknown. */
type GraphNet = Parameters<typeof traceNet>[0] & AnyModule;

function configText({ config, machine }: TrainRun): string {
  const rows = [...Object.entries(config), ...Object.entries(machine)].map(
    ([name, value]) => `| ${name} | ${(typeof value === 'string' ? value : JSON.stringify(value)).replaceAll('|', '\\|')} |`,
  );
  return ['| option | value |', '| --- | --- |', ...rows].join('\n');
}

/** Numbers, strings and booleans of the configuration; options of the first parameter group as `group.lr`. */
function hparamsOf({ config }: TrainRun): Hparams {
  const flat: Record<string, number | string | boolean> = {};
  const add = (name: string, value: Json): void => {
    if (typeof value === 'number' || typeof value === 'string' || typeof value === 'boolean') flat[name] = value;
  };
  for (const [name, value] of Object.entries(config)) add(name, value);
  const { groups } = config;
  const [first] = Array.isArray(groups) ? (groups as readonly Json[]) : [];
  if (typeof first === 'object' && first !== null) for (const [name, value] of Object.entries(first)) add(`group.${name}`, value);
  return flat;
}
