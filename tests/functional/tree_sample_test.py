"""Samples of trees: frequencies by the exhaustive probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from scipy import stats

from softmax_research.functional import tree_log_probs, tree_sample
from tests.functional.tree_search_test import TREES, _example

COUNT = 10_000


@pytest.mark.parametrize("name", TREES)
def test_classes_are_drawn_by_their_probabilities(name):
  tree = TREES[name]
  features, params = _example(tree, scale=0.4, batch=(2,))

  @jax.jit
  def draw(features, params):
    many = jnp.broadcast_to(features, (COUNT, *features.shape))
    classes = tree_sample(jax.random.key(0), many, params, tree)
    return classes, tree_log_probs(features, params, tree)

  classes, each = jax.device_get(draw(features, params))
  assert classes.shape == (COUNT, 2) and classes.dtype == np.int32
  for drawn, log_probs in zip(classes.T, each, strict=True):
    expected = COUNT * np.exp(np.float64(log_probs))
    observed = np.bincount(drawn, minlength=tree.num_classes)
    assert len(observed) == tree.num_classes
    rare = expected < 5
    both = [np.append(x[~rare], x[rare].sum()) for x in (observed, expected)]
    assert abs(both[0][-1] - both[1][-1]) < 4 * np.sqrt(both[1][-1] + 1)
    if tree.num_classes > 1:
      observed, expected = (x[:-1] / x[:-1].sum() for x in both)
      assert stats.chisquare(COUNT * observed, COUNT * expected).pvalue > 0.01


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_on_a_mesh(kind):
  tree = TREES["uneven"]
  features, params = _example(tree, scale=1.0)

  @jax.jit
  def draw(features, params):
    return tree_sample(jax.random.key(0), features, params, tree)

  expected = draw(features, params)
  mesh = jax.make_mesh((2,), ("batch",), (kind,), devices=jax.devices("cpu")[:2])
  with jax.set_mesh(mesh):
    rows = NamedSharding(mesh, PartitionSpec("batch"))
    whole = NamedSharding(mesh, PartitionSpec())
    found = draw(jax.device_put(features, rows), jax.device_put(params, whole))
  np.testing.assert_array_equal(found, expected)
