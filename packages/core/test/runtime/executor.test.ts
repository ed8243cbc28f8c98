import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { CompilerError, LifetimeError } from '../../src/errors.js';
import { interpretSteps } from '../../src/ir/interpret.js';
import type { Kernel, Step } from '../../src/ir/kernel.js';
import type { CpuDevice } from '../../src/runtime/cpu/device.js';
import { createCpuDevice } from '../../src/runtime/cpu/index.js';
import { control } from '../../src/runtime/cpu/layout.js';
import type { Executable } from '../../src/runtime/device.js';
import { at, codeKernel, makeDevice, mixKernel, scalarKernel, slowKernel, testKernel } from './assembled.js';

const n = 96;
const rowBytes = 4 * n;
/** Slots: 0 the arena, one row; 1 and 2 rows of numbers; 3 counters, then conditions. */
const rows = 8;
const bufferBytes = [0, rows * rowBytes, rows * rowBytes, 256] as const;
const conditionsAt = 128;
const small = 10;
/** Shared by whoever has woken up; large calls wait for all threads. */
const medium = 150_000;
const large = 1e7;

const mixes: readonly Kernel[] = [
  mixKernel(n, 1, { chunk: n }),
  mixKernel(n, 2, { chunk: 1 }),
  mixKernel(n, 3, { chunk: 7, entries: 2 }),
  mixKernel(n, 4, { chunk: 5, phases: 2 }),
  mixKernel(n, 5, { chunk: 10, phases: 2, entries: 2 }),
];
const reset = scalarKernel(0, 0);
const increment = scalarKernel(1, 1);
const belowTwo = testKernel(-1, 2);
const isEven = testKernel(1, 1);

type Tree =
  | { kind: 'mix'; kernel: number; work: number; swap: boolean; arena: boolean; moves: boolean }
  | { kind: 'repeat'; count: number; body: Tree[] }
  | { kind: 'while'; body: Tree[] }
  | { kind: 'branch'; then: Tree[]; otherwise: Tree[] };

const { list } = fc.letrec<{ list: Tree[]; tree: Tree }>((tie) => ({
  list: fc.array(tie('tree'), { maxLength: 4, depthIdentifier: 'steps' }),
  tree: fc.oneof(
    { depthIdentifier: 'steps', maxDepth: 3 },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('mix' as const),
        kernel: fc.nat(mixes.length - 1),
        work: fc.constantFrom(small, medium, large),
        swap: fc.boolean(),
        arena: fc.boolean(),
        moves: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('repeat' as const), count: fc.nat(3), body: tie('list') }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('while' as const), body: tie('list') }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('branch' as const), then: tie('list'), otherwise: tie('list') }) },
  ),
}));

/** Steps of a tree. Every `while` has a counter of its own and does two rounds. */
function build(trees: readonly Tree[], counters = { next: 0 }): Step[] {
  return trees.flatMap((tree): Step[] => {
    switch (tree.kind) {
      case 'mix': {
        const strides = tree.moves ? [rowBytes, 0, rowBytes] : undefined;
        const out = tree.arena ? at(0, 0) : at(tree.swap ? 2 : 1, 4, strides);
        const input = at(tree.swap ? 1 : 2, 0, tree.moves ? [0, rowBytes] : undefined);
        return [{ kind: 'call', kernel: mixes[tree.kernel]!, args: [out, input], work: tree.work }];
      }
      case 'repeat':
        return [{ kind: 'repeat', count: tree.count, body: build(tree.body, counters) }];
      case 'while': {
        const id = counters.next++ % 24;
        const counter = at(3, 4 * id);
        const condition = at(3, conditionsAt + id);
        return [
          { kind: 'call', kernel: reset, args: [counter], work: small },
          {
            kind: 'while',
            condition,
            before: [{ kind: 'call', kernel: belowTwo, args: [condition, counter], work: small }],
            body: [...build(tree.body, { next: id + 1 }), { kind: 'call', kernel: increment, args: [counter], work: small }],
          },
        ];
      }
      case 'branch': {
        const condition = at(3, conditionsAt + 100);
        return [
          { kind: 'call', kernel: isEven, args: [condition, at(1, 8)], work: small },
          { kind: 'branch', condition, then: build(tree.then, counters), otherwise: build(tree.otherwise, counters) },
        ];
      }
    }
  });
}

