/** The network's file: given, in the cache, or taken out of a package of npm. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { EnvironmentError, FormatError } from 'trireme';
import { cacheFolder, gunzip, writeFileAtomic } from 'trireme/io';

/** The package brings Silero VAD 5 (MIT); it is not installed, since ONNX Runtime's 140 MB would come with it. */
const source = { package: '@ricky0123/vad-web@0.0.31', path: 'package/dist/silero_vad_v5.onnx' };
const checksum = '2623a2953f6ff3d2c1e61740c6cdb7168133479b267dfef114a4a3cc5bdd788f';
const maxBytes = 2 ** 26;

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** A file that is given, else $SILERO_VAD, else the one in the cache, which npm's registry fills. @throws EnvironmentError, FormatError */
export async function findModel(given?: string): Promise<string> {
  const named = given ?? process.env.SILERO_VAD;
  if (named !== undefined) return named;
  const path = join(await cacheFolder('silero-vad'), 'silero_vad_v5.onnx');
  if (existsSync(path) && sha256(await readFile(path)) === checksum) return path;
  const bytes = await fromPackage();
  if (sha256(bytes) !== checksum) {
    throw new FormatError(`${source.path} of ${source.package} is another file`, {
      op: 'vad',
      received: sha256(bytes),
      expected: checksum,
    });
  }
  await mkdir(dirname(path), { recursive: true });
  await writeFileAtomic(path, bytes);
  return path;
}

async function fromPackage(): Promise<Uint8Array> {
  const folder = await mkdtemp(join(tmpdir(), 'trireme-vad-'));
  try {
    const failure = await npm(['pack', source.package, '--silent', '--pack-destination', folder]);
    const [archive] = (await readdir(folder)).filter((name) => name.endsWith('.tgz'));
    if (failure !== null || archive === undefined) {
      throw new EnvironmentError(`npm cannot fetch ${source.package}: ${failure ?? 'there is no archive'}`, {
        op: 'vad',
        fix: 'Give the path of silero_vad_v5.onnx with --model or $SILERO_VAD.',
      });
    }
    const found = fileInTar(await gunzip(await readFile(join(folder, archive)), maxBytes), source.path);
    if (found === null) throw new FormatError(`${archive} has no ${source.path}`, { op: 'vad' });
    return found;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What went wrong, or null. */
function npm(args: readonly string[]): Promise<string | null> {
  return new Promise((resolve) => {
    const child = spawn('npm', args, { stdio: ['ignore', 'ignore', 'pipe'], shell: process.platform === 'win32' });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code) => resolve(code === 0 ? null : said.trim() || `exit code ${code}`));
  });
}

const block = 512;

/** The content of one file of a tar archive (POSIX.1-1988, ustar): a header of 512 bytes before each, sizes in octal. */
export function fileInTar(archive: Uint8Array, path: string): Uint8Array | null {
  const text = (from: number, length: number): string => {
    const field = archive.subarray(from, from + length);
    const end = field.indexOf(0);
    return new TextDecoder().decode(end < 0 ? field : field.subarray(0, end));
  };
  for (let at = 0; at + block <= archive.length && archive[at] !== 0; ) {
    const size = Number.parseInt(text(at + 124, 12).trim(), 8);
    const start = at + block;
    if (!Number.isSafeInteger(size) || size < 0 || start + size > archive.length) {
      throw new FormatError('the archive is damaged', { op: 'vad', received: text(at, 100) });
    }
    const prefix = text(at + 345, 155);
    if ((prefix === '' ? text(at, 100) : `${prefix}/${text(at, 100)}`) === path) return archive.slice(start, start + size);
    at = start + Math.ceil(size / block) * block;
  }
  return null;
}
