"""Gaussians: five classes whose means lie on one line, so that their information is known."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research import information

#: Positions of the class means, times the vector of ones.
MEANS = (0.0, 2.0, -2.0, 4.0, -4.0)
#: Training examples of each class.
COUNTS = {
  "balanced": (10_000, 10_000, 10_000, 10_000, 10_000),
  "imbalanced": (5_000, 10_000, 15_000, 20_000, 25_000),
}


class Sample(NamedTuple):
  """Hold inputs `[N, width]` and their classes `[N]`."""

  inputs: jax.Array
  labels: jax.Array


class Splits(NamedTuple):
  """Hold the samples of one seed; validation and test are a fifth of training each."""

  train: Sample
  validation: Sample
  test: Sample


def log_prior(counts: tuple[int, ...]) -> np.ndarray:
  """Return the logarithms of the classes' frequencies."""
  return np.log(np.asarray(counts, np.float64) / sum(counts))


def true_information(counts: tuple[int, ...], dimension: int) -> float:
  """Return the information in nats, by quadrature along the line of the means.

  Example:
    >>> round(true_information((1, 1, 1, 1, 1), 10), 4)  # almost log 5
    1.6058
  """
  # The vector of ones is as long as the root of the dimension.
  means = np.asarray(MEANS) * np.sqrt(dimension)
  return information.gaussian_mixture_information(means, log_prior(counts))


def draw(key: jax.Array, counts: tuple[int, ...], dimension: int, width: int) -> Splits:
  """Draw the splits of one seed, with exactly these counts in training.

  Args:
    key: a random key.
    counts: training examples of each class.
    dimension: how many components an input has; traced, so that one program serves all.
    width: to which inputs are filled up with zeros.

  Returns:
    The splits.
  """
  sizes = (counts, *[tuple(count // 5 for count in counts)] * 2)
  keys = jax.random.split(key, len(sizes))
  return Splits(*(_sample(k, size, dimension, width) for k, size in zip(keys, sizes, strict=True)))


def _sample(key, counts, dimension, width) -> Sample:
  order_key, noise_key = jax.random.split(key)
  labels = np.repeat(np.arange(len(counts)), counts)
  labels = jax.random.permutation(order_key, jnp.asarray(labels, jnp.int32))
  noise = jax.random.normal(noise_key, (len(labels), width))
  inputs = jnp.asarray(MEANS)[labels][:, None] + noise
  return Sample(jnp.where(jnp.arange(width) < dimension, inputs, 0), labels)
