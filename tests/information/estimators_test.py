"""Estimators by name: their terms by their formulas, and their losses."""

import jax
import numpy as np
import pytest

from softmax_research.functional import cross_entropy, pc_cross_entropy
from softmax_research.information import ESTIMATORS, estimators, info_nce, jensen_shannon, nwj

RNG = np.random.default_rng(0)


def test_the_terms_of_estimators_are_their_formulas():
  logits = RNG.normal(size=(50, 3)).astype(np.float32)
  labels, log_prior = RNG.integers(3, size=50), np.log([0.2, 0.3, 0.5]).astype(np.float32)
  own = logits[np.arange(50), labels]
  log_sum = np.log(np.exp(logits).sum(1))
  entropy = -np.sum(np.exp(log_prior) * log_prior)
  for name, expected in (
    ("softmax", own - log_sum + np.log(3)),
    ("plug_in", own - log_sum + entropy),
    ("pc_softmax", -pc_cross_entropy(logits, labels, log_prior)),
  ):
    made = ESTIMATORS.make(name)
    np.testing.assert_allclose(made.terms(logits, labels, log_prior), expected, atol=1e-5)
    assert made.classifies
  scores = logits[:, labels]
  of_classes = estimators.of_classes(ESTIMATORS.make("nwj"))
  np.testing.assert_allclose(of_classes.terms(logits, labels, log_prior), [nwj(scores)], atol=1e-5)


@pytest.mark.parametrize("text", ["smile:clip=-1", "mine:rate=2", "interpolated:alpha=-1"])
def test_options_out_of_range_are_refused_where_an_estimator_is_named(text):
  with pytest.raises(ValueError, match=f"Got .*{text.partition(':')[2]}; "):
    ESTIMATORS.make(text)


def test_losses_train_by_what_the_papers_train_by():
  scores = RNG.normal(size=(6, 6)).astype(np.float32)
  for name, objective in (
    ("nwj", nwj),
    ("info_nce", info_nce),
    ("smile", jensen_shannon),
    ("jensen_shannon", jensen_shannon),
  ):
    loss, average = ESTIMATORS.make(name).loss(scores, -np.inf)
    assert np.isneginf(average)
    np.testing.assert_allclose(loss, -objective(scores), rtol=1e-6)
  labels, log_prior = RNG.integers(6, size=6), np.full(6, -np.log(6), np.float32)
  loss, _ = jax.grad(ESTIMATORS.make("plug_in").loss, has_aux=True)(scores, labels, log_prior, 0.0)
  expected = jax.grad(lambda scores: cross_entropy(scores, labels).mean())(scores)
  np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-7)
