/** The cache of compiled code: who may read what is in it, how large it grows, and what processes at the same time do to it. */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, it } from 'vitest';
import { cacheFolder, prune } from '../../src/runtime/native/cache.js';
import { forget } from '../../src/runtime/native/tier.js';
import { folder, hasCompiler, withNetwork } from './native-harness.js';

let caches = 0;
let cache = '';
beforeEach(() => {
  cache = join(folder, `cache-${caches++}`);
  process.env.TRIREME_CACHE = cache;
});
const native = (): string => join(cache, 'native');
const files = (ending: string): string[] =>
  (existsSync(native()) ? readdirSync(native()) : []).filter((name) => name.endsWith(ending)).sort();
const isRoot = process.getuid?.() === 0;

/** A process of its own with the built package. Its program is large enough to be worth native code. */
const script = `
import { createCpuDevice, jit, manualSeed, matmul, setDefaultDevice, tensor } from 'trireme';
const device = createCpuDevice({ threads: 1 });
setDefaultDevice(device);
const noise = (n, seed) => Float32Array.from({ length: n }, (_, i) => ((i * 7919 + seed) % 251) / 251 - 0.5);
const x = tensor(noise(128 * 128, 1), { shape: [128, 128] });
const w = tensor(noise(128 * 128, 2), { shape: [128, 128] });
const step = jit((a) => matmul(matmul(a, w).relu(), w).sum(1));
const y = step(x);
const [first] = y.dataSync();
console.log(JSON.stringify({ first, native: (step.programs[0].executable.published?.libraries ?? []).length, status: device.nativeStatus }));
process.exit();
`;
interface Told {
  readonly first: number;
  readonly native: number;
  readonly status: true | string | null;
  readonly stderr: string;
}
function inProcess(env: Record<string, string>, program = script): Promise<Told> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
      cwd: fileURLToPath(new URL('../../../../', import.meta.url)),
      env: { ...process.env, TRIREME_THREADS: '1', TRIREME_CACHE: cache, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [out, err] = ['', ''];
    child.stdout.on('data', (text) => {
      out += String(text);
    });
    child.stderr.on('data', (text) => {
      err += String(text);
    });
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0 ? resolve({ ...(JSON.parse(out) as Told), stderr: err }) : reject(new Error(`${code}: ${err}`)),
    );
  });
}

