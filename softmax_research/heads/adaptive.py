"""The adaptive head: rare classes in clusters, which cost and weigh less."""

import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np

from softmax_research import functional
from softmax_research.functional.adaptive_softmax import check_cutoffs, check_tile
from softmax_research.functional.arrays import (
  check_at_least,
  check_num_classes,
  look_up,
  wide_type,
)
from softmax_research.heads.head import Head, check_counts, likelihood_loss


def adaptive(
  num_classes: int,
  *,
  cutoffs: Sequence[int] | None = None,
  class_counts: Sequence[int] | None = None,
  factor: float = 4.0,
  bias: bool = False,
  kernel_init: Callable[..., jax.Array] | None = None,
  tile: tuple[int, int] | None = (128, 8192),
) -> Head:
  r"""Build the head of an adaptive softmax.

  Labels and log-probabilities are in the user's numbering of the classes, whatever their
  frequencies; the parameters are in the order of frequency. Labels that are distributions cost all
  classes of all clusters.

  Args:
    num_classes: K.
    cutoffs: where the clusters begin in the order of frequency, increasing integers from 1 to
      K - 1. By default they are chosen by `functional.adaptive_cutoffs` from the counts.
    class_counts: numbers of training examples of each class, `[K]`. Without them the classes
      must be numbered by decreasing frequency, and the cutoffs given.
    factor, bias, kernel_init: those of `functional.adaptive_softmax_init`, which has the source.
    tile: see `functional.adaptive_softmax_label_log_prob`.

  Returns:
    A head with the parameters of `functional.adaptive_softmax_init`.

  Raises:
    ValueError: there are neither cutoffs nor counts, or an option is out of range.

  Example:
    >>> head = adaptive(4, cutoffs=(2,), class_counts=[1, 5, 1, 9])
    >>> params = head.init(jax.random.key(0), 8)
    >>> params["head"]["kernel"].shape, params["tails"][0]["kernel"].shape
    ((8, 3), (2, 2))
  """
  check_num_classes(num_classes)
  check_at_least("factor", factor, 1, "Pass 4 for clusters of D / 4, D / 16, ... dimensions.")
  check_tile(tile)
  order = np.arange(num_classes)
  if class_counts is not None:
    check_counts("adaptive", num_classes, class_counts)
    order = np.argsort(-np.asarray(class_counts, np.float64), kind="stable")
  if cutoffs is not None:
    cutoffs = check_cutoffs(cutoffs, num_classes)
  elif class_counts is not None:
    cutoffs = functional.adaptive_cutoffs(class_counts)
  else:
    raise ValueError(
      "Got neither cutoffs nor class_counts; the adaptive head chooses its clusters by the "
      "classes' frequencies. Pass class_counts=[...], the number of training examples of each "
      "class, or cutoffs=(...) for classes numbered by decreasing frequency."
    )
  in_order = bool(np.all(order == np.arange(num_classes)))
  rank = np.argsort(order).astype(np.int32)

  layer = {"cutoffs": cutoffs, "factor": factor, "bias": bias, "kernel_init": kernel_init}
  init = functools.partial(functional.adaptive_softmax_init, num_classes=num_classes, **layer)

  def label_log_prob(params, features, labels):
    labels = labels if in_order else look_up(rank, labels)
    dtype = wide_type(features, params["head"]["kernel"])
    return functional.adaptive_softmax_label_log_prob(
      features, params, labels, tile=tile, dtype=dtype
    )

  def log_prob(params, features):
    dtype = wide_type(features, params["head"]["kernel"])
    log_probs = functional.adaptive_softmax_log_probs(features, params, dtype=dtype)
    return log_probs if in_order else log_probs.at[..., rank].get(mode="promise_in_bounds")

  return Head(init, likelihood_loss(num_classes, label_log_prob, log_prob), log_prob)
