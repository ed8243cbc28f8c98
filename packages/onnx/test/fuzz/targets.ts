/** The readers that take files of others, with small files to damage. */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FormatError, TriremeError } from 'trireme';
import { decodeAudio } from 'trireme/data/audio';
import { Tokenizer } from 'trireme/data/text';
import { imageSize } from 'trireme/data/vision';
import {
  decodeIdx,
  decodeNpy,
  decodeNpyStrings,
  decodeSafetensors,
  encodeSafetensors,
  openWeights,
  openZip,
  readIdx,
  readNpz,
  zipChunks,
} from 'trireme/io';
import { decodeValue } from '../../src/engine/data.js';
import { OnnxModel } from '../../src/engine/onnx-model.js';
import { Config } from '../../src/formats/json.js';
import { loadKeras } from '../../src/keras/index.js';
import { encodeModel } from '../../src/model/encode.js';
import { decodeModel } from '../../src/model/protobuf.js';
import { fromPretrained } from '../../src/pretrained/index.js';
import { translateGraph } from '../../src/tfjs/graph-model.js';
import { loadGraphModel, loadLayersModel } from '../../src/tfjs/index.js';
import { readManifest } from '../../src/tfjs/manifest.js';
import { mutateBytes, mutateJson, mutateProtobuf, mutateSafetensors, mutateZip, type Random } from './mutate.js';

export interface Target {
  readonly name: string;
  readonly seeds: readonly Uint8Array[];
  /** How many of its files are tried, next to those of others; 1 unless told otherwise. */
  readonly share?: number;
  /** Damages a seed; mutateBytes unless told otherwise. */
  mutate?(seed: Uint8Array, random: Random): Uint8Array | Promise<Uint8Array>;
  read(bytes: Uint8Array): unknown;
}

const reference = (path: string): unknown => JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'));
const core = (name: string): unknown => reference(`../../../core/test/reference/${name}.json`);
const fromBase64 = (text: string): Uint8Array => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

interface FileCase {
  readonly name: string;
  readonly base64: string;
}
const filesOf = (name: string): readonly FileCase[] => (core(name) as { cases: FileCase[] }).cases;
const weightFiles = filesOf('weight-files');
const seedsOf = (pattern: RegExp): Uint8Array[] =>
  [...weightFiles, ...filesOf('numpy-files'), ...filesOf('sound-files')]
    .filter(({ name }) => pattern.test(name))
    .map(({ base64 }) => fromBase64(base64));

interface TfjsCase {
  readonly model: { readonly modelTopology: object };
  readonly weights: string;
}
const tfjsCases = (name: string): readonly TfjsCase[] => (reference(`../reference/${name}.json`) as { cases: TfjsCase[] }).cases;
/** A model and its weights in one file: the length of the document, the document, the weights. */
function bundle(document: string, weights: Uint8Array): Uint8Array {
  const text = new TextEncoder().encode(document);
  const out = new Uint8Array(4 + text.length + weights.length);
  new DataView(out.buffer).setUint32(0, text.length, true);
  out.set(text, 4);
  out.set(weights, 4 + text.length);
  return out;
}
function unbundle(bytes: Uint8Array): { document: Uint8Array; weights: Uint8Array } {
  const length = bytes.length < 4 ? 0 : new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  return { document: bytes.subarray(4, 4 + length), weights: bytes.subarray(4 + length) };
}
const bundles = (name: string): Uint8Array[] =>
  tfjsCases(name).map(({ model, weights }) => bundle(JSON.stringify(model), fromBase64(weights)));
function mutateBundle(seed: Uint8Array, random: Random): Uint8Array {
  const { document, weights } = unbundle(seed);
  if (random.below(4) === 0) return bundle(new TextDecoder().decode(mutateBytes(document, random)), weights);
  return bundle(
    mutateJson(JSON.parse(new TextDecoder().decode(document)), random),
    random.below(8) === 0 ? mutateBytes(weights, random) : weights,
  );
}
const json = (seed: Uint8Array, random: Random): Uint8Array =>
  random.below(4) === 0
    ? mutateBytes(seed, random)
    : new TextEncoder().encode(mutateJson(JSON.parse(new TextDecoder().decode(seed)), random));

