/** Programs to steps, and steps to something that runs. */

import { debugLevel, debugPrint } from '../debug.js';
import { dtypeInfo } from '../dtype.js';
import { CompilerError } from '../errors.js';
import type { Address, Kernel, Step } from '../ir/kernel.js';
import { printSteps } from '../ir/print.js';
import { verifySteps } from '../ir/verify.js';
import type { Device, Executable } from '../runtime/device.js';
import { copyNode } from './copy.js';
import { denseLayout, isDense, sizeOf } from './layout.js';
import { runPasses } from './passes/index.js';
import { bytesOf, planMemory } from './plan.js';
import { printProgram } from './print.js';
import type { GraphNode, Operand, Program, Value } from './program.js';
import { type Call, schedule } from './schedule.js';
import { shareKernels } from './share-kernels.js';
import { splitKept } from './split-kept.js';

/** What a program runs as, before a device has loaded it. Slots: the arena, then the inputs, then the outputs. */
export interface LoweredProgram {
  /** After the passes. */
  readonly program: Program;
  readonly steps: readonly Step[];
  readonly arenaBytes: number;
  /** From this byte of the arena on lies what a `prepare` step writes: it must stay from run to run. */
  readonly preparedFrom: number;
}

export interface CompileOptions {
  /** Off: one kernel for each operation, as eager mode does it. */
  readonly fusion?: boolean;
  /** Positions of the inputs whose content changes seldom from one run to the next, if ever: see {@link Executable.keptChanged}. */
  readonly kept?: readonly number[];
}

/** Lowers a program: passes, fusion, memory plan, kernels. What follows from kept inputs alone is prepared apart. */
export function lowerProgram(source: Program, options: CompileOptions = {}): LoweredProgram {
  const passed = runPasses(source);
  const kept = new Set((options.kept ?? []).map((i) => passed.inputs[i]));
  const split = splitKept(passed, kept);
  const often = usedOften(passed);
  if (split === null) return lower(passed, options, new Set([...kept, ...often]));
  const { preparation, main, prepared } = split;
  const head = lower(preparation, { ...options, kept: [] }, new Set());
  // Prepared values are inputs of the main program, in a slot of their own behind all others.
  const slot = 1 + passed.inputs.length + passed.outputs.length;
  const offsets: number[] = [];
  let bytes = 0;
  for (const value of prepared) {
    offsets.push(bytes);
    bytes = Math.ceil((bytes + bytesOf(value)) / 64) * 64;
  }
  const places = new Map(prepared.map((value, i) => [value, { slot, offset: offsets[i] }]));
  const tail = lower(main, options, new Set([...kept, ...often, ...prepared]), places);
  const preparedFrom = Math.ceil(Math.max(head.arenaBytes, tail.arenaBytes) / 64) * 64;
  const place = (to: number): Address =>
    to <= passed.inputs.length ? { slot: to, offset: 0 } : { slot: 0, offset: preparedFrom + offsets[to - 1 - passed.inputs.length] };
  const steps = shareKernels([
    { kind: 'prepare', body: relocate(head.steps, place, 0) },
    ...relocate(tail.steps, (to) => (to === slot ? { slot: 0, offset: preparedFrom } : { slot: to, offset: 0 }), 0),
  ]);
  verifySteps(steps);
  return { program: passed, steps, arenaBytes: preparedFrom + bytes, preparedFrom };
}

/** From so many equal uses on, an input of contractions is worth a copy in the layout of a kernel. */
const manyUses = 3;

/**
 * Inputs of a whole program that several contractions read in the same way: the weights of an unrolled recurrence. (Those of a loop's
 * body change from round to round.)
 */
