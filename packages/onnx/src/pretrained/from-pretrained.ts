/** Models of Hugging Face's hub, or of a folder with the same files. */
import { ArgumentError, type DType, FormatError, type nn, noGrad, type Tensor } from 'trireme';
import { Tokenizer } from 'trireme/data/text';
import { openWeights, readFileBounded, tensorFromRaw, type WeightsFile } from 'trireme/io';
import { Config, parseJson } from '../formats/json.js';
import { type BertForMaskedLM, type BertForSequenceClassification, type BertForTokenClassification, type BertModel, bert } from './bert.js';
import { type Architecture, ModelConfig } from './common.js';
import { type Gpt2ForCausalLM, gpt2 } from './gpt2.js';
import { type HubOptions, isHubId, openHub } from './hub.js';
import { type LlamaForCausalLM, llama } from './llama.js';
import { type ResNetForImageClassification, resnet, type VitForImageClassification, vit } from './vit.js';

const op = 'fromPretrained';
const maxConfigBytes = 2 ** 24;
const maxTokenizerBytes = 2 ** 28;

const architectures: ReadonlyMap<string, Architecture> = new Map([
  ['bert', bert],
  ['gpt2', gpt2],
  ['llama', llama],
  ['mistral', llama],
  ['qwen2', llama],
  ['vit', vit],
  ['resnet', resnet],
]);

/** Values of `model_type` in config.json that are known. */
export const modelTypes: readonly string[] = [...architectures.keys()];

export type PretrainedModel =
  | BertModel
  | BertForSequenceClassification
  | BertForTokenClassification
  | BertForMaskedLM
  | Gpt2ForCausalLM
  | LlamaForCausalLM
  | VitForImageClassification
  | ResNetForImageClassification;

export interface PretrainedOptions extends HubOptions {
  /** Of the parameters; float32 unless told otherwise. */
  readonly dtype?: Extract<DType, 'float32' | 'float16' | 'bfloat16'>;
}

export interface Pretrained {
  /** In evaluation. Which class it is, `config.json` decides. */
  readonly model: PretrainedModel;
  /** config.json. */
  readonly config: Readonly<Record<string, unknown>>;
  /** tokenizer.json; null where there is none. */
  readonly tokenizer: Tokenizer | null;
  /** Names of the classes by number, where the configuration has them. */
  readonly labels: readonly string[];
  /** Where its files are. */
  readonly folder: string;
}

/** Gives the path of one of a model's files; null when it has none of that name. */
type FindFile = (name: string) => Promise<string | null>;

interface Place {
  readonly find: FindFile;
  readonly folder: () => Promise<string>;
}

async function placeOf(pathOrId: string, options: HubOptions): Promise<Place> {
  const fs = (await import(/* @vite-ignore */ /* webpackIgnore: true */ `node:fs/promises`)) as typeof import('node:fs/promises');
  const status = await fs.stat(pathOrId).catch(() => null);
  if (status?.isDirectory()) {
    const find: FindFile = async (name) => {
      // Names come from files too (shards): they stay in the folder.
      if (!/^[\w-][\w.-]*$/.test(name))
        throw new FormatError(`the model names a file ${JSON.stringify(name.slice(0, 80))}`, { op, expected: 'a plain file name' });
      const path = `${pathOrId}/${name}`;
      return (await fs.stat(path).catch(() => null))?.isFile() ? path : null;
    };
    return { find, folder: async () => pathOrId };
  }
  if (!isHubId(pathOrId)) {
    throw new ArgumentError(`there is no folder ${pathOrId}`, {
      op,
      received: pathOrId,
      expected: 'a folder with config.json, or the id of a model: owner/name',
    });
  }
  const hub = await openHub(pathOrId, options);
  return { find: hub.file, folder: hub.folder };
}

async function requireFile(find: FindFile, name: string, pathOrId: string): Promise<string> {
  const path = await find(name);
  if (path !== null) return path;
  throw new FormatError(`${pathOrId} has no ${name}`, { op, received: pathOrId, expected: 'config.json and weights' });
}

async function findWeights(find: FindFile, pathOrId: string): Promise<string> {
  for (const name of ['model.safetensors', 'model.safetensors.index.json', 'pytorch_model.bin', 'pytorch_model.bin.index.json']) {
    const path = await find(name);
    if (path === null) continue;
    if (!name.endsWith('.index.json')) return path;
    const index = new Config(parseJson(await readFileBounded(path, maxTokenizerBytes), name), name).object('weight_map');
    for (const shard of new Set(index.keys().map((key) => index.string(key)))) await requireFile(find, shard, pathOrId);
    return path;
  }
  throw new FormatError(`${pathOrId} has no weights`, { op, expected: 'model.safetensors or pytorch_model.bin, or an index of shards' });
}

