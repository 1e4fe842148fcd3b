"""Label log-probabilities in tiles, against the plain computation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research.functional.member_rows import member_label_log_prob

RNG = np.random.default_rng(0)
FEATURES = 2 * RNG.normal(size=(7, 3))
KERNEL = RNG.normal(size=(3, 10))
LABELS = jnp.asarray(RNG.integers(7, size=7))
SOME = np.array([False, True, True, False, False, True, False])


def _plain(features, kernel, member):
  log_probs = jax.nn.log_softmax(jnp.asarray(features) @ kernel)
  return jnp.where(member, log_probs[np.arange(7), LABELS], 0)


@pytest.mark.parametrize("tile", [(2, 4), (3, 5), (16, 16)])
def test_value_and_gradient(tile):
  weights = RNG.normal(size=7)

  @jax.jit
  def ours(features, kernel, member):
    def loss(features, kernel):
      log_prob = member_label_log_prob(features, kernel, LABELS, member, tile=tile)
      return weights @ log_prob, log_prob

    return jax.grad(loss, argnums=(0, 1), has_aux=True)(features, kernel)

  for member in (SOME, np.zeros(7, bool), np.ones(7, bool)):
    with jax.enable_x64(True):
      gradient, log_prob = ours(FEATURES, KERNEL, member)
      expected = jax.grad(lambda *a, m=member: weights @ _plain(*a, m), argnums=(0, 1))
      expected = expected(jnp.asarray(FEATURES), jnp.asarray(KERNEL))
      value = _plain(FEATURES, KERNEL, member)
    np.testing.assert_allclose(log_prob, value, rtol=1e-12)
    for one, other in zip(gradient, expected, strict=True):
      np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-14)


def test_second_derivatives_are_refused():
  def slope(kernel):
    def ours(kernel):
      return member_label_log_prob(FEATURES, kernel, LABELS, SOME, tile=(2, 4)).sum()

    return jax.grad(ours)(kernel).sum()

  with pytest.raises(NotImplementedError, match="adaptive softmax with tile=None"):
    jax.grad(slope)(KERNEL)


def test_vmap_over_members():
  members = np.stack([SOME, ~SOME, np.zeros(7, bool)])

  def ours(member):
    return member_label_log_prob(jnp.asarray(FEATURES), KERNEL, LABELS, member, tile=(2, 4))

  expected = np.stack([_plain(FEATURES, KERNEL, member) for member in members])
  np.testing.assert_allclose(jax.jit(jax.vmap(ours))(members), expected, rtol=1e-5)


def test_blocks_without_a_member_are_never_computed():
  # Every row but the three members is NaN: one product with them would spoil the kernel's
  # gradient, whatever is masked later.
  features = jnp.where(SOME[:, None], FEATURES, jnp.nan)

  @jax.jit
  def ours(kernel, weights):
    log_prob = member_label_log_prob(features, kernel, LABELS, SOME, tile=(3, 4))
    return weights @ log_prob

  # A sum's gradient comes from the forward pass, that of other weights from one more.
  for weights in (np.ones(7, np.float32), np.arange(7, dtype=np.float32)):
    expected = jax.grad(lambda kernel, w=weights: w @ _plain(FEATURES, kernel, SOME))
    np.testing.assert_allclose(
      jax.grad(ours)(KERNEL, weights), expected(KERNEL), rtol=1e-4, atol=1e-6
    )


def test_large_logits_and_half_precision():
  features = jnp.full((2, 1), 1e4, jnp.bfloat16)
  kernel = jnp.array([[-1.0, 0.5, 1.0]], jnp.bfloat16)
  member = np.ones(2, bool)
  log_prob = member_label_log_prob(features, kernel, jnp.array([2, 1]), member, tile=(1, 2))
  assert log_prob.dtype == jnp.float32
  np.testing.assert_allclose(log_prob, [0, -0.5 * float(features[0, 0])])
