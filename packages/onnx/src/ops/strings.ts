/** Operators on text. All of it lies on the host. */
import { TensorValue } from '../engine/value.js';
import { tensorAt } from './arguments.js';
import type { OpContext, OpTable } from './definition.js';
import { hostStringsJoined } from './host.js';

function stringsOf(x: TensorValue, ctx: OpContext): readonly string[] {
  return x.type === 'string' ? (x.host as readonly string[]) : ctx.fail(`an input of ${x.type}`, 'strings');
}

/** At most `limit` cuts; without a delimiter at runs of white space, of which those at both ends do not count. */
function splitText(text: string, delimiter: string, limit: number): string[] {
  const parts: string[] = [];
  let rest = delimiter === '' ? text.trimStart() : text;
  while (parts.length < limit) {
    if (delimiter === '') {
      const gap = /\s+/u.exec(rest);
      if (gap === null) break;
      parts.push(rest.slice(0, gap.index));
      rest = rest.slice(gap.index + gap[0].length);
    } else {
      const at = rest.indexOf(delimiter);
      if (at < 0) break;
      parts.push(rest.slice(0, at));
      rest = rest.slice(at + delimiter.length);
    }
  }
  const last = delimiter === '' ? rest.trimEnd() : rest;
  return delimiter === '' && last === '' ? parts : [...parts, last];
}

/**
 * A pattern in the syntax of RE2 as a regular expression that must match all of a text. What both syntaxes share is passed on; named groups,
 * leading flags and the anchors of a whole text are translated.
 */
function fullMatch(pattern: string, ctx: OpContext): RegExp {
  let body = pattern;
  let flags = 'u';
  const leading = /^\(\?([ims]+)\)/.exec(body);
  if (leading !== null) {
    flags += [...new Set(leading[1])].join('');
    body = body.slice(leading[0].length);
  }
  body = body
    .replace(/\\A/g, '^')
    .replace(/\\z/g, '$')
    .replace(/\(\?P</g, '(?<');
  try {
    return new RegExp(`^(?:${body})$`, flags);
  } catch {
    try {
      // Outside of Unicode mode escapes of ordinary characters are allowed, as in RE2.
      return new RegExp(`^(?:${body})$`, flags.replace('u', ''));
    } catch {
      return ctx.fail(`pattern '${pattern}'`, 'a regular expression');
    }
  }
}

const changes: Readonly<Record<string, (text: string, locale: string | undefined) => string>> = {
  NONE: (text) => text,
  LOWER: (text, locale) => text.toLocaleLowerCase(locale),
  UPPER: (text, locale) => text.toLocaleUpperCase(locale),
};

export const stringOps = {
  StringConcat: (inputs, ctx) => {
    const [a, b] = [tensorAt(inputs, 0, ctx), tensorAt(inputs, 1, ctx)];
    stringsOf(a, ctx);
    stringsOf(b, ctx);
    return hostStringsJoined(a, b) ?? ctx.fail('the shapes do not broadcast');
  },
  StringSplit: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const [delimiter, limit] = [ctx.attrs.string('delimiter', ''), ctx.attrs.optionalInt('maxsplit')];
    const parts = stringsOf(x, ctx).map((text) => splitText(text, delimiter, limit ?? Infinity));
    const width = Math.max(0, ...parts.map((list) => list.length));
    const padded = parts.flatMap((list) => [...list, ...new Array<string>(width - list.length).fill('')]);
    const lengths = BigInt64Array.from(parts, (list) => BigInt(list.length));
    return [TensorValue.ofHost(padded, 'string', [...x.shape, width]), TensorValue.ofHost(lengths, 'int64', x.shape)];
  },
  /** Patterns come from the model: one that backtracks without end takes as long here, so only run models you trust. */
  RegexFullMatch: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const pattern = fullMatch(ctx.attrs.string('pattern'), ctx);
    return TensorValue.ofHost(
      Uint8Array.from(stringsOf(x, ctx), (text) => Number(pattern.test(text))),
      'bool',
      x.shape,
    );
  },
  StringNormalizer: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const isSensitive = ctx.attrs.int('is_case_sensitive', 0) !== 0;
    const action = ctx.attrs.string('case_change_action', 'NONE');
    const change = changes[action] ?? ctx.fail(`case_change_action '${action}'`, 'NONE, LOWER or UPPER');
    const locale = ctx.attrs.string('locale', '').replace(/\..*$/, '').replace('_', '-') || undefined;
    const plain = (text: string): string => (isSensitive ? text : text.toLocaleLowerCase(locale));
    const stopwords = new Set(ctx.attrs.strings('stopwords', []).map(plain));
    const kept = stringsOf(x, ctx).filter((text) => !stopwords.has(plain(text)));
    // Nothing left is one empty text.
    const result = kept.length === 0 ? [''] : kept.map((text) => change(text, locale));
    return TensorValue.ofHost(result, 'string', x.shape.length === 2 ? [1, result.length] : [result.length]);
  },
} satisfies OpTable;
