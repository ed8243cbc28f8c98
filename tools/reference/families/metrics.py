"""Metrics: values of scikit-learn, SciPy, torchmetrics, sacreBLEU and pycocotools; boxes: those of torchvision."""

import contextlib
import io
import itertools

import numpy as np
import scipy.stats
import sklearn.metrics as sk
import torch
import torchmetrics.functional as tm
import torchmetrics.functional.retrieval as ranked
import torchvision.ops as tv
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from common import Family, encode


class Metrics(Family):
    """A case holds inputs and, under `expected`, values by metric."""

    def add(self, name, expected, **inputs):
        plain = lambda v: v if isinstance(v, list) else float(v)
        self.cases.append(encode({"name": name, **inputs, "expected": {k: plain(v) for k, v in expected.items()}}))


def _listed(values):
    return [float(v) for v in np.asarray(values).reshape(-1)]


def _classes(y, p, size, **kw):
    """Precision and the others in every average."""
    result = {}
    labels = None
    for average in ("micro", "macro", "weighted"):
        for name, fn in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score), ("jaccard", sk.jaccard_score)):
            result[f"{name}.{average}"] = fn(y, p, average=average, labels=labels, zero_division=0, **kw)
        result[f"f2.{average}"] = sk.fbeta_score(y, p, beta=2, average=average, zero_division=0)
    return result


