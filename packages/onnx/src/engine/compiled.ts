/**
 * Runs a planned graph as compiled programs. Nodes that must know what is computed (NonZero, a Reshape to a shape that is an input) cannot be
 * part of a program: they are found while it is recorded, and run between programs. What does not depend on them is recorded first,
 * so that there are few programs. A program holds for one set of input shapes and dtypes; the latest ones are kept.
 */
import { type JitFunction, jit, noGrad, type Tensor } from 'trireme';
import { elementInfo, type HostArray } from './element-type.js';
import { DataDependentError } from './errors.js';
import type { GraphPlan, PlannedNode } from './plan.js';
import { mapTensors, TensorValue, tensorsIn, type Value } from './value.js';
import { bindOutputs, Frame, Ledger, runNode, type Walk } from './walk.js';

/** Known values up to this many elements are constants of a program; longer ones are inputs. */
const constantLimit = 1024;

/** How a program's results become values: those on the device in order, those known as they are. */
class Recorded {
  readonly done: readonly number[];
  /** What remains after it. */
  readonly next: State;
  readonly names: readonly string[];
  readonly values: readonly (Value | null)[];
  constructor(done: readonly number[], next: State, names: readonly string[], values: readonly (Value | null)[]) {
    this.done = done;
    this.next = next;
    this.names = names;
    this.values = values;
  }
}

interface Result {
  readonly tensors: readonly Tensor[];
  readonly recorded: Recorded;
}

interface Segment {
  readonly program: JitFunction<[readonly Tensor[]], Result>;
  /** Runs under way. */
  running: number;
}

/** A point in the run of a graph: the nodes that are still to run. */
interface State {
  readonly remaining: readonly number[];
  /** Names read by what remains or wanted in the end, and made before. */
  readonly live: ReadonlySet<string>;
  /** Of the live ones those that remaining nodes read, in a fixed order. */
  readonly reads: readonly string[];
  readonly segments: Map<string, Segment>;
  /** The state after the ready barriers have run. */
  afterBarriers: { readonly barriers: readonly number[]; readonly next: State } | null;
}

export interface CompiledOptions {
  /** Programs kept; the one unused for longest goes first. */
  readonly maxPrograms: number;
}

export class CompiledGraph {
  readonly #plan: GraphPlan;
  readonly #options: CompiledOptions;
  readonly #states = new Map<string, State>();
  readonly #barriers = new Set<number>();
  readonly #makers = new Map<string, number>();
  /** In the order of their last use. */
  readonly #recent = new Map<Segment, { readonly state: State; readonly key: string }>();
  /** Values that programs computed from shapes and constants alone. */
  readonly #constants = new WeakSet<TensorValue>();
  readonly #start: State;

  constructor(plan: GraphPlan, options: CompiledOptions) {
    this.#plan = plan;
    this.#options = options;
    plan.nodes.forEach((planned, i) => {
      for (const name of planned.node.outputs) if (name !== '') this.#makers.set(name, i);
    });
    this.#start = this.#state(plan.nodes.map((_, i) => i));
  }

  /** Nodes that run between programs, as far as they are known. */
  get barriers(): readonly string[] {
    return [...this.#barriers].sort((a, b) => a - b).map((i) => this.#plan.nodes[i].label);
  }
  get programs(): number {
    return this.#recent.size;
  }

  #state(remaining: readonly number[]): State {
    const key = remaining.length === this.#plan.nodes.length ? 'all' : remaining.join();
    const known = this.#states.get(key);
    if (known !== undefined) return known;
    const inside = new Set(remaining);
    const reads = new Set<string>();
    for (const i of remaining) {
      for (const name of this.#plan.nodes[i].reads) {
        const maker = this.#makers.get(name);
        if (maker === undefined || !inside.has(maker)) reads.add(name);
      }
    }
    const live = new Set(reads);
    for (const name of this.#plan.outputs) live.add(name);
    const state: State = { remaining, live, reads: [...reads], segments: new Map(), afterBarriers: null };
    this.#states.set(key, state);
    return state;
  }

  /** Binds everything up to the outputs in `frame`, off the event loop. Barriers run on it. */
  async run(frame: Frame, walk: Walk, signal?: AbortSignal): Promise<void> {
    let state = this.#start;
    while (state.remaining.length > 0) {
      signal?.throwIfAborted();
      state = this.#runBarriers(state, frame, walk);
      if (state.remaining.length === 0) break;
      const { segment, tensors } = this.#prepare(state, frame, walk);
      segment.running++;
      try {
        // noGrad() holds while the program is recorded, before the first await; so the promise must not be what it returns.
        const started = noGrad(() => [segment.program.run(tensors)]);
        state = this.#finish(state, await started[0], frame, walk);
      } finally {
        segment.running--;
      }
    }
  }
  /** As {@link run}, on this thread. */
  runSync(frame: Frame, walk: Walk): void {
    let state = this.#start;
    while (state.remaining.length > 0) {
      state = this.#runBarriers(state, frame, walk);
      if (state.remaining.length === 0) break;
      const { segment, tensors } = this.#prepare(state, frame, walk);
      state = this.#finish(
        state,
        noGrad(() => segment.program(tensors)),
        frame,
        walk,
      );
    }
  }

