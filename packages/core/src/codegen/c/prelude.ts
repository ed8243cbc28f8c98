/**
 * The operations of the kernel IR in C, for one element (`s_`) and for a vector of them (`v_`). Vectors are GCC's and clang's
 * vector extensions, `lanes` elements of every type; a vector of bools is a vector of 32-bit masks, -1 or 0.
 */
import type { ScalarType } from '../../dtype.js';

const scalarTypes = { f32: 'float', f64: 'double', i32: 'int32_t', i64: 'int64_t' } as const;
type Number_ = keyof typeof scalarTypes;
const vectorTypes = { f32: 'vf', f64: 'vd', i32: 'vi', i64: 'vl', bool: 'vi' } as const;

/** C's name for a value of a type, or for a vector of them. */
export function cType(type: ScalarType, vector: boolean): string {
  if (vector) return vectorTypes[type];
  return type === 'bool' ? 'int32_t' : scalarTypes[type];
}

const inline = 'static inline __attribute__((always_inline))';

/** The vector of masks of a comparison of 64-bit elements becomes one of 32-bit masks. */
function narrowMask(type: Number_, text: string): string {
  return type === 'f64' || type === 'i64' ? `__builtin_convertvector(${text}, vi)` : text;
}
/** The vector type of the same width that holds bits. */
const bits = { f32: 'vi', f64: 'vl', i32: 'vi', i64: 'vl' } as const;
const unsigned = { i32: 'vu', i64: 'vul' } as const;

/** All lanes `a`: written out, since 0 + a would be an addition. */
function splat(v: string): string {
  return `(${v})SPLAT_LANES(a)`;
}

/** A vector function's body that does lane by lane what the machine has no vector instruction for. */
function each(type: Number_, value: string): string {
  return `{ ${vectorTypes[type]} r; for (int i = 0; i < LANES; i++) r[i] = ${value}; return r; }`;
}

