/** Boxes, names and masks drawn into pictures, for reports. */
import type { ImageData8 } from './image.js';
import { convertChannels } from './image.js';

export type Color = readonly [number, number, number];

/** A colour for each class: well apart for neighbours (steps of the golden angle around the colour circle). */
export function classColor(index: number): Color {
  const hue = (index * 0.618033988749895) % 1;
  const channel = (offset: number): number => {
    const k = (offset + hue * 12) % 12;
    return Math.round(255 * (0.55 - 0.45 * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

/** Letters of 3 x 5 dots, a row an octal digit from the top. */
const glyphs: ReadonlyMap<string, string> = new Map(
  (
    'A25755 B65656 C34443 D65556 E74647 F74644 G34553 H55755 I72227 J11152 K55655 L44447 M57755 N65555 O25552 P65644 Q25563 R65655 S34216 ' +
    'T72222 U55557 V55522 W55775 X55255 Y55222 Z71247 025552 126227 261247 361216 455711 574616 634656 771222 825252 925316 ' +
    '.00002 ,00024 :02020 -00700 _00007 %51245 /11244 (12221 )42224 +02720 =07070 !22202 ?61202'
  )
    .split(' ')
    .map((entry) => [entry[0], entry.slice(1)]),
);

function writable(image: ImageData8): ImageData8 {
  const rgb = convertChannels(image, 3);
  return { ...rgb, data: rgb.data.slice() };
}

function fillRectangle(image: ImageData8, left: number, top: number, right: number, bottom: number, color: Color): void {
  const x0 = Math.max(0, left);
  const x1 = Math.min(image.width, right);
  for (let y = Math.max(0, top); y < Math.min(image.height, bottom); y++) {
    for (let x = x0; x < x1; x++) image.data.set(color, (y * image.width + x) * 3);
  }
}

function write(image: ImageData8, text: string, left: number, top: number, scale: number, color: Color): void {
  [...text.toUpperCase()].forEach((character, i) => {
    const rows = glyphs.get(character) ?? (character === ' ' ? '00000' : glyphs.get('?'));
    if (rows === undefined) return;
    for (let y = 0; y < 5; y++) {
      const bits = Number(rows[y]);
      for (let x = 0; x < 3; x++) {
        if (!((bits >> (2 - x)) & 1)) continue;
        const at = left + (4 * i + x) * scale;
        fillRectangle(image, at, top + y * scale, at + scale, top + (y + 1) * scale, color);
      }
    }
  });
}

export interface DrawOptions {
  /** Name of box i, e.g. class and score. */
  readonly names?: readonly string[];
  /** Class of box i, for its colour. */
  readonly labels?: ArrayLike<number>;
  /** One colour for all. */
  readonly color?: Color;
  /** Pixels; by the size of the picture unless given. */
  readonly thickness?: number;
}

/** A copy (RGB) with boxes, float32 [n, 4] as left, top, right, bottom, and their names. */
export function drawBoxes(image: ImageData8, boxes: ArrayLike<number>, options: DrawOptions = {}): ImageData8 {
  const out = writable(image);
  const line = options.thickness ?? Math.max(1, Math.round(Math.max(image.width, image.height) / 320));
  for (let i = 0; i < boxes.length / 4; i++) {
    const color = options.color ?? classColor(options.labels ? options.labels[i] : i);
    const [left, top, right, bottom] = [0, 1, 2, 3].map((k) => Math.round(boxes[4 * i + k]));
    fillRectangle(out, left, top, right, top + line, color);
    fillRectangle(out, left, bottom - line, right, bottom, color);
    fillRectangle(out, left, top, left + line, bottom, color);
    fillRectangle(out, right - line, top, right, bottom, color);
    const name = options.names?.[i];
    if (!name) continue;
    const scale = line;
    const height = 7 * scale;
    const above = top >= height ? top - height : top;
    fillRectangle(out, left, above, left + (4 * name.length + 1) * scale, above + height, color);
    const dark = color[0] * 0.3 + color[1] * 0.59 + color[2] * 0.11 < 128;
    write(out, name, left + scale, above + scale, scale, dark ? [255, 255, 255] : [0, 0, 0]);
  }
  return out;
}

/** A copy (RGB) with the classes of a mask laid over it; class 0 stays clear. */
export function drawMask(image: ImageData8, mask: ArrayLike<number>, opacity = 0.5): ImageData8 {
  const out = writable(image);
  for (let i = 0; i < mask.length; i++) {
    if (mask[i] === 0) continue;
    const color = classColor(mask[i]);
    for (let c = 0; c < 3; c++) out.data[3 * i + c] = Math.round((1 - opacity) * out.data[3 * i + c] + opacity * color[c]);
  }
  return out;
}

/** Pictures of any size side by side in rows of `columns`, on a grey ground. */
export function imageGrid(images: readonly ImageData8[], columns: number, gap = 2): ImageData8 {
  const cellWidth = images.reduce((most, image) => Math.max(most, image.width), 1);
  const cellHeight = images.reduce((most, image) => Math.max(most, image.height), 1);
  const rows = Math.max(1, Math.ceil(images.length / columns));
  const width = columns * (cellWidth + gap) + gap;
  const height = rows * (cellHeight + gap) + gap;
  const data = new Uint8Array(width * height * 3).fill(128);
  images.forEach((image, i) => {
    const rgb = convertChannels(image, 3);
    const left = gap + (i % columns) * (cellWidth + gap);
    const top = gap + Math.floor(i / columns) * (cellHeight + gap);
    for (let y = 0; y < rgb.height; y++) {
      data.set(rgb.data.subarray(y * rgb.width * 3, (y + 1) * rgb.width * 3), ((top + y) * width + left) * 3);
    }
  });
  return { width, height, channels: 3, data };
}
