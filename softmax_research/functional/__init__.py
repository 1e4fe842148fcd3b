"""Pure functions on arrays: scores, normalisers, margins and losses."""

from softmax_research.functional.adaptive_cutoffs import adaptive_cost, adaptive_cutoffs
from softmax_research.functional.adaptive_softmax import (
  adaptive_softmax_init,
  adaptive_softmax_label_log_prob,
  adaptive_softmax_log_probs,
)
from softmax_research.functional.cosine_margins import (
  additive_angular_margin,
  additive_cosine_margin,
)
from softmax_research.functional.cross_entropy import cross_entropy
from softmax_research.functional.hinge import multiclass_hinge
from softmax_research.functional.large_margin import large_margin, large_margin_annealing
from softmax_research.functional.negative_log_likelihood import negative_log_likelihood
from softmax_research.functional.normalise import log_normalise, log_normaliser
from softmax_research.functional.one_vs_all import one_vs_all_cross_entropy
from softmax_research.functional.priors import log_pc_softmax, log_prior_from_counts, shift_prior
from softmax_research.functional.relu import relu_score
from softmax_research.functional.sampled_softmax import sampled_softmax_loss
from softmax_research.functional.samplers import (
  Sampler,
  log_uniform_sampler,
  uniform_sampler,
  weighted_sampler,
)
from softmax_research.functional.soft_margin import soft_margin
from softmax_research.functional.softmax import log_softmax, softmax
from softmax_research.functional.spherical import (
  log_spherical_softmax,
  spherical_score,
  spherical_softmax,
)
from softmax_research.functional.taylor import log_taylor_softmax, taylor_score, taylor_softmax

__all__ = [
  "Sampler",
  "adaptive_cost",
  "adaptive_cutoffs",
  "adaptive_softmax_init",
  "adaptive_softmax_label_log_prob",
  "adaptive_softmax_log_probs",
  "additive_angular_margin",
  "additive_cosine_margin",
  "cross_entropy",
  "large_margin",
  "large_margin_annealing",
  "log_normalise",
  "log_normaliser",
  "log_pc_softmax",
  "log_prior_from_counts",
  "log_softmax",
  "log_spherical_softmax",
  "log_taylor_softmax",
  "log_uniform_sampler",
  "multiclass_hinge",
  "negative_log_likelihood",
  "one_vs_all_cross_entropy",
  "relu_score",
  "sampled_softmax_loss",
  "shift_prior",
  "soft_margin",
  "softmax",
  "spherical_score",
  "spherical_softmax",
  "taylor_score",
  "taylor_softmax",
  "uniform_sampler",
  "weighted_sampler",
]
