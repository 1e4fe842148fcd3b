"""Distillation: the divergence of two dense output layers, without the logits of either."""

import math

import jax
import jax.numpy as jnp

from softmax_research.functional.arrays import (
  affine,
  check_at_least,
  check_integer,
  check_option_shape,
  has_explicit_mesh,
)
from softmax_research.functional.linear_cross_entropy import check_layer
from softmax_research.functional.normalise import log_softmax

DIRECTIONS = ("forward", "reverse", "jensen_shannon")
# Logits of each layer that stand in memory at a time, a quarter of a gigabyte in float32.
_LOGITS = 2**26


def linear_kl_divergence(
  student_features: jax.typing.ArrayLike,
  student_kernel: jax.typing.ArrayLike,
  teacher_features: jax.typing.ArrayLike,
  teacher_kernel: jax.typing.ArrayLike,
  *,
  student_bias: jax.typing.ArrayLike | None = None,
  teacher_bias: jax.typing.ArrayLike | None = None,
  temperature: jax.typing.ArrayLike = 1.0,
  direction: str = "forward",
  block_size: int | None = None,
) -> jax.Array:
  r"""Compute the divergence of a student's predictions from a teacher's, block by block.

  .. math::
    \mathrm{KL}(p \,\|\, q) = \sum_k p_k \log \frac{p_k}{q_k}, \qquad
    p = \mathrm{softmax}\Big(\frac{x_t W_t + b_t}{T}\Big), \quad
    q = \mathrm{softmax}\Big(\frac{x_s W_s + b_s}{T}\Big)

  The direction `"forward"` is KL(p || q), Hinton's loss up to a constant, under which the student
  covers all that the teacher thinks possible; `"reverse"` is KL(q || p), under which it may leave
  out some of it; `"jensen_shannon"` is half of the sum of both to the mean (p + q) / 2, at most
  log 2. Gradients shrink as 1 / T^2: multiply by T^2 where another loss stands beside it.

  The logits of both layers are there for one block of examples at a time, and are computed again
  for the gradients. Both layers have gradients; put `jax.lax.stop_gradient` around a teacher that
  is not to learn.

  Args:
    student_features: x_s, `[..., D_s]`.
    student_kernel: W_s, `[D_s, K]`.
    teacher_features: x_t, `[..., D_t]`, of the same leading axes.
    teacher_kernel: W_t, `[D_t, K]`.
    student_bias: b_s, `[K]`.
    teacher_bias: b_t, `[K]`.
    temperature: T > 0.
    direction: `"forward"`, `"reverse"` or `"jensen_shannon"`.
    block_size: how many examples make a block; by default as many as have 2^26 logits.

  Returns:
    Divergences in nats, `[...]`, in float32 or the wider type of features and kernels; at least 0
    up to rounding, as -1e-7 for layers that are nearly the same.

  Raises:
    ValueError: a shape does not fit, or an option is out of range.

  Example:
    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.log(jnp.array([[0.75, 0.25]]))
    >>> linear_kl_divergence(jnp.ones((2, 1)), student, jnp.ones((2, 1)), teacher).round(4)
    Array([0.1308, 0.1308], dtype=float32)

  Reference:
    Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural Network"
    (arXiv 1503.02531).
  """
  check_at_least("temperature", temperature, 0, "Pass 1 for plain predictions.", strict=True)
  check_option_shape("temperature", temperature, ())
  if direction not in DIRECTIONS:
    raise ValueError(f"Got direction={direction!r}; it must be one of {', '.join(DIRECTIONS)}.")
  if block_size is not None:
    check_integer("block_size", block_size, remedy="Pass None for a choice.")
  student, of_student, _ = check_layer(student_features, student_kernel, student_bias)
  teacher, of_teacher, _ = check_layer(teacher_features, teacher_kernel, teacher_bias)
  kernels = of_student.kernel.shape, of_teacher.kernel.shape
  batch, num_classes = student.shape[:-1], kernels[0][1]
  if teacher.shape[:-1] != batch or kernels[1][1] != num_classes:
    raise ValueError(
      f"Got features of shapes {student.shape} and {teacher.shape} and kernels of shapes "
      f"{kernels[0]} and {kernels[1]}; student and teacher must have the same examples "
      "and the same number of classes."
    )

  def log_probs(features, layer):
    logits = affine(features, layer.kernel, layer.bias)
    return log_softmax(logits, temperature=jnp.asarray(temperature, logits.dtype))

  @jax.checkpoint
  def divergence(features):
    log_q, log_p = map(log_probs, features, (of_student, of_teacher))
    dtype = jnp.promote_types(log_p.dtype, log_q.dtype)
    log_q, log_p = log_q.astype(dtype), log_p.astype(dtype)
    if direction == "forward":
      return _divergence(log_p, log_q)
    if direction == "reverse":
      return _divergence(log_q, log_p)
    log_mean = jnp.logaddexp(log_p, log_q) - math.log(2)
    return (_divergence(log_p, log_mean) + _divergence(log_q, log_mean)) / 2

  size = block_size or max(_LOGITS // num_classes, 1)
  if size >= math.prod(batch) or has_explicit_mesh(student):
    return divergence((student, teacher))
  examples = tuple(x.reshape(-1, x.shape[-1]) for x in (student, teacher))
  return jax.lax.map(divergence, examples, batch_size=size).reshape(batch)


def _divergence(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
  """Return sum_k p_k log(p_k / q_k); what q excludes is infinite, and has no gradient.

  A p_k that is too small for a floating-point number is 0, and 0 log 0 is 0.
  """
  probs, excluded = jnp.exp(log_p), log_q == -jnp.inf
  possible = probs > 0
  lead = jnp.where(possible & ~excluded, log_p - jnp.where(excluded, 0, log_q), 0)
  lost = jnp.any(possible & excluded, axis=-1)
  return jnp.where(lost, jnp.inf, jnp.sum(probs * lead, axis=-1))
