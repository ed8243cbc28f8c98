/** Loading ONNX models and running them. */
import { ArgumentError, type CompiledProgram, DTypeError, jit, keep, tensor as makeTensor, noGrad, ShapeError, Tensor } from 'trireme';
import type { ByteSource } from 'trireme/io';
import type { Dimension, ModelModel, TypeModel, ValueInfo } from '../model/model.js';
import { decodeModel } from '../model/protobuf.js';
import type { OpTable } from '../ops/definition.js';
import { operators } from '../ops/index.js';
import { CompiledGraph } from './compiled.js';
import { type ElementType, elementInfo } from './element-type.js';
import { type LoadOptions, loadModel } from './load.js';
import { OnnxModule, type OnnxModuleOptions } from './onnx-module.js';
import { OnnxOutputs } from './outputs.js';
import { type GraphPlan, type Initializer, Planner } from './plan.js';
import { decodeTensor, sizeOf } from './transfer.js';
import { TensorValue, tensorsIn, type Value } from './value.js';
import { Frame, hostInitializer, Ledger, runGraph, type Walk } from './walk.js';

/** Weights up to this many elements are constants of each program; larger ones are on the device once. */
const smallWeight = 1024;

export interface OnnxModelOptions extends LoadOptions {
  /** Operators to add or replace, by domain. */
  readonly customOps?: Readonly<Record<string, OpTable>>;
  /** Compiled programs to keep, one for each combination of input shapes and dtypes. Default 32. */
  readonly maxPrograms?: number;
  /** Whether inputs must have the sizes that the model declares. Some models declare sizes they do not need. Default true. */
  readonly checkShapes?: boolean;
}

export interface RunOptions {
  /** Stops between programs. */
  readonly signal?: AbortSignal;
}

/** What run() takes for an input: a tensor of the dtype that carries the input's type, or any value of ONNX. */
export type OnnxInput = Tensor | Value;

/** An input or output of a model. */
export interface OnnxPort {
  readonly name: string;
  /** undefined for values that are no tensors. */
  readonly type: ElementType | undefined;
  /** Numbers, names of sizes that may change, null for unknown ones; null when not even the rank is known. */
  readonly shape: readonly Dimension[] | null;
  readonly kind: TypeModel['kind'] | undefined;
  /** Inputs that may be left out. */
  readonly optional: boolean;
}

function portOf({ name, type }: ValueInfo, optional: boolean): OnnxPort {
  const isTensor = type?.kind === 'tensor';
  return { name, kind: type?.kind, type: isTensor ? type.element : undefined, shape: isTensor ? type.shape : null, optional };
}

export interface OnnxMetadata {
  readonly irVersion: number;
  readonly producerName: string;
  readonly producerVersion: string;
  readonly domain: string;
  readonly modelVersion: bigint;
  readonly docString: string;
  readonly graphName: string;
  /** Version of each operator domain; '' is ai.onnx. */
  readonly opsets: ReadonlyMap<string, number>;
  /** The model's own entries. */
  readonly properties: ReadonlyMap<string, string>;
}

/**
 * A model that is ready to run. Programs are compiled at the first run with inputs of new shapes or dtypes and kept.
 * dispose() frees them and the weights.
 */
export class OnnxModel {
  /** The model as it was read. */
  readonly model: ModelModel;
  /** Without the initializers that old models list among them. */
  readonly inputs: readonly OnnxPort[];
  readonly outputs: readonly OnnxPort[];
  readonly metadata: OnnxMetadata;
  readonly #plan: GraphPlan;
  readonly #compiled: CompiledGraph;
  /** Bodies of loops, branches and functions that run between programs. */
  readonly #bodies = new Map<GraphPlan, CompiledGraph>();
  readonly #maxPrograms: number;
  readonly #checkShapes: boolean;
  readonly #weights = new Map<Initializer, TensorValue>();

