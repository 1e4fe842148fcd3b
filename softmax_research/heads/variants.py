"""Variants: heads by name, each a score, a margin, a prior or a loss on one dense layer, or a tree.

One function, and one line in `HEADS`, make a new variant. A head in a file of one's own needs no
line here: its path is its name.
"""

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research import functional, registry
from softmax_research.functional.arrays import check_at_least
from softmax_research.functional.labels import check_targets
from softmax_research.functional.losses import check_link
from softmax_research.functional.normalise import log_or_impossible
from softmax_research.functional.scores import SCORES
from softmax_research.heads import margins
from softmax_research.heads.adaptive import adaptive
from softmax_research.heads.dense import LearntScore, dense, linear, taylor_score
from softmax_research.heads.head import Head, check_counts, weighted, with_bias
from softmax_research.heads.hierarchical import TREES, of_tree
from softmax_research.heads.links import find_link, linked
from softmax_research.heads.mixture import mixture
from softmax_research.heads.sampled import nce, negative_sampling, sampled


def softmax(num_classes: int, *, temperature: float = 1.0, **layer: Any) -> Head:
  """Build softmax's head; the temperature acts in training and in prediction."""
  check_at_least("temperature", temperature, 0, "Pass 1.0 for plain softmax.", strict=True)
  return dense(num_classes, score=lambda logits: logits / temperature, **layer)


def of_score(score: Callable[..., jax.Array]) -> Callable[..., Head]:
  """Return the function that makes the dense head of a score, with the score's options."""
  own = _options(score)

  def make(num_classes: int, **options: Any) -> Head:
    given = {name: options.pop(name) for name in own if name in options}
    return dense(num_classes, score=functools.partial(score, **given), **options)

  return _taking(make, own, "layer")


def of_loss(
  loss: Callable[..., jax.Array], log_prob: Callable[..., jax.Array] = functional.log_softmax
) -> Callable[..., Head]:
  """Return the function that makes a linear head of a loss of logits, with the loss's options.

  `log_prob` is given those of the options that it has.
  """
  own = _options(loss)

  def make(num_classes: int, *, bias: bool = True, **options: Any) -> Head:
    predict = functools.partial(log_prob, **registry.accepted(log_prob, **options))
    return _of_logits(num_classes, loss, bias, predict, **options)

  return _taking(make, own | {"bias": inspect.signature(make).parameters["bias"]})


def _options(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
  """Return the options of a function of logits that are a head's own."""
  parameters = inspect.signature(function).parameters.values()
  shared = ("class_weights", "ignore_label", "axis", "where")
  return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in shared}


