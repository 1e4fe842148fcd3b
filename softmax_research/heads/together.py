"""Heads together: members of a group, of which a number says which one acts."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from softmax_research.heads.head import Head


def together(members: Sequence[Head]) -> Callable[[jax.typing.ArrayLike], Head]:
  r"""Return the function from a member's number to the member, for numbers inside of a program.

  So runs that differ by a margin, an order or a temperature are one program under `jax.vmap`: each
  has a number of its own. There every member is computed for every run, and one is taken; under
  `jax.lax.map` only the one.

  Args:
    members: heads whose parameters have the same names and shapes.

  Returns:
    `number -> Head`; the number may be traced.

  Raises:
    ValueError: there is no member, or, when parameters are made, theirs differ.

  Example:
    >>> from softmax_research import heads
    >>> head_of = together([heads.make("sm", 3, margin=m) for m in (0.0, 0.5)])
    >>> params = head_of(0).init(jax.random.key(0), 4)
    >>> losses = jax.vmap(lambda i: head_of(i).loss(params, jnp.ones(4), jnp.array(1)))
    >>> bool(losses(jnp.arange(2))[0] < losses(jnp.arange(2))[1])
    True
  """
  if not members:
    raise ValueError("Got no members; give at least one head.")

  def head_of(number: jax.typing.ArrayLike) -> Head:
    def init(key, num_features):
      check_alike(members, num_features)
      return _switch(number, [lambda k, m=m: m.init(k, num_features) for m in members], key)

    def loss(params, features, labels, *, step=0, key=None):
      def branch(member):
        return lambda *inputs: member.loss(*inputs[:3], step=inputs[3], key=inputs[4])

      return _switch(number, [branch(m) for m in members], params, features, labels, step, key)

    def log_prob(params, features):
      return _switch(number, [m.log_prob for m in members], params, features)

    return Head(init, loss, log_prob)

  return head_of


def parameter_shapes(head: Head, num_features: int) -> Any:
  """Return names, shapes and types of a head's parameters, to be compared.

  Example:
    >>> from softmax_research import heads
    >>> parameter_shapes(heads.dense(3), 4) == parameter_shapes(heads.make("taylor", 3), 4)
    True
  """
  shapes = jax.eval_shape(lambda: head.init(jax.random.key(0), num_features))
  return [(jax.tree_util.keystr(p), s.shape, s.dtype) for p, s in jax.tree.leaves_with_path(shapes)]


def check_alike(members: Sequence[Head], num_features: int) -> None:
  """Raise a ValueError unless the parameters of all members have the same shapes."""
  first, *rest = (parameter_shapes(member, num_features) for member in members)
  for i, other in enumerate(rest, 1):
    if other != first:
      raise ValueError(
        f"Got heads 0 and {i} with the parameters {_say(first)} and {_say(other)}; in one program "
        "all have the same. Train them one after another."
      )


def _say(parameters) -> str:
  return ", ".join(f"{name}{list(shape)}" for name, shape, _ in parameters)


def _switch(number, branches, *operands):
  # A step that Python counts and a key that is missing are operands as arrays are.
  operands = jax.tree.map(jnp.asarray, operands)
  return jax.lax.switch(number, branches, *operands)