def metrics():
    fam = Metrics("metrics", 71)
    x = fam.inputs

    # Classes: scores, uneven, the last class without targets.
    n, c = 90, 5
    target = torch.from_numpy(np.minimum(x.rng.geometric(0.45, n) - 1, 3))
    scores = torch.softmax(x.uniform([n, c], -1.5, 1.5) + 1.5 * torch.nn.functional.one_hot(target, c), 1).mul(4096).round().div(4096)
    predicted = scores.argmax(1)
    y, p = target.numpy(), predicted.numpy()
    expected = _classes(y, p, c)
    expected["accuracy"] = sk.accuracy_score(y, p)
    for k in (2, 3):
        expected[f"top{k}"] = sk.top_k_accuracy_score(y, scores.numpy(), k=k, labels=range(c))
    for name, fn in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score), ("jaccard", sk.jaccard_score)):
        expected[f"{name}.none"] = _listed(fn(y, p, average=None, labels=range(c), zero_division=0))
    expected["specificity.none"] = _listed(tm.specificity(predicted, target, task="multiclass", num_classes=c, average="none"))
    expected["specificity.micro"] = tm.specificity(predicted, target, task="multiclass", num_classes=c, average="micro").double()
    expected["balancedAccuracy"] = sk.balanced_accuracy_score(y, p)
    expected["kappa"] = sk.cohen_kappa_score(y, p)
    expected["kappa.linear"] = sk.cohen_kappa_score(y, p, weights="linear")
    expected["kappa.quadratic"] = sk.cohen_kappa_score(y, p, weights="quadratic")
    expected["matthews"] = sk.matthews_corrcoef(y, p)
    expected["hamming"] = sk.hamming_loss(y, p)
    expected["confusion"] = _listed(sk.confusion_matrix(y, p, labels=range(c)))
    for normalize in ("true", "pred", "all"):
        expected[f"confusion.{normalize}"] = _listed(sk.confusion_matrix(y, p, labels=range(c), normalize=normalize))
    ignored = y != 2
    expected["ignore2.accuracy"] = sk.accuracy_score(y[ignored], p[ignored])
    one = lambda k: (y == k).astype(int)
    expected["rocAuc.none"] = [sk.roc_auc_score(one(k), scores[:, k].numpy()) for k in range(4)]
    expected["averagePrecision.none"] = [sk.average_precision_score(one(k), scores[:, k].numpy()) for k in range(4)]
    for norm in ("l1", "l2", "max"):
        expected[f"calibration.{norm}"] = tm.calibration_error(scores.double(), target, task="multiclass", num_classes=c, n_bins=10, norm=norm)
    fam.add("classes", expected, scores=scores, target=target)
    # Without a class that is missing, so that scikit-learn has averages.
    kept = torch.softmax(x.uniform([60, 3], -2, 2), 1).double()
    kept = torch.round(kept * 512) / 512
    kept[:, 2] = 1 - kept[:, 0] - kept[:, 1]
    target = x.integers([60], 0, 3)
    fam.add("oneAgainstRest", {f"rocAuc.{a}": sk.roc_auc_score(target, kept, multi_class="ovr", average=a) for a in ("macro", "weighted")}
            | {f"averagePrecision.{a}": sk.average_precision_score(np.eye(3)[target], kept, average=a) for a in ("macro", "weighted")},
            scores=kept.float(), target=target)

    # Two classes, with equal scores among them.
    target = x.integers([70], 0, 2)
    scores = (x.uniform([70], 0, 1, 1) * 0.7 + 0.3 * target).mul(64).round().div(64)
    y, s = target.numpy(), scores.numpy()
    p = (s > 0.5).astype(int)
    fpr, tpr, roc_at = sk.roc_curve(y, s, drop_intermediate=False)
    precision, recall, pr_at = sk.precision_recall_curve(y, s)
    fam.add("binary", {
        "accuracy": sk.accuracy_score(y, p), "precision": sk.precision_score(y, p), "recall": sk.recall_score(y, p), "f1": sk.f1_score(y, p),
        "f0.5": sk.fbeta_score(y, p, beta=0.5), "specificity": sk.recall_score(y, p, pos_label=0), "matthews": sk.matthews_corrcoef(y, p),
        "kappa": sk.cohen_kappa_score(y, p), "jaccard": sk.jaccard_score(y, p), "rocAuc": sk.roc_auc_score(y, s),
        "averagePrecision": sk.average_precision_score(y, s), "fpr": _listed(fpr), "tpr": _listed(tpr), "rocThresholds": _listed(roc_at[1:]),
        "prPrecision": _listed(precision), "prRecall": _listed(recall), "prThresholds": _listed(pr_at),
        "calibration.l1": tm.calibration_error(scores.double(), target, task="binary", n_bins=10),
    }, scores=scores, target=target)

    # Several labels.
    target = x.integers([40, 3], 0, 2)
    scores = (x.uniform([40, 3], 0, 1) * 0.7 + 0.3 * target).mul(256).round().div(256)
    y, p = target.numpy(), (scores.numpy() > 0.5).astype(int)
    expected = _classes(y, p, 3)
    expected["accuracy"] = tm.accuracy(scores, target, task="multilabel", num_labels=3, average="micro").double()
    expected["hamming"] = sk.hamming_loss(y, p)
    expected["rocAuc.macro"] = sk.roc_auc_score(y, scores.numpy())
    expected["averagePrecision.macro"] = sk.average_precision_score(y, scores.numpy())
    fam.add("multilabel", expected, scores=scores, target=target)

    # Pixels.
    target = x.integers([3, 6, 7], 0, 4)
    scores = x.uniform([3, 4, 6, 7], -1, 1) + torch.nn.functional.one_hot(target, 4).movedim(-1, 1)
    y, p = target.numpy().reshape(-1), scores.argmax(1).numpy().reshape(-1)
    fam.add("segmentation", {
        "mIoU": sk.jaccard_score(y, p, average="macro"), "mIoU.none": _listed(sk.jaccard_score(y, p, average=None)),
        "dice": sk.f1_score(y, p, average="macro"), "accuracy": sk.accuracy_score(y, p),
    }, scores=scores, target=target)

    # Real values, far from 0 against cancellation.
    for name, shift in (("regression", 0.0), ("regressionFar", 1000.0)):
        target = (x.uniform([50, 2], 0.5, 4) + shift).double()
        predicted = (target + x.uniform([50, 2], -0.8, 1)).float()
        a, b = predicted.double().numpy().reshape(-1), target.float().double().numpy().reshape(-1)
        fam.add(name, {
            "mae": sk.mean_absolute_error(b, a), "mse": sk.mean_squared_error(b, a), "rmse": sk.root_mean_squared_error(b, a),
            "mape": sk.mean_absolute_percentage_error(b, a), "msle": sk.mean_squared_error(np.log1p(b), np.log1p(a)),
            "r2": sk.r2_score(b, a), "explainedVariance": sk.explained_variance_score(b, a),
            "pearson": scipy.stats.pearsonr(a, b)[0], "spearman": scipy.stats.spearmanr(np.round(a, 1), np.round(b, 1))[0],
        }, predicted=predicted, target=target.float(), ranked=[torch.from_numpy(np.round(a, 1)), torch.from_numpy(np.round(b, 1))])

    # Rankings; the last query has nothing relevant. Positive scores: torchmetrics takes items below 0 for irrelevant.
    scores = x.distinct([6, 8], 0.125, 0.125)
    relevance = x.integers([6, 8], 0, 2)
    relevance[5] = 0
    graded = x.integers([6, 8], 0, 4)
    rows = lambda fn, k: float(np.mean([float(fn(s.double(), r, k)) if r.any() else 0.0 for s, r in zip(scores, relevance)]))
    expected = {}
    for k in (1, 3, 8):
        expected[f"mrr@{k}"] = rows(lambda s, r, k: ranked.retrieval_reciprocal_rank(s, r, top_k=k), k)
        expected[f"hitRate@{k}"] = rows(lambda s, r, k: ranked.retrieval_hit_rate(s, r, top_k=k), k)
        expected[f"precision@{k}"] = rows(lambda s, r, k: ranked.retrieval_precision(s, r, top_k=k), k)
        expected[f"recall@{k}"] = rows(lambda s, r, k: ranked.retrieval_recall(s, r, top_k=k), k)
        expected[f"map@{k}"] = rows(lambda s, r, k: ranked.retrieval_average_precision(s, r, top_k=k), k)
        expected[f"ndcg@{k}"] = sk.ndcg_score(graded.numpy(), scores.numpy(), k=k)
        expected[f"ndcgTies@{k}"] = sk.ndcg_score(graded.numpy(), np.round(scores.numpy()), k=k)
    fam.add("ranking", expected, scores=scores, relevance=relevance, graded=graded)

    # Language models.
    logits, target = x.uniform([2, 5, 6], -3, 3), x.integers([2, 5], 0, 6)
    target[0, 3:] = -100
    fam.add("perplexity", {"perplexity": tm.perplexity(logits.double(), target, ignore_index=-100)}, logits=logits, target=target)

    texts = ["the cat sat on the mat", "there is a dog", "hello world", "a b c d e f g", "", "naïve café 😀 test"]
    references = ["the cat is on the mat", "there are two dogs here", "hello world", "g f e d c b a", "something", "naive café 😃 tests"]
    fam.add("errorRates", {"wer": tm.word_error_rate(texts, references).double(), "cer": tm.char_error_rate(texts, references).double(),
                           "editDistance": tm.text.edit_distance(texts, references).double()},
            predictions=texts, references=references)
    return fam


