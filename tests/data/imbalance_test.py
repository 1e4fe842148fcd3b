import numpy as np
import pytest

from softmax_research import data


def test_a_long_tail_is_that_of_cao_et_al():
  # The counts that their released code prints for CIFAR-10 at a ratio of 100.
  counts = data.long_tailed_counts(10, largest=5000, ratio=100)
  assert counts.tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


@pytest.mark.parametrize("ratio", [1, 7.5, 10, 50, 200])
@pytest.mark.parametrize("num_classes", [1, 2, 9, 100])
def test_counts_fall_by_one_factor_a_class(num_classes, ratio):
  counts = data.long_tailed_counts(num_classes, largest=5000, ratio=ratio)
  exact = np.geomspace(5000, 5000 / ratio if num_classes > 1 else 5000, num_classes)
  assert np.all((exact - 1 < counts) & (counts <= exact + 1e-6))
  assert counts[0] == 5000


def test_a_step_leaves_half_of_the_classes_whole():
  for num_classes in (2, 9, 10):
    counts = data.step_counts(num_classes, largest=4500, ratio=100)
    assert counts.tolist() == [4500] * (num_classes // 2) + [45] * -(-num_classes // 2)


def test_alternating_classes():
  counts = data.alternating_counts(10, even=300, odd=3000)
  assert counts.tolist() == [300, 3000] * 5 and counts.sum() == 16_500


def test_the_first_examples_are_kept_in_their_order():
  labels = np.random.default_rng(0).integers(0, 4, 300).astype(np.int32)
  pool = data.Split(np.arange(300, dtype=np.float32)[:, None], labels)
  kept = data.keep_first(pool, np.array([5, 0, 1000, 20]))
  seen, expected = dict.fromkeys(range(4), 0), []
  for place, label in enumerate(labels):  # One by one, as the released code takes them.
    if seen[label] < (5, 0, 1000, 20)[label]:
      seen[label] += 1
      expected.append(place)
  assert kept.images[:, 0].astype(int).tolist() == expected
  np.testing.assert_array_equal(kept.labels, labels[expected])


@pytest.mark.parametrize("function", [data.step_counts, data.long_tailed_counts])
@pytest.mark.parametrize("ratio", [0, 0.5, -10, 1001, float("nan"), "10", True])
def test_bad_ratios(function, ratio):
  with pytest.raises(ValueError, match=f"ratio={ratio!r} for largest=1000.*between 1"):
    function(10, largest=1000, ratio=ratio)


@pytest.mark.parametrize("even", [0, -1, 2.5, "300"])
def test_bad_counts(even):
  with pytest.raises(ValueError, match=f"even={even!r}.*at least 1"):
    data.alternating_counts(10, even=even, odd=3000)


def test_labels_without_a_count():
  pool = data.Split(np.zeros((3, 2), np.float32), np.array([0, 1, 2], np.int32))
  with pytest.raises(ValueError, match="label 2 and 2 counts"):
    data.keep_first(pool, np.array([1, 1]))
  with pytest.raises(ValueError, match="must not be negative"):
    data.keep_first(pool, np.array([1, 1, -1]))
  with pytest.raises(ValueError, match=r"they must be integers \[N\]"):
    data.keep_first(pool._replace(labels=np.eye(3, dtype=np.float32)), np.ones(3, int))