function usedOften(program: Program): Value[] {
  const uses = new Map<Value, Map<string, number>>();
  for (const input of program.inputs) uses.set(input, new Map());
  for (const { primitive, attrs, inputs } of program.nodes) {
    if (primitive.lowering.kind !== 'contract') continue;
    const form = `${primitive.name} ${JSON.stringify([attrs, inputs.map((o) => o.layout)])}`;
    inputs.forEach(({ value }, k) => {
      const counts = uses.get(value);
      const key = `${k} ${form}`;
      counts?.set(key, (counts.get(key) ?? 0) + 1);
    });
  }
  return program.inputs.filter((input) => [...(uses.get(input)?.values() ?? [])].some((n) => n >= manyUses));
}

/** `places`: where inputs behind the program's own are. */
function lower(
  passed: Program,
  options: CompileOptions,
  kept: ReadonlySet<Value>,
  places: ReadonlyMap<Value, Address> = new Map(),
): LoweredProgram {
  const fusion = options.fusion ?? true;
  const { program, schedule: plan } = schedule(passed, { fusion, kept });
  const inputs = program.inputs.length - places.size;
  const fixed = new Map<Value, Address>();
  program.inputs.forEach((v, i) => fixed.set(v, places.get(v) ?? { slot: 1 + i, offset: 0 }));
  program.outputs.forEach((o, i) => fixed.set(o.value, { slot: 1 + inputs + i, offset: 0 }));
  for (const [value, input] of plan.written) fixed.set(value, fixed.get(input) ?? { slot: 0, offset: 0 });

  const controls = plan.calls.filter((c) => c.kind === 'control').map((c) => new ControlLowering(c.node, options));
  const { addresses, arenaBytes, controlOffsets } = planMemory(
    plan,
    fixed,
    controls.map((c) => c.bytes),
  );
  const addressOf = (v: Value): Address => {
    const address = addresses.get(v);
    if (!address) throw new CompilerError(`value %${v.id} has no place in memory`, { op: program.name });
    return address;
  };
  const own: Step[] = [];
  let control = 0;
  for (const call of plan.calls) {
    if (call.kind === 'kernel') own.push(...kernelSteps(call, addressOf));
    else {
      own.push(...controls[control].steps(addressOf, controlOffsets[control]));
      control++;
    }
  }
  for (const { value, input } of plan.copied)
    own.push(...copySteps({ value, layout: denseLayout(value.shape) }, addressOf(value), addressOf(input)));
  const steps = shareKernels(own);
  verifySteps(steps);
  return { program, steps, arenaBytes, preparedFrom: arenaBytes };
}

function kernelSteps(call: Extract<Call, { kind: 'kernel' }>, addressOf: (v: Value) => Address): Step[] {
  const steps: Step[] = [];
  if (call.alias) {
    const { input, output } = call.alias;
    const from = addressOf(input.value);
    const to = addressOf(output);
    const whole = input.layout.offset === 0 && isDense(input.layout) && sizeOf(input.layout.shape) === sizeOf(input.value.shape);
    if (!whole || from.slot !== to.slot || from.offset !== to.offset) steps.push(...copySteps(input, from, to));
  }
  if (call.kernel.parts.length > 0)
    steps.push({ kind: 'call', kernel: call.kernel, args: call.args.map(addressOf), work: call.work, origin: call.origin });
  return steps;
}

/** Copies an operand densely from one place to another. */
function copySteps(operand: Operand, from: Address, to: Address): Step[] {
  if (sizeOf(operand.layout.shape) === 0) return [];
  const node = copyNode(operand);
  const [result] = node.outputs;
  const program: Program = {
    name: 'copy',
    inputs: [operand.value],
    nodes: [node],
    outputs: [{ value: result, layout: denseLayout(result.shape) }],
    updates: [],
  };
  const { calls } = schedule(program, { fusion: false }).schedule;
  return calls.flatMap((call) => (call.kind === 'kernel' ? kernelSteps(call, (v) => (v === operand.value ? from : to)) : []));
}

