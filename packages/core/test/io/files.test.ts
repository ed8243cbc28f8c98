import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ArgumentError, EnvironmentError, FormatError } from '../../src/errors.js';
import { readFileBounded, writeFileAtomic } from '../../src/io/files.js';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trireme-files-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('writeFileAtomic', () => {
  it('writes, replaces and leaves nothing else behind', async () => {
    const path = join(folder, 'model.bin');
    await writeFileAtomic(path, new Uint8Array([1, 2, 3]));
    await writeFileAtomic(path, [new Uint8Array([4]), new Uint8Array(0), new Uint8Array([5, 6])]);
    expect([...(await readFile(path))]).toEqual([4, 5, 6]);
    expect(await readdir(folder)).toEqual(['model.bin']);
  });

  it('keeps the old file and removes the temporary one when writing fails', async () => {
    const path = join(folder, 'model.bin');
    await writeFileAtomic(path, new Uint8Array([1]));
    const bad = [new Uint8Array([2]), null as unknown as Uint8Array];
    await expect(writeFileAtomic(path, bad)).rejects.toThrow(EnvironmentError);
    expect([...(await readFile(path))]).toEqual([1]);
    expect(await readdir(folder)).toEqual(['model.bin']);
  });

  it('removes the temporary file when the target is a folder', async () => {
    const path = join(folder, 'taken');
    await mkdir(join(path, 'inside'), { recursive: true });
    await expect(writeFileAtomic(path, new Uint8Array([1]))).rejects.toThrow(/could not write/);
    expect(await readdir(folder)).toEqual(['taken']);
  });

  it('names a missing folder', async () => {
    await expect(writeFileAtomic(join(folder, 'no', 'file'), new Uint8Array(1))).rejects.toThrow(/its folder must exist/);
  });

  it('lets concurrent writers each write a whole file', async () => {
    const path = join(folder, 'shared');
    await Promise.all(Array.from({ length: 8 }, (_, i) => writeFileAtomic(path, new Uint8Array(100_000).fill(i))));
    const bytes = await readFile(path);
    expect(bytes.length).toBe(100_000);
    expect(new Set(bytes).size).toBe(1);
    expect(await readdir(folder)).toEqual(['shared']);
  });
});

describe('readFileBounded', () => {
  it('reads a file up to the limit and refuses a larger one', async () => {
    const path = join(folder, 'data');
    await writeFile(path, new Uint8Array([1, 2, 3]));
    expect([...(await readFileBounded(path, 3))]).toEqual([1, 2, 3]);
    await expect(readFileBounded(path, 2)).rejects.toThrow(FormatError);
    await expect(readFileBounded(path, Number.NaN)).rejects.toThrow(ArgumentError);
  });

  it('reads through a link, and refuses folders, devices and missing files', async () => {
    await writeFile(join(folder, 'data'), 'x');
    await symlink(join(folder, 'data'), join(folder, 'link'));
    expect([...(await readFileBounded(join(folder, 'link'), 10))]).toEqual([120]);
    await expect(readFileBounded(folder, 10)).rejects.toThrow(EnvironmentError);
    await expect(readFileBounded(join(folder, 'none'), 10)).rejects.toThrow(/Check the path/);
    if (process.platform !== 'win32') await expect(readFileBounded('/dev/zero', 10)).rejects.toThrow(/not a regular file/);
  });
});
