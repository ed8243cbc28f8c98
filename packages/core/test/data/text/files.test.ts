/** Tokenizers in files. Node only. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Tokenizer, trainBpe, trainWordPiece } from '../../../src/data/text/index.js';
import { EnvironmentError, FormatError } from '../../../src/errors.js';

it('a tokenizer is the same after saving and loading', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'trireme-tokenizer-'));
  try {
    const path = join(folder, 'tokenizer.json');
    const text = 'Call me Ishmael. Some years ago, never mind how long precisely; naïve 🌊.';
    for (const tokenizer of [await trainBpe([text], { vocabSize: 280 }), await trainWordPiece([text], { vocabSize: 60 })]) {
      await tokenizer.save(path);
      const loaded = await Tokenizer.load(path);
      expect(loaded.encode(text)).toEqual(tokenizer.encode(text));
      expect(loaded.toJson()).toEqual(tokenizer.toJson());
    }
    await expect(Tokenizer.load(path, { maxBytes: 50 })).rejects.toThrow(FormatError);
    await expect(Tokenizer.load(join(folder, 'missing.json'))).rejects.toThrow(EnvironmentError);
    await writeFile(path, Uint8Array.of(0x7b, 0xff, 0x7d));
    await expect(Tokenizer.load(path)).rejects.toThrow(/no JSON/);
  } finally {
    await rm(folder, { recursive: true });
  }
});
