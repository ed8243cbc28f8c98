"""PyTorch: --mode eager, compile (torch.compile), onednn (its own layouts), or double (expected values, bench/expected.mjs)."""

import functools

import numpy as np
import torch
import torch.nn.functional as F
import torch_models as models
from serve import Prepared, Refused, fastest, options, parameters, rint, rnd, serve, summaries, uniform

args = options(mode="eager", threads=1)
torch.set_num_threads(args.threads)
torch.set_num_interop_threads(1)
COMPILE = args.mode == "compile"
if args.mode == "double":
    torch.set_default_dtype(torch.float64)


def compiled(function):
    return torch.compile(function, dynamic=False) if COMPILE else function


def tensors(*arrays):
    return [models.tensor(a) for a in arrays]


# Training: every candidate is a network and an optimiser; forward and loss are compiled together.


def trainer(net, loss, optimizer, inputs, labels, whole=True, compiled_update=False):
    objective = lambda x, y: loss(net(x), y)  # noqa: E731
    objective = compiled(objective) if whole else objective
    update = compiled(optimizer.step) if compiled_update else optimizer.step

    def call():
        optimizer.zero_grad(set_to_none=True)
        value = objective(inputs, labels)
        value.backward()
        update()
        return value.item()

    return Prepared(call)


def adam(spec, decay=False, **how):
    size = spec["adam"]
    kind = functools.partial(torch.optim.AdamW, weight_decay=size["weightDecay"]) if decay else torch.optim.Adam
    betas = (size["beta1"], size["beta2"])
    return lambda net: kind([p for p in net.parameters() if p.requires_grad], lr=size["lr"], betas=betas, eps=size["eps"], **how)


def updates(spec, decay=False):
    """Ways to do Adam: one native loop over each parameter, a few calls over all of them, or compiled."""
    ways = {"fused": (adam(spec, decay, fused=True), False)}
    if COMPILE:
        ways["compiled update"] = (adam(spec, decay), True)
    else:
        ways["foreach"] = (adam(spec, decay, foreach=True), False)
    return ways


def mlp(spec):
    x, y = tensors(uniform(1, spec["mlp"]["batch"], 784), rint(2, spec["mlp"]["batch"], 10))

    def make(optimizer, compiled_update):
        net = models.mlp(parameters(spec))
        return trainer(net, F.cross_entropy, optimizer(net), x, y, compiled_update=compiled_update)

    ways = updates(spec)
    if spec["workload"]["kind"] == "startup":
        return make(*ways["fused"])
    return fastest({name: functools.partial(make, *way) for name, way in ways.items()})


def layouts():
    return {"channels last": torch.channels_last, "channels first": torch.contiguous_format}


def cnn(spec):
    size = spec["cnn"]
    x, y = tensors(uniform(1, size["batch"], 1, size["side"], size["side"]), rint(2, size["batch"], size["classes"]))

    def make(layout):
        net = models.cnn(parameters(spec)).to(memory_format=layout)
        return trainer(net, F.cross_entropy, adam(spec, fused=True)(net), x.contiguous(memory_format=layout), y)

    return fastest({name: functools.partial(make, layout) for name, layout in layouts().items()})


def gpt(spec):
    size = spec["gpt"]
    shape = (size["batch"], size["length"])
    ids, y = tensors(*(rint(seed, shape[0] * shape[1], size["vocab"]) for seed in (1, 2)))

    def make(fused):
        net = models.GPT(parameters(spec), size, fused)
        return trainer(net, F.cross_entropy, adam(spec, decay=True, fused=True)(net), ids.view(shape), y)

    return fastest({"scaled_dot_product_attention": lambda: make(True), "matmul and softmax": lambda: make(False)})


def lstm(spec):
    size = spec["lstm"]
    x, y = tensors(uniform(1, size["batch"], size["length"], size["inputs"]), rint(2, size["batch"], size["classes"]))

    def make(cells):
        net = models.LSTM(parameters(spec), size, cells)
        return trainer(net, F.cross_entropy, adam(spec, fused=True)(net), x, y)

    return fastest({"nn.LSTM": lambda: make(False), **({"steps in a loop": lambda: make(True)} if COMPILE else {})})


