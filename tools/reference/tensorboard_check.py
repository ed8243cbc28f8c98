"""Reads event files with TensorBoard's own code, and says what is in them.

    .venv/bin/python tensorboard_check.py                   # makes a run with every kind (needs `npm run build`), and requires all
    .venv/bin/python tensorboard_check.py RUN_DIRECTORY     # of a training with the TensorBoard callback

Prints one JSON object: for each plugin its tags with the number of steps, values of scalars, decoded sizes of images, the
hyperparameters of the session. Ends with 1 when a kind is missing, with an
error when one cannot be decoded.
"""
import argparse
import io
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

from tensorboard.backend.event_processing import event_accumulator
from tensorboard.compat.proto import graph_pb2
from tensorboard.plugins.hparams import api_pb2, metadata as hparams_metadata
from tensorboard.util import tensor_util


ALL = ["scalars", "images", "histograms", "text", "pr_curves", "graphs", "hparams"]

# A training with the TensorBoard callback, and every kind of its writer by hand.
RUN = """
import { crossEntropy, nn, optim, tensor } from 'trireme';
import { LambdaCallback, Model, TensorBoard } from 'trireme/train';
const board = new TensorBoard({ directory: process.argv.at(-1), graph: [1, 2], histogramsEvery: 1 });
const extras = new LambdaCallback({
  onEpochEnd: (run, { step }) => {
    const picture = tensor(Float32Array.from({ length: 2 * 3 * 5 * 7 }, (_, i) => (i % 11) / 10), { shape: [2, 3, 5, 7] });
    board.writer.addImage('samples', picture, step);
    board.writer.addImage('grey', { width: 4, height: 3, channels: 1, data: new Uint8Array(12).fill(90) }, step);
    board.writer.addText('note', '**epoch** done', step);
    board.writer.addPrCurve('pr', [1, 0, 1, 0], [0.9, 0.2, 0.4, 0.6], step);
    picture.dispose();
  },
});
const net = new nn.Sequential(new nn.Linear(2, 8), new nn.ReLU(), new nn.Linear(8, 2));
const x = tensor([[0, 1], [1, 0], [2, 1], [1, 2]]);
const y = tensor(Int32Array.of(0, 1, 0, 1));
const model = new Model(net).compile({ optimizer: (p) => new optim.AdamW(p, { lr: 0.01 }), loss: crossEntropy });
await model.fit({ x, y, batchSize: 2 }, { epochs: 3, validation: { x, y }, callbacks: [board, extras] });
"""


def make_run(directory):
    root = pathlib.Path(__file__).parents[2]
    subprocess.run(["node", "--input-type=module", "--eval", RUN, "--", directory], cwd=root, check=True)


def png_size(data):
    assert data[:8] == b"\x89PNG\r\n\x1a\n", "not a PNG"
    try:
        from PIL import Image

        picture = Image.open(io.BytesIO(data))
        picture.load()
        return list(picture.size) + [picture.mode]
    except ImportError:
        return list(struct.unpack(">II", data[16:24]))




def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", nargs="?")
    directory = parser.parse_args().directory
    if directory is not None:
        return check(directory, [])
    with tempfile.TemporaryDirectory() as made:
        make_run(made)
        return check(made, ALL)


def check(directory, required):
    acc = event_accumulator.EventAccumulator(
        directory, size_guidance={event_accumulator.TENSORS: 0, event_accumulator.SCALARS: 0}
    )
    acc.Reload()
    tags = acc.Tags()
    report = {}
    for tag in tags["tensors"]:
        metadata = acc.SummaryMetadata(tag)
        plugin = metadata.plugin_data.plugin_name
        events = acc.Tensors(tag)
        entry = {"steps": [e.step for e in events], "dataClass": metadata.data_class}
        arrays = [tensor_util.make_ndarray(e.tensor_proto) for e in events]
        if plugin == "scalars":
            entry["values"] = [float(a) for a in arrays]
        elif plugin == "images":
            width, height, *pngs = arrays[-1]
            entry["declared"] = [int(width), int(height)]
            entry["decoded"] = [png_size(p) for p in pngs]
        elif plugin == "histograms":
            entry["shape"] = list(arrays[-1].shape)
            entry["count"] = float(arrays[-1][:, 2].sum())
        elif plugin == "text":
            entry["text"] = [v.decode() for v in arrays[-1].reshape(-1)]
        elif plugin == "pr_curves":
            entry["shape"] = list(arrays[-1].shape)
        elif plugin == "hparams":
            content = acc.SummaryMetadata(tag).plugin_data.content
            if tag == hparams_metadata.EXPERIMENT_TAG:
                experiment = hparams_metadata.parse_experiment_plugin_data(content)
                entry["hparams"] = {i.name: api_pb2.DataType.Name(i.type) for i in experiment.hparam_infos}
                entry["metrics"] = [m.name.tag for m in experiment.metric_infos]
            elif tag == hparams_metadata.SESSION_START_INFO_TAG:
                start = hparams_metadata.parse_session_start_info_plugin_data(content)
                entry["values"] = {k: getattr(v, v.WhichOneof("kind")) for k, v in start.hparams.items()}
            elif tag == hparams_metadata.SESSION_END_INFO_TAG:
                entry["status"] = api_pb2.Status.Name(hparams_metadata.parse_session_end_info_plugin_data(content).status)
        report.setdefault(plugin, {})[tag] = entry
    if tags["graph"]:
        graph = acc.Graph()
        assert isinstance(graph, graph_pb2.GraphDef)
        names = {n.name for n in graph.node}
        missing = [i for n in graph.node for i in n.input if i.split(":")[0] not in names]
        assert not missing, f"inputs of no node: {missing}"
        report["graphs"] = {"nodes": len(graph.node), "ops": sorted({n.op for n in graph.node})}
    print(json.dumps(report, indent=1))
    lacking = [kind for kind in required if kind not in report]
    if lacking:
        print(f"missing: {', '.join(lacking)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
