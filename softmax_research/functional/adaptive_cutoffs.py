"""Cutoffs of an adaptive softmax: the cheapest clusters under a model of their cost."""

import itertools

import numpy as np
import numpy.typing as npt

from softmax_research.functional.adaptive_softmax import check_cutoffs
from softmax_research.functional.arguments import check_at_least

_NUM_CANDIDATES = 1000
_CLUSTERS_TRIED = 4  # as in the paper
_MAX_CLUSTERS = 100


def adaptive_cost(
  counts: npt.ArrayLike,
  cutoffs: tuple[int, ...],
  *,
  overhead: float = 50.0,
  flat: float = 50.0,
) -> float:
  r"""Compute the expected cost of an adaptive softmax for one example.

  .. math:: C = g(J + k_0) + \sum_{i=1}^J p_i\, g(k_i), \qquad g(k) = c + \max(0, k - f)

  k_0 classes are in the head and k_i in cluster i, whose labels have frequency p_i. A product
  with k classes costs c as long as k is below f, for so few leave the processor idle, and one
  unit more with each class above that. What a projection saves is left out: a model that sees
  the saving, but not the accuracy that it costs, empties the head.

  Args:
    counts: how often each class occurs, `[K]`, in any order.
    cutoffs: where the clusters begin, for classes by decreasing count.
    overhead: c, at least 0.
    flat: f, at least 0.

  Returns:
    The cost, in classes.

  Raises:
    ValueError: the counts are not finite numbers >= 0 of which one is positive, the cutoffs do
      not increase within the classes, or an option is out of range.

  Example:
    >>> adaptive_cost([6, 1, 1, 2], (2,), overhead=0, flat=0)
    3.4

  Reference:
    Grave et al. 2017, "Efficient softmax approximation for GPUs", section 4.2
    (arXiv 1609.04309).
  """
  _check_options(overhead, flat)
  mass = _cumulative_mass(counts)
  bounds = (*check_cutoffs(cutoffs, len(mass) - 1), len(mass) - 1)
  cost = overhead + max(0, len(bounds) - 1 + bounds[0] - flat)
  for start, stop in itertools.pairwise(bounds):
    cost += (mass[stop] - mass[start]) * (overhead + max(0, stop - start - flat))
  return float(cost)


def adaptive_cutoffs(
  counts: npt.ArrayLike,
  *,
  num_clusters: int | None = None,
  overhead: float = 50.0,
  flat: float = 50.0,
) -> tuple[int, ...]:
  r"""Choose the cutoffs of an adaptive softmax that cost least.

  Dynamic programming finds the minimum of `adaptive_cost` over all cutoffs. Beyond a thousand
  classes the cutoffs are chosen among a thousand candidates, each about 1% larger than the one
  before, which costs far less than the model's own error.

  Args:
    counts: how often each class occurs, `[K]`, in any order.
    num_clusters: J, from 1 to K - 1 and at most 100; by default the cheapest of 1 to 4.
    overhead: the cost of a product with few classes, in classes; see `adaptive_cost`.
    flat: the number of classes up to which a product costs no more.

  Returns:
    Increasing cutoffs, for classes by decreasing count; none for a single class.

  Raises:
    ValueError: the counts are not finite numbers >= 0 of which one is positive, or an option is
      out of range.

  Example:
    >>> import numpy as np
    >>> adaptive_cutoffs(1 / np.arange(1, 200_001), num_clusters=2)
    (5508, 62651)

  Reference:
    Grave et al. 2017, "Efficient softmax approximation for GPUs", section 4.2
    (arXiv 1609.04309).
  """
  _check_options(overhead, flat)
  mass = _cumulative_mass(counts)
  num_classes = len(mass) - 1
  most = min(_MAX_CLUSTERS, num_classes - 1)
  if num_clusters is not None:
    integer = isinstance(num_clusters, int | np.integer) and not isinstance(num_clusters, bool)
    if not integer or not 1 <= num_clusters <= most:
      raise ValueError(
        f"Got num_clusters={num_clusters!r} for {num_classes} classes; it must be an integer from "
        f"1 to {most}, or None for the cheapest number."
      )
    sizes = [int(num_clusters)]
  else:
    sizes = range(1, min(_CLUSTERS_TRIED, most) + 1)
  if not sizes:
    return ()
  ends = np.append(_candidates(num_classes), num_classes)
  tail_costs = _tail_costs(mass, ends, overhead, flat)
  plans = []
  for size in sizes:
    head_costs = overhead + np.maximum(0, size + ends - flat)
    plans.append(_cheapest_path(head_costs, tail_costs, size))
  _, path = min(plans, key=lambda plan: plan[0])
  return tuple(int(ends[i]) for i in path)


def _candidates(num_classes: int) -> np.ndarray:
  """Return the places where a cluster may begin."""
  if num_classes <= _NUM_CANDIDATES:
    return np.arange(1, num_classes)
  places = np.geomspace(1, num_classes - 1, _NUM_CANDIDATES)
  return np.unique(places.round().astype(np.int64))


def _tail_costs(mass, ends, overhead, flat) -> np.ndarray:
  """Return the expected cost of the cluster from `ends[a]` to `ends[b]` at `[a, b]`."""
  sizes = ends[None, :] - ends[:, None]
  costs = (mass[ends][None, :] - mass[ends][:, None]) * (overhead + np.maximum(0, sizes - flat))
  return np.where(sizes > 0, costs, np.inf)


def _cheapest_path(head_costs, tail_costs, num_clusters) -> tuple[float, list[int]]:
  """Return the least cost of head and clusters, and the index at which each cluster begins."""
  best, origins = head_costs, []
  for _ in range(num_clusters):
    totals = best[:, None] + tail_costs
    origins.append(np.argmin(totals, axis=0))
    best = np.min(totals, axis=0)
  place, path = len(best) - 1, []
  for origin in reversed(origins):
    place = int(origin[place])
    path.insert(0, place)
  return float(best[-1]), path


def _check_options(overhead: float, flat: float) -> None:
  check_at_least("overhead", overhead, 0, "Pass 0 for a cost proportional to the classes.")
  check_at_least("flat", flat, 0, "Pass 0 for a cost proportional to the classes.")


def _cumulative_mass(counts: npt.ArrayLike) -> np.ndarray:
  """Return the frequency of the k most frequent classes, for k = 0 ... K."""
  counts = np.asarray(counts, np.float64)
  if counts.ndim != 1 or not np.all(np.isfinite(counts) & (counts >= 0)) or counts.sum() <= 0:
    raise ValueError(
      f"Got counts of shape {counts.shape} that are not all finite and at least 0 with one above "
      "0; pass one number a class, how often it occurs."
    )
  mass = np.cumsum(np.sort(counts)[::-1])
  return np.concatenate([[0.0], mass / mass[-1]])
