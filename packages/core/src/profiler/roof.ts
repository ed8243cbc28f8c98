/** The machine's limits, measured through the device itself: arithmetic in registers, and memory traffic. */
import { ExprBuilder, type Local } from '../ir/expr.js';
import type { Kernel, Stmt } from '../ir/kernel.js';
import type { Device, Executable } from '../runtime/device.js';

export interface Roof {
  /** Float32 multiplications and additions a second, in units of 1e9, on all threads of the device. */
  readonly gflops: number;
  /** Bytes read and written a second, in units of 1e9, for arrays far larger than the caches. */
  readonly gbps: number;
  readonly threads: number;
}

const chains = 8;
const lanes = 64;
const rounds = 2000;
const cells = 64;

/** Chains of x = x * a + b in registers: nothing but arithmetic. */
function arithmeticKernel(): { readonly kernel: Kernel; readonly flops: number } {
  const b = new ExprBuilder();
  const cell = b.loopVar('cell');
  const lane = b.loopVar('lane');
  const round = b.loopVar('round');
  const buffer = { param: 0, dtype: 'float32' } as const;
  const locals: Local[] = Array.from({ length: chains }, (_, i) => b.newLocal(`x${i}`, 'f32'));
  const body: Stmt[] = locals.map((local, i) => ({
    kind: 'declare',
    local,
    value: b.mul(b.cast(b.index(lane), 'f32'), b.const('f32', 0.001 * (i + 1))),
  }));
  body.push({
    kind: 'for',
    variable: round,
    extent: rounds,
    mode: 'serial',
    body: locals.map((local) => ({
      kind: 'assign',
      local,
      value: b.add(b.mul(b.read(local), b.const('f32', 0.999)), b.const('f32', 0.001)),
    })),
  });
  const sum = locals.map((local) => b.read(local)).reduce((x, y) => b.add(x, y));
  const index = b.add(b.mul(b.index(cell), b.i32(lanes)), b.index(lane));
  body.push({ kind: 'store', buffer, index, value: sum, mode: 'set' });
  return {
    kernel: {
      name: 'arithmetic',
      params: [{ dtype: 'float32', access: 'write' }],
      parts: [{ kind: 'loops', grid: cells, cell, body: [{ kind: 'for', variable: lane, extent: lanes, mode: 'vector', body }] }],
    },
    flops: 2 * chains * lanes * rounds * cells,
  };
}

const triadCells = 1024;
const triadExtent = 8192;

/** out = a * 3 + b over large arrays. */
function memoryKernel(): { readonly kernel: Kernel; readonly bytes: number } {
  const b = new ExprBuilder();
  const cell = b.loopVar('cell');
  const i = b.loopVar('i');
  const index = b.add(b.mul(b.index(cell), b.i32(triadExtent)), b.index(i));
  const load = (param: number) => b.load({ param, dtype: 'float32' }, 'f32', index);
  const value = b.add(b.mul(load(0), b.const('f32', 3)), load(1));
  return {
    kernel: {
      name: 'memory',
      params: [
        { dtype: 'float32', access: 'read' },
        { dtype: 'float32', access: 'read' },
        { dtype: 'float32', access: 'write' },
      ],
      parts: [
        {
          kind: 'loops',
          grid: triadCells,
          cell,
          body: [
            {
              kind: 'for',
              variable: i,
              extent: triadExtent,
              mode: 'vector',
              body: [{ kind: 'store', buffer: { param: 2, dtype: 'float32' }, index, value, mode: 'set' }],
            },
          ],
        },
      ],
    },
    bytes: 3 * 4 * triadCells * triadExtent,
  };
}

function load(device: Device, kernel: Kernel): Executable {
  const args = kernel.params.map((_, i) => ({ slot: 1 + i, offset: 0 }));
  return device.load({
    name: kernel.name,
    steps: [{ kind: 'call', kernel, args, work: 2 ** 30 }],
    arenaBytes: 0,
    slots: 1 + args.length,
    constants: [],
  });
}

/** The shortest of several runs, in seconds, after one to warm up and for about `seconds` in all. */
function best(executable: Executable, pointers: Float64Array, seconds: number): number {
  executable.runSync(pointers);
  let least = Number.POSITIVE_INFINITY;
  const end = performance.now() + 1000 * seconds;
  do {
    const start = performance.now();
    executable.runSync(pointers);
    least = Math.min(least, (performance.now() - start) / 1000);
  } while (performance.now() < end);
  return least;
}

const known = new WeakMap<Device, Roof>();

/** Measures the roof of a device, about half a second; the result is kept. Needs 96 MiB of its memory for a moment. */
export function measureRoof(device: Device): Roof {
  const found = known.get(device);
  if (found) return found;
  const arithmetic = arithmeticKernel();
  const memory = memoryKernel();
  const floats = 4 * triadCells * triadExtent;
  const buffers: number[] = [];
  const executables: Executable[] = [];
  try {
    for (let i = 0; i < 3; i++) {
      const address = device.allocate(floats);
      buffers.push(address);
      device.bytes(address, floats).fill(0);
    }
    executables.push(load(device, arithmetic.kernel), load(device, memory.kernel));
    const [flopsRun, bytesRun] = executables;
    const roof = {
      gflops: arithmetic.flops / best(flopsRun, Float64Array.of(0, buffers[0]), 0.25) / 1e9,
      gbps: memory.bytes / best(bytesRun, Float64Array.of(0, ...buffers), 0.25) / 1e9,
      threads: device.threads,
    };
    known.set(device, roof);
    return roof;
  } finally {
    for (const executable of executables) executable.dispose();
    for (const address of buffers) device.free(address, floats);
  }
}
