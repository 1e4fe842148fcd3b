"""The learner: its steps against optax's, the choice of the best look, seeds over devices."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.information import learner, seed_devices


def test_steps_are_adams_and_the_rest_is_of_before():
  params = {"w": jnp.array([1.0, -2.0])}

  def loss(params, average):
    value = jnp.sum(params["w"] ** 4)
    return value, (average, value)

  adam = optax.adam(0.1)
  expected, moments, mean = params, adam.init(params), np.array([1.0, -2.0])
  states = learner.start(jnp.zeros((1, 1)), init=lambda key: params, averaged=True)
  state = jax.tree.map(lambda leaf: leaf[0], states)
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
  # Each step adds a batch's mean to what is validated: seed 0 falls and rises, seed 1 falls.
  task = learner.Task(
    outputs=lambda params, batch, shared: params,
    loss=lambda params, batch, shared, average: ((params - batch.mean() * shared) ** 2, average),
    terms=lambda params, batch, shared: {"params": params[None]},
  )
  states = learner.start(jnp.zeros((2, 1)), init=lambda key: jnp.float32(0), averaged=True)
  batches = iter(np.array([[1, 1], [1, 1], [9, 1], [9, 1]], np.float32)[..., None])
  looks = learner.looks(np.full(4, 0.5, np.float32), 2, batches)
  validation = [np.array([[0.02], [9]], np.float32)]
  shared = np.float32(1), np.float32(1)
  best = learner.fit(task, states, looks, validation, shared)
  found = learner.evaluate(task, best, validation, np.float32(1))["params"]
  assert found.shape == (2, 1)
  adam, mean, means = optax.adam(0.5), jnp.zeros(2), []
  params, moments = jnp.zeros(2), adam.init(jnp.zeros(2))
  for batch in ([1, 1], [1, 1], [9, 1], [9, 1]):
    updates, moments = adam.update(2 * (params - jnp.array(batch)), moments)
    params = params + updates
    mean = 0.98 * mean + 0.02 * params
    means.append(mean)
  np.testing.assert_allclose(found[:, 0], [means[1][0], means[3][1]], rtol=1e-5)


def test_a_seeds_key_does_not_depend_on_the_others():
  both, one = (jax.random.key_data(learner.make_keys(seeds)) for seeds in ((0, 3), (3,)))
  np.testing.assert_array_equal(both[1], one[0])


def test_seeds_are_divided_evenly():
  tree = {"a": np.arange(36.0).reshape(3, 12), "b": np.arange(24).reshape(2, 12)}
  divided = seed_devices.divide(tree, axis=1)
  for name, array in tree.items():
    np.testing.assert_array_equal(divided[name], array)
  most = len(jax.devices())
  count = max(n for n in (1, 2, 3, 4, 6, 12) if n <= most)
  assert len(divided["a"].sharding.device_set) == count
  assert {shard.data.shape for shard in divided["a"].addressable_shards} == {(3, 12 // count)}
  copies = seed_devices.replicate(tree, 12)["a"]
  assert {shard.data.shape for shard in copies.addressable_shards} == {(3, 12)}
