"""The models in PaddlePaddle, as its users write them, with the weights of the other sides."""

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn


def fill(parameter, array):
    parameter.set_value(np.ascontiguousarray(array))
    return parameter


class Weights:
    """Hands out the parameters in the order of their seeds. A dense weight is [in, out] here too."""

    def __init__(self, params):
        self.left = iter(params.values())

    def next(self):
        return next(self.left)

    def linear(self, bias=True):
        weight = self.next()
        layer = nn.Linear(*weight.shape, bias_attr=None if bias else False)
        fill(layer.weight, weight)
        if bias:
            fill(layer.bias, self.next())
        return layer

    def conv(self, bias, **kwargs):
        weight = self.next()
        outputs, inputs, kernel, _ = weight.shape
        layer = nn.Conv2D(inputs * kwargs.get("groups", 1), outputs, kernel, bias_attr=None if bias else False, **kwargs)
        fill(layer.weight, weight)
        if bias:
            fill(layer.bias, self.next())
        return layer

    def conv_bn(self, eps, **kwargs):
        conv = self.conv(False, **kwargs)
        # Its momentum is the share of the old statistics.
        norm = nn.BatchNorm2D(conv.weight.shape[0], momentum=0.9, epsilon=eps)
        for target in (norm.weight, norm.bias, norm._mean, norm._variance):
            fill(target, self.next())
        return nn.Sequential(conv, norm)

    def layer_norm(self, eps=1e-5):
        scale = self.next()
        layer = nn.LayerNorm(scale.shape[0], epsilon=eps)
        fill(layer.weight, scale)
        fill(layer.bias, self.next())
        return layer

    def embedding(self, sparse=False):
        table = self.next()
        layer = nn.Embedding(*table.shape, sparse=sparse)
        fill(layer.weight, table)
        return layer


def mlp(params):
    w = Weights(params)
    return nn.Sequential(w.linear(), nn.ReLU(), w.linear(), nn.ReLU(), w.linear())


def cnn(params):
    w = Weights(params)
    return nn.Sequential(
        w.conv(True), nn.ReLU(), w.conv(True), nn.ReLU(), nn.MaxPool2D(2), nn.Flatten(), w.linear(), nn.ReLU(), w.linear()
    )


class Attention(nn.Layer):
    def __init__(self, heads, length, causal):
        super().__init__()
        self.heads = heads
        mask = np.triu(np.full((length, length), -1e9, dtype=np.float32), 1)
        self.mask = paddle.to_tensor(mask) if causal else None

    def forward(self, q, k, v):
        batch, length, dim = q.shape
        width = dim // self.heads
        q, k, v = (t.reshape([batch, length, self.heads, width]).transpose([0, 2, 1, 3]) for t in (q, k, v))
        scores = paddle.matmul(q, k, transpose_y=True) * width**-0.5
        if self.mask is not None:
            scores = scores + self.mask
        y = paddle.matmul(F.softmax(scores, -1), v)
        return y.transpose([0, 2, 1, 3]).reshape([batch, length, dim])


class GPTLayer(nn.Layer):
    def __init__(self, w, size):
        super().__init__()
        self.ln1, self.qkv, self.out = w.layer_norm(), w.linear(), w.linear()
        self.ln2, self.up, self.down = w.layer_norm(), w.linear(), w.linear()
        self.attention = Attention(size["heads"], size["length"], True)

    def forward(self, x):
        x = x + self.out(self.attention(*self.qkv(self.ln1(x)).chunk(3, -1)))
        return x + self.down(F.gelu(self.up(self.ln2(x)), approximate=True))


class GPT(nn.Layer):
    def __init__(self, params, size):
        super().__init__()
        w = Weights(params)
        self.token = w.embedding()
        position = w.next()
        self.position = self.create_parameter(list(position.shape))
        fill(self.position, position)
        self.layers = nn.LayerList([GPTLayer(w, size) for _ in range(size["layers"])])
        self.ln, self.head = w.layer_norm(), w.linear(bias=False)

    def forward(self, ids):
        x = self.token(ids) + self.position
        for layer in self.layers:
            x = layer(x)
        return self.head(self.ln(x)).flatten(0, 1)


