import numpy as np
import pytest

from softmax_research import data

_LABELS = np.random.default_rng(0).integers(0, 5, 20_000).astype(np.int32)


@pytest.mark.parametrize("flips", ["symmetric", "pair"])
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.4])
def test_labels_follow_the_transition(flips, rate):
  transition = data.flip_probabilities(5, flips=flips, rate=rate)
  noisy = data.flip_labels(_LABELS, transition, seed=3)
  found = np.zeros((5, 5))
  np.add.at(found, (_LABELS, noisy), 1)
  found /= np.bincount(_LABELS)[:, None]
  # Three standard errors of a share of 4,000 draws.
  rest = rate / 4 if flips == "symmetric" else 0
  np.testing.assert_allclose(transition[1], [rest, 1 - rate, rest or rate, rest, rest], atol=1e-15)
  np.testing.assert_allclose(found, transition, atol=3 * 0.5 / 4000**0.5)
  assert np.all(found[transition == 0] == 0) and noisy.dtype == np.int32
  np.testing.assert_allclose(np.mean(noisy != _LABELS), rate, atol=0.01)
  np.testing.assert_array_equal(noisy, data.flip_labels(_LABELS, transition, seed=3))
  if rate:
    assert np.any(noisy != data.flip_labels(_LABELS, transition, seed=4))


def test_flips_never_change():
  # Written down once: published results rest on these very labels.
  noisy = data.flip_labels(
    np.arange(12) % 4, data.flip_probabilities(4, flips="symmetric", rate=0.5), seed=0
  )
  assert noisy.tolist() == [3, 1, 2, 3, 0, 1, 2, 0, 2, 1, 0, 0]


@pytest.mark.parametrize(("num_classes", "rate"), [(1, 0.2), (3, 1.1), (3, -0.1)])
def test_bad_rates(num_classes, rate):
  with pytest.raises(ValueError, match=f"num_classes={num_classes} and rate={rate}"):
    data.flip_probabilities(num_classes, flips="pair", rate=rate)


@pytest.mark.parametrize(
  ("labels", "transition", "seed", "message"),
  [
    ([0, 3], np.eye(3), 0, "labels from 0 to 3 for 3 classes"),
    ([0, 1], np.full((2, 2), 0.4), 0, "no distribution"),
    ([0, 1], np.eye(3)[:2], 0, r"shape \(2, 3\)"),
    ([0, 1], np.eye(2), -1, "seed=-1"),
    ([[0.0, 1.0]], np.eye(2), 0, r"they must be integers \[N\]"),
  ],
)
def test_bad_labels_and_transitions(labels, transition, seed, message):
  with pytest.raises(ValueError, match=message):
    data.flip_labels(np.array(labels), transition, seed=seed)
