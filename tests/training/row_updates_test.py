"""Updates of rows against updates of everything."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from softmax_research.functional import (
  balanced_tree,
  tree_init,
  tree_label_log_prob,
  tree_label_rows,
)
from softmax_research.training import ALL_ROWS, row_updates, update_rows

TREE = balanced_tree(40, branching=3)
FEATURES = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
BATCHES = np.array([[0, 5, 5, 39], [7, 0, 38, 12], [0, 1, 2, 3]])


def _loss(params, labels, rows=None):
  return -jnp.mean(tree_label_log_prob(FEATURES, params, TREE, labels, rows=rows))


def _by_row(optimizer, batches):
  params = tree_init(jax.random.key(0), 5, TREE)

  @functools.partial(jax.jit, donate_argnums=(0, 1))
  def step(params, opt_state, labels):
    rows = tree_label_rows(TREE, labels)
    loss = functools.partial(_loss, labels=labels, rows=rows)
    return update_rows(optimizer, loss, params, opt_state, rows)

  opt_state = optimizer.init(params)
  for labels in batches:
    loss, params, opt_state = step(params, opt_state, labels)
  return loss, params, opt_state


def test_without_memory_of_time_rows_are_updated_as_in_a_dense_step():
  params, optimizer = tree_init(jax.random.key(0), 5, TREE), optax.adagrad(0.3)

  @jax.jit
  def step(params, opt_state, labels):
    loss, gradient = jax.value_and_grad(_loss)(params, labels)
    updates, opt_state = optimizer.update(gradient, opt_state, params)
    return loss, optax.apply_updates(params, updates), opt_state

  opt_state = optimizer.init(params)
  for labels in BATCHES:
    loss, params, opt_state = step(params, opt_state, labels)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
    _by_row(optimizer, BATCHES),
    (loss, params, opt_state),
  )


def test_adam_moves_the_rows_of_the_batch_and_no_others():
  start = tree_init(jax.random.key(0), 5, TREE)
  _, params, (moments, _) = _by_row(optax.adam(0.1), BATCHES[:1])
  touched = np.isin(np.arange(TREE.num_rows), tree_label_rows(TREE, BATCHES[0]))
  assert 0 < touched.sum() < TREE.num_rows
  np.testing.assert_array_equal(np.any(params["kernel"] != start["kernel"], axis=1), touched)
  np.testing.assert_array_equal(np.any(moments.mu["kernel"] != 0, axis=1), touched)
  # Adam's first step has the size of the rate, whatever the gradient.
  change = np.abs(params["kernel"] - start["kernel"])[touched]
  np.testing.assert_allclose(change, 0.1, rtol=1e-3)
  assert moments.count == 1


@pytest.mark.parametrize(
  "rows",
  [
    [9, 1, 4],
    [9, 1, 4, 0, 3, 7],
    [0, 1, 2, 3, 4, 5, 6, 7],
    [3, 10, 10, 10, 10, 10, 10, 8, 10],
    [10] * 6,
    [],
  ],
  ids=[
    "part of a block",
    "a block and a part",
    "full blocks",
    "filler between",
    "all filler",
    "none",
  ],
)
def test_blocks_of_rows_are_updated_once_each(rows, monkeypatch):
  monkeypatch.setattr(row_updates, "_BLOCK", 4)
  rng = np.random.default_rng(1)
  start = {"kernel": rng.normal(size=(10, 3)), "scale": np.float32(2), "few": rng.normal(size=3)}
  start = jax.tree.map(lambda values: np.asarray(values, np.float32), start)
  # The other part's rows fill one block only.
  its = {"kernel": np.array(rows, int), "scale": ALL_ROWS, "few": np.array([1])}
  slope = rng.normal(size=(len(rows), 3)).astype(np.float32)

  def loss(some):
    return jnp.sum(some["kernel"] * slope) + some["scale"] ** 2 + jnp.sum(some["few"])

  # With weight decay the step depends on the parameters, with momentum on the state.
  optimizer = optax.chain(optax.add_decayed_weights(0.5), optax.trace(0.9), optax.sgd(_schedule))
  step = jax.jit(lambda params, state: update_rows(optimizer, loss, params, state, its)[1:])
  params, state = start, optimizer.init(start)
  for _ in range(2):
    params, state = step(params, state)

  gradient = np.zeros((10, 3))
  exists = np.array(rows, int) < 10
  gradient[np.array(rows, int)[exists]] = slope[exists]
  touched = np.isin(np.arange(10), rows)[:, None]
  expected, momentum = start["kernel"].astype(float), 0
  for rate in (1.0, 0.5):
    momentum = gradient + 0.5 * expected + 0.9 * momentum
    expected = np.where(touched, expected - rate * momentum, expected)
  np.testing.assert_allclose(params["kernel"], expected, rtol=1e-5, atol=1e-6)
  assert np.flatnonzero(params["few"] != start["few"]).tolist() == [1]
  first = 2 - (4 + 1)
  np.testing.assert_allclose(params["scale"], first - 0.5 * (2.5 * first + 0.9 * 5), rtol=1e-6)


def _schedule(count):
  return 1 / (count + 1)


def test_a_step_writes_no_copy_of_the_parameters():
  tree, optimizer = balanced_tree(2**16), optax.adam(0.1)

  def step(params, opt_state, labels):
    rows = tree_label_rows(tree, labels)

    def loss(some):
      return -jnp.mean(tree_label_log_prob(FEATURES, some, tree, labels, rows=rows))

    return update_rows(optimizer, loss, params, opt_state, rows)

  params = jax.eval_shape(lambda: tree_init(jax.random.key(0), 5, tree))
  arguments = params, jax.eval_shape(optimizer.init, params), jax.ShapeDtypeStruct((4,), jnp.int32)
  program = jax.jit(step, donate_argnums=(0, 1)).lower(*arguments).compile()
  # The tree's own arrays are constants of the program, not temporaries.
  assert program.memory_analysis().temp_size_in_bytes < params["kernel"].size
