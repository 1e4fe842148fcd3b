"""Closures: what a function closes over, handed to it instead as arguments."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core


class Constants(NamedTuple):
  """Hold what a function closed over.

  Attributes:
    floats: what may have a gradient.
    others: what has none: integers, booleans, random keys.
  """

  floats: list[jax.Array]
  others: list[jax.Array]


class Hoisted(NamedTuple):
  """Hold a function whose closed-over tracers have become its first argument.

  Attributes:
    call: `(constants, *arguments) -> result`.
    constants: the tracers that the function closed over.
    uses: for each argument, whether the result depends on it.
    shape: the result's shape and type.
  """

  call: Callable[..., jax.Array]
  constants: Constants
  uses: list[bool]
  shape: jax.ShapeDtypeStruct


def hoist(function: Callable[..., jax.Array], arguments: Sequence[Any]) -> Hoisted:
  r"""Make what a function closes over explicit.

  A custom rule of differentiation must not close over tracers: it runs after they are gone, and
  knows of no gradient that they should get. So a learned temperature in a score, or the step of
  training in a margin, has to come in by the front door.

  Args:
    function: of arrays, with one array as its result.
    arguments: shapes and types of its arguments, as `jax.ShapeDtypeStruct`; it is called with
      such arguments alone. Batch it with `jax.vmap`.

  Returns:
    The function of its constants and arguments.

  Example:
    >>> import jax
    >>> number = jax.ShapeDtypeStruct((), jax.numpy.float32)
    >>> def scaled(temperature):
    ...   hoisted = hoist(lambda logit: logit / temperature, [number])
    ...   return hoisted.call(hoisted.constants, jax.numpy.float32(3.0))
    >>> jax.jit(scaled)(2.0)
    Array(1.5, dtype=float32)
  """
  closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
  read = {id(var) for var in closed.jaxpr.outvars}
  for eqn in reversed(closed.jaxpr.eqns):
    if any(id(var) in read for var in eqn.outvars):
      read |= {id(var) for var in eqn.invars}
  uses = [id(var) in read for var in closed.jaxpr.invars]
  tracers = [i for i, value in enumerate(closed.consts) if isinstance(value, jax.core.Tracer)]
  if not tracers:
    return Hoisted(lambda constants, *values: function(*values), Constants([], []), uses, shape)
  is_float = {i: jnp.issubdtype(closed.consts[i].dtype, jnp.floating) for i in tracers}
  floats = [i for i in tracers if is_float[i]]
  others = [i for i in tracers if not is_float[i]]

  def call(constants: Constants, *values: jax.Array) -> jax.Array:
    consts = list(closed.consts)
    for places, given in ((floats, constants.floats), (others, constants.others)):
      for place, value in zip(places, given, strict=True):
        consts[place] = value
    (result,) = core.jaxpr_as_fun(core.ClosedJaxpr(closed.jaxpr, consts))(*values)
    return result

  constants = Constants(
    [closed.consts[place] for place in floats], [closed.consts[place] for place in others]
  )
  return Hoisted(call, constants, uses, shape)
