/** Recurrent layers of Keras, and the layers around other layers. */
import { concat, flip, nn, noGrad, stack, type Tensor, where, zeros } from 'trireme';
import { Config } from '../formats/json.js';
import { type Activation, activationOf } from './activations.js';
import { channelsLast, type Laid, plain } from './laid.js';
import { type BuildContext, KerasLayer, type LayerTable } from './layer.js';
import { arranged, type LayerVariables, type Variable } from './variables.js';

type Kind = 'LSTM' | 'GRU' | 'SimpleRNN';
const gates: Record<Kind, number> = { LSTM: 4, GRU: 3, SimpleRNN: 1 };

/** One step: features and states to states, the first of which is the output. */
type Step = (projected: Tensor, states: readonly Tensor[]) => Tensor[];

/**
 * A recurrent layer. Weights are Keras's: kernel [in, gates * units], recurrent [units, gates * units], bias [gates * units], or two of them
 * below each other (GRU with reset_after). Without masks and with the usual activations the steps are those of nn.LSTM and its like, compiled
 * as one operation.
 */
class Recurrent extends KerasLayer {
  readonly fast: nn.LSTM | nn.GRU | nn.RNN | null;
  kernel: Tensor | null = null;
  recurrent: Tensor | null = null;
  bias: Tensor | null = null;
  readonly units: number;
  readonly returnSequences: boolean;
  readonly #kind: Kind;
  readonly #returnState: boolean;
  readonly #backwards: boolean;
  readonly #resetAfter: boolean;
  readonly #activation: Activation;
  readonly #gate: Activation;

