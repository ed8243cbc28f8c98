/**
 * Writes examples/digits/data from the published file of the UCI digits.
 *
 *   node tools/make-digits.mjs <optdigits.tes | digits.csv | digits.csv.gz>
 *
 * The input is the test set of UCI's "Optical Recognition of Handwritten Digits" (optdigits.tes), or the copy of it
 * that scikit-learn carries (sklearn/datasets/data/digits.csv.gz): 1,797 lines of 64 intensities 0..16 and a class.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { gunzipSync, gzipSync } from 'node:zlib';

const [source] = process.argv.slice(2);
if (!source) throw new Error('usage: node tools/make-digits.mjs <optdigits.tes | digits.csv | digits.csv.gz>');

const bytes = readFileSync(source);
const text = (source.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('ascii');
const rows = text
  .trim()
  .split('\n')
  .map((line) => line.split(',').map(Number));
if (rows.length !== 1797) throw new Error(`expected 1797 lines, got ${rows.length}`);

const pixels = new Uint8Array(rows.length * 64);
const labels = new Uint8Array(rows.length);
rows.forEach((row, i) => {
  const valid = row.length === 65 && row.every((value, k) => Number.isInteger(value) && value >= 0 && value <= (k < 64 ? 16 : 9));
  if (!valid) throw new Error(`line ${i + 1}: expected 64 numbers 0..16 and a class 0..9`);
  pixels.set(row.slice(0, 64), i * 64);
  labels[i] = row[64];
});

/** The IDX format: two zero bytes, type code (8 = unsigned byte), rank, big-endian sizes, data. */
function idx(shape, data) {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header[2] = 8;
  header[3] = shape.length;
  shape.forEach((size, axis) => header.writeUInt32BE(size, 4 + 4 * axis));
  return Buffer.concat([header, data]);
}

const folder = new URL('../examples/digits/data/', import.meta.url);
writeFileSync(new URL('digits-images-idx3-ubyte.gz', folder), gzipSync(idx([rows.length, 8, 8], pixels), { level: 9 }));
writeFileSync(new URL('digits-labels-idx1-ubyte.gz', folder), gzipSync(idx([rows.length], labels), { level: 9 }));
