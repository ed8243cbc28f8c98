/** Recurrent layers and cells. Names, shapes and initial values of the parameters are PyTorch's. */
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape, type Shape, shapesEqual } from '../graph/layout.js';
import { add, mul, sub } from '../ops/binary.js';
import { empty, zeros } from '../ops/create.js';
import { dropout } from '../ops/dropout.js';
import { concat, stack } from '../ops/join.js';
import { linear } from '../ops/matmul.js';
import { gateCount, type RecurrentKind, recurrent } from '../ops/recurrent.js';
import { relu, sigmoid, tanh } from '../ops/unary.js';
import { transpose, unsqueeze } from '../ops/view.js';
import { chunk, select } from '../ops/view-slice.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkCount } from './check.js';
import { uniform } from './init.js';
import { Module, parameter } from './module.js';
import { PackedSequence } from './packed.js';

export interface RecurrentOptions {
  /** Layers on top of one another. Default 1. */
  readonly numLayers?: number;
  /** Whether there are biases. Default true. */
  readonly bias?: boolean;
  /** Sequences are [batch, steps, features] instead of [steps, batch, features]. */
  readonly batchFirst?: boolean;
  /** Share of each layer's outputs that is dropped in training, but for the last. */
  readonly dropout?: number;
  /** A second run of each layer from the end to the start; the outputs stand side by side. */
  readonly bidirectional?: boolean;
}
export interface RNNOptions extends RecurrentOptions {
  /** Default 'tanh'. */
  readonly nonlinearity?: 'tanh' | 'relu';
}
export interface LSTMOptions extends RecurrentOptions {
  /** Features of the outputs, when a linear map reduces them (Sak et al., arXiv:1402.1128). Default 0: none. */
  readonly projSize?: number;
}

/** Parameters by name, in the order PyTorch lists them. */
type Weights = Record<string, Tensor>;

interface LayerWeights {
  readonly inputWeight: Tensor;
  readonly hiddenWeight: Tensor;
  readonly inputBias: Tensor | null;
  readonly hiddenBias: Tensor | null;
  readonly projection: Tensor | null;
}

/** Outputs and last states, the latter [layers * directions, batch, features]. */
type Result<S> = readonly [Tensor | PackedSequence, S];

abstract class RecurrentBase<S> extends Module<[x: Tensor | PackedSequence, state?: S | null], Result<S>> {
  readonly inputSize: number;
  readonly hiddenSize: number;
  readonly numLayers: number;
  readonly bidirectional: boolean;
  readonly batchFirst: boolean;
  readonly projSize: number;
  readonly hasBias: boolean;
  private readonly kind: RecurrentKind;
  private readonly dropout: number;

  constructor(kind: RecurrentKind, inputSize: number, hiddenSize: number, options: LSTMOptions) {
    super();
    const op = this.constructor.name;
    const { numLayers = 1, bias = true, batchFirst = false, dropout: share = 0, bidirectional = false, projSize = 0 } = options;
    checkCount(op, 'inputSize', inputSize);
    checkCount(op, 'hiddenSize', hiddenSize);
    checkCount(op, 'numLayers', numLayers);
    if (!(share >= 0 && share <= 1))
      throw new ArgumentError(`dropout is ${share}`, { op, received: share, expected: 'a number from 0 to 1' });
    if (!Number.isInteger(projSize) || projSize < 0 || projSize >= hiddenSize) {
      throw new ArgumentError(`projSize is ${projSize}`, {
        op,
        received: projSize,
        expected: `a whole number below hiddenSize ${hiddenSize}`,
      });
    }
    this.kind = kind;
    this.inputSize = inputSize;
    this.hiddenSize = hiddenSize;
    this.numLayers = numLayers;
    this.bidirectional = bidirectional;
    this.batchFirst = batchFirst;
    this.projSize = projSize;
    this.hasBias = bias;
    this.dropout = share;
    const bound = 1 / Math.sqrt(hiddenSize);
    const make = (shape: Shape): Tensor => parameter(uniform(empty(shape), -bound, bound));
    const rows = gateCount[kind] * hiddenSize;
    const weights: Weights = {};
    for (let layer = 0; layer < numLayers; layer++) {
      const features = layer === 0 ? inputSize : this.outputSize * this.directions;
      for (const suffix of this.suffixes(layer)) {
        weights[`weightIh${suffix}`] = make([rows, features]);
        weights[`weightHh${suffix}`] = make([rows, this.outputSize]);
        if (bias) {
          weights[`biasIh${suffix}`] = make([rows]);
          weights[`biasHh${suffix}`] = make([rows]);
        }
        if (projSize > 0) weights[`weightHr${suffix}`] = make([projSize, hiddenSize]);
      }
    }
    Object.assign(this, weights);
  }

