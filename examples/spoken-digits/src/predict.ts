/** Digits from sound files with a saved model. */
import { FormatError, tensor } from 'trireme';
import { readAudio } from 'trireme/data/audio';
import { loadSafetensors } from 'trireme/io';
import { Model } from 'trireme/train';
import { bands, frames, inputOf } from './features.js';
import { type Architecture, architecture, KeywordNet } from './model.js';
import { samplesOf } from './recordings.js';
import { type Prediction, predictDigits } from './training.js';

/** The architecture in a model file: that of this example, since only the same network can take its weights. */
function architectureIn(path: string, metadata: ReadonlyMap<string, string>): Architecture {
  if (metadata.get('architecture') === JSON.stringify(architecture)) return architecture;
  throw new FormatError(`${path} is no model of this example`, {
    op: 'predict',
    received: metadata.get('architecture'),
    expected: 'a model.safetensors that the training wrote',
    fix: 'Train first: node examples/spoken-digits/dist/main.js',
  });
}

/** What is said in each file (WAV; FLAC and MP3 with their decoders installed). Of long ones the middle second is heard. */
export async function predictFiles(modelPath: string, files: readonly string[]): Promise<Prediction[]> {
  const { tensors, metadata } = await loadSafetensors(modelPath, { maxBytes: 2 ** 26 });
  const net = new KeywordNet(architectureIn(modelPath, metadata));
  net.loadStateDict(tensors);
  const inputs = await Promise.all(files.map(async (file) => inputOf(samplesOf(await readAudio(file))).data));
  const x = tensor(Float32Array.from(inputs.flatMap((data) => [...data])), { shape: [files.length, 1, bands, frames] });
  return predictDigits(new Model(net), x);
}
