/** What a reader of a mail sees: its subject and its text, out of headers, MIME parts, encodings and HTML (RFC 2045-2047, 5322). */
import { Buffer } from 'node:buffer';

export interface Mail {
  readonly subject: string;
  readonly body: string;
  /** The text shown was HTML. */
  readonly html: boolean;
}

interface Part {
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** The header fields by lowercase name (the first of a name counts), unfolded, and what comes after the empty line. */
function splitPart(text: string): Part {
  const end = /\n[ \t]*\n/.exec(text);
  const head = end === null ? text : text.slice(0, end.index);
  const headers = new Map<string, string>();
  for (const line of head.replace(/\n[ \t]+/g, ' ').split('\n')) {
    const field = /^([!-9;-~]+)[ \t]*:(.*)$/.exec(line);
    if (field === null) continue;
    const name = field[1].toLowerCase();
    if (!headers.has(name)) headers.set(name, field[2].trim());
  }
  return { headers, body: end === null ? '' : text.slice(end.index + end[0].length) };
}

/** Bytes in a character set; one the platform does not know is read as Windows-1252. */
function decodeBytes(bytes: Uint8Array, charset: string): string {
  try {
    return new TextDecoder(charset).decode(bytes);
  } catch {
    return new TextDecoder('windows-1252').decode(bytes);
  }
}

function quotedPrintable(text: string, charset: string): string {
  const joined = text.replace(/=[ \t]*\n/g, '');
  // Runs of encoded bytes are decoded together: a character may have several.
  return joined.replace(/(?:=[0-9A-Fa-f]{2})+/g, (run) => decodeBytes(Buffer.from(run.replaceAll('=', ''), 'hex'), charset));
}

/** `=?iso-8859-1?Q?caf=E9?=` */
function decodeWords(text: string): string {
  return text
    .replace(/\?=\s+=\?/g, '?==?')
    .replace(/=\?([^?\s]+)\?([bq])\?([^?]*)\?=/gi, (_, charset: string, kind: string, content: string) =>
      kind.toLowerCase() === 'b'
        ? decodeBytes(Buffer.from(content, 'base64'), charset)
        : quotedPrintable(content.replaceAll('_', ' '), charset),
    );
}

function decodeBody({ headers, body }: Part, charset: string): string {
  const encoding = (headers.get('content-transfer-encoding') ?? '').toLowerCase();
  if (encoding.startsWith('quoted-printable')) return quotedPrintable(body, charset);
  // What follows the padding is not part of it: mailing lists append their footer in plain text.
  if (encoding.startsWith('base64')) return decodeBytes(Buffer.from(body.replace(/=[^=]*$/, ''), 'base64'), charset);
  return body;
}

const entities: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  nbsp: ' ',
  copy: '©',
  reg: '®',
  trade: '™',
  pound: '£',
  euro: '€',
  bull: '•',
  middot: '·',
  mdash: '—',
  ndash: '–',
  hellip: '…',
  laquo: '«',
  raquo: '»',
};

function codePoint(code: number): string {
  return code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code < 0xe000) ? String.fromCodePoint(code) : ' ';
}

