"""Heads that are trained on the label and a few random classes, and predict among all."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research import functional
from softmax_research.functional.arrays import (
  as_labels,
  check_at_least,
  check_num_classes,
  per_class,
  wide_type,
)
from softmax_research.functional.samplers import Sampler, log_uniform_weights
from softmax_research.heads.dense import dense, taylor_score
from softmax_research.heads.head import Head, check_counts, with_bias


def sampled(
  num_classes: int,
  *,
  num_samples: int | None = None,
  sampler: str = "uniform",
  replacement: bool = False,
  class_counts: Sequence[int] | None = None,
  order: int | None = None,
  bias: bool = True,
  remove_accidental_hits: bool = True,
  correct_label: bool = True,
  kernel_init: Callable[..., jax.Array] | None = None,
) -> Head:
  r"""Build a dense head that is trained by sampled softmax.

  Its loss needs a random key; see `functional.sampled_softmax_loss`. `log_prob` visits all
  classes, and so does the loss of labels that are distributions, which is that of `dense`.

  Args:
    num_classes: K.
    num_samples: classes drawn in a step, shared by the batch; by default a fifth of them, at
      least 1 and at most 1024.
    sampler: `"uniform"`; `"log_uniform"`, Zipf's law over the classes in the order of
      `class_counts`, or without them in their own; or `"frequency"`, by `class_counts`, where a
      class without any counts as one with one, or, of frequencies below one, with the lowest.
    replacement: draw the same class more than once, which is faster for very many classes.
    class_counts: numbers of training examples of each class, `[K]`.
    order: Taylor's score of this order in place of softmax's.
    bias, kernel_init: those of `dense`.
    remove_accidental_hits, correct_label: those of the loss.

  Returns:
    A head with parameters `{"kernel": [D, K], "bias": [K]}`.

  Raises:
    ValueError: the sampler is unknown, lacks its counts, or an option is out of range.

  Example:
    >>> head = sampled(100, num_samples=10, sampler="log_uniform")
    >>> params = head.init(jax.random.key(0), 8)
    >>> features, labels = jax.numpy.ones((2, 8)), jax.numpy.array([3, 50])
    >>> head.loss(params, features, labels, key=jax.random.key(1)).shape
    (2,)
  """
  check_num_classes(num_classes)
  loss = functools.partial(
    functional.sampled_softmax_loss,
    remove_accidental_hits=remove_accidental_hits,
    correct_label=correct_label,
  )
  classes = _make_sampler(num_classes, sampler, replacement, class_counts)
  layer = {"bias": bias, "kernel_init": kernel_init}
  return _dense_on_few(loss, num_classes, num_samples, classes, order, **layer)


def negative_sampling(
  num_classes: int,
  *,
  num_samples: int | None = None,
  num_noise: float = 5.0,
  class_counts: Sequence[int] | None = None,
  power: float = 0.75,
  order: int | None = None,
  bias: bool = True,
) -> Head:
  r"""Build a dense head that is trained by word2vec's negative sampling.

  .. math:: \log p_k = s_k + \log q_k - \log \sum_j q_j e^{s_j}

  Its scores are log-odds against the noise q, so that predictions put the noise back; see
  `functional.negative_sampling_loss`.

  Args:
    num_classes: K.
    num_samples: draws of noise in a step, shared by the batch; see `sampled` for their number.
    num_noise: as how many draws they count.
    class_counts: numbers of training examples of each class, `[K]`; the noise is in proportion to
      them raised to the power, or uniform without them. Classes without any count as one.
    power: of the counts.
    order, bias: those of `sampled`.

  Raises:
    ValueError: an option is out of range.

  Example:
    >>> head = negative_sampling(100, num_samples=10)
    >>> params, features = head.init(jax.random.key(0), 8), jnp.ones((2, 8))
    >>> head.loss(params, features, jnp.array([3, 50]), key=jax.random.key(1)).shape
    (2,)
  """
  check_at_least("num_noise", num_noise, 0, "Pass 5 or so.", strict=True)
  loss = functools.partial(functional.negative_sampling_loss, num_noise=num_noise)
  sampler, log_noise = _noise(num_classes, class_counts, power)
  layer = {"bias": bias, "log_prior": log_noise}
  head = _dense_on_few(loss, num_classes, num_samples, sampler, order, **layer)

  def log_prob(params, features):
    log_probs = head.log_prob(params, features)
    return functional.log_normalise(log_probs + per_class(log_noise, log_probs))

  return head._replace(log_prob=log_prob, top_k=None)


def nce(
  num_classes: int,
  *,
  num_samples: int | None = None,
  class_counts: Sequence[int] | None = None,
  power: float = 1.0,
  order: int | None = None,
  bias: bool = True,
) -> Head:
  r"""Build a dense head that is trained by noise-contrastive estimation, with log Z = 0.

  The scores become log-probabilities by themselves, to which `log_prob` adds no more than what is
  missing. The bias begins at -log K; see `functional.noise_contrastive_loss`.

  Args:
    num_classes, num_samples, class_counts, power, order, bias: those of `negative_sampling`.

  Raises:
    ValueError: an option is out of range.

  Example:
    >>> head = nce(100, num_samples=10)
    >>> head.init(jax.random.key(0), 8)["bias"][0].round(3)
    Array(-4.605, dtype=float32)
  """
  loss, (sampler, _) = functional.noise_contrastive_loss, _noise(num_classes, class_counts, power)
  head = _dense_on_few(loss, num_classes, num_samples, sampler, order, bias=bias)
  return with_bias(head, -math.log(num_classes))


def _noise(
  num_classes: int, class_counts: Sequence[int] | None, power: float
) -> tuple[Sampler, np.ndarray]:
  """Return the sampler of the noise, and the logarithms of its shares."""
  check_num_classes(num_classes)
  check_at_least("power", power, 0, "Pass 0 for uniform noise.")
  log_noise = np.full(num_classes, -np.log(num_classes))
  if class_counts is not None:
    check_counts("negative_sampling", num_classes, class_counts)
    log_noise = power * np.log(at_least_one(class_counts))
    log_noise -= np.logaddexp.reduce(log_noise)
  return functional.weighted_sampler(np.exp(log_noise), replacement=True), log_noise


def _dense_on_few(loss, num_classes, num_samples, sampler, order, **layer: Any) -> Head:
  """Build a dense head with a loss of a sample.

  So many samples that cannot be fail here, not in a traced step.
  """
  if num_samples is None:
    num_samples = min(max(num_classes // 5, 1), 1024)
  jax.eval_shape(lambda key: sampler.sample(key, num_samples), jax.random.key(0))
  score = taylor_score(order)
  whole = dense(num_classes, score=score, **layer)
  drawn = {"num_samples": num_samples, "sampler": sampler}
  return trained_on_few(whole, loss, name="sampling", score=score, **drawn)


def trained_on_few(
  whole: Head,
  loss: Callable[..., jax.Array],
  *,
  name: str,
  operands: Callable[..., Any] = lambda params, features: (features, params["kernel"]),
  **options: Any,
) -> Head:
  """Build the head with a loss of a sample; labels that are distributions have the whole one.

  `operands` are the features and the kernel as they are multiplied; the options are the loss's.
  """

  def head_loss(params, features, labels, *, step=0, key=None, **weights):
    if jnp.issubdtype(as_labels(labels).dtype, jnp.floating):
      return whole.loss(params, features, labels, step=step, **weights)
    if key is None:
      raise ValueError(
        f"Got no key; the {name} head draws classes anew in each step. Pass a new key to its loss, "
        "as key=jax.random.fold_in(key, step)."
      )
    features, kernel = operands(params, features)
    of_layer = {"bias": params.get("bias"), "dtype": wide_type(features, kernel)}
    return loss(features, kernel, labels, key=key, **of_layer, **options, **weights)

  return whole._replace(loss=head_loss)


def at_least_one(class_counts: Sequence[int]) -> np.ndarray:
  """Return counts, or frequencies below one, of which none is zero."""
  counts = np.asarray(class_counts, np.float64)
  rarest = np.min(counts, where=counts > 0, initial=1)
  return np.where(counts > 0, counts, rarest)


def _make_sampler(
  num_classes: int, name: str, replacement: bool, class_counts: Sequence[int] | None
) -> Sampler:
  if class_counts is not None or name == "frequency":
    check_counts("sampled:sampler=frequency", num_classes, class_counts)
  if name == "uniform":
    return functional.uniform_sampler(num_classes, replacement=replacement)
  if name == "log_uniform":
    weights = log_uniform_weights(num_classes)
    if class_counts is not None:
      order = np.argsort(-np.asarray(class_counts, np.float64), kind="stable")
      weights = weights[np.argsort(order)]
    return functional.weighted_sampler(weights, replacement=replacement)
  if name != "frequency":
    raise ValueError(
      f"Got sampler={name!r}; the samplers are 'frequency', 'log_uniform' and 'uniform'."
    )
  return functional.weighted_sampler(at_least_one(class_counts), replacement=replacement)
