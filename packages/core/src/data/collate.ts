/** Batches from items: stacking and padding. */
import { ArgumentError, ShapeError } from '../errors.js';
import type { Field, FieldArray } from './dataset.js';

/** Element types for numbers that come alone in an item. */
export type NumberDType = 'float32' | 'float64' | 'int8' | 'uint8' | 'int16' | 'int32';

const numberArrays = {
  float32: Float32Array,
  float64: Float64Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  int32: Int32Array,
} as const satisfies Record<NumberDType, new (values: ArrayLike<number>) => FieldArray>;

export interface CollateOptions {
  /** Element type of a field whose items are numbers; float32 unless told otherwise. */
  readonly dtypes?: Readonly<Record<string, NumberDType>>;
  /** Shape of one item of a field whose items are bare typed arrays ([length] unless told otherwise; [] for a scalar). */
  readonly shapes?: Readonly<Record<string, readonly number[]>>;
}

/** What the items of one field become. */
export type Collated<V> = V extends string
  ? string[]
  : V extends number
    ? Field<Float32Array | Float64Array | Int8Array | Uint8Array | Int16Array | Int32Array>
    : V extends boolean
      ? Field<Uint8Array>
      : V extends bigint
        ? Field<BigInt64Array>
        : V extends FieldArray
          ? Field<V>
          : V extends Field<infer A>
            ? Field<A>
            : V[];

export type CollatedItem<T> = { readonly [K in keyof T]: Collated<T[K]> };

const isArray = (value: unknown): value is FieldArray => ArrayBuffer.isView(value) && !(value instanceof DataView);

function isField(value: unknown): value is Field {
  return typeof value === 'object' && value !== null && 'data' in value && 'shape' in value && isArray(value.data);
}

const elements = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/** The items of one field as fields: their arrays and shapes; null where they are no arrays. */
function asFields(name: string, values: readonly unknown[], shape: readonly number[] | undefined, op: string): Field[] | null {
  if (!values.every((value) => isArray(value) || isField(value))) return null;
  return values.map((value, i) => {
    const field = isField(value) ? value : { data: value as FieldArray, shape: shape ?? [(value as FieldArray).length] };
    if (field.data.length !== elements(field.shape)) {
      throw new ShapeError(`${name} of item ${i} has ${field.data.length} elements`, {
        op,
        received: field.data.length,
        expected: `${elements(field.shape)} for shape [${field.shape.join(', ')}]`,
      });
    }
    return field;
  });
}

function allocate(like: FieldArray, length: number): FieldArray {
  return new (like.constructor as new (length: number) => FieldArray)(length);
}

function put(into: FieldArray, from: FieldArray, at: number): void {
  // One constructor made both, so the element types agree.
  (into as Float32Array).set(from as Float32Array, at);
}

function checkKinds(name: string, fields: readonly Field[], op: string): void {
  for (const [i, { data }] of fields.entries()) {
    if (data.constructor !== fields[0].data.constructor) {
      throw new ArgumentError(`${name} of item ${i} is a ${data.constructor.name}, of item 0 a ${fields[0].data.constructor.name}`, {
        op,
        expected: 'arrays of one type',
      });
    }
  }
}

function stack(name: string, fields: readonly Field[], op: string): Field {
  checkKinds(name, fields, op);
  const [{ data, shape }] = fields;
  for (const [i, field] of fields.entries()) {
    if (field.shape.join() !== shape.join()) {
      throw new ShapeError(`${name} of item ${i} has shape [${field.shape.join(', ')}], of item 0 [${shape.join(', ')}]`, {
        op,
        received: field.shape,
        expected: 'items of one shape',
        fix: 'Pad sequences with padCollate, resize pictures before.',
      });
    }
  }
  const out = allocate(data, fields.length * data.length);
  for (const [i, field] of fields.entries()) put(out, field.data, i * data.length);
  return { data: out, shape: [fields.length, ...shape] };
}

function collateValues(name: string, values: readonly unknown[], options: CollateOptions, op: string): unknown {
  const shape = [values.length];
  if (values.every((value) => typeof value === 'number')) {
    return { data: new numberArrays[options.dtypes?.[name] ?? 'float32'](values as number[]), shape };
  }
  if (values.every((value) => typeof value === 'boolean')) return { data: Uint8Array.from(values as boolean[], Number), shape };
  if (values.every((value) => typeof value === 'bigint')) return { data: BigInt64Array.from(values as bigint[]), shape };
  const fields = asFields(name, values, options.shapes?.[name], op);
  return fields ? stack(name, fields, op) : [...values];
}

function fieldNames(items: readonly object[], op: string): string[] {
  if (items.length === 0) throw new ArgumentError('there are no items', { op, expected: 'at least one' });
  const names = Object.keys(items[0]);
  for (const [i, item] of items.entries()) {
    if (Object.keys(item).join('\n') !== names.join('\n')) {
      throw new ArgumentError(`item ${i} has the fields ${Object.keys(item).join(', ')}`, { op, expected: names.join(', ') });
    }
  }
  return names;
}

