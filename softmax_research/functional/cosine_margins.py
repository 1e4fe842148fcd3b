"""Cosine margins (AM-Softmax, CosFace, ArcFace): margins on normalised features and weights."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional.arguments import check_at_least
from softmax_research.functional.labels import check_labels, map_label
from softmax_research.functional.precision import widen
from softmax_research.functional.soft_margin import soft_margin


def additive_cosine_margin(
  cosines: jax.typing.ArrayLike, labels: jax.typing.ArrayLike, *, margin: jax.typing.ArrayLike
) -> jax.Array:
  r"""Lower the label's cosine by a margin.

  .. math:: c'_y = \cos\theta_y - m, \qquad c'_j = \cos\theta_j \quad (j \ne y)

  This is the soft margin on cosines instead of logits, where no growth of the norms can absorb
  it. Multiply the result by the scale: `log_normalise(scale * cosines)`.

  Args:
    cosines: products of unit features and unit kernel columns, `[..., K]`.
    labels: integers `[...]`, or distributions `[..., K]`, whose classes share the margin in
      proportion. A label out of range lowers nothing; the loss that follows gives NaN for it.
    margin: m >= 0; the papers use 0.35.

  Returns:
    Cosines `[..., K]`.

  Raises:
    ValueError: the margin is negative or not finite, or the labels' shape does not fit.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> import jax.numpy as jnp
    >>> additive_cosine_margin(jnp.array([[0.5, 0.75]]), jnp.array([1]), margin=0.25)
    Array([[0.5, 0.5]], dtype=float32)

  Reference:
    Wang et al. 2018, "Additive Margin Softmax for Face Verification" (arXiv 1801.05599), and
    Wang et al. 2018, "CosFace: Large Margin Cosine Loss for Deep Face Recognition"
    (arXiv 1801.09414).
  """
  return soft_margin(cosines, labels, margin=margin)


def check_angle(margin: jax.typing.ArrayLike) -> None:
  """Raise a ValueError unless the added angle lies in [0, pi / 2] (a tracer passes).

  Example:
    >>> check_angle(0.5)
  """
  remedy = "Pass an angle in radians, as 0.5; 0 for no margin."
  check_at_least("margin", margin, 0, remedy)
  if not isinstance(margin, jax.core.Tracer) and np.any(np.asarray(margin) > math.pi / 2):
    raise ValueError(f"Got margin={margin}; it must be at most pi / 2. {remedy}")


def additive_angular_margin(
  cosines: jax.typing.ArrayLike, labels: jax.typing.ArrayLike, *, margin: jax.typing.ArrayLike
) -> jax.Array:
  r"""Widen the label's angle by a margin.

  .. math::
    c'_y = \begin{cases}
      \cos(\theta_y + m) & \theta_y < \pi - m \\
      \cos\theta_y - m \sin m & \text{otherwise}
    \end{cases}

  Past pi - m the cosine of the widened angle would rise again; the second line, the one in use
  since the authors' release, keeps c' falling as the angle grows, with a step down of
  :math:`\cos m + m \sin m - 1` where the lines meet.

  .. math:: \cos(\theta + m) = \cos m \cos\theta - \sin m \sqrt{1 - \cos^2\theta}

  The slope of the root is infinite at an angle of 0, a cone's tip in feature space; there the
  root counts as flat, so that the gradient is finite. Multiply the result by the scale:
  `log_normalise(scale * cosines)`.

  Args:
    cosines: products of unit features and unit kernel columns, `[..., K]`.
    labels: integers `[...]`, or distributions `[..., K]`, whose classes share the change in
      proportion. A label out of range changes nothing; the loss that follows gives NaN for it.
    margin: m, in radians, from 0 to pi / 2; the paper uses 0.5.

  Returns:
    Cosines `[..., K]`.

  Raises:
    ValueError: the margin is out of range, or the labels' shape does not fit.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> import jax.numpy as jnp
    >>> cosines, labels = jnp.cos(jnp.array([[1.0, 0.3], [3.0, 0.3]])), jnp.array([0, 0])
    >>> additive_angular_margin(cosines, labels, margin=0.5).round(4)
    Array([[ 0.0707,  0.9553],
           [-1.2297,  0.9553]], dtype=float32)

  Reference:
    Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", eq. 3
    (arXiv 1801.07698).
  """
  check_angle(margin)
  cosines, result_type = widen(cosines)
  labels = check_labels(labels, cosines)
  return map_label(_widen_angle, labels, cosines, jnp.asarray(margin, cosines.dtype)).astype(
    result_type
  )


def _widen_angle(cosine: jax.Array, margin: jax.Array) -> jax.Array:
  cos_margin, sin_margin = jnp.cos(margin), jnp.sin(margin)
  # (1 - c)(1 + c) keeps digits that 1 - c^2 loses near 1.
  squared_sine = (1 - cosine) * (1 + cosine)
  inside = squared_sine > 0
  sine = jnp.where(inside, jnp.sqrt(jnp.where(inside, squared_sine, 1)), 0)
  widened = cosine * cos_margin - sine * sin_margin
  return jnp.where(cosine > -cos_margin, widened, cosine - margin * sin_margin)
