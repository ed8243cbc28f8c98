/** Files of a hub of models (Hugging Face's), checked and kept in a cache. Node only. */
import { ArgumentError, EnvironmentError, FormatError } from 'trireme';
import { cacheFolder } from 'trireme/io';

const op = 'hub';
const maxRedirects = 5;

export interface HubOptions {
  /** Branch, tag or commit; `main` unless told otherwise. */
  readonly revision?: string;
  /** Folder to keep files in; `hub` in the cache folder unless told otherwise. */
  readonly cacheDir?: string;
  /** Ask the network for nothing; that of TRIREME_OFFLINE=1 unless told otherwise. */
  readonly offline?: boolean;
  /** For private models; HF_TOKEN unless told otherwise. It is sent to the hub alone, and is in no message. */
  readonly token?: string | null;
  /** Address of the hub; HF_ENDPOINT, or https://huggingface.co, unless told otherwise. */
  readonly endpoint?: string;
  /** Largest file, in bytes; 64 GB unless told otherwise. */
  readonly maxBytes?: number;
  readonly signal?: AbortSignal | undefined;
}

interface Settings {
  readonly id: string;
  readonly revision: string;
  readonly folder: string;
  readonly offline: boolean;
  readonly token: string | null;
  readonly endpoint: URL;
  readonly maxBytes: number;
  readonly signal: AbortSignal | undefined;
}

const env = (name: string): string | undefined => (typeof process === 'object' ? process.env[name] || undefined : undefined);

/** Whether a text is the id of a model: `name` or `owner/name`. */
export function isHubId(text: string): boolean {
  return text.length <= 200 && /^[\w-][\w.-]*(?:\/[\w-][\w.-]*)?$/.test(text) && !text.includes('..');
}

/** On this machine: mirrors there need no encryption. */
const isLocal = ({ protocol, hostname }: URL): boolean => protocol === 'http:' && ['localhost', '127.0.0.1', '[::1]'].includes(hostname);

function endpointOf(given: string | undefined): URL {
  const text = given ?? env('HF_ENDPOINT') ?? 'https://huggingface.co';
  try {
    const url = new URL(text);
    if (url.protocol === 'https:' || isLocal(url)) return url;
  } catch {
    // Said below.
  }
  throw new ArgumentError(`the hub's address is ${text}`, { op, received: text, expected: 'an https address' });
}

async function settingsOf(id: string, options: HubOptions): Promise<Settings> {
  const { revision = 'main', maxBytes = 64e9, signal } = options;
  if (!isHubId(id))
    throw new ArgumentError(`the model is ${JSON.stringify(id)}`, { op, received: id, expected: 'owner/name, or the path of a folder' });
  if (!/^[\w-][\w./-]*$/.test(revision) || revision.includes('..')) {
    throw new ArgumentError(`the revision is ${JSON.stringify(revision)}`, { op, received: revision, expected: 'a branch, tag or commit' });
  }
  return {
    id,
    revision,
    folder: `${options.cacheDir ?? (await cacheFolder('hub'))}/${id.replace('/', '--')}`,
    offline: options.offline ?? env('TRIREME_OFFLINE') === '1',
    token: options.token === undefined ? (env('HF_TOKEN') ?? null) : options.token,
    endpoint: endpointOf(options.endpoint),
    maxBytes,
    signal,
  };
}

