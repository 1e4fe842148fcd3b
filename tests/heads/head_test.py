"""A head is three functions in a tuple."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research import functional, heads
from softmax_research.heads import Head, dense
from softmax_research.heads.head import weighted
from tests.heads.compiled import draw


def test_any_three_functions_make_a_head():
  # The fields, in this order, are what every network, loop and notebook unpacks.
  init, loss, log_prob, *_ = Head(
    init=lambda key, num_features: jnp.zeros(num_features),
    loss=lambda params, features, labels, *, step=0, key=None: (features @ params) * labels,
    log_prob=lambda params, features: jnp.zeros((*features.shape[:-1], 2)),
  )

  def run(features):
    params = init(jax.random.key(0), 3)
    return loss(params, features, np.ones(4)), log_prob(params, features)

  losses, log_probs = jax.eval_shape(run, np.ones((4, 3)))
  assert (losses.shape, log_probs.shape) == ((4,), (4, 2))


def test_a_head_is_jitted_batched_and_differentiated_like_any_function():
  head = dense(3)
  params = draw(head, 5)
  features = np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)
  labels = np.array([0, 1, 2, 1])

  @jax.jit
  def run(params, features, labels):
    one_by_one = jax.vmap(head.loss, in_axes=(None, 0, 0))(params, features, labels)
    gradient = jax.grad(lambda p: head.loss(p, features, labels).mean())(params)
    return head.loss(params, features, labels), one_by_one, gradient

  losses, one_by_one, gradient = run(params, features, labels)
  np.testing.assert_allclose(losses, one_by_one, rtol=1e-5)
  assert jax.tree.structure(gradient) == jax.tree.structure(params)


@pytest.mark.parametrize("step", [{}, {"step": 3}])
def test_a_head_of_ones_own_need_not_know_weights_or_ignored_labels(step):
  def loss(params, features, labels, **options):
    assert options == step
    return functional.cross_entropy(features @ params, labels)

  own = Head(lambda key, size: jnp.ones((size, 3)), loss, lambda p, x: x @ p)
  rng = np.random.default_rng(0)
  params, features = (rng.normal(size=size).astype("f4") for size in ((4, 3), (3, 4)))
  labels, weights = np.array([2, -1, 0]), np.array([0.5, 2, 3])
  options = {"class_weights": weights, "ignore_label": -1}

  @jax.jit
  def run(params, features):
    expected = functional.cross_entropy(features @ params, labels, **options)
    return weighted(own, 3, **options).loss(params, features, labels, **step), expected

  np.testing.assert_allclose(*run(params, features), rtol=1e-6)
  assert weighted(own, 3) is own


def test_weights_and_ignored_labels_are_checked_when_a_head_is_made():
  assert heads.make("softmax:ignore_label=-1:class_weights=(1,2,3)", 3)
  with pytest.raises(ValueError, match=r"class_weights of shape \(2,\) for 3 classes"):
    heads.make("huffman", 3, class_counts=[1, 2, 3], class_weights=[1, 2])
  with pytest.raises(ValueError, match="for the head 'hinge'; it must be an int"):
    heads.make("hinge:ignore_label=0.5", 3)
