/** The models of the reference runs, each with its optimizer, schedule and loss; the same as in tools/reference/families/parity.py. */
import {
  adaptiveAvgPool2d,
  add,
  arange,
  bceWithLogits,
  clipGradNorm,
  clipGradValue,
  concat,
  crossEntropy,
  diceLoss,
  exp,
  flatten,
  interpolate,
  mean,
  mul,
  nn,
  optim,
  relu,
  square,
  squeeze,
  stack,
  sub,
  sum,
  type Tensor,
  tensor,
} from '../../src/index.js';

export interface ParityModel {
  readonly net: nn.AnyModule;
  /** The loss of a batch. */
  readonly loss: (...batch: Tensor[]) => Tensor;
  readonly clip?: () => void;
  /** Makes the optimizer and its schedule, for the parameters as they are then. */
  readonly train: () => { readonly optimizer: optim.AnyOptimizer; readonly schedule?: optim.LRScheduler };
}

const totalSteps = 100;

function mlp(): ParityModel {
  const net = new nn.Sequential(
    new nn.Linear(12, 24),
    new nn.GELU(),
    new nn.Dropout(0),
    new nn.Linear(24, 24),
    new nn.Tanh(),
    new nn.Linear(24, 24),
    new nn.LeakyReLU(0.1),
    new nn.Linear(24, 5),
  );
  return {
    net,
    loss: (x, y) => crossEntropy(net.call(x), y),
    train: () => ({ optimizer: new optim.Adam(net.parameters(), { lr: 0.01, weightDecay: 1e-3 }) }),
  };
}

class Cnn extends nn.Module {
  features = new nn.Sequential(
    new nn.Conv2d(2, 6, 3, { padding: 1, bias: false }),
    new nn.BatchNorm2d(6),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Conv2d(6, 6, 3, { padding: 1, groups: 6, bias: false }),
    new nn.Conv2d(6, 8, 1, { bias: false }),
    new nn.BatchNorm2d(8, { momentum: 0.2 }),
    new nn.Hardswish(),
    new nn.AvgPool2d(3, { stride: 2, padding: 1 }),
  );
  classifier = new nn.Linear(8 * 3 * 3, 4);
  override forward(x: Tensor): Tensor {
    return this.classifier.call(flatten(this.features.call(x), 1));
  }
}

function cnn(): ParityModel {
  const net = new Cnn();
  return {
    net,
    loss: (x, y) => crossEntropy(net.call(x), y, { weight: tensor([1, 0.5, 2, 1.5], { dtype: x.dtype }), labelSmoothing: 0.1 }),
    train: () => {
      const optimizer = new optim.SGD(net.parameters(), { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 5e-4 });
      return { optimizer, schedule: new optim.CosineAnnealingLR(optimizer, { tMax: totalSteps, etaMin: 1e-3 }) };
    },
  };
}

class BasicBlock extends nn.Module {
  conv1: nn.Conv2d;
  bn1: nn.BatchNorm2d;
  conv2: nn.Conv2d;
  bn2: nn.BatchNorm2d;
  downsample: nn.Sequential | null = null;
  constructor(inputs: number, outputs: number, stride: number) {
    super();
    this.conv1 = new nn.Conv2d(inputs, outputs, 3, { stride, padding: 1, bias: false });
    this.bn1 = new nn.BatchNorm2d(outputs);
    this.conv2 = new nn.Conv2d(outputs, outputs, 3, { padding: 1, bias: false });
    this.bn2 = new nn.BatchNorm2d(outputs);
    if (stride > 1) {
      this.downsample = new nn.Sequential(new nn.Conv2d(inputs, outputs, 1, { stride, bias: false }), new nn.BatchNorm2d(outputs));
    }
  }
  override forward(x: Tensor): Tensor {
    const y = this.bn2.call(this.conv2.call(relu(this.bn1.call(this.conv1.call(x)))));
    return relu(add(y, this.downsample === null ? x : this.downsample.call(x)));
  }
}
class ResNet extends nn.Module {
  conv1 = new nn.Conv2d(3, 6, 3, { padding: 1, bias: false });
  bn1 = new nn.BatchNorm2d(6);
  layer1 = new nn.Sequential(new BasicBlock(6, 6, 1));
  layer2 = new nn.Sequential(new BasicBlock(6, 8, 2));
  fc = new nn.Linear(8, 4);
  override forward(x: Tensor): Tensor {
    const h = this.layer2.call(this.layer1.call(relu(this.bn1.call(this.conv1.call(x)))));
    return this.fc.call(flatten(adaptiveAvgPool2d(h, 1), 1));
  }
}

