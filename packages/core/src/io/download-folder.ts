/** Folders from zip archives in the network, checked and kept in a cache. Node only. */
import { ArgumentError, FormatError } from '../errors.js';
import { cacheFolder, type DownloadOptions, download } from './download.js';
import { fileError } from './files.js';
import { nodeModule } from './node.js';
import { openZip } from './zip.js';

export interface DownloadFolderOptions extends Omit<DownloadOptions, 'fileName'> {
  /** Name of the folder in the cache. */
  readonly name: string;
  /** The folder of the archive that is wanted, with / between its parts; the whole archive unless told otherwise. */
  readonly inside?: string;
  /**
   * What git calls the tree of that folder (`git rev-parse <commit>:<folder>`): the checksum for archives that a host packs anew
   * whenever they are asked for. All files count as not executable.
   */
  readonly gitTree?: string;
}

const op = 'downloadFolder';

/** Files by name, and folders, of one folder of an archive. */
interface Tree {
  readonly files: Map<string, Uint8Array>;
  readonly folders: Map<string, Tree>;
}
const newTree = (): Tree => ({ files: new Map(), folders: new Map() });

/** @throws FormatError when the name could lead out of the folder */
function put(root: Tree, name: string, content: Uint8Array): void {
  const parts = name.split('/');
  // (A drive letter, a stream of NTFS and the other separator too.)
  if (parts.some((part) => part === '' || part === '.' || part === '..' || /[\\:\0]/.test(part))) {
    throw new FormatError(`the archive has a file ${JSON.stringify(name)}`, { op, received: name, expected: 'plain relative names' });
  }
  const last = parts.pop() ?? '';
  let tree = root;
  for (const part of parts) {
    let next = tree.folders.get(part);
    if (next === undefined) {
      next = newTree();
      tree.folders.set(part, next);
    }
    tree = next;
  }
  tree.files.set(last, content);
}

/** The id of a tree object: SHA-1 over its entries, which hold those of what is in it (git's book, chapter 10.2). */
async function treeId(root: Tree): Promise<string> {
  const { createHash } = await nodeModule('node:crypto', op);
  const text = new TextEncoder();
  const object = (kind: string, content: readonly Uint8Array[]): Uint8Array => {
    const hash = createHash('sha1').update(text.encode(`${kind} ${content.reduce((n, part) => n + part.length, 0)}\0`));
    for (const part of content) hash.update(part);
    return hash.digest();
  };
  const idOf = (tree: Tree): Uint8Array => {
    const entries = [
      ...Array.from(tree.files, ([name, bytes]) => ({ key: name, head: `100644 ${name}\0`, id: object('blob', [bytes]) })),
      // Folders are in order as if their names ended in a stroke.
      ...Array.from(tree.folders, ([name, inner]) => ({ key: `${name}/`, head: `40000 ${name}\0`, id: idOf(inner) })),
    ];
    const bytesOf = (key: string): string => Array.from(text.encode(key), (byte) => String.fromCharCode(byte)).join('');
    entries.sort((a, b) => (bytesOf(a.key) < bytesOf(b.key) ? -1 : 1));
    return object(
      'tree',
      entries.flatMap(({ head, id }) => [text.encode(head), id]),
    );
  };
  return Array.from(idOf(root), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

async function unpack(path: string, inside: string, signal: AbortSignal | undefined): Promise<Tree> {
  const tree = newTree();
  const prefix = inside === '' ? '' : `${inside.replace(/\/+$/, '')}/`;
  const archive = await openZip(path);
  try {
    for (const [name, entry] of archive.entries) {
      signal?.throwIfAborted();
      if (name.startsWith(prefix) && !name.endsWith('/')) put(tree, name.slice(prefix.length), await entry.read());
    }
  } finally {
    await archive.close();
  }
  return tree;
}

/**
 * Downloads a zip archive, unpacks a folder of it into the cache and gives its path. What the cache has is not asked for again: the
 * folder gets its name there when it is whole and checked. `sha256` and `md5` are those of the archive.
 * @throws EnvironmentError when it cannot be had, FormatError when it is another archive, the signal's reason when aborted.
 */
export async function downloadFolder(url: string, options: DownloadFolderOptions): Promise<string> {
  const { name, inside = '', gitTree, cacheDir = await cacheFolder('downloads'), signal } = options;
  if (!/^[\w-][\w.-]*$/.test(name)) {
    throw new ArgumentError(`the name is ${JSON.stringify(name)}`, { op, received: name, expected: 'letters, digits, dots, dashes' });
  }
  const { dirname, join } = await nodeModule('node:path', op);
  const fs = await nodeModule('node:fs/promises', op);
  const folder = join(cacheDir, name);
  const isThere = async (): Promise<boolean> =>
    fs.stat(folder).then(
      (status) => status.isDirectory(),
      () => false,
    );
  if (await isThere()) return folder;
  const archivePath = await download(url, { ...options, cacheDir, fileName: `${name}.zip` });
  let tree: Tree;
  try {
    tree = await unpack(archivePath, inside, signal);
    const found = await treeId(tree);
    if (tree.files.size + tree.folders.size === 0 || (gitTree !== undefined && found !== gitTree.toLowerCase())) {
      throw new FormatError(`${inside || 'the archive'} of ${url} has the tree ${found}`, {
        op,
        received: found,
        expected: gitTree ?? 'at least one file',
        fix: 'The download is damaged or is another archive: try again later.',
      });
    }
  } catch (cause) {
    await fs.rm(archivePath, { force: true });
    throw cause;
  }
  const temporary = `${folder}.${process.pid}.tmp`;
  const write = async (to: string, part: Tree): Promise<void> => {
    await fs.mkdir(to, { recursive: true });
    for (const [file, content] of part.files) await fs.writeFile(join(to, file), content);
    for (const [sub, inner] of part.folders) await write(join(to, sub), inner);
  };
  try {
    await fs.mkdir(dirname(folder), { recursive: true });
    await write(temporary, tree);
    // Another process may have been faster.
    await fs.rename(temporary, folder).catch(async (cause: unknown) => {
      if (!(await isThere())) throw cause;
    });
  } catch (cause) {
    throw fileError(op, `could not write ${folder}`, cause);
  } finally {
    await fs.rm(temporary, { recursive: true, force: true });
  }
  await fs.rm(archivePath, { force: true });
  return folder;
}
