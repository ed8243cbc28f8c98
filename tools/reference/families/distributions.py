"""Distributions: everything with a closed form, and divergences, as functions of parameters and values."""

import torch
from torch import distributions as D

from common import Family

DTYPE = torch.float64


def t(*values):
    return torch.tensor(values, dtype=DTYPE)


def tril(matrix):
    return torch.tensor(matrix, dtype=DTYPE)


# name in camelCase -> how it is read off a distribution
READERS = {
    "logProb": lambda d, v: d.log_prob(v),
    "mean": lambda d, v: d.mean + 0.0,
    "variance": lambda d, v: d.variance + 0.0,
    "entropy": lambda d, v: d.entropy(),
    "cdf": lambda d, v: d.cdf(v),
    "icdf": lambda d, v: d.icdf(d.cdf(v).detach()),
}
ALL = ["logProb", "mean", "variance", "entropy", "cdf", "icdf"]
MOMENTS = ["logProb", "mean", "variance", "entropy"]

MAKERS = {
    "Normal": lambda loc, scale: D.Normal(loc, scale),
    "Laplace": lambda loc, scale: D.Laplace(loc, scale),
    "Cauchy": lambda loc, scale: D.Cauchy(loc, scale),
    "Gumbel": lambda loc, scale: D.Gumbel(loc, scale),
    "Uniform": lambda low, high: D.Uniform(low, high),
    "HalfNormal": lambda scale: D.HalfNormal(scale),
    "LogNormal": lambda loc, scale: D.LogNormal(loc, scale),
    "Exponential": lambda rate: D.Exponential(rate),
    "Gamma": lambda a, rate: D.Gamma(a, rate),
    "Chi2": lambda df: D.Chi2(df),
    "Beta": lambda a, b: D.Beta(a, b),
    "Dirichlet": lambda a: D.Dirichlet(a),
    "StudentT": lambda df, loc, scale: D.StudentT(df, loc, scale),
    "Pareto": lambda scale, alpha: D.Pareto(scale, alpha),
    "Weibull": lambda scale, k: D.Weibull(scale, k),
    "Bernoulli": lambda probs: D.Bernoulli(probs=probs),
    "BernoulliLogits": lambda logits: D.Bernoulli(logits=logits),
    "Geometric": lambda probs: D.Geometric(probs=probs),
    "Binomial": lambda probs: D.Binomial(7, probs=probs),
    "BinomialLogits": lambda logits: D.Binomial(7, logits=logits),
    "Poisson": lambda rate: D.Poisson(rate),
    "Categorical": lambda probs: D.Categorical(probs=probs),
    "CategoricalLogits": lambda logits: D.Categorical(logits=logits),
    "OneHotCategorical": lambda probs: D.OneHotCategorical(probs=probs),
    "Multinomial": lambda probs: D.Multinomial(5, probs=probs),
    "MultivariateNormal": lambda loc, tril: D.MultivariateNormal(loc, scale_tril=tril),
    "MultivariateNormalCovariance": lambda loc, a: D.MultivariateNormal(loc, covariance_matrix=a @ a.mT + torch.eye(2, dtype=DTYPE)),
    "MultivariateNormalPrecision": lambda loc, a: D.MultivariateNormal(loc, precision_matrix=a @ a.mT + torch.eye(2, dtype=DTYPE)),
    "RelaxedBernoulli": lambda logits: D.RelaxedBernoulli(torch.tensor(0.7, dtype=DTYPE), logits=logits),
    "RelaxedOneHotCategorical": lambda logits: D.RelaxedOneHotCategorical(torch.tensor(0.7, dtype=DTYPE), logits=logits),
    "IndependentNormal": lambda loc, scale: D.Independent(D.Normal(loc, scale), 1),
    "MixtureOfNormals": lambda logits, loc, scale: D.MixtureSameFamily(D.Categorical(logits=logits), D.Normal(loc, scale)),
    "SigmoidOfNormal": lambda loc, scale: D.TransformedDistribution(D.Normal(loc, scale), [D.SigmoidTransform()]),
    "TanhOfNormal": lambda loc, scale: D.TransformedDistribution(D.Normal(loc, scale), [D.TanhTransform(), D.AffineTransform(0.5, -2.0)]),
}


