/** jit(): a function of tensors, recorded once per shape and run as one Program. */
import { isGradEnabled } from './autograd/mode.js';
import { GradNode } from './autograd/node.js';
import { SparseGrad } from './autograd/sparse.js';
import { type DType, dtypeInfo } from './dtype.js';
import { AutogradError } from './errors.js';
import { type CompiledProgram, compileProgram } from './graph/compile.js';
import { denseStrides, isDense, type Shape, sizeOf } from './graph/layout.js';
import { runObserver } from './graph/observe.js';
import { currentTrace, Trace, withTrace } from './graph/trace.js';
import { copy } from './ops/cast.js';
import { autocastDType } from './tensor/autocast.js';
import type { LeafGradient } from './tensor/base.js';
import { defaultDevice } from './tensor/device.js';
import { signatureOf } from './tensor/dispatch.js';
import { settleMemory } from './tensor/memory.js';
import { observer } from './tensor/observe.js';
import { outsideScopes } from './tensor/scope.js';
import { Storage } from './tensor/storage.js';
import { Tensor } from './tensor/tensor.js';
import { flattenTree, mapTree } from './tensor/tree.js';

export interface JitOptions {
  /** Shown in errors, profiles and debugging output; default: the function's name. */
  readonly name?: string;
}

/** A compiled function. Calling it runs on this thread and the pool; {@link JitFunction.run} leaves the event loop free. */
export interface JitFunction<A extends readonly unknown[], R> {
  (...args: A): R;
  /** As a call, off the event loop. Do not change its arguments or state before it resolves. */
  run(...args: A): Promise<R>;
  /**
   * As {@link run}, and ends between two kernels when the signal aborts: the promise rejects with the signal's reason. Tensors that
   * the function updates in place may have been updated in part then; all others are as before.
   */
  runWith(options: { readonly signal?: AbortSignal }, ...args: A): Promise<R>;
  /** Compiles for these arguments, if that has not happened yet, without running. */
  compile(...args: A): CompiledProgram;
  /** One for each combination of shapes, dtypes and static arguments seen. */
  readonly programs: readonly CompiledProgram[];
  /** Frees the programs and what they captured. */
  dispose(): void;
}

/**
 * Stands on the tape for a result that depends on parameters. The Program has no backward of its own, and losing the
 * gradient silently would train a wrong model.
 */
class JitNode extends GradNode {
  constructor(name: string) {
    super(name, [], []);
  }
  override backward(): never {
    throw new AutogradError(`the gradient of a result of ${this.name}, a jit() function, is wanted outside of it`, {
      op: 'backward',
      expected: 'backward() or grad() inside the function that is compiled',
      fix: 'Put the loss and its backward() into the jit() function too; for results without gradient return x.detach(), or use noGrad() inside.',
    });
  }
}

interface OutputSpec {
  readonly shape: Shape;
  readonly strides: readonly number[];
  readonly dtype: DType;
  /** The traced result had a gradient. */
  readonly requiresGrad: boolean;
}

interface LeafResult {
  readonly leaf: Tensor;
  readonly output: number;
  readonly sparse: { readonly isCoalesced: boolean } | null;
}

interface Entry {
  readonly tokens: readonly unknown[];
  readonly signatures: readonly number[];
  readonly gradEnabled: boolean;
  readonly guards: readonly (() => boolean)[];
  readonly compiled: CompiledProgram;
  readonly args: number;
  /** Storages behind the inputs that are not arguments. */
  readonly captured: readonly Storage[];
  /** Those of them that the program only reads, and the versions it has seen. */
  readonly kept: readonly Storage[];
  readonly versions: Float64Array;
  readonly outputs: readonly OutputSpec[];
  /** The function's result with tensors at the places to fill. */
  readonly result: unknown;
  readonly resultTensors: number;
  /** Leaves whose gradient the function leaves behind, and the output it is, -1 for none; of sparse ones the first of two. */
  readonly leafGrads: readonly LeafResult[];
  /** Input positions whose content the program changes. */
  readonly updated: readonly number[];
  /** Looks at the last output after each run; see tensor/observe.ts. */
  readonly inspect: ((output: Tensor) => void) | null;
  readonly pointers: Float64Array;
}

