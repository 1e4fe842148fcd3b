"""Margins: changes of the label's logit, for training alone.

Margins of cosines take products of unit features and unit kernel columns, `[..., K]`, and return
such. Multiply what they return by the scale: `log_normalise(scale * cosines)`.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional.arrays import (
  broadcasts_to,
  check_at_least,
  check_integer,
  check_option_shape,
  per_class,
  widen,
)
from softmax_research.functional.labels import (
  check_labels,
  is_known,
  is_label,
  map_label,
  replace_label,
  select_label,
)


def soft_margin(
  logits: jax.typing.ArrayLike, labels: jax.typing.ArrayLike, *, margin: jax.typing.ArrayLike
) -> jax.Array:
  r"""Lower the label's logit by a margin.

  .. math:: z'_y = z_y - m, \qquad z'_j = z_j \quad (j \ne y)

  With softmax's score this is SM-softmax; with Taylor's, SM-Taylor softmax. Apply it in the
  training loss only: a prediction has no label to lower.

  Args:
    logits: `[..., K]`.
    labels: integers `[...]`, or distributions `[..., K]`, whose classes share the margin in
      proportion. A label out of range lowers nothing; the loss that follows gives NaN for it.
    margin: m >= 0, a number, or `[K]`, one for each class; 0 leaves the logits as they are.

  Returns:
    Logits `[..., K]`.

  Raises:
    ValueError: the margin is negative or not finite, or the labels' shape does not fit.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> soft_margin(jnp.array([[1.0, 2.0, 3.0]]), jnp.array([2]), margin=0.5)
    Array([[1. , 2. , 2.5]], dtype=float32)

  Reference:
    Liang et al. 2017, "Soft-Margin Softmax for Deep Classification"
    (doi 10.1007/978-3-319-70096-0_43); Cao et al. 2019, "Learning Imbalanced Datasets with
    Label-Distribution-Aware Margin Loss" (arXiv 1906.07413), for one a class.
  """
  check_at_least("margin", margin, 0, "Pass 0 for no margin.")
  logits, result_type = widen(logits)
  check_option_shape("margin", margin, logits.shape)
  labels = check_labels(labels, logits)
  return replace_label(logits, logits - per_class(margin, logits), labels).astype(result_type)


def additive_cosine_margin(
  cosines: jax.typing.ArrayLike, labels: jax.typing.ArrayLike, *, margin: jax.typing.ArrayLike
) -> jax.Array:
  r"""Lower the label's cosine by a margin.

  .. math:: c'_y = \cos\theta_y - m, \qquad c'_j = \cos\theta_j \quad (j \ne y)

  This is the soft margin on cosines instead of logits, where no growth of the norms can absorb it.

  Args:
    cosines: products of unit features and unit kernel columns, `[..., K]`.
    labels: those of `soft_margin`.
    margin: m >= 0; the papers use 0.35.

  Raises:
    ValueError: the margin is negative or not finite, or the labels' shape does not fit.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> additive_cosine_margin(jnp.array([[0.5, 0.75]]), jnp.array([1]), margin=0.25)
    Array([[0.5, 0.5]], dtype=float32)

  Reference:
    Wang et al. 2018, "Additive Margin Softmax for Face Verification" (arXiv 1801.05599), and
    Wang et al. 2018, "CosFace: Large Margin Cosine Loss for Deep Face Recognition"
    (arXiv 1801.09414).
  """
  return soft_margin(cosines, labels, margin=margin)


def check_angle(margin: jax.typing.ArrayLike) -> None:
  """Raise a ValueError unless the added angle lies in [0, pi / 2] (a tracer passes)."""
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
  root counts as flat, so that the gradient is finite.

  Args:
    cosines, labels: those of `additive_cosine_margin`.
    margin: m, in radians, from 0 to pi / 2; the paper uses 0.5.

  Raises:
    ValueError: the margin is out of range, or the labels' shape does not fit.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
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
  check_option_shape("margin", margin, cosines.shape)
  labels = check_labels(labels, cosines)
  return map_label(_widen_angle, labels, cosines, jnp.asarray(margin, cosines.dtype)).astype(
    result_type
  )


def _widen_angle(cosine: jax.Array, margin: jax.Array) -> jax.Array:
  cos_margin, sin_margin = jnp.cos(margin), jnp.sin(margin)
  widened = cosine * cos_margin - _sine(cosine) * sin_margin
  return jnp.where(cosine > -cos_margin, widened, cosine - margin * sin_margin)


def combined_margin(
  cosines: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  multiplier: jax.typing.ArrayLike = 1.0,
  angle: jax.typing.ArrayLike = 0.0,
  cosine: jax.typing.ArrayLike = 0.0,
) -> jax.Array:
  r"""Multiply the label's angle, widen it and lower its cosine.

  .. math::
    c'_y = \psi(m_1 \theta_y + m_2) - m_3, \qquad
    \psi(\varphi) = (-1)^k \cos \varphi - 2k
    \quad \text{for} \quad \varphi \in [k\pi, (k+1)\pi]

  psi is the cosine up to pi and falls on beyond, without a jump. With m_1 alone this is
  SphereFace's margin, of any number, not only of whole ones; with m_2 alone ArcFace's, which
  `additive_angular_margin` lets fall otherwise past pi; with m_3 alone CosFace's.

  Args:
    cosines, labels: those of `additive_cosine_margin`.
    multiplier: m_1 >= 1, a number, or `[..., 1]`, one for each example.
    angle: m_2, in radians, from -pi / 2 to pi / 2, likewise; an angle below 0 counts as 0.
    cosine: m_3 >= 0, likewise.

  Raises:
    ValueError: a margin is out of range, or a shape does not fit.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> cosines, labels = jnp.cos(jnp.array([[1.0, 0.0], [3.0, 0.0]])), jnp.array([0, 0])
    >>> combined_margin(cosines, labels, multiplier=1.5)[:, 0].round(2)
    Array([ 0.07, -1.79], dtype=float32)

  Reference:
    Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", eq. 4
    (arXiv 1801.07698); Liu et al. 2017, "SphereFace: Deep Hypersphere Embedding for Face
    Recognition" (arXiv 1704.08063).
  """
  check_at_least("multiplier", multiplier, 1, "Pass 1 for no multiplication of the angle.")
  check_at_least("cosine", cosine, 0, "Pass 0 for no margin of the cosine.")
  check_at_least("angle", angle, -math.pi / 2, "Pass 0 for no margin of the angle.")
  if not isinstance(angle, jax.core.Tracer):
    check_angle(np.abs(angle))
  cosines, result_type = widen(cosines)
  labels = check_labels(labels, cosines)
  options = {"multiplier": multiplier, "angle": angle, "cosine": cosine}
  for name, option in options.items():
    check_option_shape(name, option, cosines.shape)
  operands = (per_class(option, cosines) for option in options.values())
  return map_label(_combine, labels, cosines, *operands).astype(result_type)


def _sine(cosine: jax.Array) -> jax.Array:
  """Return the sine of an angle in [0, pi]; where it is 0 its infinite slope counts as none."""
  # (1 - c)(1 + c) keeps digits that 1 - c^2 loses near 1.
  squared_sine = (1 - cosine) * (1 + cosine)
  inside = squared_sine > 0
  return jnp.where(inside, jnp.sqrt(jnp.where(inside, squared_sine, 1)), 0)


def _combine(cosine, multiplier, angle, lowered):
  turned = jax.nn.relu(multiplier * jnp.arctan2(_sine(cosine), cosine) + angle)
  sector = jax.lax.stop_gradient(jnp.floor(turned / math.pi))
  fallen = jnp.where(sector % 2 == 0, jnp.cos(turned), -jnp.cos(turned)) - 2 * sector
  return fallen - lowered


def curricular_margin(
  cosines: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  margin: jax.typing.ArrayLike,
  emphasis: jax.typing.ArrayLike,
) -> jax.Array:
  r"""Widen the label's angle and re-weight the classes that are hard to tell from it.

  .. math::
    c'_j = \begin{cases}
      c_j & c_j \le c'_y \\
      c_j (t + c_j) & \text{otherwise}
    \end{cases}
    \qquad (j \ne y)

  where the label's c' is that of `additive_angular_margin`. The emphasis t is the running
  mean of the labels' cosines: hard classes are played down at first, and up when it exceeds
  1 - c_j.

  Args:
    cosines: those of `additive_cosine_margin`.
    labels: integers `[...]`, or distributions `[..., K]`, of which all classes that have weight
      count as labels, and the limit is the expectation over them.
    margin: m, in radians, from 0 to pi / 2; the paper uses 0.5.
    emphasis: t, a number.

  Raises:
    ValueError: the margin is out of range, or the labels' shape does not fit.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> cosines, labels = jnp.array([[0.5, 0.25, -0.5]]), jnp.array([0])
    >>> curricular_margin(cosines, labels, margin=0.5, emphasis=0.75)[:, 1:]
    Array([[ 0.25, -0.5 ]], dtype=float32)

  Reference:
    Huang et al. 2020, "CurricularFace: Adaptive Curriculum Learning Loss for Deep Face
    Recognition" (arXiv 2004.00288).
  """
  widened = additive_angular_margin(cosines, labels, margin=margin)
  cosines, result_type = widen(cosines)
  labels = check_labels(labels, cosines)
  check_option_shape("emphasis", emphasis, cosines.shape)
  widened = widened.astype(cosines.dtype)
  if jnp.issubdtype(labels.dtype, jnp.integer):
    own, known = is_label(labels, cosines), is_known(labels, cosines.shape[-1])
    limit = jnp.where(known, select_label(widened, labels), jnp.inf)[..., None]
  else:
    labels = labels.astype(cosines.dtype)
    own, limit = labels > 0, jnp.sum(jnp.where(labels > 0, labels * widened, 0), -1, keepdims=True)
  emphasis = jnp.asarray(emphasis, cosines.dtype)
  return _emphasise(widened, emphasis, limit, own).astype(result_type)


@jax.custom_jvp
def _emphasise(cosines, emphasis, limit, own):
  return jnp.where(~own & (cosines > limit), cosines * (emphasis + cosines), cosines)


@_emphasise.defjvp
def _emphasise_jvp(primals, tangents):
  # Computed anew from the cosines: to keep which classes are hard would take arrays more.
  (cosines, emphasis, limit, own), (cosines_dot, emphasis_dot, *_) = primals, tangents
  hard = ~own & (cosines > limit)
  values = jnp.where(hard, cosines, 0)
  change = jnp.where(hard, emphasis + 2 * values, 1) * cosines_dot + values * emphasis_dot
  return _emphasise(*primals), change


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
    labels: those of `soft_margin`.
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
    >>> logits, labels = jnp.array([[6.0, 0.0]]), jnp.array([0])
    >>> norms = {"feature_norms": jnp.array([5.0]), "kernel_norms": jnp.array([2.0, 1.0])}
    >>> large_margin(logits, labels, **norms, margin=2).round(4)  # the label's cosine is 0.6
    Array([[-2.8,  0. ]], dtype=float32)

  Reference:
    Liu et al. 2016, "Large-Margin Softmax Loss for Convolutional Neural Networks", eq. 4 to 7
    (arXiv 1612.02295).
  """
  check_integer("margin", margin, remedy="Pass 1 for no margin, 2 to 4 for the published ones.")
  check_at_least("annealing", annealing, 0, "Pass 0 for the margin in full.")
  logits, result_type = widen(logits)
  check_option_shape("annealing", annealing, logits.shape)
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
  boundaries = np.cos(np.arange(1, margin) * np.pi / margin).tolist()
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
