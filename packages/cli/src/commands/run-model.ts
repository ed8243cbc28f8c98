/** `trireme run` */
import { formatDuration, formatNumber } from 'trireme/train';
import { exitCodes } from '../errors.js';
import { shapeText } from '../inspect/inspection.js';
import { readValues, summarizeValue, writeValues } from '../models/arrays.js';
import { checkedInputs } from '../models/inputs.js';
import { openRunnable } from '../models/open.js';
import { columns, type Output } from '../output.js';
import { onInterrupt } from '../session.js';

export interface RunFlags {
  /** `x=file.npy` */
  readonly inputs: readonly string[];
  /** A folder, or a .npz, .npy or .pb file. */
  readonly target: string | undefined;
}

export async function runModel(file: string, { inputs, target }: RunFlags, output: Output): Promise<number> {
  const interruption = onInterrupt('interrupted (again to end at once)');
  const model = await openRunnable(file);
  try {
    const given = checkedInputs(file, model.inputs, await readValues(inputs, model.inputs));
    const started = performance.now();
    const values = await model.run(given, interruption.signal);
    const seconds = (performance.now() - started) / 1000;
    const summaries = [...values].map(([name, value]) => summarizeValue(name, value));
    const number = (value: number | null): string => (value === null ? '-' : formatNumber(value));
    output.say(
      columns([
        ['output', 'type', 'shape', 'min', 'mean', 'max', 'begins with'],
        ...summaries.map(({ name, type, shape, min, mean, max, notFinite, first }) => [
          name,
          type,
          shapeText(shape),
          number(min),
          number(mean),
          number(max),
          `${first.map((value) => (typeof value === 'number' ? formatNumber(value) : JSON.stringify(value))).join(' ')}${notFinite > 0 ? ` (${notFinite} not finite)` : ''}`,
        ]),
      ]),
    );
    output.say(`${formatDuration(seconds)}, compiling included`);
    const files = target === undefined ? [] : await writeValues(target, values);
    for (const written of files) output.say(`wrote ${written}`);
    output.result({ command: 'run', ok: true, model: file, seconds: Number(seconds.toFixed(4)), outputs: summaries, files });
    return exitCodes.done;
  } finally {
    interruption.release();
    model.dispose();
  }
}
