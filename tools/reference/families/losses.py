"""The wider set of losses. Where PyTorch has no function, the published formula is written out in PyTorch."""

import math

import torch
import torch.nn.functional as F

from common import Family


def _reduce(values, reduction):
    return values if reduction == "none" else values.sum() if reduction == "sum" else values.mean()


def _sigmoid_focal(a, t, alpha, gamma, reduction):
    p = torch.sigmoid(a)
    values = F.binary_cross_entropy_with_logits(a, t, reduction="none") * (1 - (p * t + (1 - p) * (1 - t))) ** gamma
    if alpha is not None:
        values = values * (alpha * t + (1 - alpha) * (1 - t))
    return _reduce(values, reduction)


def _focal(a, t, alpha, gamma, reduction):
    logs = F.log_softmax(a, 1).gather(1, t.unsqueeze(1)).squeeze(1)
    values = -logs * (1 - logs.exp()) ** gamma
    if alpha is not None:
        values = values * alpha[t]
    return _reduce(values, reduction)


def _overlap(kind, x, t, activation, smooth, batch, includeBackground, alpha=0.5, beta=0.5, gamma=1.0, reduction="mean"):
    p = {"softmax": lambda: torch.softmax(x, 1), "sigmoid": lambda: torch.sigmoid(x), "none": lambda: x}[activation]()
    if t.dtype == torch.int64:
        t = F.one_hot(t, x.shape[1]).movedim(-1, 1).float()
    if not includeBackground:
        p, t = p[:, 1:], t[:, 1:]
    axes = [0] * batch + list(range(2, x.dim()))
    both, a, b = (p * t).sum(axes), p.sum(axes), t.sum(axes)
    if kind == "dice":
        values = 1 - (2 * both + smooth) / (a + b + smooth)
    elif kind == "jaccard":
        values = 1 - (both + smooth) / (a + b - both + smooth)
    else:
        values = (1 - (both + smooth) / (both + alpha * (a - both) + beta * (b - both) + smooth)) ** gamma
    return _reduce(values, reduction)


def _boxes(kind, a, b, reduction, eps=1e-7):
    lt, rb = torch.max(a[:, :2], b[:, :2]), torch.min(a[:, 2:], b[:, 2:])
    inter = (rb - lt).clamp(min=0).prod(1)
    area = lambda t: (t[:, 2] - t[:, 0]) * (t[:, 3] - t[:, 1])
    union = area(a) + area(b) - inter
    iou = inter / (union + eps)
    hull = torch.max(a[:, 2:], b[:, 2:]) - torch.min(a[:, :2], b[:, :2])
    values = 1 - iou
    if kind == "generalized":
        values = values + (hull.prod(1) - union) / (hull.prod(1) + eps)
    if kind in ("distance", "complete"):
        centre = lambda t: (t[:, :2] + t[:, 2:]) / 2
        values = values + ((centre(a) - centre(b)) ** 2).sum(1) / ((hull**2).sum(1) + eps)
    if kind == "complete":
        angle = lambda t: torch.atan((t[:, 2] - t[:, 0]) / (t[:, 3] - t[:, 1]))
        v = 4 / math.pi**2 * (angle(b) - angle(a)) ** 2
        with torch.no_grad():
            alpha = v / (1 - iou + v + eps)
        values = values + alpha * v
    return _reduce(values, reduction)


def _info_nce(q, k, negatives, temperature, symmetric, reduction):
    q, k = F.normalize(q, dim=1), F.normalize(k, dim=1)
    if negatives is not None:
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ F.normalize(negatives, dim=1).T], 1) / temperature
        return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.int64), reduction=reduction)
    logits, own = q @ k.T / temperature, torch.arange(len(q))
    loss = F.cross_entropy(logits, own, reduction=reduction)
    return (loss + F.cross_entropy(logits.T, own, reduction=reduction)) / 2 if symmetric else loss


def _nt_xent(a, b, temperature, reduction):
    z = F.normalize(torch.cat([a, b]), dim=1)
    n = len(a)
    logits = (z @ z.T / temperature).masked_fill(torch.eye(2 * n, dtype=torch.bool), float("-inf"))
    return F.cross_entropy(logits, torch.cat([torch.arange(n, 2 * n), torch.arange(n)]), reduction=reduction)


