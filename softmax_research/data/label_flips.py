"""Label flips: how likely each class is taken for another, and labels drawn so."""

import numpy as np


def symmetric_flips(num_classes: int, *, rate: float) -> np.ndarray:
  r"""Take a class for each of the others alike.

  .. math:: T_{jk} = 1 - r \text{ for } j = k, \qquad T_{jk} = \frac{r}{K - 1} \text{ otherwise}

  Args:
    num_classes: K, at least 2.
    rate: r in [0, 1), the share of labels that are wrong.

  Returns:
    Probabilities ``[K, K]``: the row is the true class, the column the label.

  Raises:
    ValueError: if a number is out of range.

  Example:
    >>> symmetric_flips(3, rate=0.5)
    array([[0.5 , 0.25, 0.25],
           [0.25, 0.5 , 0.25],
           [0.25, 0.25, 0.5 ]])

  Reference:
    Zhang and Sabuncu 2018, "Generalized Cross Entropy Loss for Training Deep Neural Networks with
    Noisy Labels" (arXiv 1805.07836).
  """
  _check(num_classes, rate)
  own = np.eye(num_classes)
  return (1 - rate) * own + rate / (num_classes - 1) * (1 - own)


def pair_flips(num_classes: int, *, rate: float) -> np.ndarray:
  r"""Take a class for the next one, and the last for the first.

  .. math:: T_{jj} = 1 - r, \qquad T_{j, (j + 1) \bmod K} = r

  Args:
    num_classes: K, at least 2.
    rate: r in [0, 1), the share of labels that are wrong; from 0.5 on the wrong class is the more
      likely one.

  Returns:
    Probabilities ``[K, K]``: the row is the true class, the column the label.

  Raises:
    ValueError: if a number is out of range.

  Example:
    >>> pair_flips(3, rate=0.25)
    array([[0.75, 0.25, 0.  ],
           [0.  , 0.75, 0.25],
           [0.25, 0.  , 0.75]])

  Reference:
    Han et al. 2018, "Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy
    Labels" (arXiv 1804.06872).
  """
  _check(num_classes, rate)
  own = np.eye(num_classes)
  return (1 - rate) * own + rate * np.roll(own, 1, axis=1)


def flip_labels(labels: np.ndarray, transition: np.ndarray, *, seed: int) -> np.ndarray:
  """Draw a label for each example from the row of its class; the same on every platform.

  Args:
    labels: the true classes, integers ``[N]``.
    transition: probabilities ``[K, K]``, each row of which sums to 1.
    seed: chooses the labels; not negative.

  Returns:
    ``int32 [N]``.

  Raises:
    ValueError: if a label has no row, a row is no distribution, or the seed is negative.

  Example:
    >>> flip_labels(np.array([0, 1, 2]), pair_flips(3, rate=0.0), seed=0)
    array([0, 1, 2], dtype=int32)
  """
  labels, transition = np.asarray(labels), np.asarray(transition, np.float64)
  if seed < 0:
    raise ValueError(f"Got seed={seed}; it must not be negative.")
  if transition.ndim != 2 or transition.shape[0] != transition.shape[1]:
    raise ValueError(f"Got a transition of shape {transition.shape}; it must be [K, K].")
  if np.any(transition < 0) or not np.allclose(transition.sum(1), 1):
    raise ValueError("Got a transition with a row that is no distribution; each must sum to 1.")
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


def _check(num_classes: int, rate: float) -> None:
  if num_classes < 2 or not 0 <= rate < 1:
    raise ValueError(
      f"Got num_classes={num_classes} and rate={rate}; there are 2 classes or more, and the rate, "
      "the share of labels that are wrong, lies in [0, 1)."
    )