/** Moves an address of a sub-program into its parent: slots become addresses, inner loops come after the outer ones. */
function relocate(steps: readonly Step[], base: (slot: number) => Address, depth: number): Step[] {
  const move = (a: Address): Address => {
    const to = base(a.slot);
    const outer = to.loopStrides ?? [];
    const inner = a.loopStrides ?? [];
    const strides = inner.length > 0 ? [...Array.from({ length: depth }, (_, i) => outer[i] ?? 0), ...inner] : outer;
    return strides.length > 0
      ? { slot: to.slot, offset: to.offset + a.offset, loopStrides: strides }
      : { slot: to.slot, offset: to.offset + a.offset };
  };
  const walk = (list: readonly Step[]): Step[] =>
    list.map((step): Step => {
      switch (step.kind) {
        case 'call':
          return { ...step, args: step.args.map(move) };
        case 'repeat':
        case 'prepare':
          return { ...step, body: walk(step.body) };
        case 'while':
          return { ...step, condition: move(step.condition), before: walk(step.before), body: walk(step.body) };
        case 'branch':
          return { ...step, condition: move(step.condition), then: walk(step.then), otherwise: walk(step.otherwise) };
        default:
          return step satisfies never;
      }
    });
  return walk(steps);
}

/** Bytes of a result, which may be a view of a larger or smaller value. */
function bytesRead({ value, layout }: Operand): number {
  return sizeOf(layout.shape) * dtypeInfo[value.dtype].bytes;
}

/** Control flow: its bodies are compiled like programs and placed into the parent's steps and arena. */
class ControlLowering {
  readonly bytes: number;
  private readonly node: GraphNode;
  private readonly bodies: readonly LoweredProgram[];
  /** Offsets (from the control block's start) of a buffer for each result of the looped body, and of the condition. */
  private readonly scratch: readonly number[];
  private readonly flag: number;

  constructor(node: GraphNode, options: CompileOptions) {
    this.node = node;
    // What all rounds of a loop share.
    const consts = this.kind === 'cond' ? 0 : Number(node.attrs.consts ?? 0);
    const kept = Array.from({ length: consts }, (_, i) => i);
    this.bodies = node.subprograms.map((p) => {
      const passed = runPasses(p);
      return lower(passed, options, new Set(kept.map((i) => passed.inputs[i])));
    });
    let bytes = 0;
    const reserve = (n: number): number => {
      const at = bytes;
      bytes = Math.ceil((bytes + n) / 64) * 64;
      return at;
    };
    reserve(Math.max(0, ...this.bodies.map((b) => b.arenaBytes)));
    const looped = this.kind === 'cond' ? null : node.subprograms[node.subprograms.length - 1];
    this.scratch = (looped?.outputs ?? []).map((o) => reserve(bytesRead(o)));
    this.flag = reserve(1);
    this.bytes = bytes;
  }
  private get kind(): 'cond' | 'while' | 'scan' {
    const { lowering } = this.node.primitive;
    if (lowering.kind !== 'control') throw new CompilerError(`${this.node.primitive.name} is not control flow`);
    return lowering.control;
  }

