r"""Bounds and estimates of mutual information from a critic's scores of pairs.

All take the scores :math:`f_{ij} = f(x_i, y_j)` of B pairs with one another, `[B, B]`: those on
the diagonal are of pairs drawn together, those off it of pairs drawn apart. All are best where
the critic is the log-ratio of densities, :math:`f = \log p(x, y) / p(x) p(y)`; those with a
normaliser of their own also where it is off by what does not depend on x. Estimates are scalars, in
nats; scores that are not a square of two pairs at least are a ValueError.
"""

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional import cross_entropy
from softmax_research.functional.arrays import check_option_shape, widen
from softmax_research.functional.normalise import (
  exclude,
  log_normaliser,
  log_or_zero,
  sum_exponentials,
)


def _check_scores(scores: jax.typing.ArrayLike) -> jax.Array:
  """Return the scores in float32 at least; raise a ValueError unless they are square."""
  scores, _ = widen(scores)
  if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or scores.shape[0] < 2:
    raise ValueError(
      f"Got scores of shape {scores.shape}; they must be [B, B] with B >= 2, the scores of each x "
      "with each y of a batch of pairs."
    )
  return scores


def _apart(scores: jax.Array) -> jax.Array:
  """Return booleans `[B, B]`, true for the pairs drawn apart."""
  return ~jnp.eye(len(scores), dtype=bool)


