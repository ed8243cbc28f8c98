"""Trajectories of the optimizers, float32 and float64. LAMB, LARS, Lion and Lookahead are not in PyTorch: their steps are written out here."""

import torch

from common import Family, cotangent, encode

NAMES = {
    "weightDecay": "weight_decay",
    "lrDecay": "lr_decay",
    "initialAccumulatorValue": "initial_accumulator_value",
    "momentumDecay": "momentum_decay",
    "decoupledWeightDecay": "decoupled_weight_decay",
    "beta2Decay": "beta2_decay",
    "stepSizes": "step_sizes",
    "maxIter": "max_iter",
    "historySize": "history_size",
    "lineSearch": "line_search_fn",
}
CLASSES = {"RMSProp": "RMSprop"}

CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.5}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weightDecay": 0.1}),
    ("SGD", {"lr": 0.1, "weightDecay": 0.1}),
    ("SGD", {"lr": 0.01, "maximize": True}),
    ("ASGD", {"lr": 0.05}),
    ("ASGD", {"lr": 0.05, "lambd": 0.01, "alpha": 0.5, "t0": 5, "weightDecay": 0.1}),
    ("Adagrad", {"lr": 0.3}),
    ("Adagrad", {"lr": 0.3, "lrDecay": 0.05, "weightDecay": 0.1, "initialAccumulatorValue": 0.2, "eps": 1e-6}),
    ("Adadelta", {"lr": 1.0}),
    ("Adadelta", {"lr": 2.0, "rho": 0.8, "eps": 1e-3, "weightDecay": 0.1}),
    ("RMSProp", {"lr": 0.05}),
    ("RMSProp", {"lr": 0.02, "alpha": 0.9, "momentum": 0.8, "weightDecay": 0.1}),
    ("RMSProp", {"lr": 0.02, "alpha": 0.9, "centered": True, "eps": 1e-4}),
    ("RMSProp", {"lr": 0.02, "alpha": 0.9, "centered": True, "momentum": 0.5}),
    ("Adam", {"lr": 0.05}),
    ("Adam", {"lr": 0.05, "betas": [0.8, 0.95], "eps": 1e-4}),
    ("Adam", {"lr": 0.05, "weightDecay": 0.1}),
    ("Adam", {"lr": 0.05, "betas": [0.5, 0.6], "amsgrad": True}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "weightDecay": 0.2}),
    ("AdamW", {"lr": 0.02, "betas": [0.7, 0.9], "weightDecay": 0.0}),
    ("AdamW", {"lr": 0.05, "betas": [0.5, 0.6], "weightDecay": 0.1, "amsgrad": True}),
    ("Adamax", {"lr": 0.05}),
    ("Adamax", {"lr": 0.05, "betas": [0.8, 0.9], "weightDecay": 0.1, "eps": 1e-3}),
    ("NAdam", {"lr": 0.05}),
    ("NAdam", {"lr": 0.05, "betas": [0.8, 0.9], "weightDecay": 0.1, "momentumDecay": 0.01}),
    ("NAdam", {"lr": 0.05, "weightDecay": 0.1, "decoupledWeightDecay": True}),
    ("RAdam", {"lr": 0.05}),
    ("RAdam", {"lr": 0.05, "betas": [0.8, 0.9], "weightDecay": 0.1}),
    ("RAdam", {"lr": 0.05, "weightDecay": 0.1, "decoupledWeightDecay": True}),
    ("Rprop", {"lr": 0.05}),
    ("Rprop", {"lr": 0.05, "etas": [0.4, 1.3], "stepSizes": [1e-3, 0.2]}),
    ("Adafactor", {"lr": 0.1}),
    ("Adafactor", {"lr": 0.1, "beta2Decay": -0.5, "eps": [1e-3, 1e-2], "d": 1.5, "weightDecay": 0.1}),
    ("Lion", {"lr": 0.02}),
    ("Lion", {"lr": 0.02, "betas": [0.8, 0.9], "weightDecay": 0.1}),
    ("LARS", {"lr": 1.0, "trustCoefficient": 0.02}),
    ("LARS", {"lr": 1.0, "trustCoefficient": 0.02, "momentum": 0.8, "weightDecay": 0.1}),
    ("LARS", {"lr": 1.0, "trustCoefficient": 0.02, "momentum": 0.8, "nesterov": True}),
    ("LAMB", {"lr": 0.05}),
    ("LAMB", {"lr": 0.05, "betas": [0.8, 0.9], "eps": 1e-4, "weightDecay": 0.2}),
    ("LAMB", {"lr": 0.05, "weightDecay": 0.0}),
    ("Lookahead", {"lr": 0.05, "k": 5, "alpha": 0.5}),
    ("Lookahead", {"lr": 0.05, "k": 3, "alpha": 0.8}),
]
# The 20 steps of these are steps of a line search, or evaluations.
QUASI_NEWTON = [
    ("LBFGS", {"lr": 0.1, "maxIter": 3}),
    ("LBFGS", {"lr": 0.5, "maxIter": 4, "historySize": 3}),
    ("LBFGS", {"lr": 1, "maxIter": 4, "lineSearch": "strongWolfe"}),
]


