/** Tokenised text: a file of nothing but token ids, read in windows of a model's context. */
import { ArgumentError, FormatError } from '../../errors.js';
import { writeFileAtomic } from '../../io/files.js';
import { type ByteSource, openRandomAccess, type RandomAccess } from '../../io/random-access.js';
import type { BatchedDataset, Field } from '../dataset.js';

export type TokenDType = 'uint16' | 'uint32';

export interface TokenFileOptions {
  /** Bytes of a token: uint16 for vocabularies of up to 65,536. */
  readonly dtype?: TokenDType;
  /** Tokens in x and in y. */
  readonly contextLength: number;
  /** Tokens from the start of one window to that of the next; contextLength (no overlap) unless told otherwise. */
  readonly stride?: number;
  /** Ids are below this, else the file is another vocabulary's. */
  readonly vocabSize?: number;
}

/** A window and the same window one token later: y[i] is what follows x[0..i]. */
export interface TokenWindow {
  readonly x: Int32Array;
  readonly y: Int32Array;
}
export interface TokenBatch {
  readonly x: Field<Int32Array>;
  readonly y: Field<Int32Array>;
}

const bytesOf: Readonly<Record<TokenDType, number>> = { uint16: 2, uint32: 4 };
const op = 'tokens';

/**
 * Windows of a token file, each read from the file when it is asked for. Made by {@link openTokens}.
 * Item i: x = tokens[i * stride .. + contextLength], y = the same one token later. Batches are int32 [n, contextLength].
 */
export class TokenDataset implements BatchedDataset<TokenWindow, TokenBatch> {
  readonly length: number;
  /** Tokens in the file. */
  readonly tokens: number;
  readonly contextLength: number;
  private readonly source: RandomAccess;
  private readonly dtype: TokenDType;
  private readonly stride: number;
  private readonly vocabSize: number;

  constructor(source: RandomAccess, options: TokenFileOptions) {
    const { dtype = 'uint16', contextLength, stride = contextLength, vocabSize = 2 ** 31 } = options;
    for (const [name, value] of Object.entries({ contextLength, stride, vocabSize })) {
      if (!Number.isSafeInteger(value) || value < 1 || value > 2 ** 31) {
        throw new ArgumentError(`${name} is ${value}`, { op, received: value, expected: 'a whole number, 1 or more' });
      }
    }
    if (!Object.hasOwn(bytesOf, dtype)) throw new ArgumentError(`dtype is ${dtype}`, { op, received: dtype, expected: 'uint16 or uint32' });
    if (source.byteLength % bytesOf[dtype] !== 0) {
      throw new FormatError(`${source.name} has ${source.byteLength} bytes`, {
        op,
        received: source.byteLength,
        expected: `a multiple of ${bytesOf[dtype]}, as every ${dtype} token has`,
      });
    }
    this.tokens = source.byteLength / bytesOf[dtype];
    // y needs one token more than x.
    this.length = this.tokens > contextLength ? Math.floor((this.tokens - contextLength - 1) / stride) + 1 : 0;
    this.source = source;
    this.dtype = dtype;
    this.contextLength = contextLength;
    this.stride = stride;
    this.vocabSize = vocabSize;
  }

  /** contextLength + 1 tokens from a window's start. */
  private async read(index: number): Promise<Int32Array> {
    if (!Number.isInteger(index) || index < 0 || index >= this.length) {
      throw new ArgumentError(`there is no window ${index}`, { op, received: index, expected: `0 to ${this.length - 1}` });
    }
    const bytes = bytesOf[this.dtype];
    const start = index * this.stride;
    const raw = await this.source.read(start * bytes, (start + this.contextLength + 1) * bytes);
    const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
    const tokens = new Int32Array(this.contextLength + 1);
    for (let i = 0; i < tokens.length; i++) {
      const token = bytes === 2 ? view.getUint16(2 * i, true) : view.getUint32(4 * i, true);
      if (token >= this.vocabSize) {
        throw new FormatError(`token ${start + i} of ${this.source.name} is ${token}`, {
          op,
          received: token,
          expected: `less than ${this.vocabSize}`,
          fix: 'Check the dtype, and that the file was made with this vocabulary.',
        });
      }
      tokens[i] = token;
    }
    return tokens;
  }

  async get(index: number): Promise<TokenWindow> {
    const tokens = await this.read(index);
    return { x: tokens.slice(0, -1), y: tokens.slice(1) };
  }

  async getBatch(indices: Int32Array): Promise<TokenBatch> {
    const { contextLength } = this;
    const shape = [indices.length, contextLength];
    const x = new Int32Array(indices.length * contextLength);
    const y = new Int32Array(indices.length * contextLength);
    for (let i = 0; i < indices.length; i++) {
      const tokens = await this.read(indices[i]);
      x.set(tokens.subarray(0, -1), i * contextLength);
      y.set(tokens.subarray(1), i * contextLength);
    }
    return { x: { data: x, shape }, y: { data: y, shape } };
  }

  close(): Promise<void> {
    return this.source.close();
  }
}

/**
 * Opens a file of little-endian token ids (what `writeTokens`, or numpy's `tofile`, writes). Memory does not depend on
 * the size of the file. Close it after use.
 * @throws FormatError when the file's size does not fit, EnvironmentError when it cannot be read.
 */
export async function openTokens(source: ByteSource, options: TokenFileOptions): Promise<TokenDataset> {
  const access = await openRandomAccess(source);
  try {
    return new TokenDataset(access, options);
  } catch (cause) {
    if (access !== source) await access.close();
    throw cause;
  }
}

/** Token ids as the bytes of a token file. @throws ArgumentError for an id outside the dtype. */
export function encodeTokens(tokens: ArrayLike<number>, dtype: TokenDType = 'uint16'): Uint8Array {
  const bytes = bytesOf[dtype];
  const out = new Uint8Array(tokens.length * bytes);
  const view = new DataView(out.buffer);
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i];
    if (!Number.isInteger(token) || token < 0 || token >= 2 ** (8 * bytes)) {
      throw new ArgumentError(`token ${i} is ${token}`, {
        op,
        received: token,
        expected: `a whole number from 0 to ${2 ** (8 * bytes) - 1}`,
      });
    }
    if (bytes === 2) view.setUint16(2 * i, token, true);
    else view.setUint32(4 * i, token, true);
  }
  return out;
}

/** Writes a token file, whole or not at all. @throws ArgumentError, EnvironmentError */
export async function writeTokens(path: string, tokens: ArrayLike<number>, dtype: TokenDType = 'uint16'): Promise<void> {
  await writeFileAtomic(path, encodeTokens(tokens, dtype));
}
