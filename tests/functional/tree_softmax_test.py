"""Tree softmax against a plain recursion over the nested taxonomy, in values and gradients."""

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
  huffman_tree,
  log_softmax,
  taxonomy_tree,
  tree_init,
  tree_label_log_prob,
  tree_label_rows,
  tree_log_probs,
  two_level_tree,
)

NESTED = {
  "binary": [[[6, 0], [1, [4, 2]]], [3, 5]],
  "flat": [0, 1, 2, 3],
  "uneven": [3, [0, [4, 1, 9, 10], [[11, 7], 2]], [[5]], [6, 8]],
  "pair": [1, 0],
  "single": [0],
}


def _skip_only_children(nested):
  while isinstance(nested, list) and len(nested) == 1:
    nested = nested[0]
  return [_skip_only_children(part) for part in nested] if isinstance(nested, list) else nested


def _naive(nested, features, params, xp=np):
  """Returns the log-probabilities of all classes for one example by recursion."""
  nested = _skip_only_children(nested)
  order = [nested]
  for part in order:
    order.extend(part if isinstance(part, list) else [])
  numbers = {id(part): i for i, part in enumerate(order) if isinstance(part, list)}
  inner = [part for part in order if isinstance(part, list)]
  binary = all(len(part) == 2 for part in inner)
  found = {}

  def logit(row):
    return xp.sum(features * params["kernel"][row]) + params["bias"][row]

  def descend(part, log_prob):
    if not isinstance(part, list):
      found[part] = log_prob
      return
    if binary:
      choice = logit([id(other) for other in inner].index(id(part)))
      logits = [choice, 0 * choice]
    else:
      # Breadth-first, the children of earlier nodes come before those of this one.
      before = sum(len(order[i]) for i in range(numbers[id(part)]) if isinstance(order[i], list))
      logits = [logit(before + place) for place in range(len(part))]
    total = functools.reduce(xp.logaddexp, logits)
    for child, value in zip(part, logits, strict=True):
      descend(child, log_prob + value - total)

  descend(nested, xp.zeros(()))
  return xp.stack([found[label] for label in range(len(found))])


def _example(tree, num_examples=3, num_features=4, scale=2.0, seed=0):
  rng = np.random.default_rng(seed)
  params = {
    "kernel": scale * rng.normal(size=(tree.num_rows, num_features)),
    "bias": rng.normal(size=tree.num_rows),
  }
  return rng.normal(size=(num_examples, num_features)), params


def _label_log_probs(features, params, tree):
  """Returns the log-probabilities of all classes, one label at a time."""
  labels = jnp.arange(tree.num_classes)
  return jax.vmap(
    lambda label: tree_label_log_prob(
      features, params, tree, jnp.full(features.shape[:-1], label, jnp.int32)
    ),
    out_axes=-1,
  )(labels)


_jit = functools.partial(jax.jit, static_argnums=2)


def _check_against_naive(nested, seed):
  tree = taxonomy_tree(nested)
  features, params = _example(tree, seed=seed)
  expected = np.stack([_naive(nested, feature, params) for feature in features])
  with jax.enable_x64(True):
    actual = _jit(tree_log_probs)(features, params, tree)
    paths = _jit(_label_log_probs)(features, params, tree)
  np.testing.assert_allclose(np.exp(actual).sum(-1), 1, rtol=1e-13)
  np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14)
  np.testing.assert_allclose(paths, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", NESTED)
def test_values(name):
  _check_against_naive(NESTED[name], seed=0)


def _number_leaves(nested, seed):
  """Replaces each leaf by a class, in random order."""

  def count(part):
    return sum(map(count, part)) if isinstance(part, list) else 1

  labels = iter(np.random.default_rng(seed).permutation(count(nested)).tolist())

  def fill(part):
    return [fill(child) for child in part] if isinstance(part, list) else next(labels)

  return fill(nested)


_SHAPES = st.recursive(
  st.none(), lambda child: st.lists(child, min_size=1, max_size=5), max_leaves=20
) | st.recursive(st.none(), lambda child: st.lists(child, min_size=2, max_size=2), max_leaves=20)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(_SHAPES, st.integers(0, 2**20))
def test_values_of_any_taxonomy(shape, seed):
  _check_against_naive(_number_leaves(shape, seed), seed)


@pytest.mark.parametrize("name", NESTED)
def test_gradients(name):
  nested, tree = NESTED[name], taxonomy_tree(NESTED[name])
  features, params = _example(tree, num_examples=2)
  weights = np.random.default_rng(1).normal(size=(2, tree.num_classes))

  def weigh(log_probs, features, params):
    return jnp.sum(weights * log_probs(features, params))

  naive = jax.vmap(functools.partial(_naive, nested, xp=jnp), in_axes=(0, None))
  with jax.enable_x64(True):
    expected = jax.jit(jax.grad(functools.partial(weigh, naive), (0, 1)))(features, params)
    for function in (tree_log_probs, _label_log_probs):
      ours = functools.partial(weigh, functools.partial(function, tree=tree))
      gradient = jax.jit(jax.grad(ours, (0, 1)))(features, params)
      jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-13), gradient, expected
      )


