/** The pictures: embedded digits, and Fashion-MNIST from a folder, Debian's package, the cache or the network. */
import { fileURLToPath } from 'node:url';
import { type FashionMnistOptions, type GreyPictures, loadFashionMnist, stratifiedSplit } from 'trireme/data';
import { readFileBounded, readIdx } from 'trireme/io';

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

const limit = 2 ** 20;

async function readPictures(imagePath: string, labelPath: string, maximum: number): Promise<Pictures> {
  const [images, labels] = await Promise.all(
    [imagePath, labelPath].map(async (path) => readIdx(await readFileBounded(path, limit), limit)),
  );
  return {
    images: Float32Array.from(images.data, (v) => v / maximum),
    labels: Int32Array.from(labels.data),
    side: images.shape[1],
  };
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

/** Zalando's 60,000 + 10,000 pictures of clothes (MIT). */
export async function loadFashion(source: FashionMnistOptions = {}): Promise<Split> {
  const { train, test, classNames } = await loadFashionMnist(source);
  const pictures = ({ fields: { image, label } }: GreyPictures): Pictures => ({
    images: Float32Array.from(image.data, (v) => v / 255),
    labels: label.data,
    side: image.shape[1],
  });
  return { train: pictures(train), test: pictures(test), classNames };
}