def bleu():
    """Scores of sacreBLEU's corpus formula on texts that are tokens already."""
    from sacrebleu.metrics import BLEU

    fam = Metrics("bleu", 73)
    rng = fam.inputs.rng
    vocabulary = "the cat dog sat runs on a mat and then home big red slowly house".split()
    sentence = lambda n: " ".join(rng.choice(vocabulary, n))

    def vary(text):
        words = text.split()
        for _ in range(rng.randint(0, 3)):
            words[rng.randint(len(words))] = rng.choice(vocabulary)
        return " ".join(words[: rng.randint(max(1, len(words) - 2), len(words) + 1)])

    corpora = []
    for count, length in ((8, 12), (5, 7), (1, 9)):
        references = [[sentence(rng.randint(4, length)) for _ in range(2)] for _ in range(count)]
        corpora.append(([vary(r[rng.randint(2)]) for r in references], references))
    corpora.append((["the cat"], [["the cat", "a dog runs home"]]))
    corpora.append((["home home home home home"], [["the home is home", "home"]]))
    corpora.append((["a mat and a dog slowly"], [["a mat then a dog", "the mat and the dog runs"]]))
    corpora.append((["xyz"], [["the cat sat on", "on"]]))
    for predictions, references in corpora:
        expected = {}
        for ours, theirs, value in (("none", "none", None), ("exp", "exp", None), ("floor", "floor", 0.1), ("addK", "add-k", 1)):
            for effective in (False, True):
                metric = BLEU(smooth_method=theirs, smooth_value=value, tokenize="none", force=True, effective_order=effective)
                expected[f"{ours}{'.effective' if effective else ''}"] = metric.corpus_score(predictions, list(zip(*references))).score / 100
        fam.add("bleu", expected, predictions=predictions, references=references)
    return fam


