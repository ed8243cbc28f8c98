/** `trireme doctor`: what this machine offers, and what to do about what is missing. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { type MachineReport, machineReport, TriremeError } from 'trireme';
import { ConfigError, exitCodes, reasonOf } from '../errors.js';
import { columns, type Output } from '../output.js';
import { suggestion } from '../suggest.js';
import { type SystemReport, systemReport } from './machine.js';
import type { SelfTest } from './selftest.js';

type Status = 'ok' | 'info' | 'warn' | 'fail';
interface Check {
  readonly group: string;
  readonly name: string;
  readonly status: Status;
  readonly value: string;
  /** What to do about it. */
  readonly fix?: string;
}

/** Every variable that the packages read, with what it does. */
const variables: Readonly<Record<string, string>> = {
  TRIREME_THREADS: 'threads of the CPU device',
  TRIREME_TIER: 'auto, native or wasm',
  TRIREME_CC: 'the C compiler',
  TRIREME_CACHE: 'where compiled code is kept',
  TRIREME_OFFLINE: 'fromPretrained asks the network for nothing',
  TRIREME_DEBUG: 'what is printed about compilation',
};
const optionalPackages: Readonly<Record<string, string>> = {
  sharp: 'decodes JPEG, PNG, WebP, AVIF …',
  hyparquet: 'reads Parquet files',
  'mpg123-decoder': 'decodes MP3',
  '@wasm-audio-decoders/flac': 'decodes FLAC',
};

const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

function runSelfTest(tier: 'wasm' | 'native', measure: boolean): Promise<SelfTest | { readonly failure: string }> {
  const args = [fileURLToPath(new URL('./main.js', import.meta.url)), '__selftest', tier, measure ? 'measure' : 'quick'];
  return new Promise((resolve) => {
    // Compiled here and now: the user's cache neither helps nor grows.
    const child = spawn(process.execPath, args, {
      env: { ...process.env, TRIREME_CACHE: 'off', TRIREME_DEBUG: '' },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 120_000,
    });
    let [out, err] = ['', ''];
    child.stdout.on('data', (chunk) => {
      out += String(chunk);
    });
    child.stderr.on('data', (chunk) => {
      err += String(chunk);
    });
    child.on('error', (error) => resolve({ failure: reasonOf(error) }));
    child.on('close', (code, signal) => {
      try {
        if (code === 0) return resolve(JSON.parse(out) as SelfTest);
      } catch {
        // Told below.
      }
      const last = err.trim().split('\n').pop();
      resolve({ failure: signal ? `the process was ended by ${signal}` : last || `the process ended with ${code}` });
    });
  });
}

function systemChecks(system: SystemReport, machine: MachineReport): Check[] {
  const group = 'machine';
  const [major, minor] = system.node.split('.').map(Number);
  const old = major < 20 || (major === 20 && minor < 16);
  const usable = Math.max(1, Math.min(system.usableCores, Math.ceil(system.cpuLimit ?? system.usableCores)));
  const crowded = machine.threads > usable;
  const limited = [
    system.usableCores < system.cores ? `this process may use ${system.usableCores}` : null,
    system.cpuLimit === null ? null : `the container has ${Number(system.cpuLimit.toFixed(2))} cores' worth of time`,
  ].filter((part) => part !== null);
  const available = Math.min(system.freeMemory, system.memoryLimit ?? system.freeMemory);
  return [
    old
      ? { group, name: 'Node.js', status: 'fail', value: system.node, fix: 'Install Node.js 20.16 or newer.' }
      : { group, name: 'Node.js', status: 'ok', value: system.node },
    { group, name: 'platform', status: 'info', value: system.platform },
    { group, name: 'CPU', status: 'info', value: system.cpu },
    { group, name: 'cores', status: 'info', value: [String(system.cores), ...limited].join('; ') },
    crowded
      ? {
          group,
          name: 'threads',
          status: 'warn',
          value: `${machine.threads} on ${usable} cores`,
          fix: `They would wait for one another: set TRIREME_THREADS=${usable}.`,
        }
      : { group, name: 'threads', status: 'ok', value: String(machine.threads) },
    {
      group,
      name: 'memory',
      status: available < 2 ** 30 ? 'warn' : 'ok',
      value: `${gib(available)} free of ${gib(system.memoryLimit ?? system.memory)}${system.memoryLimit === null ? '' : ` (limit of the container; the machine has ${gib(system.memory)})`}`,
      ...(available < 2 ** 30 ? { fix: 'Use smaller batches, or close other programs.' } : {}),
    },
    { group, name: 'tensor memory', status: 'info', value: `${gib(2 ** 32)} at most, outside the JavaScript heap` },
    {
      group,
      name: 'JavaScript heap',
      status: system.heapLimit < 2 ** 30 ? 'warn' : 'info',
      value: `${gib(system.heapLimit)} at most`,
      ...(system.heapLimit < 2 ** 30 ? { fix: 'For data sets in memory start Node with --max-old-space-size=4096.' } : {}),
    },
  ];
}

