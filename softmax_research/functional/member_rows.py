"""Label log-probabilities for some rows of a batch: blocks of other rows cost nothing."""

import jax
import jax.numpy as jnp

from softmax_research.functional.linear_cross_entropy_blocks import Layer, even_size
from softmax_research.functional.linear_cross_entropy_rule import (
  Facts,
  Fixed,
  Options,
  Plan,
  Rows,
  losses,
)


def member_label_log_prob(
  features: jax.Array,
  kernel: jax.Array,
  labels: jax.Array,
  member: jax.Array,
  *,
  tile: tuple[int, int],
) -> jax.Array:
  r"""Compute the label's log-probability under softmax for the rows that are members.

  .. math:: \log p_y = z_y - \log \sum_k e^{z_k}, \qquad z = h W

  How many rows are members is known only at run time, and shapes are fixed before it. So the
  members are sorted to the front, the rows taken in blocks, and blocks without a member skipped.
  The rest is `linear_cross_entropy`: gradients are formed in the forward pass, and there are no
  second ones and no forward mode.

  Args:
    features: h, `[N, D]`.
    kernel: W, `[D, K]`.
    labels: integers `[N]`, in range for the members.
    member: booleans `[N]`.
    tile: how many rows make a block, and how many classes are computed together. The logits of
      a block's rows stand in memory, those of all classes.

  Returns:
    Log-probabilities in nats, `[N]`, in float32 or wider; 0 for the other rows.

  Example:
    >>> import jax.numpy as jnp
    >>> features, kernel = jnp.zeros((2, 3)), jnp.zeros((3, 4))
    >>> labels, member = jnp.array([3, 0]), jnp.array([True, False])
    >>> jnp.exp(member_label_log_prob(features, kernel, labels, member, tile=(1, 2))).round(4)
    Array([0.25, 1.  ], dtype=float32)
  """
  features, labels, member = jnp.asarray(features), jnp.asarray(labels), jnp.asarray(member)
  wide = jnp.promote_types(jnp.result_type(features, kernel), jnp.float32)
  order, num_classes, none = jnp.argsort(~member, stable=True), kernel.shape[1], jnp.zeros((), wide)
  value = losses(
    Plan(
      score=None,
      margin=None,
      smooth=False,
      examples=min(tile[0], len(labels)),
      classes=even_size(num_classes, tile[1]),
      axis_name=None,
      known_first=True,
    ),
    Layer(kernel, None, None, None),
    features[order],
    Rows(None, None, None),
    Options(none, none, [], []),
    Facts(labels[order], member[order], None, jnp.full(labels.shape, num_classes), None),
    Fixed([], []),
  )
  return jnp.where(member, -value[jnp.argsort(order)], 0)
