/** The comparison that decides whether compiled code is used, without a compiler: one WebAssembly module stands for the native code. */
import { afterAll, describe, expect, it } from 'vitest';
import type { CompiledModule } from '../../src/codegen/compiled.js';
import { compileKernels } from '../../src/codegen/wasm/module.js';
import { dtypeInfo } from '../../src/dtype.js';
import {
  argmax,
  conv2d,
  createCpuDevice,
  cumsum,
  exp,
  jit,
  layerNorm,
  log,
  matmul,
  relu,
  setDefaultDevice,
  softmax,
  sub,
  sum,
  type Tensor,
  zeros,
} from '../../src/index.js';
import { interpretKernel } from '../../src/ir/interpret.js';
import type { Kernel } from '../../src/ir/kernel.js';
import { writeElement } from '../../src/ir/scalar.js';
import { footprintOf } from '../../src/runtime/native/footprint.js';
import type { KernelFunction } from '../../src/runtime/native/link.js';
import { compare, comparisonOf, isProbe, probe, trialBytes } from '../../src/runtime/native/selftest.js';
import { defaultDevice } from '../../src/tensor/device.js';
import { watched } from '../replay/programs.js';

const usual = defaultDevice();
const device = createCpuDevice({ tier: 'wasm', threads: 1 });
setDefaultDevice(device);
afterAll(() => {
  setDefaultDevice(usual);
  device.dispose();
});

/** The kernels of all watched programs. */
const all: Kernel[] = [];
for (const { compile } of watched) {
  setDefaultDevice(device);
  compile(({ kernels }) => void all.push(...kernels));
}

function kernelsOf(fn: (...args: Tensor[]) => unknown, ...shapes: number[][]): readonly Kernel[] {
  setDefaultDevice(device);
  const tensors = shapes.map((shape) => zeros(shape));
  const program = jit(fn);
  const { kernels } = program.compile(...tensors);
  program.dispose();
  for (const t of tensors) t.dispose();
  return kernels;
}
const functionsOf = ({ bytes }: CompiledModule, memory: WebAssembly.Memory): Map<string, KernelFunction> => {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  return new Map(Object.entries(exports as Record<string, KernelFunction>));
};

/** What the comparison says of each kernel, with `made` in the place of native code. */
function verdicts(kernels: readonly Kernel[], made: readonly Kernel[] = kernels, relaxedSimd = true): (string | null)[] {
  const wasm = compileKernels(kernels, { sharedMemory: false, relaxedSimd: true });
  const native = compileKernels(made, { sharedMemory: false, relaxedSimd });
  return kernels.map((kernel, i) => {
    const comparison = comparisonOf(kernel, native.kernels[i], wasm.kernels[i]);
    const memory = new WebAssembly.Memory({ initial: Math.ceil(trialBytes(comparison, comparison.wasm) / 65536) });
    const before = memory.buffer.byteLength;
    const { failure, checksum } = compare(memory, comparison, functionsOf(native, memory), functionsOf(wasm, memory));
    // It takes no more than it says.
    expect(memory.buffer.byteLength).toBe(before);
    if (isProbe(comparison) && failure === null) {
      const own = new WebAssembly.Memory({ initial: Math.ceil(trialBytes(comparison) / 65536) });
      expect(probe(own, comparison, functionsOf(native, own))).toBe(checksum);
    }
    return failure;
  });
}

