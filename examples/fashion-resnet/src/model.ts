/** A compact residual network (He et al., arXiv:1512.03385) for small grey pictures. */
import { nn, type Tensor } from 'trireme';

export interface Architecture {
  readonly classes: number;
  /** Channels of each stage; every stage but the first halves the side. */
  readonly widths: readonly number[];
  /** Residual blocks of each stage. */
  readonly blocks: number;
  readonly dropout: number;
}

export const architecture: Architecture = { classes: 10, widths: [32, 64, 128], blocks: 1, dropout: 0.1 };

const convolution = (from: number, to: number, size: number, stride: number): nn.Conv2d =>
  new nn.Conv2d(from, to, size, { stride, padding: (size - 1) / 2, bias: false });

/** Two 3x3 convolutions and a way around them, which is a 1x1 convolution where the shape changes. */
class Block extends nn.Module {
  readonly first: nn.Sequential;
  readonly second: nn.Sequential;
  readonly shortcut: nn.Module;

  constructor(from: number, to: number, stride: number) {
    super();
    this.first = new nn.Sequential(convolution(from, to, 3, stride), new nn.BatchNorm2d(to), new nn.ReLU());
    this.second = new nn.Sequential(convolution(to, to, 3, 1), new nn.BatchNorm2d(to));
    this.shortcut =
      from === to && stride === 1 ? new nn.Identity() : new nn.Sequential(convolution(from, to, 1, stride), new nn.BatchNorm2d(to));
  }
  override forward(x: Tensor): Tensor {
    return this.second.call(this.first.call(x)).add(this.shortcut.call(x)).relu();
  }
}

/** [N, 1, H, W] to logits [N, classes]. The first stage works at the pictures' full resolution. */
export class ResNet extends nn.Module {
  readonly stem: nn.Sequential;
  readonly stages: nn.Sequential;
  readonly head: nn.Sequential;

  constructor({ classes, widths, blocks, dropout }: Architecture) {
    super();
    this.stem = new nn.Sequential(convolution(1, widths[0], 3, 1), new nn.BatchNorm2d(widths[0]), new nn.ReLU());
    this.stages = new nn.Sequential(
      ...widths.flatMap((width, stage) =>
        Array.from({ length: blocks }, (_, block) =>
          block > 0 ? new Block(width, width, 1) : new Block(stage === 0 ? width : widths[stage - 1], width, stage === 0 ? 1 : 2),
        ),
      ),
    );
    this.head = new nn.Sequential(
      new nn.AdaptiveAvgPool2d(1),
      new nn.Flatten(),
      new nn.Dropout(dropout),
      new nn.Linear(widths[widths.length - 1], classes),
    );
  }
  override forward(x: Tensor): Tensor {
    return this.head.call(this.stages.call(this.stem.call(x)));
  }
}
