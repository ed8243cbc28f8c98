"""OpenBLAS through NumPy, whose wheels bring their own: products of matrices only."""

import numpy as np
from serve import Prepared, Refused, options, rnd, serve

options(threads=1)


def prepare(spec):
    if spec["workload"]["kind"] != "gemm":
        raise Refused("OpenBLAS multiplies matrices only")
    size = spec["workload"]["size"]
    a, b = (rnd(seed, size * size, -1, 1).reshape(size, size) for seed in (1, 2))
    out = np.empty((size, size), dtype=np.float32)
    return Prepared(lambda: np.matmul(a, b, out=out) is None or None, lambda: out.reshape(-1)[spec["gemmProbes"]])


def info():
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {"library": f'{blas.get("name")} {blas.get("version")}'}


serve(prepare, info)
