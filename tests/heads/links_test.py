"""Links by name in a head's text, against the formulas."""

import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research import heads
from tests.heads.compiled import compiled, draw, evaluate

FEATURES = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)


@pytest.mark.parametrize(
  ("text", "formula"),
  [
    ("focal:gamma=2.0", lambda p: -((1 - p) ** 2) * np.log(p)),
    ("poly:epsilon=1.5", lambda p: -np.log(p) + 1.5 * (1 - p)),
    ("generalised:q=0.7", lambda p: (1 - p**0.7) / 0.7),
    ("focal", lambda p: -((1 - p) ** 2) * np.log(p)),
  ],
)
def test_a_link_is_named_in_a_head_s_text(text, formula):
  head = heads.make(f"taylor:link=({text})", 3)
  labels = np.array([0, 1, 2, 0, 1])
  losses, log_probs = evaluate(head, draw(head, 4), FEATURES, labels)
  label_probs = np.exp(log_probs.astype(np.float64))[range(5), labels]
  np.testing.assert_allclose(losses, formula(label_probs), rtol=1e-5)


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("vocal", "the links are focal, generalised, poly"),
    ("focal:alpha=1.0", "option 'alpha' for the link 'focal'"),
    ("focal:gamma=-1.0", "gamma"),
    ("generalised:q=2.0", "q"),
  ],
)
def test_what_names_no_link(text, message):
  with pytest.raises(ValueError, match=message):
    heads.make(f"softmax:link=({text})", 3)


def test_a_function_is_taken_as_it_is():
  plain, squared = (compiled(heads.dense)(3, **options) for options in ({}, {"link": jnp.square}))
  given = draw(plain, 4), FEATURES, np.array([2, 0, 1, 1, 0])
  np.testing.assert_allclose(squared.loss(*given), plain.loss(*given) ** 2, rtol=1e-6)


def test_rows_of_labels_have_the_mean_of_their_weights_after_the_link():
  make = compiled(heads.make)
  plain, bent = (make(f"one_vs_all{link}", 3) for link in ("", ":link=(generalised:q=1.0)"))
  params, rows = draw(plain, 4), np.array([[1, 0, 1], [0, 0, 0], [0, 2, 0]])
  losses = bent.loss(params, FEATURES[:3], rows, class_weights=np.array([1.0, 2.0, 4.0]))
  error = -np.expm1(-np.asarray(plain.loss(params, FEATURES[:3], rows)))
  np.testing.assert_allclose(losses, error * np.array([2.5, 1, np.nan]), rtol=1e-5)
