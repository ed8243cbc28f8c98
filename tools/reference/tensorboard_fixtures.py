"""Summaries, graphs and records in TensorBoard's own encoding, for the tests of the writer in packages/core/src/train.

    .venv/bin/python tensorboard_fixtures.py        # writes packages/core/test/reference/tensorboard.json

Every value is made with TensorBoard's protocol buffers and its plugins' functions, framed as TensorFlow's record files are, and
read back by TensorBoard's own reader before it is written. Bytes are base64.
"""
import base64
import json
import pathlib
import struct
import tempfile

import numpy as np
from google.protobuf import struct_pb2
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto import event_pb2, graph_pb2, summary_pb2, types_pb2
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.pr_curve import metadata as pr_metadata
from tensorboard.plugins.scalar import metadata as scalar_metadata
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.util import tensor_util

OUT = pathlib.Path(__file__).parents[2] / "packages/core/test/reference/tensorboard.json"


def tensor(array, dtype):
    proto = tensor_util.make_tensor_proto(np.asarray(array, dtype=dtype))
    if dtype != object:
        # Always as bytes: the writer does not use the short forms.
        array = np.asarray(array, dtype=dtype)
        for field in ("float_val", "double_val"):
            proto.ClearField(field)
        proto.tensor_content = array.tobytes()
    return proto


def strings(values, shape):
    proto = tensor_util.make_tensor_proto(values)
    proto.tensor_shape.Clear()
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def value(tag, metadata, data):
    return summary_pb2.Summary.Value(tag=tag, metadata=metadata, tensor=data)


def described(metadata):
    """display_name and description are not written."""
    metadata.display_name = ""
    metadata.summary_description = ""
    return metadata


def pr_curve(labels, predictions, count):
    """The definition of tensorboard/plugins/pr_curve/summary.py."""
    labels = np.asarray(labels, dtype=float)
    buckets = np.int32(np.floor(np.asarray(predictions) * (count - 1)))
    tp = np.histogram(buckets, bins=count, range=(0, count - 1), weights=labels)[0]
    fp = np.histogram(buckets, bins=count, range=(0, count - 1), weights=1.0 - labels)[0]
    tp = np.cumsum(tp[::-1])[::-1]
    fp = np.cumsum(fp[::-1])[::-1]
    tn, fn = fp[0] - fp, tp[0] - tp
    precision = tp / np.maximum(1e-7, tp + fp)
    recall = tp / np.maximum(1e-7, tp + fn)
    return np.stack((tp, fp, tn, fn, precision, recall)).astype(np.float32)


def hparams_value(tag, **content):
    data = plugin_data_pb2.HParamsPluginData(**content)
    metadata = hparams_metadata.create_summary_metadata(data)
    # Maps in the order of their keys.
    metadata.plugin_data.content = data.SerializeToString(deterministic=True)
    metadata.data_class = summary_pb2.DATA_CLASS_TENSOR
    return value(tag, metadata, tensor([0.0], np.float32))


def hparams_values(hparams, metrics, seconds):
    kinds = {str: "DATA_TYPE_STRING", bool: "DATA_TYPE_BOOL", float: "DATA_TYPE_FLOAT64"}
    infos = [api_pb2.HParamInfo(name=k, type=api_pb2.DataType.Value(kinds[type(v)])) for k, v in hparams.items()]
    metric_infos = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in metrics]
    experiment = api_pb2.Experiment(time_created_secs=seconds, hparam_infos=infos, metric_infos=metric_infos)
    start = plugin_data_pb2.SessionStartInfo(group_name="g", start_time_secs=seconds)
    for name, v in hparams.items():
        start.hparams[name].CopyFrom(any_value(v))
    end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=seconds + 1)
    return {
        "experiment": hparams_value(hparams_metadata.EXPERIMENT_TAG, experiment=experiment),
        "start": hparams_value(hparams_metadata.SESSION_START_INFO_TAG, session_start_info=start),
        "end": hparams_value(hparams_metadata.SESSION_END_INFO_TAG, session_end_info=end),
    }


def any_value(v):
    if isinstance(v, bool):
        return struct_pb2.Value(bool_value=v)
    return struct_pb2.Value(string_value=v) if isinstance(v, str) else struct_pb2.Value(number_value=v)