/** The buffers of a program in a device, beside the interpreter's copy of them. */
class Bench {
  readonly pointers: number[];
  private readonly device: CpuDevice;
  private readonly expected = new ArrayBuffer(64 + rowBytes + bufferBytes.reduce((a, b) => a + b, 0));
  private readonly expectedPointers: number[] = [];
  constructor(device: CpuDevice) {
    this.device = device;
    let end = 64 + rowBytes;
    this.pointers = bufferBytes.map((bytes, slot) => {
      this.expectedPointers.push(slot === 0 ? 64 : end);
      if (slot === 0) return 0;
      end += bytes;
      return device.allocate(bytes);
    });
    for (const slot of [1, 2, 3]) {
      const values = Uint8Array.from({ length: bufferBytes[slot]! }, (_, i) => (slot === 3 ? 0 : (i * 37 + slot * 11) & 0xff));
      device.bytes(this.pointers[slot]!, values.length).set(values);
      new Uint8Array(this.expected).set(values, this.expectedPointers[slot]);
    }
  }
  load(steps: readonly Step[], constants = [{ offset: 0, bytes: new Uint8Array(rowBytes) }]): Executable {
    return this.device.load({ name: 'program', steps, slots: 4, arenaBytes: rowBytes, constants });
  }
  interpret(steps: readonly Step[]): void {
    interpretSteps(steps, this.expectedPointers, this.expected);
  }
  /** Whether the device's buffers hold what the interpreter's hold. */
  agrees(): boolean {
    return [1, 2, 3].every((slot) => {
      const want = new Uint8Array(this.expected, this.expectedPointers[slot], bufferBytes[slot]);
      const got = this.device.bytes(this.pointers[slot]!, want.length);
      return want.every((byte, i) => byte === got[i]);
    });
  }
  dispose(): void {
    for (const slot of [1, 2, 3]) this.device.free(this.pointers[slot]!, bufferBytes[slot]!);
  }
}

const devices = [
  { title: 'one thread', device: makeDevice({ threads: 1 }) },
  { title: 'two threads', device: makeDevice({ threads: 2 }) },
  { title: 'four threads', device: makeDevice({ threads: 4 }) },
  { title: 'no shared memory', device: makeDevice({ shared: false, threads: 4 }) },
];
const finishedRuns = (device: CpuDevice): number => Atomics.load(device.heap.i32, control.finished / 4);
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1));

afterAll(() => {
  for (const { device } of devices) device.dispose();
});

async function compareRandomPrograms(device: CpuDevice, numRuns: number): Promise<void> {
  await device.ready();
  await fc.assert(
    fc.asyncProperty(list, async (trees) => {
      const steps = build(trees);
      const bench = new Bench(device);
      const executable = bench.load(steps);
      try {
        for (let round = 0; round < 6; round++) {
          if (round % 3 === 2) await executable.run(bench.pointers);
          else executable.runSync(bench.pointers);
          bench.interpret(steps);
          if (!bench.agrees()) return false;
        }
        return true;
      } finally {
        executable.dispose();
        bench.dispose();
      }
    }),
    { numRuns },
  );
}

