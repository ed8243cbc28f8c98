/** Fourier transforms. Complex numbers are real tensors with a last dimension of 2 (real, imaginary part). */
export { angle, complex, complexAbs, complexAbs2, complexMul, conj, imag, polar, real } from './complex.js';
export { fftfreq, fftshift, ifftshift, rfftfreq, type ShiftOptions } from './frequencies.js';
export {
  type FftNorm,
  type FftnOptions,
  type FftOptions,
  fft,
  fft2,
  fftn,
  fftOfReal,
  hfft,
  ifft,
  ifft2,
  ifftn,
  ihfft,
  irfft,
  irfft2,
  irfftn,
  rfft,
  rfft2,
  rfftn,
} from './transforms.js';
