/** What a profile found: tables by kernel, operation and layer, a trace for Chrome, the memory over time. */
import { writeFileAtomic } from '../io/files.js';
import type { Roof } from './roof.js';
import type { KernelEvent, ProfileEvent } from './session.js';
import { formatBytes, formatCount, table } from './table.js';

export interface ProfileData {
  /** In order of their ends. */
  readonly events: readonly ProfileEvent[];
  /** Events beyond the limit. */
  readonly dropped: number;
  readonly wallMs: number;
  readonly roof: Roof | null;
  readonly threads: number;
}

/** Sums over calls. */
export interface ProfileRow {
  readonly name: string;
  readonly calls: number;
  readonly totalMs: number;
  /** Share of the time in kernels, 0 to 1. */
  readonly share: number;
  readonly flops: number;
  readonly gflops: number;
}
export interface KernelRow extends ProfileRow {
  readonly meanMs: number;
  readonly bytes: number;
  /** 1e9 bytes a second. */
  readonly gbps: number;
  /** Which limit of the machine is the nearer one, and the share of it that was reached; null without a roof. */
  readonly limit: { readonly by: 'arithmetic' | 'memory'; readonly reached: number } | null;
}
export interface LayerRow extends ProfileRow {
  readonly forwardMs: number;
  readonly backwardMs: number;
}

export interface MemoryPoint {
  /** Milliseconds since the profile began. */
  readonly ms: number;
  readonly bytes: number;
  readonly kernel: string;
}

interface Sum {
  calls: number;
  ms: number;
  flops: number;
  bytes: number;
  backwardMs: number;
}

function addTo(sums: Map<string, Sum>, key: string, calls: number, ms: number, flops: number, bytes = 0, backward = false): void {
  let sum = sums.get(key);
  if (!sum) {
    sum = { calls: 0, ms: 0, flops: 0, bytes: 0, backwardMs: 0 };
    sums.set(key, sum);
  }
  sum.calls += calls;
  sum.ms += ms;
  sum.flops += flops;
  sum.bytes += bytes;
  if (backward) sum.backwardMs += ms;
}

export class Profile {
  readonly events: readonly ProfileEvent[];
  readonly dropped: number;
  /** From the start of the function to its end. */
  readonly wallMs: number;
  /** Sum of the kernels' times; the rest of `wallMs` is JavaScript's. */
  readonly kernelMs: number;
  readonly roof: Roof | null;
  readonly threads: number;
  private readonly calls: readonly KernelEvent[];

  constructor(data: ProfileData) {
    this.events = data.events;
    this.dropped = data.dropped;
    this.wallMs = data.wallMs;
    this.roof = data.roof;
    this.threads = data.threads;
    this.calls = data.events.filter((e) => e.kind === 'kernel');
    this.kernelMs = this.calls.reduce((sum, e) => sum + e.duration, 0);
  }

  /** By kernel, the most expensive first. */
  kernels(): KernelRow[] {
    const sums = new Map<string, Sum>();
    for (const e of this.calls) addTo(sums, e.name, 1, e.duration, e.flops, e.bytes);
    return this.rows(sums).map(([row, sum]) => {
      const gbps = sum.ms > 0 ? sum.bytes / sum.ms / 1e6 : 0;
      return { ...row, meanMs: sum.ms / sum.calls, bytes: sum.bytes, gbps, limit: this.limitOf(row.gflops, gbps) };
    });
  }

  /** By operation. The time of a fused kernel is shared among its operations by their arithmetic. */
  ops(): ProfileRow[] {
    const sums = new Map<string, Sum>();
    this.eachShare((share, ms, e) => {
      const calls = e.shares.find((s) => s.op === share.op) === share ? 1 : 0;
      addTo(sums, share.op, calls, ms, share.flops, 0, share.backward);
    });
    return this.rows(sums).map(([row]) => row);
  }

  /** By module, forward and backward; '' is what ran outside of modules (losses, optimizers). */
  layers(): LayerRow[] {
    const sums = new Map<string, Sum>();
    this.eachShare((share, ms, e) => {
      const calls = e.shares.find((s) => s.layer === share.layer) === share ? 1 : 0;
      addTo(sums, share.layer, calls, ms, share.flops, 0, share.backward);
    });
    return this.rows(sums).map(([row, sum]) => ({ ...row, forwardMs: sum.ms - sum.backwardMs, backwardMs: sum.backwardMs }));
  }

  /** Bytes of the heap in use after each kernel. */
  memoryTimeline(): MemoryPoint[] {
    return this.calls.map((e) => ({ ms: e.start + e.duration, bytes: e.memory, kernel: e.name }));
  }
  get peakBytes(): number {
    return this.calls.reduce((peak, e) => Math.max(peak, e.memory), 0);
  }

