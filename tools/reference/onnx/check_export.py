"""Checks models that export-cases.mjs wrote: the ONNX checker with all it has, then ONNX Runtime against the library's results.

    python tools/reference/onnx/check_export.py <folder> [filter] [tolerance]

Prints for each model the operators it consists of and the largest error relative to the largest value, and ends with a summary.
"""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

TOLERANCE = float(sys.argv[3]) if len(sys.argv) > 3 else 1e-4

ort.set_default_logger_severity(3)


def load(path):
    return numpy_helper.to_array(onnx.load_tensor(str(path)))


def error_of(got, expected):
    if got.shape != expected.shape:
        return float("inf"), f"shape {got.shape} for {expected.shape}"
    if got.dtype != expected.dtype:
        return float("inf"), f"{got.dtype} for {expected.dtype}"
    if got.size == 0:
        return 0.0, ""
    if got.dtype.kind in "biu":
        return float(np.max(got != expected)), ""
    a, b = got.astype(np.float64), expected.astype(np.float64)
    if (np.isnan(a) != np.isnan(b)).any():
        return float("inf"), "NaN"
    same = (a == b) | np.isnan(b)
    difference = np.where(same, 0, np.abs(a - b))
    finite = np.abs(b[np.isfinite(b)])
    return float(np.max(difference) / max(finite.max(initial=0), 1e-6)), ""


def check(folder):
    path = folder / "model.onnx"
    model = onnx.load(str(path))
    onnx.checker.check_model(str(path), full_check=True)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst, why = 0.0, ""
    for data in sorted(folder.glob("test_data_set_*")):
        inputs = [load(data / f"input_{i}.pb") for i in range(len(list(data.glob("input_*.pb"))))]
        feeds = {info.name: value for info, value in zip(session.get_inputs(), inputs)}
        results = session.run(None, feeds)
        for i, got in enumerate(results):
            error, reason = error_of(np.asarray(got), load(data / f"output_{i}.pb"))
            if error > worst:
                worst, why = error, f"{data.name} output {i} {reason}"
    counts = Counter(node.op_type for node in model.graph.node)
    return worst, why, counts


def main():
    folder, *rest = sys.argv[1:]
    passed = failed = 0
    overall = 0.0
    for case in sorted(p for p in Path(folder).iterdir() if (p / "model.onnx").exists()):
        if rest and rest[0] not in case.name:
            continue
        try:
            worst, why, counts = check(case)
            ok = worst <= TOLERANCE
            text = f"{worst:.1e}  {' '.join(f'{op}x{n}' if n > 1 else op for op, n in counts.most_common())}"
            if not ok:
                text += f"  ({why})"
            overall = max(overall, worst if ok else 0)
        except Exception as error:  # noqa: BLE001
            ok, text = False, " ".join(str(error).split())[:400]
        passed, failed = passed + ok, failed + (not ok)
        print(f"{'ok  ' if ok else 'FAIL'} {case.name}: {text}")
    print(f"{passed} passed, {failed} failed, largest error of those that passed {overall:.1e}")
    sys.exit(1 if failed else 0)


main()