  private get directions(): number {
    return this.bidirectional ? 2 : 1;
  }
  private get outputSize(): number {
    return this.projSize > 0 ? this.projSize : this.hiddenSize;
  }
  private suffixes(layer: number): string[] {
    return this.bidirectional ? [`L${layer}`, `L${layer}Reverse`] : [`L${layer}`];
  }
  private weights(suffix: string): LayerWeights {
    const own = this as unknown as Record<string, Tensor | undefined>;
    const of = (name: string): Tensor | null => own[`${name}${suffix}`] ?? null;
    return {
      inputWeight: of('weightIh') as Tensor,
      hiddenWeight: of('weightHh') as Tensor,
      inputBias: of('biasIh'),
      hiddenBias: of('biasHh'),
      projection: of('weightHr'),
    };
  }

  /** The initial states as a list, [h] or [h, c]. */
  protected abstract statesOf(state: S): readonly Tensor[];
  protected abstract toState(states: readonly Tensor[]): S;

  override forward(x: Tensor | PackedSequence, state: S | null = null): Result<S> {
    const op = this.constructor.name;
    const given = x instanceof PackedSequence ? x.padded : x;
    const alone = !(x instanceof PackedSequence) && given.ndim === 2;
    const timeMajor = x instanceof PackedSequence || alone || !this.batchFirst;
    if ((given.ndim !== 3 && !alone) || given.shape[given.ndim - 1] !== this.inputSize) {
      throw new ShapeError(`an input of shape ${formatShape(given.shape)}`, {
        op,
        received: given.shape,
        expected: `[${this.batchFirst ? 'batch, steps' : 'steps, batch'}, ${this.inputSize}], or [steps, ${this.inputSize}]`,
      });
    }
    const tensors = composite(op, () => {
      const batched = alone ? unsqueeze(given, 1) : timeMajor ? given : transpose(given, 0, 1);
      const mask = x instanceof PackedSequence ? x.mask() : null;
      const first = state === null ? null : this.statesOf(state).map((s) => (alone && s.ndim === 2 ? unsqueeze(s, 1) : s));
      this.checkStates(first, batched.shape[1]);
      const [out, ...last] = this.layers(batched, first, mask);
      const lasts = alone ? last.map((s) => select(s, 1, 0)) : last;
      return [alone ? select(out, 1, 0) : timeMajor ? out : transpose(out, 0, 1), ...lasts];
    });
    const out = x instanceof PackedSequence ? x.with(tensors[0]) : tensors[0];
    return [out, this.toState(tensors.slice(1))];
  }

  private checkStates(states: readonly Tensor[] | null, batch: number): void {
    if (states === null) return;
    const wanted = [this.outputSize, this.hiddenSize].map((size) => [this.numLayers * this.directions, batch, size]);
    states.forEach((s, k) => {
      if (shapesEqual(s.shape, wanted[k])) return;
      throw new ShapeError(`an initial state of shape ${formatShape(s.shape)}`, {
        op: this.constructor.name,
        received: s.shape,
        expected: formatShape(wanted[k]),
      });
    });
  }

