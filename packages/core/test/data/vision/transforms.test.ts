/** What holds for every transform: the parts of a sample stay together, and the seed decides. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DataLoader, ItemRandom } from '../../../src/data/index.js';
import {
  affine,
  autoContrast,
  centerCrop,
  checkSample,
  clipBoxes,
  colorJitter,
  compose,
  cutMixBatch,
  cutMixSamples,
  cutout,
  drawBoxes,
  drawMask,
  equalize,
  gaussianBlur,
  grayscale,
  horizontalFlip,
  imageGrid,
  invert,
  letterbox,
  mixUp,
  mixUpBatch,
  mixUpSamples,
  mosaic,
  mosaicSamples,
  oneOf,
  pad,
  perspective,
  posterize,
  randAugment,
  randomApply,
  randomCrop,
  randomErasing,
  randomResizedCrop,
  resize,
  rotate,
  rotateSample,
  type Sample,
  solarize,
  type Transform,
  TransformedDataset,
  trivialAugment,
  verticalFlip,
} from '../../../src/data/vision/index.js';
import { ShapeError } from '../../../src/errors.js';

/** A black picture with a bright box, the same box in the mask, its corners as points. */
function boxSample(width: number, height: number, box: readonly [number, number, number, number]): Sample {
  const data = new Uint8Array(width * height * 3);
  const mask = new Uint8Array(width * height);
  const [left, top, right, bottom] = box;
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      mask[y * width + x] = 1;
      data.fill(250, 3 * (y * width + x), 3 * (y * width + x) + 3);
    }
  }
  return {
    image: { width, height, channels: 3, data },
    boxes: Float32Array.from(box),
    labels: Int32Array.of(3),
    mask,
    keypoints: Float32Array.of((left + right) / 2, (top + bottom) / 2, 2),
  };
}

/** Around the pixels that pass the test; null when there are none. */
function bounds(width: number, height: number, test: (i: number) => boolean): number[] | null {
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!test(y * width + x)) continue;
      left = Math.min(left, x);
      top = Math.min(top, y);
      right = Math.max(right, x + 1);
      bottom = Math.max(bottom, y + 1);
    }
  }
  return right > left ? [left, top, right, bottom] : null;
}

const geometric: Record<string, Transform> = {
  resize: resize([37, 53]),
  'resize to the shorter side': resize(30, { maxSize: 45 }),
  letterbox: letterbox(64, { fill: 0 }),
  pad: pad({ left: 3, top: 5, right: 1, bottom: 0 }),
  centerCrop: centerCrop([30, 40]),
  randomCrop: randomCrop(32, { padding: 2 }),
  randomResizedCrop: randomResizedCrop([40, 48], { scale: [0.3, 1] }),
  horizontalFlip: horizontalFlip({ p: 1 }),
  verticalFlip: verticalFlip({ p: 1 }),
  'rotate by quarters': (sample, random) => rotateSample(sample, 90 * random.below(4), { expand: true }),
  'shift and scale': affine({ translate: [0.2, 0.2], scale: [0.7, 1.3] }),
};

