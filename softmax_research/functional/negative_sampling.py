"""Negative sampling: logistic losses that tell true classes from noise, without a normaliser."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from softmax_research.functional.arrays import as_option, check_at_least, check_option_shape
from softmax_research.functional.sampled_softmax import Candidates, Contrast, contrast
from softmax_research.functional.samplers import Sampler


def negative_sampling_loss(
  features: jax.typing.ArrayLike,
  kernel: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  num_noise: jax.typing.ArrayLike | None = None,
  key: jax.Array | None = None,
  num_samples: int | None = None,
  candidates: Candidates | None = None,
  bias: jax.typing.ArrayLike | None = None,
  sampler: Sampler | None = None,
  score: Callable[[jax.Array], jax.Array] | None = None,
  remove_accidental_hits: bool = False,
  class_weights: jax.typing.ArrayLike | None = None,
  ignore_label: int | None = None,
  dtype: jax.typing.DTypeLike | None = None,
) -> jax.Array:
  r"""Compute word2vec's loss: the logistic loss of a true class against some of noise.

  .. math::
    \ell = -\log \sigma(s_y) - \frac{k}{S} \sum_{i=1}^{S} \log \sigma(-s_{n_i}), \qquad
    n_i \sim q, \qquad s = \mathrm{score}(x W + b)

  In expectation each true class meets k draws of noise. Where the scores can be anything the loss
  is least at :math:`s_c = \log p(c \mid x) - \log k q_c`, the pointwise mutual information less
  log k if q are the frequencies. So `softmax(s + log q)` are the probabilities of the classes; the
  scores' own softmax are not.

  Args:
    features: x, `[..., D]`.
    kernel: W, `[D, K]`.
    labels: integers `[...]`, or `[..., T]` for T true classes, of which the loss is the mean.
    num_noise: k, as how many draws the S count; S by default. Word2vec has 5 to 20.
    sampler: of the noise q, as `weighted_sampler(counts**0.75, replacement=True)`; by default all
      classes with equal probability and without replacement.
    remove_accidental_hits: leave true classes out of the noise, as word2vec's program does and its
      paper does not.
    key, num_samples, candidates, bias, score, class_weights, ignore_label, dtype: those of
      `sampled_softmax_loss`.

  Returns:
    Losses in nats, `[...]`; float16 and bfloat16 are summed in float32. NaN for a label out of
    range.

  Raises:
    ValueError: shapes do not fit, an option is out of range, or there are neither candidates nor a
      key to draw them.
    TypeError: the labels are not integers.

  Example:
    >>> from softmax_research.functional import Candidates
    >>> features, kernel = jnp.ones((1, 1)), jnp.zeros((1, 4))
    >>> found = negative_sampling_loss(
    ...   features, kernel, jnp.array([2]), candidates=Candidates([0, 1, 3])
    ... )
    >>> found.round(4)  # 4 log 2
    Array([2.7726], dtype=float32)

  Reference:
    Mikolov et al. 2013, "Distributed Representations of Words and Phrases and their
    Compositionality", eq. 4 (arXiv 1310.4546); Levy & Goldberg 2014, "Neural Word Embedding as
    Implicit Matrix Factorization", for its minimum.
  """
  _check_num_noise(num_noise)
  found = contrast(
    features,
    kernel,
    labels,
    key=key,
    num_samples=num_samples,
    candidates=candidates,
    bias=bias,
    sampler=sampler,
    score=score,
    remove_accidental_hits=remove_accidental_hits,
    class_weights=class_weights,
    ignore_label=ignore_label,
    dtype=dtype,
  )
  return _logistic(found, found.label_scores, found.sample_scores, num_noise)


def noise_contrastive_loss(
  features: jax.typing.ArrayLike,
  kernel: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  num_noise: jax.typing.ArrayLike | None = None,
  log_normaliser: jax.typing.ArrayLike = 0.0,
  key: jax.Array | None = None,
  num_samples: int | None = None,
  candidates: Candidates | None = None,
  bias: jax.typing.ArrayLike | None = None,
  sampler: Sampler | None = None,
  score: Callable[[jax.Array], jax.Array] | None = None,
  remove_accidental_hits: bool = False,
  class_weights: jax.typing.ArrayLike | None = None,
  ignore_label: int | None = None,
  dtype: jax.typing.DTypeLike | None = None,
) -> jax.Array:
  r"""Compute the loss of noise-contrastive estimation of a dense layer.

  .. math::
    \ell = -\log \sigma(\Delta_y) - \frac{k}{S} \sum_{i=1}^{S} \log \sigma(-\Delta_{n_i}), \qquad
    \Delta_c = s_c - \log Z - \log k q_c, \qquad n_i \sim q

  It is least where :math:`s_c - \log Z` are the log-probabilities: the scores normalise themselves,
  to log Z = 0 by default. With more noise the gradient goes to that of maximum likelihood. Begin
  with a bias of -log K, so that the scores are about normalised; draws with replacement are those
  of the theory.

  Args:
    log_normaliser: log Z, a number or `[...]`, fixed or learnt.
    candidates: as in `sampled_softmax_loss`; their expected counts are used.
    remove_accidental_hits: leave true classes out of the noise; the minimum is then another.
    features, kernel, labels, num_noise, sampler: those of `negative_sampling_loss`.
    key, num_samples, bias, score, class_weights, ignore_label, dtype: those of
      `sampled_softmax_loss`.

  Returns:
    Losses in nats, `[...]`, as of `negative_sampling_loss`, which also says what is raised.

  Raises:
    ValueError: shapes do not fit, an option is out of range, or there are neither candidates nor a
      key to draw them.
    TypeError: the labels are not integers.

  Example:
    >>> features, kernel = jnp.ones((1, 1)), jnp.zeros((1, 4))
    >>> bias, key = -jnp.log(jnp.full(4, 4.0)), jax.random.key(0)
    >>> found = noise_contrastive_loss(
    ...   features, kernel, jnp.array([2]), key=key, num_samples=4, bias=bias
    ... )
    >>> round(found.item(), 4)  # log 5 and 4 log 5/4: true classes are one in five
    2.502

  Reference:
    Gutmann & Hyvarinen 2010, "Noise-contrastive estimation: A new estimation principle for
    unnormalized statistical models" (AISTATS); Mnih & Teh 2012, "A fast and simple algorithm for
    training neural probabilistic language models" (arXiv 1206.6426), for log Z = 0.
  """
  _check_num_noise(num_noise)
  found = contrast(
    features,
    kernel,
    labels,
    key=key,
    num_samples=num_samples,
    candidates=candidates,
    bias=bias,
    sampler=sampler,
    score=score,
    remove_accidental_hits=remove_accidental_hits,
    class_weights=class_weights,
    ignore_label=ignore_label,
    dtype=dtype,
  )
  check_option_shape("log_normaliser", log_normaliser, found.label_scores.shape[:-1])
  shift = jnp.asarray(log_normaliser, found.label_scores.dtype)
  shift = shift[..., None] if shift.ndim else shift
  if num_noise is not None:  # The counts are of S draws.
    shift += jnp.log(num_noise / found.sample_scores.shape[-1]).astype(shift.dtype)
  return _logistic(
    found,
    found.label_scores - found.label_log_counts - shift,
    found.sample_scores - found.log_counts - shift,
    num_noise,
  )


def _check_num_noise(num_noise) -> None:
  if num_noise is not None:
    check_at_least("num_noise", num_noise, 0, "Pass 5 or so.", strict=True)
    check_option_shape("num_noise", num_noise, ())


def _logistic(found: Contrast, label_scores, sample_scores, num_noise) -> jax.Array:
  noise = jnp.sum(jax.nn.softplus(sample_scores), axis=-1, keepdims=True)
  if num_noise is not None:
    noise *= as_option("num_noise", num_noise, (), noise.dtype) / sample_scores.shape[-1]
  return found.reduce(jax.nn.softplus(-label_scores) + noise)
