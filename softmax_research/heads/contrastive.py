"""Contrastive heads: output layers whose classes are the other examples of the batch."""

import jax
import jax.numpy as jnp

from softmax_research.functional import info_nce_loss, log_softmax, nt_xent_loss
from softmax_research.functional.arrays import (
  check_at_least,
  check_integer,
  product,
  unit_length,
  widen,
)
from softmax_research.heads.head import Head


def info_nce(*, temperature: float = 1.0) -> Head:
  r"""Build the head that finds each x's own y among those of the batch, by a bilinear critic.

  .. math:: f_{ij} = x_i^\top W y_j / T, \qquad \log p_{ij} = f_{ij} - \log \sum_k e^{f_{ik}}

  Its features are a pair `(x [B, D], y [B, D])`, as two views of the same images, and its labels
  say which y belongs to each x: `jnp.arange(B)`. Its loss takes `ignore_label`, for an x without a
  y, and no `class_weights`: the classes are other ones in every batch.

  Args:
    temperature: T > 0.

  Returns:
    A head with parameters `{"kernel": [D, D]}`; `log_prob` is `[B, B]`.

  Raises:
    ValueError: the temperature is not positive and finite.

  Example:
    >>> head = info_nce()
    >>> params, x = head.init(jax.random.key(0), 5), jnp.ones((4, 5))
    >>> head.loss(params, (x, x), jnp.arange(4)).shape
    (4,)

  Reference:
    van den Oord, Li & Vinyals 2018, eqs. 3 and 4 (arXiv 1807.03748).
  """
  check_at_least("temperature", temperature, 0, "Pass 1.0.", strict=True)

  def init(key, num_features):
    check_integer("num_features", num_features)
    shape = num_features, num_features
    return {"kernel": jax.nn.initializers.lecun_normal()(key, shape, jnp.float32)}

  def project(params, features):
    x, y = features
    return product(jnp.asarray(x), params["kernel"]), widen(y)[0]

  def loss(params, features, labels, *, step=0, key=None, ignore_label=None):
    x, y = project(params, features)
    options = {"temperature": temperature, "ignore_label": ignore_label}
    return info_nce_loss(x, y, labels=labels, **options)

  def log_prob(params, features):
    x, y = project(params, features)
    return log_softmax(product(x, y.T), temperature=temperature)

  return Head(init, loss, log_prob)


def nt_xent(*, temperature: float = 0.5) -> Head:
  r"""Build SimCLR's head: cosines among the views of a batch, without parameters.

  See `functional.nt_xent_loss`, which has the source. Features, labels and options of the loss are
  those of `info_nce`; the network that projects the features before the cosines is the backbone's
  last part. In the loss all other views compete, in `log_prob` the y's alone, among which a partner
  is looked for: the loss's own probabilities, given that the partner is a y.

  Args:
    temperature: T > 0.

  Returns:
    A head with parameters `{}`; `log_prob`, of each y for each x, is `[B, B]`.

  Raises:
    ValueError: the temperature is not positive and finite.

  Example:
    >>> head = nt_xent()
    >>> head.log_prob(head.init(jax.random.key(0), 2), (jnp.eye(2), jnp.eye(2))).argmax(1)
    Array([0, 1], dtype=int32)
  """
  check_at_least("temperature", temperature, 0, "Pass 0.5 or so.", strict=True)

  def loss(params, features, labels, *, step=0, key=None, ignore_label=None):
    options = {"temperature": temperature, "ignore_label": ignore_label}
    return nt_xent_loss(*features, labels=labels, **options)

  def log_prob(params, features):
    x, y = map(unit_length, features)
    return log_softmax(product(x, y.T), temperature=temperature)

  return Head(lambda key, num_features: {}, loss, log_prob)
