"""Gates of mixtures of experts, and the loss that spreads a batch over them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from softmax_research import functional
from softmax_research.functional import softmax, sparsemax, taylor_softmax
from tests.derivatives import differences
from tests.programs import program

load_balance_loss = program(functional.load_balance_loss)
top_k_gates = program(functional.top_k_gates)

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 5))


def _softmax(logits):
  weights = np.exp(logits)
  return weights / weights.sum(-1, keepdims=True)


def _chosen(probs, k):
  return np.argsort(np.argsort(-probs, axis=-1), axis=-1) < k


@pytest.mark.parametrize("renormalise", [True, False])
def test_softmax_gates_and_their_gradient(renormalise):
  weights = RNG.normal(size=LOGITS.shape)

  def oracle(logits):
    gates = np.where(_chosen(logits, 2), _softmax(logits), 0)
    return gates / gates.sum(-1, keepdims=True) if renormalise else gates

  def total(logits):
    gates = top_k_gates(logits, k=2, renormalise=renormalise)
    return jnp.sum(weights * gates), gates

  with jax.enable_x64(True):
    gradient, gates = jax.jit(jax.grad(total, has_aux=True))(LOGITS)
  np.testing.assert_allclose(gates, oracle(LOGITS), rtol=1e-12)
  np.testing.assert_allclose(
    gradient, differences(lambda z: weights * oracle(z), LOGITS), rtol=1e-6, atol=1e-9
  )


def test_any_normaliser_chooses_by_its_own_probabilities():
  # Taylor's is not monotone: far below zero it rises again.
  gates = top_k_gates(np.array([0.0, 1.0, -9.0]), k=1, normaliser=taylor_softmax)
  np.testing.assert_array_equal(gates, [0, 0, 1])
  gates = top_k_gates(np.array([3.0, 1.0, 0.0]), k=2, normaliser=sparsemax)
  np.testing.assert_array_equal(gates, [1, 0, 0])
  gates = top_k_gates(np.zeros(3), k=2, where=np.array([False, True, False]))
  np.testing.assert_array_equal(gates, [0, 1, 0])


def test_load_balance_and_its_gradient():
  def oracle(logits):
    probs, chosen = _softmax(logits), _chosen(LOGITS, 2)
    return 5 * np.sum(chosen.sum(0) / chosen.sum() * probs.mean(0))

  def ours(logits):
    return load_balance_loss(softmax(logits), top_k_gates(logits, k=2))

  with jax.enable_x64(True):
    value, gradient = jax.jit(jax.value_and_grad(ours))(LOGITS)
  np.testing.assert_allclose(value, oracle(LOGITS), rtol=1e-12)
  np.testing.assert_allclose(gradient, differences(oracle, LOGITS), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_on_a_mesh(kind):
  mesh = jax.make_mesh((2,), ("batch",), (kind,), devices=jax.devices("cpu")[:2])

  def ours(logits):
    gates = top_k_gates(logits, k=2)
    return gates, load_balance_loss(softmax(logits), gates)

  expected = jax.jit(ours)(np.float32(LOGITS))
  with jax.set_mesh(mesh):
    found = jax.jit(ours)(jax.device_put(np.float32(LOGITS), NamedSharding(mesh, P("batch"))))
  for one, other in zip(found, expected, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_types_and_bad_arguments():
  with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
    gates = top_k_gates(LOGITS.astype(jnp.bfloat16), k=1)
    assert gates.dtype == jnp.bfloat16
    assert load_balance_loss(gates, gates).dtype == jnp.float32
  with pytest.raises(ValueError, match="k=6; it must be an integer between 1 and 5"):
    top_k_gates(LOGITS, k=6)
  with pytest.raises(ValueError, match="without a class along axis -1"):
    top_k_gates(LOGITS[:, :0], k=1)
  with pytest.raises(ValueError, match=r"probs of shape \(6, 5\) and gates of \(5,\)"):
    load_balance_loss(LOGITS, LOGITS[0])
