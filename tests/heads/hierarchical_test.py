"""Hierarchical heads by name and from a user's own tree."""

import jax
import numpy as np
import pytest

from softmax_research import functional, heads
from tests.heads.compiled import compiled, draw, evaluate

make = compiled(heads.make)

HEADS = {
  "hierarchical": {"branching": 3},
  "huffman": {"class_counts": [5, 0, 1, 1, 9, 2, 3]},
  "two_level": {"num_groups": 3},
}


@pytest.mark.parametrize("name", HEADS)
def test_the_loss_is_minus_the_label_s_log_probability(name):
  head = make(name, 7, **HEADS[name])
  features = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
  labels = np.array([0, 6, 3, 7, 2])
  options = {"step": 3, "key": jax.random.key(2)}
  losses, log_probs = evaluate(head, draw(head, 4), features, labels, **options)
  np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1, rtol=1e-5)
  expected = [-log_probs[i, y] if y < 7 else np.nan for i, y in enumerate(labels)]
  np.testing.assert_allclose(losses, expected, rtol=1e-5)


@pytest.mark.parametrize("name", HEADS)
def test_heads_learn(name):
  head = heads.make(name, 7, **HEADS[name])
  features, labels = np.eye(7, dtype=np.float32), np.arange(7)

  @jax.jit
  def train(params):
    def update(_, params):
      gradient = jax.grad(lambda p: head.loss(p, features, labels).mean())(params)
      return jax.tree.map(lambda p, g: p - 3.0 * g, params, gradient)

    return head.log_prob(jax.lax.fori_loop(0, 200, update, params), features)

  log_probs = train(jax.tree.map(np.zeros_like, draw(head, 7)))
  np.testing.assert_array_equal(np.argmax(log_probs, -1), labels)


def test_a_taxonomy_of_one_s_own():
  tree = functional.taxonomy_tree({"vehicle": [0, 3], "animal": {"bird": 1, "other": [2, 4]}})
  head = heads.hierarchical(tree)
  params = draw(head, 3)
  assert params["kernel"].shape == (tree.num_rows, 3)
  assert jax.eval_shape(head.log_prob, params, np.ones((2, 3))).shape == (2, 5)


def test_frequent_classes_get_short_paths():
  even, skew = (make("huffman", 64, class_counts=c) for c in ([1] * 64, [10**6] + [1] * 63))

  def loss(head):
    zeros = jax.tree.map(np.zeros_like, draw(head, 1))
    return head.loss(zeros, np.ones((1, 1), np.float32), np.array([0]))

  np.testing.assert_allclose(loss(even), 6 * np.log(2), rtol=1e-6)
  np.testing.assert_allclose(loss(skew), np.log(2), rtol=1e-6)


@pytest.mark.parametrize(("num_classes", "num_groups"), [(1, 1), (3, 1), (10, 3), (100, 10)])
def test_about_sqrt_k_groups_of_equal_size_by_default(num_classes, num_groups):
  head = make("two_level", num_classes)
  rows = draw(head, 1)["bias"].size
  expected = {1: 0, 3: 3}.get(num_classes, num_classes + num_groups)
  assert rows == expected


@pytest.mark.parametrize(
  ("name", "options", "message"),
  [
    ("hierarchical", {"branching": 1}, "branching=1"),
    ("huffman", {}, "no class_counts for the head 'huffman'"),
    ("huffman", {"class_counts": [1, 2]}, r"shape \(2,\) for 7 classes"),
    ("huffman", {"class_counts": [1, 2, 3, 4, 5, 6, -7]}, "at least 0"),
    ("two_level", {"num_groups": 8}, "between 1 and 7"),
    ("two_level", {"num_groups": 0}, "between 1 and 7"),
    ("two_level", {"num_groups": 2.5}, "num_groups=2.5"),
  ],
)
def test_bad_options_fail_when_the_head_is_made(name, options, message):
  with pytest.raises(ValueError, match=message):
    heads.make(name, 7, **options)


@pytest.mark.parametrize("name", HEADS)
def test_bad_numbers_of_classes(name):
  with pytest.raises(ValueError, match="num_classes=0"):
    heads.make(name, 0, **HEADS[name])


def test_groups_of_a_taxonomy_are_given_by_name():
  head = make("two_level:groups=(0,1,1,0,1)", 5)
  features, params = np.ones((2, 3), np.float32), draw(head, 3)
  wanted = functional.two_level_tree([[0, 3], [1, 2, 4]])
  expected = jax.jit(lambda *given: functional.tree_log_probs(*given, wanted))(features, params)
  np.testing.assert_array_equal(head.log_prob(params, features), expected)
  for options in ({"groups": (0, 1)}, {"groups": (0, 1, 1, 0, 1), "num_groups": 2}):
    with pytest.raises(ValueError, match=r"groups and num_groups=.* for 5 classes"):
      heads.make("two_level", 5, **options)
