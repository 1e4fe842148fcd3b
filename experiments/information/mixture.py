"""Mixtures: Gaussian classes whose means lie on one line, so that their information is known."""

from typing import NamedTuple

import numpy as np

from softmax_research import information


class Sample(NamedTuple):
  """Hold inputs `[S, N, width]` and their classes `[S, N]`, of S seeds."""

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
  generator: np.random.Generator,
  labels: np.ndarray,
  places: np.ndarray,
  dimension: int,
  width: int,
) -> Sample:
  """Draw inputs around the means of their classes, which lie on the diagonal of the space.

  Args:
    generator: draws them.
    labels: classes `[S, N]`.
    places: of the classes' means on the diagonal, `[K]`, in units of the standard deviation.
    dimension: how many components an input has.
    width: to which inputs are filled up with zeros, so that one program serves all dimensions.

  Returns:
    The sample.
  """
  inputs = np.zeros((*labels.shape, width), np.float32)
  noise = generator.standard_normal((*labels.shape, dimension), dtype=np.float32)
  inputs[..., :dimension] = (
    noise + (places / np.sqrt(dimension)).astype(np.float32)[labels][..., None]
  )
  return Sample(inputs, labels.astype(np.int32))


def true_information(places: np.ndarray, log_prior: np.ndarray) -> float:
  """Return the information in nats, by quadrature along the line of the means.

  Example:
    >>> round(true_information(positions(5) * np.sqrt(10), np.log(np.ones(5) / 5)), 4)  # ~ log 5
    1.6058
  """
  return information.gaussian_mixture_information(places, log_prior)
