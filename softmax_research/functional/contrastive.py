"""Contrastive losses: cross-entropies whose classes are the other examples of the batch."""

import jax
import jax.numpy as jnp

from softmax_research.functional.arrays import (
  check_at_least,
  check_option_shape,
  has_explicit_mesh,
  look_up,
  product,
  unit_length,
)
from softmax_research.functional.labels import (
  check_class_labels,
  find_ignored,
  is_known,
  is_label,
)
from softmax_research.functional.losses import cross_entropy


def info_nce_loss(
  x: jax.typing.ArrayLike,
  y: jax.typing.ArrayLike,
  *,
  labels: jax.typing.ArrayLike | None = None,
  temperature: jax.typing.ArrayLike = 1.0,
  ignore_label: int | None = None,
) -> jax.Array:
  r"""Compute the loss of finding each x's own y among those of the batch.

  .. math:: \ell_i = -\log \frac{e^{x_i^\top y_i / T}}{\sum_j e^{x_i^\top y_j / T}}

  log B less the mean loss is the bound `information.info_nce` of these scores. Scale x and y to
  unit length for cosines, and average with the loss of y and x for CLIP's. Where the B x B scores
  are too many, `linear_cross_entropy(x, y.T, labels)` is the same loss without them.

  Args:
    x: `[B, D]`.
    y: `[C, D]`, C = B without labels. More of them are more classes, as hard negatives.
    labels: which y belongs to each x, integers `[B]`; by default its own, `arange(B)`.
    temperature: T > 0.
    ignore_label: that of `cross_entropy`, for an x without a y. The classes are those of the batch,
      so there are no class weights.

  Returns:
    Losses in nats, `[B]`, in float32 or the wider type of x and y. NaN for a label out of range.

  Raises:
    ValueError: the shapes do not fit, or the temperature is not positive and finite.

  Example:
    >>> info_nce_loss(jnp.zeros((4, 2)), jnp.ones((4, 2))).round(4)
    Array([1.3863, 1.3863, 1.3863, 1.3863], dtype=float32)

  Reference:
    van den Oord, Li & Vinyals 2018, "Representation Learning with Contrastive Predictive Coding",
    eq. 4 (arXiv 1807.03748).
  """
  check_at_least("temperature", temperature, 0, "Pass 0.1 or so for cosines.", strict=True)
  check_option_shape("temperature", temperature, ())
  x, y = jnp.asarray(x), jnp.asarray(y)
  _check_pairs(x, y, same_length=labels is None)
  labels = jnp.arange(len(x)) if labels is None else labels
  scores = product(x, _everywhere(y).T)
  scores /= jnp.asarray(temperature, scores.dtype)
  return cross_entropy(scores, labels, ignore_label=ignore_label)


def nt_xent_loss(
  x: jax.typing.ArrayLike,
  y: jax.typing.ArrayLike,
  *,
  labels: jax.typing.ArrayLike | None = None,
  temperature: jax.typing.ArrayLike = 0.5,
  ignore_label: int | None = None,
) -> jax.Array:
  r"""Compute SimCLR's loss of two views of each example, by cosines among all views of the batch.

  .. math::
    \ell_{ij} = -\log \frac{e^{\cos(z_i, z_j) / T}}{\sum_{k \ne i} e^{\cos(z_i, z_k) / T}},
    \qquad \ell_i = \tfrac12 (\ell_{i,i+B} + \ell_{i+B,i}), \qquad z = (x, y)

  The 2B views but the view itself are the classes. A view without a partner is a class of the
  others all the same.

  Args:
    x: first views, `[B, D]`.
    y: second views, `[B, D]`.
    labels, ignore_label: those of `info_nce_loss`.
    temperature: T > 0.

  Returns:
    Losses in nats, `[B]`, the mean of an example's two, in float32 or the wider type of x and y;
    NaN for a label out of range.

  Raises:
    ValueError: the shapes do not fit, or the temperature is not positive and finite.

  Example:
    >>> nt_xent_loss(jnp.ones((4, 2)), jnp.ones((4, 2))).shape
    (4,)

  Reference:
    Chen, Kornblith, Norouzi & Hinton 2020, "A Simple Framework for Contrastive Learning of Visual
    Representations", eq. 1 (arXiv 2002.05709).
  """
  check_at_least("temperature", temperature, 0, "Pass 0.5 or so.", strict=True)
  check_option_shape("temperature", temperature, ())
  x, y = unit_length(x), unit_length(y)
  _check_pairs(x, y, same_length=labels is None)
  x, y, size = _everywhere(x), _everywhere(y), len(x)
  in_order = labels is None
  labels = jnp.arange(size) if in_order else labels
  labels = _everywhere(
    check_class_labels(labels, (size,), len(y), "Pass the number of its y for each x.")
  )
  ignored, known = find_ignored(labels, ignore_label), is_known(labels, len(y))
  labels = jnp.where(known, labels, 0).astype(jnp.int32)
  views, firsts, seconds = jnp.concatenate([x, y]), jnp.arange(size, dtype=jnp.int32), size + labels
  own = y if in_order else look_up(y.T, labels).T
  scores = product(jnp.concatenate([x, own]), views.T)
  scores /= jnp.asarray(temperature, scores.dtype)
  selves, partners = jnp.concatenate([firsts, seconds]), jnp.concatenate([seconds, firsts])
  partners = jnp.where(jnp.concatenate([known, known]), partners, -1)
  losses = cross_entropy(scores, partners, where=~is_label(selves, scores))
  losses = jnp.mean(losses.reshape(2, size), axis=0)
  return losses if ignored is None else jnp.where(ignored, 0, losses)


def _everywhere(vectors: jax.Array) -> jax.Array:
  """Return vectors of a batch that every device has; on Explicit axes this is not implied."""
  if not has_explicit_mesh(vectors):
    return vectors
  return jax.sharding.reshard(vectors, jax.sharding.PartitionSpec())


def _check_pairs(x: jax.Array, y: jax.Array, same_length: bool = True) -> None:
  fits = x.ndim == y.ndim == 2 and x.shape[1] == y.shape[1]
  if not fits or (same_length and len(x) != len(y)):
    raise ValueError(
      f"Got x of shape {x.shape} and y of shape {y.shape}; they must be [B, D] both, a pair a row."
    )
