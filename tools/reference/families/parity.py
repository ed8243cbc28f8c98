"""Losses of eight small models over 100 steps of training, float64 and float32. Weights and batches are formulas over a counter-based
generator, which the tests compute as well; every number of a batch is exact or rounded once, so both sides start from the same bits."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.nn.utils.rnn import pack_padded_sequence
from torch.optim import lr_scheduler

from common import Family, cotangent, encode

STEPS = 100
WEIGHTS, BATCHES = 1, 2
MASK = np.uint64(0xFFFFFFFF)


def philox(count, seed, stream):
    """Word 0 of the first `count` blocks of Philox4x32-10 with the counter [i, 0, stream, 0] (Salmon et al., SC'11)."""
    x0 = np.arange(count, dtype=np.uint64)
    x1, x2, x3 = np.zeros_like(x0), np.full_like(x0, stream), np.zeros_like(x0)
    key0, key1 = seed, 0
    for _ in range(10):
        a, b = x0 * np.uint64(0xD2511F53), x2 * np.uint64(0xCD9E8D57)
        high0, low0, high1, low1 = a >> np.uint64(32), a & MASK, b >> np.uint64(32), b & MASK
        x0, x1, x2, x3 = high1 ^ x1 ^ np.uint64(key0), low1, high0 ^ x3 ^ np.uint64(key1), low0
        key0, key1 = (key0 + 0x9E3779B9) & 0xFFFFFFFF, (key1 + 0xBB67AE85) & 0xFFFFFFFF
    return x0


def unit(count, seed, stream):
    """Uniform over [0, 1) in steps of 2^-24, float64."""
    return (philox(count, seed, stream) >> np.uint64(8)).astype(np.float64) * 2.0**-24


def stream_of(name):
    """FNV-1a of a name: each parameter has a stream of its own, whatever the order."""
    h = 0x811C9DC5
    for byte in name.encode():
        h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
    return h


def initial(name, shape):
    """Matrices and kernels within 1 / sqrt(fan-in), scales of normalizations near 1, biases near 0."""
    values = 2 * unit(math.prod(shape), WEIGHTS, stream_of(name)) - 1
    if len(shape) > 1:
        values = values / math.sqrt(math.prod(shape[1:]))
    elif name.endswith("weight"):
        values = 1 + 0.1 * values
    else:
        values = 0.1 * values
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


class Batch:
    """What the batch of one step is made of: part after part, each from a stream of its own."""

    def __init__(self, step):
        self.next = step * 16

    def unit(self, *shape):
        self.next += 1
        return unit(math.prod(shape), BATCHES, self.next - 1).reshape(shape)

    def below(self, n, *shape):
        return np.floor(self.unit(*shape) * n).astype(np.int64)

    def signal(self, *shape):
        return 2 * self.unit(*shape) - 1

    def classes(self, n, samples, *shape, noise=1.5):
        """Labels, and for each the pattern of its class with noise."""
        labels = self.below(n, samples)
        patterns = (2 * unit(n * math.prod(shape), BATCHES, 0xFFFFFFFF) - 1).reshape(n, *shape)
        return patterns[labels] + noise * self.signal(samples, *shape), labels


class Mlp(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(12, 24), nn.GELU(), nn.Dropout(0.0), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 24), nn.LeakyReLU(0.1),
                         nn.Linear(24, 5))

    def train_with(self):
        self.optimizer = torch.optim.Adam(self.parameters(), lr=0.01, weight_decay=1e-3)

    def batch(self, b):
        return b.classes(5, 16, 12)

    def loss(self, x, y):
        return F.cross_entropy(self(x), y)


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False), nn.Conv2d(6, 8, 1, bias=False), nn.BatchNorm2d(8, momentum=0.2), nn.Hardswish(),
            nn.AvgPool2d(3, stride=2, padding=1))
        self.classifier = nn.Linear(8 * 3 * 3, 4)

    def train_with(self):
        self.optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
        self.schedule = lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=STEPS, eta_min=1e-3)

    def batch(self, b):
        return b.classes(4, 8, 2, 10, 10)

    def loss(self, x, y):
        weight = torch.tensor([1.0, 0.5, 2.0, 1.5], dtype=x.dtype)
        return F.cross_entropy(self.classifier(self.features(x).flatten(1)), y, weight=weight, label_smoothing=0.1)


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None if stride == 1 else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.layer1 = nn.Sequential(BasicBlock(6, 6, 1))
        self.layer2 = nn.Sequential(BasicBlock(6, 8, 2))
        self.fc = nn.Linear(8, 4)

    def train_with(self):
        groups = [[p for p in self.parameters() if p.ndim > 1], [p for p in self.parameters() if p.ndim == 1]]
        self.optimizer = torch.optim.AdamW([{"params": groups[0], "weight_decay": 0.05}, {"params": groups[1], "weight_decay": 0.0}],
                                           lr=1e-3)
        self.schedule = lr_scheduler.OneCycleLR(self.optimizer, max_lr=[0.02, 0.01], total_steps=STEPS)

    def batch(self, b):
        return b.classes(4, 8, 3, 8, 8)

    def loss(self, x, y):
        x = self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x)))))
        return F.cross_entropy(self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1)), y)

    def clip(self):
        clip_grad_norm_(self.parameters(), 0.5)


class LstmClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(12, 6, padding_idx=0)
        self.lstm = nn.LSTM(6, 7, num_layers=2, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(14, 3)

    def train_with(self):
        self.optimizer = torch.optim.RMSprop(self.parameters(), lr=5e-3, alpha=0.9, momentum=0.5, centered=True, eps=1e-4)
        self.schedule = lr_scheduler.StepLR(self.optimizer, step_size=30, gamma=0.5)

    def batch(self, b):
        labels = b.below(3, 8)
        tokens = np.where(b.unit(8, 9) < 0.3, labels[:, None] + 1, b.below(11, 8, 9) + 1)
        lengths = b.below(7, 8) + 3
        return np.where(np.arange(9) < lengths[:, None], tokens, 0), lengths, labels

    def loss(self, tokens, lengths, y):
        packed = pack_padded_sequence(self.embedding(tokens), lengths, batch_first=True, enforce_sorted=False)
        _, (h, _) = self.lstm(packed)
        return F.cross_entropy(self.fc(torch.cat([h[-2], h[-1]], 1)), y)


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok = nn.Embedding(13, 16)
        self.pos = nn.Embedding(10, 16)
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(16), enable_nested_tensor=False)
        self.head = nn.Linear(16, 13, bias=False)
        self.head.weight = self.tok.weight

    def train_with(self):
        self.optimizer = torch.optim.AdamW(self.parameters(), lr=5e-3, betas=(0.9, 0.95), weight_decay=0.1)
        warmup = 20
        self.schedule = lr_scheduler.LambdaLR(self.optimizer, lambda s: (s + 1) / warmup if s < warmup else (warmup / (s + 1)) ** 0.5)

    def batch(self, b):
        """Next is 3 x + 1, now and then a step further; some targets do not count."""
        tokens = np.empty((4, 11), dtype=np.int64)
        tokens[:, 0] = b.below(13, 4)
        further, ignored = b.unit(4, 11) < 0.2, b.unit(4, 10) < 0.15
        for i in range(1, 11):
            tokens[:, i] = (3 * tokens[:, i - 1] + 1 + further[:, i]) % 13
        return tokens[:, :-1], np.where(ignored, -100, tokens[:, 1:])

    def loss(self, x, y):
        mask = nn.Transformer.generate_square_subsequent_mask(10, dtype=self.tok.weight.dtype)
        h = self.tok(x) + self.pos(torch.arange(10))
        logits = self.head(self.blocks(h, mask=mask, is_causal=True))
        return F.cross_entropy(logits.flatten(0, 1), y.flatten(), ignore_index=-100)

    def clip(self):
        clip_grad_norm_(self.parameters(), 1.0)


