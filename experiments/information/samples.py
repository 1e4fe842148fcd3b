"""Study of a user's own pairs: estimates with intervals by every estimator that fits them."""

import functools
import hashlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from softmax_research import information, study
from softmax_research.information import estimation

_CLASSIFIERS = ("plug_in", "pc_softmax")
_CRITICS = ("mine", "nwj", "info_nce", "jensen_shannon", "smile", "interpolated")
_ESTIMATE = study.measure_of("estimate")


class Settings(NamedTuple):
  """Hold the study's settings.

  Attributes:
    x: file of NumPy (.npy) with an array of N rows; whole numbers [N] are categories.
    y: file of their partners, likewise.
    estimators: names, with options as in smile:clip=1; by default all that fit the kind of y.
    seeds: divisions of the pairs, each with a network of its own.
    steps: steps of a training.
    batch_size: examples, or pairs, of a training step.
    rate: Adam's learning rate at first.
    widths: sizes of the networks' hidden layers.
  """

  x: str = ""
  y: str = ""
  estimators: tuple[str, ...] = ()
  seeds: int = 3
  steps: int = 1000
  batch_size: int = 128
  rate: float = 1e-3
  widths: tuple[int, ...] = (256, 256)


def check(settings: Settings) -> None:
  for name in ("x", "y"):
    if not (path := getattr(settings, name)).endswith(".npy") or not pathlib.Path(path).is_file():
      raise ValueError(f"Got --{name}={path}; give a file that numpy.save wrote, as {name}.npy.")
  study.check_numbers(settings, seeds=2, widths=1, steps=1, rate=(1e-6, 1))
  for text in settings.estimators:
    information.ESTIMATORS.make(text)


def cells(settings: Settings) -> list[dict[str, Any]]:
  names = settings.estimators
  if not names:
    kind = estimation.kind_of(_load("y", settings.y))
    names = _CLASSIFIERS if kind == "categories" else _CRITICS
  return [{"estimator": name} for name in names]


def _load(name: str, path: str) -> np.ndarray:
  try:
    return np.load(path, mmap_mode="r")
  except (OSError, ValueError, EOFError) as error:
    raise ValueError(
      f"Got --{name}={path}, which cannot be read as an array ({error}); give one of numbers, as "
      "numpy.save writes it."
    ) from None


@functools.lru_cache
def digest(path: str) -> str:
  return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()[:12]


def config(settings: Settings, cell: dict[str, Any]) -> dict[str, Any]:
  """Return what estimates depend on: the pairs themselves, wherever their files lie."""
  fixed = ("steps", "batch_size", "rate", "widths")
  digests = {name: digest(getattr(settings, name)) for name in ("x", "y")}
  return digests | {name: getattr(settings, name) for name in fixed}


def prepare(settings: Settings, cells: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
  x, y = (np.asarray(_load(name, getattr(settings, name))) for name in ("x", "y"))
  for cell in cells:
    estimation.check(x, y, cell["estimator"], batch_size=settings.batch_size, steps=settings.steps)
  return x, y


def run(cell: dict[str, Any], context: study.Context) -> Iterator[dict[str, Any]]:
  (x, y), settings = context.prepared, context.settings
  for seed in context.seeds:
    found = information.estimate(
      x,
      y,
      estimator=cell["estimator"],
      seed=seed,
      steps=settings.steps,
      batch_size=settings.batch_size,
      learning_rate=settings.rate,
      widths=settings.widths,
    )
    numbers = zip(("estimate", "low", "high"), found, strict=True)
    # JSON has no numbers that are not finite.
    measured = {name: value if np.isfinite(value) else None for name, value in numbers}
    shapes = {"num_pairs": len(x), "x_shape": list(x.shape[1:]), "y_shape": list(y.shape[1:])}
    yield context.record(seed, measured=measured | {"pairs": shapes})


def report(records: Sequence[dict[str, Any]], settings: Settings) -> Iterator[study.Block]:
  yield "# Mutual information of pairs of your own"
  groups = [of for of in study.group(records, "estimator") if of.finished]
  first = next(iter(groups[0].finished.values()))["measured"]["pairs"]
  yield (
    f"{first['num_pairs']:,} pairs; x of shape {first['x_shape']}, y of shape {first['y_shape']}. "
    f"Each of {settings.seeds} seeds divides the pairs anew: three fifths train its network for "
    f"{settings.steps:,} steps of {settings.batch_size}, a fifth says at which it is best, and the "
    "estimate is of the last fifth."
  )
  yield (
    "In nats. The 95% t interval is of the pairs held out, its ends averaged over the seeds; the "
    "standard deviation over the seeds adds what the training varies by. Neither has what the "
    "network cannot learn: all but SMILE and MINE are lower bounds in expectation. InfoNCE never "
    f"exceeds log {settings.batch_size} = {np.log(settings.batch_size):.3f}."
  )
  table = study.table(groups, measure=_ESTIMATE, interval=False, name="estimates")
  rows = []
  for row, of in zip(table.rows, groups, strict=True):
    low, high = (study.summarise(list(of.values(end).values())).mean for end in ("low", "high"))
    interval = _ESTIMATE.format_interval(low, high) if np.isfinite(low) else study.measures.MISSING
    rows.append(row._replace(cells=(*row.cells, study.Cell(interval))))
  columns = (*table.columns, "95% interval")
  yield table._replace(columns=columns, rows=tuple(rows), name_column="estimator")


STUDY = study.Study(
  Settings,
  cells,
  run,
  report,
  name="mutual_information.samples",
  check=check,
  prepare=prepare,
  config=config,
)
