/** The decoders of tokenizer.json: from tokens back to text. */
import { coverText } from './aligned.js';
import { JsonObject, maxNesting, maxParts, refuse } from './json.js';
import { type PatternSpec, readPattern } from './normalizers.js';
import { readMetaspace } from './pre-tokenizers.js';
import { characterBytes, utf8 } from './unicode.js';

/** The texts of the tokens, changed; joined they are the text. */
export type Decoder = (tokens: readonly string[]) => string[];

export type DecoderSpec =
  | { readonly type: 'ByteLevel' | 'ByteFallback' | 'Fuse' }
  | { readonly type: 'WordPiece'; readonly prefix?: string; readonly cleanup?: boolean }
  | { readonly type: 'Metaspace'; readonly replacement?: string; readonly prepend_scheme?: 'always' | 'first' | 'never' }
  | { readonly type: 'BPEDecoder'; readonly suffix?: string }
  | { readonly type: 'Strip'; readonly content: string; readonly start: number; readonly stop: number }
  | { readonly type: 'Replace'; readonly pattern: PatternSpec; readonly content: string }
  | { readonly type: 'CTC'; readonly pad_token?: string; readonly word_delimiter_token?: string; readonly cleanup?: boolean }
  | { readonly type: 'Sequence'; readonly decoders: readonly DecoderSpec[] };

const byteLevel: Decoder = (tokens) => {
  const bytes: number[] = [];
  for (const token of tokens) {
    const own: number[] = [];
    let known = true;
    for (const character of token) {
      const byte = characterBytes.get(character);
      if (byte === undefined) known = false;
      else own.push(byte);
    }
    // An added token with other characters stands for itself.
    for (const byte of known ? own : utf8(token)) bytes.push(byte);
  }
  return [new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(bytes))];
};

const byteToken = /^<0x([0-9A-Fa-f]{2})>$/;

/** Runs of tokens `<0xE2>` become their characters; a run that is no UTF-8 becomes a U+FFFD for each byte. */
const byteFallback: Decoder = (tokens) => {
  const out: string[] = [];
  let bytes: number[] = [];
  const flush = (): void => {
    if (bytes.length === 0) return;
    try {
      out.push(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes)));
    } catch {
      out.push(...bytes.map(() => '\ufffd'));
    }
    bytes = [];
  };
  for (const token of tokens) {
    const found = byteToken.exec(token);
    if (found) bytes.push(Number.parseInt(found[1], 16));
    else {
      flush();
      out.push(token);
    }
  }
  flush();
  return out;
};

const cleanups: readonly (readonly [string, string])[] = [
  [' .', '.'],
  [' ?', '?'],
  [' !', '!'],
  [' ,', ','],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [' do not', " don't"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
];

function cleanUp(text: string): string {
  return cleanups.reduce((current, [from, to]) => current.replaceAll(from, to), text);
}

function wordPiece(prefix: string, cleanup: boolean): Decoder {
  return (tokens) =>
    tokens.map((token, i) => {
      let text = token;
      if (i > 0) text = prefix !== '' && token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
      return cleanup ? cleanUp(text) : text;
    });
}

function strip(content: string, start: number, stop: number): Decoder {
  return (tokens) =>
    tokens.map((token) => {
      const characters = [...token];
      let from = 0;
      let to = characters.length;
      while (from < start && from < to && characters[from] === content) from++;
      for (let n = 0; n < stop && to > from && characters[to - 1] === content; n++) to--;
      return characters.slice(from, to).join('');
    });
}

function ctc(pad: string, delimiter: string, cleanup: boolean): Decoder {
  return (tokens) =>
    tokens
      .filter((token, i) => i === 0 || token !== tokens[i - 1])
      .map((token) => {
        const text = pad === '' ? token : token.replaceAll(pad, '');
        if (!cleanup) return text;
        return delimiter === '' ? cleanUp(text) : cleanUp(text).replaceAll(delimiter, ' ');
      })
      .filter((text) => text !== '');
}

/** @throws FormatError for unknown types and values of the wrong kind. */
export function readDecoder(value: unknown, path = 'decoder', depth = 0): Decoder {
  const spec = new JsonObject(value, path);
  if (depth > maxNesting) throw refuse(path, `nests deeper than ${maxNesting}`);
  const kind = spec.string('type') as DecoderSpec['type'];
  switch (kind) {
    case 'ByteLevel':
      return byteLevel;
    case 'ByteFallback':
      return byteFallback;
    case 'Fuse':
      return (tokens) => [tokens.join('')];
    case 'WordPiece':
      return wordPiece(spec.string('prefix', '##'), spec.boolean('cleanup', true));
    case 'Metaspace': {
      const { replacement, scheme } = readMetaspace(spec);
      return (tokens) => tokens.map((token, i) => token.replaceAll(replacement, i === 0 && scheme !== 'never' ? '' : ' '));
    }
    case 'BPEDecoder': {
      const suffix = spec.string('suffix', '</w>');
      return (tokens) => tokens.map((token, i) => (suffix === '' ? token : token.replaceAll(suffix, i === tokens.length - 1 ? '' : ' ')));
    }
    case 'Strip':
      return strip(spec.string('content'), spec.integer('start', 0, 1 << 20, 0), spec.integer('stop', 0, 1 << 20, 0));
    case 'Replace': {
      const pattern = readPattern(spec, 'pattern');
      const content = spec.string('content');
      return (tokens) =>
        tokens.map((token) =>
          coverText(token.length, pattern.find(token))
            .map(({ from, to, matched }) => (matched ? content : token.slice(from, to)))
            .join(''),
        );
    }
    case 'CTC':
      return ctc(spec.string('pad_token', '<pad>'), spec.string('word_delimiter_token', '|'), spec.boolean('cleanup', true));
    case 'Sequence': {
      const parts = spec.list('decoders', maxParts).map((part, i) => readDecoder(part, `${path}.decoders[${i}]`, depth + 1));
      return (tokens) => parts.reduce<string[]>((current, part) => part(current), [...tokens]);
    }
    default: {
      kind satisfies never;
      throw refuse(path, `has the type ${JSON.stringify(kind)}`, 'a decoder that this library knows');
    }
  }
}
