"""Pure functions on arrays: scores, normalisers, margins and losses."""

from softmax_research.functional.cross_entropy import cross_entropy
from softmax_research.functional.negative_log_likelihood import negative_log_likelihood
from softmax_research.functional.normalise import log_normalise, log_normaliser
from softmax_research.functional.soft_margin import soft_margin
from softmax_research.functional.softmax import log_softmax, softmax
from softmax_research.functional.taylor import log_taylor_softmax, taylor_score, taylor_softmax

__all__ = [
  "cross_entropy",
  "log_normalise",
  "log_normaliser",
  "log_softmax",
  "log_taylor_softmax",
  "negative_log_likelihood",
  "soft_margin",
  "softmax",
  "taylor_score",
  "taylor_softmax",
]
