/** Bounded decompression, and compression, with the web platform's streams (Node and browsers). */
import { FormatError } from '../errors.js';

/** The platform's names: `deflate-raw` is what zip files hold. */
export type CompressionFormat = 'gzip' | 'deflate' | 'deflate-raw';

const ignore = (): void => undefined;

/** Passes bytes through a stream; `check` sees the length of the output so far. */
async function pass(
  bytes: Uint8Array,
  stream: { readonly readable: ReadableStream<Uint8Array>; readonly writable: WritableStream<BufferSource> },
  check: (total: number) => void,
): Promise<Uint8Array> {
  const writer = stream.writable.getWriter();
  // A failure shows on the reading side; the writer's copy of it must not become an unhandled rejection.
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
      check(total);
      chunks.push(value);
    }
  } catch (cause) {
    reader.cancel().catch(ignore);
    writer.abort().catch(ignore);
    throw cause;
  }
  const output = new Uint8Array(total);
  let position = 0;
  for (const chunk of chunks) {
    output.set(chunk, position);
    position += chunk.length;
  }
  return output;
}

/**
 * Decompresses; stops as soon as the output would pass `maxBytes`, so a small file cannot fill the memory.
 * @throws FormatError when the data is damaged or larger than the limit.
 */
export async function inflate(bytes: Uint8Array, format: CompressionFormat, maxBytes: number, op: string): Promise<Uint8Array> {
  try {
    return await pass(bytes, new DecompressionStream(format), (total) => {
      if (total <= maxBytes) return;
      throw new FormatError(`the decompressed data passes ${maxBytes} bytes`, {
        op,
        expected: `at most ${maxBytes} bytes`,
        fix: 'If the file is trusted, raise the limit.',
      });
    });
  } catch (cause) {
    if (cause instanceof FormatError) throw cause;
    const name = format === 'gzip' ? 'gzip' : 'compressed';
    throw new FormatError(`the ${name} data is damaged (${cause instanceof Error ? cause.message : String(cause)})`, {
      op,
      cause,
      fix: 'Download the file again.',
    });
  }
}

/** Compresses. */
export function deflate(bytes: Uint8Array, format: CompressionFormat): Promise<Uint8Array> {
  return pass(bytes, new CompressionStream(format), ignore);
}
