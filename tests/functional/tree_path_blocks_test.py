"""Log-probabilities of paths in blocks, against a float64 loop over the choices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from scipy.special import expit, log_expit

from softmax_research.functional import (
  balanced_tree,
  huffman_tree,
  tree_label_log_prob,
  tree_label_rows,
  tree_path_blocks,
)
from softmax_research.functional.tree_path import walk

TREES = {"uneven": huffman_tree(np.arange(1, 31) ** 4), "balanced": balanced_tree(32)}
LABELS = np.array([29, 0, 29, 3, 17, 1, 28])
WEIGHTS = np.array([0.5, -1.25, 2.0, 0.75, -0.25, 1.5, -1.0])  # Exact in bfloat16 too.


@pytest.fixture(autouse=True, params=[4, 1000], ids=["many blocks", "one block"])
def _block(request, monkeypatch):
  monkeypatch.setattr(tree_path_blocks, "_CPU_BLOCK", request.param)
  monkeypatch.setattr(tree_path_blocks, "_FEW_NUMBERS", 0)


def _example(tree, dtype=np.float64):
  rng = np.random.default_rng(0)
  kernel, bias = rng.normal(size=(tree.num_rows, 3)), rng.normal(size=tree.num_rows)
  params = {"kernel": kernel.astype(dtype), "bias": bias.astype(dtype)}
  return rng.normal(size=(len(LABELS), 3)).astype(dtype), params


def _naive(features, params, tree):
  """Returns values and the gradients of their weighted sum, from the tree's arrays alone."""
  value = np.zeros(len(LABELS))
  of_features = np.zeros_like(features)
  of_params = jax.tree.map(np.zeros_like, params)
  for n, label in enumerate(LABELS):
    node = tree.leaves[label]
    while node:
      inner = np.flatnonzero(tree.arities)
      row = int(np.searchsorted(inner, tree.parents[node]))
      sign = 1 if node == tree.first_child[tree.parents[node]] else -1
      logit = sign * (features[n] @ params["kernel"][row] + params["bias"][row])
      value[n] += log_expit(logit)
      slope = WEIGHTS[n] * sign * expit(-logit)
      of_features[n] += slope * params["kernel"][row]
      of_params["kernel"][row] += slope * features[n]
      of_params["bias"][row] += slope
      node = tree.parents[node]
  return value, of_features, of_params


def _ours(tree, labels=LABELS, weights=WEIGHTS):
  """Returns `(features, params) -> values and gradients`, the latter of all rows."""

  def run(features, params):
    rows = tree_label_rows(tree, labels)
    some = {name: value.at[rows].get(mode="clip") for name, value in params.items()}

    def loss(features, some):
      log_prob = tree_label_log_prob(features, some, tree, labels, rows=rows)
      return weights @ log_prob, log_prob

    (of_features, of_some), value = jax.grad(loss, (0, 1), has_aux=True)(features, some)
    zeros = jax.tree.map(jnp.zeros_like, params)
    of_params = {n: zeros[n].at[rows].add(of_some[n], mode="drop") for n in zeros}
    return value, of_features, of_params

  return run


@pytest.mark.parametrize("name", TREES)
def test_value_and_gradient(name):
  features, params = _example(TREES[name])
  with jax.enable_x64(True):
    found = jax.jit(_ours(TREES[name]))(features, jax.tree.map(jnp.asarray, params))
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-14),
    found,
    _naive(features, params, TREES[name]),
  )


def _by_rows(tree, params):
  """Returns `features -> values`, from the rows of the labels alone."""
  rows = tree_label_rows(tree, LABELS)
  some = {name: jnp.asarray(value).at[rows].get(mode="clip") for name, value in params.items()}
  return lambda features: tree_label_log_prob(features, some, tree, LABELS, rows=rows)


def test_given_rows_the_choices_are_taken_in_blocks():
  features, params = _example(TREES["uneven"], np.float32)
  function = _by_rows(TREES["uneven"], params)
  assert "custom_vjp_call" in str(jax.make_jaxpr(function)(features))


def test_second_derivatives_in_forward_mode():
  tree = TREES["uneven"]
  features, params = _example(tree)
  with jax.enable_x64(True):

    @jax.jit
    def second(features):
      functions = (
        _by_rows(tree, params),
        lambda features: tree_label_log_prob(features, params, tree, LABELS),
      )
      gradients = [jax.grad(lambda x, f=f: WEIGHTS @ f(x)) for f in functions]
      return [jax.jvp(gradient, (features,), (features,))[1] for gradient in gradients]

    found, expected = second(jnp.asarray(features))
  np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
  assert np.linalg.norm(expected) > 0.1


def test_what_is_past_the_leaves_makes_no_blocks():
  tree = TREES["uneven"]
  path = walk(tree, jnp.asarray(LABELS))
  block = tree_path_blocks._CPU_BLOCK
  expected = -(-tree.path_lengths[LABELS].sum() // block)
  assert tree_path_blocks._choices(path).num_blocks == expected
  assert block == 1000 or expected < -(-path.size // block)


def test_vmap_over_parameters_and_labels():
  tree = TREES["uneven"]
  features, params = _example(tree, np.float32)
  labels = np.stack([LABELS, LABELS[::-1]])
  seeds = jax.tree.map(lambda value: np.stack([value, 2 * value]), params)

  def one(params, labels):
    return _ours(tree, labels)(features, params)

  found = jax.jit(jax.vmap(one))(seeds, labels)
  expected = [jax.jit(one)(jax.tree.map(lambda v, i=i: v[i], seeds), labels[i]) for i in (0, 1)]
  jax.tree.map(
    lambda x, *ys: np.testing.assert_allclose(x, ys, rtol=1e-5, atol=1e-6), found, *expected
  )


def test_examples_sharded_by_shard_map():
  tree = TREES["uneven"]
  features, params = _example(tree)
  mesh = jax.make_mesh((7,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
  rows = tree_label_rows(tree, LABELS)

  @jax.jit
  @jax.grad
  def gradient(some):
    @functools.partial(jax.shard_map, mesh=mesh, in_specs=(P(), *[P("data")] * 3), out_specs=P())
    def loss(some, features, labels, weights):
      log_prob = tree_label_log_prob(features, some, tree, labels, rows=rows)
      return jax.lax.psum(weights @ log_prob, "data")

    return loss(some, features, LABELS, WEIGHTS)

  with jax.enable_x64(True):
    found = gradient({n: jnp.asarray(v).at[rows].get(mode="clip") for n, v in params.items()})
  _, _, expected = _naive(features, params, tree)
  count = int(np.sum(rows < tree.num_rows))
  for name in params:
    np.testing.assert_allclose(
      found[name][:count], expected[name][rows[:count]], rtol=1e-12, atol=1e-14
    )


def test_half_precision_is_summed_in_float32():
  tree = TREES["uneven"]
  features, params = jax.tree.map(lambda v: jnp.asarray(v, jnp.bfloat16), _example(tree))
  found = jax.jit(_ours(tree))(features, params)
  wide = jax.tree.map(lambda v: np.asarray(v, np.float64), (features, params))
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(np.asarray(x, np.float64), y, rtol=2**-8, atol=1e-6),
    found,
    _naive(*wide, tree),
  )
  assert {leaf.dtype.name for leaf in jax.tree.leaves(found)} == {"bfloat16"}