function arithmetic(type: Number_): string[] {
  const s = scalarTypes[type];
  const v = vectorTypes[type];
  const float = type === 'f32' || type === 'f64';
  const out: string[] = [];
  const unary = (op: string, scalar: string, vector: string): void => {
    out.push(`${inline} ${s} s_${op}_${type}(${s} a) { ${scalar} }`, `${inline} ${v} v_${op}_${type}(${v} a) { ${vector} }`);
  };
  const binary = (op: string, scalar: string, vector: string): void => {
    out.push(`${inline} ${s} s_${op}_${type}(${s} a, ${s} b) { ${scalar} }`);
    out.push(`${inline} ${v} v_${op}_${type}(${v} a, ${v} b) { ${vector} }`);
  };
  const compare = (op: string, symbol: string): void => {
    out.push(`${inline} int32_t s_${op}_${type}(${s} a, ${s} b) { return a ${symbol} b; }`);
    out.push(`${inline} vi v_${op}_${type}(${v} a, ${v} b) { return ${narrowMask(type, `(a ${symbol} b)`)}; }`);
  };
  out.push(
    `${inline} ${s} s_select_${type}(int32_t c, ${s} a, ${s} b) { return c ? a : b; }`,
    type === 'f32' || type === 'i32'
      ? `${inline} ${v} v_select_${type}(vi c, ${v} a, ${v} b) { return (${v})((c & (vi)a) | (~c & (vi)b)); }`
      : `${inline} ${v} v_select_${type}(vi c, ${v} a, ${v} b) { vl m = __builtin_convertvector(c, vl); return (${v})((m & (vl)a) | (~m & (vl)b)); }`,
    `${inline} ${v} v_splat_${type}(${s} a) { return ${splat(v)}; }`,
  );
  for (const [op, symbol] of [
    ['add', '+'],
    ['sub', '-'],
    ['mul', '*'],
  ] as const)
    binary(op, `return a ${symbol} b;`, `return a ${symbol} b;`);
  for (const [op, symbol] of [
    ['lt', '<'],
    ['le', '<='],
    ['eq', '=='],
    ['ne', '!='],
  ] as const)
    compare(op, symbol);
  if (float) {
    const suffix = type === 'f32' ? 'f' : '';
    const m = bits[type];
    const wide = type === 'f64';
    unary('neg', 'return -a;', 'return -a;');
    unary('abs', `return __builtin_fabs${suffix}(a);`, `return (${v})((${m})a & ${wide ? '0x7fffffffffffffffLL' : '0x7fffffff'});`);
    for (const [op, name, mode] of [
      ['floor', 'floor', '1'],
      ['ceil', 'ceil', '2'],
      ['trunc', 'trunc', '3'],
      ['roundEven', 'rint', '0'],
    ] as const) {
      const fallback = `r[i] = __builtin_${name}${suffix}(a[i]);`;
      out.push(`${inline} ${s} s_${op}_${type}(${s} a) { return __builtin_${name}${suffix}(a); }`);
      out.push(
        `${inline} ${v} v_${op}_${type}(${v} a) { ${wide ? `${v} r; for (int i = 0; i < LANES; i++) ${fallback} return r;` : `\n#ifdef ROUND\n  return (vf)ROUND(a, ${mode});\n#else\n  ${v} r; for (int i = 0; i < LANES; i++) ${fallback} return r;\n#endif\n`} }`,
      );
    }
    out.push(`${inline} ${s} s_sqrt_${type}(${s} a) { return __builtin_sqrt${suffix}(a); }`);
    out.push(
      wide
        ? `${inline} ${v} v_sqrt_${type}(${v} a) ${each(type, `__builtin_sqrt(a[i])`)}`
        : `${inline} ${v} v_sqrt_${type}(${v} a) {\n#ifdef SQRT\n  return (vf)SQRT(a);\n#else\n  ${each(type, '__builtin_sqrtf(a[i])')}\n#endif\n}`,
    );
    binary('div', 'return a / b;', 'return a / b;');
    out.push(
      `${inline} ${s} s_rem_${type}(${s} a, ${s} b) { return __builtin_fmod${suffix}(a, b); }`,
      `${inline} ${v} v_rem_${type}(${v} a, ${v} b) ${each(type, `__builtin_fmod${suffix}(a[i], b[i])`)}`,
    );
    // NaN of either operand stays; -0 is below +0.
    for (const [op, symbol, join] of [
      ['min', '<', '|'],
      ['max', '>', '&'],
    ] as const) {
      const scalarBits = wide ? 'int64_t' : 'int32_t';
      out.push(
        `${inline} ${s} s_${op}_${type}(${s} a, ${s} b) { if (a == b) { union { ${s} f; ${scalarBits} i; } x = { a }, y = { b }; x.i ${join}= y.i; return x.f; } return a != a ? a : a ${symbol} b ? a : b; }`,
      );
      out.push(
        `${inline} ${v} v_${op}_${type}(${v} a, ${v} b) { ${m} first = (a ${symbol} b) | (a != a), same = a == b; ${m} r = (first & (${m})a) | (~first & (${m})b); return (${v})((same & ((${m})a ${join} (${m})b)) | (~same & r)); }`,
      );
    }
  } else {
    const u = unsigned[type];
    const us = type === 'i32' ? 'uint32_t' : 'uint64_t';
    const width = type === 'i32' ? 31 : 63;
    unary('neg', `return (${s})(0 - (${us})a);`, 'return -a;');
    unary('abs', `return a < 0 ? (${s})(0 - (${us})a) : a;`, `${v} m = a >> ${width}; return (a ^ m) - m;`);
    unary('not', 'return ~a;', 'return ~a;');
    for (const op of ['floor', 'ceil', 'trunc', 'roundEven']) unary(op, 'return a;', 'return a;');
    for (const [op, symbol] of [
      ['and', '&'],
      ['or', '|'],
      ['xor', '^'],
    ] as const)
      binary(op, `return a ${symbol} b;`, `return a ${symbol} b;`);
    binary('shl', `return (${s})((${us})a << (b & ${width}));`, `return a << (b & ${width});`);
    binary('shr', `return a >> (b & ${width});`, `return a >> (b & ${width});`);
    binary('shrU', `return (${s})((${us})a >> (b & ${width}));`, `return (${v})((${u})a >> (${u})(b & ${width}));`);
    binary('min', 'return a < b ? a : b;', `${bits[type]} m = a < b; return (m & a) | (~m & b);`);
    binary('max', 'return a > b ? a : b;', `${bits[type]} m = a > b; return (m & a) | (~m & b);`);
    // By zero gives 0, and the one quotient that does not fit wraps around.
    out.push(
      `${inline} ${s} s_div_${type}(${s} a, ${s} b) { return b == 0 ? 0 : b == -1 ? (${s})(0 - (${us})a) : a / b; }`,
      `${inline} ${s} s_rem_${type}(${s} a, ${s} b) { return b == 0 || b == -1 ? 0 : a % b; }`,
      `${inline} ${v} v_div_${type}(${v} a, ${v} b) ${each(type, `s_div_${type}(a[i], b[i])`)}`,
      `${inline} ${v} v_rem_${type}(${v} a, ${v} b) ${each(type, `s_rem_${type}(a[i], b[i])`)}`,
    );
    out.push(
      `${inline} int32_t s_ltU_${type}(${s} a, ${s} b) { return (${us})a < (${us})b; }`,
      `${inline} vi v_ltU_${type}(${v} a, ${v} b) { return ${narrowMask(type, `((${u})a < (${u})b)`)}; }`,
    );
    if (type === 'i32') {
      out.push(
        `${inline} int32_t s_mulHiU_i32(int32_t a, int32_t b) { return (int32_t)(((uint64_t)(uint32_t)a * (uint32_t)b) >> 32); }`,
        `${inline} vi v_mulHiU_i32(vi a, vi b) { vul x = __builtin_convertvector((vu)a, vul), y = __builtin_convertvector((vu)b, vul); return (vi)__builtin_convertvector((x * y) >> 32, vu); }`,
      );
    }
  }
  return out;
}

