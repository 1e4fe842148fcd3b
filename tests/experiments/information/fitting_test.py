"""Fitting: its steps against optax's, the choice of the best look; seeds over devices."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.information import fitting


def test_steps_are_adams_and_the_rest_is_of_before():
  params = {"w": jnp.array([1.0, -2.0])}

  def loss(params, average):
    value = jnp.sum(params["w"] ** 4)
    return value, (average, value)

  optimizer = optax.adam(0.1)
  expected, moments, mean = params, optimizer.init(params), np.array([1.0, -2.0])
  state = fitting.start(optimizer, params)
  for _ in range(3):
    before = jnp.sum(expected["w"] ** 4)
    gradient = jax.grad(lambda p: loss(p, 0.0)[0])(expected)
    updates, moments = optimizer.update(gradient, moments)
    expected = optax.apply_updates(expected, updates)
    state, rest = fitting.step(optimizer, state, loss)
    mean = 0.98 * mean + 0.02 * np.asarray(expected["w"])
    np.testing.assert_allclose(rest, before, rtol=1e-6)
  np.testing.assert_allclose(state.params["w"], expected["w"], rtol=1e-6)
  np.testing.assert_allclose(state.mean["w"], mean, rtol=1e-6)


def test_each_seed_keeps_its_best_look():
  # The parameter follows the batches, which lead seed 0 away from what is validated at the end.
  batches = np.array([[1, 1, 9, 9], [1, 1, 1, 1]], np.float32)
  targets = np.array([[0.02], [9]], np.float32)
  places = {"train": batches, "validation": targets, "test": targets}

  def fit(key, places, shared):
    return fitting.fit(
      lambda key: jnp.float32(0),
      lambda params, batch, average: ((params - batch) ** 2, average),
      lambda params, batch: {"params": params[None]},
      key=key,
      places=places,
      take=lambda place: place,
      rate=0.5,
      look_every=3,
    )

  found = fitting.run_seeds(fit, (0, 1), places)[0]["params"]
  rates = 0.5 * (1 + np.cos(np.pi * np.arange(4) / 4)) / 2
  adam, mean, means = optax.scale_by_adam(), jnp.zeros(2), []
  params, moments = jnp.zeros(2), adam.init(jnp.zeros(2))
  for batch, rate in zip(batches.T, rates, strict=True):
    updates, moments = adam.update(2 * (params - batch), moments)
    params = params - rate * updates
    mean = 0.98 * mean + 0.02 * params
    means.append(mean)
  # Of four steps, two divide into looks of no more than three.
  np.testing.assert_allclose(found[:, 0], [means[1][0], means[3][1]], rtol=1e-5)


def test_a_seeds_key_and_share_do_not_depend_on_the_others():
  def draw(key, x, shared):
    return {"drawn": jax.random.normal(key, (2,)), "sum": x + shared}

  seeds = tuple(range(12))
  found, _ = fitting.run_seeds(draw, seeds, np.arange(12.0), shared=np.float32(1))
  np.testing.assert_array_equal(found["sum"], np.arange(12.0) + 1)
  alone, _ = fitting.run_seeds(draw, (7,), np.array([7.0]), shared=np.float32(1))
  np.testing.assert_array_equal(alone["drawn"][0], found["drawn"][7])
  assert len(np.unique(found["drawn"])) == 24
