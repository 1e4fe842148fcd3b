"""Cutoffs by dynamic programming, against all cutoffs there are."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_research.functional import adaptive_cost, adaptive_cutoffs


def _cost(counts, cutoffs, overhead, flat):
  """The model once more, from its words."""
  probs = np.sort(counts)[::-1] / np.sum(counts)
  bounds = [*cutoffs, len(counts)]
  cost = overhead + max(0, bounds[0] + len(cutoffs) - flat)
  for start, stop in itertools.pairwise(bounds):
    cost += probs[start:stop].sum() * (overhead + max(0, stop - start - flat))
  return cost


@settings(max_examples=60, deadline=None)
@given(
  st.lists(st.integers(0, 50), min_size=2, max_size=9).filter(any),
  st.integers(1, 8),
  st.sampled_from([0.0, 0.5, 2.0]),
  st.sampled_from([0.0, 1.0, 3.0]),
)
def test_no_cutoffs_are_cheaper(counts, num_clusters, overhead, flat):
  num_clusters = min(num_clusters, len(counts) - 1)
  found = adaptive_cutoffs(counts, num_clusters=num_clusters, overhead=overhead, flat=flat)
  assert len(found) == num_clusters
  cost = _cost(counts, found, overhead, flat)
  every = itertools.combinations(range(1, len(counts)), num_clusters)
  least = min(_cost(counts, cutoffs, overhead, flat) for cutoffs in every)
  assert cost == pytest.approx(least, rel=1e-12)
  assert adaptive_cost(counts, found, overhead=overhead, flat=flat) == pytest.approx(
    cost, rel=1e-12
  )


def test_the_default_is_the_cheapest_number_of_clusters():
  counts = 1 / np.arange(1.0, 501)
  costs = {n: adaptive_cost(counts, adaptive_cutoffs(counts, num_clusters=n)) for n in range(1, 5)}
  assert adaptive_cost(counts, adaptive_cutoffs(counts)) == min(costs.values())
  assert costs[1] > costs[2]  # so that the choice is one


def test_many_classes_cost_within_a_thousandth_of_the_optimum():
  counts = 1 / np.arange(1.0, 200_001)
  cutoffs = adaptive_cutoffs(counts, num_clusters=1)
  # The optimum over every cutoff.
  share = np.cumsum(counts) / counts.sum()
  places = np.arange(1, 200_000)
  rest = 1 - share[places - 1]
  costs = 50 + np.maximum(0, places + 1 - 50) + rest * (50 + np.maximum(0, 200_000 - places - 50))
  assert adaptive_cost(counts, cutoffs) <= 1.001 * costs.min()


def test_the_order_of_the_counts_does_not_matter():
  counts = 1 / np.arange(1.0, 301)
  shuffled = np.random.default_rng(0).permutation(counts)
  assert adaptive_cutoffs(shuffled) == adaptive_cutoffs(counts)


def test_one_class_has_no_cluster():
  assert adaptive_cutoffs([3]) == ()


@pytest.mark.parametrize("counts", [[], [0, 0], [1, -1], [1, np.inf], [[1, 2]], 3])
def test_bad_counts(counts):
  with pytest.raises(ValueError, match="not all finite and at least 0 with one above 0"):
    adaptive_cutoffs(counts)


@pytest.mark.parametrize("num_clusters", [0, 3, 1.0, True])
def test_bad_num_clusters(num_clusters):
  with pytest.raises(ValueError, match=r"Got num_clusters=.* for 3 classes.*integer from 1 to 2"):
    adaptive_cutoffs([3, 2, 1], num_clusters=num_clusters)


@pytest.mark.parametrize("option", ["overhead", "flat"])
def test_bad_model(option):
  with pytest.raises(ValueError, match=f"Got {option}=-1"):
    adaptive_cutoffs([3, 2, 1], **{option: -1})
