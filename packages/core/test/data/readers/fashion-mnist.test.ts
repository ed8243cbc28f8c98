import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadFashionMnist } from '../../../src/data/index.js';
import { ArgumentError, EnvironmentError, FormatError } from '../../../src/errors.js';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trireme-fashion-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** An IDX file of bytes. */
function idx(shape: readonly number[], value: (i: number) => number): Uint8Array {
  const size = shape.reduce((n, extent) => n * extent, 1);
  const header = new DataView(new ArrayBuffer(4 + 4 * shape.length));
  header.setUint16(2, 0x0800 + shape.length);
  shape.forEach((extent, axis) => header.setUint32(4 + 4 * axis, extent));
  return Uint8Array.from([...new Uint8Array(header.buffer), ...Uint8Array.from({ length: size }, (_, i) => value(i))]);
}

async function writeFour(labels = (i: number): number => i % 10): Promise<void> {
  await writeFile(join(folder, 'train-images-idx3-ubyte.gz'), gzipSync(idx([12, 28, 28], (i) => i % 256)));
  await writeFile(join(folder, 'train-labels-idx1-ubyte'), idx([12], labels));
  await writeFile(
    join(folder, 't10k-images-idx3-ubyte'),
    idx([2, 28, 28], () => 7),
  );
  await writeFile(join(folder, 't10k-labels-idx1-ubyte.gz'), gzipSync(idx([2], labels)));
}

describe('Fashion-MNIST', () => {
  it('is read from a folder of IDX files, gzipped or not', async () => {
    await writeFour();
    const { train, test, classNames } = await loadFashionMnist({ folder });
    expect([train.length, test.length, classNames.length]).toEqual([12, 2, 10]);
    const { image, label } = train.getBatch(Int32Array.of(11, 1));
    expect(image.shape).toEqual([2, 1, 28, 28]);
    expect([image.data[0], image.data[784], label.data[0], label.data[1]]).toEqual([(11 * 784) % 256, 784 % 256, 1, 1]);
  });
  it('with a file that is missing, of other shapes or classes, is an error that names it', async () => {
    await expect(loadFashionMnist({ folder })).rejects.toThrow(ArgumentError);
    await writeFour((i) => i);
    await expect(loadFashionMnist({ folder })).rejects.toThrow(/label 10 of .*train-labels.* is 10/);
    await writeFour();
    await writeFile(
      join(folder, 'train-labels-idx1-ubyte'),
      idx([11], () => 0),
    );
    await expect(loadFashionMnist({ folder })).rejects.toThrow(FormatError);
  });
  it('that cannot be had, or is another file, says what to do and leaves no file', async () => {
    const cacheDir = join(folder, 'cache');
    await expect(loadFashionMnist({ url: 'http://127.0.0.1:9', cacheDir })).rejects.toThrow(EnvironmentError);
    await expect(loadFashionMnist({ url: 'http://127.0.0.1:9', cacheDir })).rejects.toThrow(/--data-dir/);
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(String(request.url));
      response.end('no pictures');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mirror/`;
      await expect(loadFashionMnist({ url, cacheDir })).rejects.toThrow(/checksum/);
    } finally {
      server.closeAllConnections();
      server.close();
    }
    expect(asked).toContain('/mirror/train-images-idx3-ubyte.gz');
    expect(existsSync(cacheDir) ? await readdir(cacheDir) : []).toEqual([]);
  });
});
