"""PaddlePaddle on the CPU: --mode dynamic, or static (paddle.jit.to_static)."""

import functools
import os

import numpy as np

import paddle
import paddle.nn.functional as F
import paddle_models as models
from serve import Prepared, Refused, fastest, options, parameters, rint, rnd, serve, summaries, uniform

args = options(mode="dynamic", threads=1)
paddle.set_device("cpu")
STATIC = args.mode == "static"


def static(function):
    return paddle.jit.to_static(function, full_graph=True) if STATIC else function


def tensors(*arrays):
    return [paddle.to_tensor(np.ascontiguousarray(a)) for a in arrays]


def backends(make, *ways):
    """Its own kernels (with MKL), and those of oneDNN, which to_static does not run; either with each of the ways."""

    def with_flag(on, *way):
        paddle.set_flags({"FLAGS_use_onednn": on, "FLAGS_use_mkldnn": on})
        prepared = make(*way)
        call = prepared.call

        def flagged():
            # The flag counts when an operation runs, and other ways are tried in between.
            paddle.set_flags({"FLAGS_use_onednn": on, "FLAGS_use_mkldnn": on})
            prepared.call = call
            return call()

        prepared.call = flagged
        return prepared

    names = {"own kernels": False} if STATIC else {"own kernels": False, "oneDNN": True}
    return fastest({f"{n}{label}": functools.partial(with_flag, on, *way) for n, on in names.items() for label, way in ways or [("", ())]})


def trainer(net, loss, optimizer, x, y):
    # to_static reads the source of a function, so none of those that it is given can be a lambda.
    def objective(x, y):
        return loss(net(x), y)

    forward = static(objective)

    def call():
        value = forward(x, y)
        value.backward()
        optimizer.step()
        optimizer.clear_grad()
        return float(value)

    return Prepared(call)


def adam(spec, net, decay=False):
    size = spec["adam"]
    kind = functools.partial(paddle.optimizer.AdamW, weight_decay=size["weightDecay"]) if decay else paddle.optimizer.Adam
    trained = getattr(net, "trained", None) or net.parameters()
    return kind(size["lr"], size["beta1"], size["beta2"], size["eps"], parameters=trained)


def mlp(spec):
    x, y = tensors(uniform(1, spec["mlp"]["batch"], 784), rint(2, spec["mlp"]["batch"], 10))

    def make():
        net = models.mlp(parameters(spec))
        return trainer(net, F.cross_entropy, adam(spec, net), x, y)

    return make() if spec["workload"]["kind"] == "startup" else backends(make)


def cnn(spec):
    size = spec["cnn"]
    x, y = tensors(uniform(1, size["batch"], 1, size["side"], size["side"]), rint(2, size["batch"], size["classes"]))

    def make():
        net = models.cnn(parameters(spec))
        return trainer(net, F.cross_entropy, adam(spec, net), x, y)

    return backends(make)


def gpt(spec):
    size = spec["gpt"]
    shape = (size["batch"], size["length"])
    ids, y = tensors(rint(1, shape[0] * shape[1], size["vocab"]).reshape(shape), rint(2, shape[0] * shape[1], size["vocab"]))

    def make():
        net = models.GPT(parameters(spec), size)
        return trainer(net, F.cross_entropy, adam(spec, net, decay=True), ids, y)

    return backends(make)


def lstm(spec):
    size = spec["lstm"]
    x, y = tensors(uniform(1, size["batch"], size["length"], size["inputs"]), rint(2, size["batch"], size["classes"]))

    def make():
        net = models.LSTM(parameters(spec), size)
        return trainer(net, F.cross_entropy, adam(spec, net), x, y)

    return backends(make)


def recommender(spec):
    size = spec["embedding"]
    ids = rint(1, size["batch"] * size["lookups"], size["rows"]).reshape(size["batch"], -1)
    x, y = tensors(ids, rint(2, size["batch"], 2).astype(np.float32).reshape(-1, 1))

    def make(sparse):
        net = models.Recommender(parameters(spec), sparse)
        optimizer = paddle.optimizer.SGD(spec["sgd"]["lr"], parameters=net.parameters())
        return trainer(net, F.binary_cross_entropy_with_logits, optimizer, x, y)

    return backends(make, (", sparse gradient", (True,)), *([(", dense gradient", (False,))] if STATIC else []))


def resnet18_train(spec):
    size = spec["resnet"]
    x, y = tensors(uniform(1, size["batch"], 3, 224, 224), rint(2, size["batch"], size["classes"]))

    def make():
        net = models.resnet18(parameters(spec), size)
        net.train()
        return trainer(net, F.cross_entropy, paddle.optimizer.SGD(spec["sgd"]["lr"], parameters=net.parameters()), x, y)

    return backends(make)


def evaluated(function, probe=lambda out: summaries([out.numpy()])):
    """A call without gradients that keeps its last result."""
    last = []

    def call():
        with paddle.no_grad():
            last[:] = [function()]

    return Prepared(call, lambda: probe(last[0]))


def network(build, x, probe):
    def make():
        net = build()
        net.eval()
        run = static(net)
        return evaluated(lambda: run(x), probe)

    return backends(make)


def classifier(spec, build, probe):
    (x,) = tensors(uniform(7, spec["workload"]["size"], 3, 224, 224))
    return network(build, x, probe)