  private layers(x: Tensor, states: readonly Tensor[] | null, mask: Tensor | null): Tensor[] {
    const batch = x.shape[1];
    const { dtype } = this.weights('L0').hiddenWeight;
    const last: Tensor[][] = this.kind === 'lstm' ? [[], []] : [[]];
    let input = x;
    for (let layer = 0; layer < this.numLayers; layer++) {
      if (layer > 0 && this.dropout > 0) input = dropout(input, this.dropout, this.training);
      const outputs = this.suffixes(layer).map((suffix, direction) => {
        const { inputWeight, hiddenWeight, inputBias, hiddenBias, projection } = this.weights(suffix);
        // The reset gate of a GRU scales the recurrent product with its bias; elsewhere both biases are one.
        const bias = inputBias === null || hiddenBias === null || this.kind === 'gru' ? inputBias : add(inputBias, hiddenBias);
        const k = layer * this.directions + direction;
        const first = (which: number, size: number): Tensor =>
          states === null ? zeros([batch, size], { dtype }) : select(states[which], 0, k);
        const [out, ...after] = recurrent(
          this.kind,
          {
            projected: linear(input, inputWeight, bias),
            h: first(0, this.outputSize),
            c: this.kind === 'lstm' ? first(1, this.hiddenSize) : null,
            weight: hiddenWeight,
            bias: this.kind === 'gru' ? hiddenBias : null,
            projection,
            mask,
          },
          direction === 1,
        );
        after.forEach((s, which) => {
          last[which].push(s);
        });
        return out;
      });
      input = outputs.length === 1 ? outputs[0] : concat(outputs, 2);
    }
    return [input, ...last.map((list) => stack(list, 0))];
  }
}

abstract class OneStateBase extends RecurrentBase<Tensor> {
  protected override statesOf(state: Tensor): readonly Tensor[] {
    return [state];
  }
  protected override toState([h]: readonly Tensor[]): Tensor {
    return h;
  }
  /** Outputs [steps, batch, directions * hidden] and last states [layers * directions, batch, hidden]. */
  override call(x: Tensor, state?: Tensor | null): readonly [Tensor, Tensor];
  override call(x: PackedSequence, state?: Tensor | null): readonly [PackedSequence, Tensor];
  override call(x: Tensor | PackedSequence, state: Tensor | null = null): Result<Tensor> {
    return super.call(x, state);
  }
}

/** Elman network: h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu. */
export class RNN extends OneStateBase {
  constructor(inputSize: number, hiddenSize: number, { nonlinearity = 'tanh', ...options }: RNNOptions = {}) {
    super(nonlinearity, inputSize, hiddenSize, options);
  }
}

/** Gated recurrent unit (Cho et al., arXiv:1406.1078), gates in the order reset, update, new; the form of PyTorch and cuDNN. */
export class GRU extends OneStateBase {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super('gru', inputSize, hiddenSize, options);
  }
}

export type LSTMState = readonly [h: Tensor, c: Tensor];

/** Long short-term memory (Hochreiter and Schmidhuber, 1997), gates in the order input, forget, cell, output. */
export class LSTM extends RecurrentBase<LSTMState> {
  constructor(inputSize: number, hiddenSize: number, options: LSTMOptions = {}) {
    super('lstm', inputSize, hiddenSize, options);
  }
  protected override statesOf(state: LSTMState): readonly Tensor[] {
    return state;
  }
  protected override toState([h, c]: readonly Tensor[]): LSTMState {
    return [h, c];
  }
  /** Outputs [steps, batch, directions * hidden], and the last hidden and cell states [layers * directions, batch, hidden]. */
  override call(x: Tensor, state?: LSTMState | null): readonly [Tensor, LSTMState];
  override call(x: PackedSequence, state?: LSTMState | null): readonly [PackedSequence, LSTMState];
  override call(x: Tensor | PackedSequence, state: LSTMState | null = null): Result<LSTMState> {
    return super.call(x, state);
  }
}