class Written:
    """An optimizer whose step is a function of (parameter, gradient, its state, options)."""

    def __init__(self, params, step, options):
        self.params, self.step_fn, self.options = params, step, options
        self.states = [{} for _ in params]

    def zero_grad(self):
        for p in self.params:
            p.grad = None

    def step(self):
        with torch.no_grad():
            for p, state in zip(self.params, self.states):
                self.step_fn(p, p.grad, state, **self.options)


def lion(p, g, state, lr, betas=(0.9, 0.99), weightDecay=0.0):
    """Chen et al., arXiv:2302.06675, program 1."""
    m = state.setdefault("m", torch.zeros_like(p))
    update = torch.sign(betas[0] * m + (1 - betas[0]) * g) + weightDecay * p
    state["m"] = betas[1] * m + (1 - betas[1]) * g
    p -= lr * update


def lars(p, g, state, lr, trustCoefficient, momentum=0.0, weightDecay=0.0, nesterov=False, eps=1e-8):
    """You et al., arXiv:1708.03888: SGD on gradients scaled by layer."""
    size, slope = p.norm(), g.norm()
    local = trustCoefficient * size / (slope + weightDecay * size + eps) if size > 0 and slope > 0 else 1.0
    d = (g + weightDecay * p) * local
    if momentum:
        state["v"] = momentum * state["v"] + d if "v" in state else d.clone()
        d = d + momentum * state["v"] if nesterov else state["v"]
    p -= lr * d


def lamb(p, g, state, lr, betas=(0.9, 0.999), eps=1e-6, weightDecay=0.01):
    """You et al., arXiv:1904.00962, algorithm 2."""
    state["t"] = t = state.get("t", 0) + 1
    state["m"] = m = betas[0] * state.get("m", torch.zeros_like(p)) + (1 - betas[0]) * g
    state["v"] = v = betas[1] * state.get("v", torch.zeros_like(p)) + (1 - betas[1]) * g * g
    r = (m / (1 - betas[0] ** t)) / ((v / (1 - betas[1] ** t)).sqrt() + eps) + weightDecay * p
    size, length = p.norm(), r.norm()
    trust = size / length if size > 0 and length > 0 else 1.0
    p -= lr * trust * r


class Lookahead:
    """Zhang et al., arXiv:1907.08610, algorithm 1, around PyTorch's Adam."""

    def __init__(self, params, lr, k, alpha):
        self.params, self.k, self.alpha, self.count = params, k, alpha, 0
        self.fast = torch.optim.Adam(params, lr=lr, foreach=False)
        self.slow = [p.detach().clone() for p in params]

    def zero_grad(self):
        self.fast.zero_grad()

    def step(self):
        self.fast.step()
        self.count += 1
        if self.count % self.k == 0:
            with torch.no_grad():
                for p, slow in zip(self.params, self.slow):
                    slow += self.alpha * (p - slow)
                    p.copy_(slow)


