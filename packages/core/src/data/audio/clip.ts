/** Sound in memory. */
import { ArgumentError } from '../../errors.js';

/** Samples of one or more channels, all of one length; full scale is -1 to 1. */
export interface AudioClip {
  /** Samples a second in each channel. */
  readonly sampleRate: number;
  readonly channels: readonly Float32Array[];
}

/** Samples in each channel. */
export function clipLength(clip: AudioClip): number {
  return clip.channels[0]?.length ?? 0;
}

/** Length in seconds. */
export function clipDuration(clip: AudioClip): number {
  return clipLength(clip) / clip.sampleRate;
}

/** The mean of all channels; the channel itself (not a copy) when there is one. */
export function toMono(clip: AudioClip): Float32Array {
  const { channels } = clip;
  if (channels.length === 1) return channels[0];
  const mono = new Float32Array(clipLength(clip));
  for (const channel of channels) for (let i = 0; i < mono.length; i++) mono[i] += channel[i] / channels.length;
  return mono;
}

/** @throws ArgumentError unless there is a channel, all are equally long and the rate is a positive number. */
export function checkClip(clip: AudioClip, op: string): void {
  const { channels, sampleRate } = clip;
  if (!(sampleRate > 0) || !Number.isFinite(sampleRate)) {
    throw new ArgumentError(`sampleRate is ${sampleRate}`, { op, received: sampleRate, expected: 'samples a second, more than 0' });
  }
  if (channels.length === 0) throw new ArgumentError('the clip has no channels', { op, expected: 'at least one' });
  for (const [i, channel] of channels.entries()) {
    if (channel.length !== channels[0].length) {
      throw new ArgumentError(`channel ${i} has ${channel.length} samples, channel 0 has ${channels[0].length}`, {
        op,
        expected: 'channels of one length',
      });
    }
  }
}
