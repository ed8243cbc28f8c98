"""Unary, binary and ternary elementwise operations, and activations."""

import torch
import torch.nn.functional as F

from common import Family

NAN, INF = float("nan"), float("inf")
SPECIAL = torch.tensor(
    [NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, 1e-45, -1e-45, 1.1754942e-38,
     1.1754944e-38, 3.4028235e38, -3.4028235e38, 1e-10, -1e-10, 88.0, -88.0, 89.0, -104.0, 1e10, -1e10],
    dtype=torch.float32,
)

# name -> (function, lowest input, highest input)
UNARY = {
    "neg": (torch.neg, -2, 2),
    "abs": (torch.abs, -2, 2),
    "sign": (torch.sign, -2, 2),
    "exp": (torch.exp, -3, 3),
    "exp2": (torch.exp2, -3, 3),
    "expm1": (torch.expm1, -1, 2),
    "log": (torch.log, 0.05, 5),
    "log2": (torch.log2, 0.05, 5),
    "log10": (torch.log10, 0.05, 5),
    "log1p": (torch.log1p, -0.9, 3),
    "sqrt": (torch.sqrt, 0.05, 5),
    "rsqrt": (torch.rsqrt, 0.05, 5),
    "square": (torch.square, -2, 2),
    "reciprocal": (torch.reciprocal, 0.2, 4),
    "sin": (torch.sin, -6, 6),
    "cos": (torch.cos, -6, 6),
    "tan": (torch.tan, -1.2, 1.2),
    "asin": (torch.asin, -0.95, 0.95),
    "acos": (torch.acos, -0.95, 0.95),
    "atan": (torch.atan, -4, 4),
    "sinh": (torch.sinh, -2, 2),
    "cosh": (torch.cosh, -2, 2),
    "tanh": (torch.tanh, -3, 3),
    "asinh": (torch.asinh, -3, 3),
    "acosh": (torch.acosh, 1.1, 5),
    "atanh": (torch.atanh, -0.9, 0.9),
    "erf": (torch.erf, -3, 3),
    "erfc": (torch.erfc, -3, 3),
    "erfinv": (torch.erfinv, -0.95, 0.95),
    "lgamma": (torch.lgamma, 0.1, 8),
    "digamma": (torch.digamma, 0.1, 8),
    "sigmoid": (torch.sigmoid, -5, 5),
    "floor": (torch.floor, -3, 3),
    "ceil": (torch.ceil, -3, 3),
    "round": (torch.round, -3, 3),
    "trunc": (torch.trunc, -3, 3),
    "frac": (torch.frac, -3, 3),
    "relu": (torch.relu, -2, 2),
}


def unary():
    fam = Family("unary", 1)
    x = fam.inputs
    for op, (fn, lo, hi) in UNARY.items():
        fam.case(op, fn, [x.uniform([3, 5], lo, hi, 3)])
        fam.case(op, fn, [SPECIAL], grads=False, special=True)
    fam.case("lgamma", torch.lgamma, [x.uniform([8], -4.9, -0.1, 3)])
    fam.case("digamma", torch.digamma, [x.uniform([8], -4.9, -0.1, 3)])
    for op, fn in {"isNaN": torch.isnan, "isInf": torch.isinf, "isFinite": torch.isfinite}.items():
        fam.case(op, fn, [SPECIAL], grads=False, special=True)
    fam.case("logicalNot", torch.logical_not, [SPECIAL], grads=False, special=True)
    fam.case("logicalNot", torch.logical_not, [x.booleans([6])], grads=False)
    for dtype in (torch.int32, torch.int64, torch.uint8, torch.int8):
        low = 0 if dtype == torch.uint8 else -9
        ints = x.integers([8], low, 10, dtype)
        fam.case("neg", torch.neg, [ints], grads=False)
        fam.case("abs", torch.abs, [ints], grads=False)
        fam.case("sign", torch.sign, [ints], grads=False)
        fam.case("bitwiseNot", torch.bitwise_not, [ints], grads=False)
    # An integer input of a float function gives float32.
    for op in ("exp", "sqrt", "sigmoid", "sin", "log", "tanh", "erf", "reciprocal"):
        fam.case(op, UNARY[op][0], [x.integers([5], 1, 6, torch.int32)], grads=False)
    return fam


BINARY = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "pow": torch.pow,
    "atan2": torch.atan2,
    "fmod": torch.fmod,
    "remainder": torch.remainder,
    "floorDivide": torch.floor_divide,
    "copysign": torch.copysign,
    "hypot": torch.hypot,
    "logaddexp": torch.logaddexp,
}
NO_BINARY_GRAD = {"floorDivide"}
COMPARE = {
    "eq": torch.eq, "ne": torch.ne, "lt": torch.lt, "le": torch.le, "gt": torch.gt, "ge": torch.ge,
}
LOGICAL = {"logicalAnd": torch.logical_and, "logicalOr": torch.logical_or, "logicalXor": torch.logical_xor}
BITS = {"bitwiseAnd": torch.bitwise_and, "bitwiseOr": torch.bitwise_or, "bitwiseXor": torch.bitwise_xor}
SHAPES = [([2, 3], [2, 3]), ([2, 3], [3]), ([2, 1, 3], [4, 1]), ([], [2, 2]), ([3, 1], [1, 4]), ([1], [2, 3])]


