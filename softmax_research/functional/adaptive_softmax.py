"""Adaptive softmax: frequent classes in a head, rare ones in clusters with smaller projections."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from softmax_research.functional.arrays import (
  affine,
  check_at_least,
  check_features,
  check_integer,
  check_num_classes,
  check_sizes,
  has_explicit_mesh,
  is_integer,
  product,
)
from softmax_research.functional.labels import (
  check_class_labels,
  is_known,
  select_label,
)
from softmax_research.functional.linear_cross_entropy import member_label_log_prob
from softmax_research.functional.normalise import log_normalise
from softmax_research.functional.priors import check_counts


def check_cutoffs(cutoffs: Sequence[int], num_classes: int) -> tuple[int, ...]:
  """Return the cutoffs as a tuple after checking that they increase within the classes."""
  remedy = f"Pass increasing integers from 1 to {num_classes - 1}, as (4000, 40000)."
  if isinstance(cutoffs, str) or not isinstance(cutoffs, Sequence | np.ndarray):
    raise ValueError(f"Got cutoffs={cutoffs!r}; they must be a sequence. {remedy}")
  if not all(map(is_integer, cutoffs)):
    raise ValueError(f"Got cutoffs={cutoffs!r}; they must be integers. {remedy}")
  bounds = [0, *(int(cut) for cut in cutoffs), num_classes]
  if any(start >= stop for start, stop in itertools.pairwise(bounds)):
    raise ValueError(
      f"Got cutoffs={cutoffs!r} for {num_classes} classes; each cluster needs a class. {remedy}"
    )
  return tuple(bounds[1:-1])


def adaptive_softmax_init(
  key: jax.Array,
  num_features: int,
  num_classes: int,
  *,
  cutoffs: Sequence[int],
  factor: float = 4.0,
  bias: bool = False,
  kernel_init: Callable[..., jax.Array] | None = None,
) -> dict[str, Any]:
  r"""Draw parameters of an adaptive softmax.

  The classes are numbered by decreasing frequency. Those below the first cutoff c_1 are in the
  head, those from c_i up to the next cutoff in cluster i, whose features are projected to
  d_i = max(1, floor(D / factor^i)) dimensions.

  Args:
    key: a random key.
    num_features: D.
    num_classes: K.
    cutoffs: c_1 < ... < c_J, within 1 ... K - 1. None at all, `()`, makes plain softmax.
    factor: by how much each cluster's dimension is smaller than the one before, at least 1.
    bias: add a bias to the logits of the head.
    kernel_init: an initialiser of `jax.nn.initializers`, `lecun_normal` by default.

  Returns:
    `{"head": {"kernel": [D, c_1 + J]}, "tails": [{"projection": [D, d_i], "kernel": [d_i, K_i]}]}`
    with one tail a cluster, and `"bias": [c_1 + J]` in the head if asked for. The last J columns
    of the head stand for the clusters. These are the transposed weights of
    `torch.nn.AdaptiveLogSoftmaxWithLoss`, whose `div_value` is the factor.

  Raises:
    ValueError: the cutoffs do not increase within the classes, the factor is below 1, there are no
      features, or 2^31 classes or more.

  Example:
    >>> params = adaptive_softmax_init(jax.random.key(0), 8, 10, cutoffs=(3, 6))
    >>> jax.tree.map(jax.numpy.shape, params["tails"])
    [{'kernel': (2, 3), 'projection': (8, 2)}, {'kernel': (1, 4), 'projection': (8, 1)}]

  Reference:
    Grave et al. 2017, "Efficient softmax approximation for GPUs", section 4 (arXiv 1609.04309).
  """
  check_integer("num_features", num_features)
  check_num_classes(num_classes)
  cutoffs = check_cutoffs(cutoffs, num_classes)
  check_at_least("factor", factor, 1, "Pass 4 for clusters of D / 4, D / 16, ... dimensions.")
  kernel_init = kernel_init or jax.nn.initializers.lecun_normal()
  keys = jax.random.split(key, 1 + 2 * len(cutoffs))
  head_size = (*cutoffs, num_classes)[0] + len(cutoffs)
  head = {"kernel": kernel_init(keys[0], (num_features, head_size), jnp.float32)}
  if bias:
    head["bias"] = jnp.zeros(head_size, jnp.float32)
  tails = []
  for i, (start, stop) in enumerate(itertools.pairwise((*cutoffs, num_classes))):
    size = max(1, int(num_features // factor ** (i + 1)))
    projection = kernel_init(keys[2 * i + 1], (num_features, size), jnp.float32)
    kernel = kernel_init(keys[2 * i + 2], (size, stop - start), jnp.float32)
    tails.append({"projection": projection, "kernel": kernel})
  return {"head": head, "tails": tails}


def adaptive_softmax_log_probs(
  features: jax.typing.ArrayLike,
  params: dict[str, Any],
  *,
  dtype: jax.typing.DTypeLike | None = None,
) -> jax.Array:
  r"""Compute the log-probabilities of all classes under an adaptive softmax.

  .. math::
    \log p_k = \begin{cases}
      \log p_{\mathrm{head}}(k) & k < c_1 \\
      \log p_{\mathrm{head}}(\mathrm{cluster}\ i) + \log p_i(k) & c_i \le k < c_{i+1}
    \end{cases}

  Each p is a softmax: of x W_head over the frequent classes and the clusters, of x P_i W_i over
  the classes of cluster i.

  Args:
    features: x, `[..., D]`.
    params: as from `adaptive_softmax_init`; their shapes tell the cutoffs.
    dtype: of the result; by default the type that features and parameters promote to.

  Returns:
    Log-probabilities in nats, `[..., K]`; float16 and bfloat16 are summed in float32.

  Raises:
    ValueError: the parameters do not fit each other or the features.

  Example:
    >>> tail = {"projection": jnp.ones((1, 1)), "kernel": jnp.zeros((1, 2))}
    >>> params = {"head": {"kernel": jnp.zeros((1, 2))}, "tails": [tail]}
    >>> jnp.exp(adaptive_softmax_log_probs(jnp.ones(1), params))
    Array([0.5 , 0.25, 0.25], dtype=float32)
  """
  features, cutoffs, _ = _check_inputs(features, params)
  head = _head_log_probs(features, params)
  parts = [head[..., : cutoffs[0]]] if cutoffs else [head]
  for i, tail in enumerate(params["tails"]):
    log_probs = log_normalise(product(product(features, tail["projection"]), tail["kernel"]))
    parts.append(head[..., cutoffs[0] + i, None] + log_probs)
  dtype = dtype or jnp.result_type(features, *jax.tree.leaves(params))
  return jnp.concatenate(parts, axis=-1).astype(dtype)


def adaptive_softmax_label_log_prob(
  features: jax.typing.ArrayLike,
  params: dict[str, Any],
  labels: jax.typing.ArrayLike,
  *,
  tile: tuple[int, int] | None = (128, 8192),
  dtype: jax.typing.DTypeLike | None = None,
) -> jax.Array:
  r"""Compute the log-probability of each example's label under an adaptive softmax.

  The same number as `adaptive_softmax_log_probs` gives at the label. A cluster's classes are
  visited for the examples whose label is among them, so that rare classes cost little: on
  average J + c_1 + sum_i p_i K_i classes an example, p_i being the clusters' frequencies.

  Args:
    features, params, dtype: those of `adaptive_softmax_log_probs`.
    labels: integers `[...]`, the classes numbered as in the parameters.
    tile: how many examples and how many classes of a cluster are computed together; the logits of
      so many examples stand in memory, those of all classes of the cluster. Blocks of examples
      that have no label in the cluster are skipped. There are first derivatives in reverse mode
      alone. A cluster whose logits fit in one tile is computed for all examples, in plain
      operations; None does so for every cluster, and so do meshes with Explicit axes, as their
      arrays cannot be sorted.

  Returns:
    Log-probabilities in nats, `[...]`; NaN for a label out of range.

  Raises:
    ValueError: the parameters do not fit each other or the features, the labels' shape does not
      fit, or the tile is not of two positive integers.
    TypeError: the labels are not integers.

  Example:
    >>> tail = {"projection": jnp.ones((1, 1)), "kernel": jnp.zeros((1, 2))}
    >>> params = {"head": {"kernel": jnp.zeros((1, 2))}, "tails": [tail]}
    >>> labels = jnp.array([0, 2, 3])
    >>> jnp.exp(adaptive_softmax_label_log_prob(jnp.ones((3, 1)), params, labels))
    Array([0.5 , 0.25,  nan], dtype=float32)
  """
  check_tile(tile)
  features, cutoffs, num_classes = _check_inputs(features, params)
  labels = check_class_labels(
    labels,
    features.shape[:-1],
    num_classes,
    "For distributions over classes use negative_log_likelihood on adaptive_softmax_log_probs.",
  )
  known = is_known(labels, num_classes)
  cluster = sum((labels >= cut).astype(labels.dtype) for cut in cutoffs)
  in_head = jnp.where(cluster == 0, labels, cutoffs[0] + cluster - 1) if cutoffs else labels
  log_prob = select_label(_head_log_probs(features, params), in_head)
  for i, (start, tail) in enumerate(zip(cutoffs, params["tails"], strict=True)):
    member = (cluster == i + 1) & known
    log_prob += _tail_log_prob(features, tail, labels - start, member, tile)
  dtype = dtype or jnp.result_type(features, *jax.tree.leaves(params))
  return jnp.where(known, log_prob, jnp.nan).astype(dtype)


def check_tile(tile: tuple[int, int] | None) -> None:
  """Raise a ValueError unless the tile is None or two positive integers."""
  if tile is not None:
    check_sizes("tile", tile, "(examples, classes), as (256, 8192), or None for no tiles")


def _check_inputs(features, params):
  """Return the features, the cutoffs and the number of classes."""
  head, tails = params["head"], params["tails"]
  features = check_features(features, head["kernel"])
  for tail in tails:
    check_features(features, tail["projection"])
    check_features(tail["projection"], tail["kernel"])
  head_size = head["kernel"].shape[1]
  bias_shape = np.shape(head["bias"]) if "bias" in head else (head_size,)
  if head_size <= len(tails) or bias_shape != (head_size,):
    raise ValueError(
      f"Got a head of {head_size} columns, a bias of shape {bias_shape} and {len(tails)} tails; "
      "the head needs a column for each tail and for at least one class, and as many biases as "
      "columns, or none."
    )
  sizes = [head_size - len(tails), *(tail["kernel"].shape[1] for tail in tails)]
  *cutoffs, num_classes = itertools.accumulate(sizes)
  check_num_classes(num_classes)
  return features, cutoffs, num_classes


def _head_log_probs(features, params):
  return log_normalise(affine(features, params["head"]["kernel"], params["head"].get("bias")))


def _tail_log_prob(features, tail, labels, member, tile):
  """Return the label's log-probability within its cluster, 0 for labels of other clusters."""
  hidden = product(features, tail["projection"])
  size = labels.size * tail["kernel"].shape[1]
  if tile is None or size <= tile[0] * tile[1] or has_explicit_mesh(labels):
    log_probs = log_normalise(product(hidden, tail["kernel"]))
    return jnp.where(member, select_label(log_probs, labels), 0)
  log_prob = member_label_log_prob(
    hidden.reshape(-1, hidden.shape[-1]),
    tail["kernel"],
    labels.ravel(),
    member.ravel(),
    tile=tile,
  )
  return log_prob.reshape(labels.shape)


