"""Heads whose functions are programs: compiled one operation at a time they take far longer."""

import functools

import jax


def compiled(constructor):
  """Returns a function that makes the same heads, their `init`, `loss` and `log_prob` compiled.

  Examples in docstrings call them one operation after the other.
  """

  @functools.wraps(constructor)
  def construct(*arguments, **options):
    head = constructor(*arguments, **options)
    return head._replace(
      init=jax.jit(head.init, static_argnums=1),
      loss=jax.jit(head.loss),
      log_prob=jax.jit(head.log_prob),
    )

  return construct
