"""Samplers: frequencies, expected counts, and their errors."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from softmax_research.functional import log_uniform_sampler, uniform_sampler, weighted_sampler
from softmax_research.functional.samplers import log_uniform_weights
from tests.programs import program

COUNT = 7  # of classes
WEIGHTS = np.array([8.0, 0.5, 3.0, 1.0, 1.0, 0.1, 5.0])
NUM_KEYS = 20_000
KEY = jax.random.key(0)
MAKERS = {
  "uniform": lambda **options: uniform_sampler(COUNT, **options),
  "log_uniform": lambda **options: log_uniform_sampler(COUNT, **options),
  "weighted": lambda **options: weighted_sampler(WEIGHTS, **options),
}
PROBS = {
  "uniform": np.full(COUNT, 1 / COUNT),
  "log_uniform": np.log(np.arange(2, COUNT + 2) / np.arange(1, COUNT + 1)) / np.log(COUNT + 1),
  "weighted": WEIGHTS / WEIGHTS.sum(),
}


@functools.cache
def _samples(name: str, replacement: bool):
  """Return many samples of 3 and the expected counts of all classes that each of them reports."""
  sampler = MAKERS[name](replacement=replacement)

  @jax.vmap
  def draw(key):
    classes, effort = sampler.sample(key, 3)
    return classes, jnp.exp(sampler.log_expected_count(jnp.arange(COUNT), effort))

  return jax.device_get(jax.jit(lambda key: draw(jax.random.split(key, NUM_KEYS)))(KEY))


def _inclusion(probs, num_samples):
  """Sum the probabilities of all ordered draws without replacement."""
  inclusion = np.zeros(len(probs))
  for draw in itertools.permutations(range(len(probs)), num_samples):
    taken = np.cumsum([0, *probs[list(draw)]])[:-1]
    inclusion[list(draw)] += np.prod(probs[list(draw)] / (1 - taken))
  return inclusion


@pytest.mark.parametrize("name", MAKERS)
def test_with_replacement(name):
  classes, counts = _samples(name, True)
  np.testing.assert_allclose(counts, np.broadcast_to(3 * PROBS[name], counts.shape), rtol=1e-5)
  observed = np.bincount(classes.ravel(), minlength=COUNT)
  assert stats.chisquare(observed, PROBS[name] * observed.sum()).pvalue > 0.01
  # Draws within a sample are independent.
  pairs = np.bincount(COUNT * classes[:, 0] + classes[:, 1], minlength=COUNT * COUNT)
  expected = np.outer(PROBS[name], PROBS[name]).ravel() * NUM_KEYS
  assert stats.chisquare(pairs, expected).pvalue > 0.01


@pytest.mark.parametrize("name", MAKERS)
def test_without_replacement(name):
  classes, counts = _samples(name, False)
  assert np.all(np.diff(np.sort(classes), axis=1) > 0)
  frequency = np.bincount(classes.ravel(), minlength=COUNT) / NUM_KEYS
  inclusion = _inclusion(PROBS[name], 3)
  error = np.sqrt(inclusion * (1 - inclusion) / NUM_KEYS)
  assert np.all(np.abs(frequency - inclusion) < 4 * error)
  # The first is drawn by the probabilities themselves.
  observed = np.bincount(classes[:, 0], minlength=COUNT)
  assert stats.chisquare(observed, PROBS[name] * NUM_KEYS).pvalue > 0.01
  if name == "uniform":
    np.testing.assert_allclose(counts, 3 / COUNT, rtol=1e-6)


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("name", MAKERS)
def test_weighting_by_expected_counts_is_unbiased(name, replacement):
  values = np.exp(np.random.default_rng(0).normal(size=COUNT))
  classes, counts = _samples(name, replacement)
  sampled = np.take_along_axis(counts, classes, axis=1)
  estimates = np.sum(values[classes] / sampled, axis=1)
  error = estimates.std() / np.sqrt(NUM_KEYS)
  assert abs(estimates.mean() - values.sum()) < 4 * error
  assert error < 0.02 * values.sum()  # small enough to see a bias


@pytest.mark.parametrize("name", MAKERS)
def test_all_classes_are_expected_once_when_all_are_drawn(name):
  sampler = MAKERS[name]()

  @jax.jit
  def run(key):
    classes, effort = sampler.sample(key, COUNT)
    return classes, sampler.log_expected_count(classes, effort)

  classes, log_counts = run(KEY)
  assert sorted(classes.tolist()) == list(range(COUNT))
  np.testing.assert_array_equal(log_counts, 0)


def test_a_million_classes_keep_their_probabilities():
  # In float32 the cumulative probabilities of the last classes are a few steps apart, and
  # uniform numbers of 23 bits miss many of them.
  num_classes, num_samples = 1_000_000, 400_000
  sampler = log_uniform_sampler(num_classes, replacement=True)

  @jax.jit
  def run(key):
    classes, effort = sampler.sample(key, num_samples)
    return classes, sampler.log_expected_count(jnp.arange(num_classes), effort)

  classes, log_counts = jax.device_get(run(KEY))
  log_counts = log_counts.astype(np.float64)
  probs = log_uniform_weights(num_classes)
  np.testing.assert_allclose(np.exp(log_counts) / num_samples, probs, rtol=0.01)
  rare = classes[classes >= num_classes // 2]
  assert stats.chisquare(np.bincount(rare % 2)).pvalue > 0.01
  edges = np.append(np.unique(np.geomspace(1, 9e5, 60).astype(int)) - 1, num_classes)
  observed, _ = np.histogram(classes, edges)
  shares = np.add.reduceat(probs, edges[:-1])
  assert stats.chisquare(observed, num_samples * shares / shares.sum()).pvalue > 0.01


def test_first_arrivals_of_a_million_are_not_tied():
  sampler = uniform_sampler(1_000_000)
  classes, _ = jax.jit(lambda key: sampler.sample(key, 20_000))(KEY)
  assert len(np.unique(classes)) == 20_000
  # Ties would go to the lower class number.
  assert stats.kstest(np.asarray(classes) / 1_000_000, "uniform").pvalue > 0.01


def test_weights_of_any_sum_and_of_very_different_size():
  sampler = weighted_sampler([1e-30, 2e10, 6e10], replacement=True)
  counts = np.exp(program(sampler.log_expected_count)(np.arange(3), np.array(1.0)))
  np.testing.assert_allclose(counts[1:], [0.25, 0.75], rtol=1e-6)
  assert 0 < counts[0] < 1e-9
  sampler = weighted_sampler([1e-30, 2e10, 6e10])
  log_counts = program(sampler.log_expected_count)(np.arange(3), np.array(0.0))
  np.testing.assert_allclose(np.asarray(log_counts)[0], np.log(1e-30 / 8e10), rtol=1e-6)


def test_double_precision():
  with jax.enable_x64(True):
    for replacement in (False, True):
      sampler = weighted_sampler(WEIGHTS, replacement=replacement)
      log_counts = jax.eval_shape(lambda s=sampler: s.log_expected_count(*s.sample(KEY, 3)))
      assert log_counts.dtype == jnp.float64


@pytest.mark.parametrize("weights", [[1, 0], [1, -1], [1, np.nan], [1, np.inf], [[1, 2]], 1])
def test_bad_weights(weights):
  with pytest.raises(ValueError, match=r"not all finite and positive.*Raise counts of zero"):
    weighted_sampler(weights)


@pytest.mark.parametrize("make", [uniform_sampler, log_uniform_sampler])
@pytest.mark.parametrize("num_classes", [0, -1, 2.0, True, 2**31])
def test_bad_num_classes(make, num_classes):
  with pytest.raises(ValueError, match=r"Got num_classes=.*at least 1, below 2\^31"):
    make(num_classes)


@pytest.mark.parametrize("name", MAKERS)
def test_bad_num_samples(name):
  for num_samples in (0, -1, 2.0, True):
    with pytest.raises(ValueError, match=r"Got num_samples=.*integer of at least 1"):
      MAKERS[name](replacement=True).sample(KEY, num_samples)
  with pytest.raises(ValueError, match=r"Got num_samples=8 for 7 classes.*replacement=True"):
    MAKERS[name]().sample(KEY, 8)
  drawn, _ = jax.eval_shape(lambda: MAKERS[name](replacement=True).sample(KEY, 8))
  assert drawn.shape == (8,)
