/** Masks from boxes and colours: the data has no masks, so these stand in for them. */
import type { ImageData8 } from 'trireme/data/vision';

/** Numbers in a mask. */
export const classNames = ['background', 'RBC', 'WBC', 'Platelets'] as const;
/** Pixels of which nobody can tell: cells that have no box. */
export const unknown = 255;

const red = 1;
const white = 2;
const platelet = 3;

/** The threshold that parts a histogram with the greatest variance between the parts (Otsu, 1979): values up to it are low. */
export function otsu(counts: ArrayLike<number>): number {
  let [total, sum] = [0, 0];
  for (let i = 0; i < counts.length; i++) {
    total += counts[i];
    sum += i * counts[i];
  }
  let [low, lowSum, best, threshold] = [0, 0, -1, 0];
  for (let i = 0; i < counts.length; i++) {
    low += counts[i];
    lowSum += i * counts[i];
    if (low === 0 || low === total) continue;
    const between = low * (total - low) * (lowSum / low - (sum - lowSum) / (total - low)) ** 2;
    if (between > best) [best, threshold] = [between, i];
  }
  return threshold;
}

/** A connected region of pixels, 4 neighbours. */
export interface Region {
  readonly pixels: readonly number[];
  /** left, top, right, bottom; the pixels at right and bottom are outside. */
  readonly box: readonly [number, number, number, number];
}

/** The regions of the pixels that a test accepts, in the order of their first pixels. */
export function regions(width: number, height: number, accepts: (pixel: number) => boolean): Region[] {
  const seen = new Uint8Array(width * height);
  const found: Region[] = [];
  for (let start = 0; start < seen.length; start++) {
    if (seen[start] || !accepts(start)) continue;
    seen[start] = 1;
    const pixels = [start];
    let [left, top, right, bottom] = [width, height, 0, 0];
    for (let k = 0; k < pixels.length; k++) {
      const pixel = pixels[k];
      const [x, y] = [pixel % width, Math.floor(pixel / width)];
      [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x + 1), Math.max(bottom, y + 1)];
      const neighbours = [x > 0 ? pixel - 1 : -1, x < width - 1 ? pixel + 1 : -1, pixel - width, pixel + width];
      for (const next of neighbours) {
        if (next < 0 || next >= seen.length || seen[next] || !accepts(next)) continue;
        seen[next] = 1;
        pixels.push(next);
      }
    }
    found.push({ pixels, box: [left, top, right, bottom] });
  }
  return found;
}

/** Green, where cells of all kinds are darker than the ground; and blue less red, which only stained nuclei and platelets have. */
interface Channels {
  readonly green: Uint8Array;
  readonly stain: Int16Array;
}
function channelsOf({ data }: ImageData8): Channels {
  const pixels = data.length / 3;
  const green = new Uint8Array(pixels);
  const stain = new Int16Array(pixels);
  for (let i = 0; i < pixels; i++) {
    green[i] = data[3 * i + 1];
    stain[i] = data[3 * i + 2] - data[3 * i];
  }
  return { green, stain };
}

/** Whole pixels of a box within the picture. */
function pixelsOf(box: ArrayLike<number>, width: number, height: number): Rectangle {
  const within = (v: number, most: number): number => Math.max(0, Math.min(most, Math.round(v)));
  return [within(box[0], width), within(box[1], height), within(box[2], width), within(box[3], height)];
}

/** The value below which so large a part of a histogram lies. */
function quantile(counts: ArrayLike<number>, share: number): number {
  let [total, sum] = [0, 0];
  for (let i = 0; i < counts.length; i++) total += counts[i];
  for (let i = 0; i < counts.length; i++) {
    sum += counts[i];
    if (sum >= share * total) return i;
  }
  return counts.length - 1;
}

/**
 * Green up to which a pixel is cell: three tenths of the way from the ground to the cells, whose medians are those of the two
 * sides of Otsu's threshold. (That threshold itself would lose the pale cells.)
 */
function cellThreshold(green: Uint8Array): number {
  const counts = new Uint32Array(256);
  for (const v of green) counts[v]++;
  const parted = otsu(counts);
  const cells = quantile(
    counts.map((n, v) => (v <= parted ? n : 0)),
    0.5,
  );
  const ground = quantile(
    counts.map((n, v) => (v > parted ? n : 0)),
    0.5,
  );
  return Math.round(ground - 0.3 * (ground - cells));
}