function resnet(): ParityModel {
  const net = new ResNet();
  return {
    net,
    loss: (x, y) => crossEntropy(net.call(x), y),
    clip: () => void clipGradNorm(net.parameters(), 0.5),
    train: () => {
      const optimizer = new optim.AdamW(optim.splitDecay(net, { weightDecay: 0.05 }), { lr: 1e-3 });
      return { optimizer, schedule: new optim.OneCycleLR(optimizer, { maxLr: [0.02, 0.01], totalSteps }) };
    },
  };
}

class LstmClassifier extends nn.Module<[tokens: Tensor, lengths: Tensor]> {
  embedding = new nn.Embedding(12, 6, { paddingIdx: 0 });
  lstm = new nn.LSTM(6, 7, { numLayers: 2, bidirectional: true, batchFirst: true });
  fc = new nn.Linear(14, 3);
  override forward(tokens: Tensor, lengths: Tensor): Tensor {
    const packed = nn.packPaddedSequence(this.embedding.call(tokens), lengths, { batchFirst: true });
    const [, [h]] = this.lstm.call(packed);
    return this.fc.call(concat([h.select(0, -2), h.select(0, -1)], 1));
  }
}

function lstm(): ParityModel {
  const net = new LstmClassifier();
  return {
    net,
    loss: (tokens, lengths, y) => crossEntropy(net.call(tokens, lengths), y),
    train: () => {
      const optimizer = new optim.RMSProp(net.parameters(), { lr: 5e-3, alpha: 0.9, momentum: 0.5, centered: true, eps: 1e-4 });
      return { optimizer, schedule: new optim.StepLR(optimizer, { stepSize: 30, gamma: 0.5 }) };
    },
  };
}

class Gpt extends nn.Module {
  tok = new nn.Embedding(13, 16);
  pos = new nn.Embedding(10, 16);
  blocks = new nn.TransformerEncoder(
    () => new nn.TransformerEncoderLayer(16, 4, { dimFeedforward: 32, dropout: 0, activation: 'gelu', batchFirst: true, normFirst: true }),
    2,
    { norm: new nn.LayerNorm(16) },
  );
  head = new nn.Linear(16, 13, { bias: false });
  constructor() {
    super();
    this.head.weight = this.tok.weight;
  }
  override forward(x: Tensor): Tensor {
    const h = add(this.tok.call(x), this.pos.call(arange(x.shape[1], { dtype: 'int64' })));
    return this.head.call(this.blocks.call(h, { isCausal: true }));
  }
}

function gpt(): ParityModel {
  const net = new Gpt();
  return {
    net,
    loss: (x, y) => crossEntropy(flatten(net.call(x), 0, 1), flatten(y), { ignoreIndex: -100 }),
    clip: () => void clipGradNorm(net.parameters(), 1),
    train: () => {
      const optimizer = new optim.AdamW(net.parameters(), { lr: 5e-3, betas: [0.9, 0.95], weightDecay: 0.1 });
      const warmup = 20;
      const schedule = new optim.LambdaLR(optimizer, (s) => (s < warmup ? (s + 1) / warmup : (warmup / (s + 1)) ** 0.5));
      return { optimizer, schedule };
    },
  };
}

class Recommender extends nn.Module<[history: Tensor, offsets: Tensor, tags: Tensor, weights: Tensor, dense: Tensor]> {
  history = new nn.EmbeddingBag(40, 8, { mode: 'mean', sparse: true });
  tags = new nn.EmbeddingBag(15, 8, { mode: 'sum', sparse: true });
  bottom = new nn.Linear(5, 8);
  top = new nn.Sequential(new nn.Linear(19, 16), new nn.ReLU(), new nn.Linear(16, 1));
  override forward(history: Tensor, offsets: Tensor, tags: Tensor, weights: Tensor, dense: Tensor): Tensor {
    const h = this.history.call(history, offsets);
    const t = this.tags.call(tags, null, weights);
    const d = this.bottom.call(dense);
    const crossed = stack([sum(mul(h, t), 1), sum(mul(h, d), 1), sum(mul(t, d), 1)], 1);
    return squeeze(this.top.call(concat([crossed, d, t], 1)), 1);
  }
}