  steps(addressOf: (v: Value) => Address, block: number): Step[] {
    const { node } = this;
    const inputs = node.inputs.map((o) => addressOf(o.value));
    const outputs = node.outputs.map(addressOf);
    const arena: Address = { slot: 0, offset: block };
    const place = (body: number, ins: readonly Address[], outs: readonly Address[], depth = 0): Step[] => {
      const slots = [arena, ...ins, ...outs];
      return relocate(this.bodies[body].steps, (slot) => slots[slot], depth);
    };
    const scratch = this.scratch.map((offset): Address => ({ slot: 0, offset: block + offset }));
    const flag: Address = { slot: 0, offset: block + this.flag };
    if (this.kind === 'cond') {
      return [
        { kind: 'branch', condition: inputs[0], then: place(0, inputs.slice(1), outputs), otherwise: place(1, inputs.slice(1), outputs) },
      ];
    }
    const consts = Number(node.attrs.consts ?? 0);
    const body = node.subprograms[node.subprograms.length - 1];
    const copy = (value: Value, from: Address, to: Address): Step[] => copySteps({ value, layout: denseLayout(value.shape) }, from, to);
    if (this.kind === 'while') {
      const carried = [...inputs.slice(0, consts), ...outputs];
      return [
        ...outputs.flatMap((to, i) => copy(node.outputs[i], inputs[consts + i], to)),
        {
          kind: 'while',
          condition: flag,
          before: place(0, carried, [flag]),
          body: [...place(1, carried, scratch), ...outputs.flatMap((to, i) => copy(node.outputs[i], scratch[i], to))],
        },
      ];
    }
    const length = Number(node.attrs.length);
    const carries = Number(node.attrs.carries);
    const reverse = node.attrs.reverse === true;
    const stepped = (address: Address, bytes: number): Address => ({
      slot: address.slot,
      offset: address.offset + (reverse ? (length - 1) * bytes : 0),
      loopStrides: [reverse ? -bytes : bytes],
    });
    const state = outputs.slice(0, carries);
    const xs = inputs.slice(consts + carries).map((a, i) => stepped(a, bytesOf(body.inputs[consts + carries + i])));
    const ys = outputs.slice(carries).map((a, i) => stepped(a, bytesRead(body.outputs[carries + i])));
    return [
      ...state.flatMap((to, i) => copy(node.outputs[i], inputs[consts + i], to)),
      {
        kind: 'repeat',
        count: length,
        body: [
          ...place(0, [...inputs.slice(0, consts), ...state, ...xs], [...scratch.slice(0, carries), ...ys], 1),
          ...state.flatMap((to, i) => copy(node.outputs[i], scratch[i], to)),
        ],
      },
    ];
  }
}

/** A program ready to run on a device. */
export interface CompiledProgram extends LoweredProgram {
  readonly executable: Executable;
  /** Distinct kernels in order of their first call. */
  readonly kernels: readonly Kernel[];
  /** Slots of the kept inputs, and how often their content was said to have changed. */
  readonly keptSlots: readonly number[];
  readonly keptVersion: number;
  /** To be called before a run when the content of a kept input has changed. */
  keptChanged(): void;
  toString(): string;
}

/** The kernels a step list calls, in order of their first call. */
export function kernelsIn(steps: readonly Step[]): Kernel[] {
  const found = new Set<Kernel>();
  const walk = (list: readonly Step[]): void => {
    for (const step of list) {
      if (step.kind === 'call') found.add(step.kernel);
      else if (step.kind === 'repeat' || step.kind === 'prepare') walk(step.body);
      else if (step.kind === 'while') {
        walk(step.before);
        walk(step.body);
      } else {
        walk(step.then);
        walk(step.otherwise);
      }
    }
  };
  walk(steps);
  return [...found];
}

/** Lowers a program and loads it on a device. */
export function compileProgram(source: Program, device: Device, options: CompileOptions = {}): CompiledProgram {
  if (debugLevel() >= 1) debugPrint(1, printProgram(source));
  const lowered = lowerProgram(source, options);
  if (debugLevel() >= 2) debugPrint(2, printProgram(lowered.program));
  if (debugLevel() >= 3) debugPrint(3, printSteps(lowered.steps));
  const { program, steps, arenaBytes } = lowered;
  const keptSlots = (options.kept ?? []).map((i) => 1 + i);
  let keptVersion = 0;
  const executable = device.load({
    name: program.name,
    steps,
    arenaBytes,
    slots: 1 + program.inputs.length + program.outputs.length,
    constants: [],
    kept: { slots: keptSlots, arenaFrom: lowered.preparedFrom },
  });
  const kernels = kernelsIn(steps);
  return {
    ...lowered,
    executable,
    kernels,
    keptSlots,
    get keptVersion() {
      return keptVersion;
    },
    keptChanged: () => {
      keptVersion++;
      executable.keptChanged?.();
    },
    toString: () => `${printProgram(program)}\n\n${kernels.length} kernels, arena ${arenaBytes} bytes\n${printSteps(steps)}`,
  };
}