/** The tensors a gradient consists of. */
function tensorsOf(gradient: LeafGradient): readonly Tensor[] {
  if (gradient === null) return [];
  return gradient instanceof SparseGrad ? [gradient.indices, gradient.values] : [gradient];
}

/** Stands for a tensor argument while tracing. */
function placeholder(trace: Trace, arg: Tensor): Tensor {
  const storage = new Storage(arg.dtype, sizeOf(arg.shape), null, trace);
  trace.addInput(storage, arg.shape);
  const tensor = new Tensor(storage, arg.shape, denseStrides(arg.shape), 0);
  tensor.requiresGrad = arg.requiresGrad;
  return tensor;
}

// Guards are made apart from build(): what its closures share would keep the traced function alive as long as its programs.

/** Whether autocast and observation are as now. */
function sameModes(): () => boolean {
  const dtype = autocastDType();
  const mode = observer?.mode;
  return () => autocastDType() === dtype && observer?.mode === mode;
}
/** Whether the gradient at a leaf lies in the memory of this one. */
function sameGradient(leaf: Tensor, gradient: LeafGradient): () => boolean {
  const storages = tensorsOf(gradient).map((t) => t.storage);
  return () => tensorsOf(leaf.leafGradient).every((t, k) => t.storage === storages[k]);
}

function build(
  name: string,
  fn: (...args: readonly unknown[]) => unknown,
  args: readonly unknown[],
  tensors: readonly Tensor[],
  tokens: readonly unknown[],
): Entry {
  const trace = new Trace(name, null);
  const signatures = tensors.map(argSignature);
  const stands = tensors.map((t) => placeholder(trace, t));
  const gradEnabled = isGradEnabled();
  try {
    const body = (): unknown => outsideScopes(() => fn(...(mapTree(args, (k) => stands[k]) as unknown[])));
    const watching = observer;
    trace.addGuard(sameModes());
    const { result, inspection } = withTrace(trace, () =>
      watching === null ? { result: body(), inspection: null } : watching.traced(name, body),
    );
    const results: Tensor[] = [];
    flattenTree(result, results, []);
    const leafGrads: LeafResult[] = [];
    const outputs = results.slice();
    for (const [leaf, before] of trace.leafGrads) {
      if (tensorsOf(before).some((t) => trace.inputSources.includes(t.storage))) {
        // The gradient from before the call was read or added to: it must be the same memory at every call.
        trace.addGuard(sameGradient(leaf, before));
      }
      if (!trace.gradsWritten.has(leaf)) continue;
      const { leafGradient } = leaf;
      if (leafGradient !== null && leafGradient === before) continue;
      const parts = tensorsOf(leafGradient);
      leafGrads.push({
        leaf,
        output: parts.length === 0 ? -1 : outputs.length,
        sparse: leafGradient instanceof SparseGrad ? { isCoalesced: leafGradient.isCoalesced } : null,
      });
      outputs.push(...parts);
    }
    if (inspection !== null) outputs.push(inspection.output);
    const program = withTrace(trace, () => trace.finish(outputs.map((t) => trace.operand(t))));
    const captured = trace.inputSources.slice(stands.length);
    // Parameters of an inference, say: what the program does not change itself.
    const written = new Set(program.updates.map((u) => u.input));
    const kept = captured.map((_, i) => stands.length + i).filter((input) => !written.has(input));
    const compiled = compileProgram(program, defaultDevice(), { kept });
    for (const storage of captured) storage.retain();
    // The result is kept as a pattern; let go of the tape behind it.
    for (const t of results) t.gradFn = null;
    return {
      tokens,
      signatures,
      gradEnabled,
      guards: trace.guards,
      compiled,
      args: stands.length,
      captured,
      kept: kept.map((input) => captured[input - stands.length]),
      versions: new Float64Array(kept.length).fill(-1),
      outputs: outputs.map((t) => ({ shape: t.shape, strides: denseStrides(t.shape), dtype: t.dtype, requiresGrad: t.requiresGrad })),
      result,
      resultTensors: results.length,
      leafGrads,
      updated: program.updates.map((u) => u.input),
      inspect: inspection === null ? null : inspection.verify,
      pointers: new Float64Array(1 + program.inputs.length + outputs.length),
    };
  } finally {
    for (const [leaf, before] of trace.leafGrads) leaf.leafGradient = before;
    trace.abandon();
  }
}