WRITTEN = {"Lion": lion, "LARS": lars, "LAMB": lamb}


def make(name, params, attrs):
    if name in WRITTEN:
        return Written(params, WRITTEN[name], attrs)
    if name == "Lookahead":
        return Lookahead(params, **attrs)
    options = {NAMES.get(k, k): v for k, v in attrs.items()}
    if options.get("line_search_fn") == "strongWolfe":
        options["line_search_fn"] = "strong_wolfe"
    if name != "LBFGS" and name != "SparseAdam":
        options["foreach"] = False
    return getattr(torch.optim, CLASSES.get(name, name))(params, **options)


class Optimizer(Family):
    """Twenty steps on loss = sum(w * (p - target)^2) + sum(p^4) / 4, w = |cotangent|; params after steps 1, 2, 5, 10, 20."""

    def trajectory(self, name, attrs, steps=20):
        params = [self.inputs.uniform([2, 3]), self.inputs.uniform([3])]
        targets = [self.inputs.uniform([2, 3]), self.inputs.uniform([3])]
        for dtype in (torch.float32, torch.float64):
            live = [p.to(dtype).clone().requires_grad_(True) for p in params]
            goals = [t.to(dtype) for t in targets]
            optimizer = make(name, live, attrs)

            def closure():
                optimizer.zero_grad()
                loss = sum((cotangent(p).abs() * (p - t) ** 2).sum() + (p**4).sum() / 4 for p, t in zip(live, goals))
                loss.backward()
                return loss

            losses, after = [], {}
            for step in range(1, steps + 1):
                if name == "LBFGS":
                    loss = optimizer.step(closure)
                else:
                    loss = closure()
                    optimizer.step()
                losses.append(loss.detach())
                if step in (1, 2, 5, 10, 20):
                    after[str(step)] = [p.detach().clone() for p in live]
            self.cases.append(encode({"op": name, "attrs": attrs, "dtype": str(dtype).split(".")[1], "args": [params, targets],
                                      "losses": torch.stack(losses), "after": after}))

    def rows(self, name, attrs):
        """An embedding of six rows that sees rows `indices[step % 3]`; loss = sum(w * looked up^2)."""
        weight = self.inputs.uniform([6, 3])
        indices = [torch.tensor([0, 2, 2, 5]), torch.tensor([1, 1, 1, 1]), torch.tensor([5, 0, 3, 2])]
        table = weight.clone().requires_grad_(True)
        optimizer = make(name, [table], attrs)
        after = {}
        for step in range(1, 11):
            optimizer.zero_grad()
            rows = torch.nn.functional.embedding(indices[(step - 1) % 3], table, sparse=True)
            (cotangent(rows).abs() * rows**2).sum().backward()
            optimizer.step()
            if step in (1, 2, 5, 10):
                after[str(step)] = [table.detach().clone()]
        self.cases.append(encode({"op": name, "attrs": attrs, "sparse": True, "args": [[weight], indices], "after": after}))


def optimizer():
    fam = Optimizer("optimizer", 54)
    for name, attrs in CASES:
        fam.trajectory(name, attrs)
    for name, attrs in QUASI_NEWTON:
        fam.trajectory(name, attrs, steps=5)
    for name, attrs in (("SGD", {"lr": 0.1}), ("Adagrad", {"lr": 0.3}), ("SparseAdam", {"lr": 0.1}),
                        ("SparseAdam", {"lr": 0.1, "betas": [0.7, 0.8], "eps": 1e-4})):
        fam.rows(name, attrs)
    return fam


FAMILIES = [optimizer]
