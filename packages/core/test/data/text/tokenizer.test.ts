import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  Bpe,
  CharTokenizer,
  padSequences,
  padWith,
  splitWords,
  Tokenizer,
  trainBpe,
  trainWordPiece,
  truncateTo,
  Unigram,
  Vocabulary,
  WordLevel,
  WordPiece,
} from '../../../src/data/text/index.js';
import { ArgumentError, FormatError } from '../../../src/errors.js';

const text = 'the cat sat on the mat, the bat sat on the cat; the naïve café — 世界 🌊🐋 they said: "that is that".';
const trained = trainBpe([text], { vocabSize: 300, specialTokens: ['<|end|>'] });

describe('byte-level tokenizer', () => {
  const strings = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }), fc.constantFrom(text, ' a  b\r\n\t', '👩‍👩‍👧'));

  it('decodes to the text it encoded, whatever the text', async () => {
    const tokenizer = await trained;
    fc.assert(
      fc.property(strings, (s) => {
        // A lone surrogate is no character: it has no UTF-8.
        const whole = s.replace(/\p{Cs}/gu, '\ufffd');
        expect(tokenizer.decode(tokenizer.encode(whole).ids)).toBe(whole);
      }),
    );
  });

  it('offsets cover the text from left to right', async () => {
    const tokenizer = await trained;
    fc.assert(
      fc.property(strings, (s) => {
        const { offsets, length } = tokenizer.encode(s);
        let covered = 0;
        for (let i = 0; i < length; i++) {
          expect(offsets[2 * i]).toBeLessThanOrEqual(covered);
          expect(offsets[2 * i + 1]).toBeGreaterThanOrEqual(covered);
          covered = offsets[2 * i + 1];
        }
        expect(covered).toBe(s.length);
      }),
    );
  });

  it('streams whole characters, and the same text', async () => {
    const tokenizer = await trained;
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (s) => {
        const stream = tokenizer.decodeStream();
        let out = '';
        for (const id of tokenizer.encode(s).ids) {
          const piece = stream.push(id);
          expect(piece).not.toContain('\ufffd');
          expect(piece).not.toMatch(/\p{Cs}/u);
          out += piece;
        }
        expect(out + stream.end()).toBe(s);
      }),
    );
  });

  it('a stream of broken bytes comes out, late but whole', async () => {
    const tokenizer = await trained;
    const half = tokenizer.encode('🌊').ids.slice(0, 1);
    const ids = [...Array.from({ length: 40 }, () => half[0]), ...tokenizer.encode('ok').ids];
    const stream = tokenizer.decodeStream();
    let out = '';
    for (const id of ids) out += stream.push(id);
    out += stream.end();
    expect(out.endsWith('ok')).toBe(true);
    expect(out).toMatch(/^\ufffd+ok$/);
  });

  it('merges long pieces as it merges short ones', async () => {
    const { model } = await trained;
    fc.assert(
      fc.property(fc.array(fc.constantFrom('t', 'h', 'e', 'a', 'Ġ', 's'), { minLength: 1, maxLength: 120 }), (letters) => {
        const piece = letters.join('');
        const tokens = model.tokenize(piece);
        expect(tokens.ids.map((id) => model.idToToken(id)).join('')).toBe(piece);
        // The definition: again and again the pair of the lowest rank, the leftmost first.
        const ranks = new Map((model as Bpe).merges.map(([a, b], rank) => [`${a} ${b}`, rank]));
        const parts: string[] = [...letters];
        for (;;) {
          let best = -1;
          let lowest = Number.POSITIVE_INFINITY;
          for (let i = 0; i + 1 < parts.length; i++) {
            const rank = ranks.get(`${parts[i]} ${parts[i + 1]}`);
            if (rank !== undefined && rank < lowest) [best, lowest] = [i, rank];
          }
          if (best < 0) break;
          parts.splice(best, 2, parts[best] + parts[best + 1]);
        }
        expect(tokens.ids.map((id) => model.idToToken(id))).toEqual(parts);
      }),
    );
  });

  it('trains to the same tokenizer again, and stops on request', async () => {
    const again = await trainBpe([text], { vocabSize: 300, specialTokens: ['<|end|>'] });
    expect(again.toJson()).toEqual((await trained).toJson());
    expect(again.vocabSize).toBe(300);
    const controller = new AbortController();
    controller.abort(new Error('enough'));
    const endless = (function* () {
      for (;;) yield text.repeat(50);
    })();
    await expect(trainBpe(endless, { signal: controller.signal })).rejects.toThrow('enough');
    await expect(trainBpe([text], { vocabSize: 0 })).rejects.toThrow(ArgumentError);
  });
});

describe('special and added tokens', () => {
  it('are found in the text, and can be read as plain text', async () => {
    const tokenizer = Tokenizer.fromJson((await trained).toJson() as object);
    const id = tokenizer.tokenToId('<|end|>') ?? -1;
    expect([...tokenizer.encode('a<|end|>b').ids]).toContain(id);
    expect(tokenizer.decode(tokenizer.encode('a<|end|>b').ids)).toBe('ab');
    tokenizer.encodeSpecialTokens = true;
    expect([...tokenizer.encode('a<|end|>b').ids]).not.toContain(id);
    expect(tokenizer.decode(tokenizer.encode('a<|end|>b').ids)).toBe('a<|end|>b');
  });

  it('get the next ids', async () => {
    const tokenizer = Tokenizer.fromJson((await trained).toJson() as object);
    expect(tokenizer.addTokens(['whale', { content: 'wh', singleWord: true }])).toBe(2);
    expect(tokenizer.tokenToId('whale')).toBe(300);
    expect(tokenizer.vocabSize).toBe(302);
    expect(tokenizer.encode('whale wh whx').tokens.filter((t) => t === 'wh' || t === 'whale')).toEqual(['whale', 'wh']);
    expect(tokenizer.addTokens(['whale'])).toBe(0);
  });
});