/** Arguments are compiled as dense tensors; strided ones are copied first. */
function argSignature(t: Tensor): number {
  return isDense(t) ? signatureOf(t) * 2 + (t.requiresGrad ? 1 : 0) : -1;
}

function matches(entry: Entry, tensors: readonly Tensor[], tokens: readonly unknown[], gradEnabled: boolean): boolean {
  if (entry.gradEnabled !== gradEnabled || entry.tokens.length !== tokens.length || entry.signatures.length !== tensors.length)
    return false;
  for (let i = 0; i < tensors.length; i++) if (entry.signatures[i] !== argSignature(tensors[i])) return false;
  for (let i = 0; i < tokens.length; i++) if (!Object.is(entry.tokens[i], tokens[i])) return false;
  for (const guard of entry.guards) if (!guard()) return false;
  return true;
}

/** Programs one compiled function keeps; the one unused for longest goes first. */
const mostPrograms = 64;
const warned = new Set<string>();

function warnManyPrograms(name: string): void {
  if (warned.has(name)) return;
  warned.add(name);
  console.warn(
    `trireme: ${name} was compiled for more than ${mostPrograms} combinations of shapes and static arguments. ` +
      'Pass numbers that change as tensors, and pad batches to a few sizes.',
  );
}

function disposeEntries(entries: Entry[]): void {
  for (const entry of entries) {
    entry.compiled.executable.dispose();
    for (const storage of entry.captured) storage.release();
  }
  entries.length = 0;
}

/** Programs of compiled functions that became garbage. */
const forgotten = new FinalizationRegistry<Entry[]>(disposeEntries);

/** Fills in the addresses of one run and makes its output tensors. */
function prepare(entry: Entry, tensors: readonly Tensor[]): Tensor[] {
  const { pointers, args, captured, outputs, kept, versions } = entry;
  for (let i = 0; i < args; i++) {
    const t = tensors[i];
    t.assertLive('jit');
    pointers[1 + i] = t.storage.address + t.offset * dtypeInfo[t.dtype].bytes;
  }
  for (let i = 0; i < captured.length; i++) pointers[1 + args + i] = captured[i].address;
  let changed = false;
  for (let i = 0; i < kept.length; i++) {
    const { version } = kept[i];
    if (versions[i] === version) continue;
    versions[i] = version;
    changed = true;
  }
  if (changed) entry.compiled.keptChanged();
  const base = 1 + args + captured.length;
  return outputs.map((spec, i) => {
    const storage = Storage.allocate(defaultDevice(), spec.dtype, sizeOf(spec.shape));
    pointers[base + i] = storage.address;
    const make = (): Tensor => new Tensor(storage, spec.shape, spec.strides, 0);
    // Gradients of leaves belong to the leaves, whatever scope the call is in.
    return i < entry.resultTensors ? make() : outsideScopes(make);
  });
}

/** The tensors that a run writes in place are other ones than before. */
function markUpdated(entry: Entry, tensors: readonly Tensor[]): void {
  for (const input of entry.updated) {
    const storage = input < entry.args ? tensors[input].storage : entry.captured[input - entry.args];
    storage.version++;
  }
}

function finish(entry: Entry, tensors: readonly Tensor[], made: readonly Tensor[]): unknown {
  markUpdated(entry, tensors);
  for (const { leaf, output, sparse } of entry.leafGrads) {
    if (sparse !== null) leaf.sparseGrad = new SparseGrad(made[output], made[output + 1], leaf.shape, sparse.isCoalesced);
    else leaf.grad = output < 0 ? null : made[output];
  }
  if (entry.inspect !== null) {
    using last = made[made.length - 1];
    entry.inspect(last);
  }
  const node = new JitNode(entry.compiled.program.name);
  for (let k = 0; k < entry.resultTensors; k++) {
    if (!entry.outputs[k].requiresGrad) continue;
    made[k].requiresGrad = true;
    made[k].gradFn = node;
    made[k].outputIndex = k;
  }
  return mapTree(entry.result, (k) => made[k]);
}