def bert(spec):
    size = spec["bert"]
    (ids,) = tensors(rint(1, size["batch"] * size["length"], size["vocab"]).reshape(size["batch"], -1))
    return network(lambda: models.Bert(parameters(spec), size), ids, lambda y: summaries([y.numpy()]))


def gradient_of(function, operands, wanted, g):
    """The gradients of `function` alone, its forward direction done before."""
    for i, operand in enumerate(operands):
        operand.stop_gradient = i not in wanted
    y = function(*operands)
    last = []

    def call():
        last[:] = paddle.grad([y], [operands[i] for i in wanted], [g], retain_graph=True)

    return Prepared(call, lambda: summaries([t.numpy() for t in last]))


def convolution(spec, name):
    gradient = name[-1] if name.endswith(("-dx", "-dw")) else ""
    size = spec["convs"][name.removesuffix(f"-d{gradient}")]
    groups, channels = size["groups"], size["channels"]
    shape = (size["batch"], channels, size["side"], size["side"])
    bound = (9 * (channels // groups)) ** -0.5
    x, w, g = tensors(uniform(1, *shape), uniform(1001, channels, channels // groups, 3, 3, lo=-bound, hi=bound), uniform(3, *shape))

    def forward(x, w):
        return F.conv2d(x, w, padding=1, groups=groups)

    if not gradient:
        return backends(lambda: evaluated(functools.partial(static(forward), x, w)))
    if STATIC:
        raise Refused("a gradient by itself is not compiled")
    return backends(lambda: gradient_of(forward, [x, w], [0 if gradient == "x" else 1], g))


def attention(spec, training):
    size = spec["attention"]
    shape = (size["batch"], size["heads"], size["length"], size["features"])
    q, k, v, g = tensors(*(uniform(seed, *shape) for seed in (1, 2, 3, 4)))

    def products(q, k, v):
        weights = F.softmax(paddle.matmul(q, k, transpose_y=True) * size["features"] ** -0.5, -1)
        return paddle.matmul(weights, v)

    if not training:
        return backends(lambda: evaluated(functools.partial(static(products), q, k, v)))

    def make():
        run = static(products)
        operands = [q, k, v]
        for operand in operands:
            operand.stop_gradient = False
        last = []

        def call():
            y = run(*operands)
            last[:] = [y, *paddle.grad([y], operands, [g])]

        return Prepared(call, lambda: summaries([t.numpy() for t in last]))

    return backends(make)


def rows(spec, name):
    size = spec["rows"]
    shape = (size["rows"], size["columns"])
    x, y = tensors(uniform(1, *shape), uniform(2, *shape))
    scale, shift = paddle.ones([shape[1]]), paddle.zeros([shape[1]])

    def softmax(x, y):
        return F.softmax(x, -1)

    def layernorm(x, y):
        return F.layer_norm(x, [shape[1]], scale, shift, size["eps"])

    def gelu(x, y):
        return F.gelu(x)

    def add(x, y):
        return x + y

    def total(x, y):
        return x.sum(1)

    function = {"softmax": softmax, "layernorm": layernorm, "gelu": gelu, "add": add, "sum": total}[name]
    return backends(lambda: evaluated(functools.partial(static(function), x, y)))


def gemm(spec):
    size = spec["workload"]["size"]
    a, b = tensors(*(rnd(seed, size * size, -1, 1).reshape(size, size) for seed in (1, 2)))
    probe = lambda c: c.numpy().reshape(-1)[spec["gemmProbes"]]  # noqa: E731

    def product(a, b):
        return paddle.matmul(a, b)

    return backends(lambda: evaluated(functools.partial(static(product), a, b), probe))


def eager(spec):
    if STATIC:
        raise Refused("a chain of single operations is not compiled")
    side, ops = spec["eager"]["side"], spec["eager"]["ops"]
    x, b = tensors(*(uniform(seed, side, side) for seed in (1, 2)))
    x.stop_gradient = not spec["workload"]["recorded"]
    last = []

    def call():
        y = x
        for _ in range(ops):
            y = y + b
        last[:] = [y.detach()]

    return Prepared(call, lambda: [float(last[0][0, 0])])


MODELS = {
    "mlp-train": mlp,
    "cnn-train": cnn,
    "gpt-train": gpt,
    "lstm-train": lstm,
    "embedding-train": recommender,
    "resnet18-train": resnet18_train,
    "start-up": mlp,
    "start-up-empty": mlp,
    "bert-base-infer": bert,
}


def prepare(spec):
    name, kind = spec["workload"]["name"], spec["workload"]["kind"]
    if kind == "gemm":
        return gemm(spec)
    if kind == "eager":
        return eager(spec)
    if name in MODELS:
        return MODELS[name](spec)
    if name.startswith("resnet18-infer"):
        first = lambda y: y.numpy().reshape(-1)[:3]  # noqa: E731
        return classifier(spec, lambda: models.resnet18(parameters(spec), spec["resnet"]), first)
    if name == "mobilenetV2-infer":
        build = lambda: models.mobilenet(parameters(spec), spec["mobilenet"])  # noqa: E731
        return classifier(spec, build, lambda y: summaries([y.numpy()]))
    if name.startswith(("conv-", "depthwise-")):
        return convolution(spec, name)
    if name.startswith("attention"):
        return attention(spec, name == "attention-train")
    return rows(spec, name)


serve(prepare, lambda: {"version": paddle.__version__, "ompThreads": os.environ.get("OMP_NUM_THREADS")})
