/** Runs compiled programs on Dawn, on a GPU or on the software driver that Chromium brings along. */
import { type ChildProcess, fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { baseVectors, renderWgsl, type WgslKernel } from '../../src/codegen/wgsl/render.js';
import { type DType, dtypeInfo } from '../../src/dtype.js';
import type { CompiledProgram } from '../../src/graph/compile.js';
import { sizeOf } from '../../src/graph/layout.js';
import { type ResolvedCall, walkSteps } from '../../src/ir/interpret.js';
import type { Kernel, Step } from '../../src/ir/kernel.js';

const driver = 'vk_swiftshader_icd.json';
const folders = ['/usr/lib/chromium', '/usr/lib/chromium-browser', '/opt/google/chrome'];

/** Milliseconds for one answer: below the tests' own limit, so that the reason shows. */
const timeLimit = 40_000;

interface Dispatched {
  readonly code: string;
  readonly entryPoint: string;
  readonly workgroups: readonly number[];
  readonly bases: Uint32Array;
}

/** Variables that point the Vulkan loader at SwiftShader; a driver chosen from outside stays. The folder also has a loader, for systems without. */
function environment(): NodeJS.ProcessEnv {
  const folder = folders.find((f) => existsSync(join(f, driver)));
  if (process.env.VK_DRIVER_FILES || !folder) return process.env;
  const libraries = [process.env.LD_LIBRARY_PATH, folder].filter(Boolean).join(':');
  return { ...process.env, VK_DRIVER_FILES: join(folder, driver), LD_LIBRARY_PATH: libraries };
}

const rendered = new WeakMap<Kernel, WgslKernel>();
function render(kernel: Kernel): WgslKernel {
  const made = rendered.get(kernel) ?? renderWgsl(kernel);
  rendered.set(kernel, made);
  return made;
}

function branches(steps: readonly Step[]): boolean {
  return steps.some((s) => s.kind === 'while' || s.kind === 'branch' || (s.kind === 'repeat' && branches(s.body)));
}

export class Gpu {
  readonly adapter: string;
  private readonly child: Child;

  private constructor(child: Child, adapter: string) {
    this.child = child;
    this.adapter = adapter;
  }
  /** The GPU, or why there is none. */
  static async open(): Promise<Gpu | string> {
    const child = new Child();
    const reply = await child.ask('open').catch((error: Error) => ({ adapter: null, reason: error.message }));
    const { adapter, reason } = reply as { adapter: string | null; reason?: string };
    if (adapter !== null) return new Gpu(child, adapter);
    child.close();
    return `no WebGPU here: ${reason?.split('\n')[0]} (Debian's chromium package brings a software driver)`;
  }
  close(): void {
    this.child.close();
  }

  /** Runs a program; `inputs` are the bytes of its inputs. Gives the bytes of its outputs. */
  async run(program: CompiledProgram, inputs: readonly Uint8Array[]): Promise<Uint8Array[]> {
    const { inputs: values, outputs } = program.program;
    const pointers: number[] = [];
    let top = 0;
    const place = (bytes: number): void => {
      pointers.push(top);
      top += Math.max(16, Math.ceil(bytes / 16) * 16);
    };
    const bytesOf = (value: { dtype: DType; shape: readonly number[] }): number => sizeOf(value.shape) * dtypeInfo[value.dtype].bytes;
    place(program.arenaBytes);
    for (const v of values) place(bytesOf(v));
    for (const o of outputs) place(bytesOf(o.value));
    // Memory nobody wrote shows: it is NaN and -1.
    let heap = new Uint8Array(top).fill(0xff);
    inputs.forEach((bytes, i) => heap.set(bytes, pointers[1 + i]));

    const stepwise = branches(program.steps);
    let waiting: Dispatched[] = [];
    const flush = async (): Promise<void> => {
      if (waiting.length > 0) heap = ((await this.child.ask({ heap, dispatches: waiting })) as { heap: Uint8Array<ArrayBuffer> }).heap;
      waiting = [];
    };
    // What comes back lies somewhere inside the message's own buffer.
    const memory = (): DataView => new DataView(heap.buffer, heap.byteOffset, heap.byteLength);
    for (const call of walkSteps(program.steps, pointers, memory)) {
      waiting.push(...this.dispatches(call));
      if (stepwise) await flush();
    }
    await flush();
    return outputs.map((o, i) => {
      const at = pointers[1 + values.length + i] ?? 0;
      return heap.slice(at, at + bytesOf(o.value));
    });
  }
  private dispatches({ kernel, args }: ResolvedCall): Dispatched[] {
    const { code, dispatches } = render(kernel);
    const bases = new Uint32Array(4 * baseVectors(kernel));
    kernel.params.forEach((p, i) => (bases[i] = (args[i] ?? 0) / dtypeInfo[p.dtype].bytes));
    return dispatches.map((d) => ({ code, bases, ...d }));
  }
}

class Child {
  private readonly process: ChildProcess;
  private readonly waiting = new Map<number, { resolve: (reply: unknown) => void; reject: (error: Error) => void }>();
  private nextId = 0;

  constructor() {
    const script = join(dirname(fileURLToPath(import.meta.url)), 'wgsl-child.mjs');
    this.process = fork(script, [], {
      env: environment(),
      execArgv: [],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    this.process.on('message', ({ id, reply, error }: { id: number; reply?: unknown; error?: string }) => {
      const waiter = this.waiting.get(id);
      this.waiting.delete(id);
      if (error === undefined) waiter?.resolve(reply);
      else waiter?.reject(new Error(error));
    });
    this.process.on('exit', (code, signal) => {
      for (const { reject } of this.waiting.values()) reject(new Error(`the WebGPU process ended (${signal ?? code})`));
      this.waiting.clear();
    });
  }
  /** Rejects when the process fails, has ended, or does not answer in time; it is then ended. */
  ask(request: unknown): Promise<unknown> {
    if (!this.process.connected) return Promise.reject(new Error('the WebGPU process has ended'));
    const id = this.nextId++;
    return new Promise<unknown>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting.delete(id);
        reject(new Error(`the WebGPU process gave no answer in ${timeLimit} ms`));
        this.close();
      }, timeLimit);
      this.waiting.set(id, {
        resolve: (reply) => {
          clearTimeout(timer);
          resolve(reply);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      });
      this.process.send({ id, request });
    });
  }
  /** Ends the process, even one that hangs in a driver and would not see the channel close. */
  close(): void {
    this.process.kill('SIGKILL');
  }
}
