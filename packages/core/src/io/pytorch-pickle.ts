/** What the pickles of PyTorch hold: storages, tensors over them, and the few globals that plain data needs. */
import { FormatError } from '../errors.js';
import { isObject, type PickleGlobal, type PickleObject, type PickleValue } from './pickle.js';
import type { StoredType } from './stored.js';

const op = 'pytorch';
const maxRank = 64;

/** Bytes that tensors share: in a zip file an entry of its own. */
export interface PtStorage extends PickleObject {
  readonly kind: 'storage';
  readonly key: string;
  /** Bytes. */
  readonly bytes: number;
  /** PyTorch's name of the element type; null for untyped storages. */
  readonly dtype: PtType | null;
  /** Of a view of another storage (old files): bytes from its start. */
  readonly base: number;
}

export interface PtTensor extends PickleObject {
  readonly kind: 'tensor';
  readonly storage: PtStorage;
  readonly dtype: PtType;
  /** In elements. */
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

export interface PtType extends PickleObject {
  readonly kind: 'dtype';
  /** `float32`, `complex64`, `qint8`. */
  readonly name: string;
  readonly bytes: number;
  /** Undefined where no dtype of tensors holds the values. */
  readonly type: StoredType | undefined;
}

function ptType(name: string, bytes: number, type?: StoredType): PtType {
  return { kind: 'dtype', name, bytes, type };
}

const types: ReadonlyMap<string, PtType> = new Map(
  [
    ptType('float32', 4, 'float32'),
    ptType('float64', 8, 'float64'),
    ptType('float16', 2, 'float16'),
    ptType('bfloat16', 2, 'bfloat16'),
    ptType('int8', 1, 'int8'),
    ptType('uint8', 1, 'uint8'),
    ptType('int16', 2, 'int16'),
    ptType('int32', 4, 'int32'),
    ptType('int64', 8, 'int64'),
    ptType('bool', 1, 'bool'),
    ptType('uint16', 2, 'uint16'),
    ptType('uint32', 4, 'uint32'),
    ptType('uint64', 8, 'uint64'),
    ptType('float8_e4m3fn', 1, 'float8e4m3'),
    ptType('float8_e5m2', 1, 'float8e5m2'),
    ptType('float8_e4m3fnuz', 1),
    ptType('float8_e5m2fnuz', 1),
    ptType('complex64', 8),
    ptType('complex128', 16),
    ptType('qint8', 1),
    ptType('quint8', 1),
    ptType('qint32', 4),
  ].map((type) => [type.name, type]),
);

const storageNames: Readonly<Record<string, string>> = {
  FloatStorage: 'float32',
  DoubleStorage: 'float64',
  HalfStorage: 'float16',
  BFloat16Storage: 'bfloat16',
  CharStorage: 'int8',
  ByteStorage: 'uint8',
  ShortStorage: 'int16',
  IntStorage: 'int32',
  LongStorage: 'int64',
  BoolStorage: 'bool',
  ComplexFloatStorage: 'complex64',
  ComplexDoubleStorage: 'complex128',
  QInt8Storage: 'qint8',
  QUInt8Storage: 'quint8',
  QInt32Storage: 'qint32',
};

function fail(what: string, expected?: string): never {
  throw new FormatError(what, { op, expected, fix: 'The file is damaged or not what it seems; save or download it again.' });
}

const isCount = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

function counts(value: PickleValue | undefined, what: string): number[] {
  if (!Array.isArray(value) || value.length > maxRank || !value.every(isCount)) fail(`${what} of a tensor is malformed`, 'whole numbers');
  return value as number[];
}

function tensor(args: readonly PickleValue[], given?: PtType): PtTensor {
  const [storage, offset] = args;
  if (!isObject(storage, 'storage')) fail('a tensor has no storage');
  const held = storage as PtStorage;
  const dtype = given ?? held.dtype;
  const [shape, strides] = [counts(args[2], 'the shape'), counts(args[3], 'the strides')];
  if (!dtype || !isCount(offset) || shape.length !== strides.length) fail('a tensor is malformed', 'type, offset, shape and strides');
  let last = offset;
  for (const [axis, size] of shape.entries()) last += (size - 1) * strides[axis];
  const size = shape.reduce((product, n) => product * n, 1);
  if (!Number.isSafeInteger(size * dtype.bytes) || (size > 0 && !((last + 1) * dtype.bytes <= held.bytes))) {
    fail(`a tensor [${shape.join(', ')}] with strides [${strides.join(', ')}] passes the ${held.bytes} bytes of its storage`);
  }
  return { kind: 'tensor', storage: held, dtype, offset, shape, strides };
}

const first: PickleGlobal = { make: ([value]) => value ?? null };
const named = (name: string): PickleGlobal => ({ make: (args) => args.map((arg) => (typeof arg === 'string' ? arg : '')).join(name) });

/** `_codecs.encode(text, 'latin1')`: how protocol 2 writes bytes. */
const encode: PickleGlobal = {
  make: ([text, encoding]) => {
    if (typeof text !== 'string' || encoding !== 'latin1') fail('bytes are malformed');
    return Uint8Array.from(text, (c) => c.charCodeAt(0));
  },
};
const ordered: PickleGlobal = {
  make: ([items]) => {
    const map = new Map<PickleValue, PickleValue>();
    if (items === undefined) return map;
    if (!Array.isArray(items)) fail('an OrderedDict is malformed');
    for (const item of items) {
      if (!Array.isArray(item) || item.length !== 2) fail('an OrderedDict is malformed');
      map.set(item[0], item[1]);
    }
    return map;
  },
  // A state dict carries its version in `_metadata`.
  setState: () => undefined,
};
const tensorSubclass: PickleGlobal = {
  make: ([rebuild, , args]) => {
    const make = isObject(rebuild, 'global') ? (rebuild as PickleObject & { readonly global: PickleGlobal }).global.make : undefined;
    if (!make || !Array.isArray(args)) fail('a tensor is malformed');
    return make(args);
  },
  setState: () => undefined,
};

const globals: ReadonlyMap<string, PickleGlobal> = new Map([
  ['collections OrderedDict', ordered],
  ['torch._utils _rebuild_tensor', { make: (args) => tensor(args) }],
  ['torch._utils _rebuild_tensor_v2', { make: (args) => tensor(args), setState: () => undefined }],
  ['torch._utils _rebuild_tensor_v3', { make: (args) => tensor(args, isType(args[6]) ? args[6] : fail('a tensor has no type')) }],
  ['torch._utils _rebuild_parameter', { ...first, setState: () => undefined }],
  ['torch._utils _rebuild_parameter_with_state', first],
  ['torch._tensor _rebuild_from_type_v2', tensorSubclass],
  ['torch Tensor', {}],
  ['torch.nn.parameter Parameter', first],
  ['torch Size', { make: ([sizes]) => counts(sizes, 'the size') }],
  ['torch device', named(':')],
  ['torch.serialization _get_layout', { make: ([name]) => name ?? null }],
  ['_codecs encode', encode],
  ['__builtin__ set', { make: ([items]) => new Set(Array.isArray(items) ? items : []) }],
  ['builtins set', { make: ([items]) => new Set(Array.isArray(items) ? items : []) }],
  ['__builtin__ complex', { make: (args) => [...args] }],
  ['builtins complex', { make: (args) => [...args] }],
]);

/** A storage class on the stack. */
interface StorageClass extends PickleGlobal {
  readonly storageOf: PtType | null;
}

/** The dtype that a global names; a global that is no function is found by its name alone. */
function isType(value: PickleValue | undefined): value is PtType {
  return isObject(value, 'dtype');
}

export function findGlobal(module: string, name: string): PickleGlobal | undefined {
  const known = globals.get(`${module} ${name}`);
  if (known) return known;
  if (module === 'torch.storage' && (name === 'UntypedStorage' || name === '_UntypedStorage')) return storageClass(null);
  if ((module === 'torch' || module === 'torch.storage' || module === 'torch.cuda') && Object.hasOwn(storageNames, name)) {
    return storageClass(types.get(storageNames[name]) ?? null);
  }
  return undefined;
}

/** dtypes stand on the stack as themselves. */
export function findValue(module: string, name: string): PtType | undefined {
  return module === 'torch' ? types.get(name) : undefined;
}

function storageClass(storageOf: PtType | null): StorageClass {
  return { storageOf };
}

/** The storage that a persistent id names: ('storage', class, key, location, elements[, view]). */
export function storageOfId(id: PickleValue): PtStorage {
  if (!Array.isArray(id) || id[0] !== 'storage' || !isObject(id[1], 'global')) fail('the file refers to what is no storage');
  const { global } = id[1] as PickleObject & { readonly global: Partial<StorageClass> };
  const [, , key, , elements, view] = id;
  if (global.storageOf === undefined || typeof key !== 'string' || !isCount(elements)) fail('a storage is malformed');
  const dtype = global.storageOf;
  const width = dtype?.bytes ?? 1;
  let [start, count] = [0, elements];
  if (Array.isArray(view)) {
    const [, viewOffset, viewSize] = view;
    if (!isCount(viewOffset) || !isCount(viewSize) || viewOffset + viewSize > elements) fail('a view of a storage is malformed');
    [start, count] = [viewOffset, viewSize];
  }
  if (!Number.isSafeInteger((start + count) * width)) fail(`a storage of ${count} elements`);
  return { kind: 'storage', key, bytes: count * width, dtype, base: start * width };
}
