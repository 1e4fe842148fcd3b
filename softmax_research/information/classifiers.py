"""Classifiers as estimators of the mutual information between inputs and labels."""

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional import negative_log_likelihood, pc_cross_entropy
from softmax_research.functional.arrays import widen
from softmax_research.functional.priors import check_log_prior


def _check_examples(labels: jax.typing.ArrayLike) -> None:
  """Raise a ValueError unless there are two examples at least."""
  if np.size(labels) < 2:
    raise ValueError(
      f"Got {np.size(labels)} examples; an estimate of information is a mean over examples drawn "
      "from the joint distribution. Pass two at least."
    )


def entropy(log_prior: jax.Array) -> jax.Array:
  """Return the entropy of a distribution; a class that never occurs adds nothing."""
  present = log_prior > -jnp.inf
  return -jnp.sum(jnp.where(present, jnp.exp(log_prior) * jnp.where(present, log_prior, 0), 0))


def softmax_information(
  log_probs: jax.typing.ArrayLike, labels: jax.typing.ArrayLike, *, num_classes: int
) -> jax.Array:
  r"""Estimate the information of a softmax classifier trained on balanced classes.

  .. math:: \hat I = \frac{1}{N} \sum_i \log p(y_i \mid x_i) + \log K \le I(X; Y)

  The bound holds in expectation where all K classes are equally frequent. Where they are not,
  the estimate exceeds `plug_in_information` by log K - H(Y), so it may exceed the truth by as
  much: use that function, or `pc_softmax_information`.

  Args:
    log_probs: log-probabilities of a classifier on examples it was not trained on, `[..., K]`.
    labels: their classes, integers `[...]`; one out of range makes the estimate NaN.
    num_classes: K.

  Returns:
    The estimate in nats, a scalar in float32 or wider.

  Raises:
    ValueError: the number of classes is not that of `log_probs`, or there are fewer than two
      examples.

  Example:
    >>> log_probs = jax.numpy.log(jax.numpy.array([[0.9, 0.1], [0.2, 0.8]]))
    >>> float(f"{softmax_information(log_probs, jax.numpy.array([0, 1]), num_classes=2):.4f}")
    0.5289

  Reference:
    Qin et al. 2019, "Rethinking Softmax with Cross-Entropy: Neural Network Classifier as Mutual
    Information Estimator" (arXiv 1911.10688), the balanced case.
  """
  _check_examples(labels)
  if np.shape(log_probs)[-1:] != (num_classes,):
    raise ValueError(
      f"Got log_probs of shape {np.shape(log_probs)} and num_classes={num_classes}; the last "
      "axis holds the classes. Pass its size."
    )
  return jnp.log(num_classes) - jnp.mean(negative_log_likelihood(widen(log_probs)[0], labels))


def pc_softmax_information(
  logits: jax.typing.ArrayLike, labels: jax.typing.ArrayLike, *, log_prior: jax.typing.ArrayLike
) -> jax.Array:
  r"""Estimate the information of a classifier trained by PC-softmax.

  .. math:: \hat I = \frac{1}{N} \sum_i \log \frac{e^{z_{i y_i}}}{\sum_k P_k e^{z_{ik}}} \le I(X; Y)

  The bound holds in expectation for any logits, where the labels have the frequencies P. Its
  negative is the loss of the head `pc_softmax`. It equals `plug_in_information` of
  :math:`\log \mathrm{softmax}(z + \log P)`.

  Args:
    logits: on examples that the classifier was not trained on, `[..., K]`.
    labels: their classes, integers `[...]`; one out of range makes the estimate NaN.
    log_prior: logarithms of the classes' frequencies, `[K]`.

  Returns:
    The estimate in nats, a scalar in float32 or wider.

  Raises:
    ValueError: the prior is none, it is zero for a class that occurs among the labels, or there
      are fewer than two examples.

  Example:
    >>> logits = jax.numpy.log(jax.numpy.array([[3.0, 0.5], [0.2, 1.3]]))
    >>> log_prior = jax.numpy.log(jax.numpy.array([0.25, 0.75]))
    >>> float(f"{pc_softmax_information(logits, jax.numpy.array([0, 1]), log_prior=log_prior):.4f}")
    0.6093

  Reference:
    Qin et al. 2019 (arXiv 1911.10688), the definition of PC-softmax and its bound.
  """
  _check_examples(labels)
  _check_prior(log_prior, labels)
  return -jnp.mean(pc_cross_entropy(widen(logits)[0], labels, log_prior))


def plug_in_information(
  log_probs: jax.typing.ArrayLike, labels: jax.typing.ArrayLike, *, log_prior: jax.typing.ArrayLike
) -> jax.Array:
  r"""Estimate the information as the labels' entropy less the classifier's cross-entropy.

  .. math:: \hat I = H(Y) + \frac{1}{N} \sum_i \log p(y_i \mid x_i) \le I(X; Y)

  The bound holds in expectation for any classifier, where the labels have the frequencies P.

  Args:
    log_probs: log-probabilities of a classifier on examples it was not trained on, `[..., K]`.
    labels, log_prior: those of `pc_softmax_information`; the prior gives H(Y).

  Returns:
    The estimate in nats, a scalar in float32 or wider.

  Raises:
    ValueError: the prior is none, it is zero for a class that occurs among the labels, or there
      are fewer than two examples.

  Example:
    >>> log_prior = jax.numpy.log(jax.numpy.array([0.25, 0.75]))
    >>> log_probs = jax.numpy.log(jax.numpy.array([[0.9, 0.1], [0.2, 0.8]]))
    >>> float(f"{plug_in_information(log_probs, jax.numpy.array([0, 1]), log_prior=log_prior):.4f}")
    0.3981

  Reference:
    Qin et al. 2019 (arXiv 1911.10688); McAllester & Stratos 2020, "Formal Limitations on the
    Measurement of Mutual Information" (arXiv 1811.04251), the difference-of-entropies estimator.
  """
  _check_examples(labels)
  _check_prior(log_prior, labels)
  log_prior = jnp.asarray(log_prior)
  if log_prior.shape != np.shape(log_probs)[-1:]:
    raise ValueError(
      f"Got log_prior of shape {log_prior.shape} for log_probs of shape {np.shape(log_probs)}; "
      "it must have one log-probability for each class."
    )
  losses = negative_log_likelihood(widen(log_probs)[0], labels)
  return entropy(log_prior).astype(losses.dtype) - jnp.mean(losses)


def _check_prior(log_prior: jax.typing.ArrayLike, labels: jax.typing.ArrayLike) -> None:
  """Raise a ValueError unless this is a prior under which the labels can occur; tracers pass."""
  check_log_prior("log_prior", log_prior)
  if isinstance(log_prior, jax.core.Tracer) or isinstance(labels, jax.core.Tracer):
    return
  log_prior, labels = np.ravel(np.asarray(log_prior, np.float64)), np.asarray(labels)
  if not np.issubdtype(labels.dtype, np.integer):
    return  # What takes the labels says what they are to be.
  within = labels[(labels >= 0) & (labels < len(log_prior))]
  if absent := sorted({int(k) for k in within[log_prior[within] == -np.inf]}):
    raise ValueError(
      f"Got labels of the classes {absent}, whose prior is 0; what occurs has a positive prior. "
      "Count the classes over all examples."
    )
