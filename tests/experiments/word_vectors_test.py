"""Word vectors: words of one topic stand together, and bad settings are refused."""

import numpy as np
import pytest

from experiments import word_vectors
from softmax_research.study import runner, workdir

_TOPICS = (
  "apple apples grape grapes melon peach".split(),
  "piano pianos flute flutes drum harp".split(),
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
  rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("text") / "text"
  sentences = [rng.choice(_TOPICS[i % 2], 12) for i in range(300)]
  path.write_text(". ".join(" ".join(words) for words in sentences))
  return word_vectors.Settings(
    text=str(path), dimensions=8, window=2, steps=150, rate=0.02, subsample=1.0, seeds=1,
    words=("apple", "harp"), analogies=("apple:apples:grape",),
  )  # fmt: skip


def test_words_of_a_topic_stand_together(settings, tmp_path):
  assert runner.run(word_vectors.STUDY, settings, runner.Options(tmp_path)) == []
  (record,) = workdir.read(tmp_path)
  measured = record["measured"]
  for word, topic in (("apple", _TOPICS[0]), ("harp", _TOPICS[1])):
    assert set(measured["near"][word]) == set(topic) - {word}
  assert "grapes" in measured["near"]["apple:apples:grape"]
  assert measured["num_words"] == 12 and measured["num_analogies"] == 4 * 3
  assert 0 <= measured["plural_accuracy"] <= measured["plural_top_5_accuracy"] <= 1
  report = (tmp_path / "report.md").read_text()
  assert "12 words of" in report and "| apple:apples:grape" in report


def test_pairs_are_within_the_window_and_frequent_words_are_left_out(settings):
  corpus = word_vectors.Corpus(["many", "few"], np.array([90, 10]), np.arange(100) % 10 // 9)
  found = word_vectors.pairs(corpus, settings._replace(window=1), seed=0)
  # Without anything left out each word has its two neighbours.
  assert len(found) == 2 * 99 and np.mean(found[:, 0] == 1) == 19 / 198
  counts = np.array([1000, 10])
  corpus = corpus._replace(counts=counts, tokens=np.repeat([0, 1], counts))
  found = word_vectors.pairs(corpus, settings._replace(window=1, subsample=0.01), seed=0)
  # One in ten of the frequent word stays.
  assert 2 * 60 < len(found) < 2 * 160 and np.sum(found[:, 0] == 1) == 19


def test_settings_that_are_none_are_refused(settings):
  for change, match in (
    ({"dimensions": 0}, "--dimensions"),
    ({"seeds": 0}, "--seeds"),
    ({"rate": 0.0}, r"Got --rate=0.0; it must be in \[1e-09, 1\]"),
    ({"analogies": ("a:b",)}, "an analogy is three words"),
  ):
    with pytest.raises(ValueError, match=match):
      word_vectors.check(settings._replace(**change))
  for change, match in (
    ({"words": ("plum",)}, "Got plum, which"),
    ({"least": 10**6, "words": (), "analogies": ()}, "fewer than two words and"),
    ({"subsample": 1e-12}, "no two words of"),
  ):
    with pytest.raises(ValueError, match=match):
      word_vectors.prepare(settings._replace(**change), [])


def test_a_text_of_one_plural_has_no_analogy(tmp_path):
  (tmp_path / "text").write_text("chair chairs " * 9)
  settings = word_vectors.Settings(text=str(tmp_path / "text"))
  with pytest.raises(ValueError, match="fewer than two words and"):
    word_vectors.prepare(settings, [])
