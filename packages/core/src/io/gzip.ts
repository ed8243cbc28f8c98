/** Bounded gzip decompression with the web platform's DecompressionStream (Node and browsers). */
import { FormatError } from '../errors.js';

export function isGzip(bytes: Uint8Array): boolean {
  return bytes.length >= 2 && bytes[0] === 0x1f && bytes[1] === 0x8b;
}

/**
 * Decompresses a gzip member; stops as soon as the output would pass `maxBytes`, so a small file cannot fill the memory.
 * @throws FormatError when the data is damaged or larger than the limit.
 */
export async function gunzip(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array> {
  const stream = new DecompressionStream('gzip');
  const writer = stream.writable.getWriter();
  // A failure shows on the reading side; the writer's copy of it must not become an unhandled rejection.
  const ignore = (): void => undefined;
  writer.closed.catch(ignore);
  // Feeding slices bounds what the stream holds at a time.
  const feed = (async () => {
    for (let start = 0; start < bytes.length; start += 1 << 16) {
      await writer.ready;
      await writer.write(bytes.slice(start, start + (1 << 16)));
    }
    await writer.close();
  })();
  feed.catch(ignore);
  const reader = stream.readable.getReader();
  const chunks: Uint8Array[] = [];
  let total = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      total += value.length;
      if (total > maxBytes) {
        throw new FormatError(`the decompressed data passes ${maxBytes} bytes`, {
          op: 'gunzip',
          expected: `at most ${maxBytes} bytes`,
          fix: 'If the file is trusted, raise the limit.',
        });
      }
      chunks.push(value);
    }
  } catch (cause) {
    reader.cancel().catch(ignore);
    writer.abort().catch(ignore);
    if (cause instanceof FormatError) throw cause;
    throw new FormatError(`the gzip data is damaged (${cause instanceof Error ? cause.message : String(cause)})`, {
      op: 'gunzip',
      cause,
      fix: 'Download the file again.',
    });
  }
  const output = new Uint8Array(total);
  let position = 0;
  for (const chunk of chunks) {
    output.set(chunk, position);
    position += chunk.length;
  }
  return output;
}
