import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { noGrad } from 'trireme';
import { afterAll, describe, expect, test } from 'vitest';
import { collate, type Example, type Item, loadMails, paddedLength, splitMails, trainTokenizer } from '../src/data.js';
import { htmlText, learnable, readMail } from '../src/mail.js';
import { architectures, makeReader, type ReaderOptions } from '../src/model.js';
import { compile, settings, spamProbabilities, train } from '../src/training.js';

const folder = mkdtempSync(join(tmpdir(), 'trireme-spam-'));
afterAll(() => rmSync(folder, { recursive: true }));

const mime = `From someone@example.org Thu Aug 22 12:36:23 2002
Received: from a
\tby b
Subject: [list] =?iso-8859-1?Q?Caf=E9_?= =?utf-8?B?w6AgbGEgY2FydGU=?=
\tfor you
Content-Type: multipart/mixed;
 boundary="x-1"

no part of it
--x-1
Content-Type: multipart/alternative; boundary=y

--y
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Pay 100=E2=82=AC to a=
ll.
--y
Content-Type: text/html

<p>shown in place of the above</p>
--y--
--x-1
Content-Type: text/html; charset=us-ascii
Content-Transfer-Encoding: base64

${Buffer.from('<style>p {}</style><p>Vi<!-- x -->agra &amp; &#36;<br>now</p>').toString('base64')}
--x-1
Content-Type: image/gif

R0lGOD
--x-1--
`;

describe('a mail', () => {
  test('is read as it is shown', () => {
    const { subject, body, html } = readMail(mime);
    expect(subject).toBe('Café à la carte for you');
    expect(body.trim().split(/\s*\n\s*/)).toEqual(['Pay 100€ to all.', 'Viagra & $', 'now']);
    expect(html).toBe(true);
    expect(readMail('Subject: none\n\nplain\n').html).toBe(false);
    expect(readMail('Subject: none').body).toBe('');
  });
  test('of pages keeps the words alone', () => {
    expect(htmlText('<table><tr><td>a</td><td>b</td></tr></table><script>if (a<b) c()</script>&lt;&eacute;&#x41;&#0;').trim()).toBe(
      'a  b \n\n <&eacute;A',
    );
  });
  test('loses what tells its list and its receivers', () => {
    const raw = [
      'From: "Ann" <ann@list.example.org>',
      'X-Mailer: Writer 6.0',
      'Subject: Hi [ilug]',
      '',
      'Join http://list.example.org:80/x?y now, zzzzuk! me@list.example.org 1234',
      'SPAM: This mail is probably spam.',
      '-- ',
      "Irish Linux Users' Group: a@b.org",
    ].join('\n');
    expect(learnable(readMail(raw))).toBe('[plain] hi\njoin [url] example.org now, [name] ! [mail] 0000');
    expect(learnable(readMail('Subject: a\n\n<p>see <a href="http://x.y.z/">this</a><img src=b></p>'))).toBe(
      '[html] a\nsee [url] y.z this [image]',
    );
  });
});

/** Mails that a word tells apart. */
function invented(count: number): Example[] {
  return Array.from({ length: count }, (_, i) => {
    const spam = i % 3 === 0;
    const words = ['the', 'meeting', 'is', 'on', 'day', `w${i}`, ...Array.from({ length: i % 9 }, (_, k) => `x${k}`)];
    words.splice(i % 5, 0, spam ? 'money' : 'kernel');
    return { name: `mail/${i}`, subject: '', text: `[plain] ${words.join(' ')}`, spam };
  });
}
const letters = (i: number): string => String.fromCharCode(97 + (i % 26), 97 + Math.floor(i / 26));

describe('the data', () => {
  test('are the mails of the corpus', () => {
    const mails = loadMails(50);
    expect(mails).toHaveLength(121);
    expect(mails.filter(({ spam }) => spam)).toHaveLength(38);
    for (const { text } of mails) expect(text).toMatch(/^\[(html|plain)\]/);
  });
  test('are split with their copies, the same each time', () => {
    const mails = Array.from(
      { length: 300 },
      (_, i): Example => ({ name: `${i}`, subject: '', text: `t ${letters(i % 100)} ${i}`, spam: i % 100 < 30 }),
    );
    const parts = splitMails(mails);
    const { train: learnt, validation, test: asked } = parts;
    expect([learnt, validation, asked].map((part) => part.length)).toEqual([216, 24, 60]);
    expect(asked.filter(({ spam }) => spam)).toHaveLength(18);
    const where = new Map<string, number>();
    for (const [k, part] of [learnt, validation, asked].entries()) {
      for (const { text } of part) {
        const letter = text.split(' ')[1];
        expect(where.get(letter) ?? k).toBe(k);
        where.set(letter, k);
      }
    }
    expect(splitMails(mails)).toEqual(parts);
  });
  test('are padded to few lengths', () => {
    expect([1, 48, 49, 300, 384].map((n) => paddedLength(n, 384))).toEqual([48, 48, 96, 384, 384]);
  });
});

