/** An ONNX model as a module that can be trained. */
import { ArgumentError, isFloat, tensor as makeTensor, nn, Tensor } from 'trireme';
import type { ModelModel } from '../model/model.js';
import { type ElementType, elementInfo, type HostArray } from './element-type.js';
import type { GraphPlan, Initializer } from './plan.js';
import { TensorValue, type Value } from './value.js';
import { hostInitializer, Ledger, runGraph, type Walk } from './walk.js';

export interface OnnxModuleOptions {
  /** The output that forward() returns; default the first. */
  readonly output?: string;
}

interface Weight {
  readonly property: string;
  readonly type: ElementType;
  readonly host: HostArray;
  /** Integers and statistics are known to the operators, as in the model. */
  readonly trained: boolean;
}

/**
 * The graph of a model as forward(). Floating initializers are parameters and the others buffers, all under their names in the model. Mean and
 * variance of BatchNormalization are buffers too. Use it with optimizers, jit(), stateDict() like any module.
 */
export class OnnxModule extends nn.Module<Tensor[], Tensor> {
  readonly #plan: GraphPlan;
  readonly #inputs: readonly { readonly name: string; readonly type: ElementType }[];
  readonly #output: number;
  readonly #weights = new Map<Initializer, Weight>();

  constructor(model: ModelModel, plan: GraphPlan, { output }: OnnxModuleOptions) {
    super();
    this.#plan = plan;
    this.#inputs = model.graph.inputs
      .filter(({ name }) => plan.inputs.includes(name))
      .map(({ name, type }) => ({ name, type: (type?.kind === 'tensor' ? type.element : undefined) ?? 'float32' }));
    this.#output = output === undefined ? 0 : plan.outputs.indexOf(output);
    if (this.#output < 0) {
      throw new ArgumentError(`there is no output '${output}'`, { op: 'toModule', expected: `one of ${plan.outputs.join(', ')}` });
    }
    for (const each of [plan, ...plan.subgraphs.values()]) this.#register(each);
  }

  #register(plan: GraphPlan): void {
    const statistics = new Set(
      plan.nodes.filter(({ node }) => node.opType === 'BatchNormalization').flatMap(({ node }) => node.inputs.slice(3, 5)),
    );
    for (const [name, initializer] of plan.initializers) {
      const { type, host, shape } = hostInitializer(initializer);
      const { carrier } = elementInfo[type];
      if (carrier === null) continue;
      // Names of the model are names in state dicts; one that the class has already gets a line after it.
      let property = name;
      while (property in this) property += '_';
      const t = makeTensor(host as Float32Array, { dtype: carrier, shape: [...shape] });
      const trained = isFloat(carrier) && carrier === type && !statistics.has(name);
      Object.defineProperty(this, property, {
        value: trained ? nn.parameter(t) : nn.buffer(t),
        enumerable: true,
        writable: true,
        configurable: true,
      });
      this.#weights.set(initializer, { property, type, host, trained: trained || statistics.has(name) });
    }
  }

  protected override stateName(property: string): string {
    return property;
  }

  /** Inputs in the order of the model; returns one output. */
  override forward(...inputs: Tensor[]): Tensor {
    const value = this.outputs(...inputs)[this.#output];
    if (value.kind !== 'tensor') throw new ArgumentError(`the output is a ${value.kind}`, { op: 'OnnxModule', expected: 'a tensor' });
    return value.tensor;
  }

  /** As {@link forward}; returns all outputs in the order of the model. */
  outputs(...inputs: Tensor[]): readonly Value[] {
    if (inputs.length !== this.#inputs.length) {
      throw new ArgumentError(`${inputs.length} inputs`, {
        op: 'OnnxModule',
        received: inputs.length,
        expected: `${this.#inputs.length}: ${this.#inputs.map((input) => input.name).join(', ')}`,
      });
    }
    const ledger = new Ledger();
    const walk: Walk = {
      ledger,
      training: this.training,
      recording: false,
      initializer: (initializer) => {
        const value = this.#valueOf(initializer);
        // Once more than it is released: a parameter outlives the walk.
        if (value.onDevice !== null) ledger.retain(value);
        return value;
      },
    };
    const values = inputs.map((t, i) => TensorValue.ofTensor(t, this.#inputs[i].type));
    for (const value of values) ledger.retain(value);
    return runGraph(this.#plan, values, null, walk);
  }

  #valueOf(initializer: Initializer): TensorValue {
    const weight = this.#weights.get(initializer);
    if (weight === undefined) return hostInitializer(initializer);
    const { property, type, host, trained } = weight;
    const live: unknown = Reflect.get(this, property);
    if (!(live instanceof Tensor)) throw new ArgumentError(`'${property}' is no tensor any more`, { op: 'OnnxModule' });
    return trained ? TensorValue.ofParameter(live, type, () => host) : TensorValue.ofBoth(live, host, type);
  }
}
