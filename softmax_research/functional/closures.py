"""Closures: the tracers that an elementwise function closes over, handed to it as arguments."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core

from softmax_research.functional.mesh import vary


class Hoisted(NamedTuple):
  """Hold an elementwise function whose closed-over tracers have become its first argument.

  Attributes:
    call: `(constants, *arguments) -> result`, for arguments of any one shape.
    constants: the tracers that the function closed over.
    uses: for each argument, whether the result depends on it.
  """

  call: Callable[..., jax.Array]
  constants: tuple[jax.Array, ...]
  uses: list[bool]


def hoist(
  function: Callable[..., jax.Array],
  dtype: jnp.dtype,
  *,
  num_arguments: int = 1,
  axes: frozenset[str] = frozenset(),
) -> Hoisted:
  r"""Make what an elementwise function closes over explicit.

  A custom rule of differentiation must not close over tracers: it runs after they are gone, and
  knows of no gradient that they should get. So a learned temperature in a score, or the step of
  training in a margin, has to come in by the front door.

  Args:
    function: `(*numbers) -> number`; it is called with scalars alone.
    dtype: the type of its arguments.
    num_arguments: how many it has.
    axes: the mesh axes over which its arguments vary, inside `jax.shard_map`.

  Returns:
    The function of its constants and arguments.

  Example:
    >>> import jax
    >>> def scaled(temperature):
    ...   hoisted = hoist(lambda logit: logit / temperature, jnp.float32)
    ...   return hoisted.call(hoisted.constants, jnp.array([3.0, 4.0]))
    >>> jax.jit(scaled)(2.0)
    Array([1.5, 2. ], dtype=float32)
  """
  scalars = [vary(jnp.zeros((), dtype), axes)] * num_arguments
  closed = jax.make_jaxpr(function)(*scalars)
  read = {id(var) for var in closed.jaxpr.outvars}
  for eqn in reversed(closed.jaxpr.eqns):
    if any(id(var) in read for var in eqn.outvars):
      read |= {id(var) for var in eqn.invars}

  traced = [i for i, value in enumerate(closed.consts) if isinstance(value, jax.core.Tracer)]

  def on_scalars(constants: Sequence[jax.Array], *values: jax.Array) -> jax.Array:
    if not traced:
      return function(*values)
    consts = list(closed.consts)
    for i, constant in zip(traced, constants, strict=True):
      consts[i] = constant
    (result,) = core.jaxpr_as_fun(core.ClosedJaxpr(closed.jaxpr, consts))(*values)
    return result

  def call(constants: Sequence[jax.Array], *values: jax.Array) -> jax.Array:
    batched = on_scalars
    for _ in range(values[0].ndim):
      batched = jax.vmap(batched, in_axes=(None, *[0] * num_arguments))
    return batched(constants, *vary(values, axes))

  return Hoisted(
    call,
    # Under differentiation outside of `jax.jit` a tracer may stand for a Python number.
    tuple(jnp.asarray(closed.consts[i]) for i in traced),
    [id(var) in read for var in closed.jaxpr.invars],
  )
