/** Probability distributions, their divergences and transforms. */
export { Independent, LogNormal, MixtureSameFamily, TransformedDistribution } from './composed.js';
export { type Constraint, constraints } from './constraints.js';
export { Cauchy, Gumbel, HalfNormal, Laplace, Normal, Uniform } from './continuous.js';
export {
  Bernoulli,
  Binomial,
  Categorical,
  Geometric,
  Multinomial,
  OneHotCategorical,
  Poisson,
  type ProbabilityParameters,
} from './discrete.js';
export { Distribution, type DistributionOptions, type Parameter, type SampleOptions } from './distribution.js';
export { klDivergence, registerKl } from './kl.js';
export { MultivariateNormal, type MultivariateNormalParameters } from './multivariate.js';
export { Beta, Chi2, Dirichlet, Exponential, Gamma, Pareto, StudentT, Weibull } from './positive.js';
export { type GumbelSoftmaxOptions, gumbelSoftmax, RelaxedBernoulli, RelaxedOneHotCategorical } from './relaxed.js';
export { AffineTransform, ExpTransform, PowerTransform, SigmoidTransform, TanhTransform, Transform } from './transforms.js';