def distributions():
    f = Family("distributions", 41)
    two = t(-0.3, 1.2), t(0.7, 2.5)
    positive = t(0.4, 3.5), t(1.3, 0.6)

    def case(name, outputs, value, *parameters):
        make = MAKERS[name]
        frozen = (0,) if not value.requires_grad and name in DISCRETE else ()
        f.case(name, lambda v, *p: [READERS[o](make(*p), v) for o in outputs], [value, *parameters], {"read": outputs}, fn_attrs={}, frozen=frozen)

    case("Normal", ALL, t(0.5, -1.0), *two)
    case("Laplace", ALL, t(0.5, -1.0), *two)
    case("Cauchy", ["logProb", "entropy", "cdf", "icdf"], t(0.5, -1.0), *two)
    case("Gumbel", ALL, t(0.5, -1.0), *two)
    case("Uniform", ALL, t(0.5, 1.5), t(-0.3, 1.2), t(0.7, 2.5))
    case("HalfNormal", ALL, t(0.5, 1.5), t(0.7, 2.5))
    case("LogNormal", ALL, t(0.5, 1.5), *two)
    case("Exponential", ALL, t(0.5, 1.5), t(0.7, 2.5))
    case("Gamma", MOMENTS, t(0.5, 1.5), *positive)
    case("Chi2", MOMENTS, t(0.5, 1.5), t(0.7, 6.0))
    case("Beta", MOMENTS, t(0.15, 0.7), *positive)
    case("Dirichlet", MOMENTS, torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]], dtype=DTYPE), t(0.4, 3.5, 1.2))
    case("StudentT", MOMENTS, t(0.5, -1.0), t(3.1, 8.0), *two)
    case("Pareto", ALL, t(1.5, 4.0), t(0.7, 2.5), t(2.3, 3.6))
    case("Weibull", ALL, t(0.5, 1.5), *positive)
    case("Bernoulli", MOMENTS, t(1.0, 0.0), t(0.2, 0.9))
    case("BernoulliLogits", MOMENTS, t(1.0, 0.0), t(-3.0, 0.9))
    case("Geometric", MOMENTS, t(4.0, 0.0), t(0.2, 0.9))
    case("Binomial", MOMENTS, t(4.0, 0.0), t(0.2, 0.9))
    case("BinomialLogits", MOMENTS, t(7.0, 2.0), t(-1.2, 0.9))
    case("Poisson", ["logProb", "mean", "variance"], t(4.0, 0.0), t(0.2, 6.0))
    case("Categorical", ["logProb", "entropy"], torch.tensor([2, 0]), torch.tensor([[0.2, 0.3, 0.7], [0.6, 0.3, 0.1]], dtype=DTYPE))
    case("CategoricalLogits", ["logProb", "entropy"], torch.tensor([2, 0]), torch.tensor([[0.2, -0.3, 0.7], [0.6, 0.3, 4.1]], dtype=DTYPE))
    case("OneHotCategorical", MOMENTS, t(0.0, 0.0, 1.0), torch.tensor([[0.2, 0.3, 0.7], [0.6, 0.3, 0.1]], dtype=DTYPE))
    case("Multinomial", ["logProb", "mean", "variance"], t(2.0, 0.0, 3.0), torch.tensor([[0.2, 0.3, 0.7], [0.6, 0.3, 0.1]], dtype=DTYPE))
    vector = torch.tensor([[0.5, -1.0], [2.0, 0.3]], dtype=DTYPE)
    case("MultivariateNormal", MOMENTS, vector, t(-0.3, 1.2), tril([[0.8, 0.0], [0.4, 1.5]]))
    case("MultivariateNormalCovariance", MOMENTS, vector, t(-0.3, 1.2), tril([[0.8, 0.2], [0.4, 1.5]]))
    case("MultivariateNormalPrecision", MOMENTS, vector, t(-0.3, 1.2), tril([[0.8, 0.2], [0.4, 1.5]]))
    case("RelaxedBernoulli", ["logProb"], t(0.15, 0.7), t(-1.2, 0.9))
    case("RelaxedOneHotCategorical", ["logProb"], t(0.2, 0.3, 0.5), torch.tensor([[0.2, -0.3, 0.7], [0.6, 0.3, 1.1]], dtype=DTYPE))
    case("IndependentNormal", MOMENTS, t(0.5, -1.0), *two)
    case("MixtureOfNormals", ["logProb", "mean", "variance", "cdf"], t(0.5, -1.0, 3.0), t(0.4, -0.6), *two)
    case("SigmoidOfNormal", ["logProb", "cdf", "icdf"], t(0.15, 0.7), *two)
    case("TanhOfNormal", ["logProb", "cdf", "icdf"], t(0.15, 0.7), *two)

    def divergence(p, q, p_parameters, q_parameters):
        n = len(p_parameters)
        fn = lambda *args: D.kl_divergence(MAKERS[p](*args[:n]), MAKERS[q](*args[n:]))
        f.case("kl", fn, [*p_parameters, *q_parameters], {"p": p, "q": q, "split": n}, fn_attrs={})

    other = t(0.1, -0.6), t(1.1, 0.9)
    for name in ("Normal", "Laplace", "Cauchy", "Gumbel", "LogNormal"):
        divergence(name, name, two, other)
    divergence("Uniform", "Uniform", (t(-0.3, 1.2), t(0.7, 2.5)), (t(-0.5, 0.0), t(3.7, 2.6)))
    divergence("HalfNormal", "HalfNormal", (t(0.7, 2.5),), (t(1.7, 0.5),))
    divergence("Exponential", "Exponential", (t(0.7, 2.5),), (t(1.7, 0.5),))
    for name in ("Gamma", "Beta"):
        divergence(name, name, positive, (t(1.4, 0.5), t(0.3, 2.6)))
    divergence("Chi2", "Chi2", (t(0.7, 2.5),), (t(1.7, 0.5),))
    divergence("Dirichlet", "Dirichlet", (t(0.4, 3.5, 1.2),), (t(1.4, 0.5, 2.2),))
    divergence("Pareto", "Pareto", (t(2.7, 2.5), t(2.3, 3.6)), (t(0.7, 2.1), t(1.3, 4.6)))
    for name in ("Bernoulli", "Geometric", "Binomial"):
        divergence(name, name, (t(0.2, 0.9),), (t(0.4, 0.5),))
    divergence("Poisson", "Poisson", (t(0.2, 6.0),), (t(0.4, 2.5),))
    for name in ("Categorical", "OneHotCategorical"):
        divergence(name, name, (t(0.2, 0.3, 0.7),), (t(0.5, 0.3, 0.2),))
    divergence("MultivariateNormal", "MultivariateNormal", (t(-0.3, 1.2), tril([[0.8, 0.0], [0.4, 1.5]])), (t(0.3, 0.2), tril([[1.8, 0.0], [-0.4, 0.5]])))
    divergence("IndependentNormal", "IndependentNormal", two, other)
    divergence("SigmoidOfNormal", "SigmoidOfNormal", two, other)
    wide = t(0.1, -0.6), t(2.1, 3.9)
    divergence("Laplace", "Normal", two, wide)
    divergence("Gumbel", "Normal", two, wide)
    divergence("Uniform", "Normal", (t(-0.3, 1.2), t(0.7, 2.5)), wide)
    divergence("Exponential", "Normal", (t(0.7, 2.5),), wide)
    divergence("Gamma", "Normal", positive, wide)
    divergence("Beta", "Normal", positive, wide)
    divergence("Pareto", "Normal", (t(0.7, 2.5), t(2.3, 3.6)), wide)
    divergence("Normal", "Laplace", two, wide)
    divergence("Normal", "Gumbel", two, wide)
    divergence("Exponential", "Gamma", (t(0.7, 2.5),), positive)
    divergence("Gamma", "Exponential", positive, (t(0.7, 2.5),))
    divergence("Beta", "Exponential", positive, (t(0.7, 2.5),))
    divergence("Beta", "Gamma", positive, positive)
    divergence("Beta", "Uniform", positive, (t(-0.3, 0.0), t(1.7, 1.0)))
    divergence("Pareto", "Exponential", (t(0.7, 2.5), t(2.3, 3.6)), (t(0.7, 2.5),))
    divergence("Pareto", "Gamma", (t(0.7, 2.5), t(2.3, 3.6)), positive)
    divergence("Bernoulli", "Poisson", (t(0.2, 0.9),), (t(0.4, 0.5),))

    # How gamma samples move with their concentration: the derivative at constant cdf.
    a = t(0.05, 0.3, 0.9, 1.0, 2.5, 7.0, 30.0, 400.0)
    for x in (0.2, 1.0, 1.6):
        f.case("gammaSlope", lambda alpha, value: torch._standard_gamma_grad(alpha, value), [a, a * x], grads=False)
    f.case("igamma", lambda alpha, value: torch.special.gammainc(alpha, value), [a, a * 1.1], grads=False)
    return f


DISCRETE = {
    "Bernoulli", "BernoulliLogits", "Geometric", "Binomial", "BinomialLogits", "Poisson", "Categorical", "CategoricalLogits",
    "OneHotCategorical", "Multinomial",
}

FAMILIES = [distributions]
