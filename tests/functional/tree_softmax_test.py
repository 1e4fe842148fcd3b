"""Tree softmax against a recursion over the nested classes in NumPy, in values and gradients."""

import functools

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_research.functional import (
  balanced_tree,
  taxonomy_tree,
  tree_init,
  tree_label_log_prob,
  tree_label_rows,
  tree_log_probs,
)
from tests.functional import tree_oracle

NESTED = {
  "binary": tree_oracle.BINARY,
  "flat": [0, 1, 2, 3],
  "uneven": tree_oracle.UNEVEN,
  "pair": [1, 0],
  "single": [0],
}


def _label_log_probs(features, params, tree):
  """Returns the log-probabilities by label: of one more on either side, then of all classes."""
  labels = jnp.arange(-1, tree.num_classes + 1)

  def one(label):
    return tree_label_log_prob(features, params, tree, jnp.full(features.shape[:-1], label))

  return jax.vmap(one, out_axes=-1)(labels)


@functools.partial(jax.jit, static_argnums=2)
def _values(features, params, tree):
  return tree_log_probs(features, params, tree), _label_log_probs(features, params, tree)


@functools.cache
def _program(tree):
  """Returns a program of all log-probabilities and of each label's, and of their gradients."""

  def run(features, params, weights):
    found = []
    for function, w in ((tree_log_probs, weights[..., 1:-1]), (_label_log_probs, weights)):
      values, pull_back = jax.vjp(functools.partial(function, tree=tree), features, params)
      found.append((values, *pull_back(w)))
    return found

  return jax.jit(run)


def _check(nested, tree, features, params):
  shape = features.shape[:-1]
  weights = np.random.default_rng(1).normal(size=(*shape, tree.num_classes + 2))
  with jax.enable_x64(True):
    every, by_label = _program(tree)(features, params, weights)
  flat = [values.reshape(-1, values.shape[-1]) for values in (features, weights[..., 1:-1])]
  log_probs, of_features, of_params = tree_oracle.log_probs_and_gradients(
    nested, flat[0], params, flat[1]
  )
  expected = log_probs.reshape(*shape, -1), of_features.reshape(features.shape), of_params
  assert np.isnan(by_label[0][..., [0, -1]]).all()
  for found in (every, (by_label[0][..., 1:-1], *by_label[1:])):
    for ours, exact in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
      atol = 1e-12 * (1 + np.abs(exact).max(initial=0))
      np.testing.assert_allclose(ours, exact, rtol=1e-12, atol=atol)


@pytest.mark.parametrize("name", NESTED)
def test_values_and_gradients(name):
  nested, tree = NESTED[name], taxonomy_tree(NESTED[name])
  features, params = tree_oracle.example(tree.num_rows, batch=(2, 3))
  _check(nested, tree, features, params)
  # Logits of some ten thousand: nothing overflows.
  _check(nested, tree, features, {name: 1e4 * value for name, value in params.items()})


def test_a_certain_choice_keeps_its_small_loss():
  tree = balanced_tree(2)
  params = {"kernel": np.array([[40.0]]), "bias": np.zeros(1)}
  log_prob = jax.jit(lambda params: tree_label_log_prob(np.ones(1), params, tree, 0))(params)
  np.testing.assert_allclose(log_prob, -np.exp(-40.0), rtol=1e-6)


def _number_leaves(nested, seed):
  """Replaces each leaf by a class, in random order."""

  def count(part):
    return sum(map(count, part)) if isinstance(part, list) else 1

  labels = iter(np.random.default_rng(seed).permutation(count(nested)).tolist())

  def fill(part):
    return [fill(child) for child in part] if isinstance(part, list) else next(labels)

  return fill(nested)


_SHAPES = st.recursive(
  st.none(), lambda child: st.lists(child, min_size=1, max_size=5), max_leaves=12
) | st.recursive(st.none(), lambda child: st.lists(child, min_size=2, max_size=2), max_leaves=12)