export interface CellOptions {
  readonly bias?: boolean;
}
export interface RNNCellOptions extends CellOptions {
  /** Default 'tanh'. */
  readonly nonlinearity?: 'tanh' | 'relu';
}

abstract class CellBase<S> extends Module<[x: Tensor, state?: S | null], S> {
  weightIh: Tensor;
  weightHh: Tensor;
  biasIh: Tensor | null;
  biasHh: Tensor | null;
  readonly hiddenSize: number;
  constructor(gates: number, inputSize: number, hiddenSize: number, { bias = true }: CellOptions) {
    super();
    const op = this.constructor.name;
    checkCount(op, 'inputSize', inputSize);
    checkCount(op, 'hiddenSize', hiddenSize);
    const bound = 1 / Math.sqrt(hiddenSize);
    const make = (shape: Shape): Tensor => parameter(uniform(empty(shape), -bound, bound));
    this.hiddenSize = hiddenSize;
    this.weightIh = make([gates * hiddenSize, inputSize]);
    this.weightHh = make([gates * hiddenSize, hiddenSize]);
    this.biasIh = bias ? make([gates * hiddenSize]) : null;
    this.biasHh = bias ? make([gates * hiddenSize]) : null;
  }
  protected zeroState(x: Tensor): Tensor {
    return zeros([...x.shape.slice(0, -1), this.hiddenSize], { dtype: this.weightHh.dtype });
  }
}

/** One step of {@link RNN}: x [batch, in] (or [in]) and h [batch, hidden] to the next h. */
export class RNNCell extends CellBase<Tensor> {
  private readonly nonlinearity: 'tanh' | 'relu';
  constructor(inputSize: number, hiddenSize: number, { nonlinearity = 'tanh', ...options }: RNNCellOptions = {}) {
    super(1, inputSize, hiddenSize, options);
    this.nonlinearity = nonlinearity;
  }
  override forward(x: Tensor, state: Tensor | null = null): Tensor {
    return composite('RNNCell', () => {
      const h = state ?? this.zeroState(x);
      const pre = add(linear(x, this.weightIh, this.biasIh), linear(h, this.weightHh, this.biasHh));
      return this.nonlinearity === 'tanh' ? tanh(pre) : relu(pre);
    });
  }
}

/** One step of {@link GRU}. */
export class GRUCell extends CellBase<Tensor> {
  constructor(inputSize: number, hiddenSize: number, options: CellOptions = {}) {
    super(3, inputSize, hiddenSize, options);
  }
  override forward(x: Tensor, state: Tensor | null = null): Tensor {
    return composite('GRUCell', () => {
      const h = state ?? this.zeroState(x);
      const [xr, xz, xn] = chunk(linear(x, this.weightIh, this.biasIh), 3, -1);
      const [hr, hz, hn] = chunk(linear(h, this.weightHh, this.biasHh), 3, -1);
      const n = tanh(add(xn, mul(sigmoid(add(xr, hr)), hn)));
      return add(n, mul(sigmoid(add(xz, hz)), sub(h, n)));
    });
  }
}

/** One step of {@link LSTM}: x and [h, c] to the next [h, c]. */
export class LSTMCell extends CellBase<LSTMState> {
  constructor(inputSize: number, hiddenSize: number, options: CellOptions = {}) {
    super(4, inputSize, hiddenSize, options);
  }
  override forward(x: Tensor, state: LSTMState | null = null): LSTMState {
    return composite('LSTMCell', () => {
      const [h, c] = state ?? [this.zeroState(x), this.zeroState(x)];
      const [i, f, g, o] = chunk(add(linear(x, this.weightIh, this.biasIh), linear(h, this.weightHh, this.biasHh)), 4, -1);
      const cell = add(mul(sigmoid(f), c), mul(sigmoid(i), tanh(g)));
      return [mul(sigmoid(o), tanh(cell)), cell] as const;
    });
  }
}