def _log_mean_exp_apart(scores: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Return log mean exp over the pairs drawn apart as the largest of their scores and the rest.

  The largest has no gradient. Scores may be far from zero: take it off before they are subtracted.
  """
  top, total = sum_exponentials(exclude(scores, _apart(scores)).ravel())
  count = jnp.asarray(len(scores) * (len(scores) - 1), scores.dtype)
  rest = jnp.where(total == 0, -jnp.inf, log_or_zero(total)) - jnp.log(count)
  return top[0], rest[0]


def donsker_varadhan(scores: jax.typing.ArrayLike) -> jax.Array:
  r"""Estimate mutual information by the bound of Donsker and Varadhan, as MINE does.

  .. math:: \hat I = \frac{1}{B} \sum_i f_{ii} - \log \frac{1}{B (B-1)} \sum_{i \ne j} e^{f_{ij}}

  With expectations in place of the means it is a lower bound. The logarithm of a mean over few
  pairs is too small on average, so on a batch the estimate is biased upwards.

  Raises:
    ValueError: the scores are not a square of two pairs at least.

  Example:
    >>> donsker_varadhan(jax.numpy.array([[1.0, 0.0], [0.0, 2.0]]))
    Array(1.5, dtype=float32)

  Reference:
    Belghazi et al. 2018, "Mutual Information Neural Estimation" (arXiv 1801.04062), eq. 3.
  """
  scores = _check_scores(scores)
  top, rest = _log_mean_exp_apart(scores)
  return jnp.mean(jnp.diagonal(scores) - top) - rest


def mine(
  scores: jax.typing.ArrayLike, log_average: jax.typing.ArrayLike, *, rate: float = 0.01
) -> tuple[jax.Array, jax.Array]:
  r"""Compute MINE's objective, whose gradient divides by a moving average.

  .. math::
    \nabla = \frac{1}{B} \sum_i \nabla f_{ii}
      - \frac{1}{a} \frac{1}{B (B-1)} \sum_{i \ne j} \nabla e^{f_{ij}},
    \qquad a \leftarrow (1 - r)\, a + r \frac{1}{B (B-1)} \sum_{i \ne j} e^{f_{ij}}

  The gradient of `donsker_varadhan` on a batch is biased, because it divides by the batch's own
  mean. The value is that of `donsker_varadhan`; the gradient alone differs.

  Args:
    scores: `[B, B]`; see the module.
    log_average: log a from the batch before; -inf before the first, which then is its own
      average.
    rate: r in (0, 1], the weight of a new batch.

  Returns:
    The objective to maximise, a scalar in nats, infinite where no pair apart can be; and the new
    log a.

  Raises:
    ValueError: the scores are not a square of two pairs at least, or the rate is not in (0, 1].

  Example:
    >>> objective, log_average = mine(jax.numpy.zeros((3, 3)), -jax.numpy.inf)
    >>> float(objective), float(log_average)
    (0.0, 0.0)

  Reference:
    Belghazi et al. 2018 (arXiv 1801.04062), eq. 12.
  """
  if not isinstance(rate, jax.core.Tracer) and not 0 < np.asarray(rate) <= 1:
    raise ValueError(f"Got rate={rate}; it is a weight in (0, 1]. Pass 0.01 or so.")
  scores = _check_scores(scores)
  rate, log_average = (jnp.asarray(number, scores.dtype) for number in (rate, log_average))
  top, rest = _log_mean_exp_apart(scores)
  log_mean = top + rest
  fixed = jax.lax.stop_gradient(log_mean)
  mixed = jnp.logaddexp(jnp.log1p(-rate) + log_average, jnp.log(rate) + fixed)
  log_average = jnp.where(jnp.isneginf(log_average), fixed, mixed)
  # Zero in value; its gradient is that of the mean, over the average.
  gap = jnp.where(jnp.isneginf(log_average), 0, log_mean - log_average)
  weighted = jnp.exp(gap) - jnp.exp(jax.lax.stop_gradient(gap))
  objective = jnp.mean(jnp.diagonal(scores) - top) - jax.lax.stop_gradient(rest) - weighted
  return objective, log_average


def nwj(scores: jax.typing.ArrayLike) -> jax.Array:
  r"""Estimate mutual information by the bound of Nguyen, Wainwright and Jordan.

  .. math:: \hat I = 1 + \frac{1}{B} \sum_i f_{ii} - \frac{1}{B (B-1)} \sum_{i \ne j} e^{f_{ij}}

  A lower bound in expectation, without bias on a batch and with a variance that grows as the
  exponential of the information. The papers often write it for f - 1.

  Raises:
    ValueError: the scores are not a square of two pairs at least.

  Example:
    >>> nwj(jax.numpy.array([[1.0, 0.0], [0.0, 2.0]]))
    Array(1.5, dtype=float32)

  Reference:
    Nguyen, Wainwright & Jordan 2010, "Estimating Divergence Functionals and the Likelihood Ratio
    by Convex Risk Minimization" (arXiv 0809.0853); Poole et al. 2019, "On Variational Bounds of
    Mutual Information" (arXiv 1905.06922), eq. 7.
  """
  scores = _check_scores(scores)
  top, rest = _log_mean_exp_apart(scores)
  return 1 + jnp.mean(jnp.diagonal(scores)) - jnp.exp(top + rest)


def info_nce(scores: jax.typing.ArrayLike) -> jax.Array:
  r"""Estimate mutual information by noise-contrastive classification.

  .. math:: \hat I = \log B + \frac{1}{B} \sum_i \log \frac{e^{f_{ii}}}{\sum_j e^{f_{ij}}}

  The bound of a softmax classifier that finds each x's own y among the batch's: with the B
  partners as classes it is `softmax_information`. A lower bound in expectation, of small
  variance, that cannot exceed log B.

  Raises:
    ValueError: the scores are not a square of two pairs at least.

  Example:
    >>> info_nce(100 * jax.numpy.eye(8)).round(4)  # log 8
    Array(2.0794, dtype=float32)

  Reference:
    van den Oord, Li & Vinyals 2018, "Representation Learning with Contrastive Predictive Coding"
    (arXiv 1807.03748), eq. 4; Poole et al. 2019 (arXiv 1905.06922), eq. 10.
  """
  scores = _check_scores(scores)
  return jnp.log(len(scores)) - jnp.mean(cross_entropy(scores, jnp.arange(len(scores))))


def smile(scores: jax.typing.ArrayLike, *, clip: float | None = 5.0) -> jax.Array:
  r"""Estimate mutual information with the density ratio clipped in the normaliser.

  .. math::
    \hat I = \frac{1}{B} \sum_i f_{ii}
      - \log \frac{1}{B (B-1)} \sum_{i \ne j} e^{\mathrm{clip}(f_{ij}, -\tau, \tau)}

  Clipping bounds the variance and adds a bias, so it is not a lower bound. Its critic is trained
  by `jensen_shannon`.

  Args:
    scores: `[B, B]`; see the module.
    clip: tau > 0; None for none, which gives `donsker_varadhan`.

  Raises:
    ValueError: the scores are not a square of two pairs at least, or tau is not positive.

  Example:
    >>> smile(jax.numpy.array([[1.0, 9.0], [9.0, 2.0]]), clip=1.0)
    Array(0.5, dtype=float32)

  Reference:
    Song & Ermon 2020, "Understanding the Limitations of Variational Mutual Information
    Estimators" (arXiv 1910.06222), eq. 17.
  """
  if not (clip is None or isinstance(clip, jax.core.Tracer) or np.asarray(clip) > 0):
    raise ValueError(f"Got clip={clip}; it must be positive. Pass None for no clipping.")
  scores = _check_scores(scores)
  if clip is None:
    return donsker_varadhan(scores)
  clip = jnp.asarray(clip, scores.dtype)
  top, rest = _log_mean_exp_apart(jnp.clip(scores, -clip, clip))
  return jnp.mean(jnp.diagonal(scores) - top) - rest


def jensen_shannon(scores: jax.typing.ArrayLike) -> jax.Array:
  r"""Compute the objective that trains a critic by telling pairs together from pairs apart.

  .. math::
    J = -\frac{1}{B} \sum_i \log (1 + e^{-f_{ii}})
      - \frac{1}{B (B-1)} \sum_{i \ne j} \log (1 + e^{f_{ij}})

  At its maximum f is the log-ratio of densities, and J is twice the Jensen-Shannon divergence of
  the joint from the product of marginals, less 2 log 2: not the mutual information. Train by it,
  and evaluate `smile` or `nwj` with the critic.

  Returns:
    The objective to maximise, a scalar in nats.

  Raises:
    ValueError: the scores are not a square of two pairs at least.

  Example:
    >>> jensen_shannon(jax.numpy.zeros((3, 3))).round(4)  # -2 log 2
    Array(-1.3863, dtype=float32)

  Reference:
    Nowozin, Cseke & Tomioka 2016, "f-GAN" (arXiv 1606.00709), table 6; Poole et al. 2019 (arXiv
    1905.06922), section 2.1.
  """
  scores = _check_scores(scores)
  apart = jnp.mean(jax.nn.softplus(scores), where=_apart(scores))
  return -jnp.mean(jax.nn.softplus(-jnp.diagonal(scores))) - apart


def interpolated(
  scores: jax.typing.ArrayLike, log_baseline: jax.typing.ArrayLike, *, alpha: jax.typing.ArrayLike
) -> jax.Array:
  r"""Estimate mutual information between NWJ and InfoNCE, called I-alpha.

  .. math::
    \hat I &= 1 + \operatorname*{mean}_{i \ne j} \log \frac{e^{f_{jj}}}{a_{j \setminus i}}
      - \operatorname*{mean}_{i \ne j} \frac{e^{f_{ij}}}{a_{j \setminus j}} \\
    a_{j \setminus i} &= \frac{\alpha}{B - 1} \sum_{k \ne i} e^{f_{kj}} + (1 - \alpha)\, q_j

  Both kinds of pairs see B - 1 scores in the baseline, which keeps it a lower bound in
  expectation. At alpha = 0 it is the NWJ bound with the baseline q; at alpha = 1 it is InfoNCE of
  B - 1 pairs, averaged over which one is left out.

  Args:
    scores: `[B, B]` with B >= 3; see the module.
    log_baseline: log q of each y, `[B]` or a scalar; 0 for none.
    alpha: in [0, 1].

  Returns:
    The estimate in nats, a scalar.

  Raises:
    ValueError: the scores are not a square of three pairs at least, or alpha is out of range.

  Example:
    >>> scores = jax.numpy.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
    >>> bool(jax.numpy.isclose(interpolated(scores, 0.0, alpha=0.0), nwj(scores)))
    True

  Reference:
    Poole et al. 2019 (arXiv 1905.06922), eqs. 13 to 15.
  """
  scores = _check_scores(scores)
  if len(scores) < 3:
    raise ValueError(f"Got {len(scores)} pairs; the bound leaves one out. Pass three at least.")
  if not isinstance(alpha, jax.core.Tracer) and not 0 <= np.asarray(alpha) <= 1:
    raise ValueError(f"Got alpha={alpha}; it lies in [0, 1]: 0 for NWJ, 1 for InfoNCE.")
  check_option_shape("log_baseline", log_baseline, scores.shape[1:])
  apart = _apart(scores)
  log_means = _log_sum_exp_of_others(scores) - jnp.log(len(scores) - 1)
  alpha = jnp.asarray(alpha, scores.dtype)
  log_alpha, log_rest = _log(alpha), _log(1 - alpha)
  log_baseline = jnp.broadcast_to(jnp.asarray(log_baseline, scores.dtype), scores.shape)
  log_a = jnp.logaddexp(log_alpha + log_means, log_rest + log_baseline)
  joint = jnp.mean(jnp.diagonal(scores)[None] - log_a, where=apart)
  # A pair drawn together, left out of the mean, may overflow, and its gradient be NaN.
  ratios = jnp.exp(jnp.where(apart, scores - jnp.diagonal(log_a)[None], -jnp.inf))
  return 1 + joint - jnp.mean(ratios, where=apart)


def _log_sum_exp_of_others(scores: jax.Array) -> jax.Array:
  """Return at `[i, j]` the logarithm of the sum over all k but i of exp f_kj.

  A column's sum less one of its terms is at least the largest term, and so exact enough, unless
  that one is the largest: then the others are summed.
  """
  largest = jnp.arange(len(scores))[:, None] == jnp.argmax(scores, axis=0, keepdims=True)
  without = log_normaliser(scores, axis=0, where=~largest)[None]
  top = jax.lax.stop_gradient(jnp.max(scores, axis=0, keepdims=True))
  terms = jnp.exp(scores - top)
  rest = jnp.where(largest, 1, jnp.sum(terms, axis=0, keepdims=True) - terms)
  return jnp.where(largest, without, jnp.log(rest) + top)


def _log(value: jax.Array) -> jax.Array:
  """Return the logarithm of a weight; of none a number so small that it cannot count.

  -inf would do for the value, but makes the gradient NaN.
  """
  return jnp.where(value > 0, jnp.log(jnp.where(value > 0, value, 1)), -1e30)
