/**
 * A reference evaluator of the kernel IR: one scalar at a time, in program order. It is slow and simple on purpose;
 * every code generator is compared with it.
 */
import { dtypeInfo } from '../dtype.js';
import { CompilerError } from '../errors.js';
import type { BufferRef, Expr, Local, LoopVar } from './expr.js';
import { operands } from './expr.js';
import type { Address, ContractOperand, ContractPart, Kernel, LoopPart, Step, Stmt } from './kernel.js';
import type { Value } from './scalar.js';
import { evalBinary, evalBitcast, evalCast, evalReduce, evalUnary, readElement, writeElement } from './scalar.js';

/** Memory a kernel runs over; addresses count from its first byte. */
export type Heap = ArrayBufferLike | DataView;

function viewOf(heap: Heap): DataView {
  return heap instanceof DataView ? heap : new DataView(heap);
}

interface Frame {
  readonly heap: DataView;
  /** Byte address of each parameter. */
  readonly args: readonly number[];
  readonly values: Map<Local | LoopVar, Value>;
}
type Evaluate = (frame: Frame) => Value;
type Execute = (frame: Frame) => void;

function lookup(frame: Frame, name: Local | LoopVar): Value {
  const value = frame.values.get(name);
  if (value === undefined) throw new CompilerError(`kernel reads ${name.name} before it has a value`);
  return value;
}

function elementAddress(frame: Frame, buffer: BufferRef, index: number): number {
  const base = frame.args[buffer.param];
  if (base === undefined) throw new CompilerError(`kernel uses parameter ${buffer.param}, but was given ${frame.args.length} addresses`);
  return base + index * dtypeInfo[buffer.dtype].bytes;
}

/** Evaluates each node of the DAG once, operands first. Both arms of a select are evaluated, as vector code does. */
function compileExpr(root: Expr): Evaluate {
  const slots = new Map<Expr, number>();
  const steps: ((frame: Frame, done: readonly Value[]) => Value)[] = [];
  const slotOf = (e: Expr): number => {
    const found = slots.get(e);
    if (found !== undefined) return found;
    const inputs = operands(e).map(slotOf);
    steps.push(nodeStep(e, inputs));
    slots.set(e, steps.length - 1);
    return steps.length - 1;
  };
  const last = slotOf(root);
  return (frame) => {
    const done: Value[] = [];
    for (const step of steps) done.push(step(frame, done));
    return at(done, last);
  };
}

function at(done: readonly Value[], slot: number | undefined): Value {
  const value = slot === undefined ? undefined : done[slot];
  if (value === undefined) throw new CompilerError('an expression was evaluated before its operands');
  return value;
}

function nodeStep(e: Expr, inputs: readonly number[]): (frame: Frame, done: readonly Value[]) => Value {
  const [x, y, z] = inputs;
  switch (e.kind) {
    case 'const':
      return () => e.value;
    case 'index':
      return (frame) => lookup(frame, e.variable);
    case 'local':
      return (frame) => lookup(frame, e.local);
    case 'load':
      return (frame, done) => {
        if (e.guard && !at(done, y)) return e.type === 'i64' ? 0n : 0;
        return readElement(frame.heap, e.buffer.dtype, elementAddress(frame, e.buffer, Number(at(done, x))));
      };
    case 'unary':
      return (_, done) => evalUnary(e.op, e.type, at(done, x));
    case 'binary':
      return (_, done) => evalBinary(e.op, e.a.type, at(done, x), at(done, y));
    case 'select':
      return (_, done) => (at(done, x) ? at(done, y) : at(done, z));
    case 'cast':
      return (_, done) => evalCast(e.a.type, e.type, at(done, x));
    case 'bitcast':
      return (_, done) => evalBitcast(e.type, e.a.type, at(done, x));
    default:
      return e satisfies never;
  }
}

function compileBlock(body: readonly Stmt[]): Execute {
  const steps = body.map(compileStmt);
  return (frame) => {
    for (const step of steps) step(frame);
  };
}

function compileStmt(stmt: Stmt): Execute {
  switch (stmt.kind) {
    case 'for': {
      const extent = typeof stmt.extent === 'number' ? () => stmt.extent as number : compileExpr(stmt.extent);
      const body = compileBlock(stmt.body);
      return (frame) => {
        const rounds = Number(extent(frame));
        for (let i = 0; i < rounds; i++) {
          frame.values.set(stmt.variable, i);
          body(frame);
        }
      };
    }
    case 'declare':
    case 'assign': {
      const value = compileExpr(stmt.value);
      return (frame) => void frame.values.set(stmt.local, value(frame));
    }
    case 'accumulate': {
      const value = compileExpr(stmt.value);
      const { local, op } = stmt;
      return (frame) => void frame.values.set(local, evalReduce(op, local.type, lookup(frame, local), value(frame)));
    }
    case 'store': {
      const index = compileExpr(stmt.index);
      const value = compileExpr(stmt.value);
      const { buffer, mode } = stmt;
      const type = dtypeInfo[buffer.dtype].compute;
      return (frame) => {
        const address = elementAddress(frame, buffer, Number(index(frame)));
        const given = value(frame);
        const stored = mode === 'set' ? given : evalReduce(mode, type, readElement(frame.heap, buffer.dtype, address), given);
        writeElement(frame.heap, buffer.dtype, address, stored);
      };
    }
    case 'if': {
      const condition = compileExpr(stmt.condition);
      const then = compileBlock(stmt.then);
      const otherwise = compileBlock(stmt.otherwise);
      return (frame) => (condition(frame) ? then : otherwise)(frame);
    }
    case 'while': {
      const condition = compileExpr(stmt.condition);
      const body = compileBlock(stmt.body);
      return (frame) => {
        while (condition(frame)) body(frame);
      };
    }
    default:
      return stmt satisfies never;
  }
}

