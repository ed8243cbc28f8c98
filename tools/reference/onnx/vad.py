"""The sound of examples/vad's tests, and what ONNX Runtime makes of it: python tools/reference/onnx/vad.py MODEL FSDD

MODEL is silero_vad_v5.onnx, FSDD the folder of recordings of the Free Spoken Digit Dataset. Needs numpy and onnxruntime.
"""

import json
import sys
import wave
from pathlib import Path

import numpy as np
import onnxruntime as ort

TEST = Path(__file__).resolve().parents[3] / "examples/vad/test"
WORDS = ["3_jackson_7", "7_george_11", "9_theo_4"]
RATE = 8000
PAUSE = 0.7


def recording(path):
    with wave.open(str(path)) as file:
        assert file.getframerate() == RATE and file.getsampwidth() == 2 and file.getnchannels() == 1
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")


def probabilities(session, samples, rate):
    frame, context = (256, 32) if rate == 8000 else (512, 64)
    count = -(-len(samples) // frame)
    padded = np.zeros(context + count * frame, dtype=np.float32)
    padded[context : context + len(samples)] = samples
    state = np.zeros((2, 1, 128), dtype=np.float32)
    found = []
    for i in range(count):
        window = padded[i * frame : (i + 1) * frame + context]
        output, state = session.run(None, {"input": window[None], "state": state, "sr": np.array(rate, dtype=np.int64)})
        found.append(float(output[0, 0]))
    return found, state


def main(model, folder):
    rng = np.random.default_rng(1)
    pause = lambda: rng.integers(-12, 13, int(RATE * PAUSE)).astype("<i2")  # noqa: E731
    parts, spoken, length = [pause()], [], int(RATE * PAUSE)
    for word in WORDS:
        part = recording(Path(folder) / f"{word}.wav")
        spoken.append([length / RATE, (length + len(part)) / RATE])
        parts += [part, pause()]
        length += len(part) + len(parts[-1])
    samples = np.concatenate(parts)
    with wave.open(str(TEST / "words.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    result = {"onnxruntime": ort.__version__, "spoken": spoken}
    for rate in (8000, 16000):
        # For 16 kHz every sample counts twice.
        found, state = probabilities(session, np.repeat(samples, rate // RATE).astype(np.float32) / 32768, rate)
        result[str(rate)] = {"probabilities": [float(f"{p:.8g}") for p in found], "state": [float(f"{v:.8g}") for v in state.reshape(-1)[::8]]}
    (TEST / "onnxruntime.json").write_text(json.dumps(result) + "\n")


main(*sys.argv[1:])