def _sup_con(x, labels, temperature):
    z = F.normalize(x, dim=1)
    n = len(x)
    self = torch.eye(n, dtype=torch.bool)
    logs = F.log_softmax((z @ z.T / temperature).masked_fill(self, -1e30), 1)
    alike = (labels[:, None] == labels[None, :]) & ~self
    values = -torch.where(alike, logs, 0).sum(1) / alike.sum(1).clamp(min=1)
    return values[alike.any(1)].mean()


def _arc(x, w, t, margin, scale, easyMargin):
    cosine = F.normalize(x, dim=1) @ F.normalize(w, dim=1).T
    turned = torch.cos(torch.acos(cosine) + margin)
    if easyMargin:
        phi = torch.where(cosine > 0, turned, cosine)
    else:
        phi = torch.where(cosine > math.cos(math.pi - margin), turned, cosine - margin * math.sin(margin))
    hit = F.one_hot(t, len(w)).bool()
    return F.cross_entropy(scale * torch.where(hit, phi, cosine), t)


def _hinge(a, y, margin, squared, reduction):
    values = (margin - a * y).clamp(min=0)
    return _reduce(values**2 if squared else values, reduction)


def _contrastive(a, b, y, margin, reduction):
    d = F.pairwise_distance(a, b)
    return _reduce(0.5 * torch.where(y == 0, (margin - d).clamp(min=0) ** 2, d**2), reduction)


