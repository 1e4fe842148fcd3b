"""Links by name in a head's text, against the formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research import heads


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
  params = head.init(jax.random.key(0), 4)
  features, labels = jax.random.normal(jax.random.key(1), (5, 4)), jnp.array([0, 1, 2, 0, 1])
  label_probs = np.exp(np.asarray(head.log_prob(params, features), np.float64))[range(5), labels]
  np.testing.assert_allclose(head.loss(params, features, labels), formula(label_probs), rtol=1e-5)


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
  plain, squared = heads.dense(3), heads.dense(3, link=jnp.square)
  params, features = plain.init(jax.random.key(0), 4), jax.random.normal(jax.random.key(1), (2, 4))
  labels = jnp.array([2, 0])
  found = squared.loss(params, features, labels)
  np.testing.assert_allclose(found, plain.loss(params, features, labels) ** 2, rtol=1e-6)


def test_rows_of_labels_have_the_mean_of_their_weights_after_the_link():
  plain, bent = (heads.make(f"one_vs_all{link}", 3) for link in ("", ":link=(generalised:q=1.0)"))
  params, features = plain.init(jax.random.key(0), 4), jax.random.normal(jax.random.key(1), (3, 4))
  rows = jnp.array([[1, 0, 1], [0, 0, 0], [0, 2, 0]])
  losses = bent.loss(params, features, rows, class_weights=np.array([1.0, 2.0, 4.0]))
  error = -np.expm1(-plain.loss(params, features, rows))
  np.testing.assert_allclose(losses, error * np.array([2.5, 1, np.nan]), rtol=1e-5)
