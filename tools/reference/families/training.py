"""Normalisation, losses and recurrent cells."""

import torch
import torch.nn.functional as F

from common import Family


def normalization():
    fam = Family("normalization", 51)
    x = fam.inputs
    layer = lambda a, w, b, normalizedShape, eps: F.layer_norm(a, normalizedShape, w, b, eps)
    for shape, normalized, affine in (([2, 5], [5], True), ([2, 3, 4], [4], True), ([2, 3, 4], [3, 4], True), ([4, 3], [3], False)):
        fam.case("layerNorm", layer,
                 [x.uniform(shape), x.uniform(normalized) if affine else None, x.uniform(normalized) if affine else None],
                 {"normalizedShape": normalized, "eps": 1e-5})
    fam.case("rmsNorm", lambda a, w, normalizedShape, eps: F.rms_norm(a, normalizedShape, w, eps), [x.uniform([3, 4]), x.uniform([4])],
             {"normalizedShape": [4], "eps": 1e-6})
    fam.case("groupNorm", lambda a, w, b, numGroups, eps: F.group_norm(a, numGroups, w, b, eps),
             [x.uniform([2, 4, 3]), x.uniform([4]), x.uniform([4])], {"numGroups": 2, "eps": 1e-5})
    fam.case("instanceNorm", lambda a, w, b, eps: F.instance_norm(a, None, None, w, b, True, 0.1, eps),
             [x.uniform([2, 3, 5]), x.uniform([3]), x.uniform([3])], {"eps": 1e-5})

    # Outputs of batchNorm: the result, then the running mean and variance after the call.
    def batch(a, mean, var, w, b, training, momentum, eps):
        mean, var = mean.detach().clone(), var.detach().clone()
        return [F.batch_norm(a, mean, var, w, b, training, momentum, eps), mean, var]

    for shape in ([6, 3], [3, 2, 4], [2, 3, 2, 3], [2, 2, 2, 2, 2]):
        c = [shape[1]]
        for training in (True, False):
            for affine in (True, False):
                fam.case("batchNorm", batch,
                         [x.uniform(shape), x.uniform(c, -0.5, 0.5), x.uniform(c, 0.5, 1.5), x.uniform(c) if affine else None,
                          x.uniform(c) if affine else None],
                         {"training": training, "momentum": 0.1, "eps": 1e-5}, frozen=(1, 2))
    fam.case("normalize", F.normalize, [x.uniform([3, 4])], {"p": 2.0, "dim": 1, "eps": 1e-12})
    fam.case("cosineSimilarity", F.cosine_similarity, [x.uniform([3, 4]), x.uniform([3, 4])], {"dim": 1, "eps": 1e-8})
    return fam