/**
 * A collate function that stacks items field by field: typed arrays and fields into one with the batch in front,
 * numbers, bigints and booleans (as 0 and 1) into typed arrays, everything else into arrays.
 * Numbers become float32 whatever their values: name the type of labels, `fieldCollate({ dtypes: { label: 'int32' } })`.
 * @throws ShapeError, ArgumentError (from the function) when items do not agree.
 */
export function fieldCollate<T extends object>(options: CollateOptions = {}): (items: readonly T[]) => CollatedItem<T> {
  const op = 'fieldCollate';
  return (items) => {
    const batch: Record<string, unknown> = {};
    for (const name of fieldNames(items, op)) {
      const values = items.map((item) => (item as Record<string, unknown>)[name]);
      batch[name] = collateValues(name, values, options, op);
    }
    return batch as CollatedItem<T>;
  };
}

/** {@link fieldCollate} with its defaults, to give to a DataLoader as `collate`. */
export function defaultCollate<T extends object>(items: readonly T[]): CollatedItem<T> {
  return fieldCollate<T>()(items);
}

export interface PadOptions extends CollateOptions {
  /** The fields to pad along their first dimension, and the value for the places that are filled up. */
  readonly pad: Readonly<Record<string, number | bigint>>;
  /** Round the padded length up to a multiple, so that fewer lengths occur (each new one compiles anew). */
  readonly multipleOf?: number;
  /** Pad (never cut) to at least this length. */
  readonly minLength?: number;
  /** Fill up in front of the items or after them. */
  readonly side?: 'left' | 'right';
}

/**
 * A collate function for sequences: the fields named in `pad` (1-d arrays, or fields with time as first dimension) are
 * filled up to the longest of the batch; the other fields are stacked as by {@link fieldCollate}. Adds `lengths`, an
 * int32 field of the lengths before padding (of the first padded field).
 * @throws ShapeError, ArgumentError (from the function) when items do not agree.
 */
export function padCollate<T extends object>(
  options: PadOptions,
): (items: readonly T[]) => CollatedItem<T> & { readonly lengths: Field<Int32Array> } {
  const op = 'padCollate';
  const { pad, multipleOf = 1, minLength = 0, side = 'right' } = options;
  if (!Number.isInteger(multipleOf) || multipleOf < 1) {
    throw new ArgumentError(`multipleOf is ${multipleOf}`, { op, received: multipleOf, expected: 'a whole number, 1 or more' });
  }
  return (items) => {
    const batch: Record<string, unknown> = {};
    let lengths: Int32Array | null = null;
    const names = fieldNames(items, op);
    for (const name of Object.keys(pad)) {
      if (!names.includes(name)) throw new ArgumentError(`the items have no field ${name}`, { op, received: names, expected: name });
    }
    for (const name of names) {
      const values = items.map((item) => (item as Record<string, unknown>)[name]);
      if (!Object.hasOwn(pad, name)) {
        batch[name] = collateValues(name, values, options, op);
        continue;
      }
      const fields = asFields(name, values, options.shapes?.[name], op);
      if (!fields) throw new ArgumentError(`${name} holds no arrays`, { op, expected: 'typed arrays or fields to pad' });
      const longest = fields.reduce((most, { shape }) => Math.max(most, shape[0] ?? 0), minLength);
      batch[name] = padStack(name, fields, Math.ceil(longest / multipleOf) * multipleOf, pad[name], side, op);
      lengths ??= Int32Array.from(fields, ({ shape }) => shape[0]);
    }
    return { ...batch, lengths: { data: lengths ?? new Int32Array(items.length), shape: [items.length] } } as CollatedItem<T> & {
      readonly lengths: Field<Int32Array>;
    };
  };
}

function padStack(
  name: string,
  fields: readonly Field[],
  length: number,
  value: number | bigint,
  side: 'left' | 'right',
  op: string,
): Field {
  checkKinds(name, fields, op);
  const rest = fields[0].shape.slice(1);
  const row = elements(rest);
  const out = allocate(fields[0].data, fields.length * length * row);
  if (out instanceof BigInt64Array) out.fill(BigInt(value));
  else out.fill(Number(value));
  for (const [i, { data, shape }] of fields.entries()) {
    if (shape.length === 0 || shape.slice(1).join() !== rest.join()) {
      throw new ShapeError(`${name} of item ${i} has shape [${shape.join(', ')}]`, {
        op,
        received: shape,
        expected: `[length${rest.map((size) => `, ${size}`).join('')}]`,
      });
    }
    put(out, data, (i * length + (side === 'left' ? length - shape[0] : 0)) * row);
  }
  return { data: out, shape: [fields.length, length, ...rest] };
}
