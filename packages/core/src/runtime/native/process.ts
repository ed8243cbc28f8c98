/** Processes that end in time, with all their children. */
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { node } from './node.js';

/** Of what a process says on standard error, this much is kept: bytes. */
const keptText = 65_536;

export interface Finished {
  readonly code: number | null;
  readonly signal: string | null;
  readonly timedOut: boolean;
  readonly stdout: string;
  /** Its beginning. */
  readonly stderr: string;
}

/** Processes under way: what is left of them ends with this one. */
const underWay = new Set<number>();
let watching = false;
function watch(): void {
  if (watching) return;
  watching = true;
  process.on('exit', () => {
    for (const pid of underWay) killGroup(pid);
  });
}

/** Ends the processes of a group: a compiler's driver, and what it has started. */
export function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    if (process.platform === 'win32') node().childProcess.spawnSync('taskkill', ['/pid', String(pid), '/t', '/f'], { stdio: 'ignore' });
    else process.kill(-pid, 'SIGKILL');
  } catch {
    // All have ended.
  }
}

export interface RunOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
  /** Milliseconds; `onLine` may set it anew. */
  readonly timeout: number;
  /** Leave the cores to others when they want them. */
  readonly background?: boolean;
  /**
   * A process group of its own, which is ended as a whole, and which this process does not wait for when it is done. Off for those
   * that belong to the group of this process.
   */
  readonly group?: boolean;
  /** Called with each line of standard output; what it returns, if anything, is the time left from then on. */
  readonly onLine?: (line: string) => number | undefined;
}

/** Runs a process to its end without holding this one up. Rejects when it cannot be started. */
export function runProcess(command: string, args: readonly string[], options: RunOptions): Promise<Finished> {
  const { childProcess, os } = node();
  const group = options.group ?? true;
  return new Promise((resolve, reject) => {
    const spawnOptions: SpawnOptions = {
      ...(options.env ? { env: options.env } : {}),
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: group && process.platform !== 'win32',
      windowsHide: true,
    };
    const child: ChildProcess = childProcess.spawn(command, args, spawnOptions);
    let [stdout, stderr, line] = ['', '', ''];
    let timedOut = false;
    const end = (): void => {
      if (group) killGroup(child.pid);
      else child.kill('SIGKILL');
    };
    const late = (): void => {
      timedOut = true;
      end();
      // Somebody may hold the pipes open still.
      child.stdout?.destroy();
      child.stderr?.destroy();
    };
    let timer = setTimeout(late, options.timeout);
    if (group) timer.unref();
    if (child.pid !== undefined) {
      if (options.background) {
        try {
          os.setPriority(child.pid, 10);
        } catch {
          // It competes with this process then.
        }
      }
      if (group) {
        watch();
        underWay.add(child.pid);
      }
    }
    if (group) {
      child.unref();
      for (const stream of [child.stdin, child.stdout, child.stderr]) (stream as unknown as { unref?: () => void } | null)?.unref?.();
    }
    child.stdin?.on('error', () => {
      // It ended before it had read all.
    });
    child.stdin?.end(options.input ?? '');
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      if (!options.onLine) {
        if (stdout.length < 4 * 2 ** 20) stdout += text;
        return;
      }
      const lines = (line + text).split('\n');
      line = (lines.pop() ?? '').slice(0, keptText);
      for (const whole of lines) {
        const left = options.onLine(whole);
        if (left === undefined) continue;
        clearTimeout(timer);
        timer = setTimeout(late, left);
        if (group) timer.unref();
      }
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      if (stderr.length < keptText) stderr = (stderr + text).slice(0, keptText);
    });
    const settle = (): void => {
      clearTimeout(timer);
      if (child.pid !== undefined) underWay.delete(child.pid);
      // A driver that was killed leaves the compiler itself behind.
      if (group) killGroup(child.pid);
    };
    child.on('error', (error) => {
      settle();
      reject(error);
    });
    child.on('close', (code, signal) => {
      settle();
      resolve({ code, signal, timedOut, stdout, stderr });
    });
  });
}

/** {@link runProcess}, waited for. Throws when it cannot be started. */
export function runProcessSync(command: string, args: readonly string[], { env, input, timeout }: RunOptions): Finished {
  const options = {
    ...(env ? { env } : {}),
    input: input ?? '',
    timeout,
    killSignal: 'SIGKILL' as const,
    // More than that is the sign of something wrong.
    maxBuffer: 16 * 2 ** 20,
    detached: process.platform !== 'win32',
    encoding: 'utf8' as const,
    windowsHide: true,
  };
  const { pid, status, signal, error, stdout, stderr } = node().childProcess.spawnSync(command, args, options);
  killGroup(pid || undefined);
  const code = (error as { code?: unknown } | undefined)?.code;
  if (error && code !== 'ETIMEDOUT' && code !== 'ENOBUFS' && code !== 'EPIPE') throw error;
  if (code === 'ENOBUFS') return { code: 1, signal: null, timedOut: false, stdout: '', stderr: 'error: it prints without end' };
  return { code: status, signal, timedOut: code === 'ETIMEDOUT', stdout: stdout ?? '', stderr: (stderr ?? '').slice(0, keptText) };
}