def binary():
    fam = Family("binary", 2)
    x = fam.inputs
    for op, fn in BINARY.items():
        for a_shape, b_shape in SHAPES:
            a = x.uniform(a_shape, 0.2, 3, 3) if op == "pow" else x.away_from_zero(a_shape, 0.3, 3)
            b = x.away_from_zero(b_shape, 0.3, 2.3)
            fam.case(op, fn, [a, b], grads=op not in NO_BINARY_GRAD)
    special = torch.tensor([NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 2.0, -2.5, 3.0, 0.5], dtype=torch.float32)
    a, b = special.repeat_interleave(len(special)), special.repeat(len(special))
    for op, fn in {**BINARY, **COMPARE, **LOGICAL}.items():
        fam.case(op, fn, [a, b], grads=False, special=True)
    # Ties: each operand gets half of the gradient.
    tied = [torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 3.0, 3.0])]
    fam.case("maximum", torch.maximum, tied)
    fam.case("minimum", torch.minimum, tied)
    fam.case("pow", torch.pow, [x.uniform([6], -2, 2), torch.tensor([2.0, 3.0, 2.0, 3.0, 0.0, 1.0])])
    for exponent in (2, 3, -1, 0.5, -0.5, 0):
        fam.case("pow", torch.pow, [x.uniform([4], 0.3, 3), exponent])
    fam.case("sub", lambda a, b: a - b, [1.5, x.uniform([4])])
    fam.case("div", lambda a, b: a / b, [1.5, x.away_from_zero([4])])
    for op, fn in COMPARE.items():
        fam.case(op, fn, [x.integers([2, 4], 0, 3, torch.int32), x.integers([4], 0, 3, torch.int32)], grads=False)
        fam.case(op, fn, [x.integers([6], 0, 3).float(), x.integers([6], 0, 3, torch.int64)], grads=False)
    for op, fn in LOGICAL.items():
        fam.case(op, fn, [x.booleans([3, 4]), x.booleans([4])], grads=False)
    for op, fn in BITS.items():
        for dtype in (torch.int32, torch.int64, torch.int16):
            fam.case(op, fn, [x.integers([8], -90, 90, dtype), x.integers([8], -90, 90, dtype)], grads=False)
        fam.case(op, fn, [x.booleans([6]), x.booleans([6])], grads=False)
    for op, fn in {"bitwiseLeftShift": torch.bitwise_left_shift, "bitwiseRightShift": torch.bitwise_right_shift}.items():
        for dtype in (torch.int32, torch.int64):
            fam.case(op, fn, [x.integers([8], -90, 90, dtype), x.integers([8], 0, 8, dtype)], grads=False)
    # Integers: division is real, the rest stays integer; mixed dtypes promote.
    for dtype in (torch.int32, torch.int64, torch.int8, torch.uint8):
        low = 0 if dtype == torch.uint8 else -20
        top = x.integers([10], low, 20, dtype)
        bottom = torch.tensor([1, 2, 3, 4, 5, 6, 7, 1, 2, 3] if low == 0 else [1, -2, 3, -4, 5, -6, 7, -1, 2, -3], dtype=dtype)
        for op in ("add", "sub", "mul", "div", "fmod", "remainder", "floorDivide", "maximum", "minimum"):
            fam.case(op, BINARY[op], [top, bottom], grads=False)
    fam.case("add", torch.add, [x.integers([4], 0, 9, torch.int32), x.uniform([4])], grads=False)
    fam.case("mul", torch.mul, [x.integers([4], 0, 9, torch.uint8), x.integers([4], -9, 9, torch.int8)], grads=False)
    fam.case("add", torch.add, [x.booleans([4]), x.booleans([4])], grads=False)
    fam.case("add", torch.add, [x.booleans([4]), x.integers([4], 0, 9, torch.int64)], grads=False)
    fam.case("pow", torch.pow, [x.integers([6], -4, 5, torch.int32), x.integers([6], 0, 5, torch.int32)], grads=False)
    return fam


