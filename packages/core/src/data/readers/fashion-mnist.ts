/** Fashion-MNIST (Xiao, Rasul and Vollgraf, arXiv:1708.07747; MIT): 60,000 + 10,000 grey pictures of clothes, 28x28. Node only. */
import { ArgumentError, FormatError } from '../../errors.js';
import { cacheFolder, download } from '../../io/download.js';
import { readFileBounded } from '../../io/files.js';
import { readIdx } from '../../io/idx.js';
import { nodeModule } from '../../io/node.js';
import { ArrayDataset, type Field } from '../dataset.js';

const op = 'loadFashionMnist';

interface GreyFields {
  readonly [name: string]: Field;
  readonly image: Field<Uint8Array>;
  readonly label: Field<Int32Array>;
}
/** Pictures as uint8 [1, height, width], 0 for the background, and the number of their class. */
export type GreyPictures = ArrayDataset<GreyFields>;

/** Where the four files come from: a folder, else a mirror, else Debian's package or the cache, else the data set's own server. */
export interface FashionMnistOptions {
  /** Folder with the four IDX files, gzipped or not. */
  readonly folder?: string | undefined;
  /** Mirror to download the files from, by https or http: the address before `/train-images-idx3-ubyte.gz`. */
  readonly url?: string | undefined;
  /** Folder for what is downloaded; `cacheFolder('fashion-mnist')` unless told otherwise. */
  readonly cacheDir?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface FashionMnist {
  readonly train: GreyPictures;
  readonly test: GreyPictures;
  readonly classNames: readonly string[];
}

interface RemoteFile {
  readonly name: string;
  /** Of the gzipped file, from the data set's own page. */
  readonly md5: string;
}
const files = {
  trainImages: { name: 'train-images-idx3-ubyte', md5: '8d4fb7e6c68d591d4c3dfef9ec88bf0d' },
  trainLabels: { name: 'train-labels-idx1-ubyte', md5: '25c81989df183df01b3e8a0aad5dffbe' },
  testImages: { name: 't10k-images-idx3-ubyte', md5: 'bef4ecab320f06d8554ea6380940ec79' },
  testLabels: { name: 't10k-labels-idx1-ubyte', md5: 'bb300cfdad3c16e7a12a480ee83cd310' },
} as const satisfies Record<string, RemoteFile>;

const classNames = ['T-shirt', 'Trouser', 'Pullover', 'Dress', 'Coat', 'Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot'];
const ownUrl = 'http://fashion-mnist.s3-website.eu-central-1.amazonaws.com';
const debianFolder = '/usr/share/datasets/fashion-mnist';
/** The training pictures are 47 MB, 26 MB gzipped. */
const maxBytes = 2 ** 26;

async function find(folder: string, name: string): Promise<string | null> {
  const { existsSync } = await nodeModule('node:fs', op);
  const { join } = await nodeModule('node:path', op);
  return [join(folder, name), join(folder, `${name}.gz`)].find((path) => existsSync(path)) ?? null;
}

async function locate({ name, md5 }: RemoteFile, { folder, url, cacheDir, signal }: FashionMnistOptions): Promise<string> {
  if (folder !== undefined) {
    const path = await find(folder, name);
    if (path !== null) return path;
    throw new ArgumentError(`${folder} has no ${name}`, {
      op,
      received: folder,
      expected: `the file ${name}, or with .gz`,
      fix: 'Give the folder of the four files of Fashion-MNIST.',
    });
  }
  const local = url === undefined ? await find(debianFolder, name) : null;
  if (local !== null) return local;
  return download(`${(url ?? ownUrl).replace(/\/+$/, '')}/${name}.gz`, {
    md5,
    cacheDir: cacheDir ?? (await cacheFolder('fashion-mnist')),
    maxBytes,
    fix: "Give the folder of the four files (option folder, --data-dir), or install Debian's package dataset-fashion-mnist.",
    signal,
  });
}

async function readPictures(imagePath: string, labelPath: string): Promise<GreyPictures> {
  const [images, labels] = await Promise.all(
    [imagePath, labelPath].map(async (path) => readIdx(await readFileBounded(path, maxBytes), maxBytes)),
  );
  const [count, height, width] = images.shape;
  if (images.shape.length !== 3 || images.dtype !== 'uint8' || labels.shape.length !== 1 || labels.shape[0] !== count) {
    throw new FormatError(`${imagePath} has shape [${images.shape.join(', ')}] and ${labelPath} [${labels.shape.join(', ')}]`, {
      op,
      expected: 'uint8 pictures [n, height, width] and their labels [n]',
    });
  }
  const label = Int32Array.from(labels.data);
  const odd = label.findIndex((c) => c < 0 || c >= classNames.length);
  if (odd >= 0) throw new FormatError(`label ${odd} of ${labelPath} is ${label[odd]}`, { op, expected: '0 to 9', received: label[odd] });
  return new ArrayDataset<GreyFields>({
    image: { data: images.data as Uint8Array, shape: [1, height, width] },
    label: { data: label, shape: [] },
  });
}

/**
 * Loads Fashion-MNIST into memory.
 * @throws ArgumentError when the folder lacks a file, FormatError for damaged files and wrong checksums, EnvironmentError when a
 * download fails or outside Node, the signal's reason when aborted.
 */
export async function loadFashionMnist(options: FashionMnistOptions = {}): Promise<FashionMnist> {
  const located = await Promise.allSettled(
    [files.trainImages, files.trainLabels, files.testImages, files.testLabels].map((file) => locate(file, options)),
  );
  // Only now: no download goes on behind an error.
  const [trainImages, trainLabels, testImages, testLabels] = located.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
  const [train, test] = await Promise.all([readPictures(trainImages, trainLabels), readPictures(testImages, testLabels)]);
  return { train, test, classNames };
}
