/** Bounded gzip decompression (Node and browsers). */
import { inflate } from './inflate.js';

export function isGzip(bytes: Uint8Array): boolean {
  return bytes.length >= 2 && bytes[0] === 0x1f && bytes[1] === 0x8b;
}

/**
 * Decompresses a gzip member; stops as soon as the output would pass `maxBytes`, so a small file cannot fill the memory.
 * @throws FormatError when the data is damaged or larger than the limit.
 */
export function gunzip(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array> {
  return inflate(bytes, 'gzip', maxBytes, 'gunzip');
}