def losses():
    fam = Family("losses", 61)
    x = fam.inputs
    signs = lambda shape: x.booleans(shape).float() * 2 - 1
    boxes = lambda n: (lambda at: torch.cat([at, at + x.uniform([n, 2], 0.5, 3)], 1).mul(64).round().div(64))(x.uniform([n, 2], 0, 2))
    cross = lambda a, t, w, reduction, labelSmoothing=0.0, ignoreIndex=-100: F.cross_entropy(
        a, t, w, reduction=reduction, label_smoothing=labelSmoothing, ignore_index=ignoreIndex)
    for reduction in ("mean", "sum", "none"):
        attrs = {"reduction": reduction}
        frozen = {"frozen": (1,)}
        # Everything at once: weights, smoothing, ignored targets, more dimensions.
        fam.case("crossEntropy", cross, [x.uniform([2, 4, 3, 2], -3, 3), x.integers([2, 3, 2], 0, 4), x.uniform([4], 0.2, 2)],
                 {**attrs, "labelSmoothing": 0.2, "ignoreIndex": 1}, frozen=(2,))
        probs = lambda shape: torch.softmax(x.uniform(shape), 1).mul(1024).round().div(1024)
        fam.case("crossEntropy", cross, [x.uniform([2, 4, 3]), probs([2, 4, 3]), x.uniform([4], 0.2, 2)],
                 {**attrs, "labelSmoothing": 0.1}, frozen=(1, 2))
        fam.case("crossEntropy", cross, [x.uniform([5]), torch.tensor(3), None], attrs)
        fam.case("nllLoss", lambda a, t, w, reduction, ignoreIndex: F.nll_loss(a, t, w, reduction=reduction, ignore_index=ignoreIndex),
                 [x.uniform([2, 4, 3], -4, 0), x.integers([2, 3], 0, 4), x.uniform([4], 0.2, 2)], {**attrs, "ignoreIndex": 2}, frozen=(2,))
        fam.case("bce", lambda a, t, w, reduction: F.binary_cross_entropy(a, t, w, reduction=reduction),
                 [torch.tensor([[0.0, 1.0, 0.0, 1.0], [0.3, 0.5, 0.999, 0.01]]), torch.tensor([[0.0, 1.0, 1.0, 0.0], [0.2, 1.0, 1.0, 0.0]]),
                  x.uniform([4], 0.2, 2)], attrs, frozen=(1, 2))
        fam.case("klDiv", lambda a, t, reduction, logTarget: F.kl_div(a, t, reduction=reduction, log_target=logTarget),
                 [x.uniform([3, 4], -3, -0.1), x.uniform([3, 4], -3, -0.1)], {**attrs, "logTarget": True})
        for logInput, full in ((True, False), (True, True), (False, False), (False, True)):
            fam.case("poissonNllLoss", lambda a, t, reduction, logInput, full: F.poisson_nll_loss(a, t, logInput, full, reduction=reduction),
                     [x.uniform([3, 4], 0.1, 2), x.integers([3, 4], 0, 6).float()], {**attrs, "logInput": logInput, "full": full}, **frozen)
        for full in (False, True):
            fam.case("gaussianNllLoss", lambda a, t, v, reduction, full: F.gaussian_nll_loss(a, t, v, full=full, reduction=reduction),
                     [x.uniform([3, 4]), x.uniform([3, 4]), torch.cat([x.uniform([3, 3], 0.1, 2), torch.full([3, 1], 1e-8)], 1)],
                     {**attrs, "full": full})
        for alpha, gamma in ((0.25, 2.0), (0.6, 1.5), (None, 0.5)):
            fam.case("sigmoidFocalLoss", _sigmoid_focal, [x.uniform([3, 4], -4, 4), x.booleans([3, 4]).float()],
                     {**attrs, "alpha": alpha, "gamma": gamma}, **frozen)
            fam.case("focalLoss", lambda a, t, w, reduction, gamma: _focal(a, t, w, gamma, reduction),
                     [x.uniform([4, 3], -3, 3), x.integers([4], 0, 3), None if alpha is None else x.uniform([3], 0.2, 2)],
                     {**attrs, "gamma": gamma}, frozen=(2,))
        fam.case("focalLoss", lambda a, t, w, reduction, gamma: _focal(a, t, w, gamma, reduction),
                 [x.uniform([2, 3, 4], -3, 3), x.integers([2, 4], 0, 3), None], {**attrs, "gamma": 2.0})
        for batch in (False, True):
            for background in (False, True):
                region = {**attrs, "smooth": 1.0, "batch": batch, "includeBackground": background}
                for kind in ("dice", "jaccard", "tversky"):
                    run = lambda a, t, kind=kind, **o: _overlap(kind, a, t, **o)
                    more = {"alpha": 0.3, "beta": 0.7, "gamma": 1.5} if kind == "tversky" else {}
                    fam.case(f"{kind}Loss", run, [x.uniform([2, 3, 2, 2], -3, 3), x.integers([2, 2, 2], 0, 3)],
                             {**region, "activation": "softmax", **more})
                    fam.case(f"{kind}Loss", run, [x.uniform([2, 3, 4], -3, 3), x.booleans([2, 3, 4]).float()],
                             {**region, "activation": "sigmoid", **more}, **frozen)
        for kind, op in (("", "boxIouLoss"), ("generalized", "generalizedBoxIouLoss"), ("distance", "distanceBoxIouLoss"),
                         ("complete", "completeBoxIouLoss")):
            fam.case(op, lambda a, b, reduction, kind=kind: _boxes(kind, a, b, reduction), [boxes(5), boxes(5)], attrs)
        fam.case("tripletMarginLoss", lambda a, b, c, reduction, margin, p, swap: F.triplet_margin_loss(
            a, b, c, margin=margin, p=p, swap=swap, reduction=reduction), [x.uniform([4, 3]), x.uniform([4, 3]), x.uniform([4, 3])],
            {**attrs, "margin": 1.0, "p": 2.0, "swap": False})
        fam.case("tripletMarginLoss", lambda a, b, c, reduction, margin, p, swap: F.triplet_margin_loss(
            a, b, c, margin=margin, p=p, swap=swap, reduction=reduction), [x.uniform([4, 3]), x.uniform([4, 3]), x.uniform([4, 3])],
            {**attrs, "margin": 2.0, "p": 1.0, "swap": True})
        fam.case("tripletMarginLoss", lambda a, b, c, reduction, margin, swap, distance: F.triplet_margin_with_distance_loss(
            a, b, c, distance_function=lambda u, v: 1 - F.cosine_similarity(u, v), margin=margin, swap=swap, reduction=reduction),
            [x.uniform([4, 3]), x.uniform([4, 3]), x.uniform([4, 3])], {**attrs, "margin": 0.5, "swap": True, "distance": "cosine"})
        fam.case("contrastiveLoss", _contrastive, [x.uniform([4, 3], -1, 1), x.uniform([4, 3], -1, 1), torch.tensor([0.0, 1.0, 0.0, 1.0])],
                 {**attrs, "margin": 2.0}, frozen=(2,))
        fam.case("infoNceLoss", _info_nce, [x.uniform([4, 3]), x.uniform([4, 3]), None], {**attrs, "temperature": 0.2, "symmetric": False})
        fam.case("infoNceLoss", _info_nce, [x.uniform([4, 3]), x.uniform([4, 3]), None], {**attrs, "temperature": 0.2, "symmetric": True})
        fam.case("infoNceLoss", _info_nce, [x.uniform([4, 3]), x.uniform([4, 3]), x.uniform([6, 3])],
                 {**attrs, "temperature": 0.5, "symmetric": False})
        fam.case("ntXentLoss", _nt_xent, [x.uniform([4, 3]), x.uniform([4, 3])], {**attrs, "temperature": 0.3})
        fam.case("hingeLoss", _hinge, [x.uniform([3, 4]), signs([3, 4])], {**attrs, "margin": 1.0, "squared": False}, **frozen)
        fam.case("hingeLoss", _hinge, [x.uniform([3, 4]), signs([3, 4])], {**attrs, "margin": 0.5, "squared": True}, **frozen)
        fam.case("hingeEmbeddingLoss", lambda a, y, reduction, margin: F.hinge_embedding_loss(a, y, margin, reduction=reduction),
                 [x.uniform([3, 4]), signs([3, 4])], {**attrs, "margin": 0.8}, **frozen)
        fam.case("softMarginLoss", lambda a, y, reduction: F.soft_margin_loss(a, y, reduction=reduction),
                 [x.uniform([3, 4]), signs([3, 4])], attrs, **frozen)
        for p in (1, 2):
            for weight in (None, x.uniform([4], 0.2, 2)):
                fam.case("multiMarginLoss", lambda a, t, w, reduction, p, margin: F.multi_margin_loss(
                    a, t, p=p, margin=margin, weight=w, reduction=reduction),
                    [x.uniform([3, 4]), x.integers([3], 0, 4), weight], {**attrs, "p": p, "margin": 0.7}, frozen=(2,))
        fam.case("multilabelMarginLoss", lambda a, t, reduction: F.multilabel_margin_loss(a, t, reduction=reduction),
                 [x.uniform([4, 4]), torch.tensor([[3, 0, -1, 1], [-1, 0, 1, 2], [2, -1, -1, -1], [0, 1, 2, 3]])], attrs)
        fam.case("multilabelMarginLoss", lambda a, t, reduction: F.multilabel_margin_loss(a, t, reduction=reduction),
                 [x.uniform([4]), torch.tensor([2, 1, -1, 3])], attrs)
        fam.case("multilabelSoftMarginLoss", lambda a, t, w, reduction: F.multilabel_soft_margin_loss(a, t, weight=w, reduction=reduction),
                 [x.uniform([3, 4]), x.booleans([3, 4]).float(), x.uniform([4], 0.2, 2)], attrs, frozen=(1, 2))
        fam.case("marginRankingLoss", lambda a, b, y, reduction, margin: F.margin_ranking_loss(a, b, y, margin, reduction=reduction),
                 [x.uniform([5]), x.uniform([5]), signs([5])], {**attrs, "margin": 0.3}, frozen=(2,))
        fam.case("cosineEmbeddingLoss", lambda a, b, y, reduction, margin: F.cosine_embedding_loss(a, b, y, margin, reduction=reduction),
                 [x.uniform([4, 3]), x.uniform([4, 3]), torch.tensor([1.0, -1.0, 1.0, -1.0])], {**attrs, "margin": 0.1}, frozen=(2,))
        fam.case("quantileLoss", lambda a, t, reduction, quantile: _reduce(torch.maximum(quantile * (t - a), (quantile - 1) * (t - a)), reduction),
                 [x.uniform([3, 4]), x.uniform([3, 4])], {**attrs, "quantile": 0.9})
        fam.case("logCoshLoss", lambda a, t, reduction: _reduce(torch.log(torch.cosh(a - t)), reduction),
                 [x.uniform([3, 4]), x.uniform([3, 4])], attrs)
    fam.case("klDiv", lambda a, t, reduction: F.kl_div(a, t, reduction=reduction),
             [x.uniform([3, 4], -3, -0.1), x.uniform([3, 4], 0.05, 0.9)], {"reduction": "batchmean"}, frozen=(1,))
    fam.case("supervisedContrastiveLoss", _sup_con, [x.uniform([6, 3]), torch.tensor([0, 1, 0, 2, 1, 0])], {"temperature": 0.4})
    for easy in (False, True):
        fam.case("arcMarginLoss", _arc, [x.uniform([6, 4]), x.uniform([3, 4]), torch.tensor([0, 1, 2, 2, 1, 0])],
                 {"margin": 0.4, "scale": 8.0, "easyMargin": easy})
    # Logits at the ends of float32's range.
    extreme = torch.tensor([[1e4, -1e4, 0.0], [88.0, -88.0, 104.0], [3e38, 0.0, 1.0]])
    fam.case("crossEntropy", cross, [extreme, torch.tensor([1, 0, 2]), None], {"reduction": "none"})
    fam.case("multilabelSoftMarginLoss", lambda a, t, w, reduction: F.multilabel_soft_margin_loss(a, t, weight=w, reduction=reduction),
             [torch.tensor([[1e4, -1e4, 90.0], [-90.0, 0.0, 3.0]]), torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]]), None],
             {"reduction": "none"}, frozen=(1,))
    return fam


