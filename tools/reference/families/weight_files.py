"""Files of weights as their own programs write them: PyTorch's (zip and legacy), numpy's with text and complex numbers, GGUF's blocks."""

import collections
import io
import tempfile
import zipfile
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

from .files import FileFamily


def values(tensor):
    """Row-major; 64-bit integers as text, floats widened."""
    t = tensor.detach()
    if t.dtype in (torch.int64, torch.uint64):
        return [str(int(v)) for v in t.reshape(-1).tolist()]
    if t.is_floating_point():
        return [v if np.isfinite(v) else str(v).replace("inf", "Infinity").replace("nan", "NaN") for v in t.double().reshape(-1).tolist()]
    return [int(v) for v in t.reshape(-1).tolist()]


def described(tensors):
    return {name: {"dtype": str(t.dtype).replace("torch.", ""), "shape": list(t.shape), "data": values(t)} for name, t in tensors.items()}


def saved(value, **options):
    out = io.BytesIO()
    torch.save(value, out, **options)
    return out.getvalue()


def state():
    base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4) / 8
    shared = torch.arange(6, dtype=torch.float64)
    return collections.OrderedDict(
        float32=base,
        transposed=base.permute(2, 0, 1),
        sliced=base[:, 1:, ::2],
        expanded=torch.tensor([1.5, -2.0]).expand(3, 2),
        float64=shared,
        view=shared[2:5],
        float16=torch.tensor([1.5, -0.25, 65504, float("inf")], dtype=torch.float16),
        bfloat16=torch.tensor([1.5, -0.25, 3e38, float("nan")], dtype=torch.bfloat16),
        int8=torch.tensor([-128, 127], dtype=torch.int8),
        uint8=torch.tensor([[0, 255]], dtype=torch.uint8),
        int16=torch.tensor([-32768, 7], dtype=torch.int16),
        int32=torch.tensor([-(2**31), 7], dtype=torch.int32),
        int64=torch.tensor([2**62, -5], dtype=torch.int64),
        bool=torch.tensor([True, False, True]),
        scalar=torch.tensor(2.5),
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(torch.tensor([[0.5]])),
    )


class Custom:
    def __reduce__(self):
        return (print, ("code ran",))


