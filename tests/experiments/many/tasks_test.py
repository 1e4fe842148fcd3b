"""The tasks: labels without probability are judged; similar images are neighbours in order."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import many_classes_words
from experiments import many_classes
from experiments.many import tasks
from softmax_research import functional, heads


@pytest.fixture(scope="module")
def config(tmp_path_factory):
  path = tmp_path_factory.mktemp("text") / "text"
  path.write_text("the cat and the dog saw a bird . " * 1500)
  config = many_classes_words.get_config()
  config.text, config.num_test, config.backbone.widths = str(path), 20, (4,)
  return config


def test_labels_without_probability(config):
  made = tasks.next_token(config)
  head = heads.make("sparsemax", len(made.class_counts))
  key = jax.random.key(0)
  # With large weights the projection on the simplex leaves one class.
  params = jax.tree.map(
    lambda leaf: 1000 * jax.random.normal(key, leaf.shape), head.init(key, made.num_features)
  )
  metrics = made.evaluate(made.init(key), head, params)
  assert metrics["nll"] is None and metrics["perplexity"] is None
  assert 0 <= metrics["accuracy"] < 1
  json.dumps(metrics, allow_nan=False)


def test_it_is_judged_by_the_test_part(config, tmp_path):
  config = config.copy_and_resolve_references()
  config.text, config.num_test = str(tmp_path / "text"), 2000
  pathlib.Path(config.text).write_text("a a a b " * 2250 + "b b a b " * 250)
  made = tasks.next_token(config)
  log_probs = np.log([0.9, 0.1])  # of a and b, whatever stands before them
  head = heads.make("softmax", 2)._replace(
    log_prob=lambda params, features: jnp.broadcast_to(log_probs, (len(features), 2))
  )
  metrics = made.evaluate(made.init(jax.random.key(0)), head, None)
  nll = -np.dot([0.25, 0.75], log_probs)
  expected = {"nll": nll, "perplexity": np.exp(nll), "accuracy": 0.25, "top_5_accuracy": 1.0}
  assert metrics == pytest.approx(expected)


def test_the_rank_of_log_probabilities_is_bounded_for_one_softmax_alone(config):
  features = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
  for name, expected in (("softmax", 6), ("mixture:num_components=5", 12), ("sparsemax", None)):
    head = heads.make(name, 12)
    params = jax.tree.map(lambda leaf: 9 * leaf, head.init(jax.random.key(0), 4))
    assert tasks.rank(head, params, features) in (expected, expected and expected - 1), name
  config = config.copy_and_resolve_references()
  config.rank_of = 10
  made = tasks.next_token(config)
  head = heads.make("softmax", len(made.class_counts))
  params = head.init(jax.random.key(0), made.num_features)
  assert 1 <= made.evaluate(made.init(jax.random.key(0)), head, params)["rank"] <= 6
  config.rank_of = -1
  with pytest.raises(ValueError, match="rank_of=-1; it must be an integer of at least 0"):
    tasks.next_token(config)


def test_texts_that_cannot_be_judged_are_refused(config, tmp_path):
  config = config.copy_and_resolve_references()
  config.context = 1000
  with pytest.raises(ValueError, match=r"context=1000 for a test part of 1000 tokens"):
    tasks.next_token(config)
  config.context, config.text = 4, str(tmp_path / "text")
  pathlib.Path(config.text).write_text(" ".join(map(str, range(10_000))))
  with pytest.raises(ValueError, match=r"training has seen no token.*more than once"):
    tasks.next_token(config)


def test_results_of_another_text_are_told_apart(config, tmp_path):
  made = tasks.next_token(config)
  records = [{"measured": {"dataset": made.describe()}}]
  assert many_classes.changes(records, tasks.next_token(config)) == ""
  # As many words, each as often, in another order: the sizes do not tell the texts apart.
  edited = config.copy_and_resolve_references()
  edited.text = str(tmp_path / "text")
  text = pathlib.Path(config.text).read_text().replace("saw a bird", "a bird saw", 1)
  pathlib.Path(edited.text).write_text(text)
  other = tasks.next_token(edited)._replace(name=made.name)
  message = many_classes.changes(records, other)
  assert "\n  fingerprint: " in message and "--workdir" in message
  # Records of an earlier version have none, and are compared by the rest.
  del records[0]["measured"]["dataset"]["fingerprint"]
  assert many_classes.changes(records, other) == ""
  message = many_classes.changes(records, made._replace(name="other", class_counts=np.ones(10)))
  assert "'other'" in message and "\n  num_classes: 8 -> 10" in message


def test_the_nodes_of_a_balanced_tree_are_clusters():
  # Clusters of as many images as 3 nodes have leaves, numbered from left to right.
  tree = functional.balanced_tree(11)
  below = [{node} for node in range(tree.num_nodes)]
  for node in range(tree.num_nodes - 1, 0, -1):
    below[tree.parents[node]] |= below[node]
  sizes = [sum(leaf in below[node] for leaf in tree.leaves) for node in (3, 4, 2)]
  cluster = np.repeat([0, 1, 2], sizes)
  centres = np.array([[-100, -20], [-100, 20], [100, 0]])
  random = np.random.RandomState(0)
  shuffled = random.permutation(len(cluster))
  images = (centres[cluster] + random.uniform(-1, 1, (11, 2)))[shuffled]
  order = tasks.order_images(images[:, :, None])
  assert sorted(order) == list(range(11))
  runs = np.split(cluster[shuffled][order], np.cumsum(sizes)[:-1])
  assert all(len(set(run)) == 1 for run in runs)
