"""Writes small Keras 3 models as .keras files, with inputs and what Keras makes of them, to packages/onnx/test/reference/keras.json.

    pip install keras h5py torch && KERAS_BACKEND=torch python tools/reference/keras/models.py
"""

import base64
import io
import json
import os
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras
import numpy as np
from keras import layers as L

OUT = Path(__file__).resolve().parents[3] / "packages" / "onnx" / "test" / "reference" / "keras.json"
rng = np.random.RandomState(11)
cases = []


def add(name, model, *inputs, suffix=".keras"):
    model.set_weights([(np.abs(rng.uniform(-1, 1, w.shape)) + 0.5 if "variance" in v.path else rng.uniform(-0.6, 0.6, w.shape)).round(3) for v, w in zip(model.weights, model.get_weights())])
    arrays = [rng.uniform(-1, 1, shape).round(3).astype(np.float32) if isinstance(shape, tuple) else np.array(shape, np.float32) for shape in inputs]
    outputs = model.predict(arrays if len(arrays) > 1 else arrays[0], verbose=0)
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{suffix}"
        model.save(path)
        data = path.read_bytes()
    describe = lambda a: {"shape": list(a.shape), "data": [float(np.float32(v)) for v in a.reshape(-1)]}
    cases.append({"name": name, "file": base64.b64encode(data).decode(), "inputs": [describe(a) for a in arrays], "outputs": [describe(np.asarray(a)) for a in outputs]})


add("dense", keras.Sequential([keras.Input((3,)), L.Dense(4, activation="hard_sigmoid"), L.Dense(2, activation="softmax", use_bias=False)]), (2, 3))
add("pictures", keras.Sequential([
    keras.Input((8, 7, 3)), L.Rescaling(0.5, offset=0.1), L.Conv2D(4, 3, strides=2, padding="same", activation="silu"), L.BatchNormalization(),
    L.DepthwiseConv2D(3, padding="same", depth_multiplier=2), L.ReLU(max_value=1, negative_slope=0.1), L.SeparableConv2D(3, 2), L.UpSampling2D(2, interpolation="bilinear"),
    L.Conv2DTranspose(2, 3, strides=2, padding="same"), L.MaxPooling2D(2), L.Dropout(0.3), L.Flatten(), L.Dense(3)]), (2, 8, 7, 3))
add("groups", keras.Sequential([keras.Input((6, 4)), L.Conv1D(4, 3, padding="causal", groups=2, dilation_rate=2), L.GroupNormalization(2), L.LayerNormalization(), L.AveragePooling1D(2), L.Conv1DTranspose(2, 3, strides=2)]), (2, 6, 4))
add("batch normalization of axis 1", keras.Sequential([keras.Input((3, 4)), L.BatchNormalization(axis=1, scale=False)]), (2, 3, 4))
add("recurrent", keras.Sequential([keras.Input((5, 3)), L.LSTM(4, return_sequences=True), L.GRU(3, return_sequences=True), L.GRU(3, reset_after=False, return_sequences=True), L.Bidirectional(L.LSTM(2, return_sequences=True)), L.SimpleRNN(2, activation="relu")]), (2, 5, 3))
add("masked", keras.Sequential([keras.Input((5,)), L.Embedding(6, 4, mask_zero=True), L.LSTM(3, return_sequences=True), L.Bidirectional(L.GRU(2)), L.Dense(1)]), [[1, 2, 3, 0, 0], [4, 5, 0, 0, 0]])
a, b = keras.Input((4, 4, 2), name="picture"), keras.Input((3,), name="row")
conv = L.Conv2D(2, 3, padding="same", activation="tanh")
twice = conv(conv(a))
total = L.Add()([a, twice])
joined = L.Concatenate()([total, L.Multiply()([total, a])])
pooled = L.GlobalAveragePooling2D()(joined)
inner = keras.Sequential([keras.Input((3,)), L.Dense(4, activation="relu"), L.Dense(4)], name="inner")
branch_in = keras.Input((4,))
branch = keras.Model(branch_in, L.Dense(4)(L.Activation("gelu")(branch_in)), name="branch")
merged = L.Dot(axes=-1)([pooled, branch(inner(b))])
add("graph", keras.Model([a, b], [pooled, merged]), (2, 4, 4, 2), (2, 3))
add("time distributed", keras.Sequential([keras.Input((3, 4)), L.TimeDistributed(L.Dense(2)), L.Permute((2, 1)), L.Reshape((3, 2)), L.PReLU()]), (2, 3, 4))
add("attention", keras.Model(*(lambda x: (x, L.MultiHeadAttention(2, 3)(x, x)))(keras.Input((5, 4)))), (2, 5, 4))
add("whole in h5", keras.Sequential([keras.Input((3,)), L.Dense(4, activation="relu"), L.Dense(2)]), (2, 3), suffix=".h5")
text = json.dumps({"family": "keras", "reference": f"Keras {keras.__version__}", "cases": cases}, separators=(",", ":")).replace('{"name":"', '\n{"name":"')
OUT.write_text(text + "\n")
print(len(cases), "cases", len(text) // 1024, "KiB")
