/** Mel spectrograms as tensor operations, with gradients: for models whose front end is part of the program. */
import { dctMatrix, type MelOptions, melFilterbank } from '../data/audio/mel.js';
import { add, maximum, mul } from '../ops/binary.js';
import { tensor } from '../ops/create.js';
import { matmul } from '../ops/matmul.js';
import { amax } from '../ops/reduce.js';
import { clamp } from '../ops/ternary.js';
import { log } from '../ops/unary.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { type SpectrogramOptions, spectrogram } from './stft.js';
import { hannWindow } from './windows.js';

export interface MelSpectrogramOptions extends MelOptions, Omit<SpectrogramOptions, 'onesided'> {}

/**
 * Signals [..., n] to mel bands [..., nMels, frames], by the definitions of torchaudio (and of the host class of the same name in
 * `trireme/data/audio`). Window: periodic Hann unless given; hopLength: half of it.
 * @throws ArgumentError, ShapeError
 */
export function melSpectrogram(x: Tensor, options: MelSpectrogramOptions): Tensor {
  return composite('melSpectrogram', () => {
    const { nFft, winLength = options.window?.shape[0] ?? nFft, nMels = 128 } = options;
    const window = options.window ?? hannWindow(winLength, { dtype: x.dtype });
    const hopLength = options.hopLength ?? Math.max(1, Math.floor(winLength / 2));
    const powers = spectrogram(x, { ...options, winLength, window, hopLength });
    const bank = tensor(melFilterbank(nFft, options), { dtype: x.dtype, shape: [nMels, Math.floor(nFft / 2) + 1] });
    return matmul(bank, powers);
  });
}

export interface MfccOptions extends MelSpectrogramOptions {
  /** Coefficients; 40 unless told otherwise, at most nMels. */
  readonly nMfcc?: number;
  /** log(mel + 1e-6) in place of decibels with a range of 80 (below the loudest element of the whole tensor). */
  readonly logMels?: boolean;
}

/** Mel-frequency cepstral coefficients of signals [..., n]: [..., nMfcc, frames]. */
export function mfcc(x: Tensor, options: MfccOptions): Tensor {
  return composite('mfcc', () => {
    const { nMels = 128, nMfcc = 40, logMels = false } = options;
    const mel = melSpectrogram(x, options);
    const loudness = logMels ? log(add(mel, 1e-6)) : decibels(mel);
    return matmul(tensor(dctMatrix(nMfcc, nMels), { dtype: x.dtype, shape: [nMfcc, nMels] }), loudness);
  });
}

/** 10 log10(max(x, 1e-10)), nothing further than 80 below the top. */
function decibels(powers: Tensor): Tensor {
  const values = mul(log(clamp(powers, { min: 1e-10 })), 10 / Math.LN10);
  return maximum(values, add(amax(values), -80));
}
