"""Files written by the programs that others write them with, and what is in them: numpy, pyarrow and libsndfile.

Each case holds the bytes of a file (base64) and the values that its own reader gives.
"""

import base64
import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile as sf


class FileFamily:
    def __init__(self, name):
        self.name = name
        self.cases = []

    def add(self, name, data, **values):
        self.cases.append({"name": name, "base64": base64.b64encode(data).decode(), **values})

    def write(self, folder):
        text = json.dumps({"family": self.name, "cases": self.cases}, separators=(",", ":")).replace('{"name"', '\n{"name"') + "\n"
        (folder / f"{self.name}.json").write_text(text)
        return len(self.cases), len(text)


def described(array):
    """int64 as text: JSON numbers do not hold it."""
    flat = array.astype(np.float64) if array.dtype.kind == "f" else array
    values = [str(v) if array.dtype.itemsize == 8 and array.dtype.kind in "iu" else v for v in flat.reshape(-1).tolist()]
    values = ["NaN" if v != v else "Infinity" if v == float("inf") else v for v in values]
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": values}


def arrays():
    rng = np.random.RandomState(5)
    cube = rng.randint(-100, 100, size=(2, 3, 4))
    return {
        "float32": cube.astype(np.float32) / 8,
        "float64": rng.uniform(-1, 1, size=(5,)),
        "float16": np.array([0, 1.5, -2, 65504, 6e-8, np.inf, np.nan], np.float16),
        "int8": cube.astype(np.int8),
        "uint8": np.arange(250, 256, dtype=np.uint8),
        "int16": (cube * 300).astype(np.int16),
        "uint16": np.array([0, 65535], np.uint16),
        "int32": (cube * 10_000_000).astype(np.int32),
        "uint32": np.array([[4_294_967_295]], np.uint32),
        "int64": np.array([2**62, -(2**62), 7], np.int64),
        "uint64": np.array([2**64 - 1], np.uint64),
        "bool": np.array([[True, False], [False, True]]),
        "scalar": np.float32(3.25),
        "empty": np.zeros((0, 3), np.float32),
        "fortran": np.asfortranarray(cube.astype(np.float32)),
        "bigendian": cube.astype(">i4"),
    }


def numpy_files():
    fam = FileFamily("numpy-files")
    for name, array in arrays().items():
        out = io.BytesIO()
        np.save(out, array)
        fam.add(f"{name}.npy", out.getvalue(), arrays={"": described(np.asarray(array))})
    for name, save in (("stored.npz", np.savez), ("deflated.npz", np.savez_compressed)):
        out = io.BytesIO()
        save(out, **arrays())
        fam.add(name, out.getvalue(), arrays={key: described(np.asarray(array)) for key, array in arrays().items()})
    out = io.BytesIO()
    np.save(out, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    fam.add("object.npy", out.getvalue())
    return fam


def parquet_files():
    fam = FileFamily("parquet-files")
    rows = 60
    table = pa.table({
        "id": pa.array(range(rows), pa.int64()),
        "x": pa.array([i / 4 for i in range(rows)], pa.float32()),
        "count": pa.array([i * 3 for i in range(rows)], pa.int32()),
        "label": pa.array([["red", "green", "blue"][i % 3] for i in range(rows)]),
        "maybe": pa.array([None if i % 5 == 0 else i * 0.5 for i in range(rows)], pa.float64()),
        "flag": pa.array([i % 2 == 0 for i in range(rows)]),
        "tokens": pa.array([list(range(i % 4)) for i in range(rows)], pa.list_(pa.int32())),
    })
    values = [{**row, "id": str(row["id"])} for row in table.to_pylist()]
    for codec in ("none", "snappy", "gzip"):
        out = io.BytesIO()
        pq.write_table(table, out, row_group_size=20, compression=codec)
        fam.add(f"{codec}.parquet", out.getvalue(), **({"rows": values} if codec == "none" else {}))
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=20, compression="snappy", data_page_version="2.0", use_dictionary=False)
    fam.add("pages2.parquet", out.getvalue())
    return fam


def sound_files():
    fam = FileFamily("sound-files")
    rate = 8000
    t = np.arange(800) / rate
    stereo = np.stack([0.5 * np.sin(2 * np.pi * 440 * t), 0.25 * np.sin(2 * np.pi * 300 * t + 1)], axis=1)
    with tempfile.TemporaryDirectory() as folder:
        def add(name, data, **options):
            path = Path(folder) / name
            sf.write(path, data, rate, **options)
            decoded, _ = sf.read(path, dtype="float32", always_2d=True)
            fam.add(name, path.read_bytes(), sampleRate=rate, channels=[[round(float(v), 7) for v in c] for c in decoded.T])
        short = stereo[:60]
        for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW"):
            add(f"{subtype.lower()}.wav", short, format="WAV", subtype=subtype)
        add("extensible.wav", short, format="WAVEX", subtype="PCM_24")
        add("extensible-float.wav", short, format="WAVEX", subtype="FLOAT")
        add("pcm_16.flac", stereo, format="FLAC", subtype="PCM_16")
        add("pcm_24.flac", stereo[:200, :1], format="FLAC", subtype="PCM_24")
        tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(3200) / rate)
        add("tone.mp3", tone, format="MP3", subtype="MPEG_LAYER_III")
    return fam


FAMILIES = [numpy_files, parquet_files, sound_files]
