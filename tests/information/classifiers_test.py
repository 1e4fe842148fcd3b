"""Classifiers as estimators, against exact expectations over small discrete distributions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp

from softmax_research.information import (
  discrete_information,
  pc_softmax_information,
  plug_in_information,
  softmax_information,
)

# Rows are inputs, columns classes; as counts, so that a data set can have exactly this law.
COUNTS = np.array([[6, 1, 2], [1, 9, 1], [3, 2, 15]])
JOINT = COUNTS / COUNTS.sum()
PRIOR = JOINT.sum(0)
LABELS = np.concatenate([np.repeat(np.arange(3), row) for row in COUNTS])
INPUTS = np.repeat(np.arange(3), COUNTS.sum(1))


def test_the_best_classifiers_have_the_information_of_the_joint_distribution():
  truth = discrete_information(JOINT)
  posterior = np.log(JOINT / JOINT.sum(1, keepdims=True))[INPUTS]
  with jax.enable_x64(True):
    assert plug_in_information(posterior, LABELS, log_prior=np.log(PRIOR)) == pytest.approx(
      truth, abs=1e-12
    )
    # The pointwise information plus any function of the input.
    logits = posterior - np.log(PRIOR) + INPUTS[:, None]
    estimate = pc_softmax_information(logits, LABELS, log_prior=np.log(PRIOR))
    assert estimate == pytest.approx(truth, abs=1e-12)
    # Imbalanced classes make the plain estimate too high by what their entropy lacks.
    excess = np.log(3) + (PRIOR * np.log(PRIOR)).sum()
    plain = softmax_information(posterior, LABELS, num_classes=3)
    assert plain == pytest.approx(truth + excess, abs=1e-12)
    assert excess > 0.03


def test_any_other_classifier_has_less():
  truth = discrete_information(JOINT)
  rng = np.random.default_rng(0)
  for _ in range(50):
    logits = rng.normal(size=(3, 3))[INPUTS]
    assert pc_softmax_information(logits, LABELS, log_prior=np.log(PRIOR)) < truth
    assert plug_in_information(log_softmax(logits, -1), LABELS, log_prior=np.log(PRIOR)) < truth


def test_pc_softmax_equals_the_formula_and_the_plug_in_of_the_adjusted_logits():
  logits = np.random.default_rng(1).normal(size=(3, 3))[INPUTS] * 3
  formula = logits[np.arange(len(LABELS)), LABELS] - logsumexp(logits, axis=-1, b=PRIOR)
  adjusted = log_softmax(logits + np.log(PRIOR), -1)
  with jax.enable_x64(True):
    estimate = pc_softmax_information(logits, LABELS, log_prior=np.log(PRIOR))
    assert estimate == pytest.approx(formula.mean(), abs=1e-12)
    plug_in = plug_in_information(adjusted, LABELS, log_prior=np.log(PRIOR))
    assert estimate == pytest.approx(float(plug_in), abs=1e-12)


def test_a_class_that_never_occurs_adds_no_entropy():
  log_prior = jnp.log(jnp.array([0.5, 0.5, 0.0]))
  log_probs = jnp.log(jnp.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
  estimate = plug_in_information(log_probs, jnp.array([0, 1]), log_prior=log_prior)
  assert estimate == pytest.approx(np.log(2))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_estimates_are_in_float32_whatever_the_type_of_the_prior(dtype):
  with jax.enable_x64(True):
    log_probs = jax.ShapeDtypeStruct((4, 3), dtype)
    log_prior = np.log(np.full(3, 1 / 3))
    for estimate in (plug_in_information, pc_softmax_information):
      run = functools.partial(estimate, labels=np.zeros(4, int), log_prior=log_prior)
      assert jax.eval_shape(run, log_probs).dtype == jnp.float32
    run = functools.partial(softmax_information, labels=np.zeros(4, int), num_classes=3)
    assert jax.eval_shape(run, log_probs).dtype == jnp.float32


def test_a_label_out_of_range_makes_it_nan():
  log_probs = jnp.log(jnp.full((2, 3), 1 / 3))
  assert jnp.isnan(softmax_information(log_probs, jnp.array([0, 3]), num_classes=3))


@pytest.mark.parametrize(
  ("log_prior", "labels", "message"),
  [
    (np.log([0.5, 0.6]), [0, 1], "sum to 1.1"),
    (np.log([0.5]), [0, 0], "sum to 0.5"),
    ([0.0, -np.inf], [0, 1], r"classes \[1\], whose prior is 0"),
    ([np.nan, 0.0], [0, 1], "sum to nan"),
    (np.log([0.5, 0.5]), [1], "Got 1 examples"),
    (np.log([0.5, 0.5]), [0.0, 1.0], "Cast class indices to an integer type"),
  ],
)
@pytest.mark.parametrize("estimate", [pc_softmax_information, plug_in_information])
def test_a_prior_that_is_none_and_too_few_examples_are_errors(estimate, log_prior, labels, message):
  values = np.log(np.full((len(labels), 2), 0.5))
  with pytest.raises(ValueError, match=message):
    estimate(values, np.array(labels), log_prior=np.asarray(log_prior))


def test_the_number_of_classes_is_that_of_the_values():
  with pytest.raises(ValueError, match="num_classes=4"):
    softmax_information(np.zeros((5, 3)), np.zeros(5, int), num_classes=4)
