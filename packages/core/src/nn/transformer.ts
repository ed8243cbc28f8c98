/** Transformers (Vaswani et al., arXiv:1706.03762) in PyTorch's arrangement, with its state keys. */
import { ArgumentError } from '../errors.js';
import { gelu } from '../ops/activation.js';
import { add } from '../ops/binary.js';
import { full } from '../ops/create.js';
import { triu } from '../ops/join.js';
import { relu } from '../ops/unary.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { type AttentionCall, MultiheadAttention } from './attention.js';
import { checkCount } from './check.js';
import { Dropout } from './dropout.js';
import { xavierUniform } from './init.js';
import type { KVCache } from './kv-cache.js';
import { Linear } from './layers.js';
import { Module } from './module.js';
import { LayerNorm } from './norm.js';
import type { RotaryOptions } from './rotary.js';

export type TransformerActivation = 'relu' | 'gelu' | ((x: Tensor) => Tensor);

export interface TransformerLayerOptions {
  /** Features between the two linear maps. Default 2048. */
  readonly dimFeedforward?: number;
  /** Default 0.1. */
  readonly dropout?: number;
  /** Default 'relu'. */
  readonly activation?: TransformerActivation;
  readonly layerNormEps?: number;
  /** Sequences are [batch, steps, features] instead of [steps, batch, features]. */
  readonly batchFirst?: boolean;
  /** Normalizes the input of each part instead of the sum after it (arXiv:2002.04745). */
  readonly normFirst?: boolean;
  readonly bias?: boolean;
  /** Of the self-attention: fewer heads of keys and values. */
  readonly numKvHeads?: number;
  /** Of the self-attention: positions as rotations. */
  readonly rotary?: boolean | RotaryOptions;
}

/** How a call is masked; the meaning of each is that of {@link AttentionCall}. */
export interface EncoderCall {
  readonly mask?: Tensor | null;
  readonly keyPaddingMask?: Tensor | null;
  readonly isCausal?: boolean;
}
export interface EncoderLayerCall extends EncoderCall {
  /** Steps before this call, for decoding step by step. */
  readonly cache?: KVCache | null;
}
export interface DecoderCall {
  readonly tgtMask?: Tensor | null;
  readonly memoryMask?: Tensor | null;
  readonly tgtKeyPaddingMask?: Tensor | null;
  readonly memoryKeyPaddingMask?: Tensor | null;
  readonly tgtIsCausal?: boolean;
  readonly memoryIsCausal?: boolean;
}
export interface DecoderLayerCall extends DecoderCall {
  readonly cache?: KVCache | null;
}

function activationOf(activation: TransformerActivation): (x: Tensor) => Tensor {
  return activation === 'relu' ? relu : activation === 'gelu' ? (x) => gelu(x) : activation;
}

/** Self-attention, then two linear maps with a nonlinearity between them, each added to its input. */
export class TransformerEncoderLayer extends Module<[src: Tensor, options?: EncoderLayerCall]> {
  readonly selfAttn: MultiheadAttention;
  readonly linear1: Linear;
  readonly dropout: Dropout;
  readonly linear2: Linear;
  readonly norm1: LayerNorm;
  readonly norm2: LayerNorm;
  readonly dropout1: Dropout;
  readonly dropout2: Dropout;
  readonly normFirst: boolean;
  private readonly activation: (x: Tensor) => Tensor;

  constructor(dModel: number, nhead: number, options: TransformerLayerOptions = {}) {
    super();
    const { dimFeedforward = 2048, dropout = 0.1, activation = 'relu', layerNormEps: eps = 1e-5, normFirst = false, bias = true } = options;
    const { batchFirst = false, numKvHeads, rotary } = options;
    this.selfAttn = new MultiheadAttention(dModel, nhead, { dropout, batchFirst, bias, numKvHeads, rotary });
    this.linear1 = new Linear(dModel, dimFeedforward, { bias });
    this.dropout = new Dropout(dropout);
    this.linear2 = new Linear(dimFeedforward, dModel, { bias });
    this.norm1 = new LayerNorm(dModel, { eps, bias });
    this.norm2 = new LayerNorm(dModel, { eps, bias });
    this.dropout1 = new Dropout(dropout);
    this.dropout2 = new Dropout(dropout);
    this.normFirst = normFirst;
    this.activation = activationOf(activation);
  }
  override forward(src: Tensor, { mask = null, ...options }: EncoderLayerCall = {}): Tensor {
    const attend = (x: Tensor): Tensor => this.dropout1.call(this.selfAttn.call(x, x, x, { attnMask: mask, ...options })[0]);
    const feed = (x: Tensor): Tensor => this.dropout2.call(this.linear2.call(this.dropout.call(this.activation(this.linear1.call(x)))));
    return composite('TransformerEncoderLayer', () => {
      if (this.normFirst) {
        const x = add(src, attend(this.norm1.call(src)));
        return add(x, feed(this.norm2.call(x)));
      }
      const x = this.norm1.call(add(src, attend(src)));
      return this.norm2.call(add(x, feed(x)));
    });
  }
}