describe('boxes, masks and points follow the picture', () => {
  const boxes = fc.tuple(
    fc.integer({ min: 0, max: 35 }),
    fc.integer({ min: 0, max: 25 }),
    fc.integer({ min: 8, max: 20 }),
    fc.integer({ min: 8, max: 20 }),
  );

  it.each(Object.entries(geometric))('%s', (_, transform) => {
    fc.assert(
      fc.property(boxes, fc.integer({ min: 0, max: 1000 }), ([left, top, w, h], seed) => {
        const result = transform(boxSample(56, 46, [left, top, left + w, top + h]), new ItemRandom(seed));
        checkSample(result);
        const { image, mask, boxes: moved, labels, keypoints } = result;
        const inMask = bounds(image.width, image.height, (i) => mask?.[i] === 1);
        const inImage = bounds(image.width, image.height, (i) => image.data[3 * i] > 125);
        if (moved?.length === 0) {
          expect(labels?.length).toBe(0);
          // A box that went had next to nothing left.
          const visible = mask?.reduce((sum, value) => sum + value, 0) ?? 0;
          expect(visible).toBeLessThan(0.2 * w * h * 4 + 40);
          return;
        }
        expect([...(labels ?? [])]).toEqual([3]);
        expect(inMask).not.toBeNull();
        expect(inImage).not.toBeNull();
        for (let k = 0; k < 4; k++) {
          expect(Math.abs((moved?.[k] ?? 0) - (inMask?.[k] ?? 0))).toBeLessThanOrEqual(1);
          expect(Math.abs((moved?.[k] ?? 0) - (inImage?.[k] ?? 0))).toBeLessThanOrEqual(1.5);
        }
        const [x, y, visible] = keypoints ?? [];
        if (visible === 2)
          expect(mask?.[Math.min(image.height - 1, Math.floor(y)) * image.width + Math.min(image.width - 1, Math.floor(x))]).toBe(1);
      }),
      { numRuns: 60 },
    );
  });

  it.each(
    Object.entries({
      rotate: rotate(45),
      affine: affine({ degrees: 20, shear: 10, shearY: 5, translate: [0.1, 0.1], scale: [0.8, 1.2] }),
      perspective: perspective({ p: 1, distortion: 0.3 }),
      randAugment: randAugment({ numOps: 3 }),
      trivialAugment: trivialAugment(),
    }),
  )('%s: the box encloses what was painted', (name, transform) => {
    fc.assert(
      fc.property(boxes, fc.integer({ min: 0, max: 1000 }), ([left, top, w, h], seed) => {
        const { image, mask, boxes: moved } = transform(boxSample(56, 46, [left, top, left + w, top + h]), new ItemRandom(seed));
        const painted = bounds(image.width, image.height, (i) => mask?.[i] === 1);
        if (!moved || moved.length === 0 || painted === null) return;
        expect(painted[0]).toBeGreaterThanOrEqual(moved[0] - 2);
        expect(painted[1]).toBeGreaterThanOrEqual(moved[1] - 2);
        expect(painted[2]).toBeLessThanOrEqual(moved[2] + 2);
        expect(painted[3]).toBeLessThanOrEqual(moved[3] + 2);
        // Away from the borders the box is tight after one operation; after several it is the box of a box.
        const inside = name !== 'randAugment' && moved[0] > 0 && moved[1] > 0 && moved[2] < image.width && moved[3] < image.height;
        if (inside) for (let k = 0; k < 4; k++) expect(Math.abs(painted[k] - moved[k])).toBeLessThan(3);
      }),
      { numRuns: 80 },
    );
  });

  it('drops boxes of which too little is left, with their labels', () => {
    const boxes = Float32Array.of(0, 0, 10, 10, 9, 0, 19, 10, 9.5, 2, 30, 4, 20, 20, 30, 30);
    const kept = clipBoxes(boxes, Int32Array.of(1, 2, 3, 4), 10, 10, { minVisible: 0.05 });
    expect([...kept.boxes]).toEqual([0, 0, 10, 10, 9, 0, 10, 10]);
    expect([...(kept.labels ?? [])]).toEqual([1, 2]);
    expect(clipBoxes(boxes, undefined, 10, 10, { minVisible: 0.5 }).boxes.length).toBe(4);
  });

  it('exchanges the names of points in a mirror', () => {
    const sample = { ...boxSample(20, 10, [2, 2, 8, 8]), keypoints: Float32Array.of(3, 4, 2, 6, 5, 1) };
    const { keypoints } = horizontalFlip({ p: 1, keypointPairs: [[0, 1]] })(sample, new ItemRandom(0));
    expect([...(keypoints ?? [])]).toEqual([14, 5, 1, 17, 4, 2]);
  });

  it('refuses samples whose parts do not fit', () => {
    const sample = boxSample(20, 10, [2, 2, 8, 8]);
    expect(() => checkSample({ ...sample, mask: new Uint8Array(3) })).toThrow(ShapeError);
    expect(() => checkSample({ ...sample, labels: Int32Array.of(1, 2) })).toThrow(/2 labels for 1 boxes/);
    expect(() => mixUpSamples(sample, boxSample(21, 10, [2, 2, 8, 8]), 0.5)).toThrow(ShapeError);
  });
});