describe.skipIf(!hasCompiler || process.platform === 'win32')('the cache', () => {
  it('lets a second process start with native code in its first step; the first starts with WebAssembly', async () => {
    const cold = await inProcess({ TRIREME_TIER: 'auto' });
    expect(cold).toMatchObject({ native: 0, stderr: '' });
    const compiled = await inProcess({ TRIREME_TIER: 'native' });
    expect(compiled.native).toBeGreaterThan(0);
    const warm = await inProcess({ TRIREME_TIER: 'auto' });
    expect(warm).toEqual(compiled);
    expect(Math.abs(warm.first - cold.first)).toBeLessThan(1e-4);
  });

  it('is whole after processes that fill it at the same time, and all of them compute the same', async () => {
    const told = await Promise.all(Array.from({ length: 4 }, () => inProcess({ TRIREME_TIER: 'native' })));
    for (const one of told) expect(one).toEqual(told[0]);
    expect(told[0]).toMatchObject({ status: true, stderr: '' });
    expect(readdirSync(native()).filter((name) => name.includes('.tmp.'))).toEqual([]);
    const libraries = files('.so');
    expect(libraries.length).toBeGreaterThan(0);
    const written = libraries.map((name) => statSync(join(native(), name)).ino);
    expect(await inProcess({ TRIREME_TIER: 'native' })).toEqual(told[0]);
    // Found, not made anew.
    expect(libraries.map((name) => statSync(join(native(), name)).ino)).toEqual(written);
  });

  it('keeps nothing of a build whose process ended, nor does its compiler go on', async () => {
    const cc = join(folder, 'slow-cc');
    const pids = join(folder, 'slow-pids');
    writeFileSync(cc, `#!/bin/bash\ncase "$*" in *-dM*) exec cc "$@";; esac\necho $$ >> ${pids}\nsleep 100\n`, { mode: 0o755 });
    const early = script
      .replace(
        'console.log(',
        'for (let i = 0; i < 20; i++) step(x).dispose();\nwhile (!existsSync(process.env.PIDS)) await new Promise((r) => setTimeout(r, 20));\nconsole.log(',
      )
      .replace('import', "import { existsSync } from 'node:fs';\nimport");
    const told = await inProcess({ TRIREME_TIER: 'auto', TRIREME_CC: cc, PIDS: pids }, early);
    expect(told).toMatchObject({ native: 0, stderr: '' });
    const [pid] = readFileSync(pids, 'utf8').trim().split('\n').map(Number);
    const lives = (): boolean => {
      try {
        return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
      } catch {
        return false;
      }
    };
    for (let i = 0; i < 100 && lives(); i++) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(lives()).toBe(false);
    expect(readdirSync(native())).toEqual([]);
  });

  it('is off when asked: what is compiled goes with the process', async () => {
    const { status, native: libraries } = await inProcess({ TRIREME_TIER: 'native', TRIREME_CACHE: 'off', TMPDIR: folder });
    expect({ status, some: libraries > 0 }).toEqual({ status: true, some: true });
    expect(existsSync(native())).toBe(false);
    expect(readdirSync(folder).filter((name) => name.startsWith('trireme-native-'))).toEqual([]);
  });

  it('stays within its bound: what was used longest ago goes, and what processes left behind', () => {
    mkdirSync(native(), { recursive: true });
    for (let i = 0; i < 8; i++) {
      for (const ending of ['.c', '.json', '.so'])
        writeFileSync(join(native(), `${i}${ending}`), new Uint8Array(ending === '.so' ? 8000 : 1000));
      // Entry 5 is the oldest, then 6, 7, 0, 1 ...
      const used = new Date(Date.now() - 1e6 + ((i + 3) % 8) * 1000);
      utimesSync(join(native(), `${i}.so`), used, used);
    }
    writeFileSync(join(native(), 'rest.c'), 'no library, so nobody uses it');
    mkdirSync(join(native(), 'build.1.0.tmp.d'));
    mkdirSync(join(native(), 'build.2.0.tmp.d'));
    const old = new Date(Date.now() - 7200_000);
    utimesSync(join(native(), 'build.1.0.tmp.d'), old, old);
    prune(native(), 45_000);
    expect(files('.so')).toEqual(['1.so', '2.so', '3.so', '4.so']);
    expect(readdirSync(native()).filter((name) => !/^[1-4]\.(c|json|so)$/.test(name))).toEqual(['build.2.0.tmp.d']);
    prune(native(), 45_000);
    expect(files('.so')).toHaveLength(4);
  });

  it('is not used where others could have put something in', () => {
    const refused = (at: string, reason: RegExp): void => {
      process.env.TRIREME_CACHE = at;
      const { lasting, path, reason: told } = cacheFolder();
      expect({ lasting, elsewhere: !path.startsWith(at) }).toEqual({ lasting: false, elsewhere: true });
      expect(told).toMatch(reason);
    };
    const real = join(cache, 'real');
    mkdirSync(join(real, 'native'), { recursive: true });
    mkdirSync(join(cache, 'linked'));
    symlinkSync(join(real, 'native'), join(cache, 'linked', 'native'));
    refused(join(cache, 'linked'), /native is a symbolic link/);
    mkdirSync(join(cache, 'open'));
    chmodSync(join(cache, 'open'), 0o777);
    refused(join(cache, 'open'), /open is open to other users/);
    writeFileSync(join(cache, 'file'), '');
    refused(join(cache, 'file'), /./);
    if (!isRoot) return;
    mkdirSync(join(cache, 'foreign', 'native'), { recursive: true });
    chownSync(join(cache, 'foreign', 'native'), 12345, 12345);
    refused(join(cache, 'foreign'), /native belongs to another user/);
  });

  it('never loads an object that is a link, another user’s, or one that others may write to', async () => {
    const wanted = await withNetwork({ tier: 'native' }, ({ run }) => run());
    const libraries = files('.so');
    const path = (name: string): string => join(native(), name);
    const tricks: readonly ((name: string) => void)[] = [
      (name) => {
        // The same bytes: that it is a link is enough.
        renameSync(path(name), join(cache, 'elsewhere.so'));
        symlinkSync(join(cache, 'elsewhere.so'), path(name));
      },
      (name) => chmodSync(path(name), 0o777),
      ...(isRoot ? [(name: string) => chownSync(path(name), 12345, 12345)] : []),
    ];
    for (const trick of tricks) {
      forget();
      const before = libraries.map((name) => {
        copyFileSync(path(name), `${path(name)}.copy`);
        renameSync(`${path(name)}.copy`, path(name));
        trick(name);
        return statSync(path(name)).ino;
      });
      expect(await withNetwork({ tier: 'native' }, ({ run }) => run())).toEqual(wanted);
      // Compiled anew, as a file of this user's alone.
      libraries.forEach((name, i) => {
        const stats = statSync(path(name));
        expect({ same: stats.ino === before[i], uid: stats.uid, mode: stats.mode & 0o077 }).toEqual({
          same: false,
          uid: process.getuid?.(),
          mode: 0,
        });
      });
    }
  });

  it('tells compilers, flags and CPUs apart', async () => {
    await withNetwork({ tier: 'native' }, ({ run }) => run());
    const before = files('.so');
    // The same compiler by another name, which says that it is another version, or that the CPU has another feature.
    for (const [i, edit] of ['s/__VERSION__ "/__VERSION__ "other /', '$a#define __NOVEL_FEATURE__ 1'].entries()) {
      const cc = join(folder, `other-cc-${i}`);
      writeFileSync(cc, `#!/bin/bash\ncase "$*" in *-dM*) cc "$@" | sed '${edit}';; *) exec cc "$@";; esac\n`, { mode: 0o755 });
      process.env.TRIREME_CC = cc;
      await withNetwork({ tier: 'native' }, ({ run }) => run());
      expect(files('.so').length).toBe(before.length * (i + 2));
    }
    const texts = files('.c').map((name) => readFileSync(join(native(), name), 'utf8'));
    for (const text of texts) expect(text).toMatch(/-march=native[^\n]*\n[0-9a-f]{64}\n\*\/\n$/);
  });
});
