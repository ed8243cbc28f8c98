import { expect, it } from 'vitest';
import { createCpuDevice, machineReport } from '../../src/index.js';

it('reports what a device of this machine is like', () => {
  const inNode = typeof process === 'object' && typeof process.versions?.node === 'string';
  // A lasting folder would be made in the user's home.
  if (inNode) process.env.TRIREME_CACHE = 'off';
  const report = machineReport();
  const device = createCpuDevice();
  expect(report).toMatchObject({ threads: device.threads, tier: device.tier, simd: true, ...device.features });
  device.dispose();
  const { available, reason, compiler, koffi, cache } = report.native;
  expect(available).toBe(compiler !== null && koffi !== null);
  expect(reason === null).toBe(available);
  if (inNode) expect(cache).toMatchObject({ lasting: false, libraries: 0, bytes: 0 });
  else expect(cache).toBeNull();
  expect(JSON.parse(JSON.stringify(report))).toEqual(report);
});
