/** Functions a module gets once, when some kernel needs them: floating point remainder and masked memory access. */
import type { FunctionBuilder, LaneMemoryOp, MemoryOp, ModuleBuilder } from './asm.js';

/** Memory element as seen by gather and scatter. */
export type ElementFormat = 'i8' | 'u8' | 'i16' | 'b32' | 'b64';

const scalarLoads: Record<Exclude<ElementFormat, 'b64'>, MemoryOp> = {
  i8: 'i32.load8_s',
  u8: 'i32.load8_u',
  i16: 'i32.load16_s',
  b32: 'i32.load',
};
const laneStores: Record<ElementFormat, LaneMemoryOp> = {
  i8: 'v128.store8_lane',
  u8: 'v128.store8_lane',
  i16: 'v128.store16_lane',
  b32: 'v128.store32_lane',
  b64: 'v128.store64_lane',
};

/** Function indices of one module's helpers, made on first use. */
export class SharedFunctions {
  private static readonly ofModule = new WeakMap<ModuleBuilder, SharedFunctions>();
  private readonly made = new Map<string, number>();
  private readonly module: ModuleBuilder;

  private constructor(module: ModuleBuilder) {
    this.module = module;
  }
  static of(module: ModuleBuilder): SharedFunctions {
    let shared = SharedFunctions.ofModule.get(module);
    if (!shared) {
      shared = new SharedFunctions(module);
      SharedFunctions.ofModule.set(module, shared);
    }
    return shared;
  }
  private once(name: string, make: () => FunctionBuilder): number {
    let index = this.made.get(name);
    if (index === undefined) {
      index = make().index;
      this.made.set(name, index);
    }
    return index;
  }

  /** `(x: f64, y: f64) -> f64`: C's fmod, exact. */
  fmod(): number {
    return this.once('fmod', () => {
      const f = this.module.function(['f64', 'f64'], ['f64']);
      emitFmod(f);
      return f;
    });
  }

  /**
   * `(addresses: v128, mask: v128) -> v128`: loads the lanes whose mask is set, others are 0. Addresses are 32-bit
   * lanes; for b64 only lanes 0 and 1 count, and the result has two 64-bit lanes.
   */
  gather(format: ElementFormat): number {
    return this.once(`gather ${format}`, () => {
      const f = this.module.function(['v128', 'v128'], ['v128']);
      const [addresses, mask] = f.params;
      if (!addresses || !mask) return f;
      const result = f.local('v128');
      for (let lane = 0; lane < (format === 'b64' ? 2 : 4); lane++) {
        f.get(mask).lane('i32x4.extract_lane', lane).if();
        if (format === 'b64') {
          f.get(addresses).lane('i32x4.extract_lane', lane).get(result).laneMem('v128.load64_lane', lane).set(result);
        } else {
          f.get(result).get(addresses).lane('i32x4.extract_lane', lane).mem(scalarLoads[format]);
          f.lane('i32x4.replace_lane', lane).set(result);
        }
        f.end();
      }
      f.get(result);
      return f;
    });
  }

  /**
   * `(addresses: v128, mask: v128, value: v128)`: stores the lanes whose mask is set, in lane order. Narrow formats take
   * the low bits of each 32-bit lane; b64 stores two 64-bit lanes at the addresses in lanes 0 and 1.
   */
  scatter(format: ElementFormat): number {
    return this.once(`scatter ${format}`, () => {
      const f = this.module.function(['v128', 'v128', 'v128'], []);
      const [addresses, mask, value] = f.params;
      if (!addresses || !mask || !value) return f;
      const step = format === 'i8' || format === 'u8' ? 4 : format === 'i16' ? 2 : 1;
      for (let lane = 0; lane < (format === 'b64' ? 2 : 4); lane++) {
        f.get(mask).lane('i32x4.extract_lane', lane).if();
        f.get(addresses)
          .lane('i32x4.extract_lane', lane)
          .get(value)
          .laneMem(laneStores[format], lane * step);
        f.end();
      }
      return f;
    });
  }
}

/** Store instruction of one lane for a format, and how far apart two lanes of 32 bits lie in its numbering. */
export function laneStoreOf(format: ElementFormat): { readonly op: LaneMemoryOp; readonly step: number } {
  return { op: laneStores[format], step: format === 'i8' || format === 'u8' ? 4 : format === 'i16' ? 2 : 1 };
}
export function scalarLoadOf(format: Exclude<ElementFormat, 'b64'>): MemoryOp {
  return scalarLoads[format];
}

/** Long division of the significands, one bit a round: every intermediate value is exact. */
function emitFmod(f: FunctionBuilder): void {
  const [x, y] = f.params;
  if (!x || !y) return;
  const fractionMask = 0xfffffffffffffn;
  const hidden = 0x10000000000000n;
  const [ux, uy, sign, ex, ey, shift] = [f.local('i64'), f.local('i64'), f.local('i64'), f.local('i64'), f.local('i64'), f.local('i64')];
  // NaN for y = 0, x infinite or either NaN.
  f.get(y).f64(0).op('f64.eq').get(x).get(x).op('f64.sub').f64(0).op('f64.ne').op('i32.or').get(y).get(y).op('f64.ne').op('i32.or').if();
  f.f64(NaN).return().end();
  f.get(x).op('f64.abs').get(y).op('f64.abs').op('f64.lt').if();
  f.get(x).return().end();
  f.get(x)
    .op('i64.reinterpret_f64')
    .i64(-(2n ** 63n))
    .op('i64.and')
    .set(sign);
  const unpack = (value: typeof x, bits: typeof ux, exponent: typeof ux): void => {
    f.get(value).op('f64.abs').op('i64.reinterpret_f64').tee(bits).i64(52n).op('i64.shr_u').tee(exponent).op('i64.eqz').if();
    f.get(bits).get(bits).op('i64.clz').i64(11n).op('i64.sub').tee(shift).op('i64.shl').set(bits);
    f.i64(1n).get(shift).op('i64.sub').set(exponent);
    f.else();
    f.get(bits).i64(fractionMask).op('i64.and').i64(hidden).op('i64.or').set(bits);
    f.end();
  };
  unpack(x, ux, ex);
  unpack(y, uy, ey);
  const subtract = (): void => {
    f.get(ux).get(uy).op('i64.ge_u').if();
    f.get(ux).get(uy).op('i64.sub').set(ux);
    f.end();
  };
  const done = f.block();
  const round = f.loop();
  f.get(ex).get(ey).op('i64.le_s').brIf(done);
  subtract();
  f.get(ux).i64(1n).op('i64.shl').set(ux);
  f.get(ex).i64(1n).op('i64.sub').set(ex);
  f.br(round);
  f.end();
  f.end();
  subtract();
  f.get(ux).op('i64.eqz').if();
  f.get(sign).op('f64.reinterpret_i64').return().end();
  f.get(ux).get(ux).op('i64.clz').i64(11n).op('i64.sub').tee(shift).op('i64.shl').set(ux);
  f.get(ex).get(shift).op('i64.sub').tee(ex).i64(0n).op('i64.gt_s').if('i64');
  f.get(ux).i64(hidden).op('i64.xor').get(ex).i64(52n).op('i64.shl').op('i64.or');
  f.else();
  f.get(ux).i64(1n).get(ex).op('i64.sub').op('i64.shr_u');
  f.end();
  f.get(sign).op('i64.or').op('f64.reinterpret_i64');
}
