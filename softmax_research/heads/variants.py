"""Variants: heads by name, each a score, a margin, a prior or a loss on one dense layer, or a tree.

One function, and one line in `HEADS`, make a new variant. A head in a file of one's own needs no
line here: its path is its name.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from softmax_research import functional, registry
from softmax_research.functional.arrays import check_at_least, check_epsilon
from softmax_research.functional.entmax import log_or_impossible
from softmax_research.functional.margins import check_angle, check_multiplier
from softmax_research.functional.tempered import check_temperatures
from softmax_research.heads.adaptive import adaptive
from softmax_research.heads.dense import Geometry, dense, linear, taylor_score
from softmax_research.heads.head import Head, check_counts
from softmax_research.heads.hierarchical import TREES, of_tree
from softmax_research.heads.mixture import mixture
from softmax_research.heads.sampled import sampled


def softmax(num_classes: int, *, temperature: float = 1.0, **layer: Any) -> Head:
  """Build softmax's head; the temperature acts in training and in prediction."""
  check_at_least("temperature", temperature, 0, "Pass 1.0 for plain softmax.", strict=True)
  return dense(num_classes, score=lambda logits: logits / temperature, **layer)


def taylor(num_classes: int, *, order: int = 2, **layer: Any) -> Head:
  """Build Taylor softmax's head."""
  return dense(num_classes, score=taylor_score(order), **layer)


def relu(num_classes: int, *, epsilon: float = 1e-2, bias_start: float = 1.0, **layer: Any) -> Head:
  """Build the ReLU classifier's head.

  The bias starts at a positive value, because a class whose logit is not positive has no
  gradient: from a bias of 0 half of the classes start dead, and small networks stay at chance.
  """
  check_epsilon(epsilon, typical=1e-2)
  score = functools.partial(functional.relu_score, epsilon=epsilon)
  head = dense(num_classes, score=score, **layer)

  def init(key: jax.Array, num_features: int) -> dict[str, jax.Array]:
    params = head.init(key, num_features)
    return params | {name: params[name] + bias_start for name in params if name == "bias"}

  return head._replace(init=init)


def spherical(num_classes: int, *, epsilon: float = 1e-2, **layer: Any) -> Head:
  """Build spherical softmax's head."""
  check_epsilon(epsilon, typical=1e-2)
  score = functools.partial(functional.spherical_score, epsilon=epsilon)
  return dense(num_classes, score=score, **layer)


def stablemax(num_classes: int, **layer: Any) -> Head:
  """Build StableMax's head."""
  return dense(num_classes, score=functional.stablemax_score, **layer)


def sigsoftmax(num_classes: int, **layer: Any) -> Head:
  """Build sigsoftmax's head."""
  return dense(num_classes, score=functional.sigsoftmax_score, **layer)


def soft_cap(num_classes: int, *, cap: float = 30.0, **layer: Any) -> Head:
  """Build the head of softmax on logits that are kept within a cap, smoothly."""
  score = functools.partial(functional.soft_cap_score, cap=cap)
  score(0.0)  # A bad cap fails here, not in a traced step.
  return dense(num_classes, score=score, **layer)


def sm(num_classes: int, *, margin: float = 0.6, **layer: Any) -> Head:
  """Build soft-margin softmax's head."""
  return sm_taylor(num_classes, order=None, margin=margin, **layer)


def sm_taylor(
  num_classes: int, *, order: int | None = 2, margin: float = 0.6, **layer: Any
) -> Head:
  """Build soft-margin Taylor softmax's head."""
  check_at_least("margin", margin, 0, "Pass 0 for no margin.")

  def lower(logits: jax.Array, labels: jax.Array, geometry: Geometry) -> jax.Array:
    del geometry
    return functional.soft_margin(logits, labels, margin=margin)

  return dense(num_classes, score=taylor_score(order), margin=lower, **layer)


def l_softmax(
  num_classes: int,
  *,
  margin: int = 2,
  base: float = 1000.0,
  gamma: float = 3e-4,
  power: float = 35.0,
  minimum: float = 0.0,
  order: int | None = None,
  label_smoothing: float = 0.0,
  z_loss: float = 0.0,
) -> Head:
  """Build large-margin softmax's head, without bias.

  `margin` multiplies the label's angle; see `functional.large_margin`, and for its annealing by
  `base`, `gamma`, `power` and `minimum` `functional.large_margin_annealing`. It is in force after
  some 1500 steps. Without annealing a network may shrink its features to nothing instead of turning
  them, and stay at chance.
  """
  check_multiplier(margin)
  schedule = {"base": base, "gamma": gamma, "power": power, "minimum": minimum}
  functional.large_margin_annealing(0, **schedule)  # Bad options fail here, not in a traced step.

  def widen(logits: jax.Array, labels: jax.Array, geometry: Geometry) -> jax.Array:
    return functional.large_margin(
      logits,
      labels,
      feature_norms=geometry.feature_norms,
      kernel_norms=geometry.kernel_norms,
      margin=margin,
      annealing=functional.large_margin_annealing(geometry.step, **schedule),
    )

  layer = {"label_smoothing": label_smoothing, "z_loss": z_loss, "bias": False}
  return dense(num_classes, score=taylor_score(order), margin=widen, **layer)