describe('what a kernel touches', () => {
  /** Records where the evaluator reads and writes. */
  class Spy extends (DataView as new (heap: ArrayBuffer) => DataView) {
    readonly touched = new Map<number, [number, number]>();
    note(at: number, bytes: number): void {
      const param = Math.floor(at / 2 ** 22);
      const [low, high] = this.touched.get(param) ?? [at, at + bytes];
      this.touched.set(param, [Math.min(low, at), Math.max(high, at + bytes)]);
    }
  }
  for (const name of Object.getOwnPropertyNames(DataView.prototype).filter((n) => /^[gs]et[A-Z]/.test(n))) {
    const bytes = Number(/\d+/.exec(name)?.[0]) / 8;
    const plain = DataView.prototype[name as 'getInt8'] as (...args: unknown[]) => unknown;
    Object.defineProperty(Spy.prototype, name, {
      value(this: Spy, at: number, ...rest: unknown[]) {
        this.note(at, bytes);
        return plain.call(this, at, ...rest);
      },
    });
  }

  it('is inside the bounds that its index arithmetic gives, for every watched kernel that is small enough to evaluate', () => {
    let loose = 0;
    let evaluated = 0;
    for (const kernel of all) {
      const { regions, work, guessed } = footprintOf(kernel, 3);
      if (work > 20_000 || guessed || kernel.params.length > 12) continue;
      evaluated++;
      const heap = new ArrayBuffer(kernel.params.length * 2 ** 22);
      const plain = new DataView(heap);
      // In the middle of 4 MiB each; integers from 0 to 3.
      const addresses = kernel.params.map(({ dtype }, p) => {
        const at = p * 2 ** 22 + 2 ** 21;
        const { bytes, kind } = dtypeInfo[dtype];
        for (let i = 0; kind !== 'float' && i < 20_000; i++)
          writeElement(plain, dtype, at + i * bytes, dtype === 'int64' ? BigInt(i % 4) : i % (kind === 'bool' ? 2 : 4));
        return at;
      });
      const spy = new Spy(heap);
      interpretKernel(kernel, spy, addresses);
      for (const [p, [low, high]] of spy.touched) {
        const region = regions[p];
        if (!region) throw new Error(`${kernel.name} touches parameter ${p}`);
        const { bytes } = dtypeInfo[kernel.params[p].dtype];
        const at = { low: (low - addresses[p]) / bytes, high: (high - addresses[p]) / bytes - 1 };
        expect(at.low, `${kernel.name} p${p}`).toBeGreaterThanOrEqual(region.low);
        expect(at.high, `${kernel.name} p${p}`).toBeLessThanOrEqual(region.high);
        if (at.high < region.high) loose++;
      }
    }
    expect(evaluated).toBeGreaterThan(40);
    // And not far outside: bounds of nearly all are exact.
    expect(loose).toBeLessThan(evaluated);
  });
});

describe('the comparison', () => {
  it('accepts every watched kernel of moderate size with other rounding', () => {
    const list = all.filter((kernel) => footprintOf(kernel, 3).work < 1_000_000);
    expect(list.length).toBeGreaterThan(100);
    const refused = verdicts(list, list, false).flatMap((failure, i) => (failure === null ? [] : [`${list[i].name}: ${failure}`]));
    expect(refused).toEqual([]);
  });

  const wrong: readonly [string, readonly Kernel[], readonly Kernel[]][] = [
    ['a sign', kernelsOf((a, b) => a.add(b), [500], [500]), kernelsOf((a, b) => sub(a, b), [500], [500])],
    [
      'a missing relu',
      kernelsOf((a, b) => relu(matmul(a, b)), [40, 30], [30, 50]),
      kernelsOf((a, b) => matmul(a, b).mul(1), [40, 30], [30, 50]),
    ],
    ['a factor of 1.001', kernelsOf((a) => exp(a), [300]), kernelsOf((a) => exp(a).mul(1.001), [300])],
    ['a last element that is left out', kernelsOf((a) => sum(a), [1000]), kernelsOf((a) => sum(a.slice([[0, 999]])), [1000])],
    [
      'an epsilon of 1e-2',
      kernelsOf((a) => layerNorm(a, [64]), [8, 64]),
      kernelsOf((a) => layerNorm(a, [64], null, null, { eps: 1e-2 }), [8, 64]),
    ],
    ['the other axis', kernelsOf((a) => cumsum(a, 0), [20, 20]), kernelsOf((a) => cumsum(a, 1), [20, 20])],
    ['a window one too low', kernelsOf((a, b) => conv2d(a, b, null, { padding: 1 }), [1, 4, 8, 8], [6, 4, 3, 3]), []],
    ['the first of the largest', kernelsOf((a) => argmax(a, 1), [30, 20]), kernelsOf((a) => argmax(a.mul(-1), 1), [30, 20])],
    ['only positive numbers', kernelsOf((a) => log(a), [200]), kernelsOf((a) => log(a.add(0.25)), [200])],
    ['a temperature', kernelsOf((a) => softmax(a, -1), [10, 50]), kernelsOf((a) => softmax(a.mul(1.01), -1), [10, 50])],
  ];
  it.each(wrong)('finds %s', (name, kernels, made) => {
    expect(kernels.length).toBe(1);
    if (name === 'a window one too low') {
      const [kernel] = kernels;
      made = [
        {
          ...kernel,
          parts: kernel.parts.map((part) => (part.kind === 'contract' ? { ...part, a: moved(part.a), b: moved(part.b) } : part)),
        },
      ];
    }
    expect(verdicts(kernels, made)).toEqual([expect.stringMatching(/instead of/)]);
  });
  function moved<T extends { readonly coordinates: readonly { readonly offset: number }[] }>(operand: T): T {
    return { ...operand, coordinates: operand.coordinates.map((c) => (c.offset === -1 ? { ...c, offset: 0 } : c)) };
  }
});
