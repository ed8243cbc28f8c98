/** Signals: windows, short-time Fourier transforms, convolution, resampling. */
export { type ConvolveMode, convolve1d, fftconvolve, nextFastLength, type ResampleOptions, resample } from './convolution.js';
export { type MelSpectrogramOptions, type MfccOptions, melSpectrogram, mfcc } from './mel.js';
export { type IstftOptions, istft, type SpectrogramOptions, type StftOptions, spectrogram, stft } from './stft.js';
export {
  bartlettWindow,
  blackmanWindow,
  cosineWindow,
  exponentialWindow,
  gaussianWindow,
  generalCosineWindow,
  generalHammingWindow,
  hammingWindow,
  hannWindow,
  kaiserWindow,
  nuttallWindow,
  type WindowOptions,
} from './windows.js';
