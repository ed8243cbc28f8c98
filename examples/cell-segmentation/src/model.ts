/** A U-Net (Ronneberger, Fischer and Brox, arXiv:1505.04597) with batch normalization, small enough for a processor. */
import { concat, nn, type Tensor } from 'trireme';
import { classNames } from './masks.js';

export interface Architecture {
  /** Pixels of the input; multiples of 8. */
  readonly width: number;
  readonly height: number;
  readonly classNames: readonly string[];
  /** Channels at full size, and at a half, a quarter and an eighth of it. */
  readonly channels: readonly number[];
}

export const architecture: Architecture = { width: 320, height: 240, classNames, channels: [12, 24, 48, 96] };

/** Two convolutions of 3x3. */
function pair(inChannels: number, outChannels: number): nn.Sequential {
  const unit = (from: number): nn.Module[] => [
    new nn.Conv2d(from, outChannels, 3, { padding: 1, bias: false }),
    new nn.BatchNorm2d(outChannels),
    new nn.ReLU(),
  ];
  return new nn.Sequential(...unit(inChannels), ...unit(outChannels));
}

/** Photos uint8 [N, H, W, 3] in, logits [N, classes, H, W] out. */
export class UNet extends nn.Module {
  readonly architecture: Architecture;
  readonly down: nn.ModuleList<nn.Sequential>;
  readonly up: nn.ModuleList<nn.ConvTranspose2d>;
  readonly joined: nn.ModuleList<nn.Sequential>;
  readonly classes: nn.Conv2d;
  private readonly pool = new nn.MaxPool2d(2);

  constructor(settings: Architecture = architecture) {
    super();
    this.architecture = settings;
    const { channels } = settings;
    const above = channels.slice(0, -1);
    this.down = new nn.ModuleList(channels.map((c, i) => pair(i === 0 ? 3 : channels[i - 1], c)));
    this.up = new nn.ModuleList(above.map((c, i) => new nn.ConvTranspose2d(channels[i + 1], c, 2, { stride: 2 })));
    this.joined = new nn.ModuleList(above.map((c) => pair(2 * c, c)));
    this.classes = new nn.Conv2d(channels[0], settings.classNames.length, 1);
  }

  override forward(photos: Tensor): Tensor {
    let x = photos.permute([0, 3, 1, 2]).float().div(64).sub(2.5);
    const levels: Tensor[] = [];
    for (const block of this.down) {
      x = block.call(levels.length === 0 ? x : this.pool.call(x));
      levels.push(x);
    }
    for (let i = levels.length - 2; i >= 0; i--) {
      x = this.joined.at(i).call(concat([levels[i], this.up.at(i).call(x)], 1));
    }
    return this.classes.call(x);
  }
}