def am_softmax(
  num_classes: int,
  *,
  margin: float = 0.35,
  scale: float = 30.0,
  order: int | None = None,
  label_smoothing: float = 0.0,
  z_loss: float = 0.0,
) -> Head:
  """Build the head of a margin that is taken from the label's cosine (AM-Softmax, CosFace)."""
  check_at_least("margin", margin, 0, "Pass 0 for no margin.")
  lower = functools.partial(functional.additive_cosine_margin, margin=margin)
  return _cosines(num_classes, lower, scale, order, label_smoothing=label_smoothing, z_loss=z_loss)


def arcface(
  num_classes: int,
  *,
  margin: float = 0.5,
  scale: float = 64.0,
  order: int | None = None,
  label_smoothing: float = 0.0,
  z_loss: float = 0.0,
) -> Head:
  """Build the head of a margin, in radians, that is added to the label's angle (ArcFace)."""
  check_angle(margin)
  widen = functools.partial(functional.additive_angular_margin, margin=margin)
  return _cosines(num_classes, widen, scale, order, label_smoothing=label_smoothing, z_loss=z_loss)


def _cosines(
  num_classes: int, margin: Callable[..., jax.Array], scale: float, order: int | None, **layer: Any
) -> Head:
  """Build a head whose logits are cosines, the score being of `scale` times them."""
  check_at_least("scale", scale, 0, "Pass 30 or so.", strict=True)
  score = taylor_score(order) or (lambda logits: logits)
  return dense(
    num_classes,
    score=lambda cosines: score(scale * cosines),
    margin=lambda cosines, labels, geometry: margin(cosines, labels),
    bias=False,
    normalise=True,
    **layer,
  )


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

  def loss(logits, labels, geometry):
    del geometry
    return functional.pc_cross_entropy(logits, labels, log_prior)

  return linear(num_classes, loss=loss, log_prob=functional.log_softmax, bias=bias)


def logit_adjusted(
  num_classes: int,
  *,
  class_counts: Sequence[int] | None = None,
  tau: float = 1.0,
  order: int | None = None,
  bias: bool = True,
  label_smoothing: float = 0.0,
  z_loss: float = 0.0,
) -> Head:
  """Build the head of logit-adjusted cross-entropy: tau log P added to the logits in the loss.

  With tau 1 its gradient is PC-softmax's, and its loss higher by -log P at the label; with 0 it is
  softmax. Menon et al. 2021, eq. 10 (arXiv 2007.07314).
  """
  check_at_least("tau", tau, 0, "Pass 1.0 for the prior as it is.")
  check_counts("logit_adjusted", num_classes, class_counts)
  log_prior = functional.log_prior_from_counts(class_counts)
  return dense(
    num_classes,
    score=taylor_score(order),
    log_prior=tau * log_prior if tau else None,  # 0 times the -inf of an empty class is no number
    bias=bias,
    label_smoothing=label_smoothing,
    z_loss=z_loss,
  )


def prior_shift(
  num_classes: int,
  *,
  class_counts: Sequence[int] | None = None,
  bias: bool = True,
  label_smoothing: float = 0.0,
  z_loss: float = 0.0,
) -> Head:
  """Build a head that trains as softmax does and moves its predictions to a uniform prior.

  A class without any training examples is never predicted.
  """
  check_counts("prior_shift", num_classes, class_counts)
  log_prior = functional.log_prior_from_counts(class_counts)
  uniform = functional.log_prior_from_counts(np.asarray(class_counts) > 0)
  plain = dense(num_classes, bias=bias, label_smoothing=label_smoothing, z_loss=z_loss)

  def log_prob(params, features):
    return functional.shift_prior(plain.log_prob(params, features), log_prior, uniform)

  return plain._replace(log_prob=log_prob, top_k=None)


def sparsemax(num_classes: int, *, bias: bool = True) -> Head:
  """Build the head of sparsemax and its loss: `entmax` with alpha = 2."""
  return entmax(num_classes, alpha=2.0, bias=bias)