function wasmChecks(machine: MachineReport, test: SelfTest | { readonly failure: string }): Check[] {
  const group = 'WebAssembly';
  const fine = !('failure' in test) && test.error < 1e-4;
  return [
    machine.simd
      ? { group, name: 'SIMD', status: 'ok', value: 'yes' }
      : {
          group,
          name: 'SIMD',
          status: 'fail',
          value: 'no',
          fix: 'Nothing runs without it: use a CPU with SSE4.1 or NEON and a current Node.js.',
        },
    machine.relaxedSimd
      ? { group, name: 'relaxed SIMD', status: 'ok', value: 'yes (fused multiply-add)' }
      : { group, name: 'relaxed SIMD', status: 'warn', value: 'no', fix: 'Matrix products are slower without it: use a newer Node.js.' },
    machine.sharedMemory
      ? { group, name: 'shared memory', status: 'ok', value: 'yes' }
      : { group, name: 'shared memory', status: 'warn', value: 'no: one thread', fix: 'Use a Node.js with SharedArrayBuffer.' },
    'failure' in test
      ? { group, name: 'self-test', status: 'fail', value: test.failure, fix: 'Please report it with the output of trireme doctor --json.' }
      : {
          group,
          name: 'self-test',
          status: fine ? 'ok' : 'fail',
          value: `error ${test.error.toExponential(1)}${fine ? '' : ', which is wrong'}`,
          ...(fine ? {} : { fix: 'Please report it with the output of trireme doctor --json.' }),
        },
    ...roofCheck(group, test),
  ];
}

function roofCheck(group: string, test: SelfTest | { readonly failure: string }): Check[] {
  if ('failure' in test || test.roof === null) return [];
  const { gflops, gbps, threads } = test.roof;
  return [{ group, name: 'roof', status: 'info', value: `${gflops.toFixed(0)} GFLOP/s, ${gbps.toFixed(1)} GB/s on ${threads} threads` }];
}

/** Whether files can be written into the cache folder. */
function cacheProblem(path: string): string | null {
  try {
    rmSync(mkdtempSync(join(path, '.doctor-')), { recursive: true });
    return null;
  } catch (error) {
    return reasonOf(error);
  }
}

function nativeChecks({ native, tier }: MachineReport, test: SelfTest | { readonly failure: string } | null): Check[] {
  const group = 'native code';
  const { compiler, koffi, cache } = native;
  const checks: Check[] = [
    {
      group,
      name: 'tier',
      status: tier === 'wasm' ? 'warn' : 'info',
      value: tier,
      ...(tier === 'wasm' ? { fix: 'Native code is off: unset TRIREME_TIER.' } : {}),
    },
    compiler
      ? {
          group,
          name: 'compiler',
          status: 'ok',
          value: `${compiler.command}, version ${compiler.version}, ${compiler.vectorBits}-bit vectors`,
        }
      : { group, name: 'compiler', status: 'warn', value: native.reason ?? 'none', fix: compilerHint() },
    ...(compiler ? [{ group, name: 'flags', status: 'info' as const, value: compiler.flags.join(' ') }] : []),
    koffi
      ? { group, name: 'koffi', status: 'ok', value: koffi }
      : { group, name: 'koffi', status: 'warn', value: 'not there', fix: 'npm install koffi (it calls the compiled code).' },
  ];
  if (cache !== null) {
    const problem = cacheProblem(cache.path);
    const off = process.env.TRIREME_CACHE === 'off';
    const value = `${cache.path}, ${cache.libraries} libraries, ${mib(cache.bytes)}`;
    if (cache.lasting && cache.reason !== null)
      checks.push({
        group,
        name: 'cache',
        status: 'warn',
        value: `${value}; ${cache.reason}`,
        fix: 'What it lacks is compiled by every process anew: run trireme warmup where it can be written to.',
      });
    else if (problem !== null)
      checks.push({
        group,
        name: 'cache',
        status: 'fail',
        value: `${cache.path}: ${problem}`,
        fix: 'Give TRIREME_CACHE a folder that this user can write to.',
      });
    else if (!cache.lasting && !off) {
      checks.push({
        group,
        name: 'cache',
        status: 'warn',
        value: `for this process only: ${cache.reason}`,
        fix: 'Give TRIREME_CACHE a folder that this user alone can use.',
      });
    } else checks.push({ group, name: 'cache', status: off ? 'info' : 'ok', value: off ? 'off: every process compiles anew' : value });
  }
  if (test !== null) {
    const crash = 'failure' in test ? test.failure : test.reason;
    const off = 'Set TRIREME_TIER=wasm to go without, and please report it with the output of trireme doctor --json.';
    if (crash !== null) checks.push({ group, name: 'self-test', status: 'fail', value: crash, fix: off });
    else if (!('failure' in test)) {
      const fine = test.error < 1e-4;
      checks.push({
        group,
        name: 'self-test',
        status: fine ? 'ok' : 'fail',
        value: `error ${test.error.toExponential(1)}, compiled and compared with WebAssembly in ${test.seconds.toFixed(1)} s`,
        ...(fine ? {} : { fix: off }),
      });
    }
    checks.push(...roofCheck(group, test));
  }
  return checks;
}

