"""PyTorch's promotion of dtypes, as tables."""

import torch

from common import DTYPE_NAMES, DTYPES, Family, encode

SCALARS = {"bool": True, "int": 2, "float": 2.5}


def promotion():
    fam = Family("promotion", 61)
    for a_name, a in DTYPES.items():
        for b_name, b in DTYPES.items():
            record = {"op": "promoteTypes", "args": [a_name, b_name], "attrs": {}, "outputs": [DTYPE_NAMES[torch.promote_types(a, b)]]}
            fam.cases.append(encode(record))
    for a_name, a in DTYPES.items():
        for kind, value in SCALARS.items():
            one = torch.ones([2], dtype=a)
            for op, fn in (("add", torch.add), ("mul", torch.mul), ("div", torch.div)):
                out = fn(one, value)
                record = {"op": "promoteNumber", "args": [a_name, kind], "attrs": {"with": op}, "outputs": [DTYPE_NAMES[out.dtype]]}
                fam.cases.append(encode(record))
        # A 0-d tensor takes part only by its category, as a number does.
        for b_name, b in DTYPES.items():
            record = {"op": "promoteZeroDim", "args": [a_name, b_name], "attrs": {},
                      "outputs": [DTYPE_NAMES[torch.result_type(torch.ones([2], dtype=a), torch.ones([], dtype=b))]]}
            fam.cases.append(encode(record))
        for op, fn in (("sum", torch.sum), ("prod", torch.prod), ("exp", torch.exp), ("argmax", torch.argmax), ("neg", torch.neg),
                       ("cumsum", lambda t: torch.cumsum(t, 0)), ("mean", torch.mean), ("sqrt", torch.sqrt), ("abs", torch.abs)):
            try:
                result = DTYPE_NAMES[fn(torch.ones([2], dtype=a)).dtype]
            except RuntimeError:
                result = "error"
            fam.cases.append(encode({"op": "resultOf", "args": [a_name], "attrs": {"of": op}, "outputs": [result]}))
    # Conversions: a finite value within the target's range, and the wrap-around of integers.
    floats = torch.tensor([0.0, 0.5, -0.5, 1.9, -1.9, 2.5, 100.7, -100.7])
    ints = torch.tensor([0, 1, -1, 127, 128, 255, 256, -129, 32768, 70000])
    for name, dtype in DTYPES.items():
        if name != "uint8":
            fam.case("to", lambda t, dtype, target=dtype: t.to(target), [floats], {"dtype": name}, grads=False)
        fam.case("to", lambda t, dtype, target=dtype: t.to(target), [ints], {"dtype": name}, grads=False)
    narrow = torch.tensor([1.0, 1.0009766, 1.0004883, 1.0014648, 65504.0, 65519.0, 65520.0, 6e-8, 2.9e-8, 3.1e-8, 6.1e-5, 3.3895314e38,
                           1.00390625, 1.01171875, float("inf"), float("-inf"), float("nan"), -0.0])
    for dtype in ("float16", "bfloat16"):
        fam.case("to", lambda t, dtype, target=DTYPES[dtype]: t.to(target), [narrow], {"dtype": dtype}, grads=False, special=True)
    return fam


FAMILIES = [promotion]
