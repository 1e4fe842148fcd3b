"""The study of pairs of images: pairs from their classes and the channel, a fit, bad settings."""

import numpy as np
import pytest

from experiments.information import images
from softmax_research import data, study


@pytest.fixture(name="digits", scope="module")
def _digits():
  return images.prepare(images.Settings(dataset="digits"), [])


def test_pairs_are_of_the_channels_classes(digits):
  generators = [np.random.default_rng(seed) for seed in (0, 1)]
  by_class = digits.rows["train"]
  rows, labels = images.draw(generators, by_class, (10_000,), 0.3)
  classes = np.full(len(digits.pixels), -1)
  for k, of_class in enumerate(by_class):
    classes[of_class] = k
  of_pair = classes[rows]
  np.testing.assert_array_equal(of_pair[..., 1], labels)
  joint = np.zeros((10, 10))
  np.add.at(joint, tuple(of_pair.reshape(-1, 2).T), 1 / labels.size)
  expected = np.full((10, 10), 0.3 / 90)
  np.fill_diagonal(expected, 0.07)
  np.testing.assert_allclose(joint, expected, atol=0.005)
  # All images of a class are drawn.
  assert len(np.unique(rows)) > 0.99 * sum(map(len, by_class))


def test_the_splits_share_no_image(digits):
  sizes = {split: sum(map(len, rows)) for split, rows in digits.rows.items()}
  dataset = data.load("digits")
  assert sizes["train"] + sizes["validation"] == len(dataset.train.images)
  assert sizes["test"] == len(dataset.test.images)
  every = np.concatenate([rows for of in digits.rows.values() for rows in of])
  assert sorted(every) == list(range(len(digits.pixels)))


def test_the_truth_is_that_of_the_channel():
  # H(Y2) - H(Y2 | Y1), by hand.
  expected = np.log(10) + 0.7 * np.log(0.7) + 0.3 * np.log(0.3 / 9)
  assert images.true_information(10, 0.3) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("objective", "least"), [("classifier", 0.65), ("InfoNCE", 0.25)])
def test_a_short_fit_finds_part_of_the_information(digits, objective, least):
  settings = images.Settings(dataset="digits", errors=(0.3,), seeds=2, steps=200, batch_size=32)
  cell = {"objective": objective, "error": 0.3}
  context = study.Context(images.STUDY, settings, cell, (0, 1), prepared=digits)
  (records,) = images.run(cell, context)
  found = [list(record["measured"]["estimators"].values()) for record in records]
  assert [len(of_seed) for of_seed in found] == [1, 1]
  mean = np.mean([of_seed[0]["estimate"] for of_seed in found])
  assert least < mean < records[0]["measured"]["truth"] + 0.1


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"errors": (1.5,)}, r"errors=1.5; it must be in \[0, 1\]"),
    ({"dataset": "letters"}, "Got --dataset=letters; there are digits"),
    ({"steps": 0}, "steps=0; it must be at least 1"),
  ],
)
def test_settings_that_are_none_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    images.check(images.Settings(dataset="digits")._replace(**changes))


def test_points_are_refused():
  with pytest.raises(ValueError, match="points in place of images"):
    images.prepare(images.Settings(dataset="spiral"), [])
