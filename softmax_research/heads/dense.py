"""Dense heads: one logit a class, then margin, score, normalisation."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional import (
  cross_entropy,
  linear_cross_entropy,
  linear_top_k,
  log_normalise,
  scores,
)
from softmax_research.functional.arrays import (
  affine,
  as_labels,
  check_at_least,
  check_fraction,
  check_integer,
  check_num_classes,
  check_per_class,
  norms,
  per_class,
  unit_length,
)
from softmax_research.functional.losses import check_link
from softmax_research.heads.head import Head, weighted
from softmax_research.heads.links import find_link

IMPLEMENTATIONS = ("auto", "plain", "streaming")
# With more logits than these, in float32 a quarter of a gigabyte, streaming is chosen.
_PLAIN_LOGITS = 2**26


class Geometry(NamedTuple):
  """Hold what a margin may need to know beside the logits.

  Attributes:
    feature_norms: Euclidean norms of the features, `[...]`.
    kernel_norms: Euclidean norms of the kernel's columns, `[K]`.
    step: number of updates made so far.
  """

  feature_norms: jax.Array
  kernel_norms: jax.Array
  step: jax.typing.ArrayLike


class LearntScore(NamedTuple):
  """Hold a score that has parameters, which a head learns beside its kernel.

  Attributes:
    init: `key -> params`.
    apply: `(params, logits) -> scores`, elementwise in the logits.
  """

  init: Callable[[jax.Array], Any]
  apply: Callable[[Any, jax.Array], jax.Array]


def _operands(params, features, normalise: bool) -> tuple[jax.Array, jax.Array]:
  """Return features and kernel as they are multiplied."""
  return unit_vectors(params, features) if normalise else (features, params["kernel"])


def unit_vectors(params, features) -> tuple[jax.Array, jax.Array]:
  """Return features and kernel columns scaled to unit norm."""
  return unit_length(features), unit_length(params["kernel"], axis=0)


def linear(
  num_classes: int,
  *,
  loss: Callable[..., jax.Array],
  log_prob: Callable[[jax.Array], jax.Array],
  bias: bool = True,
  normalise: bool = False,
  kernel_init: Callable[..., jax.Array] | None = None,
) -> Head:
  r"""Build a head of one affine layer with any loss on its logits.

  .. math:: z = x W + b

  This is the mould of every head with one logit a class; `dense` fills it for the family that
  ends in a normalised score.

  Args:
    num_classes: K.
    loss: `(logits [..., K], labels [...], geometry, **weights) -> [...]`, where the weights, those
      of `class_weights` and `ignore_label` that are asked for, are for the loss of `functional`.
    log_prob: `logits [..., K] -> [..., K]`.
    bias: add a bias.
    normalise: scale features and kernel columns to unit norm, so that the logits are cosines.
    kernel_init: an initialiser of `jax.nn.initializers`, `lecun_normal` by default.

  Returns:
    A head with parameters `{"kernel": [D, K], "bias": [K]}`.

  Raises:
    ValueError: the number of classes is not in [1, 2^31), or a bias is asked for beside cosines.

  Example:
    >>> from softmax_research import functional
    >>> head = linear(
    ...   3,
    ...   loss=lambda z, y, geometry, **weights: functional.cross_entropy(z, y, **weights),
    ...   log_prob=functional.log_softmax,
    ... )
    >>> sorted(head.init(jax.random.key(0), 5))
    ['bias', 'kernel']
  """
  init, apply = _affine(num_classes, bias, normalise, kernel_init)

  def head_loss(params, features, labels, *, step=0, key=None, **weights):
    logits, geometry = apply(params, features, step)
    return loss(logits, labels, geometry, **weights)

  def head_log_prob(params, features):
    return log_prob(apply(params, features, 0)[0])

  return Head(init, head_loss, head_log_prob)


def _affine(
  num_classes: int, bias: bool, normalise: bool, kernel_init
) -> tuple[Callable, Callable]:
  """Return a layer's `init`, and its `(params, features, step) -> logits, geometry`."""
  check_num_classes(num_classes)
  if normalise and bias:
    raise ValueError("Got normalise=True and bias=True; cosines have no bias. Pass bias=False.")
  kernel_init = kernel_init or jax.nn.initializers.lecun_normal()

  def init(key: jax.Array, num_features: int) -> dict[str, jax.Array]:
    check_integer("num_features", num_features)
    params = {"kernel": kernel_init(key, (num_features, num_classes), jnp.float32)}
    return params | {"bias": jnp.zeros(num_classes, jnp.float32)} if bias else params

  def apply(params, features, step):
    features, kernel = _operands(params, features, normalise)
    feature_norms, kernel_norms = norms(features, axis=-1), norms(kernel, axis=0)
    if normalise:
      feature_norms, kernel_norms = jnp.ones_like(feature_norms), jnp.ones_like(kernel_norms)
    logits = affine(features, kernel, params["bias"] if bias else None)
    return logits, Geometry(feature_norms, kernel_norms, step)

  return init, apply