function bools(): string[] {
  const out = [
    `${inline} int32_t s_select_bool(int32_t c, int32_t a, int32_t b) { return c ? a : b; }`,
    `${inline} vi v_select_bool(vi c, vi a, vi b) { return (c & a) | (~c & b); }`,
    `${inline} vi v_splat_bool(int32_t a) { vi r = {0}; return r - (a != 0); }`,
    `${inline} int32_t s_not_bool(int32_t a) { return !a; }`,
    `${inline} vi v_not_bool(vi a) { return ~a; }`,
  ];
  for (const [op, scalar, vector] of [
    ['and', 'a & b', 'a & b'],
    ['or', 'a | b', 'a | b'],
    ['xor', 'a ^ b', 'a ^ b'],
    ['eq', 'a == b', '~(a ^ b)'],
    ['ne', 'a != b', 'a ^ b'],
    ['min', 'a & b', 'a & b'],
    ['max', 'a | b', 'a | b'],
    ['mul', 'a & b', 'a & b'],
    ['add', 'a | b', 'a | b'],
    ['lt', 'a < b', '~a & b'],
    ['le', 'a <= b', '~a | b'],
  ] as const) {
    out.push(`${inline} int32_t s_${op}_bool(int32_t a, int32_t b) { return ${scalar}; }`);
    out.push(`${inline} vi v_${op}_bool(vi a, vi b) { return ${vector}; }`);
  }
  return out;
}

function casts(): string[] {
  const out: string[] = [];
  const types = Object.keys(scalarTypes) as Number_[];
  for (const from of types) {
    for (const to of types) {
      if (from === to) continue;
      const [s, t] = [scalarTypes[from], scalarTypes[to]];
      const [v, w] = [vectorTypes[from], vectorTypes[to]];
      const saturates = (from === 'f32' || from === 'f64') && (to === 'i32' || to === 'i64');
      if (!saturates) {
        out.push(`${inline} ${t} s_cast_${from}_${to}(${s} a) { return (${t})a; }`);
        out.push(`${inline} ${w} v_cast_${from}_${to}(${v} a) { return __builtin_convertvector(a, ${w}); }`);
        continue;
      }
      const top = to === 'i32' ? '2147483648.0' : '9223372036854775808.0';
      const [low, high] = to === 'i32' ? ['INT32_MIN', 'INT32_MAX'] : ['INT64_MIN', 'INT64_MAX'];
      out.push(
        `${inline} ${t} s_cast_${from}_${to}(${s} a) { return a != a ? 0 : a >= (${s})${top} ? ${high} : a < -(${s})${top} ? ${low} : (${t})a; }`,
        `${inline} ${w} v_cast_${from}_${to}(${v} a) ${each(to, `s_cast_${from}_${to}(a[i])`)}`,
      );
    }
    const s = scalarTypes[from];
    const v = vectorTypes[from];
    out.push(
      `${inline} int32_t s_cast_${from}_bool(${s} a) { return a != 0; }`,
      `${inline} vi v_cast_${from}_bool(${v} a) { return ${narrowMask(from, '(a != 0)')}; }`,
      `${inline} ${s} s_cast_bool_${from}(int32_t a) { return (${s})a; }`,
      `${inline} ${v} v_cast_bool_${from}(vi a) { return ${from === 'i32' ? 'a & 1' : `__builtin_convertvector(a & 1, ${v})`}; }`,
    );
  }
  for (const [from, to] of [
    ['f32', 'i32'],
    ['i32', 'f32'],
    ['f64', 'i64'],
    ['i64', 'f64'],
  ] as const) {
    const [s, t] = [scalarTypes[from], scalarTypes[to]];
    out.push(
      `${inline} ${t} s_bitcast_${from}_${to}(${s} a) { union { ${s} a; ${t} b; } u = { a }; return u.b; }`,
      `${inline} ${vectorTypes[to]} v_bitcast_${from}_${to}(${vectorTypes[from]} a) { return (${vectorTypes[to]})a; }`,
    );
  }
  return out;
}

