/** Ranges longer than one read may be. */
import type { RandomAccess } from './random-access.js';

const step = 2 ** 30;

/**
 * The bytes begin .. end-1, however many.
 * @throws FormatError when the source is shorter (before memory is taken), EnvironmentError when it cannot be read.
 */
export async function readLarge(source: RandomAccess, begin: number, end: number): Promise<Uint8Array> {
  if (end - begin <= step) return source.read(begin, end);
  // A read of nothing checks that the end is there.
  await source.read(end, end);
  const out = new Uint8Array(end - begin);
  for (let at = begin; at < end; at += step) out.set(await source.read(at, Math.min(at + step, end)), at - begin);
  return out;
}