class Recommender(nn.Module):
    def __init__(self):
        super().__init__()
        self.history = nn.EmbeddingBag(40, 8, mode="mean", sparse=True)
        self.tags = nn.EmbeddingBag(15, 8, mode="sum", sparse=True)
        self.bottom = nn.Linear(5, 8)
        self.top = nn.Sequential(nn.Linear(19, 16), nn.ReLU(), nn.Linear(16, 1))

    def train_with(self):
        self.optimizer = torch.optim.Adagrad(self.parameters(), lr=0.2, lr_decay=0.01, initial_accumulator_value=0.1)

    def batch(self, b):
        sizes = b.below(4, 16)
        offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        # As many places in every batch; the last bag takes what is left.
        history, tags, dense = b.below(40, 48), b.below(15, 16, 3), b.signal(16, 5)
        liked = dense[:, 0] + np.where(tags[:, 0] % 3 == 0, 1.0, 0.0) > 0.5
        return history, offsets, tags, b.unit(16, 3) + 0.5, dense, liked.astype(np.float64)

    def loss(self, history, offsets, tags, weights, dense, y):
        h, t, d = self.history(history, offsets), self.tags(tags, per_sample_weights=weights), self.bottom(dense)
        crossed = torch.stack([(h * t).sum(1), (h * d).sum(1), (t * d).sum(1)], 1)
        return F.binary_cross_entropy_with_logits(self.top(torch.cat([crossed, d, t], 1)).squeeze(1), y)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect"), nn.GroupNorm(2, 4), nn.SiLU())
        self.down2 = nn.Sequential(nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.GroupNorm(4, 8), nn.SiLU())
        self.middle = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=2, dilation=2), nn.InstanceNorm2d(8, affine=True), nn.Mish())
        self.up2 = nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1)
        self.up1 = nn.Sequential(nn.Conv2d(12, 4, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(8, 1, 1)

    def train_with(self):
        self.optimizer = torch.optim.RAdam(self.parameters(), lr=0.02)
        self.schedule = lr_scheduler.PolynomialLR(self.optimizer, total_iters=STEPS, power=0.9)

    def batch(self, b):
        row, column, radius = (v.reshape(4, 1, 1) for v in (b.below(12, 4), b.below(12, 4), b.below(12, 4) + 6))
        i, j = np.arange(12).reshape(1, 12, 1), np.arange(12).reshape(1, 1, 12)
        mask = (((i - row) ** 2 + (j - column) ** 2) < radius).astype(np.float64).reshape(4, 1, 12, 12)
        return mask + 0.75 * b.signal(4, 1, 12, 12), mask

    def loss(self, x, y):
        one = self.down1(x)
        two = self.down2(one)
        up = self.up1(torch.cat([self.up2(self.middle(two)), two], 1))
        logits = self.head(torch.cat([F.interpolate(up, scale_factor=2, mode="bilinear", align_corners=False), one], 1))
        p = torch.sigmoid(logits)
        both, total = (p * y).sum((2, 3)), p.sum((2, 3)) + y.sum((2, 3))
        return (1 - (2 * both + 1) / (total + 1)).mean() + 0.5 * F.binary_cross_entropy_with_logits(logits, y)


class Vae(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv1d(1, 4, 3, stride=2, padding=1), nn.ELU(), nn.Flatten(), nn.LayerNorm(32), nn.Linear(32, 12),
                                     nn.Softplus())
        self.mean = nn.Linear(12, 3)
        self.log_variance = nn.Linear(12, 3)
        self.decoder = nn.Sequential(nn.Linear(3, 16), nn.Sigmoid(), nn.Unflatten(1, (4, 4)), nn.ConvTranspose1d(4, 4, 4, stride=2, padding=1),
                                     nn.PReLU(4), nn.ConvTranspose1d(4, 1, 4, stride=2, padding=1))

    def train_with(self):
        self.optimizer = torch.optim.Adam(self.parameters(), lr=0.02, amsgrad=True)
        self.schedule = lr_scheduler.ExponentialLR(self.optimizer, gamma=0.99)

    def batch(self, b):
        """Bits of one of four patterns, and the noise: sums of four uniform numbers, which have variance 1 / 3."""
        patterns, _ = b.classes(4, 8, 1, 16, noise=0.5)
        noise = sum((b.signal(8, 3) for _ in range(4)), np.zeros((8, 3)))
        return (patterns > 0).astype(np.float64), noise * 0.75

    def loss(self, x, noise):
        h = self.encoder(x)
        mean, log_variance = self.mean(h), self.log_variance(h)
        logits = self.decoder(mean + torch.exp(0.5 * log_variance) * noise)
        rest = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / x.shape[0]
        return rest + 0.5 * (mean**2 + torch.exp(log_variance) - 1 - log_variance).sum(1).mean()

    def clip(self):
        clip_grad_value_(self.parameters(), 0.5)


MODELS = {"mlp": Mlp, "cnn": Cnn, "resnet": ResNet, "lstm": LstmClassifier, "gpt": Gpt, "recommender": Recommender, "unet": UNet, "vae": Vae}


def train(name, dtype):
    """The losses of all steps, and the model after them."""
    model = MODELS[name]().to(dtype)
    shapes, tied, known = {}, {}, {}
    with torch.no_grad():
        for key, t in model.state_dict().items():
            shapes[key] = list(t.shape)
            if t.data_ptr() in known and t.numel() > 0:
                tied[key] = known[t.data_ptr()]
            else:
                known[t.data_ptr()] = key
                if t.dtype.is_floating_point and "running_" not in key:
                    t.copy_(initial(key, shapes[key]))
    model.schedule = None
    model.train_with()
    for group in model.optimizer.param_groups:
        group["foreach"] = False
    losses = []
    for step in range(STEPS):
        inputs = []
        for part in model.batch(Batch(step)):
            t = torch.from_numpy(np.ascontiguousarray(part))
            inputs.append(t.to(torch.float32).to(dtype) if t.dtype.is_floating_point else t)
        model.optimizer.zero_grad()
        loss = model.loss(*inputs)
        loss.backward()
        if hasattr(model, "clip"):
            model.clip()
        model.optimizer.step()
        if model.schedule is not None:
            model.schedule.step()
        losses.append(loss.item())
    return losses, model, shapes, tied


class Parity(Family):
    def model(self, name):
        losses, model, shapes, tied = train(name, torch.float64)
        single, *_ = train(name, torch.float32)
        after = {}
        for key, t in model.state_dict().items():
            if t.dtype.is_floating_point and key not in tied:
                flat = t.detach().flatten()
                after[key] = [flat[0].item(), flat[len(flat) // 2].item(), flat[-1].item(), (flat * cotangent(flat)).sum().item()]
        self.cases.append(encode({
            "op": name,
            "state": shapes,
            "tied": tied,
            "losses": losses,
            "losses32": [float(str(np.float32(v))) for v in single],
            "after": after,
        }))


def parity():
    family = Parity("parity", 0)
    for name in MODELS:
        family.model(name)
    return family


FAMILIES = [parity]