  /** @throws UnsupportedOperatorError, FormatError for a model that contradicts itself */
  constructor(model: ModelModel, options: OnnxModelOptions = {}) {
    let registry = operators;
    for (const [domain, table] of Object.entries(options.customOps ?? {})) registry = registry.extended(domain, [table]);
    this.model = model;
    this.#plan = new Planner(registry, model.functions).plan(model);
    this.#checkShapes = options.checkShapes ?? true;
    this.#maxPrograms = options.maxPrograms ?? 32;
    this.#compiled = new CompiledGraph(this.#plan, { maxPrograms: this.#maxPrograms });
    const { defaults, initializers } = this.#plan;
    this.inputs = model.graph.inputs.filter((info) => !initializers.has(info.name)).map((info) => portOf(info, defaults.has(info.name)));
    this.outputs = model.graph.outputs.map((info) => portOf(info, false));
    this.metadata = {
      irVersion: model.irVersion,
      producerName: model.producerName,
      producerVersion: model.producerVersion,
      domain: model.domain,
      modelVersion: model.modelVersion,
      docString: model.docString,
      graphName: model.graph.name,
      opsets: model.opsetImports,
      properties: model.metadata,
    };
  }

  /**
   * Reads a model from a file, bytes or a Blob, with the data it keeps in other files of its folder.
   * @throws FormatError for files that are damaged; UnsupportedOperatorError with all operators that are missing
   */
  static async load(source: ByteSource, options: OnnxModelOptions = {}): Promise<OnnxModel> {
    return new OnnxModel(await loadModel(source, options), options);
  }
  /** A model from bytes that hold all of its data. */
  static fromBytes(bytes: Uint8Array, options: OnnxModelOptions = {}): OnnxModel {
    return new OnnxModel(decodeModel(bytes), options);
  }

