/** A one-stage detector without anchors: a residual backbone, two levels joined both ways, one head for both. */

import { concat, interpolate, nn, type Tensor, tensor } from 'trireme';
import { bccdClassNames } from 'trireme/data';

export interface Architecture {
  /** Pixels of the input; multiples of 16. */
  readonly width: number;
  readonly height: number;
  readonly classNames: readonly string[];
  /** Channels at strides 2, 4, 8 and 16. */
  readonly channels: readonly [number, number, number, number];
  /** Residual blocks at strides 4, 8 and 16. */
  readonly blocks: readonly [number, number, number];
  /** Channels of the joined levels and of the head. */
  readonly neck: number;
}

export const architecture: Architecture = {
  width: 320,
  height: 240,
  classNames: bccdClassNames,
  channels: [16, 32, 64, 128],
  blocks: [1, 2, 2],
  neck: 64,
};

export const strides = [8, 16] as const;

/** Cells of each level, in the order of the network's outputs. */
export function gridOf({
  width,
  height,
}: Pick<Architecture, 'width' | 'height'>): { readonly columns: number; readonly rows: number; readonly stride: number }[] {
  return strides.map((stride) => ({ columns: width / stride, rows: height / stride, stride }));
}

class ConvUnit extends nn.Module {
  readonly conv: nn.Conv2d;
  readonly norm: nn.BatchNorm2d;
  private readonly active: boolean;
  constructor(inChannels: number, outChannels: number, kernel: 1 | 3, stride = 1, active = true) {
    super();
    this.conv = new nn.Conv2d(inChannels, outChannels, kernel, { stride, padding: (kernel - 1) / 2, bias: false });
    nn.init.kaimingNormal(this.conv.weight, { mode: 'fanOut', nonlinearity: 'relu' });
    this.norm = new nn.BatchNorm2d(outChannels);
    this.active = active;
  }
  override forward(x: Tensor): Tensor {
    const y = this.norm.call(this.conv.call(x));
    return this.active ? y.relu() : y;
  }
}

class ResidualBlock extends nn.Module {
  readonly first: ConvUnit;
  readonly second: ConvUnit;
  constructor(channels: number) {
    super();
    this.first = new ConvUnit(channels, channels, 3);
    this.second = new ConvUnit(channels, channels, 3, 1, false);
    // Each block begins as the identity (Goyal et al., arXiv:1706.02677, section 5.1).
    if (this.second.norm.weight !== null) nn.init.zeros(this.second.norm.weight);
  }
  override forward(x: Tensor): Tensor {
    return x.add(this.second.call(this.first.call(x))).relu();
  }
}

function stage(inChannels: number, outChannels: number, blocks: number): nn.Sequential {
  return new nn.Sequential(
    new ConvUnit(inChannels, outChannels, 3, 2),
    ...Array.from({ length: blocks }, () => new ResidualBlock(outChannels)),
  );
}

/** What the detector says of every cell of both levels, level after level, row after row. */
export interface Detections {
  /** [N, cells, classes]: before the sigmoid. */
  readonly logits: Tensor;
  /** [N, cells, 4]: left, top, right, bottom in pixels of the input. */
  readonly boxes: Tensor;
}

class Head extends nn.Module<[Tensor], readonly [Tensor, Tensor]> {
  readonly classTower: nn.Sequential;
  readonly boxTower: nn.Sequential;
  readonly classes: nn.Conv2d;
  readonly sides: nn.Conv2d;
  constructor(channels: number, classes: number) {
    super();
    this.classTower = new nn.Sequential(new ConvUnit(channels, channels, 3), new ConvUnit(channels, channels, 3));
    this.boxTower = new nn.Sequential(new ConvUnit(channels, channels, 3), new ConvUnit(channels, channels, 3));
    this.classes = new nn.Conv2d(channels, classes, 1);
    this.sides = new nn.Conv2d(channels, 4, 1);
    for (const layer of [this.classes, this.sides]) nn.init.normal(layer.weight, 0, 0.01);
    // At first everything is background with 99 % (Lin et al., arXiv:1708.02002, section 4.1).
    if (this.classes.bias !== null) nn.init.constant(this.classes.bias, -Math.log(99));
    if (this.sides.bias !== null) nn.init.zeros(this.sides.bias);
  }
  /** [N, classes, H, W] and [N, 4, H, W]. */
  override forward(x: Tensor): readonly [Tensor, Tensor] {
    return [this.classes.call(this.classTower.call(x)), this.sides.call(this.boxTower.call(x))];
  }
}

