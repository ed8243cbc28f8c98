import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ArgumentError, CompilerError, OutOfMemoryError } from '../../src/errors.js';
import { Heap } from '../../src/runtime/cpu/heap.js';

const MiB = 1 << 20;
const makeHeap = (maxBytes = 64 * MiB): Heap => new Heap({ shared: false, maxBytes });

/** Sizes around every border of the allocator: blocks of spans, runs of pages, large runs. */
const sizes = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: 0, max: 5000 }) },
  { weight: 3, arbitrary: fc.integer({ min: 4000, max: 300_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 900_000, max: 3 * MiB }) },
);
const actions = fc.array(fc.record({ bytes: sizes, pick: fc.nat(), frees: fc.boolean() }), { maxLength: 300 });

describe('the CPU heap', () => {
  it('never hands out memory twice, keeps contents, counts bytes and gives all of it back', () => {
    fc.assert(
      fc.property(actions, (list) => {
        const heap = makeHeap();
        heap.trim();
        const whole = heap.largestFreeBlock();
        const live: { address: number; bytes: number; mark: number }[] = [];
        let mark = 0;
        const release = (index: number): void => {
          const [block] = live.splice(index, 1);
          if (!block) return;
          const view = heap.u8.subarray(block.address, block.address + block.bytes);
          expect(view.every((byte) => byte === block.mark)).toBe(true);
          heap.free(block.address, block.bytes);
        };
        for (const { bytes, pick, frees } of list) {
          if (frees && live.length > 0) {
            release(pick % live.length);
            continue;
          }
          if (heap.stats().bytesInUse + bytes > 24 * MiB) continue;
          const address = heap.allocate(bytes);
          expect(address % 64).toBe(0);
          expect(address).toBeGreaterThan(0);
          expect(address + bytes).toBeLessThanOrEqual(heap.sizeBytes);
          expect(live.every((other) => address + bytes <= other.address || other.address + other.bytes <= address)).toBe(true);
          mark = (mark + 1) % 256;
          heap.u8.fill(mark, address, address + bytes);
          live.push({ address, bytes, mark });
        }
        expect(heap.stats()).toMatchObject({ bytesInUse: live.reduce((sum, b) => sum + b.bytes, 0), allocations: live.length });
        while (live.length > 0) release(live.length >> 1);
        expect(heap.stats()).toMatchObject({ bytesInUse: 0, allocations: 0 });
        heap.trim();
        // Everything has coalesced: one block spans what the heap had at first and what it grew by.
        expect(heap.largestFreeBlock()).toBeGreaterThanOrEqual(whole);
        // The control words at the start and the slack at the end are nobody's.
        expect(heap.largestFreeBlock()).toBe(heap.sizeBytes - 65536 - 4096);
      }),
      { numRuns: 30 },
    );
  });

  it('reuses a freed block for the next request of its size', () => {
    const heap = makeHeap();
    for (const bytes of [1, 64, 1000, 4096, 4097, 100_000, 2 * MiB]) {
      const first = heap.allocate(bytes);
      heap.free(first, bytes);
      const second = heap.allocate(bytes);
      expect(second).toBe(first);
      heap.free(second, bytes);
    }
  });

  it('does not grow when equal work repeats', () => {
    const heap = makeHeap(256 * MiB);
    const step = (): void => {
      const blocks = Array.from({ length: 40 }, (_, i) => ({ bytes: 1000 * (i + 1) ** 2, address: heap.allocate(1000 * (i + 1) ** 2) }));
      for (const { address, bytes } of blocks) heap.free(address, bytes);
    };
    step();
    const size = heap.sizeBytes;
    for (let i = 0; i < 100; i++) step();
    expect(heap.sizeBytes).toBe(size);
  });

  it('turns memory cached for one size into memory for another before it gives up', () => {
    const heap = makeHeap(16 * MiB);
    const small = Array.from({ length: 200 }, () => heap.allocate(60_000));
    for (const address of small) heap.free(address, 60_000);
    const large = heap.allocate(14 * MiB);
    heap.free(large, 14 * MiB);
    const tiny = Array.from({ length: 100_000 }, () => heap.allocate(64));
    for (const address of tiny) heap.free(address, 64);
    expect(heap.allocate(14 * MiB)).toBeGreaterThan(0);
  });

  it('says what it has, what was asked and who holds what when it is full', () => {
    const heap = makeHeap(4 * MiB);
    heap.describeHolders = () => 'activations of layer 3: 3 MiB';
    heap.allocate(3 * MiB);
    const ask = (): unknown => heap.allocate(2 * MiB);
    expect(ask).toThrow(OutOfMemoryError);
    expect(ask).toThrow(/2\.00 MiB.*3\.00 MiB of at most 4\.00 MiB are in use[\s\S]*activations of layer 3[\s\S]*maxBytes/);
    try {
      ask();
    } catch (error) {
      expect((error as OutOfMemoryError).details.received).toEqual({
        requestedBytes: 2 * MiB,
        bytesInUse: 3 * MiB,
        limitBytes: 4 * MiB,
      });
    }
    // The failure took nothing: smaller requests still succeed.
    expect(heap.allocate(MiB >> 1)).toBeGreaterThan(0);
    expect(heap.stats().bytesInUse).toBe(3.5 * MiB);
  });

  it('asks for garbage to be freed and tries again', () => {
    const heap = makeHeap(4 * MiB);
    const garbage = heap.allocate(3 * MiB);
    const asked: number[] = [];
    heap.onPressure = (needed) => {
      asked.push(needed);
      heap.free(garbage, 3 * MiB);
      return true;
    };
    expect(heap.allocate(2 * MiB)).toBeGreaterThan(0);
    expect(asked).toEqual([2 * MiB]);
    heap.onPressure = () => false;
    expect(() => heap.allocate(3 * MiB)).toThrow(OutOfMemoryError);
  });

  it('grows in steps that get larger, and asks for garbage only beyond 256 MiB', () => {
    const heap = makeHeap(1024 * MiB);
    let asked = 0;
    heap.onPressure = () => {
      asked++;
      return false;
    };
    let grown = 0;
    let size = heap.sizeBytes;
    let askedBelow = 0;
    while (heap.stats().bytesInUse < 600 * MiB) {
      heap.allocate(MiB / 2);
      if (heap.sizeBytes === size) continue;
      size = heap.sizeBytes;
      grown++;
      if (size <= 256 * MiB) askedBelow = asked;
    }
    expect(grown).toBeLessThan(14);
    expect(askedBelow).toBe(0);
    expect(asked).toBeGreaterThan(0);
    expect(asked).toBeLessThan(6);
  });

  it('refuses nonsense', () => {
    const heap = makeHeap();
    expect(() => heap.allocate(-1)).toThrow(ArgumentError);
    expect(() => heap.allocate(Number.NaN)).toThrow(ArgumentError);
    expect(() => heap.allocate(2 ** 40)).toThrow(OutOfMemoryError);
    expect(() => makeHeap(1000)).toThrow(ArgumentError);
    const large = heap.allocate(2 * MiB);
    heap.free(large, 2 * MiB);
    expect(() => heap.free(large, 2 * MiB)).toThrow(CompilerError);
  });
});