@settings(max_examples=5, deadline=None, derandomize=True)
@given(_SHAPES, st.integers(0, 2**20))
def test_any_taxonomy(shape, seed):
  nested = _number_leaves(shape, seed)
  tree = taxonomy_tree(nested)
  example = tree_oracle.example(tree.num_rows, seed=seed)
  expected, *_ = tree_oracle.log_probs_and_gradients(
    nested, *example, np.zeros((5, tree.num_classes))
  )
  with jax.enable_x64(True):
    every, by_label = _values(*example, tree)
  np.testing.assert_allclose(every, expected, rtol=1e-12, atol=1e-14)
  np.testing.assert_allclose(by_label[:, 1:-1], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("nested", [[[0, 1], 2], [[0, 1, 2], 3]])
def test_second_derivatives_in_both_modes(nested):
  tree = taxonomy_tree(nested)
  weights = np.random.default_rng(1).normal(size=(2, tree.num_classes))

  def function(features, params):
    log_prob = tree_label_log_prob(features, params, tree, np.array([0, 2]))
    return jnp.sum(weights * tree_log_probs(features, params, tree)) + weights[0, :2] @ log_prob

  with jax.enable_x64(True):
    given = tree_oracle.example(tree.num_rows, batch=(2,), num_features=2, scale=0.5)
    x, unravel = jax.flatten_util.ravel_pytree(given)
    direction = np.random.default_rng(2).normal(size=x.shape)

    def at(x):
      return function(*unravel(x))

    def along(x):
      return jax.jvp(at, (x,), (direction,))[1]

    @jax.jit
    def derivatives(x):
      gradient, forward_over_reverse = jax.jvp(jax.grad(at), (x,), (direction,))
      return gradient, forward_over_reverse, *jax.value_and_grad(along)(x)

    x = np.asarray(x)
    gradient, forward_over_reverse, forward, reverse_over_forward = derivatives(x)
    near = [derivatives(x + sign * 1e-5 * direction)[0] for sign in (1, -1)]
  np.testing.assert_allclose(forward, np.dot(gradient, direction), rtol=1e-13)
  np.testing.assert_allclose(forward_over_reverse, np.subtract(*near) / 2e-5, atol=1e-9)
  np.testing.assert_allclose(reverse_over_forward, forward_over_reverse, atol=1e-14)
  assert np.linalg.norm(forward_over_reverse) > 0.1


@pytest.mark.parametrize(("num_classes", "branching"), [(7, 2), (7, 3), (1, 2)])
def test_shapes_and_types(num_classes, branching):
  tree = balanced_tree(num_classes, branching=branching)

  def shapes(batch, dtype=jnp.float32, kernel_dtype=jnp.float32):
    features = jax.ShapeDtypeStruct((*batch, 4), dtype)
    labels = jax.ShapeDtypeStruct(batch, jnp.int8)
    params = jax.eval_shape(lambda: tree_init(jax.random.key(0), 4, tree))
    params = {n: jax.ShapeDtypeStruct(p.shape, kernel_dtype) for n, p in params.items()}

    def run(features, params, labels):
      rows = tree_label_rows(tree, labels)
      some = {name: value.at[rows].get(mode="clip") for name, value in params.items()}
      return (
        tree_log_probs(features, params, tree),
        tree_label_log_prob(features, params, tree, labels),
        tree_label_log_prob(features, some, tree, labels, rows=rows),
      )

    every, *by_label = jax.eval_shape(run, features, params, labels)
    assert every.shape == (*batch, tree.num_classes)
    assert all(found.shape == batch and found.dtype == every.dtype for found in by_label)
    return every.dtype

  assert {shapes(batch) for batch in ((), (0,), (2, 3))} == {jnp.dtype(jnp.float32)}
  assert shapes((3,), jnp.bfloat16, jnp.bfloat16) == jnp.bfloat16
  assert shapes((3,), jnp.bfloat16) == jnp.float32
  with jax.enable_x64(True):
    assert shapes((3,)) == jnp.float32
    assert shapes((3,), jnp.float64, jnp.float64) == jnp.float64


def test_half_precision_is_summed_in_float32():
  tree = balanced_tree(8, branching=4)
  features, params = tree_oracle.example(tree.num_rows, num_features=512, scale=0.125)
  half = jax.tree.map(lambda value: value.astype(jnp.bfloat16), (features, params))
  every, by_label = jax.device_get(_values(*half, tree))
  expected, *_ = tree_oracle.log_probs_and_gradients(
    tree_oracle.nest(tree), features, params, np.ones((5, 8))
  )
  for found in (every, by_label[:, 1:-1]):
    np.testing.assert_allclose(found.astype(np.float32), expected, rtol=2**-8)


def test_init():
  tree = balanced_tree(100, branching=3)
  params = jax.jit(lambda: tree_init(jax.random.key(0), 200, tree))()
  assert params["kernel"].shape == (149, 200)
  np.testing.assert_allclose(np.std(params["kernel"]), 200**-0.5, rtol=0.02)
  np.testing.assert_array_equal(params["bias"], np.zeros(149))
  # A binary tree has one row for each choice.
  for num_classes, num_rows in ((100, 99), (1, 0)):
    tree = balanced_tree(num_classes)
    shapes = jax.eval_shape(lambda tree=tree: tree_init(jax.random.key(0), 3, tree))
    assert shapes["kernel"].shape == (num_rows, 3)


def test_bad_labels_and_parameters():
  tree = balanced_tree(4)
  features, params = np.ones((2, 3)), {"kernel": np.zeros((3, 3)), "bias": np.zeros(3)}
  with pytest.raises(TypeError, match="integers"):
    tree_label_log_prob(features, params, tree, np.ones((2, 4)) / 4)
  with pytest.raises(ValueError, match="shape"):
    tree_label_log_prob(features, params, tree, np.zeros(3, int))
  with pytest.raises(TypeError, match="integers"):
    tree_label_rows(tree, [0.5])
  for function in (tree_log_probs, lambda *args: tree_label_log_prob(*args, np.zeros(2, int))):
    for wrong in (np.ones((2, 5)), np.ones(())):
      with pytest.raises(ValueError, match=r"they must be \[3, D\] and \[3\]"):
        function(wrong, params, tree)
    with pytest.raises(ValueError, match=r"\[3, D\] and \[3\]"):
      function(features, params | {"bias": np.zeros(4)}, tree)
    with pytest.raises(ValueError, match=r"\[4, D\]"):
      function(features, params, balanced_tree(5))
  with pytest.raises(ValueError, match=r"\[2, D\]"):
    tree_label_log_prob(features, params, tree, np.zeros(2, int), rows=np.array([0, 1]))
