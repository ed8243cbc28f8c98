/** The machine's C compiler, and what it makes of this CPU. */
import type { CTarget } from '../../codegen/c/contract-plan.js';
import { type Finished, runProcess, runProcessSync } from './process.js';

export interface Toolchain {
  readonly command: string;
  readonly version: string;
  readonly flags: readonly string[];
  readonly target: CTarget;
  /** All that the compiler defines with these flags, the CPU's features among it: part of the key of everything compiled. */
  readonly macros: string;
}

const flags = [
  '-O2',
  '-march=native',
  '-shared',
  '-fPIC',
  '-std=gnu11',
  '-fwrapv',
  '-ffp-contract=off',
  '-fno-math-errno',
  '-fno-trapping-math',
  '-fno-strict-aliasing',
  '-Wno-psabi',
] as const;
/** Milliseconds after which a compiler counts as hanging: a large training step takes 30 s of a core, which others may be using too. */
export const compilerTimeout = 300_000;

function candidates(): string[] {
  const asked = process.env.TRIREME_CC;
  return asked ? [asked] : ['cc', 'gcc', 'clang'];
}

const probeArguments = [...flags.filter((f) => f !== '-shared'), '-dM', '-E', '-x', 'c', '/dev/null'];
const probeOptions = { timeout: 10_000 } as const;

/** What a compiler answered. Throws what it said otherwise. */
function answerOf({ code, signal, timedOut, stdout, stderr }: Finished): string {
  if (timedOut) throw new Error(`it did not answer within ${probeOptions.timeout / 1000} s`);
  if (code !== 0) throw new Error(firstLine(stderr || `ended by ${signal ?? code}`));
  if (!stdout.includes('#define __VERSION__')) throw new Error('it is no C compiler');
  return stdout;
}

function describe(command: string, macros: string): Toolchain {
  const has = (name: string): boolean => macros.includes(`#define ${name} `);
  const version = /#define __VERSION__ "(.*)"/.exec(macros)?.[1] ?? 'unknown';
  const target: CTarget = has('__AVX512F__')
    ? { lanes: 16, registers: 32 }
    : has('__AVX2__')
      ? { lanes: 8, registers: 16 }
      : { lanes: 4, registers: has('__aarch64__') ? 32 : 16 };
  // GCC prefers half-width vectors on some CPUs that have the full width.
  const wide = target.lanes === 16 ? ['-mprefer-vector-width=512'] : [];
  return { command, version, flags: [...flags, ...wide], target, macros: macros.split('\n').sort().join('\n') };
}

/** The first compiler that works. Throws with what each candidate said. */
export function findToolchainSync(): Toolchain {
  const said: string[] = [];
  for (const command of candidates()) {
    try {
      return describe(command, answerOf(runProcessSync(command, probeArguments, probeOptions)));
    } catch (error) {
      said.push(`${command}: ${firstLine(error)}`);
    }
  }
  throw new Error(`no C compiler (${said.join('; ')})`);
}

/** {@link findToolchainSync} without holding up this thread. */
export async function findToolchain(): Promise<Toolchain> {
  const said: string[] = [];
  for (const command of candidates()) {
    try {
      return describe(command, answerOf(await runProcess(command, probeArguments, probeOptions)));
    } catch (error) {
      said.push(`${command}: ${firstLine(error)}`);
    }
  }
  throw new Error(`no C compiler (${said.join('; ')})`);
}

export function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const code = (error as { code?: unknown }).code;
  if (code === 'ENOENT') return 'not found';
  return (text.split('\n').find((line) => line.trim() !== '') ?? 'failed').slice(0, 400);
}
