"""The adaptive head: its numbering of the classes, its cutoffs, its errors."""

import jax
import numpy as np
import pytest

from softmax_research import functional, heads
from tests.heads.compiled import compiled, draw, evaluate

adaptive = compiled(heads.adaptive)

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(6, 8)).astype(np.float32)
COUNTS = np.array([5, 100, 0, 40, 7, 300, 7])  # in the order of frequency: 5, 1, 3, 4, 6, 0, 2
ORDER = [5, 1, 3, 4, 6, 0, 2]
LABELS = np.array([5, 2, 0, 1, 6, 4])


def test_classes_keep_the_numbers_of_the_user():
  head = adaptive(7, cutoffs=(2, 4), class_counts=COUNTS, bias=True)
  params = draw(head, 8)
  by_rank = jax.jit(functional.adaptive_softmax_log_probs)(FEATURES, params)
  loss, log_probs = evaluate(head, params, FEATURES, LABELS)
  np.testing.assert_allclose(log_probs[:, np.array(ORDER)], by_rank, rtol=1e-6)
  np.testing.assert_allclose(loss, -log_probs[np.arange(6), LABELS], rtol=1e-5)


def test_without_counts_classes_are_numbered_by_frequency():
  head = adaptive(7, cutoffs=(2,))
  params = draw(head, 8)
  log_probs = head.log_prob(params, FEATURES)
  expected = jax.jit(functional.adaptive_softmax_log_probs)(FEATURES, params)
  np.testing.assert_array_equal(log_probs, expected)


@pytest.mark.parametrize("counts", [COUNTS, None])
def test_labels_out_of_range_give_nan(counts):
  head = adaptive(7, cutoffs=(2,), class_counts=counts)
  labels = np.array([-1, 7, 0, 1, 6, 255])
  loss = head.loss(draw(head, 8), FEATURES, labels)
  assert np.isnan(loss).tolist() == [True, True, False, False, False, True]


def test_cutoffs_are_chosen_from_the_counts():
  counts = RNG.permutation(1e6 / np.arange(1, 2001))
  params = draw(heads.make("adaptive", 2000, class_counts=counts), 16)
  sizes = [tail["kernel"].shape[1] for tail in params["tails"]]
  cutoffs = functional.adaptive_cutoffs(counts)
  assert sizes == np.diff([*cutoffs, 2000]).tolist()
  assert params["head"]["kernel"].shape == (16, cutoffs[0] + len(cutoffs))


def test_options_reach_the_layer():
  head = heads.make(
    "adaptive:cutoffs=(2,4):factor=2:bias=True:tile=(4,5)", 7, class_counts=COUNTS.tolist()
  )
  params = draw(head, 8)
  assert [tail["projection"].shape for tail in params["tails"]] == [(8, 4), (8, 2)]
  assert "bias" in params["head"]


def test_one_class():
  head = adaptive(1, class_counts=[3])
  for found in evaluate(head, draw(head, 8), FEATURES, np.zeros(6, int)):
    np.testing.assert_array_equal(found, 0)


def test_training_fits_the_labels():
  head = heads.adaptive(7, cutoffs=(2, 4), class_counts=COUNTS, factor=1)

  @jax.jit
  def train(params):
    def step(_, params):
      gradients = jax.grad(lambda params: head.loss(params, FEATURES, LABELS).mean())(params)
      return jax.tree.map(lambda p, g: p - 0.5 * g, params, gradients)

    return head.log_prob(jax.lax.fori_loop(0, 300, step, params), FEATURES)

  predictions = np.argmax(train(jax.tree.map(lambda leaf: leaf / 4, draw(head, 8))), axis=-1)
  assert predictions.tolist() == LABELS.tolist()


def test_bad_arguments():
  with pytest.raises(ValueError, match=r"neither cutoffs nor class_counts.*Pass class_counts"):
    heads.adaptive(7)
  with pytest.raises(ValueError, match=r"class_counts of shape \(3,\) for 7 classes"):
    heads.adaptive(7, class_counts=[1, 2, 3])
  with pytest.raises(ValueError, match=r"class_counts=.*finite and at least 0"):
    heads.adaptive(2, cutoffs=(1,), class_counts=[1, -1])
  with pytest.raises(ValueError, match="each cluster needs a class"):
    heads.adaptive(7, cutoffs=(4, 4))
  with pytest.raises(ValueError, match="must be a sequence"):
    heads.make("adaptive:cutoffs=4", 7)
  with pytest.raises(ValueError, match=r"factor=0\.5"):
    heads.adaptive(7, cutoffs=(4,), factor=0.5)
  with pytest.raises(ValueError, match="Got tile=8"):
    heads.adaptive(7, cutoffs=(4,), tile=8)
  head = heads.adaptive(7, cutoffs=(4,), class_counts=COUNTS)
  params = draw(head, 8)
  far = np.array([2**32] * 6)  # It would wrap to class 0.
  assert np.isnan(jax.jit(lambda params: head.loss(params, FEATURES, far))(params)).all()
