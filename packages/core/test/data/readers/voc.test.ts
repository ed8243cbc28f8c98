import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bccdClassNames, bccdFolder, parseVoc, readVoc } from '../../../src/data/index.js';
import { EnvironmentError, FormatError } from '../../../src/errors.js';

const annotation = `<annotation>
  <!-- <object><name>ghost</name></object> -->
  <filename>a.jpg</filename>
  <size><width>500</width><height>375</height><depth>3</depth></size>
  <object>
    <name>tom &amp; cat</name><pose>Left</pose><truncated>1</truncated><difficult>0</difficult>
    <bndbox><xmin>10</xmin><ymin>20.5</ymin><xmax>110</xmax><ymax>220</ymax></bndbox>
    <part><name>head</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></part>
  </object>
  <object kind="x"><name>dog</name><difficult>1</difficult>
    <bndbox><ymax>9</ymax><xmax>8</xmax><ymin>7</ymin><xmin>6</xmin></bndbox></object>
</annotation>`;

describe('an annotation of PASCAL VOC', () => {
  it('gives size, names, boxes and flags; not what is in comments, nor parts of objects', () => {
    expect(parseVoc(annotation)).toEqual({
      width: 500,
      height: 375,
      objects: [
        { name: 'tom & cat', box: [10, 20.5, 110, 220], difficult: false, truncated: true },
        { name: 'dog', box: [6, 7, 8, 9], difficult: true, truncated: false },
      ],
    });
  });
  it('says what is missing in others', () => {
    expect(() => parseVoc('<annotation/>')).toThrow(/there is no <size>/);
    expect(() => parseVoc(annotation.replace('<xmin>10</xmin>', '<xmin>ten</xmin>'))).toThrow(FormatError);
  });
});

describe('a folder of PASCAL VOC', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'trireme-voc-'));
    for (const part of ['Annotations', 'ImageSets/Main']) await mkdir(join(folder, part), { recursive: true });
    await writeFile(join(folder, 'Annotations/b.xml'), annotation);
    await writeFile(join(folder, 'Annotations/a.xml'), annotation.replace('<width>500', '<width>640'));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  it('is read in the order of the list of a set', async () => {
    await writeFile(join(folder, 'ImageSets/Main/train.txt'), 'b\r\na  -1\n\n');
    const pictures = await readVoc(folder, 'train');
    expect(pictures.map(({ id, path, width, objects }) => [id, path, width, objects.length])).toEqual([
      ['b', join(folder, 'JPEGImages/b.jpg'), 500, 2],
      ['a', join(folder, 'JPEGImages/a.jpg'), 640, 2],
    ]);
    const [first] = await readVoc(folder, 'train', { extension: '.png' });
    expect(first.path).toMatch(/b\.png$/);
  });
  it('without a list, or with a damaged annotation, gives an error that names the file', async () => {
    await expect(readVoc(folder, 'test')).rejects.toThrow(/test\.txt/);
    await writeFile(join(folder, 'ImageSets/Main/test.txt'), 'c');
    await writeFile(join(folder, 'Annotations/c.xml'), '<annotation>');
    await expect(readVoc(folder, 'test')).rejects.toThrow(/c\.xml/);
  });
});

it('photos of blood cells that cannot be downloaded say how else to get them', async () => {
  expect(bccdClassNames).toEqual(['RBC', 'WBC', 'Platelets']);
  const failed = bccdFolder({ url: 'http://127.0.0.1:9/bccd.zip', cacheDir: join(tmpdir(), 'trireme-voc-none') });
  await expect(failed).rejects.toThrow(EnvironmentError);
  await expect(failed).rejects.toThrow(/Shenggan\/BCCD_Dataset/);
});
