"""Row maps: functions of all logits of an example, which stand before the score.

They see every class at once, so a loss that has one cannot be computed over blocks of classes.
"""

import functools
import math

import jax
import jax.numpy as jnp

from softmax_research.functional.arrays import (
  as_option,
  check_at_least,
  check_fraction,
  widen,
)
from softmax_research.functional.normalise import (
  count_possible,
  exclude,
  log_or_impossible,
  scale,
  softmax,
  sum_possible,
)


def logit_norm(
  logits: jax.typing.ArrayLike,
  *,
  temperature: jax.typing.ArrayLike = 0.04,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Scale the logits of an example to a fixed norm.

  .. math:: z' = \frac{z}{T \, \|z\|}

  Training can no longer make a network more confident by larger logits. With K classes no
  probability exceeds that of :math:`z' = (1/T, 0, \ldots)` by more than a little.

  Args:
    temperature: T > 0; the paper tunes it, 0.04 on CIFAR-10.
    logits, axis, where: those of `softmax`.

  Returns:
    Logits of the shape and floating type of the given ones; zeros for zeros.

  Raises:
    ValueError: the temperature is not positive and finite.

  Example:
    >>> logit_norm(jnp.array([3.0, -4.0]), temperature=0.1)
    Array([ 6., -8.], dtype=float32)

  Reference:
    Wei et al. 2022, "Mitigating Neural Network Overconfidence with Logit Normalization"
    (arXiv 2205.09310).
  """
  check_at_least("temperature", temperature, 0, "Pass 0.04 or so.", strict=True)
  logits, result_type = widen(logits)
  logits = exclude(logits, where)
  squares = sum_possible(logits, axis, 2)
  temperature = as_option("temperature", temperature, squares.shape, logits.dtype)
  sizes = jnp.sqrt(jnp.where(squares > 0, squares, 1))
  return scale(logits, 1 / (temperature * sizes)).astype(result_type)


def keep_above_mean(
  logits: jax.typing.ArrayLike,
  *,
  epsilon: float = 0.0,
  axis: int | tuple[int, ...] = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Make the classes impossible whose logits are below the mean of their row.

  .. math:: z'_k = z_k + \log \big([z_k \ge \bar z] + \varepsilon\big)

  Softmax of it is ev-softmax. In training an epsilon above zero keeps the loss finite where the
  label is among the classes below the mean.

  Args:
    epsilon: at least 0; the paper's is 1e-6 in training and 0 in prediction.
    logits, where: those of `softmax`; an impossible class does not count.
    axis: the class axis, or several.

  Returns:
    Logits of the shape and floating type of the given ones.

  Raises:
    ValueError: epsilon is negative or not finite.

  Example:
    >>> keep_above_mean(jnp.array([0.0, 1.0, 5.0]))
    Array([-inf, -inf,   5.], dtype=float32)

  Reference:
    Chen et al. 2021, "Evidential Softmax for Sparse Multimodal Distributions in Deep Generative
    Models" (arXiv 2110.14182).
  """
  check_at_least("epsilon", epsilon, 0, "Pass 1e-6 in training, 0 in prediction.")
  logits, result_type = widen(logits)
  logits = exclude(logits, where)
  total, count = sum_possible(logits, axis), count_possible(logits, axis)
  # Rounding may carry the mean of equal logits above all of them.
  top = jnp.max(logits, axis=axis, keepdims=True, initial=-jnp.inf)
  mean = jnp.minimum(total / jnp.maximum(count, 1), top)
  lowered = logits + (math.log(epsilon) if epsilon else -jnp.inf)
  kept = logits >= jax.lax.stop_gradient(mean)
  return jnp.where(kept, logits + math.log1p(epsilon), lowered).astype(result_type)


def keep_above_quantile(
  logits: jax.typing.ArrayLike,
  *,
  rate: float = 0.5,
  epsilon: float = 0.0,
  axis: int | tuple[int, ...] = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Make a share of an example's classes impossible, those of the lowest logits.

  .. math:: z'_k = z_k + \log \big([z_k - Q_r(z)]_+ + \varepsilon\big)

  Q_r is the quantile of the row, interpolated linearly between neighbouring logits. Softmax of it
  is r-softmax. Where no logit exceeds the quantile, as for one class, the largest stay. The paper
  has no epsilon: with a loss of its own it needs none; the log-likelihood of one label does, where
  that label is among the classes left out.

  Args:
    rate: r in [0, 1), the share; even at 0 the lowest class is left out.
    epsilon: at least 0.
    logits, where: those of `softmax`; an impossible class does not count.
    axis: the class axis, or several.

  Returns:
    Logits of the shape and floating type of the given ones.

  Raises:
    ValueError: the rate is not in [0, 1), or epsilon is negative or not finite.

  Example:
    >>> keep_above_quantile(jnp.array([0.0, 2.0, 3.0]), rate=0.5)
    Array([-inf, -inf,   3.], dtype=float32)

  Reference:
    Balazy et al. 2023, "r-softmax: Generalized Softmax with Controllable Sparsity Rate"
    (arXiv 2304.05243).
  """
  check_fraction("rate", rate)
  check_at_least("epsilon", epsilon, 0, "Pass 1e-6 in training, 0 in prediction.")
  logits, result_type = widen(logits)
  logits = exclude(logits, where)
  possible = logits != -jnp.inf
  count = count_possible(logits, axis)
  place = as_option("rate", rate, count.shape, logits.dtype) * jnp.maximum(count - 1, 0)
  top = jnp.max(logits, axis=axis, keepdims=True, initial=-jnp.inf)
  top = jax.lax.stop_gradient(jnp.maximum(top, jnp.finfo(logits.dtype).min))
  values = jnp.where(possible, logits, top)  # Above the quantile, so that they count for nothing.
  bound = _bound(jax.lax.stop_gradient(values), jnp.floor(place) + 1, axis=axis)
  lower = jnp.max(values, axis=axis, keepdims=True, where=values <= bound, initial=-jnp.inf)
  upper = jnp.min(values, axis=axis, keepdims=True, where=values > bound, initial=jnp.inf)
  num_lower = jnp.sum(values <= bound, axis=axis, keepdims=True, dtype=logits.dtype)
  share = place - jnp.floor(place)
  between = (share > 0) & (num_lower < jnp.floor(place) + 2)
  # Differences of neighbours are exact, and a quantile between them would not be.
  excess = (values - lower) - share * (jnp.where(between, upper, lower) - lower)
  excess = jnp.where(possible, jax.nn.relu(excess), 0)
  nothing = jnp.all(excess == 0, axis=axis, keepdims=True)
  kept = jnp.where(nothing, (logits == top).astype(logits.dtype), excess)
  weights = kept + as_option("epsilon", epsilon, (), kept.dtype)
  logits = exclude(logits, possible & (weights != 0))
  return (logits + log_or_impossible(weights)).astype(result_type)


@functools.partial(jax.jit, static_argnames="axis")
def _bound(values: jax.Array, rank: jax.Array, *, axis) -> jax.Array:
  """Return a number that at least `rank` values do not exceed, and no larger one than needed.

  By bisection: a sort is as slow on CPU, and fails over sharded classes.
  """
  low = jnp.min(values, axis=axis, keepdims=True, initial=jnp.inf)
  high = jnp.max(values, axis=axis, keepdims=True, initial=-jnp.inf)

  def reach(bound):
    return jnp.sum(values <= bound, axis=axis, keepdims=True, dtype=values.dtype)

  def halve(state):
    step, low, high, reached = state
    middle = low / 2 + high / 2
    within = reach(middle)
    enough = within >= rank
    low, high = jnp.where(enough, low, middle), jnp.where(enough, middle, high)
    return step + 1, low, high, jnp.where(enough, within, reached)

  # Equal values may keep the count above the rank to the last bit.
  last = 2 * jnp.finfo(values.dtype).nmant
  state = (0, low, high, reach(high))
  state = jax.lax.while_loop(lambda s: (s[0] < last) & jnp.any(s[-1] > rank), halve, state)
  return jnp.where(reach(low) >= rank, low, state[2])


def ev_softmax(
  logits: jax.typing.ArrayLike,
  *,
  axis: int | tuple[int, ...] = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute evidential softmax: softmax over the classes whose logits reach their mean.

  .. math:: p_k = \frac{[z_k \ge \bar z] \, e^{z_k}}{\sum_j [z_j \ge \bar z] \, e^{z_j}}

  Args:
    logits, axis, where: those of `keep_above_mean`, which has the source.

  Returns:
    Probabilities of the shape and floating type of the logits.

  Example:
    >>> ev_softmax(jnp.array([-9.0, 1.0, 1.0]))
    Array([0. , 0.5, 0.5], dtype=float32)
  """
  return softmax(keep_above_mean(logits, axis=axis, where=where), axis=axis)


def r_softmax(
  logits: jax.typing.ArrayLike,
  *,
  rate: float = 0.5,
  axis: int | tuple[int, ...] = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute r-softmax, in which a given share of the classes has no probability.

  .. math::
    p_k = \frac{w_k e^{z_k}}{\sum_j w_j e^{z_j}}, \qquad w_k = [z_k - Q_r(z)]_+

  Args:
    logits, rate, axis, where: those of `keep_above_quantile`, which has Q_r and the source.

  Returns:
    Probabilities of the shape and floating type of the logits.

  Raises:
    ValueError: the rate is not in [0, 1).

  Example:
    >>> r_softmax(jnp.array([0.0, 1.0, 2.0, 2.0]), rate=0.34).round(2)
    Array([0. , 0. , 0.5, 0.5], dtype=float32)
  """
  return softmax(keep_above_quantile(logits, rate=rate, axis=axis, where=where), axis=axis)
