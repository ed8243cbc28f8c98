/** What a Node process that uses the CPU device does as a whole. It runs a bundle with the worker beside it, as users do. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { type BuildOptions, buildSync } from 'esbuild';
import { afterAll, describe, expect, it } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'trireme-process-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const source = fileURLToPath(new URL('../../src/', import.meta.url));
const contents = `
  export { CpuDevice } from './runtime/cpu/device.ts';
  export { ModuleBuilder } from './codegen/wasm/asm.ts';
  export { control } from './runtime/cpu/layout.ts';`;
const options: BuildOptions = { bundle: true, format: 'esm', platform: 'neutral', external: ['node:*'], target: 'es2022' };
writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
buildSync({ ...options, stdin: { contents, resolveDir: source }, outfile: join(folder, 'device.js') });
buildSync({ ...options, entryPoints: [join(source, 'runtime/cpu/worker.ts')], outfile: join(folder, 'worker.js') });
const device = JSON.stringify(pathToFileURL(join(folder, 'device.js')).href);

/** A device with one program: 64 slow cells, each of which adds 1 to an element of `data`. */
const prelude = `
import { CpuDevice, ModuleBuilder, control } from ${device};
const compile = (kernels, features) => {
  const module = new ModuleBuilder();
  module.importMemory(features.sharedMemory ? { min: 1, max: 65536, shared: true } : { min: 1 });
  const f = module.function(['i32', 'i32', 'i32', 'i32'], [], 'main');
  const [cell, end, args] = f.params;
  const left = f.local('i32');
  const cells = f.loop();
  f.i32(5000).set(left);
  const rounds = f.loop();
  f.get(left).i32(1).op('i32.sub').tee(left).brIf(rounds);
  f.end();
  f.get(args).mem('i32.load').get(cell).i32(2).op('i32.shl').op('i32.add');
  f.get(args).mem('i32.load').get(cell).i32(2).op('i32.shl').op('i32.add').mem('i32.load').i32(1).op('i32.add').mem('i32.store');
  f.get(cell).i32(1).op('i32.add').tee(cell).get(end).op('i32.lt_u').brIf(cells);
  f.end();
  return { bytes: module.finish(), kernels: [{ phases: [[{ exportName: 'main', grid: 64, chunk: 1 }]], workspaceBytes: 0, scratchBytes: 0 }] };
};
const make = (options) => {
  const device = new CpuDevice(options, compile);
  const data = device.allocate(256);
  device.bytes(data, 256).fill(0);
  const kernel = { name: 'k', params: [{ dtype: 'int32', access: 'readwrite' }], parts: [] };
  const steps = [{ kind: 'repeat', count: 20, body: [{ kind: 'call', kernel, args: [{ slot: 1, offset: 0 }], work: 1e6 }] }];
  const program = device.load({ name: 'p', slots: 2, arenaBytes: 0, constants: [], steps });
  return { device, program, pointers: [0, data], first: () => new Int32Array(device.heap.u8.buffer, data, 64)[0] };
};
`;

function runScript(script: string, env: Record<string, string> = {}): { stdout: string; stderr: string; status: number | null } {
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '--eval', prelude + script], {
    encoding: 'utf8',
    timeout: 20_000,
    env: { ...process.env, ...env },
  });
  return { stdout: stdout.trim(), stderr: stderr.trim(), status };
}

describe('a process with a CPU device', () => {
  it('exits by itself while workers sleep, after synchronous runs that used them', () => {
    const script = `
      const { device, program, pointers, first } = make({ threads: 3 });
      let runs = 0;
      // No turn of the event loop: workers start and take part all the same.
      while (Atomics.load(device.heap.i32, control.finished / 4) < 3 && runs < 5000) { program.runSync(pointers); runs++; }
      console.log(device.workers, Atomics.load(device.heap.i32, control.finished / 4) >= 3, first() === 20 * runs);`;
    expect(runScript(script)).toEqual({ stdout: '2 true true', stderr: '', status: 0 });
  });

  it('stays until an awaited run is done, with nothing else to do, then exits', () => {
    const script = `
      const { program, pointers, first } = make({ threads: 2 });
      for (let i = 0; i < 3; i++) await program.run(pointers);
      console.log(first());`;
    expect(runScript(script)).toEqual({ stdout: '60', stderr: '', status: 0 });
  });

  it('awaits runs by message where Atomics.waitAsync is missing', () => {
    const script = `
      const { program, pointers, first } = make({ threads: 2 });
      await Promise.all([program.run(pointers), program.run(pointers)]);
      program.runSync(pointers);
      console.log(typeof Atomics.waitAsync, first());`;
    const env = { NODE_OPTIONS: '--import=data:text/javascript,delete(Atomics.waitAsync)' };
    expect(runScript(script, env)).toEqual({ stdout: 'undefined 60', stderr: '', status: 0 });
  });

  it('can end in the middle of a run', () => {
    const script = `
      const { program, pointers } = make({ threads: 2 });
      await program.run(pointers);
      for (let i = 0; i < 10000; i++) void program.run(pointers);
      process.exit(7);`;
    expect(runScript(script)).toEqual({ stdout: '', stderr: '', status: 7 });
  });

  it('takes the number of threads from TRIREME_THREADS', () => {
    const script = `
      try { console.log(make({}).device.threads, make({ threads: 2 }).device.threads); }
      catch (error) { console.log(error.name + ': ' + error.message); }`;
    expect(runScript(script, { TRIREME_THREADS: '5' }).stdout).toBe('5 2');
    expect(runScript(script, { TRIREME_THREADS: 'many' }).stdout).toMatch(/^ArgumentError: .*TRIREME_THREADS is NaN/);
  });

  it('says once that a missing SharedArrayBuffer leaves it one thread, and computes the same', () => {
    const script = `
      delete globalThis.SharedArrayBuffer;
      const { device, program, pointers, first } = make({ threads: 4 });
      make({ threads: 4 });
      program.runSync(pointers);
      await program.run(pointers);
      console.log(device.threads, first());`;
    const { stdout, stderr, status } = runScript(script);
    expect({ stdout, status }).toEqual({ stdout: '1 40', status: 0 });
    expect(stderr.match(/Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp/g)).toHaveLength(1);
  });
});