function compilerHint(): string {
  if (process.env.TRIREME_CC) return `TRIREME_CC is ${process.env.TRIREME_CC}: name a C compiler that works, or unset it.`;
  if (process.platform === 'darwin') return 'xcode-select --install';
  if (process.platform === 'win32') return 'Install gcc or clang and put it on the PATH (or name it with TRIREME_CC).';
  return 'Install gcc or clang (Debian: apt-get install gcc libc6-dev; Alpine: apk add gcc musl-dev), several times as fast as WebAssembly.';
}

async function packageChecks(): Promise<Check[]> {
  const group = 'optional packages';
  const checks: Check[] = [];
  for (const [name, use] of Object.entries(optionalPackages)) {
    try {
      await import(name);
      checks.push({ group, name, status: 'ok', value: use });
    } catch (error) {
      const missing = (error as { code?: unknown }).code === 'ERR_MODULE_NOT_FOUND';
      checks.push({
        group,
        name,
        status: missing ? 'info' : 'warn',
        value: missing ? `not installed; ${use}` : `does not start: ${reasonOf(error).split('\n')[0]}`,
        fix: `npm install ${name}${missing ? ', when it is needed' : ''}`,
      });
    }
  }
  let webgpu = true;
  try {
    createRequire(import.meta.url).resolve('webgpu');
  } catch {
    webgpu = false;
  }
  checks.push({
    group,
    name: 'webgpu',
    status: 'info',
    value: `${webgpu ? 'installed' : 'not installed'}; programs run on the CPU, so it is not needed`,
  });
  return checks;
}

function variableChecks(): Check[] {
  const group = 'environment';
  const set = Object.entries(process.env).filter(([name]) => name.startsWith('TRIREME_'));
  if (set.length === 0) return [{ group, name: 'TRIREME_*', status: 'info', value: 'none is set' }];
  return set.map(([name, value = '']) => {
    const known = Object.hasOwn(variables, name);
    return known
      ? { group, name, status: 'info', value: `${value === '' ? '(empty)' : value}: ${variables[name]}` }
      : { group, name, status: 'warn', value: `${value}: no such variable`, fix: suggestion(name, Object.keys(variables)) };
  });
}

const marks: Readonly<Record<Status, string>> = { ok: 'ok', info: '-', warn: 'warn', fail: 'FAIL' };

function report(): MachineReport {
  try {
    return machineReport();
  } catch (error) {
    if (error instanceof TriremeError) throw new ConfigError({ message: error.message }, error);
    throw error;
  }
}

export async function doctor({ quick }: { readonly quick: boolean }, output: Output): Promise<number> {
  const system = systemReport();
  const machine = report();
  // One after the other: they measure.
  const wasm = await runSelfTest('wasm', !quick);
  const native = machine.native.available && machine.tier !== 'wasm' ? await runSelfTest('native', !quick) : null;
  const checks = [
    ...systemChecks(system, machine),
    ...wasmChecks(machine, wasm),
    ...nativeChecks(machine, native),
    ...(await packageChecks()),
    ...variableChecks(),
  ];
  const count = (status: Status): number => checks.filter((check) => check.status === status).length;
  let group = '';
  for (const check of checks) {
    if (check.group !== group) output.say(`${group === '' ? '' : '\n'}${check.group}`);
    group = check.group;
    output.say(columns([[marks[check.status].padEnd(4), check.name.padEnd(26), check.value]], '  '));
    if (check.fix !== undefined && (check.status === 'warn' || check.status === 'fail')) output.say(`${' '.repeat(36)}→ ${check.fix}`);
  }
  const [failures, warnings] = [count('fail'), count('warn')];
  output.say(
    `\n${failures === 0 ? (warnings === 0 ? 'all is well' : `${warnings} ${warnings === 1 ? 'thing' : 'things'} could be better`) : `${failures} broken`}`,
  );
  output.result({ command: 'doctor', ok: failures === 0, warnings, failures, system, machine, selfTests: { wasm, native }, checks });
  return failures === 0 ? exitCodes.done : exitCodes.failed;
}
