/** Limits that the operating system sets. */
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import process from 'node:process';
import { getHeapStatistics } from 'node:v8';

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return null;
  }
}

/** The folders of this process's control group (v2, then v1), from its own up to the root. */
function groupFolders(controller: string): string[] {
  const folders: string[] = [];
  for (const line of (read('/proc/self/cgroup') ?? '').split('\n')) {
    const [id, controllers, path = '/'] = line.split(':');
    if (controllers === undefined || !(id === '0' || controllers.split(',').includes(controller))) continue;
    const root = id === '0' ? '/sys/fs/cgroup' : `/sys/fs/cgroup/${controller}`;
    const parts = path.split('/').filter((part) => part !== '' && part !== '..');
    for (let n = parts.length; n >= 0; n--) folders.push([root, ...parts.slice(0, n)].join('/'));
  }
  return folders;
}

/** The smallest of the limits; null where there is none. */
function least(values: readonly (number | null)[]): number | null {
  const known = values.filter((v): v is number => v !== null && Number.isFinite(v) && v > 0);
  return known.length === 0 ? null : Math.min(...known);
}

/** Cores' worth of time that a container may use: 1.5 is one and a half. */
function cpuLimit(): number | null {
  return least(
    groupFolders('cpu').flatMap((folder) => {
      const [quota, period] = (read(`${folder}/cpu.max`) ?? '').split(' ');
      const old = [read(`${folder}/cpu.cfs_quota_us`), read(`${folder}/cpu.cfs_period_us`)].map(Number);
      return [
        quota && period && quota !== 'max' ? Number(quota) / Number(period) : null,
        old[0] > 0 && old[1] > 0 ? old[0] / old[1] : null,
      ];
    }),
  );
}
/** Bytes that a container may use. */
function memoryLimit(total: number): number | null {
  const limit = least(
    groupFolders('memory').flatMap((folder) =>
      ['memory.max', 'memory.limit_in_bytes'].map((name) => {
        const text = read(`${folder}/${name}`);
        return text === null || text === 'max' ? null : Number(text);
      }),
    ),
  );
  return limit !== null && limit < total ? limit : null;
}

export interface SystemReport {
  readonly node: string;
  readonly platform: string;
  readonly cpu: string;
  /** Logical cores of the machine. */
  readonly cores: number;
  /** Of these, those that this process may use (affinity). */
  readonly usableCores: number;
  readonly cpuLimit: number | null;
  readonly memory: number;
  readonly freeMemory: number;
  readonly memoryLimit: number | null;
  /** Of JavaScript objects. Tensors do not count. */
  readonly heapLimit: number;
}

export function systemReport(): SystemReport {
  const all = cpus();
  const memory = totalmem();
  const available = (process as { availableMemory?: () => number }).availableMemory?.();
  return {
    node: process.versions.node,
    platform: `${process.platform} ${process.arch}`,
    cpu: all[0]?.model.trim() ?? 'unknown',
    cores: all.length,
    usableCores: availableParallelism(),
    cpuLimit: cpuLimit(),
    memory,
    freeMemory: available ?? freemem(),
    memoryLimit: memoryLimit(memory),
    heapLimit: getHeapStatistics().heap_size_limit,
  };
}