def loss():
    fam = Family("loss", 52)
    x = fam.inputs
    def cross(a, target, weight=None, reduction="mean", labelSmoothing=0.0, ignoreIndex=-100):
        return F.cross_entropy(a, target, weight, reduction=reduction, label_smoothing=labelSmoothing, ignore_index=ignoreIndex)
    for reduction in ("mean", "sum", "none"):
        attrs = {"reduction": reduction}
        fam.case("crossEntropy", cross, [x.uniform([4, 5], -3, 3), x.integers([4], 0, 5), None], attrs)
        fam.case("crossEntropy", cross, [x.uniform([4, 5], -3, 3), x.integers([4], 0, 5), x.uniform([5], 0.2, 2)], attrs, frozen=(2,))
        fam.case("crossEntropy", cross, [x.uniform([4, 5]), x.integers([4], 0, 5), None], {**attrs, "labelSmoothing": 0.1})
        fam.case("crossEntropy", cross, [x.uniform([4, 5]), torch.tensor([1, 4, 4, 0]), None], {**attrs, "ignoreIndex": 4})
        fam.case("crossEntropy", cross, [x.uniform([2, 3, 4]), x.integers([2, 4], 0, 3), None], attrs)
        probs = torch.softmax(x.uniform([3, 4]), 1).mul(1024).round().div(1024)
        fam.case("crossEntropy", lambda a, t, w, reduction: F.cross_entropy(a, t, w, reduction=reduction),
                 [x.uniform([3, 4]), probs, None], attrs, frozen=(1,))
        fam.case("nllLoss", lambda a, t, w, reduction: F.nll_loss(a, t, w, reduction=reduction),
                 [torch.log_softmax(x.uniform([4, 3]), 1).mul(256).round().div(256), x.integers([4], 0, 3), None], attrs)
        fam.case("mseLoss", lambda a, b, reduction: F.mse_loss(a, b, reduction=reduction), [x.uniform([3, 4]), x.uniform([3, 4])], attrs)
        fam.case("l1Loss", lambda a, b, reduction: F.l1_loss(a, b, reduction=reduction), [x.uniform([3, 4]), x.uniform([3, 4])], attrs)
        for delta in (1.0, 0.5):
            fam.case("huberLoss", lambda a, b, reduction, delta: F.huber_loss(a, b, reduction=reduction, delta=delta),
                     [x.uniform([3, 4]), x.uniform([3, 4])], {**attrs, "delta": delta})
            fam.case("smoothL1Loss", lambda a, b, reduction, beta: F.smooth_l1_loss(a, b, reduction=reduction, beta=beta),
                     [x.uniform([3, 4]), x.uniform([3, 4])], {**attrs, "beta": delta})
        logits = lambda a, t, w, p, reduction: F.binary_cross_entropy_with_logits(a, t, w, reduction=reduction, pos_weight=p)
        fam.case("bceWithLogits", logits, [x.uniform([3, 4], -6, 6), x.booleans([3, 4]).float(), None, None], attrs, frozen=(1,))
        fam.case("bceWithLogits", logits, [x.uniform([3, 4], -6, 6), x.uniform([3, 4], 0, 1), x.uniform([4], 0.2, 2), None], attrs, frozen=(1, 2))
        fam.case("bceWithLogits", logits, [x.uniform([3, 4], -6, 6), x.booleans([3, 4]).float(), None, x.uniform([4], 0.2, 2)], attrs, frozen=(1, 3))
        fam.case("bce", lambda a, t, reduction: F.binary_cross_entropy(a, t, reduction=reduction),
                 [x.uniform([3, 4], 0.05, 0.95), x.booleans([3, 4]).float()], attrs, frozen=(1,))
        fam.case("klDiv", lambda a, t, reduction: F.kl_div(a, t, reduction=reduction),
                 [x.uniform([3, 4], -3, -0.1), x.uniform([3, 4], 0.05, 0.9)], attrs, frozen=(1,))
    fam.case("bceWithLogits", logits, [torch.tensor([100.0, -100.0, 1000.0]), torch.tensor([0.0, 1.0, 1.0]), None, None],
             {"reduction": "none"}, special=True, frozen=(1,))
    return fam


def recurrent():
    """One layer over a short sequence, batch first; gates in PyTorch's order, biases separate."""
    fam = Family("recurrent", 53)
    x = fam.inputs
    for op, module, gates in (("lstm", torch.nn.LSTM, 4), ("gru", torch.nn.GRU, 3), ("rnn", torch.nn.RNN, 1)):
        def run(a, wih, whh, bih, bhh, module=module):
            net = module(wih.shape[1], whh.shape[1], batch_first=True)
            params = dict(zip(("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"), (wih, whh, bih, bhh)))
            out, state = torch.func.functional_call(net, params, (a,))
            return [out, *(state if isinstance(state, tuple) else (state,))]
        hidden, size = 3, 2
        fam.case(op, run, [x.uniform([2, 4, size]), x.uniform([gates * hidden, size], -1, 1), x.uniform([gates * hidden, hidden], -1, 1),
                           x.uniform([gates * hidden], -1, 1), x.uniform([gates * hidden], -1, 1)])
    return fam


FAMILIES = [normalization, loss, recurrent]
