"""ONNX Runtime on its CPU provider: inference only. Graphs are made here, with the weights of the other sides."""

import os

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from serve import Prepared, Refused, fastest, options, parameters, rint, rnd, serve, summaries, summary, uniform

args = options(threads=1)
MICROSOFT = "com.microsoft"
TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}


def sessions():
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = args.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    return settings


class Graph:
    """An ONNX graph in the making. Values are names."""

    def __init__(self, params=None):
        self.params = iter((params or {}).values())
        self.nodes, self.initializers, self.inputs = [], [], {}

    def constant(self, array):
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def next(self):
        return next(self.params)

    def input(self, array):
        name = f"x{len(self.inputs)}"
        self.inputs[name] = np.ascontiguousarray(array)
        return name

    def op(self, kind, *inputs, outputs=1, **attributes):
        names = [f"n{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def linear(self, x):
        w, b = self.constant(self.next()), self.constant(self.next())
        return self.op("Add", self.op("MatMul", x, w), b)

    def conv_bn(self, x, eps, stride=1, padding=0, groups=1):
        weight = self.next()
        k = weight.shape[2]
        pads = [padding] * 4
        y = self.op("Conv", x, self.constant(weight), kernel_shape=[k, k], strides=[stride] * 2, pads=pads, group=groups)
        return self.op("BatchNormalization", y, *(self.constant(self.next()) for _ in range(4)), epsilon=eps)

    def classifier(self, x):
        y = self.op("Flatten", self.op("GlobalAveragePool", x))
        return self.op("Gemm", y, self.constant(self.next()), self.constant(self.next()))

    def ready(self, output, probe=summaries, opset=20):
        """The graph as a session with its data bound; results stay in the memory of the runtime."""
        inputs = [helper.make_tensor_value_info(n, TYPES[str(a.dtype)], a.shape) for n, a in self.inputs.items()]
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
        graph = helper.make_graph(self.nodes, "bench", inputs, outputs, self.initializers)
        imports = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=10)
        session = ort.InferenceSession(model.SerializeToString(), sessions(), providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        for name, array in self.inputs.items():
            binding.bind_cpu_input(name, array)
        binding.bind_output(output, "cpu")
        run = session.run_with_iobinding

        def call():
            run(binding)

        return Prepared(call, lambda: probe([value.numpy() for value in binding.get_outputs()]))


def resnet18(spec):
    g = Graph(parameters(spec))
    eps = spec["resnet"]["eps"]
    x = g.op("Relu", g.conv_bn(g.input(uniform(7, spec["workload"]["size"], 3, 224, 224)), eps, 2, 3))
    x = g.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for block in spec["resnet"]["blocks"]:
        y = g.conv_bn(g.op("Relu", g.conv_bn(x, eps, block["stride"], 1)), eps, 1, 1)
        skip = g.conv_bn(x, eps, block["stride"]) if block["shortcut"] else x
        x = g.op("Relu", g.op("Add", skip, y))
    return g.ready(g.classifier(x), lambda outputs: outputs[0].reshape(-1)[:3])


def mobilenet(spec):
    g = Graph(parameters(spec))
    eps = spec["mobilenet"]["eps"]
    low, high = g.constant(np.float32(0)), g.constant(np.float32(6))
    relu6 = lambda y: g.op("Clip", y, low, high)  # noqa: E731
    x = relu6(g.conv_bn(g.input(uniform(7, 1, 3, 224, 224)), eps, 2, 1))
    for block in spec["mobilenet"]["blocks"]:
        hidden = block["hidden"]
        y = x if hidden == block["inputs"] else relu6(g.conv_bn(x, eps))
        y = g.conv_bn(relu6(g.conv_bn(y, eps, block["stride"], 1, hidden)), eps)
        x = g.op("Add", x, y) if block["stride"] == 1 and block["inputs"] == block["outputs"] else y
    return g.ready(g.classifier(relu6(g.conv_bn(x, eps))))


def bert(spec):
    size = spec["bert"]
    length, dim, heads, eps = size["length"], size["dim"], size["heads"], size["eps"]
    shape = [size["batch"], length]

    def embedded(g):
        ids = g.input(rint(1, shape[0] * length, size["vocab"]).reshape(shape))
        token, position, kind = (g.next() for _ in range(3))
        return g.op("Add", g.op("Gather", g.constant(token), ids), g.constant(position[:length] + kind[0]))

    def norm(g, x):
        return g.op("LayerNormalization", x, g.constant(g.next()), g.constant(g.next()), axis=-1, epsilon=eps)

    def plain():
        g = Graph(parameters(spec))
        split = g.constant(np.array([shape[0], length, heads, dim // heads], dtype=np.int64))
        joined = g.constant(np.array([shape[0], length, dim], dtype=np.int64))
        scale = g.constant(np.float32((dim // heads) ** -0.5))
        part = lambda x, perm: g.op("Transpose", g.op("Reshape", g.linear(x), split), perm=perm)  # noqa: E731
        x = norm(g, embedded(g))
        for _ in range(size["layers"]):
            q, k, v = part(x, [0, 2, 1, 3]), part(x, [0, 2, 3, 1]), part(x, [0, 2, 1, 3])
            weights = g.op("Softmax", g.op("Mul", g.op("MatMul", q, k), scale), axis=-1)
            mixed = g.op("Reshape", g.op("Transpose", g.op("MatMul", weights, v), perm=[0, 2, 1, 3]), joined)
            x = norm(g, g.op("Add", x, g.linear(mixed)))
            x = norm(g, g.op("Add", x, g.linear(g.op("Gelu", g.linear(x)))))
        return g.ready(x)

    def fused():
        """The operators that ONNX Runtime's own optimizer of transformers puts in."""
        g = Graph(parameters(spec))
        x = norm(g, embedded(g))

        def skip(x, y, bias):
            scale, shift = g.constant(g.next()), g.constant(g.next())
            return g.op("SkipLayerNormalization", y, x, scale, shift, g.constant(bias), domain=MICROSOFT, epsilon=eps)

        for _ in range(size["layers"]):
            qkv = [(g.next(), g.next()) for _ in range(3)]
            weights = g.constant(np.concatenate([w for w, _ in qkv], 1))
            bias = g.constant(np.concatenate([b for _, b in qkv]))
            mixed = g.op("Attention", x, weights, bias, domain=MICROSOFT, num_heads=heads)
            w, b = g.next(), g.next()
            x = skip(x, g.op("MatMul", mixed, g.constant(w)), b)
            w, b = g.next(), g.next()
            y = g.op("BiasGelu", g.op("MatMul", x, g.constant(w)), g.constant(b), domain=MICROSOFT)
            w, b = g.next(), g.next()
            x = skip(x, g.op("MatMul", y, g.constant(w)), b)
        return g.ready(x)

    return fastest({"plain operators": plain, "fused operators": fused})


def convolution(spec, name):
    size = spec["convs"][name]
    groups, channels = size["groups"], size["channels"]
    bound = (9 * (channels // groups)) ** -0.5
    g = Graph()
    x = g.input(uniform(1, size["batch"], channels, size["side"], size["side"]))
    w = g.constant(uniform(1001, channels, channels // groups, 3, 3, lo=-bound, hi=bound))
    return g.ready(g.op("Conv", x, w, kernel_shape=[3, 3], pads=[1] * 4, group=groups))


def attention(spec):
    size = spec["attention"]
    batch, heads, length, features = size["batch"], size["heads"], size["length"], size["features"]
    data = [uniform(seed, batch, heads, length, features) for seed in (1, 2, 3)]

    def products():
        g = Graph()
        q, k, v = (g.input(a) for a in data)
        scores = g.op("MatMul", g.op("Mul", q, g.constant(np.float32(features**-0.5))), g.op("Transpose", k, perm=[0, 1, 3, 2]))
        return g.ready(g.op("MatMul", g.op("Softmax", scores, axis=-1), v))

    def standard():
        g = Graph()
        return g.ready(g.op("Attention", *(g.input(a) for a in data)), opset=23)

    def multi_head():
        """Takes and gives [batch, length, heads * features]."""
        g = Graph()
        flat = [a.transpose(0, 2, 1, 3).reshape(batch, length, -1) for a in data]
        y = g.op("MultiHeadAttention", *(g.input(a) for a in flat), domain=MICROSOFT, num_heads=heads)
        back = lambda out: out.reshape(batch, length, heads, features).transpose(0, 2, 1, 3)  # noqa: E731
        return g.ready(y, lambda outputs: summaries([back(outputs[0])]))

    return fastest({"MatMul and Softmax": products, "Attention": standard, "MultiHeadAttention": multi_head})


def rows(spec, name):
    size = spec["rows"]
    shape = (size["rows"], size["columns"])
    g = Graph()
    x = g.input(uniform(1, *shape))
    if name == "softmax":
        y = g.op("Softmax", x, axis=-1)
    elif name == "layernorm":
        scale, shift = (g.constant(np.full(shape[1], v, dtype=np.float32)) for v in (1, 0))
        y = g.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=size["eps"])
    elif name == "gelu":
        y = g.op("Gelu", x)
    elif name == "add":
        y = g.op("Add", x, g.input(uniform(2, *shape)))
    else:
        y = g.op("ReduceSum", x, g.constant(np.array([1], dtype=np.int64)), keepdims=0)
    return g.ready(y)


def gemm(spec):
    size = spec["workload"]["size"]
    g = Graph()
    a, b = (g.input(rnd(seed, size * size, -1, 1).reshape(size, size)) for seed in (1, 2))
    return g.ready(g.op("MatMul", a, b), lambda outputs: outputs[0].reshape(-1)[spec["gemmProbes"]])


def lines(seed, shape):
    """The image of `lines` in workloads/onnx.mjs."""
    height, width = shape[-2:]
    y, x = np.arange(height)[:, None] // 2, np.arange(width) // 2
    drawn = uniform(seed, -(-height // 2), -(-width // 2))
    return np.ascontiguousarray(np.broadcast_to(np.where((y % 12 < 7) & (drawn[y, x] > 0), -2, 2), shape), dtype=np.float32)


def stored(work):
    """A model as its file has it."""
    if not os.path.exists(work["file"]):
        raise Refused(f"{work['file']} is not there")
    session = ort.InferenceSession(work["file"], sessions(), providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for entry in work["inputs"]:
        shape = entry["shape"]
        if "integer" in entry:
            array = np.array(entry["integer"], dtype=np.int64)
        else:
            array = lines(entry["seed"], shape) if entry.get("lines") else uniform(entry["seed"], *shape)
        binding.bind_cpu_input(entry["name"], array)
    for output in session.get_outputs():
        binding.bind_output(output.name, "cpu")
    names = [output.name for output in session.get_outputs()]

    def call():
        session.run_with_iobinding(binding)

    return Prepared(call, lambda: summary(binding.get_outputs()[names.index(work["output"])].numpy()))


def prepare(spec):
    name, kind = spec["workload"]["name"], spec["workload"]["kind"]
    if kind == "onnx":
        return stored(spec["onnx"])
    if kind == "gemm":
        return gemm(spec)
    if name.startswith("resnet18-infer"):
        return resnet18(spec)
    if name == "mobilenetV2-infer":
        return mobilenet(spec)
    if name == "bert-base-infer":
        return bert(spec)
    if name in spec["convs"]:
        return convolution(spec, name)
    if name == "attention":
        return attention(spec)
    if kind == "op":
        return rows(spec, name)
    raise Refused("inference only")


serve(prepare, lambda: {"version": ort.__version__})
