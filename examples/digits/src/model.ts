/** The networks: small convolutional classifiers of grey pictures. */
import { nn, type Tensor } from 'trireme';

export interface Architecture {
  /** Width and height of the pictures. */
  readonly side: number;
  readonly classes: number;
  /** Output channels of the convolutions; a pooling by 2 follows each but the first. */
  readonly channels: readonly number[];
  readonly dropout: number;
}

export const architectures: Readonly<Record<string, Architecture>> = {
  digits: { side: 8, classes: 10, channels: [16, 32, 64], dropout: 0.2 },
  'fashion-mnist': { side: 28, classes: 10, channels: [16, 32, 64], dropout: 0.2 },
};

/** 3x3 convolutions with batch normalization and ReLU, poolings, one dense layer: [N, 1, side, side] to logits [N, classes]. */
export class Classifier extends nn.Module {
  readonly features: nn.Sequential;
  readonly head: nn.Sequential;

  constructor({ side, classes, channels, dropout }: Architecture) {
    super();
    const layers: nn.Module[] = [];
    let size = side;
    channels.forEach((out, i) => {
      layers.push(
        new nn.Conv2d(i === 0 ? 1 : channels[i - 1], out, 3, { padding: 1, bias: false }),
        new nn.BatchNorm2d(out),
        new nn.ReLU(),
      );
      if (i === 0) return;
      layers.push(new nn.MaxPool2d(2));
      size = Math.floor(size / 2);
    });
    this.features = new nn.Sequential(...layers);
    this.head = new nn.Sequential(
      new nn.Flatten(),
      new nn.Dropout(dropout),
      new nn.Linear(channels[channels.length - 1] * size * size, classes),
    );
  }
  override forward(x: Tensor): Tensor {
    return this.head.call(this.features.call(x));
  }
}
