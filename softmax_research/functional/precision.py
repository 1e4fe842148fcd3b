"""Precision: arithmetic in float32 or wider, results in the type of the input."""

import jax
import jax.numpy as jnp


def wide_type(*arrays: jax.typing.ArrayLike) -> jnp.dtype:
  r"""Return the type in which sums over some arrays are taken: float32, or wider if one is.

  Example:
    >>> import jax.numpy as jnp
    >>> wide_type(jnp.ones(2, jnp.bfloat16), jnp.ones(2, jnp.float16)).name
    'float32'
  """
  # Widening loses nothing, so that it is right under strict promotion too.
  with jax.numpy_dtype_promotion("standard"):
    return jnp.promote_types(jnp.result_type(*arrays), jnp.float32)


def widen(values: jax.typing.ArrayLike) -> tuple[jax.Array, jnp.dtype]:
  r"""Return the values in a type fit for arithmetic, and the type for the result.

  float16 and bfloat16 widen to float32, because sums and polynomials lose digits or overflow
  in them; integers and booleans become the default float. float32 and float64 stay.

  Args:
    values: any array-like of real numbers.

  Returns:
    The widened array, and the floating type in which a result should be handed back.

  Raises:
    TypeError: the values are complex.

  Example:
    >>> import jax.numpy as jnp
    >>> wide, narrow = widen(jnp.ones(2, jnp.bfloat16))
    >>> wide.dtype.name, narrow.name
    ('float32', 'bfloat16')
  """
  values = jnp.asarray(values)
  if jnp.issubdtype(values.dtype, jnp.complexfloating):
    raise TypeError(f"Got values of type {values.dtype}; softmax needs real numbers.")
  if not jnp.issubdtype(values.dtype, jnp.floating):
    values = values.astype(jnp.result_type(float))
  result_type = values.dtype
  return values.astype(wide_type(values)), result_type
