"""Writes what onnxruntime makes of operators of com.microsoft and ai.onnx.ml on small seeded inputs to
packages/onnx/test/reference/{microsoft,ml}.json: lists of { op, attributes, inputs, outputs }, tensors as { type, shape, data }.

    python3 -m venv .venv && .venv/bin/pip install onnx==1.23.2 onnxruntime==1.32.0
    .venv/bin/python microsoft.py
"""

import json
import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

TARGET = Path(__file__).resolve().parents[3] / "packages/onnx/test/reference"
random = np.random.default_rng(11)


def normal(*shape):
    """Multiples of 1/64, so that few digits are exact."""
    return (np.round(random.standard_normal(shape) * 64) / 64).astype(np.float32)


def positive(*shape):
    return (np.abs(normal(*shape)) + np.float32(0.5)).astype(np.float32)


def integers(low, high, *shape, dtype=np.uint8):
    return random.integers(low, high, shape).astype(dtype)


def scalar(value, dtype=np.float32):
    return np.array(value, dtype)


def number(x):
    if isinstance(x, (bool, np.bool_)):
        return int(x)
    if isinstance(x, (int, np.integer)):
        return int(x)
    x = float(x)
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "Infinity" if x > 0 else "-Infinity"
    return float(np.format_float_positional(np.float32(x), trim="-"))


def tensor(x):
    if x is None:
        return None
    if x.dtype == object or x.dtype.kind == "U":
        return {"type": "string", "shape": list(x.shape), "data": [str(v) for v in x.ravel()]}
    return {"type": str(x.dtype), "shape": list(x.shape), "data": [number(v) for v in x.ravel()]}


def run(domain, op, inputs, outputs=1, **attributes):
    """outputs: how many, or a list with False for those nobody wants."""
    wanted = [True] * outputs if isinstance(outputs, int) else outputs
    names = [f"x{i}" if x is not None else "" for i, x in enumerate(inputs)]
    results = [f"y{i}" if w else "" for i, w in enumerate(wanted)]
    node = helper.make_node(op, names, results, domain=domain, **attributes)
    element = lambda x: TensorProto.STRING if x.dtype.kind in "OU" else helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        [node],
        op,
        [helper.make_tensor_value_info(n, element(x), x.shape) for n, x in zip(names, inputs) if x is not None],
        [onnx.ValueInfoProto(name=n) for n in results if n],
    )
    version = {"com.microsoft": 1, "ai.onnx.ml": 3, "": 21}[domain]
    imports = [helper.make_opsetid("", 21)] + ([helper.make_opsetid(domain, version)] if domain else [])
    model = helper.make_model(graph, opset_imports=imports)
    model.ir_version = 10
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    made = iter(session.run(None, {n: x for n, x in zip(names, inputs) if x is not None}))
    kept = {k: ({"float": number(v)} if isinstance(v, float) else {"floats": v} if isinstance(v, list) and v and isinstance(v[0], float) else v) for k, v in attributes.items()}
    return {
        "op": op,
        "attributes": kept,
        "inputs": [tensor(x) for x in inputs],
        "outputs": [tensor(next(made)) if w else None for w in wanted],
    }