/** Every tensor of a file of weights. */
async function readWeights(bytes: Uint8Array): Promise<void> {
  const file = await openWeights(bytes);
  let first: unknown;
  for (const entry of file.entries.values()) {
    try {
      await entry.read();
    } catch (error) {
      if (!(error instanceof TriremeError)) throw error;
      first ??= error;
    }
  }
  await file.close();
  if (first !== undefined) throw first;
}

const inZip = (seed: Uint8Array, random: Random): Promise<Uint8Array> | Uint8Array =>
  random.below(4) === 0 ? mutateBytes(seed, random) : mutateZip(seed, random, (_, content) => mutateBytes(content, random));

async function onnxSeeds(): Promise<Uint8Array[]> {
  const seeds: Uint8Array[] = [];
  for (const { model, weights } of tfjsCases('tfjs-graphs')) {
    const config = new Config(model, 'model');
    seeds.push(encodeModel(translateGraph(config, await readManifest(config, async () => fromBase64(weights)))));
  }
  return seeds;
}

function refuse(): never {
  throw new FormatError('no picture');
}
function png(): Uint8Array {
  return fromBase64('iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAIAAAB7QOjdAAAADklEQVR4nGP4z8AARAwQCgAf7gP9i18U1AAAAABJRU5ErkJggg==');
}
const idx = (): Uint8Array => Uint8Array.of(0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6);
const floatIdx = (): Uint8Array => Uint8Array.of(0, 0, 0x0d, 1, 0, 0, 0, 1, 0x3f, 0x80, 0, 0);
async function gzipped(bytes: Uint8Array): Promise<Uint8Array> {
  const stream = new Blob([bytes.slice()]).stream().pipeThrough(new CompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
const joined = (chunks: readonly Uint8Array[]): Uint8Array => Uint8Array.from(chunks.flatMap((chunk) => [...chunk]));

export async function makeTargets(): Promise<Target[]> {
  const documents = (core('text-tokenizers') as { tokenizers: { json: unknown }[] }).tokenizers;
  const tokenizers = documents.map(({ json: document }) =>
    new TextEncoder().encode(typeof document === 'string' ? document : JSON.stringify(document)),
  );
  const safetensors = [
    ...seedsOf(/\.safetensors$/),
    encodeSafetensors(
      [
        ['weight', { dtype: 'float32', shape: [2, 3], data: new Uint8Array(24) }],
        ['bias', { dtype: 'int64', shape: [1], data: new Uint8Array(8) }],
      ],
      [['format', 'pt']],
    ),
  ];
  const zip = joined(
    await zipChunks(
      [
        ['a.txt', new TextEncoder().encode('hello '.repeat(100))],
        ['folder/b', new Uint8Array(50)],
      ],
      { compress: true },
    ),
  );
  const onnx = await onnxSeeds();
  const targets: Target[] = [
    {
      name: 'onnx',
      seeds: onnx,
      mutate: (seed, random) => (random.below(4) === 0 ? mutateBytes(seed, random) : mutateProtobuf(seed, random)),
      read: (bytes) => new OnnxModel(decodeModel(bytes)).dispose(),
    },
    {
      name: 'onnx tensors',
      seeds: onnxTensors(),
      mutate: (seed, random) => mutateProtobuf(seed, random),
      read: (bytes) => [decodeValue(bytes)],
    },
    {
      name: 'safetensors',
      seeds: safetensors,
      mutate: (seed, random) => (random.below(3) === 0 ? mutateBytes(seed, random) : mutateSafetensors(seed, random)),
      read: async (bytes) => {
        await readWeights(bytes);
        decodeSafetensors(bytes);
      },
    },
    { name: 'pytorch zip', seeds: seedsOf(/^(?!.*legacy).*\.pt$/), mutate: inZip, read: readWeights },
    { name: 'pytorch legacy', seeds: seedsOf(/legacy.*\.pt$/), read: readWeights },
    { name: 'npy', seeds: seedsOf(/\.npy$/), read: (bytes) => [decodeNpy(bytes)] },
    { name: 'npy text', seeds: seedsOf(/(text|bytes)\.npy$/), read: (bytes) => [decodeNpyStrings(bytes)] },
    {
      name: 'npz',
      seeds: seedsOf(/\.npz$/),
      mutate: inZip,
      read: async (bytes) => {
        await readNpz(bytes);
        // Numbers that only numpy has are no weights.
        await readWeights(bytes).catch((error: unknown) => {
          if (!(error instanceof TriremeError)) throw error;
        });
      },
    },
    { name: 'gguf', seeds: seedsOf(/\.gguf$/), read: readWeights },
    {
      name: 'zip',
      seeds: [zip],
      read: async (bytes) => {
        const archive = await openZip(bytes);
        for (const entry of archive.entries.values()) await entry.read();
      },
    },
    {
      name: 'tfjs layers',
      seeds: bundles('tfjs-layers'),
      mutate: mutateBundle,
      read: async (bytes) => {
        const { document, weights } = unbundle(bytes);
        (await loadLayersModel({ model: document, read: async () => weights })).dispose();
      },
    },
    {
      name: 'tfjs graphs',
      seeds: bundles('tfjs-graphs'),
      mutate: mutateBundle,
      read: async (bytes) => {
        const { document, weights } = unbundle(bytes);
        (await loadGraphModel({ model: document, read: async () => weights })).dispose();
      },
    },
    {
      name: 'keras',
      seeds: bytesOf('keras', 'file'),
      share: 0.5,
      mutate: (seed, random) =>
        seed[0] === 0x50 && random.below(4) > 0 ? mutateZip(seed, random, kerasPart(random)) : mutateBytes(seed, random),
      read: async (bytes) => (await loadKeras(bytes)).dispose(),
    },
    {
      name: 'pretrained',
      seeds: pretrained(),
      share: 0.2,
      mutate: mutateBundle,
      read: readPretrained,
    },
    { name: 'tokenizer.json', seeds: tokenizers, mutate: json, read: (bytes) => Tokenizer.fromJson(new TextDecoder().decode(bytes)) },
    { name: 'image size', seeds: [png()], read: (bytes) => imageSize(bytes) ?? refuse() },
    { name: 'wav', seeds: seedsOf(/\.wav$/), read: (bytes) => decodeAudio(bytes) },
    { name: 'idx', seeds: [idx(), floatIdx()], read: decodeIdx },
    { name: 'idx, gzipped', seeds: [await gzipped(idx())], read: (bytes) => readIdx(bytes) },
  ];
  return targets;
}

/** Files of a reference, by the name of their field. */
function bytesOf(name: string, field: string): Uint8Array[] {
  const { cases } = reference(`../reference/${name}.json`) as { cases: Readonly<Record<string, string>>[] };
  return cases.map((entry) => fromBase64(entry[field]));
}
const kerasPart =
  (random: Random) =>
  (name: string, content: Uint8Array): Uint8Array =>
    name === 'config.json' && random.below(3) > 0
      ? new TextEncoder().encode(mutateJson(JSON.parse(new TextDecoder().decode(content)), random))
      : mutateBytes(content, random);

/** A configuration and its weights, which must be safetensors to be damaged in place. */
function pretrained(): Uint8Array[] {
  const { cases } = reference('../reference/pretrained.json') as { cases: { config: object; weights: string }[] };
  return cases.map(({ config, weights }) => bundle(JSON.stringify(config), fromBase64(weights)));
}
async function readPretrained(bytes: Uint8Array): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'trireme-fuzz-'));
  try {
    const { document, weights } = unbundle(bytes);
    await writeFile(join(folder, 'config.json'), document);
    await writeFile(join(folder, 'model.safetensors'), weights);
    (await fromPretrained(folder)).model.dispose();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** TensorProtos: those in the seeds of models. */
function onnxTensors(): Uint8Array[] {
  // dims [2, 1], float, raw data.
  const raw = Uint8Array.of(0x08, 2, 0x08, 1, 0x10, 1, 0x42, 1, 0x77, 0x4a, 8, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40);
  // dims [3], int64 packed, name.
  const ints = Uint8Array.of(0x0a, 1, 3, 0x10, 7, 0x3a, 3, 1, 2, 3, 0x42, 1, 0x6b);
  // dims [1], text.
  const text = Uint8Array.of(0x08, 1, 0x10, 8, 0x32, 2, 0x68, 0x69);
  return [raw, ints, text];
}
