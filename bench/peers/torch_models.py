"""The models in PyTorch, as its users write them, with the weights of the other sides."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def tensor(array):
    """Numbers as they are; in double precision where that is the default (for expected values)."""
    t = torch.from_numpy(np.ascontiguousarray(array))
    return t.to(torch.get_default_dtype()) if t.is_floating_point() else t


def parameter(array):
    return nn.Parameter(tensor(array))


class Weights:
    """Hands out the parameters in the order of their seeds."""

    def __init__(self, params):
        self.left = iter(params.values())

    def next(self):
        return next(self.left)

    def linear(self, bias=True):
        """From weights [in, out]."""
        weight = self.next()
        layer = nn.Linear(*weight.shape, bias=bias, device="meta")
        layer.weight = parameter(weight.T)
        if bias:
            layer.bias = parameter(self.next())
        return layer

    def conv(self, bias, **kwargs):
        weight = self.next()
        outputs, inputs, kernel, _ = weight.shape
        layer = nn.Conv2d(inputs * kwargs.get("groups", 1), outputs, kernel, bias=bias, device="meta", **kwargs)
        layer.weight = parameter(weight)
        if bias:
            layer.bias = parameter(self.next())
        return layer

    def conv_bn(self, eps, **kwargs):
        conv = self.conv(False, **kwargs)
        norm = nn.BatchNorm2d(conv.out_channels, eps=eps)
        norm.weight, norm.bias = parameter(self.next()), parameter(self.next())
        norm.running_mean, norm.running_var = tensor(self.next()), tensor(self.next())
        return nn.Sequential(conv, norm)

    def layer_norm(self, eps=1e-5):
        scale = self.next()
        layer = nn.LayerNorm(scale.shape[0], eps=eps)
        layer.weight, layer.bias = parameter(scale), parameter(self.next())
        return layer

    def embedding(self, sparse=False):
        table = self.next()
        layer = nn.Embedding(*table.shape, device="meta", sparse=sparse)
        layer.weight = parameter(table)
        return layer


def mlp(params):
    w = Weights(params)
    return nn.Sequential(w.linear(), nn.ReLU(), w.linear(), nn.ReLU(), w.linear())


def cnn(params):
    w = Weights(params)
    return nn.Sequential(
        w.conv(True), nn.ReLU(), w.conv(True), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), w.linear(), nn.ReLU(), w.linear()
    )


class Attention(nn.Module):
    def __init__(self, heads, causal, fused):
        super().__init__()
        self.heads, self.causal, self.fused = heads, causal, fused

    def forward(self, q, k, v):
        batch, length, dim = q.shape
        q, k, v = (t.view(batch, length, self.heads, dim // self.heads).transpose(1, 2) for t in (q, k, v))
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        else:
            scores = q @ k.transpose(2, 3) * (dim // self.heads) ** -0.5
            if self.causal:
                scores = scores.masked_fill(torch.ones(length, length, dtype=torch.bool).triu(1), float("-inf"))
            y = torch.softmax(scores, -1) @ v
        return y.transpose(1, 2).reshape(batch, length, dim)


class GPTLayer(nn.Module):
    def __init__(self, w, heads, fused):
        super().__init__()
        self.ln1, self.qkv, self.out = w.layer_norm(), w.linear(), w.linear()
        self.ln2, self.up, self.down = w.layer_norm(), w.linear(), w.linear()
        self.attention = Attention(heads, True, fused)

    def forward(self, x):
        x = x + self.out(self.attention(*self.qkv(self.ln1(x)).chunk(3, -1)))
        return x + self.down(F.gelu(self.up(self.ln2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, params, size, fused):
        super().__init__()
        w = Weights(params)
        self.token = w.embedding()
        self.position = parameter(w.next())
        self.layers = nn.ModuleList(GPTLayer(w, size["heads"], fused) for _ in range(size["layers"]))
        self.ln, self.head = w.layer_norm(), w.linear(bias=False)

    def forward(self, ids):
        x = self.token(ids) + self.position
        for layer in self.layers:
            x = layer(x)
        return self.head(self.ln(x)).flatten(0, 1)


class LSTM(nn.Module):
    """One bias: the second one of nn.LSTM stays 0."""

    def __init__(self, params, size, cells):
        super().__init__()
        w = Weights(params)
        self.cells, self.hidden = cells, size["hidden"]
        self.lstm = nn.LSTM(size["inputs"], size["hidden"], batch_first=True)
        self.lstm.weight_ih_l0 = parameter(w.next().T)
        self.lstm.weight_hh_l0 = parameter(w.next().T)
        self.lstm.bias_ih_l0 = parameter(w.next())
        self.lstm.bias_hh_l0 = nn.Parameter(torch.zeros(4 * size["hidden"]), requires_grad=False)
        self.dense = w.linear()

    def forward(self, x):
        if not self.cells:
            _, (h, _) = self.lstm(x)
            return self.dense(h[0])
        gates = F.linear(x, self.lstm.weight_ih_l0, self.lstm.bias_ih_l0)
        h = c = torch.zeros(x.shape[0], self.hidden)
        for t in range(x.shape[1]):
            i, f, g, o = (gates[:, t] + h @ self.lstm.weight_hh_l0.T).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return self.dense(h)


class Recommender(nn.Module):
    """`head` is apart so that it can be compiled without the lookup, whose sparse gradient torch.compile does not take."""

    def __init__(self, params, sparse):
        super().__init__()
        w = Weights(params)
        self.table = w.embedding(sparse=sparse)
        self.head = nn.Sequential(w.linear(), nn.ReLU(), w.linear())

    def forward(self, ids):
        return self.head(self.table(ids).flatten(1))


class Residual(nn.Module):
    def __init__(self, w, block, eps):
        super().__init__()
        self.conv1 = w.conv_bn(eps, stride=block["stride"], padding=1)
        self.conv2 = w.conv_bn(eps, padding=1)
        self.shortcut = w.conv_bn(eps, stride=block["stride"]) if block["shortcut"] else nn.Identity()

    def forward(self, x):
        return F.relu(self.conv2(F.relu(self.conv1(x), inplace=True)) + self.shortcut(x), inplace=True)


def resnet18(params, size):
    w = Weights(params)
    return nn.Sequential(
        w.conv_bn(size["eps"], stride=2, padding=3),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        *(Residual(w, block, size["eps"]) for block in size["blocks"]),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        w.linear(),
    )


class Inverted(nn.Module):
    def __init__(self, w, block, eps):
        super().__init__()
        hidden = block["hidden"]
        widened = hidden != block["inputs"]
        self.body = nn.Sequential(
            *((w.conv_bn(eps), nn.ReLU6(inplace=True)) if widened else ()),
            w.conv_bn(eps, stride=block["stride"], padding=1, groups=hidden),
            nn.ReLU6(inplace=True),
            w.conv_bn(eps),
        )
        self.residual = block["stride"] == 1 and block["inputs"] == block["outputs"]

    def forward(self, x):
        return x + self.body(x) if self.residual else self.body(x)


def mobilenet(params, size):
    w = Weights(params)
    return nn.Sequential(
        w.conv_bn(size["eps"], stride=2, padding=1),
        nn.ReLU6(inplace=True),
        *(Inverted(w, block, size["eps"]) for block in size["blocks"]),
        w.conv_bn(size["eps"]),
        nn.ReLU6(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        w.linear(),
    )


class BertLayer(nn.Module):
    def __init__(self, w, size):
        super().__init__()
        self.q, self.k, self.v, self.out = w.linear(), w.linear(), w.linear(), w.linear()
        self.ln1, self.up, self.down, self.ln2 = w.layer_norm(size["eps"]), w.linear(), w.linear(), w.layer_norm(size["eps"])
        self.attention = Attention(size["heads"], False, True)

    def forward(self, x):
        x = self.ln1(x + self.out(self.attention(self.q(x), self.k(x), self.v(x))))
        return self.ln2(x + self.down(F.gelu(self.up(x))))


class Bert(nn.Module):
    def __init__(self, params, size):
        super().__init__()
        w = Weights(params)
        self.token, self.position, self.kind = w.embedding(), w.embedding(), w.embedding()
        self.ln = w.layer_norm(size["eps"])
        self.layers = nn.Sequential(*(BertLayer(w, size) for _ in range(size["layers"])))
        self.register_buffer("positions", torch.arange(size["length"]))
        self.register_buffer("kinds", torch.zeros(size["length"], dtype=torch.int64))

    def forward(self, ids):
        return self.layers(self.ln(self.token(ids) + self.position(self.positions) + self.kind(self.kinds)))