/** Self-attention, attention to the encoder's output, then the linear maps, each added to its input. */
export class TransformerDecoderLayer extends Module<[tgt: Tensor, memory: Tensor, options?: DecoderLayerCall]> {
  readonly selfAttn: MultiheadAttention;
  readonly multiheadAttn: MultiheadAttention;
  readonly linear1: Linear;
  readonly dropout: Dropout;
  readonly linear2: Linear;
  readonly norm1: LayerNorm;
  readonly norm2: LayerNorm;
  readonly norm3: LayerNorm;
  readonly dropout1: Dropout;
  readonly dropout2: Dropout;
  readonly dropout3: Dropout;
  readonly normFirst: boolean;
  private readonly activation: (x: Tensor) => Tensor;

  constructor(dModel: number, nhead: number, options: TransformerLayerOptions = {}) {
    super();
    const { dimFeedforward = 2048, dropout = 0.1, activation = 'relu', layerNormEps: eps = 1e-5, normFirst = false, bias = true } = options;
    const { batchFirst = false, numKvHeads, rotary } = options;
    this.selfAttn = new MultiheadAttention(dModel, nhead, { dropout, batchFirst, bias, numKvHeads, rotary });
    this.multiheadAttn = new MultiheadAttention(dModel, nhead, { dropout, batchFirst, bias });
    this.linear1 = new Linear(dModel, dimFeedforward, { bias });
    this.dropout = new Dropout(dropout);
    this.linear2 = new Linear(dimFeedforward, dModel, { bias });
    this.norm1 = new LayerNorm(dModel, { eps, bias });
    this.norm2 = new LayerNorm(dModel, { eps, bias });
    this.norm3 = new LayerNorm(dModel, { eps, bias });
    this.dropout1 = new Dropout(dropout);
    this.dropout2 = new Dropout(dropout);
    this.dropout3 = new Dropout(dropout);
    this.normFirst = normFirst;
    this.activation = activationOf(activation);
  }
  override forward(tgt: Tensor, memory: Tensor, options: DecoderLayerCall = {}): Tensor {
    const own: AttentionCall = {
      attnMask: options.tgtMask,
      keyPaddingMask: options.tgtKeyPaddingMask,
      isCausal: options.tgtIsCausal,
      cache: options.cache,
    };
    const other: AttentionCall = {
      attnMask: options.memoryMask,
      keyPaddingMask: options.memoryKeyPaddingMask,
      isCausal: options.memoryIsCausal,
    };
    const attend = (x: Tensor): Tensor => this.dropout1.call(this.selfAttn.call(x, x, x, own)[0]);
    const look = (x: Tensor): Tensor => this.dropout2.call(this.multiheadAttn.call(x, memory, memory, other)[0]);
    const feed = (x: Tensor): Tensor => this.dropout3.call(this.linear2.call(this.dropout.call(this.activation(this.linear1.call(x)))));
    return composite('TransformerDecoderLayer', () => {
      if (this.normFirst) {
        const x = add(tgt, attend(this.norm1.call(tgt)));
        const y = add(x, look(this.norm2.call(x)));
        return add(y, feed(this.norm3.call(y)));
      }
      const x = this.norm1.call(add(tgt, attend(tgt)));
      const y = this.norm2.call(add(x, look(x)));
      return this.norm3.call(add(y, feed(y)));
    });
  }
}

/** Caches, one for each layer. */
function checkCaches(op: string, caches: readonly KVCache[] | null, layers: number): void {
  if (caches === null || caches.length === layers) return;
  throw new ArgumentError(`${caches.length} caches for ${layers} layers`, { op, received: caches.length, expected: `${layers}` });
}

function layersOf<L>(op: string, layer: () => L, count: number): L[] {
  checkCount(op, 'numLayers', count);
  return Array.from({ length: count }, layer);
}

