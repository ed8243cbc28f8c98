/** Transforms against PyTorch: values and gradients. */
import { expect, test } from 'vitest';
import * as fft from '../../src/fft/index.js';
import * as signal from '../../src/signal/index.js';
import { casesByOperation, type Run, replay } from '../linalg/recorded.js';
import reference from '../reference/fft.json' with { type: 'json' };

const transforms = [
  'fft',
  'ifft',
  'rfft',
  'irfft',
  'hfft',
  'ihfft',
  'fft2',
  'ifft2',
  'fftn',
  'ifftn',
  'rfft2',
  'irfft2',
  'rfftn',
  'irfftn',
] as const;
const windows = ['hannWindow', 'hammingWindow', 'blackmanWindow', 'bartlettWindow', 'cosineWindow', 'nuttallWindow'] as const;
const shaped = ['kaiserWindow', 'gaussianWindow', 'exponentialWindow'] as const;

const runs: Record<string, Run> = {
  ...Object.fromEntries(transforms.map((name): [string, Run] => [name, ([x], attrs) => fft[name](x, attrs)])),
  ...Object.fromEntries(
    windows.map((name): [string, Run] => [
      name,
      (_, { n, periodic }) => signal[name](Number(n), { periodic: periodic === true, dtype: 'float64' }),
    ]),
  ),
  ...Object.fromEntries(
    shaped.map((name): [string, Run] => [
      name,
      (_, { n, periodic, rest }) => signal[name](Number(n), (rest as number[])[0], { periodic: periodic === true, dtype: 'float64' }),
    ]),
  ),
  stft: ([x, window], attrs) => signal.stft(x, { ...(attrs as unknown as signal.StftOptions), window }),
  istft: ([z, window], attrs) => signal.istft(z, { ...(attrs as unknown as signal.IstftOptions), window }),
  convolve: ([a, b], { mode }) => signal.convolve1d(a, b, mode as signal.ConvolveMode),
};

test.each(casesByOperation(reference))('%s', (op, cases) => {
  expect(Object.keys(runs)).toContain(op);
  for (const c of cases) replay(c, runs[op], 1e-7);
});

test('convolution by transforms agrees too', () => {
  const cases = casesByOperation(reference).find(([op]) => op === 'convolve')?.[1] ?? [];
  expect(cases.length).toBe(9);
  for (const c of cases) replay(c, ([a, b], { mode }) => signal.fftconvolve(a, b, mode as signal.ConvolveMode), 1e-9);
});
