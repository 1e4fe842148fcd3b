"""Linear cross-entropy: the loss of a dense output layer without all of its logits in memory."""

import jax
import jax.numpy as jnp

from softmax_research.functional.arguments import check_at_least, check_fraction
from softmax_research.functional.cross_entropy import cross_entropy
from softmax_research.functional.layer import (
  check_class_labels,
  check_features,
  norms,
  product,
)
from softmax_research.functional.linear_cross_entropy_blocks import Layer, block_sizes, even_size
from softmax_research.functional.linear_cross_entropy_operands import (
  Margin,
  Score,
  check_block_size,
  check_num_classes,
  check_vector,
  check_where,
  hoist_margin,
  hoist_score,
  num_shards,
  prepare_rows,
)
from softmax_research.functional.linear_cross_entropy_rule import Fixed, Options, Plan, losses
from softmax_research.functional.mesh import has_explicit_mesh


def linear_cross_entropy(
  features: jax.typing.ArrayLike,
  kernel: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  bias: jax.typing.ArrayLike | None = None,
  score: Score | None = None,
  margin: Margin | None = None,
  log_prior: jax.typing.ArrayLike | None = None,
  label_smoothing: jax.typing.ArrayLike = 0.0,
  z_loss: jax.typing.ArrayLike = 0.0,
  where: jax.typing.ArrayLike | None = None,
  block_size: tuple[int, int] | None = None,
  axis_name: str | None = None,
) -> jax.Array:
  r"""Compute the cross-entropy of a dense output layer, a block of examples at a time.

  .. math::
    \ell = -\log \frac{e^{s_y}}{\sum_k e^{s_k}}, \qquad
    s_k = \mathrm{score}(z'_k) + \log \pi_k, \qquad
    z' = \mathrm{margin}(z, y), \qquad z = x W + b

  It is `cross_entropy(score(margin(features @ kernel + bias, labels)) + log_prior, labels)`, and
  its memory does not grow with the number of examples. Under differentiation the gradients of a
  block are formed while its logits are there, so that no product is computed twice. To know them
  before the losses' cotangent is known they are formed for a cotangent of one and scaled later,
  which is exact for a sum or a mean of the losses. Any other combination of the losses is exact
  too, but its gradient costs two products more, of then five. Examples whose label is out of
  range have no gradient and may be left out of a sum at no cost.

  Inside `jax.shard_map` each device may hold some of the classes: name their mesh axis. Examples
  may be sharded over other axes. Under `jax.jit` alone, with a kernel sharded over classes, pass
  all classes as the block, or devices exchange the kernel.

  There are no second derivatives and no forward mode; both are refused.

  Args:
    features: x, `[..., D]`.
    kernel: W, `[D, K]`.
    labels: integers `[...]`.
    bias: b, `[K]`.
    score: logits to scores, elementwise, as `taylor_score`; the identity by default.
    margin: `(logits [..., K], labels [...], norms) -> logits`, where `norms` holds the keyword
      arguments `feature_norms` and `kernel_norms` of `large_margin`. It must change the label's
      logit alone, and is shown that alone, as the only class, one example at a time.
    log_prior: logarithms of class frequencies, `[K]`, added to the scores.
    label_smoothing: in [0, 1); see `cross_entropy`.
    z_loss: at least 0; see `cross_entropy`.
    where: booleans `[K]`, or any that broadcast to `[..., K]`; false excludes a class.
    block_size: how many examples and how many classes are computed together, by default chosen by
      K. The logits of so many examples stand in memory, those of all classes. Neither number
      need divide anything.
    axis_name: the mesh axis over which kernel, bias, prior and mask are sharded, inside
      `jax.shard_map`. Labels number the classes of all devices, in the order of the devices.

  Returns:
    Losses in nats, `[...]`, in float32 or the wider type of features and kernel; so are all sums,
    and the gradients have the types of the arguments. NaN for a label out of range, infinite for
    a label whose class is impossible.

  Raises:
    ValueError: a shape does not fit, an option is out of range, there are 2^31 classes or more,
      or the score or the margin is none.
    TypeError: the labels are not integers.
    NotImplementedError: it is differentiated twice.

  Example:
    >>> import jax
    >>> features, kernel = jax.numpy.ones((3, 2)), jax.numpy.zeros((2, 4))
    >>> labels = jax.numpy.array([0, 3, 4])
    >>> linear_cross_entropy(features, kernel, labels).round(4)
    Array([1.3863, 1.3863,    nan], dtype=float32)

  Reference:
    Wijmans et al. 2024, "Cut Your Losses in Large-Vocabulary Language Models"
    (arXiv 2411.09009), and Hsu et al. 2024, "Liger Kernel" (arXiv 2410.10989), whose gradients
    too are formed in the forward pass.
  """
  kernel = jnp.asarray(kernel)
  features = check_features(features, kernel)
  num_columns, batch = kernel.shape[1], features.shape[:-1]
  num_classes = num_columns * num_shards(axis_name, features, kernel)
  check_num_classes(num_classes)
  labels = check_class_labels(
    labels, features, num_classes, "For distributions over classes use cross_entropy on logits."
  )
  check_fraction("label_smoothing", label_smoothing)
  check_at_least("z_loss", z_loss, 0, "Pass 0 to switch it off.")
  check_block_size(block_size)
  bias = check_vector("bias", bias, num_columns)
  log_prior = check_vector("log_prior", log_prior, num_columns)
  mask = check_where(where, (*batch, num_columns))

  wide = jnp.promote_types(jnp.result_type(features, kernel), jnp.float32)
  score_of, margin_of = hoist_score(score, wide), hoist_margin(margin, wide)
  if labels.size == 0:
    return jnp.zeros(batch, wide)
  if has_explicit_mesh(features) or has_explicit_mesh(kernel):
    # No blocks can be cut out of axes whose sharding is part of the type.
    logits = product(features, kernel) + (0 if bias is None else bias)
    if margin is not None:
      lengths = {"feature_norms": norms(features, axis=-1), "kernel_norms": norms(kernel, axis=0)}
      logits = margin(logits, labels, lengths)
    scores = (logits if score is None else score(logits)) + (0 if log_prior is None else log_prior)
    options = {"label_smoothing": label_smoothing, "z_loss": z_loss, "where": where}
    return cross_entropy(scores, labels, **options).astype(wide)

  examples, classes = block_size or block_sizes(labels.size, num_columns)
  rows, facts = prepare_rows(
    features.reshape(-1, features.shape[-1]),
    kernel,
    labels.ravel(),
    num_classes,
    log_prior=log_prior,
    mask=mask,
    uses_norms=any(margin_of.uses[1:]),
    axis_name=axis_name,
  )
  value = losses(
    Plan(
      score=score_of.call,
      margin=margin_of.call,
      smooth=not (isinstance(label_smoothing, int | float) and label_smoothing == 0),
      examples=min(examples, labels.size),
      classes=even_size(num_columns, classes),
      axis_name=axis_name,
    ),
    Layer(kernel, bias, log_prior, None if facts.mask is not None else mask),
    features.reshape(-1, features.shape[-1]),
    rows,
    Options(
      jnp.asarray(label_smoothing, wide),
      jnp.asarray(z_loss, wide),
      score_of.constants.floats,
      margin_of.constants.floats,
    ),
    facts,
    Fixed(score_of.constants.others, margin_of.constants.others),
  )
  return value.reshape(batch)
