/** What the FLAC and MP3 decoders share: pieces of sound until the end, and their bounds. */
import { FormatError } from '../../errors.js';
import type { AudioClip } from './clip.js';
import { checkAudioSize, maxAudioChannels } from './wav.js';

/** A piece as both decoder packages give it. */
export interface DecodedPiece {
  readonly channelData: readonly Float32Array[];
  readonly samplesDecoded: number;
  readonly sampleRate: number;
  readonly errors: readonly { readonly message: string }[];
}

/** Puts pieces together. */
export class ClipBuilder {
  private readonly op: string;
  private readonly maxBytes: number;
  private readonly pieces: (readonly Float32Array[])[] = [];
  private sampleRate = 0;
  private channels = 0;
  samples = 0;

  constructor(op: string, maxBytes: number) {
    this.op = op;
    this.maxBytes = maxBytes;
  }

  /** @throws FormatError when the limit is passed or the pieces disagree. */
  add({ channelData, samplesDecoded, sampleRate, errors }: DecodedPiece): void {
    if (errors.length > 0) throw this.damaged(errors[0].message);
    if (samplesDecoded === 0) return;
    if (this.samples === 0) {
      this.sampleRate = sampleRate;
      this.channels = channelData.length;
    }
    if (channelData.length !== this.channels || sampleRate !== this.sampleRate || this.channels < 1 || this.channels > maxAudioChannels) {
      throw this.damaged(`the sound changes to ${channelData.length} channels at ${sampleRate} samples a second`);
    }
    this.samples += samplesDecoded;
    checkAudioSize(this.op, this.samples, this.channels, this.maxBytes);
    // Some pieces are views into the decoder's memory.
    this.pieces.push(channelData.map((channel) => channel.slice(0, samplesDecoded)));
  }

  damaged(what: string, cause?: unknown): FormatError {
    return new FormatError(`the file cannot be decoded (${what})`, {
      op: this.op,
      cause,
      fix: 'The file is damaged or of another format.',
    });
  }

  /** @throws FormatError when there is no sound at all. */
  finish(): AudioClip {
    if (this.samples === 0) throw this.damaged('there is no sound in it');
    const channels = Array.from({ length: this.channels }, (_, channel) => {
      const out = new Float32Array(this.samples);
      let at = 0;
      for (const piece of this.pieces) {
        out.set(piece[channel], at);
        at += piece[channel].length;
      }
      return out;
    });
    return { sampleRate: this.sampleRate, channels };
  }
}
