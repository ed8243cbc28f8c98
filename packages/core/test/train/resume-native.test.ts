/** The same as native code: a training that is killed and resumed ends with the bits of one that never stopped. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { describe, expect, test } from 'vitest';
import { machineReport } from '../../src/runtime/report.js';
import { assertWhole, KilledTraining } from './resume-harness.js';

describe.skipIf(process.platform === 'win32' || !machineReport().native.available)('a training in native code that is killed', () => {
  const training = new KilledTraining('native');
  const { folder } = training;

  test('ends with the same bits once it is resumed, and says so where it goes on as WebAssembly', async () => {
    const whole = training.runToEnd('whole');
    expect(whole.stderr).toBe('');
    let kills = 0;
    for (let attempt = 0; attempt < 4; attempt++) {
      const batches = attempt % 2 === 0 ? 6 + Math.floor(14 * Math.random()) : 12;
      const killed = await training.runAndKill('killed', batches, 12 * Math.random());
      await assertWhole(join(folder, 'killed'));
      if (!killed) break;
      kills++;
    }
    expect(kills).toBeGreaterThanOrEqual(2);
    expect(training.runToEnd('killed').result.epochs).toEqual(whole.result.epochs);
    const wanted = readFileSync(join(folder, 'whole.safetensors'));
    expect(readFileSync(join(folder, 'killed.safetensors')).equals(wanted)).toBe(true);

    await training.runAndKill('moved', 20);
    const moved = training.runToEnd('moved', { TRIREME_TIER: 'wasm' });
    expect(moved.stderr.match(/resumed on another set-up \(tier native → wasm/g)).toHaveLength(1);
    const { vectorBits = 128 } = machineReport().native.compiler ?? {};
    if (vectorBits !== 128) expect(moved.stderr).toContain(`vectorBits ${vectorBits} → 128`);
    // Other last bits, and no more than that.
    const [a, b] = [whole, moved].map(({ result }) => result.epochs.at(-1)?.metrics.loss ?? Number.NaN);
    expect(Math.abs(a - b)).toBeLessThan(1e-3 * Math.abs(a));
  }, 400_000);
});