def recommender(spec):
    size = spec["embedding"]
    ids = rint(1, size["batch"] * size["lookups"], size["rows"]).reshape(size["batch"], -1)
    ids, y = tensors(ids, rint(2, size["batch"], 2).astype(np.float32).reshape(-1, 1))

    def make(sparse):
        net = models.Recommender(parameters(spec), sparse)
        optimizer = torch.optim.SGD(net.parameters(), lr=spec["sgd"]["lr"], foreach=False if sparse else None)
        if sparse:
            net.head = compiled(net.head)
        return trainer(net, F.binary_cross_entropy_with_logits, optimizer, ids, y, whole=not sparse)

    ways = {"sparse gradient": lambda: make(True)}
    return fastest({**ways, "dense gradient": lambda: make(False)} if COMPILE else ways)


def resnet18_train(spec):
    size = spec["resnet"]
    x, y = tensors(uniform(1, size["batch"], 3, 224, 224), rint(2, size["batch"], size["classes"]))

    def make(layout):
        net = models.resnet18(parameters(spec), size).train().to(memory_format=layout)
        optimizer = torch.optim.SGD(net.parameters(), lr=spec["sgd"]["lr"], fused=True)
        return trainer(net, F.cross_entropy, optimizer, x.contiguous(memory_format=layout), y)

    return fastest({name: functools.partial(make, layout) for name, layout in layouts().items()})


# Inference.


def evaluated(function, probe):
    """A call without gradients that keeps its last result."""
    last = []

    def call():
        with torch.no_grad():
            last[:] = [function()]

    return Prepared(call, lambda: probe(last[0]))


def dense(t):
    t = t.to_dense() if t.is_mkldnn else t
    return t.detach().contiguous().numpy()


def classifier(spec, build, probe):
    n = spec["workload"]["size"]
    (x,) = tensors(uniform(7, n, 3, 224, 224))

    def make(layout):
        net = build().eval().to(memory_format=layout)
        run = compiled(net)
        image = x.contiguous(memory_format=layout)
        return evaluated(lambda: run(image), probe)

    return fastest({name: functools.partial(make, layout) for name, layout in layouts().items()})


def bert(spec):
    size = spec["bert"]
    (ids,) = tensors(rint(1, size["batch"] * size["length"], size["vocab"]).reshape(size["batch"], -1))
    run = compiled(models.Bert(parameters(spec), size).eval())
    return evaluated(lambda: run(ids), lambda y: summaries([dense(y)]))


# Single operations.