const everything: Transform = compose<Sample>(
  randomApply(rotate(10)),
  oneOf<Sample>(horizontalFlip(), verticalFlip()),
  randomResizedCrop(32),
  colorJitter({ brightness: 0.3, contrast: 0.3, saturation: 0.3, hue: 0.1 }),
  gaussianBlur({ p: 0.5 }),
  grayscale({ p: 0.3 }),
  autoContrast(),
  equalize({ p: 0.2 }),
  posterize(5),
  solarize(200, { p: 0.2 }),
  invert({ p: 0.1 }),
  randomErasing({ fill: 'noise' }),
  cutout(6),
);

const scene = (seed: number): Sample => {
  const random = new ItemRandom(seed, 999);
  const base = boxSample(48, 40, [5 + random.below(10), 5 + random.below(10), 25, 30]);
  return { ...base, image: { ...base.image, data: base.image.data.map((value) => Math.min(255, value + random.below(60))) } };
};

describe('seeds', () => {
  it('give the same sample for the same item and epoch, another one else', async () => {
    const items = Array.from({ length: 6 }, (_, i) => scene(i));
    const source = { length: 6, get: (i: number) => items[i] };
    const make = (seed: number): TransformedDataset =>
      new TransformedDataset(source, everything, { seed, mix: mosaic({ size: 48, p: 0.5 }) });
    const [a, b, c] = [make(1), make(1), make(2)];
    const forward = [];
    for (let i = 0; i < 6; i++) forward.push(await a.get(i));
    for (let i = 5; i >= 0; i--) expect(await b.get(i)).toEqual(forward[i]);
    expect(await c.get(0)).not.toEqual(forward[0]);
    b.setEpoch(1);
    expect(await b.get(0)).not.toEqual(forward[0]);
    for (const sample of forward) checkSample(sample);
  });

  it('in a DataLoader are those of the loader: the same from run to run, others in each epoch', async () => {
    const items = Array.from({ length: 5 }, (_, i) => scene(i));
    const source = { length: 5, get: (i: number) => items[i] };
    const epochs = async (): Promise<Sample[][]> => {
      const loader = new DataLoader(new TransformedDataset(source, everything), {
        batchSize: 5,
        seed: 3,
        collate: (batch: Sample[]) => batch,
      });
      const out: Sample[][] = [];
      for (let epoch = 0; epoch < 2; epoch++) for await (const batch of loader) out.push(batch);
      return out;
    };
    const [first, second] = await epochs();
    expect(await epochs()).toEqual([first, second]);
    expect(second).not.toEqual(first);
  });

  it('leave the source as it was', () => {
    const sample = scene(3);
    const copy = structuredClone(sample);
    for (let seed = 0; seed < 20; seed++) everything(sample, new ItemRandom(seed));
    expect(sample).toEqual(copy);
  });
});