def ternary():
    fam = Family("ternary", 3)
    x = fam.inputs
    fam.case("where", torch.where, [x.booleans([2, 3]), x.uniform([2, 3]), x.uniform([2, 3])])
    fam.case("where", torch.where, [x.booleans([3]), x.uniform([2, 1]), x.uniform([2, 3])])
    fam.case("where", torch.where, [x.booleans([2, 1, 3]), x.uniform([]), x.uniform([4, 1])])
    fam.case("where", torch.where, [x.booleans([4]), x.integers([4], 0, 9, torch.int32), x.uniform([4])], grads=False)
    fam.case("maskedFill", lambda a, m, value: a.masked_fill(m, value), [x.uniform([3, 4]), x.booleans([4])], {"value": -1.5})
    fam.case("maskedFill", lambda a, m, value: a.masked_fill(m, value), [x.uniform([2, 3]), x.booleans([2, 3])],
             {"value": -INF})
    fam.case("clamp", lambda a, min=None, max=None: torch.clamp(a, min, max), [x.uniform([8])], {"min": -0.5, "max": 0.75})
    fam.case("clamp", lambda a, min=None, max=None: torch.clamp(a, min, max), [x.uniform([6])], {"min": 0.1})
    fam.case("clamp", lambda a, min=None, max=None: torch.clamp(a, min, max), [x.uniform([6])], {"max": 0.1})
    fam.case("clamp", lambda a, min=None, max=None: torch.clamp(a, min, max), [SPECIAL], {"min": -1.0, "max": 2.0},
             grads=False, special=True)
    fam.case("lerp", torch.lerp, [x.uniform([2, 3]), x.uniform([2, 3]), x.uniform([2, 3], 0, 1)])
    fam.case("lerp", torch.lerp, [x.uniform([2, 3]), x.uniform([3]), 0.3])
    fam.case("addcmul", lambda a, b, c, value: torch.addcmul(a, b, c, value=value),
             [x.uniform([2, 3]), x.uniform([3]), x.uniform([2, 1])], {"value": 0.5})
    fam.case("addcdiv", lambda a, b, c, value: torch.addcdiv(a, b, c, value=value),
             [x.uniform([2, 3]), x.uniform([3]), x.away_from_zero([2, 1])], {"value": 0.5})
    return fam


def activation():
    fam = Family("activation", 4)
    x = fam.inputs
    wide = lambda: x.uniform([3, 6], -4, 4, 3)
    plain = {
        "relu": F.relu, "relu6": F.relu6, "silu": F.silu, "mish": F.mish,
        "softsign": F.softsign, "hardsigmoid": F.hardsigmoid, "hardswish": F.hardswish, "selu": F.selu,
        "logSigmoid": F.logsigmoid, "tanhshrink": F.tanhshrink,
    }
    for op, fn in plain.items():
        fam.case(op, fn, [wide() * 2 if op == "relu6" else wide()])
        fam.case(op, fn, [SPECIAL], grads=False, special=True)
    for approximate in ("none", "tanh"):
        fam.case("gelu", F.gelu, [wide()], {"approximate": approximate})
        fam.case("gelu", F.gelu, [SPECIAL], {"approximate": approximate}, grads=False, special=True)
    for slope in (0.01, 0.2):
        fam.case("leakyRelu", F.leaky_relu, [wide()], {"negativeSlope": slope}, fn_attrs={"negative_slope": slope})
    for alpha in (1.0, 0.5):
        fam.case("elu", F.elu, [wide()], {"alpha": alpha})
        fam.case("celu", F.celu, [wide()], {"alpha": alpha})
    for beta, threshold in ((1.0, 20.0), (2.0, 4.0)):
        fam.case("softplus", F.softplus, [wide()], {"beta": beta, "threshold": threshold})
    fam.case("softplus", F.softplus, [SPECIAL], {"beta": 1.0, "threshold": 20.0}, grads=False, special=True)
    fam.case("hardtanh", F.hardtanh, [wide()], {"minVal": -1.5, "maxVal": 0.5}, fn_attrs={"min_val": -1.5, "max_val": 0.5})
    fam.case("hardshrink", F.hardshrink, [wide()], {"lambda": 0.5}, fn_attrs={"lambd": 0.5})
    fam.case("softshrink", F.softshrink, [wide()], {"lambda": 0.5}, fn_attrs={"lambd": 0.5})
    fam.case("threshold", F.threshold, [wide()], {"threshold": 0.3, "value": -1.0})
    fam.case("prelu", F.prelu, [x.uniform([2, 3, 4]), x.uniform([3], 0.1, 0.5)])
    fam.case("prelu", F.prelu, [x.uniform([2, 3]), x.uniform([1], 0.1, 0.5)])
    fam.case("glu", F.glu, [x.uniform([2, 6])], {"dim": -1})
    fam.case("glu", F.glu, [x.uniform([4, 3])], {"dim": 0})
    for shape, dim in (([2, 5], -1), ([3, 4], 0), ([2, 3, 4], 1), ([1, 7], 1)):
        fam.case("softmax", F.softmax, [x.uniform(shape, -4, 4)], {"dim": dim})
        fam.case("logSoftmax", F.log_softmax, [x.uniform(shape, -4, 4)], {"dim": dim})
        fam.case("softmin", F.softmin, [x.uniform(shape, -4, 4)], {"dim": dim})
    rows = torch.tensor([[1e4, 1e4 - 1, -1e4], [-INF, 0.0, 1.0], [INF, 0.0, 1.0], [NAN, 0.0, 1.0], [-INF, -INF, -INF]])
    fam.case("softmax", F.softmax, [rows], {"dim": -1}, grads=False, special=True)
    fam.case("logSoftmax", F.log_softmax, [rows], {"dim": -1}, grads=False, special=True)
    return fam


FAMILIES = [unary, binary, ternary, activation]
