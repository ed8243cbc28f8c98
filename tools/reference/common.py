"""What every family of reference cases shares: seeded inputs, running a case, compact JSON."""

import json
import math

import numpy as np
import torch

torch.manual_seed(0)
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
torch.set_flush_denormal(False)

DTYPE_NAMES = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.int8: "int8",
    torch.uint8: "uint8",
    torch.int16: "int16",
    torch.int32: "int32",
    torch.int64: "int64",
    torch.bool: "bool",
}
DTYPES = {name: dtype for dtype, name in DTYPE_NAMES.items()}


class Inputs:
    """Seeded inputs, rounded to few digits so that the files stay small."""

    def __init__(self, seed):
        self.rng = np.random.RandomState(seed)

    def uniform(self, shape, lo=-2.0, hi=2.0, digits=2):
        values = np.round(self.rng.uniform(lo, hi, size=shape), digits).astype(np.float32)
        return torch.from_numpy(np.asarray(values, dtype=np.float32).reshape(shape)) + 0.0

    def distinct(self, shape, step=0.25, lo=None):
        """A shuffled arithmetic sequence: no ties, and no two values close to one another."""
        n = int(np.prod(shape))
        lo = -step * (n // 2) if lo is None else lo
        values = (lo + step * self.rng.permutation(n)).astype(np.float32)
        return torch.from_numpy(values.reshape(shape)) + 0.0

    def away_from_zero(self, shape, lo=0.2, hi=2.0):
        sign = np.where(self.rng.uniform(size=shape) < 0.5, -1.0, 1.0)
        values = np.round(sign * self.rng.uniform(lo, hi, size=shape), 2).astype(np.float32)
        return torch.from_numpy(np.asarray(values))

    def integers(self, shape, lo, hi, dtype=torch.int64):
        return torch.from_numpy(np.asarray(self.rng.randint(lo, hi, size=shape))).to(dtype)

    def booleans(self, shape):
        return torch.from_numpy(np.asarray(self.rng.uniform(size=shape) < 0.5))


def cotangent(like):
    """w[i] = (((7 i + 3) mod 11) - 5.5) / 4: exact in float32 and never 0."""
    i = torch.arange(like.numel(), dtype=torch.int64)
    return (((7 * i + 3) % 11).to(like.dtype) - 5.5).div(4).reshape(like.shape)


def _number(value, single):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    value = float(value)
    if math.isnan(value):
        return '"NaN"'
    if math.isinf(value):
        return '"Infinity"' if value > 0 else '"-Infinity"'
    if value == 0 and math.copysign(1.0, value) < 0:
        return '"-0"'
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    text = str(np.float32(value)) if single else repr(value)
    return text.replace("e-0", "e-").replace("e+", "e")


def encode_tensor(t):
    t = t.detach()
    name = DTYPE_NAMES[t.dtype]
    if t.dtype in (torch.float16, torch.bfloat16):
        values, single = t.to(torch.float32).reshape(-1).tolist(), True
    elif t.dtype == torch.bool:
        values, single = t.to(torch.int32).reshape(-1).tolist(), False
    else:
        values, single = t.reshape(-1).tolist(), t.dtype == torch.float32
    data = ",".join(_number(v, single) for v in values)
    shape = ",".join(str(s) for s in t.shape)
    return f'{{"dtype":"{name}","shape":[{shape}],"data":[{data}]}}'


def encode(value):
    """JSON text of anything that may stand in a case."""
    if isinstance(value, torch.Tensor):
        return encode_tensor(value)
    if value is None:
        return "null"
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, (bool, int, float)):
        return _number(value, False)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(encode(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(json.dumps(k) + ":" + encode(v) for k, v in value.items()) + "}"
    raise TypeError(f"cannot encode {type(value)}")


def _leaves(args):
    for arg in args:
        if isinstance(arg, (list, tuple)):
            yield from _leaves(arg)
        else:
            yield arg


def _prepare(arg, want_grads):
    if isinstance(arg, (list, tuple)) and any(isinstance(a, torch.Tensor) for a in arg):
        return [_prepare(a, want_grads) for a in arg]
    if isinstance(arg, torch.Tensor):
        return arg.clone().requires_grad_(want_grads and arg.dtype.is_floating_point)
    return arg


def _grad_of(arg):
    if isinstance(arg, list) and any(isinstance(a, torch.Tensor) for a in arg):
        return [_grad_of(a) for a in arg]
    if isinstance(arg, torch.Tensor) and arg.requires_grad:
        return arg.grad if arg.grad is not None else torch.zeros_like(arg)
    return None


class Family:
    """The cases of one file."""

    def __init__(self, name, seed):
        self.name = name
        self.inputs = Inputs(seed)
        self.cases = []

    def case(self, op, fn, args, attrs=None, grads=True, special=False, fn_attrs=None, frozen=()):
        """Runs fn(*args, **attrs) and records inputs, outputs and gradients.

        `attrs` go to the file and, unless `fn_attrs` is given, to fn. Arguments at the places in
        `frozen` get no gradient."""
        attrs = attrs or {}
        live = [_prepare(a, grads and i not in frozen) for i, a in enumerate(args)]
        outputs = fn(*live, **(attrs if fn_attrs is None else fn_attrs))
        several = isinstance(outputs, (tuple, list))
        outputs = list(outputs) if several else [outputs]
        record = {"op": op, "args": args, "attrs": attrs, "outputs": outputs}
        if special:
            record["special"] = True
        if grads:
            loss = None
            for out in outputs:
                if out.dtype.is_floating_point and out.requires_grad:
                    part = (out * cotangent(out)).sum()
                    loss = part if loss is None else loss + part
            if loss is not None:
                loss.backward()
                record["grads"] = [_grad_of(a) for a in live]
        self.cases.append(encode(record))

    def write(self, folder):
        text = (
            f'{{"family":"{self.name}","reference":"PyTorch {torch.__version__.split("+")[0]}","cases":[\n'
            + ",\n".join(self.cases)
            + "\n]}\n"
        )
        json.loads(text)
        path = folder / f"{self.name}.json"
        path.write_text(text)
        return len(self.cases), len(text)
