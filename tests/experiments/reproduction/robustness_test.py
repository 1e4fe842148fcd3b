"""Robustness: PGD against NumPy, noise by its moments, and models whose answers are known."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.reproduction import measures, robustness
from softmax_research import data

_RNG = np.random.default_rng(0)
_IMAGES = _RNG.random((8, 5, 4, 1)).astype(np.float32)
_KERNEL = _RNG.normal(size=(20, 3)).astype(np.float32)
_LABELS = np.arange(8) % 3


def _log_probs(images, temperature=1.0):
  return jax.nn.log_softmax(images.reshape(len(images), -1) @ _KERNEL / temperature)


def _attack(objective, *, epsilon=0.05, num_steps=4, temperature=1.0):
  def loss(images):
    return objective(_log_probs(images, temperature), _LABELS, temperature)

  attacked = robustness.projected_gradient(
    loss,
    jnp.asarray(_IMAGES),
    jax.random.key(1),
    epsilon=epsilon,
    step_size=0.02,
    num_steps=num_steps,
  )
  return np.asarray(attacked), loss


@pytest.mark.parametrize("name", robustness.OBJECTIVES)
def test_an_attack_stays_in_its_ball_and_among_images_and_raises_its_loss(name):
  attacked, loss = _attack(robustness.OBJECTIVES[name])
  assert np.abs(attacked - _IMAGES).max() <= 0.05 + 1e-6
  assert attacked.min() >= 0 and attacked.max() <= 1
  assert (loss(attacked) > loss(_IMAGES)).all()


def test_attacking_a_linear_model_is_a_loop_of_numpy():
  attacked, _ = _attack(robustness.OBJECTIVES["as_trained"], num_steps=4)
  start, _ = _attack(robustness.OBJECTIVES["as_trained"], num_steps=0)
  x, points = _IMAGES.astype(np.float64), start.astype(np.float64)
  for _ in range(4):
    logits = points.reshape(8, -1) @ _KERNEL
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    slope = ((probs - np.eye(3)[_LABELS]) @ _KERNEL.T).reshape(x.shape)
    points = np.clip(points + 0.02 * np.sign(slope), x - 0.05, x + 0.05).clip(0, 1)
  np.testing.assert_allclose(attacked, points, atol=1e-6)
  # The start is random and fills the ball.
  inside = (_IMAGES > 0.05) & (_IMAGES < 0.95)
  moved = (start - _IMAGES)[inside]
  assert 0.8 < np.std(moved) / (0.05 / np.sqrt(3)) < 1.2


def test_objectives_are_those_of_the_logits():
  logits = np.asarray(_IMAGES.reshape(8, -1) @ _KERNEL, np.float64)
  trained = _log_probs(_IMAGES, temperature=4.0)
  rows = np.arange(8)

  def nll(values):
    return np.log(np.exp(values).sum(1)) - values[rows, _LABELS]

  for name, expected in (("as_trained", nll(logits / 4)), ("temperature_1", nll(logits))):
    np.testing.assert_allclose(
      robustness.OBJECTIVES[name](trained, _LABELS, 4.0), expected, rtol=1e-4
    )
  rivals = np.where(np.eye(3)[_LABELS] > 0, -np.inf, logits).max(1)
  leads = (rivals - logits[rows, _LABELS]) / 4
  np.testing.assert_allclose(robustness.margin(trained, _LABELS, 4.0), leads, rtol=1e-4, atol=1e-6)


def test_a_sure_model_hides_its_gradient_from_cross_entropy_but_not_from_the_margin():
  def model(images, temperature=1.0):
    # The label is certain, so far that no other class has a probability in float32.
    sure = jnp.eye(3)[_LABELS] * 1e3
    return jax.nn.log_softmax(images.reshape(8, -1) @ _KERNEL + sure)

  def moved(objective):
    slope = jax.grad(lambda x: objective(model(x), _LABELS, 1.0).sum())(jnp.asarray(_IMAGES))
    return np.abs(slope).max()

  assert moved(robustness.OBJECTIVES["as_trained"]) == 0
  assert moved(robustness.margin) > 0.1


_GREY = np.full((40, 32, 32, 3), 0.5)


@pytest.mark.parametrize("severity", robustness.SEVERITIES)
def test_moments_are_the_stated_ones(severity):
  std = (0.04, 0.06, 0.08, 0.09, 0.10)[severity - 1]
  photons = (500, 250, 100, 75, 50)[severity - 1]
  share = (0.01, 0.02, 0.03, 0.05, 0.07)[severity - 1]
  expected = {
    "gaussian": std,
    "uniform": std,
    "shot": np.sqrt(0.5 / photons),
    "impulse": 0.5 * np.sqrt(share),
  }
  for kind, value in expected.items():
    noisy = robustness.corrupt(_GREY, kind, severity)
    assert noisy.dtype == np.float32 and noisy.min() >= 0 and noisy.max() <= 1
    assert noisy.mean() == pytest.approx(0.5, abs=2e-3)
    assert noisy.std() == pytest.approx(value, rel=0.03), kind


def test_kinds_differ_in_more_than_their_spread():
  uniform = robustness.corrupt(_GREY, "uniform", 5)
  assert np.abs(uniform - 0.5).max() <= np.sqrt(3) * 0.1 + 1e-6
  assert np.abs(robustness.corrupt(_GREY, "gaussian", 5) - 0.5).max() > 0.3
  impulse = robustness.corrupt(_GREY, "impulse", 5)
  assert set(np.unique(impulse)) == {0, 0.5, 1}
  dark = robustness.corrupt(_GREY / 5, "shot", 5)
  assert dark.std() == pytest.approx(np.sqrt(0.1 / 50), rel=0.05)


def test_the_noise_is_the_same_each_time_and_grows_with_its_strength():
  for kind in robustness.KINDS:
    once, again = (robustness.corrupt(_GREY, kind, 2) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    factor = np.sqrt(2) if kind == "impulse" else 2
    stronger = robustness.corrupt(_GREY, kind, 2, strength=2).std()
    assert stronger == pytest.approx(factor * once.std(), rel=0.05)


# Images are bright or dark; the model compares their mean with a half.
_MEANS = np.repeat([0.2, 0.45, 0.55, 0.8], 5)
_SPLITS = types.SimpleNamespace(
  test=data.Split(
    np.rint(255 * np.ones((20, 4, 4, 1)) * _MEANS[:, None, None, None]).astype(np.uint8),
    (_MEANS > 0.5).astype(np.int32),
  )
)


def _model(sureness):
  def log_prob(variables, images):
    lead = variables * (images.mean((1, 2, 3)) - 0.5)
    return -jnp.logaddexp(0, jnp.stack([lead, -lead], 1))

  return measures.Model(log_prob, jnp.float32(sureness), 1.0)


def test_under_pgd_a_model_keeps_what_is_further_away_than_the_radius():
  scores = robustness.pgd(_model(10.0), _SPLITS, epsilon=26, step=10, num_steps=4)["PGD 26"]
  assert scores["clean_accuracy"] == 1
  for name in ("as_trained", "temperature_1", "margin", "worst"):
    assert scores[f"{name}_accuracy"] == 0.5


def test_a_gradient_that_vanishes_saves_no_model_from_the_margin():
  scores = robustness.pgd(_model(1e6), _SPLITS, epsilon=26, step=10, num_steps=4)["PGD 26"]
  assert scores["as_trained_accuracy"] > scores["margin_accuracy"] == scores["worst_accuracy"]
  assert scores["worst_accuracy"] == 0.5


def test_noise_is_scored_by_kind_and_severity():
  found = robustness.noise(_model(10.0), _SPLITS, strength=6.0)
  assert set(found) == {
    "noise",
    *(f"{k} noise" for k in ("gaussian", "shot", "impulse", "uniform")),
  }
  each = found["gaussian noise"]
  listed = [each[f"severity{s}_accuracy"] for s in range(1, 6)]
  assert each["accuracy"] == pytest.approx(np.mean(listed)) and min(listed) < 1
  kinds = [of["accuracy"] for kind, of in found.items() if kind != "noise"]
  assert found["noise"] == {"accuracy": pytest.approx(np.mean(kinds)), "clean_accuracy": 1.0}


def test_points_are_refused_where_images_are_needed():
  with pytest.raises(ValueError, match="Got examples of float32"):
    robustness.check_images(data.Split(np.zeros((2, 3), np.float32), np.zeros(2, np.int32)))


@pytest.mark.parametrize("size", [1, 17, 18, 19, 20, 30])
def test_samples_of_any_size_are_taken(size):
  split = data.Split(np.arange(20, dtype=np.uint8), np.arange(20) % 3)
  images, labels = robustness._sample(split, size)
  assert len(images) == min(size, 20) == len(np.unique(images))
  assert ((images * 255).round() % 3 == labels).all()
