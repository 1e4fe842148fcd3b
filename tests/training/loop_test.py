"""The loop: curves, resuming, divergence and batched prediction."""

import jax
import numpy as np
import pytest

from softmax_research import training
from tests.training.models import bright_rows, tiny_programs


@pytest.fixture(name="programs", scope="module")
def _programs():
  return tiny_programs()


def _fit(programs, train=None, **options):
  arguments = {"seed": 0, "num_epochs": 4, "batch_size": 16} | options
  return training.fit(programs, train or bright_rows(), bright_rows(40, seed=1), **arguments)


def _plain(state):
  return state._replace(key=jax.random.key_data(state.key))


def test_curves_have_a_value_an_epoch_and_the_loss_falls(programs):
  fit = _fit(programs, num_epochs=12)
  assert fit.curves["epoch"] == list(range(1, 13))
  assert {len(curve) for curve in fit.curves.values()} == {12}
  assert fit.curves["train_loss"][-1] < 0.5 * fit.curves["train_loss"][0]
  assert fit.curves["validation_accuracy"][-1] > 0.9
  assert int(fit.state.step) == 12 * 6
  assert fit.diverged is None


def test_progress_counts_every_step(programs):
  seen = []
  _fit(programs, on_progress=seen.append)
  assert seen[-1].step == seen[-1].num_steps == 24
  assert [p.step for p in seen] == sorted(p.step for p in seen)
  assert {p.epoch for p in seen} == {1, 2, 3, 4}


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_resumed_run_ends_with_the_same_bits(programs, stop_after):
  whole = _fit(programs)
  saved = {}

  def on_epoch(state, curves):
    copied = jax.tree.map(np.asarray, _plain(state))
    key = jax.random.wrap_key_data(copied.key)
    saved[len(curves["epoch"])] = (
      copied._replace(key=key),
      {name: list(curve) for name, curve in curves.items()},
    )

  _fit(programs, on_epoch=on_epoch)
  resumed = _fit(programs, resume=saved[stop_after])
  jax.tree.map(np.testing.assert_array_equal, _plain(whole.state), _plain(resumed.state))
  assert whole.curves["validation_nll"] == resumed.curves["validation_nll"]


def test_a_loss_that_is_not_finite_stops_the_run(programs):
  train = bright_rows()
  train.labels[:] = 9  # Out of range: every loss is NaN.
  fit = _fit(programs, train)
  assert fit.diverged == training.Divergence(step=0, last_finite_loss=None)
  assert fit.curves["epoch"] == []


def test_prediction_in_padded_batches_equals_prediction_at_once(programs):
  state = programs.init(0)
  images = bright_rows(50).images
  at_once = np.asarray(programs.predict(state, images))
  in_batches = training.predict(programs, state, images, batch_size=16)
  np.testing.assert_allclose(in_batches, at_once, atol=1e-6)
  assert in_batches.shape == (50, 3)


@pytest.mark.parametrize("batch_size", [0, -1, 97, 2.5])
def test_a_batch_size_that_does_not_fit_is_refused(programs, batch_size):
  with pytest.raises(ValueError, match=f"batch_size={batch_size}"):
    _fit(programs, batch_size=batch_size)
