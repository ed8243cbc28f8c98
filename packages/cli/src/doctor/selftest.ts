/** A small computation on one tier, compared with plain JavaScript; run in a process of its own, which may crash. */
import process from 'node:process';
import { type CpuDevice, createCpuDevice, jit, setDefaultDevice, type Tensor, tensor } from 'trireme';
import { measureRoof, type Roof } from 'trireme/profiler';
import { exitCodes, reasonOf } from '../errors.js';

export interface SelfTest {
  readonly tier: 'wasm' | 'native';
  /** Largest difference from the exact result, relative to its size. */
  readonly error: number;
  /** Why native code did not run; null when all is well. */
  readonly reason: string | null;
  /** Seconds from the start to the first result, compilation included. */
  readonly seconds: number;
  readonly roof: Roof | null;
}

const [rows, inner, columns] = [96, 160, 80];

/** Numbers from -1 to 1 without a pattern. */
function noise(length: number, start: number): Float32Array {
  let state = start;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state / 2 ** 31;
  });
}

/** `exp(relu(a b) / 8)` summed along the rows. */
function exact(a: Float32Array, b: Float32Array): Float64Array {
  return Float64Array.from({ length: rows }, (_, i) => {
    let total = 0;
    for (let j = 0; j < columns; j++) {
      let sum = 0;
      for (let k = 0; k < inner; k++) sum += a[i * inner + k] * b[k * columns + j];
      total += Math.exp(Math.max(0, sum) / 8);
    }
    return total;
  });
}

function compute(a: Float32Array, b: Float32Array): ArrayLike<number> {
  const [x, y] = [tensor(a, { shape: [rows, inner] }), tensor(b, { shape: [inner, columns] })];
  const program = jit((p: Tensor, q: Tensor) => p.matmul(q).relu().div(8).exp().sum(1), { name: 'selfTest' });
  const result = program(x, y);
  const data = Array.from(result.dataSync() as Float32Array);
  for (const t of [x, y, result]) t.dispose();
  program.dispose();
  return data;
}

function run(tier: 'wasm' | 'native', measure: boolean): SelfTest {
  const started = performance.now();
  const device: CpuDevice = createCpuDevice({ tier });
  setDefaultDevice(device);
  const [a, b] = [noise(rows * inner, 1), noise(inner * columns, 2)];
  const found = compute(a, b);
  const seconds = (performance.now() - started) / 1000;
  const wanted = exact(a, b);
  const error = Math.max(...Array.from(wanted, (value, i) => Math.abs(found[i] - value) / value));
  const status = tier === 'native' ? device.nativeStatus : true;
  return {
    tier,
    error,
    reason: status === true ? null : String(status),
    seconds,
    roof: measure && status === true ? measureRoof(device) : null,
  };
}

/** The hidden command behind `doctor`. */
export function selfTest(args: readonly string[]): number {
  try {
    process.stdout.write(`${JSON.stringify(run(args[0] === 'native' ? 'native' : 'wasm', args[1] === 'measure'))}\n`);
    return exitCodes.done;
  } catch (error) {
    process.stderr.write(`${reasonOf(error)}\n`);
    return exitCodes.failed;
  }
}
