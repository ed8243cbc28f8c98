/** `node dist/main.js speech.wav`: when someone speaks; `measure`: on recordings with silence between them. */
import { existsSync } from 'node:fs';
import process from 'node:process';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { ArgumentError, TriremeError } from 'trireme';
import { readAudio, resample, toMono } from 'trireme/data/audio';
import { writeFileAtomic } from 'trireme/io';
import { frameSeconds, type Rate, SpeechDetector } from './detector.js';
import { findModel } from './model-file.js';
import { plot } from './plot.js';
import { type Segment, segmentsOf } from './segments.js';
import { measure, wordsFrom } from './words.js';

const usage = `usage: node examples/vad/dist/main.js SOUND [options]      when someone speaks in a WAV, FLAC or MP3 file
       node examples/vad/dist/main.js measure [options]    how much of spoken words with silence between them is found

  --plot FILE       a drawing of wave, probability and speech, .svg or .png
  --rate HZ         8000 or 16000: the network's branch; sounds of other rates are resampled (default 8000 for those of 8000, else 16000)
  --threshold P     speech begins at this probability (default 0.5)
  --min-speech S    seconds; shorter speech is left out (default 0.25)
  --min-silence S   seconds; shorter silence does not end speech (default 0.1)
  --pad S           seconds added on both sides (default 0.03)
  --model FILE      silero_vad_v5.onnx (default $SILERO_VAD, else taken from npm once)
  --data-dir DIR    measure: a folder of WAV files, each a word (default $FSDD_DIR)
  --words N         measure: how many (default 200)
  --json            one line of JSON`;

function inRange(name: string, text: string, least: number, most: number): number {
  const n = Number(text);
  if (text.trim() !== '' && n >= least && n <= most) return n;
  throw new ArgumentError(`--${name} is ${text}`, { op: 'vad', received: text, expected: `a number from ${least} to ${most}` });
}
function rateOf(text: string | undefined, otherwise: number): Rate {
  if (text === undefined) return otherwise === 8000 ? 8000 : 16000;
  if (text === '8000') return 8000;
  if (text === '16000') return 16000;
  throw new ArgumentError(`--rate is ${text}`, { op: 'vad', received: text, expected: '8000 or 16000' });
}

const rounded = (segments: readonly Segment[]) =>
  segments.map(({ start, end }) => ({ start: Number(start.toFixed(3)), end: Number(end.toFixed(3)) }));

async function writePlot(path: string, svg: string): Promise<void> {
  if (!/\.(svg|png)$/.test(path)) throw new ArgumentError(`--plot is ${path}`, { op: 'vad', expected: 'a name that ends in .svg or .png' });
  await writeFileAtomic(path, path.endsWith('.png') ? await sharp(Buffer.from(svg)).png().toBuffer() : new TextEncoder().encode(svg));
}

const options = {
  plot: { type: 'string' },
  rate: { type: 'string' },
  threshold: { type: 'string', default: '0.5' },
  'min-speech': { type: 'string', default: '0.25' },
  'min-silence': { type: 'string', default: '0.1' },
  pad: { type: 'string', default: '0.03' },
  model: { type: 'string' },
  'data-dir': { type: 'string' },
  words: { type: 'string', default: '200' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

async function main(args: string[]): Promise<number> {
  try {
    const { values, positionals } = parseArgs({ args, allowPositionals: true, options });
    if (values.help) {
      process.stdout.write(`${usage}\n`);
      return 0;
    }
    const [file] = positionals;
    if (positionals.length !== 1)
      throw new ArgumentError(`${positionals.length} sounds`, { op: 'vad', expected: 'one', fix: 'See --help.' });
    const threshold = inRange('threshold', values.threshold, 0.01, 1);
    const rules = {
      threshold,
      minSpeech: inRange('min-speech', values['min-speech'], 0, 3600),
      minSilence: inRange('min-silence', values['min-silence'], 0, 3600),
      pad: inRange('pad', values.pad, 0, 60),
    };
    let samples: Float32Array;
    let spoken: readonly Segment[] | null = null;
    let rate: Rate;
    if (file === 'measure') {
      const folder = values['data-dir'] ?? process.env.FSDD_DIR;
      if (folder === undefined)
        throw new ArgumentError('there are no recordings', { op: 'vad', fix: 'Give their folder with --data-dir or $FSDD_DIR.' });
      rate = rateOf(values.rate, 8000);
      ({ samples, spoken } = await wordsFrom(folder, inRange('words', values.words, 1, 1e6), rate));
    } else {
      if (!existsSync(file)) throw new ArgumentError(`there is no file ${file}`, { op: 'vad', received: file });
      const clip = await readAudio(file);
      rate = rateOf(values.rate, clip.sampleRate);
      samples = resample(toMono(clip), clip.sampleRate, rate);
    }
    using detector = await SpeechDetector.load(await findModel(values.model), rate);
    const duration = samples.length / rate;
    const started = performance.now();
    const probabilities = detector.probabilities(samples);
    const seconds = (performance.now() - started) / 1000;
    const segments = segmentsOf(probabilities, { frameSeconds, duration, ...rules });
    if (values.plot !== undefined) await writePlot(values.plot, plot({ samples, rate, probabilities, frameSeconds, threshold, segments }));
    const measured = spoken === null ? undefined : measure(segments, spoken);
    if (values.json) {
      const facts = {
        rate,
        duration,
        seconds: Number(seconds.toFixed(3)),
        frames: probabilities.length,
        segments: rounded(segments),
        ...measured,
      };
      process.stdout.write(`${JSON.stringify(facts)}\n`);
      return 0;
    }
    if (measured === undefined) for (const { start, end } of segments) process.stdout.write(`${start.toFixed(3)} - ${end.toFixed(3)} s\n`);
    else {
      const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
      process.stdout.write(
        `${measured.found} of ${measured.words} words found, ${measured.false} stretches without one; ` +
          `precision ${percent(measured.precision)}, recall ${percent(measured.recall)} of the time\n`,
      );
    }
    process.stdout.write(
      `${duration.toFixed(1)} s of sound in ${seconds.toFixed(2)} s, ${(duration / seconds).toFixed(0)} times as fast as it sounds\n`,
    );
    return 0;
  } catch (error) {
    const expected = error instanceof TriremeError || (error instanceof TypeError && 'code' in error);
    process.stderr.write(`${error instanceof Error ? (expected ? error.message : error.stack) : String(error)}\n`);
    return 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