/** Element as it lies in memory, and the vector of such elements. */
const stored = {
  float32: ['float', 'f32'],
  float64: ['double', 'f64'],
  int8: ['int8_t', 'i32'],
  uint8: ['uint8_t', 'i32'],
  int16: ['int16_t', 'i32'],
  int32: ['int32_t', 'i32'],
  int64: ['int64_t', 'i64'],
  bool: ['uint8_t', 'bool'],
} as const;

/** Gathers; addresses reach over 2 GiB, and the instruction's are signed: they are taken from the middle. */
function gathers(dtype: string, v: string, lane: string): string[] {
  const plain = `${v} r; for (int i = 0; i < LANES; i++) r[i] = ${lane}; return r;`;
  const masked = `${v} r = {0}; for (int i = 0; i < LANES; i++) if (mask[i]) r[i] = ${lane}; return r;`;
  const suffix = dtype === 'float32' ? 'f' : dtype === 'int32' ? 'i' : null;
  const define = (name: string, params: string, fast: string | null, slow: string): string =>
    `${inline} ${v} ${name}_${dtype}(${params}) {${fast === null ? ` ${slow} ` : `\n#ifdef GATHER${suffix}\n  ${fast}\n#else\n  ${slow}\n#endif\n`}}`;
  const call = (mask: string): string => `return GATHER${suffix}(heap, at, ${mask});`;
  return [
    define('v_ga', 'const char *heap, vi at', suffix && call('(vi){0} - 1'), plain),
    define('v_gm', 'const char *heap, vi at, vi mask', suffix && call('mask'), masked),
  ];
}

/** Stores the first n of consecutive elements. */
function partial(dtype: string, same: boolean, value: string): string {
  const copy = same ? `${cVector(dtype)} x = ${value};` : `m_${dtype} x = __builtin_convertvector(${value}, m_${dtype});`;
  const rest = `${copy} const e_${dtype} *from = (const e_${dtype} *)&x; for (int i = 0; i < n; i++) ((e_${dtype} *)at)[i] = from[i];`;
  if (dtype !== 'float32' && dtype !== 'int32') return rest;
  return `\n#ifdef STORE_FIRST\n  STORE_FIRST(at, (vi)a, n);\n#else\n  ${rest}\n#endif\n`;
}
function cVector(dtype: string): string {
  return vectorTypes[stored[dtype as keyof typeof stored][1]];
}

function memory(): string[] {
  return Object.entries(stored).flatMap(([dtype, [element, type]]) => {
    const v = vectorTypes[type];
    const s = cType(type, false);
    const same = element === cType(type, false) && type !== 'bool';
    const load = same
      ? 'return *p;'
      : type === 'bool'
        ? 'return __builtin_convertvector(*p, vi) != 0;'
        : `return __builtin_convertvector(*p, ${v});`;
    const value = type === 'bool' ? 'a & 1' : 'a';
    const save = same ? `*p = ${value};` : `*p = __builtin_convertvector(${value}, m_${dtype});`;
    const one = type === 'bool' ? '(a[i] & 1)' : 'a[i]';
    const lane = type === 'bool' ? `-(s_ld_${dtype}(heap + (uint32_t)at[i]))` : `s_ld_${dtype}(heap + (uint32_t)at[i])`;
    return [
      `typedef ${element} e_${dtype} __attribute__((may_alias, aligned(1)));`,
      `typedef ${element} m_${dtype} __attribute__((vector_size(LANES * sizeof(${element}))));`,
      `typedef m_${dtype} u_${dtype} __attribute__((may_alias, aligned(1)));`,
      `${inline} ${s} s_ld_${dtype}(const char *at) { ${s} a = *(const e_${dtype} *)at; return ${type === 'bool' ? 'a != 0' : 'a'}; }`,
      `${inline} void s_st_${dtype}(char *at, ${s} a) { *(e_${dtype} *)at = (${element})(${type === 'bool' ? 'a != 0' : 'a'}); }`,
      `${inline} ${v} v_ld_${dtype}(const char *at) { const u_${dtype} *p = (const u_${dtype} *)at; ${load} }`,
      `${inline} void v_st_${dtype}(char *at, ${v} a) { u_${dtype} *p = (u_${dtype} *)at; ${save} }`,
      ...gathers(dtype, v, lane),
      `${inline} void v_sc_${dtype}(char *heap, vi at, ${v} a) { for (int i = 0; i < LANES; i++) *(e_${dtype} *)(heap + (uint32_t)at[i]) = (${element})${one}; }`,
      // The first n lanes.
      `${inline} void v_sn_${dtype}(char *heap, vi at, ${v} a, int n) { for (int i = 0; i < LANES; i++) if (i < n) *(e_${dtype} *)(heap + (uint32_t)at[i]) = (${element})${one}; }`,
      `${inline} void v_sp_${dtype}(char *at, ${v} a, int n) { ${partial(dtype, same, value)} }`,
    ];
  });
}