  /** The nodes that run between programs, as far as the runs so far have shown. */
  get barriers(): readonly string[] {
    return this.#compiled.barriers;
  }
  /** Number of compiled programs at hand. */
  get programs(): number {
    let count = this.#compiled.programs;
    for (const body of this.#bodies.values()) count += body.programs;
    return count;
  }

  /**
   * Runs the model off the event loop.
   * @throws ArgumentError for missing or unknown inputs, DTypeError and ShapeError for inputs that do not fit
   */
  async run(inputs: Readonly<Record<string, OnnxInput>>, options: RunOptions = {}): Promise<OnnxOutputs> {
    const { frame, walk, values } = this.#begin(inputs);
    await this.#compiled.run(frame, walk, options.signal);
    return this.#end(frame, values, inputs);
  }
  /** As {@link run}, on this thread. */
  runSync(inputs: Readonly<Record<string, OnnxInput>>): OnnxOutputs {
    const { frame, walk, values } = this.#begin(inputs);
    this.#compiled.runSync(frame, walk);
    return this.#end(frame, values, inputs);
  }
  /** As {@link run}, operator by operator without compiling programs: for a model that runs once, and for comparison. */
  runEagerly(inputs: Readonly<Record<string, OnnxInput>>): OnnxOutputs {
    const { frame, walk: compiling, values } = this.#begin(inputs);
    const walk: Walk = { ...compiling, runNodes: undefined };
    const outputs = noGrad(() => runGraph(this.#planWithInputs(frame), [], frame, walk));
    this.#plan.outputs.forEach((name, i) => frame.bind(name, outputs[i]));
    return this.#end(frame, values, inputs);
  }

  /** The inputs are bound around the graph, so that the ones with defaults are replaced. */
  #planWithInputs(frame: Frame): GraphPlan {
    const initializers = new Map([...this.#plan.initializers].filter(([name]) => !frame.has(name)));
    return { ...this.#plan, inputs: [], initializers };
  }

  #begin(inputs: Readonly<Record<string, OnnxInput>>): { frame: Frame; walk: Walk; values: readonly Value[] } {
    const walk = this.#walk();
    const frame = new Frame(null);
    const values: Value[] = [];
    const names = new Set([...this.#plan.inputs, ...this.#plan.defaults]);
    for (const name of Object.keys(inputs)) {
      if (!names.has(name)) {
        throw new ArgumentError(`there is no input '${name}'`, { op: 'OnnxModel.run', expected: `one of ${[...names].join(', ')}` });
      }
    }
    for (const info of this.model.graph.inputs) {
      const given = Object.hasOwn(inputs, info.name) ? inputs[info.name] : undefined;
      if (given === undefined) {
        if (this.#plan.defaults.has(info.name)) continue;
        if (info.type?.kind === 'optional') {
          frame.bind(info.name, { kind: 'optional', value: null });
          continue;
        }
        throw new ArgumentError(`input '${info.name}' is missing`, { op: 'OnnxModel.run', expected: [...names].join(', ') });
      }
      const value = inputValue(info, given, this.#checkShapes);
      values.push(value);
      // Twice: what the caller gave is not the run's to free.
      walk.ledger.retain(value);
      walk.ledger.retain(value);
      frame.bind(info.name, value);
    }
    for (const [name, initializer] of this.#plan.initializers) {
      if (frame.has(name)) continue;
      const value = walk.initializer(initializer, this.#plan, name);
      walk.ledger.retain(value);
      if (!value.isKnown) walk.ledger.retain(value);
      frame.bind(name, value);
    }
    return { frame, walk, values };
  }

  #end(frame: Frame, values: readonly Value[], inputs: Readonly<Record<string, OnnxInput>>): OnnxOutputs {
    const shared = new Set<Tensor>();
    for (const value of values) for (const t of tensorsIn(value)) if (t.onDevice !== null) shared.add(t.onDevice);
    for (const weight of this.#weights.values()) if (weight.onDevice !== null) shared.add(weight.onDevice);
    const outputs = new Map<string, Value>();
    for (const name of this.#plan.outputs) {
      const value = frame.find(name);
      if (value == null) throw new ArgumentError(`output '${name}' has no value`, { op: 'OnnxModel.run' });
      outputs.set(name, owned(value, shared));
    }
    // Inputs that came from the host were put on the device for this run.
    const given = new Set<unknown>(Object.values(inputs));
    for (const value of values) for (const t of tensorsIn(value)) if (t.isKnown && !given.has(t.onDevice)) t.dispose();
    return new OnnxOutputs(outputs);
  }

  #walk(): Walk {
    return {
      ledger: new Ledger(),
      training: false,
      recording: false,
      runNodes: (plan, frame, walk) => this.#bodyOf(plan).runSync(frame, walk),
      initializer: (initializer) => this.#weight(initializer),
    };
  }
  #bodyOf(plan: GraphPlan): CompiledGraph {
    let body = this.#bodies.get(plan);
    if (body === undefined) {
      body = new CompiledGraph(plan, { maxPrograms: this.#maxPrograms });
      this.#bodies.set(plan, body);
    }
    return body;
  }

  #weight(initializer: Initializer): TensorValue {
    if (initializer.kind === 'sparse') return hostInitializer(initializer);
    const { tensor } = initializer;
    let value = this.#weights.get(initializer);
    if (value === undefined) {
      const isSmall = sizeOf(tensor.dims) <= smallWeight || elementInfo[tensor.type].carrier === null;
      value = isSmall
        ? hostInitializer(initializer)
        : TensorValue.ofWeight(keep(hostInitializer(initializer).tensor), tensor.type, () => decodeTensor(tensor));
      this.#weights.set(initializer, value);
    }
    return value;
  }

  /** The model as a module: its floating weights are parameters, under their names in the model. */
  toModule(options: OnnxModuleOptions = {}): OnnxModule {
    return new OnnxModule(this.model, this.#plan, options);
  }

  /**
   * The whole model as one program for inputs of these shapes.
   * @throws DataDependentError when it has nodes that must know what is computed
   */
  toProgram(inputShapes: Readonly<Record<string, readonly number[]>>): { readonly program: CompiledProgram; dispose(): void } {
    const args = this.inputs.map(({ name, type }) => {
      const shape = inputShapes[name];
      const carrier = type === undefined ? null : elementInfo[type].carrier;
      if (shape === undefined || carrier === null) {
        throw new ArgumentError(`input '${name}' of ${type ?? 'no tensor'}`, {
          op: 'toProgram',
          expected: 'a shape for each input, all of numbers',
        });
      }
      return {
        name,
        type: type as ElementType,
        tensor: makeTensor(new Float32Array(sizeOf(shape)), { shape: [...shape], dtype: carrier }),
      };
    });
    const compiled = jit(
      (tensors: readonly Tensor[]): Tensor[] => {
        const walk: Walk = { ...this.#walk(), recording: true };
        const frame = new Frame(null);
        args.forEach(({ name, type }, i) => {
          const value = TensorValue.ofTensor(tensors[i], type);
          walk.ledger.retain(value);
          walk.ledger.retain(value);
          frame.bind(name, value);
        });
        for (const weight of this.#weights.values()) walk.ledger.retain(weight);
        return runGraph(this.#planWithInputs(frame), [], frame, walk).flatMap((value) => tensorsIn(value).map((t) => t.tensor));
      },
      { name: this.#plan.name || 'onnx' },
    );
    try {
      return { program: noGrad(() => compiled.compile(args.map((arg) => arg.tensor))), dispose: () => compiled.dispose() };
    } finally {
      for (const { tensor } of args) tensor.dispose();
    }
  }

  /** Frees programs and weights. Modules made from it are on their own. */
  dispose(): void {
    this.#compiled.dispose();
    for (const body of this.#bodies.values()) body.dispose();
    for (const weight of this.#weights.values()) weight.dispose();
    this.#weights.clear();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** A value whose tensors are the caller's: those of inputs and weights are copied. */
function owned(value: Value, shared: ReadonlySet<Tensor>): Value {
  if (value.kind === 'tensor') {
    const device = value.onDevice;
    return device !== null && shared.has(device)
      ? TensorValue.ofTensor(
          noGrad(() => device.clone()),
          value.type,
        )
      : value;
  }
  if (value.kind === 'sequence') return { ...value, items: value.items.map((item) => owned(item, shared) as TensorValue) };
  if (value.kind === 'optional' && value.value !== null) return { kind: 'optional', value: owned(value.value, shared) as TensorValue };
  return value;
}

function inputValue(info: ValueInfo, given: OnnxInput, checkShapes: boolean): Value {
  const declared = info.type;
  const op = 'OnnxModel.run';
  const value = given instanceof Tensor ? TensorValue.ofTensor(given, typeFor(info, given)) : given;
  if (declared?.kind === 'optional' && value.kind !== 'optional') {
    return value.kind === 'map' ? value : { kind: 'optional', value };
  }
  if (declared?.kind !== 'tensor' || value.kind !== 'tensor') return value;
  if (declared.element !== undefined && declared.element !== value.type) {
    throw new DTypeError(`input '${info.name}' is of ${value.type}`, { op, received: value.type, expected: declared.element });
  }
  const { shape } = declared;
  const fits =
    shape === null ||
    (shape.length === value.shape.length && shape.every((n, i) => typeof n !== 'number' || n <= 0 || n === value.shape[i]));
  if (checkShapes && !fits) {
    throw new ShapeError(`input '${info.name}' has shape [${value.shape.join(', ')}]`, {
      op,
      received: value.shape,
      expected: `[${(shape ?? []).map((n) => n ?? '?').join(', ')}]`,
    });
  }
  return value;
}

function typeFor(info: ValueInfo, given: Tensor): ElementType {
  const element = info.type?.kind === 'tensor' ? info.type.element : undefined;
  if (element === undefined) return given.dtype;
  if (elementInfo[element].carrier !== given.dtype) {
    throw new DTypeError(`input '${info.name}' is of ${given.dtype}`, {
      op: 'OnnxModel.run',
      received: given.dtype,
      expected: `${elementInfo[element].carrier ?? 'a value on the host'}, for ${element}`,
    });
  }
  return element;
}
