/** Files of packages that are too large to be installed for a test: fetched once with npm, kept in the cache. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { cacheFolder } from 'trireme/io';

/** The folder with files of a package, at the paths they have in it; null, with a warning, when it cannot be fetched. */
export async function filesOfPackage(name: string, version: string, paths: readonly string[]): Promise<string | null> {
  const folder = join(await cacheFolder('npm'), `${name.replace('/', '+')}@${version}`);
  const done = join(folder, 'complete');
  if (existsSync(done) && (await readFile(done, 'utf8')) === paths.join('\n')) return folder;
  await mkdir(folder, { recursive: true });
  const temporary = await mkdtemp(join(folder, 'fetch-'));
  const run = promisify(execFile);
  const shell = process.platform === 'win32';
  try {
    await run('npm', ['pack', `${name}@${version}`, '--silent', '--pack-destination', temporary], { shell });
    const [archive] = await readdir(temporary);
    await run('tar', ['-xzf', archive, ...paths.map((path) => `package/${path}`)], { cwd: temporary });
    for (const path of paths) {
      await mkdir(join(folder, path, '..'), { recursive: true });
      await rename(join(temporary, 'package', path), join(folder, path));
    }
    await writeFile(done, paths.join('\n'));
    return folder;
  } catch (error) {
    console.warn(`Tests with ${name} are SKIPPED: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
