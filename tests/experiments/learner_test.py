"""The learner: its steps against optax's, and the choice of the best look, seed by seed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.information import learner


def test_steps_are_adams_and_the_rest_is_of_before():
  params = {"w": jnp.array([1.0, -2.0])}

  def loss(params, average):
    value = jnp.sum(params["w"] ** 4)
    return value, (average, value)

  adam = optax.adam(0.1)
  expected, moments = params, adam.init(params)
  state, mean = learner.start(params, averaged=True), np.array([1.0, -2.0])
  for _ in range(3):
    before = jnp.sum(expected["w"] ** 4)
    gradient = jax.grad(lambda p: loss(p, 0.0)[0])(expected)
    updates, moments = adam.update(gradient, moments)
    expected = optax.apply_updates(expected, updates)
    state, rest = learner.step(state, loss, 0.1)
    mean = 0.98 * mean + 0.02 * np.asarray(expected["w"])
    np.testing.assert_allclose(rest, before, rtol=1e-6)
  np.testing.assert_allclose(state.params["w"], expected["w"], rtol=1e-6)
  np.testing.assert_allclose(state.mean["w"], mean, rtol=1e-6)


def test_each_seed_keeps_its_best_look():
  # The parameters at look t are t; seed 0 is best at the second look, seed 1 at the last.
  values = {1: [3.0, 3.0], 2: [1.0, 2.0], 3: [np.nan, 1.0]}
  state = learner.Learner(None, None, None, {"w": jnp.zeros((2, 1))})

  def train(state, look):
    return state._replace(mean={"w": jnp.full((2, 1), float(look))})

  best = learner.fit(state, [1, 2, 3], train, lambda mean: jnp.array(values[int(mean["w"][0, 0])]))
  np.testing.assert_array_equal(best["w"], [[2.0], [3.0]])