/** Encoder layers one after the other. `layer` makes one: each has weights of its own. */
export class TransformerEncoder extends Module<[src: Tensor, options?: EncoderCall & { readonly caches?: readonly KVCache[] | null }]> {
  readonly layers: readonly TransformerEncoderLayer[];
  readonly norm: LayerNorm | null;
  constructor(layer: () => TransformerEncoderLayer, numLayers: number, { norm = null }: { readonly norm?: LayerNorm | null } = {}) {
    super();
    this.layers = layersOf('TransformerEncoder', layer, numLayers);
    this.norm = norm;
  }
  override forward(src: Tensor, { caches = null, ...options }: EncoderCall & { readonly caches?: readonly KVCache[] | null } = {}): Tensor {
    checkCaches('TransformerEncoder', caches, this.layers.length);
    return composite('TransformerEncoder', () => {
      const out = this.layers.reduce((x, layer, i) => layer.call(x, { ...options, cache: caches?.[i] }), src);
      return this.norm === null ? out : this.norm.call(out);
    });
  }
}

/** Decoder layers one after the other. `layer` makes one: each has weights of its own. */
export class TransformerDecoder extends Module<
  [tgt: Tensor, memory: Tensor, options?: DecoderCall & { readonly caches?: readonly KVCache[] | null }]
> {
  readonly layers: readonly TransformerDecoderLayer[];
  readonly norm: LayerNorm | null;
  constructor(layer: () => TransformerDecoderLayer, numLayers: number, { norm = null }: { readonly norm?: LayerNorm | null } = {}) {
    super();
    this.layers = layersOf('TransformerDecoder', layer, numLayers);
    this.norm = norm;
  }
  override forward(
    tgt: Tensor,
    memory: Tensor,
    { caches = null, ...options }: DecoderCall & { readonly caches?: readonly KVCache[] | null } = {},
  ): Tensor {
    checkCaches('TransformerDecoder', caches, this.layers.length);
    return composite('TransformerDecoder', () => {
      const out = this.layers.reduce((x, layer, i) => layer.call(x, memory, { ...options, cache: caches?.[i] }), tgt);
      return this.norm === null ? out : this.norm.call(out);
    });
  }
}

export interface TransformerOptions extends TransformerLayerOptions {
  /** Default 512. */
  readonly dModel?: number;
  /** Heads. Default 8. */
  readonly nhead?: number;
  /** Default 6. */
  readonly numEncoderLayers?: number;
  /** Default 6. */
  readonly numDecoderLayers?: number;
}
export interface TransformerCall extends DecoderCall {
  readonly srcMask?: Tensor | null;
  readonly srcKeyPaddingMask?: Tensor | null;
  readonly srcIsCausal?: boolean;
}

/** Encoder and decoder: source and target sequences to [..., dModel] for each step of the target. */
export class Transformer extends Module<[src: Tensor, tgt: Tensor, options?: TransformerCall]> {
  readonly encoder: TransformerEncoder;
  readonly decoder: TransformerDecoder;
  constructor({ dModel = 512, nhead = 8, numEncoderLayers = 6, numDecoderLayers = 6, ...options }: TransformerOptions = {}) {
    super();
    const norm = (): LayerNorm => new LayerNorm(dModel, { eps: options.layerNormEps, bias: options.bias });
    this.encoder = new TransformerEncoder(() => new TransformerEncoderLayer(dModel, nhead, options), numEncoderLayers, { norm: norm() });
    this.decoder = new TransformerDecoder(() => new TransformerDecoderLayer(dModel, nhead, options), numDecoderLayers, { norm: norm() });
    for (const p of this.parameters()) if (p.ndim > 1) xavierUniform(p);
  }
  override forward(src: Tensor, tgt: Tensor, options: TransformerCall = {}): Tensor {
    const { srcMask, srcKeyPaddingMask, srcIsCausal, ...rest } = options;
    return composite('Transformer', () => {
      const memory = this.encoder.call(src, { mask: srcMask, keyPaddingMask: srcKeyPaddingMask, isCausal: srcIsCausal });
      return this.decoder.call(tgt, memory, rest);
    });
  }
  /** The mask [size, size] that is -infinity above the diagonal and 0 elsewhere. */
  static generateSquareSubsequentMask(size: number): Tensor {
    return composite('generateSquareSubsequentMask', () => triu(full([size, size], -Infinity), 1));
  }
}