  /** Runs the barriers whose inputs are there. */
  #runBarriers(from: State, frame: Frame, walk: Walk): State {
    let state = from;
    for (;;) {
      if (state.afterBarriers === null) {
        const inside = new Set(state.remaining);
        const ready = state.remaining.filter(
          (i) => this.#barriers.has(i) && this.#plan.nodes[i].reads.every((name) => !inside.has(this.#makers.get(name) ?? -1)),
        );
        const done = new Set(ready);
        state.afterBarriers = { barriers: ready, next: this.#state(state.remaining.filter((i) => !done.has(i))) };
      }
      const { barriers, next } = state.afterBarriers;
      if (barriers.length === 0) return state;
      for (const i of barriers) {
        const planned = this.#plan.nodes[i];
        noGrad(() => bindOutputs(planned, runNode(planned, this.#plan, frame, walk), frame, walk));
      }
      this.#letGo(state, next, barriers, frame, walk);
      state = next;
    }
  }

  /** Releases what nobody wants after these nodes. */
  #letGo(before: State, after: State, done: readonly number[], frame: Frame, walk: Walk): void {
    const names = new Set(before.reads);
    for (const i of done) for (const name of this.#plan.nodes[i].node.outputs) names.add(name);
    for (const name of names) if (!after.live.has(name) && frame.has(name)) walk.ledger.release(frame.take(name) ?? null);
  }

  /** The program for what remains and the values at hand. */
  #prepare(state: State, frame: Frame, walk: Walk): { segment: Segment; tensors: readonly Tensor[] } {
    const tensors: Tensor[] = [];
    const keys: string[] = [];
    const inputs = new Map<string, Value | null>();
    for (const name of state.reads) {
      const value = frame.find(name);
      if (value === undefined) continue;
      inputs.set(name, value);
      keys.push(this.#keyOf(name, value));
      if (value === null || this.#isWeight(name)) continue;
      for (const t of tensorsIn(value)) {
        if (elementInfo[t.type].carrier !== null && !this.#constants.has(t)) tensors.push(t.tensor);
      }
    }
    const key = keys.join('|');
    let segment = state.segments.get(key);
    if (segment === undefined) {
      segment = { program: this.#record(state, inputs, walk), running: 0 };
      state.segments.set(key, segment);
    }
    this.#recent.delete(segment);
    this.#recent.set(segment, { state, key });
    this.#evict(segment);
    return { segment, tensors };
  }

  #evict(current: Segment): void {
    for (const [segment, { state, key }] of this.#recent) {
      if (this.#recent.size <= this.#options.maxPrograms || segment === current) return;
      if (segment.running > 0) continue;
      this.#recent.delete(segment);
      state.segments.delete(key);
      segment.program.dispose();
    }
  }

  /** Initializers are captured by the programs. */
  #isWeight(name: string): boolean {
    return this.#plan.initializers.has(name) && !this.#plan.defaults.has(name);
  }
  #keyOf(name: string, value: Value | null): string {
    if (value === null || this.#isWeight(name)) return '';
    if (value.kind === 'map') return 'map';
    const parts = tensorsIn(value).map((t) => {
      const type = `${t.type}${t.shape.join(',')}`;
      return this.#constants.has(t) ? `${type}=${contentKey(t.host)}` : type;
    });
    return value.kind === 'tensor' ? parts[0] : `${value.kind}(${parts.join(';')})`;
  }

  #record(state: State, inputs: ReadonlyMap<string, Value | null>, walk: Walk): Segment['program'] {
    // Only what shapes and constants say may be kept: the values themselves belong to one run.
    const patterns = new Map<string, Value | null>();
    for (const [name, value] of inputs) {
      if (this.#isWeight(name)) continue;
      patterns.set(
        name,
        value === null || value.kind === 'map'
          ? value
          : mapTensors(value, (t) =>
              this.#constants.has(t) ? TensorValue.ofHost(t.host, t.type, t.shape) : TensorValue.pending(t.type, t.shape),
            ),
      );
    }
    const program = (tensors: readonly Tensor[]): Result => this.#recordedRun(state, patterns, tensors, walk);
    return jit(program, { name: this.#plan.name || 'onnx' });
  }

  /** What is recorded: all nodes that can be, until nothing but barriers and what depends on them remains. */
  #recordedRun(state: State, patterns: ReadonlyMap<string, Value | null>, tensors: readonly Tensor[], outer: Walk): Result {
    const frame = new Frame(null);
    const recording: Walk = { ...outer, ledger: new Ledger(), recording: true };
    const opaque = new Set<string>();
    let k = 0;
    for (const [name, pattern] of patterns) {
      if (pattern?.kind === 'map') {
        opaque.add(name);
        continue;
      }
      const value =
        pattern === null
          ? null
          : mapTensors(pattern, (t) => {
              if (t.isKnown) return TensorValue.ofHost(t.host, t.type, t.shape);
              return elementInfo[t.type].carrier === null ? t : TensorValue.ofTensor(tensors[k++], t.type);
            });
      recording.ledger.retain(value);
      // The arguments are not the graph's to free.
      recording.ledger.retain(value);
      frame.bind(name, value);
    }
    for (const [name, initializer] of this.#plan.initializers) {
      if (frame.has(name) || opaque.has(name) || !state.live.has(name)) continue;
      const value = recording.initializer(initializer, this.#plan, name);
      recording.ledger.retain(value);
      // A weight that is on the device stays there.
      if (!value.isKnown) recording.ledger.retain(value);
      frame.bind(name, value);
    }
    const waiting = new Set<string>();
    const done: number[] = [];
    for (const i of state.remaining) {
      const planned = this.#plan.nodes[i];
      if (
        this.#barriers.has(i) ||
        planned.reads.some((name) => waiting.has(name)) ||
        !this.#tryNode(i, planned, frame, recording, opaque)
      ) {
        for (const name of planned.node.outputs) if (name !== '') waiting.add(name);
      } else done.push(i);
    }
    const finished = new Set(done);
    const next = this.#state(state.remaining.filter((i) => !finished.has(i)));
    const names = done.flatMap((i) => this.#plan.nodes[i].node.outputs).filter((name) => name !== '' && next.live.has(name));
    const results: Tensor[] = [];
    const values = names.map((name) => {
      const value = frame.find(name) ?? null;
      return value === null
        ? null
        : mapTensors(value, (t) => {
            if (t.isKnown) return TensorValue.ofHost(t.host, t.type, t.shape);
            results.push(t.tensor);
            return TensorValue.pending(t.type, t.shape);
          });
    });
    // What was put on the device for this program alone belongs to it by now.
    for (const value of frame.values()) for (const t of tensorsIn(value)) if (t.isKnown) recording.ledger.release(t);
    return { tensors: results, recorded: new Recorded(done, next, names, values) };
  }

  /** Records one node; a node that has to know what is computed becomes a barrier, and false is returned. */
  #tryNode(i: number, planned: PlannedNode, frame: Frame, walk: Walk, opaque: ReadonlySet<string>): boolean {
    try {
      if (planned.reads.some((name) => opaque.has(name))) throw new DataDependentError('a map', { op: 'onnx' });
      bindOutputs(planned, runNode(planned, this.#plan, frame, walk), frame, walk);
      return true;
    } catch (error) {
      if (!(error instanceof DataDependentError)) throw error;
      this.#barriers.add(i);
      for (const state of this.#states.values()) state.afterBarriers = null;
      return false;
    }
  }

  #finish(state: State, { tensors, recorded }: Result, frame: Frame, walk: Walk): State {
    let k = 0;
    recorded.names.forEach((name, i) => {
      const pattern = recorded.values[i];
      const value =
        pattern === null ? null : mapTensors(pattern, (t) => (t.isKnown ? this.#constant(t) : TensorValue.ofTensor(tensors[k++], t.type)));
      walk.ledger.retain(value);
      frame.bind(name, value);
    });
    this.#letGo(state, recorded.next, recorded.done, frame, walk);
    return recorded.next;
  }
  /** A value of one run for what is known from recording. Long ones are inputs of the programs after. */
  #constant({ host, type, shape }: TensorValue): TensorValue {
    const value = TensorValue.ofHost(host, type, shape);
    if (shape.reduce((n, extent) => n * extent, 1) <= constantLimit) this.#constants.add(value);
    return value;
  }

  dispose(): void {
    for (const segment of this.#recent.keys()) segment.program.dispose();
    this.#recent.clear();
    for (const state of this.#states.values()) state.segments.clear();
  }
}

/** Content as text; equal texts are equal contents. */
function contentKey(host: HostArray): string {
  return Array.isArray(host) ? JSON.stringify(host) : Array.from(host as Float64Array, (x) => (Object.is(x, -0) ? '-0' : String(x))).join();
}
