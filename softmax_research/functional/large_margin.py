"""Large margin (L-Softmax): the angle between feature and label's weights is multiplied."""

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional.arguments import broadcasts_to, check_at_least
from softmax_research.functional.labels import check_labels, map_label
from softmax_research.functional.layer import per_class
from softmax_research.functional.precision import widen


def check_multiplier(margin: int) -> None:
  """Raise a ValueError unless the multiplier of the angle is an integer of at least 1.

  Example:
    >>> check_multiplier(4)
  """
  integer = isinstance(margin, int | np.integer) and not isinstance(margin, bool)
  if not integer or margin < 1:
    raise ValueError(
      f"Got margin={margin!r}; the large margin multiplies an angle by an integer of at least 1. "
      "Pass 1 for no margin, 2 to 4 for the published ones."
    )


def large_margin(
  logits: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  feature_norms: jax.typing.ArrayLike,
  kernel_norms: jax.typing.ArrayLike,
  margin: int,
  annealing: jax.typing.ArrayLike = 0.0,
) -> jax.Array:
  r"""Multiply the angle behind the label's logit by an integer.

  For logits without bias, :math:`z_k = \|w_k\| \|x\| \cos\theta_k`,

  .. math::
    z'_y = \frac{\lambda z_y + \|w_y\| \|x\| \, \psi(\theta_y)}{1 + \lambda}, \qquad
    \psi(\theta) = (-1)^k \cos(m \theta) - 2k
    \quad \text{for} \quad \theta \in [k\pi/m, (k+1)\pi/m],

  and the other logits stay. psi falls from 1 to 1 - 2m without a jump. No angle is computed:
  cos(m theta) is the Chebyshev polynomial of cos theta, which is smooth where arccos is not, and k
  counts the cos(j pi / m) that cos theta has fallen below. Let the norms carry their gradients:
  they are part of the loss.

  Args:
    logits: products of features and kernel, `[..., K]`.
    labels: integers `[...]`, or distributions `[..., K]`, whose classes share the change in
      proportion. A label out of range changes nothing; the loss that follows gives NaN for it.
    feature_norms: Euclidean norms of the features, `[...]`.
    kernel_norms: Euclidean norms of the kernel's columns, `[K]` or broadcasting to `[..., K]`.
      Where a norm is zero the angle counts as a right one.
    margin: m, an integer of at least 1; 1 leaves the logits as they are.
    annealing: lambda >= 0, the weight of the plain logit; see `large_margin_annealing`.

  Returns:
    Logits `[..., K]`.

  Raises:
    ValueError: the margin is no positive integer, the annealing is negative or not finite, or a
      shape does not fit.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> import jax.numpy as jnp
    >>> logits, labels = jnp.array([[6.0, 0.0]]), jnp.array([0])
    >>> norms = {"feature_norms": jnp.array([5.0]), "kernel_norms": jnp.array([2.0, 1.0])}
    >>> large_margin(logits, labels, **norms, margin=2).round(4)  # the label's cosine is 0.6
    Array([[-2.8,  0. ]], dtype=float32)

  Reference:
    Liu et al. 2016, "Large-Margin Softmax Loss for Convolutional Neural Networks", eq. 4 to 7
    (arXiv 1612.02295).
  """
  check_multiplier(margin)
  check_at_least("annealing", annealing, 0, "Pass 0 for the margin in full.")
  logits, result_type = widen(logits)
  labels = check_labels(labels, logits)
  sizes = _sizes(logits, widen(feature_norms)[0], widen(kernel_norms)[0])

  def anneal(logit: jax.Array, size: jax.Array, annealing: jax.Array) -> jax.Array:
    cosine = jnp.where(size > 0, logit / jnp.where(size > 0, size, 1), 0)
    return (annealing * logit + size * _psi(cosine, margin)) / (1 + annealing)

  annealing = jnp.asarray(annealing, logits.dtype)
  return map_label(anneal, labels, logits, sizes, annealing).astype(result_type)


def _sizes(logits: jax.Array, feature_norms: jax.Array, kernel_norms: jax.Array) -> jax.Array:
  """Return the products of the norms, after checking that they fit the logits."""
  if feature_norms.shape != logits.shape[:-1]:
    raise ValueError(
      f"Got feature_norms of shape {feature_norms.shape} for logits of shape {logits.shape}; "
      f"they must have shape {logits.shape[:-1]}, one norm for each example."
    )
  if not broadcasts_to(kernel_norms.shape, logits.shape):
    raise ValueError(
      f"Got kernel_norms of shape {kernel_norms.shape} for logits of shape {logits.shape}; they "
      f"must have shape {logits.shape[-1:]}, one norm for each class, or that of the logits."
    )
  return feature_norms[..., None].astype(logits.dtype) * per_class(kernel_norms, logits)


def _psi(cosine: jax.Array, margin: int) -> jax.Array:
  """Return (-1)^k cos(m theta) - 2k as a function of cos theta."""
  # Rounding may carry a cosine past 1: put the value back and leave the gradient alone, because
  # that of a clip would vanish just where features and weights agree.
  cosine = cosine + jax.lax.stop_gradient(jnp.clip(cosine, -1, 1) - cosine)
  previous, chebyshev = jnp.ones_like(cosine), cosine
  for _ in range(margin - 1):
    previous, chebyshev = chebyshev, 2 * cosine * chebyshev - previous
  boundaries = np.cos(np.arange(1, margin) * np.pi / margin)
  sector = sum((jnp.where(cosine < boundary, 1, 0) for boundary in boundaries), 0)
  return jnp.where(sector % 2 == 0, chebyshev, -chebyshev) - 2 * sector


def large_margin_annealing(
  step: jax.typing.ArrayLike,
  *,
  base: float,
  gamma: float,
  power: float,
  minimum: float = 0.0,
) -> jax.Array:
  r"""Compute the weight of the plain logit at a step of training.

  .. math:: \lambda(t) = \max(\lambda_{\min}, \; b \, (1 + \gamma t)^{-p})

  The margin alone is hard to train from the start: begin with a large lambda and let it fall.

  Args:
    step: t, the number of updates made so far.
    base: b >= 0, lambda at the start; 0 for no annealing.
    gamma: at least 0.
    power: p >= 0.
    minimum: the value at which lambda stops falling.

  Returns:
    lambda, of the shape of `step`.

  Raises:
    ValueError: a parameter is negative or not finite.

  Example:
    >>> large_margin_annealing(5000, base=1000.0, gamma=2.5e-5, power=35.0).round(1)
    Array(16.2, dtype=float32)

  Reference:
    The Caffe examples released with Liu et al. 2016, whose MNIST example uses base 1000, gamma
    2.5e-5, power 35 and minimum 0.
  """
  options = {"base": base, "gamma": gamma, "power": power, "minimum": minimum}
  for name, value in options.items():
    check_at_least(name, value, 0, "Pass base=0 for no annealing.")
  step = jnp.asarray(step, jnp.result_type(float))
  return jnp.maximum(minimum, base * jnp.exp(-power * jnp.log1p(gamma * step)))