_NUM_CANDIDATES = 1000
_CLUSTERS_TRIED = 4  # as in the paper
_MAX_CLUSTERS = 100


def adaptive_cutoffs(
  counts: npt.ArrayLike,
  *,
  num_clusters: int | None = None,
  overhead: float = 50.0,
  flat: float = 50.0,
) -> tuple[int, ...]:
  r"""Choose the cutoffs of an adaptive softmax that cost least.

  .. math:: C = g(J + k_0) + \sum_{i=1}^J p_i\, g(k_i), \qquad g(k) = c + \max(0, k - f)

  is the expected cost for one example. k_0 classes are in the head and k_i in cluster i, whose
  labels have frequency p_i. A product with k classes costs c as long as k is below f, for so few
  leave the processor idle, and one unit more with each class above that. What a projection saves
  is left out: a model that sees the saving, but not the accuracy that it costs, empties the head.

  Dynamic programming finds the minimum over all cutoffs. Beyond a thousand classes the cutoffs are
  chosen among a thousand candidates, each about 1% larger than the one before, which costs far less
  than the model's own error.

  Args:
    counts: how often each class occurs, `[K]`, in any order.
    num_clusters: J, from 1 to K - 1 and at most 100; by default the cheapest of 1 to 4.
    overhead: c, the cost of a product with few classes, in classes; at least 0.
    flat: f, the number of classes up to which a product costs no more; at least 0.

  Returns:
    Increasing cutoffs, for classes by decreasing count; none for a single class.

  Raises:
    ValueError: the counts are not finite numbers >= 0 of which one is positive, or an option is
      out of range.

  Example:
    >>> adaptive_cutoffs(1 / np.arange(1, 200_001), num_clusters=2)
    (5508, 62651)

  Reference:
    Grave et al. 2017, "Efficient softmax approximation for GPUs", section 4.2
    (arXiv 1609.04309).
  """
  for name, value in (("overhead", overhead), ("flat", flat)):
    check_at_least(name, value, 0, "Pass 0 for a cost proportional to the classes.")
  # The frequency of the k most frequent classes, for k = 0 ... K.
  mass = np.append(0.0, np.cumsum(np.sort(check_counts(counts))[::-1]))
  mass, num_classes = mass / mass[-1], len(mass) - 1
  most = min(_MAX_CLUSTERS, num_classes - 1)
  if num_clusters is not None:
    remedy = f"There are {num_classes} classes. Pass None for the cheapest number."
    check_integer("num_clusters", num_clusters, 1, most, remedy)
    sizes = [int(num_clusters)]
  else:
    sizes = range(1, min(_CLUSTERS_TRIED, most) + 1)
  if not sizes:
    return ()
  ends = np.arange(1, num_classes + 1)
  if num_classes > _NUM_CANDIDATES:
    ends = np.geomspace(1, num_classes - 1, _NUM_CANDIDATES)
    ends = np.append(np.unique(ends.round().astype(np.int64)), num_classes)
  tail_costs = _tail_costs(mass, ends, overhead, flat)
  plans = []
  for size in sizes:
    head_costs = overhead + np.maximum(0, size + ends - flat)
    plans.append(_cheapest_path(head_costs, tail_costs, size))
  _, path = min(plans, key=lambda plan: plan[0])
  return tuple(int(ends[i]) for i in path)


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
