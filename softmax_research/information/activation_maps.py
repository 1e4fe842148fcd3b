"""Class activation maps: where in an image the evidence for a class lies."""

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional.arrays import check_integer, per_class, widen
from softmax_research.functional.labels import check_class_labels, is_known


def cam(
  maps: jax.typing.ArrayLike, kernel: jax.typing.ArrayLike, labels: jax.typing.ArrayLike
) -> jax.Array:
  r"""Compute class activation maps.

  .. math:: M_t(u) = w_t^\top F(u)

  The mean of M over positions is the logit of class t, less its bias, in a network that ends in
  global average pooling and a dense head.

  Args:
    maps: the last convolution's activations F, `[..., H, W, D]`.
    kernel: the dense head's, `[D, K]`.
    labels: the class t of each image, integers `[...]`; one out of range gives NaN.

  Returns:
    Maps `[..., H, W]`.

  Raises:
    ValueError: the shapes do not fit one another.

  Example:
    >>> maps = jax.numpy.ones((2, 7, 7, 3))
    >>> cam(maps, jax.numpy.eye(3), jax.numpy.array([0, 2])).shape
    (2, 7, 7)

  Reference:
    Zhou et al. 2016, "Learning Deep Features for Discriminative Localization" (arXiv 1512.04150),
    eq. 2.
  """
  maps, kernel, labels = _check(maps, kernel, labels)
  return _project(maps, _columns(kernel, labels))


def info_cam(
  maps: jax.typing.ArrayLike, kernel: jax.typing.ArrayLike, labels: jax.typing.ArrayLike
) -> jax.Array:
  r"""Compute informative class activation maps: a class's evidence against all others.

  .. math:: M_t(u) = \Bigl(w_t - \frac{1}{K - 1} \sum_{k \ne t} w_k\Bigr)^\top F(u)

  Args:
    maps, kernel, labels: those of `cam`, for two classes at least.

  Returns:
    Maps `[..., H, W]`.

  Raises:
    ValueError: the shapes do not fit one another, or there is one class alone.

  Example:
    >>> maps = jax.numpy.ones((2, 7, 7, 3))
    >>> info_cam(maps, jax.numpy.eye(3), jax.numpy.array([0, 2])).shape
    (2, 7, 7)

  Reference:
    Qin, Kim & Gedeon 2021, "Informative Class Activation Maps" (arXiv 2106.10472).
  """
  maps, kernel, labels = _check(maps, kernel, labels, at_least=2)
  own = _columns(kernel, labels)
  others = (per_class(jnp.sum(kernel, axis=1), own) - own) / (kernel.shape[1] - 1)
  return _project(maps, own - others)


def info_cam_plus(
  maps: jax.typing.ArrayLike,
  kernel: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  log_probs: jax.typing.ArrayLike,
) -> jax.Array:
  r"""Compute `info_cam`'s maps against the least likely class alone.

  .. math:: M_t(u) = (w_t - w_{k^*})^\top F(u), \qquad k^* = \arg\min_k \log p_k

  Args:
    maps, kernel, labels: those of `cam`, for two classes at least.
    log_probs: the classifier's log-probabilities, or its logits, `[..., K]`.

  Returns:
    Maps `[..., H, W]`.

  Raises:
    ValueError: the shapes do not fit one another, or there is one class alone.

  Example:
    >>> maps, log_probs = jax.numpy.ones((2, 7, 7, 3)), jax.numpy.zeros((2, 3))
    >>> info_cam_plus(maps, jax.numpy.eye(3), jax.numpy.array([0, 2]), log_probs).shape
    (2, 7, 7)
  """
  maps, kernel, labels = _check(maps, kernel, labels, at_least=2)
  log_probs = jnp.asarray(log_probs)
  if log_probs.shape != (*labels.shape, kernel.shape[1]):
    raise ValueError(
      f"Got log_probs of shape {log_probs.shape}; for these labels and this kernel they must have "
      f"shape {(*labels.shape, kernel.shape[1])}."
    )
  least = _columns(kernel, jnp.argmin(log_probs, axis=-1))
  return _project(maps, _columns(kernel, labels) - least)


def smooth(maps: jax.typing.ArrayLike, *, window: int = 4) -> jax.Array:
  """Average maps over a square window, as the paper does before it cuts them.

  Positions beyond the border count as zero. Where the window is even, its middle lies half a
  position up and to the left.

  Args:
    maps: `[..., H, W]`.
    window: the square's side, at least 1.

  Returns:
    Maps `[..., H, W]`.

  Raises:
    ValueError: the window is below 1.

  Example:
    >>> smooth(jax.numpy.ones((2, 2)), window=2)
    Array([[0.25, 0.5 ],
           [0.5 , 1.  ]], dtype=float32)

  Reference:
    Qin, Kim & Gedeon 2021 (arXiv 2106.10472); their code sums over the window with a border of
    three, which gives a larger map.
  """
  check_integer("window", window)
  maps, _ = widen(maps)
  pads = [(0, 0)] * (maps.ndim - 2) + [(window // 2, (window - 1) // 2)] * 2
  padded = jnp.pad(maps, pads)
  height, width = maps.shape[-2:]
  shifts = [(i, j) for i in range(window) for j in range(window)]
  return sum(padded[..., i : i + height, j : j + width] for i, j in shifts) / window**2


def _check(maps, kernel, labels, *, at_least: int = 1):
  maps, kernel = jnp.asarray(maps), jnp.asarray(kernel)
  fits = maps.ndim >= 3 and kernel.ndim == 2 and maps.shape[-1] == kernel.shape[0]
  if not fits or maps.shape[:-3] != np.shape(labels) or kernel.shape[1] < at_least:
    raise ValueError(
      f"Got maps of shape {maps.shape}, a kernel of shape {kernel.shape} and labels of shape "
      f"{np.shape(labels)}; they must be [..., H, W, D], [D, K] with K >= {at_least} and [...]."
    )
  return maps, kernel, check_class_labels(labels, maps.shape[:-3], kernel.shape[1], "")


def _columns(kernel: jax.Array, labels: jax.Array) -> jax.Array:
  """Return the kernel's columns of the labels, `[..., D]`; NaN for one out of range."""
  inside = is_known(labels, kernel.shape[1])
  chosen = kernel.T[jnp.where(inside, labels, 0)]
  return jnp.where(inside[..., None], chosen, jnp.nan)


def _project(maps: jax.Array, direction: jax.Array) -> jax.Array:
  return jnp.einsum("...hwd,...d->...hw", maps, direction)
