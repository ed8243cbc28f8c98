/** Against the `tokenizers` package (tools/reference/families/text.py). */
import { describe, expect, it } from 'vitest';
import type { Encoding } from '../../../src/data/text/index.js';
import { Tokenizer, trainBpe, trainWordLevel, trainWordPiece, WordLevel } from '../../../src/data/text/index.js';
import { byteCharacters } from '../../../src/data/text/unicode.js';
import parts from '../../reference/text-parts.json' with { type: 'json' };
import reference from '../../reference/text-tokenizers.json' with { type: 'json' };

interface Expected {
  readonly ids: number[];
  readonly tokens: string[];
  readonly offsets: number[];
  readonly typeIds: number[];
  readonly attention: number[];
  readonly special: number[];
  readonly words: number[];
  readonly overflowing?: Expected[];
}

/** By ids, as the reference has the combinations of a pair. */
function byIds(a: Expected, b: Expected): number {
  const i = a.ids.findIndex((id, k) => id !== b.ids[k]);
  return i < 0 ? 0 : a.ids[i] - b.ids[i];
}

function comparable(encoding: Encoding, pair: boolean): Expected {
  const overflowing = encoding.overflowing.map((part) => comparable(part, false));
  return {
    ids: [...encoding.ids],
    tokens: [...encoding.tokens],
    offsets: [...encoding.offsets],
    typeIds: [...encoding.typeIds],
    attention: [...encoding.attentionMask],
    special: [...encoding.specialTokensMask],
    words: [...encoding.words],
    ...(overflowing.length > 0 ? { overflowing: pair ? overflowing.sort(byIds) : overflowing } : {}),
  };
}

type TokenizerCase = {
  name: string;
  json: object;
  encodings: { text: string; pair?: string; expected: Expected; decoded: string; decodedAll: string }[];
};
const cases = reference.tokenizers as unknown as TokenizerCase[];

describe.each(cases)('tokenizer $name', ({ json, encodings }) => {
  const tokenizer = Tokenizer.fromJson(JSON.stringify(json));

  it.each(encodings)('encodes $text', ({ text, pair, expected }) => {
    expect(comparable(tokenizer.encode(text, { pair }), pair !== undefined)).toEqual(expected);
  });

  it('decodes what it encoded', () => {
    for (const { expected, decoded, decodedAll } of encodings) {
      expect(tokenizer.decode(expected.ids)).toBe(decoded);
      expect(tokenizer.decode(expected.ids, { skipSpecialTokens: false })).toBe(decodedAll);
    }
  });

  it('is the same after writing and reading', () => {
    const again = Tokenizer.fromJson(JSON.stringify(tokenizer.toJson()));
    for (const { text, pair } of encodings) expect(again.encode(text, { pair })).toEqual(tokenizer.encode(text, { pair }));
  });

  it('streams the text that it decodes', () => {
    for (const { expected } of encodings) {
      const stream = tokenizer.decodeStream();
      let streamed = '';
      for (const id of expected.ids) streamed += stream.push(id);
      expect(streamed + stream.end()).toBe(tokenizer.decode(expected.ids));
    }
  });
});

const model = { type: 'WordLevel', vocab: { '<unk>': 0 }, unk_token: '<unk>' };

describe('parts', () => {
  it.each(parts.normalizers)('normalizer $spec', ({ spec, outputs }) => {
    const tokenizer = Tokenizer.fromJson({ model, normalizer: spec });
    const normalized = parts.texts.map((text) =>
      tokenizer
        .pieces(text)
        .map((piece) => piece.text)
        .join(''),
    );
    expect(normalized).toEqual(outputs);
  });

  it('normalizes by the character map of a SentencePiece model', () => {
    const tokenizer = Tokenizer.fromJson({ model, normalizer: parts.precompiled.spec });
    expect(
      parts.texts.map((text) =>
        tokenizer
          .pieces(text)
          .map((piece) => piece.text)
          .join(''),
      ),
    ).toEqual(parts.precompiled.outputs);
  });

  it.each(parts.preTokenizers)('pre-tokenizer $spec', ({ spec, outputs }) => {
    const tokenizer = Tokenizer.fromJson({ model, pre_tokenizer: spec });
    const pieces = parts.texts.map((text) => tokenizer.pieces(text).map((piece) => [piece.text, piece.start, piece.end]));
    expect(pieces).toEqual(outputs);
  });

  it.each(parts.decoders)('decoder $spec', ({ spec, tokens, output }) => {
    const vocabulary = new Map([...new Set(tokens)].map((token, id) => [token, id]));
    const tokenizer = new Tokenizer({ model: new WordLevel(vocabulary), decoder: spec as never });
    expect(tokenizer.decode(tokens.map((token) => vocabulary.get(token) ?? -1))).toBe(output);
  });
});

