"""The sampled head: trained on the label and a few random classes, full softmax in prediction."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research import functional
from softmax_research.functional.arrays import check_num_classes, wide_type
from softmax_research.functional.sampled_softmax import Sampler, log_uniform_weights
from softmax_research.heads.dense import dense, taylor_score
from softmax_research.heads.head import Head, check_counts, check_key


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
    bias: add a bias to the logits.
    remove_accidental_hits: leave the label out of each example's sample.
    correct_label: subtract log Q from the label's score too.
    kernel_init: an initialiser of `jax.nn.initializers`, `lecun_normal` by default.

  Returns:
    A head with parameters `{"kernel": [D, K], "bias": [K]}`.

  Raises:
    ValueError: the sampler is unknown, lacks its counts, or an option is out of range.

  Example:
    >>> import jax
    >>> head = sampled(100, num_samples=10, sampler="log_uniform")
    >>> params = head.init(jax.random.key(0), 8)
    >>> features, labels = jax.numpy.ones((2, 8)), jax.numpy.array([3, 50])
    >>> head.loss(params, features, labels, key=jax.random.key(1)).shape
    (2,)

  Reference:
    Bengio & Senecal 2008, "Adaptive Importance Sampling to Accelerate Training of a Neural
    Probabilistic Language Model"; Jean et al. 2015 (arXiv 1412.2007).
  """
  check_num_classes(num_classes)
  if num_samples is None:
    num_samples = min(max(num_classes // 5, 1), 1024)
  classes = _make_sampler(num_classes, sampler, replacement, class_counts)
  # A number of samples out of range fails here, not in a traced step.
  jax.eval_shape(lambda key: classes.sample(key, num_samples), jax.random.key(0))
  score = taylor_score(order)
  layer = dense(num_classes, score=score, bias=bias, kernel_init=kernel_init)

  def loss(params, features, labels, *, step=0, key=None, **weights):
    if jnp.issubdtype(jnp.result_type(labels), jnp.floating):
      return layer.loss(params, features, labels, step=step, **weights)
    check_key("sampled", key)
    return functional.sampled_softmax_loss(
      features,
      params["kernel"],
      labels,
      bias=params.get("bias"),
      key=key,
      num_samples=num_samples,
      sampler=classes,
      score=score,
      remove_accidental_hits=remove_accidental_hits,
      correct_label=correct_label,
      dtype=wide_type(features, params["kernel"]),
      **weights,
    )

  return layer._replace(loss=loss)


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
  counts = np.asarray(class_counts, np.float64)
  rarest = np.min(counts, where=counts > 0, initial=1)
  weights = np.where(counts > 0, counts, rarest)
  return functional.weighted_sampler(weights, replacement=replacement)