def _coco(images):
    """The twelve numbers of COCO's evaluation, and those of each class."""
    annotations, detections = [], []
    for k, image in enumerate(images):
        for box, label, crowd, area in zip(image["boxes"], image["labels"], image["crowd"], image["area"]):
            annotations.append({"id": len(annotations) + 1, "image_id": k + 1, "category_id": label, "bbox": box, "area": area,
                                "iscrowd": crowd, "ignore": crowd})
        for box, score, label in zip(image["found"], image["scores"], image["foundLabels"]):
            detections.append({"image_id": k + 1, "category_id": label, "bbox": box, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"images": [{"id": k + 1} for k in range(len(images))], "annotations": annotations, "info": {},
                         "categories": [{"id": k} for k in sorted({a["category_id"] for a in annotations})]}
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(detections), "bbox")

        def stats(categories):
            evaluation.params.catIds = categories
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            return [float(v) for v in evaluation.stats]

        categories = sorted({a["category_id"] for a in annotations})
        return {"all": stats(categories), "perClass": [stats([k]) for k in categories], "classes": categories}


def detection():
    fam = Metrics("detection", 72)
    rng = fam.inputs.rng
    half = lambda v: (np.round(np.asarray(v) * 2) / 2).tolist()

    def image(objects, classes, jitter, extra, crowd=0.0, sizes=(8, 160), ties=False):
        result = {"boxes": [], "labels": [], "crowd": [], "area": [], "found": [], "scores": [], "foundLabels": []}
        score = lambda lo, hi: round(float(rng.uniform(lo, hi)), 1 if ties else 4)
        for _ in range(objects):
            size = np.exp(rng.uniform(*np.log(sizes), 2))
            box = np.concatenate([rng.uniform(0, 300, 2), size])
            result["boxes"].append(half(box))
            result["labels"].append(int(rng.randint(classes)))
            result["crowd"].append(int(rng.uniform() < crowd))
            result["area"].append(float(half(size.prod() * rng.uniform(0.6, 1))))
            for _ in range(rng.choice([0, 1, 2, 3], p=[0.15, 0.55, 0.2, 0.1])):
                moved = box + rng.normal(size=4) * np.tile(size, 2) * jitter
                result["found"].append(half(np.concatenate([moved[:2], np.maximum(moved[2:], 1)])))
                result["scores"].append(score(0.3, 1))
                result["foundLabels"].append(result["labels"][-1] if rng.uniform() < 0.9 else int(rng.randint(classes)))
        for _ in range(extra):
            result["found"].append(half(np.concatenate([rng.uniform(0, 300, 2), rng.uniform(5, 90, 2)])))
            result["scores"].append(score(0.05, 0.7))
            result["foundLabels"].append(int(rng.randint(classes)))
        return result

    def add(name, images):
        fam.cases.append(encode({"name": name, "images": images, "expected": _coco(images)}))

    add("random", [image(int(rng.randint(0, 9)), 3, 0.12, int(rng.randint(0, 5))) for _ in range(15)])
    add("crowds", [image(6, 2, 0.08, 3, crowd=0.3) for _ in range(8)])
    add("equal scores", [image(5, 2, 0.1, 2, ties=True) for _ in range(8)])
    add("many", [image(60, 1, 0.15, 70) for _ in range(2)])
    add("small only", [image(4, 2, 0.1, 2, sizes=(6, 25)) for _ in range(4)])
    # By hand.
    one = lambda boxes, labels, found, scores, foundLabels, crowd=None, area=None: {
        "boxes": boxes, "labels": labels, "crowd": crowd or [0] * len(boxes), "area": area or [float(b[2] * b[3]) for b in boxes],
        "found": found, "scores": scores, "foundLabels": foundLabels}
    add("perfect", [one([[0, 0, 10, 10], [20, 20, 50, 50]], [0, 1], [[0, 0, 10, 10], [20, 20, 50, 50]], [0.9, 0.8], [0, 1])])
    add("half overlap", [one([[0, 0, 10, 10]], [0], [[0, 0, 10, 5]], [0.9], [0])])
    add("twice the same", [one([[0, 0, 40, 40]], [0], [[0, 0, 40, 40], [0, 0, 40, 40], [0, 0, 38, 40]], [0.5, 0.9, 0.7], [0, 0, 0])])
    add("nothing found", [one([[0, 0, 40, 40]], [0], [], [], []), one([[5, 5, 40, 40]], [0], [[100, 100, 5, 5]], [0.3], [0])])
    add("crowd takes all", [one([[0, 0, 100, 100], [200, 0, 20, 20]], [0, 0], [[0, 0, 20, 20], [50, 50, 30, 30], [200, 0, 20, 20]],
                                [0.9, 0.8, 0.7], [0, 0, 0], crowd=[1, 0])])
    add("area apart from box", [one([[0, 0, 40, 40]], [0], [[0, 0, 40, 40]], [0.9], [0], area=[900.0])])
    return fam