class LSTM(nn.Layer):
    """One bias: the second one of nn.LSTM stays 0, left out of the update (its kernel wants a place for the gradient)."""

    def __init__(self, params, size):
        super().__init__()
        w = Weights(params)
        self.lstm = nn.LSTM(size["inputs"], size["hidden"])
        cell = self.lstm[0].cell
        fill(cell.weight_ih, w.next().T)
        fill(cell.weight_hh, w.next().T)
        fill(cell.bias_ih, w.next())
        fill(cell.bias_hh, np.zeros(4 * size["hidden"], dtype=np.float32))
        self.dense = w.linear()
        self.trained = [p for p in self.parameters() if p is not cell.bias_hh]

    def forward(self, x):
        _, (h, _) = self.lstm(x)
        return self.dense(h[0])


class Recommender(nn.Layer):
    def __init__(self, params, sparse):
        super().__init__()
        w = Weights(params)
        self.table = w.embedding(sparse=sparse)
        self.head = nn.Sequential(w.linear(), nn.ReLU(), w.linear())

    def forward(self, ids):
        return self.head(self.table(ids).flatten(1))


class Residual(nn.Layer):
    def __init__(self, w, block, eps):
        super().__init__()
        self.conv1 = w.conv_bn(eps, stride=block["stride"], padding=1)
        self.conv2 = w.conv_bn(eps, padding=1)
        self.shortcut = w.conv_bn(eps, stride=block["stride"]) if block["shortcut"] else nn.Identity()

    def forward(self, x):
        return F.relu(self.conv2(F.relu(self.conv1(x))) + self.shortcut(x))


def resnet18(params, size):
    w = Weights(params)
    return nn.Sequential(
        w.conv_bn(size["eps"], stride=2, padding=3),
        nn.ReLU(),
        nn.MaxPool2D(3, 2, 1),
        *(Residual(w, block, size["eps"]) for block in size["blocks"]),
        nn.AdaptiveAvgPool2D(1),
        nn.Flatten(),
        w.linear(),
    )


class Inverted(nn.Layer):
    def __init__(self, w, block, eps):
        super().__init__()
        hidden = block["hidden"]
        widened = hidden != block["inputs"]
        self.body = nn.Sequential(
            *((w.conv_bn(eps), nn.ReLU6()) if widened else ()),
            w.conv_bn(eps, stride=block["stride"], padding=1, groups=hidden),
            nn.ReLU6(),
            w.conv_bn(eps),
        )
        self.residual = block["stride"] == 1 and block["inputs"] == block["outputs"]

    def forward(self, x):
        return x + self.body(x) if self.residual else self.body(x)


def mobilenet(params, size):
    w = Weights(params)
    return nn.Sequential(
        w.conv_bn(size["eps"], stride=2, padding=1),
        nn.ReLU6(),
        *(Inverted(w, block, size["eps"]) for block in size["blocks"]),
        w.conv_bn(size["eps"]),
        nn.ReLU6(),
        nn.AdaptiveAvgPool2D(1),
        nn.Flatten(),
        w.linear(),
    )


class BertLayer(nn.Layer):
    def __init__(self, w, size):
        super().__init__()
        self.q, self.k, self.v, self.out = w.linear(), w.linear(), w.linear(), w.linear()
        self.ln1, self.up, self.down, self.ln2 = w.layer_norm(size["eps"]), w.linear(), w.linear(), w.layer_norm(size["eps"])
        self.attention = Attention(size["heads"], size["length"], False)

    def forward(self, x):
        x = self.ln1(x + self.out(self.attention(self.q(x), self.k(x), self.v(x))))
        return self.ln2(x + self.down(F.gelu(self.up(x))))


class Bert(nn.Layer):
    def __init__(self, params, size):
        super().__init__()
        w = Weights(params)
        self.token, self.position, self.kind = w.embedding(), w.embedding(), w.embedding()
        self.ln = w.layer_norm(size["eps"])
        self.layers = nn.Sequential(*(BertLayer(w, size) for _ in range(size["layers"])))
        self.positions = paddle.arange(size["length"])
        self.kinds = paddle.zeros([size["length"]], dtype="int64")

    def forward(self, ids):
        return self.layers(self.ln(self.token(ids) + self.position(self.positions) + self.kind(self.kinds)))
