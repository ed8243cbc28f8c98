/** The C generator against the plain evaluator, through the machine's compiler. Skipped, with a word, where there is none. */
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { planCContract } from '../../src/codegen/c/contract-plan.js';
import { renderC } from '../../src/codegen/c/module.js';
import { compileKernels } from '../../src/codegen/wasm/module.js';
import { dtypeInfo } from '../../src/dtype.js';
import { interpretKernel } from '../../src/ir/interpret.js';
import type { Kernel } from '../../src/ir/kernel.js';
import { readElement } from '../../src/ir/scalar.js';
import { probeFeatures } from '../../src/runtime/cpu/environment.js';
import { linkLibraries } from '../../src/runtime/native/link.js';
import { type NativeModule, NativeTier } from '../../src/runtime/native/tier.js';
import { randomCase } from './contract-cases.js';
import { contractKernel, fillParams } from './contract-harness.js';
import { fillRandom, KernelGenerator, Random } from './wasm-loops-generator.js';

interface Sample {
  readonly name: string;
  readonly kernel: Kernel;
  readonly elements: readonly number[];
  fill(view: DataView, addresses: readonly number[]): void;
}

const loopSamples = Array.from({ length: 24 }, (_, seed): Sample => {
  const { kernel, elements } = new KernelGenerator(seed).generate();
  return {
    name: `loops ${seed}`,
    kernel,
    elements,
    fill: (view, addresses) => fillRandom(new Random(seed), view, kernel, addresses, elements),
  };
});
/** Contractions that the C generator takes: float32 operands, no dilated coordinates. Without an epilogue of their own any may be made float32. */
const contractSamples = Array.from({ length: 400 }, (_, seed) => seed)
  .flatMap((seed): Sample[] => {
    const { spec, sizes } = randomCase(seed);
    const plain =
      spec.epilogue === undefined ? { ...spec, type: 'f32' as const, aType: undefined, bType: undefined, outType: undefined } : spec;
    const kernel = contractKernel(plain);
    const [part] = kernel.parts;
    if (part.kind !== 'contract' || planCContract(part, { lanes: 16, registers: 32 }) === null) return [];
    return [
      {
        name: `contraction ${seed}`,
        kernel,
        elements: sizes,
        fill: (view, addresses) => fillParams(kernel, addresses, sizes, view.buffer, seed),
      },
    ];
  })
  .slice(0, 60);
const samples = [...loopSamples, ...contractSamples];

let native: NativeModule | null = null;
const before = process.env.TRIREME_CACHE;

beforeAll(() => {
  process.env.TRIREME_CACHE = 'off';
  const tier = new NativeTier();
  const kernels = samples.map((s) => s.kernel);
  native = tier.compileNow(tier.job('samples', kernels, () => compileKernels(kernels, probeFeatures(true))));
  if (native === null) console.warn(`the C generator was not tested: ${tier.status}`);
}, 120_000);
afterAll(() => {
  if (before === undefined) delete process.env.TRIREME_CACHE;
  else process.env.TRIREME_CACHE = before;
});

/** Runs a kernel natively, each phase last cells first, and the evaluator on a copy. Returns what differs. */
function differences(module: NativeModule, index: number, { kernel, elements, fill }: Sample): string[] {
  const compiled = module.kernels[index];
  if (!compiled) return [];
  let top = 64;
  const take = (bytes: number, align = 64): number => {
    top = Math.ceil(top / align) * align;
    const at = top;
    top += bytes + 24;
    return at;
  };
  const table = take(4 * (kernel.params.length + 2));
  const addresses = kernel.params.map((p, i) => take(Math.max(1, elements[i]) * dtypeInfo[p.dtype].bytes, dtypeInfo[p.dtype].bytes));
  const end = top;
  const workspace = take(compiled.workspaceBytes);
  const prepared = take(compiled.preparation?.bytes ?? 0);
  const scratch = take(compiled.scratchBytes);
  const pages = Math.ceil((top + 4096) / 65536);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  fill(new DataView(memory.buffer), addresses);
  const witness = new ArrayBuffer(memory.buffer.byteLength);
  new Uint8Array(witness).set(new Uint8Array(memory.buffer));
  interpretKernel(kernel, witness, addresses);
  new Int32Array(memory.buffer, table, addresses.length + 2).set([...addresses, workspace, prepared]);
  const phases = [...(compiled.preparation?.phases ?? []), ...compiled.phases];
  const names = phases.flatMap((phase) => phase.map((entry) => entry.exportName));
  const library = linkLibraries(module.libraries, names, memory);
  for (const phase of phases) {
    for (const { exportName, grid } of phase) {
      const half = grid >> 1;
      library.functions.get(exportName)?.(half, grid, table, scratch);
      library.functions.get(exportName)?.(0, half, table, scratch);
    }
  }
  library.unload();
  const found: string[] = [];
  const covered = new Uint8Array(end);
  covered.fill(1, table, table + 4 * (addresses.length + 2));
  const [expected, actual] = [new DataView(witness), new DataView(memory.buffer)];
  kernel.params.forEach(({ dtype }, p) => {
    const { bytes } = dtypeInfo[dtype];
    for (let i = 0; i < elements[p]; i++) {
      const at = addresses[p] + i * bytes;
      covered.fill(1, at, at + bytes);
      const [want, got] = [readElement(expected, dtype, at), readElement(actual, dtype, at)];
      if (!Object.is(want, got)) found.push(`param ${p} (${dtype}) element ${i}: expected ${want}, got ${got}`);
    }
  });
  for (let at = 0; at < end; at++)
    if (!covered[at] && expected.getUint8(at) !== actual.getUint8(at)) found.push(`byte ${at} outside every buffer changed`);
  return found;
}

describe('kernels in C compute what the evaluator computes, bit for bit', () => {
  it('random loop nests', ({ skip }) => {
    if (native === null) return skip();
    loopSamples.forEach((sample, i) => expect(differences(native as NativeModule, i, sample).slice(0, 5), sample.name).toEqual([]));
  });
  it('random contractions: sums of small whole numbers are exact in any order', ({ skip }) => {
    if (native === null) return skip();
    contractSamples.forEach((sample, i) =>
      expect(differences(native as NativeModule, loopSamples.length + i, sample).slice(0, 5), sample.name).toEqual([]),
    );
    expect(native.kernels.filter((k) => k !== null)).toHaveLength(samples.length);
  });
});

describe('for other machines', () => {
  it('the same kernels are rendered for every vector width, and say how wide they are', () => {
    for (const lanes of [4, 8, 16] as const) {
      const { text } = renderC([samples[0].kernel, contractSamples[0].kernel], { lanes, registers: lanes === 16 ? 32 : 16 });
      expect(text).toContain(`#define LANES ${lanes}`);
    }
  });
});
