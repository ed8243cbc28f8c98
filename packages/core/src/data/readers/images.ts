/** Pictures in folders, one folder a class. Node only. */
import { ArgumentError, EnvironmentError, FormatError } from '../../errors.js';
import { fileError, readFileBounded } from '../../io/files.js';
import { nodeModule } from '../../io/node.js';
import type { Dataset } from '../dataset.js';
import { type DecodeOptions, decodeImage, type ImageData8 } from '../vision/image.js';

export interface ImageFolderOptions extends DecodeOptions {
  /** Endings of the files that count, without regard to case. */
  readonly extensions?: readonly string[];
  /** Largest file that is read, in bytes; 64 MB unless told otherwise. */
  readonly maxFileBytes?: number;
  /** Most files; a million unless told otherwise. */
  readonly maxFiles?: number;
}

export interface ImageItem {
  readonly image: ImageData8;
  /** Index of the class in `classNames`. */
  readonly label: number;
}

const op = 'ImageFolder';
const defaultExtensions = ['.jpg', '.jpeg', '.png', '.webp', '.gif', '.bmp', '.avif', '.tif', '.tiff'];

/** The pictures of a folder of class folders, decoded when they are asked for. Made by {@link openImageFolder}. */
export class ImageFolder implements Dataset<ImageItem> {
  readonly root: string;
  /** Names of the folders, sorted by code unit. */
  readonly classNames: readonly string[];
  /** Paths of the pictures, sorted by class and then by path. */
  readonly paths: readonly string[];
  /** Class of each picture, for stratified splits and samplers. */
  readonly labels: Int32Array;
  private readonly options: ImageFolderOptions;

  constructor(root: string, classNames: readonly string[], paths: readonly string[], labels: Int32Array, options: ImageFolderOptions) {
    this.root = root;
    this.classNames = classNames;
    this.paths = paths;
    this.labels = labels;
    this.options = options;
  }

  get length(): number {
    return this.paths.length;
  }

  /** @throws FormatError for a file that is damaged or over a limit, EnvironmentError when it cannot be read. */
  async get(index: number): Promise<ImageItem> {
    const path = this.paths[index];
    if (path === undefined) {
      throw new ArgumentError(`there is no picture ${index}`, { op, received: index, expected: `0 to ${this.length - 1}` });
    }
    const bytes = await readFileBounded(path, this.options.maxFileBytes ?? 2 ** 26);
    try {
      return { image: await decodeImage(bytes, this.options), label: this.labels[index] };
    } catch (cause) {
      if (!(cause instanceof FormatError)) throw cause;
      throw new FormatError(`${path}: ${cause.message}`, { ...cause.details, op: undefined, expected: undefined, fix: undefined, cause });
    }
  }
}

/**
 * Finds the pictures below `root/<class>/`, in folders of any depth. The order is the same on every machine.
 * A link counts when it leads to a file or folder inside `root`; one that leads out of it, or in a circle, is left out.
 * @throws EnvironmentError when a folder cannot be read, ArgumentError when there is no class, FormatError when a class
 * is empty or there are too many files.
 */
export async function openImageFolder(root: string, options: ImageFolderOptions = {}): Promise<ImageFolder> {
  const { extensions = defaultExtensions, maxFiles = 1_000_000 } = options;
  const fs = await nodeModule('node:fs/promises', op);
  const { join, sep } = await nodeModule('node:path', op);
  const endings = extensions.map((ending) => ending.toLowerCase());
  const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
  let realRoot: string;
  try {
    realRoot = await fs.realpath(root);
  } catch (cause) {
    throw fileError(op, `could not open ${root}`, cause);
  }

  /** What a link leads to, where that is inside the root. */
  async function follow(path: string): Promise<'file' | 'folder' | null> {
    try {
      const real = await fs.realpath(path);
      if (!real.startsWith(realRoot + sep)) return null;
      const status = await fs.stat(real);
      return status.isFile() ? 'file' : status.isDirectory() ? 'folder' : null;
    } catch {
      return null; // a link to nowhere
    }
  }

  async function list(folder: string): Promise<{ name: string; path: string; kind: 'file' | 'folder' }[]> {
    try {
      const found: { name: string; path: string; kind: 'file' | 'folder' }[] = [];
      for (const entry of await fs.readdir(folder, { withFileTypes: true })) {
        const path = join(folder, entry.name);
        const kind = entry.isSymbolicLink() ? await follow(path) : entry.isFile() ? 'file' : entry.isDirectory() ? 'folder' : null;
        if (kind && !entry.name.startsWith('.')) found.push({ name: entry.name, path, kind });
      }
      return found.sort(byName);
    } catch (cause) {
      throw cause instanceof EnvironmentError ? cause : fileError(op, `could not read the folder ${folder}`, cause);
    }
  }

  const classNames: string[] = [];
  const paths: string[] = [];
  const labels: number[] = [];

  /** `above`: the real paths of the folders on the way, so that a circle of links ends. */
  async function collect(folder: string, label: number, above: ReadonlySet<string>): Promise<void> {
    const real = await fs.realpath(folder);
    if (above.has(real)) return;
    const way = new Set(above).add(real);
    for (const { name, path, kind } of await list(folder)) {
      if (kind === 'folder') await collect(path, label, way);
      else if (endings.some((ending) => name.toLowerCase().endsWith(ending))) {
        if (paths.length >= maxFiles) throw new FormatError(`${root} has more than ${maxFiles} pictures`, { op, fix: 'Raise maxFiles.' });
        paths.push(path);
        labels.push(label);
      }
    }
  }

  for (const { name, path, kind } of await list(root)) {
    if (kind !== 'folder') continue;
    const before = paths.length;
    await collect(path, classNames.length, new Set([realRoot]));
    if (paths.length === before) {
      throw new FormatError(`the class folder ${path} has no pictures`, {
        op,
        received: path,
        expected: `files ending in ${endings.join(', ')}`,
      });
    }
    classNames.push(name);
  }
  if (classNames.length === 0) {
    throw new ArgumentError(`${root} has no class folders`, { op, received: root, expected: 'a folder for each class with its pictures' });
  }
  return new ImageFolder(root, classNames, paths, Int32Array.from(labels), options);
}
