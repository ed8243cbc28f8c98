/** The keyword network: convolutions over a spectrogram. */
import { nn, type Tensor } from 'trireme';

export interface Architecture {
  /** Rows of the spectrogram. */
  readonly bands: number;
  readonly classes: number;
  /** Channels of the 3x3 convolutions; a pooling by 2 follows each. */
  readonly channels: readonly number[];
  /** Channels of the convolution over all that is left of the bands. */
  readonly width: number;
  readonly dropout: number;
}

export const architecture: Architecture = { bands: 40, classes: 10, channels: [24, 48, 64], width: 128, dropout: 0.3 };

/**
 * [N, 1, bands, frames] to logits [N, classes]. The last convolution sees all bands at once, so that low and high are told apart; the
 * largest value over time then says whether something was heard, wherever in the second it was.
 */
export class KeywordNet extends nn.Module {
  readonly features: nn.Sequential;
  readonly head: nn.Sequential;

  constructor({ bands, classes, channels, width, dropout }: Architecture) {
    super();
    const normalised = (conv: nn.Conv2d, out: number): nn.Module[] => [conv, new nn.BatchNorm2d(out), new nn.ReLU()];
    this.features = new nn.Sequential(
      ...channels.flatMap((out, i) => [
        ...normalised(new nn.Conv2d(i === 0 ? 1 : channels[i - 1], out, 3, { padding: 1, bias: false }), out),
        new nn.MaxPool2d(2),
      ]),
      ...normalised(
        new nn.Conv2d(channels[channels.length - 1], width, [Math.floor(bands / 2 ** channels.length), 3], {
          padding: [0, 1],
          bias: false,
        }),
        width,
      ),
      new nn.AdaptiveMaxPool2d(1),
    );
    this.head = new nn.Sequential(new nn.Flatten(), new nn.Dropout(dropout), new nn.Linear(width, classes));
  }
  override forward(x: Tensor): Tensor {
    return this.head.call(this.features.call(x));
  }
}
