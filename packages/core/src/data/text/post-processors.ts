/** The post-processors of tokenizer.json: special tokens around one text or two. All come down to templates. */
import { TokenList } from './encoding.js';
import { checkInteger, checkList, checkString, JsonObject, maxNesting, maxParts, maxTokenId, refuse } from './json.js';
import { byteCharacters, whitespace } from './unicode.js';

export interface PostProcessor {
  /** Special tokens that it adds. */
  added(pair: boolean): number;
  /** One list, or the two of a pair, with the special tokens. */
  process(lists: readonly TokenList[], addSpecialTokens: boolean): TokenList;
}

/** A token with its id, as in tokenizer.json. */
type NamedToken = readonly [string, number];

export type TemplatePiece =
  | { readonly Sequence: { readonly id: 'A' | 'B'; readonly type_id: number } }
  | { readonly SpecialToken: { readonly id: string; readonly type_id: number } };

export type PostProcessorSpec =
  | {
      readonly type: 'TemplateProcessing';
      readonly single: readonly TemplatePiece[];
      readonly pair: readonly TemplatePiece[];
      readonly special_tokens: Readonly<
        Record<string, { readonly id: string; readonly ids: readonly number[]; readonly tokens: readonly string[] }>
      >;
    }
  | { readonly type: 'BertProcessing'; readonly sep: NamedToken; readonly cls: NamedToken }
  | {
      readonly type: 'RobertaProcessing';
      readonly sep: NamedToken;
      readonly cls: NamedToken;
      readonly trim_offsets?: boolean;
      readonly add_prefix_space?: boolean;
    }
  | { readonly type: 'ByteLevel'; readonly add_prefix_space?: boolean; readonly trim_offsets?: boolean; readonly use_regex?: boolean }
  | { readonly type: 'Sequence'; readonly processors: readonly PostProcessorSpec[] };

/** A step of a template: a text, or special tokens. */
type Step =
  | { readonly sequence: 0 | 1; readonly typeId: number }
  | { readonly ids: readonly number[]; readonly tokens: readonly string[]; readonly typeId: number };

interface Stage {
  readonly single: readonly Step[];
  readonly pair: readonly Step[];
  /** Takes spaces out of the offsets before the template is applied. */
  readonly trim: ((list: TokenList) => void) | null;
}

const plain: Stage = {
  single: [{ sequence: 0, typeId: 0 }],
  pair: [
    { sequence: 0, typeId: 0 },
    { sequence: 1, typeId: 1 },
  ],
  trim: null,
};

const isSpace = (character: string): boolean => character === byteCharacters[32] || whitespace.has(character.codePointAt(0) ?? 0);

/** Offsets without the white space at either end of a token; the space that the tokenizer itself put in front has no width. */
function trimOffsets(addPrefixSpace: boolean): (list: TokenList) => void {
  return (list) => {
    for (let i = 0; i < list.length; i++) {
      const characters = [...list.tokens[i]];
      const first = characters.findIndex((character) => !isSpace(character));
      let leading = first < 0 ? characters.length : first;
      const trailing = first < 0 ? characters.length : characters.length - 1 - characters.findLastIndex((character) => !isSpace(character));
      if (leading > 0) {
        if ((i === 0 || list.starts[i] === 0) && addPrefixSpace && leading === 1) leading = 0;
        list.starts[i] = Math.min(list.starts[i] + leading, list.ends[i]);
      }
      if (trailing > 0 && list.ends[i] >= trailing) list.ends[i] = Math.max(list.ends[i] - trailing, list.starts[i]);
    }
  };
}

function template(value: readonly unknown[], path: string, special: JsonObject): Step[] {
  return value.map((item, i): Step => {
    const piece = new JsonObject(item, `${path}[${i}]`);
    if (piece.has('Sequence')) {
      const sequence = piece.object('Sequence');
      return { sequence: sequence.oneOf('id', ['A', 'B']) === 'A' ? 0 : 1, typeId: sequence.integer('type_id', 0, 255) };
    }
    const token = piece.object('SpecialToken');
    const definition = special.object(token.string('id'));
    const ids = definition.list('ids', maxParts).map((id) => checkInteger(id, definition.at('ids'), 0, maxTokenId));
    const tokens = definition.list('tokens', maxParts).map((text) => checkString(text, definition.at('tokens')));
    if (ids.length !== tokens.length) throw refuse(definition.path, `has ${ids.length} ids and ${tokens.length} tokens`);
    return { ids, tokens, typeId: token.integer('type_id', 0, 255) };
  });
}

