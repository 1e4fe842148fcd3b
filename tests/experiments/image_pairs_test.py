"""The study of pairs of images: pairs from their classes and the channel, a fit, bad settings."""

import numpy as np
import pytest

from experiments.information import bounds, image_pairs, images
from softmax_research import data


@pytest.fixture(name="pools", scope="module")
def _pools():
  return image_pairs.load("digits")


def _classes(pool):
  labels = np.empty(len(pool.pixels), int)
  for k, rows in enumerate(pool.rows):
    labels[rows] = k
  return labels


def test_pairs_are_of_the_channels_classes(pools):
  pairs = image_pairs.draw(np.random.default_rng(0), pools.train, (40, 500), 0.3)
  of_pair = _classes(pools.train)[pairs.rows]
  np.testing.assert_array_equal(of_pair[..., 1], pairs.labels)
  joint = np.zeros((10, 10))
  np.add.at(joint, tuple(of_pair.reshape(-1, 2).T), 1 / pairs.labels.size)
  expected = np.full((10, 10), 0.3 / 90)
  np.fill_diagonal(expected, 0.07)
  np.testing.assert_allclose(joint, expected, atol=0.005)
  # All images of a class are drawn.
  assert len(np.unique(pairs.rows)) > 0.99 * len(pools.train.pixels)


def test_the_splits_share_no_image(pools):
  assert len(pools.train.pixels) + len(pools.validation.pixels) == len(
    data.load("digits").train.images
  )
  assert sum(map(len, pools.test.rows)) == len(pools.test.pixels)


def test_the_truth_is_that_of_the_channel():
  # H(Y2) - H(Y2 | Y1), by hand.
  expected = np.log(10) + 0.7 * np.log(0.7) + 0.3 * np.log(0.3 / 9)
  assert image_pairs.true_information(10, 0.3) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("objective", "least"), [("classifier", 0.65), ("InfoNCE", 0.25)])
def test_a_short_fit_finds_part_of_the_information(objective, least):
  settings = images.Settings(dataset="digits", errors=(0.3,), seeds=2, steps=200, batch_size=32)
  runs = images.measure(settings, {"objective": objective, "error": 0.3})
  estimates = [run["estimate"] for run in runs]
  assert len(estimates) == 2
  assert least < np.mean(estimates) < runs[0]["truth"] + 0.1


def test_the_claims_say_where_an_estimator_breaks():
  settings = images.Settings(errors=(0.1, 0.3))
  common = {"truth": 1.0, "half_width": 0.1}
  runs = [
    common | {"estimator": name, "error": error, "estimate": 1 + bias + jitter}
    for name in (images.CLASSIFIER, *(bound.name for bound in bounds.BOUNDS))
    for error, bias in ((0.1, 0.02), (0.3, -0.2))
    for jitter in (-0.01, 0.01)
  ]
  text = images.claims(settings, runs)
  assert (
    "classifier, plug-in: within 0.05 nats of the truth at 1 of 2 errors; off by -0.200 at error "
    "0.3 (truth 1.000)." in text
  )


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"errors": (1.5,)}, r"errors=1.5; it must be in \[0, 1\]"),
    ({"dataset": "letters"}, "Got --dataset=letters; there are digits"),
    ({"dataset": "spiral"}, "points in place of images"),
    ({"steps": 10}, "steps=10; it must be at least 50"),
  ],
)
def test_settings_that_are_none_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    images.check(images.Settings(dataset="digits")._replace(**changes))
