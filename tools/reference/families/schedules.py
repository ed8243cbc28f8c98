"""Learning rates (and momenta) of the schedules over 120 steps. Noam and warm-ups are not in PyTorch: LambdaLR states their formulas."""

import math

import torch
from torch.optim import lr_scheduler as S

from common import Family, encode

STEPS = 120


def noam(d, warmup):
    return lambda step: d**-0.5 * min((step + 1) ** -0.5, (step + 1) * warmup**-1.5)


def warm(factor, steps, after):
    return lambda step: factor + (1 - factor) * step / steps if step < steps else after(step - steps)


def half_cosine(length):
    return lambda step: (1 + math.cos(math.pi * step / length)) / 2


# name, options as the tests read them, builder
CASES = [
    ("StepLR", {"stepSize": 30}, lambda o: S.StepLR(o, 30)),
    ("StepLR", {"stepSize": 7, "gamma": 0.7}, lambda o: S.StepLR(o, 7, 0.7)),
    ("MultiStepLR", {"milestones": [10, 40, 40, 90], "gamma": 0.5}, lambda o: S.MultiStepLR(o, [10, 40, 40, 90], 0.5)),
    ("ExponentialLR", {"gamma": 0.97}, lambda o: S.ExponentialLR(o, 0.97)),
    ("LinearLR", {"startFactor": 0.25, "endFactor": 0.75, "totalSteps": 50}, lambda o: S.LinearLR(o, 0.25, 0.75, 50)),
    ("LinearLR", {}, lambda o: S.LinearLR(o)),
    ("ConstantLR", {"factor": 0.25, "totalSteps": 35}, lambda o: S.ConstantLR(o, 0.25, 35)),
    ("PolynomialLR", {"totalSteps": 100, "power": 1.5}, lambda o: S.PolynomialLR(o, 100, 1.5)),
    ("CosineAnnealingLR", {"tMax": 120}, lambda o: S.CosineAnnealingLR(o, 120)),
    ("CosineAnnealingLR", {"tMax": 50, "etaMin": 0.001}, lambda o: S.CosineAnnealingLR(o, 50, 0.001)),
    ("CosineAnnealingWarmRestarts", {"t0": 25}, lambda o: S.CosineAnnealingWarmRestarts(o, 25)),
    ("CosineAnnealingWarmRestarts", {"t0": 10, "tMult": 2, "etaMin": 0.002}, lambda o: S.CosineAnnealingWarmRestarts(o, 10, 2, 0.002)),
    ("OneCycleLR", {"maxLr": 0.3, "totalSteps": 121}, lambda o: S.OneCycleLR(o, 0.3, 121)),
    ("OneCycleLR", {"maxLr": [0.3, 0.1], "epochs": 11, "stepsPerEpoch": 11, "pctStart": 0.4, "annealStrategy": "linear",
                    "threePhase": True, "divFactor": 10, "finalDivFactor": 100},
     lambda o: S.OneCycleLR(o, [0.3, 0.1], epochs=11, steps_per_epoch=11, pct_start=0.4, anneal_strategy="linear", three_phase=True,
                            div_factor=10, final_div_factor=100)),
    ("CyclicLR", {"baseLr": 0.01, "maxLr": 0.2, "stepSizeUp": 20}, lambda o: S.CyclicLR(o, 0.01, 0.2, 20)),
    ("CyclicLR", {"baseLr": [0.01, 0.02], "maxLr": 0.2, "stepSizeUp": 10, "stepSizeDown": 25, "mode": "triangular2", "baseMomentum": 0.7},
     lambda o: S.CyclicLR(o, [0.01, 0.02], 0.2, 10, 25, "triangular2", base_momentum=0.7)),
    ("CyclicLR", {"baseLr": 0.01, "maxLr": 0.2, "stepSizeUp": 15, "mode": "exp_range", "gamma": 0.98, "cycleMomentum": False},
     lambda o: S.CyclicLR(o, 0.01, 0.2, 15, mode="exp_range", gamma=0.98, cycle_momentum=False)),
    ("NoamLR", {"dModel": 64, "warmupSteps": 40}, lambda o: S.LambdaLR(o, noam(64, 40))),
    ("LambdaLR", {}, lambda o: S.LambdaLR(o, [lambda s: 0.95**s, lambda s: 1 / (1 + s)])),
    ("MultiplicativeLR", {}, lambda o: S.MultiplicativeLR(o, lambda s: 1 - 1 / (s + 9))),
    ("LinearWarmup(CosineAnnealingLR)", {"steps": 20, "tMax": 100},
     lambda o: S.LambdaLR(o, warm(0.0, 20, half_cosine(100)))),
    ("LinearWarmup(StepLR)", {"steps": 10, "startFactor": 0.1, "stepSize": 30},
     lambda o: S.SequentialLR(o, [S.LinearLR(o, 0.1, 1.0, 10), S.StepLR(o, 30)], [10])),
    ("SequentialLR", {}, lambda o: S.SequentialLR(o, [S.ConstantLR(o, 0.1, 20), S.ExponentialLR(o, 0.9), S.CosineAnnealingLR(o, 60)], [20, 50])),
    ("ChainedLR", {}, lambda o: S.ChainedScheduler([S.ConstantLR(o, 0.2, 12), S.ExponentialLR(o, 0.95), S.StepLR(o, 25, 0.5)])),
    ("SWALR", {"swaLr": [0.05, 0.005], "annealSteps": 15}, lambda o: torch.optim.swa_utils.SWALR(o, [0.05, 0.005], 15)),
    ("SWALR", {"swaLr": 0.05, "annealSteps": 15, "annealStrategy": "linear"}, lambda o: torch.optim.swa_utils.SWALR(o, 0.05, 15, "linear")),
]
PLATEAU = [
    ({"patience": 4}, dict(patience=4)),
    ({"factor": 0.5, "patience": 2, "cooldown": 3, "minLr": [0.01, 0.001]}, dict(factor=0.5, patience=2, cooldown=3, min_lr=[0.01, 0.001])),
    ({"mode": "max", "factor": 0.7, "patience": 3, "threshold": 0.05, "thresholdMode": "abs"},
     dict(mode="max", factor=0.7, patience=3, threshold=0.05, threshold_mode="abs")),
    ({"mode": "max", "patience": 5, "threshold": 0.01}, dict(mode="max", patience=5, threshold=0.01)),
]


