/** Fourier transforms, windows and mel filters. */
import { CpuDevice, cast, concat, defaultDevice, mul, narrow, permute, reshape, type Tensor, unfold, unsqueeze, zeros } from 'trireme';
import { fft, ifft, irfft, rfft } from 'trireme/fft';
import { elementTypeOf } from '../engine/element-type.js';
import { TensorValue } from '../engine/value.js';
import { axisOf, numbersOf, optionalTensorAt, tensorAt } from './arguments.js';
import type { OpContext, OpFunction, OpTable } from './definition.js';
import { hostCast } from './host.js';
import { computed, widened } from './tensors.js';

/** [..., 1] with imaginary parts 0, [..., 2] as it is. */
function pairs(x: Tensor): Tensor {
  return x.shape[x.ndim - 1] === 2 ? x : concat([x, zeros(x.shape, { dtype: x.dtype })], -1);
}

function dropPair(x: Tensor): Tensor {
  return reshape(x, x.shape.slice(0, -1));
}

/** In double precision where the device has it: what cancels out is then 0 in single precision. */
function precise(x: Tensor): Tensor {
  return defaultDevice() instanceof CpuDevice ? cast(x, 'float64') : widened(x);
}

const dft: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const lengthInput = optionalTensorAt(inputs, 1, ctx);
  const axisInput = optionalTensorAt(inputs, 2, ctx);
  const axis = ctx.opset < 20 ? ctx.attrs.int('axis', 1) : axisInput === null ? -2 : numbersOf(axisInput)[0];
  const rank = x.shape.length;
  const dim = axisOf(axis, rank, ctx);
  if (dim === rank - 1) ctx.fail(`axis ${axis}`, 'an axis of the signal, not that of real and imaginary parts');
  const [inverse, onesided] = [ctx.attrs.int('inverse', 0) !== 0, ctx.attrs.int('onesided', 0) !== 0];
  const n = lengthInput === null ? undefined : numbersOf(lengthInput)[0];
  const real = x.shape[rank - 1] === 1;
  return computed(x.type, () => {
    // The inverse divides by the length, and its rounding errors with it.
    const signal = inverse ? widened(x.tensor) : precise(x.tensor);
    const options = { n, dim };
    let made: Tensor;
    if (inverse) made = onesided ? unsqueeze(irfft(pairs(signal), options), -1) : ifft(pairs(signal), options);
    else if (onesided && real) made = rfft(dropPair(signal), options);
    else {
      const full = fft(pairs(signal), options);
      made = onesided ? narrow(full, dim, 0, Math.floor(full.shape[dim] / 2) + 1) : full;
    }
    return cast(made, x.tensor.dtype);
  });
};

const stft: OpFunction = (inputs, ctx) => {
  const x = tensorAt(inputs, 0, ctx);
  const step = numbersOf(tensorAt(inputs, 1, ctx))[0];
  const window = optionalTensorAt(inputs, 2, ctx);
  const lengthInput = optionalTensorAt(inputs, 3, ctx);
  const complexSignal = x.shape.length === 3 && x.shape[2] === 2;
  const length = lengthInput !== null ? numbersOf(lengthInput)[0] : window !== null ? window.shape[0] : x.shape[1];
  const onesided = ctx.attrs.int('onesided', 1) !== 0;
  if (onesided && complexSignal) ctx.fail('one side of the spectrum of complex numbers', 'onesided 0');
  if (window !== null && window.shape[0] !== length) ctx.fail(`a window of ${window.shape[0]} for frames of ${length}`);
  return computed(x.type, () => {
    const signal = widened(x.tensor);
    const parts = complexSignal ? permute(signal, [0, 2, 1]) : reshape(signal, x.shape.slice(0, 2));
    const frames = unfold(parts, -1, length, step);
    const shaped = window === null ? frames : mul(frames, cast(window.tensor, frames.dtype));
    // [B, frames, n], or [B, 2, frames, n].
    const made = complexSignal ? fft(permute(shaped, [0, 2, 3, 1])) : onesided ? rfft(shaped) : fft(pairs(unsqueeze(shaped, -1)));
    return cast(made, x.tensor.dtype);
  });
};

function typed(values: Float64Array, shape: readonly number[], ctx: OpContext): TensorValue {
  const type = elementTypeOf(ctx.attrs.int('output_datatype', 1)) ?? ctx.fail('an unknown output_datatype');
  return hostCast(TensorValue.ofHost(values, 'float64', shape), type);
}

/** `sum of a[k] cos(2 pi k i / n)`, n the size for periodic windows and one less for symmetric ones. */
function cosineWindow(coefficients: readonly number[]): OpFunction {
  return (inputs, ctx) => {
    const size = numbersOf(tensorAt(inputs, 0, ctx))[0];
    const n = ctx.attrs.int('periodic', 1) !== 0 ? size : size - 1;
    const angle = n === 0 ? 0 : (2 * Math.PI) / n;
    const values = Float64Array.from({ length: size }, (_, i) => coefficients.reduce((sum, a, k) => sum + a * Math.cos(k * i * angle), 0));
    return typed(values, [size], ctx);
  };
}

/** Triangular filters on the mel scale `2595 log10(1 + f / 700)`, with peak 1: [dft_length / 2 + 1, bins]. */
const melWeightMatrix: OpFunction = (inputs, ctx) => {
  const [bins, length, rate, lower, upper] = [0, 1, 2, 3, 4].map((k) => numbersOf(tensorAt(inputs, k, ctx))[0]);
  const rows = Math.floor(length / 2) + 1;
  const mel = (hertz: number): number => 2595 * Math.log10(1 + hertz / 700);
  const step = (mel(upper) - mel(lower)) / (bins + 2);
  const edges = Array.from({ length: bins + 2 }, (_, i) => {
    const hertz = 700 * (10 ** ((mel(lower) + i * step) / 2595) - 1);
    return Math.floor(((length + 1) * hertz) / rate);
  });
  const weights = new Float64Array(rows * bins);
  for (let bin = 0; bin < bins; bin++) {
    const [low, centre, high] = edges.slice(bin, bin + 3);
    const set = (row: number, value: number): void => {
      if (row >= 0 && row < rows) weights[row * bins + bin] = value;
    };
    if (low === centre) set(centre, 1);
    else for (let j = low; j <= centre; j++) set(j, (j - low) / (centre - low));
    for (let j = centre; j < high; j++) set(j, (high - j) / (high - centre));
  }
  return typed(weights, [rows, bins], ctx);
};

export const signalOps = {
  DFT: dft,
  STFT: stft,
  MelWeightMatrix: melWeightMatrix,
  HannWindow: cosineWindow([0.5, -0.5]),
  HammingWindow: cosineWindow([25 / 46, -21 / 46]),
  BlackmanWindow: cosineWindow([0.42, -0.5, 0.08]),
} satisfies OpTable;
