/** Annotations of objects in pictures as PASCAL VOC wrote them (Everingham et al., 2010): an XML file a picture. Node for the folders. */
import { FormatError } from '../../errors.js';
import { readFileBounded } from '../../io/files.js';
import { nodeModule } from '../../io/node.js';

export interface VocObject {
  readonly name: string;
  /** Left, top, right, bottom in pixels, as they stand in the file. */
  readonly box: readonly [number, number, number, number];
  readonly difficult: boolean;
  /** The box ends at the border of the picture, the object does not. */
  readonly truncated: boolean;
}
export interface VocAnnotation {
  readonly width: number;
  readonly height: number;
  readonly objects: readonly VocObject[];
}
/** A picture of a {@link readVoc} folder. */
export interface VocPicture extends VocAnnotation {
  /** Its name in the list of the set, without an ending. */
  readonly id: string;
  /** Path of the picture. */
  readonly path: string;
}

const op = 'parseVoc';
const entities: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };

/** What is between the tags of each element `name` of a text. */
function elements(xml: string, name: string): string[] {
  return Array.from(xml.matchAll(new RegExp(`<${name}(?:\\s[^>]*)?>(.*?)</${name}>`, 'gs')), (match) => match[1]);
}
function textOf(xml: string, name: string): string {
  const [found] = elements(xml, name);
  if (found === undefined) throw new FormatError(`there is no <${name}>`, { op, expected: 'an annotation of PASCAL VOC' });
  return found.trim().replace(/&(\w+);/g, (whole, entity: string) => (Object.hasOwn(entities, entity) ? entities[entity] : whole));
}
function numberOf(xml: string, name: string): number {
  const text = textOf(xml, name);
  const value = Number(text);
  if (text === '' || !Number.isFinite(value)) throw new FormatError(`<${name}> is ${text}`, { op, received: text, expected: 'a number' });
  return value;
}

/** Reads one annotation. Boxes of the parts of an object (`<part>`) are left out. @throws FormatError */
export function parseVoc(xml: string): VocAnnotation {
  const bare = xml.replace(/<!--.*?-->/gs, '').replace(/<part>.*?<\/part>/gs, '');
  const size = textOf(bare, 'size');
  const flag = (object: string, name: string): boolean => elements(object, name)[0]?.trim() === '1';
  return {
    width: numberOf(size, 'width'),
    height: numberOf(size, 'height'),
    objects: elements(bare, 'object').map((object) => {
      const box = textOf(object, 'bndbox');
      return {
        name: textOf(object, 'name'),
        box: [numberOf(box, 'xmin'), numberOf(box, 'ymin'), numberOf(box, 'xmax'), numberOf(box, 'ymax')],
        difficult: flag(object, 'difficult'),
        truncated: flag(object, 'truncated'),
      };
    }),
  };
}

/**
 * The pictures of a set, in the order of its list: a folder with `ImageSets/Main/<set>.txt`, `Annotations` and `JPEGImages`
 * (`.jpg` unless told otherwise). Nothing is decoded. @throws EnvironmentError, FormatError
 */
export async function readVoc(
  folder: string,
  set: string,
  { extension = '.jpg' }: { readonly extension?: string } = {},
): Promise<VocPicture[]> {
  const { join } = await nodeModule('node:path', 'readVoc');
  const decoder = new TextDecoder();
  const read = async (...parts: string[]): Promise<string> => decoder.decode(await readFileBounded(join(folder, ...parts), 2 ** 26));
  // Lists of one class have a second column.
  const ids = (await read('ImageSets', 'Main', `${set}.txt`)).split('\n').flatMap((line) => line.trim().split(/\s+/)[0] || []);
  const pictures: VocPicture[] = [];
  for (const id of ids) {
    const file = join('Annotations', `${id}.xml`);
    try {
      pictures.push({ id, path: join(folder, 'JPEGImages', `${id}${extension}`), ...parseVoc(await read(file)) });
    } catch (cause) {
      if (!(cause instanceof FormatError)) throw cause;
      throw new FormatError(`${file}: ${cause.message}`, { ...cause.details, cause });
    }
  }
  return pictures;
}