describe('training gives the tokenizer of the reference', () => {
  const trained = (name: string): { model: { vocab: Record<string, number>; merges?: string[][] } } => {
    const found = cases.find((c) => c.name === name);
    return found?.json as { model: { vocab: Record<string, number>; merges?: string[][] } };
  };
  const { corpus } = reference;

  it('byte-level', async () => {
    const tokenizer = await trainBpe(corpus, {
      vocabSize: 420,
      specialTokens: ['<|endoftext|>'],
      preTokenizer: { type: 'ByteLevel', add_prefix_space: true },
      initialAlphabet: byteCharacters,
    });
    const { vocab, merges } = (tokenizer.toJson() as unknown as { model: { vocab: object; merges: string[][] } }).model;
    expect(merges).toEqual(trained('gpt2').model.merges);
    expect(vocab).toEqual(trained('gpt2').model.vocab);
  });

  it('with bytes as special tokens and a longest token', async () => {
    const bytes = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`);
    const tokenizer = await trainBpe(corpus, {
      vocabSize: 400,
      specialTokens: ['<unk>', '<s>', '</s>', ...bytes],
      // The reference's 6 is a bound that tokens stay below.
      maxTokenLength: 5,
      normalizer: {
        type: 'Sequence',
        normalizers: [
          { type: 'Prepend', prepend: '▁' },
          { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
        ],
      },
      preTokenizer: null,
      unkToken: '<unk>',
    });
    const { vocab, merges } = (tokenizer.toJson() as unknown as { model: { vocab: object; merges: string[][] } }).model;
    expect(merges).toEqual(trained('llama2').model.merges);
    expect(vocab).toEqual(trained('llama2').model.vocab);
  });

  it('whole words', async () => {
    const spec = cases.find((c) => c.name === 'word_level')?.json as { normalizer: never; pre_tokenizer: never };
    const tokenizer = await trainWordLevel(corpus, {
      vocabSize: 100,
      unkToken: '[UNK]',
      specialTokens: ['[UNK]', '[CLS]'],
      normalizer: spec.normalizer,
      preTokenizer: spec.pre_tokenizer,
    });
    expect((tokenizer.toJson() as unknown as { model: object }).model).toEqual(trained('word_level').model);
  });

  it('end-of-word marks', async () => {
    const tokenizer = await trainBpe(corpus, {
      vocabSize: 260,
      minFrequency: 2,
      specialTokens: ['<unk>'],
      unkToken: '<unk>',
      fuseUnk: true,
      endOfWordSuffix: '</w>',
      normalizer: { type: 'NFKD' },
      preTokenizer: { type: 'WhitespaceSplit' },
    });
    const { merges } = (tokenizer.toJson() as unknown as { model: { merges: string[][] } }).model;
    expect(merges.slice(0, 3)).toEqual(trained('suffix').model.merges?.slice(0, 3));
    expect(tokenizer.decode(tokenizer.encode('some years ago').ids)).toBe('some years ago');
  });

  it('WordPiece: as many tokens as asked for, frequent words whole', async () => {
    const tokenizer = await trainWordPiece(corpus, { vocabSize: 260 });
    expect(tokenizer.vocabSize).toBe(260);
    const encoding = tokenizer.encode('Whenever I find myself');
    expect(tokenizer.decode(encoding.ids)).toBe('whenever i find myself');
    expect(encoding.tokens.slice(0, 2)).toEqual(['[CLS]', 'whenever']);
  });
});
