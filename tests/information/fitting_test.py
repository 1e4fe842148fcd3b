"""Fitting: its steps against optax's, the choice of the best look, batches."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from softmax_research.information import fitting


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

  def fit(places):
    return fitting.fit(
      lambda key: jnp.float32(0),
      lambda params, batch, average: ((params - batch) ** 2, average),
      lambda params, batch: params[None],
      key=jax.random.key(0),
      places=places,
      take=lambda place: place,
      rate=0.5,
      look_every=3,
    )

  found = jax.jit(jax.vmap(fit))(places)
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


def test_all_batches_of_a_pass_differ():
  sizes = {"train": 11, "validation": 6, "test": 5}
  first, again, other = (fitting.batches(seed, sizes, 5, 5) for seed in (0, 0, 1))
  assert first["train"].shape == (5, 5) and first["train"].max() < 11
  for start in (0, 2):
    assert len(set(first["train"][start : start + 2].ravel())) == 10
  assert np.any(first["train"][:2] != first["train"][2:4])
  assert first["validation"].tolist() == [list(range(11, 16))]
  assert first["test"].tolist() == [list(range(17, 22))]
  np.testing.assert_array_equal(first["train"], again["train"])
  assert np.any(first["train"] != other["train"])
