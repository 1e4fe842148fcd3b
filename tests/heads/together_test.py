"""Heads together: each run of one program acts as its own head does alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research import heads

_NAMES = ("softmax", "softmax:temperature=0.5", "sm:margin=0.4", "taylor:order=4", "pc_softmax")


@pytest.fixture(name="members")
def _members():
  counts = {"pc_softmax": {"class_counts": (5, 4, 3, 2, 1)}}
  return [heads.make(name, 5, **counts.get(name, {})) for name in _NAMES]


@pytest.mark.parametrize("run", [jax.vmap, lambda f: lambda xs: jax.lax.map(f, xs)])
def test_each_run_acts_as_its_own_head(members, run):
  head_of = heads.together(members)
  rng = np.random.default_rng(0)
  features = jnp.asarray(rng.normal(size=(7, 6)), jnp.float32)
  labels = jnp.asarray(rng.integers(0, 5, 7))
  params = members[0].init(jax.random.key(3), 6)

  def one(number):
    def loss(params):
      return jnp.sum(head_of(number).loss(params, features, labels, step=2))

    return jax.value_and_grad(loss)(params), head_of(number).log_prob(params, features)

  (losses, gradients), log_probs = run(one)(jnp.arange(len(members)))
  for i, head in enumerate(members):
    expected, gradient = jax.value_and_grad(
      lambda p, head=head: jnp.sum(head.loss(p, features, labels, step=2))
    )(params)
    np.testing.assert_allclose(losses[i], expected, rtol=1e-6)
    np.testing.assert_allclose(gradients["kernel"][i], gradient["kernel"], atol=1e-6)
    np.testing.assert_allclose(log_probs[i], head.log_prob(params, features), atol=1e-6)
  assert len(set(np.asarray(losses).round(3).tolist())) == len(members)


def test_each_run_starts_as_its_own_head():
  members = [heads.make("relu", 3), heads.make("relu", 3, bias_start=0.5)]
  start = jax.vmap(lambda i: heads.together(members)(i).init(jax.random.key(0), 4))(jnp.arange(2))
  np.testing.assert_array_equal(start["bias"], [[1.0] * 3, [0.5] * 3])


def test_heads_of_other_shapes_are_refused():
  members = [heads.make("softmax", 3), heads.make("hierarchical", 3)]
  with pytest.raises(ValueError, match=r"heads 0 and 1 with the parameters .*'kernel'\]\[4, 3\]"):
    heads.together(members)(0).init(jax.random.key(0), 4)
  with pytest.raises(ValueError, match="no members"):
    heads.together([])