describe.each(architectures)('the %s', (architecture) => {
  const options: ReaderOptions = { architecture, vocabSize: 60, maxTokens: 96, dim: 8, layers: 1, dropout: 0.1, tokenDropout: 0.1 };
  const score = (net: ReturnType<typeof makeReader>, items: readonly Item[]): number[] => {
    const [[tokens, lengths], spam] = collate(items, 96);
    const scores = noGrad(() => net.call(tokens, lengths));
    const values = Array.from(scores.dataSync(), Number);
    for (const t of [tokens, lengths, spam, scores]) t.dispose();
    return values;
  };
  test('does not see padding', () => {
    const net = makeReader(options).eval();
    const item = (length: number): Item => ({ ids: Int32Array.from({ length }, (_, i) => 1 + ((7 * i) % 50)), spam: false });
    const [alone] = score(net, [item(20)]);
    const [beside] = score(net, [item(20), item(90)]);
    expect(beside).toBeCloseTo(alone, 5);
    expect(score(net, [item(21)])[0]).not.toBeCloseTo(alone, 6);
    net.dispose();
  });
  test('learns to tell mails apart', async () => {
    const mails = invented(192);
    const tokenizer = await trainTokenizer(mails, 150);
    const items = mails.map(({ text, spam }): Item => ({ ids: Int32Array.from(tokenizer.encode(text).ids), spam }));
    const reader = { ...options, vocabSize: tokenizer.vocabSize, dim: 16 };
    const training = { ...settings[architecture].training, epochs: 12, lr: 0.03, seed: 1 };
    const model = compile(reader, training);
    const { epochs } = await train(model, items.slice(0, 128), items.slice(128), reader, training);
    expect(epochs[epochs.length - 1].metrics.valF1).toBeGreaterThan(0.95);
    const probabilities = await spamProbabilities(model, items.slice(128), 96);
    const wrong = probabilities.filter((p, i) => p > 0.5 !== items[128 + i].spam);
    expect(wrong.length).toBeLessThanOrEqual(2);
    model.dispose();
    model.net.dispose();
  });
});

describe('the command', () => {
  const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
  const run = (...args: string[]) => spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', timeout: 100_000 });
  test('trains, tests, and reads mails', () => {
    const { status, stdout, stderr } = run(
      '--model',
      'lstm',
      '--every',
      '40',
      '--epochs',
      '1',
      '--vocab',
      '600',
      '--tokens',
      '48',
      '--out',
      folder,
      '--json',
    );
    expect(status, stderr).toBe(0);
    expect(stdout.trimEnd().split('\n')).toHaveLength(1);
    const { lstm } = JSON.parse(stdout) as { lstm: { f1: number; matrix: number[][] } };
    expect(lstm.matrix.flat().reduce((a, b) => a + b)).toBeGreaterThan(25);
    expect(readFileSync(join(folder, 'lstm', 'report.html'), 'utf8')).toContain('Wrong:');
    const mail = join(folder, 'a.eml');
    writeFileSync(mail, mime);
    const predicted = run('predict', join(folder, 'lstm'), mail, '--json');
    expect(predicted.status, predicted.stderr).toBe(0);
    const [{ spam }] = JSON.parse(predicted.stdout) as { spam: number }[];
    expect(spam).toBeGreaterThan(0);
    expect(spam).toBeLessThan(1);
  }, 120_000);
  test('says what is wrong', () => {
    const cases: [string[], RegExp][] = [
      [['--epochs', 'x'], /--epochs is x/],
      [['--model', 'gru'], /lstm, transformer or both/],
      [['predict', folder], /no mail/],
    ];
    for (const [args, message] of cases) {
      const { status, stderr } = run(...args);
      expect(status).toBe(1);
      expect(stderr).toMatch(message);
      expect(stderr).not.toMatch(/\n\s+at /);
    }
  }, 60_000);
});
