"""Reductions, scans, sorting and searching."""

import torch

from common import Family

NAN, INF = float("nan"), float("inf")
AXES = [(None, False), ((0,), False), ((1,), True), ((-1,), False), ((0, 2), False), ((0, 1, 2), True)]


def _dims(fn):
    def run(a, dim=None, keepdim=False, **rest):
        if dim is None:
            dim = tuple(range(a.dim()))
        return fn(a, dim=tuple(dim), keepdim=keepdim, **rest)
    return run


def _attrs(dim, keepdim, **rest):
    return {**({} if dim is None else {"dim": list(dim)}), "keepdim": keepdim, **rest}


def _prod(a, dim, keepdim):
    for d in sorted((d % a.dim() for d in dim), reverse=True):
        a = a.prod(dim=d, keepdim=keepdim)
    return a


def _any(a, dim, keepdim):
    return torch.any(a, dim=dim, keepdim=keepdim)


def _all(a, dim, keepdim):
    return torch.all(a, dim=dim, keepdim=keepdim)


def reduction():
    fam = Family("reduction", 11)
    x = fam.inputs
    float_ops = {
        "sum": torch.sum, "mean": torch.mean, "amax": torch.amax, "amin": torch.amin, "prod": _prod,
        "logsumexp": torch.logsumexp,
    }
    for op, fn in float_ops.items():
        for dim, keepdim in AXES:
            fam.case(op, _dims(fn), [x.distinct([2, 3, 4])], _attrs(dim, keepdim))
        fam.case(op, _dims(fn), [x.uniform([5])], _attrs((0,), False))
        fam.case(op, _dims(fn), [torch.tensor([[NAN, 1.0], [INF, 2.0], [-INF, INF], [-0.0, 0.0]])], _attrs((1,), False),
                 grads=False, special=True)
    for op, fn in {"var": torch.var, "std": torch.std}.items():
        for correction in (1, 0):
            for dim, keepdim in AXES:
                fam.case(op, _dims(fn), [x.uniform([3, 3, 4])], _attrs(dim, keepdim, correction=correction))
    for p in (2.0, 1.0, 3.0, 0.5, INF, -INF, 0.0):
        for dim, keepdim in ((None, False), ((1,), True), ((0, 2), False)):
            fam.case("norm", lambda a, dim=None, keepdim=False, p=2.0:
                     torch.linalg.vector_norm(a, ord=p, dim=None if dim is None else tuple(dim), keepdim=keepdim),
                     [x.away_from_zero([2, 3, 4], 0.3, 2)], _attrs(dim, keepdim, p=p))
    # amax shares the gradient among ties; max along a dimension gives it to the index returned.
    ties = torch.tensor([[1.0, 3.0, 3.0, 2.0], [5.0, 5.0, 5.0, 0.0]])
    fam.case("amax", _dims(torch.amax), [ties], _attrs((1,), False))
    fam.case("amin", _dims(torch.amin), [-ties], _attrs((1,), False))
    fam.case("prod", _dims(_prod), [torch.tensor([[0.0, 2.0, 3.0], [0.0, 0.0, 2.0], [1.0, 2.0, 3.0]])], _attrs((1,), False))
    fam.case("logsumexp", _dims(torch.logsumexp), [torch.tensor([[1000.0, 1000.0], [-1000.0, -1001.0], [-INF, -INF]])],
             _attrs((1,), False), grads=False, special=True)
    for op, fn in {"max": torch.max, "min": torch.min}.items():
        for dim, keepdim in ((0, False), (1, True), (-1, False)):
            fam.case(op, lambda a, dim, keepdim, fn=fn: tuple(fn(a, dim=dim, keepdim=keepdim)),
                     [x.distinct([3, 2, 4])], {"dim": dim, "keepdim": keepdim})
        fam.case(op, lambda a, fn=fn: fn(a), [x.distinct([3, 4])])
        fam.case(op, lambda a, dim, keepdim, fn=fn: tuple(fn(a, dim=dim, keepdim=keepdim)),
                 [torch.tensor([[1.0, NAN, 3.0], [INF, -INF, 0.0]])], {"dim": 1, "keepdim": False}, grads=False, special=True)
    for op, fn in {"argmax": torch.argmax, "argmin": torch.argmin}.items():
        for dim, keepdim in ((None, False), (0, False), (1, True), (-1, False)):
            attrs = {} if dim is None else {"dim": dim, "keepdim": keepdim}
            fam.case(op, fn, [x.distinct([3, 2, 4])], attrs, grads=False)
        fam.case(op, fn, [ties], {"dim": 1}, grads=False)
        fam.case(op, fn, [ties.to(torch.int32)], {"dim": 0}, grads=False)
        fam.case(op, fn, [torch.tensor([[1.0, NAN, NAN], [INF, INF, 0.0]])], {"dim": 1}, grads=False, special=True)
    for op, fn in {"any": _any, "all": _all}.items():
        for dim, keepdim in AXES[:5]:
            fam.case(op, _dims(fn), [x.booleans([2, 3, 2]) | x.booleans([2, 3, 2])], _attrs(dim, keepdim), grads=False)
        fam.case(op, _dims(fn), [torch.tensor([[0.0, NAN], [0.0, -0.0], [1.0, 2.0]])], _attrs((1,), False), grads=False)
    # Sums of integers and of truth values are int64.
    for dtype in (torch.int32, torch.uint8, torch.int64):
        fam.case("sum", _dims(torch.sum), [x.integers([3, 4], 0, 90, dtype)], _attrs((1,), False), grads=False)
        fam.case("prod", _dims(_prod), [x.integers([3, 4], 1, 6, dtype)], _attrs((1,), False), grads=False)
        fam.case("amax", _dims(torch.amax), [x.integers([3, 4], 0, 90, dtype)], _attrs((0,), False), grads=False)
    fam.case("sum", _dims(torch.sum), [x.booleans([3, 4])], _attrs((0,), False), grads=False)
    fam.case("sum", _dims(torch.sum), [torch.zeros([0, 3])], _attrs((0,), False), grads=False)
    fam.case("prod", _dims(_prod), [torch.zeros([0, 3])], _attrs((0,), False), grads=False)
    return fam


