/** Running single operators in tests. */
import { NodeAttributes } from '../../src/engine/attributes.js';
import type { ElementType, HostArray } from '../../src/engine/element-type.js';
import { TensorValue, type Value } from '../../src/engine/value.js';
import type { AttributeModel, NodeModel } from '../../src/model/model.js';
import { hostWriter } from '../../src/ops/host.js';
import { operators } from '../../src/ops/index.js';

export type Attribute =
  | number
  | string
  | readonly (number | string)[]
  | { readonly float: number | string }
  | { readonly floats: readonly number[] };

function attributeOf(value: Attribute): AttributeModel {
  if (typeof value === 'number') return { kind: 'int', value: BigInt(value) };
  if (typeof value === 'string') return { kind: 'string', value };
  if ('float' in value) return { kind: 'float', value: Number(value.float) };
  if ('floats' in value) return { kind: 'floats', value: value.floats };
  if (typeof value[0] === 'string') return { kind: 'strings', value: value as readonly string[] };
  return { kind: 'ints', value: (value as readonly number[]).map(BigInt) };
}

export interface RunOptions {
  readonly domain?: string;
  readonly opset?: number;
  /** Which outputs somebody uses. */
  readonly wanted?: readonly boolean[];
}

/** What an operator makes of values. */
export function run(
  op: string,
  inputs: readonly (Value | null)[],
  attributes: Readonly<Record<string, Attribute>> = {},
  { domain = '', opset = domain === '' ? 21 : 1, wanted = [true] }: RunOptions = {},
): readonly (Value | null)[] {
  const fail = (what: string, expected?: string): never => {
    throw new Error(`${op}: ${what}${expected === undefined ? '' : `, not ${expected}`}`);
  };
  const model = new Map(Object.entries(attributes).map(([name, value]) => [name, attributeOf(value)]));
  const node: NodeModel = { name: '', opType: op, domain, overload: '', inputs: [], outputs: [], attributes: model };
  const operator = operators.find(domain, op, opset) ?? fail('is not known');
  const made = operator(inputs, {
    node,
    attrs: new NodeAttributes(model, fail),
    opset,
    outputCount: wanted.length,
    wants: (k) => wanted[k] === true,
    run: () => fail('runs no graph'),
    fail,
  });
  return Array.isArray(made) ? (made as readonly (Value | null)[]) : [made as Value];
}

/** The only output, which is a tensor. */
export function run1(...args: Parameters<typeof run>): TensorValue {
  const [value] = run(...args);
  if (value?.kind !== 'tensor') throw new Error(`${args[0]} makes no tensor`);
  return value;
}

/** A value known on the host. */
export function known(
  type: ElementType,
  data: readonly (number | bigint | string)[],
  shape: readonly number[] = [data.length],
): TensorValue {
  if (type === 'string') return TensorValue.ofHost(data.map(String), type, shape);
  const writer = hostWriter(type, data.length);
  for (const [i, x] of data.entries()) writer.set(i, typeof x === 'string' ? Number(x) : x);
  return TensorValue.ofHost(writer.data, type, shape);
}

/** The same value on the device alone. */
export function onDevice(value: TensorValue): TensorValue {
  return TensorValue.ofTensor(value.tensor, value.type);
}

export function elements(host: HostArray): (number | bigint | string)[] {
  return Array.from(host as ArrayLike<number | bigint | string>);
}
