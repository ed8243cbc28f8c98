/** Values in files of their own: TensorProto, SequenceProto, OptionalProto and MapProto (onnx-data.proto), as in the tests of ONNX. */
import { FormatError } from 'trireme';
import { field } from '../model/fields.js';
import type { TypeModel } from '../model/model.js';
import { readTensor } from '../model/protobuf.js';
import { WireMessage } from '../model/wire.js';
import { valueOfTensor } from './attributes.js';
import { isStrings } from './transfer.js';
import type { MapValue, OptionalValue, SequenceValue, Value } from './value.js';

function fail(what: string, expected?: string): never {
  throw new FormatError(what, { op: 'onnx', expected });
}

function readSequence(m: WireMessage): SequenceValue {
  const f = field.sequence;
  for (const [name, number] of [
    ['sequences', f.sequences],
    ['maps', f.maps],
    ['optionals', f.optionals],
    ['sparses', f.sparses],
  ] as const) {
    if (m.has(number)) fail(`a sequence of ${name}`, 'a sequence of tensors');
  }
  const items = m.messages(f.tensors, 'TensorProto').map((t) => valueOfTensor(readTensor(t)));
  return { kind: 'sequence', type: items[0]?.type, items };
}

function readOptional(m: WireMessage): OptionalValue {
  const f = field.optional;
  const tensor = m.message(f.tensor, 'TensorProto');
  if (tensor !== undefined) return { kind: 'optional', value: valueOfTensor(readTensor(tensor)) };
  const sequence = m.message(f.sequence, 'SequenceProto');
  if (sequence !== undefined) return { kind: 'optional', value: readSequence(sequence) };
  if (m.has(f.map) || m.has(f.optional) || m.has(f.sparse)) fail('an optional of another kind', 'a tensor or a sequence');
  return { kind: 'optional', value: null };
}

function readMap(m: WireMessage): MapValue {
  const f = field.map;
  const keys: readonly (string | bigint)[] = m.has(f.stringKeys) ? m.strings(f.stringKeys) : Array.from(m.int64s(f.keys));
  const values = m.message(f.values, 'SequenceProto');
  const items = values === undefined ? [] : readSequence(values).items;
  if (items.length !== keys.length) fail(`a map of ${keys.length} keys and ${items.length} values`);
  return {
    kind: 'map',
    entries: new Map(
      keys.map((key, i) => {
        const { host } = items[i];
        return [key, isStrings(host) ? fail('a map of strings', 'a map of numbers') : Number(host[0])];
      }),
    ),
  };
}

/**
 * A value from the bytes of its message.
 * @throws FormatError when they are not one of this kind
 */
export function decodeValue(bytes: Uint8Array, kind: TypeModel['kind'] = 'tensor'): Value {
  const m = WireMessage.parse(bytes, `${kind} value`);
  switch (kind) {
    case 'tensor':
    case 'sparse':
      return valueOfTensor(readTensor(m));
    case 'sequence':
      return readSequence(m);
    case 'optional':
      return readOptional(m);
    case 'map':
      return readMap(m);
    default:
      return kind satisfies never;
  }
}
