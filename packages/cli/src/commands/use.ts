/** `trireme eval`, `predict` and `summary` */

import { relative } from 'node:path';
import process from 'node:process';
import { formatNumber, summary } from 'trireme/train';
import { buildNet, exampleInputs, guarded, modelForUse, openRunData, readFacts } from '../build.js';
import { restore } from '../checkpoints.js';
import { ConfigError, exitCodes, UsageError } from '../errors.js';
import type { LoadedRun } from '../load.js';
import { columns, encode, type Output } from '../output.js';
import type { AnyData, DataPart } from '../run.js';
import { onInterrupt } from '../session.js';

const here = (path: string): string => relative(process.cwd(), path) || path;
const notice = 'interrupted (again to end at once)';

export async function evaluate(
  run: LoadedRun,
  { checkpoint, part }: { readonly checkpoint: string | undefined; readonly part: DataPart | undefined },
  output: Output,
): Promise<number> {
  const interruption = onInterrupt(notice);
  let data: AnyData | null = null;
  try {
    const { signal } = interruption;
    const net = await buildNet(run);
    const restored = await restore(run, net, checkpoint);
    const facts = await readFacts([restored.path, run.output]);
    data = await openRunData(run, { parts: part === undefined ? ['validation', 'test'] : [part], facts, signal });
    const name = part ?? (data.test === undefined ? 'validation' : 'test');
    const source = data[name];
    if (source === undefined) {
      throw new ConfigError({
        file: run.file,
        key: 'data',
        message: `there is no ${part ?? 'test or validation'} data.`,
        fix: 'Name the part to evaluate: --part train.',
      });
    }
    const model = await modelForUse(run, net);
    const started = performance.now();
    const metrics = await model.evaluate(source, { toTensors: data.toTensors, signal });
    const seconds = (performance.now() - started) / 1000;
    output.say(
      `${run.name} on ${name} data, ${here(restored.path)}${restored.epoch === null ? '' : ` (epoch ${restored.epoch}, step ${restored.step})`}`,
    );
    output.say(columns(Object.entries(metrics).map(([key, value]) => [key, formatNumber(value)])));
    output.result({
      command: 'eval',
      ok: true,
      name: run.name,
      part: name,
      metrics,
      checkpoint: restored.path,
      epoch: restored.epoch,
      step: restored.step,
      seconds: Number(seconds.toFixed(3)),
    });
    model.dispose();
    return exitCodes.done;
  } finally {
    interruption.release();
    await data?.close?.();
  }
}

export async function predict(
  run: LoadedRun,
  { checkpoint, inputs }: { readonly checkpoint: string | undefined; readonly inputs: readonly string[] },
  output: Output,
): Promise<number> {
  const { definition, options } = run;
  if (!definition.predict)
    throw new ConfigError({
      file: run.file,
      message: 'the run does not say how to predict.',
      fix: 'Give predict: ({ inputs, model }) => ... to defineRun.',
    });
  if (inputs.length === 0)
    throw new UsageError('there is nothing to predict for', 'Name the input files after the script or configuration.');
  const interruption = onInterrupt(notice);
  try {
    const { signal } = interruption;
    const net = await buildNet(run);
    const restored = await restore(run, net, checkpoint);
    const facts = await readFacts([restored.path, run.output]);
    const model = await modelForUse(run, net);
    const { predict: call } = definition;
    const predictions = await guarded(run, () => call.call(definition, { options, inputs, model, facts, signal }));
    if (!output.json) for (const entry of predictions) output.say(typeof entry === 'string' ? entry : encode(entry));
    output.result({ command: 'predict', ok: true, name: run.name, checkpoint: restored.path, predictions });
    model.dispose();
    return exitCodes.done;
  } finally {
    interruption.release();
  }
}

export async function summarize(run: LoadedRun, output: Output): Promise<number> {
  const interruption = onInterrupt(notice);
  let data: AnyData | null = null;
  try {
    const net = await buildNet(run);
    const inputs = await exampleInputs(run, async () => {
      data = await openRunData(run, { parts: ['train'], facts: null, signal: interruption.signal });
      return data;
    });
    const table = await guarded(run, () => summary(net, inputs));
    output.say(String(table));
    const { layers, toString: _, ...totals } = table;
    output.result({ command: 'summary', ok: true, name: run.name, inputs, ...totals, layers });
    return exitCodes.done;
  } finally {
    interruption.release();
    await (data as AnyData | null)?.close?.();
  }
}