/** Pictures uint8 [N, H, W, 3] in, {@link Detections} out. */
export class CellDetector extends nn.Module<[Tensor], Detections> {
  readonly architecture: Architecture;
  readonly stem: ConvUnit;
  readonly stage4: nn.Sequential;
  readonly stage8: nn.Sequential;
  readonly stage16: nn.Sequential;
  readonly lateral8: ConvUnit;
  readonly lateral16: ConvUnit;
  readonly join8: ConvUnit;
  readonly down: ConvUnit;
  readonly join16: ConvUnit;
  readonly heads: nn.ModuleList<Head>;
  /** Not parameters: centres of the cells, [cells, 1], and the length that a side of 0 stands for. */
  private readonly centreX: Tensor;
  private readonly centreY: Tensor;
  private readonly unit: Tensor;

  constructor(settings: Architecture = architecture) {
    super();
    this.architecture = settings;
    const { channels, blocks, neck, classNames } = settings;
    this.stem = new ConvUnit(3, channels[0], 3, 2);
    this.stage4 = stage(channels[0], channels[1], blocks[0]);
    this.stage8 = stage(channels[1], channels[2], blocks[1]);
    this.stage16 = stage(channels[2], channels[3], blocks[2]);
    this.lateral8 = new ConvUnit(channels[2], neck, 1);
    this.lateral16 = new ConvUnit(channels[3], neck, 1);
    this.join8 = new ConvUnit(neck, neck, 3);
    this.down = new ConvUnit(neck, neck, 3, 2);
    this.join16 = new ConvUnit(neck, neck, 3);
    this.heads = new nn.ModuleList(strides.map(() => new Head(neck, classNames.length)));
    const cells = gridOf(settings).flatMap(({ columns, rows, stride }) =>
      Array.from({ length: columns * rows }, (_, i) => [
        ((i % columns) + 0.5) * stride,
        (Math.floor(i / columns) + 0.5) * stride,
        3 * stride,
      ]),
    );
    const column = (k: number): Tensor =>
      nn.buffer(
        tensor(
          Float32Array.from(cells, (cell) => cell[k]),
          { shape: [cells.length] },
        ),
      );
    this.centreX = column(0);
    this.centreY = column(1);
    this.unit = column(2);
  }

  override forward(pictures: Tensor): Detections {
    const x = pictures.permute([0, 3, 1, 2]).float().div(64).sub(2.5);
    const at8 = this.stage8.call(this.stage4.call(this.stem.call(x)));
    const at16 = this.stage16.call(at8);
    const top = this.lateral16.call(at16);
    const fine = this.join8.call(this.lateral8.call(at8).add(interpolate(top, { scaleFactor: 2 })));
    const coarse = this.join16.call(top.add(this.down.call(fine)));
    const levels = [fine, coarse].map((level, k) =>
      this.heads
        .at(k)
        .call(level)
        .map((map) => map.reshape(map.shape[0], map.shape[1], -1)),
    );
    const logits = concat(
      levels.map(([classes]) => classes),
      2,
    ).permute([0, 2, 1]);
    const sides = concat(
      levels.map(([, lengths]) => lengths),
      2,
    ).permute([0, 2, 1]);
    return { logits, boxes: this.decode(sides) };
  }

  /** Distances of the four sides from the centre of the cell, as powers of e. */
  private decode(sides: Tensor): Tensor {
    const length = sides.clamp({ min: -6, max: 3 }).exp();
    const [left, top, right, bottom] = [0, 1, 2, 3].map((k) => length.select(2, k).mul(this.unit));
    const { centreX, centreY } = this;
    return concat(
      [centreX.sub(left), centreY.sub(top), centreX.add(right), centreY.add(bottom)].map((t) => t.unsqueeze(2)),
      2,
    );
  }
}