def fused():
    ms = lambda op, inputs, outputs=1, **a: run("com.microsoft", op, inputs, outputs, **a)
    x = normal(2, 3, 8)
    yield ms("FusedMatMul", [normal(2, 4, 3), normal(2, 5, 4)], alpha=0.5, transA=1, transB=1)
    yield ms("FusedMatMul", [normal(3, 2, 4), normal(2, 4, 5)], transBatchA=1)
    yield ms("FusedGemm", [normal(3, 4), normal(5, 4), normal(5)], alpha=1.5, beta=0.5, transB=1, activation="LeakyRelu", activation_alpha=0.25)
    yield ms("FusedConv", [normal(1, 2, 5, 5), normal(3, 2, 3, 3), normal(3)], pads=[1, 1, 1, 1], kernel_shape=[3, 3], activation="Relu")
    yield ms("FusedConv", [normal(1, 2, 5, 5), normal(3, 2, 3, 3), normal(3), normal(1, 3, 5, 5)], pads=[1, 1, 1, 1], kernel_shape=[3, 3], activation="Relu")
    yield ms("Gelu", [x])
    yield ms("BiasGelu", [x, normal(8)])
    yield ms("FastGelu", [x, normal(8)])
    yield ms("QuickGelu", [x], alpha=1.5)
    yield ms("SkipLayerNormalization", [x, normal(2, 3, 8), normal(8), normal(8), normal(8)], [True, False, False, True], epsilon=1e-5)
    yield ms("SkipSimplifiedLayerNormalization", [x, normal(2, 3, 8), normal(8)], [True, False, False, True], epsilon=1e-5)
    yield run("", "SimplifiedLayerNormalization", [x, normal(8)], epsilon=1e-5, axis=-1)
    yield ms("ExpandDims", [normal(2, 3), scalar(1, np.int32)])
    yield ms("Trilu", [normal(3, 4)], upper=0)
    yield ms("CDist", [normal(3, 4), normal(2, 4)], metric="euclidean")
    yield ms("Inverse", [normal(3, 3) + 4 * np.eye(3, dtype=np.float32)])