function recommender(): ParityModel {
  const net = new Recommender();
  return {
    net,
    loss: (history, offsets, tags, weights, dense, y) => bceWithLogits(net.call(history, offsets, tags, weights, dense), y),
    train: () => ({ optimizer: new optim.Adagrad(net.parameters(), { lr: 0.2, lrDecay: 0.01, initialAccumulatorValue: 0.1 }) }),
  };
}

class UNet extends nn.Module {
  down1 = new nn.Sequential(new nn.Conv2d(1, 4, 3, { padding: 1, paddingMode: 'reflect' }), new nn.GroupNorm(2, 4), new nn.SiLU());
  down2 = new nn.Sequential(new nn.Conv2d(4, 8, 3, { stride: 2, padding: 1 }), new nn.GroupNorm(4, 8), new nn.SiLU());
  middle = new nn.Sequential(
    new nn.MaxPool2d(2),
    new nn.Conv2d(8, 8, 3, { padding: 2, dilation: 2 }),
    new nn.InstanceNorm2d(8, { affine: true }),
    new nn.Mish(),
  );
  up2 = new nn.ConvTranspose2d(8, 4, 3, { stride: 2, padding: 1, outputPadding: 1 });
  up1 = new nn.Sequential(new nn.Conv2d(12, 4, 3, { padding: 1 }), new nn.ReLU());
  head = new nn.Conv2d(8, 1, 1);
  override forward(x: Tensor): Tensor {
    const one = this.down1.call(x);
    const two = this.down2.call(one);
    const up = this.up1.call(concat([this.up2.call(this.middle.call(two)), two], 1));
    return this.head.call(concat([interpolate(up, { scaleFactor: 2, mode: 'bilinear', alignCorners: false }), one], 1));
  }
}

function unet(): ParityModel {
  const net = new UNet();
  return {
    net,
    loss: (x, y) => {
      const logits = net.call(x);
      return add(diceLoss(logits, y), mul(bceWithLogits(logits, y), 0.5));
    },
    train: () => {
      const optimizer = new optim.RAdam(net.parameters(), { lr: 0.02 });
      return { optimizer, schedule: new optim.PolynomialLR(optimizer, { totalSteps, power: 0.9 }) };
    },
  };
}

class Vae extends nn.Module<[x: Tensor, noise: Tensor], readonly [logits: Tensor, mean: Tensor, logVariance: Tensor]> {
  encoder = new nn.Sequential(
    new nn.Conv1d(1, 4, 3, { stride: 2, padding: 1 }),
    new nn.ELU(),
    new nn.Flatten(),
    new nn.LayerNorm(32),
    new nn.Linear(32, 12),
    new nn.Softplus(),
  );
  mean = new nn.Linear(12, 3);
  logVariance = new nn.Linear(12, 3);
  decoder = new nn.Sequential(
    new nn.Linear(3, 16),
    new nn.Sigmoid(),
    new nn.Unflatten(1, [4, 4]),
    new nn.ConvTranspose1d(4, 4, 4, { stride: 2, padding: 1 }),
    new nn.PReLU(4),
    new nn.ConvTranspose1d(4, 1, 4, { stride: 2, padding: 1 }),
  );
  override forward(x: Tensor, noise: Tensor): readonly [Tensor, Tensor, Tensor] {
    const h = this.encoder.call(x);
    const center = this.mean.call(h);
    const logVariance = this.logVariance.call(h);
    return [this.decoder.call(add(center, mul(exp(mul(logVariance, 0.5)), noise))), center, logVariance];
  }
}

function vae(): ParityModel {
  const net = new Vae();
  return {
    net,
    loss: (x, noise) => {
      const [logits, center, logVariance] = net.call(x, noise);
      const rest = bceWithLogits(logits, x, { reduction: 'sum' }).div(x.shape[0]);
      const divergence = sum(sub(sub(add(square(center), exp(logVariance)), 1), logVariance), 1);
      return add(rest, mul(mean(divergence), 0.5));
    },
    clip: () => clipGradValue(net.parameters(), 0.5),
    train: () => {
      const optimizer = new optim.Adam(net.parameters(), { lr: 0.02, amsgrad: true });
      return { optimizer, schedule: new optim.ExponentialLR(optimizer, { gamma: 0.99 }) };
    },
  };
}

export const models: Readonly<Record<string, () => ParityModel>> = { mlp, cnn, resnet, lstm, gpt, recommender, unet, vae };
