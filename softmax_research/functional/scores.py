"""Scores: logarithms of the positive functions that take the exponential's place in softmax.

All take logits, real numbers of any shape, and return scores of their shape and floating type. A
logit of -inf marks an impossible class and keeps the score -inf.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional.arrays import (
  as_option,
  check_at_least,
  check_epsilon,
  is_integer,
  widen,
)
from softmax_research.functional.normalise import log_normalise

# The powers from which the roots are found overflow from an order of 144 on.
_LARGEST_ORDER = 100


def check_order(order: int) -> None:
  """Raise a ValueError unless a Taylor series of the order is positive, and can be had."""
  if not is_integer(order):
    raise ValueError(f"Got order={order!r}; the Taylor order must be an even integer, as 2 or 4.")
  if order < 2 or order % 2:
    raise ValueError(
      f"Got order={order}; the Taylor order must be even and at least 2, because only then is "
      "the truncated series positive for every logit. Use 2, 4, 6, ..."
    )
  if order > _LARGEST_ORDER:
    raise ValueError(
      f"Got order={order}; the Taylor order must be at most {_LARGEST_ORDER}, where the series is "
      "the exponential for all logits that training meets. Use a smaller one, or softmax."
    )


def _newton_quotients(roots: np.ndarray, order: int) -> np.ndarray:
  """Return f_n(z) / f_n'(z) at complex points, summed in integers of ample precision.

  In floating point the sum loses e^|z| digits to cancellation where Re z < 0.
  """
  bits = 64 + 8 * order
  quotients = []
  for root in roots:
    re, im = int(math.ldexp(root.real, 64)), int(math.ldexp(root.imag, 64))
    term_re, term_im = 1 << bits, 0
    sum_re, sum_im = term_re, term_im
    for k in range(1, order + 1):
      slope_re, slope_im = sum_re, sum_im
      term_re, term_im = (
        ((term_re * re - term_im * im) >> 64) // k,
        ((term_re * im + term_im * re) >> 64) // k,
      )
      sum_re, sum_im = sum_re + term_re, sum_im + term_im
    size = slope_re**2 + slope_im**2
    quotient_re = ((sum_re * slope_re + sum_im * slope_im) << 128) // size
    quotient_im = ((sum_im * slope_re - sum_re * slope_im) << 128) // size
    quotients.append(complex(math.ldexp(quotient_re, -128), math.ldexp(quotient_im, -128)))
  return np.array(quotients)


@functools.lru_cache(maxsize=64)
def _quadratic_factors(order: int) -> tuple[tuple[float, float, float], ...]:
  """Return (a, b^2, a^2 + b^2) for each pair of conjugate roots a +- ib of f_n.

  An even-order f_n has no real root, and f_n(0) = 1 fixes the leading factor. The roots come
  from Aberth's iteration, which improves all of them together and is exact to float64.
  """
  scaled = [float(order) ** k / math.factorial(k) for k in range(order, -1, -1)]
  roots = np.roots(scaled) * order
  for _ in range(200):
    newton = _newton_quotients(roots, order)
    distances = roots[:, None] - roots[None, :]
    np.fill_diagonal(distances, np.inf)
    steps = newton / (1 - newton * np.sum(1 / distances, axis=1))
    roots = roots - steps
    if np.max(np.abs(steps) / np.abs(roots)) < 1e-15:
      break
  upper = sorted((root for root in roots if root.imag > 0), key=lambda root: root.imag)
  if len(upper) != order // 2:
    raise ValueError(f"Got order={order}; its roots were not found. Use a smaller order.")
  return tuple((float(r.real), float(r.imag) ** 2, float(abs(r)) ** 2) for r in upper)


def taylor_score(logits: jax.typing.ArrayLike, *, order: int = 2) -> jax.Array:
  r"""Compute the logarithm of the Taylor series of the exponential, truncated at an even order.

  .. math:: s(z) = \log f_n(z), \qquad f_n(z) = \sum_{k=0}^{n} \frac{z^k}{k!}

  The sum of powers cancels for negative logits and overflows for large ones, so f_n is computed
  as the product of its quadratic factors, each of them positive:

  .. math:: f_n(z) = \prod_{j=1}^{n/2} \frac{(z - a_j)^2 + b_j^2}{a_j^2 + b_j^2}

  f_n is not monotone: it has a positive minimum at a negative logit and rises again below it, so
  the most probable class need not be the one with the largest logit.

  Args:
    logits: real numbers of any shape; in float32 the score is finite up to 2e5 on either side.
    order: n, even, at least 2 and at most 100.

  Raises:
    ValueError: the order is odd, below 2, above 100 or not an integer.

  Example:
    >>> jnp.exp(taylor_score(jnp.array([-1.0, 0.0, 2.0]), order=2)).round(2)
    Array([0.5, 1. , 5. ], dtype=float32)

  Reference:
    de Brebisson & Vincent 2016, "An Exploration of Softmax Alternatives Belonging to the
    Spherical Loss Family" (arXiv 1511.05042), order 2; Banerjee et al. 2020, "Exploring
    Alternatives to Softmax Function" (arXiv 2011.11538), higher orders.
  """
  check_order(order)
  logits, result_type = widen(logits)
  return _log_series(logits, int(order)).astype(result_type)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _log_series(logits: jax.Array, order: int) -> jax.Array:
  """Return log f_n(z), -inf for a logit of -inf."""
  score = sum(jnp.log(value) for value, _ in _factors(logits, order))
  return jnp.where(logits == -jnp.inf, -jnp.inf, score)


@_log_series.defjvp
def _log_series_jvp(order, primals, tangents):
  # Computed anew from the logits: kept from the forward pass, the factors' values would take
  # memory for several arrays of the logits' size, and more time than the few products.
  (logits,), (logits_dot,) = primals, tangents
  possible = logits != -jnp.inf
  factors = _factors(jnp.where(possible, logits, 0), order)
  slope = jnp.where(possible, sum(slope / value for value, slope in factors), 0)
  return _log_series(logits, order), slope * logits_dot


def _factors(logits: jax.Array, order: int) -> list[tuple[jax.Array, jax.Array]]:
  """Return factors of f_n, each of up to four quadratics, and their slopes in the logits.

  One logarithm and one division for four quadratics are cheaper than four of each; more quadratics
  would overflow in float32: the product of four does so from logits of 2e5 on. A quadratic is
  computed as (c z - c a)^2 + (c b)^2 with c^2 = 1 / (a^2 + b^2): two fused multiplications.
  """
  quadratics = []
  for a, bb, size in _quadratic_factors(order):
    scale = size**-0.5
    root = logits * scale - a * scale
    quadratics.append((root * root + bb / size, root * (2 * scale)))
  factors = []
  for first, *rest in (quadratics[i : i + 4] for i in range(0, len(quadratics), 4)):
    value, slope = first
    for other, other_slope in rest:
      value, slope = value * other, slope * other + value * other_slope
    factors.append((value, slope))
  return factors


def log_taylor_softmax(
  logits: jax.typing.ArrayLike,
  *,
  order: int = 2,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute the logarithm of Taylor softmax.

  .. math:: \log p_k = \log f_n(z_k) - \log \sum_j f_n(z_j)

  Args:
    order: that of `taylor_score`, which has the source.
    logits, axis, where: those of `softmax`.

  Returns:
    Log-probabilities in nats, of the shape and floating type of the logits.

  Raises:
    ValueError: the order is odd, below 2 or not an integer.

  Example:
    >>> log_taylor_softmax(jnp.array([-2.0, 0.0]), order=2).round(4)
    Array([-0.6931, -0.6931], dtype=float32)
  """
  logits, result_type = widen(logits)
  scores = taylor_score(logits, order=order)
  return log_normalise(scores, axis=axis, where=where).astype(result_type)