def _differences(function, x, step=1e-5):
  """Returns the derivative of a function along each coordinate by central differences."""
  steps = step * jnp.eye(x.size)
  return (jax.vmap(function)(x + steps) - jax.vmap(function)(x - steps)) / (2 * step)


@pytest.mark.parametrize("nested", [[[0, 1], 2], [[0, 1, 2], 3]])
@pytest.mark.parametrize("which", ["every", "label"])
def test_derivatives_forward_and_reverse(nested, which):
  tree = taxonomy_tree(nested)
  weights = np.random.default_rng(1).normal(size=(2, tree.num_classes))
  labels = np.array([0, 2])

  def weigh(features, params):
    if which == "every":
      return jnp.sum(weights * tree_log_probs(features, params, tree))
    return weights[0, :2] @ tree_label_log_prob(features, params, tree, labels)

  with jax.enable_x64(True):
    example = jax.tree.map(jnp.asarray, _example(tree, num_examples=2, num_features=2, scale=0.5))
    x, unravel = jax.flatten_util.ravel_pytree(example)

    def function(x):
      return weigh(*unravel(x))

    derivatives = jax.jit(
      lambda x: {
        "differences": _differences(function, x),
        "reverse": jax.grad(function)(x),
        "forward": jax.jacfwd(function)(x),
        "second differences": _differences(jax.grad(function), x),
        "forward over reverse": jax.jacfwd(jax.grad(function))(x),
        "reverse over forward": jax.jacrev(jax.jacfwd(function))(x),
      }
    )(x)
  found = {name: np.asarray(value) for name, value in derivatives.items()}
  np.testing.assert_allclose(found["reverse"], found["differences"], atol=1e-9)
  np.testing.assert_allclose(found["forward"], found["reverse"], atol=1e-14)
  np.testing.assert_allclose(found["forward over reverse"], found["second differences"], atol=1e-9)
  np.testing.assert_allclose(
    found["reverse over forward"], found["forward over reverse"], atol=1e-14
  )
  assert np.linalg.norm(found["second differences"]) > 0.1


@pytest.mark.parametrize(
  "tree",
  [balanced_tree(5, branching=5), two_level_tree([[0, 1, 2, 3, 4]]), two_level_tree([1] * 5)],
)
def test_a_flat_tree_is_softmax(tree):
  features, params = _example(tree)
  labels = np.array([4, 0, 2])

  def softmax_loss(features, params):
    logits = features @ params["kernel"].T + params["bias"]
    return -jnp.take_along_axis(log_softmax(logits), labels[:, None], -1).sum()

  def tree_loss(features, params):
    return -tree_label_log_prob(features, params, tree, labels).sum()

  with jax.enable_x64(True):
    logits = features @ params["kernel"].T + params["bias"]
    log_probs = _jit(tree_log_probs)(features, params, tree)
    np.testing.assert_allclose(log_probs, log_softmax(logits), rtol=1e-14)
    jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-15),
      jax.jit(jax.value_and_grad(tree_loss, (0, 1)))(features, params),
      jax.jit(jax.value_and_grad(softmax_loss, (0, 1)))(features, params),
    )


@pytest.mark.parametrize("tree", [balanced_tree(4), balanced_tree(9, branching=3)])
def test_large_logits(tree):
  params = {"kernel": jnp.full((tree.num_rows, 1), 1e4), "bias": jnp.zeros(tree.num_rows)}
  features = jnp.array([[1.0], [-1.0]])
  log_probs, gradient = jax.value_and_grad(lambda p: tree_log_probs(features, p, tree).sum())(
    params
  )
  assert np.isfinite(log_probs) and np.all(np.isfinite(gradient["kernel"]))


