/** Prediction from PNG files with a saved model. */
import { ArgumentError, FormatError, noGrad, softmax, tensor } from 'trireme';
import { loadSafetensors } from 'trireme/io';
import { type Architecture, Classifier } from './model.js';
import { readGrey, toInput } from './pictures.js';

export interface Prediction {
  readonly file: string;
  readonly class: string;
  readonly probability: number;
}

function readDescription(
  path: string,
  metadata: ReadonlyMap<string, string>,
): { readonly architecture: Architecture; readonly classNames: readonly string[] } {
  try {
    const architecture = JSON.parse(metadata.get('architecture') ?? '') as Architecture;
    const classNames = JSON.parse(metadata.get('classNames') ?? '') as string[];
    const counts = [architecture.side, architecture.classes, ...architecture.channels];
    const { length } = architecture.channels;
    // Bounded, since the weights are allocated before the file's are compared with them; each layer but the first halves the side.
    const sane =
      counts.every((n) => Number.isInteger(n) && n > 0 && n <= 1024) &&
      length >= 1 &&
      length <= 8 &&
      architecture.side >= 2 ** (length - 1) &&
      classNames.length === architecture.classes &&
      classNames.every((n) => typeof n === 'string');
    if (sane && typeof architecture.dropout === 'number') return { architecture, classNames };
  } catch {
    // Said below.
  }
  throw new FormatError(`${path} does not describe a classifier of this example`, {
    op: 'predict',
    received: path,
    expected: 'a model.safetensors that the training run wrote',
  });
}

/** The most probable class of each picture. */
export async function predict(modelPath: string, files: readonly string[]): Promise<Prediction[]> {
  if (files.length === 0)
    throw new ArgumentError('there are no pictures', { op: 'predict', expected: 'predict <model.safetensors> <picture.png> ...' });
  const { tensors, metadata } = await loadSafetensors(modelPath, { maxBytes: 2 ** 28 });
  const { architecture, classNames } = readDescription(modelPath, metadata);
  const model = new Classifier(architecture);
  model.loadStateDict(tensors);
  model.eval();
  const { side } = architecture;
  const inputs = await Promise.all(files.map(async (file) => toInput(await readGrey(file), side)));
  const x = tensor(Float32Array.from(inputs.flatMap((input) => [...input])), { shape: [files.length, 1, side, side] });
  const best = noGrad(() => softmax(model.call(x)).max(1));
  const classes = best.indices.dataSync();
  const probabilities = best.values.dataSync();
  return files.map((file, i) => ({ file, class: classNames[Number(classes[i])], probability: Number(probabilities[i]) }));
}
