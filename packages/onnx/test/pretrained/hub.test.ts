import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ArgumentError, EnvironmentError, FormatError } from 'trireme';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openHub } from '../../src/pretrained/index.js';

const commit = 'a'.repeat(40);
const small = Buffer.from('{"model_type":"bert"}');
const large = Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 31) & 255));
const sha256 = createHash('sha256').update(large).digest('hex');
const gitId = createHash('sha1').update(`blob ${small.length}\0`).update(small).digest('hex');

let folder = '';
let hub: Server;
let store: Server;
let endpoint = '';
let asked: { method: string; url: string; authorization: string | undefined; range: string | undefined; server: string }[] = [];
/** What the store sends in place of the file. */
let sent: Buffer | null = null;
/** After so many bytes the store hangs up, once. */
let breakAfter = 0;

const note = (request: IncomingMessage, server: string): void => {
  const { method = '', url = '', headers } = request;
  asked.push({ method, url, authorization: headers.authorization, range: headers.range, server });
};
const listen = (server: Server): Promise<string> =>
  new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)));

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trireme-hub-'));
  asked = [];
  sent = null;
  breakAfter = 0;
  store = createServer((request, response) => {
    note(request, 'store');
    const content = sent ?? large;
    const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.writeHead(from > 0 ? 206 : 200, { 'content-length': content.length - from });
    if (breakAfter > 0) {
      response.write(content.subarray(from, breakAfter), () => response.destroy());
      breakAfter = 0;
    } else response.end(content.subarray(from));
  });
  const storeAddress = await listen(store);
  hub = createServer((request, response) => {
    note(request, 'hub');
    const head = { 'x-repo-commit': commit };
    if (request.url?.startsWith('/own/secret')) response.writeHead(401).end();
    else if (request.url?.endsWith('/config.json')) {
      response
        .writeHead(200, { ...head, etag: `"${gitId}"`, 'content-length': small.length })
        .end(request.method === 'HEAD' ? undefined : small);
    } else if (request.url?.endsWith('/model.safetensors')) {
      const location = request.url.startsWith('/own/abroad') ? 'http://example.org/file' : `${storeAddress}/file`;
      const linked = { ...head, 'x-linked-etag': `"${sha256}"`, 'x-linked-size': String(large.length) };
      response.writeHead(302, { ...linked, location }).end();
    } else response.writeHead(404).end();
  });
  endpoint = await listen(hub);
});
afterEach(async () => {
  await new Promise((resolve) => hub.close(resolve));
  await new Promise((resolve) => store.close(resolve));
  await rm(folder, { recursive: true, force: true });
});

describe('files of a hub', () => {
  const options = () => ({ endpoint, cacheDir: folder, token: 'secret-token', offline: false });

  it('are downloaded once, checked, and found again without a network', async () => {
    const model = await openHub('own/model', options());
    const path = await model.file('config.json');
    expect(await readFile(path!)).toEqual(small);
    expect(path).toContain(commit);
    expect(await model.file('config.json')).toBe(path);
    expect(await model.file('missing.json')).toBeNull();
    expect(asked.filter(({ method }) => method === 'GET')).toHaveLength(1);
    const offline = await openHub('own/model', { ...options(), offline: true, endpoint: 'https://unreachable.invalid' });
    expect(await offline.file('config.json')).toBe(path);
    expect(await offline.file('model.safetensors')).toBeNull();
    await expect((await openHub('own/other', { ...options(), offline: true })).file('config.json')).rejects.toThrow(/TRIREME_OFFLINE/);
  });

  it('go to the hub with the token, and to nobody else', async () => {
    const model = await openHub('own/model', options());
    expect(await readFile((await model.file('model.safetensors'))!)).toEqual(large);
    expect(asked.some(({ server }) => server === 'store')).toBe(true);
    for (const { server, authorization } of asked) expect(authorization).toBe(server === 'hub' ? 'Bearer secret-token' : undefined);
  });

  it('go on where a download broke off', async () => {
    breakAfter = 2000;
    const model = await openHub('own/model', options());
    await expect(model.file('model.safetensors')).rejects.toThrow(EnvironmentError);
    expect(await readFile((await model.file('model.safetensors'))!)).toEqual(large);
    expect(asked.at(-1)?.range).toBe('bytes=2000-');
    expect(await readdir(await model.folder())).toEqual(['model.safetensors']);
  });

  it('that are not what the hub says are refused, and tried anew', async () => {
    sent = Buffer.from(large).fill(1);
    const model = await openHub('own/model', options());
    await expect(model.file('model.safetensors')).rejects.toThrow(/checksum/);
    expect(await readdir(await model.folder())).toEqual([]);
    sent = null;
    expect(await readFile((await model.file('model.safetensors'))!)).toEqual(large);
    await expect((await openHub('own/abroad', options())).file('model.safetensors')).rejects.toThrow(/redirected to http:\/\/example.org/);
    await expect((await openHub('own/large', { ...options(), maxBytes: 100 })).file('model.safetensors')).rejects.toThrow(/at most 100/);
  });

  it('that are private say how to get them, without the token', async () => {
    const error = await (await openHub('own/secret', options())).file('config.json').catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(EnvironmentError);
    expect(String(error)).toMatch(/HF_TOKEN/);
    expect(JSON.stringify(error) + String(error)).not.toContain('secret-token');
  });

  it('have plain names, ids and addresses', async () => {
    await expect(openHub('../etc', options())).rejects.toThrow(ArgumentError);
    await expect(openHub('own/model', { ...options(), revision: '../x' })).rejects.toThrow(ArgumentError);
    await expect(openHub('own/model', { ...options(), endpoint: 'http://example.org' })).rejects.toThrow(/https/);
    await expect((await openHub('own/model', options())).file('../config.json')).rejects.toThrow(FormatError);
    expect(await readdir(folder)).toEqual([]);
  });
});