def test_a_certain_choice_keeps_its_small_loss():
  params = {"kernel": jnp.array([[40.0]]), "bias": jnp.zeros(1)}
  log_prob = tree_label_log_prob(jnp.ones(1), params, balanced_tree(2), 0)
  np.testing.assert_allclose(log_prob, -np.exp(-40.0), rtol=1e-6)


def _some(params, rows):
  return {name: jnp.asarray(value).at[rows].get(mode="clip") for name, value in params.items()}


@pytest.mark.parametrize(
  "tree",
  [huffman_tree(np.arange(30) ** 3), balanced_tree(50, branching=4), two_level_tree([0, 7] * 9)],
)
def test_the_rows_of_the_paths_suffice(tree):
  features, params = _example(tree, num_examples=4)
  labels = np.array([3, 9, 3, 1])

  def loss(params, rows=None):
    return -tree_label_log_prob(features, params, tree, labels, rows=rows).sum()

  @jax.jit
  def both(params):
    rows = tree_label_rows(tree, labels)
    return (
      rows,
      jax.value_and_grad(loss)(params),
      jax.value_and_grad(loss)(_some(params, rows), rows),
    )

  with jax.enable_x64(True):
    rows, (value, gradient), (some_value, some) = both(params)
    np.testing.assert_allclose(some_value, value, rtol=1e-13)
    for name in params:
      spread = jnp.zeros_like(params[name]).at[rows].add(some[name], mode="drop")
      np.testing.assert_allclose(spread, gradient[name], rtol=1e-12, atol=1e-15)