def entmax(num_classes: int, *, alpha: float = 1.5, bias: bool = True) -> Head:
  """Build the head of alpha-entmax and its loss; the larger alpha, the fewer classes are possible.

  `log_prob` is the exact logarithm of the probabilities: -inf for the classes that have none, so
  the negative log-likelihood of an example is infinite where its label is one of them. That is
  why the loss is not the likelihood: it stays finite, with a useful gradient.
  """
  check_at_least("alpha", alpha, 1, "Pass 1 for softmax, 2 for sparsemax.")

  def loss(logits, labels, geometry):
    del geometry
    return functional.entmax_loss(logits, labels, alpha=alpha)

  def log_prob(logits: jax.Array) -> jax.Array:
    if alpha == 1:
      return functional.log_softmax(logits)
    return log_or_impossible(functional.entmax(logits, alpha=alpha))

  return linear(num_classes, loss=loss, log_prob=log_prob, bias=bias)


def bi_tempered(num_classes: int, *, t1: float = 0.8, t2: float = 1.2, bias: bool = True) -> Head:
  """Build the head of the bi-tempered logistic loss; `log_prob` is its tempered softmax."""
  check_temperatures(t1, t2)

  def loss(logits, labels, geometry):
    del geometry
    return functional.bi_tempered_loss(logits, labels, t1=t1, t2=t2)

  def log_prob(logits):
    return log_or_impossible(functional.tempered_softmax(logits, t=t2))

  return linear(num_classes, loss=loss, log_prob=log_prob, bias=bias)


def one_vs_all(num_classes: int, *, bias: bool = True) -> Head:
  r"""Build the head of one logistic regression a class.

  `log_prob` divides the classes' own probabilities by their sum,
  :math:`p_k = \sigma(z_k) / \sum_j \sigma(z_j)`: where each is right, the sum is one and nothing
  changes.
  """

  def loss(logits, labels, geometry):
    del geometry
    return functional.one_vs_all_cross_entropy(logits, labels)

  def log_prob(logits):
    return functional.log_normalise(jax.nn.log_sigmoid(logits))

  return linear(num_classes, loss=loss, log_prob=log_prob, bias=bias)


def hinge(
  num_classes: int, *, margin: float = 1.0, sum_rivals: bool = False, bias: bool = True
) -> Head:
  """Build the head of the multiclass hinge loss; see `functional.multiclass_hinge`.

  The loss knows no probabilities. `log_prob` is softmax of the logits: its argmax is the
  loss's own prediction, its values are not fitted to anything.
  """
  check_at_least("margin", margin, 0, "Pass 1.0 for the published loss.")

  def loss(logits, labels, geometry):
    del geometry
    return functional.multiclass_hinge(logits, labels, margin=margin, sum_rivals=sum_rivals)

  return linear(num_classes, loss=loss, log_prob=functional.log_softmax, bias=bias)


#: Heads by name, each a function of the number of classes and its own options.
HEADS = registry.Registry(
  "head",
  {
    "softmax": softmax,
    "taylor": taylor,
    "relu": relu,
    "spherical": spherical,
    "stablemax": stablemax,
    "sigsoftmax": sigsoftmax,
    "soft_cap": soft_cap,
    "sm": sm,
    "sm_taylor": sm_taylor,
    "l_softmax": l_softmax,
    "am_softmax": am_softmax,
    "arcface": arcface,
    "pc_softmax": pc_softmax,
    "logit_adjusted": logit_adjusted,
    "prior_shift": prior_shift,
    "sparsemax": sparsemax,
    "entmax": entmax,
    "bi_tempered": bi_tempered,
    "one_vs_all": one_vs_all,
    "hinge": hinge,
    **{name: of_tree(make_tree) for name, make_tree in TREES.items()},
    "adaptive": adaptive,
    "mixture": mixture,
    "sampled": sampled,
  },
  example="taylor:order=4",
  given=("num_classes",),
  rest=dense,
  taken=("score", "margin"),
  contract="takes the number of classes, and options by keyword, and returns a heads.Head",
  accepts=lambda head: all(callable(getattr(head, part, None)) for part in Head._fields[:3]),
)


def make(text: str, num_classes: int, **options: Any) -> Head:
  """Build a head from its name and options.

  Args:
    text: a key of `HEADS`, or the path of a function of one's own, as `my_package.my_module.mine`,
      alone or with options, as `sm_taylor:order=4:margin=0.6`.
    num_classes: K.
    **options: the head's own options and those of its layer, as `bias` or `label_smoothing`.

  Returns:
    The head.

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
