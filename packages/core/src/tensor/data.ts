/** Numbers into tensors and out of them. */
import { type DType, dtypeInfo } from '../dtype.js';
import { TraceError } from '../errors.js';
import { denseStrides, isDense, type Shape, sizeOf } from '../graph/layout.js';
import { currentTrace } from '../graph/trace.js';
import { copy } from '../ops/cast.js';
import { full } from '../ops/create.js';
import { decode, encode } from './codec.js';
import { beforeDeviceChange, defaultDevice } from './device.js';
import { settleMemory } from './memory.js';
import { keep } from './scope.js';
import { Storage } from './storage.js';
import { Tensor } from './tensor.js';

export type TypedArray = Float32Array | Float64Array | Int8Array | Uint8Array | Int16Array | Int32Array | BigInt64Array;

const scalars = new Map<string, Tensor>();
const scalarCacheSize = 256;

/** A 0-d tensor of `value`, without gradient, shared: never change it in place. In a trace it is a constant. */
export function scalarTensor(value: number | bigint | boolean, dtype: DType): Tensor {
  if (currentTrace() !== null) return full([], value, { dtype });
  const key = `${dtype}:${Object.is(value, -0) ? '-0' : String(value)}`;
  const found = scalars.get(key);
  if (found && !found.isDisposed) return found;
  const made = keep(createFromArray([value], dtype, []));
  if (scalars.size >= scalarCacheSize) scalars.clear();
  scalars.set(key, made);
  return made;
}

/** Forgets the cached scalars; they are made anew when needed. */
export function clearScalarCache(): void {
  for (const t of scalars.values()) t.dispose();
  scalars.clear();
}
beforeDeviceChange(clearScalarCache);

/** Copies host data (row-major) to a new tensor. Float16/bfloat16 data are given as numbers. */
export function createFromArray(data: ArrayLike<number | bigint | boolean>, dtype: DType, shape: Shape): Tensor {
  const length = sizeOf(shape);
  const storage = Storage.allocate(defaultDevice(), dtype, length);
  encode(data, dtype, defaultDevice().bytes(storage.address, length * dtypeInfo[dtype].bytes));
  return new Tensor(storage, shape, denseStrides(shape), 0);
}

function refuseInTrace(op: string): void {
  const trace = currentTrace();
  if (trace === null) return;
  const frame = userFrame(new Error('trace').stack);
  throw new TraceError(`the value of a tensor was read while ${trace.name} was being traced${frame ? ` (${frame})` : ''}`, {
    op,
    expected: 'only operations on tensors inside jit(): there are no numbers yet',
    fix: 'Return the tensor and read it outside; replace an if on its value by where() or cond(), a loop by whileLoop() or scan(); or pass the number in as a plain argument.',
  });
}

/**
 * Folders whose stack frames are this package's: that of the TypeScript sources, or (bundled) that of the bundles and,
 * for an engine that follows source maps, the sources beside it.
 */
function packageFolders(): string[] {
  const folder = import.meta.url.replace(/[^/]*$/, '').replace(/\/src\/tensor\/$/, '/src/');
  const path = folder.startsWith('file:') ? folder.slice(7) : folder;
  return [folder, path].flatMap((f) => (f.endsWith('/dist/') ? [f, f.replace(/dist\/$/, 'src/')] : [f]));
}

/** The first stack frame outside this package. */
export function userFrame(stack: string | undefined): string | null {
  const own = packageFolders();
  for (const line of (stack ?? '').split('\n').slice(1)) {
    if (own.some((f) => line.includes(f)) || line.includes('node:internal') || !/[:(/]/.test(line)) continue;
    return line.trim();
  }
  return null;
}

/** The elements in row-major order, copied. @throws TraceError while tracing. */
export function readSync(t: Tensor): TypedArray {
  refuseInTrace('data');
  t.assertLive('data');
  const size = sizeOf(t.shape);
  const { bytes } = dtypeInfo[t.dtype];
  if (isDense(t)) return decode(defaultDevice().bytes(t.storage.address + t.offset * bytes, size * bytes), t.dtype);
  const dense = copy(t.detach());
  try {
    return decode(defaultDevice().bytes(dense.storage.address, size * bytes), t.dtype);
  } finally {
    dense.dispose();
  }
}

/** As {@link readSync}; gives the event loop and the garbage collector their turn when memory is short. */
export async function read(t: Tensor): Promise<TypedArray> {
  const data = readSync(t);
  await settleMemory();
  return data;
}
