"""Linear cross-entropy: the loss of a dense output layer without all of its logits in memory."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional.arrays import (
  affine,
  as_labels,
  broadcasts_to,
  check_at_least,
  check_features,
  check_fraction,
  check_option_shape,
  check_per_class,
  check_sizes,
  has_explicit_mesh,
  is_plain_zero,
  look_up,
  norms,
  per_class,
  varying_axes,
  wide_type,
)
from softmax_research.functional.labels import (
  check_class_labels,
  check_class_weights,
  check_labels,
  find_ignored,
  is_known,
)
from softmax_research.functional.losses import Link, check_link, cross_entropy
from softmax_research.functional.normalise import exclude
from softmax_research.functional.streaming import (
  Blocks,
  Constants,
  Examples,
  Hoisted,
  Layer,
  Loss,
  check_elementwise,
  choose_blocks,
  even_size,
  hoist,
  losses,
)

Score = Callable[[jax.Array], jax.Array]
Margin = Callable[[jax.Array, jax.Array, dict[str, jax.Array]], jax.Array]


def linear_cross_entropy(
  features: jax.typing.ArrayLike,
  kernel: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  bias: jax.typing.ArrayLike | None = None,
  score: Score | None = None,
  margin: Margin | None = None,
  link: Link | None = None,
  log_prior: jax.typing.ArrayLike | None = None,
  label_smoothing: jax.typing.ArrayLike = 0.0,
  z_loss: jax.typing.ArrayLike = 0.0,
  class_weights: jax.typing.ArrayLike | None = None,
  ignore_label: int | None = None,
  where: jax.typing.ArrayLike | None = None,
  block_size: tuple[int, int] | str | None = None,
  axis_name: str | None = None,
) -> jax.Array:
  r"""Compute the cross-entropy of a dense output layer, a block of examples at a time.

  .. math::
    \ell = \mathrm{link}\left(-\log \frac{e^{s_y}}{\sum_k e^{s_k}}\right), \qquad
    s_k = \mathrm{score}(z'_k) + \log \pi_k, \qquad
    z' = \mathrm{margin}(z, y), \qquad z = x W + b

  It is `cross_entropy(score(margin(features @ kernel + bias, labels)) + log_prior, labels)`, and
  its memory does not grow with the number of examples. Under differentiation the gradients of a
  block are formed while its logits are there, so that no product is computed twice. To know them
  before the losses' cotangent is known they are formed for a cotangent of one and scaled later,
  which is exact for a sum or a mean of the losses. Any other combination of the losses is exact
  too, but its gradient costs two products more, of then five. Examples whose label is out of
  range have no gradient and may be left out of a sum at no cost.

  The lean form visits a block of classes for all examples at a time. It computes the logits twice,
  four products for any combination of the losses, and needs memory for them and for a float32 copy
  of the features' gradient alone, where other forms also need a float32 copy of the kernel's.

  Inside `jax.shard_map` each device may hold some of the classes: name their mesh axis. Examples
  may be sharded over other axes. Under `jax.jit` alone, with a kernel sharded over classes, pass
  all classes as the block, or devices exchange the kernel. Outside `jax.jit` the loops over blocks
  are compiled anew in every call.

  There are no second derivatives and no forward mode; both are refused.

  Args:
    features: x, `[..., D]`.
    kernel: W, `[D, K]`.
    labels: integers `[...]`, or distributions `[..., K]`, which have no gradient and of which no
      copy is made.
    bias: b, `[K]`.
    score: logits to scores, elementwise, as `taylor_score`; the identity by default.
    margin: `(logits [..., K], labels [...], norms) -> logits`, where `norms` holds the keyword
      arguments `feature_norms` and `kernel_norms` of `large_margin`. It must change the label's
      logit alone, and is shown that alone, as the only class, one example at a time.
    link: that of `cross_entropy`; margin and link need labels that are integers.
    log_prior: logarithms of class frequencies, `[K]`, added to the scores; -inf excludes a class.
    label_smoothing, z_loss, class_weights, ignore_label: those of `cross_entropy`.
    where: booleans `[K]`, or any that broadcast to `[..., K]`; false excludes a class.
    block_size: how many examples and how many classes are computed together. The logits of so
      many examples stand in memory, those of all classes. Neither number need divide anything.
      `"lean"` is the lean form. By default the blocks are chosen by K, type and backend; then, on a
      GPU, bfloat16 features and kernel have bfloat16 logits.
    axis_name: the mesh axis over which kernel, bias, prior, weights, mask and distributions are
      sharded, inside `jax.shard_map`. Labels number the classes of all devices, in the order of the
      devices.

  Returns:
    Losses in nats, `[...]`, in float32 or the wider type of features and kernel; so are all sums,
    and the gradients have the types of the arguments. NaN, and no gradient, for a label out of
    range; infinite for a label whose class is impossible.

  Raises:
    ValueError: a shape does not fit, an option is out of range, there are 2^31 classes or more,
      or the score or the margin is none.
    TypeError: the labels are neither integers nor floating-point numbers.
    NotImplementedError: it is differentiated twice.

  Example:
    >>> features, kernel = jax.numpy.ones((3, 2)), jax.numpy.zeros((2, 4))
    >>> labels = jax.numpy.array([0, 3, 4])
    >>> linear_cross_entropy(features, kernel, labels).round(4)
    Array([1.3863, 1.3863,    nan], dtype=float32)

  Reference:
    Wijmans et al. 2024, "Cut Your Losses in Large-Vocabulary Language Models"
    (arXiv 2411.09009), and Hsu et al. 2024, "Liger Kernel" (arXiv 2410.10989), whose gradients
    too are formed in the forward pass.
  """
  features, layer, class_mask = check_layer(features, kernel, bias, log_prior, where)
  kernel, wide = layer.kernel, wide_type(layer.kernel)
  num_columns, batch = kernel.shape[1], features.shape[:-1]
  num_classes = num_columns * _num_shards(axis_name, features, kernel)
  if num_classes >= 2**31:
    raise ValueError(
      f"Got a kernel of {num_classes} classes; there must be fewer than 2^31. Use a tree or an "
      "adaptive softmax for more."
    )
  is_soft = jnp.issubdtype(as_labels(labels).dtype, jnp.floating)
  if is_soft:
    targets = jax.lax.stop_gradient(jnp.asarray(labels))
    check_labels(targets, jax.ShapeDtypeStruct((*batch, num_columns), targets.dtype))
    if margin is not None or link is not None:
      raise ValueError(
        "Got labels that are distributions, and a margin or a link, which need one label. Use "
        "cross_entropy on logits, or a head with implementation='plain'."
      )
    labels = jnp.full(batch, -1, jnp.int32)
  else:
    labels = check_class_labels(labels, batch, num_classes, "")
  check_fraction("label_smoothing", label_smoothing, or_one=True)
  check_at_least("z_loss", z_loss, 0, "Pass 0 to switch it off.")
  check_option_shape("label_smoothing", label_smoothing, labels.shape)
  check_option_shape("z_loss", z_loss, labels.shape)
  if is_soft and wide_type(targets) != wide:
    targets = targets.astype(wide)
  check_class_weights(class_weights, num_columns)
  class_weights = check_vector("class_weights", class_weights, num_columns, wide)
  ignored = None if is_soft else find_ignored(labels, ignore_label)
  axes = varying_axes(features, kernel, labels)
  others_score, label_score = hoist_scores(score, margin, wide, axes, axis_name)
  check_link(link, label_smoothing)
  linked = Hoisted(None, (), [])
  if link is not None:
    linked = hoist(link, wide, axes=axes - {axis_name})
    check_elementwise("link", link, wide, "It is shown the loss of one example.")
  if labels.size == 0:
    return jnp.zeros(batch, wide)
  if has_explicit_mesh(features) or has_explicit_mesh(kernel):
    # No blocks can be cut out of axes whose sharding is part of the type.
    return reference(
      features,
      kernel,
      targets if is_soft else labels,
      bias=layer.bias,
      score=score,
      margin=margin,
      log_prior=layer.log_prior,
      where=where,
      link=link,
      label_smoothing=label_smoothing,
      z_loss=z_loss,
      class_weights=class_weights,
      ignore_label=ignore_label,
    )
  layer = layer._replace(class_weights=class_weights)
  examples = _examples(
    features.reshape(labels.size, features.shape[-1]),
    layer,
    labels.ravel(),
    num_classes,
    class_mask=class_mask,
    uses_norms=any(label_score.uses[1:]),
    axis_name=axis_name,
  )
  if ignored is not None:
    examples = examples._replace(known=examples.known & ~ignored.ravel())
  if is_soft:
    examples = examples._replace(
      known=jnp.ones_like(examples.known),
      targets=targets.reshape(labels.size, num_columns),
      label_weight=None,
    )
  elif is_plain_zero(label_smoothing):
    # What the labels' losses are multiplied by has been looked up.
    layer = layer._replace(class_weights=None)
  for name, option in (("label_smoothing", label_smoothing), ("z_loss", z_loss)):
    if not is_plain_zero(option):
      option = jnp.broadcast_to(jnp.asarray(option, wide), labels.shape).ravel()
      examples = examples._replace(**{name: option})
  constants = Constants(others_score.constants, label_score.constants, linked.constants)
  blocks = blocks_for(block_size, labels.size, num_columns, kernel.dtype)
  functions = others_score.call, label_score.call, linked.call
  weighs_targets = is_soft and class_weights is not None
  loss = Loss(blocks, *functions, axis_name, weighs_targets=weighs_targets)
  values = losses(loss, layer, constants, examples)
  values = jnp.where(examples.known, values, jnp.nan).reshape(batch)
  return values if ignored is None else jnp.where(ignored, 0, values)


def reference(
  features: jax.typing.ArrayLike,
  kernel: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  bias: jax.typing.ArrayLike | None = None,
  score: Score | None = None,
  margin: Margin | None = None,
  log_prior: jax.typing.ArrayLike | None = None,
  where: jax.typing.ArrayLike | None = None,
  **options: Any,
) -> jax.Array:
  """Compute what `linear_cross_entropy` computes, with all logits in memory.

  It has derivatives of every kind, and the margin is shown all logits. The further options are
  those of `cross_entropy`.
  """
  features, kernel, labels = jnp.asarray(features), jnp.asarray(kernel), as_labels(labels)
  scores = affine(features, kernel, bias)
  if margin is not None:
    lengths = {"feature_norms": norms(features, axis=-1), "kernel_norms": norms(kernel, axis=0)}
    scores = margin(scores, labels, lengths)
  if score is not None:
    scores = score(scores)
  if log_prior is not None:
    scores += per_class(log_prior, scores)
  scores = exclude(scores, where)
  # An impossible class is one thing however it is spelt: no smoothing falls on it.
  return cross_entropy(scores, labels, where=scores != -jnp.inf, **options)


def member_label_log_prob(
  features: jax.Array,
  kernel: jax.Array,
  labels: jax.Array,
  member: jax.Array,
  *,
  tile: tuple[int, int],
) -> jax.Array:
  """Compute the label's log-probability `[N]` under softmax; 0 for examples that are no members.

  How many examples are members is known only at run time, and shapes are fixed before it. So the
  members are sorted to the front, and blocks of examples without a member are skipped. Gradients
  are formed in the forward pass, and there are no second ones and no forward mode. The tile is that
  of `adaptive_softmax_label_log_prob`.
  """
  kernel = jnp.asarray(kernel)
  dtype = jnp.promote_types(features.dtype, kernel.dtype)
  order = jnp.argsort(~member, stable=True)
  values = losses(
    Loss(blocks_for(tile, len(labels), kernel.shape[1], dtype), known_first=True),
    Layer(kernel.astype(dtype)),
    Constants(),
    Examples(features[order].astype(dtype), labels[order], member[order]),
  )
  return -values[jnp.argsort(order)]


def blocks_for(block_size, num_examples: int, num_classes: int, dtype) -> Blocks:
  """Return blocks of the sizes that are asked for, or chosen ones."""
  if block_size is None or block_size == "lean":
    backend, lean = jax.default_backend(), block_size == "lean"
    return choose_blocks(num_examples, num_classes, dtype, backend=backend, lean=lean)
  otherwise = "'lean', or None for a choice by the number of classes, the type and the backend"
  check_sizes("block_size", block_size, f"(examples, classes), as (256, 8192), {otherwise}")
  examples, classes = block_size
  return Blocks(min(examples, num_examples), even_size(num_classes, classes), wide_type(dtype))


def _examples(
  features, layer: Layer, labels, num_classes: int, *, class_mask, uses_norms: bool, axis_name
) -> Examples:
  """Look up what the losses of N examples need to know of their labels."""
  kernel, log_prior, class_weights = layer.kernel, layer.log_prior, layer.class_weights
  num_columns, local = kernel.shape[1], labels
  if axis_name is not None:
    local = labels - num_columns * jax.lax.axis_index(axis_name).astype(labels.dtype)
  here = is_known(local, num_columns)

  def at_label(found):
    """Return what was found on the device that has the label; 0 for a label that none has."""
    found = jnp.where(here, found, 0)
    return found if axis_name is None else jax.lax.psum(found, axis_name)

  label_log_prior = None if log_prior is None else at_label(look_up(log_prior, local))
  if class_mask is not None:
    columns = jnp.clip(local, 0, num_columns - 1)[:, None]
    found = jnp.take_along_axis(class_mask.astype(jnp.int32), columns, axis=-1)[:, 0]
    prior = jnp.zeros((), kernel.dtype) if label_log_prior is None else label_log_prior
    label_log_prior = jnp.where(at_label(found) > 0, prior, -jnp.inf)
  return Examples(
    features,
    local,
    is_known(labels, num_classes),
    class_mask,
    norms(features, axis=-1) if uses_norms else None,
    at_label(look_up(norms(kernel, axis=0), local)) if uses_norms else None,
    label_log_prior,
    None if class_weights is None else at_label(look_up(class_weights, local)),
  )


def _num_shards(axis_name: str | None, features: jax.Array, kernel: jax.Array) -> int:
  """Return over how many devices the classes are sharded."""
  if axis_name is None:
    return 1
  if axis_name not in varying_axes(kernel) or axis_name in varying_axes(features):
    raise ValueError(
      f"Got axis_name={axis_name!r}; inside jax.shard_map with check_vma=True the kernel must be "
      "sharded over that axis and the features must not. Without a sharded kernel pass None."
    )
  return jax.lax.axis_size(axis_name)


def check_layer(
  features, kernel, bias=None, log_prior=None, where=None
) -> tuple[jax.Array, Layer, jax.Array | None]:
  """Return features and a layer of one floating type, and a mask of classes, after checking them.

  A mask that all examples share becomes a part of the prior.
  """
  kernel = jnp.asarray(kernel)
  features = check_features(features, kernel)
  wide, num_classes = wide_type(features, kernel), kernel.shape[1]
  if num_classes == 0:
    raise ValueError("Got a kernel of 0 classes; there must be at least one.")
  dtype = jnp.promote_types(features.dtype, kernel.dtype)
  dtype = dtype if jnp.issubdtype(dtype, jnp.floating) else wide
  bias = check_vector("bias", bias, num_classes, wide)
  log_prior = check_vector("log_prior", log_prior, num_classes, wide)
  class_mask = _check_class_mask(where, (*features.shape[:-1], num_classes))
  if class_mask is not None and len(class_mask) == 1:
    log_prior = jnp.where(class_mask[0], 0 if log_prior is None else log_prior, -jnp.inf)
    class_mask = None
  return features.astype(dtype), Layer(kernel.astype(dtype), bias, log_prior), class_mask


def check_vector(name: str, values, num_classes: int, dtype) -> jax.Array | None:
  """Return one number a class, `[K]`, in a type; raise a ValueError for another shape."""
  if values is None:
    return None
  check_per_class(name, values, num_classes)
  return jnp.asarray(values).astype(dtype)


def _check_class_mask(where, shape: tuple[int, ...]) -> jax.Array | None:
  """Return a mask of classes as `[1, K]`, or as `[N, K]` if it differs between the N examples."""
  if where is None:
    return None
  where = jnp.asarray(where, bool)
  if not broadcasts_to(where.shape, shape):
    raise ValueError(f"Got where of shape {where.shape}; it must broadcast to {shape}.")
  if all(size == 1 for size in where.shape[:-1]):
    return jnp.broadcast_to(where.reshape(1, -1), (1, shape[-1]))
  return jnp.broadcast_to(where, shape).reshape(math.prod(shape[:-1]), shape[-1])


def hoist_scores(
  score: Score | None, margin: Margin | None, dtype: jnp.dtype, axes: frozenset[str], axis_name
) -> tuple[Hoisted, Hoisted]:
  """Return the scores of other classes and of labels as functions of constants and arguments.

  The latter have three: logits, the features' norms and those of the labels' columns.
  """

  def others_score(logit):
    result = score(logit)
    if np.shape(result) != ():
      raise ValueError(
        f"Got a score that makes an array of shape {np.shape(result)} of a number; it must be "
        "elementwise. For numbers that differ between classes use bias or log_prior."
      )
    return result

  def label_score(logit, feature_norm, kernel_norm):
    if margin is not None:
      lengths = {"feature_norms": feature_norm, "kernel_norms": kernel_norm[None]}
      logits = margin(logit[None], jnp.zeros((), jnp.int32), lengths)
      if np.shape(logits) != (1,):
        raise ValueError(
          f"Got a margin that makes logits of shape {np.shape(logits)} of those of shape (1,); it "
          "must change the label's logit alone, and not differ between examples or classes."
        )
      logit = logits[0]
    return logit if score is None else others_score(logit)

  others = label = Hoisted(None, (), [])
  if score is not None:
    others = hoist(others_score, dtype, axes=axes)
    check_elementwise("score", score, dtype, "What looks at several logits cannot stream.")
  if score is not None or margin is not None:
    label = hoist(label_score, dtype, num_arguments=3, axes=axes - {axis_name})
  return others, label
