"""Writes the test cases of the installed onnx package, as folders that `npm run conformance -- --suite onnx --data FOLDER` runs.

    python tools/reference/onnx/conformance_data.py FOLDER

Makes FOLDER/node and FOLDER/simple from the package's own cases, and copies those it holds as data (pytorch-converted, pytorch-operator).
A case with tolerances of its own gets a data.json, as onnx writes for its large models.
"""

import json
import os
import shutil
import sys

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.backend.test.case import model as model_cases
from onnx.backend.test.case import node as node_cases
from onnx.backend.test.cmd_tools import DATA_DIR


def message(value, info):
    """The protocol buffer for an input or output."""
    kind = info.type.WhichOneof("value")
    if isinstance(value, TensorProto):
        return value
    if kind == "map_type":
        return numpy_helper.from_dict(value, info.name)
    if kind == "sequence_type":
        return numpy_helper.from_list(value, info.name)
    if kind == "optional_type":
        return numpy_helper.from_optional(value, info.name)
    return numpy_helper.from_array(np.asarray(value), info.name)


def write(folder, case):
    path = os.path.join(folder, case.kind, case.name)
    os.makedirs(path, exist_ok=True)
    onnx.save(case.model, os.path.join(path, "model.onnx"))
    if (case.rtol, case.atol) != (1e-3, 1e-7):
        with open(os.path.join(path, "data.json"), "w") as file:
            json.dump({"rtol": case.rtol, "atol": case.atol}, file)
    for i, (inputs, outputs) in enumerate(case.data_sets):
        data = os.path.join(path, f"test_data_set_{i}")
        os.makedirs(data, exist_ok=True)
        for name, values, infos in (("input", inputs, case.model.graph.input), ("output", outputs, case.model.graph.output)):
            for j, value in enumerate(values):
                with open(os.path.join(data, f"{name}_{j}.pb"), "wb") as file:
                    file.write(message(value, infos[j]).SerializeToString())


def main():
    folder = sys.argv[1]
    for case in [*node_cases.collect_testcases(), *model_cases.collect_testcases()]:
        if case.kind != "real":
            write(folder, case)
    for kind in ("pytorch-converted", "pytorch-operator"):
        shutil.copytree(os.path.join(DATA_DIR, kind), os.path.join(folder, kind), dirs_exist_ok=True)


if __name__ == "__main__":
    main()