def taylor_score(order: int | None) -> Callable[[jax.Array], jax.Array] | None:
  """Return Taylor's score of an order, or softmax's for None."""
  if order is None:
    return None
  scores.check_order(order)  # A bad order fails here, not in a traced step.
  return functools.partial(scores.taylor_score, order=order)


def dense(
  num_classes: int,
  *,
  score: Callable[[jax.Array], jax.Array] | LearntScore | None = None,
  margin: Callable[[jax.Array, jax.Array, Geometry], jax.Array] | None = None,
  row_map: Callable[[jax.Array], jax.Array] | None = None,
  link: Callable[[jax.Array], jax.Array] | str | None = None,
  log_prior: jax.typing.ArrayLike | None = None,
  label_smoothing: float = 0.0,
  z_loss: float = 0.0,
  class_weights: jax.typing.ArrayLike | None = None,
  ignore_label: int | None = None,
  bias: bool = True,
  normalise: bool = False,
  kernel_init: Callable[..., jax.Array] | None = None,
  implementation: str = "auto",
) -> Head:
  r"""Build the head of a margin, a score and normalisation on one logit a class.

  .. math::
    \ell = \mathrm{link}\left(
      -\log \frac{e^{s(z'_y) + \log \pi_y}}{\sum_k e^{s(z'_k) + \log \pi_k}} \right),
    \qquad z' = \mathrm{margin}(z, y), \qquad z = \mathrm{map}(x W + b),
    \qquad \log p_k = s(z_k) - \log \sum_j e^{s(z_j)}

  The margin, the prior and the link act in the loss only. With a prior the loss is that of
  PC-softmax up to the constant log pi_y, and `log_prob` gives the probabilities under a uniform
  prior.

  Args:
    num_classes: K.
    score: logits to scores, elementwise, as `functional.taylor_score`; the identity by default. Of
      a `LearntScore` the head holds and learns the parameters, as `"score"`.
    margin: `(logits, labels, geometry) -> logits`; none by default. It must change the label's
      logit alone: what changes all logits is a score or a row map.
    row_map: `logits [..., K] -> logits [..., K]`, before margin and score, for what looks at all
      logits of an example; none by default. It needs all of them at once, so it cannot stream.
    link: that of `functional.cross_entropy`, or its name with options, as `focal:gamma=2.0`,
      `poly:epsilon=1.0` or `generalised:q=0.7`.
    log_prior: logarithms of the class frequencies of the training set, `[K]`.
    label_smoothing, z_loss, class_weights, ignore_label: those of `functional.cross_entropy`.
    bias: add a bias to the logits.
    normalise: make the logits cosines between features and kernel columns (needs `bias=False`).
    kernel_init: an initialiser of `jax.nn.initializers`, `lecun_normal` by default.
    implementation: how the loss is computed. `"plain"` makes all logits. `"streaming"` is
      `functional.linear_cross_entropy`, whose memory does not grow with the number of examples;
      it takes no row map, with labels that are distributions no margin and no link, and has first
      derivatives in reverse mode alone. `"auto"` streams what can be where there are more than 2^26
      logits. Under `jax.jit` with a kernel sharded over classes choose plain.

  Returns:
    A head with parameters `{"kernel": [D, K], "bias": [K]}`.

  Raises:
    ValueError: an option is unknown or out of range, two of them exclude each other, or the
      prior's shape is not `[K]`.

  Example:
    >>> from softmax_research import functional
    >>> head = dense(3, score=functional.taylor_score)
    >>> params = head.init(jax.random.key(0), 5)
    >>> features, labels = jax.numpy.ones((2, 5)), jax.numpy.array([0, 2])
    >>> head.loss(params, features, labels).shape
    (2,)

  Reference:
    Qin et al. 2019 (arXiv 1911.10688), for the prior in the loss.
  """
  check_fraction("label_smoothing", label_smoothing, or_one=True)
  check_at_least("z_loss", z_loss, 0, "Pass 0 to switch it off.")
  if implementation not in IMPLEMENTATIONS:
    raise ValueError(
      f"Got implementation={implementation!r}; the implementations are "
      f"{', '.join(IMPLEMENTATIONS)}."
    )

  if implementation == "streaming" and row_map is not None:
    raise ValueError(
      "Got implementation='streaming' and a row_map, which needs all logits of an example at once. "
      "Pass implementation='plain' or 'auto'."
    )
  link = find_link(link)
  check_link(link, label_smoothing)
  of_loss = {"link": link, "label_smoothing": label_smoothing, "z_loss": z_loss}
  init_layer, apply = _affine(num_classes, bias, normalise, kernel_init)
  if row_map is not None:  # Which may make one logit of several, as of a class's centres.
    logits = jax.ShapeDtypeStruct((1, num_classes), jnp.float32)
    num_classes = jax.eval_shape(row_map, logits).shape[-1]
  if log_prior is not None:
    check_per_class("log_prior", log_prior, num_classes)

  def init(key, num_features):
    params = init_layer(key, num_features)
    if isinstance(score, LearntScore):
      params["score"] = score.init(jax.random.fold_in(key, 1))
    return params

  def score_of(params):
    if isinstance(score, LearntScore):
      return functools.partial(score.apply, params["score"])
    return score

  def map_logits(params, features, step):
    logits, geometry = apply(params, features, step)
    return logits if row_map is None else row_map(logits), geometry

  def plain_loss(params, features, labels, *, step=0, key=None, **weights):
    logits, geometry = map_logits(params, features, step)
    if margin is not None:
      logits = margin(logits, labels, geometry)
    scores = logits if score is None else score_of(params)(logits)
    if log_prior is not None:
      scores = scores + per_class(log_prior, scores)
    return cross_entropy(scores, labels, **of_loss, **weights)

  def log_prob(params, features):
    logits, _ = map_logits(params, features, 0)
    return log_normalise(logits if score is None else score_of(params)(logits))

  def top_k(params, features, k):
    features, kernel = _operands(params, features, normalise)
    return linear_top_k(features, kernel, k, bias=params.get("bias"), score=score_of(params))

  def streaming_loss(params, features, labels, *, step=0, key=None, **weights):
    features, kernel = _operands(params, features, normalise)

    def at_label(logits, labels, lengths):
      return margin(logits, labels, Geometry(**lengths, step=step))

    return linear_cross_entropy(
      features,
      kernel,
      labels,
      bias=params.get("bias"),
      score=score_of(params),
      margin=None if margin is None else at_label,
      log_prior=log_prior,
      **of_loss,
      **weights,
    )

  def auto_loss(params, features, labels, **options):
    size = math.prod(np.shape(features)[:-1]) * num_classes
    hard = jnp.issubdtype(as_labels(labels).dtype, jnp.integer)
    can_stream = row_map is None and (hard or (margin is None and link is None))
    streams = can_stream and size > _PLAIN_LOGITS
    return (streaming_loss if streams else plain_loss)(params, features, labels, **options)

  losses = {"auto": auto_loss, "plain": plain_loss, "streaming": streaming_loss}
  head = Head(init, losses[implementation], log_prob, None if row_map else top_k)
  return weighted(head, num_classes, class_weights=class_weights, ignore_label=ignore_label)
