"""Label flips: how likely each class is taken for another, and labels drawn so."""

import numpy as np

from softmax_research.data.dataset import check_classes
from softmax_research.functional.arrays import check_integer


def flip_probabilities(num_classes: int, *, flips: str, rate: float) -> np.ndarray:
  r"""Return how likely each class is taken for each other one.

  .. math::
    T_{jj} = 1 - r, \qquad
    T_{jk} = \frac{r}{K - 1} \text{ (symmetric)} \quad \text{or} \quad
    T_{j, (j + 1) \bmod K} = r \text{ (pair)}

  Args:
    num_classes: K, at least 2.
    flips: ``symmetric``, to any other class, or ``pair``, to the next one.
    rate: r in [0, 1], the share of labels that are wrong. In pairs the wrong class is the more
      likely one from 0.5 on.

  Returns:
    Probabilities ``[K, K]``: the row is the true class, the column the label.

  Raises:
    ValueError: if a number is out of range, or there are no such flips.

  Example:
    >>> flip_probabilities(3, flips="pair", rate=0.25)
    array([[0.75, 0.25, 0.  ],
           [0.  , 0.75, 0.25],
           [0.25, 0.  , 0.75]])

  Reference:
    Han et al. 2018, "Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy
    Labels" (arXiv 1804.06872).
  """
  if num_classes < 2 or not 0 <= rate <= 1:
    raise ValueError(
      f"Got num_classes={num_classes} and rate={rate}; there are 2 classes or more, and the rate, "
      "the share of labels that are wrong, lies in [0, 1]."
    )
  own = np.eye(num_classes)
  others = {"symmetric": (1 - own) / (num_classes - 1), "pair": np.roll(own, 1, axis=1)}
  if flips not in others:
    raise ValueError(f"Got flips={flips!r}; the flips are {' and '.join(others)}.")
  return (1 - rate) * own + rate * others[flips]


def flip_labels(labels: np.ndarray, transition: np.ndarray, *, seed: int) -> np.ndarray:
  """Draw a label for each example from the row of its class; the same on every platform.

  Args:
    labels: the true classes, integers ``[N]``.
    transition: probabilities ``[K, K]``, each row of which sums to 1.
    seed: chooses the labels; not negative.

  Returns:
    ``int32 [N]``.

  Raises:
    ValueError: if labels are no integers ``[N]``, one has no row, a row is no distribution, or the
      seed is negative.

  Example:
    >>> flip_labels(np.array([0, 1, 2]), np.eye(3), seed=0)
    array([0, 1, 2], dtype=int32)
  """
  labels, transition = np.asarray(labels), np.asarray(transition, np.float64)
  check_integer("seed", seed, 0)
  if transition.ndim != 2 or transition.shape[0] != transition.shape[1]:
    raise ValueError(f"Got a transition of shape {transition.shape}; it must be [K, K].")
  if np.any(transition < 0) or not np.allclose(transition.sum(1), 1):
    raise ValueError("Got a transition with a row that is no distribution; each must sum to 1.")
  check_classes(labels)
  if labels.size and not 0 <= labels.min() <= labels.max() < len(transition):
    raise ValueError(
      f"Got labels from {labels.min()} to {labels.max()} for {len(transition)} classes; each label "
      "needs a row of the transition."
    )
  # The raw stream is what NumPy promises not to change; see `stratified_sample`, whose own stream
  # must be another, or a split would choose examples by whether their labels are right.
  draws = np.random.PCG64((seed, 1)).random_raw(len(labels)) / 2.0**64
  ends = np.cumsum(transition, axis=1)[:, :-1]
  return np.sum(draws[:, None] >= ends[labels], axis=1, dtype=np.int32)
