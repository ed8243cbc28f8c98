import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { argmax, FormatError, type nn, noGrad, type Tensor, tensor } from 'trireme';
import { encodeSafetensors } from 'trireme/io';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  BertForSequenceClassification,
  BertModel,
  fromPretrained,
  Gpt2ForCausalLM,
  LlamaForCausalLM,
  type PretrainedModel,
} from '../../src/pretrained/index.js';
import reference from '../reference/pretrained.json' with { type: 'json' };

interface Described {
  readonly shape: readonly number[];
  readonly data: readonly number[];
}
interface Case {
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly file: string;
  readonly weights: string;
  readonly inputs: Readonly<Record<string, Described>>;
  readonly outputs: Readonly<Record<string, Described>>;
}
const cases = reference.cases as unknown as readonly Case[];
const named = (name: string): Case => cases.find((entry) => entry.name === name)!;

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trireme-pretrained-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});
async function lay({ config, file, weights }: Case, changes: Readonly<Record<string, unknown>> = {}): Promise<void> {
  await writeFile(join(folder, 'config.json'), JSON.stringify({ ...config, ...changes }));
  await writeFile(join(folder, file), Buffer.from(weights, 'base64'));
}

const make = ({ shape, data }: Described, dtype: 'int32' | 'float32' = 'int32'): Tensor => tensor([...data], { shape: [...shape], dtype });

function run(model: PretrainedModel, inputs: Case['inputs']): Record<string, Tensor> {
  if ('pixel_values' in inputs) return { logits: (model as nn.Module).call(make(inputs.pixel_values, 'float32')) };
  const mask = 'attention_mask' in inputs ? make(inputs.attention_mask) : null;
  const ids = make(inputs.input_ids);
  if (model instanceof BertModel) {
    const { lastHiddenState, pooled } = model.call(ids, { attentionMask: mask, tokenTypeIds: make(inputs.token_type_ids) });
    return { last_hidden_state: lastHiddenState, ...(pooled === null ? {} : { pooler_output: pooled }) };
  }
  const types = 'token_type_ids' in inputs ? { tokenTypeIds: make(inputs.token_type_ids) } : {};
  return { logits: (model as nn.Module<[Tensor, object]>).call(ids, { attentionMask: mask, ...types }) };
}

describe('fromPretrained from a folder', () => {
  it.each(cases.map((entry) => [entry.name, entry] as const))('%s gives what transformers gives', async (_, entry) => {
    await lay(entry);
    const { model } = await fromPretrained(folder);
    const outputs = noGrad(() => run(model, entry.inputs));
    for (const [name, { shape, data }] of Object.entries(entry.outputs)) {
      expect([name, ...outputs[name].shape]).toEqual([name, ...shape]);
      const found = Array.from(outputs[name].dataSync(), Number);
      // What padding makes of itself is nobody's concern.
      const padded = entry.inputs.attention_mask?.data ?? [];
      const perToken = shape.length === 3 && padded.length > 0 ? data.length / padded.length : 0;
      for (const [i, want] of data.entries()) {
        if (perToken > 0 && padded[Math.floor(i / perToken)] === 0) continue;
        if (!(Math.abs(found[i] - want) < 2e-4)) expect(`${name}[${i}] ${found[i]}`).toBe(`${name}[${i}] ${want}`);
      }
    }
    model.dispose();
  });

  it('names the classes and reads the tokenizer', async () => {
    await lay(named('bert classification'));
    const vocabulary = Object.fromEntries(['[UNK]', 'a', 'b', 'c'].map((token, id) => [token, id]));
    await writeFile(
      join(folder, 'tokenizer.json'),
      JSON.stringify({
        version: '1.0',
        added_tokens: [],
        pre_tokenizer: { type: 'Whitespace' },
        model: { type: 'WordLevel', vocab: vocabulary, unk_token: '[UNK]' },
      }),
    );
    const { model, labels, tokenizer, config } = await fromPretrained(folder);
    expect(model).toBeInstanceOf(BertForSequenceClassification);
    expect(labels).toEqual(['no', 'yes', 'maybe']);
    expect(Array.from(tokenizer?.encode('b a x').ids ?? [])).toEqual([2, 1, 0]);
    expect(config.model_type).toBe('bert');
    expect(model.training).toBe(false);
    model.dispose();
  });

  it.each(['gpt2', 'llama'])('%s decodes step by step with caches as at once', async (name) => {
    await lay(named(name));
    const { model } = await fromPretrained(folder);
    if (!(model instanceof Gpt2ForCausalLM || model instanceof LlamaForCausalLM)) throw new Error('another model');
    noGrad(() => {
      const ids = tensor([[1, 5, 3, 7]], { dtype: 'int32' });
      const whole = model.call(ids).toArray() as number[][][];
      const caches = model.newCaches(1, 8);
      const begin = model.call(ids.narrow(1, 0, 2), { caches }).toArray() as number[][][];
      const third = model.call(ids.narrow(1, 2, 1), { caches }).toArray() as number[][][];
      const fourth = model.call(ids.narrow(1, 3, 1), { caches });
      const last = [...begin[0], ...third[0], ...(fourth.toArray() as number[][][])[0]];
      for (const [t, row] of whole[0].entries()) for (const [k, want] of row.entries()) expect(last[t][k]).toBeCloseTo(want, 4);
      expect(Number(argmax(fourth, -1).item())).toBe(whole[0][3].indexOf(Math.max(...whole[0][3])));
      for (const cache of caches) cache.dispose();
    });
    model.dispose();
  });

  it('in another dtype', async () => {
    await lay(named('llama'));
    const { model } = await fromPretrained(folder, { dtype: 'bfloat16' });
    expect([...(model as nn.AnyModule).stateDict().values()].every(({ dtype }) => dtype === 'bfloat16')).toBe(true);
    model.dispose();
  });

  it('says what does not fit', async () => {
    await lay(named('llama'), { intermediate_size: 13 });
    await expect(fromPretrained(folder)).rejects.toThrow(/does not fit config.json/);
    await lay(named('llama'), { num_hidden_layers: 3 });
    await expect(fromPretrained(folder)).rejects.toThrow(/lack layers\.2\./);
    await lay(named('llama'), { hidden_size: 2 ** 20 });
    await expect(fromPretrained(folder)).rejects.toThrow(/describes a larger model/);
    await lay(named('llama'), { model_type: 'other' });
    await expect(fromPretrained(folder)).rejects.toThrow(/model_type is "other".*bert, gpt2/s);
    await lay(named('llama'));
    await writeFile(
      join(folder, 'model.safetensors'),
      encodeSafetensors([['x', { dtype: 'float32', shape: [1], data: new Uint8Array(4) }]]),
    );
    await expect(fromPretrained(folder)).rejects.toThrow(FormatError);
    await expect(fromPretrained(join(folder, 'missing'))).rejects.toThrow(/no folder/);
  });
});
