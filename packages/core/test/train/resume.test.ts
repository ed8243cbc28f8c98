/** Training that is killed and resumed, in processes of its own. */
import type { Buffer } from 'node:buffer';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { beforeAll, describe, expect, test } from 'vitest';
import { CheckpointStore } from '../../src/train/index.js';
import { assertWhole, KilledTraining } from './resume-harness.js';

const training = new KilledTraining('wasm');
const { folder } = training;

describe.skipIf(process.platform === 'win32')('a training that is killed', () => {
  let whole: ReturnType<KilledTraining['runToEnd']>;
  let wanted: Buffer;
  beforeAll(() => {
    whole = training.runToEnd('whole');
    wanted = readFileSync(join(folder, 'whole.safetensors'));
  }, 60_000);

  test('leaves whole checkpoints at any moment, and ends with the same bits once it is resumed', async () => {
    let kills = 0;
    let checkpoints = 0;
    for (let attempt = 0; attempt < 7; attempt++) {
      // A checkpoint follows batch 6, 12 ...: every other time the process dies while it writes.
      const batches = attempt % 2 === 0 ? 6 + Math.floor(14 * Math.random()) : 12;
      const killed = await training.runAndKill('killed', batches, 12 * Math.random());
      checkpoints = Math.max(checkpoints, await assertWhole(join(folder, 'killed')));
      if (!killed) break;
      kills++;
    }
    expect(kills).toBeGreaterThanOrEqual(3);
    expect(checkpoints).toBeGreaterThan(0);
    const { result } = training.runToEnd('killed');
    expect(result.epochs).toEqual(whole.result.epochs);
    expect(readFileSync(join(folder, 'killed.safetensors')).equals(wanted)).toBe(true);
    // The rows of the interrupted processes are there, once each.
    const rows = readFileSync(join(folder, 'killed', 'log.csv'), 'utf8')
      .trim()
      .split('\n');
    expect(rows.map((row) => row.split(',')[0])).toEqual(['epoch', '1', '2', '3', '4', '5', '6']);
  }, 120_000);

  test('goes on from the checkpoint before when the newest is damaged, to the same end', async () => {
    await training.runAndKill('damaged', 25);
    const { checkpoints } = await CheckpointStore.open(join(folder, 'damaged'));
    const path = join(folder, 'damaged', checkpoints.at(-1)!.name, 'state.safetensors');
    const bytes = readFileSync(path);
    bytes[bytes.length - 9] ^= 1;
    writeFileSync(path, bytes);
    const { stderr } = training.runToEnd('damaged');
    expect(stderr).toMatch(/is damaged/);
    expect(readFileSync(join(folder, 'damaged.safetensors')).equals(wanted)).toBe(true);
  }, 60_000);

  test('says once that it is resumed with another number of threads', async () => {
    await training.runAndKill('moved', 20);
    const { stderr } = training.runToEnd('moved', { TRIREME_THREADS: '1' });
    expect(stderr.match(/resumed on another set-up \(threads 2 → 1\)/g)).toHaveLength(1);
  }, 60_000);

  test('keeps as many checkpoints as it was told, and nothing beside them', async () => {
    const present = readdirSync(join(folder, 'whole')).filter((name) => name !== 'log.csv');
    const { checkpoints } = await CheckpointStore.open(join(folder, 'whole'));
    expect(present.sort()).toEqual(['manifest.json', ...checkpoints.map((c) => c.name)].sort());
    expect(checkpoints.length).toBeLessThanOrEqual(4);
  });
});
