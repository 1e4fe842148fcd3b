"""Robustness of models whose answers are known, and measures by their specifications."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.reproduction import measures, robustness
from softmax_research import data

# Images are bright or dark; the model compares their mean with a half.
_MEANS = np.repeat([0.2, 0.45, 0.55, 0.8], 5)
_SPLIT = data.Split(
  np.rint(255 * np.ones((20, 4, 4, 1)) * _MEANS[:, None, None, None]).astype(np.uint8),
  (_MEANS > 0.5).astype(np.int32),
)


def _model(sureness):
  def log_prob(variables, images):
    lead = variables * (images.mean((1, 2, 3)) - 0.5)
    return -jnp.logaddexp(0, jnp.stack([lead, -lead], 1))

  return robustness.Model(log_prob, jnp.float32(sureness), 1.0)


def test_under_pgd_a_model_keeps_what_is_further_away_than_the_radius():
  scores = robustness.pgd(_model(10.0), _SPLIT, epsilon=26, step=10, num_steps=4)["PGD 26"]
  assert scores["clean_accuracy"] == 1
  for name in ("as_trained", "temperature_1", "margin", "worst"):
    assert scores[f"{name}_accuracy"] == 0.5


def test_a_gradient_that_vanishes_saves_no_model_from_the_margin():
  scores = robustness.pgd(_model(1e6), _SPLIT, epsilon=26, step=10, num_steps=4)["PGD 26"]
  assert scores["as_trained_accuracy"] > scores["margin_accuracy"] == scores["worst_accuracy"]
  assert scores["worst_accuracy"] == 0.5


def test_noise_is_scored_by_kind_and_severity():
  found = robustness.noise(_model(10.0), _SPLIT, strength=6.0)
  assert set(found) == {
    "noise",
    *(f"{k} noise" for k in ("gaussian", "shot", "impulse", "uniform")),
  }
  each = found["gaussian noise"]
  listed = [each[f"severity{s}_accuracy"] for s in range(1, 6)]
  assert each["accuracy"] == pytest.approx(np.mean(listed)) and min(listed) < 1
  kinds = [of["accuracy"] for kind, of in found.items() if kind != "noise"]
  assert found["noise"] == {"accuracy": pytest.approx(np.mean(kinds)), "clean_accuracy": 1.0}


@pytest.mark.parametrize(
  ("specification", "message"),
  [
    ("pdg", "'pdg'; the measures are calibration, pgd, noise"),
    ("pgd:eps=2", "'eps' for the measure 'pgd'; its options are epsilon, step"),
    ("pgd:epsilon=0", "epsilon=0 for the measure 'pgd'; it must be above 0"),
    ("calibration:bins=3", "'bins' for the measure 'calibration'; its options are none"),
  ],
)
def test_measures_that_there_are_not_are_refused(specification, message):
  with pytest.raises(ValueError, match=message):
    measures.check_names([specification])


def test_points_are_refused_where_images_are_needed():
  with pytest.raises(ValueError, match="Got examples of float32"):
    robustness.check_images(data.Split(np.zeros((2, 3), np.float32), np.zeros(2, np.int32)))
