/** The pictures: embedded digits, and Fashion-MNIST from a folder, Debian's package, the cache or the network. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ArgumentError, FormatError } from 'trireme';
import { stratifiedSplit } from 'trireme/data';
import { cacheFolder, decodeIdx, download as downloadFile, gunzip, isGzip, readFileBounded } from 'trireme/io';

export interface Pictures {
  /** One float32 for each pixel, 0 (paper) to 1 (ink). */
  readonly images: Float32Array;
  readonly labels: Int32Array;
  readonly side: number;
}
export interface Split {
  readonly train: Pictures;
  readonly test: Pictures;
  readonly classNames: readonly string[];
}

const limit = 2 ** 27;

async function readIdx(path: string): Promise<{ readonly shape: readonly number[]; readonly data: ArrayLike<number> }> {
  const bytes = await readFileBounded(path, limit);
  const { shape, data } = decodeIdx(isGzip(bytes) ? await gunzip(bytes, limit) : bytes);
  return { shape, data: data as ArrayLike<number> };
}

async function readPictures(imagePath: string, labelPath: string, maximum: number): Promise<Pictures> {
  const [images, labels] = await Promise.all([readIdx(imagePath), readIdx(labelPath)]);
  const [count, side, width] = images.shape;
  if (images.shape.length !== 3 || labels.shape.length !== 1 || labels.shape[0] !== count || side !== width) {
    throw new FormatError(`${imagePath} has shape [${images.shape.join(', ')}] and ${labelPath} [${labels.shape.join(', ')}]`, {
      op: 'dataset',
      expected: 'square pictures [n, side, side] and their labels [n]',
    });
  }
  return { images: Float32Array.from(images.data, (v) => v / maximum), labels: Int32Array.from(labels.data), side };
}

function pick({ images, labels, side }: Pictures, indices: Int32Array): Pictures {
  const size = side * side;
  const out = new Float32Array(indices.length * size);
  indices.forEach((index, i) => out.set(images.subarray(index * size, (index + 1) * size), i * size));
  return { images: out, labels: Int32Array.from(indices, (i) => labels[i]), side };
}

/** The 1,797 digits of the UCI repository, a fifth of each class held out, always the same. */
export async function loadDigits(): Promise<Split> {
  const file = (name: string): string => fileURLToPath(new URL(`../data/${name}`, import.meta.url));
  const all = await readPictures(file('digits-images-idx3-ubyte.gz'), file('digits-labels-idx1-ubyte.gz'), 16);
  const { train, test } = stratifiedSplit(all.labels, 0.2, 1);
  return { train: pick(all, train), test: pick(all, test), classNames: Array.from({ length: 10 }, (_, i) => String(i)) };
}

interface RemoteFile {
  readonly name: string;
  /** Of the compressed file, from the data set's own page. */
  readonly md5: string;
}
const fashionFiles = {
  trainImages: { name: 'train-images-idx3-ubyte', md5: '8d4fb7e6c68d591d4c3dfef9ec88bf0d' },
  trainLabels: { name: 'train-labels-idx1-ubyte', md5: '25c81989df183df01b3e8a0aad5dffbe' },
  testImages: { name: 't10k-images-idx3-ubyte', md5: 'bef4ecab320f06d8554ea6380940ec79' },
  testLabels: { name: 't10k-labels-idx1-ubyte', md5: 'bb300cfdad3c16e7a12a480ee83cd310' },
} as const satisfies Record<string, RemoteFile>;

/** Where the files come from when nothing is on the machine. */
const fashionUrl = 'http://fashion-mnist.s3-website.eu-central-1.amazonaws.com';
const debianFolder = '/usr/share/datasets/fashion-mnist';

function find(folder: string, name: string): string | null {
  for (const candidate of [join(folder, name), join(folder, `${name}.gz`)]) if (existsSync(candidate)) return candidate;
  return null;
}

/**
 * Downloads to the cache, checked before it is written. What the cache has is not asked for again.
 * @throws EnvironmentError when it cannot be had, FormatError when it is another file, the signal's reason when aborted.
 */
export function download(file: RemoteFile, baseUrl: string, folder: string, signal?: AbortSignal): Promise<string> {
  return downloadFile(`${baseUrl}/${file.name}.gz`, {
    md5: file.md5,
    cacheDir: folder,
    maxBytes: limit,
    fix: "Give the folder of the four files with --data-dir, or install Debian's package dataset-fashion-mnist.",
    signal,
  });
}

/** Where Fashion-MNIST comes from: a folder, else a mirror, else what is on the machine, else the data set's own server. */
export interface FashionSource {
  readonly folder?: string | undefined;
  readonly url?: string | undefined;
  readonly signal?: AbortSignal;
}

async function locate(file: RemoteFile, { folder, url, signal }: FashionSource): Promise<string> {
  if (folder !== undefined) {
    const path = find(folder, file.name);
    if (path === null) {
      throw new ArgumentError(`${folder} has no ${file.name}`, {
        op: 'dataset',
        received: folder,
        expected: `the file ${file.name}, or with .gz`,
        fix: 'Check --data-dir.',
      });
    }
    return path;
  }
  if (url !== undefined) return download(file, url.replace(/\/+$/, ''), await cacheFolder('fashion-mnist'), signal);
  return find(debianFolder, file.name) ?? download(file, fashionUrl, await cacheFolder('fashion-mnist'), signal);
}

/** Zalando's 60,000 + 10,000 pictures of clothes (MIT). */
export async function loadFashion(source: FashionSource = {}): Promise<Split> {
  const [trainImages, trainLabels, testImages, testLabels] = await Promise.all(
    Object.values(fashionFiles).map((file) => locate(file, source)),
  );
  return {
    train: await readPictures(trainImages, trainLabels, 255),
    test: await readPictures(testImages, testLabels, 255),
    classNames: ['T-shirt', 'Trouser', 'Pullover', 'Dress', 'Coat', 'Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot'],
  };
}