function named(spec: JsonObject, name: string, typeId: number): Step {
  const pair = checkList(spec.get(name), spec.at(name), 2);
  return { ids: [checkInteger(pair[1], spec.at(name), 0, maxTokenId)], tokens: [checkString(pair[0], spec.at(name))], typeId };
}

function readStages(value: unknown, path: string, depth: number): Stage[] {
  const spec = new JsonObject(value, path);
  if (depth > maxNesting) throw refuse(path, `nests deeper than ${maxNesting}`);
  const kind = spec.string('type') as PostProcessorSpec['type'];
  const text = (sequence: 0 | 1, typeId: number): Step => ({ sequence, typeId });
  switch (kind) {
    case 'TemplateProcessing': {
      const special = spec.object('special_tokens');
      const single = template(spec.list('single', maxParts), spec.at('single'), special);
      const pair = template(spec.list('pair', maxParts), spec.at('pair'), special);
      return [{ single, pair, trim: null }];
    }
    case 'BertProcessing': {
      const [cls, sep] = [named(spec, 'cls', 0), named(spec, 'sep', 0)];
      const single = [cls, text(0, 0), sep];
      return [{ single, pair: [...single, text(1, 1), named(spec, 'sep', 1)], trim: null }];
    }
    case 'RobertaProcessing': {
      const [cls, sep] = [named(spec, 'cls', 0), named(spec, 'sep', 0)];
      const single = [cls, text(0, 0), sep];
      const trim = spec.boolean('trim_offsets', true) ? trimOffsets(spec.boolean('add_prefix_space', true)) : null;
      return [{ single, pair: [...single, sep, text(1, 0), sep], trim }];
    }
    case 'ByteLevel':
      return spec.boolean('trim_offsets', true) ? [{ ...plain, trim: trimOffsets(spec.boolean('add_prefix_space', true)) }] : [];
    case 'Sequence':
      return spec.list('processors', maxParts).flatMap((part, i) => readStages(part, `${path}.processors[${i}]`, depth + 1));
    default: {
      kind satisfies never;
      throw refuse(path, `has the type ${JSON.stringify(kind)}`, 'a post-processor that this library knows');
    }
  }
}

function apply(steps: readonly Step[], lists: readonly TokenList[], addSpecialTokens: boolean): TokenList {
  const out = new TokenList();
  for (const step of steps) {
    if ('sequence' in step) {
      const list = lists[step.sequence];
      if (list) out.append(list, step.typeId);
    } else if (addSpecialTokens) step.ids.forEach((id, i) => out.pushSpecial(id, step.tokens[i], step.typeId));
  }
  return out;
}

const addedBy = (steps: readonly Step[]): number => steps.reduce((sum, step) => sum + ('ids' in step ? step.ids.length : 0), 0);

/** Every combination of the parts of the lists, the main ones first. */
function combinations(lists: readonly TokenList[]): TokenList[][] {
  const [first, second] = lists.map((list) => [list, ...list.overflowing]);
  if (second === undefined) return first.map((part) => [part]);
  return first.flatMap((a) => second.map((b) => [a, b]));
}

/** @param value null: the texts follow one another, without special tokens. @throws FormatError */
export function readPostProcessor(value: unknown, path = 'post_processor'): PostProcessor {
  const stages = value === null || value === undefined ? [] : readStages(value, path, 0);
  const templates = stages.filter((stage) => addedBy(stage.single) > 0 || stage.trim === null);
  const main = templates[0] ?? plain;
  if (templates.length > 1) throw refuse(path, 'has several templates', 'one template in a sequence');
  return {
    added: (pair) => addedBy(pair ? main.pair : main.single),
    process(lists, addSpecialTokens) {
      for (const { trim } of stages) {
        if (trim !== null) for (const list of lists) for (const part of [list, ...list.overflowing]) trim(part);
      }
      const steps = lists.length > 1 ? main.pair : main.single;
      const [whole, ...rest] = combinations(lists).map((parts) => apply(steps, parts, addSpecialTokens));
      whole.overflowing = rest;
      return whole;
    },
  };
}