  /** Tables of the most expensive kernels, operations and layers. */
  toString(most = 15): string {
    const ms = (v: number): string => v.toFixed(3);
    const percent = (v: number): string => `${(100 * v).toFixed(1)} %`;
    const head = [
      `${ms(this.wallMs)} ms in all, ${ms(this.kernelMs)} ms in ${this.calls.length} kernel calls, ${this.threads} threads, peak ${formatBytes(this.peakBytes)}`,
      ...(this.roof ? [`roof: ${this.roof.gflops.toFixed(0)} GFLOP/s, ${this.roof.gbps.toFixed(1)} GB/s`] : []),
      ...(this.dropped > 0 ? [`${this.dropped} events beyond the limit were left out`] : []),
    ];
    const kernels = this.kernels().slice(0, most);
    const ops = this.ops().slice(0, most);
    const layers = this.layers().slice(0, most);
    return [
      head.join('\n'),
      table(
        ['kernel', 'calls', 'ms', 'share', 'mean ms', 'GFLOP/s', 'GB/s', 'of the roof'],
        kernels.map((r) => [
          r.name,
          String(r.calls),
          ms(r.totalMs),
          percent(r.share),
          ms(r.meanMs),
          r.gflops.toFixed(2),
          r.gbps.toFixed(2),
          r.limit ? `${percent(r.limit.reached)} ${r.limit.by}` : '',
        ]),
      ),
      table(
        ['operation', 'calls', 'ms', 'share', 'FLOP'],
        ops.map((r) => [r.name, String(r.calls), ms(r.totalMs), percent(r.share), formatCount(r.flops)]),
      ),
      table(
        ['layer', 'calls', 'forward ms', 'backward ms', 'share', 'FLOP'],
        layers.map((r) => [
          r.name || '(no module)',
          String(r.calls),
          ms(r.forwardMs),
          ms(r.backwardMs),
          percent(r.share),
          formatCount(r.flops),
        ]),
      ),
    ].join('\n\n');
  }

  /** The events in Chrome's trace format: open the file in chrome://tracing or ui.perfetto.dev. */
  chromeTrace(): { readonly traceEvents: readonly Record<string, unknown>[]; readonly displayTimeUnit: 'ms' } {
    const micro = (ms: number): number => Math.round(ms * 1000 * 1000) / 1000;
    const common = { pid: 1, tid: 1 };
    const named = (tid: number, name: string): Record<string, unknown> => ({ name: 'thread_name', ph: 'M', pid: 1, tid, args: { name } });
    const events = this.events.flatMap((e): Record<string, unknown>[] => {
      const span = { name: e.name, ph: 'X', ts: micro(e.start), dur: micro(e.duration), ...common };
      if (e.kind === 'region') return [{ ...span, cat: 'region', tid: 2 }];
      const layers = [...new Set(e.shares.map((s) => `${s.layer}${s.backward ? ' (backward)' : ''}`))].filter((l) => l !== '');
      return [
        { ...span, cat: 'kernel', args: { program: e.program, layers, flops: e.flops, bytes: e.bytes } },
        { name: 'heap', ph: 'C', ts: micro(e.start + e.duration), pid: 1, args: { bytes: e.memory } },
      ];
    });
    return { traceEvents: [named(1, 'kernels'), named(2, 'regions'), ...events], displayTimeUnit: 'ms' };
  }
  /** Writes {@link chromeTrace} to a file. @throws EnvironmentError when it cannot be written. */
  async saveChromeTrace(path: string): Promise<void> {
    await writeFileAtomic(path, new TextEncoder().encode(JSON.stringify(this.chromeTrace())));
  }

  private eachShare(visit: (share: KernelEvent['shares'][number], ms: number, event: KernelEvent) => void): void {
    for (const e of this.calls) {
      // One more for each, so that operations without arithmetic (copies) are not free.
      const whole = e.flops + e.shares.length;
      for (const share of e.shares) visit(share, (e.duration * (share.flops + 1)) / whole, e);
    }
  }
  private rows(sums: ReadonlyMap<string, Sum>): [ProfileRow, Sum][] {
    return [...sums]
      .map(([name, sum]): [ProfileRow, Sum] => [
        {
          name,
          calls: sum.calls,
          totalMs: sum.ms,
          share: this.kernelMs > 0 ? sum.ms / this.kernelMs : 0,
          flops: sum.flops,
          gflops: sum.ms > 0 ? sum.flops / sum.ms / 1e6 : 0,
        },
        sum,
      ])
      .sort(([a], [b]) => b.totalMs - a.totalMs);
  }
  private limitOf(gflops: number, gbps: number): KernelRow['limit'] {
    if (this.roof === null) return null;
    const arithmetic = gflops / this.roof.gflops;
    const memory = gbps / this.roof.gbps;
    return arithmetic >= memory ? { by: 'arithmetic', reached: arithmetic } : { by: 'memory', reached: memory };
  }
}
