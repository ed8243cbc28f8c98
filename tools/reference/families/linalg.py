"""Linear algebra: values, and gradients where they do not depend on the choice of signs."""

import torch

from common import Family

L = torch.linalg


def linalg():
    f = Family("linalg", 42)
    rng = f.inputs

    def m(*shape):
        return rng.uniform(shape).double().round(decimals=2)

    def symmetric(x):
        return x + x.mT

    def positive(x):
        return x @ x.mT + torch.eye(x.shape[-1], dtype=x.dtype)

    def case(op, fn, args, attrs=None, **kwargs):
        f.case(op, fn, args, attrs or {}, fn_attrs={}, **kwargs)

    for shape in ((3, 3), (2, 4, 4), (1, 1)):
        case("cholesky", lambda x: L.cholesky(positive(x)), [m(*shape)])
        case("eigvalsh", lambda x: L.eigvalsh(symmetric(x)), [m(*shape)])
        case("inv", L.inv, [m(*shape)])
        case("det", L.det, [m(*shape)])
        case("slogdet", lambda x: tuple(L.slogdet(x)), [m(*shape)])
        case("matrixExp", L.matrix_exp, [m(*shape)])
        case("solve", L.solve, [m(*shape), m(*shape[:-1], 2)])
        case("eighSquares", lambda x: L.eigh(symmetric(x)).eigenvectors ** 2, [m(*shape)])
    case("cholesky", lambda x: L.cholesky(positive(x), upper=True), [m(3, 3)], {"upper": True})
    case("matrixExp", L.matrix_exp, [m(3, 3) * 20])
    case("matrixExp", L.matrix_exp, [m(2, 3, 3) * torch.tensor([0.01, 4.0], dtype=torch.float64).reshape(2, 1, 1)])
    case("solve", L.solve, [m(3, 3), m(3)])
    case("solve", L.solve, [m(2, 1, 3, 3), m(3, 3, 2)])
    case("solve", lambda a, b: L.solve(a, b, left=False), [m(3, 3), m(2, 3)], {"left": False})
    for upper in (False, True):
        for unitriangular in (False, True):
            fn = lambda a, b: L.solve_triangular(a, b, upper=upper, unitriangular=unitriangular)
            a = m(2, 3, 3) + 2 * torch.eye(3, dtype=torch.float64)
            case("solveTriangular", fn, [a.triu() if upper else a.tril(), m(2, 3, 5)], {"upper": upper, "unitriangular": unitriangular})
    case("solveTriangular", lambda a, b: L.solve_triangular(a, b, upper=True, left=False), [(m(3, 3) + 2 * torch.eye(3)).triu(), m(2, 3)], {"upper": True, "left": False})
    for shape in ((4, 2), (3, 3), (2, 4), (2, 5, 3)):
        case("qr", lambda x: tuple(L.qr(x)), [m(*shape)])
        case("svdvals", L.svdvals, [m(*shape)])
        case("svdSquares", lambda x: [(s.U ** 2, s.Vh ** 2) for s in [L.svd(x, full_matrices=False)]][0], [m(*shape)])
        case("pinv", L.pinv, [m(*shape)])
        case("lu", lambda x: tuple(L.lu(x)), [m(*shape)])
        case("lstsq", lambda a, b: L.lstsq(a, b).solution, [m(*shape), m(*shape[:-1], 2)])
        case("matrixRank", lambda x: L.matrix_rank(x), [m(*shape)], grads=False)
    case("qr", lambda x: tuple(L.qr(x, mode="complete")), [m(4, 2)], {"mode": "complete"}, grads=False)
    deficient = m(5, 2) @ m(2, 4)
    case("matrixRank", lambda x: L.matrix_rank(x), [deficient], grads=False)
    case("pinv", L.pinv, [deficient], grads=False)
    case("lstsq", lambda a, b: L.lstsq(a, b, driver="gelsd").solution, [deficient, m(5, 1)], grads=False)
    for order in ("fro", "nuc", 1, -1, 2, -2, float("inf"), float("-inf")):
        name = str(order) if isinstance(order, float) else order
        name = {"inf": "Infinity", "-inf": "-Infinity"}.get(name, name)
        case("matrixNorm", lambda x: L.matrix_norm(x, order), [m(2, 3, 4)], {"ord": name})
        case("cond", lambda x: L.cond(x, order), [m(3, 3)], {"p": name}, grads=False)
    case("matrixNorm", lambda x: L.matrix_norm(x, 2, dim=(0, 2), keepdim=True), [m(3, 2, 4)], {"ord": 2, "dim": [0, 2], "keepdim": True})
    for order in (0, 1, 2, 3.5, -1, float("inf")):
        name = "Infinity" if order == float("inf") else order
        case("vectorNorm", lambda x: L.vector_norm(x, order, dim=-1), [m(2, 5)], {"ord": name})
    for n in (0, 1, 2, 5, -3):
        case("matrixPower", lambda x: L.matrix_power(x, n), [m(2, 3, 3)], {"n": n})
    case("cross", lambda a, b: L.cross(a, b), [m(4, 3), m(1, 3)])
    case("cross", lambda a, b: L.cross(a, b, dim=0), [m(3, 4), m(3, 4)], {"dim": 0})
    case("kron", torch.kron, [m(2, 3), m(3, 2)])
    case("kron", torch.kron, [m(2), m(2, 3, 2)])
    case("multiDot", lambda *t: L.multi_dot(t), [m(2, 7), m(7, 3), m(3, 5), m(5, 2)])
    case("multiDot", lambda *t: L.multi_dot(t), [m(7), m(7, 3), m(3)])
    case("vander", lambda x: L.vander(x, N=4), [m(2, 3)], {"count": 4})
    case("choleskySolve", lambda b, l: torch.cholesky_solve(b, l.tril()), [m(3, 2), L.cholesky(positive(m(3, 3)))])
    case("choleskyInverse", lambda l: torch.cholesky_inverse(l.tril()), [L.cholesky(positive(m(3, 3)))])
    case("luSolve", lambda a, b: L.lu_solve(*L.lu_factor(a), b), [m(2, 4, 4), m(2, 4, 3)])
    return f


FAMILIES = [linalg]