def scan():
    fam = Family("scan", 12)
    x = fam.inputs
    for op, fn in {"cumsum": torch.cumsum, "cumprod": torch.cumprod, "logcumsumexp": torch.logcumsumexp}.items():
        for shape, dim in (([6], 0), ([3, 4], 0), ([3, 4], -1), ([2, 3, 2], 1)):
            fam.case(op, fn, [x.away_from_zero(shape, 0.3, 1.6)], {"dim": dim})
    fam.case("cumprod", torch.cumprod, [torch.tensor([[2.0, 0.0, 3.0, 4.0], [0.0, 2.0, 0.0, 1.0]])], {"dim": 1})
    for op, fn in {"cummax": torch.cummax, "cummin": torch.cummin}.items():
        for shape, dim in (([6], 0), ([3, 4], 1)):
            fam.case(op, lambda a, dim, fn=fn: tuple(fn(a, dim=dim)), [x.distinct(shape)], {"dim": dim})
    for dtype in (torch.int32, torch.int64, torch.bool):
        ints = x.booleans([2, 5]) if dtype == torch.bool else x.integers([2, 5], 1, 5, dtype)
        fam.case("cumsum", torch.cumsum, [ints], {"dim": 1}, grads=False)
        fam.case("cumprod", torch.cumprod, [ints], {"dim": 1}, grads=False)
    fam.case("cumsum", torch.cumsum, [torch.tensor([1.0, INF, -INF, 2.0])], {"dim": 0}, grads=False, special=True)
    fam.case("diff", torch.diff, [x.uniform([3, 5])], {"n": 1, "dim": -1})
    fam.case("diff", torch.diff, [x.uniform([4, 3])], {"n": 2, "dim": 0})
    return fam


def sorting():
    fam = Family("sorting", 13)
    x = fam.inputs
    stable = lambda a, dim, descending: tuple(torch.sort(a, dim=dim, descending=descending, stable=True))
    arg = lambda a, dim, descending: torch.argsort(a, dim=dim, descending=descending, stable=True)
    for descending in (False, True):
        for shape, dim in (([7], 0), ([3, 5], -1), ([4, 3], 0), ([2, 4, 3], 1)):
            fam.case("sort", stable, [x.distinct(shape)], {"dim": dim, "descending": descending})
            fam.case("argsort", arg, [x.distinct(shape)], {"dim": dim, "descending": descending}, grads=False)
        tied = torch.tensor([3.0, 1.0, 2.0, 1.0, 3.0, 2.0, 1.0])
        fam.case("sort", stable, [tied], {"dim": 0, "descending": descending})
        fam.case("sort", stable, [torch.tensor([2.0, NAN, -INF, INF, -1.0, NAN])], {"dim": 0, "descending": descending},
                 grads=False, special=True)
        fam.case("sort", stable, [x.integers([9], -5, 6, torch.int32)], {"dim": 0, "descending": descending}, grads=False)
    for largest in (True, False):
        for shape, dim, k in (([7], 0, 3), ([3, 5], -1, 2), ([5, 3], 0, 4), ([2, 4, 3], 1, 1)):
            fam.case("topk", lambda a, k, dim, largest: tuple(torch.topk(a, k, dim=dim, largest=largest, sorted=True)),
                     [x.distinct(shape)], {"k": k, "dim": dim, "largest": largest})
    for values in (x.integers([10], 0, 5, torch.int64), x.integers([10], 0, 4).float() / 2):
        fam.case("unique", lambda a, **_: torch.unique(a, sorted=True, return_inverse=True, return_counts=True), [values],
                 {"returnInverse": True, "returnCounts": True}, grads=False)
    for right in (False, True):
        fam.case("searchsorted", torch.searchsorted,
                 [torch.tensor([-1.0, 0.0, 0.0, 2.0, 3.5]), torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0, 3.5, 4.0])],
                 {"right": right}, grads=False)
        fam.case("searchsorted", torch.searchsorted,
                 [torch.tensor([[1, 3, 5], [2, 2, 4]]), torch.tensor([[3, 6], [2, 3]])], {"right": right}, grads=False)
    fam.case("nonzero", torch.nonzero, [torch.tensor([[0.0, 1.5, 0.0], [2.0, 0.0, -0.0], [NAN, 0.0, 3.0]])], grads=False)
    fam.case("nonzero", torch.nonzero, [x.booleans([2, 3, 2])], grads=False)
    fam.case("bincount", torch.bincount, [x.integers([12], 0, 6)], {"minlength": 8}, grads=False)
    return fam


FAMILIES = [reduction, scan, sorting]