def test_updates_of_rows_equal_dense_updates():
  tree, rate = balanced_tree(40, branching=3), 0.3
  features, params = _example(tree, num_examples=4)

  def loss(params, labels, rows=None):
    return -tree_label_log_prob(features, params, tree, labels, rows=rows).sum()

  @jax.jit
  def update(dense, sparse, labels):
    gradient = jax.grad(loss)(dense, labels)
    dense = {n: dense[n] - rate * gradient[n] for n in dense}
    rows = tree_label_rows(tree, labels)
    gradient = jax.grad(loss)(_some(sparse, rows), labels, rows)
    sparse = {n: sparse[n].at[rows].add(-rate * gradient[n], mode="drop") for n in sparse}
    return dense, sparse

  sparse = dense = jax.tree.map(jnp.asarray, params)
  for labels in np.array([[0, 5, 5, 39], [7, 0, 38, 12]]):
    dense, sparse = update(dense, sparse, labels)
  for name in dense:
    np.testing.assert_allclose(sparse[name], dense[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tree", [balanced_tree(6), two_level_tree([[0, 1], [2, 3, 4, 5]])])
def test_labels_out_of_range_are_nan_and_teach_nothing(tree):
  features, params = _example(tree)
  labels = np.array([2, 6, -1])
  function = jax.jit(lambda features: tree_label_log_prob(features, params, tree, labels))
  np.testing.assert_array_equal(np.isnan(function(features)), [False, True, True])
  gradient = jax.grad(lambda features: function(features).sum())(features)
  np.testing.assert_array_equal(gradient[1:], 0)
  assert np.all(np.isfinite(gradient)) and np.any(gradient[0] != 0)


def test_labels_of_eight_bits_among_many_classes():
  tree = balanced_tree(300)
  features, params = _example(tree, num_examples=2)
  small = tree_label_log_prob(features, params, tree, np.array([200, 7], np.uint8))
  np.testing.assert_array_equal(
    small, tree_label_log_prob(features, params, tree, np.array([200, 7]))
  )
  assert np.all(np.isfinite(small))


@pytest.mark.parametrize(
  "tree", [balanced_tree(7), balanced_tree(7, branching=3), balanced_tree(1)]
)
def test_shapes(tree):
  features, params = _example(tree, num_examples=6)
  labels = np.arange(6) % tree.num_classes
  batch = features.reshape(2, 3, 4)

  @jax.jit
  def run(params):
    rows = tree_label_rows(tree, labels[:0])
    held = _some(params, rows)
    label_log_prob = functools.partial(tree_label_log_prob, tree=tree)
    return {
      "every": tree_log_probs(features, params, tree),
      "batch": tree_log_probs(batch, params, tree),
      "one": tree_log_probs(features[0], params, tree),
      "none": tree_log_probs(features[:0], params, tree),
      "labels": label_log_prob(features, params, labels=labels),
      "batch labels": label_log_prob(batch, params, labels=labels.reshape(2, 3)),
      "one label": label_log_prob(features[0], params, labels=labels[0]),
      "no label": label_log_prob(features[:0], params, labels=labels[:0]),
      "no label, some rows": label_log_prob(features[:0], held, labels=labels[:0], rows=rows),
    }

  found = run(params)
  every, path = found["every"], found["labels"]
  np.testing.assert_allclose(path, every[np.arange(6), labels], rtol=1e-5)
  np.testing.assert_allclose(found["batch"].reshape(6, -1), every, rtol=1e-5)
  np.testing.assert_allclose(found["batch labels"].ravel(), path, rtol=1e-5)
  np.testing.assert_allclose(found["one"], every[0], rtol=1e-5)
  np.testing.assert_allclose(found["one label"], path[0], rtol=1e-5)
  assert found["none"].shape == (0, tree.num_classes)
  assert found["no label"].shape == found["no label, some rows"].shape == (0,)


@pytest.mark.parametrize("tree", [balanced_tree(7), balanced_tree(7, branching=3)])
def test_eager_jit_and_vmap_agree(tree):
  features, params = _example(tree)
  labels = np.array([6, 0, 3])
  stacked = jax.tree.map(lambda value: np.stack([value, value]), params)

  @jax.jit
  def mapped(features, stacked):
    each = jax.vmap(lambda f, y: tree_label_log_prob(f, params, tree, y))(features, labels)
    return each, jax.vmap(lambda p: tree_label_log_prob(features, p, tree, labels))(stacked)

  eager = tree_label_log_prob(features, params, tree, labels)
  jitted = _jit(tree_label_log_prob)(features, params, tree, labels)
  each, seeds = mapped(features, stacked)
  for other in (jitted, each, *seeds):
    np.testing.assert_allclose(other, eager, rtol=1e-5)


def test_half_precision_is_summed_in_float32():
  tree = balanced_tree(8, branching=4)
  features, params = _example(tree, num_features=512, scale=0.1)
  half = jnp.asarray(features, jnp.bfloat16)
  half_params = jax.tree.map(lambda value: jnp.asarray(value, jnp.bfloat16), params)
  wide_params = jax.tree.map(jnp.float32, half_params)
  exact = _jit(tree_log_probs)(half.astype(jnp.float32), wide_params, tree)
  labels = np.array([0, 7, 3])
  for function in (tree_log_probs, _label_log_probs):
    log_probs = _jit(function)(half, half_params, tree)
    assert log_probs.dtype == jnp.bfloat16
    np.testing.assert_allclose(log_probs.astype(jnp.float32), exact, rtol=2**-8)
  mixed = _jit(tree_label_log_prob)(half, wide_params, tree, labels)
  assert mixed.dtype == jnp.float32
  np.testing.assert_allclose(mixed, exact[np.arange(3), labels], rtol=1e-5)


def test_bad_labels_and_parameters():
  tree = balanced_tree(4)
  features, params = jnp.ones((2, 3)), tree_init(jax.random.key(0), 3, tree)
  with pytest.raises(TypeError, match="integers"):
    tree_label_log_prob(features, params, tree, jnp.ones((2, 4)) / 4)
  with pytest.raises(ValueError, match="shape"):
    tree_label_log_prob(features, params, tree, jnp.zeros(3, int))
  with pytest.raises(TypeError, match="integers"):
    tree_label_rows(tree, [0.5])
  for function in (tree_log_probs, lambda *args: tree_label_log_prob(*args, np.zeros(2, int))):
    with pytest.raises(ValueError, match=r"\[3, D\]"):
      function(jnp.ones((2, 5)), params, tree)
    with pytest.raises(ValueError, match=r"\[4, D\]"):
      function(features, params, balanced_tree(5))
  with pytest.raises(ValueError, match=r"\[2, D\]"):
    tree_label_log_prob(features, params, tree, jnp.zeros(2, int), rows=jnp.array([0, 1]))
