"""Robustness: attacks on images, noise, and the accuracy of trained models under both.

Images are floats in [0, 1]. The cross-entropy at a temperature that a model was not trained at may
have no gradient left where the model is sure; then the attack fails, though others succeed. So
there are three attackers, and `worst` counts an image as classified only where none misleads.

Reference:
  Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks" (arXiv
  1706.06083), section 2.1; Carlini and Wagner 2017, "Towards Evaluating the Robustness of Neural
  Networks" (arXiv 1608.04644), section V, for the margin; Hendrycks and Dietterich 2019,
  "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations" (arXiv
  1903.12261), for the noise but for the uniform one.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.many.equal_time import in_batches
from softmax_research import data

_BATCH = 100


def projected_gradient(
  loss: Callable[[jax.Array], jax.Array],
  images: jax.Array,
  key: jax.Array,
  *,
  epsilon: jax.typing.ArrayLike,
  step_size: jax.typing.ArrayLike,
  num_steps: int,
) -> jax.Array:
  r"""Raise a loss by projected gradient ascent in the L-infinity ball (PGD), untargeted.

  .. math::
    x_{t+1} = \Pi\left(x_t + \alpha\, \mathrm{sign}\, \nabla_x \ell(x_t)\right), \qquad
    x_0 = \Pi\left(x + u\right), \quad u \sim U(-\varepsilon, \varepsilon)

  :math:`\Pi` cuts off what lies outside of the ball around x or outside of [0, 1]. The last
  iterate is the attack's. A gradient that is not a number moves nothing. An example's loss,
  `[N, ...] -> [N]`, depends on its own image alone.
  """
  low, high = jnp.maximum(images - epsilon, 0), jnp.minimum(images + epsilon, 1)
  slope = jax.grad(lambda points: loss(points).sum())

  def step(_, points):
    direction = jnp.nan_to_num(jnp.sign(slope(points)))
    return jnp.clip(points + step_size * direction, low, high)

  start = images + jax.random.uniform(key, images.shape, images.dtype, -1, 1) * epsilon
  return jax.lax.fori_loop(0, num_steps, step, jnp.clip(start, low, high))


def margin(log_probs: jax.Array, labels: jax.Array, temperature: jax.Array) -> jax.Array:
  """Return how far the best other class leads the label.

  Its gradient does not vanish where a model is sure of itself, so no temperature can hide it.
  """
  del temperature
  is_label = jax.nn.one_hot(labels, log_probs.shape[-1], dtype=bool)
  return jnp.where(is_label, -jnp.inf, log_probs).max(-1) - _at(log_probs, labels)


def _at(log_probs, labels):
  return jnp.take_along_axis(log_probs, labels[:, None], axis=-1)[:, 0]


#: What attackers raise, by name: from log-probabilities `[N, K]`, labels `[N]` and the temperature
#: of training to `[N]`.
OBJECTIVES: dict[str, Callable[[jax.Array, jax.Array, jax.Array], jax.Array]] = {
  # The cross-entropy of the model's own probabilities; and that at temperature 1:
  # log-probabilities times T are shifted logits.
  "as_trained": lambda log_probs, labels, temperature: -_at(log_probs, labels),
  "temperature_1": lambda log_probs, labels, temperature: (
    -_at(jax.nn.log_softmax(log_probs * temperature), labels)
  ),
  "margin": margin,
}

# Standard deviations, photons and shares of pixels, of make_cifar_c.py in hendrycks/robustness.
_STD = (0.04, 0.06, 0.08, 0.09, 0.10)
_PHOTONS = (500, 250, 100, 75, 50)
_SHARE = (0.01, 0.02, 0.03, 0.05, 0.07)

SEVERITIES = (1, 2, 3, 4, 5)
#: Kinds of noise.
KINDS = ("gaussian", "shot", "impulse", "uniform")


def corrupt(images: np.ndarray, kind: str, severity: int, *, strength: float = 1.0) -> np.ndarray:
  """Corrupt images, always with the same noise; unlike CIFAR-10-C's they are not rounded to 255ths.

  The strength multiplies the noise's standard deviation, and of impulses, which turn values black
  or white, their share. Shots are photons, whose number varies as Poisson's law says. Uniform noise
  has the standard deviation that Gaussian noise has.
  """
  rng, level = np.random.default_rng((0, KINDS.index(kind), severity)), severity - 1
  if kind == "gaussian":
    made = images + strength * rng.normal(scale=_STD[level], size=images.shape)
  elif kind == "uniform":
    half = np.sqrt(3) * strength * _STD[level]
    made = images + rng.uniform(-half, half, size=images.shape)
  elif kind == "shot":
    photons = _PHOTONS[level] / strength**2
    made = rng.poisson(images * photons) / photons
  else:
    hit = rng.random(images.shape) < strength * _SHARE[level]
    made = np.where(hit, rng.random(images.shape) < 0.5, images)
  return made.clip(0, 1).astype(np.float32)


def pgd(
  model: Any,
  splits: Any,
  *,
  epsilon: float = 8.0,
  step: float = 2.0,
  num_steps: int = 20,
  num_images: int = 1000,
) -> dict[str, Any]:
  """Measure the accuracy under untargeted PGD, for each objective that an attacker may raise.

  Of the raw test images a stratified sample is attacked. Epsilon, the ball's radius, and the step
  are in 255ths.

  Returns:
    Under `PGD EPSILON`: `clean_accuracy`, an accuracy for each of `OBJECTIVES`, and
    `worst_accuracy`.
  """
  images, labels = _sample(splits.test, num_images)
  model_and_attack = functools.partial(
    _attack, model.log_prob, model.variables, float(model.temperature), num_steps=num_steps
  )
  batches = [slice(start, start + _BATCH) for start in range(0, len(labels), _BATCH)]
  found = [
    model_and_attack(images[of], labels[of], jax.random.key(i), epsilon / 255, step / 255)
    for i, of in enumerate(batches)
  ]
  right = np.concatenate(found, axis=1)
  names = ("clean", *OBJECTIVES)
  scores = {f"{name}_accuracy": float(row.mean()) for name, row in zip(names, right, strict=True)}
  return {f"PGD {epsilon:g}": scores | {"worst_accuracy": float(right[1:].all(0).mean())}}


def noise(
  model: Any, splits: Any, *, strength: float = 1.0, num_images: int = 1000
) -> dict[str, Any]:
  """Measure the accuracy of a model under each kind of noise; see `pgd` and `corrupt`.

  Returns:
    Under `KIND noise` the `accuracy` over all severities and `severity1_accuracy` and so on; under
    `noise` the mean `accuracy` of all kinds, and `clean_accuracy`.
  """
  images, labels = _sample(splits.test, num_images)

  def accuracy(points):
    return float(np.mean(by_blocks(model.log_prob, model, points).argmax(-1) == labels))

  found = {}
  for kind in KINDS:
    each = {
      f"severity{s}_accuracy": accuracy(corrupt(images, kind, s, strength=strength))
      for s in SEVERITIES
    }
    found[f"{kind} noise"] = {"accuracy": float(np.mean(list(each.values())))} | each
  mean = float(np.mean([of["accuracy"] for of in found.values()]))
  return found | {"noise": {"accuracy": mean, "clean_accuracy": accuracy(images)}}


def check_images(split: data.Split) -> None:
  """Raise a ValueError unless the split holds images whose range is known."""
  if split.images.dtype != np.uint8:
    raise ValueError(
      f"Got examples of {split.images.dtype}; attacks and noise need uint8 images, as MNIST's. "
      "Leave the measures out."
    )


def _sample(split: data.Split, size: int) -> tuple[np.ndarray, np.ndarray]:
  """Return images in [0, 1] and labels of the same sample for every model."""
  rows = np.arange(len(split.labels))
  left = len(rows) - size
  if left >= len(np.unique(split.labels)):
    rows = data.stratified_sample(split.labels, size, seed=0)
  elif left > 0:  # A sample leaves one of each class; so few are themselves sampled.
    rows = np.delete(rows, data.stratified_sample(split.labels, left, seed=0))
  return np.asarray(split.images[rows], np.float32) / 255, np.asarray(split.labels[rows])


def by_blocks(function: Callable[..., jax.Array], model: Any, images: np.ndarray) -> np.ndarray:
  """Return what a function of a model makes of its variables and of images, block by block."""
  apply = jax.jit(function)
  return in_batches(lambda part: (apply(model.variables, part),), images)[0]


@functools.partial(jax.jit, static_argnums=0, static_argnames="num_steps")
def _attack(
  log_prob, variables, temperature, images, labels, key, epsilon, step_size, *, num_steps
):
  """Return whether the model is right, and whether it is under each attack, `[1 + A, N]`."""

  def right(points):
    return log_prob(variables, points).argmax(-1) == labels

  def right_under(number):
    def loss(points):
      objectives = tuple(OBJECTIVES.values())
      return jax.lax.switch(number, objectives, log_prob(variables, points), labels, temperature)

    points = projected_gradient(
      loss, images, key, epsilon=epsilon, step_size=step_size, num_steps=num_steps
    )
    return right(points)

  # One after another, so that the network is compiled once.
  under = jax.lax.map(right_under, jnp.arange(len(OBJECTIVES)))
  return jnp.concatenate([right(images)[None], under])