/** The text of a page: blocks as lines, without markup, scripts, styles and comments. */
export function htmlText(html: string): string {
  return (
    html
      .replace(/<!--[\s\S]*?(?:-->|$)/g, '')
      .replace(/<(script|style|title)\b[\s\S]*?(?:<\/\1\s*>|$)/gi, ' ')
      .replace(/[ \t\r\n]+/g, ' ')
      .replace(/<\/?(?:p|div|br|tr|table|h[1-6]|li|ul|ol|hr|center|blockquote)\b[^>]*>/gi, '\n')
      .replace(/<\/?td\b[^>]*>/gi, ' ')
      .replace(/<a\b[^>]*?\bhref\s*=\s*["']?(https?:\/\/[^\s"'>]+)[^>]*>/gi, ' $1 ')
      .replace(/<img\b[^>]*>/gi, ' [image] ')
      // Other markup stands inside of words too: that is how some hide them from filters.
      .replace(/<[/!?]?[a-z][^>]*>/gi, '')
      .replace(/&#x([0-9a-f]{1,6});?/gi, (_, hex: string) => codePoint(Number.parseInt(hex, 16)))
      .replace(/&#([0-9]{1,7});?/g, (_, digits: string) => codePoint(Number(digits)))
      .replace(/&([a-z]+);/gi, (whole, name: string) => entities[name.toLowerCase()] ?? whole)
  );
}

interface Shown {
  readonly text: string;
  readonly html: boolean;
}

/** The texts of a part and those inside of it, as a mail program shows them. `depth` bounds nesting. */
function textsOf(part: Part, depth = 0): Shown[] {
  const type = (part.headers.get('content-type') ?? 'text/plain').toLowerCase();
  if (type.startsWith('multipart/') && depth < 8) {
    const boundary = /boundary\s*=\s*(?:"([^"]+)"|([^\s;]+))/i.exec(part.headers.get('content-type') ?? '');
    const mark = boundary?.[1] ?? boundary?.[2];
    if (mark === undefined) return [{ text: part.body, html: false }];
    const pieces = `\n${part.body}`.split(`\n--${mark}`).slice(1);
    // `--mark--` ends the last part.
    const inner = pieces
      .filter((piece) => !piece.startsWith('--'))
      .map((piece) => textsOf(splitPart(piece.replace(/^[^\n]*\n/, '')), depth + 1));
    if (!type.startsWith('multipart/alternative')) return inner.flat();
    const full = inner.filter((texts) => texts.some(({ text }) => text.trim() !== ''));
    return full[0] ?? [];
  }
  if (type.startsWith('message/') && depth < 8) return textsOf(splitPart(part.body), depth + 1);
  if (!type.startsWith('text/')) return [];
  const charset = /charset\s*=\s*"?([^\s;"]+)/.exec(type)?.[1] ?? 'windows-1252';
  const text = decodeBody(part, charset);
  // Some senders forget to say that they write HTML.
  const html = type.startsWith('text/html') || /^\s*<(?:!doctype|html|head|body|table|center|font|div|p)\b/i.test(text);
  return [{ text: html ? htmlText(text) : text, html }];
}

/** How list programs end a mail: a rule or `-- `, and soon what list this is or how to leave it. */
const listFooter =
  /\n[ \t]*(?:[_-]{5,}|-- ?)(?=(?:[^\n]*\n){0,2}[^\n]*(?:mailing list|unsubscri|subscription|sourceforge|sf\.net|yahoo! groups|users' group))[\s\S]*$/i;

/** What a filter on the way wrote into the mail. */
const filterReport = /^SPAM: .*$/gm;

/** Reads a mail as it was sent, headers included. */
export function readMail(raw: string): Mail {
  const part = splitPart(raw.replaceAll('\r\n', '\n').replace(/^From [^\n]*\n/, ''));
  const shown = textsOf(part);
  // `[ILUG]` names a list.
  const subject = decodeWords(part.headers.get('subject') ?? '').replace(/\[[^\]]{1,40}\]/g, ' ');
  return {
    subject: subject.replace(/\s+/g, ' ').trim(),
    body: shown.map(({ text }) => text.replace(filterReport, '\n').replace(listFooter, '\n')).join('\n'),
    html: shown.some(({ html }) => html),
  };
}

/** The last two names of a link's host: `example.org`. */
function host(url: string): string {
  const [name] = url.replace(/^\w+:\/+(?:[^/]*@)?/, '').split(/[/?#:]/);
  return name.split('.').slice(-2).join('.');
}

/**
 * The text that is learnt from: the subject and the body, in lower case; no other header. What would give away who collected the mails,
 * and from which list, becomes a mark: addresses, and the yyyy and zzzz that stand for the receivers' names. Of links the end of the
 * host's name is left. Numbers keep their length only.
 */
export function learnable({ subject, body, html }: Mail): string {
  const text = `${subject}\n${body}`
    .normalize('NFKC')
    .toLowerCase()
    .replace(/(?:https?|ftp):\/\/[^\s<>"')\]]+|\bwww\.[^\s<>"')\]]+/g, (url) => ` [url] ${host(url)} `)
    .replace(/[\w.+=-]+@[\w-]+(?:\.[\w-]+)*/g, ' [mail] ')
    .replace(/\b(?:yyyy|zzzz)\w*/g, ' [name] ')
    .replace(/\p{N}/gu, '0')
    // Ruled lines and runs of one sign.
    .replace(/([^\p{L}\p{N}\s])\1{2,}/gu, '$1$1$1 ')
    .replace(/[ \t]+/g, ' ')
    .replace(/\s*\n\s*/g, '\n')
    .trim();
  return `${html ? '[html]' : '[plain]'} ${text}`;
}