/**
 * Compiles `fn` on its first call for each combination of argument shapes, dtypes and static values, and runs the
 * compiled Program from then on. Tensors (also nested in arrays and plain objects) are arguments; numbers, strings and
 * booleans are static; everything else is static by identity. Tensors used from outside are captured: what changes them
 * in place (optimizer steps, running statistics) changes them at every call. Everything else in `fn` happens once, at
 * compile time. Gradients are computed inside: backward() from a result outside throws AutogradError.
 * @throws TraceError when `fn` reads the value of a tensor.
 */
export function jit<A extends readonly unknown[], R>(fn: (...args: A) => R, options: JitOptions = {}): JitFunction<A, R> {
  const name = options.name ?? (fn.name || 'jit');
  const entries: Entry[] = [];
  const traced = (...args: readonly unknown[]): unknown => fn(...(args as A));

  const find = (args: A): { entry: Entry; tensors: Tensor[]; temporary: Tensor[] } => {
    const tensors: Tensor[] = [];
    const tokens: unknown[] = [];
    for (const arg of args) flattenTree(arg, tensors, tokens);
    const temporary: Tensor[] = [];
    for (let i = 0; i < tensors.length; i++) {
      if (isDense(tensors[i])) continue;
      const dense = copy(tensors[i].detach());
      dense.requiresGrad = tensors[i].requiresGrad;
      temporary.push(dense);
      tensors[i] = dense;
    }
    const gradEnabled = isGradEnabled();
    let at = entries.findIndex((e) => matches(e, tensors, tokens, gradEnabled));
    if (at < 0) {
      if (entries.length >= mostPrograms) {
        warnManyPrograms(name);
        disposeEntries(entries.splice(mostPrograms - 1));
      }
      entries.push(build(name, traced, args, tensors, tokens));
      at = entries.length - 1;
    }
    const entry = entries[at];
    if (at > 0) {
      entries.splice(at, 1);
      entries.unshift(entry);
    }
    return { entry, tensors, temporary };
  };

  const call = (...args: A): R => {
    if (currentTrace() !== null) return fn(...args);
    const { entry, tensors, temporary } = find(args);
    const made = prepare(entry, tensors);
    if (runObserver === null) entry.compiled.executable.runSync(entry.pointers);
    else runObserver.run(entry.compiled, entry.pointers, '');
    for (const t of temporary) t.dispose();
    return finish(entry, tensors, made) as R;
  };
  const runWith = async ({ signal }: { readonly signal?: AbortSignal }, ...args: A): Promise<R> => {
    if (currentTrace() !== null) return fn(...args);
    signal?.throwIfAborted();
    const { entry, tensors, temporary } = find(args);
    const made = prepare(entry, tensors);
    // Whoever is called before this run has ended runs behind it.
    markUpdated(entry, tensors);
    try {
      if (runObserver === null) await entry.compiled.executable.run(entry.pointers.slice(), signal);
      else runObserver.run(entry.compiled, entry.pointers, '');
    } catch (error) {
      // What it updates in place may be half written: whoever has derived something from it has to do so again.
      markUpdated(entry, tensors);
      for (const t of made) t.dispose();
      throw error;
    } finally {
      for (const t of temporary) t.dispose();
    }
    const result = finish(entry, tensors, made) as R;
    await settleMemory();
    return result;
  };
  const run = (...args: A): Promise<R> => runWith({}, ...args);
  const dispose = (): void => disposeEntries(entries);
  const compile = (...args: A): CompiledProgram => find(args).entry.compiled;
  const jitted = Object.assign(call, { run, runWith, dispose, compile, programs: [] as readonly CompiledProgram[] });
  forgotten.register(jitted, entries);
  Object.defineProperty(jitted, 'programs', { get: () => entries.map((e) => e.compiled) });
  return jitted;
}
