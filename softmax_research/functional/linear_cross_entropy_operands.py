"""Operands of a linear cross-entropy: arguments checked, closures opened, labels looked up."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from softmax_research.functional.closures import Constants, Hoisted, hoist
from softmax_research.functional.labels import is_known
from softmax_research.functional.layer import look_up, norms
from softmax_research.functional.linear_cross_entropy_rule import Facts, Rows
from softmax_research.functional.varying import varying_axes

Score = Callable[[jax.Array], jax.Array]
Margin = Callable[[jax.Array, jax.Array, dict[str, jax.Array]], jax.Array]

_NONE = Hoisted(None, Constants([], []), [], None)


def num_shards(axis_name: str | None, features: jax.Array, kernel: jax.Array) -> int:
  """Return over how many devices the classes are sharded.

  Args:
    axis_name: the mesh axis, inside `jax.shard_map`, or None.
    features: `[..., D]`; only its type is used.
    kernel: `[D, K]`; only its type is used.

  Returns:
    The size of the axis, 1 for None.

  Raises:
    ValueError: on that axis the kernel is not sharded, or the features are.

  Example:
    >>> import jax.numpy as jnp
    >>> num_shards(None, jnp.zeros(2), jnp.zeros((2, 3)))
    1
  """
  if axis_name is None:
    return 1
  if axis_name not in varying_axes(kernel) or axis_name in varying_axes(features):
    raise ValueError(
      f"Got axis_name={axis_name!r}; inside jax.shard_map with check_vma=True the kernel must be "
      "sharded over that axis and the features must not. Without a sharded kernel pass None."
    )
  return jax.lax.axis_size(axis_name)


def check_num_classes(num_classes: int) -> None:
  """Raise a ValueError unless int32 can number the classes.

  Example:
    >>> check_num_classes(10)
  """
  if not 1 <= num_classes < 2**31:
    raise ValueError(
      f"Got a kernel of {num_classes} classes; there must be at least one and fewer than 2^31. "
      "Use a tree or an adaptive softmax for more."
    )


def check_block_size(block_size: tuple[int, int] | None) -> None:
  """Raise a ValueError unless the block's size is None or two positive integers.

  Example:
    >>> check_block_size((256, 8192))
  """
  if block_size is None:
    return
  if (
    not isinstance(block_size, tuple)
    or len(block_size) != 2
    or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in block_size)
  ):
    raise ValueError(
      f"Got block_size={block_size!r}; it must be (examples, classes), as (256, 8192), or None "
      "for a choice by the number of classes."
    )


def check_vector(
  name: str, values: jax.typing.ArrayLike | None, num_columns: int
) -> jax.Array | None:
  """Return one number a class as an array, after checking the shape.

  Args:
    name: the argument's name, for the message.
    values: `[K]`, or None.
    num_columns: K.

  Returns:
    The array, or None.

  Raises:
    ValueError: the shape is another.

  Example:
    >>> check_vector("bias", [1.0, 2.0], 2).shape
    (2,)
  """
  if values is None:
    return None
  values = jnp.asarray(values)
  if values.shape != (num_columns,):
    raise ValueError(
      f"Got {name} of shape {values.shape} for a kernel of {num_columns} columns; it must "
      f"have shape ({num_columns},)."
    )
  return values


def check_where(where: jax.typing.ArrayLike | None, shape: tuple[int, ...]) -> jax.Array | None:
  """Return a mask of classes as `[1, K]`, or as `[N, K]` if it differs between the N examples.

  Args:
    where: booleans that broadcast to the shape, or None.
    shape: `(..., K)`.

  Returns:
    The mask, or None.

  Raises:
    ValueError: it does not broadcast.

  Example:
    >>> check_where([True, False], (3, 4, 2)).shape
    (1, 2)
  """
  if where is None:
    return None
  where = jnp.asarray(where, bool)
  try:
    fits = jnp.broadcast_shapes(where.shape, shape) == shape
  except ValueError:
    fits = False
  if not fits:
    raise ValueError(f"Got where of shape {where.shape}; it must broadcast to {shape}.")
  shared = all(size == 1 for size in where.shape[:-1])
  where = jnp.broadcast_to(where, (1, shape[-1]) if shared else shape)
  return where.reshape(-1, shape[-1])


def hoist_score(score: Score | None, dtype: jnp.dtype) -> Hoisted:
  """Return `(constants, logits) -> scores` for logits of any shape; None in it without a score.

  Raises:
    ValueError: the score is not elementwise.

  Example:
    >>> import jax.numpy as jnp
    >>> doubled = hoist_score(lambda logits: 2 * logits, jnp.float32)
    >>> doubled.call(doubled.constants, jnp.ones(2))
    Array([2., 2.], dtype=float32)
  """
  if score is None:
    return _NONE
  hoisted = hoist(score, [jax.ShapeDtypeStruct((), dtype)])
  if hoisted.shape.shape != ():
    raise ValueError(
      f"Got a score that makes an array of shape {hoisted.shape.shape} of a number; it must be "
      "elementwise. For numbers that differ between classes use bias or log_prior."
    )
  if not any(hoisted.constants):
    return hoisted

  def call(constants: Constants, logits: jax.Array) -> jax.Array:
    function = hoisted.call
    for _ in range(logits.ndim):
      function = jax.vmap(function, in_axes=(None, 0))
    return function(constants, logits)

  return hoisted._replace(call=call)


def hoist_margin(margin: Margin | None, dtype: jnp.dtype) -> Hoisted:
  """Return `(constants, logits, feature_norms, kernel_norms) -> logits` at labels, each `[N]`.

  Norms that it does not use may be None.

  Raises:
    ValueError: the margin does not make one logit of one.

  Example:
    >>> import jax.numpy as jnp
    >>> lower = hoist_margin(lambda logits, labels, norms: logits - 1, jnp.float32)
    >>> lower.call(lower.constants, jnp.ones(2), None, None), lower.uses
    (Array([0., 0.], dtype=float32), [True, False, False])
  """
  if margin is None:
    return _NONE

  def at_label(logit: jax.Array, feature_norm: jax.Array, kernel_norm: jax.Array) -> jax.Array:
    lengths = {"feature_norms": feature_norm, "kernel_norms": kernel_norm[None]}
    logits = margin(logit[None], jnp.zeros((), jnp.int32), lengths)
    if jnp.shape(logits) != (1,):
      raise ValueError(
        f"Got a margin that makes logits of shape {jnp.shape(logits)} of those of shape (1,); it "
        "must change the label's logit alone, and not differ between examples or classes."
      )
    return logits[0]

  hoisted = hoist(at_label, [jax.ShapeDtypeStruct((), dtype)] * 3)

  def call(constants, logits, feature_norms, kernel_norms):
    lengths = [jnp.zeros_like(logits) if n is None else n for n in (feature_norms, kernel_norms)]
    return jax.vmap(hoisted.call, in_axes=(None, 0, 0, 0))(constants, logits, *lengths)

  return hoisted._replace(call=call)


def prepare_rows(
  features: jax.Array,
  kernel: jax.Array,
  labels: jax.Array,
  num_classes: int,
  *,
  log_prior: jax.Array | None,
  mask: jax.Array | None,
  uses_norms: bool,
  axis_name: str | None,
) -> tuple[Rows, Facts]:
  """Look up what the losses of N examples need to know of their labels.

  Args:
    features: `[N, D]`.
    kernel: `[D, K]`, this device's columns.
    labels: integers `[N]`.
    num_classes: that of all devices.
    log_prior: `[K]`.
    mask: booleans `[1, K]` or `[N, K]`.
    uses_norms: whether a margin asks for norms.
    axis_name: the mesh axis over which the classes are sharded.

  Returns:
    What has a gradient, and what has none.

  Example:
    >>> import jax.numpy as jnp
    >>> options = {"log_prior": jnp.arange(4.0), "mask": None}
    >>> rows, facts = prepare_rows(
    ...   jnp.ones((2, 3)), jnp.ones((3, 4)), jnp.array([2, 9]), 4, **options, uses_norms=False,
    ...   axis_name=None,
    ... )
    >>> rows.log_prior.tolist(), facts.known.tolist()
    ([2.0, 0.0], [True, False])
  """
  num_columns, known = kernel.shape[1], is_known(labels, num_classes)
  local = labels
  if axis_name is not None:
    local = labels - num_columns * jax.lax.axis_index(axis_name).astype(labels.dtype)
  here = is_known(local, num_columns)

  def at_label(values):
    """Look values `[K]` or `[N, K]` up at the labels; 0 for a label that no device has."""
    if values is None:
      return None
    values = values[0] if values.shape[0] == 1 and values.ndim == 2 else values
    if values.ndim == 1:
      found = look_up(values, local)
    else:
      columns = jnp.clip(local, 0, num_columns - 1)[:, None]
      found = jnp.take_along_axis(values, columns, axis=-1)[:, 0]
    return _sum_over(jnp.where(here, found, 0), axis_name)

  rows = Rows(
    feature_norm=norms(features, axis=-1) if uses_norms else None,
    kernel_norm=at_label(norms(kernel, axis=0)) if uses_norms else None,
    log_prior=at_label(log_prior),
  )
  if mask is None:
    return rows, Facts(local, known, None, jnp.full(labels.shape, num_classes), None)
  count = _sum_over(jnp.sum(mask, axis=-1, dtype=jnp.int32), axis_name)
  facts = Facts(
    label=local,
    known=known,
    possible=at_label(mask.astype(jnp.int32)) > 0,
    count=jnp.broadcast_to(count, labels.shape),
    mask=mask if len(mask) > 1 else None,
  )
  return rows, facts


def _sum_over(values: jax.Array, axis_name: str | None) -> jax.Array:
  return values if axis_name is None else jax.lax.psum(values, axis_name)
