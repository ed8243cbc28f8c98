"""The child's half of the line protocol of peers/serve.mjs, in Python, and the reproducible numbers of workloads/values.mjs."""

import argparse
import gc
import json
import math
import os
import resource
import sys
import time
import traceback

import numpy as np


class Refused(Exception):
    """Raised by a side that cannot do a workload; its message goes into the table."""


class Prepared:
    """A workload ready to run.

    `call` does one step and returns its loss, or None; it ends when its result is readable in memory. `probe` gives entries
    of the output where there is no loss. `note` is shown beside the row; `info` goes into the machine-readable one.
    """

    def __init__(self, call, probe=None, note=None, info=None):
        self.call = call
        self.probe = probe
        self.note = note
        self.info = info or {}


def rnd(seed, count, lo, hi):
    """Values in [lo, hi) as float32, to the bit those of `rnd` in workloads/values.mjs."""
    u32 = np.uint32
    out = np.empty(count, dtype=np.float32)
    start = (seed * 0x9E3779B1) & 0xFFFFFFFF
    block = 1 << 22
    with np.errstate(over="ignore"):
        for begin in range(0, count, block):
            i = np.arange(begin + 1, min(count, begin + block) + 1, dtype=np.uint32)
            a = u32(start) + i * u32(0x6D2B79F5)
            t = (a ^ (a >> u32(15))) * (a | u32(1))
            t = (t + (t ^ (t >> u32(7))) * (t | u32(61))) ^ t
            t = (t ^ (t >> u32(14))).astype(np.float64)
            out[begin : begin + len(i)] = lo + ((hi - lo) * t) / 4294967296.0
    return out


def rint(seed, count, k):
    """Integers in [0, k)."""
    return np.minimum(k - 1, np.floor(rnd(seed, count, 0, 1).astype(np.float64) * k)).astype(np.int64)


def parameters(spec):
    """Initial parameters by name, in the order of their seeds: the j-th (from 1) comes from seed 1000 + j."""
    out = {}
    for j, param in enumerate(spec["params"]):
        shape = tuple(param["shape"])
        count = math.prod(shape)
        if param["init"] == "uniform":
            bound = 1 / math.sqrt(param["fanIn"])
            data = rnd(1001 + j, count, -bound, bound)
        else:
            data = np.full(count, 1 if param["init"] == "one" else 0, dtype=np.float32)
        out[param["name"]] = data.reshape(shape)
    return out


def uniform(seed, *shape, lo=-1, hi=1):
    """rnd() in a shape."""
    return rnd(seed, math.prod(shape), lo, hi).reshape(shape)


def summary(values):
    """What stands for an output: its first entry, one from the middle, the last, and the root of its mean square."""
    flat = np.asarray(values).reshape(-1)
    wide = flat.astype(np.float64)
    return [float(flat[0]), float(flat[len(flat) >> 1]), float(flat[-1]), float(math.sqrt(np.dot(wide, wide) / len(wide)))]


def summaries(outputs):
    return [value for output in outputs for value in summary(output)]


def fastest(candidates, seconds=0.3):
    """The best of several ways to do a workload, as the person who tunes it would choose.

    `candidates` maps a name to a function that makes a Prepared. Each is made and run a few times; the winner is made anew,
    so that its training starts at the first step. A way that fails here is out, unless all do.
    """
    if len(candidates) == 1:
        return next(iter(candidates.values()))()
    best = {}
    errors = []
    for name, make in candidates.items():
        try:
            prepared = make()
            prepared.call()
            least = math.inf
            begin = time.perf_counter()
            runs = 0
            while runs < 2 or (runs < 20 and time.perf_counter() - begin < seconds):
                before = time.perf_counter()
                prepared.call()
                least = min(least, time.perf_counter() - before)
                runs += 1
            best[name] = least
        except Exception as error:  # noqa: BLE001  a library may refuse in any way
            lines = str(error).strip().splitlines() or [type(error).__name__]
            errors.append(f"{name}: {lines[-1].strip()[:200]}")
        prepared = None
        gc.collect()
    if not best:
        raise Refused("; ".join(errors)[:600])
    name = min(best, key=best.get)
    prepared = candidates[name]()
    prepared.info = {
        **prepared.info,
        "way": name,
        "ways": {n: round(1000 * t, 4) for n, t in best.items()},
        **({"failedWays": errors} if errors else {}),
    }
    return prepared


def serve(prepare, info=None):
    """Serves until the parent goes away."""
    channel = os.fdopen(3, "w", buffering=1)

    def reply(message):
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    prepared = None
    for line in sys.stdin:
        message = json.loads(line)
        try:
            command = message["cmd"]
            if command == "exit":
                return
            if command == "stats":
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
                reply({"peakBytes": peak, "info": {**(info() if info else {}), **(prepared.info if prepared else {})}})
            elif command == "setup":
                prepared = prepare(message["spec"])
                gc.collect()
                gc.freeze()
                reply({"ok": True, **({"note": prepared.note} if prepared.note else {})})
            elif prepared is None:
                raise RuntimeError(f'"{command}" before "setup"')
            elif command == "probe":
                reply({"values": [float(v) for v in prepared.probe()] if prepared.probe else []})
            else:
                call, clock = prepared.call, time.perf_counter
                times, values = [], []
                begin = clock()
                while True:
                    before = clock()
                    value = call()
                    times.append(1000 * (clock() - before))
                    if value is not None:
                        values.append(value)
                    if len(times) >= message["calls"] and 1000 * (clock() - begin) >= message["ms"]:
                        break
                reply({"times": times, "values": values})
        except Refused as error:
            reply({"refused": str(error)})
        except Exception:  # noqa: BLE001  whatever a library throws goes into the row
            reply({"error": traceback.format_exc()[-2000:]})


def options(**defaults):
    """Command line options, all of the form --name value."""
    parser = argparse.ArgumentParser()
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    return parser.parse_args()
