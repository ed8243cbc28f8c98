// Writes the pictures of the tests: node examples/ocr/test/make-pictures.mjs. They are kept beside it, so that the tests need no fonts.
import { Buffer } from 'node:buffer';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';

const picture = (width, height, background, inner) =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><rect width="${width}" height="${height}" fill="${background}"/>${inner}</svg>`;
const text = (x, y, size, line, fill = 'black') =>
  `<text x="${x}" y="${y}" font-family="DejaVu Sans, sans-serif" font-size="${size}" fill="${fill}">${line}</text>`;
const turned = (x, y, angle, inner) => `<g transform="translate(${x} ${y}) rotate(${angle})">${inner}</g>`;
const lines = (x, y, step, size, list) => list.map((line, i) => text(x, y + i * step, size, line)).join('');

const pictures = {
  sizes: picture(
    640,
    400,
    'white',
    text(30, 60, 44, 'Invoice 2048-17') +
      text(30, 120, 28, 'The quick brown fox jumps') +
      text(30, 165, 22, 'over the lazy dog, 12 times.') +
      text(30, 205, 16, 'Total: 1,284.50 EUR (incl. VAT 19 %)') +
      text(30, 250, 14, 'small print: valid until 2031-05-31') +
      text(330, 340, 64, 'BIG!', '#a03020'),
  ),
  turned: picture(
    640,
    480,
    '#e8e4d8',
    turned(80, 150, -14, text(0, 0, 36, 'Uphill we go')) +
      turned(60, 240, 22, text(0, 0, 30, 'and downhill again')) +
      turned(590, 250, 180, text(0, 0, 34, 'upside down')) +
      turned(590, 60, 90, text(0, 0, 24, 'sideways')),
  ),
  columns: picture(
    800,
    360,
    'white',
    text(40, 60, 40, 'Two columns of text') +
      lines(40, 130, 48, 24, ['Columns are read one', 'after the other, so that', 'a sentence which goes on', 'in the next line stays']) +
      lines(430, 130, 48, 24, ['in one piece. The right', 'column comes second,', 'even where its lines', 'stand beside others.']),
  ),
};
for (const [name, svg] of Object.entries(pictures)) {
  await sharp(Buffer.from(svg))
    .png({ palette: true, colours: 16, dither: 0 })
    .toFile(fileURLToPath(new URL(`pictures/${name}.png`, import.meta.url)));
}
