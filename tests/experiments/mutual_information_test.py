"""The study of Gaussian classes: terms against their formulas, a fit near the truth, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.information import estimators, fitting, gaussians, summary
from tests.experiments.scripts import expect_error

_RNG = np.random.default_rng(0)
LOGITS = _RNG.normal(size=(2 * estimators.PAIRS, 3)).astype(np.float32)
LABELS = _RNG.integers(0, 3, len(LOGITS))
PRIOR = np.array([0.2, 0.3, 0.5])


def _terms(name):
  estimator = next(e for e in estimators.ESTIMATORS if e.name == name)
  found = estimator.terms(jnp.asarray(LOGITS), jnp.asarray(LABELS), jnp.log(jnp.asarray(PRIOR)))
  return np.asarray(found, np.float64)


def test_terms_of_classifiers_are_their_formulas():
  logits = LOGITS.astype(np.float64)
  own = logits[np.arange(len(LABELS)), LABELS]
  plain = own - np.log(np.exp(logits).sum(1))
  np.testing.assert_allclose(_terms("softmax + log K"), plain + np.log(3), atol=1e-5)
  entropy = -np.sum(PRIOR * np.log(PRIOR))
  np.testing.assert_allclose(_terms("softmax, plug-in"), plain + entropy, atol=1e-5)
  corrected = own - np.log(np.exp(logits) @ PRIOR)
  np.testing.assert_allclose(_terms("PC-softmax"), corrected, atol=1e-5)


def test_terms_of_critics_are_their_bounds_on_batches_of_pairs():
  expected = []
  for start in (0, estimators.PAIRS):
    rows = slice(start, start + estimators.PAIRS)
    scores = LOGITS[rows].astype(np.float64)[:, LABELS[rows]]
    apart = ~np.eye(len(scores), dtype=bool)
    expected.append(1 + np.diag(scores).mean() - np.exp(scores)[apart].mean())
  np.testing.assert_allclose(_terms("NWJ"), expected, atol=1e-5)


def test_draws_have_the_counts_and_the_means():
  counts = (500, 1000, 1500, 500, 1000)
  train, validation, _ = gaussians.draw(jax.random.key(0), counts, 2, 3)
  assert np.bincount(train.labels).tolist() == list(counts)
  assert np.bincount(validation.labels).tolist() == [count // 5 for count in counts]
  assert not np.any(train.inputs[:, 2])
  means = [np.mean(train.inputs[train.labels == k, :2]) for k in range(5)]
  np.testing.assert_allclose(means, gaussians.MEANS, atol=5 / np.sqrt(2 * 500))


def test_a_fit_comes_near_the_truth():
  counts = (600, 1200, 1800, 2400, 3000)
  found = fitting.fit_and_estimate(
    jnp.arange(2),
    jnp.int32(1),
    objective="softmax",
    counts=counts,
    width=1,
    epochs=6,
    batch_size=100,
    hidden=(32,),
  )
  truth = gaussians.true_information(counts, 1)
  np.testing.assert_allclose(np.mean(found["softmax, plug-in"], 1), truth, atol=0.1)
  prior = np.asarray(counts) / sum(counts)
  gap = np.log(5) + np.sum(prior * np.log(prior))
  excess = np.mean(found["softmax + log K"], 1) - np.mean(found["softmax, plug-in"], 1)
  np.testing.assert_allclose(excess, gap, atol=1e-4)
  assert np.all(found["macro"] < found["micro"])  # rare classes are missed more often


def test_the_claims_say_what_the_records_say():
  def records(name, errors):
    common = {"prior": "balanced", "dimension": 1, "truth": 1.0, "entropy_gap": 0.0}
    return [common | {"estimator": name, "estimate": 1 + error} for error in errors]

  cells = summary.group(
    records("PC-softmax", [0.02, -0.02]) + records("softmax + log K", [0.03, 0.01])
  )
  (text,) = summary.claims(cells)
  assert "PC-softmax, balanced: mean estimate within 0.01 nats of the truth holds" in text
  assert "softmax + log K, balanced: within 0.01 nats of the truth does not hold: +0.0200" in text


@pytest.mark.parametrize(
  ("flag", "message"),
  [("--dimensions=1,zero", "Got the dimension 'zero'"), ("--scale=0.01", "Pass at least 0.05")],
)
def test_bad_input_is_refused(tmp_path, flag, message):
  assert message in expect_error("mutual_information", f"--workdir={tmp_path / 'run'}", flag)