describe('several samples in one', () => {
  it('mosaic: boxes lie on what they name, and stay in the picture', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 500 }), (seed) => {
        const samples = [0, 1, 2, 3].map((k) => boxSample(40, 30, [4 + k, 6, 24 + k, 20]));
        const height = seed % 2 === 0 ? 64 : 40;
        const size = height === 64 ? 64 : ([height, 64] as const);
        const result = checkSample(mosaicSamples(samples, new ItemRandom(seed), { size, fill: 0, minVisible: 0.3 }));
        const { boxes, image, mask } = result;
        expect([image.width, image.height]).toEqual([64, height]);
        expect(boxes?.length ?? 0).toBeGreaterThan(0);
        for (let i = 0; i < (boxes?.length ?? 0); i += 4) {
          const [left, top, right, bottom] = boxes?.subarray(i, i + 4) ?? [];
          expect(left >= 0 && top >= 0 && right <= 64 && bottom <= height).toBe(true);
          const middle = Math.floor((top + bottom) / 2) * 64 + Math.floor((left + right) / 2);
          expect(mask?.[middle]).toBe(1);
          expect(image.data[3 * middle]).toBeGreaterThan(200);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('mix-up blends pictures and keeps both lists of boxes', () => {
    const a = boxSample(20, 20, [0, 0, 10, 10]);
    const b = boxSample(20, 20, [5, 5, 20, 20]);
    const { image, boxes, labels } = mixUpSamples(a, b, 0.75);
    expect([image.data[0], image.data[3 * (7 * 20 + 7)], image.data[3 * (15 * 20 + 15)]]).toEqual([188, 250, 63]);
    expect([...(boxes ?? [])]).toEqual([0, 0, 10, 10, 5, 5, 20, 20]);
    expect([...(labels ?? [])]).toEqual([3, 3]);
  });

  it('cut-mix: the mask and the boxes are those of the visible parts', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 500 }), fc.double({ min: 0.2, max: 0.8, noNaN: true }), (seed, lambda) => {
        const a = boxSample(40, 40, [10, 10, 30, 30]);
        const b = { ...boxSample(40, 40, [0, 0, 40, 40]), labels: Int32Array.of(7), mask: new Uint8Array(1600).fill(2) };
        const { mask, boxes, labels } = cutMixSamples(a, b, lambda, new ItemRandom(seed), { minVisible: 0.02 });
        const fromB = mask?.reduce((sum, value) => sum + (value === 2 ? 1 : 0), 0) ?? 0;
        const k = labels?.indexOf(7) ?? -1;
        const area =
          k < 0 ? 0 : ((boxes?.[4 * k + 2] ?? 0) - (boxes?.[4 * k] ?? 0)) * ((boxes?.[4 * k + 3] ?? 0) - (boxes?.[4 * k + 1] ?? 0));
        expect(area).toBe(fromB >= 0.02 * 1600 ? fromB : 0);
        const left = mask?.reduce((sum, value) => sum + (value === 1 ? 1 : 0), 0) ?? 0;
        expect(labels?.includes(3)).toBe(left >= 0.02 * 400);
      }),
    );
  });

  it('batches: targets are mixed as the pixels are', () => {
    const shape = [2, 1, 8, 8] as const;
    const images = new Float32Array(128).fill(1, 0, 64);
    const targets = Float32Array.of(1, 0, 0, 1);
    for (let seed = 0; seed < 20; seed++) {
      for (const mix of [mixUpBatch, cutMixBatch]) {
        const out = mix({ images, shape, targets }, new ItemRandom(seed));
        const share = out.images.subarray(0, 64).reduce((sum, value) => sum + value, 0) / 64;
        expect(out.targets[0]).toBeCloseTo(share, 5);
        expect(out.targets[0] + out.targets[1]).toBeCloseTo(1, 5);
        expect(out.targets[3]).toBeCloseTo(out.targets[0], 5);
      }
    }
  });

  it('draws others from the dataset', async () => {
    const samples = [scene(1), scene(2)];
    const source = { length: 2, get: (i: number) => samples[i] };
    const dataset = new TransformedDataset(source, (sample) => sample, { mix: mixUp({ p: 1 }) });
    expect((await dataset.get(0)).boxes?.length).toBe(8);
  });
});

describe('drawing', () => {
  it('marks the edge of a box and leaves the rest', () => {
    const sample = boxSample(60, 60, [10, 20, 40, 50]);
    const drawn = drawBoxes(sample.image, sample.boxes ?? [], { names: ['WBC 0.9'], color: [255, 0, 0], thickness: 1 });
    expect([...drawn.data.subarray(3 * (20 * 60 + 10), 3 * (20 * 60 + 10) + 3)]).toEqual([255, 0, 0]);
    expect([...drawn.data.subarray(3 * (30 * 60 + 25), 3 * (30 * 60 + 25) + 3)]).toEqual([250, 250, 250]);
    expect(sample.image.data[3 * (20 * 60 + 10)]).toBe(250);
    const masked = drawMask(sample.image, sample.mask ?? []);
    expect(masked.data[0]).toBe(0);
    expect(masked.data[3 * (30 * 60 + 25)]).not.toBe(250);
    expect(imageGrid([drawn, masked], 2).width).toBe(126);
  });
});
