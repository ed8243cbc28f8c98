/** `node dist/main.js picture.png`: prints the text of pictures. */
import { existsSync } from 'node:fs';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { ArgumentError, TriremeError } from 'trireme';
import { readImage } from 'trireme/data/vision';
import { writeFileAtomic } from 'trireme/io';
import { annotated } from './annotate.js';
import { type Line, TextReader } from './reader.js';

const usage = `usage: node examples/ocr/dist/main.js PICTURE ... [options]     prints the text of pictures, line by line

  --out FILE       a PNG of the picture (one only) with its lines outlined, and their text beside it
  --max-side N     larger pictures are made smaller to find the lines (default 960 pixels)
  --min-score N    leaves out lines whose characters are less probable on average (default 0.5)
  --json           one line of JSON a picture: lines with text, score, corners`;

function inRange(name: string, text: string, least: number, most: number): number {
  const n = Number(text);
  if (text.trim() !== '' && n >= least && n <= most) return n;
  throw new ArgumentError(`--${name} is ${text}`, { op: 'ocr', received: text, expected: `a number from ${least} to ${most}` });
}

function asJson(
  file: string,
  picture: { readonly width: number; readonly height: number },
  lines: readonly Line[],
  seconds: number,
): string {
  const { width, height } = picture;
  const rounded = lines.map(({ text, score, quad, upsideDown }) => ({
    text,
    score: Number(score.toFixed(4)),
    corners: quad.map((point) => point.map((v) => Number(v.toFixed(1)))),
    upsideDown,
  }));
  return JSON.stringify({ file, width, height, seconds: Number(seconds.toFixed(3)), lines: rounded });
}

async function main(args: string[]): Promise<number> {
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        out: { type: 'string' },
        'max-side': { type: 'string', default: '960' },
        'min-score': { type: 'string', default: '0.5' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.help) {
      process.stdout.write(`${usage}\n`);
      return 0;
    }
    if (positionals.length === 0) throw new ArgumentError('there is no picture to read', { op: 'ocr', fix: 'See --help.' });
    if (values.out !== undefined && positionals.length > 1) {
      throw new ArgumentError(`--out with ${positionals.length} pictures`, { op: 'ocr', expected: 'one picture' });
    }
    for (const file of positionals)
      if (!existsSync(file)) throw new ArgumentError(`there is no file ${file}`, { op: 'ocr', received: file });
    const options = {
      maxSide: inRange('max-side', values['max-side'], 32, 8192),
      minScore: inRange('min-score', values['min-score'], 0, 1),
    };
    using reader = await TextReader.load();
    for (const file of positionals) {
      const picture = await readImage(file);
      const started = performance.now();
      const lines = await reader.read(picture, options);
      const seconds = (performance.now() - started) / 1000;
      const text = lines.map((line) => line.text).join('\n');
      process.stdout.write(`${values.json ? asJson(file, picture, lines, seconds) : text}\n`);
      if (values.out !== undefined) await writeFileAtomic(values.out, await annotated(picture, lines));
    }
    return 0;
  } catch (error) {
    const expected = error instanceof TriremeError || (error instanceof TypeError && 'code' in error);
    process.stderr.write(`${error instanceof Error ? (expected ? error.message : error.stack) : String(error)}\n`);
    return 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
