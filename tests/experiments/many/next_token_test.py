"""Next-token prediction: labels without probability are judged, with numbers that JSON can hold."""

import json

import jax
import pytest

from configs import many_classes_words
from experiments.many import next_token
from softmax_research import heads


@pytest.fixture(scope="module")
def config(tmp_path_factory):
  path = tmp_path_factory.mktemp("text") / "text"
  path.write_text("the cat and the dog saw a bird . " * 1500)
  config = many_classes_words.get_config()
  config.text, config.num_test, config.backbone.widths = str(path), 20, (4,)
  return config


def test_labels_without_probability(config):
  task = next_token.make(config)
  head = heads.make("sparsemax", task.num_classes)
  key = jax.random.key(0)
  # With large weights the projection on the simplex leaves one class.
  params = jax.tree.map(
    lambda leaf: 1000 * jax.random.normal(key, leaf.shape), head.init(key, task.num_features)
  )
  metrics = task.evaluate(task.init(key), head, params)
  assert metrics["nll"] is None and metrics["perplexity"] is None
  assert 0 <= metrics["accuracy"] < 1
  json.dumps(metrics, allow_nan=False)
