/** Files of strangers: a tokenizer.json that is damaged or means harm is refused, and never hangs or pollutes. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Tokenizer } from '../../../src/data/text/index.js';
import { SafeRegex } from '../../../src/data/text/regex/regex.js';
import { FormatError, TriremeError } from '../../../src/errors.js';

const model = { type: 'WordLevel', vocab: { '<unk>': 0, a: 1 }, unk_token: '<unk>' };
const split = (pattern: string): object => ({ model, pre_tokenizer: { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated' } });

describe('documents', () => {
  it.each<[string, object | string]>([
    ['no JSON', '{"model":'],
    ['no model', {}],
    ['a model of no known type', { model: { type: 'Magic', vocab: {} } }],
    ['an id that is no number', { model: { ...model, vocab: { a: '1' } } }],
    ['a negative id', { model: { ...model, vocab: { a: -1 } } }],
    ['an id past all bounds', { model: { ...model, vocab: { a: 2 ** 40 } } }],
    ['a merge of unknown parts', { model: { type: 'BPE', vocab: { a: 0 }, merges: ['a b'] } }],
    ['a merge that is no pair', { model: { type: 'BPE', vocab: { a: 0 }, merges: [['a', 'a', 'a']] } }],
    ['an unknown normalizer', { model, normalizer: { type: 'Evil' } }],
    ['a normalizer without its values', { model, normalizer: { type: 'Replace', pattern: { String: 'a' } } }],
    [
      'a template with a token that is not defined',
      {
        model,
        post_processor: {
          type: 'TemplateProcessing',
          single: [{ SpecialToken: { id: 'constructor', type_id: 0 } }],
          pair: [],
          special_tokens: {},
        },
      },
    ],
    ['padding for petabytes', { model, padding: { strategy: { Fixed: 2 ** 40 }, direction: 'Right', pad_id: 0 } }],
    ['a damaged character map', { model, normalizer: { type: 'Precompiled', precompiled_charsmap: 'AAAAAAAA' } }],
    ['a character map that is no base64', { model, normalizer: { type: 'Precompiled', precompiled_charsmap: '***' } }],
    ['a list for an object', { model: [] }],
  ])('%s', (_, document) => {
    expect(() => Tokenizer.fromJson(document)).toThrow(FormatError);
  });

  it('nested without end are refused', () => {
    let normalizer: object = { type: 'Lowercase' };
    for (let i = 0; i < 2000; i++) normalizer = { type: 'Sequence', normalizers: [normalizer] };
    expect(() => Tokenizer.fromJson({ model, normalizer })).toThrow(/nests deeper/);
  });

  it('larger than allowed are refused unread', () => {
    expect(() => Tokenizer.fromJson(JSON.stringify({ model }), { maxBytes: 10 })).toThrow(/at most 10/);
  });

  it('with names of object members hold tokens of these names', () => {
    const source =
      '{"model":{"type":"WordLevel","vocab":{"<unk>":0,"__proto__":1,"constructor":2,"toString":3},"unk_token":"<unk>"},"pre_tokenizer":{"type":"WhitespaceSplit"}}';
    const tokenizer = Tokenizer.fromJson(source);
    expect([...tokenizer.encode('__proto__ constructor toString hasOwnProperty valueOf').ids]).toEqual([1, 2, 3, 0, 0]);
    expect(tokenizer.tokenToId('hasOwnProperty')).toBeUndefined();
    const again = Tokenizer.fromJson(JSON.stringify(tokenizer.toJson()));
    expect([...again.encode('__proto__ constructor').ids]).toEqual([1, 2]);
    expect(({} as Record<string, unknown>).type).toBeUndefined();
  });

  it('with any value in any place give an error of this library or a tokenizer', () => {
    const parts = ['normalizer', 'pre_tokenizer', 'post_processor', 'decoder', 'truncation', 'padding', 'added_tokens', 'model'];
    const types = fc.constantFrom(
      'NFC',
      'Replace',
      'Split',
      'Sequence',
      'Metaspace',
      'TemplateProcessing',
      'BertProcessing',
      'Strip',
      'BPE',
      'Unigram',
      'CTC',
    );
    const value = fc.oneof(
      fc.jsonValue(),
      fc.record({ type: types }),
      fc
        .tuple(
          types,
          fc.dictionary(
            fc.constantFrom('pattern', 'content', 'vocab', 'merges', 'single', 'pair', 'sep', 'cls', 'split', 'behavior', 'normalizers'),
            fc.jsonValue(),
          ),
        )
        .map(([type, rest]) => ({ ...rest, type })),
    );
    fc.assert(
      fc.property(fc.constantFrom(...parts), value, (part, v) => {
        try {
          const tokenizer = Tokenizer.fromJson({ model, [part]: v } as object);
          tokenizer.decode(tokenizer.encode('a b').ids);
        } catch (error) {
          expect(error).toBeInstanceOf(TriremeError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('regular expressions', () => {
  it.each([
    ['(a+)+$', 'a'.repeat(5000)],
    ['(a|a)*b', 'a'.repeat(5000)],
    ['(a|aa)+$b', 'a'.repeat(5000)],
    ['(.*)*(.*)*(.*)*x', 'a'.repeat(2000)],
    ['(?:(?:a?){50}){50}b', 'a'.repeat(300)],
    ['(?=(a+)+b)a', 'a'.repeat(3000)],
    ['(?:\\s*)*\\S', ' '.repeat(3000)],
    ['([a-z]+)*[A-Z]', 'abcdefghij'.repeat(300)],
  ])('%s ends soon on what hangs other engines', (pattern, input) => {
    const started = performance.now();
    try {
      Tokenizer.fromJson(split(pattern)).encode(input);
    } catch (error) {
      expect(error).toBeInstanceOf(FormatError);
    }
    expect(performance.now() - started).toBeLessThan(20_000);
  });

  it.each([
    '(',
    '[a',
    'a{2,1}',
    '(?<x',
    '\\1',
    '*a',
    'a{1001}',
    '(?<=a+)b',
    '\\p{Nothing}',
    '(?(1)a|b)',
    '('.repeat(100) + ')'.repeat(100),
    'a'.repeat(20_000),
    '(?:(?:(?:a{100}){100}){100}){100}',
  ])('what is not supported is refused: %s', (pattern) => {
    expect(() => Tokenizer.fromJson(split(pattern))).toThrow(FormatError);
  });

  it('match as the engine does, where both have the syntax', () => {
    const atom = fc.constantFrom(
      'a',
      'b',
      '.',
      '[ab]',
      '[^a]',
      '\\p{L}',
      '(?:ab|a)',
      '(?:a|b|)',
      '(?=b)',
      '(?!b)',
      '\\b',
      '(?<=a)',
      '(?<!a)',
    );
    const piece = fc
      .tuple(atom, fc.constantFrom('', '*', '+', '?', '*?', '+?', '{1,2}', '{2}'))
      .map(([a, q]) => (/^\(\?[=!<]|^\\b/.test(a) ? a : a + q));
    const pattern = fc
      .array(fc.array(piece, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 3 })
      .map((branches) => branches.map((b) => b.join('')).join('|'));
    fc.assert(
      fc.property(pattern, fc.stringMatching(/^[ab c]{0,12}$/), (source, input) => {
        const expected: [number, number][] = [];
        const native = new RegExp(source, 'gu');
        // One match after the other; empty ones are left out here.
        for (let at = 0; at <= input.length; ) {
          native.lastIndex = at;
          const found = native.exec(input);
          if (found === null) break;
          if (found[0] === '') at = found.index + 1;
          else {
            expected.push([found.index, found.index + found[0].length]);
            at = found.index + found[0].length;
          }
        }
        expect(new SafeRegex(source).matches(input)).toEqual(expected);
      }),
      { numRuns: 2000 },
    );
  });
});
