/** Element types a tensor can hold, and the PyTorch promotion rules between them. */

export type DType = 'float32' | 'float64' | 'float16' | 'bfloat16' | 'int8' | 'uint8' | 'int16' | 'int32' | 'int64' | 'bool';

/** The type a kernel computes in. Narrow storage types widen on load and narrow on store. `bool` is a lane mask. */
export type ScalarType = 'f32' | 'f64' | 'i32' | 'i64' | 'bool';

interface DTypeInfo {
  readonly bytes: number;
  readonly kind: 'float' | 'int' | 'bool';
  readonly compute: ScalarType;
}

export const dtypeInfo = {
  float32: { bytes: 4, kind: 'float', compute: 'f32' },
  float64: { bytes: 8, kind: 'float', compute: 'f64' },
  float16: { bytes: 2, kind: 'float', compute: 'f32' },
  bfloat16: { bytes: 2, kind: 'float', compute: 'f32' },
  int8: { bytes: 1, kind: 'int', compute: 'i32' },
  uint8: { bytes: 1, kind: 'int', compute: 'i32' },
  int16: { bytes: 2, kind: 'int', compute: 'i32' },
  int32: { bytes: 4, kind: 'int', compute: 'i32' },
  int64: { bytes: 8, kind: 'int', compute: 'i64' },
  bool: { bytes: 1, kind: 'bool', compute: 'bool' },
} as const satisfies Record<DType, DTypeInfo>;

export const dtypes = Object.keys(dtypeInfo) as readonly DType[];

export function isFloat(dtype: DType): boolean {
  return dtypeInfo[dtype].kind === 'float';
}

const rank: Record<DType, number> = {
  bool: 0,
  uint8: 1,
  int8: 1,
  int16: 2,
  int32: 3,
  int64: 4,
  float16: 5,
  bfloat16: 5,
  float32: 6,
  float64: 7,
};

/** PyTorch's `promote_types`: the smallest dtype both operands convert to. */
export function promoteTypes(a: DType, b: DType): DType {
  if (a === b) return a;
  if (rank[a] === rank[b]) return rank[a] === 1 ? 'int16' : 'float32';
  return rank[a] > rank[b] ? a : b;
}

/** dtype of `tensor op number`: the number only raises the category (bool < int < float), as in PyTorch. */
export function promoteWithNumber(dtype: DType, value: number | boolean | bigint): DType {
  if (typeof value === 'boolean') return dtype;
  const kind = dtypeInfo[dtype].kind;
  if (kind === 'float') return dtype;
  if (typeof value === 'bigint' || Number.isInteger(value)) return kind === 'bool' ? 'int64' : dtype;
  return 'float32';
}
