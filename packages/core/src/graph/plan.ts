/** Memory planning: every value of a program gets a place, most of them in one arena that is reused over time. */
import { dtypeInfo } from '../dtype.js';
import type { Address } from '../ir/kernel.js';
import { isDense, sizeOf } from './layout.js';
import type { Value } from './program.js';
import type { Schedule } from './schedule.js';

const alignment = 64;

export function bytesOf(value: Value): number {
  return sizeOf(value.shape) * dtypeInfo[value.dtype].bytes;
}

interface Block {
  bytes: number;
  first: number;
  last: number;
  offset: number;
}

export interface MemoryPlan {
  readonly addresses: ReadonlyMap<Value, Address>;
  readonly arenaBytes: number;
}

/**
 * Places values. `fixed` are those that live outside the arena (inputs, outputs, state). A value shares the memory of an
 * input that dies where it is made, if the kernel allows; the rest is laid out by size, largest first, at the lowest
 * offset that is free throughout its life.
 */
export function planMemory(
  schedule: Schedule,
  fixed: ReadonlyMap<Value, Address>,
  controlBytes: readonly number[],
): MemoryPlan & { readonly controlOffsets: readonly number[] } {
  const lastUse = new Map<Value, number>();
  const { calls } = schedule;
  const valuesOf = (i: number): readonly Value[] => {
    const call = calls[i];
    if (call.kind === 'control') return [...call.node.inputs.map((o) => o.value), ...call.node.outputs];
    return call.alias ? [...call.args, call.alias.input.value] : call.args;
  };
  for (let i = 0; i < calls.length; i++) for (const v of valuesOf(i)) lastUse.set(v, i);
  for (const { value } of schedule.copied) lastUse.set(value, calls.length);

  const blockOf = new Map<Value, Block>();
  const blocks: Block[] = [];
  const controls: (Block | null)[] = [];
  for (let i = 0; i < calls.length; i++) {
    const call = calls[i];
    /** Memory of an input goes to one output only. */
    const reused = new Set<Block>();
    for (const value of valuesOf(i)) {
      if (fixed.has(value) || blockOf.has(value)) continue;
      const last = lastUse.get(value) ?? i;
      const dying = call.kind === 'kernel' ? call.inPlace.filter((p) => p.output === value).map((p) => p.input) : [];
      if (call.kind === 'kernel' && call.alias?.output === value && !call.args.includes(call.alias.input.value)) {
        // Elements that move on the way (a transposed input) cannot be copied within one memory.
        if (isDense(call.alias.input.layout)) dying.push(call.alias.input.value);
      }
      const host = dying.find((input) => {
        const block = blockOf.get(input);
        return block !== undefined && !reused.has(block) && block.last === i && block.bytes === bytesOf(value);
      });
      const shared = host && blockOf.get(host);
      if (shared) {
        reused.add(shared);
        shared.last = Math.max(last, i);
        blockOf.set(value, shared);
        continue;
      }
      const block: Block = { bytes: bytesOf(value), first: i, last, offset: 0 };
      blocks.push(block);
      blockOf.set(value, block);
    }
    if (call.kind === 'control') {
      const block: Block = { bytes: controlBytes[controls.length] ?? 0, first: i, last: i, offset: 0 };
      blocks.push(block);
      controls.push(block);
    }
  }

  const placed: Block[] = [];
  let arenaBytes = 0;
  for (const block of [...blocks].sort((a, b) => b.bytes - a.bytes)) {
    const rivals = placed.filter((p) => p.first <= block.last && block.first <= p.last).sort((a, b) => a.offset - b.offset);
    let offset = 0;
    for (const rival of rivals) {
      if (offset + block.bytes <= rival.offset) break;
      offset = Math.max(offset, Math.ceil((rival.offset + rival.bytes) / alignment) * alignment);
    }
    block.offset = offset;
    placed.push(block);
    arenaBytes = Math.max(arenaBytes, offset + block.bytes);
  }
  const addresses = new Map<Value, Address>(fixed);
  for (const [value, block] of blockOf) addresses.set(value, { slot: 0, offset: block.offset });
  return { addresses, arenaBytes: Math.ceil(arenaBytes / alignment) * alignment, controlOffsets: controls.map((c) => c?.offset ?? 0) };
}