type Rectangle = readonly [left: number, top: number, right: number, bottom: number];

/**
 * The mask of a photo from its boxes (float32 [n, 4], with labels 0 red cell, 1 white cell, 2 platelet):
 *
 * 1. A pixel is cell where its green is three tenths of the way from the ground's to that of the cells, or darker.
 * 2. Cell pixels in the box of a red cell belong to a red cell; so do lighter regions wholly within the box (the pale middle).
 * 3. In the box of a white cell, the largest stained region (blue less red above Otsu's threshold of the box: the nucleus) with its
 *    holes, and cell pixels within the ellipse that fits the box, belong to the white cell.
 * 4. In the box of a platelet its largest stained region does.
 * 5. Cell pixels outside of all boxes are {@link unknown}: the data has cells without boxes. The rest is background.
 */
export function maskFromBoxes(image: ImageData8, boxes: Float32Array, labels: Int32Array): Uint8Array {
  const { width, height } = image;
  const { green, stain } = channelsOf(image);
  const threshold = cellThreshold(green);
  const isCell = (pixel: number): boolean => green[pixel] <= threshold;
  const rectangles = Array.from(labels, (_, k) => pixelsOf(boxes.subarray(4 * k, 4 * k + 4), width, height));
  const each = (label: number, paint: (rectangle: Rectangle) => void): void =>
    rectangles.forEach((rectangle, k) => {
      if (labels[k] === label) paint(rectangle);
    });
  const mask = Uint8Array.from(green, (_, pixel) => (isCell(pixel) ? unknown : 0));
  // Nothing in a box is unknown: what the following leaves there is ground.
  for (const rectangle of rectangles) for (const pixel of pixelsIn(rectangle, width)) mask[pixel] = 0;
  const light = regions(width, height, (pixel) => !isCell(pixel));
  each(0, (rectangle) => {
    const [left, top, right, bottom] = rectangle;
    for (const pixel of pixelsIn(rectangle, width)) if (isCell(pixel)) mask[pixel] = red;
    for (const { pixels, box } of light) {
      if (box[0] > left && box[1] > top && box[2] < right && box[3] < bottom) for (const pixel of pixels) mask[pixel] = red;
    }
  });
  each(1, (rectangle) => {
    const [left, top, right, bottom] = rectangle;
    for (const pixel of pixelsIn(rectangle, width)) {
      const [x, y] = [pixel % width, Math.floor(pixel / width)];
      const off = ((2 * x + 1 - left - right) / (right - left)) ** 2 + ((2 * y + 1 - top - bottom) / (bottom - top)) ** 2;
      if (off <= 1 && isCell(pixel)) mask[pixel] = white;
    }
    for (const pixel of stainedRegion(stain, rectangle, width)) mask[pixel] = white;
  });
  each(2, (rectangle) => {
    for (const pixel of stainedRegion(stain, rectangle, width)) mask[pixel] = platelet;
  });
  return mask;
}

function* pixelsIn([left, top, right, bottom]: Rectangle, width: number): Generator<number, void, void> {
  for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) yield y * width + x;
}

/** The largest stained region of a box, with its holes. */
function stainedRegion(stain: Int16Array, rectangle: Rectangle, width: number): number[] {
  const pixels = [...pixelsIn(rectangle, width)];
  const [w, h] = [rectangle[2] - rectangle[0], rectangle[3] - rectangle[1]];
  const counts = new Uint32Array(511);
  for (const pixel of pixels) counts[stain[pixel] + 255]++;
  const threshold = otsu(counts) - 255;
  const [largest] = regions(w, h, (i) => stain[pixels[i]] > threshold).sort((a, b) => b.pixels.length - a.pixels.length);
  const own = new Set(largest?.pixels);
  for (const hole of regions(w, h, (i) => !own.has(i))) {
    const [left, top, right, bottom] = hole.box;
    if (left > 0 && top > 0 && right < w && bottom < h) for (const i of hole.pixels) own.add(i);
  }
  return Array.from(own, (i) => pixels[i]);
}
