"""Recurrent layers, attention, transformers and embeddings, with their state."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from common import Family
from families.layers import LayerFamily, options


def flat(value):
    """Nested outputs as one list."""
    if isinstance(value, torch.Tensor):
        return [value]
    return [t for v in value if v is not None for t in flat(v)]


def wrapped(module, forward):
    """The module with another way to call it; its state keeps its names."""
    cls = type(module)
    module.__class__ = type(cls.__name__, (cls,), {"forward": lambda self, *inputs: flat(forward(lambda *a, **k: cls.forward(self, *a, **k), *inputs))})
    return module


def recurrent_layers():
    fam = LayerFamily("layers-recurrent", 81)
    x = fam.inputs

    def run(op, args, attrs, inputs, forward=lambda call, *xs: call(*xs)):
        fam.layer(op, wrapped(getattr(nn, op)(*args, **options(attrs)), forward), args, attrs, inputs)

    def states(op, shape, proj=None):
        h = x.uniform([*shape[:2], proj or shape[2]], -1, 1)
        return [h, x.uniform(shape, -1, 1)] if op == "LSTM" else [h]

    def with_state(op):
        return (lambda call, a, h, c: call(a, (h, c))) if op == "LSTM" else (lambda call, a, h: call(a, h))

    for op in ("RNN", "GRU", "LSTM"):
        run(op, [2, 3], {}, [x.uniform([4, 2, 2])])
        run(op, [2, 3], {"batchFirst": True, "bias": False}, [x.uniform([2, 4, 2])])
        run(op, [2, 3], {"bidirectional": True}, [x.uniform([4, 2, 2]), *states(op, [2, 2, 3])], with_state(op))
        run(op, [2, 3], {"numLayers": 2, "bidirectional": True, "batchFirst": True}, [x.uniform([2, 3, 2])])
        run(op, [3, 2], {"numLayers": 3}, [x.uniform([4, 3]), *[s[:, 0] for s in states(op, [3, 1, 2])]], with_state(op))

        def packed(call, a, lengths, *state):
            state = (tuple(state) if len(state) == 2 else state[0]) if state else None
            out, last = call(pack_padded_sequence(a, lengths, enforce_sorted=False), state)
            return [pad_packed_sequence(out)[0], last]

        lengths = torch.tensor([2, 4, 1])
        run(op, [2, 3], {"bidirectional": True, "numLayers": 2}, [x.uniform([4, 3, 2]), lengths], packed)
        run(op, [2, 3], {"bidirectional": True}, [x.uniform([4, 3, 2]), lengths, *states(op, [2, 3, 3])], packed)
    run("RNN", [2, 3], {"nonlinearity": "relu", "bidirectional": True}, [x.uniform([4, 2, 2])])
    run("LSTM", [2, 4], {"projSize": 3, "numLayers": 2, "bidirectional": True}, [x.uniform([3, 2, 2]), *states("LSTM", [4, 2, 4], 3)], with_state("LSTM"))
    for op in ("RNNCell", "GRUCell", "LSTMCell"):
        state = states(op[:-4], [1, 2, 3])
        inputs = [x.uniform([2, 2]), *[s[0] for s in state]]
        run(op, [2, 3], {}, inputs, with_state(op[:-4]))
        run(op, [2, 3], {"bias": False}, [x.uniform([2, 2])])
    run("RNNCell", [2, 3], {"nonlinearity": "relu"}, [x.uniform([2, 2])])
    return fam


def attention_layers():
    fam = LayerFamily("layers-attention", 82)
    x = fam.inputs

    def run(args, attrs, inputs, forward):
        fam.layer("MultiheadAttention", wrapped(nn.MultiheadAttention(*args, **options(attrs)), forward), args, attrs, inputs)

    causal = torch.triu(torch.ones(3, 3, dtype=torch.bool), 1)
    padding = torch.tensor([[False, False, True], [False, True, True]])
    run([4, 2], {"batchFirst": True}, [x.uniform([2, 3, 4])], lambda call, a: call(a, a, a, need_weights=False)[0])
    run([4, 2], {}, [x.uniform([3, 2, 4])], lambda call, a: call(a, a, a))
    run([4, 2], {"bias": False}, [x.uniform([3, 2, 4]), x.uniform([2, 2, 4])], lambda call, a, b: call(a, b, b, average_attn_weights=False))
    run([4, 2], {"batchFirst": True}, [x.uniform([2, 3, 4]), causal], lambda call, a, m: call(a, a, a, attn_mask=m, need_weights=False)[0])
    run([4, 2], {"batchFirst": True}, [x.uniform([2, 3, 4]), padding], lambda call, a, m: call(a, a, a, key_padding_mask=m, need_weights=False)[0])
    run([4, 2], {"batchFirst": True}, [x.uniform([2, 3, 4]), padding, causal.unsqueeze(0).repeat(4, 1, 1)],
        lambda call, a, p, m: call(a, a, a, key_padding_mask=p, attn_mask=m))
    run([4, 2], {"batchFirst": True}, [x.uniform([2, 3, 4]), x.uniform([3, 3])], lambda call, a, m: call(a, a, a, attn_mask=m))
    run([4, 2], {"kdim": 3, "vdim": 5, "batchFirst": True}, [x.uniform([2, 3, 4]), x.uniform([2, 2, 3]), x.uniform([2, 2, 5])],
        lambda call, a, b, c: call(a, b, c))
    run([4, 2], {"batchFirst": True}, [x.uniform([2, 3, 4]), x.uniform([2, 2, 4]), x.uniform([2, 2, 4])], lambda call, a, b, c: call(a, b, c))
    run([4, 1], {}, [x.uniform([3, 4])], lambda call, a: call(a, a, a))
    run([4, 2], {"addBiasKv": True, "addZeroAttn": True, "batchFirst": True}, [x.uniform([2, 3, 4]), padding],
        lambda call, a, p: call(a, a, a, key_padding_mask=p))
    return fam


def transformer_layers():
    fam = LayerFamily("layers-transformer", 83)
    x = fam.inputs

    def run(op, make, args, attrs, inputs, forward=lambda call, *xs: call(*xs)):
        fam.layer(op, wrapped(make(), forward), args, attrs, inputs)

    small = {"dimFeedforward": 6, "dropout": 0.0}
    causal = torch.triu(torch.ones(3, 3, dtype=torch.bool), 1)
    padding = torch.tensor([[False, False, True], [False, True, True]])
    for attrs in ({}, {"normFirst": True, "activation": "gelu"}, {"batchFirst": True, "bias": False}):
        attrs = {**small, **attrs}
        shape, memory = ([2, 3, 4], [2, 2, 4]) if attrs.get("batchFirst") else ([3, 2, 4], [2, 2, 4])
        run("TransformerEncoderLayer", lambda: nn.TransformerEncoderLayer(4, 2, **options(attrs)), [4, 2], attrs, [x.uniform(shape), causal],
            lambda call, a, m: call(a, m))
        run("TransformerDecoderLayer", lambda: nn.TransformerDecoderLayer(4, 2, **options(attrs)), [4, 2], attrs,
            [x.uniform(shape), x.uniform(memory), causal], lambda call, a, b, m: call(a, b, tgt_mask=m))
    attrs = {**small, "batchFirst": True}
    run("TransformerEncoderLayer", lambda: nn.TransformerEncoderLayer(4, 2, **options(attrs)), [4, 2], attrs, [x.uniform([2, 3, 4]), padding],
        lambda call, a, p: call(a, src_key_padding_mask=p))
    encoder = lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, **options(attrs)), 2, nn.LayerNorm(4), enable_nested_tensor=False)
    run("TransformerEncoder", encoder, [4, 2, 2], attrs, [x.uniform([2, 3, 4])])
    decoder = lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, **options(attrs)), 2)
    run("TransformerDecoder", decoder, [4, 2, 2], attrs, [x.uniform([2, 3, 4]), x.uniform([2, 2, 4])])
    whole = {"dModel": 4, "nhead": 2, "numEncoderLayers": 1, "numDecoderLayers": 1, **small, "batchFirst": True}
    names = {**options(whole)}
    run("Transformer", lambda: nn.Transformer(**names), [], whole, [x.uniform([2, 2, 4]), x.uniform([2, 3, 4]), causal],
        lambda call, a, b, m: call(a, b, tgt_mask=m))
    return fam


def embedding_layers():
    fam = LayerFamily("layers-embedding", 84)
    x = fam.inputs

    def run(op, args, attrs, inputs, forward=lambda call, *xs: call(*xs)):
        fam.layer(op, wrapped(getattr(nn, op)(*args, **options(attrs)), forward), args, attrs, inputs)

    index = torch.tensor([[0, 3, 3], [1, 4, 0]])
    run("Embedding", [5, 3], {}, [index])
    run("Embedding", [5, 3], {"paddingIdx": 3}, [index])
    run("Embedding", [5, 3], {"scaleGradByFreq": True}, [index])
    run("Embedding", [5, 3], {"maxNorm": 0.8}, [index])
    run("Embedding", [5, 3], {"maxNorm": 0.8, "normType": 1.0}, [index])
    flat_index, offsets = torch.tensor([0, 3, 3, 1, 4, 0, 2]), torch.tensor([0, 2, 2, 5])
    for mode in ("sum", "mean", "max"):
        run("EmbeddingBag", [5, 3], {"mode": mode}, [index])
        run("EmbeddingBag", [5, 3], {"mode": mode}, [flat_index, offsets])
        run("EmbeddingBag", [5, 3], {"mode": mode, "paddingIdx": 3}, [flat_index, offsets])
        run("EmbeddingBag", [5, 3], {"mode": mode, "paddingIdx": 0}, [index])
    run("EmbeddingBag", [5, 3], {"mode": "sum", "includeLastOffset": True}, [flat_index, torch.tensor([0, 3, 7])])
    run("EmbeddingBag", [5, 3], {"mode": "sum"}, [index, x.uniform([2, 3])], lambda call, a, w: call(a, None, w))
    run("EmbeddingBag", [5, 3], {"mode": "sum"}, [flat_index, offsets, x.uniform([7])])
    return fam


def grouped_attention():
    """Query heads that share key heads, and masks that leave a query nothing."""
    fam = Family("grouped-attention", 85)
    x = fam.inputs
    gqa = lambda q, k, v, mask, isCausal: F.scaled_dot_product_attention(q, k, v, mask, is_causal=isCausal, enable_gqa=True)
    for causal in (False, True):
        fam.case("gqa", gqa, [x.uniform([2, 4, 3, 2]), x.uniform([2, 2, 3, 2]), x.uniform([2, 2, 3, 5]), None], {"isCausal": causal})
    mask = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    fam.case("gqa", gqa, [x.uniform([1, 2, 3, 2]), x.uniform([1, 1, 3, 2]), x.uniform([1, 1, 3, 2]), mask], {"isCausal": False})
    return fam


FAMILIES = [recurrent_layers, attention_layers, transformer_layers, embedding_layers, grouped_attention]