def boxes():
    """Pairwise overlaps and suppression, from torchvision."""
    fam = Family("boxes", 74)
    x = fam.inputs
    # No two coordinates are equal: there the gradient is a matter of taste.
    corners = lambda n: (lambda at: torch.cat([at, at + x.uniform([n, 2], 0.5, 3)], 1).mul(64).round().div(64) + x.distinct([n, 4], 2**-12))(
        x.uniform([n, 2], 0, 2))
    for op, fn in (("boxIou", tv.box_iou), ("generalizedBoxIou", tv.generalized_box_iou), ("distanceBoxIou", tv.distance_box_iou),
                   ("completeBoxIou", tv.complete_box_iou)):
        fam.case(op, fn, [corners(5), corners(3)], grads=op != "completeBoxIou")
    fam.case("boxArea", tv.box_area, [corners(5)])
    fam.case("clipBoxes", lambda a, size: tv.clip_boxes_to_image(a, size), [x.uniform([6, 4], -3, 9), ], {"size": [4, 6]})
    for a, b in itertools.product(("xyxy", "xywh", "cxcywh"), repeat=2):
        fam.case("boxConvert", lambda t, a=a, b=b, **_: tv.box_convert(t, a, b) + 0.0, [corners(4)], {"from": a, "to": b})
    at = x.uniform([60, 2], 0, 40)
    many = torch.cat([at, at + x.uniform([60, 2], 4, 20)], 1)
    scores = x.distinct([60], 1 / 64, 0.0)
    groups = x.integers([60], 0, 3)
    for threshold in (0.2, 0.5, 0.8):
        fam.case("nms", lambda b, s, iouThreshold: tv.nms(b, s, iouThreshold), [many, scores], {"iouThreshold": threshold}, grads=False)
        fam.case("batchedNms", lambda b, s, g, iouThreshold: tv.batched_nms(b, s, g, iouThreshold), [many, scores, groups],
                 {"iouThreshold": threshold}, grads=False)
    return fam


FAMILIES = [metrics, bleu, detection, boxes]