def convolution(spec, name):
    gradient = name[-1] if name.endswith(("-dx", "-dw")) else ""
    size = spec["convs"][name.removesuffix(f"-d{gradient}")]
    groups, channels = size["groups"], size["channels"]
    shape = (size["batch"], channels, size["side"], size["side"])
    fan_in = 9 * (channels // groups)
    bound = fan_in**-0.5
    x, w, g = tensors(uniform(1, *shape), uniform(1001, channels, channels // groups, 3, 3, lo=-bound, hi=bound), uniform(3, *shape))

    def forward(x, w, g):
        return F.conv2d(x, w, padding=1, groups=groups)

    def backward(x, w, g):
        which = [gradient == "x", gradient == "w", False]
        one = [1, 1]
        outputs = torch.ops.aten.convolution_backward(g, x, w, None, one, one, one, False, [0, 0], groups, which)
        return outputs[0] if gradient == "x" else outputs[1]

    if args.mode == "onednn":
        if gradient:
            raise Refused("only the forward direction is called by itself")
        return fastest(onednn_convolutions(x, w, groups))

    def make(layout):
        run = compiled(backward if gradient else forward)
        operands = [t.contiguous(memory_format=layout) for t in (x, w, g)]
        return evaluated(lambda: run(*operands), lambda y: summaries([dense(y)]))

    return fastest({name: functools.partial(make, layout) for name, layout in layouts().items()})


def onednn_convolutions(x, w, groups):
    """oneDNN with weights in the layout it chose, and images as they come or in its blocked layout."""
    one = [1, 1]
    kernel = torch._C._nn.mkldnn_reorder_conv2d_weight(w.to_mkldnn(), one, one, one, groups, list(x.shape))

    def make(image):
        return evaluated(lambda: torch.mkldnn_convolution(image, kernel, None, one, one, one, groups), lambda y: summaries([dense(y)]))

    def blocked():
        # The result of a 1x1 convolution with the identity is x again, in the layout that oneDNN likes.
        channels = x.shape[1]
        identity = torch.eye(channels).view(channels, channels, 1, 1).to_mkldnn()
        return make(torch.mkldnn_convolution(x.to_mkldnn(), identity, None, [0, 0], one, one, 1))

    return {"plain images": lambda: make(x.to_mkldnn()), "blocked images": blocked}


def attention(spec, training):
    size = spec["attention"]
    shape = (size["batch"], size["heads"], size["length"], size["features"])
    q, k, v, g = tensors(*(uniform(seed, *shape) for seed in (1, 2, 3, 4)))
    run = compiled(F.scaled_dot_product_attention)
    if not training:
        return evaluated(lambda: run(q, k, v), lambda y: summaries([dense(y)]))
    operands = [t.requires_grad_() for t in (q, k, v)]
    last = []

    def call():
        y = run(*operands)
        last[:] = [y, *torch.autograd.grad(y, operands, g)]

    return Prepared(call, lambda: summaries([dense(t) for t in last]))


def rows(spec, name):
    size = spec["rows"]
    shape = (size["rows"], size["columns"])
    x, y = tensors(uniform(1, *shape), uniform(2, *shape))
    scale, shift = torch.ones(shape[1]), torch.zeros(shape[1])
    function = {
        "softmax": lambda x, y: torch.softmax(x, -1),
        "layernorm": lambda x, y: F.layer_norm(x, [shape[1]], scale, shift, size["eps"]),
        "gelu": lambda x, y: F.gelu(x),
        "add": lambda x, y: x + y,
        "sum": lambda x, y: x.sum(1),
    }[name]
    run = compiled(function)
    return evaluated(lambda: run(x, y), lambda out: summaries([dense(out)]))


def gemm(spec):
    size = spec["workload"]["size"]
    a, b = tensors(*(rnd(seed, size * size, -1, 1).reshape(size, size) for seed in (1, 2)))
    probe = lambda c: dense(c).reshape(-1)[spec["gemmProbes"]]  # noqa: E731
    if args.mode == "onednn":
        # mkldnn_linear multiplies by the transpose of its second operand.
        left, right = a.to_mkldnn(), b.T.contiguous().to_mkldnn()
        return evaluated(lambda: torch._C._nn.mkldnn_linear(left, right), probe)
    run = compiled(torch.mm)
    return evaluated(lambda: run(a, b), probe)


def eager(spec):
    if args.mode != "eager":
        raise Refused("a chain of single operations is not compiled")
    side, ops = spec["eager"]["side"], spec["eager"]["ops"]
    recorded = spec["workload"]["recorded"]
    x, b = tensors(*(uniform(seed, side, side) for seed in (1, 2)))
    x.requires_grad_(recorded)
    last = []

    def call():
        y = x
        for _ in range(ops):
            y = y + b
        last[:] = [y.detach()]

    return Prepared(call, lambda: [last[0][0, 0].item()])


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
    if COMPILE and kind == "infer":
        # Weights are constants then: normalizations are folded into them, and they are packed once.
        import torch._inductor.config as inductor

        inductor.freezing = True
    if kind == "gemm":
        return gemm(spec)
    if kind == "eager":
        return eager(spec)
    if name in MODELS:
        return MODELS[name](spec)
    if name.startswith("resnet18-infer"):
        return classifier(spec, lambda: models.resnet18(parameters(spec), spec["resnet"]), lambda y: y[0, :3].tolist())
    if name == "mobilenetV2-infer":
        return classifier(spec, lambda: models.mobilenet(parameters(spec), spec["mobilenet"]), lambda y: summaries([dense(y)]))
    if name.startswith(("conv-", "depthwise-")):
        return convolution(spec, name)
    if name.startswith("attention"):
        return attention(spec, name == "attention-train")
    return rows(spec, name)


serve(prepare, lambda: {"version": torch.__version__, "threads": torch.get_num_threads()})
