"""A head is three functions in a tuple."""

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.heads import Head, dense


def test_any_three_functions_make_a_head():
  # The fields, in this order, are what every network, loop and notebook unpacks.
  init, loss, log_prob = Head(
    init=lambda key, num_features: jnp.zeros(num_features),
    loss=lambda params, features, labels, *, step=0, key=None: (features @ params) * labels,
    log_prob=lambda params, features: jnp.zeros((*features.shape[:-1], 2)),
  )
  params = init(jax.random.key(0), 3)
  assert loss(params, jnp.ones((4, 3)), jnp.ones(4)).shape == (4,)
  assert log_prob(params, jnp.ones((4, 3))).shape == (4, 2)


def test_a_head_is_jitted_batched_and_differentiated_like_any_function():
  head = dense(3)
  params = head.init(jax.random.key(0), 5)
  features = jax.random.normal(jax.random.key(1), (4, 5))
  labels = jnp.array([0, 1, 2, 1])
  losses = head.loss(params, features, labels)
  one_by_one = jax.jit(jax.vmap(head.loss, in_axes=(None, 0, 0)))(params, features, labels)
  np.testing.assert_allclose(losses, one_by_one, rtol=1e-5)
  gradient = jax.grad(lambda p: head.loss(p, features, labels).mean())(params)
  assert jax.tree.structure(gradient) == jax.tree.structure(params)
