// How much of drawn text is read: node examples/ocr/test/measure.mjs [pages] (after a build). Sentences of made-up prose in several
// fonts, sizes, colours and angles; prints the share of characters that are right, by edit distance.
import { Buffer } from 'node:buffer';
import process from 'node:process';
import sharp from 'sharp';
import { ItemRandom } from 'trireme/data';
import { decodeImage } from 'trireme/data/vision';
import { TextReader } from '../dist/reader.js';

const words =
  'the old harbour clock struck seven when Maria opened her letter and read about 42 crates of oranges lost near Genoa ' +
  'Invoice No. 1,284 was paid on 12 May by Jonas Weber; please send copies (two each) to the office at 9:30 or 16:45 ' +
  'winds from the north-west grew stronger, while a small boat crossed Lake Garda with 3 sailors & one dog';
const list = words.split(' ');
const escaped = (/** @type {string} */ text) => text.replace('&', '&amp;');

/** @param {string} a @param {string} b */
function edits(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length];
}

const pages = Number(process.argv[2] ?? 12);
const reader = await TextReader.load();
const totals = new Map();
let milliseconds = 0;
for (let page = 0; page < pages; page++) {
  const random = new ItemRandom(page);
  const angle = page % 3 === 0 ? 0 : random.uniform(-8, 8);
  const family = ['DejaVu Sans', 'DejaVu Serif', 'DejaVu Sans Mono'][page % 3];
  const texts = Array.from({ length: 8 }, () => {
    const start = random.below(list.length - 5);
    return list.slice(start, start + 4 + random.below(2)).join(' ');
  });
  const dark = page % 4 === 3;
  const inner = texts
    .map((text, i) => `<text x="60" y="${100 + i * 62}" font-size="${14 + random.below(12)}">${escaped(text)}</text>`)
    .join('');
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="800" height="640"><rect width="800" height="640" fill="${dark ? '#203040' : '#f4f1e8'}"/>` +
    `<g font-family="${family}" fill="${dark ? '#ffffff' : '#202020'}" transform="rotate(${angle} 400 320)">${inner}</g></svg>`;
  const picture = await decodeImage(await sharp(Buffer.from(svg)).jpeg({ quality: 80 }).toBuffer());
  const before = performance.now();
  const found = (await reader.read(picture)).map((line) => line.text);
  milliseconds = Math.min(milliseconds || Infinity, performance.now() - before);
  texts.forEach((text, i) => {
    const best = found.reduce((least, line) => Math.min(least, edits(text, line)), text.length);
    const key = angle === 0 ? 'upright' : 'turned';
    const total = totals.get(key) ?? { lines: 0, right: 0, characters: 0, wrong: 0 };
    totals.set(key, {
      lines: total.lines + 1,
      right: total.right + (best === 0 ? 1 : 0),
      characters: total.characters + text.length,
      wrong: total.wrong + best,
    });
    if (best > 0 && process.argv.includes('--show')) console.log(`${text}  |  ${found[i]}`);
  });
}
for (const [key, { lines, right, characters, wrong }] of totals) {
  console.log(
    `${key}: ${right} of ${lines} lines without a mistake, ${(100 * (1 - wrong / characters)).toFixed(2)} % of ${characters} characters right`,
  );
}
console.log(`fastest page ${milliseconds.toFixed(0)} ms`);
reader.dispose();
