"""PGD against a NumPy loop on a linear model, and what every attack keeps to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.reproduction import attacks

_RNG = np.random.default_rng(0)
_IMAGES = _RNG.random((8, 5, 4, 1)).astype(np.float32)
_KERNEL = _RNG.normal(size=(20, 3)).astype(np.float32)
_LABELS = np.arange(8) % 3


def _log_probs(images, temperature=1.0):
  return jax.nn.log_softmax(images.reshape(len(images), -1) @ _KERNEL / temperature)


def _attack(objective, *, epsilon=0.05, num_steps=4, temperature=1.0):
  def loss(images):
    return objective(_log_probs(images, temperature), _LABELS, temperature)

  attacked = attacks.projected_gradient(
    loss,
    jnp.asarray(_IMAGES),
    jax.random.key(1),
    epsilon=epsilon,
    step_size=0.02,
    num_steps=num_steps,
  )
  return np.asarray(attacked), loss


@pytest.mark.parametrize("name", attacks.OBJECTIVES)
def test_an_attack_stays_in_its_ball_and_among_images_and_raises_its_loss(name):
  attacked, loss = _attack(attacks.OBJECTIVES[name])
  assert np.abs(attacked - _IMAGES).max() <= 0.05 + 1e-6
  assert attacked.min() >= 0 and attacked.max() <= 1
  assert (loss(attacked) > loss(_IMAGES)).all()


def test_attacking_a_linear_model_is_a_loop_of_numpy():
  attacked, _ = _attack(attacks.as_trained, num_steps=4)
  start, _ = _attack(attacks.as_trained, num_steps=0)
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
    np.testing.assert_allclose(attacks.OBJECTIVES[name](trained, _LABELS, 4.0), expected, rtol=1e-4)
  rivals = np.where(np.eye(3)[_LABELS] > 0, -np.inf, logits).max(1)
  leads = (rivals - logits[rows, _LABELS]) / 4
  np.testing.assert_allclose(attacks.margin(trained, _LABELS, 4.0), leads, rtol=1e-4, atol=1e-6)


def test_a_sure_model_hides_its_gradient_from_cross_entropy_but_not_from_the_margin():
  def model(images, temperature=1.0):
    # The label is certain, so far that no other class has a probability in float32.
    sure = jnp.eye(3)[_LABELS] * 1e3
    return jax.nn.log_softmax(images.reshape(8, -1) @ _KERNEL + sure)

  def moved(objective):
    slope = jax.grad(lambda x: objective(model(x), _LABELS, 1.0).sum())(jnp.asarray(_IMAGES))
    return np.abs(slope).max()

  assert moved(attacks.as_trained) == 0
  assert moved(attacks.margin) > 0.1