def ctc():
    """log_softmax, then ctc_loss; the gradients are those of the scores before log_softmax."""
    fam = Family("ctc", 62)
    x = fam.inputs

    def run(a, targets, inputs, lengths, blank, reduction, zeroInfinity):
        return F.ctc_loss(F.log_softmax(a, -1), targets, inputs, lengths, blank=blank, reduction=reduction, zero_infinity=zeroInfinity)

    long = lambda *values: torch.tensor(values, dtype=torch.int64)
    for reduction in ("mean", "sum", "none"):
        attrs = {"blank": 0, "reduction": reduction, "zeroInfinity": False}
        # Different lengths; repeated labels, which need a blank between them; a single label; no label.
        fam.case("ctcLoss", run, [x.uniform([8, 4, 5]), torch.tensor([[1, 2, 2, 3], [4, 4, 4, 0], [3, 0, 0, 0], [0, 0, 0, 0]]),
                                  long(8, 7, 3, 5), long(4, 3, 1, 0)], attrs)
        # One after the other.
        fam.case("ctcLoss", run, [x.uniform([6, 3, 4]), long(1, 2, 3, 3, 1, 2), long(6, 5, 4), long(2, 3, 1)], attrs)
        # Another blank; a target that fills its input to the last step; empty everything.
        fam.case("ctcLoss", run, [x.uniform([5, 3, 4]), torch.tensor([[0, 1, 2, 0, 1], [2, 2, 1, 0, 0], [0, 0, 0, 0, 0]]), long(5, 5, 2), long(5, 3, 0)],
                 {**attrs, "blank": 3})
        # Targets that do not fit.
        fam.case("ctcLoss", run, [x.uniform([4, 3, 4]), torch.tensor([[1, 1, 1], [1, 2, 3], [2, 2, 0]]), long(4, 2, 4), long(3, 3, 2)],
                 {**attrs, "zeroInfinity": True})
        # Scores so far apart that probabilities vanish.
        fam.case("ctcLoss", run, [x.uniform([10, 2, 4], -60, 60), torch.tensor([[1, 2, 1], [3, 3, 2]]), long(10, 8), long(3, 3)], attrs)
    fam.case("ctcLoss", run, [x.uniform([7, 4]), long(1, 3, 3), long(7).squeeze(), long(3).squeeze()],
             {"blank": 0, "reduction": "none", "zeroInfinity": False})
    fam.case("ctcLoss", run, [x.uniform([40, 2, 6], -3, 3), x.integers([2, 12], 1, 6), long(40, 33), long(12, 9)],
             {"blank": 0, "reduction": "mean", "zeroInfinity": False})
    return fam


FAMILIES = [losses, ctc]