def taylor_softmax(
  logits: jax.typing.ArrayLike,
  *,
  order: int = 2,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute Taylor softmax probabilities.

  .. math:: p_k = \frac{f_n(z_k)}{\sum_j f_n(z_j)}

  Args:
    order: that of `taylor_score`, which has the source.
    logits, axis, where: those of `softmax`.

  Returns:
    Probabilities of the shape and floating type of the logits.

  Raises:
    ValueError: the order is odd, below 2 or not an integer.

  Example:
    >>> taylor_softmax(jnp.array([-1.0, 1.0, 2.0]), order=2).round(4)
    Array([0.0625, 0.3125, 0.625 ], dtype=float32)
  """
  logits, result_type = widen(logits)
  log_probs = log_taylor_softmax(logits, order=order, axis=axis, where=where)
  return jnp.exp(log_probs).astype(result_type)


def spherical_score(
  logits: jax.typing.ArrayLike, *, epsilon: jax.typing.ArrayLike = 1e-2
) -> jax.Array:
  r"""Compute the logarithm of the squared logit.

  .. math:: s(z) = \log (z^2 + \varepsilon)

  The score is even: a class is probable when its logit is far from zero, on either side, so the
  most probable class need not be the one with the largest logit.

  Args:
    logits: real numbers of any shape, up to 1e18 in size.
    epsilon: eps > 0. It sets the scale of the logits: where they are much smaller than its root
      the distribution is uniform, where they are much larger only their ratios matter. The
      gradient is at most 1 / sqrt(eps). Worth tuning.

  Raises:
    ValueError: epsilon is not a positive number that float32 can hold.

  Example:
    >>> jnp.exp(spherical_score(jnp.array([-2.0, 0.0, 1.0]), epsilon=0.5)).round(2)
    Array([4.5, 0.5, 1.5], dtype=float32)

  Reference:
    de Brebisson & Vincent 2016, "An Exploration of Softmax Alternatives Belonging to the
    Spherical Loss Family" (arXiv 1511.05042).
  """
  check_epsilon(epsilon, typical=1e-2)
  logits, result_type = widen(logits)
  epsilon = as_option("epsilon", epsilon, logits.shape, logits.dtype)
  possible = logits != -jnp.inf
  score = jnp.log(jnp.where(possible, logits, 0) ** 2 + epsilon)
  return jnp.where(possible, score, -jnp.inf).astype(result_type)


def log_spherical_softmax(
  logits: jax.typing.ArrayLike,
  *,
  epsilon: jax.typing.ArrayLike = 1e-2,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute the logarithm of spherical softmax.

  .. math:: \log p_k = \log (z_k^2 + \varepsilon) - \log \sum_j (z_j^2 + \varepsilon)

  Args:
    epsilon: that of `spherical_score`, which has the source.
    logits, axis, where: those of `softmax`.

  Returns:
    Log-probabilities in nats, of the shape and floating type of the logits.

  Raises:
    ValueError: epsilon is not a positive number that float32 can hold.

  Example:
    >>> log_spherical_softmax(jnp.array([-3.0, 3.0])).round(4)
    Array([-0.6931, -0.6931], dtype=float32)
  """
  logits, result_type = widen(logits)
  scores = spherical_score(logits, epsilon=epsilon)
  return log_normalise(scores, axis=axis, where=where).astype(result_type)


def spherical_softmax(
  logits: jax.typing.ArrayLike,
  *,
  epsilon: jax.typing.ArrayLike = 1e-2,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute spherical softmax probabilities.

  .. math:: p_k = \frac{z_k^2 + \varepsilon}{\sum_j (z_j^2 + \varepsilon)}

  Args:
    epsilon: that of `spherical_score`, which has the source.
    logits, axis, where: those of `softmax`.

  Returns:
    Probabilities of the shape and floating type of the logits.

  Raises:
    ValueError: epsilon is not a positive number that float32 can hold.

  Example:
    >>> spherical_softmax(jnp.array([-2.0, 0.0, 1.0]), epsilon=1.0).round(4)
    Array([0.625, 0.125, 0.25 ], dtype=float32)
  """
  logits, result_type = widen(logits)
  log_probs = log_spherical_softmax(logits, epsilon=epsilon, axis=axis, where=where)
  return jnp.exp(log_probs).astype(result_type)


def relu_score(logits: jax.typing.ArrayLike, *, epsilon: jax.typing.ArrayLike = 1e-2) -> jax.Array:
  r"""Compute the logarithm of the rectified logit.

  .. math:: s(z) = \log \max(z, \varepsilon)

  Normalised, this is the classifier whose probabilities are ReLU outputs divided by their sum.
  A logit at or below eps has no gradient: a label whose logit has died learns only through the
  other classes, and a row whose logits have all died is uniform and does not learn at all. So
  start training with positive logits.

  Args:
    epsilon: eps > 0, the floor of a class's unnormalised probability. The gradient grows to
      1 / eps as a logit comes down to it, and steps that large stall training when eps is tiny.
      float16 logits raise eps to 2^-14, so that the gradient does not overflow.

  Raises:
    ValueError: epsilon is not a positive number that float32 can hold.

  Example:
    >>> jnp.exp(relu_score(jnp.array([-1.0, 0.5, 2.0]), epsilon=0.01)).round(2)
    Array([0.01, 0.5 , 2.  ], dtype=float32)

  Reference:
    Agarap 2018, "Deep Learning using Rectified Linear Units (ReLU)" (arXiv 1803.08375).
  """
  check_epsilon(epsilon, typical=1e-2)
  logits, result_type = widen(logits)
  epsilon = as_option("epsilon", epsilon, logits.shape, logits.dtype)
  floor = jnp.maximum(epsilon, float(jnp.finfo(result_type).tiny)).astype(logits.dtype)
  return _log_floored(logits, floor).astype(result_type)


@jax.custom_jvp
def _log_floored(logits: jax.Array, floor: jax.Array) -> jax.Array:
  # Comparing this way round lets a NaN logit through instead of hiding it behind the floor.
  score = jnp.log(jnp.where(logits <= floor, floor, logits))
  return jnp.where(logits == -jnp.inf, -jnp.inf, score)


@_log_floored.defjvp
def _log_floored_jvp(primals, tangents):
  # Computed anew from the logits: to keep the floored logits for it would take an array more.
  (logits, floor), (logits_dot, floor_dot) = primals, tangents
  dead = logits <= floor
  change = jnp.where(dead, floor_dot / floor, logits_dot / jnp.where(dead, 1, logits))
  return _log_floored(logits, floor), jnp.where(logits == -jnp.inf, 0, change)


def stablemax_score(logits: jax.typing.ArrayLike) -> jax.Array:
  r"""Compute the logarithm of StableMax's positive function.

  .. math::
    s(z) = \log g(z), \qquad
    g(z) = \begin{cases} z + 1 & z \ge 0 \\ 1 / (1 - z) & z < 0 \end{cases}

  So :math:`s(z) = \mathrm{sign}(z) \log(1 + |z|)`: it rises with the logit, but so slowly that the
  gradient of an example does not vanish when its logits grow.

  Example:
    >>> jnp.exp(stablemax_score(jnp.array([-3.0, 0.0, 2.0]))).round(2)
    Array([0.25, 1.  , 3.  ], dtype=float32)

  Reference:
    Prieto et al. 2025, "Grokking at the Edge of Numerical Stability" (arXiv 2501.04697).
  """
  logits, result_type = widen(logits)
  return _signed_log(logits).astype(result_type)


@jax.custom_jvp
def _signed_log(logits: jax.Array) -> jax.Array:
  # Of 1 + |z| the logarithm is exact to float32's 6e-8, and cheaper than log1p.
  return jnp.copysign(jnp.log(1 + jnp.abs(logits)), logits)


@_signed_log.defjvp
def _signed_log_jvp(primals, tangents):
  # The derivative of the absolute value is 0 at a logit of 0, that of the score 1.
  return _signed_log(*primals), tangents[0] / (1 + jnp.abs(primals[0]))


def sigsoftmax_score(logits: jax.typing.ArrayLike) -> jax.Array:
  r"""Compute the logarithm of sigsoftmax's positive function.

  .. math::
    s(z) = \log\big(e^z \sigma(z)\big) = z - \log(1 + e^{-z}),
    \qquad \sigma(z) = \frac{1}{1 + e^{-z}}

  The score is not linear in the logits, so that the log-probabilities of a dense layer may have a
  larger rank than its features have numbers. Its slope falls from 2 for low logits to 1 for high
  ones.

  Example:
    >>> sigsoftmax_score(jnp.array([-20.0, 0.0, 20.0])).round(4)
    Array([-40.    ,  -0.6931,  20.    ], dtype=float32)

  Reference:
    Kanai et al. 2018, "Sigsoftmax: Reanalysis of the Softmax Bottleneck" (arXiv 1805.10829).
  """
  logits, result_type = widen(logits)
  return _log_exp_sigmoid(logits).astype(result_type)


@jax.custom_jvp
def _log_exp_sigmoid(logits: jax.Array) -> jax.Array:
  # Of the two forms z - log(1 + e^-z) and 2 z - log(1 + e^z) the one whose exponential is below 1.
  return logits + jnp.minimum(logits, 0) - jnp.log(1 + jnp.exp(-jnp.abs(logits)))


@_log_exp_sigmoid.defjvp
def _log_exp_sigmoid_jvp(primals, tangents):
  # Not by the exponential that the value has: to keep that would take an array more.
  (logits,), (logits_dot,) = primals, tangents
  slope = 1 + jax.nn.sigmoid(-logits)
  return _log_exp_sigmoid(logits), jnp.where(logits == -jnp.inf, 0, slope) * logits_dot


def soft_cap_score(logits: jax.typing.ArrayLike, *, cap: jax.typing.ArrayLike = 30.0) -> jax.Array:
  r"""Keep logits within a cap on either side, smoothly.

  .. math:: s(z) = c \tanh(z / c)

  Small logits stay as they are. With K classes no probability exceeds
  :math:`1 / (1 + (K - 1) e^{-2c})`.

  Args:
    cap: c > 0; 30 is Gemma 2's for its output layer, 50 for its attention.

  Raises:
    ValueError: the cap is not positive and finite.

  Example:
    >>> soft_cap_score(jnp.array([-100.0, 0.0, 5.0]), cap=5.0).round(2)
    Array([-5.  ,  0.  ,  3.81], dtype=float32)

  Reference:
    Gemma Team 2024, "Gemma 2: Improving Open Language Models at a Practical Size"
    (arXiv 2408.00118).
  """
  check_at_least("cap", cap, 0, "Pass 30.0 or so.", strict=True)
  logits, result_type = widen(logits)
  cap = as_option("cap", cap, logits.shape, logits.dtype)
  return _cap(logits, cap).astype(result_type)


@jax.custom_jvp
def _cap(logits: jax.Array, cap: jax.Array) -> jax.Array:
  return jnp.where(logits == -jnp.inf, -jnp.inf, cap * jnp.tanh(logits / cap))


@_cap.defjvp
def _cap_jvp(primals, tangents):
  # Computed anew from the logits: to keep the hyperbolic tangent would take an array more.
  (logits, cap), (logits_dot, cap_dot) = primals, tangents
  possible = logits != -jnp.inf
  ratio = jnp.where(possible, logits, 0) / cap
  share = jnp.tanh(ratio)
  slope = jnp.where(possible, 1 - share**2, 0)
  return _cap(logits, cap), slope * logits_dot + (share - ratio * slope) * cap_dot


def multimax_score(
  logits: jax.typing.ArrayLike, *, weights: jax.typing.ArrayLike, points: jax.typing.ArrayLike
) -> jax.Array:
  r"""Bend logits below and above points that are learnt.

  .. math::
    s(z) = z + w_1 [b_1 - z]_+ + w_2 [z - d_1]_+ + w_3 [b_2 - z]_+^2 + w_4 [z - d_2]_+^2

  In the paper's terms the first two weights are 1 - t_b and t_d - 1 of a temperature below b_1 and
  one above d_1. With all weights zero this is softmax.

  Args:
    weights: w, `[4]`, of either sign.
    points: b_1, d_1, b_2, d_2, `[4]`.

  Raises:
    ValueError: the weights or the points are not four.

  Example:
    >>> options = {"weights": jnp.array([0.5, 1.0, 0.0, 0.0]), "points": jnp.zeros(4)}
    >>> multimax_score(jnp.array([-2.0, 0.0, 3.0]), **options)
    Array([-1.,  0.,  6.], dtype=float32)

  Reference:
    Zhou et al. 2024, "MultiMax: Sparse and Multi-Modal Attention Learning", eq. 6
    (arXiv 2406.01189), of second order as in the authors' release.
  """
  logits, result_type = widen(logits)
  for name, values in (("weights", weights), ("points", points)):
    if np.shape(values) != (4,):
      raise ValueError(f"Got {name} of shape {np.shape(values)}; they must have shape (4,).")
  possible = logits != -jnp.inf
  values = jnp.where(possible, logits, 0)
  weights, points = jnp.asarray(weights, logits.dtype), jnp.asarray(points, logits.dtype)
  below, above, far_below, far_above = (
    jax.nn.relu(sign * (values - points[i])) for i, sign in enumerate((-1, 1, -1, 1))
  )
  bent = values + weights[0] * below + weights[1] * above
  bent += weights[2] * far_below**2 + weights[3] * far_above**2
  precision = jnp.finfo(result_type)  # Squares overflow float16, and two infinities are no numbers.
  bent = jnp.clip(bent, precision.min.astype(bent.dtype), precision.max.astype(bent.dtype))
  return jnp.where(possible, bent, -jnp.inf).astype(result_type)


#: The scores of logits alone by name, for heads and for attention.
SCORES = {
  "taylor": taylor_score,
  "relu": relu_score,
  "spherical": spherical_score,
  "stablemax": stablemax_score,
  "sigsoftmax": sigsoftmax_score,
  "soft_cap": soft_cap_score,
}
