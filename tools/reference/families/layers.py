"""Layers with their state: outputs and gradients in training, what the call changed, outputs in evaluation."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from common import Family, cotangent, encode


class Function(nn.Module):
    """A function as a layer without state."""

    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, *inputs):
        return self.fn(*inputs)


class LayerFamily(Family):
    """Cases of layers: see README.md, `Layers`."""

    def layer(self, op, module, args, attrs, inputs, randomize=True):
        """Runs `module` once in training and once in evaluation. `args` and `attrs` are what the other side builds it from."""
        if randomize:
            with torch.no_grad():
                for name, t in module.state_dict().items():
                    # Unit vectors of spectral norms, and counters, start as they are.
                    if name.endswith((".0._u", ".0._v")) or not t.dtype.is_floating_point:
                        continue
                    low, high = (0.5, 1.5) if name.endswith("running_var") else (-1.0, 1.0)
                    t.copy_(self.inputs.uniform(list(t.shape), low, high))
        before = {name: t.clone() for name, t in module.state_dict().items()}
        live = [t.detach().clone().requires_grad_(t.dtype.is_floating_point) for t in inputs]
        module.train()
        outputs = module(*live)
        outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
        parts = [(o * cotangent(o)).sum() for o in outputs if o.dtype.is_floating_point and o.requires_grad]
        if parts:
            sum(parts).backward()
        changed = {n: t.clone() for n, t in module.state_dict().items() if not torch.equal(t, before[n])}
        module.eval()
        with torch.no_grad():
            again = module(*[t.detach() for t in live])
        again = list(again) if isinstance(again, (tuple, list)) else [again]
        self.cases.append(encode({
            "op": op,
            "args": args,
            "attrs": attrs,
            "state": before,
            "inputs": inputs,
            "outputs": outputs,
            "grads": [(t.grad if t.grad is not None else torch.zeros_like(t)) if t.requires_grad else None for t in live],
            "parameterGrads": {n: p.grad for n, p in module.named_parameters() if p.grad is not None},
            "stateAfter": changed,
            "evalOutputs": again,
        }))


def snake(name):
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def options(attrs):
    return {snake(k): v for k, v in attrs.items()}


def simple(fam, op, args, attrs, shape, *, inputs=None, make=None, **more):
    """A class of torch.nn under the same name, with options in snake case."""
    module = (make or getattr(nn, op))(*args, **options(attrs))
    fam.layer(op, module, args, attrs, [fam.inputs.uniform(shape)] if inputs is None else inputs, **more)


def layers_convolution():
    fam = LayerFamily("layers-convolution", 61)
    for n, size in ((1, [7]), (2, [5, 6]), (3, [4, 3, 4])):
        op = f"Conv{n}d"
        simple(fam, op, [2, 3, 3], {}, [2, 2] + size)
        simple(fam, op, [2, 4, 2], {"stride": 2, "padding": 1, "bias": False}, [2, 2] + size)
        if n < 3:
            simple(fam, op, [4, 2, 3], {"padding": "same", "dilation": 2, "groups": 2}, [1, 4] + size)
            simple(fam, op, [3, 6, 3], {"padding": 1, "groups": 3}, [1, 3] + size)
            for mode in ("reflect", "replicate", "circular"):
                simple(fam, op, [2, 2, 3], {"padding": [2] + [1] * (n - 1), "paddingMode": mode}, [1, 2] + size)
            simple(fam, op, [1, 2, 3], {"padding": "same", "paddingMode": "circular"}, [1] + size)
        else:
            simple(fam, op, [2, 2, [1, 2, 3]], {"padding": [0, 1, 1], "stride": [1, 2, 1], "groups": 2}, [1, 2] + size)
    for n, size in ((1, [5]), (2, [3, 4]), (3, [2, 3, 2])):
        op = f"ConvTranspose{n}d"
        simple(fam, op, [2, 3, 3], {}, [2, 2] + size)
        simple(fam, op, [2, 2, 3], {"stride": 2, "padding": 1, "outputPadding": 1}, [1, 2] + size)
        if n < 3:
            simple(fam, op, [4, 2, 2], {"stride": 2, "dilation": 2, "groups": 2, "bias": False}, [1, 4] + size)
    return fam


def layers_normalization():
    fam = LayerFamily("layers-normalization", 62)
    for n, shapes in ((1, ([4, 3], [2, 3, 4])), (2, ([2, 3, 2, 3],)), (3, ([2, 2, 2, 2, 2],))):
        op = f"BatchNorm{n}d"
        for shape in shapes:
            simple(fam, op, [shape[1]], {}, shape)
        simple(fam, op, [shapes[-1][1]], {"momentum": None, "eps": 1e-3}, shapes[-1])
        simple(fam, op, [shapes[-1][1]], {"affine": False, "momentum": 0.3}, shapes[-1])
        simple(fam, op, [shapes[-1][1]], {"trackRunningStats": False}, shapes[-1])
        shape = [2, 3] + [4, 3, 2][:n]
        op = f"InstanceNorm{n}d"
        simple(fam, op, [3], {}, shape)
        simple(fam, op, [3], {"affine": True}, shape)
        simple(fam, op, [3], {"affine": True, "trackRunningStats": True}, shape)
        simple(fam, op, [3], {"affine": True}, shape[1:])
    simple(fam, "GroupNorm", [2, 4], {}, [2, 4, 3])
    simple(fam, "GroupNorm", [4, 4], {"affine": False, "eps": 1e-3}, [2, 4, 2, 2])
    simple(fam, "LayerNorm", [5], {}, [2, 3, 5])
    simple(fam, "LayerNorm", [[3, 4]], {"bias": False, "eps": 1e-3}, [2, 3, 4])
    simple(fam, "LayerNorm", [4], {"elementwiseAffine": False}, [3, 4])
    simple(fam, "RMSNorm", [4], {}, [3, 4])
    simple(fam, "RMSNorm", [[3, 4]], {"eps": 1e-3}, [2, 3, 4])
    simple(fam, "RMSNorm", [4], {"elementwiseAffine": False}, [3, 4])
    simple(fam, "LocalResponseNorm", [2], {}, [2, 4, 3])
    simple(fam, "LocalResponseNorm", [3], {"alpha": 0.5, "beta": 0.6, "k": 2.0}, [2, 5, 2, 2])
    return fam


def layers_activation():
    fam = LayerFamily("layers-activation", 63)
    shape = [3, 4]

    def act(op, args=(), attrs=None, shape=shape, make=None):
        inputs = [fam.inputs.away_from_zero(shape)]
        simple(fam, op, list(args), attrs or {}, shape, inputs=inputs, make=make)

    for op in ("ReLU", "ReLU6", "SiLU", "Mish", "SELU", "Softsign", "Tanhshrink", "Sigmoid", "LogSigmoid", "Tanh", "Hardswish",
               "Hardsigmoid", "GELU", "ELU", "CELU", "GLU", "Softplus", "Softshrink", "Hardshrink", "Hardtanh", "LeakyReLU"):
        act(op)
    act("LeakyReLU", [0.3])
    act("PReLU")
    act("PReLU", [4, 0.1])
    act("PReLU", [3], shape=[2, 3, 2])
    act("GELU", [], {"approximate": "tanh"})
    act("ELU", [0.7])
    act("CELU", [0.7])
    act("GLU", [1], shape=[2, 4, 2])
    act("Softplus", [], {"beta": 2.0, "threshold": 3.0})
    act("Softshrink", [0.9])
    act("Hardshrink", [0.9])
    act("Hardtanh", [-0.5, 0.8])
    act("Threshold", [0.3, -2.0])
    for op in ("Softmax", "Softmin", "LogSoftmax"):
        act(op, [-1])
        act(op, [0])
    act("Softmax2d", shape=[2, 3, 2, 2])
    return fam


def layers_shape():
    """Padding, pooling, and moving elements between channels and space."""
    fam = LayerFamily("layers-shape", 64)
    sizes = {1: [5], 2: [4, 5], 3: [3, 4, 3]}
    for n, size in sizes.items():
        pads = [1, 2, 2, 0, 1, 1][: 2 * n]
        for kind in ("Zero", "Reflection", "Replication", "Circular"):
            simple(fam, f"{kind}Pad{n}d", [pads], {}, [1, 2] + size)
        simple(fam, f"ConstantPad{n}d", [1, 0.5], {}, [2] + size)
        big = {1: [8], 2: [6, 7], 3: [4, 5, 4]}[n]
        distinct = lambda: [fam.inputs.distinct([1, 2] + big, 0.125)]
        simple(fam, f"MaxPool{n}d", [2], {}, None, inputs=distinct())
        simple(fam, f"MaxPool{n}d", [3], {"stride": 2, "padding": 1, "ceilMode": True}, None, inputs=distinct())
        simple(fam, f"AvgPool{n}d", [2], {}, [1, 2] + big)
        simple(fam, f"AvgPool{n}d", [3], {"stride": 2, "padding": 1, "countIncludePad": False}, [1, 2] + big)
        positive = [fam.inputs.uniform([1, 2] + big, 0.3, 2)]
        simple(fam, f"LPPool{n}d", [2, 2], {}, None, inputs=positive)
        simple(fam, f"LPPool{n}d", [3, 2], {"stride": 1}, None, inputs=positive)
        simple(fam, f"AdaptiveAvgPool{n}d", [3], {}, [1, 2] + big)
        simple(fam, f"AdaptiveMaxPool{n}d", [3], {}, None, inputs=distinct())
    simple(fam, "AdaptiveAvgPool2d", [[None, 2]], {}, [1, 2, 3, 5])
    for n, size in {1: [7], 2: [5, 6], 3: [4, 2, 4]}.items():
        pooled, where = getattr(F, f"max_pool{n}d")(fam.inputs.distinct([1, 2] + size, 0.125), 2, return_indices=True)
        # Every place is named once, so the order of writing does not matter.
        torch.use_deterministic_algorithms(False)
        simple(fam, f"MaxUnpool{n}d", [2], {}, None, inputs=[pooled, where])
        torch.use_deterministic_algorithms(True)
    simple(fam, "PixelShuffle", [2], {}, [1, 8, 2, 3])
    simple(fam, "PixelUnshuffle", [2], {}, [1, 2, 4, 6])
    simple(fam, "ChannelShuffle", [2], {}, [2, 6, 2, 2])
    upsample = lambda attrs, shape: fam.layer(
        "Upsample", nn.Upsample(**{k: tuple(v) if isinstance(v, list) else v for k, v in options(attrs).items()}), [], attrs, [fam.inputs.uniform(shape)])
    upsample({"scaleFactor": 2}, [1, 2, 3])
    upsample({"size": [5, 4], "mode": "nearest"}, [1, 2, 3, 2])
    upsample({"scaleFactor": 2, "mode": "linear"}, [1, 2, 3])
    upsample({"scaleFactor": 1.5, "mode": "bilinear"}, [1, 2, 4, 2])
    upsample({"size": [6, 5], "mode": "bilinear", "alignCorners": True}, [1, 2, 3, 3])
    upsample({"size": [6, 5], "mode": "bicubic"}, [1, 1, 4, 3])
    upsample({"scaleFactor": 2, "mode": "trilinear"}, [1, 1, 2, 3, 2])
    simple(fam, "UpsamplingNearest2d", [], {"scaleFactor": 2}, [1, 2, 2, 3])
    simple(fam, "UpsamplingBilinear2d", [], {"scaleFactor": 2}, [1, 2, 2, 3])
    simple(fam, "Unfold", [[2, 3]], {}, [2, 2, 4, 5])
    simple(fam, "Unfold", [2], {"stride": 2, "padding": 1, "dilation": 2}, [1, 2, 5, 6])
    simple(fam, "Fold", [[4, 5], [2, 3]], {}, [2, 12, 9])
    simple(fam, "Fold", [[5, 6], 2], {"stride": 2, "padding": 1, "dilation": 2}, [1, 8, 9])
    simple(fam, "Fold", [[4, 4], 2], {"stride": 2}, [4, 4])
    simple(fam, "Flatten", [], {}, [2, 3, 2])
    simple(fam, "Unflatten", [1, [2, 3]], {}, [2, 6, 2])
    for mode in ("bilinear", "nearest", "bicubic"):
        for padding in ("zeros", "border", "reflection"):
            for align in (False, True):
                attrs = {"mode": mode, "paddingMode": padding, "alignCorners": align}
                fn = lambda a, g, kw=attrs: F.grid_sample(a, g, **options(kw))
                fam.layer("gridSample", Function(fn), [], attrs, [fam.inputs.uniform([1, 2, 4, 3]), fam.inputs.uniform([1, 2, 3, 2], -1.6, 1.6)])
    for mode in ("bilinear", "nearest"):
        attrs = {"mode": mode, "paddingMode": "border", "alignCorners": False}
        fn = lambda a, g, kw=attrs: F.grid_sample(a, g, **options(kw))
        fam.layer("gridSample", Function(fn), [], attrs, [fam.inputs.uniform([2, 1, 3, 2, 4]), fam.inputs.uniform([2, 2, 1, 3, 3], -1.4, 1.4)])
    for size in ([2, 3, 2, 4], [1, 2, 2, 1, 3]):
        for align in (False, True):
            n = len(size) - 2
            fn = lambda theta, s=size, a=align: F.affine_grid(theta, s, align_corners=a)
            fam.layer("affineGrid", Function(fn), [size], {"alignCorners": align}, [fam.inputs.uniform([size[0], n, n + 1])])
    return fam


def layers_linear():
    """Linear layers, distances, and weights that are computed from others."""
    fam = LayerFamily("layers-linear", 65)
    x = fam.inputs
    simple(fam, "Linear", [4, 3], {}, [2, 4])
    simple(fam, "Linear", [4, 3], {"bias": False}, [2, 2, 4])
    simple(fam, "Bilinear", [3, 4, 2], {}, None, inputs=[x.uniform([5, 3]), x.uniform([5, 4])])
    simple(fam, "Bilinear", [2, 3, 2], {"bias": False}, None, inputs=[x.uniform([2, 2, 2]), x.uniform([2, 2, 3])])
    simple(fam, "CosineSimilarity", [], {}, None, inputs=[x.uniform([3, 4]), x.uniform([3, 4])])
    simple(fam, "CosineSimilarity", [], {"dim": 0, "eps": 1e-6}, None, inputs=[x.uniform([3, 4]), x.uniform([3, 4])])
    simple(fam, "PairwiseDistance", [], {}, None, inputs=[x.uniform([3, 4]), x.uniform([3, 4])])
    simple(fam, "PairwiseDistance", [], {"p": 1, "keepdim": True}, None, inputs=[x.uniform([3, 4]), x.uniform([3, 4])])

    weight = parametrizations.weight_norm
    fam.layer("weightNorm Linear", weight(nn.Linear(4, 3)), [4, 3], {}, [x.uniform([2, 4])])
    fam.layer("weightNorm Linear", weight(nn.Linear(4, 3), dim=1), [4, 3], {"dim": 1}, [x.uniform([2, 4])])
    fam.layer("weightNorm Linear", weight(nn.Linear(4, 3), dim=None), [4, 3], {"dim": None}, [x.uniform([2, 4])])
    fam.layer("weightNorm Conv1d", weight(nn.Conv1d(2, 3, 3)), [2, 3, 3], {}, [x.uniform([1, 2, 5])])
    fam.layer("weightNorm ConvTranspose1d", weight(nn.ConvTranspose1d(2, 3, 3), dim=1), [2, 3, 3], {"dim": 1}, [x.uniform([1, 2, 4])])

    spectral = parametrizations.spectral_norm
    fam.layer("spectralNorm Linear", spectral(nn.Linear(4, 3)), [4, 3], {}, [x.uniform([2, 4])])
    fam.layer("spectralNorm Linear", spectral(nn.Linear(4, 3), n_power_iterations=3), [4, 3], {"nPowerIterations": 3}, [x.uniform([2, 4])])
    fam.layer("spectralNorm Conv2d", spectral(nn.Conv2d(2, 3, 2)), [2, 3, 2], {}, [x.uniform([1, 2, 3, 3])])
    fam.layer("spectralNorm ConvTranspose2d", spectral(nn.ConvTranspose2d(2, 3, 2)), [2, 3, 2], {}, [x.uniform([1, 2, 3, 3])])
    return fam


FAMILIES = [layers_convolution, layers_normalization, layers_activation, layers_shape, layers_linear]
