import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ArgumentError, EnvironmentError, FormatError } from '../../src/errors.js';
import { cacheFolder, download, openRandomAccess, provideModule, readAll, writeFileAtomic } from '../../src/io/index.js';
import { optionalModule } from '../../src/io/optional.js';

let folder = '';
let server: Server;
let base = '';
let requests = 0;
const body = new Uint8Array(100_000).map((_, i) => i % 251);
const hash = (kind: string): string => createHash(kind).update(body).digest('hex');

beforeAll(async () => {
  server = createServer((request, response) => {
    requests++;
    if (request.url === '/data.bin') response.end(body);
    else if (request.url === '/slow.bin') response.write(body.subarray(0, 10));
    else if (request.url === '/cut.bin') {
      response.writeHead(200, { 'content-length': '1000' });
      response.write(body.subarray(0, 10), () => response.destroy());
    } else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trireme-download-'));
  requests = 0;
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('download', () => {
  it('checks, keeps and does not ask again', async () => {
    const cacheDir = join(folder, 'deep/cache');
    const options = { cacheDir, sha256: hash('sha256').toUpperCase(), md5: hash('md5') };
    const path = await download(`${base}/data.bin`, options);
    expect(path).toBe(join(cacheDir, 'data.bin'));
    expect(new Uint8Array(await readFile(path))).toEqual(body);
    expect(await download(`${base}/data.bin`, options)).toBe(path);
    expect(requests).toBe(1);
    expect(await readdir(cacheDir)).toEqual(['data.bin']);
  });

  it('replaces what the cache has under another checksum', async () => {
    const path = join(folder, 'data.bin');
    await writeFile(path, 'an older version');
    await download(`${base}/data.bin`, { cacheDir: folder, sha256: hash('sha256') });
    expect((await readFile(path)).length).toBe(body.length);
    await writeFile(path, 'kept as it is');
    await download(`${base}/data.bin`, { cacheDir: folder });
    expect((await readFile(path)).length).toBe(13);
  });

  it('leaves nothing behind when it fails', async () => {
    const cacheDir = folder;
    const wrong = '0'.repeat(64);
    await expect(download(`${base}/data.bin`, { cacheDir, sha256: wrong })).rejects.toThrow(new RegExp(`checksum ${hash('sha256')}`));
    await expect(download(`${base}/data.bin`, { cacheDir, sha256: wrong })).rejects.toThrow(FormatError);
    await expect(download(`${base}/data.bin`, { cacheDir, maxBytes: 99_999 })).rejects.toThrow(/more than 99999 bytes/);
    await expect(download(`${base}/cut.bin`, { cacheDir })).rejects.toThrow(EnvironmentError);
    await expect(download(`${base}/none.bin`, { cacheDir, fix: 'Use the mirror.' })).rejects.toThrow(/status 404.*Use the mirror/);
    await expect(download('http://127.0.0.1:9/x', { cacheDir })).rejects.toThrow(EnvironmentError);
    await expect(download(`${base}/data.bin`, { cacheDir: join(folder, 'a/b'), md5: '0' })).rejects.toThrow(FormatError);
    expect(await readdir(folder)).toEqual([]);
  });

  it('ends with the signal', async () => {
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(download(`${base}/data.bin`, { cacheDir: folder, signal })).rejects.toThrow('enough');
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('too slow')), 50);
    await expect(download(`${base}/slow.bin`, { cacheDir: folder, signal: controller.signal })).rejects.toThrow('too slow');
    expect(await readdir(folder)).toEqual([]);
  });

  it('refuses names that lead elsewhere', async () => {
    for (const url of ['http://x/', 'http://x/%2e%2e%2fevil', 'http://x/.hidden', 'nonsense']) {
      await expect(download(url, { cacheDir: folder })).rejects.toThrow(ArgumentError);
    }
    await expect(download(`${base}/data.bin`, { cacheDir: folder, fileName: '../evil' })).rejects.toThrow(ArgumentError);
    expect(requests).toBe(0);
  });

  it('has a folder of its own', async () => {
    expect(await cacheFolder('x')).toMatch(/trireme[/\\]x$/);
  });
});

describe('optionalModule', () => {
  it('imports what is there, says how to get what is not, and takes what it is given', async () => {
    expect((await optionalModule('hyparquet', 'test')).parquetMetadata).toBeTypeOf('function');
    const missing = optionalModule('no-such-package' as 'hyparquet', 'readThing');
    await expect(missing).rejects.toThrow(/readThing: the optional package no-such-package .*npm install no-such-package/);
    await expect(missing).rejects.toThrow(EnvironmentError);
    const own = { parquetMetadata: () => 1 } as unknown as typeof import('hyparquet');
    provideModule('given' as 'hyparquet', own);
    expect(await optionalModule('given' as 'hyparquet', 'test')).toBe(own);
  });
});

describe('openRandomAccess', () => {
  it('reads parts of files, bytes and blobs alike', async () => {
    const path = join(folder, 'data');
    await writeFile(path, body);
    for (const source of [path, new URL(`file://${path}`), body, new Blob([body])]) {
      const access = await openRandomAccess(source);
      expect(access.byteLength).toBe(body.length);
      expect(await access.read(300, 305)).toEqual(body.slice(300, 305));
      await expect(access.read(99_990, 100_001)).rejects.toThrow(FormatError);
      await expect(access.read(5, 4)).rejects.toThrow(ArgumentError);
      await access.close();
    }
    expect((await readAll(path, 100_000)).length).toBe(100_000);
    await expect(readAll(path, 99_999)).rejects.toThrow(FormatError);
    await expect(openRandomAccess(new URL('http://x/y'))).rejects.toThrow(ArgumentError);
  });
});

describe('writeFileAtomic of pieces as they come', () => {
  it('writes all of them, or none when they fail, and passes their error on', async () => {
    const path = join(folder, 'out');
    await writeFileAtomic(
      path,
      (async function* () {
        yield Uint8Array.of(1, 2);
        yield Uint8Array.of(3);
      })(),
    );
    expect([...(await readFile(path))]).toEqual([1, 2, 3]);
    const failing = writeFileAtomic(
      path,
      (async function* () {
        yield Uint8Array.of(9);
        throw new RangeError('no more');
      })(),
    );
    await expect(failing).rejects.toThrow(RangeError);
    expect([...(await readFile(path))]).toEqual([1, 2, 3]);
    expect(await readdir(folder)).toEqual(['out']);
  });
});
