/** WGSL functions the rendered code calls where a builtin is not exact enough or leaves a case open. A module holds those it uses. */

interface Helper {
  readonly needs?: readonly HelperName[];
  readonly code: string;
}

export type HelperName = keyof typeof catalogue;

const catalogue = {
  // An infinity written as a constant expression is an error in WGSL, one made of the bits of a variable is not.
  infinity: {
    code: `var<private> infinityBits: u32 = 0x7f800000u;
fn infinity() -> f32 { return bitcast<f32>(infinityBits); }`,
  },
  nan: {
    code: `var<private> nanBits: u32 = 0x7fc00000u;
fn nan() -> f32 { return bitcast<f32>(nanBits); }`,
  },
  // Of the bits: a compiler may assume that x != x never holds.
  isNan: { code: 'fn isNan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }' },
  maxFloat: { needs: ['isNan'], code: 'fn maxFloat(a: f32, b: f32) -> f32 { return select(max(a, b), a + b, isNan(a) || isNan(b)); }' },
  minFloat: { needs: ['isNan'], code: 'fn minFloat(a: f32, b: f32) -> f32 { return select(min(a, b), a + b, isNan(a) || isNan(b)); }' },
  remFloat: { code: 'fn remFloat(a: f32, b: f32) -> f32 { return select(a % b, a, abs(a) < abs(b)); }' },
  toInt: {
    needs: ['isNan'],
    code: `fn toInt(x: f32) -> i32 {
  if (isNan(x)) { return 0; }
  if (x >= 2147483648.0f) { return 2147483647; }
  return i32(max(x, -2147483648.0f));
}`,
  },
  divInt: { code: 'fn divInt(a: i32, b: i32) -> i32 { return select(a / b, 0, b == 0); }' },
  remInt: { code: 'fn remInt(a: i32, b: i32) -> i32 { return select(a % b, 0, b == 0); }' },
  mulHigh: {
    code: `fn mulHigh(x: i32, y: i32) -> i32 {
  let a = bitcast<u32>(x);
  let b = bitcast<u32>(y);
  let low = (a >> 16u) * (b & 0xffffu) + (((a & 0xffffu) * (b & 0xffffu)) >> 16u);
  let middle = (a & 0xffffu) * (b >> 16u) + (low & 0xffffu);
  return bitcast<i32>((a >> 16u) * (b >> 16u) + (low >> 16u) + (middle >> 16u));
}`,
  },
  byteAt: { code: 'fn byteAt(i: u32) -> u32 { return (wordAt(i >> 2u) >> ((i & 3u) * 8u)) & 0xffu; }' },
  halfAt: { code: 'fn halfAt(i: u32) -> u32 { return (wordAt(i >> 1u) >> ((i & 1u) * 16u)) & 0xffffu; }' },
  // The neighbours in a word belong to other invocations: only the element's own bits change, atomically.
  setByte: {
    code: `fn setByte(i: u32, value: u32) {
  let shift = (i & 3u) * 8u;
  atomicAnd(&heap[i >> 2u], ~(0xffu << shift));
  atomicOr(&heap[i >> 2u], (value & 0xffu) << shift);
}`,
  },
  setHalf: {
    code: `fn setHalf(i: u32, value: u32) {
  let shift = (i & 1u) * 16u;
  atomicAnd(&heap[i >> 1u], ~(0xffffu << shift));
  atomicOr(&heap[i >> 1u], (value & 0xffffu) << shift);
}`,
  },
} as const satisfies Record<string, { readonly needs?: readonly string[]; readonly code: string }>;

/** The functions of a module, each once, those that others call before them. */
export class Helpers {
  private readonly used = new Map<string, string>();

  /** Adds a function of the catalogue; gives its name. */
  use(name: HelperName): HelperName {
    const { needs, code }: Helper = catalogue[name];
    for (const other of needs ?? []) this.use(other);
    this.used.set(name, code);
    return name;
  }
  /** Adds a declaration of the caller's own, once for each name. */
  define(name: string, code: () => string): string {
    if (!this.used.has(name)) this.used.set(name, code());
    return name;
  }
  toString(): string {
    return [...this.used.values()].join('\n');
  }
}
