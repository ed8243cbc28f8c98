import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  openImageFolder,
  openLines,
  openTokens,
  readCsv,
  readCsvRows,
  readJsonl,
  writeCsv,
  writeJsonl,
  writeTokens,
} from '../../../src/data/index.js';
import { encodePng, imageData8 } from '../../../src/data/vision/index.js';
import { EnvironmentError, FormatError } from '../../../src/errors.js';
import { openRandomAccess, type RandomAccess } from '../../../src/io/index.js';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trireme-readers-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('files', () => {
  it('are written whole and read back', async () => {
    const csv = join(folder, 'a.csv');
    await writeCsv(csv, [{ x: 1, s: 'a' }]);
    expect({ ...(await readCsv(csv)).get(0) }).toEqual({ x: 1, s: 'a' });
    for await (const row of readCsvRows(pathToFileURL(csv))) expect({ ...row }).toEqual({ x: '1', s: 'a' });
    await writeJsonl(join(folder, 'a.jsonl'), [1, [2]]);
    const values: unknown[] = [];
    for await (const value of readJsonl(join(folder, 'a.jsonl'))) values.push(value);
    expect(values).toEqual([1, [2]]);
    expect((await readdir(folder)).sort()).toEqual(['a.csv', 'a.jsonl']);
    await expect(readCsv(join(folder, 'none'))).rejects.toThrow(EnvironmentError);
    await expect(openLines(folder)).rejects.toThrow(EnvironmentError);
  });

  it('of tokens are read in windows, not as a whole', async () => {
    const path = join(folder, 'tokens.bin');
    const tokens = Uint16Array.from({ length: 200_000 }, (_, i) => i);
    await writeTokens(path, tokens);
    const file = await openRandomAccess(path);
    let most = 0;
    const watched: RandomAccess = {
      ...file,
      read: (begin, end) => {
        most = Math.max(most, end - begin);
        return file.read(begin, end);
      },
    };
    const dataset = await openTokens(watched, { contextLength: 64 });
    const { x } = await dataset.getBatch(Int32Array.of(0, 3000));
    expect([x.data[0], x.data[64]]).toEqual([0, (3000 * 64) & 0xffff]);
    expect(most).toBe(2 * 65);
    await dataset.close();
  });

  it('that become shorter while they are read are noticed', async () => {
    const path = join(folder, 'tokens.bin');
    await writeFile(path, new Uint8Array(100));
    const dataset = await openTokens(path, { contextLength: 49 });
    await writeFile(path, new Uint8Array(10));
    await expect(dataset.get(0)).rejects.toThrow(FormatError);
    await dataset.close();
  });
});

describe('openImageFolder', () => {
  const png = (value: number): Promise<Uint8Array> => encodePng(imageData8(2, 1, 3, new Uint8Array(6).fill(value)));
  const put = async (path: string, content: Uint8Array | string): Promise<void> => {
    const full = join(folder, path);
    await mkdir(join(full, '..'), { recursive: true });
    await writeFile(full, content);
  };

  it('finds pictures by class, sorted, in folders of any depth, and decodes them', async () => {
    await put('set/dog/b.png', await png(3));
    await put('set/dog/a.PNG', await png(2));
    await put('set/cat/deep/c.png', await png(1));
    await put('set/cat/notes.txt', 'no picture');
    await put('set/cat/.hidden.png', 'no picture');
    await put('set/readme.md', 'no class');
    const dataset = await openImageFolder(join(folder, 'set'));
    expect(dataset.classNames).toEqual(['cat', 'dog']);
    expect(dataset.paths.map((path) => path.slice(folder.length + 5))).toEqual(['cat/deep/c.png', 'dog/a.PNG', 'dog/b.png']);
    expect([...dataset.labels]).toEqual([0, 1, 1]);
    const { image, label } = await dataset.get(1);
    expect([image.width, image.height, image.channels, image.data[0], label]).toEqual([2, 1, 3, 2, 1]);
    const some = await openImageFolder(join(folder, 'set'), { extensions: ['.txt', '.png'] });
    expect(some.length).toBe(4);
    await expect(openImageFolder(join(folder, 'set'), { maxFiles: 2 })).rejects.toThrow(FormatError);
  });

  it('follows links within the folder, none out of it, and no circle', async () => {
    await put('outside/secret.png', await png(9));
    await put('set/cat/a.png', await png(1));
    await put('set/dog/d.png', await png(1));
    await symlink(join(folder, 'outside'), join(folder, 'set/cat/out'));
    await symlink(join(folder, 'outside/secret.png'), join(folder, 'set/cat/out.png'));
    await symlink(join(folder, 'set/dog/d.png'), join(folder, 'set/cat/within.png'));
    await symlink(join(folder, 'set/cat'), join(folder, 'set/cat/circle'));
    await symlink(join(folder, 'nowhere'), join(folder, 'set/cat/broken.png'));
    const dataset = await openImageFolder(join(folder, 'set'));
    expect(dataset.paths.map((path) => path.slice(folder.length + 5))).toEqual(['cat/a.png', 'cat/within.png', 'dog/d.png']);
  });

  it('names a damaged picture, an empty class, a missing folder', async () => {
    await put('set/cat/a.png', (await png(1)).slice(0, 40));
    const dataset = await openImageFolder(join(folder, 'set'));
    await expect(dataset.get(0)).rejects.toThrow(/a\.png/);
    await expect(dataset.get(0)).rejects.toThrow(FormatError);
    await expect(dataset.get(1)).rejects.toThrow(/no picture 1/);
    await mkdir(join(folder, 'set/empty'));
    await expect(openImageFolder(join(folder, 'set'))).rejects.toThrow(/empty has no pictures/);
    await expect(openImageFolder(join(folder, 'none'))).rejects.toThrow(EnvironmentError);
    const small = await openImageFolder(join(folder, 'set/..'), { extensions: ['.png'], maxFileBytes: 10 }).catch(() => null);
    expect(small).not.toBeNull();
    await expect(small?.get(0)).rejects.toThrow(FormatError);
    expect((await readFile(join(folder, 'set/cat/a.png'))).length).toBe(40);
  });
});