describe.each(devices)('programs on $title', ({ device }) => {
  const onPool = device.heap.shared;

  it('do what the interpreter does, in every state of the pool, with runSync and with run', async () => {
    const before = finishedRuns(device);
    await compareRandomPrograms(device, 60);
    expect(finishedRuns(device) > before).toBe(onPool);
    expect(device.stats()).toMatchObject({ bytesInUse: 0, allocations: 0 });
  });

  it.each([
    { size: 'large', count: 50, work: large },
    { size: 'medium', count: 5, work: 40_000 },
  ])('share the cells of $size calls and synchronise between them', async ({ count, work }) => {
    const steps: Step[] = [
      {
        kind: 'repeat',
        count,
        body: mixes.flatMap((kernel, k): Step[] => [
          { kind: 'call', kernel, args: [at(1), at(2)], work },
          { kind: 'call', kernel, args: [at(2), at(1)], work: k % 2 === 0 ? work : small },
        ]),
      },
    ];
    const bench = new Bench(device);
    const executable = bench.load(steps);
    const before = finishedRuns(device);
    // On a busy machine workers may come too late for many rounds.
    const end = performance.now() + 20_000;
    for (let round = 0; performance.now() < end && finishedRuns(device) < before + 5; round++) {
      executable.runSync(bench.pointers);
      bench.interpret(steps);
      expect(bench.agrees()).toBe(true);
      if (device.threads === 1 && round === 2) break;
      await pause();
    }
    executable.dispose();
    bench.dispose();
    expect(finishedRuns(device) >= before + 5).toBe(device.threads > 1);
  });

  it('read the pointers of each run, and their constants once', () => {
    const bench = new Bench(device);
    const second = new Bench(device);
    const constants = Uint8Array.from({ length: rowBytes }, (_, i) => i & 0x7f);
    const steps: Step[] = [
      { kind: 'call', kernel: mixes[0]!, args: [at(1), at(0)], work: small },
      { kind: 'call', kernel: mixes[1]!, args: [at(2), at(1)], work: small },
    ];
    const executable = bench.load(steps, [{ offset: 0, bytes: constants }]);
    executable.runSync(bench.pointers);
    executable.runSync(second.pointers);
    const [a, b] = [bench, second].map((x) => Uint8Array.from(device.bytes(x.pointers[2]!, rowBytes)));
    expect(a).toEqual(b);
    executable.runSync(bench.pointers);
    expect(Uint8Array.from(device.bytes(bench.pointers[2]!, rowBytes))).not.toEqual(a);
    expect(Uint8Array.from(device.bytes(second.pointers[2]!, rowBytes))).toEqual(a);
    executable.dispose();
    bench.dispose();
    second.dispose();
  });

  it('give every thread scratch memory of its own', async () => {
    const cells = 400;
    // Fills 1 KiB of scratch with the cell's number, then sums it up.
    const kernel = codeKernel('scratch', [{ dtype: 'int32', access: 'write' }], {
      scratchBytes: 1024,
      phases: [
        [
          {
            grid: cells,
            chunk: 1,
            cell: (f, cell, args, scratch) => {
              const offset = f.local('i32');
              const sum = f.local('i32');
              f.i32(0).set(offset).i32(0).set(sum);
              const fill = f.loop();
              f.get(scratch).get(offset).op('i32.add').get(cell).mem('i32.store');
              f.get(offset).i32(4).op('i32.add').tee(offset).i32(1024).op('i32.lt_u').brIf(fill);
              f.end();
              f.i32(0).set(offset);
              const add = f.loop();
              f.get(scratch).get(offset).op('i32.add').mem('i32.load').get(sum).op('i32.add').set(sum);
              f.get(offset).i32(4).op('i32.add').tee(offset).i32(1024).op('i32.lt_u').brIf(add);
              f.end();
              f.get(args).mem('i32.load').get(cell).i32(2).op('i32.shl').op('i32.add').get(sum).mem('i32.store');
              f.free(offset, sum);
            },
          },
        ],
      ],
    });
    const out = device.allocate(4 * cells);
    const executable = device.load({
      name: 'scratch',
      slots: 2,
      arenaBytes: 0,
      constants: [],
      steps: [{ kind: 'call', kernel, args: [at(1)], work: large }],
    });
    for (let round = 0; round < 10; round++) {
      device.bytes(out, 4 * cells).fill(0);
      executable.runSync([0, out]);
      const sums = new Int32Array(device.heap.u8.buffer, out, cells);
      expect(sums.every((sum, cell) => sum === cell * 256)).toBe(true);
      await pause();
    }
    executable.dispose();
    device.free(out, 4 * cells);
  });

  it('name the program and the kernel when a small call traps, and still run afterwards', () => {
    const data = device.allocate(64);
    const load = (kernel: Kernel): Executable =>
      device.load({ name: 'tiny', slots: 2, arenaBytes: 0, constants: [], steps: [{ kind: 'call', kernel, args: [at(1)], work: small }] });
    const bad = load(slowKernel(4, 1, { trapAt: 2 }));
    const good = load(slowKernel(4, 1));
    expect(() => bad.runSync([0, data])).toThrow(CompilerError);
    expect(() => bad.runSync([0, data])).toThrow(/program tiny: kernel slow failed: .*unreachable/);
    device.bytes(data, 16).fill(0);
    good.runSync([0, data]);
    expect(device.bytes(data, 16)[0]).toBe(1);
    bad.dispose();
    good.dispose();
    device.free(data, 64);
  });

  it('cannot run once disposed, and leave nothing behind', async () => {
    const executable = device.load({
      name: 'gone',
      slots: 1,
      arenaBytes: 5000,
      constants: [],
      steps: [{ kind: 'call', kernel: slowKernel(1, 1), args: [at(0)], work: small }],
    });
    expect(device.stats().bytesInUse).toBeGreaterThanOrEqual(5000);
    executable.runSync([0]);
    executable.dispose();
    executable.dispose();
    expect(() => executable.runSync([0])).toThrow(LifetimeError);
    await expect(executable.run([0])).rejects.toThrow(LifetimeError);
    expect(device.stats()).toMatchObject({ bytesInUse: 0, allocations: 0 });
  });
});

it('runs what the code generator makes', async () => {
  const device = createCpuDevice({ threads: 2 });
  await compareRandomPrograms(device, 20);
  device.dispose();
});

it('is refused when a call and its kernel do not fit, or when code is invalid', () => {
  const device = makeDevice({ threads: 1 });
  const steps: Step[] = [{ kind: 'call', kernel: mixes[0]!, args: [at(1)], work: small }];
  expect(() => device.load({ name: 'p', steps, slots: 2, arenaBytes: 0, constants: [] })).toThrow(CompilerError);
  const broken = codeKernel('broken', [], { phases: [[{ grid: 1, chunk: 1, cell: (f) => f.op('i32.add') }]] });
  const call: Step[] = [{ kind: 'call', kernel: broken, args: [], work: small }];
  expect(() => device.load({ name: 'p', steps: call, slots: 1, arenaBytes: 0, constants: [] })).toThrow(/rejected the code of program p/);
  expect(device.stats()).toMatchObject({ bytesInUse: 0, allocations: 0 });
  device.dispose();
});