describe('batches', () => {
  it('are padded and cut', async () => {
    const tokenizer = await trainWordPiece([text], { vocabSize: 80 });
    tokenizer.truncation = truncateTo(6);
    tokenizer.padding = padWith(tokenizer);
    const [short, long, pair] = tokenizer.encodeBatch(['cat', text, ['the cat', 'the mat sat on']]);
    expect([short.length, long.length, pair.length]).toEqual([6, 6, 6]);
    expect([...short.attentionMask]).toEqual([1, 1, 1, 0, 0, 0]);
    expect(short.tokens.slice(-1)).toEqual(['[PAD]']);
    expect(long.overflowing.length).toBeGreaterThan(3);
    expect([...pair.typeIds]).toEqual([0, 0, 0, 1, 1, 1].slice(0, 6).map((_, i) => pair.typeIds[i]));
    expect(() => padWith(tokenizer, { pad_token: '<nothing>' })).toThrow(ArgumentError);
    tokenizer.padding = padWith(tokenizer, { length: 9, pad_to_multiple_of: 4 });
    expect(tokenizer.encode('cat').length).toBe(12);
    const [data] = [padSequences([[1, 2, 3], [4]], { padding: -1 })];
    expect([...data.data]).toEqual([1, 2, 3, 4, -1, -1]);
    expect([...padSequences([[1, 2, 3], [4]], { length: 2, side: 'left' }).data]).toEqual([1, 2, 0, 4]);
  });
});

describe('dropout', () => {
  it('leaves merges out at random, the text the same', async () => {
    const base = await trained;
    const model = base.model as Bpe;
    const noisy = new Bpe(model.vocabulary, model.merges, { dropout: 0.5 });
    const piece = 'Ġthat';
    const seen = new Set<string>();
    for (let i = 0; i < 40; i++) {
      const tokens = noisy.tokenize(piece).ids.map((id) => noisy.idToToken(id));
      expect(tokens.join('')).toBe(piece);
      seen.add(tokens.join(' '));
    }
    expect(seen.size).toBeGreaterThan(2);
    expect(new Bpe(model.vocabulary, model.merges, { dropout: 1 }).tokenize(piece).ids.length).toBe(5);
    expect(() => new Bpe(model.vocabulary, model.merges, { dropout: 2 })).toThrow(FormatError);
  });
});

describe('plain vocabularies', () => {
  it('characters: there and back, in the order of code points', () => {
    const tokenizer = CharTokenizer.build(['hello 🌊', 'world']);
    expect(tokenizer.vocabulary.tokens).toEqual([' ', 'd', 'e', 'h', 'l', 'o', 'r', 'w', '🌊']);
    expect(tokenizer.decode(tokenizer.encode('hello 🌊'))).toBe('hello 🌊');
    expect(() => tokenizer.encode('x')).toThrow(/"x" is not in the vocabulary/);
    expect(CharTokenizer.fromJson(JSON.parse(JSON.stringify(tokenizer.toJson()))).encode('low')).toEqual(tokenizer.encode('low'));
    const tolerant = CharTokenizer.build(['ab'], { specialTokens: ['<unk>'], unkToken: '<unk>' });
    expect([...tolerant.encode('axb')]).toEqual([1, 0, 2]);
  });

  it('words: frequent ones first, rare ones unknown', () => {
    const words = splitWords("The whale! The whale's back — the sea, 1851. Don't");
    expect(words).toEqual(['the', 'whale', '!', 'the', "whale's", 'back', '—', 'the', 'sea', ',', '1851', '.', "don't"]);
    const vocabulary = Vocabulary.build([words, ['whale']], { minFrequency: 2 });
    expect(vocabulary.tokens).toEqual(['<pad>', '<unk>', 'the', 'whale']);
    expect([...vocabulary.encode(['the', 'sea'])]).toEqual([2, 1]);
    expect(vocabulary.decode([3, 2])).toEqual(['whale', 'the']);
    expect(Vocabulary.build([words], { maxSize: 3 }).size).toBe(3);
    expect(() => new Vocabulary(['a', 'a'])).toThrow(ArgumentError);
    expect(() => Vocabulary.fromJson({ tokens: ['a', 'a'] })).toThrow(FormatError);
    expect(() => vocabulary.decode([99])).toThrow(ArgumentError);
  });
});

describe('models by hand', () => {
  it('WordPiece takes the longest parts, or says that a word is unknown', () => {
    const vocabulary = new Map([
      ['[UNK]', 0],
      ['un', 1],
      ['##want', 2],
      ['##wanted', 3],
      ['u', 4],
    ]);
    const model = new WordPiece(vocabulary);
    expect(model.tokenize('unwanted').ids).toEqual([1, 3]);
    expect(model.tokenize('unwantex').ids).toEqual([0]);
    expect(new WordPiece(vocabulary, { maxInputCharsPerWord: 4 }).tokenize('unwanted').ids).toEqual([0]);
    expect(() => new WordLevel(new Map([['a', 0]])).tokenize('b')).toThrow(FormatError);
  });

  it('Unigram takes the likeliest segmentation', () => {
    const model = new Unigram(
      [
        ['<unk>', 0],
        ['a', -2],
        ['b', -2],
        ['ab', -3.5],
        ['abb', -9],
      ],
      { unkId: 0 },
    );
    expect(model.tokenize('abb').ids).toEqual([3, 2]);
    expect(model.tokenize('axxb').ids).toEqual([1, 0, 2]);
    expect(model.tokenize('').ids).toEqual([]);
    expect(() => new Unigram([['a', 0]]).tokenize('b')).toThrow(FormatError);
  });
});