def weight_files():
    fam = FileFamily("weight-files")
    tensors = state()
    fam.add("state.pt", saved(tensors), tensors=described(tensors))
    fam.add("legacy.pt", saved(tensors, _use_new_zipfile_serialization=False), tensors=described(tensors))
    fam.add("protocol4.pt", saved(tensors, pickle_protocol=4), tensors=described(tensors))
    more = {
        "uint16": torch.tensor([65535, 3], dtype=torch.uint16),
        "uint32": torch.tensor([2**32 - 1, 3], dtype=torch.uint32),
        "e4m3": torch.tensor([1.5, -448, 2**-9, float("nan")]).to(torch.float8_e4m3fn),
        "e5m2": torch.tensor([1.5, -57344, 2**-16, float("inf")]).to(torch.float8_e5m2),
    }
    fam.add("types.pt", saved(more), tensors={**described({k: v for k, v in more.items() if v.dtype != torch.uint32}),
            "uint32": {"dtype": "uint32", "shape": [2], "data": [str(2**32 - 1), "3"]}})
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    torch.manual_seed(1)
    for p in model.parameters():
        torch.nn.init.normal_(p)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    checkpoint = {"epoch": 3, "best": 0.75, "note": "ok", "none": None, "big": 2**70, "bytes": b"\x00\xff", "betas": (0.9, 0.999),
                  "tags": {"a"}, "size": torch.Size([2, 3]), "dtype": torch.float16, "device": torch.device("cuda", 0),
                  "state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}
    fam.add("checkpoint.pt", saved(checkpoint), tensors=described(model.state_dict()))
    fam.add("checkpoint-legacy.pt", saved(checkpoint, _use_new_zipfile_serialization=False), tensors=described(model.state_dict()))
    fam.add("tensor.pt", saved(torch.tensor([1.0, 2.0])), tensors=described({"tensor": torch.tensor([1.0, 2.0])}))
    fam.add("module.pt", saved(torch.nn.Linear(2, 2)))
    fam.add("code.pt", saved({"x": Custom()}))
    fam.add("complex.pt", saved({"z": torch.tensor([1 + 2j])}))
    numpy_files(fam)
    gguf_files(fam)
    shards(fam)
    zip64(fam)
    return fam


def zip64(fam):
    limit, zipfile.ZIP64_LIMIT = zipfile.ZIP64_LIMIT, 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("first.txt", "a text longer than the limit")
        archive.writestr("second.txt", "another text, deflated " * 4, zipfile.ZIP_DEFLATED)
    zipfile.ZIP64_LIMIT = limit
    fam.add("zip64.zip", out.getvalue(), text=["a text longer than the limit", "another text, deflated " * 4])


def shards(fam):
    from safetensors.torch import save

    fam.add("f8.safetensors", save({"e4m3": torch.tensor([1.5, -448]).to(torch.float8_e4m3fn), "u16": torch.tensor([65535], dtype=torch.uint16)}),
            tensors=described({"e4m3": torch.tensor([1.5, -448.0]), "u16": torch.tensor([65535], dtype=torch.int32)}))


def numpy_files(fam):
    def npy(array):
        out = io.BytesIO()
        np.save(out, array)
        return out.getvalue()

    fam.add("complex64.npy", npy(np.array([1 + 2j, 3 - 0.5j], np.complex64)), numbers=[1, 2, 3, -0.5], shape=[2])
    fam.add("complex128.npy", npy(np.asfortranarray(np.array([[1 + 2j, 3], [4, 5j]]).astype(">c16"))), numbers=[1, 2, 3, 0, 4, 0, 0, 5], shape=[2, 2])
    fam.add("text.npy", npy(np.asfortranarray(np.array([["one", "zwölf"], ["", "𝄞"]]))), text=["one", "zwölf", "", "𝄞"], shape=[2, 2])
    fam.add("bytes.npy", npy(np.array([b"ab", b"c"])), text=["ab", "c"], shape=[2])


def gguf_files(fam):
    rng = np.random.RandomState(3)
    names = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_uint32("llama.block_count", 2)
        writer.add_float32("llama.rope.freq_base", 10000.0)
        writer.add_bool("flag", True)
        writer.add_array("tokenizer.ggml.tokens", ["a", "b", "ä"])
        writer.add_array("tokenizer.ggml.scores", [0.5, -1.0, 2.0])
        writer.add_uint64("big", 2**60)
        expected = {}
        plain = {"f32": rng.randn(2, 3).astype(np.float32), "f16": rng.randn(4).astype(np.float16), "f64": rng.randn(2), "i8": np.array([-3, 4], np.int8),
                 "i32": np.array([[7], [-8]], np.int32)}
        for name, array in plain.items():
            writer.add_tensor(name, array)
            expected[name] = {"shape": list(array.shape), "data": [float(v) for v in array.reshape(-1)]}
        for name in names:
            kind = GGMLQuantizationType[name]
            size, width = GGML_QUANT_SIZES[kind]
            # Two rows of blocks: random integers with scales of a sensible size.
            raw = rng.randint(0, 256, size=(2, width)).astype(np.uint8)
            scale_at = {"Q2_K": [80, 82], "Q3_K": [108], "Q6_K": [208], "Q4_1": [0, 2], "Q5_1": [0, 2], "Q4_K": [0, 2], "Q5_K": [0, 2], "MXFP4": []}
            for at in scale_at.get(name, [0]):
                raw[:, at:at + 2] = rng.uniform(-1, 1, size=(2, 1)).astype(np.float16).view(np.uint8).reshape(2, 2)
            if name == "MXFP4":
                raw[:, 0] = [120, 129]
            writer.add_tensor(name, raw, raw_dtype=kind)
            expected[name] = {"shape": [2, size], "data": [float(v) for v in dequantize(raw, kind).reshape(-1)]}
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        fam.add("model.gguf", path.read_bytes(), tensors=expected)


FAMILIES = [weight_files]
