"""A study of a page, as a user writes one: how far a mean of n numbers is from the truth."""

from typing import NamedTuple

import numpy as np

from softmax_research import study


class Settings(NamedTuple):
  """Hold the study's settings.

  Attributes:
    sizes: numbers that each mean is of.
    seeds: repetitions of each.
    scale: of the numbers.
  """

  sizes: tuple[int, ...] = (10, 100)
  seeds: int = 2
  scale: float = 1.0


def cells(settings):
  """Return a cell a size."""
  return [{"size": size} for size in settings.sizes]


def run(cell, context):
  """Yield a record a seed; a size of 13 fails, and one of 1 has no data."""
  if cell["size"] == 13:
    raise ArithmeticError("thirteen")
  if cell["size"] == 1:
    raise study.SkippedError("one is no sample")
  for seed in context.seeds:
    numbers = np.random.default_rng(seed).normal(0, context.settings.scale, cell["size"])
    yield context.record(seed, seconds=1.5, measured={"error": float(abs(numbers.mean()))})


def report(records, settings):
  """Yield a line a record."""
  yield f"# Means of {len(settings.sizes)} sizes"
  for record in records:
    yield f"{record['cell']['size']}: {study.look_up(record, 'error'):.6f}"


STUDY = study.Study(Settings, cells, run, report, name="toy", selects=("sizes", "seeds"))

if __name__ == "__main__":
  study.main(STUDY)
