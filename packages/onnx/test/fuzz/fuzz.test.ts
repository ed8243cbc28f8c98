/**
 * Damaged files give a result or a TriremeError, soon and within the memory. `FUZZ_CASES` sets how many files are tried (a few of each reader unless it is
 * set), `FUZZ_SEED` where their numbers start, `FUZZ_TARGET` one reader alone.
 */
import { TriremeError } from 'trireme';
import { describe, expect, it } from 'vitest';
import { mutateBytes, Random } from './mutate.js';
import { makeTargets, type Target } from './targets.js';

const targets = (await makeTargets()).filter(({ name }) => name === (process.env.FUZZ_TARGET ?? name));
const total = Number(process.env.FUZZ_CASES ?? 0);
const shares = targets.reduce((sum, { share = 1 }) => sum + share, 0);
const casesOf = ({ share = 1 }: Target): number => Math.ceil(total > 0 ? (total * share) / shares : 60 * share);
const firstSeed = Number(process.env.FUZZ_SEED ?? 1);
const maxMilliseconds = 2000;
/** maxRSS is in KiB. */
const maxKiB = 2 ** 20;

async function fuzz(target: Target): Promise<{ readonly accepted: number; readonly refused: number }> {
  const { name, seeds, mutate, read } = target;
  let [accepted, refused] = [0, 0];
  for (let i = 0; i < casesOf(target); i++) {
    const number = firstSeed + i;
    const random = new Random(number);
    const seed = seeds[random.below(seeds.length)];
    const bytes = await (mutate ?? mutateBytes)(seed, random);
    const where = `${name}, case ${number}`;
    const memory = process.resourceUsage().maxRSS;
    const cpu = process.cpuUsage();
    try {
      await read(bytes);
      accepted++;
    } catch (error) {
      if (!(error instanceof TriremeError)) throw new Error(`${where}: ${String(error)}`, { cause: error });
      refused++;
    }
    const { user, system } = process.cpuUsage(cpu);
    if ((user + system) / 1000 > maxMilliseconds) throw new Error(`${where}: ${((user + system) / 1000).toFixed(0)} ms`);
    if (process.resourceUsage().maxRSS - memory > maxKiB && bytes.length < 2 ** 20) throw new Error(`${where}: more than 1 GB`);
  }
  return { accepted, refused };
}

describe('readers of damaged files', () => {
  it.each(targets.map((target) => [target.name, target] as const))(
    '%s',
    async (_, target) => {
      const whole = await Promise.allSettled(target.seeds.map(async (seed) => target.read(seed.slice())));
      expect(whole.some(({ status }) => status === 'fulfilled')).toBe(true);
      const { accepted, refused } = await fuzz(target);
      expect(accepted + refused).toBe(casesOf(target));
      // Mutations that are all refused or all accepted would test one check alone.
      expect(refused).toBeGreaterThan(0);
      expect(Object.keys(Object.prototype)).toEqual([]);
      expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
      if (total > 0) console.log(`${target.name}: ${accepted} accepted, ${refused} refused`);
    },
    total > 0 ? 3_600_000 : 60_000,
  );
});
