"""Mixtures: Gaussian classes whose means lie on one line, so that their information is known."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from softmax_research import information


class Sample(NamedTuple):
  """Hold inputs `[S, N, D]` and their classes `[S, N]`, of S seeds."""

  inputs: np.ndarray
  labels: np.ndarray


class Splits(NamedTuple):
  """Hold the samples that are trained on, that end the training, and that nothing is chosen on."""

  train: Sample
  validation: Sample
  test: Sample


def positions(num_classes: int) -> np.ndarray:
  """Return the places of the means: 0 and, on either side in turn, what is two farther out.

  Example:
    >>> positions(5).tolist()
    [0.0, 2.0, -2.0, 4.0, -4.0]
  """
  return np.array([(k + 1) // 2 * (2.0 if k % 2 else -2.0) + 0.0 for k in range(num_classes)])


def draw(
  seeds: Sequence[int],
  entropy: Sequence[int],
  draw_labels: Callable[[np.random.Generator], Iterable[np.ndarray]],
  places: np.ndarray,
  dimension: int,
) -> Splits:
  """Draw splits, of each seed alike whichever others there are.

  Args:
    seeds: S seeds.
    entropy: what the random numbers depend on beside the seed.
    draw_labels: from a generator to the classes of the three splits.
    places: of the classes' means on the diagonal of the space, `[K]`, in standard deviations.
    dimension: of the inputs.

  Returns:
    The splits.
  """
  means = (places / np.sqrt(dimension)).astype(np.float32)

  def draw_one(seed):
    generator = np.random.default_rng([seed, *entropy])
    for labels in draw_labels(generator):
      noise = generator.standard_normal((len(labels), dimension), dtype=np.float32)
      yield Sample(noise + means[labels][:, None], labels.astype(np.int32))

  by_split = zip(*map(draw_one, seeds), strict=True)
  return Splits(*(jax.tree.map(lambda *of: np.stack(of), *of_split) for of_split in by_split))


def true_information(places: np.ndarray, log_prior: np.ndarray) -> float:
  """Return the information in nats, by quadrature along the line of the means.

  Example:
    >>> round(true_information(positions(5) * np.sqrt(10), np.log(np.ones(5) / 5)), 4)  # ~ log 5
    1.6058
  """
  return information.gaussian_mixture_information(places, log_prior)