/** Tensors that training leaves in files and models here compute by themselves. */
const ignored = /(?:\.num_batches_tracked|\.position_ids|\.inv_freq)$/;

/** Copies weights into the model one by one, so that they are in memory once. @throws FormatError when they do not fit */
async function loadInto(model: nn.AnyModule, file: WeightsFile, { names }: Architecture): Promise<void> {
  const own = model.stateDict();
  const missing = new Set([...own.keys()].filter((key) => !ignored.test(key)));
  const unexpected: string[] = [];
  const filled = new Set<Tensor>();
  // Weights of the encoder alone have no prefix in files of the encoder alone.
  const keyOf = (renamed: string): string | undefined =>
    [renamed, `bert.${renamed}`, renamed.replace(/^bert\./, '')].find((key) => own.has(key));
  for (const entry of file.entries.values()) {
    const renamed = names.rename(entry.name);
    if (renamed === null) continue;
    const key = keyOf(renamed);
    if (key === undefined) {
      if (!ignored.test(entry.name)) unexpected.push(entry.name);
      continue;
    }
    const given = tensorFromRaw(await entry.read());
    const value = names.isTransposed?.(entry.name) ? given.t() : given;
    try {
      noGrad(() => model.loadStateDict(new Map([[key, value]]), { strict: false }));
    } catch (cause) {
      throw new FormatError(
        `weight ${JSON.stringify(entry.name)} does not fit config.json (${cause instanceof Error ? cause.message : cause})`,
        { op, cause },
      );
    } finally {
      value.dispose();
      given.dispose();
    }
    const target = own.get(key);
    if (target) filled.add(target);
  }
  for (const key of [...missing]) {
    const target = own.get(key);
    if (target && filled.has(target)) missing.delete(key);
  }
  if (missing.size > 0) {
    throw new FormatError(
      `the weights lack ${[...missing].slice(0, 6).join(', ')}${missing.size > 6 ? ` and ${missing.size - 6} more` : ''}`,
      {
        op,
        received: unexpected.slice(0, 20),
        expected: 'the weights of the architecture that config.json names',
        fix:
          unexpected.length > 0
            ? `The file has ${unexpected.slice(0, 4).join(', ')} instead: it is of another architecture.`
            : 'The file is incomplete: download it again.',
      },
    );
  }
}

function labelsOf(config: Config): string[] {
  const labels = config.optionalObject('id2label');
  if (labels === null) return [];
  return labels
    .keys()
    .filter((key) => /^\d{1,7}$/.test(key))
    .sort((a, b) => Number(a) - Number(b))
    .map((key) => String(labels.get(key)));
}

/**
 * A model with its weights and tokenizer: from a folder, or from Hugging Face's hub by its id (`owner/name`), whose files are kept in the cache. BERT, GPT-2,
 * Llama (also Mistral and Qwen 2), ViT and ResNet. Code that a model brings along is never run.
 * @throws FormatError when files are damaged or do not fit one another, or the architecture is not known; EnvironmentError when they cannot be had
 */
export async function fromPretrained(pathOrId: string, options: PretrainedOptions = {}): Promise<Pretrained> {
  const { find, folder } = await placeOf(pathOrId, options);
  const document = parseJson(await readFileBounded(await requireFile(find, 'config.json', pathOrId), maxConfigBytes), 'config.json');
  const config = new Config(document, 'config.json');
  const type = config.string('model_type', '');
  const architecture = architectures.get(type) ?? config.fail(`.model_type is ${JSON.stringify(type)}`, modelTypes.join(', '));
  const heads = config.has('architectures') ? config.list('architectures', 16).filter((name) => typeof name === 'string') : [];
  const weights = await openWeights(await findWeights(find, pathOrId));
  let model: nn.AnyModule | null = null;
  try {
    // Before any memory is taken: a small file cannot ask for a large model.
    const held = [...weights.entries.values()].reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0);
    model = architecture.build(new ModelConfig(document, 'config.json', held, weights.entries.size), heads as string[]);
    if (options.dtype !== undefined && options.dtype !== 'float32') model.to(options.dtype);
    await loadInto(model, weights, architecture);
    const tokenizerPath = await find('tokenizer.json');
    const tokenizer = tokenizerPath === null ? null : Tokenizer.fromJson(await readFileBounded(tokenizerPath, maxTokenizerBytes));
    model.eval();
    return {
      model: model as unknown as PretrainedModel,
      config: document as Record<string, unknown>,
      tokenizer,
      labels: labelsOf(config),
      folder: await folder(),
    };
  } catch (cause) {
    model?.dispose();
    throw cause;
  } finally {
    await weights.close();
  }
}
