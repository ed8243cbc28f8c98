import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AudioClip, decodeAudio, decodeWav, encodeWav, readAudio, toMono, type WavFormat } from '../../src/data/audio/index.js';
import { ArgumentError, FormatError } from '../../src/errors.js';
import reference from '../reference/sound-files.json' with { type: 'json' };

interface Case {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly sampleRate: number;
  readonly channels: readonly number[][];
}
const cases: readonly Case[] = reference.cases.map(({ base64, ...rest }) => ({
  ...rest,
  bytes: new Uint8Array(Buffer.from(base64, 'base64')),
}));
const named = (name: string): Case => cases.find((entry) => entry.name === name)!;
const largest = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a, (v, i) => Math.abs(v - b[i])).reduce((x, y) => Math.max(x, y), 0);

describe('sound files written by libsndfile', () => {
  it.each(cases.filter(({ name }) => !name.endsWith('.mp3')).map((entry) => [entry.name, entry] as const))('%s', async (_, entry) => {
    const clip = await decodeAudio(entry.bytes);
    expect(clip.sampleRate).toBe(entry.sampleRate);
    expect(clip.channels.map((channel) => channel.length)).toEqual(entry.channels.map((channel) => channel.length));
    // The reference has 7 decimals.
    for (const [i, channel] of clip.channels.entries()) expect(largest(channel, entry.channels[i])).toBeLessThan(1.5e-7);
  });

  it('tone.mp3', async () => {
    const entry = named('tone.mp3');
    const clip = await decodeAudio(entry.bytes);
    expect([clip.sampleRate, clip.channels.length]).toEqual([entry.sampleRate, 1]);
    const [got] = clip.channels;
    const [want] = entry.channels;
    // libsndfile keeps some of the encoder's padding.
    expect(Math.abs(got.length - want.length)).toBeLessThan(1200);
    const n = Math.min(got.length, want.length);
    const difference = (shift: number): number => largest(got.subarray(300, n - 1200), want.slice(300 + shift, n - 1200 + shift));
    const best = Math.min(...Array.from({ length: 1200 }, (_, shift) => difference(shift)));
    expect(best).toBeLessThan(1e-3);
  });

  it('are mixed to one channel', async () => {
    const clip = await readAudio(named('pcm_16.wav').bytes);
    const mono = toMono(clip);
    expect(mono[7]).toBeCloseTo((clip.channels[0][7] + clip.channels[1][7]) / 2, 6);
    expect(toMono({ sampleRate: 1, channels: [mono] })).toBe(mono);
  });
});

describe('encodeWav', () => {
  const steps: Readonly<Record<WavFormat, number>> = {
    pcm8: 2 ** -7,
    pcm16: 2 ** -15,
    pcm24: 2 ** -23,
    pcm32: 2 ** -24,
    float32: 0,
    float64: 0,
  };
  const clips = fc.tuple(fc.integer({ min: 1, max: 4 }), fc.nat(20)).chain(([channels, length]) =>
    fc.record({
      sampleRate: fc.constantFrom(8000, 44100),
      channels: fc.array(
        fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: length, maxLength: length }).map((v) => Float32Array.from(v)),
        { minLength: channels, maxLength: channels },
      ),
    }),
  );

  it('brings back the sound within half a step', () => {
    fc.assert(
      fc.property(clips, fc.constantFrom(...(Object.keys(steps) as WavFormat[])), (clip, format) => {
        const back = decodeWav(encodeWav(clip, format));
        expect(back.sampleRate).toBe(clip.sampleRate);
        expect(back.channels.length).toBe(clip.channels.length);
        // Full scale, 1, is a step above the largest number.
        for (const [i, channel] of back.channels.entries()) {
          const own = clip.channels[i].map((v) => (steps[format] > 0 ? Math.min(v, 1 - steps[format]) : v));
          // A float32 sample has 24 bits, not 32.
          expect(largest(channel, own)).toBeLessThanOrEqual(format === 'pcm32' ? steps[format] : steps[format] / 2);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('cuts off what is beyond full scale', () => {
    const clip: AudioClip = { sampleRate: 10, channels: [Float32Array.of(2, -2, Number.NaN)] };
    expect([...decodeWav(encodeWav(clip, 'pcm16')).channels[0]]).toEqual([1 - 2 ** -15, -1, 0]);
  });

  it('refuses clips that are none', () => {
    expect(() => encodeWav({ sampleRate: 0, channels: [new Float32Array(1)] })).toThrow(ArgumentError);
    expect(() => encodeWav({ sampleRate: 1, channels: [] })).toThrow(ArgumentError);
    expect(() => encodeWav({ sampleRate: 1, channels: [new Float32Array(1), new Float32Array(2)] })).toThrow(ArgumentError);
    expect(() => encodeWav({ sampleRate: 0.5, channels: [new Float32Array(1)] })).toThrow(ArgumentError);
  });
});

describe('damaged sound files', () => {
  it.each(['pcm_24.wav', 'extensible.wav', 'pcm_24.flac', 'tone.mp3'])('%s give typed errors only', async (name) => {
    const source = named(name).bytes;
    const edits = fc.array(fc.tuple(fc.boolean(), fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(edits, fc.nat(source.length), fc.boolean(), async (changes, cut, short) => {
        const bytes = source.slice(0, short ? cut : source.length);
        // Half of the edits go to the headers.
        for (const [early, at, byte] of changes)
          if (bytes.length > 0) bytes[at % (early ? Math.min(60, bytes.length) : bytes.length)] = byte;
        try {
          await decodeAudio(bytes, { maxBytes: 1 << 20 });
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
        }
      }),
      { numRuns: name.endsWith('.wav') ? 300 : 40 },
    );
  });

  it('are refused over the limit and when unknown', async () => {
    for (const name of ['pcm_16.wav', 'pcm_16.flac', 'tone.mp3']) {
      await expect(decodeAudio(named(name).bytes, { maxBytes: 400 })).rejects.toThrow(/at most 400 bytes/);
    }
    await expect(decodeAudio(new Uint8Array(50))).rejects.toThrow(/WAV, FLAC or MP3/);
    await expect(readAudio(named('pcm_16.wav').bytes, { maxBytes: 10 })).rejects.toThrow(FormatError);
  });

  it('FLAC whose frames are damaged is noticed', async () => {
    const bytes = named('pcm_16.flac').bytes.slice();
    bytes[bytes.length - 40] ^= 0x55;
    await expect(decodeAudio(bytes)).rejects.toThrow(FormatError);
  });
});
