/** Silero VAD: how probable it is that someone speaks, for each 32 ms of sound. */
import { readFile } from 'node:fs/promises';
import { decodeModel, encodeTensor, type ModelModel, OnnxModel } from '@trireme/onnx';
import { ArgumentError, type Tensor, tensor, zeros } from 'trireme';

/** Hz; the network has a branch for each. */
export type Rate = 8000 | 16000;

/** Samples of a frame, and of the end of the one before that the network sees again. */
const frameSizes = { 8000: { frame: 256, context: 32 }, 16000: { frame: 512, context: 64 } } as const;
/** Of the recurrent layer: hidden and cell state. */
const stateShape = [2, 1, 128];

export const frameSeconds = 0.032;

/**
 * The model with the rate a constant in it. As an input it chooses between branches while the network runs; known beforehand, what is left
 * is a single program.
 */
function withRate(model: ModelModel, rate: Rate): ModelModel {
  const { graph } = model;
  return {
    ...model,
    graph: {
      ...graph,
      inputs: graph.inputs.filter(({ name }) => name !== 'sr'),
      initializers: [...graph.initializers, encodeTensor(BigInt64Array.of(BigInt(rate)), 'int64', [], 'sr')],
    },
  };
}

/** Goes through a sound frame by frame; what it heard before is part of its state. */
export class SpeechDetector {
  readonly rate: Rate;
  readonly model: OnnxModel;
  readonly #window: Float32Array<ArrayBuffer>;
  #state: Tensor = zeros(stateShape);

  private constructor(model: OnnxModel, rate: Rate) {
    this.model = model;
    this.rate = rate;
    this.#window = new Float32Array(this.frame + frameSizes[rate].context);
  }
  static async load(path: string, rate: Rate): Promise<SpeechDetector> {
    return new SpeechDetector(new OnnxModel(withRate(decodeModel(await readFile(path)), rate)), rate);
  }

  /** Samples of a frame. */
  get frame(): number {
    return frameSizes[this.rate].frame;
  }

  /** Forgets what it heard. */
  reset(): void {
    this.#state.dispose();
    this.#state = zeros(stateShape);
    this.#window.fill(0);
  }

  /** The probability of speech in the next frame. @throws ArgumentError for another number of samples */
  next(samples: Float32Array): number {
    if (samples.length !== this.frame) {
      throw new ArgumentError(`a frame of ${samples.length} samples`, {
        op: 'vad',
        received: samples.length,
        expected: `${this.frame} samples`,
      });
    }
    const window = this.#window;
    window.copyWithin(0, this.frame);
    window.set(samples, window.length - this.frame);
    using input = tensor(window, { shape: [1, window.length] });
    const outputs = this.model.runSync({ input, state: this.#state });
    this.#state.dispose();
    this.#state = outputs.tensor('stateN');
    const [probability] = outputs.data('output') as Float32Array;
    outputs.tensor('output').dispose();
    return probability;
  }

  /** The probability of speech in each frame of a sound, which ends in silence. */
  probabilities(samples: Float32Array): Float32Array {
    this.reset();
    const { frame } = this;
    const count = Math.ceil(samples.length / frame);
    const padded = new Float32Array(count * frame);
    padded.set(samples);
    return Float32Array.from({ length: count }, (_, i) => this.next(padded.subarray(i * frame, (i + 1) * frame)));
  }

  dispose(): void {
    this.#state.dispose();
    this.model.dispose();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}