/** Node's modules, by a name that no bundler follows. */
async function node<T>(name: string): Promise<T> {
  return (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as T;
}
type Fs = typeof import('node:fs/promises');
type Path = typeof import('node:path');
type Crypto = typeof import('node:crypto');

function failed(settings: Settings, file: string, reason: string, cause?: unknown): EnvironmentError {
  const denied = /^status 40[13]/.test(reason);
  return new EnvironmentError(`could not get ${file} of ${settings.id} (${reason})`, {
    op,
    fix: denied
      ? 'The model is private or its terms must be accepted: set HF_TOKEN to a token that may read it.'
      : 'Check the name of the model and the network; or give the path of a folder that has its files.',
    cause,
  });
}

/** Asks, and follows redirections. The token goes to the hub alone; what a redirection leads to is another host. */
async function ask(
  settings: Settings,
  address: URL,
  headers: Record<string, string>,
  method: 'GET' | 'HEAD',
  follow: boolean,
): Promise<Response> {
  let url = address;
  for (let hop = 0; ; hop++) {
    const own: Record<string, string> =
      url.origin === settings.endpoint.origin && settings.token !== null ? { authorization: `Bearer ${settings.token}` } : {};
    const response = await fetch(url, { method, headers: { ...headers, ...own }, redirect: 'manual', signal: settings.signal ?? null });
    const target = response.headers.get('location');
    if (response.status < 300 || response.status >= 400 || target === null) return response;
    const next = new URL(target, url);
    // A move within the hub (a renamed model) is followed always, since its answer has the facts.
    if (!follow && next.origin !== url.origin) return response;
    await response.body?.cancel();
    if (hop >= maxRedirects || !(next.protocol === 'https:' || (isLocal(settings.endpoint) && isLocal(next))))
      throw new Error(`redirected to ${next.origin}`);
    url = next;
  }
}

/** What the hub says of a file. */
interface Facts {
  readonly commit: string;
  /** SHA-256 of large files, git's id of the others. */
  readonly etag: string;
  readonly size: number | null;
}

/** null when the model has no such file. */
async function factsOf(settings: Settings, file: string): Promise<Facts | null> {
  let response: Response;
  try {
    response = await ask(settings, addressOf(settings, file), { 'accept-encoding': 'identity' }, 'HEAD', false);
  } catch (cause) {
    settings.signal?.throwIfAborted();
    throw failed(settings, file, cause instanceof Error ? cause.message : String(cause), cause);
  }
  if (response.status === 404 && response.headers.get('x-error-code') !== 'RepoNotFound') return null;
  if (response.status >= 400) throw failed(settings, file, `status ${response.status}`);
  const commit = response.headers.get('x-repo-commit') ?? '';
  const etag = (response.headers.get('x-linked-etag') ?? response.headers.get('etag') ?? '').replace(/^W\//, '').replaceAll('"', '');
  const size = Number(response.headers.get('x-linked-size') ?? response.headers.get('content-length') ?? Number.NaN);
  if (!/^[\da-f]{40}$/.test(commit) || !/^[\w.-]{1,200}$/.test(etag)) throw failed(settings, file, 'the answer has no commit or checksum');
  return { commit, etag, size: Number.isSafeInteger(size) ? size : null };
}

function addressOf({ endpoint, id, revision }: Settings, file: string): URL {
  return new URL(`${endpoint.pathname.replace(/\/$/, '')}/${id}/resolve/${encodeURIComponent(revision)}/${file}`, endpoint);
}

/** The checksum of a file as the hub names it; null for names that are none. */
async function checksum(path: string, size: number, etag: string): Promise<string | null> {
  const { createHash } = await node<Crypto>('node:crypto');
  const fs = await node<typeof import('node:fs')>('node:fs');
  const hash = /^[\da-f]{64}$/.test(etag)
    ? createHash('sha256')
    : /^[\da-f]{40}$/.test(etag)
      ? createHash('sha1').update(`blob ${size}\0`)
      : null;
  if (hash === null) return null;
  for await (const chunk of fs.createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest('hex');
}

/** Downloads what a partial file lacks, checks the whole, gives it its name. */
async function fetchFile(settings: Settings, file: string, facts: Facts, target: string): Promise<void> {
  const fs = await node<Fs>('node:fs/promises');
  const { dirname } = await node<Path>('node:path');
  const { maxBytes, signal } = settings;
  if (facts.size !== null && facts.size > maxBytes) {
    throw new FormatError(`${file} has ${facts.size} bytes`, {
      op,
      received: facts.size,
      expected: `at most ${maxBytes}`,
      fix: 'If the model is trusted, raise maxBytes.',
    });
  }
  await fs.mkdir(dirname(target), { recursive: true });
  const partial = `${target}.${facts.etag.slice(0, 16)}.part`;
  const handle = await fs.open(partial, 'a+');
  let whole = false;
  try {
    let have = (await handle.stat()).size;
    const response = await ask(
      settings,
      addressOf(settings, file),
      { 'accept-encoding': 'identity', ...(have > 0 ? { range: `bytes=${have}-` } : {}) },
      'GET',
      true,
    );
    if (response.status === 200 && have > 0) {
      await handle.truncate(0);
      have = 0;
    }
    // 416: the partial file is whole already.
    if (response.status !== 200 && response.status !== 206 && response.status !== 416)
      throw failed(settings, file, `status ${response.status}`);
    if (response.status !== 416) {
      for await (const chunk of response.body ?? []) {
        have += chunk.length;
        if (have > maxBytes || (facts.size !== null && have > facts.size)) {
          await handle.truncate(0);
          throw new FormatError(`${file} is longer than the hub said`, { op, expected: `${facts.size ?? maxBytes} bytes` });
        }
        await handle.write(chunk);
      }
    }
    await handle.sync();
    const found = await checksum(partial, (await handle.stat()).size, facts.etag);
    if (found !== null && found !== facts.etag) {
      await handle.truncate(0);
      throw new FormatError(`${file} has the checksum ${found}`, {
        op,
        received: found,
        expected: facts.etag,
        fix: 'The download is damaged: try again.',
      });
    }
    whole = true;
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof EnvironmentError || cause instanceof FormatError) throw cause;
    throw failed(settings, file, cause instanceof Error ? cause.message : String(cause), cause);
  } finally {
    await handle.close();
    if (!whole && (await fs.stat(partial).catch(() => null))?.size === 0) await fs.rm(partial, { force: true });
  }
  await fs.rename(partial, target);
}

/** Looks for files of one model. */
export interface HubModel {
  /** The path of a file in the cache, downloaded when it is not there; null when the model has no such file. */
  file(name: string): Promise<string | null>;
  /** The folder of the files. */
  folder(): Promise<string>;
}

/**
 * A model on the hub at a revision, which is settled by the first file: all files are of one commit.
 * @throws ArgumentError for ids and revisions that are none
 */
export async function openHub(id: string, options: HubOptions = {}): Promise<HubModel> {
  const settings = await settingsOf(id, options);
  const fs = await node<Fs>('node:fs/promises');
  const { join } = await node<Path>('node:path');
  const reference = join(settings.folder, 'refs', settings.revision.replaceAll('/', '--'));
  let commit: string | null = /^[\da-f]{40}$/.test(settings.revision) ? settings.revision : null;
  const known = async (): Promise<string | null> => {
    const text = (await fs.readFile(reference, 'utf8').catch(() => '')).trim();
    return /^[\da-f]{40}$/.test(text) ? text : null;
  };
  const isFile = async (path: string): Promise<boolean> => (await fs.stat(path).catch(() => null))?.isFile() === true;
  const pathOf = (at: string, name: string): string => join(settings.folder, at, name);
  const file = async (name: string): Promise<string | null> => {
    if (!/^[\w-][\w.-]*(?:\/[\w-][\w.-]*)*$/.test(name) || name.includes('..')) {
      throw new FormatError(`the model names a file ${JSON.stringify(name.slice(0, 80))}`, {
        op,
        received: name,
        expected: 'a plain relative name',
      });
    }
    if (settings.offline) commit ??= await known();
    if (commit !== null && (await isFile(pathOf(commit, name)))) return pathOf(commit, name);
    if (settings.offline) {
      if (commit !== null) return null;
      throw new EnvironmentError(`${id} is not in the cache, and TRIREME_OFFLINE forbids to ask for it`, {
        op,
        fix: 'Load it once with a network, or give the path of a folder that has its files.',
      });
    }
    const pinned = commit === null ? settings : { ...settings, revision: commit };
    const facts = await factsOf(pinned, name);
    if (facts === null) return null;
    if (commit === null) {
      commit = facts.commit;
      await fs.mkdir(join(settings.folder, 'refs'), { recursive: true });
      await fs.writeFile(reference, `${commit}\n`);
    }
    const target = pathOf(commit, name);
    if (!(await isFile(target))) await fetchFile({ ...pinned, revision: commit }, name, facts, target);
    return target;
  };
  return { file, folder: async () => join(settings.folder, commit ?? '') };
}
