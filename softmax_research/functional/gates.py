"""Gates: which experts of a mixture an example goes to, and how evenly examples are spread."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from softmax_research.functional.arrays import check_any_class, check_integer, widen
from softmax_research.functional.normalise import exclude, softmax


def top_k_gates(
  logits: jax.typing.ArrayLike,
  *,
  k: int,
  normaliser: Callable[..., jax.Array] = softmax,
  renormalise: bool = True,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute the weights of the k most probable experts; the others have none.

  .. math:: g = \mathrm{normaliser}(z \text{ on the } k \text{ most probable experts})

  Args:
    logits: z, one an expert, `[..., E]`.
    k: how many experts an example may go to, between 1 and E.
    normaliser: logits to probabilities, as `softmax`, `taylor_softmax` or `sparsemax`; it takes
      `where`.
    renormalise: make the weights sum to one, as above. Otherwise they are the experts' shares among
      all, as for k = 1, where a weight of one would have no gradient.
    where: booleans that broadcast to the logits; false excludes an expert.

  Returns:
    Weights of the shape and type of the logits, at most k of them not zero.

  Raises:
    ValueError: k is out of range, or there is no expert.

  Example:
    >>> top_k_gates(jnp.log(jnp.array([2.0, 6.0, 1.0, 2.0])), k=2).round(2)
    Array([0.25, 0.75, 0.  , 0.  ], dtype=float32)

  Reference:
    Shazeer et al. 2017, "Outrageously Large Neural Networks", eqs. 3 and 5 (arXiv 1701.06538), for
    softmax; Fedus, Zoph & Shazeer 2022, "Switch Transformers" (arXiv 2101.03961), for k = 1.
  """
  logits, result_type = widen(logits)
  check_any_class(logits)
  possible = exclude(logits, where) != -jnp.inf
  num_experts = logits.shape[-1]
  check_integer("k", k, 1, num_experts)
  probs = normaliser(logits, where=possible)
  _, experts = jax.lax.top_k(jax.lax.stop_gradient(probs), k)
  chosen = jnp.any(jax.nn.one_hot(experts, num_experts, dtype=bool), axis=-2) & possible
  gates = normaliser(logits, where=chosen) if renormalise else jnp.where(chosen, probs, 0)
  return gates.astype(result_type)


def load_balance_loss(probs: jax.typing.ArrayLike, gates: jax.typing.ArrayLike) -> jax.Array:
  r"""Compute how unevenly a batch is spread over experts.

  .. math:: \ell = E \sum_i f_i P_i

  f_i is the share of the batch's choices that fell on expert i and P_i its mean probability. It is
  1 where both are even. The gradient comes through P alone: it lowers the probability of experts
  that are chosen too often.

  Args:
    probs: probabilities of all experts before k are chosen, `[..., E]`.
    gates: what `top_k_gates` returned, `[..., E]`.

  Returns:
    A scalar in the type of the probabilities, float32 at least.

  Raises:
    ValueError: the shapes differ.

  Example:
    >>> load_balance_loss(jnp.full((8, 4), 0.25), jnp.tile(jnp.eye(4), (2, 1))).item()
    1.0

  Reference:
    Fedus, Zoph & Shazeer 2022, "Switch Transformers", eqs. 4 to 6 (arXiv 2101.03961).
  """
  probs, _ = widen(probs)
  gates = jnp.asarray(gates)
  if gates.shape != probs.shape:
    raise ValueError(f"Got probs of shape {probs.shape} and gates of {gates.shape}; both [..., E].")
  batch = tuple(range(probs.ndim - 1))
  counts = jnp.sum(gates > 0, axis=batch, dtype=probs.dtype)
  shares = counts / jnp.maximum(jnp.sum(counts), 1)
  return probs.shape[-1] * jnp.sum(shares * jnp.mean(probs, axis=batch))
