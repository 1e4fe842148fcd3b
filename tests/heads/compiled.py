"""Heads whose functions are programs: compiled one operation at a time they take far longer."""

import functools

import jax
import numpy as np


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


def draw(head, num_features):
  """Returns parameters of a head's shapes and types, drawn by NumPy, which compiles nothing."""
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(lambda: head.init(jax.random.key(0), num_features))
  return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), shapes)


def evaluate(head, params, features, labels, **options):
  """Returns losses and log-probabilities, of one program."""
  run = jax.jit(lambda *given: (head.loss(*given, labels, **options), head.log_prob(*given)))
  return jax.device_get(run(params, features))
