/**
 * What the code generators make of a fixed set of programs. A change of a pass, of fusion or of a generator shows here as a difference:
 * wanted or not, it should be seen. `kernels.txt` has a line for each kernel with digests of its IR, its WebAssembly and its C for
 * two vector widths; `shown/` has IR and C in full for some programs.
 */
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import type { CTarget } from '../../src/codegen/c/contract-plan.js';
import { renderC } from '../../src/codegen/c/module.js';
import { compileKernels } from '../../src/codegen/wasm/module.js';
import type { CompiledProgram } from '../../src/graph/compile.js';
import { createCpuDevice, setDefaultDevice } from '../../src/index.js';
import type { Kernel } from '../../src/ir/kernel.js';
import { printKernel, printSteps } from '../../src/ir/print.js';
import { defaultDevice } from '../../src/tensor/device.js';
import { watched } from './programs.js';

const usual = defaultDevice();
const device = createCpuDevice({ tier: 'wasm', threads: 1 });
afterAll(() => {
  setDefaultDevice(usual);
  device.dispose();
});

const digest = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex').slice(0, 12);
const targets: readonly CTarget[] = [
  { lanes: 16, registers: 32 },
  { lanes: 8, registers: 16 },
];
const inC = (kernel: Kernel, target: CTarget): string | null => renderC([kernel], target).kernels[0]?.text ?? null;

/** The kernels of a program, a line each. */
function lines({ steps, kernels, arenaBytes }: CompiledProgram): string[] {
  return [
    `  steps ${digest(printSteps(steps))}, arena ${arenaBytes} bytes`,
    ...kernels.map((kernel) => {
      const wasm = compileKernels([kernel], { sharedMemory: true, relaxedSimd: true }).bytes;
      const c = targets.map((target) => {
        const text = inC(kernel, target);
        return `c${target.lanes} ${text === null ? '-' : digest(text)}`;
      });
      return `  ${kernel.name}: ir ${digest(printKernel(kernel))}, wasm ${digest(wasm)} (${wasm.length} bytes), ${c.join(', ')}`;
    }),
  ];
}
function fullText({ steps, kernels }: CompiledProgram): string {
  const parts = kernels.map((kernel) => `${printKernel(kernel)}\n\n${inC(kernel, targets[0]) ?? 'stays WebAssembly'}`);
  return `${printSteps(steps)}\n\n${parts.join('\n\n')}\n`;
}
const fileName = (name: string): string => `${name.replaceAll(/[^A-Za-z0-9]+/g, '-')}.txt`;

const advice =
  'The code generated for these programs is not what it was. See how with `npm run replay`; ' +
  'if that is what you wanted, `npm run replay -- --update` accepts it, and the files under packages/core/test/replay belong into the commit.';

describe('generated code', () => {
  setDefaultDevice(device);
  const found: string[] = [];
  for (const { name, shown, compile } of watched) {
    setDefaultDevice(device);
    compile((program) => {
      found.push(name, ...lines(program), '');
      if (!shown) return;
      const text = fullText(program);
      it(`of ${name} is as it was`, async () => {
        await expect(text, advice).toMatchFileSnapshot(`shown/${fileName(name)}`);
      });
    });
  }
  it('of every watched program is as it was', async () => {
    await expect(found.join('\n'), advice).toMatchFileSnapshot('kernels.txt');
  });
  it('is kept for the watched programs and no others', () => {
    const files = readdirSync(fileURLToPath(new URL('./shown', import.meta.url))).sort();
    expect(files).toEqual(
      watched
        .filter((w) => w.shown)
        .map((w) => fileName(w.name))
        .sort(),
    );
  });
});