def graph():
    g = graph_pb2.GraphDef()

    def node(name, op, inputs, shapes, attrs=None):
        n = g.node.add(name=name, op=op, input=inputs)
        n.attr["dtype"].type = types_pb2.DT_FLOAT
        n.attr["_output_shapes"].list.SetInParent()
        for shape in shapes:
            added = n.attr["_output_shapes"].list.shape.add()
            for size in shape:
                added.dim.add(size=size)
        if attrs:
            n.attr["attrs"].s = attrs.encode()

    node("input0", "Placeholder", [], [[2, 3]])
    node("weight", "Parameter", [], [[3]])
    node("Net/lin_1/mul", "mul", ["input0", "weight"], [[2, 3]], '{"a":1}')
    node("Net/lin_1/mul_1", "mul", ["Net/lin_1/mul", "weight"], [[2, 3]])
    node("output_0", "Output", ["Net/lin_1/mul_1"], [[2, 3]])
    g.versions.producer = 22
    return g


def record(data):
    header = struct.pack("<Q", len(data))
    return header + struct.pack("<I", masked_crc32c(header)) + data + struct.pack("<I", masked_crc32c(data))


def main():
    labels = [1, 0, 1, 1, 0, 0, 1, 0]
    predictions = [0.9, 0.4, 0.35, 0.8, 0.1, 0.6, 1.0, 0.0]
    values = [-1.5, -0.25, 0.0, 0.1, 0.2, 0.75, 3.0, 3.0]
    low, high, buckets = -1.5, 3.0, 5
    counts, _ = np.histogram(values, bins=buckets, range=(low, high))
    edges = [low + (high - low) * k / buckets for k in range(buckets)] + [high]
    rows = [[edges[k], edges[k + 1], counts[k]] for k in range(buckets)]
    # In the order of their names: maps are written so.
    hparams = {"jit": True, "lr": 0.01, "network": "Net"}
    seconds = 1700000000.25

    summaries = {
        "scalar": value("loss", described(scalar_metadata.create_summary_metadata("", "")), tensor(0.1, np.float32)),
        "text": value("note", described(text_metadata.create_summary_metadata("", "")), strings([b"**bold** \xc3\xa9"], [])),
        "images": value(
            "picture",
            described(image_metadata.create_summary_metadata("", "")),
            strings([b"3", b"2", b"first", b"second"], [4]),
        ),
        "histogram": value("w", described(histogram_metadata.create_summary_metadata("", "")), tensor(rows, np.float64)),
        "prCurve": value("pr", described(pr_metadata.create_summary_metadata("", "", num_thresholds=11)), tensor(pr_curve(labels, predictions, 11), np.float32)),
        **hparams_values(hparams, ["loss/train"], seconds),
    }
    summaries["scalar"].metadata.data_class = summary_pb2.DATA_CLASS_SCALAR
    summaries["text"].metadata.data_class = summary_pb2.DATA_CLASS_TENSOR
    summaries["histogram"].metadata.data_class = summary_pb2.DATA_CLASS_TENSOR
    summaries["images"].metadata.data_class = summary_pb2.DATA_CLASS_BLOB_SEQUENCE
    summaries["prCurve"].metadata.data_class = summary_pb2.DATA_CLASS_TENSOR

    events = [event_pb2.Event(wall_time=seconds, file_version="brain.Event:2")]
    for step, name in enumerate(summaries):
        events.append(event_pb2.Event(wall_time=seconds, step=1000 * step, summary=summary_pb2.Summary(value=[summaries[name]])))
    events.append(event_pb2.Event(wall_time=seconds, graph_def=graph().SerializeToString(deterministic=True)))
    data = [e.SerializeToString(deterministic=True) for e in events]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "events.out.tfevents.1"
        path.write_bytes(b"".join(record(d) for d in data))
        assert list(RawEventFileLoader(str(path)).Load()) == data

    def text(raw):
        return base64.b64encode(raw).decode()

    content = {
        "reference": "TensorBoard " + __import__("tensorboard").__version__,
        "labels": labels,
        "predictions": predictions,
        "values": values,
        "buckets": buckets,
        "hparams": hparams,
        "seconds": seconds,
        "summaries": {name: text(v.SerializeToString(deterministic=True)) for name, v in summaries.items()},
        "graph": text(graph().SerializeToString(deterministic=True)),
        "record": text(record(data[1])),
        "recordContent": text(data[1]),
    }
    OUT.write_text(json.dumps(content, indent=1) + "\n")
    print(f"wrote {OUT} ({OUT.stat().st_size} bytes), {len(data)} records read back")


if __name__ == "__main__":
    main()