function everything(): string[] {
  return [
    ...(Object.keys(scalarTypes) as Number_[]).flatMap(arithmetic),
    ...bools(),
    ...casts(),
    ...memory(),
    `${inline} int v_all(vi m) { int32_t r = -1; for (int i = 0; i < LANES; i++) r &= m[i]; return r; }`,
  ];
}

/** Definitions by name, in an order in which each comes after those it uses. */
let definitions: Map<string, string> | null = null;

function allDefinitions(): Map<string, string> {
  if (definitions) return definitions;
  definitions = new Map();
  for (const text of everything()) {
    const name = /^typedef \w+ (\w+)/.exec(text)?.[1] ?? /(\w+)\(/.exec(text.slice(inline.length))?.[1];
    if (name !== undefined) definitions.set(name, text);
  }
  return definitions;
}

const identifier = /\b(?:[sv]_\w+|[emu]_\w+)\b/g;

/** The definitions that `text` uses. */
function used(text: string): string[] {
  const all = allDefinitions();
  const wanted = new Set<string>();
  const visit = (part: string): void => {
    for (const [name] of part.matchAll(identifier)) {
      const definition = all.get(name);
      if (definition === undefined || wanted.has(name)) continue;
      wanted.add(name);
      visit(definition);
    }
  };
  visit(text);
  return [...all].flatMap(([name, definition]) => (wanted.has(name) ? [definition] : []));
}

/**
 * `to[k * step + r] = from[at[r] + k]` for `count` lines of `length` elements. In blocks whose target stays in the first-level cache,
 * four lines at a time.
 */
const transpose = `
typedef float v4 __attribute__((vector_size(16)));
typedef v4 u4 __attribute__((may_alias, aligned(4)));
#if defined(__clang__)
#define SHUFFLE4(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t i4 __attribute__((vector_size(16)));
#define SHUFFLE4(a, b, ...) __builtin_shuffle(a, b, (i4){__VA_ARGS__})
#endif
static void transpose(const float *restrict from, const int64_t *restrict at, int32_t count, int64_t length, float *restrict to, int32_t step) {
  for (int64_t first = 0; first < length; first += 64) {
    const int64_t end = first + 64 < length ? first + 64 : length;
    int32_t r = 0;
    for (; r + 4 <= count; r += 4) {
      const float *a = from + at[r], *b = from + at[r + 1], *c = from + at[r + 2], *d = from + at[r + 3];
      float *out = to + first * step + r;
      int64_t k = first;
      for (; k + 4 <= end; k += 4, out += 4 * (int64_t)step) {
        const v4 x = *(const u4 *)(a + k), y = *(const u4 *)(b + k), z = *(const u4 *)(c + k), w = *(const u4 *)(d + k);
        const v4 xy0 = SHUFFLE4(x, y, 0, 4, 1, 5), xy1 = SHUFFLE4(x, y, 2, 6, 3, 7);
        const v4 zw0 = SHUFFLE4(z, w, 0, 4, 1, 5), zw1 = SHUFFLE4(z, w, 2, 6, 3, 7);
        *(u4 *)out = SHUFFLE4(xy0, zw0, 0, 1, 4, 5);
        *(u4 *)(out + step) = SHUFFLE4(xy0, zw0, 2, 3, 6, 7);
        *(u4 *)(out + 2 * (int64_t)step) = SHUFFLE4(xy1, zw1, 0, 1, 4, 5);
        *(u4 *)(out + 3 * (int64_t)step) = SHUFFLE4(xy1, zw1, 2, 3, 6, 7);
      }
      for (; k < end; k++, out += step) { out[0] = a[k]; out[1] = b[k]; out[2] = c[k]; out[3] = d[k]; }
    }
    for (; r < count; r++) {
      const float *a = from + at[r];
      for (int64_t k = first; k < end; k++) to[k * step + r] = a[k];
    }
  }
}`;

/** `EVEN(a, b)`: every second element of two vectors. */
function evenLanes(lanes: number): string[] {
  const indices = Array.from({ length: lanes }, (_, i) => 2 * i).join(', ');
  return [
    '#if defined(__clang__)',
    `#define EVEN(a, b) __builtin_shufflevector(a, b, ${indices})`,
    '#else',
    `#define EVEN(a, b) __builtin_shuffle(a, b, (vi){${indices}})`,
    '#endif',
  ];
}

/** What `body` needs before it, for vectors of `lanes` elements. The machine's header of intrinsics takes long to read: GCC does without. */
export function withPrelude(body: string, lanes: number): string {
  return [
    '#include <stdint.h>',
    `#define LANES ${lanes}`,
    'typedef float vf __attribute__((vector_size(LANES * 4)));',
    'typedef int32_t vi __attribute__((vector_size(LANES * 4)));',
    'typedef uint32_t vu __attribute__((vector_size(LANES * 4)));',
    'typedef double vd __attribute__((vector_size(LANES * 8)));',
    'typedef int64_t vl __attribute__((vector_size(LANES * 8)));',
    'typedef uint64_t vul __attribute__((vector_size(LANES * 8)));',
    '#if defined(__clang__)',
    '#if defined(__FMA__) || defined(__aarch64__)',
    '#define FMA(a, b, c) __builtin_elementwise_fma(a, b, c)',
    '#endif',
    '#define SQRT(a) __builtin_elementwise_sqrt(a)',
    '#elif LANES == 16 && defined(__AVX512F__)',
    '#define ROUND(a, mode) __builtin_ia32_rndscaleps_mask(a, mode, (vf){0}, -1, 4)',
    '#define SQRT(a) __builtin_ia32_sqrtps512_mask(a, (vf){0}, -1, 4)',
    '#define FMA(a, b, c) __builtin_ia32_vfmaddps512_mask(a, b, c, -1, 4)',
    '#define LANEBITS(mask) __builtin_ia32_ptestmd512((mask), (mask), -1)',
    '#define GATHERf(heap, at, mask) __builtin_ia32_gathersiv16sf((vf){0}, (heap) + 0x80000000u, (at) ^ INT32_MIN, LANEBITS(mask), 1)',
    '#define GATHERi(heap, at, mask) (vi)__builtin_ia32_gathersiv16si((vi){0}, (heap) + 0x80000000u, (at) ^ INT32_MIN, LANEBITS(mask), 1)',
    '#define STORE_FIRST(at, a, n) __builtin_ia32_storedqusi512_mask((void *)(at), (a), (uint16_t)((1u << (n)) - 1))',
    '#elif LANES == 8 && defined(__AVX__)',
    '#define ROUND(a, mode) __builtin_ia32_roundps256(a, (mode) | 8)',
    '#define SQRT(a) __builtin_ia32_sqrtps256(a)',
    '#ifdef __FMA__',
    '#define FMA(a, b, c) __builtin_ia32_vfmaddps256(a, b, c)',
    '#endif',
    '#elif LANES == 4 && defined(__SSE2__)',
    '#define SQRT(a) __builtin_ia32_sqrtps(a)',
    '#elif defined(__aarch64__)',
    '#include <arm_neon.h>',
    '#define FMA(a, b, c) ((vf)vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b)))',
    '#define SQRT(a) vsqrtq_f32((float32x4_t)(a))',
    '#endif',
    '#ifndef FMA',
    '#define FMA(a, b, c) ((a) * (b) + (c))',
    '#endif',
    `static const vi RAMP = {${Array.from({ length: lanes }, (_, i) => i).join(', ')}};`,
    `#define SPLAT_LANES(x) {${Array.from({ length: lanes }, () => 'x').join(', ')}}`,
    '#define SPLAT(x) ((vf)SPLAT_LANES(x))',
    '#define GUARD(c, value, zero) ((c) ? (value) : (zero))',
    ...evenLanes(lanes),
    ...(/\btranspose\(/.test(body) ? [transpose] : []),
    ...used(body),
    body,
  ].join('\n');
}