function compileLoops(part: LoopPart): Execute {
  const body = compileBlock(part.body);
  return (frame) => {
    for (let cell = 0; cell < part.grid; cell++) {
      frame.values.clear();
      frame.values.set(part.cell, cell);
      body(frame);
    }
  };
}

/** The operand's element for one index tuple, or the zero of `type` where a checked coordinate does not exist. */
function readOperand(frame: Frame, operand: ContractOperand, type: ContractPart['type'], index: readonly number[]): Value {
  let element = 0;
  for (const c of operand.coordinates) {
    let position = c.offset;
    for (const term of c.terms) position += term.coefficient * (index[term.dim] ?? 0);
    if (c.checked && (position < 0 || position % c.dilation !== 0 || position / c.dilation >= c.extent)) return type === 'i64' ? 0n : 0;
    element += Math.trunc(position / c.dilation) * c.stride;
  }
  const { buffer } = operand;
  return evalCast(dtypeInfo[buffer.dtype].compute, type, readElement(frame.heap, buffer.dtype, elementAddress(frame, buffer, element)));
}

/** Calls `visit` for every index tuple over the dimensions whose role passes `keep`, the others held as they are. */
function forEachIndex(part: ContractPart, keep: (role: string) => boolean, index: number[], visit: () => void): void {
  const chosen = part.dims.flatMap((d, i) => (keep(d.role) ? [{ extent: d.extent, i }] : []));
  const walk = (depth: number): void => {
    const d = chosen[depth];
    if (!d) return visit();
    for (let i = 0; i < d.extent; i++) {
      index[d.i] = i;
      walk(depth + 1);
    }
  };
  walk(0);
}

function compileContract(part: ContractPart): Execute {
  const epilogue = compileBlock(part.epilogue);
  const outputs = part.dims.flatMap((d, i) => (d.role === 'k' ? [] : [i]));
  const { type } = part;
  return (frame) => {
    const index = part.dims.map(() => 0);
    forEachIndex(
      part,
      (role) => role !== 'k',
      index,
      () => {
        let sum: Value = type === 'i64' ? 0n : 0;
        forEachIndex(
          part,
          (role) => role === 'k',
          index,
          () => {
            const product = evalBinary('mul', type, readOperand(frame, part.a, type, index), readOperand(frame, part.b, type, index));
            sum = evalBinary('add', type, sum, product);
          },
        );
        frame.values.clear();
        part.outputVars.forEach((variable, i) => frame.values.set(variable, index[outputs[i] ?? 0] ?? 0));
        frame.values.set(part.result, sum);
        epilogue(frame);
      },
    );
  };
}

const compiled = new WeakMap<Kernel, readonly Execute[]>();

/**
 * Runs a whole kernel. `args` are the byte addresses of its parameters in `heap`.
 * Throws CompilerError when the kernel reads a name that has no value, RangeError when it leaves the heap.
 */
export function interpretKernel(kernel: Kernel, heap: Heap, args: readonly number[]): void {
  let parts = compiled.get(kernel);
  if (!parts) {
    parts = kernel.parts.map((part) => (part.kind === 'loops' ? compileLoops(part) : compileContract(part)));
    compiled.set(kernel, parts);
  }
  const frame: Frame = { heap: viewOf(heap), args, values: new Map() };
  for (const part of parts) part(frame);
}

/** One kernel call with its addresses resolved. */
export interface ResolvedCall {
  readonly kernel: Kernel;
  readonly args: readonly number[];
}

/** Byte address for the current indices of the enclosing `repeat` steps, outermost first. */
export function resolveAddress(address: Address, pointers: ArrayLike<number>, indices: readonly number[]): number {
  const base = pointers[address.slot];
  if (base === undefined) throw new CompilerError(`a step uses slot ${address.slot}, but there are ${pointers.length} slots`);
  return (address.loopStrides ?? []).reduce((sum, stride, i) => sum + stride * (indices[i] ?? 0), base + address.offset);
}

/**
 * The kernel calls of a step list in order. The consumer must run each call before it asks for the next, because
 * `while` and `branch` read their condition (one bool element) from the heap at that moment.
 */
export function* walkSteps(
  steps: readonly Step[],
  pointers: ArrayLike<number>,
  heap: () => Heap,
  indices: readonly number[] = [],
): Generator<ResolvedCall, void, void> {
  const holds = (condition: Address): boolean => readElement(viewOf(heap()), 'bool', resolveAddress(condition, pointers, indices)) !== 0;
  for (const step of steps) {
    switch (step.kind) {
      case 'call':
        yield { kernel: step.kernel, args: step.args.map((a) => resolveAddress(a, pointers, indices)) };
        break;
      case 'repeat':
        for (let i = 0; i < step.count; i++) yield* walkSteps(step.body, pointers, heap, [...indices, i]);
        break;
      case 'prepare':
        yield* walkSteps(step.body, pointers, heap, indices);
        break;
      case 'while':
        for (;;) {
          yield* walkSteps(step.before, pointers, heap, indices);
          if (!holds(step.condition)) break;
          yield* walkSteps(step.body, pointers, heap, indices);
        }
        break;
      case 'branch':
        yield* walkSteps(holds(step.condition) ? step.then : step.otherwise, pointers, heap, indices);
        break;
      default:
        step satisfies never;
    }
  }
}

/** Runs a step list; `pointers[i]` is the byte address of slot i. */
export function interpretSteps(steps: readonly Step[], pointers: ArrayLike<number>, heap: Heap): void {
  for (const call of walkSteps(steps, pointers, () => heap)) interpretKernel(call.kernel, heap, call.args);
}