def optimizer():
    """Two groups with rates of their own."""
    p, q = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    return torch.optim.SGD([{"params": [p]}, {"params": [q], "lr": 0.02}], lr=0.1, momentum=0.9)


class Schedule(Family):
    def record(self, op, attrs, build, metrics=None):
        o = optimizer()
        s = build(o)
        lrs, momenta = [], []
        for step in range(STEPS + 1):
            lrs.append([g["lr"] for g in o.param_groups])
            momenta.append(o.param_groups[0]["momentum"])
            o.step()
            if step < STEPS:
                s.step() if metrics is None else s.step(metrics[step])
        case = {"op": op, "attrs": attrs, "lrs": [[float(lr) for lr in row] for row in zip(*lrs)]}
        if len(set(momenta)) > 1:
            case["momenta"] = [float(m) for m in momenta]
        if metrics is not None:
            case["metrics"] = metrics
        self.cases.append(encode(case))


def schedule():
    fam = Schedule("schedule", 61)
    for op, attrs, build in CASES:
        fam.record(op, attrs, build)
    for attrs, options in PLATEAU:
        curve = [round(float(1 / (1 + i // 9) + 0.02 * fam.inputs.rng.uniform(-1, 1)), 4) for i in range(STEPS)]
        fam.record("ReduceLROnPlateau", attrs, lambda o: S.ReduceLROnPlateau(o, **options), curve)
    return fam


FAMILIES = [schedule]
