"""Parameters of a tree softmax: rows of a kernel and a bias, one for each choice."""

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional.mesh import has_explicit_mesh
from softmax_research.functional.tree import Tree


def tree_init(key: jax.Array, num_features: int, tree: Tree) -> dict[str, jax.Array]:
  r"""Draw the parameters of a tree softmax.

  A binary tree has one row for each inner node, any other one for each node but the root; the
  rows follow the order of the nodes. A flat tree's rows are the classes' in their order.

  Args:
    key: a random key.
    num_features: D.
    tree: the tree, with R = `tree.num_rows`.

  Returns:
    `{"kernel": [R, D], "bias": [R]}` in float32: a kernel of variance 1 / D, and zeros.

  Example:
    >>> import jax
    >>> from softmax_research.functional import balanced_tree
    >>> tree_init(jax.random.key(0), 5, balanced_tree(4))["kernel"].shape
    (3, 5)
  """
  kernel = jax.random.normal(key, (tree.num_rows, num_features), jnp.float32)
  return {"kernel": kernel / np.sqrt(num_features), "bias": jnp.zeros(tree.num_rows)}


def check_tree_inputs(
  features: jax.typing.ArrayLike, params: dict[str, jax.Array], num_rows: int
) -> tuple[jax.Array, dict[str, jax.Array], jnp.dtype]:
  """Return features and parameters as arrays, and the result's type, after checking the shapes.

  Args:
    features: `[..., D]`.
    params: `{"kernel": [R, D], "bias": [R]}`.
    num_rows: R.

  Returns:
    The features in the type of sums, float32 or wider; the parameters; and the type that the two
    promote to.

  Raises:
    ValueError: the shapes do not fit.

  Example:
    >>> import jax.numpy as jnp
    >>> params = {"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(3)}
    >>> check_tree_inputs(jnp.ones(2, jnp.bfloat16), params, 3)[2].name
    'float32'
  """
  features = jnp.asarray(features)
  params = {name: jnp.asarray(params[name]) for name in ("kernel", "bias")}
  shapes = params["kernel"].shape, params["bias"].shape
  if features.ndim == 0 or shapes != ((num_rows, features.shape[-1]), (num_rows,)):
    raise ValueError(
      f"Got features of shape {features.shape}, a kernel of {shapes[0]} and a bias of "
      f"{shapes[1]}; with features [..., D] they must be [{num_rows}, D] and [{num_rows}]."
    )
  result_type = jnp.result_type(features, params["kernel"])
  wide = jnp.promote_types(result_type, jnp.float32)
  return features.astype(wide), params, result_type


def row_logits(features: jax.Array, rows: dict[str, jax.Array]) -> jax.Array:
  r"""Compute the logits of some rows of the parameters.

  .. math:: z_l = w_l^\top x + b_l

  Args:
    features: `[..., D]`, in the type of sums.
    rows: `{"kernel": [L, D], "bias": [L]}`, or with each example's own rows `[..., L, D]` and
      `[..., L]`.

  Returns:
    Logits `[..., L]` in the type of the features.

  Example:
    >>> import jax.numpy as jnp
    >>> row_logits(jnp.ones(2), {"kernel": jnp.eye(2), "bias": jnp.array([0.0, 1.0])})
    Array([1., 2.], dtype=float32)
  """
  equation = "...d,ld->...l" if rows["kernel"].ndim == 2 else "...d,...ld->...l"
  product = jnp.einsum(equation, features, rows["kernel"], preferred_element_type=features.dtype)
  return product + rows["bias"].astype(features.dtype)


def take_rows(params: dict[str, jax.Array], indices: jax.Array) -> dict[str, jax.Array]:
  """Take rows of the parameters, sharded as the indices are.

  Args:
    params: `{"kernel": [R, D], "bias": [R]}`.
    indices: integers of any shape; clipped to the rows.

  Returns:
    `{"kernel": [..., D], "bias": [...]}` for the indices `[...]`.

  Example:
    >>> import jax.numpy as jnp
    >>> params = {"kernel": jnp.eye(3), "bias": jnp.array([5.0, 6.0, 7.0])}
    >>> take_rows(params, jnp.array([2, 0]))["bias"].tolist()
    [7.0, 5.0]
  """

  def take(values):
    sharding = None
    if has_explicit_mesh(indices):
      given = jax.typeof(indices).sharding
      spec = jax.sharding.PartitionSpec(*given.spec, *[None] * (values.ndim - 1))
      sharding = jax.sharding.NamedSharding(given.mesh, spec)
    return values.at[indices].get(mode="clip", out_sharding=sharding)

  return {name: take(values) for name, values in params.items()}


def take_runs(params: dict[str, jax.Array], starts: jax.Array, size: int) -> dict[str, jax.Array]:
  """Take runs of consecutive rows of the parameters, sharded as their starts are.

  Args:
    params: `{"kernel": [R, D], "bias": [R]}`.
    starts: integers of any shape, at most R - size.
    size: how many rows a run has.

  Returns:
    `{"kernel": [..., size, D], "bias": [..., size]}` for the starts `[...]`.

  Example:
    >>> import jax.numpy as jnp
    >>> params = {"kernel": jnp.eye(3), "bias": jnp.array([5.0, 6.0, 7.0])}
    >>> take_runs(params, jnp.array([1, 0]), 2)["bias"].tolist()
    [[6.0, 7.0], [5.0, 6.0]]
  """
  if has_explicit_mesh(starts):
    return take_rows(params, starts[..., None] + jnp.arange(size))

  # Copied as one slice, a run of hundreds of rows is taken several times as fast as row by row.
  def take(values):
    cut = jax.vmap(lambda start: jax.lax.dynamic_slice_in_dim(values, start, size))
    return cut(starts.ravel()).reshape(*starts.shape, size, *values.shape[1:])

  return {name: take(values) for name, values in params.items()}