def quantized():
    ms = lambda op, inputs, outputs=1, **a: run("com.microsoft", op, inputs, outputs, **a)
    x, y = integers(0, 256, 2, 4), integers(0, 256, 2, 4)
    q = lambda s, z, dtype=np.uint8: [scalar(s), scalar(z, dtype)]
    yield ms("QLinearAdd", [x, *q(0.05, 120), y, *q(0.1, 3), *q(0.125, 128)])
    yield ms("QLinearMul", [x, *q(0.05, 120), y, *q(0.1, 3), *q(0.5, 128)])
    yield ms("QLinearSigmoid", [x, *q(0.05, 120), *q(1 / 256, 0)])
    yield ms("QLinearLeakyRelu", [x, *q(0.05, 120), *q(0.05, 100)], alpha=0.1)
    yield ms("QLinearSoftmax", [x, *q(0.05, 120), *q(1 / 256, 0)], opset=13, axis=-1)
    image = integers(0, 256, 1, 2, 5, 5)
    yield ms("QLinearAveragePool", [image, *q(0.05, 120), *q(0.06, 100)], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    yield ms("QLinearGlobalAveragePool", [image, *q(0.05, 120), *q(0.01, 100)], channels_last=0)
    yield ms("QLinearConcat", [*q(0.1, 100), x, *q(0.05, 120), y, *q(0.1, 3)], axis=1)
    yield ms("QLinearConv", [integers(0, 256, 1, 5, 5, 2), *q(0.05, 120), integers(-9, 9, 3, 2, 3, 3, dtype=np.int8), *q(0.1, 0, np.int8), *q(0.5, 128), integers(-99, 99, 3, dtype=np.int32)], kernel_shape=[3, 3], channels_last=1)
    a, b = integers(0, 256, 3, 8), integers(0, 256, 8, 5)
    yield ms("QGemm", [a, *q(0.05, 120), b, *q(0.1, 3), integers(-99, 99, 5, dtype=np.int32), *q(2.0, 128)], alpha=1.0)
    yield ms("QGemm", [a, *q(0.05, 120), b, *q(0.1, 3), None], alpha=1.0)
    yield ms("DynamicQuantizeMatMul", [normal(3, 8), integers(0, 256, 8, 5), positive(5), integers(100, 150, 5), normal(5)])
    yield ms("MatMulIntegerToFloat", [a, b, scalar(0.05), positive(5), scalar(120, np.uint8), integers(100, 150, 5), normal(5)])
    yield ms("MatMulNBits", [normal(2, 32), integers(0, 256, 3, 2, 8), positive(6)], K=32, N=3, bits=4, block_size=16)
    yield ms("MatMulNBits", [normal(2, 40), integers(0, 256, 3, 3, 8), positive(9), integers(0, 256, 6), None, normal(3)], K=40, N=3, bits=4, block_size=16)
    yield ms("MatMulNBits", [normal(2, 32), integers(0, 256, 3, 2, 16), positive(6)], K=32, N=3, bits=8, block_size=16)


def attention():
    ms = lambda op, inputs, outputs=1, **a: run("com.microsoft", op, inputs, outputs, **a)
    B, S, H, N = 2, 3, 8, 2
    x, w, b = normal(B, S, H), normal(H, 3 * H), normal(3 * H)
    yield ms("Attention", [x, w, b], num_heads=N)
    yield ms("Attention", [x, w, b, np.array([[1, 1, 0], [1, 1, 1]], np.int32)], num_heads=N)
    yield ms("Attention", [x, w, b, np.array([2, 3], np.int32)], num_heads=N)
    yield ms("Attention", [x, w, b, None, normal(2, B, N, 2, H // N)], 2, num_heads=N, unidirectional=1)
    yield ms("MultiHeadAttention", [normal(B, S, H), normal(B, 4, H), normal(B, 4, H), normal(3 * H)], num_heads=N)
    yield ms("MultiHeadAttention", [normal(B, S, H), normal(B, 4, H), normal(B, 4, H), None, np.array([[1, 1, 1, 0], [1, 1, 1, 1]], np.int32), normal(1, N, S, 4)], num_heads=N)
    past = [normal(B, N, 2, H // N), normal(B, N, 2, H // N)]
    yield ms("MultiHeadAttention", [normal(B, S, H), normal(B, S, H), normal(B, S, H), None, None, None, *past], 3, num_heads=N)
    G, E = 1, 16
    caches = [np.cos(np.outer(np.arange(8), positive(E // 2))).astype(np.float32), np.sin(np.outer(np.arange(8), positive(E // 2))).astype(np.float32)]
    prompt = [normal(1, S, N * E), normal(1, S, G * E), normal(1, S, G * E)]
    yield ms("GroupQueryAttention", [*prompt, None, None, np.array([S - 1], np.int32), scalar(S, np.int32)], 3, num_heads=N, kv_num_heads=G)
    step = [normal(1, 1, N * E), normal(1, 1, G * E), normal(1, 1, G * E), normal(1, G, 4, E), normal(1, G, 4, E)]
    yield ms("GroupQueryAttention", [*step, np.array([4], np.int32), scalar(5, np.int32), *caches], 3, num_heads=N, kv_num_heads=G, do_rotary=1)
    yield ms("GroupQueryAttention", [*step, np.array([4], np.int32), scalar(5, np.int32), *caches], 3, num_heads=N, kv_num_heads=G, local_window_size=2)
    yield ms("RotaryEmbedding", [normal(B, S, N * E), np.array([[0, 1, 2], [3, 4, 5]], np.int64), *caches])
    yield ms("RotaryEmbedding", [normal(B, N, S, E), np.array([2], np.int64), *caches], interleaved=1)
    ids = np.array([[1, 3, 0], [2, 2, 4]], np.int32)
    yield ms("EmbedLayerNormalization", [ids, np.array([[0, 1, 1], [0, 0, 1]], np.int32), normal(5, H), normal(4, H), normal(2, H), normal(H), normal(H), np.array([[1, 1, 0], [1, 1, 1]], np.int32)], 2, epsilon=1e-5)


def ml():
    m = lambda op, inputs, outputs=1, **a: run("ai.onnx.ml", op, inputs, outputs, **a)
    x = normal(4, 3)
    yield m("Scaler", [x], offset=[0.5, -1.0, 2.0], scale=[2.0, 0.25, 1.0])
    for kind in ("MAX", "L1", "L2"):
        yield m("Normalizer", [x if kind != "MAX" else np.abs(x)], norm=kind)
    yield m("LinearRegressor", [x], coefficients=[0.5, -1.0, 2.0, 1.0, 0.0, 3.0], intercepts=[0.25, 1.0], targets=2)
    yield m("LinearClassifier", [x], 2, coefficients=[0.5, -1.0, 2.0, 1.0, 0.0, 3.0, -2.0, 1.0, 1.0], intercepts=[0.25, 1.0, 0.0], classlabels_ints=[3, 5, 7], post_transform="SOFTMAX", multi_class=1)
    yield m("LinearClassifier", [x], 2, coefficients=[0.5, -1.0, 2.0], intercepts=[0.25], classlabels_strings=["no", "yes"], post_transform="LOGISTIC")
    yield m("Imputer", [np.array([[1, np.nan], [np.nan, 4]], np.float32)], imputed_value_floats=[7.0, 9.0], replaced_value_float=float("nan"))
    yield m("OneHotEncoder", [np.array([[2, 5], [9, 2]], np.int64)], cats_int64s=[2, 5, 8], zeros=1)
    yield m("FeatureVectorizer", [normal(2, 3), normal(2, 2)], inputdimensions=[3, 2])
    yield m("CategoryMapper", [np.array(["b", "a", "z"], object)], cats_int64s=[4, 6], cats_strings=["a", "b"], default_int64=-7)
    tree = dict(
        nodes_treeids=[0, 0, 0, 1, 1, 1], nodes_nodeids=[0, 1, 2, 0, 1, 2], nodes_featureids=[0, 0, 0, 2, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LT", "LEAF", "LEAF"], nodes_values=[0.1, 0.0, 0.0, -0.2, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0, 1, 0, 0], nodes_falsenodeids=[2, 0, 0, 2, 0, 0], nodes_missing_value_tracks_true=[0] * 6, nodes_hitrates=[1.0] * 6,
    )
    y = normal(6, 3)
    for aggregate in ("SUM", "AVERAGE", "MIN", "MAX"):
        yield m("TreeEnsembleRegressor", [y], **tree, target_treeids=[0] * 4 + [1] * 4, target_nodeids=[1, 1, 2, 2] * 2, target_ids=[0, 1] * 4, target_weights=[1.5, 2.0, -3.0, 0.5, 4.0, -1.0, 0.75, -2.5], n_targets=2, aggregate_function=aggregate, base_values=[0.25, 0.5])
    yield m("TreeEnsembleClassifier", [y], 2, **tree, class_treeids=[0, 0, 1, 1], class_nodeids=[1, 2, 1, 2], class_ids=[0, 1, 2, 1], class_weights=[1.5, 2.0, 3.0, 0.5], classlabels_int64s=[10, 11, 12], post_transform="SOFTMAX")
    yield m("TreeEnsembleClassifier", [y], 2, **tree, class_treeids=[0, 0, 1, 1], class_nodeids=[1, 2, 1, 2], class_ids=[0, 0, 0, 0], class_weights=[0.25, 0.5, 0.125, 0.25], classlabels_strings=["a", "b"], post_transform="NONE")
    yield m("TreeEnsembleClassifier", [y], 2, **tree, class_treeids=[0, 0, 1, 1], class_nodeids=[1, 2, 1, 2], class_ids=[0, 0, 0, 0], class_weights=[-0.25, 0.5, 0.125, -0.75], classlabels_strings=["a", "b"], post_transform="LOGISTIC")


def write(name, cases):
    TARGET.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (TARGET / f"{name}.json").write_text(f'{{"reference":"onnxruntime {onnxruntime.__version__}","cases":[\n{lines}\n]}}\n')


if __name__ == "__main__":
    write("microsoft", [*fused(), *quantized(), *attention()])
    write("ml", [*ml()])