  constructor(kind: Kind, config: Config, variables: LayerVariables, modern: boolean) {
    super();
    this.#kind = kind;
    this.units = config.integer('units', 1, 1_000_000);
    this.returnSequences = config.boolean('return_sequences', false);
    this.#returnState = config.boolean('return_state', false);
    this.#backwards = config.boolean('go_backwards', false);
    if (config.boolean('time_major', false)) config.fail('is time-major', 'batch-major sequences');
    const bias = config.boolean('use_bias', true);
    const [kernel, recurrent, biases] = variables.take(['kernel', 'recurrent_kernel', ...(bias ? ['bias'] : [])]);
    this.#resetAfter = config.boolean('reset_after', bias && biases.shape.length === 2);
    this.#activation = activationOf(config.get('activation') ?? 'tanh', `${config.path}.activation`, modern);
    const gateName = config.get('recurrent_activation') ?? (modern || kind === 'SimpleRNN' ? 'sigmoid' : 'hard_sigmoid');
    this.#gate = activationOf(gateName, `${config.path}.recurrent_activation`, modern);
    this.#check(config, kernel, recurrent, biases);
    const usual = (config.get('activation') ?? 'tanh') === 'tanh' && (gateName === 'sigmoid' || kind === 'SimpleRNN');
    this.fast = usual && (kind !== 'GRU' || this.#resetAfter) ? fastLayer(kind, this.units, kernel, recurrent, biases) : null;
    if (this.fast === null) {
      this.kernel = nn.parameter(arranged(kernel, 2));
      this.recurrent = nn.parameter(arranged(recurrent, 2));
      if (bias) this.bias = nn.parameter(arranged(biases, biases.shape.length));
    }
  }

  #check(config: Config, kernel: Variable, recurrent: Variable, bias: Variable | undefined): void {
    const columns = gates[this.#kind] * this.units;
    const biasShape = this.#resetAfter && this.#kind === 'GRU' ? [2, columns] : [columns];
    const fits =
      kernel.shape.length === 2 &&
      kernel.shape[1] === columns &&
      recurrent.shape.join() === [this.units, columns].join() &&
      (bias === undefined || bias.shape.join() === biasShape.join());
    if (!fits)
      config.fail(
        `has weights [${kernel.shape.join(', ')}], [${recurrent.shape.join(', ')}]`,
        `${this.units} units of ${gates[this.#kind]} gates`,
      );
  }

  override forward(inputs: readonly Laid[]): readonly Laid[] {
    const [input, ...initial] = inputs;
    const given = channelsLast(input);
    const x = this.#backwards ? flip(given, [1]) : given;
    const mask = input.mask ? (this.#backwards ? flip(input.mask, [1]) : input.mask) : null;
    const states = initial.map(channelsLast);
    const { outputs, last } = mask === null && this.fast !== null ? this.#runFast(x, states) : this.#runSteps(x, states, mask);
    const main: Laid = this.returnSequences ? { x: outputs, moved: false, mask: input.mask ?? null } : plain(last[0]);
    return this.#returnState ? [main, ...last.map((state) => plain(state))] : [main];
  }

  #runFast(x: Tensor, states: readonly Tensor[]): { outputs: Tensor; last: Tensor[] } {
    const begin = states.map((state) => state.unsqueeze(0));
    if (this.fast instanceof nn.LSTM) {
      const [outputs, [h, c]] = this.fast.call(x, begin.length === 2 ? [begin[0], begin[1]] : null);
      return { outputs, last: [h.select(0, 0), c.select(0, 0)] };
    }
    const [outputs, h] = (this.fast as nn.GRU).call(x, begin[0] ?? null);
    return { outputs, last: [h.select(0, 0)] };
  }

  /** Weights in Keras's arrangement, also where the fast layer holds them. */
  #weights(): { kernel: Tensor; recurrent: Tensor; bias: Tensor | null } {
    if (this.kernel !== null && this.recurrent !== null) return { kernel: this.kernel, recurrent: this.recurrent, bias: this.bias };
    const own = this.fast as unknown as { weightIhL0: Tensor; weightHhL0: Tensor; biasIhL0: Tensor | null; biasHhL0: Tensor | null };
    const swap = (t: Tensor): Tensor => (this.#kind === 'GRU' ? swapGates(t) : t);
    const biases = own.biasIhL0 !== null && own.biasHhL0 !== null ? [swap(own.biasIhL0), swap(own.biasHhL0)] : null;
    const bias = biases === null ? null : this.#kind === 'GRU' ? stack(biases) : biases[0].add(biases[1]);
    return { kernel: swap(own.weightIhL0).t(), recurrent: swap(own.weightHhL0).t(), bias };
  }

  #runSteps(x: Tensor, initial: readonly Tensor[], mask: Tensor | null): { outputs: Tensor; last: Tensor[] } {
    const [batch, steps] = x.shape;
    const { kernel, recurrent, bias } = this.#weights();
    const projected = bias === null ? x.matmul(kernel) : x.matmul(kernel).add(bias.ndim === 2 ? bias.select(0, 0) : bias);
    const step = this.#step(recurrent, bias !== null && bias.ndim === 2 ? bias.select(0, 1) : null);
    let states: Tensor[] =
      initial.length > 0 ? [...initial] : Array.from({ length: this.#kind === 'LSTM' ? 2 : 1 }, () => zeros([batch, this.units]));
    const outputs: Tensor[] = [];
    let shown: Tensor = zeros([batch, this.units]);
    for (let t = 0; t < steps; t++) {
      const next = step(projected.select(1, t), states);
      if (mask === null) {
        states = next;
        shown = next[0];
      } else {
        // A step that does not count leaves states and output as they were.
        const counts = mask.select(1, t).unsqueeze(-1);
        shown = where(counts, next[0], shown);
        states = next.map((state, i) => where(counts, state, states[i]));
      }
      outputs.push(shown);
    }
    return { outputs: stack(outputs, 1), last: states };
  }

  #step(recurrent: Tensor, recurrentBias: Tensor | null): Step {
    const units = this.units;
    const [act, gate] = [this.#activation, this.#gate];
    if (this.#kind === 'SimpleRNN') return (p, [h]) => [act(p.add(h.matmul(recurrent)), -1)];
    if (this.#kind === 'LSTM') {
      return (p, [h, c]) => {
        const [i, f, g, o] = p.add(h.matmul(recurrent)).chunk(4, -1);
        const cell = gate(f, -1)
          .mul(c)
          .add(gate(i, -1).mul(act(g, -1)));
        return [gate(o, -1).mul(act(cell, -1)), cell];
      };
    }
    if (this.#resetAfter) {
      return (p, [h]) => {
        const inner = recurrentBias === null ? h.matmul(recurrent) : h.matmul(recurrent).add(recurrentBias);
        const [[pz, pr, ph], [rz, rr, rh]] = [p.chunk(3, -1), inner.chunk(3, -1)];
        const z = gate(pz.add(rz), -1);
        const candidate = act(ph.add(gate(pr.add(rr), -1).mul(rh)), -1);
        return [z.mul(h).add(z.neg().add(1).mul(candidate))];
      };
    }
    const [both, last] = [recurrent.narrow(1, 0, 2 * units), recurrent.narrow(1, 2 * units, units)];
    return (p, [h]) => {
      const [z, r] = gate(p.narrow(-1, 0, 2 * units).add(h.matmul(both)), -1).chunk(2, -1);
      const candidate = act(p.narrow(-1, 2 * units, units).add(r.mul(h).matmul(last)), -1);
      return [z.mul(h).add(z.neg().add(1).mul(candidate))];
    };
  }
}

/** Rows of update and reset gates change places: Keras has update first, PyTorch reset. */
function swapGates(t: Tensor): Tensor {
  const [a, b, c] = t.chunk(3, 0);
  return concat([b, a, c], 0);
}

function fastLayer(
  kind: Kind,
  units: number,
  kernel: Variable,
  recurrent: Variable,
  bias: Variable | undefined,
): nn.LSTM | nn.GRU | nn.RNN {
  const options = { batchFirst: true, bias: bias !== undefined };
  const layer =
    kind === 'LSTM'
      ? new nn.LSTM(kernel.shape[0], units, options)
      : kind === 'GRU'
        ? new nn.GRU(kernel.shape[0], units, options)
        : new nn.RNN(kernel.shape[0], units, options);
  noGrad(() => {
    const swap = (t: Tensor): Tensor => (kind === 'GRU' ? swapGates(t) : t);
    const state = new Map<string, Tensor>([
      ['weight_ih_l0', swap(arranged(kernel, 2, [1, 0]))],
      ['weight_hh_l0', swap(arranged(recurrent, 2, [1, 0]))],
    ]);
    if (bias !== undefined) {
      const values = arranged(bias, bias.shape.length);
      state.set('bias_ih_l0', swap(values.ndim === 2 ? values.select(0, 0) : values));
      state.set('bias_hh_l0', values.ndim === 2 ? swap(values.select(0, 1)) : zeros(values.shape));
    }
    layer.loadStateDict(state);
  });
  return layer;
}

const recurrent =
  (kind: Kind) =>
  ({ config, variables, modern }: BuildContext): KerasLayer =>
    new Recurrent(kind, config, variables.part('cell'), modern);

/** One layer forward in time and one backward, joined. */
class Bidirectional extends KerasLayer {
  readonly forwardLayer: Recurrent;
  readonly backwardLayer: Recurrent;
  readonly #mode: string | null;
  constructor(forward: Recurrent, backward: Recurrent, mode: string | null) {
    super();
    this.forwardLayer = forward;
    this.backwardLayer = backward;
    this.#mode = mode;
  }
  override forward(inputs: readonly Laid[]): readonly Laid[] {
    const [input, ...initial] = inputs;
    const half = initial.length / 2;
    const [ahead, ...aheadStates] = this.forwardLayer.call([input, ...initial.slice(0, half)]);
    const [behind, ...behindStates] = this.backwardLayer.call([input, ...initial.slice(half)]);
    // What ran backwards is in its own order of steps.
    const back = this.forwardLayer.returnSequences ? { ...behind, x: flip(behind.x, [1]) } : behind;
    const states = [...aheadStates, ...behindStates];
    if (this.#mode === null) return [ahead, back, ...states];
    const [a, b] = [ahead.x, back.x];
    const joined =
      this.#mode === 'concat' ? concat([a, b], -1) : this.#mode === 'sum' ? a.add(b) : this.#mode === 'ave' ? a.add(b).div(2) : a.mul(b);
    return [{ x: joined, moved: false, mask: ahead.mask ?? null }, ...states];
  }
}

function bidirectional({ config, variables, build }: BuildContext): KerasLayer {
  const spec = config.object('layer');
  const mode = config.get('merge_mode') === null ? null : config.string('merge_mode', 'concat');
  if (mode !== null && !['concat', 'sum', 'ave', 'mul'].includes(mode))
    config.fail(`.merge_mode is ${mode}`, 'concat, sum, ave, mul or null');
  const inner = spec.object('config');
  const name = inner.string('name', 'layer');
  const ahead = build(spec, variables.part('forward_layer', `forward_${name}`));
  const behind = build(backwardSpec(config, spec), variables.part('backward_layer', `backward_${name}`));
  if (!(ahead instanceof Recurrent && behind instanceof Recurrent)) {
    return config.fail(`wraps ${spec.string('class_name')}`, 'LSTM, GRU or SimpleRNN');
  }
  return new Bidirectional(ahead, behind, mode);
}

/** The configuration of the layer that runs backwards; mostly that of the other, turned around. */
function backwardSpec(config: Config, spec: Config): Config {
  const given = config.optionalObject('backward_layer');
  if (given !== null) return given;
  const inner = spec.object('config');
  const turned = new Map(inner.keys().map((key) => [key, inner.get(key)]));
  turned.set('go_backwards', !inner.boolean('go_backwards', false));
  return new Config({ class_name: spec.string('class_name'), config: Object.fromEntries(turned) }, spec.path);
}

/** The same layer at every step. */
class TimeDistributed extends KerasLayer {
  readonly layer: KerasLayer;
  constructor(layer: KerasLayer) {
    super();
    this.layer = layer;
  }
  override forward(inputs: readonly Laid[]): readonly Laid[] {
    const x = channelsLast(inputs[0]);
    const [batch, steps] = x.shape;
    const [out] = this.layer.call([plain(x.reshape([batch * steps, ...x.shape.slice(2)]))]);
    const y = channelsLast(out);
    return [plain(y.reshape([batch, steps, ...y.shape.slice(1)]), inputs[0].mask ?? null)];
  }
}

export const recurrentLayers = {
  LSTM: recurrent('LSTM'),
  GRU: recurrent('GRU'),
  SimpleRNN: recurrent('SimpleRNN'),
  Bidirectional: bidirectional,
  TimeDistributed: ({ config, variables, build }) => {
    const spec = config.object('layer');
    return new TimeDistributed(build(spec, variables.part('layer', spec.object('config').string('name', ''))));
  },
} satisfies LayerTable;