def _taking(make: Callable[..., Head], options: dict[str, inspect.Parameter], *rest: str):
  """Return the function with the options, and with what it passes on, in its signature."""
  given = [inspect.Parameter("num_classes", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
  passed_on = [inspect.Parameter(name, inspect.Parameter.VAR_KEYWORD) for name in rest]
  make.__signature__ = inspect.Signature([*given, *options.values(), *passed_on])
  return make


def relu(num_classes: int, *, epsilon: float = 1e-2, bias_start: float = 1.0, **layer: Any) -> Head:
  """Build the ReLU classifier's head.

  The bias starts at a positive value, because a class whose logit is not positive has no
  gradient: from a bias of 0 half of the classes start dead, and small networks stay at chance.
  """
  score = functools.partial(functional.relu_score, epsilon=epsilon)
  return with_bias(dense(num_classes, score=score, **layer), bias_start)


def multimax(num_classes: int, **layer: Any) -> Head:
  """Build the head of MultiMax, whose score is learnt; it begins close to softmax's."""

  def init(key: jax.Array) -> dict[str, jax.Array]:
    draws = 0.02 * jax.random.truncated_normal(key, -2, 2, (2, 4), jnp.float32)
    return {"weights": draws[0], "points": draws[1]}

  score = LearntScore(init, lambda params, logits: functional.multimax_score(logits, **params))
  return dense(num_classes, score=score, **layer)


def logit_norm(num_classes: int, *, temperature: float = 0.04, **layer: Any) -> Head:
  """Build the head of softmax on logits of one norm; see `functional.logit_norm`."""
  row_map = functools.partial(functional.logit_norm, temperature=temperature)
  return dense(num_classes, row_map=row_map, **layer)


def ev_softmax(num_classes: int, *, epsilon: float = 1e-6, **layer: Any) -> Head:
  """Build the head of evidential softmax.

  In training a class below the mean counts `epsilon` times; in prediction it is impossible.
  """
  check_at_least("epsilon", epsilon, 0, "Pass 1e-6 or so.", strict=True)
  return _sparse(num_classes, functional.keep_above_mean, epsilon, **layer)


def r_softmax(num_classes: int, *, rate: float = 0.5, epsilon: float = 1e-6, **layer: Any) -> Head:
  """Build the head of r-softmax; `rate` is the share of classes that have no probability.

  `epsilon` is ours, and in training alone: without it the loss of a label that is left out would
  be infinite.
  """
  check_at_least("epsilon", epsilon, 0, "Pass 1e-6 or so.", strict=True)
  keep = functools.partial(functional.keep_above_quantile, rate=rate)
  return _sparse(num_classes, keep, epsilon, **layer)


def _sparse(num_classes: int, keep: Callable[..., jax.Array], epsilon: float, **layer: Any) -> Head:
  """Build a head whose row map leaves classes out in prediction, and nearly so in training."""
  head = dense(num_classes, row_map=functools.partial(keep, epsilon=epsilon), **layer)
  return head._replace(log_prob=dense(num_classes, row_map=keep, **layer).log_prob)


def _of_logits(
  num_classes: int, loss: Callable[..., jax.Array], bias: bool, log_prob=None, **options: Any
) -> Head:
  """Build a linear layer with a loss of logits; it predicts by softmax if nothing is said."""

  def own(logits, labels, geometry, **weights):
    return loss(logits, labels, **options, **weights)

  log_prob = log_prob or functional.log_softmax
  return linear(num_classes, loss=own, log_prob=log_prob, bias=bias)


def pc_softmax(
  num_classes: int, *, class_counts: Sequence[int] | None = None, bias: bool = True
) -> Head:
  """Build probability-corrected softmax's head.

  The mean of its training loss is minus a lower bound of the mutual information between the
  features and the label, so it may be negative. `log_prob` is softmax, the prediction under a
  uniform prior.
  """
  check_counts("pc_softmax", num_classes, class_counts)
  log_prior = functional.log_prior_from_counts(class_counts)
  return _of_logits(num_classes, functional.pc_cross_entropy, bias, log_prior=log_prior)


def logit_adjusted(
  num_classes: int,
  *,
  class_counts: Sequence[int] | None = None,
  tau: float = 1.0,
  order: int | None = None,
  **with_prior: Any,
) -> Head:
  """Build the head of logit-adjusted cross-entropy: tau log P added to the logits in the loss.

  With tau 1 its gradient is PC-softmax's, and its loss higher by -log P at the label; with 0 it is
  softmax. Menon et al. 2021, eq. 10 (arXiv 2007.07314).
  """
  check_at_least("tau", tau, 0, "Pass 1.0 for the prior as it is.")
  check_counts("logit_adjusted", num_classes, class_counts)
  log_prior = functional.log_prior_from_counts(class_counts)
  log_prior = tau * log_prior if tau else None  # 0 times the -inf of an empty class is no number
  return dense(num_classes, score=taylor_score(order), log_prior=log_prior, **with_prior)


def prior_shift(
  num_classes: int, *, class_counts: Sequence[int] | None = None, **layer: Any
) -> Head:
  """Build a head that trains as softmax does and moves its predictions to a uniform prior.

  A class without any training examples is never predicted.
  """
  check_counts("prior_shift", num_classes, class_counts)
  log_prior = functional.log_prior_from_counts(class_counts)
  uniform = functional.log_prior_from_counts(np.asarray(class_counts) > 0)
  plain = dense(num_classes, **layer)

  def log_prob(params, features):
    return functional.shift_prior(plain.log_prob(params, features), log_prior, uniform)

  return plain._replace(log_prob=log_prob, top_k=None)


def _entmax_log_prob(logits: jax.Array, *, alpha: float = 1.5) -> jax.Array:
  """Return the exact logarithms: -inf for the classes that have no probability.

  The negative log-likelihood of an example is infinite where its label is one of them. That is why
  the loss is not the likelihood: it stays finite, with a useful gradient.
  """
  if alpha == 1:
    return functional.log_softmax(logits)
  return log_or_impossible(functional.entmax(logits, alpha=alpha))


def _tempered_log_prob(logits: jax.Array, *, t2: float = 1.2) -> jax.Array:
  return log_or_impossible(functional.tempered_softmax(logits, t=t2))


def logit_penalty(
  num_classes: int,
  *,
  weight: float = 6e-4,
  label_smoothing: float = 0.0,
  bias: bool = True,
  **of_loss: Any,
) -> Head:
  r"""Build softmax's head with a penalty on the logits, :math:`\beta \|z\|^2` in the loss.

  A class weight multiplies the penalty too.

  Kornblith et al. 2021, "Why Do Better Loss Functions Lead to Less Transferable Features?"
  (arXiv 2010.16402).
  """
  check_at_least("weight", weight, 0, "Pass 0 for plain softmax.")

  def loss(logits, labels, **weights):
    options = {"label_smoothing": label_smoothing, **of_loss, **weights}
    plain = functional.cross_entropy(logits, labels, **options)
    penalty = weight * jnp.sum(logits**2, axis=-1)
    targets = check_targets(labels, logits, **weights).normalise(-1)
    return targets.finish(plain + targets.weigh(penalty))

  return _of_logits(num_classes, loss, bias)


def one_vs_all(num_classes: int, *, bias: bool = True, bias_start: float | None = 0.0) -> Head:
  r"""Build the head of one logistic regression a class.

  From a bias of -log K, for which `bias_start=None` stands, each class begins with a probability
  of about 1 / K: with many classes training need not first learn that most are absent. Kornblith et
  al. 2021 (arXiv 2010.16402) begin so.

  `log_prob` divides the classes' own probabilities by their sum,
  :math:`p_k = \sigma(z_k) / \sum_j \sigma(z_j)`: where each is right, the sum is one and nothing
  changes.
  """

  def log_prob(logits):
    return functional.log_normalise(jax.nn.log_sigmoid(logits))

  head = _of_logits(num_classes, functional.one_vs_all_cross_entropy, bias, log_prob)
  return with_bias(head, -math.log(num_classes) if bias_start is None else bias_start)


def _build(
  make: Callable[..., Head],
  options: dict[str, Any],
  num_classes: int,
  *,
  class_weights: jax.typing.ArrayLike | None = None,
  ignore_label: int | None = None,
  link: str | Callable[[jax.Array], jax.Array] | None = None,
) -> Head:
  """Build a head with the options that all share."""
  # A number of NumPy has a type, which may be another than that of the features.
  options = {
    name: value.item() if isinstance(value, np.ndarray | np.generic) and value.ndim == 0 else value
    for name, value in options.items()
  }
  if link is not None and make is pc_softmax:
    raise ValueError(
      "Got a link and the head 'pc_softmax', whose loss may be negative and is no -log p. Pass "
      "'logit_adjusted', which has the same gradient, or no link."
    )
  weights = {"class_weights": class_weights, "ignore_label": ignore_label}
  link = find_link(link)
  check_link(link, options.get("label_smoothing", 0))
  passes_on = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(make).parameters.values())
  head = make(num_classes, **options, **({"link": link} if link and passes_on else {}))
  if link and not passes_on:
    head = linked(head, num_classes, link, likelihood=make in _LIKELIHOODS)
  head = weighted(head, num_classes, **weights)
  # A kernel of one's own may be for so many features as are not known yet.
  if make in HEADS.values() and "kernel_init" not in options:
    jax.eval_shape(functools.partial(_loss_of_one, head), jax.random.key(0))
  return head


def _loss_of_one(head: Head, key: jax.Array) -> jax.Array:
  """Return the loss of an example, which raises the errors of options that are out of range."""
  params = head.init(key, 1)
  features, labels = jnp.zeros((1, 1), jnp.float32), jnp.zeros(1, jnp.int32)
  return head.loss(params, features, labels, key=key)


_TREES = {name: of_tree(make_tree) for name, make_tree in TREES.items()}
# Heads without a link of their own whose loss of a distribution is that of `log_prob`.
_LIKELIHOODS = (*_TREES.values(), adaptive, mixture, negative_sampling, nce, sampled)

#: Heads by name, each a function of the number of classes and its own options.
HEADS = registry.Registry(
  "head",
  {
    "softmax": softmax,
    **{name: of_score(score) for name, score in SCORES.items()},
    "relu": relu,
    "multimax": multimax,
    "logit_norm": logit_norm,
    "logit_penalty": logit_penalty,
    "sm": margins.sm,
    "sm_taylor": margins.sm_taylor,
    "l_softmax": margins.l_softmax,
    "am_softmax": margins.am_softmax,
    "arcface": margins.arcface,
    "cosine_softmax": margins.cosine_softmax,
    "combined_margin": margins.combined_margin,
    "sphereface": margins.sphereface,
    "ldam": margins.ldam,
    "adaface": margins.adaface,
    "magface": margins.magface,
    "curricularface": margins.curricularface,
    "subcentre_arcface": margins.subcentre_arcface,
    "partial_fc": margins.partial_fc,
    "pc_softmax": pc_softmax,
    "logit_adjusted": logit_adjusted,
    "prior_shift": prior_shift,
    "sparsemax": of_loss(functional.sparsemax_loss, functools.partial(_entmax_log_prob, alpha=2.0)),
    "entmax": of_loss(functional.entmax_loss, _entmax_log_prob),
    "bi_tempered": of_loss(functional.bi_tempered_loss, _tempered_log_prob),
    "ev_softmax": ev_softmax,
    "r_softmax": r_softmax,
    "one_vs_all": one_vs_all,
    # These losses know no probabilities; those of softmax agree on the most probable class.
    "squared_error": of_loss(functional.squared_error_loss),
    "hinge": of_loss(functional.multiclass_hinge),
    **_TREES,
    "adaptive": adaptive,
    "mixture": mixture,
    "negative_sampling": negative_sampling,
    "nce": nce,
    "sampled": sampled,
  },
  example="taylor:order=4",
  given=("num_classes",),
  build=_build,
  rest={
    "layer": dense,
    "with_prior": functools.partial(dense, log_prior=None),
    "unbiased": functools.partial(dense, bias=False, normalise=False),
    "of_cosines": margins.cosine_layer,
  },
  taken=("score", "margin", "row_map", "link", "change", "scale"),
  contract="takes the number of classes, and options by keyword, and returns a heads.Head",
  accepts=lambda head: all(callable(getattr(head, part, None)) for part in Head._fields[:3]),
)


def make(text: str, num_classes: int, **options: Any) -> Head:
  """Build a head from its name and options.

  Args:
    text: a key of `HEADS`, or the path of a function of one's own, as `my_package.my_module.mine`,
      alone or with options, as `sm_taylor:order=4:margin=0.6`.
    num_classes: K.
    **options: the head's own options and those of its layer, as `bias` or `label_smoothing`; and
      `class_weights`, `ignore_label` and, but for `pc_softmax`, `link`, which every head has (see
      `dense`). A link may be named, as in `softmax:link=(focal:gamma=2.0)`. Penalties and class
      weights come after it, and labels that are distributions need a head whose loss is -log p.

  Raises:
    ValueError: the name or an option is unknown (the message lists those that exist), or a value
      is of the wrong type or out of range.

  Example:
    >>> make("taylor:order=4", 10) is not None
    True
  """
  return HEADS.make(text, num_classes, **options)


def head_options(name: str) -> dict[str, Any]:
  """List a head's options with their defaults.

  Args:
    name: a key of `HEADS`, or the path of a function like those there.

  Returns:
    A dictionary from option to default, those of the layer beneath included.

  Raises:
    ValueError: there is no such name, or nothing could be imported.

  Example:
    >>> head_options("sm_taylor")["margin"]
    0.6
  """
  return HEADS.options(name)
