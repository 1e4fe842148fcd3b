"""Estimates of a user's own samples, against laws whose information is known; bad samples."""

import functools

import jax
import numpy as np
import pytest

from softmax_research.information import (
  Estimator,
  correlated_gaussian_information,
  discrete_information,
  estimate,
  estimators,
  fitting,
  nwj,
)

QUICK = functools.partial(estimate, steps=300, widths=(64,), learning_rate=3e-3)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(8000, 2))
Y = 0.7 * X + np.sqrt(1 - 0.7**2) * RNG.normal(size=X.shape)
JOINT = np.array([[0.3, 0.05, 0.05], [0.05, 0.2, 0.1], [0.0, 0.05, 0.2]])
LABELS = np.stack(np.divmod(RNG.choice(9, size=5000, p=JOINT.ravel()), 3))


@pytest.mark.parametrize("name", ["mine", "smile:clip=5.0"])
def test_critics_of_correlated_gaussians(name):
  # The units and the origin of either vector do not matter.
  found = QUICK(100 * X + 1e10, Y.astype(np.float32), estimator=name)
  truth = correlated_gaussian_information(0.7, 2)
  assert found.information == pytest.approx(truth, abs=0.12)
  assert found.low < found.information < found.high < found.low + 0.3


@pytest.mark.parametrize("name", ["plug_in", "info_nce"])
def test_estimators_of_a_discrete_joint(name):
  x, y = LABELS
  found = QUICK(10 * x - 3, 5 - y, estimator=name)  # Whichever numbers stand for the categories.
  truth = discrete_information(JOINT)
  assert found.low < truth < found.high
  assert found.information == pytest.approx(truth, abs=0.06)


def test_independent_samples_have_no_information():
  assert abs(QUICK(X, Y[::-1], estimator="nwj").information) < 0.05


def test_the_interval_is_students_of_the_test_terms(monkeypatch):
  terms = np.array([1.0, 2.0, 6.0])
  monkeypatch.setattr(fitting, "fit", lambda *task, **options: terms)
  found = estimate(*LABELS, estimator="plug_in", steps=7)
  # t of 2 degrees of freedom is 4.302653; the standard deviation is sqrt(7).
  half = 4.302653 * np.sqrt(7 / 3)
  assert found == pytest.approx((3.0, 3.0 - half, 3.0 + half))
  terms[1] = np.inf
  assert np.isnan(estimate(*LABELS, estimator="plug_in", steps=8)).all()


def test_a_seed_repeats_itself_and_an_own_estimator_is_taken():
  short = functools.partial(estimate, X[:1400], Y[:1400], steps=2, widths=(4,))
  own = estimators.of_bound(nwj)
  first, again = (short(estimator=of, seed=3) for of in (own, "nwj"))
  assert isinstance(own, Estimator) and first == again != short(estimator=own, seed=4)


@pytest.mark.parametrize("estimator", ["mine", "plug_in"])
def test_switches_of_jax_forbid_nothing(estimator):
  y = LABELS[1] if estimator == "plug_in" else Y[: len(LABELS[1])]
  with jax.enable_x64(True), jax.numpy_rank_promotion("raise"):
    found = estimate(X[: len(y)], y, estimator=estimator, steps=2, widths=(4,))
  assert abs(found.information) < 0.1


@pytest.mark.parametrize(
  ("x", "y", "options", "message"),
  [
    (X, Y[:-1], {}, "8000 x and 7999 y; they are pairs"),
    (X, Y, {"estimator": "plug_in"}, "categories, whole numbers .* as info_nce"),
    (X, Y, {"estimator": "noise"}, "'noise'; the estimators are info_nce, interpolated"),
    (X, Y, {"estimator": "smile:clip=text"}, "clip='text'"),
    (X[:99], Y[:99], {}, "99 pairs with batch_size=128; .* 1280 pairs, or batches of 9 at most"),
    (np.where(X > 3, np.nan, X), Y, {}, "Got x of shape .* finite numbers"),
    (1e300 * X, Y, {}, "Got x of shape .* finite numbers"),
    (X, np.arange(8000), {}, "y with 8000 categories among 8000; .* floating-point"),
    (X, np.zeros(8000, int), {}, "y with 1 categories"),
    (X, Y, {"steps": 0}, "steps=0 and batch_size=128"),
  ],
)  # fmt: skip
def test_samples_that_do_not_fit_are_refused(x, y, options, message):
  with pytest.raises(ValueError, match=message):
    estimate(x, y, **{"estimator": "info_nce"} | options)
