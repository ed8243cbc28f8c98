/** What this machine offers, as plain data: for `trireme doctor`, bug reports and start-up checks. */
import { ModuleBuilder } from '../codegen/wasm/asm.js';
import { builtin, canShareMemory, defaultThreads, defaultTier, probeFeatures, type Tier } from './cpu/environment.js';
import { cacheFolder } from './native/cache.js';
import { requireKoffi } from './native/link.js';
import { node } from './native/node.js';
import { findToolchainSync, firstLine } from './native/toolchain.js';

export interface NativeReport {
  /** Whether a compiler and koffi are there; they are not tried on a kernel here. */
  readonly available: boolean;
  /** Why not. */
  readonly reason: string | null;
  readonly compiler: {
    readonly command: string;
    readonly version: string;
    /** Width of the vectors that kernels use on this CPU, in bits. */
    readonly vectorBits: number;
    readonly flags: readonly string[];
  } | null;
  /** The version of koffi, which calls the compiled code. */
  readonly koffi: string | null;
  /** Where compiled code is kept; null outside Node. */
  readonly cache: {
    readonly path: string;
    /** Whether it outlives the process. */
    readonly lasting: boolean;
    /** Why a lasting folder is not used, if one was wanted. */
    readonly reason: string | null;
    readonly libraries: number;
    readonly bytes: number;
  } | null;
}

export interface MachineReport {
  readonly engine: string;
  /** Threads and tier of a device that is not told otherwise. */
  readonly threads: number;
  readonly tier: Tier;
  /** Whether threads can share memory. */
  readonly sharedMemory: boolean;
  /** 128-bit vectors in WebAssembly; nothing runs without them. */
  readonly simd: boolean;
  /** Fused multiply-adds in WebAssembly. */
  readonly relaxedSimd: boolean;
  readonly native: NativeReport;
}

function hasSimd(): boolean {
  const module = new ModuleBuilder();
  const f = module.function(['v128', 'v128'], ['v128']);
  for (const p of f.params) f.get(p);
  f.op('f32x4.add');
  return WebAssembly.validate(module.finish());
}

function cacheReport(): NativeReport['cache'] {
  const { path, lasting, reason } = cacheFolder();
  const { fs, path: paths } = node();
  let libraries = 0;
  let bytes = 0;
  for (const name of fs.readdirSync(path)) {
    const size = fs.statSync(paths.join(path, name), { throwIfNoEntry: false })?.size;
    bytes += size ?? 0;
    if (name.endsWith('.so') && !name.includes('.tmp.')) libraries++;
  }
  return { path, lasting, reason, libraries, bytes };
}

function nativeReport(): NativeReport {
  if (builtin('node:os') === null)
    return { available: false, reason: 'there is no native code outside Node', compiler: null, koffi: null, cache: null };
  const reasons: string[] = [];
  /** What a part says, null after it has said why not. */
  const attempt = <T>(part: () => T): T | null => {
    try {
      return part();
    } catch (error) {
      reasons.push(firstLine(error));
      return null;
    }
  };
  const compiler = attempt(() => {
    const { command, version, target, flags } = findToolchainSync();
    return { command, version, vectorBits: 32 * target.lanes, flags };
  });
  const koffi = attempt(() => (requireKoffi() as { readonly version?: string }).version ?? 'unknown');
  const available = compiler !== null && koffi !== null;
  const reason = reasons.length === 0 ? null : reasons.join('; ');
  return { available, reason, compiler, koffi, cache: attempt(cacheReport) };
}

/**
 * What decides how fast this machine runs. It starts no device and compiles nothing, but asks the C compiler for its version
 * (some 50 ms) and makes the cache folder.
 * @throws ArgumentError when TRIREME_THREADS or TRIREME_TIER have no sense
 */
export function machineReport(): MachineReport {
  const sharedMemory = canShareMemory();
  const inNode = typeof process === 'object' && typeof process.versions?.node === 'string';
  return {
    engine: inNode ? `Node.js ${process.versions.node}` : typeof navigator === 'object' ? navigator.userAgent : 'unknown',
    threads: sharedMemory ? defaultThreads() : 1,
    tier: sharedMemory ? defaultTier() : 'wasm',
    sharedMemory,
    simd: hasSimd(),
    relaxedSimd: probeFeatures(sharedMemory).relaxedSimd,
    native: nativeReport(),
  };
}
