import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ArgumentError, EnvironmentError, FormatError } from '../../src/errors.js';
import { downloadFolder, zipChunks } from '../../src/io/index.js';

let cacheDir = '';
let server: Server;
let base = '';
let requests = 0;
const archives = new Map<string, Uint8Array>();
const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const zip = async (files: Readonly<Record<string, string>>): Promise<Uint8Array> =>
  Buffer.concat(
    await zipChunks(
      Object.entries(files).map(([name, content]) => [name, text(content)] as const),
      { compress: true },
    ),
  );

// What `git write-tree --prefix=top/` says of these files.
const files = { 'repo-1/top/sub/a.txt': 'hello\n', 'repo-1/top/sub/empty': '', 'repo-1/top/sub.b/x': 'dots', 'repo-1/top/é.txt': 'caf' };
const gitTree = '5d291566502b57a8c4c91a00fe0bff4fe6a3eb21';

beforeAll(async () => {
  archives.set('/data.zip', await zip({ ...files, 'repo-1/README': 'not wanted' }));
  archives.set('/changed.zip', await zip({ ...files, 'repo-1/top/sub/a.txt': 'hallo\n' }));
  archives.set('/hostile.zip', await zip({ 'top/../../outside': 'x' }));
  archives.set('/noise.zip', text('no archive'));
  server = createServer((request, response) => {
    requests++;
    const body = archives.get(request.url ?? '');
    if (body) response.end(body);
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), 'trireme-folder-'));
  requests = 0;
});
afterEach(async () => {
  await rm(cacheDir, { recursive: true, force: true });
});

describe('a folder from an archive', () => {
  it('is unpacked, checked by its tree, and not asked for again', async () => {
    const options = { name: 'data', inside: 'repo-1/top', gitTree, cacheDir };
    const folder = await downloadFolder(`${base}/data.zip`, options);
    expect(folder).toBe(join(cacheDir, 'data'));
    expect((await readdir(folder, { recursive: true })).sort()).toEqual(
      ['sub', 'sub.b', 'sub.b/x', 'sub/a.txt', 'sub/empty', 'é.txt'].sort(),
    );
    expect(await readFile(join(folder, 'sub/a.txt'), 'utf8')).toBe('hello\n');
    expect(await downloadFolder(`${base}/data.zip`, options)).toBe(folder);
    expect(requests).toBe(1);
    expect(await readdir(cacheDir)).toEqual(['data']);
  });
  it('can be the whole archive', async () => {
    const folder = await downloadFolder(`${base}/data.zip`, { name: 'all', cacheDir });
    expect(await readFile(join(folder, 'repo-1/README'), 'utf8')).toBe('not wanted');
  });
  it('that is another, is empty, leads out of itself or is no archive leaves nothing behind', async () => {
    const wrong = [
      [() => downloadFolder(`${base}/changed.zip`, { name: 'data', inside: 'repo-1/top', gitTree, cacheDir }), /has the tree/],
      [() => downloadFolder(`${base}/data.zip`, { name: 'empty', inside: 'repo-2', cacheDir }), /at least one file/],
      [() => downloadFolder(`${base}/hostile.zip`, { name: 'hostile', cacheDir }), /plain relative names/],
      [() => downloadFolder(`${base}/noise.zip`, { name: 'noise', cacheDir }), /zip/],
    ] as const;
    for (const [attempt, message] of wrong) {
      const error: unknown = await attempt().catch((cause: unknown) => cause);
      expect(error).toBeInstanceOf(FormatError);
      expect(String(error)).toMatch(message);
    }
    expect(await readdir(cacheDir)).toEqual([]);
    expect(existsSync(join(cacheDir, '../outside'))).toBe(false);
  });
  it('that cannot be had, or has no plain name, is an error', async () => {
    await expect(downloadFolder(`${base}/none.zip`, { name: 'none', cacheDir, fix: 'Copy it.' })).rejects.toThrow(EnvironmentError);
    await expect(downloadFolder(`${base}/none.zip`, { name: 'none', cacheDir, fix: 'Copy it.' })).rejects.toThrow(/Copy it/);
    await expect(downloadFolder(`${base}/data.zip`, { name: '../data', cacheDir })).rejects.toThrow(ArgumentError);
    await expect(
      downloadFolder(`${base}/data.zip`, { name: 'data', cacheDir, signal: AbortSignal.abort(new Error('enough')) }),
    ).rejects.toThrow('enough');
  });
});
